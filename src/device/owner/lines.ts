/**
 * One line off a connection, with a bound.
 *
 * What it does not do: read what comes after the line.
 *
 * @module
 */

import { UsageError } from "../../errors.ts";

const NEWLINE = 0x0a;

/**
 * Bytes up to the first newline, without it; null when the other side closed
 * before it sent one.
 *
 * @throws {UsageError} for a line of more than `most` bytes
 */
export async function readLine(
  connection: { read(into: Uint8Array): Promise<number | null> },
  most: number,
): Promise<Uint8Array | null> {
  const parts: Uint8Array[] = [];
  for (let size = 0;;) {
    const buffer = new Uint8Array(16 * 1024);
    const count = await connection.read(buffer);
    if (count === null) return null;
    const part = buffer.subarray(0, count);
    const end = part.indexOf(NEWLINE);
    parts.push(end < 0 ? part : part.subarray(0, end));
    size += end < 0 ? count : end;
    if (size > most) {
      throw new UsageError(
        `Cannot read the command: more than ${most} bytes, want a line`,
      );
    }
    if (end >= 0) return joined(parts, size);
  }
}

/** All bytes, whatever their number. */
export async function writeAll(
  connection: { write(bytes: Uint8Array): Promise<number> },
  bytes: Uint8Array,
): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    done += await connection.write(bytes.subarray(done));
  }
}

function joined(parts: readonly Uint8Array[], size: number): Uint8Array {
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
