/**
 * Where the broker meets devices: who may be first, whose a client id is, and
 * what is shown of the chain.
 *
 * @module
 */

import assert from "node:assert/strict";
import { chainNewsFor } from "../../src/cli/chain_news.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { makeToken } from "../../src/mqtt/auth.ts";
import { FakeNode } from "../broker/fake.ts";
import { RunningBroker } from "../support/rig.ts";
import { inFolder } from "../support/softkey.ts";

Deno.test("The first device is taken on this machine alone", () =>
  inFolder(async (folder) => {
    await using broker = await RunningBroker.start({
      folder,
      listen: "0.0.0.0:0",
      env: { REMOTE_HSMD_PAIRING: "first" },
    });
    const [line] = await broker.logged(/STATUS_FAIL.*/);
    assert.match(line, /pairing/);
    assert.match(line, /first, with a listener on 0\.0\.0\.0:0/);
    assert.equal(await broker.standin.exit, 242);
  }));

Deno.test("A broker writes down where it listens, and ends when lightningd leaves as it starts", () =>
  inFolder(async (folder) => {
    await using broker = await RunningBroker.start({ folder });
    const mqtt = await broker.address();
    const path = `${folder}/remote_hsmd/listening.json`;
    const read = () => Deno.readTextFile(path).catch(() => "");
    // It is written after the line: looked at first, then waited for.
    const changes = Deno.watchFs(`${folder}/remote_hsmd`);
    let text = await read();
    while (text === "") {
      await changes[Symbol.asyncIterator]().next();
      text = await read();
    }
    changes.close();
    assert.deepEqual(JSON.parse(text), { mqtt, certHash: null });
    broker.standin.close();
    assert.equal(await broker.standin.exit, 2);
  }));

Deno.test("A stranger does not push out a device by its client id", async () => {
  const now = 1_700_000_000;
  using node = new FakeNode({ pairing: "open", now: () => now * 1000 });
  const device = await node.start();
  const key = new Uint8Array(32).fill(9);
  const attempt = (cid: string) =>
    node.broker.login({
      isLoopback: true,
      cid,
      username: publicKey(key).toHex(),
      password: makeToken(key, now),
    });
  const outcome = attempt(device.session.cid);
  assert.ok("refusal" in outcome);
  assert.match(outcome.refusal, /another device's/);
  assert.ok("key" in attempt("bb"));
});

Deno.test("What the chain's follower tells is in the snapshot and in the metrics", () => {
  using node = new FakeNode();
  const { broker } = node;
  const tell = chainNewsFor(broker, () => 7);
  assert.equal(broker.snapshot().chain?.height, null);
  tell({ kind: "at", height: 5, tip: 9 });
  tell({ kind: "added" });
  tell({ kind: "removed" });
  const { chain } = broker.snapshot();
  const wanted = { height: 5, tip: 9, at: 7, problem: null };
  assert.deepEqual(chain, { ...wanted, isCatchingUp: true });
  tell({ kind: "problem", text: "a reorg too deep" });
  assert.equal(broker.snapshot().chain?.problem, "a reorg too deep");
  assert.equal(broker.snapshot().chain?.height, 5);
  tell({ kind: "at", height: 9, tip: 9 });
  assert.equal(broker.snapshot().chain?.isCatchingUp, false);
  assert.equal(broker.snapshot().chain?.problem, null);
  tell({ kind: "pulse", pulse: { kind: "missing", why: "it is not" } });
  assert.equal(broker.snapshot().heartbeat?.kind, "missing");
  const { metrics } = broker;
  assert.equal(metrics.valueOf("remote_hsmd_chain_blocks_total", []), 1);
  assert.equal(metrics.valueOf("remote_hsmd_chain_reorgs_total", []), 1);
});
