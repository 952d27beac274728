/**
 * Sweeps: one valid view, altered in one thing at a time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { PolicyViolation } from "../../src/errors.ts";
import { createJudge } from "../../src/policy/judge.ts";
import {
  defaultPolicy,
  type Policy,
  withFilter,
} from "../../src/policy/limits.ts";
import { RULES, type RuleTag } from "../../src/policy/rules.ts";
import { checkSweep, type SweepView } from "../../src/policy/sweep.ts";
import type { Sat } from "../../src/wire/types.ts";

const POLICY = defaultPolicy("bitcoin");
const out = (amount: bigint, isAllowed = true) => ({
  // Constants in satoshi.
  amount: amount as Sat,
  isAllowed,
});

const VALID: SweepView = {
  version: 2,
  locktime: 0,
  cltvExpiry: null,
  sequence: 144,
  sequences: [144],
  problem: null,
  amount: 1_000_000n as Sat,
  weight: 500,
  outputs: [out(990_000n)],
};

function check(view: SweepView, policy: Policy) {
  const judge = createJudge(policy, 0);
  checkSweep(judge, view);
  return judge.warnings;
}

const REFUSED: readonly (readonly [string, Partial<SweepView>, RuleTag])[] = [
  ["another version", { version: 1 }, "policy-sweep-version"],
  ["another script", { problem: "no script" }, "policy-sweep-other"],
  [
    "a time for a locktime",
    { locktime: 500_000_000 },
    "policy-sweep-locktime",
  ],
  [
    "a locktime after the expiry",
    { locktime: 101, cltvExpiry: 100 },
    "policy-sweep-locktime",
  ],
  ["another sequence", { sequence: 143 }, "policy-sweep-sequence"],
  [
    "an unknown destination",
    { outputs: [out(990_000n, false)] },
    "policy-sweep-destination-allowlisted",
  ],
  [
    "an unknown destination beside a known one",
    { outputs: [out(500_000n), out(490_000n, false)] },
    "policy-sweep-destination-allowlisted",
  ],
  [
    "no output",
    { outputs: [], amount: 100n as Sat },
    "policy-sweep-destination-allowlisted",
  ],
  [
    "more than half for a fee that no spike explains",
    { outputs: [out(499_999n)] },
    "policy-sweep-fee-range",
  ],
];

const PASSED: readonly (readonly [string, Partial<SweepView>])[] = [
  ["as it is", {}],
  ["the last height for a locktime", { locktime: 499_999_999 }],
  ["the expiry for a locktime", { locktime: 100, cltvExpiry: 100 }],
  ["one of several sequences", { sequence: 0, sequences: [0, 0xffff_ffff] }],
  ["several outputs of ours", { outputs: [out(500_000n), out(490_000n)] }],
  ["half of it for a fee", { outputs: [out(500_000n)] }],
  [
    "nearly all of little for a fee",
    { amount: 100_000n as Sat, outputs: [out(400n)] },
  ],
];

for (const [name, change] of PASSED) {
  Deno.test(`a sweep passes: ${name}`, () => {
    assert.deepEqual(check({ ...VALID, ...change }, POLICY), []);
  });
}

for (const [name, change, tag] of REFUSED) {
  const view = { ...VALID, ...change };
  Deno.test(`a sweep is refused: ${name}`, () => {
    assert.throws(
      () => check(view, POLICY),
      (error) => error instanceof PolicyViolation && error.tag === tag,
    );
    if (!RULES[tag].isRelaxable) return;
    const relaxed = withFilter(POLICY, [`${tag}:warn`]);
    assert.ok(check(view, relaxed).some((each) => each.tag === tag));
  });
}
