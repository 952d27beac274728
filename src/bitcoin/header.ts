/**
 * Block headers: 80 bytes to a value and back, their hash, target and work.
 *
 * Everything a chain says about itself without its transactions is in these
 * bytes. A hash is a number here, its first byte the least significant one; a
 * header proves work when that number is not above its target.
 *
 * | bytes | field |
 * | --- | --- |
 * | 4 | version |
 * | 32 | hash of the block before |
 * | 32 | merkle root of the transactions |
 * | 4 | time, Unix seconds |
 * | 4 | bits: the target in compact form |
 * | 4 | nonce |
 *
 * Compact form is a byte of length and three of mantissa, whose top bit is a
 * sign that no target has.
 *
 * What it does not do: know which target a network wants of a block
 * (`difficulty.ts`), or which block comes before which (`signer/tracker.ts`).
 *
 * @module
 */

import { sha256d } from "../crypto/hash.ts";
import { decode, Reader, Writer } from "../wire/codec.ts";
import { type BlockHash, chainparams } from "../wire/types.ts";
import { readU32, writeU32 } from "./bytes.ts";

/** Size of a header, in bytes. */
export const HEADER_SIZE = 80;

/** A block header. */
export interface BlockHeader {
  readonly version: number;
  /** Hash of the block before this one; zero for the first of a chain. */
  readonly previous: BlockHash;
  readonly merkleRoot: Uint8Array;
  /** Unix time in seconds, as the miner has it. */
  readonly time: number;
  /** The target in compact form. */
  readonly bits: number;
  readonly nonce: number;
}

/** @throws {DecodeError} for anything that is not exactly 80 bytes */
export function decodeHeader(bytes: Uint8Array): BlockHeader {
  const reader = new Reader(bytes, "block header");
  return reader.window(bytes.length, () => readHeader(reader));
}

/** Reads a header at the start of something longer. */
export function readHeader(reader: Reader): BlockHeader {
  return {
    version: readU32(reader),
    previous: chainparams.decode(reader),
    merkleRoot: reader.bytes(32),
    time: readU32(reader),
    bits: readU32(reader),
    nonce: readU32(reader),
  };
}

/** The 80 bytes of a header. */
export function encodeHeader(header: BlockHeader): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writeU32(writer, header.version);
  writer.bytes(header.previous);
  writer.bytes(header.merkleRoot);
  writeU32(writer, header.time);
  writeU32(writer, header.bits);
  writeU32(writer, header.nonce);
  return writer.finish();
}

/** The block's hash, in internal byte order. */
export function hashHeader(header: BlockHeader): BlockHash {
  return decode(chainparams, sha256d(encodeHeader(header)));
}

/** The number that a hash is: its first byte is the least significant. */
export function hashNumber(hash: Uint8Array): bigint {
  return BigInt("0x" + hash.toReversed().toHex());
}

const SIGN = 0x0080_0000;
const MANTISSA = 0x007f_ffff;
const NUMBERS = 1n << 256n;

/** The target that bits stand for; null for none, a negative or a too large one. */
export function targetOf(bits: number): bigint | null {
  const size = bits >>> 24;
  const mantissa = BigInt(bits & MANTISSA);
  const target = size <= 3
    ? mantissa >> BigInt(8 * (3 - size))
    : mantissa << BigInt(8 * (size - 3));
  if (target === 0n || target >= NUMBERS) return null;
  return (bits & SIGN) === 0 ? target : null;
}

/** The compact form of a target, which keeps its first three bytes. */
export function bitsOf(target: bigint): number {
  const hex = target.toString(16);
  const size = Math.ceil(hex.length / 2);
  const mantissa = size <= 3
    ? Number(target) * 2 ** (8 * (3 - size))
    : Number(target >> BigInt(8 * (size - 3)));
  // A mantissa with the sign's bit set moves one byte down.
  return mantissa < SIGN
    ? size * 2 ** 24 + mantissa
    : (size + 1) * 2 ** 24 + Math.floor(mantissa / 256);
}

/** Hashes that a block took to find, on average; 0 for bits without a target. */
export function workOf(bits: number): bigint {
  const target = targetOf(bits);
  return target === null ? 0n : NUMBERS / (target + 1n);
}

/** Whether a hash is the work that bits ask for, at the network's limit or below. */
export function provesWork(
  hash: Uint8Array,
  bits: number,
  limit: bigint,
): boolean {
  const target = targetOf(bits);
  return target !== null && target <= limit && hashNumber(hash) <= target;
}
