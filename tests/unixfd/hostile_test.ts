/**
 * Bytes of every kind on lightningd's connection and on those of its clients:
 * an answer, or the refusal that the stock hsmd would give, and never more harm.
 *
 * Every status message is decoded as it arrives (support/rig.ts), so each of
 * these tests also fails for one that lightningd would choke on.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  isPermitted,
  MASTER_PERMISSIONS,
  REPLIES,
  REQUESTS,
} from "../../src/wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
  type RequestRow,
} from "../../src/wire/message.ts";
import { INIT, PEER, pointRequest } from "../broker/fake.ts";
import { CLN_VERSION } from "../support/rig.ts";
import type { FrameConn } from "../support/standin/standin.ts";
import { CHANNELD, RunningNode } from "./running_node.ts";

const SANITIZED = { sanitizeOps: true, sanitizeResources: true } as const;

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ ...SANITIZED, name, fn });
}

const ROWS = Object.values(REQUESTS) as unknown as RequestRow[];

/** What a request needs, from the facts about Core Lightning, not our rows. */
const NEEDS: ReadonlyMap<number, readonly number[]> = new Map([
  [1, [1]], // ECDH
  [2, [2, 3, 6]], // SIGN_GOSSIP
  [4, [12, 13, 14, 16]], // SIGN_ONCHAIN_TX
  [8, [18, 22, 31]], // COMMITMENT_POINT
  [16, [19, 20, 35, 36, 40]], // SIGN_REMOTE_TX
  [32, [21]], // SIGN_CLOSING_TX
  [64, [26]], // SIGN_WILL_FUND_OFFER
  [128, [29]], // SIGN_SPLICE_TX
  [256, [32, 37]], // LOCK_OUTPOINT
]);
const MASTER = 1024;

function needOf(type: number): number {
  for (const [bit, types] of NEEDS) if (types.includes(type)) return bit;
  return MASTER;
}

/** What lightningd gives to its daemons. */
const PERMISSIONS = [1, 3, 24, 344, 447, 40, 12] as const;

const typeOnly = (type: number) => Uint8Array.of(type >> 8, type & 0xff);

/** The commitment point `n` of a connection's channel, in hex. */
async function pointAt(conn: FrameConn, n: number): Promise<string> {
  const reply = await conn.ask(pointRequest(n));
  const row = REPLIES.get_per_commitment_point_reply;
  return decodeMessage(row, reply).perCommitmentPoint.toHex();
}

Deno.test("lightningd's own connection may ask what the facts say it may", () => {
  for (const row of ROWS) {
    const isAllowed = (MASTER_PERMISSIONS & needOf(row.type)) !== 0;
    const found = isPermitted(row, BigInt(MASTER_PERMISSIONS));
    assert.equal(found, isAllowed, row.name);
  }
});

test("A client may ask what its permissions allow, and nothing else", async () => {
  await using node = await RunningNode.start();
  for (const row of ROWS) {
    for (const permissions of PERMISSIONS) {
      const dbid = node.nextDbid();
      using conn = await node.connect(dbid, BigInt(permissions));
      // Too short for any of them: what is permitted fails to decode.
      await conn.write(typeOnly(row.type));
      assert.equal(await conn.read(), null);
      const isAllowed = (permissions & needOf(row.type)) !== 0;
      const wanted = isAllowed ? "Cannot decode" : "no permission for";
      const reason = await node.refusal(dbid);
      assert.ok(reason.startsWith(wanted), `${row.name} of ${permissions}`);
    }
  }
});

test("A client that asks badly is reported and loses its connection, others do not", async () => {
  await using node = await RunningNode.start();
  using witness = await node.connect();
  const first = await pointAt(witness, 0);
  const bad: Uint8Array[] = [
    ...[0, 17, 99, 100, 109, 114, 999, 1000, 3000, 65_535].map(typeOnly),
    new Uint8Array(0),
    Uint8Array.of(0),
    pointRequest(0).slice(0, 9),
    // Not a point, where one has to be.
    Uint8Array.of(0, 1, ...new Uint8Array(33).fill(0xff)),
    // Not a boolean.
    Uint8Array.of(0, 18, ...new Uint8Array(7)),
    Uint8Array.of(0, 35, ...new Uint8Array(70_000).fill(0x0a)),
  ];
  for (const message of bad) {
    const dbid = node.nextDbid();
    using conn = await node.connect(dbid);
    await conn.write(message);
    assert.equal(await conn.read(), null, message.subarray(0, 9).toHex());
    assert.notEqual(await node.refusal(dbid), "");
    assert.equal(await pointAt(witness, 0), first);
  }
  const broken = node.broker.log.filter((line) =>
    line.startsWith("bad request ") && !line.startsWith("bad request: ")
  );
  assert.equal(broken.length, bad.length);
});

test("A frame announced at 2^32-1 bytes ends its connection at once", async () => {
  await using node = await RunningNode.start();
  using witness = await node.connect();
  for (const length of [0xffff_ffff, 2 ** 27, 2 ** 23]) {
    using conn = await node.connect();
    const header = new Uint8Array(4);
    new DataView(header.buffer).setUint32(0, length);
    await conn.writeRaw(header);
    assert.equal(await conn.read(), null);
    await pointAt(witness, 0);
  }
  assert.deepEqual(node.broker.alarms, []);
});

test("A frame announced at 2^32-1 bytes on lightningd's connection is its end", async () => {
  await using node = await RunningNode.start();
  await node.master.writeRaw(new Uint8Array(4).fill(0xff));
  assert.equal(await node.master.read(), null);
  assert.equal(await node.broker.standin.exit, 2);
});

test("A client that sends half a frame and waits delays nobody", async () => {
  await using node = await RunningNode.start();
  using waiting = await node.connect();
  const frame = Uint8Array.of(0, 0, 0, 10, ...pointRequest(5));
  await waiting.writeRaw(frame.subarray(0, 3));
  using other = await node.connect();
  await pointAt(other, 0);
  await waiting.writeRaw(frame.subarray(3, 9));
  await pointAt(other, 1);
  await waiting.writeRaw(frame.subarray(9));
  const reply = await waiting.read();
  assert.equal(reply && messageType(reply), 118);
});

test("A client that closes in the middle of its request harms nobody", async () => {
  await using node = await RunningNode.start();
  using witness = await node.connect();
  const first = await pointAt(witness, 0);
  for (let i = 0; i < 20; i++) {
    const conn = await node.connect();
    await conn.write(pointRequest(i));
    conn.close();
    assert.equal(await pointAt(witness, 0), first);
  }
  assert.deepEqual(node.broker.alarms, []);
});

test("Requests that are sent together are answered in their order", async () => {
  await using node = await RunningNode.start();
  using conn = await node.connect();
  const wanted: string[] = [];
  for (let n = 0; n < 20; n++) wanted.push(await pointAt(conn, n));
  const frames = Array.from(
    { length: 20 },
    (_, n) => [0, 0, 0, 10, ...pointRequest(n)],
  );
  await conn.writeRaw(Uint8Array.from(frames.flat()));
  const found: string[] = [];
  for (let n = 0; n < 20; n++) {
    const reply = await conn.read() ?? new Uint8Array();
    const row = REPLIES.get_per_commitment_point_reply;
    found.push(decodeMessage(row, reply).perCommitmentPoint.toHex());
  }
  assert.deepEqual(found, wanted);
});

test("A new connection for a channel closes the one before, not one of another", async () => {
  await using node = await RunningNode.start();
  using first = await node.connect(7n);
  using other = await node.connect(8n);
  using second = await node.connect(7n);
  assert.equal(await first.read(), null);
  await pointAt(second, 0);
  await pointAt(other, 0);
});

test("A fourth connection without a channel is the end, as with the stock hsmd", async () => {
  await using node = await RunningNode.start();
  using _first = await node.connect(0n, 1n);
  using _second = await node.connect(0n, 3n);
  const request = { id: PEER, dbid: 0n, permissions: 1n };
  await node.master.write(encodeMessage(REQUESTS.client_hsmfd, request));
  assert.equal(await node.broker.standin.exit, 242);
  await node.broker.logged(/^STATUS_FAIL 0: /);
});

test("A connection for what is not a node id is refused", async () => {
  await using node = await RunningNode.start();
  const request = encodeMessage(REQUESTS.client_hsmfd, {
    id: PEER,
    dbid: 1n,
    permissions: CHANNELD,
  });
  await node.master.write(request.fill(4, 2, 3));
  assert.equal(await node.broker.standin.exit, 242);
});

test("lightningd asking badly is the end, with its reason told", async () => {
  const bad = [
    typeOnly(17),
    typeOnly(114),
    pointRequest(0),
    new Uint8Array(0),
    new Uint8Array(1),
    INIT.slice(0, 30),
  ];
  await Promise.all(bad.map(async (message) => {
    await using node = await RunningNode.startAlone();
    await node.master.write(message);
    assert.equal(await node.broker.standin.exit, 242);
    await node.broker.logged(/^STATUS_FAIL 0: Error parsing /);
    await node.broker.logged(/^bad request /);
  }));
});

test("A request before init is the end, with its reason told", async () => {
  await using node = await RunningNode.startAlone();
  await node.master.write(Uint8Array.of(0, 27, 0, 0));
  assert.equal(await node.broker.standin.exit, 242);
  await node.broker.logged(/^STATUS_FAIL 0: derive_secret before init$/);
});

test("dev_preinit is refused without --developer and taken with it", async () => {
  const preinit = encodeMessage(REQUESTS.dev_preinit, { tlvs: {} });
  {
    await using node = await RunningNode.startAlone({ args: [] });
    await node.master.write(preinit);
    assert.equal(await node.broker.standin.exit, 242);
    await node.broker.logged(/dev_preinit without --developer/);
  }
  await using node = await RunningNode.startAlone();
  await node.connectDevice();
  await node.master.write(preinit);
  assert.equal(messageType(await node.master.ask(INIT)), 114);
});

test("Forced keys are refused without --developer", async () => {
  await using node = await RunningNode.startAlone({ args: [] });
  const forced = encodeMessage(REQUESTS.init, {
    ...decodeMessage(REQUESTS.init, INIT),
    devForceChannelSecretsShaseed: decodeMessage(
      REQUESTS.validate_revocation,
      Uint8Array.of(0, 36, ...new Uint8Array(40).fill(1)),
    ).perCommitmentSecret as unknown as never,
  });
  await node.master.write(forced);
  assert.equal(await node.broker.standin.exit, 242);
  await node.broker.logged(/dev_force fields without --developer/);
});

test("The version comes first on the status stream, and only when it is known", async () => {
  {
    await using node = await RunningNode.start();
    assert.equal(node.broker.log[0], `version ${CLN_VERSION}`);
  }
  await using node = await RunningNode.start({
    env: { LIGHTNINGD_VERSION: "" },
  });
  assert.ok(!node.broker.log.some((line) => line.startsWith("version ")));
});

test("The end of fd 3 ends the broker with 2, whatever waits", async () => {
  {
    await using node = await RunningNode.startAlone();
    await node.master.write(INIT);
    await node.broker.logged(/waiting for a signer device/);
    node.broker.standin.close();
    assert.equal(await node.broker.standin.exit, 2);
  }
  await using node = await RunningNode.start();
  using conn = await node.connect();
  await conn.writeRaw(Uint8Array.of(0, 0, 0));
  node.broker.standin.close();
  assert.equal(await node.broker.standin.exit, 2);
});

/** Open descriptors and resident memory (KiB) of a process. */
async function usage(pid: number): Promise<{ fds: number; rss: number }> {
  const fds = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  const [, rss = ""] = /VmRSS:\s+(\d+)/.exec(status) ?? [];
  return { fds, rss: Number(rss) };
}

const CONNECTIONS = 1_000;
/** Connections until memory is what it stays, and how it may still vary. */
const WARM_UP = 300;
const RSS_SLACK_KIB = 32 * 1024;

test(`${CONNECTIONS} client connections one after another leave nothing behind`, async () => {
  await using node = await RunningNode.start();
  const { pid } = node.broker.standin;
  const before = await usage(pid);
  let warm = before;
  for (let i = 0; i < CONNECTIONS; i++) {
    using conn = await node.connect();
    await pointAt(conn, 0);
    if (i === WARM_UP) warm = await usage(pid);
  }
  let after = await usage(pid);
  // The broker hears of the last closes while it answers these.
  for (let i = 0; i < CONNECTIONS && after.fds > before.fds; i++) {
    await node.master.ask(Uint8Array.of(0, 27, 0, 0));
    after = await usage(pid);
  }
  assert.equal(after.fds, before.fds);
  assert.ok(
    after.rss - warm.rss < RSS_SLACK_KIB,
    `resident memory ${warm.rss} KiB, then ${after.rss} KiB`,
  );
  assert.deepEqual(node.broker.alarms, []);
});
