/**
 * HTLC transactions and their scripts: what was built is read back, and one
 * valid transaction is altered in one field at a time.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { asPubKey } from "../../src/bitcoin/keys.ts";
import type { Tx } from "../../src/bitcoin/tx.ts";
import { hash160, ripemd160 } from "../../src/crypto/hash.ts";
import { PolicyViolation } from "../../src/errors.ts";
import { buildHtlcTx } from "../../src/lightning/htlc_tx.ts";
import {
  offeredHtlcScript,
  receivedHtlcScript,
  toLocalScript,
} from "../../src/lightning/scripts.ts";
import {
  checkHtlcTx,
  type HtlcTxView,
  readDelayedScript,
  readHtlcScript,
} from "../../src/policy/htlc_tx.ts";
import { createJudge } from "../../src/policy/judge.ts";
import {
  defaultPolicy,
  type Policy,
  withFilter,
} from "../../src/policy/limits.ts";
import { RULES, type RuleTag } from "../../src/policy/rules.ts";
import type { Msat, Sat, Sha256, Txid } from "../../src/wire/types.ts";

const POLICY = defaultPolicy("bitcoin");
const key = (fill: number) =>
  asPubKey(Uint8Array.of(2, ...new Uint8Array(32).fill(fill)));
const KEYS = { revocation: key(1), localHtlc: key(2), remoteHtlc: key(3) };
// Constants of the right size.
const HASH = new Uint8Array(32).fill(7) as Uint8Array as Sha256;
const TXID = new Uint8Array(32).fill(9) as Uint8Array as Txid;

/** Without anchors, 253 sat per kw: a fee of 167 sat. */
const build = (feerate = 253, change = {}) =>
  buildHtlcTx({
    commitmentTxid: TXID,
    outputIndex: 2,
    isOffered: true,
    amount: 100_000_000n as Msat,
    cltvExpiry: 500_000,
    feerate,
    keys: { revocation: key(1), delayed: key(4) },
    toSelfDelay: 144,
    hasAnchors: false,
    ...change,
  }).tx;

const VALID: HtlcTxView = {
  problem: null,
  tx: build(),
  wanted: build(),
  isOffered: true,
  hasAnchors: false,
  amount: 100_000n,
  isHolder: false,
};

function check(view: HtlcTxView, policy: Policy) {
  const judge = createJudge(policy, 0);
  checkHtlcTx(judge, view, null);
  return judge.warnings;
}

const [INPUT] = VALID.tx.inputs;
const [OUTPUT] = VALID.tx.outputs;
assert.ok(INPUT !== undefined && OUTPUT !== undefined);
const altered = (change: Partial<Tx>): HtlcTxView => ({
  ...VALID,
  tx: { ...VALID.tx, ...change },
});

const REFUSED: readonly (readonly [string, HtlcTxView, RuleTag])[] = [
  ["a problem", { ...VALID, problem: "other keys" }, "policy-htlc-other"],
  ["no such HTLC", { ...VALID, wanted: null }, "policy-htlc-other"],
  ["another version", altered({ version: 1 }), "policy-htlc-other"],
  ["another locktime", altered({ locktime: 500_001 }), "policy-htlc-locktime"],
  [
    "another sequence",
    altered({ inputs: [{ ...INPUT, sequence: 1 }] }),
    "policy-htlc-other",
  ],
  [
    "another outpoint",
    altered({ inputs: [{ ...INPUT, index: 3 }] }),
    "policy-htlc-other",
  ],
  [
    "another transaction's outpoint",
    altered({ inputs: [{ ...INPUT, txid: HASH as Uint8Array as Txid }] }),
    "policy-htlc-other",
  ],
  ["a second input", altered({ inputs: [INPUT, INPUT] }), "policy-htlc-other"],
  [
    "a second output",
    altered({ outputs: [OUTPUT, OUTPUT] }),
    "policy-htlc-other",
  ],
  [
    "another delay",
    { ...VALID, tx: build(253, { toSelfDelay: 145 }) },
    "policy-htlc-other",
  ],
  [
    "another delayed key",
    {
      ...VALID,
      tx: build(253, { keys: { revocation: key(1), delayed: key(5) } }),
    },
    "policy-htlc-other",
  ],
  [
    "another revocation key",
    {
      ...VALID,
      tx: build(253, { keys: { revocation: key(6), delayed: key(4) } }),
    },
    "policy-htlc-other",
  ],
  [
    "a satoshi more for the fee",
    altered({ outputs: [{ ...OUTPUT, amount: OUTPUT.amount - 1n as Sat }] }),
    "policy-htlc-fee-range",
  ],
  [
    "a feerate above the greatest",
    { ...VALID, tx: build(25_003), wanted: build(25_003) },
    "policy-htlc-fee-range",
  ],
  [
    "ours at a feerate above the hard limit",
    {
      ...VALID,
      isHolder: true,
      amount: 1_000_000n,
      tx: build(250_002, { amount: 1_000_000_000n as Msat }),
      wanted: build(250_002, { amount: 1_000_000_000n as Msat }),
    },
    "policy-htlc-fee-range",
  ],
];

const PASSED: readonly (readonly [string, HtlcTxView])[] = [
  ["as it is", VALID],
  ["the greatest feerate", {
    ...VALID,
    tx: build(25_000),
    wanted: build(25_000),
  }],
  ["ours at a feerate above the greatest", {
    ...VALID,
    isHolder: true,
    tx: build(40_000),
    wanted: build(40_000),
  }],
];

for (const [name, view] of PASSED) {
  Deno.test(`an HTLC transaction passes: ${name}`, () => {
    assert.deepEqual(check(view, POLICY), []);
  });
}

for (const [name, view, tag] of REFUSED) {
  Deno.test(`an HTLC transaction is refused: ${name}`, () => {
    assert.throws(
      () => check(view, POLICY),
      (error) => error instanceof PolicyViolation && error.tag === tag,
    );
    if (!RULES[tag].isRelaxable) return;
    const relaxed = withFilter(POLICY, [`${tag}:warn`]);
    assert.deepEqual(check(view, relaxed).map((each) => each.tag), [tag]);
  });
}

const fill = fc.integer({ min: 1, max: 255 });
const scripts = fc.record({
  hasAnchors: fc.boolean(),
  cltvExpiry: fc.integer({ min: 1, max: 499_999_999 }),
  hash: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  local: fill,
  remote: fill,
});

Deno.test("an HTLC script says what it was made from", () => {
  fc.assert(fc.property(scripts, (made) => {
    const { hasAnchors, cltvExpiry, hash } = made;
    const paymentHash = hash as Uint8Array as Sha256;
    const terms = {
      revocation: key(1),
      localHtlc: key(made.local),
      remoteHtlc: key(made.remote),
      hasAnchors,
      paymentHash,
    };
    const wanted = {
      revocationHash: hash160(key(1)),
      localHtlc: terms.localHtlc,
      remoteHtlc: terms.remoteHtlc,
      paymentHash: ripemd160(hash),
      hasAnchors,
    };
    assert.deepEqual(readHtlcScript(offeredHtlcScript(terms)), {
      ...wanted,
      isOffered: true,
      cltvExpiry: null,
    });
    assert.deepEqual(
      readHtlcScript(receivedHtlcScript({ ...terms, cltvExpiry })),
      { ...wanted, isOffered: false, cltvExpiry },
    );
  }));
});

Deno.test("an HTLC script with a byte more, less or another is none", () => {
  const terms = { ...KEYS, hasAnchors: true, paymentHash: HASH };
  for (
    const script of [
      offeredHtlcScript(terms),
      receivedHtlcScript({ ...terms, cltvExpiry: 500 }),
    ]
  ) {
    assert.equal(readHtlcScript(script.subarray(1)), null);
    assert.equal(readHtlcScript(script.subarray(0, -1)), null);
    assert.equal(readHtlcScript(Uint8Array.of(...script, 0)), null);
    const other = Uint8Array.from(script);
    other[0] = 0;
    assert.equal(readHtlcScript(other), null);
  }
});

Deno.test("a delayed script says what it was made from", () => {
  const delays = fc.integer({ min: 0, max: 65_535 });
  fc.assert(fc.property(delays, (toSelfDelay) => {
    const terms = { revocation: key(1), delayed: key(2), toSelfDelay };
    assert.deepEqual(readDelayedScript(toLocalScript(terms)), terms);
  }));
  const offered = offeredHtlcScript({
    ...KEYS,
    hasAnchors: false,
    paymentHash: HASH,
  });
  assert.equal(readDelayedScript(offered), null);
});
