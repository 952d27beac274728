/**
 * The device's end of the sealed link, against the broker's own end and against
 * whoever answers in its place.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { SealedLink } from "../../src/device/sealed_link.ts";
import { makeToken } from "../../src/mqtt/auth.ts";
import { EmbeddedServer } from "../../src/mqtt/embedded.ts";
import {
  decodeSealed,
  encodeSealed,
  SEALED_KINDS,
} from "../../src/mqtt/sealed.ts";
import { SealedSessions } from "../../src/mqtt/sealed_sessions.ts";
import type { DeviceSession } from "../../src/mqtt/session.ts";
import { runs } from "../support/arbitrary.ts";
import { type Packet, RETRY_MS } from "../mqtt/memory_server.ts";
import {
  BROKER_KEY,
  BROKER_POINT,
  CID,
  DEVICE_KEY,
  DEVICE_POINT,
  HELLO,
  randomBytes,
  SealedRig,
  text,
} from "../mqtt/sealed_rig.ts";

const STRANGER = publicKey(new Uint8Array(32).fill(0x44));

/** What somebody publishes in the broker's name. */
function toDevice(payload: Uint8Array): Packet {
  return { to: "device", cid: CID, name: "sealed", payload };
}

function kindOf({ payload }: Packet): string {
  return decodeSealed(payload).kind;
}

/** Why connections ended. */
function reasons(rig: SealedRig): string[] {
  return rig.server.endings.map(({ reason }) => reason);
}

Deno.test("a device without a pinned key asks who is there and meets that key", () => {
  using rig = new SealedRig({ pinned: null });
  const session = rig.start();
  assert.deepEqual(rig.met.map(({ key }) => key), [BROKER_POINT]);
  assert.deepEqual(session.key, DEVICE_POINT);
  assert.deepEqual(rig.server.seen.map(kindOf), [
    "who",
    "who",
    "actOne",
    "actTwo",
    "actThree",
    "record",
  ]);
});

Deno.test("a device with a pinned key that hears of another does not meet it", async () => {
  const asked: Uint8Array[] = [];
  using rig = new SealedRig({
    pinned: STRANGER,
    another: (key) => asked.push(key) < 0,
  });
  rig.link.start();
  rig.server.run();
  assert.deepEqual(asked, [BROKER_POINT]);
  assert.deepEqual(rig.met, []);
  assert.deepEqual(reasons(rig), [
    `its link key is ${BROKER_POINT.toHex()}, want ${STRANGER.toHex()}`,
  ]);
  await rig.pass(RETRY_MS);
  assert.equal(rig.server.connections, 2);
  assert.equal(asked.length, 2);
  assert.deepEqual(rig.atBroker, []);
});

Deno.test("a device whose owner allows it meets the other key, once a connection", () => {
  const asked: Uint8Array[] = [];
  using rig = new SealedRig({
    pinned: STRANGER,
    another: (key) => asked.push(key) > 0,
  });
  rig.start();
  assert.deepEqual(asked, [BROKER_POINT]);
  assert.deepEqual(rig.met.map(({ key }) => key), [BROKER_POINT]);
  rig.link.restart();
  const forged = encodeSealed("notMe", publicKey(new Uint8Array(32).fill(5)));
  rig.server.deliver(toDevice(forged));
  assert.equal(asked.length, 2);
  rig.server.deliver(toDevice(encodeSealed("notMe", BROKER_POINT)));
  assert.equal(asked.length, 2);
  assert.equal(rig.server.endings.length, 1);
});

Deno.test("a hint with the key that is pinned, or with no key, changes nothing", () => {
  using rig = new SealedRig({ another: () => assert.fail("asked") });
  rig.link.start();
  rig.server.deliver(toDevice(encodeSealed("notMe", BROKER_POINT)));
  const none = new Uint8Array(33).fill(4);
  rig.server.deliver(toDevice(encodeSealed("notMe", none)));
  rig.server.deliver(toDevice(encodeSealed("who", STRANGER)));
  rig.server.run();
  assert.deepEqual(rig.met.map(({ key }) => key), [BROKER_POINT]);
  rig.server.deliver(toDevice(encodeSealed("notMe", STRANGER)));
  assert.deepEqual(rig.server.endings, []);
});

Deno.test("a broker that does not shake hands in 10 seconds is left", async () => {
  using rig = new SealedRig();
  rig.link.start();
  const lose = () => rig.server.queue = [];
  lose();
  await rig.clock.pass(9_999, lose);
  assert.deepEqual(reasons(rig), []);
  await rig.clock.pass(1, lose);
  assert.deepEqual(reasons(rig), ["the broker did not shake hands"]);
  await rig.pass(RETRY_MS);
  assert.equal(rig.met.length, 1);
});

Deno.test("a broker that says nothing for a minute is left", async () => {
  using rig = new SealedRig();
  rig.start();
  const lose = () => {
    rig.server.queue = rig.server.queue.filter(({ to }) => to === "broker");
    rig.server.run();
  };
  rig.sessions[Symbol.dispose]();
  await rig.clock.pass(59_999, lose);
  assert.deepEqual(reasons(rig), []);
  await rig.clock.pass(1, lose);
  assert.match(reasons(rig)[0] ?? "", /nothing was heard/);
});

Deno.test("a broker that pings is not left, however little it asks", async () => {
  using rig = new SealedRig();
  rig.start();
  await rig.pass(600_000);
  assert.deepEqual(rig.server.endings, []);
  assert.deepEqual(rig.atDevice, []);
});

Deno.test("a broker that wants another handshake gets it after the pause", async () => {
  using rig = new SealedRig();
  rig.start();
  rig.server.deliver(toDevice(encodeSealed("again")));
  assert.equal(rig.server.session, null);
  await rig.pass(RETRY_MS - 1);
  assert.equal(rig.server.connections, 1);
  await rig.pass(1);
  assert.equal(rig.server.connections, 2);
  assert.equal(rig.met.length, 2);
});

Deno.test("an act two of somebody else ends the connection, and nothing is said to him", () => {
  using rig = new SealedRig();
  rig.link.start();
  const forged = Uint8Array.of(0, ...STRANGER, ...randomBytes(16));
  rig.server.deliver(toDevice(encodeSealed("actTwo", forged)));
  assert.deepEqual(reasons(rig), ["the handshake failed: ACT2_BAD_TAG"]);
  assert.deepEqual(rig.server.seen.map(kindOf), ["actOne"]);
  assert.deepEqual(rig.met, []);
});

Deno.test("what was answered late is not said on the next connection", async () => {
  using rig = new SealedRig();
  const session = rig.start();
  rig.sessions.send(session, "vls", text("request"));
  rig.server.run();
  const { publish } = rig;
  publish("vls-res", text("in time"));
  rig.server.run();
  rig.server.cut();
  publish("vls-res", text("late"));
  await rig.pass(RETRY_MS);
  publish("vls-res", text("later"));
  rig.server.run();
  const names = rig.atBroker.map(({ name }) => name);
  assert.deepEqual(names, ["hello", "vls-res", "hello"]);
});

Deno.test("a device that stops says so, inside the seal", () => {
  using rig = new SealedRig();
  rig.start();
  rig.link.stop();
  const [last] = rig.server.seen.slice(-1);
  assert.ok(last);
  assert.equal(kindOf(last), "record");
  assert.equal(rig.server.session, null);
});

Deno.test("a name that only devices say is not heard of a broker", () => {
  using rig = new SealedRig();
  const session = rig.start();
  rig.sessions.send(session, "vls-res", text("answer yourself"));
  rig.sessions.send(session, "vls", text("request"));
  rig.server.run();
  assert.deepEqual(rig.atDevice.map(({ name }) => name), ["vls"]);
});

Deno.test("whatever comes in the broker's name, nothing is heard that it did not say", () => {
  const kinds = Object.values(SEALED_KINDS).map(({ id }) => id);
  const sized = fc.constantFrom(0, 33, 50, 66, 70);
  const framed = fc.tuple(fc.constantFrom(...kinds), sized)
    .chain(([kind, size]) =>
      fc.uint8Array({ minLength: size, maxLength: size })
        .map((body) => Uint8Array.of(kind, ...body))
    );
  const anything = fc.oneof(fc.uint8Array({ maxLength: 200 }), framed);
  const pinned = fc.constantFrom(BROKER_POINT, null);
  fc.assert(
    fc.property(
      pinned,
      fc.boolean(),
      fc.array(anything, { maxLength: 8 }),
      (pinned, isStarted, payloads) => {
        using rig = new SealedRig({ pinned });
        if (isStarted) rig.start();
        else rig.link.start();
        const met = rig.met.length;
        for (const payload of payloads) rig.server.deliver(toDevice(payload));
        assert.deepEqual(rig.atDevice, []);
        assert.equal(rig.met.length, met);
      },
    ),
    { numRuns: runs(60) },
  );
});

Deno.test("over a server that listens, both ends meet, talk, and meet again after a cut", async () => {
  const heard: { session: DeviceSession; name: string }[] = [];
  let tell = () => {};
  const next = () => new Promise<void>((resolve) => tell = resolve);
  const sessions: SealedSessions = new SealedSessions({
    link: {
      send: (...message) => server.send(...message),
      trust: (session) => server.trust(session),
      drop: (session) => server.drop(session),
    },
    listener: {
      message: (session, name) => {
        heard.push({ session, name });
        tell();
      },
      gone: () => {},
      refused: (_from, reason) => assert.fail(reason),
    },
    key: BROKER_KEY,
    isShared: false,
    random: randomBytes,
  });
  const server: EmbeddedServer = await EmbeddedServer.start({
    login: () => ({ key: DEVICE_POINT }),
    message: (...message) => sessions.message(...message),
    gone: (session) => sessions.gone(session),
    refused: (...refusal) => sessions.refused(...refusal),
  });
  await using _server = server;
  using _sessions = sessions;
  const { port } = await server.listenTcp({ hostname: "127.0.0.1", port: 0 });
  const link = new SealedLink({
    url: `mqtt://127.0.0.1:${port}`,
    random: () => 0,
    credentials: () => ({
      cid: CID,
      username: DEVICE_POINT.toHex(),
      password: makeToken(DEVICE_KEY.reveal(), 0),
      staticKey: new Secret(DEVICE_KEY.reveal()),
      pinned: BROKER_POINT,
      hello: () => HELLO,
    }),
    events: {
      connected: () => {},
      message: (_name, payload, publish) => publish("vls-res", payload),
      disconnected: () => {},
      another: () => false,
    },
  });
  try {
    const met = next();
    link.start();
    await met;
    const first = heard[0]?.session;
    assert.ok(first);
    assert.deepEqual(first.key, DEVICE_POINT);
    sessions.trust(first);
    for (let i = 0; i < 100; i++) {
      const answered = next();
      sessions.send(first, "vls", new Uint8Array(i * 1000));
      await answered;
    }
    const again = next();
    sessions.drop(first);
    await again;
    const last = heard.at(-1);
    assert.equal(heard.length, 102);
    assert.equal(last?.name, "hello");
    assert.notEqual(last.session, first);
  } finally {
    await link.stop();
  }
});
