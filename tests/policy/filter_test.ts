/**
 * The filter relaxes what the owner named, until the day named, and nothing else.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  formatFilterEntry,
  isWarned,
  matchingTags,
  parseFilterEntry,
} from "../../src/policy/filter.ts";
import { isRuleTag, RULES } from "../../src/policy/rules.ts";

const filter = (...texts: string[]) => texts.map(parseFilterEntry);
const TAGS = Object.keys(RULES).filter(isRuleTag);
const NEW_YEAR = Date.UTC(2027, 0, 1) / 1000;

Deno.test("Without a filter every rule is strict", () => {
  for (const tag of TAGS) assert.equal(isWarned([], tag, 0), false, tag);
});

Deno.test("A rule that is set to warn warns, others do not", () => {
  const only = filter("policy-onchain-max-size:warn");
  assert.equal(isWarned(only, "policy-onchain-max-size", 0), true);
  assert.equal(isWarned(only, "policy-funding-max", 0), false);
});

Deno.test("A tag is not taken for the start of a longer one", () => {
  const named = (isPrefix: boolean) =>
    [{ tag: "policy-mutual-", isPrefix, action: "warn", until: null }] as const;
  assert.equal(isWarned(named(true), "policy-mutual-fee-range", 0), true);
  assert.equal(isWarned(named(false), "policy-mutual-fee-range", 0), false);
});

Deno.test("A prefix covers what starts so, but not what may not be relaxed", () => {
  const mutual = filter("policy-mutual-*:warn");
  assert.equal(isWarned(mutual, "policy-mutual-fee-range", 0), true);
  assert.equal(isWarned(mutual, "policy-mutual-scripts", 0), false);
  for (const tag of TAGS) {
    const isExpected = RULES[tag].isRelaxable;
    assert.equal(isWarned(filter("*:warn"), tag, 0), isExpected, tag);
  }
});

Deno.test("The first entry that matches counts", () => {
  const strictFirst = filter("policy-mutual-other:error", "policy-*:warn");
  assert.equal(isWarned(strictFirst, "policy-mutual-other", 0), false);
  assert.equal(isWarned(strictFirst, "policy-mutual-fee-range", 0), true);
  const warnFirst = filter("policy-*:warn", "policy-mutual-other:error");
  assert.equal(isWarned(warnFirst, "policy-mutual-other", 0), true);
});

Deno.test("A rule is strict again from the start of its day on, in UTC", () => {
  const entry = filter("policy-funding-max:warn@2027-01-01");
  assert.equal(isWarned(entry, "policy-funding-max", NEW_YEAR - 1), true);
  assert.equal(isWarned(entry, "policy-funding-max", NEW_YEAR), false);
});

Deno.test("An entry that is over does not uncover a later one", () => {
  const entries = filter("policy-funding-max:warn@2027-01-01", "*:warn");
  assert.equal(isWarned(entries, "policy-funding-max", NEW_YEAR), false);
});

const REFUSED: Readonly<Record<string, RegExp>> = {
  "policy-funding-max": /want TAG:warn/,
  "policy-funding-max:perhaps": /want TAG:warn/,
  "policy-*-max:warn": /want TAG:warn/,
  "policy-nothing:warn": /"policy-nothing" is no rule/,
  "policy-channel-safe-mode:warn": /is no rule/,
  "policy-chain-validated:warn": /may not be relaxed/,
  "policy-none*:warn": /no rule starts with "policy-none"/,
  "policy-invoice-reuse:warn": /may not be relaxed/,
  "policy-splice-inflight-*:warn": /may not be relaxed/,
  "policy-funding-max:warn@2027-02-30": /"2027-02-30" is no day/,
  "policy-funding-max:warn@soon": /"soon" is no day/,
  "policy-funding-max:warn@": /"" is no day/,
  "policy-funding-max:error@2027-01-01": /day was given for error/,
};

for (const [text, problem] of Object.entries(REFUSED)) {
  Deno.test(`Filter ${text} is refused with words`, () => {
    assert.throws(
      () => parseFilterEntry(text),
      ({ name, message }: Error) =>
        name === "UsageError" && message.startsWith("Cannot use filter ") &&
        problem.test(message),
    );
  });
}

Deno.test("A rule that may not be relaxed may be named as strict", () => {
  const entry = parseFilterEntry("policy-invoice-reuse:error");
  assert.deepEqual(matchingTags(entry), ["policy-invoice-reuse"]);
});

Deno.test("What is written is what was read", () => {
  const tag = fc.constantFrom(...TAGS.filter((tag) => RULES[tag].isRelaxable));
  const day = fc.integer({ min: 0, max: 60_000 }).map((days) => days * 86_400);
  const entry = fc.record({
    tag,
    isPrefix: fc.boolean(),
    action: fc.constant("warn" as const),
    until: fc.option(day),
  }, { noNullPrototype: true });
  fc.assert(fc.property(entry, (entry) => {
    assert.deepEqual(parseFilterEntry(formatFilterEntry(entry)), entry);
  }));
});
