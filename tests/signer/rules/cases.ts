/**
 * How a rule is shown to be kept: a valid request passes without a word, altered
 * in one field it is refused with that rule's tag and no other, and where the
 * owner may relax the rule it passes with a warning that names the tag.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type RuleRow,
  RULES,
  type RuleTag,
} from "../../../src/policy/rules.ts";
import type { Asked, TestNode } from "../../support/channel.ts";
import { tagOf } from "../../support/strict.ts";

/** A valid request and what is wrong with the altered one. */
export interface Pair {
  readonly node: TestNode;
  readonly valid: Asked;
  readonly altered: Asked;
  /** Where the altered request is asked, if not where the valid one is. */
  readonly elsewhere?: TestNode;
}

/** One alteration. */
export interface RuleCase {
  /** The rule that it breaks. */
  readonly tag: RuleTag;
  /** What is altered. */
  readonly name: string;
  readonly make: () => Pair;
  /** The tag that is found, where a rule that is covered speaks for itself. */
  readonly found?: RuleTag;
  /** What still refuses it once the rule only warns. */
  readonly behind?: RegExp;
}

/** Declares a test for each case. */
export function testRules(cases: readonly RuleCase[]): void {
  for (const each of cases) {
    Deno.test(`${each.tag}: ${each.name}`, () => checkCase(each));
  }
}

function checkCase({ tag, make, found, behind }: RuleCase): void {
  const row: RuleRow = RULES[tag];
  const wanted = found ?? row.coveredBy ?? tag;
  const { node, valid, altered, elsewhere = node } = make();
  const passed = node.try(valid);
  assert.equal(passed.refusal, null);
  assert.deepEqual(passed.warnings, []);
  const { refusal } = elsewhere.try(altered);
  assert.notEqual(refusal, null, "the altered request is refused");
  assert.equal(tagOf(refusal ?? ""), wanted, refusal ?? "");
  const filter = `${wanted}:warn`;
  const rows: Readonly<Record<string, RuleRow>> = RULES;
  if (rows[wanted]?.isRelaxable !== true) return;
  const relaxed = elsewhere.try(altered, elsewhere.withWarnings([filter]));
  if (behind !== undefined) {
    assert.match(relaxed.refusal ?? "", behind);
    return;
  }
  assert.equal(relaxed.refusal, null);
  assert.ok(
    relaxed.warnings.every((text) => text.includes(wanted)) &&
      relaxed.warnings.length > 0,
    `warned by ${wanted}: ${relaxed.warnings.join()}`,
  );
}
