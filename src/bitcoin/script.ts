/**
 * The scripts that a node's coins are locked with.
 *
 * Standards: BIP 16 (P2SH), BIP 141 (P2WPKH, P2WSH), BIP 341 (P2TR), BOLT 3
 * (funding output, to_remote with anchors).
 *
 * What it does not do: run scripts, or read any but the standard forms.
 *
 * @module
 */

import { hash160, sha256 } from "../crypto/hash.ts";
import { Writer } from "../wire/codec.ts";
import type { PubKey } from "../wire/types.ts";
import { isSameBytes, writeU8 } from "./bytes.ts";

const OP_2 = 0x52;
const OP_CHECKMULTISIG = 0xae;
const OP_CHECKSIGVERIFY = 0xad;
const OP_CSV = 0xb2;
const OP_1 = 0x51;

/** The standard forms that signing tells apart. */
export type ScriptKind = "p2wpkh" | "p2wsh" | "p2tr" | "other";

/** What form an output script has. */
export function scriptKind(script: Uint8Array): ScriptKind {
  if (script.length === 22 && startsWith(script, 0x00, 20)) return "p2wpkh";
  if (script.length === 34 && startsWith(script, 0x00, 32)) return "p2wsh";
  if (script.length === 34 && startsWith(script, OP_1, 32)) return "p2tr";
  return "other";
}

function startsWith(script: Uint8Array, first: number, second: number) {
  return script[0] === first && script[1] === second;
}

function join(...parts: readonly (number | Uint8Array)[]): Uint8Array {
  const writer = new Writer();
  for (const part of parts) {
    if (typeof part === "number") writeU8(writer, part);
    else writer.bytes(part);
  }
  return writer.finish();
}

/** BIP 141: version 0, hash of a key. */
export function p2wpkh(key: PubKey): Uint8Array {
  return join(0x00, 20, hash160(key));
}

/** BIP 141: version 0, hash of a script. */
export function p2wsh(witnessScript: Uint8Array): Uint8Array {
  return join(0x00, 32, sha256(witnessScript));
}

/** BIP 16: hash of a script. */
export function p2sh(redeemScript: Uint8Array): Uint8Array {
  return join(0xa9, 20, hash160(redeemScript), 0x87);
}

/** BIP 143: the script code of a P2WPKH output is that of P2PKH. */
export function scriptCodeOfP2wpkh(script: Uint8Array): Uint8Array {
  return join(0x76, 0xa9, 20, script.subarray(2, 22), 0x88, 0xac);
}

/** BOLT 3, funding output: both keys, the lower one first. */
export function redeem2of2(a: PubKey, b: PubKey): Uint8Array {
  const [lower, higher] = isBelow(b, a) ? [b, a] : [a, b];
  return join(OP_2, 33, lower, 33, higher, OP_2, OP_CHECKMULTISIG);
}

function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  const at = a.findIndex((byte, i) => byte !== b[i]);
  return at >= 0 && (a[at] ?? 0) < (b[at] ?? 0);
}

/**
 * BOLT 3, to_remote with anchors: the key, after `csv` blocks. One block in
 * every channel but a leased one.
 */
export function toRemoteWithAnchors(key: PubKey, csv: number): Uint8Array {
  return join(33, key, OP_CHECKSIGVERIFY, pushNumber(csv), OP_CSV);
}

/** A non-negative number as script pushes it: an opcode, or minimal bytes. */
export function pushNumber(value: number): Uint8Array {
  if (value === 0) return Uint8Array.of(0x00);
  if (value <= 16) return Uint8Array.of(OP_1 - 1 + value);
  const bytes: number[] = [];
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) {
    bytes.push(rest % 256);
  }
  // The top bit is the sign: a value that sets it needs one byte more.
  if ((bytes.at(-1) ?? 0) >= 0x80) bytes.push(0);
  return Uint8Array.of(bytes.length, ...bytes);
}

/** Whether the output script is the P2SH of this redeem script. */
export function isP2shOf(script: Uint8Array, redeem: Uint8Array): boolean {
  return isSameBytes(script, p2sh(redeem));
}

/** Whether the output script is the P2WSH of this witness script. */
export function isP2wshOf(script: Uint8Array, witness: Uint8Array): boolean {
  return isSameBytes(script, p2wsh(witness));
}
