/**
 * The buckets count as VLS's do, survive any clock, and show what they enforce.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  insertInWindow,
  type Insertion,
  insertVelocity,
  spentIn,
  UNLIMITED,
  type VelocityLimit,
  type VelocityState,
  WINDOWS,
} from "../../src/policy/velocity.ts";
import type { Msat } from "../../src/wire/types.ts";

const msat = (value: bigint | number) => BigInt(value) as Msat;
const FRESH: VelocityState = { start: 0n, buckets: [] };
const sum = (state: VelocityState) =>
  state.buckets.reduce((total: bigint, amount) => total + amount, 0n);

Deno.test("The test vector of VLS gives its answers and sums", () => {
  const window = { buckets: 4, interval: 10n };
  const steps: [number, number, boolean, number][] = [
    [1100, 90, true, 90],
    [1101, 11, false, 90],
    [1101, 10, true, 100],
    [1139, 90, false, 100],
    [1140, 90, true, 90],
    [1150, 5, true, 95],
    [1180, 80, true, 85],
    [1190, 1, true, 81],
  ];
  let state = FRESH;
  for (const [now, amount, isWithin, total] of steps) {
    const step: Insertion = insertInWindow(window, msat(100), {
      state,
      now: BigInt(now),
      amount: msat(amount),
    });
    state = step.state;
    assert.deepEqual([now, step.isWithin, sum(state)], [
      now,
      isWithin,
      BigInt(total),
    ]);
  }
});

const HOUR: VelocityLimit = { kind: "hour", limit: msat(100) };

Deno.test("A limit is reached and not passed", () => {
  assert.equal(insertVelocity(HOUR, FRESH, 9000n, msat(100)).isWithin, true);
  assert.equal(insertVelocity(HOUR, FRESH, 9000n, msat(101)).isWithin, false);
});

Deno.test("What was spent counts until its bucket leaves the window", () => {
  for (
    const [kind, seconds] of [["hour", 3600n], ["day", 86_400n]] as const
  ) {
    const limit: VelocityLimit = { kind, limit: msat(100) };
    const { state } = insertVelocity(limit, FRESH, 86_400n, msat(7));
    assert.equal(spentIn(limit, state, 86_400n + seconds - 1n), 7n, kind);
    assert.equal(spentIn(limit, state, 86_400n + seconds), 0n, kind);
  }
});

Deno.test("A clock that runs backwards frees nothing and breaks nothing", () => {
  const { state } = insertVelocity(HOUR, FRESH, 9000n, msat(60));
  const back = insertVelocity(HOUR, state, 5n, msat(41));
  assert.equal(back.isWithin, false);
  const fits = insertVelocity(HOUR, back.state, 5n, msat(40));
  assert.equal(fits.isWithin, true);
  assert.equal(fits.state.start, 9000n);
  assert.equal(spentIn(HOUR, fits.state, 9000n), 100n);
});

Deno.test("No limit takes the largest amounts, and counts them", () => {
  const { state, isWithin } = insertVelocity(UNLIMITED, FRESH, 9000n, msat(5));
  assert.equal(isWithin, true);
  assert.equal(spentIn(UNLIMITED, state, 9000n), 5n);
  const all = 0xffff_ffff_ffff_ffffn;
  const more = insertVelocity(UNLIMITED, state, 9000n, msat(all));
  assert.equal(more.isWithin, false);
});

Deno.test("A shorter window keeps what a longer one counted", () => {
  const day: VelocityLimit = { kind: "day", limit: msat(100) };
  const buckets = Array.from({ length: WINDOWS.day.buckets }, () => msat(2));
  const state = { start: 86_400n, buckets };
  assert.equal(spentIn(day, state, 86_400n), 48n);
  assert.equal(spentIn(HOUR, state, 86_400n), 48n);
});

Deno.test("In any run no window holds more than the limit, and what is shown decides", () => {
  const step = fc.record({
    wait: fc.integer({ min: -4000, max: 8000 }),
    amount: fc.integer({ min: 0, max: 120 }),
  });
  const kind = fc.constantFrom("hour" as const, "day" as const);
  fc.assert(
    fc.property(kind, fc.array(step, { maxLength: 60 }), (kind, steps) => {
      const limit: VelocityLimit = { kind, limit: msat(100) };
      let state = FRESH;
      let now = 1_000_000n;
      for (const { wait, amount } of steps) {
        now += BigInt(wait);
        const shown = spentIn(limit, state, now);
        const next = insertVelocity(limit, state, now, msat(amount));
        assert.equal(next.isWithin, shown + BigInt(amount) <= 100n);
        const counted = next.isWithin ? BigInt(amount) : 0n;
        assert.equal(spentIn(limit, next.state, now), shown + counted);
        assert.equal(next.state.buckets.length, WINDOWS[kind].buckets);
        state = next.state;
      }
    }),
  );
});
