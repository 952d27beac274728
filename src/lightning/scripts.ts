/**
 * The scripts of commitment and HTLC outputs, and the order of outputs.
 *
 * A witness script is never parsed here: the signer writes the script that has
 * to be there from keys it derived itself, and compares.
 *
 * Standards: BOLT 3 ("Commitment Transaction Outputs", "Transaction Output
 * Ordering"), BIP 69 (the order that BOLT 3 builds on).
 *
 * What it does not do: the funding script and `to_remote` with anchors, which
 * the wallet needs as well (`bitcoin/script.ts`).
 *
 * @module
 */

import { pushNumber } from "../bitcoin/script.ts";
import type { TxOutput } from "../bitcoin/tx.ts";
import { hash160, ripemd160 } from "../crypto/hash.ts";
import { Writer } from "../wire/codec.ts";
import type { PubKey, Sha256 } from "../wire/types.ts";

const OP = {
  16: 0x60,
  2: 0x52,
  1: 0x51,
  IF: 0x63,
  NOTIF: 0x64,
  ELSE: 0x67,
  ENDIF: 0x68,
  IFDUP: 0x73,
  DROP: 0x75,
  DUP: 0x76,
  SWAP: 0x7c,
  SIZE: 0x82,
  EQUAL: 0x87,
  EQUALVERIFY: 0x88,
  HASH160: 0xa9,
  CHECKSIG: 0xac,
  CHECKMULTISIG: 0xae,
  CHECKLOCKTIMEVERIFY: 0xb1,
  CHECKSEQUENCEVERIFY: 0xb2,
} as const;

/** An opcode, or bytes that are part of the script as they are. */
type Part = number | Uint8Array;

function join(...parts: readonly Part[]): Uint8Array {
  const writer = new Writer();
  for (const part of parts) {
    if (typeof part === "number") writer.u8(part);
    else writer.bytes(part);
  }
  return writer.finish();
}

/** A push of up to 75 bytes: their count, then they. */
function push(bytes: Uint8Array): Uint8Array {
  const pushed = new Uint8Array(bytes.length + 1);
  pushed[0] = bytes.length;
  pushed.set(bytes, 1);
  return pushed;
}

/** Who may spend what its owner gets with a delay. */
export interface DelayedTo {
  readonly revocation: PubKey;
  readonly delayed: PubKey;
  /** Blocks that the owner waits. */
  readonly toSelfDelay: number;
}

/** BOLT 3, `to_local` output; the output of an HTLC transaction is the same. */
export function toLocalScript(
  { revocation, delayed, toSelfDelay }: DelayedTo,
): Uint8Array {
  return join(
    ...[OP.IF, push(revocation)],
    ...[OP.ELSE, pushNumber(toSelfDelay), OP.CHECKSEQUENCEVERIFY, OP.DROP],
    ...[push(delayed), OP.ENDIF, OP.CHECKSIG],
  );
}

/** BOLT 3, anchors: the key at once, anybody after 16 blocks. */
export function anchorScript(fundingKey: PubKey): Uint8Array {
  return join(
    ...[push(fundingKey), OP.CHECKSIG, OP.IFDUP],
    ...[OP.NOTIF, OP[16], OP.CHECKSEQUENCEVERIFY, OP.ENDIF],
  );
}

/** Keys of all HTLC outputs of one commitment; local is its broadcaster. */
export interface HtlcScriptKeys {
  readonly revocation: PubKey;
  readonly localHtlc: PubKey;
  readonly remoteHtlc: PubKey;
  readonly hasAnchors: boolean;
}

/** The HTLC scripts of one commitment: what they share is worked out once. */
export interface HtlcScripts {
  offered(paymentHash: Sha256): Uint8Array;
  received(paymentHash: Sha256, cltvExpiry: number): Uint8Array;
}

/** BOLT 3, offered and received HTLC outputs of one commitment. */
export function htlcScripts(keys: HtlcScriptKeys): HtlcScripts {
  const head = htlcHead(keys);
  const multisig = join(OP[2], OP.SWAP, push(keys.localHtlc), OP[2]);
  const tail = keys.hasAnchors
    ? join(OP.ENDIF, OP[1], OP.CHECKSEQUENCEVERIFY, OP.DROP, OP.ENDIF)
    : join(OP.ENDIF, OP.ENDIF);
  return {
    offered: (paymentHash) =>
      join(
        ...[head, OP.NOTIF, OP.DROP, multisig, OP.CHECKMULTISIG, OP.ELSE],
        ...[isPreimageOf(paymentHash), OP.CHECKSIG, tail],
      ),
    received: (paymentHash, cltvExpiry) =>
      join(
        ...[head, OP.IF, isPreimageOf(paymentHash), multisig],
        ...[OP.CHECKMULTISIG, OP.ELSE, OP.DROP, pushNumber(cltvExpiry)],
        ...[OP.CHECKLOCKTIMEVERIFY, OP.DROP, OP.CHECKSIG, tail],
      ),
  };
}

/** Up to where the scripts differ: the penalty, then is it a preimage? */
function htlcHead({ revocation, remoteHtlc }: HtlcScriptKeys): Uint8Array {
  return join(
    ...[OP.DUP, OP.HASH160, push(hash160(revocation)), OP.EQUAL],
    ...[OP.IF, OP.CHECKSIG, OP.ELSE, push(remoteHtlc), OP.SWAP],
    ...[OP.SIZE, pushNumber(32), OP.EQUAL],
  );
}

function isPreimageOf(paymentHash: Sha256): Uint8Array {
  return join(OP.HASH160, push(ripemd160(paymentHash)), OP.EQUALVERIFY);
}

/** BOLT 3, offered HTLC output. */
export function offeredHtlcScript(
  { paymentHash, ...keys }: HtlcScriptKeys & { readonly paymentHash: Sha256 },
): Uint8Array {
  return htlcScripts(keys).offered(paymentHash);
}

/** BOLT 3, received HTLC output. */
export function receivedHtlcScript(
  { paymentHash, cltvExpiry, ...keys }: HtlcScriptKeys & {
    readonly paymentHash: Sha256;
    readonly cltvExpiry: number;
  },
): Uint8Array {
  return htlcScripts(keys).received(paymentHash, cltvExpiry);
}

/** BIP 69: smaller amounts first, then scripts as bytes, then shorter ones. */
export function compareOutputs(a: TxOutput, b: TxOutput): number {
  if (a.amount !== b.amount) return a.amount < b.amount ? -1 : 1;
  return compareBytes(a.script, b.script);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const common = Math.min(a.length, b.length);
  for (let i = 0; i < common; i++) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}
