/**
 * A Sphinx signer that drops a request without a word holds nobody up.
 *
 * What the device says here is what the Sphinx project's web signer of September
 * 2023 said: nothing to a request that it cannot sign, and a pong to the ping.
 *
 * @module
 */

import assert from "node:assert/strict";
import { MOST_RESTARTS, SILENT_MS } from "../../src/broker/silence.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import { SIGNER_MESSAGES } from "../../src/wire/vls.ts";
import { FakeNode, pointRequest, settle } from "./fake.ts";

const TEXT = new TextEncoder().encode("hello");
const SIGN = encodeMessage(REQUESTS.sign_message, { msg: TEXT });

/** Waits that end when the test says so. */
class Clock {
  readonly #calls = new Set<() => void>();
  readonly delays: number[] = [];
  readonly later = (ms: number, call: () => void): () => void => {
    this.delays.push(ms);
    this.#calls.add(call);
    return () => this.#calls.delete(call);
  };

  /** All that waits has waited. */
  pass(): void {
    for (const call of [...this.#calls]) {
      this.#calls.delete(call);
      call();
    }
  }
}

/** The pong that the web signer sends. */
const PONG = encodeMessage(SIGNER_MESSAGES.pong, {
  id: 0,
  message: new TextEncoder().encode("pong"),
});

Deno.test("a request that a Sphinx signer dropped is refused, the next one goes", async () => {
  const clock = new Clock();
  using node = new FakeNode({ later: clock.later });
  const device = await node.start({ isSphinx: true });
  const dropped = node.ask(SIGN);
  const next = node.ask(pointRequest(1), { dbid: 1n });
  await settle();
  assert.deepEqual(device.contents, ["sign_message"]);
  clock.pass();
  assert.deepEqual(clock.delays, [SILENT_MS]);
  const [first, ping] = device.requests;
  assert.ok(first !== undefined && ping !== undefined);
  // A signer that has answered the first would see a gap here.
  assert.equal(ping.sequence, first.sequence);
  decodeMessage(SIGNER_MESSAGES.ping, ping.message, { isStrict: true });
  device.reply(ping.sequence, PONG);
  const answer = await dropped;
  assert.ok(answer.kind === "reply");
  decodeMessage(REPLIES.sign_message_reply, answer.message);
  assert.ok(node.log.some((line) => /has said nothing to this/.test(line)));
  const [, , point] = device.requests;
  assert.equal(point?.sequence, first.sequence + 1);
  device.answerPoint(2);
  assert.equal((await next).kind, "reply");
});

Deno.test("a slow one is waited for, ping or no ping", async () => {
  const clock = new Clock();
  using node = new FakeNode({ later: clock.later });
  const device = await node.start({ isSphinx: true });
  const asked = node.ask(pointRequest(7), { dbid: 1n });
  await settle();
  clock.pass();
  clock.pass();
  assert.equal(device.requests.length, 2);
  device.answerPoint(0);
  assert.equal((await asked).kind, "reply");
  // Its pong comes too late to be anything.
  device.reply(device.requests[1]?.sequence ?? 0, PONG);
  assert.ok(device.isHere);
  assert.ok(!node.log.some((line) => /refused/.test(line)));
});

Deno.test("a pong that nobody asked for is no answer", async () => {
  const clock = new Clock();
  using node = new FakeNode({ later: clock.later });
  const device = await node.start({ isSphinx: true });
  node.ask(pointRequest(7), { dbid: 1n });
  await settle();
  device.reply(device.requests[0]?.sequence ?? 0, PONG);
  assert.ok(!device.isHere);
});

Deno.test("a request that makes a device restart is not asked for ever", async () => {
  const clock = new Clock();
  using node = new FakeNode({ later: clock.later });
  const device = await node.start({ isSphinx: true });
  const poison = node.ask(pointRequest(9), { dbid: 1n });
  const other = node.ask(pointRequest(3), { dbid: 2n });
  await settle();
  for (let i = 0; i < MOST_RESTARTS; i++) {
    assert.deepEqual(device.contents.slice(i), [9]);
    await device.serve({ isSphinx: true });
  }
  assert.equal((await poison).kind, "refused");
  assert.deepEqual(device.contents.slice(MOST_RESTARTS), [3]);
  device.answerPoint(MOST_RESTARTS);
  assert.equal((await other).kind, "reply");
});

Deno.test("a device that leaves later than it takes to restart is only away", async () => {
  let now = 0;
  const clock = new Clock();
  using node = new FakeNode({ later: clock.later, now: () => now });
  let device = await node.start({ isSphinx: true });
  const asked = node.ask(pointRequest(9), { dbid: 1n });
  await settle();
  for (let i = 0; i < 2 * MOST_RESTARTS; i++) {
    now += 90_000;
    device.leave();
    device = node.connect();
    await device.serve({ isSphinx: true });
  }
  device.answerPoint(0);
  assert.equal((await asked).kind, "reply");
});
