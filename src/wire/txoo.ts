/**
 * How a signer learns of blocks: the chain messages of VLS and the statements of
 * TXOO oracles, as they travel.
 *
 * | asks | answered by | what for |
 * | --- | --- | --- |
 * | tip_info 2002 | 2102 | where the signer's chain stands |
 * | forward_watches 2003 | 2103 | what the next block must be searched for |
 * | reverse_watches 2004 | 2104 | same for the block that is taken back |
 * | add_block 2005 | 2105, 3000 | a header, and proof of what is in the block |
 * | remove_block 2006 | 2106, 3000 | a reorg, one block at a time |
 * | get_heartbeat 2008 | 2108 | a signed statement of where the signer is |
 * | block_chunk 2009 | 2109, 3000 | a whole block in pieces, before add_block |
 *
 * A proof is bytes here: it holds transactions, and `bitcoin/txo_proof.ts` reads
 * it. The protocol's integers are big-endian; those that TXOO signs, and the
 * outpoints in a list of watches, are little-endian as Bitcoin has them.
 *
 * What it does not do: verify a proof.
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import { signSchnorr, verifySchnorr } from "../crypto/secp.ts";
import {
  type Codec,
  decode,
  encode,
  fixed,
  list,
  option,
  struct,
  u32,
  u64,
  type ValueOf,
  varBytes,
} from "./codec.ts";
import { reply, request, table } from "./message.ts";
import {
  chainparams as blockHash,
  octets,
  type Outpoint,
  pubkey,
  txid,
} from "./types.ts";

// ------------------------------------------------------------------- elements

/** The same number, least significant byte first. */
function littleEndian<T extends number | bigint>(
  codec: Codec<T>,
  name: string,
): Codec<T> {
  return {
    ...codec,
    name,
    encode: (writer, value) => writer.bytes(encode(codec, value).toReversed()),
    decode: (reader) =>
      decode(codec, reader.bytes(codec.minSize).toReversed(), name),
  };
}

/** Integers as Bitcoin has them. */
export const u32le: Codec<number> = littleEndian(u32, "u32le");
/** Integers as Bitcoin has them. */
export const u64le: Codec<bigint> = littleEndian(u64, "u64le");

/** An outpoint as a transaction has it. */
export const bitcoinOutpoint: Codec<Outpoint> = struct("OutPoint", {
  txid,
  index: u32le,
});

/** A hash in the chain of filter headers (BIP 157). */
export const filterHeader: Codec<Uint8Array> = fixed("filter header", 32);

/** 80 bytes that are not looked into. */
export const rawHeader: Codec<Uint8Array> = fixed("block header", 80);

/** All that is left of a message; the message's own size bounds it. */
export const rest: Codec<Uint8Array> = {
  name: "rest",
  minSize: 0,
  maxSize: Infinity,
  shape: { kind: "varBytes", prefix: 32 },
  encode: (writer, value) => writer.bytes(value),
  decode: (reader) => reader.bytes(reader.remaining),
};

/** What a signer looks for in blocks. */
const watches = {
  txids: list(txid),
  outpoints: list(bitcoinOutpoint),
};

// ------------------------------------------------------------------- messages

/** No connection of lightningd's may ask: the broker does, on its own. */
const nowhere = (...replies: number[]) => ({ permission: 0, replies });

/** The chain messages of VLS, sorted by number. */
export const CHAIN_MESSAGES = table({
  tip_info: request(2002, {}, nowhere(2102)),
  forward_watches: request(2003, {}, nowhere(2103)),
  reverse_watches: request(2004, {}, nowhere(2104)),
  add_block: request(2005, {
    header: octets,
    proof: option(rest),
  }, nowhere(2105, 3000)),
  remove_block: request(2006, {
    proof: option(varBytes("proof", 32)),
    previousHeader: rawHeader,
    previousFilterHeader: filterHeader,
  }, nowhere(2106, 3000)),
  get_heartbeat: request(2008, {}, nowhere(2108)),
  block_chunk: request(2009, {
    hash: blockHash,
    offset: u32,
    content: octets,
  }, nowhere(2109, 3000)),
  tip_info_reply: reply(2102, { height: u32, hash: blockHash }),
  forward_watches_reply: reply(2103, watches),
  reverse_watches_reply: reply(2104, watches),
  add_block_reply: reply(2105, {}),
  remove_block_reply: reply(2106, {}),
  get_heartbeat_reply: reply(2108, { heartbeat: octets }),
  block_chunk_reply: reply(2109, {}),
});

/** add_block as signers of 2023 have it: a size stands before the proof. */
export const SIZED_ADD_BLOCK = table({
  add_block: request(2005, {
    header: octets,
    proof: option(varBytes("proof", 32)),
  }, nowhere(2105, 3000)),
}).add_block;

// ---------------------------------------------------------------- attestations

const statement = struct("attestation", {
  blockHash,
  height: u32le,
  filterHeader,
  /** Unix seconds; nothing depends on it. */
  time: u64le,
});

/** What an oracle says of a block. */
export type Statement = ValueOf<typeof statement>;

/** An oracle's statement under its signature. */
export const attestation = struct("signed attestation", {
  oracle: pubkey,
  statement,
  signature: fixed("signature", 64),
});

/** An oracle's statement under its signature. */
export type Attestation = ValueOf<typeof attestation>;

/** What an oracle signs: the hash of the 76 bytes of its statement. */
export function statementDigest(value: Statement): Uint8Array {
  return sha256(encode(statement, value));
}

/** Whether the oracle that an attestation names has signed it (BIP 340). */
export function isAttested(value: Attestation): boolean {
  const digest = statementDigest(value.statement);
  try {
    return verifySchnorr(value.signature, digest, value.oracle.subarray(1));
  } catch (_error) {
    // An oracle that is not a point has signed nothing.
    return false;
  }
}

/** Attests a block, as an oracle does. */
export function attest(
  value: Statement,
  { publicKey, privateKey }: {
    readonly publicKey: Attestation["oracle"];
    readonly privateKey: Uint8Array;
  },
): Attestation {
  const signature = signSchnorr(statementDigest(value), privateKey);
  return { oracle: publicKey, statement: value, signature };
}

// ------------------------------------------------------------------ heartbeats

const HEARTBEAT_TAG: Uint8Array = new TextEncoder().encode("vlsheartbeat");
const SIGNATURE_SIZE = 64;

const heartbeatContent = struct("heartbeat", {
  tipHash: blockHash,
  height: u32,
  /** Time in the tip's header. */
  tipTime: u32,
  /** The signer's clock, Unix seconds. */
  time: u32,
});

/** Where a signer says that its chain stands. */
export type Heartbeat = ValueOf<typeof heartbeatContent>;

/** 64 bytes behind a byte that says so. */
const countedSignature: Codec<Uint8Array> = {
  name: "signature",
  minSize: 1 + SIGNATURE_SIZE,
  maxSize: 1 + SIGNATURE_SIZE,
  shape: { kind: "bytes", size: SIGNATURE_SIZE },
  encode(writer, value) {
    if (value.length !== SIGNATURE_SIZE) {
      throw new RangeError(
        `Cannot encode signature: ${value.length} bytes, want ${SIGNATURE_SIZE}`,
      );
    }
    writer.u8(SIGNATURE_SIZE);
    writer.bytes(value);
  },
  decode(reader) {
    const size = reader.u8();
    if (size !== SIGNATURE_SIZE) reader.fail(`${size}, want ${SIGNATURE_SIZE}`);
    return reader.bytes(SIGNATURE_SIZE);
  },
};

/** 109 bytes: what get_heartbeat_reply carries. */
export const signedHeartbeat = struct("signed heartbeat", {
  signature: countedSignature,
  heartbeat: heartbeatContent,
});

/** A heartbeat under the signature of its signer. */
export type SignedHeartbeat = ValueOf<typeof signedHeartbeat>;

/** What a signer signs: the hash of a tag and the 44 bytes of the content. */
export function heartbeatDigest(heartbeat: Heartbeat): Uint8Array {
  return sha256(HEARTBEAT_TAG, encode(heartbeatContent, heartbeat));
}

/** Signs a heartbeat, with the key of the wallet's account. */
export function signHeartbeat(
  heartbeat: Heartbeat,
  privateKey: Uint8Array,
): SignedHeartbeat {
  const signature = signSchnorr(heartbeatDigest(heartbeat), privateKey);
  return { signature, heartbeat };
}

/** Whether the account key (33 bytes) has signed it. */
export function isHeartbeatOf(
  { signature, heartbeat }: SignedHeartbeat,
  publicKey: Uint8Array,
): boolean {
  const digest = heartbeatDigest(heartbeat);
  return verifySchnorr(signature, digest, publicKey.subarray(1));
}
