/**
 * The fee reference on its way to a device: the newest, first, and only to one
 * that is there and knows it.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  decodeMessage,
  encodeMessage,
  messageType,
} from "../../src/wire/message.ts";
import { SIGNER_MESSAGES, type SignerRequest } from "../../src/wire/vls.ts";
import { FakeNode, pointReply, pointRequest, settle } from "./fake.ts";

const { fee_reference: ROW, fee_reference_reply: REPLY } = SIGNER_MESSAGES;
const reference = (feeratePerKw: number) => ({ feeratePerKw, time: 1n });

/** The rates that a device was told, in order; null for other requests. */
const ratesIn = (requests: readonly SignerRequest[]) =>
  requests.map(({ message }) =>
    messageType(message) === ROW.type
      ? decodeMessage(ROW, message).feeratePerKw
      : null
  );

Deno.test("A fee reference has the number, the fields and the reply that were agreed", () => {
  const message = encodeMessage(ROW, { feeratePerKw: 253, time: 0x1122n });
  assert.equal(message.toHex(), "0c1c000000fd0000000000001122");
  assert.equal(encodeMessage(REPLY, {}).toHex(), "0c1d");
});

Deno.test("A native device is told the fee reference of no connection, and its answer goes nowhere", async () => {
  using node = new FakeNode();
  const device = await node.start();
  node.broker.takeFeeReference(reference(1000));
  const [request] = device.requests;
  assert.ok(request);
  assert.deepEqual(ratesIn([request]), [1000]);
  assert.equal(request.dbid, 0n);
  assert.equal(request.peerId.toHex(), "00".repeat(33));
  device.reply(request.sequence, encodeMessage(REPLY, {}));
  await settle();
  assert.ok(device.isHere);
});

Deno.test("A device that comes is told the newest, before all that waits", async () => {
  using node = new FakeNode();
  node.broker.takeFeeReference(reference(1));
  node.broker.takeFeeReference(reference(2));
  const first = node.ask(pointRequest(0), { dbid: 1n });
  const device = await node.start();
  assert.deepEqual(ratesIn(device.requests), [2, null]);
  device.reply(device.sequences[1] ?? -1, pointReply(0));
  assert.equal((await first).kind, "reply");
});

Deno.test("What a device was told and did not answer is not told again, but the newest is", async () => {
  using node = new FakeNode();
  const first = await node.start();
  node.broker.takeFeeReference(reference(1));
  first.leave();
  node.broker.takeFeeReference(reference(2));
  node.broker.takeFeeReference(reference(3));
  const second = node.connect();
  await second.serve();
  assert.deepEqual(ratesIn(second.requests), [3]);
});

Deno.test("A warm device is told when it becomes the active one, not before", async () => {
  using node = new FakeNode();
  const first = await node.start();
  const second = node.connect({ cid: "bb" });
  await second.serve();
  node.broker.takeFeeReference(reference(5));
  assert.deepEqual(ratesIn(first.requests), [5]);
  assert.deepEqual(ratesIn(second.requests), []);
  first.leave();
  await settle();
  assert.deepEqual(ratesIn(second.requests), []);
  // Its state is on its own card: the operator has to say so.
  const used = await node.broker.use("bb", { isForced: true });
  assert.equal(used.kind, "done");
  await settle();
  assert.deepEqual(ratesIn(second.requests), [5]);
});

Deno.test("A Sphinx device is told nothing", async () => {
  using node = new FakeNode();
  const device = await node.start({ isSphinx: true });
  node.broker.takeFeeReference(reference(1));
  assert.deepEqual(device.requests, []);
});

Deno.test("A device that does not know fee references loses nothing by saying so", async () => {
  using node = new FakeNode();
  const device = await node.start();
  node.broker.takeFeeReference(reference(1));
  const before = node.log.length;
  device.fail(device.sequences[0] ?? -1, 400, "unknown request");
  await settle();
  assert.ok(device.isHere);
  assert.deepEqual(node.log.slice(before), []);
  const answer = node.ask(pointRequest(4), { dbid: 1n });
  device.answerPoint(1);
  assert.equal((await answer).kind, "reply");
});
