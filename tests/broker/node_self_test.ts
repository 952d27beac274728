/**
 * Who the node says that it is: its link key, the node id that it had so far,
 * and what its devices and their owners see of both.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import type { LED_ROWS } from "../../src/device/led.ts";
import { DeviceBook } from "../../src/broker/devices.ts";
import { openNodeSelf } from "../../src/broker/node_self.ts";
import { ConfigError } from "../../src/errors.ts";
import { pairingFingerprint } from "../../src/mqtt/fingerprint.ts";
import { encodeHello } from "../../src/wire/control.ts";
import type { PubKey } from "../../src/wire/types.ts";
import { FakeNode, identityOfSeed, INIT, LINK_KEY, settle } from "./fake.ts";

const OURS = identityOfSeed(1);
const OTHER = identityOfSeed(2);

async function withFolder(
  use: (places: { keyFile: string; database: string }) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const database = `${folder}/lightningd.sqlite3`;
    await use({ keyFile: `${folder}/link_key`, database });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function makeDatabase(path: string, nodeId: Uint8Array | null): void {
  using db = new DatabaseSync(path);
  db.exec("CREATE TABLE vars (name TEXT, val TEXT, intval INT, blobval BLOB)");
  if (nodeId === null) return;
  db.prepare("INSERT INTO vars (name, blobval) VALUES ('node_id', ?)")
    .run(nodeId);
}

Deno.test("The link key is made once, for its owner only, and kept", async () => {
  await withFolder(async (places) => {
    const first = await openNodeSelf(places);
    const second = await openNodeSelf(places);
    assert.equal(second.linkKey.toHex(), first.linkKey.toHex());
    assert.equal(first.linkKey.length, 33);
    const { mode, size } = await Deno.stat(places.keyFile);
    assert.equal((mode ?? 0) & 0o777, 0o600);
    assert.equal(size, 32);
  });
});

Deno.test("A link key that is none is an error that names the file", async () => {
  await withFolder(async (places) => {
    for (const content of [new Uint8Array(31), new Uint8Array(32)]) {
      await Deno.writeFile(places.keyFile, content);
      await assert.rejects(openNodeSelf(places), (error: unknown) => {
        assert.ok(error instanceof ConfigError);
        assert.match(error.message, /link_key/);
        return true;
      });
    }
  });
});

Deno.test("The node id comes from lightningd's database, where there is one", async () => {
  await withFolder(async (places) => {
    assert.equal((await openNodeSelf(places)).nodeId, null);
    makeDatabase(places.database, OURS.nodeId);
    const { nodeId } = await openNodeSelf(places);
    assert.equal(nodeId?.toHex(), OURS.nodeId.toHex());
  });
  await withFolder(async (places) => {
    makeDatabase(places.database, null);
    assert.equal((await openNodeSelf(places)).nodeId, null);
  });
  await withFolder(async (places) => {
    await Deno.writeTextFile(places.database, "not a database at all");
    assert.equal((await openNodeSelf(places)).nodeId, null);
  });
});

Deno.test("A device hears who the node is before its init", () => {
  using node = new FakeNode({ nodeId: OURS.nodeId });
  node.ask(INIT).catch(() => {});
  const device = node.connect();
  device.hello();
  const [control] = device.controls;
  assert.equal(control?.brokerKey?.toHex(), LINK_KEY.toHex());
  assert.equal(control?.expectedNode?.toHex(), OURS.nodeId.toHex());
  assert.equal(device.inits.length, 1);
});

Deno.test("A Sphinx device is told nothing that it does not know", () => {
  using node = new FakeNode();
  const device = node.connect();
  device.hello({ isSphinx: true });
  assert.deepEqual(device.controls, []);
});

Deno.test("Both ends show the same fingerprint until they are paired", async () => {
  using node = new FakeNode();
  const answer = node.ask(INIT);
  const device = node.connect({ cid: "0123" });
  const software = new TextEncoder().encode("fake");
  device.publish("hello", encodeHello({ software, isEmpty: true }));
  const shown = pairingFingerprint(LINK_KEY, "0123");
  assert.match(shown, /^[a-z0-9]{4}-[a-z0-9]{4}$/);
  const lines = () => node.log.filter((line) => line.includes(shown));
  assert.match(lines()[0] ?? "", /is new and asks its owner/);
  device.answerInit();
  await answer;
  device.leave();
  const before = lines().length;
  node.connect({ cid: "0123" }).hello();
  assert.equal(lines().length, before);
});

Deno.test("Nobody is asked to compare for a device that is paired, init or no init", async () => {
  const { nodeId } = identityOfSeed(1);
  const devices = DeviceBook.inMemory();
  const cardKey = nodeId.toHex();
  const software = "fake";
  const known = { kind: "native", cid: "0123", cardKey, software } as const;
  await devices.add({ ...known, pairedAt: 0 });
  for (const pairing of ["code", "first"] as const) {
    using node = new FakeNode({ pairing, devices });
    for (let i = 0; i < 2; i++) {
      const device = node.connect({ cid: "0123" });
      device.publish("hello", encodeHello({ cardKey: nodeId as PubKey }));
      assert.equal(device.controls[0]?.refusal, undefined);
      assert.equal(device.controls[0]?.brokerKey?.toHex(), LINK_KEY.toHex());
      device.leave();
    }
    const asks = node.log.filter((line) => line.includes("fingerprint"));
    assert.deepEqual(asks, []);
  }
});

Deno.test("Another node or another device has another fingerprint", () => {
  const shown = pairingFingerprint(LINK_KEY, "0123");
  assert.notEqual(pairingFingerprint(LINK_KEY, "0124"), shown);
  assert.notEqual(pairingFingerprint(OTHER.nodeId, "0123"), shown);
});

Deno.test("A seed of another node is refused before lightningd hears of it", async () => {
  using node = new FakeNode({ nodeId: OTHER.nodeId });
  let isAnswered = false;
  node.ask(INIT).then(() => isAnswered = true).catch(() => {});
  const device = node.connect();
  await device.serve();
  await settle();
  assert.ok(!device.isHere);
  assert.ok(!isAnswered);
  const line = node.log.find((text) => text.includes("refused")) ?? "";
  assert.ok(line.includes(OURS.nodeId.toHex()));
  assert.ok(line.includes(OTHER.nodeId.toHex()));
});

Deno.test("The light of a device is in the log, and nothing of a liar's", async () => {
  using node = new FakeNode();
  const device = await node.start();
  device.publish("led", new TextEncoder().encode("Signing"));
  assert.ok(node.log.some((line) => line.endsWith("shows Signing")));
  const alarm = "alarm" satisfies keyof typeof LED_ROWS;
  device.publish("led", new TextEncoder().encode(alarm));
  device.publish("led", new TextEncoder().encode(alarm));
  const shown = node.log.filter((line) => / shows (Signing|alarm)$/.test(line));
  assert.deepEqual(shown.map((line) => line.split(" ")[0]), [
    "debug",
    "unusual",
  ]);
  device.publish("led", new Uint8Array(5000).fill(27));
  assert.ok(node.log.every((line) => line.length < 200));
  assert.ok(node.log.every((line) => !line.includes("\x1b")));
});
