/**
 * Everything that real nodes asked a real hsmd, asked of the signer under its
 * strict default policy, the owner consenting to what an owner may consent to.
 *
 * Proof by recorded exchange: each reply must be the same bytes, and nothing of
 * an honest node is refused. What is refused stands in `refusals.json`, with the
 * rule and the reason; nothing else may be, and nothing less. Each signature has
 * its line in the book (`support/book_lines.ts`).
 *
 * @module
 */

import assert from "node:assert/strict";
import { isRuleTag } from "../../src/policy/rules.ts";
import { BookLines } from "../support/book_lines.ts";
import { recordingName, recordingsIn } from "../support/recording.ts";
import { expectedRefusals } from "../support/refusals.ts";
import {
  playStrict,
  type StrictOutcome,
  tagOf,
  YES,
} from "../support/strict.ts";

/** `request rule`, as often as it was refused. */
function refusalsOf({ exceptions }: StrictOutcome): string[] {
  return exceptions.map(({ at, request, refusal }) => {
    assert.ok(refusal !== null, `another reply to ${request} at ${at}`);
    return `${request} ${tagOf(refusal) ?? refusal}`;
  }).sort();
}

function expectedOf(name: string): string[] {
  return expectedRefusals().filter(({ recording }) => recording === name)
    .flatMap(({ request, rule, count }) =>
      Array.from({ length: count }, () => `${request} ${rule}`)
    ).sort();
}

for (const url of recordingsIn("vectors", "flows")) {
  const name = recordingName(url);
  Deno.test(`signer answers ${name} as the stock hsmd did, or says why not`, () => {
    const book = new BookLines();
    const outcome = playStrict(url, YES, book.observe);
    assert.ok(outcome.requests > 0);
    assert.deepEqual(refusalsOf(outcome), expectedOf(name));
    assert.deepEqual(outcome.warnings, []);
    const { identical, exceptions, requests } = outcome;
    assert.equal(identical + exceptions.length, requests);
  });
}

Deno.test("every expected refusal names a recording, a rule and a reason", () => {
  const names = recordingsIn("vectors", "flows").map(recordingName);
  for (const { recording, rule, why } of expectedRefusals()) {
    assert.ok(names.includes(recording), recording);
    assert.ok(isRuleTag(rule), rule);
    assert.ok(why.length > 20, recording);
    assert.match(recording, /^(penalty|permfail|onchain|dataloss|vector)/);
  }
});

Deno.test("without the owner's consent unknown destinations are refused", () => {
  const [url] = recordingsIn("flows").filter((path) =>
    recordingName(path) === "withdraw-node1"
  );
  assert.ok(url !== undefined);
  const outcome = playStrict(url, {
    mode: "refuse",
    granted: new Set(),
    declined: new Set(),
  });
  assert.ok(refusalsOf(outcome).every((text) => text.includes("policy-")));
  assert.ok(
    refusalsOf(outcome).some((text) =>
      text === "sign_withdrawal policy-onchain-no-unknown-outputs"
    ),
  );
});
