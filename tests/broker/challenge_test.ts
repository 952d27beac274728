/**
 * The health of a node: a real signature of its key, and seldom.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import {
  HealthCheck,
  type HealthOptions,
  HOLD_MS,
  makeChallenge,
  problemWith,
} from "../../src/broker/challenge.ts";
import { createSigner, step } from "../../src/signer/handle.ts";
import { Metrics } from "../../src/metrics/metrics.ts";
import type { Answer } from "../../src/unixfd.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { FILES, NODE_KEYS } from "../keyderiv/tables.ts";
import { initFor } from "../support/init.ts";
import { YES } from "../support/strict.ts";

const NODE_ID = Uint8Array.fromHex(NODE_KEYS.S1[1] ?? "");

/** What the signer in softkey answers. */
function sign(message: Uint8Array, secretFile: Uint8Array = FILES.S1): Answer {
  const fresh = createSigner({
    secretFile,
    network: NETWORKS.regtest,
    isDeveloper: false,
    consent: YES,
  });
  const asked = { peerId: NOBODY, dbid: 0n };
  const { state } = step(fresh, { ...asked, message: initFor() }, 0);
  const { reply } = step(state, { ...asked, message }, 0);
  assert.ok(reply !== null);
  return { kind: "reply", message: reply };
}

Deno.test("a challenge that the node's key signed has no problem", () => {
  const challenge = makeChallenge();
  assert.equal(problemWith(challenge, sign(challenge.message), NODE_ID), null);
});

Deno.test("a challenge is a request to sign fresh text of one form", () => {
  const texts = Array.from({ length: 100 }, () => makeChallenge().text);
  assert.equal(new Set(texts).size, texts.length);
  const { text, message } = makeChallenge();
  const { msg } = decodeMessage(REQUESTS.sign_message, message);
  assert.equal(new TextDecoder().decode(msg), text);
  assert.match(text, /^remote-hsmd health [0-9a-f]{64}$/);
});

Deno.test("a challenge is no login token and no control envelope", () => {
  const { message } = makeChallenge();
  const { msg } = decodeMessage(REQUESTS.sign_message, message);
  // A token's text has 4 bytes; a command is a MessagePack map or string.
  assert.ok(msg.length > 4);
  assert.ok((msg[0] ?? 0xff) < 0x80, "a MessagePack number");
});

Deno.test("another key's signature is told from the node's", () => {
  const challenge = makeChallenge();
  const problem = problemWith(
    challenge,
    sign(challenge.message, FILES.M1),
    NODE_ID,
  );
  assert.match(problem ?? "", /by another key, 0[23][0-9a-f]{64}$/);
});

Deno.test("a signature of another challenge is none of this one", () => {
  const old = sign(makeChallenge().message);
  assert.match(problemWith(makeChallenge(), old, NODE_ID) ?? "", /another key/);
});

Deno.test("a signature with one bit changed is none", () => {
  const challenge = makeChallenge();
  const answer = sign(challenge.message);
  assert.ok(answer.kind === "reply");
  for (let bit = 16; bit < 8 * answer.message.length; bit += 5) {
    const message = Uint8Array.from(answer.message);
    message[bit >> 3] = (message[bit >> 3] ?? 0) ^ 1 << (bit & 7);
    const altered: Answer = { kind: "reply", message };
    assert.notEqual(problemWith(challenge, altered, NODE_ID), null, `${bit}`);
  }
});

Deno.test("answers without a signature say what they are", () => {
  const zeros = encodeMessage(REPLIES.sign_message_reply, {
    sig: new Uint8Array(65),
  });
  const rows: readonly (readonly [Answer, RegExp])[] = [
    [{ kind: "silence" }, /left without an answer/],
    [{ kind: "refused", reason: "locked" }, /refused to sign: locked/],
    [{ kind: "bad", reason: "odd" }, /refused to sign: odd/],
    [{ kind: "reply", message: zeros }, /is no signature/],
    [{ kind: "reply", message: new Uint8Array(3) }, /no signature/],
    [{ kind: "reply", message: Uint8Array.of(0, 123, 1) }, /no signature/],
  ];
  for (const [answer, wanted] of rows) {
    const problem = problemWith(makeChallenge(), answer, NODE_ID);
    assert.match(problem ?? "", wanted);
  }
});

interface Bench extends HealthOptions {
  time: number;
  asked: number;
  trouble: string | null;
}

/** A node whose device signs at once, unless a test has it otherwise. */
function bench(changes: Partial<HealthOptions> = {}): Bench {
  const parts: Bench = {
    time: 1_000_000,
    asked: 0,
    trouble: null,
    now: () => parts.time,
    obstacle: () => parts.trouble,
    nodeId: () => NODE_ID,
    ask: (message) => {
      parts.asked += 1;
      return Promise.resolve(sign(message));
    },
    ...changes,
  };
  return parts;
}

Deno.test("a node is healthy once its key has signed", async () => {
  const metrics = new Metrics();
  const parts = bench({ metrics });
  const health = await new HealthCheck(parts).check();
  assert.deepEqual(health, { isHealthy: true, at: 1_000_000, tookMs: 0 });
  const name = "remote_hsmd_health_checks_total";
  assert.equal(metrics.valueOf(name, ["ok"]), 1);
});

Deno.test("an outcome holds for ten seconds, good or bad", async () => {
  const parts = bench();
  const check = new HealthCheck(parts);
  await check.check();
  parts.time += HOLD_MS - 1;
  await check.check();
  assert.equal(parts.asked, 1);
  parts.time += 1;
  await check.check();
  assert.equal(parts.asked, 2);
  const ill = bench({ nodeId: () => Uint8Array.from(NODE_ID).fill(9, 1) });
  const second = new HealthCheck(ill);
  for (let i = 0; i < 5; i++) {
    assert.equal((await second.check()).isHealthy, false);
  }
  assert.equal(ill.asked, 1);
});

Deno.test("a clock that was put back makes no outcome last", async () => {
  const parts = bench();
  const check = new HealthCheck(parts);
  await check.check();
  parts.time -= 1;
  await check.check();
  assert.equal(parts.asked, 2);
});

Deno.test("a thousand who ask at once have one challenge asked", async () => {
  const parts = bench();
  const check = new HealthCheck(parts);
  const all = await Promise.all(
    Array.from({ length: 1000 }, () => check.check()),
  );
  assert.ok(all.every(({ isHealthy }) => isHealthy));
  assert.equal(parts.asked, 1);
});

Deno.test("what stands in the way is the reason, and nobody is asked", async () => {
  const parts = bench();
  const check = new HealthCheck(parts);
  await check.check();
  parts.trouble = "no device since 12:03";
  const health = await check.check();
  assert.deepEqual(health, {
    isHealthy: false,
    at: parts.time,
    reason: "no device since 12:03",
  });
  assert.equal(parts.asked, 1);
  const unpaired = bench({ nodeId: () => null });
  assert.equal((await new HealthCheck(unpaired).check()).isHealthy, false);
  assert.equal(unpaired.asked, 0);
});

Deno.test("a slow device is not asked twice, and its signature counts", async () => {
  const answers: ((answer: Answer) => void)[] = [];
  const questions: Uint8Array[] = [];
  const check = new HealthCheck(bench({
    patienceMs: 1,
    ask: (message) => {
      questions.push(message);
      return new Promise((answer) => answers.push(answer));
    },
  }));
  const ill = [await check.check(), await check.check(), await check.check()];
  for (const one of ill) {
    assert.ok(!one.isHealthy);
    assert.match(one.reason, /has not signed for/);
  }
  assert.equal(questions.length, 1);
  const last = check.check();
  const [question] = questions;
  answers[0]?.(sign(question ?? new Uint8Array()));
  assert.equal((await last).isHealthy, true);
  assert.equal((await check.check()).isHealthy, true);
  assert.equal(questions.length, 1);
});

Deno.test("an outcome is forgotten when another device signs", async () => {
  const parts = bench();
  const check = new HealthCheck(parts);
  await check.check();
  check.forget();
  await check.check();
  assert.equal(parts.asked, 2);
});

Deno.test("an error of whoever asks the device is a reason", async () => {
  const check = new HealthCheck(bench({
    ask: () => Promise.reject(new Error("Cannot ask device x: it left")),
  }));
  const health = await check.check();
  assert.ok(!health.isHealthy);
  assert.equal(health.reason, "Cannot ask device x: it left");
});
