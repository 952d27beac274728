/**
 * Little-endian integers and CompactSize, on the reader and writer of `wire/`.
 *
 * Bitcoin's formats are little-endian, the hsmd protocol is big-endian; both
 * use the same kernel, so both report failures with a path and an offset.
 *
 * CompactSize is read in any of its forms, as libwally does: a longer form than
 * needed is not an error in a transaction that somebody else serialised. It is
 * always written in the shortest.
 *
 * @module
 */

import type { Reader, Writer } from "../wire/codec.ts";

/** A u32, least significant byte first. */
export function readU32(reader: Reader): number {
  const bytes = reader.bytes(4);
  return new DataView(bytes.buffer).getUint32(0, true);
}

/** A u64, least significant byte first. */
export function readU64(reader: Reader): bigint {
  const bytes = reader.bytes(8);
  return new DataView(bytes.buffer).getBigUint64(0, true);
}

/** A count or length; more than the bytes that are left is an error already. */
export function readCompactSize(reader: Reader): number {
  const value = readCompactValue(reader);
  if (value > BigInt(reader.remaining)) {
    reader.fail(`${reader.remaining} bytes left, want ${value}`);
  }
  return Number(value);
}

/** A CompactSize that is a number of its own, such as a PSBT key type. */
export function readCompactValue(reader: Reader): bigint {
  const lead = reader.u8();
  if (lead < 0xfd) return BigInt(lead);
  if (lead === 0xfe) return BigInt(readU32(reader));
  if (lead === 0xff) return readU64(reader);
  const low = reader.u8();
  return BigInt(low | reader.u8() << 8);
}

/** Bytes behind their CompactSize. */
export function readVarBytes(reader: Reader): Uint8Array {
  return reader.bytes(readCompactSize(reader));
}

/** A CompactSize count, then that many items of at least one byte each. */
export function readList<T>(reader: Reader, item: () => T): T[] {
  const count = readCompactSize(reader);
  return Array.from({ length: count }, (_, i) => reader.within(`${i}`, item));
}

/** One byte. */
export function writeU8(writer: Writer, value: number): void {
  writer.bytes(Uint8Array.of(value));
}

/** A u32, least significant byte first. */
export function writeU32(writer: Writer, value: number): void {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  writer.bytes(bytes);
}

/** A u64, least significant byte first. */
export function writeU64(writer: Writer, value: bigint): void {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value, true);
  writer.bytes(bytes);
}

/** A CompactSize in its shortest form. */
export function writeCompactSize(writer: Writer, value: number): void {
  if (value < 0xfd) return writeU8(writer, value);
  if (value <= 0xffff) {
    writeU8(writer, 0xfd);
    writeU8(writer, value & 0xff);
    return writeU8(writer, value >> 8);
  }
  if (value <= 0xffff_ffff) {
    writeU8(writer, 0xfe);
    return writeU32(writer, value);
  }
  writeU8(writer, 0xff);
  writeU64(writer, BigInt(value));
}

/** Bytes behind their CompactSize. */
export function writeVarBytes(writer: Writer, bytes: Uint8Array): void {
  writeCompactSize(writer, bytes.length);
  writer.bytes(bytes);
}

/** Whether two byte strings are the same; not for secrets. */
export function isSameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
