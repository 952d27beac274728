/**
 * Splices: the shape of the transaction that takes a channel on.
 *
 * Proof by table: one valid view, altered in one thing at a time.
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
import { checkSplice, type SpliceView } from "../../src/policy/splice.ts";

const POLICY = defaultPolicy("bitcoin");
const VALID: SpliceView = {
  isChannelInput: true,
  sharedOutputs: 1,
  isSameTx: true,
};

function check(view: SpliceView, policy: Policy, isConsented: boolean) {
  const judge = createJudge(policy, 0);
  checkSplice(judge, view, () => isConsented);
  return judge.warnings;
}

const REFUSED: readonly (readonly [Partial<SpliceView>, RuleTag])[] = [
  [{ isSameTx: false }, "policy-commitment-other"],
  [{ isChannelInput: false }, "policy-splice-known-outpoint"],
  [{ sharedOutputs: 0 }, "policy-splice-shared-output"],
  [{ sharedOutputs: 2 }, "policy-splice-shared-output"],
];

Deno.test("a splice into one output passes", () => {
  assert.deepEqual(check(VALID, POLICY, false), []);
});

for (const [change, tag] of REFUSED) {
  const view = { ...VALID, ...change };
  Deno.test(`a splice is refused with ${JSON.stringify(change)}`, () => {
    assert.throws(
      () => check(view, POLICY, false),
      (error) => error instanceof PolicyViolation && error.tag === tag,
    );
    if (!RULES[tag].isRelaxable) return;
    const relaxed = withFilter(POLICY, [`${tag}:warn`]);
    assert.deepEqual(check(view, relaxed, false).map((each) => each.tag), [
      tag,
    ]);
  });
}

Deno.test("a splice into a key that the peer changed needs consent", () => {
  assert.deepEqual(check({ ...VALID, sharedOutputs: 0 }, POLICY, true), []);
  assert.throws(
    () => check({ ...VALID, sharedOutputs: 2 }, POLICY, true),
    /policy-splice-shared-output/,
  );
});
