/**
 * What may be stored: form and bounds of a put, and which versions fit.
 *
 * | rule | why |
 * | --- | --- |
 * | keys rise, byte by byte | the MAC is over the entries in one order |
 * | a version is one more, or 0 for a new key | a second writer shows |
 * | bounds | whoever can log in could fill the node's disk |
 *
 * Facts: VLS lightning-storage-server; the bounds are ours.
 *
 * @module
 */

import type { LssEntry } from "../../wire/lss.ts";
import { StorageRefused } from "../storage.ts";

/** How much is kept. */
export const LIMITS = {
  clients: 16,
  /** Of one client. */
  entries: 20_000,
  /** Of one client, keys and values, in bytes. */
  total: 64 * 2 ** 20,
  /** In one put. */
  entriesOfPut: 20_000,
  keyBytes: 512,
  valueBytes: 4 * 2 ** 20,
} as const;

/** SQLite's and protobuf's largest integer. */
const LARGEST_VERSION = 2n ** 63n - 1n;
/** What stands for a key that is not there. */
export const NO_VERSION = -1n;

const utf8 = new TextEncoder();

/** Throws for entries that no storage takes. @throws {StorageRefused} */
export function checkForm(entries: readonly LssEntry[]): void {
  if (entries.length > LIMITS.entriesOfPut) {
    refuse(`${entries.length} entries in one put`, LIMITS.entriesOfPut);
  }
  let before: Uint8Array | null = null;
  for (const { key, version, value } of entries) {
    const bytes = utf8.encode(key);
    checkKey(bytes);
    if (before !== null && compareBytes(before, bytes) >= 0) {
      throw new StorageRefused("Cannot store: keys out of order, want rising");
    }
    if (version < 0n || version > LARGEST_VERSION) {
      refuse(`version ${version}`, LARGEST_VERSION);
    }
    if (value.length > LIMITS.valueBytes) {
      refuse(`value of ${value.length} bytes`, LIMITS.valueBytes);
    }
    before = bytes;
  }
}

function checkKey(bytes: Uint8Array): void {
  const isPlain = bytes.every((byte) => byte >= 0x20 && byte !== 0x7f);
  if (bytes.length > 0 && bytes.length <= LIMITS.keyBytes && isPlain) return;
  throw new StorageRefused(
    `Cannot store: key of ${bytes.length} bytes, want 1 to ` +
      `${LIMITS.keyBytes} without control characters`,
  );
}

/** Throws the words for what is too much. */
export function refuse(found: string, most: number | bigint): never {
  throw new StorageRefused(`Cannot store: ${found}, want at most ${most}`);
}

function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const shorter = Math.min(a.length, b.length);
  for (let i = 0; i < shorter; i += 1) {
    const difference = (a[i] ?? 0) - (b[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return a.length - b.length;
}

/** Whether a version may follow what is there. */
export function isNext(version: bigint, there: LssEntry | null): boolean {
  return version === (there?.version ?? NO_VERSION) + 1n;
}

/** Whether exactly the entries of a put are what is there. */
export function holdsExactly(
  entries: readonly LssEntry[],
  there: readonly LssEntry[],
): boolean {
  if (entries.length !== there.length) return false;
  const byKey = new Map(there.map((entry) => [entry.key, entry]));
  return entries.every((entry) => isEqual(entry, byKey.get(entry.key)));
}

function isEqual(a: LssEntry, b: LssEntry | undefined): boolean {
  return b !== undefined && a.version === b.version &&
    a.value.length === b.value.length &&
    a.value.every((byte, i) => byte === b.value[i]);
}

/** Why a put does not fit, for the operator. */
export function explainConflict(
  entries: readonly LssEntry[],
  there: readonly LssEntry[],
): string {
  const byKey = new Map(there.map((entry) => [entry.key, entry.version]));
  const odd = entries.find(({ key }) => byKey.has(key));
  if (odd === undefined) return "the storage did not say why";
  const found = byKey.get(odd.key) ?? NO_VERSION;
  const what = shortKey(odd.key);
  if (found + 1n < odd.version) {
    const has = found < 0n ? "nothing" : `version ${found}`;
    return `it writes version ${odd.version} of ${what}, the storage has ` +
      `${has}: an old copy of the storage was put back, or the device was ` +
      "used with another one";
  }
  return `it writes version ${odd.version} of ${what}, the storage has ` +
    `version ${found} already: another device was first`;
}

/** Keys hold long ids; their kind is enough for a person. */
function shortKey(key: string): string {
  const kind = key.split("/").slice(0, 2).join("/");
  return kind.replace(/[^\x20-\x7e]/g, "?").slice(0, 40);
}
