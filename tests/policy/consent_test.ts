/**
 * The owner's consent: three modes, and a question where an answer is missing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ConsentNeeded } from "../../src/errors.ts";
import {
  type Consent,
  type ConsentKind,
  CONSENTS,
  isConsented,
  NO_CONSENT,
  questionOf,
} from "../../src/policy/consent.ts";

const KEY = "unknown_destination/00ff";
const ask = (granted: string[] = [], declined: string[] = []): Consent => ({
  mode: "ask",
  granted: new Set(granted),
  declined: new Set(declined),
});
const asked = (consent: Consent) =>
  isConsented(consent, "unknown_destination", KEY, () => "1 sat to $& bc1q");
const unasked = (): string => assert.fail("nobody is to be asked");

Deno.test("What may be consented to is a closed list", () => {
  assert.deepEqual(Object.keys(CONSENTS), [
    "unknown_destination",
    "payment_without_invoice",
    "payment_over_limit",
  ]);
});

Deno.test("Always consents, whatever was answered, and asks nobody", () => {
  const consent: Consent = { ...ask([], [KEY]), mode: "always" };
  assert.equal(
    isConsented(consent, "unknown_destination", KEY, unasked),
    true,
  );
});

Deno.test("Refuse does not, whatever was answered, and asks nobody", () => {
  const consent: Consent = { ...ask([KEY]), mode: "refuse" };
  assert.equal(
    isConsented(consent, "unknown_destination", KEY, unasked),
    false,
  );
  assert.equal(
    isConsented(NO_CONSENT, "payment_over_limit", "x", unasked),
    false,
  );
});

Deno.test("An answer holds for its key only, and no beats yes", () => {
  assert.equal(asked(ask([KEY])), true);
  assert.equal(asked(ask([], [KEY])), false);
  assert.equal(asked(ask([KEY], [KEY])), false);
  assert.throws(() => asked(ask([`${KEY}0`], ["unknown_destination"])));
});

Deno.test("Without an answer the owner is asked in whole words", () => {
  assert.throws(() => asked(ask()), (error: Error) => {
    assert.ok(error instanceof ConsentNeeded);
    assert.equal(error.kind, "unknown_destination");
    assert.equal(error.key, KEY);
    assert.match(error.message, /Allow 1 sat to \$& bc1q\?/);
    return true;
  });
});

Deno.test("Each question says what it is about", () => {
  const kinds = Object.keys(CONSENTS) as ConsentKind[];
  for (const kind of kinds) {
    assert.match(questionOf(kind, "THIS"), /^\w+ THIS\? [A-Z]/);
  }
});
