/**
 * The hashes that a card is checked by.
 *
 * | hash | over | finds |
 * | --- | --- | --- |
 * | row | key, version, value | a value that changed in place |
 * | set | sum of all row hashes mod 2^256 | a row that is gone, or is an old one |
 * | head | head before, generation, changes sorted by key | another history |
| line | hash of the line before, number, time, body | another ledger |
| meta | all of the above: see {@linkcode metaDigest} | a mark that was moved |
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
import type { Head, LedgerLine, LedgerMark, StoredValue } from "./store.ts";

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
  after: Uint8Array | null,
): bigint {
  const removed = before === null ? 0n : toNumber(before);
  const added = after === null ? 0n : toNumber(after);
  return (sum + added - removed + MODULUS) % MODULUS;
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

/** SHA-256 of a line of the ledger, going on from the line before. */
export function lineDigest(
  before: Uint8Array,
  { number, time, body }: Omit<LedgerLine, "hash">,
): Uint8Array {
  const start = new Uint8Array(DIGEST_SIZE + 16);
  start.set(before);
  const view = new DataView(start.buffer);
  view.setBigUint64(DIGEST_SIZE, number);
  view.setBigUint64(DIGEST_SIZE + 8, time);
  return finish(createHash("sha256").update(start).update(body));
}

/** Where a card stands: what its rows and lines have to add up to. */
export interface Meta {
  /** Random bytes that the card was made with. */
  readonly id: Uint8Array;
  readonly head: Head;
  /** Sum of all row hashes. */
  readonly sum: bigint;
  /** The version that a key starts at that is not there. */
  readonly floor: bigint;
  readonly tip: LedgerMark;
  readonly anchor: LedgerMark;
}

/** SHA-256 of where a card stands. */
export function metaDigest(meta: Meta): Uint8Array {
  const { id, head, sum, floor, tip, anchor } = meta;
  const hash = createHash("sha256").update(u64(head.generation));
  hash.update(head.hash).update(sumToBytes(sum)).update(id).update(u64(floor));
  for (const { number, hash: at } of [tip, anchor]) {
    hash.update(u64(number)).update(at);
  }
  return finish(hash);
}

/** The same in schema 1, which knew no floor and no ledger. */
export function firstMetaDigest({ id, head, sum }: Meta): Uint8Array {
  const hash = createHash("sha256").update(u64(head.generation));
  return finish(hash.update(head.hash).update(sumToBytes(sum)).update(id));
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
