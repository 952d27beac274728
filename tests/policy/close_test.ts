/**
 * Mutual closes: one valid view, altered in one thing at a time.
 *
 * @module
 */

import assert from "node:assert/strict";
import { PolicyViolation } from "../../src/errors.ts";
import { checkClose, type CloseView } from "../../src/policy/close.ts";
import { createJudge } from "../../src/policy/judge.ts";
import {
  defaultPolicy,
  type Policy,
  withFilter,
} from "../../src/policy/limits.ts";
import { RULES, type RuleTag } from "../../src/policy/rules.ts";

const POLICY = defaultPolicy("bitcoin");

/** We opened the channel and pay 1 000 sat over a weight of 700. */
const VALID: CloseView = {
  outputs: 2,
  isAsBuilt: true,
  balances: [
    { toUs: 690_000n, toThem: 300_000n },
    { toUs: 690_000n, toThem: 300_000n },
  ],
  htlcs: 0,
  isFunder: true,
  fundingValue: 1_000_000n,
  toUs: 699_000n,
  toThem: 300_000n,
  weight: 700,
  isAsAgreed: true,
  isAllowed: true,
};
/** The peer opened it and pays. */
const THEIRS: CloseView = {
  ...VALID,
  isFunder: false,
  balances: [
    { toUs: 699_000n, toThem: 290_000n },
    { toUs: 699_000n, toThem: 290_000n },
  ],
};

function check(view: CloseView, policy: Policy, isConsented = false) {
  const judge = createJudge(policy, 0);
  checkClose(judge, view, {
    feeReference: null,
    isConsented: () => isConsented,
  });
  return judge.warnings;
}

const second = (toUs: bigint, toThem: bigint) => [
  { toUs: 690_000n, toThem: 300_000n },
  { toUs, toThem },
];
const DESTINATION = "policy-mutual-destination-allowlisted";
const VALUE = "policy-mutual-value-matches-commitment";

const REFUSED: readonly (readonly [string, CloseView, RuleTag])[] = [
  ["three outputs", { ...VALID, outputs: 3 }, "policy-mutual-scripts"],
  ["no outputs", { ...VALID, outputs: 0 }, "policy-mutual-scripts"],
  [
    "another form",
    { ...VALID, isAsBuilt: false },
    "policy-onchain-format-standard",
  ],
  [
    "one side's commitment missing",
    { ...VALID, balances: VALID.balances.slice(1) },
    "policy-mutual-other",
  ],
  ["an HTLC", { ...VALID, htlcs: 1 }, "policy-mutual-no-pending-htlcs"],
  [
    "a satoshi too much for the peer",
    { ...VALID, toThem: 310_001n, toUs: 688_999n },
    VALUE,
  ],
  [
    "a satoshi too little for the peer",
    { ...VALID, toThem: 289_999n, toUs: 709_001n },
    VALUE,
  ],
  [
    "the second commitment otherwise",
    { ...VALID, balances: second(690_000n, 289_999n) },
    VALUE,
  ],
  [
    "a satoshi too little for us where the peer pays",
    { ...THEIRS, toUs: 688_999n, toThem: 310_001n },
    VALUE,
  ],
  [
    "a fee below the least feerate",
    { ...VALID, toUs: 699_900n },
    "policy-mutual-fee-range",
  ],
  [
    "a fee above the greatest feerate",
    { ...VALID, toUs: 682_499n },
    "policy-mutual-fee-range",
  ],
  [
    "more than there is",
    { ...VALID, toUs: 700_001n },
    "policy-mutual-fee-range",
  ],
  ["another script than agreed", { ...VALID, isAsAgreed: false }, DESTINATION],
  ["an unknown destination", { ...VALID, isAllowed: false }, DESTINATION],
];

const PASSED: readonly (readonly [string, CloseView])[] = [
  ["ours to pay for", VALID],
  ["theirs to pay for", THEIRS],
  ["epsilon for the peer", { ...VALID, toThem: 310_000n, toUs: 689_000n }],
  ["epsilon for us", { ...THEIRS, toUs: 689_000n, toThem: 310_000n }],
  ["the greatest feerate", { ...VALID, toUs: 682_500n }],
  ["the least feerate", { ...VALID, toUs: 700_000n - 177n }],
  ["one output, theirs", {
    ...VALID,
    outputs: 1,
    isFunder: false,
    balances: [{ toUs: 300n, toThem: 980_000n }, {
      toUs: 300n,
      toThem: 980_000n,
    }],
    toUs: 0n,
    toThem: 999_000n,
    isAsAgreed: false,
    isAllowed: false,
  }],
];

for (const [name, view] of PASSED) {
  Deno.test(`a close passes: ${name}`, () => {
    assert.deepEqual(check(view, POLICY), []);
  });
}

for (const [name, view, tag] of REFUSED) {
  Deno.test(`a close is refused: ${name}`, () => {
    assert.throws(
      () => check(view, POLICY),
      (error) => error instanceof PolicyViolation && error.tag === tag,
    );
    if (!RULES[tag].isRelaxable) return;
    const relaxed = withFilter(POLICY, [`${tag}:warn`]);
    assert.deepEqual(check(view, relaxed).map((each) => each.tag), [tag]);
  });
}

Deno.test("a consent covers an unknown script, not one that was not agreed", () => {
  assert.deepEqual(check({ ...VALID, isAllowed: false }, POLICY, true), []);
  assert.throws(
    () => check({ ...VALID, isAsAgreed: false }, POLICY, true),
    /policy-mutual-destination-allowlisted/,
  );
});
