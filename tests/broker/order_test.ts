/**
 * Requests and answers between lightningd and the devices: order, matching,
 * coming back, refusing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { encodeRefusal } from "../../src/wire/control.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import type { Answer } from "../../src/unixfd.ts";
import {
  FakeNode,
  INIT,
  initReply,
  pointReply,
  pointRequest,
  settle,
} from "./fake.ts";

const replied = (n: number): Answer => ({
  kind: "reply",
  message: pointReply(n),
});

/** Asks for the points `from` to `to`, each for its own channel. */
function askPoints(
  node: FakeNode,
  from: number,
  to: number,
): Promise<Answer>[] {
  const count = to - from + 1;
  return Array.from(
    { length: count },
    (_, i) => node.ask(pointRequest(from + i), { dbid: BigInt(from + i + 1) }),
  );
}

Deno.test("Requests reach the device in the order in which they were read", async () => {
  using node = new FakeNode();
  const early = askPoints(node, 0, 3);
  const device = await node.start();
  const late = askPoints(node, 4, 5);
  assert.deepEqual(device.contents, [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(device.sequences, [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(device.requests.map(({ dbid }) => dbid), [
    1n,
    2n,
    3n,
    4n,
    5n,
    6n,
  ]);
  for (let i = 0; i < 6; i++) device.answerPoint(i);
  const wanted = [0, 1, 2, 3, 4, 5].map(replied);
  assert.deepEqual(await Promise.all([...early, ...late]), wanted);
});

Deno.test("A reply goes to the request with its number, whatever comes first", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const answers = askPoints(node, 0, 4);
  for (const at of [3, 0, 4, 2, 1]) device.answerPoint(at);
  assert.deepEqual(await Promise.all(answers), [0, 1, 2, 3, 4].map(replied));
});

Deno.test("A second reply and one that nobody asked for harm nothing", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const [first, second] = askPoints(node, 0, 1);
  device.answerPoint(0);
  device.answerPoint(0);
  device.reply(777, pointReply(9));
  device.answerPoint(1);
  assert.deepEqual(await Promise.all([first, second]), [0, 1].map(replied));
  assert.ok(device.isHere);
});

Deno.test("A device that comes back is asked again, in order, under the same numbers", async () => {
  using node = new FakeNode();
  const first = await node.start();
  const answers = askPoints(node, 0, 3);
  first.answerPoint(1);
  first.leave();
  const more = askPoints(node, 4, 4);
  const second = node.connect();
  await second.serve();
  assert.deepEqual(second.contents, [0, 2, 3, 4]);
  assert.deepEqual(second.sequences, [0, 2, 3, 4]);
  for (let i = 0; i < 4; i++) second.answerPoint(i);
  assert.deepEqual(
    await Promise.all([...answers, ...more]),
    [0, 1, 2, 3, 4].map(replied),
  );
});

Deno.test("A reply of a connection that ended is not taken", async () => {
  using node = new FakeNode();
  const first = await node.start();
  const [answer] = askPoints(node, 0, 0);
  first.leave();
  const second = node.connect();
  await second.serve();
  first.reply(0, pointReply(666));
  await settle();
  second.answerPoint(0);
  assert.deepEqual(await answer, replied(0));
});

Deno.test("A reply of the wrong type ends the device, and the request is asked again", async () => {
  using node = new FakeNode();
  const wrong = encodeMessage(REPLIES.dev_memleak_reply, { leak: false });
  for (const message of [wrong, pointReply(0).slice(0, 20)]) {
    const device = node.devices.length === 0
      ? await node.start()
      : node.connect();
    if (device.requests.length === 0) await device.serve();
    const answer = node.ask(pointRequest(5), { dbid: 1n });
    const { sequence } = device.requests.at(-1) ?? { sequence: -1 };
    device.reply(sequence, message);
    assert.ok(!device.isHere);
    const other = node.connect();
    await other.serve();
    other.answerPoint(0);
    assert.deepEqual(await answer, replied(5));
    other.leave();
  }
});

Deno.test("Garbage on any topic ends the device and nothing else", async () => {
  using node = new FakeNode();
  await node.start();
  const [answer] = askPoints(node, 0, 0);
  for (const name of ["hello", "init-3-res", "vls-res"] as const) {
    const device = node.connect({ cid: `bad-${name}` });
    if (name !== "hello") device.hello();
    device.publish(name, new Uint8Array(7).fill(0xee));
    assert.ok(!device.isHere, name);
  }
  node.devices[0]?.answerPoint(0);
  assert.deepEqual(await answer, replied(0));
});

Deno.test("A signer error of 400 is a bad request, 403 and 500 are refusals", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const outcomes: Answer[] = [];
  for (const [at, code] of [400, 403, 500].entries()) {
    const answer = node.ask(pointRequest(at), { dbid: 1n });
    device.fail(at, code, `no ${code}`);
    outcomes.push(await answer);
  }
  assert.deepEqual(outcomes, [
    { kind: "bad", reason: "no 400" },
    { kind: "refused", reason: "no 403" },
    { kind: "refused", reason: "no 500" },
  ]);
});

Deno.test("Control characters of a device do not reach the log", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const answer = node.ask(pointRequest(0), { dbid: 1n });
  device.publish("error", new TextEncoder().encode("a\nb\x01"));
  device.fail(0, 403, "a\x7fb");
  assert.deepEqual(await answer, { kind: "refused", reason: "a b" });
  // deno-lint-ignore no-control-regex
  assert.ok(node.log.every((line) => !/[\u0000-\u001f\u007f]/.test(line)));
});

Deno.test("A Sphinx device has one request at a time, and numbers without a gap", async () => {
  using node = new FakeNode();
  const device = await node.start({ isSphinx: true });
  const gone = new AbortController();
  const answers = askPoints(node, 0, 1);
  void node.ask(pointRequest(99), { dbid: 9n, signal: gone.signal });
  answers.push(...askPoints(node, 2, 3));
  assert.deepEqual(device.contents, [0]);
  gone.abort();
  for (let i = 0; i < 4; i++) {
    assert.equal(device.requests.length, i + 1);
    device.answerPoint(i);
  }
  assert.deepEqual(device.contents, [0, 1, 2, 3]);
  assert.deepEqual(device.sequences, [0, 1, 2, 3]);
  assert.deepEqual(await Promise.all(answers), [0, 1, 2, 3].map(replied));
});

Deno.test("A Sphinx device's error fails the request under way, whose number it expects again", async () => {
  using node = new FakeNode();
  const device = await node.start({ isSphinx: true });
  const [first, second, third] = askPoints(node, 0, 2);
  device.answerPoint(0);
  device.publish(
    "error",
    new TextEncoder().encode("client DBID handler error"),
  );
  assert.deepEqual(device.sequences, [0, 1, 1]);
  device.answerPoint(2);
  assert.deepEqual(await first, replied(0));
  assert.deepEqual(await second, {
    kind: "refused",
    reason: "client DBID handler error",
  });
  assert.deepEqual(await third, replied(2));
});

Deno.test("A Sphinx device is not sent dev_preinit; a native one is, before each init", async () => {
  const preinit = encodeMessage(REQUESTS.dev_preinit, { tlvs: {} });
  for (const isSphinx of [true, false]) {
    using node = new FakeNode({ isDeveloper: true });
    assert.deepEqual(await node.ask(preinit), { kind: "silence" });
    const device = await node.start({ isSphinx });
    assert.equal(device.inits.length, isSphinx ? 1 : 2);
    device.leave();
    const back = node.connect();
    await back.serve({ isSphinx });
    assert.equal(back.inits.length, isSphinx ? 1 : 2);
  }
});

Deno.test("dev_preinit and forced keys are bad requests without developer mode", async () => {
  using node = new FakeNode();
  const preinit = encodeMessage(REQUESTS.dev_preinit, { tlvs: {} });
  assert.equal((await node.ask(preinit)).kind, "bad");
  const forced = Uint8Array.from(INIT);
  // The option byte of dev_force_privkey, and room for its 32 bytes.
  const at = 2 + 8 + 32 + 1;
  const longer = new Uint8Array(forced.length + 32);
  longer.set(forced.subarray(0, at));
  longer.set(Uint8Array.of(1), at);
  longer.set(forced.subarray(at + 1), at + 33);
  assert.equal((await node.ask(longer)).kind, "bad");
});

Deno.test("A second init is a bad request", async () => {
  using node = new FakeNode();
  await node.start();
  assert.equal((await node.ask(INIT)).kind, "bad");
});

Deno.test("A device that failed to open its seed answers init with the failure", async () => {
  using node = new FakeNode();
  const answer = node.ask(INIT);
  const device = node.connect();
  device.hello();
  const message = encodeMessage(REPLIES.init_reply_failure, {
    errorCode: 21,
    errorMessage: new TextEncoder().encode("wrong"),
  });
  device.answerInit(message);
  assert.deepEqual(await answer, { kind: "reply", message });
});

Deno.test("Later sessions are offered the version that lightningd was told", async () => {
  using node = new FakeNode();
  const device = await node.start();
  device.leave();
  const back = node.connect();
  back.hello();
  const [init] = back.inits;
  assert.equal(init?.subarray(-8).toHex(), "0000000600000006");
});

Deno.test("One of several devices is active; one with a card of its own takes over when the operator says so", async () => {
  using node = new FakeNode();
  const first = await node.start();
  const second = node.connect({ cid: "bb" });
  await second.serve();
  const answers = askPoints(node, 0, 1);
  assert.deepEqual(first.contents, [0, 1]);
  assert.deepEqual(second.contents, []);
  first.answerPoint(0);
  first.leave();
  await settle();
  assert.deepEqual(second.contents, []);
  const warned = await node.broker.use("bb", { isForced: false });
  assert.equal(warned.kind, "refused");
  assert.deepEqual(second.contents, []);
  const forced = await node.broker.use("bb", { isForced: true });
  assert.equal(forced.kind, "done");
  await settle();
  assert.deepEqual(second.contents, [1]);
  second.answerPoint(0);
  assert.deepEqual(await Promise.all(answers), [0, 1].map(replied));
  // One that comes back later stays warm.
  const third = node.connect({ cid: "cc" });
  await third.serve();
  void node.ask(pointRequest(2), { dbid: 1n });
  assert.deepEqual(third.contents, []);
});

Deno.test("The broker's own words are no control message of an owner", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const before = device.controls.length;
  const outcome = await node.broker.control("aa", encodeRefusal("go away"));
  assert.equal(outcome.kind, "failed");
  assert.equal(device.controls.length, before);
});

Deno.test("A device that says hello again is initialised again and asked again", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const [answer] = askPoints(node, 0, 0);
  await device.serve();
  assert.deepEqual(device.contents, [0, 0]);
  assert.deepEqual(device.sequences, [0, 0]);
  device.answerPoint(1);
  assert.deepEqual(await answer, replied(0));
});

Deno.test("A request that nobody waits for any more is not sent", async () => {
  using node = new FakeNode();
  const device = await node.start();
  device.leave();
  const gone = new AbortController();
  void node.ask(pointRequest(0), { dbid: 1n, signal: gone.signal });
  const answer = node.ask(pointRequest(1), { dbid: 2n });
  gone.abort();
  const back = node.connect();
  await back.serve();
  assert.deepEqual(back.contents, [1]);
  back.answerPoint(0);
  assert.deepEqual(await answer, replied(1));
});

Deno.test("An answered request leaves no listener on its connection's signal", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners += 1;
    add(...args);
  };
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners -= 1;
    remove(...args);
  };
  for (let i = 0; i < 10; i++) {
    const answer = node.ask(pointRequest(i), { dbid: 1n, signal });
    device.answerPoint(i);
    await answer;
  }
  assert.equal(listeners, 0);
});

Deno.test("The log says once what is waited for, and nothing after the device came", async () => {
  using node = new FakeNode();
  const answer = node.ask(INIT);
  void node.ask(pointRequest(0), { dbid: 1n });
  const waiting = node.log.filter((line) => line.includes("waiting for"));
  assert.deepEqual(waiting, [
    "info waiting for a signer device to pair with on mqtt://here: init",
  ]);
  const device = node.connect();
  await device.serve();
  assert.deepEqual(await answer, {
    kind: "reply",
    message: initReply(device.identity),
  });
  device.leave();
  const again = node.log.filter((line) => line.includes("waiting for"));
  const whom = device.identity.nodeId.toHex();
  assert.equal(
    again.at(-1),
    `info waiting for signer ${whom} on mqtt://here: get_per_commitment_point`,
  );
});

Deno.test("Sequence numbers go round at 65,536 and skip those that wait", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const slow = node.ask(pointRequest(1_000_000), { dbid: 1n });
  for (let i = 1; i <= 65_536; i++) {
    const answer = node.ask(pointRequest(i), { dbid: 2n });
    device.answerPoint(i);
    await answer;
  }
  assert.equal(device.sequences[65_535], 65_535);
  assert.equal(device.sequences[65_536], 1);
  device.answerPoint(0);
  assert.deepEqual(await slow, replied(1_000_000));
});
