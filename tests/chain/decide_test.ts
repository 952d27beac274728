/**
 * What a device is told next, by where it and bitcoind stand; what its heartbeat
 * is worth; what a long catch-up says.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  BLOCKS_AT_ONCE,
  HEADERS_AT_ONCE,
  nextStep,
} from "../../src/chain/follow.ts";
import type { NodeView } from "../../src/chain/follow.ts";
import { judgeHeartbeat } from "../../src/chain/heartbeat.ts";
import { Progress } from "../../src/chain/progress.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import type { ChainState } from "../../src/wire/chain_native.ts";
import { encode } from "../../src/wire/codec.ts";
import { signedHeartbeat, signHeartbeat } from "../../src/wire/txoo.ts";
import type { BlockHash } from "../../src/wire/types.ts";

const hash = (n: number) =>
  new Uint8Array(32).fill(n) as Uint8Array as BlockHash;
const ZEROS = new Uint8Array(32);
const PREVIOUS = { header: new Uint8Array(80), filterHeader: ZEROS };

const device = (some: Partial<ChainState> = {}): ChainState => ({
  isStarted: true,
  height: 100,
  hash: hash(1),
  filterHeader: ZEROS,
  wantsWholeBlocks: true,
  isWatching: true,
  maxReorg: 100,
  previous: PREVIOUS,
  birthday: 0n,
  ...some,
});

const node = (some: Partial<NodeView> = {}): NodeView => ({
  height: 200,
  hash: hash(2),
  lowestBlock: 0,
  standing: { kind: "main", height: 100 },
  ...some,
});

const stale = { kind: "stale", height: 100 } as const;
const unknown = { kind: "unknown" } as const;

Deno.test("What is next follows from where both stand", () => {
  const rows: readonly [Partial<ChainState>, Partial<NodeView>, unknown][] = [
    [{ isStarted: false }, {}, { kind: "start", highest: 194 }],
    [{ isStarted: false }, { height: 3 }, { kind: "start", highest: 0 }],
    [{ hash: hash(2) }, {}, { kind: "synced" }],
    [{}, {}, { kind: "blocks", from: 101, to: 200 }],
    [{}, { height: 103 }, { kind: "blocks", from: 101, to: 103 }],
    [{ isWatching: false }, {}, { kind: "headers", from: 101, to: 150 }],
    [
      { isWatching: false },
      { height: 108 },
      { kind: "headers", from: 101, to: 102 },
    ],
    [
      { isWatching: false },
      { height: 106 },
      { kind: "blocks", from: 101, to: 106 },
    ],
    [{}, { standing: stale }, { kind: "remove", previous: PREVIOUS }],
    [
      {},
      { standing: stale, height: 90 },
      { kind: "remove", previous: PREVIOUS },
    ],
    [{}, { standing: unknown }, { kind: "remove", previous: PREVIOUS }],
  ];
  for (const [ours, theirs, wanted] of rows) {
    assert.deepEqual(nextStep(device(ours), node(theirs)), wanted);
  }
});

Deno.test("What cannot go on is said with both heights", () => {
  const rows: readonly [
    Partial<ChainState>,
    Partial<NodeView>,
    string,
    RegExp,
  ][] = [
    [{}, { standing: unknown, height: 99 }, "wait", /at block 99, .* at 100/],
    [{ previous: null }, { standing: stale }, "stuck", /block 100 .*tip 200/],
    [{}, { lowestBlock: 150 }, "stuck", /pruned block 101.* from 150 on/],
  ];
  for (const [ours, theirs, kind, pattern] of rows) {
    const next = nextStep(device(ours), node(theirs));
    assert.equal(next.kind, kind);
    assert.match("why" in next ? next.why : "", pattern);
  }
});

Deno.test("A run begins after the device's tip, ends at the node's at most, and is bounded", () => {
  const height = fc.integer({ min: 0, max: 1_000_000 });
  fc.assert(
    fc.property(height, height, fc.boolean(), (ours, theirs, isWatching) => {
      const next = nextStep(
        device({ height: ours, isWatching }),
        node({ height: theirs }),
      );
      if (next.kind !== "headers" && next.kind !== "blocks") {
        assert.ok(ours >= theirs);
        return;
      }
      assert.equal(next.from, ours + 1);
      assert.ok(next.to >= next.from && next.to <= theirs);
      const most = next.kind === "headers" ? HEADERS_AT_ONCE : BLOCKS_AT_ONCE;
      assert.ok(next.to - ours <= most);
      if (next.kind === "headers") {
        assert.ok(!isWatching && next.to <= theirs - 6);
      }
    }),
  );
});

const KEY = new Uint8Array(32).fill(7);

function beat(time: number): Uint8Array {
  const content = { tipHash: hash(1), height: 5, tipTime: 1, time };
  return encode(signedHeartbeat, signHeartbeat(content, KEY));
}

Deno.test("A heartbeat is fresh within its network's budget, and counts only if the device signed it", () => {
  const now = 1_000_000;
  const accountKey = publicKey(KEY);
  const judge = (
    time: number,
    network: "bitcoin" | "regtest" | "testnet4" | "signet",
  ) => judgeHeartbeat(beat(time), { now, accountKey, network }).kind;
  assert.equal(judge(now, "bitcoin"), "fresh");
  assert.equal(judge(now - 3600, "bitcoin"), "fresh");
  assert.equal(judge(now - 3601, "bitcoin"), "stale");
  assert.equal(judge(now - 3601, "testnet4"), "stale");
  assert.equal(judge(now - 5, "regtest"), "fresh");
  assert.equal(judge(now - 6, "regtest"), "stale");
  assert.equal(judge(now - 6, "signet"), "stale");
  assert.equal(judge(now + 2, "bitcoin"), "fresh");
  assert.equal(judge(now + 3, "bitcoin"), "future");
  const at = { now, accountKey, network: "bitcoin" } as const;
  const bytes = beat(now);
  for (let i = 0; i < bytes.length; i++) {
    const flipped = bytes.slice();
    flipped[i] = (flipped[i] ?? 0) ^ 1;
    assert.equal(judgeHeartbeat(flipped, at).kind, "missing", `byte ${i}`);
  }
  assert.equal(judgeHeartbeat(new Uint8Array(0), at).kind, "missing");
});

Deno.test("A long catch-up says where it is every five seconds, and its rate at the end", () => {
  let now = 0;
  const progress = new Progress(() => now);
  assert.match(progress.at(0, 5000) ?? "", /block 0 of 5000: catching up/);
  now = 4_999;
  assert.equal(progress.at(1000, 5000), null);
  now = 5_000;
  assert.equal(
    progress.at(1000, 5000),
    "the device is at block 1000 of 5000: 200 blocks a second, 20 s left",
  );
  assert.equal(progress.at(1001, 5000), null);
  now = 25_000;
  assert.equal(
    progress.done(5000),
    "the device has the tip, block 5000: 5000 blocks in 25 s, 200 a second",
  );
  assert.equal(progress.done(5000), null);
});

Deno.test("A short catch-up says nothing", () => {
  let now = 0;
  const progress = new Progress(() => now);
  assert.equal(progress.at(0, 100), null);
  now = 60_000;
  assert.equal(progress.at(50, 100), null);
  assert.equal(progress.done(100), null);
});
