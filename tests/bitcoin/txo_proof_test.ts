/**
 * TXOO proofs and streamed blocks: the proof of a VLS signer's test chain, the
 * real blocks of BIP 158's vectors, and every way to show a block wrongly.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  BlockStream,
  MAX_BLOCK_SIZE,
  seeBlock,
} from "../../src/bitcoin/block.ts";
import { filterHeader } from "../../src/bitcoin/filter.ts";
import {
  decodeHeader,
  encodeHeader,
  hashHeader,
} from "../../src/bitcoin/header.ts";
import { decodeTx, type Tx, txidOf } from "../../src/bitcoin/tx.ts";
import {
  checkFilterEvidence,
  decodeBlock,
  decodeTxoProof,
  encodeTxoProof,
  type FilterEvidence,
  MAX_ATTESTATIONS,
  outpointKey,
  proveBlock,
  type Shown,
  txooFilter,
  type TxoProof,
  type Watches,
} from "../../src/bitcoin/txo_proof.ts";
import { DecodeError } from "../../src/errors.ts";
import { isAttested } from "../../src/wire/txoo.ts";
import vectors from "../fixtures/bip158/basic.json" with { type: "json" };
import { bytes, runs } from "../support/arbitrary.ts";
import {
  blockBytes,
  coinbaseTx,
  mineBlock,
  regtestStart,
  spendingTx,
} from "../support/chain.ts";
import { hex } from "../support/codec_cases.ts";

// A VLS signer's chain: block 1 of regtest, proved by the oracle with key 1.
const HEADER = decodeHeader(hex(
  "0000002006226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f" +
    "ea4e5559bc6240442dc02e825bfd6c1d3cffdf5fd1f9e7a4daefcbd6ad502fde" +
    "3ce6494dffff7f2000000000",
));
const GENESIS_FILTER_HEADER = hex(
  "5d4d8c46feab427b4254ad86e340aaa84dd97d39c167d980efc6cf00b11e38a0",
);
const FUNDING_TX = "02000000" +
  "01000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" +
  "0000000000ffffffff02881300000000000001" +
  "51a0860100000000002200200707070707070707070707070707070707070707070707" +
  "070707070707070707" + "00000000";
const FUNDING =
  "a06a1d681eb3a8380ee47f3ac4f9c36e7eae58895a9c3ffd362eac9b3e3ddc60";
const PROOF = "01000000" +
  "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798" +
  "b3043c39c0b372b4b0db1ea30a3e64bb5ae06b0be0b1d42f82d159d7bfd40417" +
  "01000000" +
  "4e788be5216202c641d316f3cd68de6da7b9230ff53e85261e2a731498f4afa0" +
  "00f1536500000000" +
  "508a025d6b101390dac7069f22741206332a634dfb8f1b2c14bbb854c1b2fdaa" +
  "63dde681d16e05134b9012bfe1c5d28cbdfafb2c39c9502b0f6fa211fdee20e9" +
  "00" + "0702c8e538e7aa00" + "01" + FUNDING_TX + "01" + "02000000" + "02" +
  "c3d3edabdc22e816aab593bc70287f16ae2924bd10476e59e07837feecb7a8dd" +
  FUNDING + "0105";

const NOTHING: Watches = { txids: new Set(), outpoints: new Set() };
const watchTx = (txid: string): Watches => ({
  ...NOTHING,
  txids: new Set([txid]),
});

function evidenceOf(proof: TxoProof): FilterEvidence {
  assert.equal(proof.evidence.kind, "filter");
  return proof.evidence as FilterEvidence;
}

function problemOf(shown: Shown): string {
  return "problem" in shown ? shown.problem : "";
}

Deno.test("The proof of a VLS signer's first block comes back byte for byte", () => {
  const bytes = hex(PROOF);
  assert.equal(bytes.length, 363);
  const proof = decodeTxoProof(bytes);
  assert.deepEqual(encodeTxoProof(proof), bytes);
  const [attested] = proof.attestations;
  assert.ok(attested !== undefined && isAttested(attested));
  assert.deepEqual(attested.statement.blockHash, hashHeader(HEADER));
  const evidence = evidenceOf(proof);
  assert.deepEqual(
    filterHeader(evidence.filter, GENESIS_FILTER_HEADER),
    attested.statement.filterHeader,
  );
  const shown = checkFilterEvidence(evidence, {
    header: HEADER,
    watches: watchTx(FUNDING),
  });
  assert.ok("findings" in shown);
  assert.deepEqual(shown.findings.found.map(({ txid }) => txid.toHex()), [
    FUNDING,
  ]);
});

Deno.test("A watched outpoint in the filter wants the spending transaction", () => {
  const evidence = evidenceOf(decodeTxoProof(hex(PROOF)));
  const spent = { txid: decodeTx(hex(FUNDING_TX)).inputs[0]?.txid, index: 0 };
  assert.ok(spent.txid !== undefined);
  const key = outpointKey({ ...spent, txid: spent.txid });
  const watches = { ...NOTHING, outpoints: new Set([key]) };
  const check = (change: Partial<FilterEvidence>) =>
    problemOf(checkFilterEvidence({ ...evidence, ...change }, {
      header: HEADER,
      watches,
    }));
  assert.equal(check({}), "");
  assert.match(check({ txs: [], tree: null }), /watched outpoint 000102/);
  assert.match(check({ tree: null }), /without a tree/);
  assert.match(check({ txs: [] }), /other transactions/);
  const [tx] = evidence.txs;
  assert.ok(tx !== undefined && evidence.tree !== null);
  assert.match(check({ txs: [tx, tx] }), /other transactions/);
  assert.match(check({ txs: [{ ...tx, locktime: 1 }] }), /other transactions/);
  const hashes = evidence.tree.hashes.toReversed();
  assert.match(check({ tree: { ...evidence.tree, hashes } }), /merkle root/);
  assert.match(
    check({ tree: { ...evidence.tree, count: 0 } }),
    /Cannot decode/,
  );
  const tiny: Tx = {
    version: 2,
    inputs: tx.inputs.slice(0, 1)
      .map((input) => ({ ...input, scriptSig: hex("51515151") })),
    outputs: tx.outputs.slice(0, 1)
      .map((output) => ({ ...output, script: hex("") })),
    locktime: 0,
  };
  assert.match(check({ txs: [tiny] }), /64 bytes/);
});

Deno.test("What a block's proof is built of is what its checker finds", () => {
  const start = regtestStart();
  const coin = spendingTx([{ txid: txidOf(coinbaseTx(1)), index: 0 }], 1);
  const child = spendingTx([{ txid: txidOf(coin), index: 0 }], 2);
  const other = spendingTx([{ txid: txidOf(coinbaseTx(2)), index: 5 }], 3);
  const block = mineBlock(start, [coin, other, child]);
  const follow = ({ txid }: { txid: ReturnType<typeof txidOf> }) => [
    outpointKey({ txid, index: 0 }),
  ];
  const cases: [Watches, readonly Tx[]][] = [
    [NOTHING, []],
    [watchTx(txidOf(other).toHex()), [other]],
    [watchTx(txidOf(coin).toHex()), [coin, child]],
    [{
      ...NOTHING,
      outpoints: new Set(other.inputs.map(outpointKey)),
    }, [other]],
  ];
  for (const [watches, wanted] of cases) {
    const evidence = proveBlock(block, watches, follow);
    assert.ok(evidence !== null);
    const shown = checkFilterEvidence(evidence, {
      header: block.header,
      watches,
      follow,
    });
    assert.ok("findings" in shown);
    assert.deepEqual(
      shown.findings.found.map(({ txid }) => txid.toHex()),
      wanted.map((tx) => txidOf(tx).toHex()),
    );
  }
  // Without the child the checker sees that something spends its parent.
  const watches = watchTx(txidOf(coin).toHex());
  const less = proveBlock(block, watches);
  assert.ok(less !== null);
  assert.match(
    problemOf(checkFilterEvidence(less, {
      header: block.header,
      watches,
      follow,
    })),
    /watched outpoint/,
  );
});

Deno.test("A proof is refused cut, longer, without attestation or of no type", () => {
  const whole = hex(PROOF);
  for (let size = 0; size < whole.length; size++) {
    assert.throws(() => decodeTxoProof(whole.subarray(0, size)), DecodeError);
  }
  const none = hex("00000000 02");
  const many = new Uint8Array(5 + 173 * (MAX_ATTESTATIONS + 1));
  many[0] = MAX_ATTESTATIONS + 1;
  const odd = whole.slice();
  odd[4 + 173] = 3;
  for (const bad of [Uint8Array.of(...whole, 0), none, many, odd]) {
    assert.throws(() => decodeTxoProof(bad), DecodeError);
  }
});

Deno.test("External and whole-block proofs, and transactions with witnesses", () => {
  const { attestations, evidence } = decodeTxoProof(hex(PROOF));
  const external: TxoProof = { attestations, evidence: { kind: "external" } };
  assert.deepEqual(decodeTxoProof(encodeTxoProof(external)), external);
  const block = { kind: "block", block: hex("010203") } as const;
  const inline: TxoProof = { attestations, evidence: block };
  assert.deepEqual(decodeTxoProof(encodeTxoProof(inline)), inline);
  assert.equal(evidence.kind, "filter");
  const [tx] = (evidence as FilterEvidence).txs;
  assert.ok(tx !== undefined);
  const witness = [hex(""), hex("aabb")];
  const inputs = tx.inputs.map((input) => ({ ...input, witness }));
  const segwit: TxoProof = {
    attestations,
    evidence: { ...evidence as FilterEvidence, txs: [{ ...tx, inputs }] },
  };
  assert.deepEqual(decodeTxoProof(encodeTxoProof(segwit)), segwit);
});

Deno.test("Any bytes are a proof or a DecodeError", () => {
  const good = hex(PROOF);
  const change = fc.array(
    fc.tuple(fc.nat(good.length - 1), fc.nat(255)),
    { minLength: 1, maxLength: 4 },
  ).map((changes) => {
    const changed = good.slice();
    for (const [at, byte] of changes) changed[at] = byte;
    return changed;
  });
  fc.assert(
    fc.property(fc.oneof(bytes(300), change), (input) => {
      let proof;
      try {
        proof = decodeTxoProof(input);
      } catch (error) {
        assert.ok(error instanceof DecodeError);
        return;
      }
      assert.deepEqual(decodeTxoProof(encodeTxoProof(proof)), proof);
      const { evidence } = proof;
      if (evidence.kind !== "filter") return;
      try {
        checkFilterEvidence(evidence, { header: HEADER, watches: NOTHING });
      } catch (error) {
        assert.ok(error instanceof DecodeError);
      }
    }),
    { numRuns: runs(300) },
  );
});

// --------------------------------------------------------------- whole blocks

const BLOCKS = vectors.filter((row) => row.length > 1)
  .map((row) => hex(String(row[2])));

/** Gives a block to a stream in pieces of one size. */
function inPieces(block: Uint8Array, size: number): string[] {
  const txids: string[] = [];
  const stream = new BlockStream((_tx, txid) => txids.push(txid.toHex()));
  for (let at = 0; at < block.length; at += size) {
    assert.equal(stream.size, at);
    stream.push(block.subarray(at, at + size));
  }
  const seen = stream.finish();
  assert.equal(seen.count, txids.length);
  return [...txids, seen.hash.toHex(), seen.filter.toHex()];
}

Deno.test("Real blocks are the same in pieces of any size, and in one", () => {
  for (const block of BLOCKS) {
    const whole = decodeBlock(block);
    const wanted = [
      ...whole.txs.map((tx) => txidOf(tx).toHex()),
      hashHeader(whole.header).toHex(),
      txooFilter(whole).toHex(),
    ];
    for (const size of [1, 7, 23, 1223, 8192]) {
      assert.deepEqual(inPieces(block, size), wanted);
    }
  }
});

Deno.test("A block that is not its header's is refused", () => {
  const block = BLOCKS.find((bytes) => bytes.length > 1500);
  assert.ok(block !== undefined);
  const see = (bytes: Uint8Array) => seeBlock(bytes, () => {});
  for (let size = 0; size < block.length; size += 13) {
    assert.throws(() => see(block.subarray(0, size)), DecodeError);
  }
  assert.throws(() => see(Uint8Array.of(...block, 0)), /left over/);
  let refused = 0;
  for (let bit = 640; bit < block.length * 8; bit += 29) {
    const changed = block.slice();
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ 1 << (bit & 7);
    assert.throws(() => see(changed), DecodeError, `bit ${bit}`);
    refused++;
  }
  assert.ok(refused > 100);
});

Deno.test("A block is refused for what no valid block has", () => {
  const see = (header: Uint8Array, ...rest: string[]) => () =>
    seeBlock(Uint8Array.of(...header, ...hex(rest.join(""))), () => {});
  const header = encodeHeader(HEADER);
  assert.throws(see(header, "00"), /0 transactions/);
  assert.throws(see(header, "fd1b41"), /16667 transactions/);
  assert.throws(see(header, "fdfc00"), /count 252 in 2 bytes/);
  assert.throws(see(header, "feffff0000"), /count 65535/);
  assert.throws(see(header, "ffffffffffffffffff"), /64 bits/);
  assert.throws(see(header, "01", "01000000", "00", "02"), /witness flag 2/);
  assert.throws(see(header, "01", FUNDING_TX), /no coinbase/);
  const start = regtestStart();
  const twice = mineBlock(start, []);
  const two = { ...twice, txs: [...twice.txs, ...twice.txs] };
  assert.throws(() => seeBlock(blockBytes(two), () => {}), /is a coinbase/);
  const stream = new BlockStream(() => {});
  assert.throws(
    () => stream.push(new Uint8Array(MAX_BLOCK_SIZE + 1)),
    /or less/,
  );
});

Deno.test("A block whose last transaction stands twice is refused", () => {
  const start = regtestStart();
  const pay = spendingTx([{ txid: txidOf(coinbaseTx(9)), index: 0 }], 1);
  const also = spendingTx([{ txid: txidOf(coinbaseTx(8)), index: 0 }], 1);
  const block = mineBlock(start, [pay, also]);
  seeBlock(blockBytes(block), () => {});
  const mutated = { ...block, txs: [...block.txs, also] };
  assert.throws(() => seeBlock(blockBytes(mutated), () => {}), /there twice/);
});

Deno.test("A long transaction and a long witness go through in pieces", () => {
  const start = regtestStart();
  const script = new Uint8Array(70_000).fill(0x51);
  const long = {
    ...spendingTx([{ txid: txidOf(coinbaseTx(3)), index: 0 }], 1),
    outputs: coinbaseTx(1).outputs.map((output) => ({ ...output, script })),
  };
  const inputs = long.inputs.map((input) => ({
    ...input,
    witness: [new Uint8Array(100_000)],
  }));
  const block = mineBlock(start, [{ ...long, inputs }]);
  const whole = blockBytes(block);
  assert.ok(whole.length > 170_000);
  assert.equal(inPieces(whole, 1223)[1], txidOf(long).toHex());
  const huge = {
    ...long,
    outputs: long.outputs
      .map((output) => ({ ...output, script: new Uint8Array(1_000_000) })),
  };
  const tooMuch = blockBytes(mineBlock(start, [huge]));
  assert.throws(() => seeBlock(tooMuch, () => {}), /more than 1000000/);
});
