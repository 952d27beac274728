/**
 * The follower and the signer together: what a broker brings from bitcoind is
 * what the signer wants, through channels, reorgs and restarts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { display } from "../../src/bitcoin/difficulty.ts";
import { ChainFollower } from "../../src/chain.ts";
import { REPLIES } from "../../src/wire/hsmd.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import { StandInBitcoind } from "../support/bitcoind.ts";
import { chainStateOf, fed, outputOf } from "../support/blocks.ts";
import { coinbaseTx, spendingTx } from "../support/chain.ts";
import { FakeChainDevice, FakeLines } from "../support/chain_device.ts";
import { TestChannel, TestNode } from "../support/channel.ts";

const PAUSES = {
  first: 5,
  longest: 20,
  look: 50,
  call: 1_000,
  calls: 3,
  rest: 60_000,
};

/** The real signer, where the follower's tests have a tracker alone. */
class SignerDevice extends FakeChainDevice {
  readonly node: TestNode;
  override readonly accountKey: Uint8Array;
  readonly refusals: string[] = [];

  constructor(node: TestNode) {
    super();
    this.node = node;
    this.accountKey = node.state.identity.bip32Base.slice(-33);
  }

  override get height(): number {
    return chainStateOf(this.node).height;
  }

  override get tip(): string {
    return chainStateOf(this.node).hash.toHex();
  }

  override answer(message: Uint8Array): Uint8Array {
    const { reply, refusal } = this.node.serve(fed(message));
    if (refusal !== null) this.refusals.push(refusal);
    return reply;
  }
}

/** A signer whose chain comes from a bitcoind. */
class World implements AsyncDisposable {
  readonly bitcoind = new StandInBitcoind();
  readonly lines = new FakeLines();
  readonly log: string[] = [];
  readonly node: TestNode;
  readonly device: SignerDevice;
  readonly #chain: ChainFollower;

  constructor(node: TestNode) {
    this.node = node;
    node.now = Math.floor(Date.now() / 1000);
    this.device = new SignerDevice(node);
    this.lines.connect(this.device);
    this.#chain = new ChainFollower({
      bitcoind: this.bitcoind.options,
      network: Promise.resolve(this.device.network),
      devices: this.lines,
      feeReference: () => {},
      log: (level, text) => this.log.push(`${level} ${text}`),
      now: Date.now,
      pauses: PAUSES,
    });
  }

  /** Until the signer has bitcoind's tip. */
  async synced(): Promise<void> {
    const { hash, height } = this.bitcoind.tip;
    for (let i = 0; i < 4000; i++) {
      if (this.device.tip === hash.toHex()) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.fail(
      `never at ${height} ${display(hash)}, but at ${this.device.height}:\n` +
        [...this.log, ...this.device.refusals].join("\n"),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.lines.disconnect();
    const stopped = this.#chain.stop();
    await this.bitcoind[Symbol.asyncDispose]();
    await stopped;
  }
}

function channelOf(node: TestNode) {
  const channel = new TestChannel(node, { push: 300_000_000n });
  const funding = spendingTx([outputOf(coinbaseTx(77))], 1);
  const { value } = channel.funding;
  channel.funding = { outpoint: outputOf(funding, 1), value };
  return { channel, funding };
}

function isBuried(channel: TestChannel): boolean {
  const { txid: fundingTxid, index: fundingTxout } = channel.funding.outpoint;
  const asked = channel.ask("check_outpoint", { fundingTxid, fundingTxout });
  const { reply } = channel.node.try(asked);
  return decodeMessage(REPLIES.check_outpoint_reply, reply).isBuried;
}

Deno.test("A channel lives on what the broker brings", async () => {
  const node = new TestNode({
    limits: { chain: "required", min_funding_depth: "2" },
  });
  await using world = new World(node);
  const { bitcoind, device } = world;
  const recent = node.now - 50_000;
  bitcoind.mine(120, [], recent);
  await world.synced();
  const { channel, funding } = channelOf(node);
  channel.begin();
  node.do(channel.signTheirs(0n));
  node.do(channel.validate(0n));
  bitcoind.mine(1, [funding]);
  await world.synced();
  assert.equal(isBuried(channel), false);
  bitcoind.mine(1);
  await world.synced();
  assert.equal(isBuried(channel), true);
  node.do(channel.lock());
  channel.move();
  bitcoind.mine(28);
  await world.synced();
  bitcoind.cut(30);
  bitcoind.mine(31);
  await world.synced();
  assert.equal(isBuried(channel), false);
  assert.match(
    node.try(channel.signTheirs(2n)).refusal ?? "",
    /policy-commitment-spends-active-utxo/,
  );
  bitcoind.mine(2, [funding]);
  await world.synced();
  assert.equal(isBuried(channel), true);
  bitcoind.mine(1, [channel.build(false, 0n).tx]);
  await world.synced();
  assert.match(node.notes.join("\n"), /alarm: the peer's revoked commitment 0/);
  node.restart();
  bitcoind.mine(3);
  await world.synced();
  assert.deepEqual(device.refusals, []);
});

Deno.test("A card with channels begins where the broker says", async () => {
  const node = new TestNode();
  const { channel } = channelOf(node);
  channel.open();
  channel.move();
  node.change({ limits: { chain: "required" } });
  node.now = Math.floor(Date.now() / 1000);
  await using world = new World(node);
  world.bitcoind.mine(200);
  await world.synced();
  assert.equal(node.try(channel.signTheirs(2n)).refusal, null);
  assert.match(node.notes.join("\n"), /begins at block \d+, as the node says/);
});
