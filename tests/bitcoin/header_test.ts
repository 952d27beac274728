/**
 * Headers and difficulty: what Bitcoin Core's own tests say (pow_tests.cpp,
 * arith_uint256_tests.cpp), real headers of two networks, and what the rules
 * must refuse.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  type ChainPoint,
  extendChain,
  genesisPoint,
  headerProblem,
  MAX_FUTURE,
  medianTime,
  nextBits,
  PERIOD,
  startChain,
  WORK_RULES,
} from "../../src/bitcoin/difficulty.ts";
import {
  bitsOf,
  type BlockHeader,
  decodeHeader,
  encodeHeader,
  hashHeader,
  hashNumber,
  provesWork,
  targetOf,
  workOf,
} from "../../src/bitcoin/header.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { DecodeError } from "../../src/errors.ts";
import mainnet from "../fixtures/headers/mainnet.json" with { type: "json" };
import testnet from "../fixtures/headers/testnet3.json" with { type: "json" };
import { runs } from "../support/arbitrary.ts";
import { minedHeader } from "../support/chain.ts";

const { bitcoin } = NETWORKS;
const LATER = 2_000_000_000;

const REAL = new Map(
  mainnet.headers.map(({ height, header }) => [height, header]),
);

/** A real mainnet header by its height. */
function real(height: number): BlockHeader {
  const hex = REAL.get(height);
  assert.ok(hex !== undefined, `header ${height}`);
  return decodeHeader(Uint8Array.fromHex(hex));
}

/** Where mainnet stood at a header; `first` is the first of its period. */
function pointAt(height: number, first: number): ChainPoint {
  const { time, bits } = real(first);
  return startChain({ height, header: real(height), period: { time, bits } });
}

function problemOf(
  parent: ChainPoint,
  header: BlockHeader,
  now = LATER,
): string | null {
  return headerProblem(bitcoin, parent, {
    header,
    hash: hashHeader(header),
    now,
  });
}

Deno.test("Compact targets are read as Bitcoin Core reads them", () => {
  const rows = [
    [0x01123456, 0x12n],
    [0x02123456, 0x1234n],
    [0x03123456, 0x123456n],
    [0x04123456, 0x12345600n],
    [0x05009234, 0x92340000n],
    [0x20123456, 0x123456n << 232n],
    [0x1d00ffff, 0xffffn << 208n],
    [0x207fffff, 0x7fffffn << 232n],
    [0x2100ffff, 0xffffn << 240n],
    [0x220000ff, 0xffn << 248n],
  ] as const;
  for (const [bits, target] of rows) assert.equal(targetOf(bits), target);
  const none = [
    0,
    0x00123456,
    0x01003456,
    0x03000000,
    0x04000000,
    0x00923456,
    0x01803456,
    0x04800000,
    0x01fedcba,
    0x04923456,
    0xff123456,
    0x21010000,
    0x22000100,
    0x23000001,
    0xff7fffff,
  ];
  for (const bits of none) assert.equal(targetOf(bits), null);
});

Deno.test("Compact targets are written as Bitcoin Core writes them", () => {
  const rows = [
    [0x12n, 0x01120000],
    [0x80n, 0x02008000],
    [0x1234n, 0x02123400],
    [0x123456n, 0x03123456],
    [0x12345600n, 0x04123456],
    [0x92340000n, 0x05009234],
    [(1n << 224n) - 1n, 0x1d00ffff],
    [(1n << 255n) - 1n, 0x207fffff],
    [0x377aen << 216n, 0x1e0377ae],
  ] as const;
  for (const [target, bits] of rows) assert.equal(bitsOf(target), bits);
});

Deno.test("A target's compact form keeps its first bytes", () => {
  const target = fc.bigInt({ min: 1n, max: (1n << 256n) - 1n });
  fc.assert(
    fc.property(target, (value) => {
      const kept = targetOf(bitsOf(value));
      assert.ok(kept !== null && kept <= value && value - kept <= value >> 14n);
      assert.equal(bitsOf(kept), bitsOf(value));
    }),
    { numRuns: runs() },
  );
});

Deno.test("The first header of each network has the network's hash", () => {
  for (const network of Object.values(NETWORKS)) {
    const { genesis, limit } = WORK_RULES[network.name];
    assert.deepEqual(hashHeader(genesis), network.genesisHash, network.name);
    assert.ok(provesWork(network.genesisHash, genesis.bits, limit));
    assert.equal(genesisPoint(network).height, 0);
  }
});

Deno.test("Real headers of mainnet are their own proof, as bytes too", () => {
  for (const [height, hex] of REAL) {
    const header = real(height);
    assert.equal(encodeHeader(header).toHex(), hex);
    const { limit } = WORK_RULES.bitcoin;
    assert.ok(provesWork(hashHeader(header), header.bits, limit), `${height}`);
    const next = REAL.get(height + 1);
    if (next === undefined) continue;
    assert.deepEqual(real(height + 1).previous, hashHeader(header));
  }
  assert.ok(REAL.size > 20);
});

Deno.test("A real header with any one bit changed proves nothing", () => {
  const { limit } = WORK_RULES.bitcoin;
  for (const hex of REAL.values()) {
    const bytes = Uint8Array.fromHex(hex);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = bytes.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ 1 << (bit & 7);
      const header = decodeHeader(changed);
      const isProof = provesWork(hashHeader(header), header.bits, limit);
      assert.equal(isProof, false, `bit ${bit} of ${hex}`);
    }
  }
});

Deno.test("The first blocks of mainnet follow each other", () => {
  let point = genesisPoint(bitcoin);
  for (const height of [1, 2, 3, 4, 5, 6]) {
    const header = real(height);
    assert.equal(problemOf(point, header), null);
    point = extendChain(bitcoin, point, { header, hash: hashHeader(header) });
  }
  assert.equal(point.height, 6);
  // Bitcoin Core's chainwork of difficulty 1 is 4295032833 a block.
  assert.equal(point.work, 6n * 4_295_032_833n);
});

Deno.test("Mainnet changed its difficulty as the rule says", () => {
  const changes = [
    [0, 2015, 0x1d00ffff],
    [30240, 32255, 0x1d00d86a],
    [32256, 34271, 0x1d00c428],
    [554400, 556415, 0x173218a5],
    [556416, 558431, 0x172fd633],
    [558432, 560447, 0x17306835],
    [864864, 866879, 0x1702f128],
  ] as const;
  for (const [first, last, bits] of changes) {
    const point = pointAt(last, first);
    const header = real(last + 1);
    assert.equal(nextBits(bitcoin, point, header.time), bits);
    assert.equal(header.bits, bits);
    assert.equal(problemOf(point, header), null, `${last + 1}`);
    const next = extendChain(bitcoin, point, {
      header,
      hash: hashHeader(header),
    });
    assert.deepEqual(next.period, { time: header.time, bits });
    assert.equal(nextBits(bitcoin, next, header.time + 9999), bits);
  }
});

Deno.test("Retargeting is bounded as in Bitcoin Core's pow_tests", () => {
  const rows = [
    // no bound reached, the limit, a quarter of the time, four times it
    [1261130161, 1262152739, 0x1d00ffff, 0x1d00d86a],
    [1231006505, 1233061996, 0x1d00ffff, 0x1d00ffff],
    [1279008237, 1279297671, 0x1c05a3f4, 0x1c0168fd],
    [1263163443, 1269211443, 0x1c387f6f, 0x1d00e1fd],
    // a period that ends before it began counts as the shortest
    [1279297671, 1279008237, 0x1c05a3f4, 0x1c0168fd],
  ] as const;
  for (const [first, last, bits, wanted] of rows) {
    const header = { ...real(0), time: last, bits };
    const point = startChain({
      height: PERIOD - 1,
      header,
      period: { time: first, bits },
    });
    for (const name of ["bitcoin", "testnet", "testnet4"] as const) {
      assert.equal(nextBits(NETWORKS[name], point, last), wanted);
    }
    assert.equal(nextBits(NETWORKS.regtest, point, last), bits);
  }
});

Deno.test("Signet changes its difficulty below its own limit", () => {
  const bits = 0x1e0377ae;
  const header = { ...real(0), time: 4 * PERIOD * 600, bits };
  const slow = startChain({ height: 2015, header, period: { time: 0, bits } });
  assert.equal(nextBits(NETWORKS.signet, slow, 0), bits);
  const fast = startChain({
    height: 2015,
    header: { ...header, time: PERIOD * 300 },
    period: { time: 0, bits },
  });
  assert.equal(nextBits(NETWORKS.signet, fast, 0), 0x1e01bbd7);
});

Deno.test("A header must link, prove its work and be neither early nor late", () => {
  const point = pointAt(32255, 30240);
  const header = real(32256);
  const wrong: readonly [Partial<BlockHeader>, RegExp][] = [
    [{ previous: real(2015).previous }, /previous block/],
    [{ bits: 0x1d00d86b }, /bits 1d00d86b, want 1d00d86a/],
    [{ bits: 0x1d00ffff }, /bits/],
    [{ nonce: header.nonce + 1 }, /hash/],
    [{ version: 2 }, /hash/],
    [{ time: header.time + 1 }, /hash/],
  ];
  for (const [change, text] of wrong) {
    assert.match(problemOf(point, { ...header, ...change }) ?? "", text);
  }
  const earliest = header.time - MAX_FUTURE;
  assert.equal(problemOf(point, header, earliest), null);
  assert.match(problemOf(point, header, earliest - 1) ?? "", /or less/);
  const times = new Array<number>(11).fill(header.time - 1);
  assert.equal(problemOf({ ...point, times }, header), null);
  const late = new Array<number>(11).fill(header.time);
  assert.match(problemOf({ ...point, times: late }, header) ?? "", /more than/);
});

Deno.test("The median is of the last eleven times, fewer at the beginning", () => {
  const { regtest } = NETWORKS;
  let point = genesisPoint(regtest);
  const first = point.header.time;
  assert.equal(medianTime(point), first);
  for (let i = 1; i <= 30; i++) {
    const header = minedHeader(regtest, point, { time: first + 10 * i });
    point = extendChain(regtest, point, { header, hash: hashHeader(header) });
    const count = Math.min(11, i + 1);
    const middle = i - count + 1 + Math.floor(count / 2);
    assert.equal(medianTime(point), first + 10 * middle);
    assert.equal(point.times.length, count);
  }
  // Of a chain taken up later the times before count as long ago.
  const taken = startChain({ height: 5000, header: real(1), period: real(1) });
  assert.equal(medianTime(taken), 0);
  const known = startChain({
    height: 5000,
    header: { ...real(1), time: 900 },
    period: real(1),
    earlierTimes: [100, 200, 300, 400, 500, 600, 700, 800],
  });
  assert.equal(known.times.length, 11);
  assert.equal(medianTime(known), 400);
});

Deno.test("The first 150 blocks of testnet3 follow each other", () => {
  const network = NETWORKS.testnet;
  let point = genesisPoint(network);
  for (const { header: hex } of testnet.headers) {
    const header = decodeHeader(Uint8Array.fromHex(hex));
    const hash = hashHeader(header);
    const how = { header, hash, now: LATER };
    assert.equal(headerProblem(network, point, how), null);
    point = extendChain(network, point, how);
  }
  assert.equal(point.height, 150);
  const [fork] = testnet.fork.map((hex) => Uint8Array.fromHex(hex));
  assert.ok(fork !== undefined);
  const header = decodeHeader(fork);
  const how = { header, hash: hashHeader(header), now: LATER };
  assert.equal(headerProblem(network, genesisPoint(network), how), null);
});

Deno.test("On test networks a block 20 minutes late has the least difficulty", () => {
  const usual = 0x1c0fffff;
  const limit = 0x1d00ffff;
  for (const name of ["testnet", "testnet4"] as const) {
    const network = NETWORKS[name];
    const header = { ...real(1), time: 1_000_000, bits: usual };
    const first = startChain({ height: 2 * PERIOD, header });
    assert.equal(nextBits(network, first, 1_001_200), usual);
    assert.equal(nextBits(network, first, 1_001_201), limit);
    const late = { ...header, time: 1_001_201, bits: limit };
    const hash = hashHeader(late);
    const after = extendChain(network, first, { header: late, hash });
    assert.equal(nextBits(network, after, late.time + 1200), usual);
    assert.equal(nextBits(network, after, late.time + 1201), limit);
    const again = extendChain(network, after, { header: late, hash });
    assert.equal(nextBits(network, again, late.time), usual);
  }
  const header = { ...real(1), time: 1_000_000, bits: usual };
  const first = startChain({ height: 2 * PERIOD, header });
  assert.equal(nextBits(bitcoin, first, 9_000_000), usual);
});

Deno.test("A period's first block has usual bits, even the least difficult", () => {
  const limit = 0x1d00ffff;
  const header = { ...real(1), time: 5000, bits: 0x1c3fffff };
  const period = { time: 0, bits: header.bits };
  const last = startChain({ height: 2 * PERIOD - 1, header, period });
  const first = { ...header, bits: limit };
  const next = extendChain(NETWORKS.testnet, last, {
    header: first,
    hash: hashHeader(first),
  });
  assert.equal(nextBits(NETWORKS.testnet, next, first.time), limit);
});

Deno.test("BIP 94 counts from a period's first block, testnet3 from its last", () => {
  const usual = 0x1c0fffff;
  const header = { ...real(1), time: PERIOD * 600, bits: 0x1d00ffff };
  const period = { time: 0, bits: usual };
  const last = startChain({ height: 2 * PERIOD - 1, header, period });
  assert.equal(nextBits(NETWORKS.testnet4, last, header.time), usual);
  assert.equal(nextBits(NETWORKS.testnet, last, header.time), 0x1d00ffff);
});

Deno.test("BIP 94 refuses a period that starts 600 seconds too early", () => {
  const regtest = WORK_RULES.regtest;
  const header = { ...regtest.genesis, time: 1_000_000 };
  const point = startChain({ height: PERIOD - 1, header, period: header });
  const problem = (name: "testnet" | "testnet4", time: number) => {
    const network = NETWORKS[name];
    const bits = nextBits(network, point, time);
    const next = { ...header, previous: point.hash, time, bits };
    // A hash of zero is work enough: only the time is at stake.
    const hash = new Uint8Array(32);
    return headerProblem(network, point, { header: next, hash, now: LATER });
  };
  assert.equal(problem("testnet4", 999_400), null);
  assert.match(problem("testnet4", 999_399) ?? "", /first of a period/);
  assert.equal(problem("testnet", 999_399), null);
});

Deno.test("A chain is taken up at a period's first block, or with its name", () => {
  const header = real(32255);
  assert.throws(() => startChain({ height: 32255, header }), RangeError);
  assert.equal(startChain({ height: 32256, header: real(32256) }).work, 0n);
});

Deno.test("A header is 80 bytes", () => {
  const bytes = encodeHeader(real(1));
  for (const size of [0, 79]) {
    assert.throws(() => decodeHeader(bytes.subarray(0, size)), DecodeError);
  }
  assert.throws(() => decodeHeader(Uint8Array.of(...bytes, 0)), DecodeError);
});

Deno.test("Work is the hashes that a target takes", () => {
  assert.equal(workOf(0x207fffff), 2n);
  assert.equal(workOf(0x1d00ffff), 0x1_0001_0001n);
  assert.equal(workOf(0), 0n);
  assert.equal(workOf(0x04923456), 0n);
  assert.equal(hashNumber(Uint8Array.of(1, 2)), 0x0201n);
  assert.equal(provesWork(new Uint8Array(32), 0x1d00ffff, 1n), false);
  assert.equal(provesWork(new Uint8Array(32), 0, 1n << 255n), false);
});
