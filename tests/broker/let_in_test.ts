/**
 * What a device hears, and can do, before it is the node's; and how it stops
 * being the node's.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { openSqliteStorage } from "../../src/broker/storage/sqlite.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";
import { encodeCardHead, encodeHello } from "../../src/wire/control.ts";
import { encodeFromDevice } from "../../src/wire/lss.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import { REPLIES } from "../../src/wire/hsmd.ts";
import { encodeSignerResponse } from "../../src/wire/vls.ts";
import type { PubKey } from "../../src/wire/types.ts";
import { runs } from "../support/arbitrary.ts";
import { identityOfSeed, initReply, pointReply } from "./fake.ts";
import { type Actor, type Kind, SeveralNode } from "./several_parts.ts";

const CODE = new Uint8Array(16).fill(5);

async function withNode(
  kinds: readonly Kind[],
  run: (node: SeveralNode) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const storage = openSqliteStorage({
    database: `${folder}/storage.db`,
    keyFile: `${folder}/storage_key`,
  });
  try {
    using node = new SeveralNode(storage, await storage.serverKey(), kinds);
    await node.begin();
    await run(node);
  } finally {
    storage.close();
    await Deno.remove(folder, { recursive: true });
  }
}

function two(node: SeveralNode): readonly [Actor, Actor] {
  const [a, b] = node.actors;
  assert.ok(a && b);
  return [a, b];
}

/** Everything that a device may say, in forms that are read. */
function everything(): readonly (
  | readonly ["vls-res", Uint8Array]
  | readonly [
    | "led"
    | "card"
    | "error"
    | "control-res"
    | "init-1-res"
    | "lss-res"
    | "init-3-res",
    Uint8Array,
  ]
)[] {
  const muts = encodeFromDevice({
    kind: "VlsMuts",
    value: { clientHmac: new Uint8Array(32), muts: [] },
  });
  const hash = new Uint8Array(32);
  return [
    ["vls-res", encodeSignerResponse({ sequence: 0, message: pointReply(1) })],
    [
      "init-3-res",
      encodeSignerResponse({
        sequence: 0,
        message: initReply(identityOfSeed(1)),
      }),
    ],
    ["led", new TextEncoder().encode("alarm")],
    ["card", encodeCardHead({ generation: 1n << 60n, hash })],
    ["error", Uint8Array.of(0x81, 1)],
    ["control-res", new Uint8Array(8)],
    ["lss-res", muts],
  ];
}

Deno.test("Who has neither code nor key hears a refusal, and nothing of the node", async () => {
  for (const code of [null, new Uint8Array(16)]) {
    await withNode(["shared", "shared"], async (node) => {
      const [owner, stranger] = two(node);
      owner.connect();
      await node.quiet();
      await node.codes.make(CODE);
      await node.unpair(stranger);
      stranger.code = code;
      stranger.connect();
      stranger.deliver();
      const { session } = stranger;
      for (const [name, payload] of everything()) {
        if (session !== null) node.broker.message(session, name, payload);
      }
      await node.quiet();
      assert.deepEqual(stranger.heard, ["refusal"]);
      assert.equal(stranger.session, null); // its connection ended
    });
  }
});

Deno.test("A code opens nothing before the owner consents: who the node is, and no more", async () => {
  await withNode(["own", "shared"], async (node) => {
    const [owner, guest] = two(node);
    owner.connect();
    node.ask();
    await node.drain();
    await node.codes.make(CODE);
    await node.unpair(guest);
    guest.code = CODE;
    guest.connect();
    await node.quiet();
    const errors: unknown[] = [];
    node.broker.onError((error) => errors.push(error));
    const log = node.log.length;
    const { session } = guest;
    assert.ok(session);
    for (const [name, payload] of everything()) {
      node.broker.message(session, name, payload);
    }
    await node.quiet();
    assert.deepEqual(guest.heard, ["brokerKey", "expectedNode"]);
    assert.deepEqual(errors, []);
    assert.deepEqual(node.log.slice(log), []);
    // And then: paired, by this code, once.
    node.broker.message(session, "paired", CODE);
    await node.quiet();
    assert.deepEqual(guest.heard.slice(2), ["isAccepted"]);
    assert.ok(node.devices.byCardKey(guest.cardKey));
  });
});

Deno.test("Nobody but the device that showed the code first pairs with it", async () => {
  await withNode(["shared", "shared"], async (node) => {
    const [first, second] = two(node);
    await node.unpair(first);
    await node.unpair(second);
    await node.codes.make(CODE);
    for (const actor of [first, second]) {
      actor.code = CODE;
      actor.connect();
      // At once: the first is not noted in the file yet.
      actor.deliver();
    }
    for (const { session } of [second, first]) {
      if (session !== null) node.broker.message(session, "paired", CODE);
    }
    await node.quiet();
    assert.deepEqual(
      node.devices.devices.map((device) =>
        device.kind === "native" ? device.cid : ""
      ),
      [first.cid],
    );
  });
});

Deno.test("A device that was served as somebody's is let go of once it is unpaired", async () => {
  await withNode(["sphinx", "sphinx"], async (node) => {
    const [device] = two(node);
    const nodeKey = "02" + "ab".repeat(32);
    await node.devices.add({ kind: "sphinx", nodeKey, pairedAt: 0 });
    device.connect({ isProved: false });
    await node.quiet();
    await node.unpair(device);
    await node.quiet();
    assert.equal(device.session, null);
  });
});

Deno.test("What goes wrong with a connection that is over leaves its successor alone", async () => {
  await withNode(["own", "own"], async (node) => {
    const [device] = two(node);
    device.connect();
    await node.quiet();
    device.leave();
    device.initReply = initReply(identityOfSeed(2));
    device.connect();
    device.deliver();
    await node.settle();
    device.deliver(); // the keys of another node: refused, in a moment
    device.leave();
    device.initReply = initReply(identityOfSeed(1));
    device.connect();
    device.deliver();
    const { session } = device;
    assert.ok(session);
    await node.quiet();
    assert.equal(device.session, session);
    assert.ok(node.log.some((line) => line.includes("refused: Cannot use")));
  });
});

Deno.test("A device that fails at init does not end the node of another one", async () => {
  await withNode(["own", "own"], async (node) => {
    const [broken, able] = two(node);
    broken.initReply = encodeMessage(REPLIES.init_reply_failure, {
      errorCode: 1,
      errorMessage: new TextEncoder().encode("no seed"),
    });
    broken.connect();
    await node.quiet();
    assert.equal(node.initAnswer, "nothing");
    able.connect();
    node.ask();
    await node.drain();
    assert.equal(node.initAnswer, "reply");
    assert.equal(node.activeCid, able.cid);
  });
});

Deno.test("Who is let in without a proof and gives none keeps the real one out for seconds", async () => {
  await withNode(["sphinx", "sphinx"], async (node) => {
    const [imposter, real] = two(node);
    imposter.connect({ isProved: false });
    await node.quiet();
    assert.equal(node.activeCid, imposter.cid);
    real.connect();
    await node.quiet();
    node.ask();
    imposter.isMute = true;
    await node.drain();
    assert.equal(imposter.session, null);
    assert.equal(node.activeCid, real.cid);
  });
});

Deno.test("A failure of whoever proved nothing does not end the node", async () => {
  await withNode(["sphinx"], async (node) => {
    const [stranger] = node.actors;
    assert.ok(stranger);
    stranger.initReply = encodeMessage(REPLIES.init_reply_failure, {
      errorCode: 1,
      errorMessage: new TextEncoder().encode("end"),
    });
    stranger.connect({ isProved: false });
    await node.quiet();
    assert.equal(node.initAnswer, "nothing");
  });
});

// -------------------------------------------------------------- malformed

/** What an actor would say, and what a stranger makes of it. */
const NAMES: readonly TopicName[] = [
  "hello",
  "bye",
  "init-1-res",
  "init-2-res",
  "init-3-res",
  "vls-res",
  "lss-res",
  "lss-conflict-res",
  "control-res",
  "proxy-res",
  "error",
  "card",
  "led",
  "paired",
  "pong",
];

const spoil = fc.record({
  name: fc.constantFrom(...NAMES),
  pick: fc.nat({ max: 50 }),
  at: fc.nat({ max: 400 }),
  byte: fc.nat({ max: 255 }),
  cut: fc.oneof(
    { weight: 3, arbitrary: fc.constant(10_000) },
    { weight: 1, arbitrary: fc.nat({ max: 300 }) },
  ),
  isSpoiled: fc.boolean(),
});

Deno.test("Whatever a stranger says, in whatever stage, the broker goes on", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(spoil, { minLength: 5, maxLength: 60, size: "max" }),
      fc.constantFrom<Kind>("shared", "sphinx", "own"),
      fc.boolean(),
      async (steps, kind, hasCode) => {
        await withNode([kind, "shared"], async (node) => {
          const [stranger, owner] = two(node);
          await node.codes.make(CODE);
          if (hasCode) {
            await node.unpair(stranger);
            stranger.code = CODE;
          }
          const said: Uint8Array[] = [new Uint8Array(), CODE];
          for (const { name, pick, at, byte, cut, isSpoiled } of steps) {
            stranger.connect();
            await node.settle();
            said.push(...stranger.outbox.map(({ payload }) => payload));
            const payload = said[pick % said.length] ?? new Uint8Array();
            const { session } = stranger;
            if (!isSpoiled) stranger.deliver();
            else if (session !== null) {
              const spoiled = payload.slice(0, cut);
              if (at < spoiled.length) spoiled[at] = byte;
              node.broker.message(session, name, spoiled);
            }
            await node.settle();
          }
          stranger.leave();
          stranger.isMute = true;
          owner.connect();
          await node.quiet();
          const { lastActive } = node.active.current;
          // Nobody takes over from a card of its own, or of another form.
          if (lastActive?.isStored === false) return;
          if (lastActive !== null && lastActive.cid !== owner.cid) return;
          node.ask();
          await node.drain();
          assert.equal(node.open.size, 0);
        });
      },
    ),
    { numRuns: runs(60) },
  );
});

Deno.test("A card key that is no point is a device that is refused", async () => {
  for (const byte of [0xff, 0]) {
    await withNode(["own"], async (node) => {
      const [device] = node.actors;
      assert.ok(device);
      device.connect();
      const { session } = device;
      assert.ok(session);
      const cardKey = new Uint8Array(33).fill(byte).fill(2, 0, 1) as
        & Uint8Array
        & PubKey;
      const cardProof = new Uint8Array(64).fill(byte);
      const hello = encodeHello({ cardKey, cardProof });
      node.broker.message(session, "hello", hello);
      await node.settle();
      assert.equal(device.session, null);
    });
  }
});
