/**
 * Merkle roots, and proofs that a transaction is under one.
 *
 * A block's header commits to its transactions through a tree of hashes. A
 * {@link PartialMerkleTree} (BIP 37) is that tree with everything left out that
 * is not on the way to the transactions of interest.
 *
 * The tree has two old weaknesses, and both would let somebody prove what is not
 * there:
 *
 * | weakness | what is done about it |
 * | --- | --- |
 * | a lone node is hashed with itself, so two lists of transactions have one root (CVE-2012-2459) | two equal nodes next to each other are refused |
 * | a node is the hash of 64 bytes, and so is a transaction of 64 bytes: a node may pass for a transaction and a transaction for a node | no node may be read as a transaction, no transaction of 64 bytes is proved |
 *
 * The second check meets an honest block once in 10^9 nodes; such a block can
 * still be shown whole, where the depth of the tree is not the prover's word.
 *
 * Standards: BIP 37 (partial tree). What it does not do: know which header a
 * root belongs to.
 *
 * @module
 */

import { sha256d } from "../crypto/hash.ts";
import { DecodeError } from "../errors.ts";
import type { Reader, Writer } from "../wire/codec.ts";
import { type Txid, txid } from "../wire/types.ts";
import {
  isSameBytes,
  readCompactSize,
  readU32,
  readVarBytes,
  writeCompactSize,
  writeU32,
  writeVarBytes,
} from "./bytes.ts";
import { decodeTx } from "./tx.ts";

/** Most transactions that fit a block: 4,000,000 weight, 240 for the least. */
export const MAX_BLOCK_TXS = 16_666;

/** Size of what a node hashes, and of a transaction that may pass for it. */
export const NODE_SIZE = 64;

/** Part of a tree, enough to prove some of its leaves. */
export interface PartialMerkleTree {
  /** How many transactions the block has. */
  readonly count: number;
  readonly hashes: readonly Uint8Array[];
  /** One bit a node on the way, lowest bit first. */
  readonly flags: Uint8Array;
}

/** What a partial tree proves. */
export interface MerkleMatches {
  readonly root: Uint8Array;
  /** In the order of the block. */
  readonly txids: readonly Txid[];
  /** Their places in the block. */
  readonly places: readonly number[];
}

// ------------------------------------------------------------- the whole tree

/** A root under way: one node a level, as if the txids were a binary counter. */
export interface MerkleSum {
  readonly count: number;
  /** Full subtrees that wait for a right neighbour, by their height. */
  readonly waiting: readonly (Uint8Array | null)[];
  /** Whether two equal nodes stood next to each other (CVE-2012-2459). */
  readonly isMutated: boolean;
}

/** No transactions yet. */
export const EMPTY_SUM: MerkleSum = {
  count: 0,
  waiting: [],
  isMutated: false,
};

/** Takes one more transaction in; what is kept grows with its logarithm only. */
export function addLeaf(sum: MerkleSum, leaf: Uint8Array): MerkleSum {
  const waiting = [...sum.waiting];
  let { isMutated } = sum;
  let node = leaf;
  let level = 0;
  for (let left = waiting[0]; left; left = waiting[++level]) {
    isMutated ||= isSameBytes(left, node);
    node = sha256d(left, node);
    waiting[level] = null;
  }
  waiting[level] = node;
  return { count: sum.count + 1, waiting, isMutated };
}

/** The root of what was taken in; null for nothing. */
export function rootOf(sum: MerkleSum): Uint8Array | null {
  const { waiting } = sum;
  const top = waiting.length - 1;
  let node: Uint8Array | null = null;
  for (const [level, left] of waiting.entries()) {
    if (node === null) {
      // The topmost subtree alone is the root; a lower one is lonely.
      node = left === null || level === top ? left : sha256d(left, left);
    } else if (left !== null) {
      node = sha256d(left, node);
    } else {
      node = sha256d(node, node);
    }
  }
  return node;
}

/** The root of all transactions of a block. */
export function merkleRoot(txids: readonly Uint8Array[]): Uint8Array | null {
  return rootOf(txids.reduce(addLeaf, EMPTY_SUM));
}

// -------------------------------------------------------------- part of a tree

/** Nodes of a level, for a block of `count` transactions. */
function widthAt(count: number, level: number): number {
  return Math.ceil(count / 2 ** level);
}

function heightOf(count: number): number {
  let level = 0;
  while (widthAt(count, level) > 1) level++;
  return level;
}

/** The tree that proves those transactions whose places `isWanted` names. */
export function buildPartialTree(
  txids: readonly Uint8Array[],
  isWanted: (place: number) => boolean,
): PartialMerkleTree {
  const levels = allLevels(txids);
  const bits: boolean[] = [];
  const hashes: Uint8Array[] = [];
  const visit = (level: number, at: number) => {
    const [from, to] = [at * 2 ** level, (at + 1) * 2 ** level];
    const isOnTheWay = txids.slice(from, to)
      .some((_, i) => isWanted(from + i));
    bits.push(isOnTheWay);
    const hash = levels[level]?.[at];
    if (level === 0 || !isOnTheWay) {
      if (hash !== undefined) hashes.push(hash);
      return;
    }
    visit(level - 1, at * 2);
    if (at * 2 + 1 < widthAt(txids.length, level - 1)) {
      visit(level - 1, at * 2 + 1);
    }
  };
  visit(levels.length - 1, 0);
  return { count: txids.length, hashes, flags: packBits(bits) };
}

function allLevels(txids: readonly Uint8Array[]): (readonly Uint8Array[])[] {
  const levels = [txids];
  for (
    let below = txids;
    below.length > 1;
    below = levels[levels.length - 1] ?? []
  ) levels.push(pairUp(below));
  return levels;
}

function pairUp(below: readonly Uint8Array[]): Uint8Array[] {
  return below.flatMap((left, i) =>
    i % 2 === 0 ? [sha256d(left, below[i + 1] ?? left)] : []
  );
}

function packBits(bits: readonly boolean[]): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(bits.length / 8));
  for (const [i, bit] of bits.entries()) {
    if (bit) bytes[i >> 3] = (bytes[i >> 3] ?? 0) | 1 << (i & 7);
  }
  return bytes;
}

/**
 * What a partial tree proves, of a block whose header has this very root.
 *
 * @throws {DecodeError} for a tree that is none
 */
export function extractMatches(tree: PartialMerkleTree): MerkleMatches {
  const { count, hashes, flags } = tree;
  if (count === 0 || count > MAX_BLOCK_TXS) {
    fail(`${count} transactions, want 1 to ${MAX_BLOCK_TXS}`);
  }
  if (hashes.length > count || flags.length * 8 < hashes.length) {
    fail(`${hashes.length} hashes, want at most one a transaction and flag`);
  }
  const walk = { tree, bits: 0, hashes: 0, txids: [], places: [] };
  const root = extractAt(walk, heightOf(count), 0);
  if (Math.ceil(walk.bits / 8) !== flags.length) {
    fail(`${flags.length} bytes of flags, want ${Math.ceil(walk.bits / 8)}`);
  }
  if (walk.hashes !== hashes.length) {
    fail(`${hashes.length} hashes, want ${walk.hashes}`);
  }
  return { root, txids: walk.txids, places: walk.places };
}

/** How far a tree has been read, and what was found. */
interface Walk {
  readonly tree: PartialMerkleTree;
  bits: number;
  hashes: number;
  readonly txids: Txid[];
  readonly places: number[];
}

function extractAt(walk: Walk, level: number, at: number): Uint8Array {
  const isOnTheWay = takeBit(walk);
  if (level === 0 || !isOnTheWay) {
    const hash = takeHash(walk);
    if (level === 0 && isOnTheWay) {
      walk.txids.push(hash);
      walk.places.push(at);
    }
    return hash;
  }
  const left = extractAt(walk, level - 1, at * 2);
  if (at * 2 + 1 >= widthAt(walk.tree.count, level - 1)) {
    return sha256d(left, left);
  }
  const right = extractAt(walk, level - 1, at * 2 + 1);
  if (isSameBytes(left, right)) fail("two equal nodes, want two that differ");
  if (isReadAsTx(left, right)) fail("a node that is a transaction, want none");
  return sha256d(left, right);
}

function takeBit(walk: Walk): boolean {
  const { flags } = walk.tree;
  const at = walk.bits++;
  const byte = flags[at >> 3] ?? fail(`${flags.length * 8} flags, want more`);
  return (byte >> (at & 7) & 1) === 1;
}

function takeHash(walk: Walk): Txid {
  const { hashes } = walk.tree;
  const hash = hashes[walk.hashes++];
  if (hash === undefined) fail(`${hashes.length} hashes, want more`);
  // A leaf or a node; whoever takes it for a txid knows that it is a leaf.
  return hash as Txid;
}

const ALL_COINS = 21_000_000n * 100_000_000n;

/** Whether the 64 bytes under a node might be a transaction of a block. */
function isReadAsTx(left: Uint8Array, right: Uint8Array): boolean {
  // One input, or it does not fit: byte 4 says, and is wrong 255 times of 256.
  if (left[4] !== 1) return false;
  try {
    const { outputs } = decodeTx(Uint8Array.of(...left, ...right), {
      isLegacy: true,
    });
    return outputs.length > 0 &&
      outputs.every(({ amount }) => amount <= ALL_COINS);
  } catch (error) {
    if (error instanceof DecodeError) return false;
    throw error;
  }
}

function fail(problem: string): never {
  throw new DecodeError("partial merkle tree", "", 0, problem);
}

/** Reads a tree as BIP 37 has it. */
export function readPartialTree(reader: Reader): PartialMerkleTree {
  const count = readU32(reader);
  const size = readCompactSize(reader);
  if (size > MAX_BLOCK_TXS) {
    reader.fail(`${size} hashes, want at most ${MAX_BLOCK_TXS}`);
  }
  const hashes = Array.from(
    { length: size },
    (_, i) => reader.within(`hashes.${i}`, () => txid.decode(reader)),
  );
  return { count, hashes, flags: readVarBytes(reader) };
}

/** Writes a tree as BIP 37 has it. */
export function writePartialTree(
  writer: Writer,
  tree: PartialMerkleTree,
): void {
  writeU32(writer, tree.count);
  writeCompactSize(writer, tree.hashes.length);
  for (const hash of tree.hashes) writer.bytes(hash);
  writeVarBytes(writer, tree.flags);
}
