/**
 * Block filters: SipHash's own vectors, those of BIP 158, the two TXOO filters
 * of a signer that is out there, and what must hold for any set.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { readCompactSize } from "../../src/bitcoin/bytes.ts";
import {
  basicElements,
  buildFilter,
  filterHeader,
  filterOfHashes,
  hashElement,
  matchFilter,
  outpointBytes,
  readFilter,
} from "../../src/bitcoin/filter.ts";
import { hashHeader, readHeader } from "../../src/bitcoin/header.ts";
import { merkleRoot } from "../../src/bitcoin/merkle.ts";
import { sipHash } from "../../src/bitcoin/siphash.ts";
import { readTx, type Tx, txidOf } from "../../src/bitcoin/tx.ts";
import { DecodeError } from "../../src/errors.ts";
import { Reader } from "../../src/wire/codec.ts";
import type { Txid } from "../../src/wire/types.ts";
import vectors from "../fixtures/bip158/basic.json" with { type: "json" };
import { bytes, runs } from "../support/arbitrary.ts";
import { hex } from "../support/codec_cases.ts";

/** A row of BIP 158's vectors. */
interface Vector {
  readonly height: number;
  readonly hash: Uint8Array;
  readonly block: Uint8Array;
  readonly spent: readonly Uint8Array[];
  readonly previous: Uint8Array;
  readonly filter: string;
  readonly header: Uint8Array;
}

const displayed = (text: unknown) => hex(String(text)).toReversed();

const VECTORS: readonly Vector[] = vectors.filter((row) => row.length > 1)
  .map(([height, hash, block, spent, previous, filter, header]) => ({
    height: Number(height),
    hash: displayed(hash),
    block: hex(String(block)),
    spent: (Array.isArray(spent) ? spent : []).map((script) => hex(script)),
    previous: displayed(previous),
    filter: String(filter),
    header: displayed(header),
  }));

function readBlock(block: Uint8Array): { txs: Tx[]; root: Uint8Array } {
  const reader = new Reader(block, "block");
  const { merkleRoot } = readHeader(reader);
  const count = readCompactSize(reader);
  const txs = Array.from({ length: count }, () => readTx(reader));
  assert.equal(reader.remaining, 0);
  return { txs, root: merkleRoot };
}

Deno.test("SipHash-2-4 is that of its authors' test", () => {
  const key = Uint8Array.from({ length: 16 }, (_, i) => i);
  const wanted = [
    0x726fdb47dd0e0e31n,
    0x74f839c593dc67fdn,
    0x0d6c8009d9a94f5an,
    0x85676696d7fb7e2dn,
    0xcf2794e0277187b7n,
    0x18765564cd99a68dn,
    0xcbc9466e58fee3cen,
    0xab0200f58b01d137n,
    0x93f5f5799a932462n,
    0x9e0082df0ba9e4b0n,
    0x7a5dbbc594ddb9f3n,
    0xf4b32f46226bada7n,
    0x751e8fbc860ee5fbn,
    0x14ea5627c0843d90n,
    0xf723ca908e7af2een,
    0xa129ca6149be45e5n,
    0x3f2acc7f57c29bdbn,
    0x699ae9f52cbe4794n,
    0x4bc1b3f0968dd39cn,
    0xbb6dc91da77961bdn,
  ];
  for (const [size, hash] of wanted.entries()) {
    const message = Uint8Array.from({ length: size }, (_, i) => i);
    assert.equal(sipHash(key, message), hash, `${size} bytes`);
  }
});

Deno.test("BIP 158's vectors: blocks, filters and filter headers", () => {
  assert.equal(VECTORS.length, 10);
  for (const vector of VECTORS) {
    const reader = new Reader(vector.block, "block");
    assert.deepEqual(hashHeader(readHeader(reader)), vector.hash);
    const { txs, root } = readBlock(vector.block);
    assert.deepEqual(merkleRoot(txs.map(txidOf)), root, `${vector.height}`);
    const elements = basicElements(txs, vector.spent);
    const filter = buildFilter(vector.hash, elements);
    assert.equal(filter.toHex(), vector.filter, `${vector.height}`);
    assert.deepEqual(filterHeader(filter, vector.previous), vector.header);
    assert.equal(
      matchFilter(filter, vector.hash, elements).length,
      elements.length,
    );
    assert.deepEqual(matchFilter(filter, vector.hash, [hex("1234")]), []);
  }
});

Deno.test("TXOO filters of a VLS signer: regtest's first block and two more", () => {
  const coinbase = { txid: new Uint8Array(32) as Txid, index: 0xffff_ffff };
  const genesis = hex(
    "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f",
  );
  const first = buildFilter(genesis, [outpointBytes(coinbase)]);
  assert.equal(first.toHex(), "01463f40");
  const header0 = filterHeader(first, new Uint8Array(32));
  assert.equal(
    header0.toHex(),
    "5d4d8c46feab427b4254ad86e340aaa84dd97d39c167d980efc6cf00b11e38a0",
  );
  const block1 = hex(
    "b3043c39c0b372b4b0db1ea30a3e64bb5ae06b0be0b1d42f82d159d7bfd40417",
  );
  const input = {
    txid: Uint8Array.from({ length: 32 }, (_, i) => i) as Uint8Array as Txid,
    index: 0,
  };
  const filter = buildFilter(block1, [
    outpointBytes(input),
    outpointBytes(coinbase),
  ]);
  assert.equal(filter.toHex(), "02c8e538e7aa00");
  assert.equal(
    filterHeader(filter, header0).toHex(),
    "4e788be5216202c641d316f3cd68de6da7b9230ff53e85261e2a731498f4afa0",
  );
});

Deno.test("A filter holds what was put in, whatever the order and how often", () => {
  const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
  const set = fc.array(bytes(40), { maxLength: 60 });
  fc.assert(
    fc.property(key, set, (hash, elements) => {
      const filter = buildFilter(hash, elements);
      assert.deepEqual(matchFilter(filter, hash, elements), elements);
      const again = [...elements, ...elements].reverse();
      assert.deepEqual(buildFilter(hash, again), filter);
      const hashes = elements.map((element) => hashElement(hash, element));
      assert.deepEqual(filterOfHashes(hashes), filter);
    }),
    { numRuns: runs() },
  );
});

Deno.test("Any bytes are a filter or a DecodeError", () => {
  const good = fc.array(bytes(8), { maxLength: 12 })
    .map((elements) => buildFilter(new Uint8Array(32), elements));
  const changed = fc.tuple(good, fc.nat(300), fc.integer({ min: 1, max: 255 }))
    .map(([filter, at, mask]) => {
      const place = at % filter.length;
      filter[place] = (filter[place] ?? 0) ^ mask;
      return filter;
    });
  fc.assert(
    fc.property(fc.oneof(bytes(80), good, changed), (input) => {
      try {
        const { count, values } = readFilter(input);
        assert.ok(values.size <= count && count <= input.length);
      } catch (error) {
        assert.ok(error instanceof DecodeError);
      }
    }),
    { numRuns: runs(300) },
  );
});

Deno.test("A filter is refused cut, longer, or beyond its range", () => {
  const filter = buildFilter(new Uint8Array(32), [hex("01"), hex("02")]);
  const parts = filter.keys().map((size) => filter.subarray(0, size));
  const beyond = hex("01 ffffffffffffffff 00");
  const huge = hex("feffffffff 00");
  for (const bad of [...parts, Uint8Array.of(...filter, 0), beyond, huge]) {
    assert.throws(() => readFilter(bad), DecodeError, bad.toHex());
  }
  assert.equal(readFilter(hex("00")).count, 0);
});
