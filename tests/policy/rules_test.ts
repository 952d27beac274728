/**
 * The rule table is whole: every tag that VLS has stands in one table, and rows
 * can be used as they stand.
 *
 * @module
 */

import assert from "node:assert/strict";
import { LIMIT_FIELDS } from "../../src/policy/limits.ts";
import {
  isRuleTag,
  type RuleRow,
  RULES,
  UNBUILT,
} from "../../src/policy/rules.ts";

const ROWS: readonly (readonly [string, RuleRow])[] = Object.entries(RULES);

/** Tags that VLS enforces (its policy documentation and sources). */
const VLS = `channel-safe-type channel-contest-delay-range-holder
channel-contest-delay-range-counterparty mutual-destination-allowlisted
channel-original-channel-id-reuse routing-balanced funding-max
onchain-format-standard onchain-max-size onchain-funding-non-malleable
onchain-no-unknown-outputs onchain-output-match-commitment
onchain-output-scriptpubkey onchain-initial-commitment-countersigned
onchain-no-fund-inbound onchain-no-channel-push onchain-fee-range
commitment-version commitment commitment-scripts commitment-outputs-trimmed
commitment-htlc-count-limit commitment-htlc-inflight-limit
commitment-htlc-cltv-range commitment-fee-range commitment-payment-velocity
commitment-first-no-htlcs commitment-initial-funding-value
commitment-spends-active-utxo commitment-previous-revoked
commitment-retry-same commitment-holder-not-revoked
revoke-new-commitment-signed revoke-new-commitment-valid optional-fail-fast
other commitment-other htlc-other htlc-locktime htlc-fee-range mutual-other
mutual-value-matches-commitment mutual-no-pending-htlcs mutual-fee-range
mutual-scripts sweep-version sweep-destination-allowlisted sweep-locktime
sweep-sequence sweep-other commitment-htlc-routing-balance routing-cltv-delta
invoice-not-expired chain-validated commitment-locktime commitment-sequence
commitment-input-single commitment-input-match-funding
commitment-revocation-pubkey commitment-broadcaster-pubkey
commitment-countersignatory-pubkey commitment-htlc-revocation-pubkey
commitment-htlc-counterparty-htlc-pubkey commitment-htlc-holder-htlc-pubkey
commitment-singular commitment-to-self-delay
commitment-no-unrecognized-outputs commitment-singular-to-holder
commitment-singular-to-counterparty commitment-anchor-amount
commitment-anchor-match-fundingkey htlc-version htlc-sequence
htlc-to-self-delay htlc-revocation-pubkey htlc-delayed-pubkey`.split(/\s+/);

/** Tags that VLS documents and does not enforce. */
const DOCUMENTED = `onchain-wallet-path-predictable
commitment-htlc-received-spends-active-utxo commitment-htlc-offered-hash-matches
commitment-anchors-not-when-off commitment-anchor-to-holder
commitment-anchor-to-counterparty commitment-anchor-static-remotekey
commitment-payment-settled-preimage commitment-payment-allowlisted
commitment-payment-approved no-routing revoke-not-closed htlc-cltv-range
sweep-fee-range velocity-funding velocity-transferred merchant-no-sends
routing-deltas-only-htlc generic-error commitment-to-self-delay-range`
  .split(/\s+/);

Deno.test("Every tag of VLS stands in exactly one table", () => {
  for (const name of [...VLS, ...DOCUMENTED]) {
    const tag = `policy-${name}`;
    const tables = [RULES, UNBUILT]
      .filter((table) => Object.hasOwn(table, tag));
    assert.equal(tables.length, 1, tag);
  }
});

Deno.test("What VLS enforces is enforced", () => {
  const missing = VLS.filter((name) => !isRuleTag(`policy-${name}`));
  assert.deepEqual(missing, []);
});

Deno.test("Every row says what, who says so and what to do", () => {
  for (const [tag, { summary, source, advice, note = "x" }] of ROWS) {
    assert.match(tag, /^policy-[a-z0-9-]+$/);
    assert.match(source, /^(BOLT|BIP|VLS) /, tag);
    assert.match(advice, /^[a-z]/, tag);
    for (const text of [summary, source, advice, note]) {
      assert.match(text, /[^.\s]$/, tag);
      assert.doesNotMatch(text, /undefined/, tag);
    }
  }
});

Deno.test("Every rule refuses by default", () => {
  for (const [tag, row] of ROWS) {
    assert.deepEqual(row.default, { mainnet: "refuse", test: "refuse" }, tag);
  }
});

Deno.test("A row names limits that there are", () => {
  const fields: readonly string[] = LIMIT_FIELDS;
  for (const [tag, { limits = [] }] of ROWS) {
    for (const field of limits) assert.ok(fields.includes(field), tag);
  }
});

Deno.test("What forbids loss without a way back may not be relaxed", () => {
  const never = [
    "policy-commitment-broadcast-revoked",
    "policy-revoke-new-commitment-signed",
    "policy-splice-inflight-revoked",
    "policy-channel-original-channel-id-reuse",
  ] as const;
  for (const tag of never) assert.equal(RULES[tag].isRelaxable, false, tag);
});

/** Rows that another one stands for when they are broken. */
const COVERED = {
  "policy-commitment": `version locktime sequence input-single
    input-match-funding revocation-pubkey broadcaster-pubkey
    countersignatory-pubkey htlc-revocation-pubkey
    htlc-counterparty-htlc-pubkey htlc-holder-htlc-pubkey singular
    singular-to-holder singular-to-counterparty to-self-delay
    no-unrecognized-outputs anchor-amount anchor-match-fundingkey
    anchors-not-when-off anchor-to-holder anchor-to-counterparty
    anchor-static-remotekey`,
} as const;

Deno.test("The parts of a rebuilt commitment are covered by it", () => {
  for (const name of COVERED["policy-commitment"].split(/\s+/)) {
    const tag = `policy-commitment-${name}`;
    assert.ok(isRuleTag(tag), tag);
    assert.equal(RULES[tag].coveredBy, "policy-commitment", tag);
  }
});
