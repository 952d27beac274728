/**
 * What the book says of what was signed: amounts that a person has added up, by
 * what right, and nothing that somebody else chose.
 *
 * That each signature of each recording has its line, and what form it has, is
 * checked where recordings are played (`replay/signer_test.ts`).
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { decodeAddress } from "../../src/bitcoin/address.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { createAllowlist } from "../../src/policy/allowlist.ts";
import type { Consent } from "../../src/policy/consent.ts";
import { createJudge } from "../../src/policy/judge.ts";
import { withFilter } from "../../src/policy/limits.ts";
import { allowedBy, listedAs } from "../../src/signer/allowed_by.ts";
import type { Call } from "../../src/signer/call.ts";
import {
  type Described,
  describeStep,
  LEDGER,
} from "../../src/signer/ledger.ts";
import {
  dateOf,
  grouped,
  msatInSat,
  shortChannelId,
} from "../../src/signer/ledger_words.ts";
import type { ReadyState, SignerInput, Step } from "../../src/signer/state.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { messageType } from "../../src/wire/message.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { BookLines } from "../support/book_lines.ts";
import { recordingName, recordingsIn } from "../support/recording.ts";
import { playStrict, YES } from "../support/strict.ts";

/** All lines of a recording, checked. */
function linesOf(url: URL): readonly Described[] {
  const book = new BookLines();
  playStrict(url, YES, book.observe);
  return book.lines;
}

function textsOf(name: string): readonly string[] {
  const [url] = recordingsIn("vectors", "flows")
    .filter((path) => recordingName(path) === name);
  assert.ok(url !== undefined);
  return linesOf(url).map(({ text }) => text);
}

function assertIn(lines: readonly string[], part: string): void {
  assert.ok(
    lines.some((line) => line.includes(part)),
    `${part} is in none of:\n${lines.join("\n")}`,
  );
}

Deno.test("the amounts of known flows are those that a person adds up", () => {
  // 1,000,000 - 123,000 in the HTLC - 2 anchors of 330 - a fee of
  // 1,255 sat per kw for 1,124 + 172 weight, rounded down: 1,626.
  const anchored = textsOf("closing_anchorspend_htlc_tx_rbf-node1");
  assertIn(
    anchored,
    "commitment 1 of 033845802d…/1: we keep 874,714 sat, they 0 sat, " +
      "1 HTLC (1 out, 0 in), 5.02 sat/vB",
  );
  // 874,714 less what the sweep costs.
  assertIn(anchored, "sweep of our commitment 1 of 033845802d…/1: 874,580 sat");
  assertIn(anchored, "fee 134 sat");
  // 1,000,000 = 797,105 + 200,000 + 2,895, from both sides.
  const [one, two] = [
    textsOf("closing_simple-node1"),
    textsOf("closing_simple-node2"),
  ];
  assertIn(one, "close of 033845802d…/1: 797,105 sat to us at bcrt1p9r2qj40");
  assertIn(one, "200,000 sat to the peer at bcrt1p62eaq7k3");
  assertIn(two, "close of 038194b5f3…/1: 200,000 sat to us at bcrt1p62eaq7k3");
  assertIn(two, "797,105 sat to the peer at bcrt1p9r2qj40");
  assertIn(one, "fee 2,895 sat");
  // Two coins of 2,000,000: 4,000,000 - 2,000,000 - 5,985.
  assertIn(
    textsOf("withdraw-node1"),
    "wallet spend, 2 coins of ours: 2,000,000 sat to " +
      "bcrt1q90gmlfrlen6y078ftasdtwfl9z9x9xjd569jjs, 1,994,015 sat back to " +
      "us, fee 5,985 sat",
  );
  // A splice in of 100,000: 1,000,000 + 995,073 - 1,100,000 - 11,823.
  assertIn(
    textsOf("splice-node1"),
    "splice of 033845802d…/1, which held 1,000,000 sat: 1,100,000 sat into " +
      "it again, 883,250 sat back to us, fee 11,823 sat",
  );
});

Deno.test("what a payment goes out by is the invoice that was approved", () => {
  const [url] = recordingsIn("flows")
    .filter((path) => recordingName(path) === "pay-node1");
  assert.ok(url !== undefined);
  const lines = linesOf(url);
  const approved = lines.filter(({ kind }) => kind === "approved");
  const paid = lines.filter(({ allowedBy }) =>
    allowedBy.startsWith("an approved invoice")
  );
  assert.ok(paid.length > 0);
  for (const { allowedBy, text } of paid) {
    const hash = allowedBy.slice("an approved invoice ".length).slice(0, 11);
    assert.ok(approved.some((line) => line.text.includes(hash)), allowedBy);
    assert.match(text, /^commitment \d+ of .*HTLC/);
  }
});

Deno.test("a spend that the owner was asked about says what was asked", () => {
  const [url] = recordingsIn("flows")
    .filter((path) => recordingName(path) === "withdraw-node1");
  assert.ok(url !== undefined);
  const asked = new Map<string, string>();
  const consent = (granted: Iterable<string>): Consent => ({
    mode: "ask",
    granted: new Set(granted),
    declined: new Set(),
  });
  playStrict(url, consent([]), ({ effects }) => {
    for (const each of effects) {
      if (each.kind === "ask") asked.set(each.key, each.question);
    }
  });
  const rights: string[] = [];
  playStrict(url, consent(asked.keys()), (step, input) => {
    rights.push(describeStep(step, input, Date.now())?.allowedBy ?? "");
  });
  const told = rights.filter((right) => right.startsWith("the owner, asked: "));
  assert.ok(asked.size > 0 && told.length >= asked.size);
  const questions = [...asked.values()];
  for (const right of told) {
    const question = right.slice("the owner, asked: ".length).replace("…", "");
    assert.ok(questions.some((each) => each.startsWith(question)), right);
  }
});

/** A signer with its keys, a request of its, and what it answered. */
function firstStep(name: keyof typeof REQUESTS) {
  const [url] = recordingsIn("flows")
    .filter((path) => recordingName(path) === "withdraw-node1");
  assert.ok(url !== undefined);
  const found: { step: Step; input: SignerInput; state: ReadyState }[] = [];
  playStrict(url, YES, (step, input) => {
    const { state } = step;
    const isIt = messageType(input.message) === REQUESTS[name].type;
    if (isIt && state.kind === "ready") found.push({ step, input, state });
  });
  const [first] = found;
  assert.ok(first !== undefined);
  return first;
}

const ADDRESSES = [
  "bcrt1q90gmlfrlen6y078ftasdtwfl9z9x9xjd569jjs",
  "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080",
] as const;

Deno.test("money that the allowlist lets go names the entry, and only then", () => {
  const { state, step, input } = firstStep("sign_withdrawal");
  const network = NETWORKS.regtest;
  const [listed, other] = ADDRESSES;
  const allowlist = createAllowlist([other, `address:${listed}`], network);
  const owned = { ...state, allowlist };
  const line = describeStep({ ...step, state: owned, grounds: [] }, input, 0);
  assert.equal(line?.allowedBy, `allowlist: address:${listed}`);
  const call: Call = {
    feeReference: null,
    state: owned,
    connection: { peerId: NOBODY, dbid: 0n },
    judge: createJudge(state.policy, 0),
  };
  assert.deepEqual(listedAs(call, decodeAddress(other, network), []), [other]);
  const script = Uint8Array.of(0, 20, ...new Uint8Array(20));
  assert.deepEqual(listedAs(call, script, []), []);
  const bare = describeStep({ ...step, grounds: [] }, input, 0);
  assert.equal(bare?.allowedBy, "the rules");
});

Deno.test("all that a signature rests on is named, once, in bounds", () => {
  const { state } = firstStep("sign_withdrawal");
  const policy = withFilter(state.policy, []);
  const call: Call = {
    feeReference: null,
    state: { ...state, policy },
    connection: { peerId: NOBODY, dbid: 0n },
    judge: createJudge(policy, 0),
  };
  const question = "Allow this? ".repeat(60);
  const words = (right: Partial<Parameters<typeof allowedBy>[2]>) =>
    allowedBy(call, [], { grounds: [], payments: [], listed: [], ...right });
  assert.equal(words({}), "the rules");
  assert.equal(
    words({
      grounds: [
        { kind: "consent", mode: "always", question },
        { kind: "consent", mode: "always", question: "another" },
        { kind: "warning", tag: "policy-mutual-fee-range" },
      ],
    }),
    "--yes; a rule that only warns: policy-mutual-fee-range",
  );
  assert.ok(
    words({ grounds: [{ kind: "consent", mode: "ask", question }] }).length <
      330,
  );
  const listed = Array.from({ length: 9 }, (_, i) => `entry${i}`);
  assert.match(words({ listed }), /entry3; 5 more$/);
});

Deno.test("a signature that cannot be put into words is a line all the same", () => {
  const { state } = firstStep("sign_withdrawal");
  const reply = Uint8Array.of(0, 112);
  const types = Object.entries(LEDGER).flatMap(([name, row]) =>
    row === null ? [] : [REQUESTS[name as keyof typeof REQUESTS].type]
  );
  fc.assert(fc.property(
    fc.constantFrom(...types),
    fc.uint8Array({ maxLength: 300 }),
    (type, body) => {
      const message = Uint8Array.of(type >> 8, type & 0xff, ...body);
      const input = { peerId: NOBODY, dbid: 0n, message };
      const step = { state, reply, effects: [], writes: [] };
      const line = describeStep(step, input, 0);
      if (line?.isFallback !== true) return;
      assert.match(line.text, /^signed [a-z0-9_]+$/);
      assert.equal(line.rides, false);
    },
  ));
  const message = Uint8Array.of(0, REQUESTS.sign_remote_commitment_tx.type);
  const input = { peerId: NOBODY, dbid: 7n, message };
  const line = describeStep(
    { state, reply, effects: [], writes: [] },
    input,
    0,
  );
  assert.equal(line?.text, "signed sign_remote_commitment_tx");
});

Deno.test("no message and no name of another's choice is quoted", () => {
  const { state } = firstStep("sign_withdrawal");
  const step = { state, reply: Uint8Array.of(0, 123), effects: [], writes: [] };
  const secret = "my password";
  const text = new TextEncoder().encode(secret);
  const message = Uint8Array.of(0, 23, 0, text.length, ...text);
  const line = describeStep(step, { peerId: NOBODY, dbid: 0n, message }, 0);
  assert.match(line?.text ?? "", /^message of 11 bytes under the node key/);
  const named = Uint8Array.of(
    ...[0, REQUESTS.sign_bolt12.type],
    ...[...text, 0, ...text, 0],
    ...new Uint8Array(34),
  );
  const other = describeStep(
    step,
    { peerId: NOBODY, dbid: 0n, message: named },
    0,
  );
  assert.match(other?.text ?? "", /^BOLT 12 message of another name, /);
});

Deno.test("numbers are grouped by three digits and lose nothing", () => {
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }), (n) => {
    const text = grouped(n);
    assert.match(text, /^\d{1,3}(,\d{3})*$/);
    assert.equal(BigInt(text.replaceAll(",", "")), n);
  }));
  assert.equal(msatInSat(1_234_567n), "1,234.567 sat");
  assert.equal(msatInSat(2_000n), "2 sat");
  assert.equal(shortChannelId(103n << 40n | 1n << 16n), "103x1x0");
  assert.equal(dateOf(0n), "1970-01-01 00:00:00");
  assert.equal(dateOf(2n ** 60n), "the end of time");
});
