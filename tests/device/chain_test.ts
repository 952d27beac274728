/**
 * The chain at a desk: what blocks bring is on the card and in the book, an alarm
 * moves the light, and commands say where the chain stands.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { CONSENTER } from "../../src/device/approver.ts";
import { chainNotice, describeChain } from "../../src/device/chain_words.ts";
import { readCardState } from "../../src/device/card_state.ts";
import { forgetChain } from "../../src/device/commands/card/forget_chain.ts";
import { Desk } from "../../src/device/desk.ts";
import { decodeEntry } from "../../src/device/ledger.ts";
import { defaultPolicy } from "../../src/policy/limits.ts";
import { createSigner, step } from "../../src/signer/handle.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import { NATIVE_CHAIN_MESSAGES as NATIVE } from "../../src/wire/chain_native.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
} from "../../src/wire/message.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { SIGNER_ERROR_TYPE } from "../../src/wire/vls.ts";
import { INIT } from "../broker/fake.ts";
import { type Fed, fed, outputOf, TestChain } from "../support/blocks.ts";
import { believing } from "../support/believed.ts";
import { coinbaseTx, spendingTx } from "../support/chain.ts";
import { type Asked, TestChannel, TestNode } from "../support/channel.ts";
import { YES } from "../support/strict.ts";

const network = NETWORKS.regtest;

/** A desk on a card, of the same seed as the tests' node. */
class Device implements Fed {
  readonly disk: MemoryDisk;
  readonly said: string[] = [];
  readonly alarms: boolean[] = [];
  readonly desk: Desk;
  readonly store;

  constructor(disk: MemoryDisk = new MemoryDisk()) {
    this.disk = disk;
    this.store = disk.open();
    const { store } = this;
    const state = readCardState(store, network);
    const { memory, policy, allowlist, tail, node } = state;
    const signer = createSigner({
      secretFile: new Uint8Array(32).fill(0x5e),
      network,
      isDeveloper: true,
      memory,
      policy,
      allowlist,
      consent: YES,
    });
    this.desk = new Desk({
      signer,
      step,
      store,
      memory,
      tail,
      node,
      standing: null,
      approver: CONSENTER,
      say: (line) => void this.said.push(line),
      alarm: (isStanding) => void this.alarms.push(isStanding),
      now: () => 1_700_000_000_000,
    });
    this.do({ id: { peerId: NOBODY, dbid: 0n }, message: INIT });
  }

  serve({ id, message }: Asked): Uint8Array {
    const served = this.desk.serve({ ...id, message });
    assert(!(served instanceof Promise) && served.reply !== null);
    return served.reply;
  }

  do(asked: Asked): Uint8Array {
    const reply = this.serve(asked);
    assert.notEqual(messageType(reply), SIGNER_ERROR_TYPE);
    return reply;
  }

  get lines() {
    return [...this.store.ledger.lines()].map(({ body }) => decodeEntry(body));
  }

  height(): number {
    const reply = this.do(fed(encodeMessage(NATIVE.chain_state, {})));
    return decodeMessage(NATIVE.chain_state_reply, reply).height;
  }
}

/** A channel whose funding is in a block. */
function opened() {
  const device = new Device();
  const chain = new TestChain(device);
  const channel = new TestChannel(new TestNode(), { push: 300_000_000n });
  const funding = spendingTx([outputOf(coinbaseTx(7))], 1);
  const { value } = channel.funding;
  channel.funding = { outpoint: outputOf(funding, 1), value };
  device.do(channel.newChannel());
  device.do(channel.setup());
  device.do(channel.signTheirs(0n));
  device.do(channel.validate(0n));
  chain.grow([funding]);
  device.do(channel.lock());
  return { device, chain, channel };
}

Deno.test("what blocks do to a channel is said, and in the book", () => {
  const { device, chain, channel } = opened();
  chain.grow([spendingTx([channel.funding.outpoint], 9)]);
  const about = device.lines.filter(({ kind }) =>
    kind === "chain" || kind === "alarm"
  );
  assert.deepEqual(about.map(({ kind }) => kind), ["chain", "chain", "alarm"]);
  assert.equal(about[2]?.channel, 1n);
  assert.equal(about[2]?.peer, channel.id.peerId.toHex());
  assert.match(device.said.join("\n"), /alarm: channel 1 with 0.*was spent by/);
  assert.deepEqual(device.alarms, [true]);
  chain.shrink();
  assert.deepEqual(device.alarms, [true, false]);
});

Deno.test("a block whose write fails has not been there", () => {
  const { device, chain } = opened();
  const { height } = chain;
  const before = device.store.head;
  const block = chain.next();
  const [piece, last] = chain.messages(block);
  assert.ok(piece !== undefined && last !== undefined);
  device.do(piece);
  device.disk.fault = () => "before";
  assert.equal(messageType(device.serve(last)), SIGNER_ERROR_TYPE);
  device.disk.fault = () => null;
  assert.equal(device.height(), height);
  assert.deepEqual(device.store.head, before);
  device.do(last);
  assert.equal(device.height(), height + 1);
});

Deno.test("a refused block leaves the card as it was", () => {
  const { device, chain } = opened();
  const before = device.store.head;
  const block = chain.next();
  const [, last] = chain.messages(block);
  assert.ok(last !== undefined);
  assert.equal(messageType(device.serve(last)), SIGNER_ERROR_TYPE);
  assert.deepEqual(device.store.head, before);
});

Deno.test("another softkey on the card goes on where the last one was", () => {
  const { device, chain, channel } = opened();
  chain.grow([], 3);
  device.disk.cutPower();
  const next = new Device(device.disk);
  assert.equal(next.height(), 4);
  next.do(channel.signTheirs(1n));
});

Deno.test("the chain's messages leave the tail of answers alone", () => {
  const { device, chain } = opened();
  const answers = () =>
    [...device.store.load()].filter(({ key }) => key.startsWith("answer/"))
      .map(({ key, version }) => `${key} ${version}`);
  const before = answers();
  chain.grow([], 3);
  assert.deepEqual(answers(), before);
});

Deno.test("the owner is told where the chain stands, and what is missing", () => {
  const fresh = readCardState(new MemoryDisk().open(), network);
  assert.match(describeChain(fresh, network), /no chain has come/);
  assert.match(chainNotice(fresh) ?? "", /give the broker bitcoind_url/);
  const policy = believing(defaultPolicy("regtest"));
  assert.equal(chainNotice({ ...fresh, policy }), null);
  assert.match(describeChain({ ...fresh, policy }, network), /^none/);
  const { device, chain } = opened();
  chain.grow();
  const state = readCardState(device.store, network);
  assert.equal(chainNotice(state), null);
  assert.match(
    describeChain(state, network),
    /^block 2 \([0-9a-f]{64}\), followed from block 0\. Blocks are checked/,
  );
});

Deno.test("the owner lets the chain begin anew", () => {
  const { device } = opened();
  const { store } = device;
  const printed: string[] = [];
  const access = {
    store,
    folder: "/nowhere",
    network,
    desk: null,
    questions: null,
    print: (text: string) => void printed.push(text),
    printError: assert.fail,
    path: (text: string) => text,
  };
  const args = { options: {}, words: [] };
  assert.throws(
    () =>
      Reflect.apply(forgetChain, null, [
        { ...access, desk: device.desk },
        args,
      ]),
    /while a softkey runs/,
  );
  assert.equal(Reflect.apply(forgetChain, null, [access, args]), 0);
  assert.equal(readCardState(store, network).memory.chain(), null);
  assert.match(device.lines.at(-1)?.text ?? "", /the chain is forgotten/);
  assert.equal(printed.length, 1);
});
