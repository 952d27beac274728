/**
 * The sum over the whole file of a card: SHA-256 of its bytes, in a file beside
 * it, from a clean stop to the next start.
 *
 * The hashes inside a card cover what is in use; this one covers every byte, so
 * that after a clean stop no flipped one is left unseen, in the sum file
 * neither. A card that was not stopped cleanly has no sum file, and is verified
 * by what is inside it.
 *
 * | step | the file | its sum |
 * | --- | --- | --- |
 * | start | locked, compared, verified | removed, the folder synced |
 * | in use | written | none |
 * | stop | the log is copied into it, synced, closed | written aside, synced, renamed |
 *
 * So there is never an old sum beside a newer file, wherever the power fails.
 *
 * What it does not do: lock; protect against somebody who can write both.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { damaged } from "./faults.ts";

const PIECE = 1 << 16;

/** Where the sum of a card's file is. */
export function sumPathOf(path: string): string {
  return `${path}.sum`;
}

/** Size of a file in bytes; null when there is none. */
export function sizeOf(path: string): number | null {
  try {
    return Deno.statSync(path).size;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Removes a file that may be there. */
export function removeIfThere(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** SHA-256 of all bytes of an open file, in hex, a piece at a time. */
export function hashFile(file: Deno.FsFile): string {
  const hash = createHash("sha256");
  const piece = new Uint8Array(PIECE);
  file.seekSync(0, Deno.SeekMode.Start);
  for (;;) {
    const size = file.readSync(piece);
    if (size === null) return hash.digest("hex");
    hash.update(piece.subarray(0, size));
  }
}

/** The sum that is kept, or null. @throws {StoreError} when it is none */
export function readSum(path: string): string | null {
  if (sizeOf(sumPathOf(path)) === null) return null;
  const text = new TextDecoder("latin1").decode(
    Deno.readFileSync(sumPathOf(path)),
  );
  const found = /^([0-9a-f]{64})\n$/.exec(text)?.[1];
  if (found !== undefined) return found;
  throw damaged(path, `${sumPathOf(path)} is no SHA-256 any more`);
}

/** Compares a file with the sum that is kept, if one is. @throws {StoreError} */
export function compareSum(path: string, file: Deno.FsFile): string | null {
  const wanted = readSum(path);
  if (wanted === null || hashFile(file) === wanted) return wanted;
  throw damaged(
    path,
    `it and ${sumPathOf(path)} do not fit; one of the two has changed since ` +
      "the softkey was stopped",
  );
}

/** Keeps a sum: durable when this returns, whole or not there at all. */
export function writeSum(path: string, sum: string): void {
  const aside = `${sumPathOf(path)}.new`;
  {
    using file = Deno.openSync(aside, {
      write: true,
      create: true,
      truncate: true,
      mode: 0o600,
    });
    const bytes = new TextEncoder().encode(`${sum}\n`);
    for (let at = 0; at < bytes.length;) {
      at += file.writeSync(bytes.subarray(at));
    }
    file.syncSync();
  }
  Deno.renameSync(aside, sumPathOf(path));
  syncFolderOf(path);
}

/** Puts the sum away: durable when this returns. */
export function removeSum(path: string): void {
  removeIfThere(sumPathOf(path));
  syncFolderOf(path);
}

/** A new file is durable once its folder is. */
export function syncFolderOf(path: string): void {
  const end = path.lastIndexOf("/");
  const folder = end < 0 ? "." : path.slice(0, Math.max(end, 1));
  using handle = Deno.openSync(folder);
  handle.syncSync();
}
