/**
 * Bringing a device to bitcoind's tip: against a bitcoind whose chain the test
 * mines, and devices built on the tracker.
 *
 * @module
 */

import assert from "node:assert/strict";
import { display } from "../../src/bitcoin/difficulty.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { type Tx, txidOf } from "../../src/bitcoin/tx.ts";
import { ChainFollower } from "../../src/chain.ts";
import { isBehind } from "../../src/signer/tracker.ts";
import { NATIVE_CHAIN_MESSAGES as N } from "../../src/wire/chain_native.ts";
import { encodeMessage, messageType } from "../../src/wire/message.ts";
import { CHAIN_MESSAGES as C } from "../../src/wire/txoo.ts";
import { encodeSignerError } from "../../src/wire/vls.ts";
import { StandInBitcoind } from "../support/bitcoind.ts";
import { spendingTx } from "../support/chain.ts";
import {
  type DeviceOptions,
  FakeChainDevice,
  FakeLines,
} from "../support/chain_device.ts";

const PAUSES = {
  first: 5,
  longest: 20,
  look: 50,
  call: 1_000,
  calls: 3,
  rest: 60_000,
};

/** A follower between a bitcoind and a device. */
class World implements AsyncDisposable {
  readonly bitcoind = new StandInBitcoind();
  readonly lines = new FakeLines();
  readonly log: string[] = [];
  readonly fees: number[] = [];
  device: FakeChainDevice;
  now = Date.now;
  #chain: ChainFollower | null = null;

  constructor(options: DeviceOptions = {}) {
    this.device = new FakeChainDevice(options);
  }

  /** Begins to follow, with the device there. */
  start({ rest = PAUSES.rest } = {}): void {
    this.lines.connect(this.device);
    this.#chain = new ChainFollower({
      bitcoind: this.bitcoind.options,
      network: Promise.resolve(this.device.network),
      devices: this.lines,
      feeReference: ({ feeratePerKw }) => this.fees.push(feeratePerKw),
      log: (level, text) => this.log.push(`${level} ${text}`),
      now: () => this.now(),
      pauses: { ...PAUSES, rest },
    });
  }

  /** Until the device has bitcoind's tip. */
  async synced(): Promise<void> {
    await this.until(() =>
      this.device.tip === this.bitcoind.tip.hash.toHex() &&
      this.device.asked.at(-1) === C.get_heartbeat.type
    );
  }

  async until(what: () => boolean): Promise<void> {
    for (let i = 0; i < 6000; i++) {
      if (what()) return;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    throw new Error(`Never: ${what}\n${this.log.join("\n")}`);
  }

  async said(pattern: RegExp): Promise<string> {
    await this.until(() => this.log.some((line) => pattern.test(line)));
    return this.log.find((line) => pattern.test(line)) ?? "";
  }

  count(type: number): number {
    return this.device.asked.filter((asked) => asked === type).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.lines.disconnect();
    const stopped = this.#chain?.stop();
    await this.bitcoind[Symbol.asyncDispose]();
    await stopped;
  }
}

/** A funding, and what closes the channel. */
function channelTxs(): { readonly funding: Tx; readonly closing: Tx } {
  const coin = { txid: txidOf(spendingTx([], 1)), index: 0 };
  const funding = spendingTx([coin], 2);
  const closing = spendingTx([{ txid: txidOf(funding), index: 0 }], 3);
  return { funding, closing };
}

const watch = (device: FakeChainDevice, tx: Tx) =>
  device.txids.add(txidOf(tx).toHex());

for (const isNative of [true, false]) {
  const who = isNative ? "A native device" : "A VLS signer";

  Deno.test(`${who} sees what concerns it, block by block, and nothing else`, async () => {
    await using world = new World({ isNative });
    const { bitcoind, device } = world;
    const { funding, closing } = channelTxs();
    watch(device, funding);
    bitcoind.mine(3, [spendingTx([{ txid: txidOf(closing), index: 1 }], 9)]);
    bitcoind.mine(1, [funding]);
    world.start();
    await world.synced();
    assert.deepEqual([...device.findings.keys()], [1, 2, 3, 4]);
    assert.deepEqual(device.findings.get(1)?.found, []);
    assert.equal(device.findings.get(4)?.confirmed.length, 1);
    bitcoind.mine(1);
    await world.synced();
    bitcoind.mine(1, [closing]);
    await world.synced();
    assert.equal(device.height, 6);
    const [spend] = device.findings.get(6)?.spent ?? [];
    assert.equal(spend?.txid.toHex(), txidOf(closing).toHex());
    assert.deepEqual(device.findings.get(5)?.found, []);
  });

  Deno.test(`${who} sees a funding that is spent in its own block`, async () => {
    await using world = new World({ isNative });
    const { bitcoind, device } = world;
    const { funding, closing } = channelTxs();
    watch(device, funding);
    bitcoind.mine(1, [funding, closing]);
    world.start();
    await world.synced();
    const found = device.findings.get(1);
    assert.equal(found?.confirmed.length, 1);
    assert.equal(found?.spent.length, 1);
  });

  Deno.test(`${who} follows a reorg of 30 blocks over funding and closing`, async () => {
    await using world = new World({ isNative });
    const { bitcoind, device } = world;
    const { funding, closing } = channelTxs();
    watch(device, funding);
    bitcoind.mine(10);
    world.start();
    bitcoind.mine(10, [funding]);
    bitcoind.mine(20, [closing]);
    await world.synced();
    assert.equal(device.height, 40);
    assert.ok(device.findings.get(11)?.confirmed.length);
    assert.ok(device.findings.get(21)?.spent.length);
    bitcoind.cut(30);
    bitcoind.mine(15);
    bitcoind.mine(16, [funding]);
    await world.synced();
    assert.equal(device.height, 41);
    assert.ok(!isBehind(device.state));
    assert.equal(world.count(C.remove_block.type), 30);
    assert.deepEqual(device.findings.get(11)?.found, []);
    assert.deepEqual(device.findings.get(21)?.found, []);
    assert.equal(device.findings.get(26)?.confirmed.length, 1);
    const reorg = world.log.filter((line) => line.includes("reorg"));
    assert.deepEqual(reorg, [
      "info reorg: the device takes back blocks from 40 down",
      "info reorg: the device took back 30 blocks, down to 10",
    ]);
  });
}

Deno.test("A reorg that the node itself does not remember is followed by a native device", async () => {
  await using world = new World();
  world.bitcoind.mine(20);
  watch(world.device, channelTxs().funding);
  world.start();
  await world.synced();
  world.bitcoind.cut(12, { isForgotten: true });
  world.bitcoind.mine(14);
  await world.synced();
  assert.equal(world.count(C.remove_block.type), 12);
});

Deno.test("A reorg deeper than a device takes back stops there and says so", async () => {
  await using world = new World({ maxReorg: 5 });
  world.bitcoind.mine(20);
  watch(world.device, channelTxs().funding);
  world.start();
  await world.synced();
  world.bitcoind.cut(7);
  world.bitcoind.mine(9);
  const line = await world.said(/owner has to/);
  assert.match(line, /^unusual .*device's block 15 .* takes back 5 blocks/);
  assert.ok(isBehind(world.device.state), "nothing counts as confirmed");
});

Deno.test("A fresh device gets headers up to six blocks before the tip, then blocks", async () => {
  await using world = new World();
  world.bitcoind.mine(500);
  world.start();
  await world.synced();
  assert.deepEqual([...world.device.findings.keys()], [
    495,
    496,
    497,
    498,
    499,
    500,
  ]);
  assert.equal(world.count(N.chain_headers.type), 10);
});

Deno.test("A device without a chain starts a day before its birthday", async () => {
  const birthday = BigInt(Math.floor(Date.now() / 1000));
  await using world = new World({ isStarted: false, birthday });
  const start = Number(birthday) - 3 * 86_400;
  world.bitcoind.mine(2100, [], start);
  const DAY = 86_400;
  world.bitcoind.mine(50, [], Number(birthday) - DAY);
  world.start();
  await world.synced();
  await world.said(/starts at bitcoind's block 2100/);
  assert.equal(world.device.height, 2150);
});

Deno.test("A device without a chain or birthday starts six blocks before the tip", async () => {
  await using world = new World({ isStarted: false });
  world.bitcoind.mine(40);
  world.start();
  await world.synced();
  await world.said(/starts at bitcoind's block 34/);
});

Deno.test("A device that goes and comes back, or another, goes on from where it is", async () => {
  await using world = new World();
  const { bitcoind, lines, device } = world;
  watch(device, channelTxs().funding);
  bitcoind.mine(30);
  world.start();
  lines.budget = 25;
  await world.until(() => lines.current === null);
  const reached = device.height;
  assert.ok(reached > 0 && reached < 30);
  lines.connect(device);
  await world.synced();
  const adds = world.count(C.add_block.type);
  assert.ok(adds === 30 || adds === 31, "nothing is sent twice but the lost");
  const other = new FakeChainDevice();
  world.device = other;
  lines.connect(other);
  await world.synced();
  bitcoind.mine(1);
  await world.synced();
  assert.equal(device.height, 30);
});

Deno.test("bitcoind that stops in the middle and starts again is waited for", async () => {
  await using world = new World();
  const { bitcoind, device } = world;
  watch(device, channelTxs().funding);
  bitcoind.mine(60);
  world.start();
  await world.until(() => device.height >= 10);
  await bitcoind.stop();
  const reached = device.height;
  await world.said(/^unusual/);
  assert.ok(reached < 60);
  bitcoind.start();
  await world.synced();
  assert.equal(world.count(C.add_block.type), 60);
});

Deno.test("bitcoind that is behind the device is waited for", async () => {
  await using world = new World();
  const { bitcoind, device } = world;
  watch(device, channelTxs().funding);
  bitcoind.mine(20);
  world.start();
  await world.synced();
  const tips = Array.from({ length: 5 }, (_, i) => bitcoind.at(16 + i));
  bitcoind.cut(5, { isForgotten: true });
  bitcoind.wake();
  await world.said(/bitcoind is at block 15, the device at 20/);
  assert.equal(world.count(C.remove_block.type), 0);
  bitcoind.restore(tips);
  bitcoind.mine(1);
  await world.synced();
  assert.equal(device.height, 21);
});

Deno.test("A bitcoind on another network is refused at once, with both genesis hashes", async () => {
  await using world = new World({ network: NETWORKS.testnet4 });
  world.bitcoind.mine(10);
  world.start();
  const line = await world.said(/^broken/);
  for (const { genesisHash } of [NETWORKS.regtest, NETWORKS.testnet4]) {
    assert.ok(line.includes(display(genesisHash)), line);
  }
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.deepEqual(world.device.asked, []);
  assert.deepEqual(world.fees, [], "nor is it believed about fees");
  assert.deepEqual(new Set(world.bitcoind.calls), new Set(["getblockhash"]));
});

Deno.test("Blocks that bitcoind has pruned are named; a device without watches needs none", async () => {
  await using world = new World();
  world.bitcoind.mine(40);
  world.bitcoind.lowestBlock = 30;
  world.start();
  await world.synced();
  const watching = new FakeChainDevice();
  watch(watching, channelTxs().funding);
  world.device = watching;
  world.lines.connect(watching);
  const line = await world.said(/pruned/);
  assert.match(line, /pruned block 1,.* blocks from 30 on; .*getblockfrompeer/);
  assert.equal(watching.height, 0);
});

/** What bitcoind says instead of the truth, and what is said about it. */
const LIES: readonly {
  readonly name: string;
  readonly method: string;
  readonly answer: unknown;
  readonly says: RegExp;
}[] = [
  {
    name: "a tip that is no hash",
    method: "getblockchaininfo",
    answer: { blocks: 12, bestblockhash: "12" },
    says: /answer to getblockchaininfo: "12", want a hash/,
  },
  {
    name: "a height that is none",
    method: "getblockchaininfo",
    answer: { blocks: -1, bestblockhash: "00".repeat(32) },
    says: /answer to getblockchaininfo: -1, want a height/,
  },
  {
    name: "nothing",
    method: "getblockchaininfo",
    answer: null,
    says: /answer to getblockchaininfo: .*, want a height/,
  },
  {
    name: "a header without confirmations",
    method: "getblockheader",
    answer: { height: 3 },
    says: /answer to getblockheader: no confirmations/,
  },
  {
    name: "a block that is none",
    method: "getblock",
    answer: "zz",
    says: /answer to getblock: "zz", want hex/,
  },
  {
    name: "half a header",
    method: "getblock",
    answer: "00".repeat(40),
    says: /answer to getblock: no header, want /,
  },
  {
    name: "a block that is too large",
    method: "getblock",
    answer: "00".repeat(4_000_001),
    says: /answer to getblock: 4000001 bytes, want 4000000 bytes or less/,
  },
  {
    name: "an answer without an end",
    method: "getblock",
    answer: "00".repeat(5_000_000),
    says: /more than 8100000 bytes/,
  },
];

for (const { name, method, answer, says } of LIES) {
  Deno.test(`bitcoind that answers with ${name} is named and survived`, async () => {
    await using world = new World();
    const { bitcoind, device } = world;
    watch(device, channelTxs().funding);
    bitcoind.mine(12);
    bitcoind.lie = (asked) => asked === method ? answer : undefined;
    world.start();
    await world.said(says);
    assert.equal(device.height, 0);
    bitcoind.lie = () => undefined;
    bitcoind.mine(1);
    await world.synced();
    assert.equal(device.height, 13);
  });
}

Deno.test("A block of another height, or with bytes changed, never reaches a device's chain", async () => {
  await using world = new World();
  const { bitcoind, device } = world;
  watch(device, channelTxs().funding);
  bitcoind.mine(12);
  const hash = display(bitcoind.at(5).point.hash);
  const other = bitcoind.at(6).bytes.toHex();
  const changed = bitcoind.at(5).bytes.slice();
  changed.set([changed.at(-6) ?? 0 ^ 1], changed.length - 6);
  bitcoind.lie = (method, [asked]) =>
    method === "getblock" && asked === hash ? other : undefined;
  world.start();
  await world.said(/answer to getblock: block .*, want /);
  assert.equal(device.height, 4);
  const cut = bitcoind.at(5).bytes.slice(0, -1).toHex();
  bitcoind.lie = (method, [asked]) =>
    method === "getblock" && asked === hash ? cut : undefined;
  bitcoind.mine(1);
  await world.said(/Cannot decode block at .*: no end/);
  assert.equal(device.height, 4);
  bitcoind.lie = () => undefined;
  bitcoind.mine(1);
  await world.synced();
});

Deno.test("Hashes of another branch in the middle of a run end the run, not the following", async () => {
  await using world = new World();
  const { bitcoind, device } = world;
  watch(device, channelTxs().funding);
  bitcoind.mine(12);
  const stray = display(bitcoind.at(9).point.hash);
  let lies = 1;
  bitcoind.lie = (method, [height]) =>
    method === "getblockhash" && height === 7 && lies-- > 0 ? stray : undefined;
  world.start();
  await world.synced();
  assert.equal(device.height, 12);
  assert.ok(!world.log.some((line) => line.startsWith("unusual")));
});

Deno.test("A block that does not connect is named, and bitcoind not asked without end", async () => {
  await using world = new World();
  const { bitcoind, device } = world;
  watch(device, channelTxs().funding);
  bitcoind.mine(12);
  const stray = display(bitcoind.at(9).point.hash);
  bitcoind.lie = (method, [height]) =>
    method === "getblockhash" && height === 7 ? stray : undefined;
  world.start();
  const line = await world.said(/^unusual/);
  const [before, wanted] = [8, 6].map((n) =>
    display(bitcoind.at(n).point.hash)
  );
  assert.ok(line.includes(`a block 7 after ${before}`), line);
  assert.ok(line.includes(`one after the device's block ${wanted}`), line);
  const { length } = bitcoind.calls;
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(bitcoind.calls.length < length + 40, "it rests");
  bitcoind.lie = () => undefined;
  bitcoind.mine(1);
  await world.synced();
});

Deno.test("A device that says yes and does not move is given up for now", async () => {
  await using world = new World();
  const { device } = world;
  const answer = device.answer.bind(device);
  device.answer = (message) =>
    messageType(message) === N.chain_headers.type
      ? encodeMessage(N.chain_headers_reply, { height: 0 })
      : answer(message);
  world.bitcoind.mine(12);
  world.start();
  await world.said(/no step forward from block 0/);
});

Deno.test("What a device refuses is tried twice, said once, and again with the next block", async () => {
  await using world = new World();
  const { bitcoind, device } = world;
  watch(device, channelTxs().funding);
  bitcoind.mine(3);
  device.refuse = (type) =>
    type === C.add_block.type && device.height === 1 ? "not this one" : null;
  world.start();
  await world.said(/refused add_block: policy failure: refused: not this one/);
  await new Promise((resolve) => setTimeout(resolve, 50));
  const tried = world.count(C.add_block.type);
  assert.ok(tried >= 3 && tried <= 5, `one that is taken, ${tried - 1} not`);
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(world.count(C.add_block.type), tried);
  device.refuse = () => null;
  bitcoind.mine(1);
  await world.synced();
  await world.said(/^info the device has bitcoind's tip: 4/);
});

Deno.test("A device that knows no chain is asked once", async () => {
  await using world = new World();
  world.bitcoind.mine(1);
  let asked = 0;
  world.device.answer = () => {
    asked += 1;
    const message = new TextEncoder().encode("unknown request");
    return encodeSignerError({ code: 400, message });
  };
  world.start({ rest: 10 });
  await world.said(/^info device .* is not told of blocks/);
  world.bitcoind.mine(1);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal(asked, 1);
});

Deno.test("Heartbeats are judged, and a change of their state is said", async () => {
  await using world = new World();
  const { device, bitcoind } = world;
  bitcoind.mine(1);
  world.start({ rest: 10 });
  await world.said(/^info .*heartbeat fresh: block 1/);
  device.now = () => Math.floor(Date.now() / 1000) - 60;
  await world.said(/^unusual .*heartbeat stale: block 1, 6\d s old/);
  device.now = () => Math.floor(Date.now() / 1000) + 60;
  await world.said(/^unusual .*heartbeat future: block 1, .* s ahead/);
  const other = new FakeChainDevice();
  Object.assign(device, { accountKey: other.accountKey });
  device.now = () => Math.floor(Date.now() / 1000);
  await world.until(() =>
    world.log.filter((line) => line.includes("heartbeat fresh")).length === 2
  );
});

Deno.test("A heartbeat that another has signed is missing", async () => {
  await using world = new World();
  const { device, bitcoind } = world;
  bitcoind.mine(1);
  Object.assign(device, { accountKey: new Uint8Array(33).fill(2) });
  world.start();
  await world.said(/heartbeat missing: the signature is not the device's/);
});

Deno.test("A VLS signer that the broker does not know yet is gone on with", async () => {
  const device = new FakeChainDevice({ isNative: false });
  const { funding } = channelTxs();
  watch(device, funding);
  await using world = new World();
  world.device = device;
  world.bitcoind.mine(15);
  world.start();
  await world.synced();
  // Another broker, which remembers no filter header.
  await using later = new World();
  Object.assign(later, { bitcoind: world.bitcoind });
  later.device = device;
  later.start();
  world.bitcoind.mine(5, [funding]);
  await later.synced();
  assert.equal(device.findings.get(16)?.confirmed.length, 1);
});

/**
 * An output that the filter of the first mined block names although the block
 * does not spend it: one of 784,931 does, and this was found by search.
 */
const NAMED_BY_MISTAKE = "11".repeat(32) + "84ad0f00";

Deno.test("A watched output that a filter names by mistake makes the block come whole", async () => {
  await using world = new World({ isNative: false });
  const { bitcoind, device } = world;
  bitcoind.mine(2);
  device.outpoints.add(NAMED_BY_MISTAKE);
  world.start();
  await world.synced();
  assert.equal(world.count(C.block_chunk.type), 1);
  assert.deepEqual(device.findings.get(1)?.spent, []);
  assert.equal(device.height, 2);
});
