/**
 * Whom the broker believes: logins, pinned keys, the pairing file, and the key
 * checks that it answers itself.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DeviceBook } from "../../src/broker/devices.ts";
import {
  type DeviceIdentity,
  FilePairingBook,
  type Pairing,
  type PairingBook,
} from "../../src/broker/pairing.ts";
import { WalletKeys } from "../../src/broker/wallet_keys.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { ConfigError } from "../../src/errors.ts";
import { makeToken } from "../../src/mqtt/auth.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import {
  FakeNode,
  identityOfSeed,
  INIT,
  initReply,
  pointReply,
  pointRequest,
  settle,
} from "./fake.ts";

const OURS = identityOfSeed(1);
const OTHER = identityOfSeed(2);

/** A book that stores when the test says so. */
class SlowBook implements PairingBook {
  readonly place = "slow";
  current: Pairing | null = null;
  readonly stores: (() => void)[] = [];

  constructor(current: Pairing | null = null) {
    this.current = current;
  }

  store(pairing: Pairing): Promise<void> {
    return new Promise((resolve) =>
      this.stores.push(() => {
        this.current = pairing;
        resolve();
      })
    );
  }
}

/** Whether a promise is settled by now. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  await settle();
  const marker = {};
  return await Promise.race([promise, Promise.resolve(marker)]) !== marker;
}

Deno.test("A device whose node id is not the key that logged in is refused", async () => {
  using node = new FakeNode();
  const answer = node.ask(INIT);
  const device = node.connect({ key: OTHER.nodeId });
  await device.serve();
  assert.ok(!device.isHere);
  assert.ok(!await isSettled(answer));
  const line = node.log.find((text) => text.includes("refused")) ?? "";
  assert.ok(line.includes(OURS.nodeId.toHex()));
  assert.ok(line.includes(OTHER.nodeId.toHex()));
});

for (const field of ["nodeId", "bip32", "bip86", "bolt12"] as const) {
  Deno.test(`A device with another ${field} than the pinned one is refused before lightningd hears`, async () => {
    const pinned = { ...OURS, [field]: OTHER[field] } as DeviceIdentity;
    using node = new FakeNode({
      book: new SlowBook({ identity: pinned, cardKeys: [] }),
      pairing: "open",
    });
    const answer = node.ask(INIT);
    const device = node.connect();
    await device.serve();
    assert.ok(!device.isHere);
    assert.ok(!await isSettled(answer));
    const line = node.log.find((text) => text.includes("refused")) ?? "";
    assert.ok(line.includes(OURS[field]?.toHex() ?? "none"), line);
    assert.ok(line.includes(OTHER[field]?.toHex() ?? "none"), line);
  });
}

Deno.test("A device that lost its BIP86 base is refused, and one that gained it", async () => {
  for (const isPinned of [true, false]) {
    const without = { ...OURS, bip86: null };
    const pinned = isPinned ? OURS : without;
    using node = new FakeNode({
      book: new SlowBook({ identity: pinned, cardKeys: [] }),
    });
    void node.ask(INIT);
    const device = node.connect();
    device.hello();
    device.answerInit(initReply(isPinned ? without : OURS));
    await settle();
    assert.ok(!device.isHere);
    assert.ok(node.log.some((line) => line.includes("none")));
  }
});

Deno.test("lightningd hears of a device after its pairing is durable", async () => {
  const book = new SlowBook();
  using node = new FakeNode({ book });
  const answer = node.ask(INIT);
  const device = node.connect();
  await device.serve();
  assert.ok(!await isSettled(answer));
  book.stores.shift()?.();
  assert.deepEqual(await answer, {
    kind: "reply",
    message: initReply(OURS),
  });
});

Deno.test("A device that leaves while its pairing is stored gets no request", async () => {
  const book = new SlowBook();
  using node = new FakeNode({ book });
  void node.ask(INIT);
  const device = node.connect();
  await device.serve();
  device.leave();
  book.stores.shift()?.();
  await settle();
  const back = node.connect();
  await back.serve();
  const answer = node.ask(pointRequest(3), { dbid: 1n });
  back.answerPoint(0);
  assert.deepEqual(await answer, { kind: "reply", message: pointReply(3) });
});

Deno.test("Of two devices that come at once, one is paired and the other refused", async () => {
  const book = new SlowBook();
  using node = new FakeNode({ book });
  const answer = node.ask(INIT);
  const first = node.connect({ seed: 1, cid: "aa" });
  const second = node.connect({ seed: 2, cid: "bb" });
  await Promise.all([first.serve(), second.serve()]);
  assert.equal(book.stores.length, 1);
  book.stores.shift()?.();
  assert.deepEqual(await answer, { kind: "reply", message: initReply(OURS) });
  await settle();
  assert.ok(first.isHere);
  assert.ok(!second.isHere);
});

Deno.test("A pairing file outlives its broker, and is replaced whole", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/pairing.json`;
    {
      const book = await FilePairingBook.open(path);
      assert.equal(book.current, null);
      await book.store({ identity: OURS, cardKeys: [] });
      await book.store({ identity: OURS, cardKeys: [OTHER.nodeId.toHex()] });
    }
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
    assert.deepEqual(names, ["pairing.json"]);
    const { mode } = await Deno.stat(path);
    assert.equal((mode ?? 0) & 0o777, 0o600);
    const again = await FilePairingBook.open(path);
    assert.deepEqual(again.current, {
      identity: OURS,
      cardKeys: [OTHER.nodeId.toHex()],
    });
    using node = new FakeNode({ book: again });
    void node.ask(INIT);
    const device = node.connect({ seed: 2 });
    await device.serve();
    assert.ok(!device.isHere);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("A pairing file without BIP86 base says so and is read back", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/pairing.json`;
    const identity = { ...OURS, bip86: null };
    const book = await FilePairingBook.open(path);
    await book.store({ identity, cardKeys: [] });
    assert.deepEqual(
      (await FilePairingBook.open(path)).current?.identity,
      identity,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("A damaged pairing file is an error, never a new pairing", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = `${folder}/pairing.json`;
    for (const text of ["", "{", "{}", '{"nodeId": "00"}', "[]"]) {
      await Deno.writeTextFile(path, text);
      await assert.rejects(FilePairingBook.open(path), ConfigError);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** A login of a private key at a time. */
function loginOf(node: FakeNode, key: Uint8Array, at: number) {
  return node.broker.login({
    isLoopback: true,
    cid: "aa",
    username: publicKey(key).toHex(),
    password: makeToken(key, at),
  });
}

Deno.test("Before the pairing any key logs in with a fresh token, afterwards the known ones", async () => {
  const keys = [1, 2, 3].map((value) => new Uint8Array(32).fill(value));
  const [nodeKey, cardKey, foreign] = keys as [
    Uint8Array,
    Uint8Array,
    Uint8Array,
  ];
  const now = () => 1_700_000_000_000;
  {
    using node = new FakeNode({ now });
    assert.ok("key" in loginOf(node, foreign, 1_700_000_000));
    assert.ok("refusal" in loginOf(node, foreign, 1_699_999_000));
  }
  const identity = { ...OURS, nodeId: publicKey(nodeKey) };
  const devices = DeviceBook.inMemory();
  await devices.add({
    kind: "native",
    cid: "bb",
    cardKey: publicKey(cardKey).toHex(),
    software: "fake",
    pairedAt: 0,
  });
  using node = new FakeNode({
    now,
    devices,
    book: new SlowBook({ identity, cardKeys: [] }),
  });
  assert.ok("key" in loginOf(node, nodeKey, 1_700_000_000));
  assert.ok("key" in loginOf(node, cardKey, 1_700_000_000));
  const outcome = loginOf(node, foreign, 1_700_000_000);
  assert.ok("refusal" in outcome);
  assert.ok(outcome.refusal.includes(publicKey(foreign).toHex()));
  assert.ok(outcome.refusal.includes(publicKey(nodeKey).toHex()));
});

Deno.test("Public-key checks are answered here, rightly, and true or false", async () => {
  using node = new FakeNode();
  const device = await node.start();
  const checks = [
    { row: REQUESTS.check_pubkey, reply: REPLIES.check_pubkey_reply },
    {
      row: REQUESTS.check_bip86_pubkey,
      reply: REPLIES.check_bip86_pubkey_reply,
    },
  ];
  for (const { row, reply } of checks) {
    const isBip86 = row.type === REQUESTS.check_bip86_pubkey.type;
    const kind = isBip86 ? "bip86" : "legacy";
    const keys = new WalletKeys(OURS);
    const right = keys.at(kind, 7);
    const wrong = keys.at(kind, 8);
    assert.ok(right !== null && wrong !== null);
    for (
      const [pubkey, index, ok] of [
        [right, 7, true],
        [wrong, 7, false],
        [right, 2 ** 31, false],
      ] as const
    ) {
      const answer = await node.ask(encodeMessage(row, { index, pubkey }));
      const message = encodeMessage(reply, { ok });
      assert.deepEqual(answer, { kind: "reply", message });
    }
  }
  assert.deepEqual(device.requests, []);
  const broken = node.log.filter((line) => line.startsWith("broken"));
  assert.equal(broken.length, 4);
});
