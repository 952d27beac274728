/**
 * One control message at a time: which is taken, and what it comes to.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import { publicKey } from "../../../src/crypto/secp.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import {
  allowlistChange,
  nonceChange,
} from "../../../src/device/card_state.ts";
import {
  controlPolicyOf,
  withControlPolicy,
} from "../../../src/device/control/policy.ts";
import {
  type ControlFacts,
  type ControlOutcome,
  takeControl,
} from "../../../src/device/control/take.ts";
import { createAllowlist } from "../../../src/policy/allowlist.ts";
import {
  decodePolicy,
  defaultPolicy,
  withLimit,
} from "../../../src/policy/limits.ts";
import { sealEnvelope } from "../../../src/wire/control_envelope.ts";
import {
  type ControlMessage,
  DEFAULT_CONTROL_POLICY,
  encodeControlMessage,
  encodeControlResponse,
} from "../../../src/wire/control_message.ts";
import type { Msat } from "../../../src/wire/types.ts";

const KEY = new Secret(new Uint8Array(32).fill(0xcd));
const POINT = publicKey(KEY.reveal());
const NOW = 1_790_000_000_000;
const network = NETWORKS.regtest;

const ADDRESS = "bcrt1q6rhpng9evdsfnn833a4f4vej0asu6dk5srld6x";
const PAYEE = `payee:${POINT.toHex()}`;

const FACTS: ControlFacts = {
  point: POINT,
  nonce: 100n,
  now: NOW,
  network,
  policy: defaultPolicy("regtest"),
  allowlist: createAllowlist([], network),
  paid: { start: 0n, buckets: [] },
  channels: [],
  isSeedOnCard: true,
};

function envelope(message: ControlMessage, nonce: bigint, key = KEY) {
  const payload = encodeControlMessage(message);
  return sealEnvelope({ payload, nonce }, key);
}

function take(
  message: ControlMessage,
  changes: Partial<ControlFacts> = {},
  nonce = 101n,
): ControlOutcome {
  return takeControl({ ...FACTS, ...changes }, envelope(message, nonce));
}

function errorOf({ response }: ControlOutcome): string {
  assert.ok(response.kind === "Error", JSON.stringify(response.kind));
  return response.value;
}

/** A refusal that used its number up and did nothing else. */
function refusal(outcome: ControlOutcome): string {
  assert.deepEqual(outcome.changes, [nonceChange(101n)]);
  assert.equal(outcome.effect, null);
  assert.ok(outcome.isTaken);
  return errorOf(outcome);
}

function changeOf({ changes }: ControlOutcome, key: string) {
  const found = changes.find((change) => change.key === key);
  assert.ok(found !== undefined, key);
  return found.value;
}

// --------------------------------------------------------------------- number

Deno.test("Nonce tells the last number, moves nothing, and may come again", () => {
  for (const nonce of [0n, 1n, 101n, 1n << 63n]) {
    const outcome = take({ kind: "Nonce" }, {}, nonce);
    assert.deepEqual(outcome.response, { kind: "Nonce", value: 100n });
    assert.deepEqual(outcome.changes, []);
    assert.equal(outcome.nonce, 100n);
    assert.ok(!outcome.isTaken);
  }
});

Deno.test("a number is taken from one above the last to twenty above", () => {
  const wanted: readonly (readonly [bigint, boolean])[] = [
    [0n, false],
    [99n, false],
    [100n, false],
    [101n, true],
    [120n, true],
    [121n, false],
    [(1n << 64n) - 1n, false],
  ];
  for (const [nonce, isTaken] of wanted) {
    const outcome = take({ kind: "QueryPolicy" }, {}, nonce);
    assert.equal(outcome.isTaken, isTaken, `${nonce}`);
    if (isTaken) {
      assert.deepEqual(outcome.changes, [nonceChange(nonce)]);
      assert.equal(outcome.nonce, nonce);
      continue;
    }
    assert.deepEqual(outcome.changes, []);
    assert.equal(outcome.nonce, 100n);
    assert.equal(
      encodeControlResponse(outcome.response).toHex(),
      "81a54572726f72ad696e76616c6964206e6f6e6365",
    );
  }
});

Deno.test("a card that never took a number starts at the time", () => {
  const start = BigInt(NOW);
  const asked = take({ kind: "Nonce" }, { nonce: 0n }, 0n);
  assert.deepEqual(asked.response, { kind: "Nonce", value: start });
  assert.deepEqual(asked.changes, [nonceChange(start)]);
  const early = take({ kind: "ResetWifi" }, { nonce: 0n }, 1n);
  assert.equal(errorOf(early), "invalid nonce");
  assert.deepEqual(early.changes, [nonceChange(start)]);
  const first = take({ kind: "QueryPolicy" }, { nonce: 0n }, start + 1n);
  assert.ok(first.isTaken);
});

Deno.test("nothing is accepted twice, in any order of any numbers", () => {
  const numbers = fc.array(fc.bigInt({ min: 90n, max: 160n }), {
    maxLength: 60,
  });
  // What a message comes to does not depend on its signature's bytes.
  const made = new Map<bigint, Uint8Array>();
  const envelopeOf = (nonce: bigint) => {
    const known = made.get(nonce) ?? envelope({ kind: "QueryPolicy" }, nonce);
    made.set(nonce, known);
    return known;
  };
  fc.assert(
    fc.property(numbers, (numbers) => {
      const taken = new Set<bigint>();
      let nonce = 100n;
      for (const number of numbers) {
        const facts = { ...FACTS, nonce };
        const outcome = takeControl(facts, envelopeOf(number));
        assert.ok(outcome.nonce >= nonce);
        nonce = outcome.nonce;
        if (!outcome.isTaken) continue;
        assert.ok(!taken.has(number));
        taken.add(number);
        assert.equal(nonce, number);
      }
    }),
    { numRuns: 10 },
  );
});

// ------------------------------------------------------------------ signature

Deno.test("what the control key did not sign changes nothing", () => {
  const other = new Secret(new Uint8Array(32).fill(0xce));
  const good = envelope({ kind: "ResetAll" }, 101n);
  const wrong = [
    envelope({ kind: "ResetAll" }, 101n, other),
    good.with(0, 0xa9),
    good.with(good.length - 1, (good.at(-1) ?? 0) ^ 1),
    good.subarray(1),
    new Uint8Array(),
    new Uint8Array(73),
    new Uint8Array(74),
  ];
  for (const bytes of wrong) {
    const outcome = takeControl(FACTS, bytes);
    assert.match(errorOf(outcome), /another key signed it|want 74 or more/);
    assert.deepEqual(outcome.changes, []);
    assert.equal(outcome.effect, null);
    assert.ok(!outcome.isTaken);
  }
});

Deno.test("any bytes have an answer", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
    errorOf(takeControl(FACTS, bytes));
  }));
});

Deno.test("nothing is taken while the seed is locked", () => {
  const outcome = take({ kind: "Nonce" }, { point: null });
  assert.match(errorOf(outcome), /the seed is locked/);
  assert.deepEqual(outcome.changes, []);
});

Deno.test("a message that is not understood uses its number up", () => {
  const payloads = ["a4466f6f6f", "c0", "81a34f746100", "ff"];
  for (const hex of payloads) {
    const payload = Uint8Array.fromHex(hex);
    const bytes = sealEnvelope({ payload, nonce: 101n }, KEY);
    assert.match(
      refusal(takeControl(FACTS, bytes)),
      /^Cannot decode control message/,
    );
  }
});

// --------------------------------------------------------------------- policy

Deno.test("the policy is told in Sphinx's terms", () => {
  const policy = withLimit(
    withLimit(defaultPolicy("bitcoin"), "velocity", "hour:5000"),
    "max_htlc_value_sat",
    "7",
  );
  assert.deepEqual(take({ kind: "QueryPolicy" }, { policy }).response, {
    kind: "PolicyCurrent",
    value: {
      msatPerInterval: 5000n,
      interval: "hourly",
      htlcLimitMsat: 7000n,
    },
  });
});

Deno.test("a policy is made durable, put in force, and changes two rows only", () => {
  const policy = withLimit(defaultPolicy("regtest"), "max_htlcs", "30");
  const value = { ...DEFAULT_CONTROL_POLICY };
  const outcome = take({ kind: "UpdatePolicy", value }, { policy });
  assert.deepEqual(outcome.response, { kind: "PolicyUpdated", value });
  const bytes = changeOf(outcome, "policy");
  assert.ok(bytes !== null && outcome.effect?.kind === "own");
  const kept = decodePolicy(bytes, "regtest");
  assert.deepEqual(kept, outcome.effect.ownership.policy);
  assert.deepEqual(kept, {
    ...policy,
    velocity: { kind: "day", limit: 21_000_000_000n },
    maxHtlcValueSat: 1_000_000n,
  });
  assert.match(outcome.text, /velocity day:21000000000 msat/);
});

Deno.test("a limit that ours cannot express is refused", () => {
  const wrong = [
    { ...DEFAULT_CONTROL_POLICY, htlcLimitMsat: 200n },
    { ...DEFAULT_CONTROL_POLICY, htlcLimitMsat: 10n ** 19n },
    { ...DEFAULT_CONTROL_POLICY, msatPerInterval: (1n << 64n) - 2n },
    { ...DEFAULT_CONTROL_POLICY, msatPerInterval: 2_100_000_000_000_000_001n },
  ];
  for (const value of wrong) {
    const text = refusal(take({ kind: "UpdatePolicy", value }));
    assert.match(text, /^Cannot set (velocity|max_htlc_value_sat): .*want /);
  }
});

Deno.test("no limit on payments goes there and back", () => {
  const policy = withLimit(defaultPolicy("bitcoin"), "velocity", "unlimited");
  const told = controlPolicyOf(policy);
  assert.equal(told.msatPerInterval, (1n << 64n) - 1n);
  assert.deepEqual(withControlPolicy(defaultPolicy("bitcoin"), told), policy);
});

// ------------------------------------------------------------------ allowlist

Deno.test("an allowlist is replaced, durable and in force, and read with its kinds", () => {
  const value = [ADDRESS, PAYEE, ADDRESS];
  const outcome = take({ kind: "UpdateAllowlist", value });
  assert.deepEqual(outcome.response, {
    kind: "AllowlistUpdated",
    value: [`address:${ADDRESS}`, PAYEE],
  });
  assert.deepEqual(
    changeOf(outcome, "allowlist"),
    allowlistChange([ADDRESS, PAYEE]).value,
  );
  assert.ok(outcome.effect?.kind === "own");
  const { allowlist } = outcome.effect.ownership;
  assert.ok(allowlist !== undefined);
  assert.ok(allowlist.payees.has(POINT.toHex()));
  const read = take({ kind: "QueryAllowlist" }, { allowlist });
  assert.deepEqual(read.response, {
    kind: "AllowlistCurrent",
    value: [`address:${ADDRESS}`, PAYEE],
  });
  const emptied = take({ kind: "UpdateAllowlist", value: [] }, { allowlist });
  assert.equal(changeOf(emptied, "allowlist"), null);
});

Deno.test("an entry that is none, or of another network, leaves the list as it is", () => {
  const wrong = [
    "",
    "# nothing",
    `${ADDRESS}\n${PAYEE}`,
    `${ADDRESS}#mine`,
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "payee:00",
    "xpub:nonsense",
    "nonsense",
    "ü",
  ];
  for (const entry of wrong) {
    const message = {
      kind: "UpdateAllowlist",
      value: [ADDRESS, entry],
    } as const;
    assert.match(refusal(take(message)), /^Cannot use /, entry);
  }
  const many = Array.from({ length: 1001 }, () => ADDRESS);
  const text = refusal(take({ kind: "UpdateAllowlist", value: many }));
  assert.match(text, /1001 entries, want 1000 or fewer/);
});

// ----------------------------------------------------------- velocity and all

Deno.test("what was paid of late is told as it counts now", () => {
  const none = take({ kind: "QueryVelocity" });
  assert.deepEqual(none.response, { kind: "VelocityCurrent", value: null });
  const policy = withLimit(defaultPolicy("regtest"), "velocity", "hour:10000");
  const seconds = BigInt(NOW / 1000);
  const start = seconds - seconds % 300n - 600n;
  const paid = { start, buckets: [5n, 7n].map((msat) => msat as Msat) };
  const told = take({ kind: "QueryVelocity" }, { policy, paid });
  assert.deepEqual(told.response, {
    kind: "VelocityCurrent",
    value: [start + 600n, [0n, 0n, 5n, 7n, 0n, 0n, 0n, 0n, 0n, 0n, 0n, 0n]],
  });
});

Deno.test("everything at once has the real allowlist in it", () => {
  const allowlist = createAllowlist([PAYEE], network);
  const { response } = take({ kind: "QueryAll" }, { allowlist });
  assert.deepEqual(response, {
    kind: "AllCurrent",
    value: {
      policy: controlPolicyOf(FACTS.policy),
      allowlist: [PAYEE],
      velocity: null,
    },
  });
});

// -------------------------------------------------------------- reset and Ota

Deno.test("ResetWifi forgets the node, and nothing else", () => {
  const outcome = take({ kind: "ResetWifi" }, { channels: ["a/1"] });
  assert.deepEqual(outcome.response, { kind: "ResetWifi" });
  assert.equal(changeOf(outcome, "card/pairing"), null);
  assert.deepEqual(outcome.effect, { kind: "part" });
});

Deno.test("a seed that channels need is not erased, and they are named", () => {
  const channels = ["02aa…/1", "02bb…/2", "c/3", "d/4", "e/5", "f/6", "g/7"];
  for (const kind of ["ResetKeys", "ResetAll"] as const) {
    const one = refusal(take({ kind }, { channels: ["02aa…/1"] }));
    assert.match(one, /open channels \(02aa…\/1\), .*softkey card wipe/);
    const many = refusal(take({ kind }, { channels }));
    assert.match(many, /\(02aa…\/1, 02bb…\/2, c\/3, d\/4, e\/5 and 2 more\)/);
    const elsewhere = refusal(take({ kind }, { isSeedOnCard: false }));
    assert.match(elsewhere, /in a file that the softkey was started with/);
  }
});

Deno.test("without channels ResetKeys erases the seed, ResetAll the card", () => {
  const keys = take({ kind: "ResetKeys" });
  assert.deepEqual(keys.effect, { kind: "eraseSeed" });
  assert.deepEqual(keys.response, { kind: "ResetKeys" });
  const all = take({ kind: "ResetAll" });
  assert.deepEqual(all.effect, { kind: "eraseCard" });
  assert.deepEqual(all.response, { kind: "ResetAll" });
  // The number is not set back.
  for (const { changes } of [keys, all]) {
    assert.deepEqual(changes, [nonceChange(101n)]);
  }
});

Deno.test("an update over the air is refused in plain words", () => {
  const value = { version: 1n, url: "u", sha256Hash: "h", messageSig: "s" };
  assert.match(refusal(take({ kind: "Ota", value })), /package manager/);
});
