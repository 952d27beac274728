/**
 * Spends: one valid view, altered in one thing at a time.
 *
 * Proof by table: each row says what is altered and which rule refuses it, and
 * no other. The unaltered view passes; where a rule may be relaxed the altered
 * one passes with a warning.
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
import {
  chargeFee,
  checkSpend,
  type FundingView,
  type OutputView,
  type SpendView,
} from "../../src/policy/spend.ts";
import type { Sat } from "../../src/wire/types.ts";

const POLICY = defaultPolicy("bitcoin");
const sat = (amount: number) => BigInt(amount) as Sat;

const OURS: OutputView = {
  amount: sat(399_000),
  destination: { kind: "ours" },
  isAsNamed: true,
};
const UNKNOWN: OutputView = {
  amount: sat(50_000),
  destination: { kind: "unknown" },
  isAsNamed: true,
};
const FUNDING: FundingView = {
  value: sat(600_000),
  hasChannelScript: true,
  isCountersigned: true,
  isOpening: true,
  isOutbound: true,
  pushed: 0n,
  claim: 600_000n,
};

const fundingOutput = (
  change: Partial<FundingView> = {},
  amount = sat(600_000),
): OutputView => ({
  amount,
  destination: { kind: "funding", funding: { ...FUNDING, ...change } },
  isAsNamed: true,
});

/** 600 000 sat into a channel, the rest but 1 000 sat back. */
const VALID: SpendView = {
  version: 2,
  baseSize: 130,
  weight: 600,
  ours: 1_000_000n,
  others: 0n,
  areAmountsKnown: true,
  areInputsSegwit: true,
  isSplice: false,
  isEarly: false,
  outputs: [fundingOutput(), OURS],
  protection: null,
};

/** Ours are 500 000 sat of an output of 1 000 000; 100 000 of it go out. */
const SPLICE: SpendView = {
  ...VALID,
  ours: 500_000n,
  others: 500_000n,
  isSplice: true,
  outputs: [
    fundingOutput(
      { value: sat(899_000), isOpening: false, claim: 399_000n },
      sat(899_000),
    ),
    { ...OURS, amount: sat(100_000) },
  ],
};

/** A fee bump that may cost what it saves. */
const BUMP: SpendView = {
  ...VALID,
  ours: 20_000n,
  others: 330n,
  outputs: [{ ...OURS, amount: sat(15_000) }],
  protection: { stake: 100_000n, parentWeight: 1124 },
};

const check = (view: SpendView, policy: Policy, isConsented: boolean) => {
  const judge = createJudge(policy, 0);
  const cost = checkSpend(judge, view, {
    feeReference: null,
    isConsented: () => isConsented,
    isGiftConsented: () => isConsented,
  });
  return { cost, warnings: judge.warnings };
};

interface Row {
  readonly name: string;
  readonly view: SpendView;
  readonly tag: RuleTag;
}

// 25 000 sat per kw over a weight of 600.
const MOST = 15_000;

const REFUSED: readonly Row[] = [
  {
    name: "another version",
    view: { ...VALID, version: 1 },
    tag: "policy-onchain-format-standard",
  },
  {
    name: "an amount that is not known",
    view: { ...VALID, areAmountsKnown: false },
    tag: "policy-commitment-other",
  },
  {
    name: "a byte too many",
    view: { ...VALID, baseSize: 32_769 },
    tag: "policy-onchain-max-size",
  },
  {
    name: "a wallet key's name on another script",
    view: {
      ...VALID,
      outputs: [fundingOutput(), { ...OURS, isAsNamed: false }],
    },
    tag: "policy-onchain-output-scriptpubkey",
  },
  {
    name: "a malleable input of an opening",
    view: { ...VALID, areInputsSegwit: false },
    tag: "policy-onchain-funding-non-malleable",
  },
  {
    name: "a funding output of another value",
    view: { ...VALID, outputs: [fundingOutput({ value: sat(600_001) }), OURS] },
    tag: "policy-onchain-output-match-commitment",
  },
  {
    name: "a funding output of another script",
    view: {
      ...VALID,
      outputs: [fundingOutput({ hasChannelScript: false }), OURS],
    },
    tag: "policy-onchain-output-scriptpubkey",
  },
  {
    name: "a channel without a commitment",
    view: {
      ...VALID,
      outputs: [fundingOutput({ isCountersigned: false }), OURS],
    },
    tag: "policy-onchain-initial-commitment-countersigned",
  },
  {
    name: "a pushed satoshi",
    view: {
      ...VALID,
      outputs: [fundingOutput({ pushed: 1n, claim: 599_999n }), OURS],
    },
    tag: "policy-onchain-no-channel-push",
  },
  {
    name: "a fee above the feerate",
    view: {
      ...VALID,
      outputs: [fundingOutput(), { ...OURS, amount: sat(400_000 - MOST - 1) }],
    },
    tag: "policy-onchain-fee-range",
  },
  {
    name: "an unknown destination",
    view: {
      ...VALID,
      outputs: [fundingOutput(), { ...OURS, amount: sat(349_000) }, UNKNOWN],
    },
    tag: "policy-onchain-no-unknown-outputs",
  },
  {
    name: "an unknown destination beside a stranger's coins",
    view: {
      ...VALID,
      others: 50_000n,
      outputs: [
        { ...OURS, amount: sat(999_000) },
        UNKNOWN,
      ],
    },
    tag: "policy-onchain-no-unknown-outputs",
  },
  {
    name: "a peer's channel that does not pay for our coins",
    view: {
      ...VALID,
      others: 600_000n,
      outputs: [
        fundingOutput(
          { value: sat(1_200_000), isOutbound: false, claim: 500_000n },
          sat(1_200_000),
        ),
        OURS,
      ],
    },
    tag: "policy-onchain-no-fund-inbound",
  },
  {
    name: "a splice that gives our balance to the peer",
    view: {
      ...SPLICE,
      outputs: [
        fundingOutput(
          { value: sat(899_000), isOpening: false, claim: 299_000n },
          sat(899_000),
        ),
        { ...OURS, amount: sat(100_000) },
      ],
    },
    tag: "policy-splice-balance",
  },
  {
    name: "a splice with a fee above the feerate",
    view: {
      ...SPLICE,
      outputs: [
        fundingOutput({
          value: sat(900_000 - MOST - 1),
          isOpening: false,
          claim: BigInt(400_000 - MOST - 1),
        }, sat(900_000 - MOST - 1)),
        { ...OURS, amount: sat(100_000) },
      ],
    },
    tag: "policy-splice-fee-range",
  },
  {
    name: "a splice to an unknown destination",
    view: {
      ...SPLICE,
      outputs: [...SPLICE.outputs.slice(0, 1), {
        ...UNKNOWN,
        amount: sat(100_000),
      }],
    },
    tag: "policy-splice-destination-allowlisted",
  },
  {
    name: "a fee bump that costs more than it saves",
    view: {
      ...BUMP,
      ours: 900_000n,
      outputs: [{ ...OURS, amount: sat(400_000) }],
    },
    tag: "policy-onchain-fee-range",
  },
  {
    name: "a fee bump to an unknown destination",
    view: { ...BUMP, outputs: [{ ...UNKNOWN, amount: sat(15_000) }] },
    tag: "policy-onchain-no-unknown-outputs",
  },
  {
    name: "an early splice to an unknown destination",
    view: {
      ...SPLICE,
      isEarly: true,
      outputs: [
        fundingOutput(
          { value: sat(899_000), isOpening: false, claim: 899_000n },
          sat(899_000),
        ),
        { ...UNKNOWN, amount: sat(100_000) },
      ],
    },
    tag: "policy-splice-destination-allowlisted",
  },
];

const PASSED: readonly (readonly [name: string, view: SpendView])[] = [
  ["an opening", VALID],
  ["a splice", SPLICE],
  ["a fee bump", BUMP],
  ["the largest transaction", { ...VALID, baseSize: 32_768 }],
  ["the greatest feerate", {
    ...VALID,
    outputs: [fundingOutput(), { ...OURS, amount: sat(400_000 - MOST) }],
  }],
  ["a listed destination", {
    ...VALID,
    outputs: [fundingOutput(), { ...OURS, destination: { kind: "allowed" } }],
  }],
  ["a spend from outside segwit that funds nothing", {
    ...VALID,
    areInputsSegwit: false,
    outputs: [{ ...OURS, amount: sat(999_000) }],
  }],
  ["the other side's change in an opening of both", {
    ...VALID,
    others: 650_000n,
    outputs: [
      fundingOutput({ value: sat(1_200_000) }, sat(1_200_000)),
      OURS,
      UNKNOWN,
    ],
  }],
  ["the other side's destination in a splice of theirs", {
    ...SPLICE,
    outputs: [
      fundingOutput(
        { value: sat(949_000), isOpening: false, claim: 500_000n },
        sat(949_000),
      ),
      UNKNOWN,
    ],
  }],
  ["an HTLC's own output in a fee bump", {
    ...BUMP,
    others: 50_000n,
    outputs: [
      { ...UNKNOWN, destination: { kind: "paired" } },
      { ...OURS, amount: sat(15_000) },
    ],
  }],
  ["a fee bump that costs what it saves", {
    ...BUMP,
    ours: 900_000n,
    outputs: [{ ...OURS, amount: sat(800_000) }],
    protection: { stake: 100_000n, parentWeight: 0 },
  }],
];

for (const [name, view] of PASSED) {
  Deno.test(`a spend passes: ${name}`, () => {
    assert.deepEqual(check(view, POLICY, false).warnings, []);
  });
}

for (const { name, view, tag } of REFUSED) {
  Deno.test(`a spend is refused: ${name}`, () => {
    assert.throws(
      () => check(view, POLICY, false),
      (error) => error instanceof PolicyViolation && error.tag === tag,
    );
    if (!RULES[tag].isRelaxable) return;
    const relaxed = withFilter(POLICY, [`${tag}:warn`]);
    const { warnings } = check(view, relaxed, false);
    assert.deepEqual(warnings.map((warning) => warning.tag), [tag]);
  });
}

Deno.test("a consent covers the destination and not the fee", () => {
  const outputs = [{ ...OURS, amount: sat(949_000) }, UNKNOWN];
  assert.equal(check({ ...VALID, outputs }, POLICY, true).cost.fee, 1000n);
  const dear = [{ ...OURS, amount: sat(949_000 - MOST) }, UNKNOWN];
  assert.throws(
    () => check({ ...VALID, outputs: dear }, POLICY, true),
    /policy-onchain-fee-range/,
  );
});

Deno.test("the bound follows the fee reference up to the hard limit", () => {
  const outputs = [{ ...OURS, amount: sat(1_000_000 - 2 * MOST) }];
  const judge = createJudge(POLICY, 0);
  const at = (feeReference: number | null) =>
    checkSpend(judge, { ...VALID, outputs }, {
      feeReference,
      isConsented: () => false,
      isGiftConsented: () => false,
    });
  assert.equal(at(12_500).fee, BigInt(2 * MOST));
  assert.throws(() => at(12_000), /policy-onchain-fee-range/);
  assert.throws(() => at(null), /policy-onchain-fee-range/);
});

Deno.test("fees are counted against fee_velocity", () => {
  const judge = createJudge(POLICY, 86_400);
  const fresh = { start: 0n, buckets: [] };
  const once = chargeFee(judge, fresh, 1_000_000n);
  assert.throws(() => chargeFee(judge, once, 1n), /policy-onchain-fee-range/);
  const next = createJudge(POLICY, 2 * 86_400);
  assert.ok(chargeFee(next, once, 1n).buckets.length > 0);
});
