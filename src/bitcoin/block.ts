/**
 * Whole blocks, in pieces of any size.
 *
 * A block may have four million bytes and come over a slow line; whoever checks
 * it must not need to hold it. A {@link BlockStream} takes the bytes as they
 * come, gives each transaction to a visitor, and keeps of it all: the header,
 * one merkle node a level, eight bytes for each input (the block's filter is
 * made of those), and the transaction that is under way, without its witness and
 * a million bytes at most.
 *
 * A block that ends well is the header's block: its transactions have the
 * header's merkle root, none is there twice (CVE-2012-2459), the first and only
 * the first is a coinbase. That last rule also settles the depth of the tree,
 * so that no row of nodes passes for transactions of 64 bytes.
 *
 * What it does not do: check scripts, amounts, witnesses or the header's work.
 *
 * @module
 */

import { DecodeError } from "../errors.ts";
import { Writer } from "../wire/codec.ts";
import type { BlockHash, Txid } from "../wire/types.ts";
import { isSameBytes, writeCompactSize } from "./bytes.ts";
import { filterOfHashes, hashElement, outpointBytes } from "./filter.ts";
import {
  type BlockHeader,
  decodeHeader,
  hashHeader,
  HEADER_SIZE,
} from "./header.ts";
import {
  addLeaf,
  EMPTY_SUM,
  MAX_BLOCK_TXS,
  type MerkleSum,
  rootOf,
} from "./merkle.ts";
import { decodeTx, type Tx, txidOf } from "./tx.ts";

/** Most bytes that a block's weight allows. */
export const MAX_BLOCK_SIZE = 4_000_000;
/** Most bytes of a transaction without its witness, by weight. */
const MAX_BARE_SIZE = 1_000_000;
/** Long parts are read in pieces: what waits for its end stays small. */
const PIECE = 4096;

/** A block that was seen from its first byte to its last. */
export interface SeenBlock {
  readonly header: BlockHeader;
  readonly hash: BlockHash;
  readonly count: number;
  /** The TXOO filter: which outpoints the block's inputs name. */
  readonly filter: Uint8Array;
}

/** Gets every transaction of a block, in order and without its witness. */
export type TxVisitor = (tx: Tx, txid: Txid) => void;

/** Gets the header before anything else; a throw from here ends the stream. */
export type HeaderVisitor = (header: BlockHeader, hash: BlockHash) => void;

/** Asks for so many bytes, gets them, and at last gives a value. */
type Parser<T> = Generator<number, T, Uint8Array>;

/** Reads one block. */
export class BlockStream {
  readonly #parser: Parser<SeenBlock>;
  #wanted = 0;
  #rest = new Uint8Array(0);
  #size = 0;
  #seen: SeenBlock | null = null;

  constructor(visit: TxVisitor, atHeader: HeaderVisitor = () => {}) {
    this.#parser = readBlock(visit, atHeader);
    this.#resume(new Uint8Array(0));
  }

  /** Bytes so far; the next piece starts here. */
  get size(): number {
    return this.#size;
  }

  /**
   * Takes the next bytes. After a failure the stream is of no more use.
   *
   * @throws {DecodeError} when the block cannot be one
   */
  push(bytes: Uint8Array): void {
    this.#size += bytes.length;
    if (this.#size > MAX_BLOCK_SIZE) {
      fail(this.#size, `${this.#size} bytes, want ${MAX_BLOCK_SIZE} or less`);
    }
    const all = new Uint8Array(this.#rest.length + bytes.length);
    all.set(this.#rest);
    all.set(bytes, this.#rest.length);
    let at = 0;
    while (this.#seen === null && all.length - at >= this.#wanted) {
      const piece = all.subarray(at, at + this.#wanted);
      at += this.#wanted;
      this.#resume(piece);
    }
    this.#rest = all.slice(at);
    if (this.#seen !== null && this.#rest.length > 0) {
      fail(this.#size, `${this.#rest.length} bytes left over, want 0`);
    }
  }

  /** The block. @throws {DecodeError} when its end is missing */
  finish(): SeenBlock {
    return this.#seen ?? fail(this.#size, "no end, want one");
  }

  #resume(piece: Uint8Array): void {
    const step = this.#parser.next(piece);
    if (step.done) this.#seen = step.value;
    else this.#wanted = step.value;
  }
}

/** Reads a block that is there in one piece. @throws {DecodeError} */
export function seeBlock(bytes: Uint8Array, visit: TxVisitor): SeenBlock {
  const stream = new BlockStream(visit);
  stream.push(bytes);
  return stream.finish();
}

function* readBlock(
  visit: TxVisitor,
  atHeader: HeaderVisitor,
): Parser<SeenBlock> {
  const header = decodeHeader((yield HEADER_SIZE).slice());
  const hash = hashHeader(header);
  atHeader(header, hash);
  const count = yield* readSize();
  if (count === 0 || count > MAX_BLOCK_TXS) {
    fail(HEADER_SIZE, `${count} transactions, want 1 to ${MAX_BLOCK_TXS}`);
  }
  const spent: bigint[] = [];
  let sum = EMPTY_SUM;
  for (let i = 0; i < count; i++) {
    const tx = decodeTx(yield* readBareTx(), { isLegacy: true });
    checkCoinbase(tx, i);
    const txid = txidOf(tx);
    sum = addLeaf(sum, txid);
    for (const input of tx.inputs) {
      spent.push(hashElement(hash, outpointBytes(input)));
    }
    visit(tx, txid);
  }
  checkRoot(sum, header);
  return { header, hash, count, filter: filterOfHashes(spent) };
}

function checkRoot(sum: MerkleSum, { merkleRoot }: BlockHeader): void {
  const root = rootOf(sum);
  if (root === null || !isSameBytes(root, merkleRoot)) {
    fail(0, `merkle root ${root?.toHex()}, want ${merkleRoot.toHex()}`);
  }
  if (sum.isMutated) fail(0, "transactions that are there twice, want none");
}

/** The first transaction makes coins out of nothing, and no other does. */
function checkCoinbase(tx: Tx, place: number): void {
  const isNull = tx.inputs.some(({ txid, index }) =>
    index === 0xffff_ffff && txid.every((byte) => byte === 0)
  );
  const isWanted = place === 0;
  if (isNull !== isWanted || isWanted && tx.inputs.length !== 1) {
    const what = isWanted ? "no coinbase" : "a coinbase";
    fail(0, `transaction ${place} is ${what}, want one in the first place`);
  }
}

/** A transaction's bytes without marker, flag and witnesses. */
function* readBareTx(): Parser<Uint8Array> {
  const bare = new BareTx();
  bare.add(yield 4);
  let inputs = yield* readSize();
  const hasWitness = inputs === 0;
  if (hasWitness) {
    const [flag] = yield 1;
    if (flag !== 1) fail(0, `witness flag ${flag}, want 1`);
    inputs = yield* readSize();
  }
  bare.addSize(inputs);
  for (let i = 0; i < inputs; i++) {
    bare.add(yield 36);
    yield* copySized(bare);
    bare.add(yield 4);
  }
  const outputs = yield* readSize();
  bare.addSize(outputs);
  for (let i = 0; i < outputs; i++) {
    bare.add(yield 8);
    yield* copySized(bare);
  }
  for (let i = 0; hasWitness && i < inputs; i++) yield* skipWitness();
  bare.add(yield 4);
  return bare.finish();
}

function* copySized(bare: BareTx): Parser<void> {
  let left = yield* readSize();
  bare.addSize(left);
  while (left > 0) {
    const piece = yield Math.min(left, PIECE);
    bare.add(piece);
    left -= piece.length;
  }
}

function* skipWitness(): Parser<void> {
  const items = yield* readSize();
  for (let i = 0; i < items; i++) {
    let left = yield* readSize();
    while (left > 0) left -= (yield Math.min(left, PIECE)).length;
  }
}

const LEADS: ReadonlyMap<number, { size: number; least: number }> = new Map([
  [0xfd, { size: 2, least: 0xfd }],
  [0xfe, { size: 4, least: 0x1_0000 }],
]);

/** A CompactSize in its shortest form, which is the only one in a block. */
function* readSize(): Parser<number> {
  const [lead = 0] = yield 1;
  if (lead < 0xfd) return lead;
  const form = LEADS.get(lead) ?? fail(0, "a count of 64 bits, want less");
  const bytes = yield form.size;
  const value = bytes.reduceRight((sum, byte) => sum * 256 + byte, 0);
  if (value < form.least || value > MAX_BLOCK_SIZE) {
    fail(
      0,
      `count ${value} in ${form.size} bytes, want ${form.least} to ${MAX_BLOCK_SIZE}`,
    );
  }
  return value;
}

/** Bytes of one transaction, as many as may be. */
class BareTx {
  readonly #writer = new Writer();
  #size = 0;

  add(bytes: Uint8Array): void {
    this.#size += bytes.length;
    if (this.#size > MAX_BARE_SIZE) {
      fail(0, `a transaction of more than ${MAX_BARE_SIZE} bytes, want less`);
    }
    this.#writer.bytes(bytes);
  }

  addSize(value: number): void {
    writeCompactSize(this.#writer, value);
  }

  finish(): Uint8Array {
    return this.#writer.finish();
  }
}

function fail(offset: number, problem: string): never {
  throw new DecodeError("block", "", offset, problem);
}
