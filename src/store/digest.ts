/**
 * The hashes that a card is checked by.
 *
 * | hash | over | finds |
 * | --- | --- | --- |
 * | row | key, version, value | a value that changed in place |
 * | set | sum of all row hashes mod 2^256 | a row that is gone, or is an old one |
 * | head | head before, generation, changes sorted by key | another history |
 *
 * The sum costs one addition and one subtraction a change, whatever the size of
 * the card. It is a check against damage and old copies: whoever can write the
 * file can also write matching hashes, and only somebody else's memory of the
 * head tells (`broker/card_heads.ts`).
 *
 * What it does not do: read or write a card.
 *
 * @module
 */

import { createHash, type Hash } from "node:crypto";
import type { Head, StoredValue } from "./store.ts";

/** Size of every hash here. */
export const DIGEST_SIZE = 32;

/** Where a card starts: nothing has been written. */
export const GENESIS: Head = {
  generation: 0n,
  hash: new Uint8Array(DIGEST_SIZE),
};

const MODULUS = 1n << 256n;
const text = new TextEncoder();

/** SHA-256 of one row. */
export function rowDigest(row: StoredValue): Uint8Array {
  const hash = createHash("sha256");
  addRow(hash, row);
  return finish(hash);
}

/** The set's sum with one row taken out and one put in. */
export function replaceInSum(
  sum: bigint,
  before: Uint8Array | null,
  after: Uint8Array,
): bigint {
  const removed = before === null ? 0n : toNumber(before);
  return (sum + toNumber(after) - removed + MODULUS) % MODULUS;
}

/** A sum, as 32 bytes. */
export function sumToBytes(sum: bigint): Uint8Array {
  return Uint8Array.fromHex(sum.toString(16).padStart(2 * DIGEST_SIZE, "0"));
}

/** A sum, from 32 bytes. */
export function toNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${bytes.toHex()}`);
}

/** The head after a commit of these rows, sorted by key. */
export function nextHead(head: Head, rows: readonly StoredValue[]): Head {
  const generation = head.generation + 1n;
  const hash = createHash("sha256");
  hash.update(head.hash);
  hash.update(u64(generation));
  for (const row of rows) addRow(hash, row);
  return { generation, hash: finish(hash) };
}

/** Sorts rows or changes the way they are hashed: by the bytes of their keys. */
export function sortByKey<T extends { readonly key: string }>(
  rows: readonly T[],
): readonly T[] {
  return rows.toSorted((a, b) => a.key < b.key ? -1 : a.key > b.key ? 1 : 0);
}

function addRow(hash: Hash, { key, version, value }: StoredValue): void {
  const name = text.encode(key);
  hash.update(u64(BigInt(name.length)));
  hash.update(name);
  hash.update(u64(version));
  hash.update(u64(BigInt(value.length)));
  hash.update(value);
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

function finish(hash: Hash): Uint8Array {
  return new Uint8Array(hash.digest());
}
