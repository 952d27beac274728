/**
 * Following a real bitcoind on regtest; skipped, and shown as skipped, where
 * none is on PATH.
 *
 * @module
 */

import assert from "node:assert/strict";
import { ChainFollower } from "../../src/chain.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { outpointKey } from "../../src/bitcoin/txo_proof.ts";
import { isBehind } from "../../src/signer/tracker.ts";
import { decode } from "../../src/wire/codec.ts";
import { CHAIN_MESSAGES as C } from "../../src/wire/txoo.ts";
import { txid } from "../../src/wire/types.ts";
import { FakeChainDevice, FakeLines } from "../support/chain_device.ts";
import { hasBitcoind, RealBitcoind } from "../support/real_bitcoind.ts";

const ignore = !hasBitcoind();
const CATCH_UP = 5_000;

/** A follower between a real bitcoind and a device. */
class Following implements AsyncDisposable {
  readonly log: string[] = [];
  readonly lines = new FakeLines();
  readonly #bitcoind: RealBitcoind;
  readonly #chain: ChainFollower;
  readonly device: FakeChainDevice;

  constructor(bitcoind: RealBitcoind, device: FakeChainDevice) {
    this.#bitcoind = bitcoind;
    this.device = device;
    this.lines.connect(device);
    this.#chain = new ChainFollower({
      bitcoind: bitcoind.options,
      network: Promise.resolve(device.network),
      devices: this.lines,
      feeReference: () => {},
      log: (level, text) => this.log.push(`${level} ${text}`),
      now: Date.now,
    });
  }

  /** Until the device has bitcoind's tip. */
  async synced(): Promise<void> {
    const tip = await this.#bitcoind.text("getbestblockhash");
    const wanted = Uint8Array.fromHex(tip).reverse().toHex();
    await this.until(() =>
      this.device.tip === wanted &&
      this.device.asked.at(-1) === C.get_heartbeat.type
    );
  }

  async until(what: () => boolean): Promise<void> {
    for (let i = 0; i < 24_000; i++) {
      if (what()) return;
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    throw new Error(`Never: ${what}\n${this.log.join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.lines.disconnect();
    await this.#chain.stop();
  }
}

const internal = (hex: string) =>
  decode(txid, Uint8Array.fromHex(hex).reverse());

for (const isNative of [true, false]) {
  const who = isNative ? "a native device" : "a VLS signer";

  Deno.test({
    name: `bitcoind: ${who} sees spends, and a reorg of 30 blocks over them`,
    ignore,
    async fn() {
      await using bitcoind = await RealBitcoind.start();
      await bitcoind.mine(101);
      const device = new FakeChainDevice({ isNative });
      const funding = await bitcoind.pay();
      const fundingTxid = internal(funding.txid);
      device.txids.add(fundingTxid.toHex());
      await using following = new Following(bitcoind, device);
      await bitcoind.mine(10);
      const closing = await bitcoind.spend(funding);
      await bitcoind.mine(20);
      await following.synced();
      assert.equal(device.height, 131);
      assert.equal(device.findings.get(102)?.confirmed.length, 1);
      const spent = device.findings.get(112)?.spent ?? [];
      const key = outpointKey({ txid: fundingTxid, index: funding.vout });
      const spend = spent.find(({ outpoint }) => outpoint === key);
      assert.equal(spend?.txid.toHex(), internal(closing).toHex());
      assert.deepEqual(device.findings.get(120)?.found, []);

      await bitcoind.call(
        "invalidateblock",
        await bitcoind.text("getblockhash", 102),
      );
      await bitcoind.mineEmpty(25);
      // A reorg this deep does not come back to the mempool by itself.
      await bitcoind.resend(funding.txid);
      await bitcoind.resend(closing);
      await bitcoind.mine(7);
      await following.synced();
      assert.equal(device.height, 133);
      assert.ok(!isBehind(device.state));
      assert.deepEqual(device.findings.get(102)?.found, []);
      assert.deepEqual(device.findings.get(112)?.found, []);
      assert.equal(device.findings.get(127)?.confirmed.length, 1);
      assert.ok(device.findings.get(127)?.spent.length);
    },
  });
}

Deno.test({
  name:
    "bitcoind: a catch-up of 5,000 blocks shows its rate, over a bitcoind " +
    "that is killed and started again",
  ignore,
  async fn() {
    await using bitcoind = await RealBitcoind.start();
    await bitcoind.mine(CATCH_UP);
    // Writes all of it to the disk, so that it survives what comes.
    await bitcoind.call("gettxoutsetinfo");
    const device = new FakeChainDevice();
    device.txids.add("11".repeat(32));
    await using following = new Following(bitcoind, device);
    await following.until(() => device.height > 1_000);
    await bitcoind.kill();
    const reached = device.height;
    assert.ok(reached < CATCH_UP, "it was killed in the middle");
    await following.until(() =>
      following.log.some((line) => line.startsWith("unusual"))
    );
    await bitcoind.launch();
    await following.synced();
    assert.equal(device.height, CATCH_UP);
    // What was under way when it died may come twice, and no more.
    assert.equal(device.findings.size, CATCH_UP);
    const rate = following.log.filter((line) => /a second$/.test(line));
    assert.equal(rate.length, 1);
    assert.match(
      rate[0] ?? "",
      /the device has the tip, block 5000: \d+ blocks in \d+ s, \d+ a second/,
    );
    console.log(rate[0]);
  },
});

Deno.test({
  name: "bitcoind: another network is refused with both genesis hashes",
  ignore,
  async fn() {
    await using bitcoind = await RealBitcoind.start();
    const device = new FakeChainDevice({ network: NETWORKS.signet });
    await using following = new Following(bitcoind, device);
    await following.until(() => following.log.length > 0);
    const [line = ""] = following.log;
    assert.match(line, /^broken .*0f9188f1.*\(regtest\).*00000008819873e9/);
    assert.deepEqual(device.asked, []);
  },
});

Deno.test({
  name: "bitcoind: blocks that it has pruned are named",
  ignore,
  async fn() {
    await using bitcoind = await RealBitcoind.start([
      "-prune=1",
      "-fastprune=1",
    ]);
    await bitcoind.mine(1_000);
    await bitcoind.call("pruneblockchain", 600);
    const device = new FakeChainDevice();
    device.txids.add("11".repeat(32));
    await using following = new Following(bitcoind, device);
    await following.until(() =>
      following.log.some((line) => /has pruned block 1,/.test(line))
    );
    assert.equal(device.height, 0);
    const fresh = new FakeChainDevice();
    following.lines.connect(fresh);
    await following.until(() => fresh.height === 1_000);
  },
});
