/**
 * Compact block filters: a set of byte strings in twenty bits each, which never
 * denies what is in it and claims what is not once in 784,931 times.
 *
 * Each element becomes a number below N·M by SipHash; the sorted numbers'
 * differences are written as Golomb-Rice codes. A filter header chains the
 * filters of all blocks, so that one hash says what every filter was.
 *
 * | filter | elements | who wants it |
 * | --- | --- | --- |
 * | basic (BIP 158) | output scripts made and spent, no OP_RETURN | light wallets |
 * | TXOO | outpoints that the block's inputs name | VLS signers |
 *
 * Both have P = 19, M = 784931, and the block's hash as key.
 *
 * Standards: BIP 158 (filters), BIP 157 (filter headers). What it does not do:
 * fetch filters, or know whether a filter is the block's.
 *
 * @module
 */

import { sha256d } from "../crypto/hash.ts";
import { decode, fixed, Reader, Writer } from "../wire/codec.ts";
import { readCompactSize, writeCompactSize } from "./bytes.ts";
import { sipHash } from "./siphash.ts";
import type { Tx, TxInput } from "./tx.ts";

/** Bits of a difference that are written as they are. */
const REMAINDER_BITS = 19;
const REMAINDER = 2 ** REMAINDER_BITS;
/** One false positive in so many. */
const INVERSE_RATE = 784_931n;
/** No block has more bytes, and none has more elements than bytes. */
const MAX_ELEMENTS = 4_000_000;

const OP_RETURN = 0x6a;

/** The filter of a set of elements; `key` is the block's hash. */
export function buildFilter(
  key: Uint8Array,
  elements: Iterable<Uint8Array>,
): Uint8Array<ArrayBuffer> {
  return filterOfHashes([...elements].map((bytes) => hashElement(key, bytes)));
}

/** What a filter keeps of an element; hashes of equal elements are equal. */
export function hashElement(key: Uint8Array, element: Uint8Array): bigint {
  return sipHash(key.subarray(0, 16), element);
}

/** The filter of elements of which only the hashes were kept. */
export function filterOfHashes(
  hashes: Iterable<bigint>,
): Uint8Array<ArrayBuffer> {
  const unique = new Set(hashes);
  const range = rangeOf(unique.size);
  const values = [...unique].map((hash) => place(hash, range))
    .sort((a, b) => a - b);
  const writer = new Writer();
  writeCompactSize(writer, values.length);
  const bits = new BitWriter();
  let last = 0;
  for (const value of values) {
    writeGolomb(bits, value - last);
    last = value;
  }
  writer.bytes(bits.finish());
  return writer.finish();
}

/**
 * Which of the elements a filter claims to hold.
 *
 * @throws {DecodeError} for bytes that are no filter
 */
export function matchFilter<T extends Uint8Array>(
  filter: Uint8Array,
  key: Uint8Array,
  elements: readonly T[],
): readonly T[] {
  const { count, values } = readFilter(filter);
  const range = rangeOf(count);
  return elements.filter((element) =>
    values.has(place(hashElement(key, element), range))
  );
}

/** What is in a filter. */
export interface FilterContent {
  /** How many elements went in; two of them may be one number. */
  readonly count: number;
  readonly values: ReadonlySet<number>;
}

/** Reads a filter. @throws {DecodeError} */
export function readFilter(filter: Uint8Array): FilterContent {
  const reader = new Reader(filter, "block filter");
  const count = readCompactSize(reader);
  if (count > MAX_ELEMENTS) {
    reader.fail(`${count} elements, want at most ${MAX_ELEMENTS}`);
  }
  const range = Number(rangeOf(count));
  const bits = new BitReader(reader);
  const values = new Set<number>();
  let value = 0;
  for (let i = 0; i < count; i++) {
    value += readGolomb(bits);
    if (value >= range) reader.fail(`${value}, want less than ${range}`);
    values.add(value);
  }
  if (reader.remaining > 0) {
    reader.fail(`${reader.remaining} bytes left over, want 0`);
  }
  return { count, values };
}

/** The hash of a filter, as filter headers have it. */
export function hashFilter(filter: Uint8Array): Uint8Array {
  return sha256d(filter);
}

/** BIP 157: the header of a filter, after that of the block before. */
export function filterHeader(
  filter: Uint8Array,
  previous: Uint8Array,
): Uint8Array {
  return sha256d(hashFilter(filter), decode(HEADER, previous));
}

const HEADER = fixed("filter header", 32);

/**
 * BIP 158: what the basic filter of a block holds.
 *
 * `spent` are the scripts of the outputs that the block's inputs spend.
 */
export function basicElements(
  txs: readonly Tx[],
  spent: readonly Uint8Array[],
): Uint8Array[] {
  const made = txs.flatMap(({ outputs }) => outputs)
    .map(({ script }) => script)
    .filter((script) => script[0] !== OP_RETURN);
  return [...made, ...spent].filter((script) => script.length > 0);
}

/** An outpoint as a transaction has it: 36 bytes, the element of TXOO. */
export function outpointBytes(
  { txid, index }: Pick<TxInput, "txid" | "index">,
): Uint8Array {
  const bytes = new Uint8Array(36);
  bytes.set(txid);
  new DataView(bytes.buffer).setUint32(32, index, true);
  return bytes;
}

function rangeOf(count: number): bigint {
  return BigInt(count) * INVERSE_RATE;
}

/** A hash in the range: its share of all hashes is its share of the range. */
function place(hash: bigint, range: bigint): number {
  return Number(hash * range >> 64n);
}

function writeGolomb(bits: BitWriter, value: number): void {
  for (let ones = Math.floor(value / REMAINDER); ones > 0; ones--) bits.bit(1);
  bits.bit(0);
  for (let at = REMAINDER_BITS - 1; at >= 0; at--) bits.bit(value >> at & 1);
}

function readGolomb(bits: BitReader): number {
  let value = 0;
  while (bits.bit() === 1) value += REMAINDER;
  let rest = 0;
  for (let i = 0; i < REMAINDER_BITS; i++) rest = rest * 2 + bits.bit();
  return value + rest;
}

/** Bits into bytes, the highest first. */
class BitWriter {
  readonly #writer = new Writer();
  #byte = 0;
  #used = 0;

  bit(bit: number): void {
    this.#byte = this.#byte << 1 | bit;
    if (++this.#used === 8) this.#flush();
  }

  finish(): Uint8Array {
    while (this.#used > 0) this.bit(0);
    return this.#writer.finish();
  }

  #flush(): void {
    this.#writer.u8(this.#byte);
    this.#byte = 0;
    this.#used = 0;
  }
}

/** Bytes into bits, the highest first. */
class BitReader {
  readonly #reader: Reader;
  #byte = 0;
  #left = 0;

  constructor(reader: Reader) {
    this.#reader = reader;
  }

  bit(): number {
    if (this.#left === 0) {
      this.#byte = this.#reader.u8();
      this.#left = 8;
    }
    return this.#byte >> --this.#left & 1;
  }
}
