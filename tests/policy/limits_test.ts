/**
 * Limits: their defaults, what an owner may type, what a card keeps, and the
 * ceiling that follows the fee reference.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError, UsageError } from "../../src/errors.ts";
import {
  currentReference,
  decodePolicy,
  defaultPolicy,
  describePolicy,
  encodePolicy,
  LIMIT_FIELDS,
  LIMITS,
  maxFeerate,
  parseLimit,
  type Policy,
  withFilter,
  withLimit,
} from "../../src/policy/limits.ts";
import { UNLIMITED } from "../../src/policy/velocity.ts";

const MAIN = defaultPolicy("bitcoin");
const TEST = defaultPolicy("regtest");
const bytes = (value: unknown) =>
  new TextEncoder().encode(JSON.stringify(value));

Deno.test("Mainnet starts from the documented values", () => {
  assert.deepEqual(MAIN, {
    network: "bitcoin",
    filter: [],
    minDelay: 144,
    maxDelay: 2016,
    maxChannelSizeSat: 1_000_000_001n,
    epsilonSat: 10_000n,
    maxHtlcs: 1000,
    maxHtlcValueSat: 16_777_216n,
    minFeeratePerKw: 253,
    maxFeeratePerKw: 25_000,
    hardMaxFeeratePerKw: 250_000,
    feeReferencePercent: 400,
    maxRoutingFeeMsat: 10_000n,
    maxFeePercent: 10,
    cltvDelta: 34,
    maxChannels: 1000,
    maxInvoices: 1000,
    maxUnpaidLossSat: 50_000n,
    velocity: { kind: "day", limit: 1_000_000_000n },
    feeVelocity: { kind: "day", limit: 1_000_000_000n },
    chain: "required",
    minFundingDepth: 3,
    zeroConf: "refuse",
    maxHtlcExpiry: 2500,
    htlcAlarmBlocks: 12,
    blockProof: "auto",
    oracles: { needed: 0, keys: [] },
    maxReorg: 100,
  });
});

Deno.test("Networks without worth differ where VLS's do, and in velocity", () => {
  const changed = {
    minDelay: 4,
    maxFeeratePerKw: 333_333,
    hardMaxFeeratePerKw: 1_000_000,
    maxRoutingFeeMsat: 222_000n,
    cltvDelta: 6,
    velocity: UNLIMITED,
    minFundingDepth: 1,
    maxHtlcExpiry: 65_535,
    htlcAlarmBlocks: 3,
  };
  for (const network of ["testnet", "testnet4", "signet", "regtest"] as const) {
    const expected = { ...MAIN, ...changed, network };
    assert.deepEqual(defaultPolicy(network), expected);
  }
});

Deno.test("A row's name is its field in snake case", () => {
  for (const field of LIMIT_FIELDS) {
    const snake = field.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
    assert.equal(LIMITS[field].name, snake);
  }
});

Deno.test("Every default can be typed, and is described as one", () => {
  for (const policy of [MAIN, TEST]) {
    for (const { name, value, isDefault } of describePolicy(policy)) {
      assert.equal(isDefault, true, name);
      assert.deepEqual(withLimit(policy, name, value), policy);
    }
  }
});

Deno.test("A limit that is set is the one that is described", () => {
  const policy = withLimit(MAIN, "velocity", "hour:5");
  assert.deepEqual(policy.velocity, { kind: "hour", limit: 5n });
  const lines = describePolicy(policy).filter(({ isDefault }) => !isDefault);
  assert.deepEqual(lines.map(({ name, value }) => [name, value]), [
    ["velocity", "hour:5"],
  ]);
});

Deno.test("Amounts are bigint, counts are number", () => {
  assert.equal(parseLimit("epsilon_sat", "7"), 7n);
  assert.equal(parseLimit("max_htlcs", "7"), 7);
  assert.deepEqual(parseLimit("fee_velocity", "unlimited"), UNLIMITED);
});

const REFUSED: readonly (readonly [name: string, text: string, RegExp])[] = [
  ["max_htlc", "1", /^Cannot set "max_htlc": no such limit, want one of min_/],
  ["maxHtlcs", "1", /no such limit/],
  [
    "max_htlcs",
    "",
    /^Cannot set max_htlcs: "", want a whole number, 0 to 65535/,
  ],
  ["max_htlcs", "-1", /want a whole number/],
  ["max_htlcs", "1.5", /want a whole number/],
  ["max_htlcs", "1e3", /want a whole number/],
  ["max_htlcs", "65536", /want a whole number/],
  ["min_delay", "0", /want a whole number, 1 to/],
  ["epsilon_sat", "2100000000000001", /to 2100000000000000/],
  ["velocity", "5", /want hour:N, day:N or unlimited/],
  ["velocity", "week:5", /want hour:N/],
  ["velocity", "day:", /want hour:N/],
  ["velocity", "day:-5", /want hour:N/],
  ["min_delay", "2017", /min_delay above max_delay: 2017, want at most 2016/],
  ["max_delay", "143", /min_delay above max_delay/],
  ["min_feerate_per_kw", "25001", /above max_feerate_per_kw/],
  ["max_feerate_per_kw", "250001", /above hard_max_feerate_per_kw/],
  ["hard_max_feerate_per_kw", "24999", /above hard_max_feerate_per_kw/],
];

for (const [name, text, problem] of REFUSED) {
  Deno.test(`Setting ${name} to "${text}" is refused with words`, () => {
    assert.throws(() => withLimit(MAIN, name, text), (error: Error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, problem);
      return true;
    });
  });
}

Deno.test("Limits may be equal where one is under the other", () => {
  assert.equal(withLimit(MAIN, "min_delay", "2016").minDelay, 2016);
  const { maxFeeratePerKw } = withLimit(MAIN, "max_feerate_per_kw", "250000");
  assert.equal(maxFeeratePerKw, 250_000);
});

Deno.test("A card keeps nothing of a policy that nobody changed", () => {
  assert.deepEqual(encodePolicy(MAIN), bytes({ limits: {}, filter: [] }));
  assert.deepEqual(decodePolicy(encodePolicy(MAIN), "bitcoin"), MAIN);
});

Deno.test("A card keeps what was changed, as text", () => {
  const changed = withFilter(
    withLimit(MAIN, "max_htlc_value_sat", "2099999999999999"),
    ["policy-onchain-*:warn@2027-01-31"],
  );
  assert.deepEqual(
    encodePolicy(changed),
    bytes({
      limits: { max_htlc_value_sat: "2099999999999999" },
      filter: ["policy-onchain-*:warn@2027-01-31"],
    }),
  );
  assert.deepEqual(decodePolicy(encodePolicy(changed), "bitcoin"), changed);
});

Deno.test("Limits that depend on each other are read in any order", () => {
  const limits = { min_delay: "3000", max_delay: "4000" };
  const { minDelay } = decodePolicy(bytes({ limits, filter: [] }), "bitcoin");
  assert.equal(minDelay, 3000);
});

Deno.test("Whatever an owner sets comes back from the card", () => {
  const number = fc.tuple(
    fc.constantFrom("max_htlcs", "epsilon_sat", "max_channels", "cltv_delta"),
    fc.integer({ min: 0, max: 65_535 }).map(String),
  );
  const velocity = fc.tuple(
    fc.constantFrom("velocity", "fee_velocity"),
    fc.oneof(
      fc.constant("unlimited"),
      fc.bigInt({ min: 0n, max: 2_100_000_000_000_000_000n })
        .map((limit) => `day:${limit}`),
    ),
  );
  const choices = fc.array(fc.oneof(number, velocity), { maxLength: 8 });
  fc.assert(fc.property(choices, (choices) => {
    const policy = choices.reduce(
      (policy: Policy, [name, text]) => withLimit(policy, name, text),
      TEST,
    );
    assert.deepEqual(decodePolicy(encodePolicy(policy), "regtest"), policy);
  }));
});

const DAMAGED: Readonly<Record<string, RegExp>> = {
  "": /want JSON/,
  "[]": /want an object with limits and filter/,
  "{}": /limits: want an object|want an object of texts/,
  '{"limits":{},"filter":[],"more":1}': /want an object with limits and filter/,
  '{"limits":[],"filter":[]}': /want an object of texts/,
  '{"limits":{"max_htlcs":3},"filter":[]}': /want an object of texts/,
  '{"limits":{},"filter":{}}': /want a list of texts/,
  '{"limits":{},"filter":[1]}': /want a list of texts/,
  '{"limits":{"max_fun":"3"},"filter":[]}': /no such limit, want one of/,
  '{"limits":{"max_htlcs":"many"},"filter":[]}': /want a whole number/,
  '{"limits":{"min_delay":"9999"},"filter":[]}': /above max_delay/,
  '{"limits":{},"filter":["policy-invoice-reuse:warn"]}': /may not be relaxed/,
};

for (const [text, problem] of Object.entries(DAMAGED)) {
  Deno.test(`A card that says ${text || "nothing"} is refused with words`, () => {
    assert.throws(
      () => decodePolicy(new TextEncoder().encode(text), "bitcoin"),
      (error: Error) => {
        assert.ok(error instanceof DecodeError);
        assert.match(error.message, problem);
        return true;
      },
    );
  });
}

Deno.test("A fee reference counts for an hour, and two hours before its time", () => {
  const time = 1_700_000_000;
  const reference = { feeratePerKw: 5000, time: BigInt(time) };
  const at = (offset: number) => currentReference(reference, time + offset);
  assert.deepEqual(
    [-7201, -7200, 0, 3600, 3601].map(at),
    [null, 5000, 5000, 5000, null],
  );
  assert.equal(currentReference(null, time), null);
  const never = { feeratePerKw: 5000, time: (1n << 64n) - 1n };
  assert.equal(currentReference(never, time), null);
});

Deno.test("The ceiling follows the reference between the limit and the hard limit", () => {
  const cases: readonly (readonly [number | null, number])[] = [
    [null, 25_000],
    [0, 25_000],
    [6249, 25_000],
    [6250, 25_000],
    [6251, 25_004],
    [62_499, 249_996],
    [62_500, 250_000],
    [62_501, 250_000],
    [0xffff_ffff, 250_000],
  ];
  for (const [reference, expected] of cases) {
    assert.equal(maxFeerate(MAIN, reference), expected, String(reference));
  }
});
