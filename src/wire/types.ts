/**
 * The scalars and small structs of the hsmd protocol, under the field's names.
 *
 * Branded types make two values of the same size different for the compiler: a
 * channel's peer is not a basepoint, satoshi are not millisatoshi. Keys travel
 * as they were sent; whether a point is on the curve is asked by whoever uses
 * it (`signer/handle.ts` asks for every `pubkey` of a request).
 *
 * //~ A brand costs nothing at run time and has caught what no test would: a
 * //~ txid in display order looks just like one in internal order until money is
 * //~ sent to it. Next: wire/hsmd.ts, where these words make sentences.
 *
 * @module
 */

import {
  bool,
  choice,
  type Codec,
  fixed,
  option,
  struct,
  u32,
  u64,
  type ValueOf,
  varBytes,
} from "./codec.ts";

declare const brand: unique symbol;
type Branded<T, Name extends string> = T & { readonly [brand]: Name };

/** A compressed secp256k1 point, 33 bytes, first byte 2 or 3. */
export type PubKey = Branded<Uint8Array, "PubKey">;
/** 33 bytes that name a node; all zero for "nobody". */
export type NodeId = Branded<Uint8Array, "NodeId">;
/** 32 bytes that the protocol discloses as the answer to a request. */
export type DisclosedSecret = Branded<Uint8Array, "DisclosedSecret">;
/** Transaction id in internal byte order, as inside a transaction. */
export type Txid = Branded<Uint8Array, "Txid">;
/** Block hash in internal byte order. */
export type BlockHash = Branded<Uint8Array, "BlockHash">;
/** SHA-256 of a payment preimage, or another 32-byte hash. */
export type Sha256 = Branded<Uint8Array, "Sha256">;
/** Amount in satoshi. */
export type Sat = Branded<bigint, "Sat">;
/** Amount in millisatoshi. */
export type Msat = Branded<bigint, "Msat">;
/** BIP 32 public serialisation without checksum, 78 bytes. */
export type ExtKey = Branded<Uint8Array, "ExtKey">;
/** ECDSA signature, r then s, 64 bytes. */
export type EcdsaSignature = Branded<Uint8Array, "EcdsaSignature">;

/** How a 33-byte name, a 32-byte name and so on look on the wire. */
export const pubkey: Codec<PubKey> = fixed("pubkey", 33, { kind: "point" });
export const nodeId: Codec<NodeId> = fixed("node_id", 33);
export const secret: Codec<DisclosedSecret> = fixed("secret", 32);
export const privkey: Codec<DisclosedSecret> = fixed("privkey", 32);
export const sha256: Codec<Sha256> = fixed("sha256", 32);
export const txid: Codec<Txid> = fixed("bitcoin_txid", 32);
export const chainparams: Codec<BlockHash> = fixed("chainparams", 32);
export const extKey: Codec<ExtKey> = fixed("ext_key", 78);
export const bip340sig: Codec<Uint8Array> = fixed("bip340sig", 64);
export const ecdsaSignature: Codec<EcdsaSignature> = fixed(
  "secp256k1_ecdsa_signature",
  64,
);
/** r, s, recovery id (0 to 3): 65 bytes. */
export const recoverableSignature: Codec<Uint8Array> = fixed(
  "secp256k1_ecdsa_recoverable_signature",
  65,
);
/** The five secrets of dev_force_channel_secrets, in the order of `init`. */
export const secrets: Codec<Uint8Array> = fixed("secrets", 160);

/** A u64 under another name; the unit is part of the type. */
function amount<T extends bigint>(name: string): Codec<T> {
  return {
    ...u64,
    name,
    encode: (writer, value) => u64.encode(writer, value),
    // The unit is what the field says it is; the range is that of a u64.
    decode: (reader) => u64.decode(reader) as T,
  };
}

export const amountSat: Codec<Sat> = amount("amount_sat");
export const amountMsat: Codec<Msat> = amount("amount_msat");

/** Sighash bytes that Lightning uses: ALL, and SINGLE|ANYONECANPAY (BOLT 3). */
export const SIGHASH_ALL = 0x01;
export const SIGHASH_SINGLE_ANYONECANPAY = 0x83;

export const bitcoinSignature = struct("bitcoin_signature", {
  signature: ecdsaSignature,
  sighash: choice("sighash", [SIGHASH_ALL, SIGHASH_SINGLE_ANYONECANPAY]),
});
export type BitcoinSignature = ValueOf<typeof bitcoinSignature>;

export const bip32KeyVersion = struct("bip32_key_version", {
  public: u32,
  private: u32,
});

/** The order on the wire; derivation uses another (`keyderiv.ts`). */
export const basepoints = struct("basepoints", {
  revocation: pubkey,
  payment: pubkey,
  htlc: pubkey,
  delayedPayment: pubkey,
});
export type Basepoints = ValueOf<typeof basepoints>;

/** Feature bitmap, most significant byte first (BOLT 2 channel_type). */
export const channelType: Codec<Uint8Array> = varBytes("channel_type", 16);

/** A PSBT, not looked into: `bitcoin/psbt.ts` does that. */
export const psbt: Codec<Uint8Array> = varBytes("wally_psbt", 32);

/** A transaction and the PSBT that says what its inputs spend. */
export const bitcoinTx = struct("bitcoin_tx", {
  tx: varBytes("tx", 32),
  psbt,
});
export type BitcoinTx = ValueOf<typeof bitcoinTx>;

/** Who offered an HTLC, seen from us: CLN's enum side. */
export const SIDE_LOCAL = 0;
export const SIDE_REMOTE = 1;

export const hsmHtlc = struct("hsm_htlc", {
  side: choice("enum side", [SIDE_LOCAL, SIDE_REMOTE]),
  amount: amountMsat,
  paymentHash: sha256,
  cltvExpiry: u32,
});
export type HsmHtlc = ValueOf<typeof hsmHtlc>;

export const outpoint = struct("bitcoin_outpoint", { txid, index: u32 });
export type Outpoint = ValueOf<typeof outpoint>;

/** What spends an output of a unilateral close: a channel's key, not a wallet's. */
export const closeInfo = struct("close_info", {
  channelDbid: u64,
  peerId: nodeId,
  commitmentPoint: option(pubkey),
  optionAnchors: bool,
  csv: u32,
});
export type CloseInfo = ValueOf<typeof closeInfo>;

export const hsmUtxo = struct("hsm_utxo", {
  outpoint,
  amount: amountSat,
  keyindex: u32,
  /** Was is_p2sh; false since v25.05. */
  legacyP2sh: bool,
  scriptPubkey: varBytes("script", 16),
  closeInfo: option(closeInfo),
  /** Was is_in_coinbase; false since v25.05. */
  legacyCoinbase: bool,
});
export type HsmUtxo = ValueOf<typeof hsmUtxo>;

/** A u16 count, then bytes: CLN's `len,u16` with `data,u8,len`. */
export const octets: Codec<Uint8Array> = varBytes("u8", 16);

/** 33 zero bytes: what lightningd's own connection has for a peer. */
export const NOBODY: NodeId = new Uint8Array(33) as Uint8Array as NodeId;
