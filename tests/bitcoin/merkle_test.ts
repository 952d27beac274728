/**
 * Merkle trees: real blocks of mainnet, and trees of every small size in which
 * everything that could be left out is.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  addLeaf,
  buildPartialTree,
  EMPTY_SUM,
  extractMatches,
  MAX_BLOCK_TXS,
  merkleRoot,
  type PartialMerkleTree,
  readPartialTree,
  rootOf,
  writePartialTree,
} from "../../src/bitcoin/merkle.ts";
import { decodeTx, encodeTxWithoutWitness } from "../../src/bitcoin/tx.ts";
import { sha256, sha256d } from "../../src/crypto/hash.ts";
import { DecodeError } from "../../src/errors.ts";
import { Reader, Writer } from "../../src/wire/codec.ts";
import { bytes, runs } from "../support/arbitrary.ts";
import { hex } from "../support/codec_cases.ts";

const leaf = (i: number) => sha256(Uint8Array.of(i, i >> 8));
const leaves = (count: number) =>
  Array.from({ length: count }, (_, i) => leaf(i));

function encodeTree(tree: PartialMerkleTree): Uint8Array {
  const writer = new Writer();
  writePartialTree(writer, tree);
  return writer.finish();
}

function decodeTree(bytes: Uint8Array): PartialMerkleTree {
  const reader = new Reader(bytes, "tree");
  return reader.window(bytes.length, () => readPartialTree(reader));
}

/** What was read, or null when it was refused in the declared way. */
function valueOrNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/** The root as the textbook has it: pair up, repeat. */
function plainRoot(level: readonly Uint8Array[]): Uint8Array | undefined {
  if (level.length <= 1) return level[0];
  return plainRoot(
    level.flatMap((left, i) =>
      i % 2 === 0 ? [sha256d(left, level[i + 1] ?? left)] : []
    ),
  );
}

Deno.test("Block 170 of mainnet, the first with two transactions", () => {
  const txids = [
    "b1fea52486ce0c62bb442b530a3f0132b826c74e473d1f2c220bfa78111c5082",
    "f4184fc596403b9d638783cf57adfe4c75c605f6356fbc91338530e9831e9e16",
  ].map((text) => hex(text).toReversed());
  assert.equal(
    merkleRoot(txids)?.toHex(),
    "ff104ccb05421ab93e63f8c3ce5c2c2e9dbb37de2764b3a3175c8166562cac7d",
  );
});

Deno.test("A merkleblock of Bitcoin Core, block 100005 of mainnet", () => {
  // bloom_tests.cpp, merkle_block_3_and_serialize: what follows the header.
  const root =
    "b50cc069d6a3e33e3ff84a5c41d9d3febe7c770fdcc96b2c3ff60abe184f1963";
  const bytes = `0100000001${root}0101`;
  const tree = buildPartialTree([hex(root)], () => true);
  assert.equal(encodeTree(tree).toHex(), bytes);
  const { root: proved, txids, places } = extractMatches(
    decodeTree(hex(bytes)),
  );
  assert.equal(proved.toHex(), root);
  assert.deepEqual([txids[0]?.toHex(), places], [root, [0]]);
});

Deno.test("A root grows leaf by leaf as it does from all of them", () => {
  let sum = EMPTY_SUM;
  assert.equal(rootOf(sum), null);
  for (let count = 1; count <= 70; count++) {
    sum = addLeaf(sum, leaf(count - 1));
    assert.deepEqual(rootOf(sum), plainRoot(leaves(count)), `${count} leaves`);
    assert.equal(sum.count, count);
    assert.equal(sum.isMutated, false);
    assert.ok(sum.waiting.length <= 7);
  }
});

Deno.test("A list that repeats its end is seen to be mutated (CVE-2012-2459)", () => {
  const cases = [
    [[0, 1, 2], [0, 1, 2, 2]],
    [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 4, 5]],
    [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 4]],
    [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 4, 4, 4]],
  ] as const;
  for (const [honest, mutated] of cases) {
    const sums = [honest, mutated].map((list) =>
      list.map(leaf).reduce(addLeaf, EMPTY_SUM)
    );
    const roots = sums.map(rootOf);
    assert.deepEqual(roots[0], roots[1]);
    assert.deepEqual(sums.map(({ isMutated }) => isMutated), [false, true]);
  }
});

Deno.test("Any choice of any block's transactions is proved and nothing else", () => {
  const choice = fc.integer({ min: 1, max: 70 }).chain((count) =>
    fc.tuple(fc.constant(count), fc.subarray([...Array(count).keys()]))
  );
  fc.assert(
    fc.property(choice, ([count, wanted]) => {
      const txids = leaves(count);
      const tree = buildPartialTree(txids, (place) => wanted.includes(place));
      assert.deepEqual(decodeTree(encodeTree(tree)), tree);
      const matches = extractMatches(tree);
      assert.deepEqual(matches.root, merkleRoot(txids));
      assert.deepEqual(matches.places, wanted);
      assert.deepEqual(matches.txids, wanted.map(leaf));
    }),
    { numRuns: runs() },
  );
});

Deno.test("A changed tree has another root or is none", () => {
  const txids = leaves(11);
  const root = merkleRoot(txids);
  const tree = buildPartialTree(txids, (place) => place % 4 === 1);
  const whole = encodeTree(tree);
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const changed = whole.slice();
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ 1 << (bit & 7);
    const found = valueOrNull(() => extractMatches(decodeTree(changed)));
    if (found?.root.toHex() !== root?.toHex()) continue;
    // A neighbour's hash is in the tree: to claim it is to say the truth.
    assert.deepEqual(found?.txids, found?.places.map(leaf));
  }
});

Deno.test("Trees that are none are refused", () => {
  const tree = buildPartialTree(leaves(7), (place) => place === 2);
  const bad: PartialMerkleTree[] = [
    { ...tree, count: 0 },
    { ...tree, count: MAX_BLOCK_TXS + 1 },
    { ...tree, count: 3 },
    { ...tree, hashes: tree.hashes.slice(1) },
    { ...tree, hashes: [...tree.hashes, leaf(9)] },
    { ...tree, flags: new Uint8Array(0) },
    { ...tree, flags: Uint8Array.of(...tree.flags, 0) },
    { count: 1, hashes: [leaf(0), leaf(1)], flags: Uint8Array.of(1) },
  ];
  for (const one of bad) assert.throws(() => extractMatches(one), DecodeError);
  // The left half shown twice, as if four transactions were eight.
  const four = leaves(4);
  const twice = buildPartialTree([...four, ...four], (place) => place === 5);
  assert.throws(() => extractMatches(twice), /two equal nodes/);
  const writer = new Writer();
  writer.bytes(hex("01000000 fd1b41"));
  writer.bytes(new Uint8Array(16_667 * 32));
  assert.throws(() => decodeTree(writer.finish()), /want at most/);
});

Deno.test("A transaction of 64 bytes does not pass for a node", () => {
  // One input, one output, four bytes of script: its second half is a "txid".
  const hidden = hex(
    "02000000 01" + "ab".repeat(36) + "04" + "51515151" + "ffffffff" +
      "01 0100000000000000 00 00000000",
  );
  assert.equal(hidden.length, 64);
  assert.equal(encodeTxWithoutWitness(decodeTx(hidden)).length, 64);
  const real = [sha256d(hidden), leaf(1)];
  // The real block has 2 transactions, the claim is 4: one is in the first.
  const claim = {
    count: 4,
    hashes: [hidden.subarray(0, 32), hidden.subarray(32), leaf(1)],
    flags: Uint8Array.of(0b01011),
  };
  assert.deepEqual(merkleRoot(real), sha256d(sha256d(hidden), leaf(1)));
  assert.throws(() => extractMatches(claim), /a node that is a transaction/);
  // Without an amount that exists it is a node like any other.
  const node = hidden.slice();
  node.set(hex("ffffffffffffffff"), 51);
  const honest = {
    ...claim,
    hashes: [node.subarray(0, 32), node.subarray(32), leaf(1)],
  };
  assert.equal(extractMatches(honest).places.length, 1);
});

Deno.test("Any bytes are a tree or a DecodeError", () => {
  fc.assert(
    fc.property(bytes(200), (input) => {
      const tree = valueOrNull(() => decodeTree(input));
      if (tree === null) return;
      assert.deepEqual(decodeTree(encodeTree(tree)), tree);
      valueOrNull(() => extractMatches(tree));
    }),
    { numRuns: runs(300) },
  );
});
