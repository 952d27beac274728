/**
 * Between lightningd's requests: messages about the chain go when the device has
 * nothing else to do, and are nobody's request.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { ChainFollower } from "../../src/chain.ts";
import { SignerUnavailable } from "../../src/errors.ts";
import { NATIVE_CHAIN_MESSAGES } from "../../src/wire/chain_native.ts";
import { encodeMessage, messageType } from "../../src/wire/message.ts";
import { CHAIN_MESSAGES } from "../../src/wire/txoo.ts";
import { decodeSignerError, type SignerRequest } from "../../src/wire/vls.ts";
import { StandInBitcoind } from "../support/bitcoind.ts";
import { FakeChainDevice } from "../support/chain_device.ts";
import {
  type FakeDevice,
  FakeNode,
  INIT,
  pointReply,
  pointRequest,
  settle,
} from "./fake.ts";

const { chain_state: ROW } = NATIVE_CHAIN_MESSAGES;
const STATE = encodeMessage(ROW, {});
const ANSWER = encodeMessage(CHAIN_MESSAGES.add_block_reply, {});

/** What a device was asked: "chain", or the number of the point. */
const kinds = (requests: readonly SignerRequest[]) =>
  requests.map(({ message }) =>
    messageType(message) === ROW.type ? "chain" : "request"
  );

/** The line to the device that is active. */
function lineOf(node: FakeNode) {
  const { current } = node.broker.chain;
  if (current === null) throw new Error("No line");
  return current;
}

/** Answers the request that came as number `at`. */
function answer(device: FakeDevice, at: number, message: Uint8Array): void {
  device.reply(device.sequences[at] ?? -1, message);
}

Deno.test("The line says which device it is, its network and its account key", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const line = lineOf(node);
  assert.equal(line.isNative, true);
  assert.equal(line.network, NETWORKS.regtest);
  assert.equal(
    line.accountKey.toHex(),
    device.identity.bip32.slice(45, 78).toHex(),
  );
  assert.equal(await node.broker.network, NETWORKS.regtest);
});

Deno.test("A message about the chain waits for what lightningd asked", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const asked = node.ask(pointRequest(0), { dbid: 1n });
  const told = lineOf(node).ask(STATE);
  await settle();
  assert.deepEqual(kinds(device.requests), ["request"]);
  answer(device, 0, pointReply(0));
  assert.equal((await asked).kind, "reply");
  await settle();
  assert.deepEqual(kinds(device.requests), ["request", "chain"]);
  answer(device, 1, ANSWER);
  assert.equal((await told).toHex(), ANSWER.toHex());
});

Deno.test("What lightningd asks does not wait for a message about the chain", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const told = lineOf(node).ask(STATE);
  await settle();
  const asked = node.ask(pointRequest(0), { dbid: 1n });
  assert.deepEqual(kinds(device.requests), ["chain", "request"]);
  answer(device, 1, pointReply(0));
  assert.equal((await asked).kind, "reply");
  answer(device, 0, ANSWER);
  await told;
});

Deno.test("It goes beside a request that is under way for long", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const asked = node.ask(pointRequest(0), { dbid: 1n });
  const told = lineOf(node).ask(STATE);
  await new Promise((resolve) => setTimeout(resolve, 400));
  assert.deepEqual(kinds(device.requests), ["request", "chain"]);
  answer(device, 1, ANSWER);
  await told;
  answer(device, 0, pointReply(0));
  await asked;
});

Deno.test("A device's no is the asker's to hear, and no line in the log", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const told = lineOf(node).ask(STATE);
  await settle();
  const before = node.log.length;
  device.fail(device.sequences[0] ?? -1, 401, "orphan");
  assert.equal(decodeSignerError(await told).code, 401);
  assert.deepEqual(node.log.slice(before), []);
});

Deno.test("A device that leaves fails what it was told; the next has a line of its own", async () => {
  using node = new FakeNode();
  let changes = 0;
  node.broker.chain.onChange = () => changes += 1;
  const first = await node.start();
  const line = lineOf(node);
  const told = line.ask(STATE);
  await settle();
  first.leave();
  await assert.rejects(told, SignerUnavailable);
  assert.ok(line.gone.aborted);
  assert.equal(node.broker.chain.current, null);
  await assert.rejects(line.ask(STATE), SignerUnavailable);
  const second = node.connect();
  await second.serve();
  assert.notEqual(lineOf(node), line);
  assert.equal(changes, 3);
  assert.deepEqual(second.requests, [], "nothing is told twice by itself");
});

Deno.test("A message that waits for a device that leaves fails too", async () => {
  using node = new FakeNode();
  const device = await node.start();
  node.ask(pointRequest(0), { dbid: 1n });
  const told = lineOf(node).ask(STATE);
  await settle();
  device.leave();
  await assert.rejects(told, SignerUnavailable);
});

Deno.test("A Sphinx device has one thing at a time, in one row of numbers", async () => {
  using node = new FakeNode();
  const device = await node.start({ isSphinx: true });
  assert.equal(lineOf(node).isNative, false);
  const told = lineOf(node).ask(STATE);
  await settle();
  const asked = node.ask(pointRequest(0), { dbid: 1n });
  assert.deepEqual(kinds(device.requests), ["chain"]);
  answer(device, 0, ANSWER);
  await told;
  assert.deepEqual(device.sequences, [0, 1]);
  answer(device, 1, pointReply(0));
  await asked;
});

Deno.test("A Sphinx device that comes back sees no gap in its numbers", async () => {
  using node = new FakeNode();
  const first = await node.start({ isSphinx: true });
  const told = lineOf(node).ask(STATE);
  await settle();
  first.leave();
  await assert.rejects(told, SignerUnavailable);
  const second = node.connect();
  await second.serve({ isSphinx: true });
  node.ask(pointRequest(0), { dbid: 1n });
  assert.deepEqual(second.sequences, [0]);
});

Deno.test("A Sphinx device that tells an error apart refuses what it was told", async () => {
  using node = new FakeNode();
  const device = await node.start({ isSphinx: true });
  const told = lineOf(node).ask(STATE);
  await settle();
  device.publish("error", new TextEncoder().encode("no such block"));
  const { message } = decodeSignerError(await told);
  assert.equal(new TextDecoder().decode(message), "no such block");
  assert.ok(device.isHere);
});

Deno.test("While lightningd asks, most of the time is left to it", async () => {
  let now = 0;
  using node = new FakeNode({ now: () => now });
  const device = await node.start();
  const line = lineOf(node);
  const first = line.ask(STATE);
  await settle();
  const asked = node.ask(pointRequest(0), { dbid: 1n });
  answer(device, 1, pointReply(0));
  await asked;
  now += 20;
  answer(device, 0, ANSWER);
  await first;
  const second = line.ask(STATE);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(device.requests.length, 2, "it took 20 ms, so it waits 40");
  await new Promise((resolve) => setTimeout(resolve, 80));
  assert.equal(device.requests.length, 3);
  answer(device, 2, ANSWER);
  await second;
  now += 2000;
  const third = line.ask(STATE);
  await settle();
  assert.equal(device.requests.length, 4, "nobody asked for two seconds");
  answer(device, 3, ANSWER);
  await third;
});

/** A device on the fake link that answers by itself, chain and points. */
function serveChain(device: FakeDevice, chain: FakeChainDevice): void {
  const receive = device.receive.bind(device);
  device.receive = (name, payload) => {
    const isHere = receive(name, payload);
    const request = device.requests.at(-1);
    if (!isHere || name !== "vls" || request === undefined) return isHere;
    const { sequence, message } = request;
    const reply = messageType(message) === 18
      ? pointReply(0)
      : chain.answer(message);
    queueMicrotask(() => device.reply(sequence, reply));
    return true;
  };
}

Deno.test("Through the broker a device gets to the tip, and requests between", async () => {
  using node = new FakeNode({ now: Date.now });
  await using bitcoind = new StandInBitcoind();
  bitcoind.mine(150);
  const chain = new FakeChainDevice();
  chain.txids.add("11".repeat(32));
  const answered = node.ask(INIT);
  const device = node.connect();
  Object.assign(chain, { accountKey: device.identity.bip32.slice(45) });
  serveChain(device, chain);
  await device.serve();
  await answered;
  const log: string[] = [];
  const follower = new ChainFollower({
    bitcoind: bitcoind.options,
    network: node.broker.network,
    devices: node.broker.chain,
    feeReference: () => {},
    log: (level, text) => log.push(`${level} ${text}`),
    now: Date.now,
  });
  const answers = [];
  for (let i = 0; chain.height < 150 && i < 4000; i++) {
    if (i % 20 === 0) {
      answers.push(await node.ask(pointRequest(0), { dbid: 1n }));
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  bitcoind.wake();
  await follower.stop();
  assert.equal(chain.height, 150, log.join("\n"));
  assert.ok(answers.length > 1);
  assert.ok(answers.every(({ kind }) => kind === "reply"));
  assert.ok(log.some((line) => /at block 0 of 150: catching up/.test(line)));
});
