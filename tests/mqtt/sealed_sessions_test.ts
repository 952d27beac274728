/**
 * The broker's end of sealed sessions, against the device's own end over a
 * server in memory, and against bytes of anybody's making.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { countSeal } from "../../src/cli/meeting.ts";
import { NoiseInitiator } from "../../src/crypto/noise.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { Metrics } from "../../src/metrics/metrics.ts";
import {
  decodeSealed,
  encodeSealed,
  SEALED_KINDS,
  sealedPrologue,
} from "../../src/mqtt/sealed.ts";
import { SealedSessions } from "../../src/mqtt/sealed_sessions.ts";
import type { DeviceSession } from "../../src/mqtt/session.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";
import { runs } from "../support/arbitrary.ts";
import type { Packet } from "./memory_server.ts";
import {
  BROKER_KEY,
  BROKER_POINT,
  CID,
  DEVICE_POINT,
  HELLO,
  randomBytes,
  SealedRig,
  text,
} from "./sealed_rig.ts";

const BOTH = [false, true];

function kindOf(payload: Uint8Array): string {
  return decodeSealed(payload).kind;
}

/** What somebody publishes in the device's name. */
function fromDevice(payload: Uint8Array): Packet {
  return { to: "broker", cid: CID, name: "sealed-res", payload };
}

/** What the broker said to the device since, by kind. */
function saidSince(rig: SealedRig, start: number): string[] {
  return rig.server.seen.slice(start)
    .filter(({ to }) => to === "device")
    .map(({ payload }) => kindOf(payload));
}

/** A handshake of somebody with a key of their own. */
function makeStranger(key = new Secret(new Uint8Array(32).fill(0x33))) {
  return new NoiseInitiator({
    prologue: sealedPrologue(CID),
    key,
    random: randomBytes,
    responder: BROKER_POINT,
  });
}

Deno.test("a device that shakes hands is heard with the key that it proved", () => {
  for (const isShared of BOTH) {
    using rig = new SealedRig({ isShared });
    const session = rig.start();
    assert.equal(session.isSealed, true);
    assert.equal(session.cid, CID);
    assert.deepEqual(session.key, DEVICE_POINT);
    assert.deepEqual(session.transcript, rig.met[0]?.transcript);
    assert.deepEqual(rig.met[0]?.key, BROKER_POINT);
    const [hello, ...rest] = rig.atBroker;
    assert.deepEqual(hello, { session, name: "hello", payload: HELLO });
    assert.deepEqual(rest, []);
  }
});

Deno.test("requests and answers arrive, and nothing of them is to be seen between", () => {
  using rig = new SealedRig();
  const session = rig.start();
  const request = text("sign this very transaction, please");
  const reply = text("here is the signature that was wanted");
  rig.answer = () => ({ name: "vls-res", payload: reply });
  for (let i = 0; i < 600; i++) {
    assert.equal(rig.sessions.send(session, "vls", request), true);
    rig.server.run();
  }
  assert.equal(rig.atDevice.length, 600);
  const heard = rig.atBroker.slice(1);
  assert.equal(heard.length, 600);
  for (const { name, payload } of heard) {
    assert.deepEqual({ name, payload }, { name: "vls-res", payload: reply });
  }
  for (const { payload } of rig.server.seen) {
    for (const part of [HELLO, request, reply]) {
      assert.ok(!payload.toHex().includes(part.toHex()));
    }
  }
});

Deno.test("what is not sealed passes as it came, both ways", () => {
  using rig = new SealedRig();
  const session: DeviceSession = {
    cid: "sphinx",
    key: DEVICE_POINT,
    from: "somewhere",
    isSealed: false,
    transcript: null,
  };
  const heard: unknown[] = [];
  const sent: unknown[] = [];
  using sessions = new SealedSessions({
    link: {
      send: (...message) => sent.push(message) > 0,
      trust: (session) => sent.push(session),
      drop: (session) => sent.push(session),
    },
    listener: {
      message: (...message) => heard.push(message),
      gone: (session) => heard.push(session),
      refused: (...refusal) => heard.push(refusal),
    },
    key: BROKER_KEY,
    isShared: false,
    random: randomBytes,
    now: rig.clock.now,
  });
  const payload = text("vls");
  sessions.message(session, "hello", payload);
  sessions.refused("somewhere", "why not");
  sessions.gone(session);
  assert.deepEqual(heard, [
    [session, "hello", payload],
    ["somewhere", "why not"],
    session,
  ]);
  assert.equal(sessions.send(session, "vls", payload), true);
  sessions.trust(session);
  sessions.drop(session);
  assert.deepEqual(sent, [[session, "vls", payload], session, session]);
});

Deno.test("an unsealed message of a device that seals is not heard", () => {
  using rig = new SealedRig({ isShared: true });
  rig.start();
  const forged = { to: "broker", cid: CID, payload: HELLO } as const;
  for (const name of ["hello", "vls-res", "bye"] as const) {
    rig.server.deliver({ ...forged, name });
  }
  assert.equal(rig.atBroker.length, 1);
});

Deno.test("an act one in the middle of a session does not disturb it", () => {
  for (const isShared of BOTH) {
    using rig = new SealedRig({ isShared });
    const session = rig.start();
    rig.server.deliver(
      fromDevice(encodeSealed("actOne", makeStranger().actOne)),
    );
    rig.server.run();
    rig.sessions.send(session, "vls", text("one"));
    rig.server.run();
    rig.link.tell("led", text("two"));
    rig.server.run();
    assert.deepEqual(rig.atDevice.map(({ name }) => name), ["vls"]);
    assert.deepEqual(rig.atBroker.map(({ name }) => name), ["hello", "led"]);
    assert.equal(rig.lastSession, session);
    assert.deepEqual(rig.gone, []);
  }
});

Deno.test("acts one and three of an earlier session make no session", () => {
  for (const isShared of BOTH) {
    for (const isBetween of BOTH) {
      using rig = new SealedRig({ isShared });
      const first = rig.start();
      const old = rig.server.seen.filter(({ to }) => to === "broker");
      assert.deepEqual(
        old.map(({ payload }) => kindOf(payload)),
        ["actOne", "actThree", "record"],
      );
      if (isBetween) rig.sessions.drop(first);
      rig.server.queue = [];
      const heard = rig.atBroker.length;
      for (const packet of old) rig.server.deliver(packet);
      rig.server.queue = [];
      assert.equal(rig.atBroker.length, heard);
    }
  }
});

Deno.test("a verified handshake replaces the session before it", () => {
  using rig = new SealedRig({ isShared: true });
  const first = rig.start();
  rig.link.restart();
  rig.server.run();
  const second = rig.lastSession;
  assert.notEqual(second, first);
  assert.deepEqual(rig.gone, [first]);
  assert.equal(rig.sessions.send(first, "vls", text("late")), false);
  assert.equal(rig.sessions.send(second, "vls", text("now")), true);
  rig.server.run();
  assert.deepEqual(rig.atDevice.map(({ payload }) => payload), [text("now")]);
});

Deno.test("a record that does not open ends the session, and the device comes back", async () => {
  for (const isShared of BOTH) {
    using rig = new SealedRig({ isShared });
    const session = rig.start();
    rig.server.deliver(fromDevice(encodeSealed("record", randomBytes(60))));
    assert.deepEqual(rig.gone.filter(({ isSealed }) => isSealed), [session]);
    assert.equal(rig.sessions.send(session, "vls", text("late")), false);
    rig.server.run();
    await rig.pass(1_000);
    assert.equal(rig.server.connections, 2);
    assert.notEqual(rig.lastSession, session);
    assert.deepEqual(rig.lastSession.key, DEVICE_POINT);
  }
});

Deno.test("a broker that was started anew says so to a device of the one before", async () => {
  using rig = new SealedRig({ isShared: true });
  const session = rig.start();
  rig.sessions[Symbol.dispose]();
  using sessions = rig.makeSessions();
  rig.server.attach(sessions);
  rig.link.tell("led", text("green"));
  await rig.pass(1_000);
  assert.equal(rig.server.connections, 2);
  assert.notEqual(rig.lastSession, session);
  assert.equal(sessions.send(rig.lastSession, "vls", text("now")), true);
});

Deno.test("an act one for another key is told our key, but not on a shared server", () => {
  for (const isShared of BOTH) {
    const pinned = publicKey(new Uint8Array(32).fill(0x44));
    using rig = new SealedRig({ isShared, pinned });
    rig.link.start();
    rig.server.deliver(
      rig.server.queue.shift() ?? fromDevice(new Uint8Array()),
    );
    const wanted = isShared ? [] : ["notMe"];
    assert.deepEqual(saidSince(rig, 1), wanted);
    const [answer] = rig.server.queue;
    if (!isShared) assert.deepEqual(answer?.payload.slice(1), BROKER_POINT);
  }
});

Deno.test("an ended session is gone for the broker after its call, and once", async () => {
  for (const isShared of BOTH) {
    using rig = new SealedRig({ isShared });
    const session = rig.start();
    const start = rig.server.seen.length;
    rig.sessions.drop(session);
    assert.deepEqual(rig.gone.filter(({ isSealed }) => isSealed), []);
    assert.equal(rig.sessions.send(session, "vls", text("late")), false);
    rig.sessions.drop(session);
    await Promise.resolve();
    assert.deepEqual(rig.gone.filter(({ isSealed }) => isSealed), [session]);
    assert.deepEqual(saidSince(rig, start), isShared ? ["again"] : []);
    rig.server.run();
    assert.equal(rig.server.session, null);
  }
});

Deno.test("a connection that ends takes its session along", () => {
  using rig = new SealedRig();
  const session = rig.start();
  rig.server.cut();
  assert.deepEqual(rig.gone.filter(({ isSealed }) => isSealed), [session]);
});

Deno.test("a quiet device is asked for a word and one that gives none is gone", async () => {
  for (const isShared of BOTH) {
    using rig = new SealedRig({ isShared });
    const session = rig.start();
    await rig.pass(14_999);
    assert.equal(rig.server.seen.length, 4);
    await rig.pass(1);
    // A ping and its pong.
    assert.equal(rig.server.seen.length, 6);
    assert.equal(rig.atBroker.length, 1);
    assert.deepEqual(rig.atDevice, []);
    await rig.pass(15_000);
    assert.equal(rig.server.seen.length, 8);
    // From here on nothing arrives.
    await rig.clock.pass(24_999, () => rig.server.queue = []);
    assert.deepEqual(rig.gone, []);
    await rig.clock.pass(1, () => rig.server.queue = []);
    assert.deepEqual(rig.gone.filter(({ isSealed }) => isSealed), [session]);
  }
});

Deno.test("a device that owes an answer is asked for a word after 5 seconds", async () => {
  using rig = new SealedRig();
  const session = rig.start();
  await rig.pass(3_000);
  rig.sessions.send(session, "vls", text("request"));
  rig.server.run();
  const start = rig.server.seen.length;
  await rig.pass(4_999);
  assert.equal(rig.server.seen.length, start);
  await rig.pass(1);
  assert.equal(rig.server.seen.length, start + 2);
  await rig.pass(5_000);
  assert.equal(rig.server.seen.length, start + 4);
  rig.link.tell("vls-res", text("at last"));
  await rig.pass(14_999);
  assert.equal(rig.server.seen.length, start + 5);
  await rig.pass(1);
  assert.equal(rig.server.seen.length, start + 7);
});

Deno.test("a machine that slept does not take its device for dead", async () => {
  using rig = new SealedRig();
  const session = rig.start();
  await rig.clock.pass(15_000);
  assert.equal(rig.server.queue.length, 1);
  rig.clock.sleep(3_600_000);
  await rig.pass(20_000);
  assert.deepEqual(rig.gone, []);
  assert.equal(rig.sessions.send(session, "vls", text("on")), true);
});

Deno.test("timers end with the sessions that they are for", () => {
  using rig = new SealedRig();
  const before = rig.clock.timers;
  const session = rig.start();
  assert.equal(rig.clock.timers, before + 2);
  rig.sessions.drop(session);
  rig.link.stop();
  assert.equal(rig.clock.timers, before);
});

Deno.test("a stranger may not say much until the broker trusts it", () => {
  using rig = new SealedRig();
  const session = rig.start();
  rig.link.tell("led", new Uint8Array(65_000));
  rig.server.run();
  assert.equal(rig.atBroker.length, 2);
  rig.sessions.trust(session);
  assert.deepEqual(rig.server.trusted, [rig.server.session]);
  rig.link.tell("init-3-res", new Uint8Array(500_000));
  rig.server.run();
  assert.equal(rig.atBroker.length, 3);
  assert.equal(rig.gone.length, 0);
  rig.link.restart();
  rig.server.run();
  const again = rig.lastSession;
  rig.link.tell("led", new Uint8Array(66_000));
  rig.server.run();
  assert.equal(rig.atBroker.length, 4);
  assert.ok(rig.gone.includes(again));
});

Deno.test("a client that does nothing but begin handshakes is dropped, or unheard", () => {
  for (const isShared of BOTH) {
    using rig = new SealedRig({ isShared });
    rig.link.start();
    rig.server.queue = [];
    const { actOne } = makeStranger();
    for (let i = 0; i < 105; i++) {
      rig.server.deliver(fromDevice(encodeSealed("actOne", actOne)));
    }
    const answers = rig.server.seen.filter(({ to }) => to === "device");
    assert.equal(answers.length, 100);
    if (!isShared) assert.equal(rig.server.session, null);
  }
});

Deno.test("on a shared server clients without number take a bounded place, and never that of a device", async () => {
  using rig = new SealedRig({ isShared: true });
  const session = rig.start();
  rig.sessions.trust(session);
  const { sessions } = rig;
  const told = rig.server.seen.length;
  const key = new Secret(new Uint8Array(32).fill(0x33));
  const stranger = (i: number): DeviceSession => ({
    cid: `stranger${i}`,
    key: null,
    from: "memory",
    isSealed: false,
    transcript: null,
  });
  const begin = (session: DeviceSession) => {
    const handshake = new NoiseInitiator({
      prologue: sealedPrologue(session.cid),
      key,
      random: randomBytes,
      responder: BROKER_POINT,
    });
    const act = encodeSealed("actOne", handshake.actOne);
    sessions.message(session, "sealed-res", act);
    return handshake;
  };
  const [first] = [begin(stranger(0))];
  for (let i = 1; i < 400; i++) {
    if (i % 150 === 0) await rig.clock.pass(10_000, rig.server.run);
    begin(stranger(i));
  }
  const answers = rig.server.seen.slice(told)
    .filter(({ to, cid }) => to === "device" && cid !== CID);
  assert.equal(answers.length, 400);
  // The first of them was forgotten, the device was not.
  const third = first.takeActTwo(answers[0]?.payload.subarray(1) ?? HELLO);
  assert.ok("actThree" in third);
  const act = encodeSealed("actThree", third.actThree);
  sessions.message(stranger(0), "sealed-res", act);
  assert.equal(sessions.send(session, "vls", text("still here")), true);
});

Deno.test("whatever comes in a device's name, nothing is heard that it did not say", () => {
  const kinds = Object.values(SEALED_KINDS).map(({ id }) => id);
  const sized = fc.constantFrom(0, 33, 50, 66, 70);
  const framed = fc.tuple(fc.constantFrom(...kinds), sized)
    .chain(([kind, size]) =>
      fc.uint8Array({ minLength: size, maxLength: size })
        .map((body) => Uint8Array.of(kind, ...body))
    );
  const anything = fc.oneof(fc.uint8Array({ maxLength: 200 }), framed);
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.boolean(),
      fc.array(anything, { maxLength: 8 }),
      (isShared, isStarted, payloads) => {
        using rig = new SealedRig({ isShared });
        if (isStarted) rig.start();
        else rig.link.start();
        const heard = rig.atBroker.length;
        for (const payload of payloads) {
          rig.server.deliver(fromDevice(payload));
        }
        assert.equal(rig.atBroker.length, heard);
        for (const { session } of rig.atBroker) {
          assert.deepEqual(session.key, DEVICE_POINT);
        }
      },
    ),
    { numRuns: runs(60) },
  );
});

Deno.test("a message that the broker ended the session over is the last one heard", () => {
  using rig = new SealedRig();
  const session = rig.start();
  const names: TopicName[] = [];
  using sessions = new SealedSessions({
    link: rig.server,
    listener: {
      message: (session, name) => {
        names.push(name);
        if (name === "bye") sessions.drop(session);
      },
      gone: () => {},
      refused: () => {},
    },
    key: BROKER_KEY,
    isShared: false,
    random: randomBytes,
    now: rig.clock.now,
  });
  rig.sessions.drop(session);
  rig.server.attach(sessions);
  rig.link.restart();
  rig.server.run();
  rig.link.tell("bye", text(""));
  rig.link.tell("led", text("green"));
  rig.server.run();
  assert.deepEqual(names, ["hello", "bye"]);
});

Deno.test("each handshake is counted by how it ended, and each record that did not open", () => {
  for (const isShared of BOTH) {
    using rig = new SealedRig({ isShared });
    rig.start();
    assert.deepEqual(rig.counted, ["handshake ok"]);
    // Nobody's act three, in a session and without: both prove nothing.
    const act = encodeSealed("actThree", randomBytes(66));
    rig.server.deliver(fromDevice(act));
    rig.server.deliver(fromDevice(encodeSealed("record", randomBytes(60))));
    const failed = "handshake failed";
    const wanted = ["handshake ok", failed, "record refused"];
    assert.deepEqual(rig.counted, wanted);
  }
});

Deno.test("a handshake for another key is a failure on a server of our own", () => {
  for (const isShared of BOTH) {
    const pinned = publicKey(new Uint8Array(32).fill(0x44));
    using rig = new SealedRig({ isShared, pinned });
    rig.link.start();
    rig.server.run();
    const [first = "none"] = rig.counted;
    assert.equal(first, isShared ? "none" : "handshake failed");
  }
});

Deno.test("what the seal tells is to be read in the metrics", () => {
  const metrics = new Metrics();
  const told = [
    "handshake ok",
    "handshake ok",
    "handshake failed",
    "record refused",
  ] as const;
  for (const what of told) countSeal(metrics, what);
  const handshakes = "remote_hsmd_seal_handshakes_total";
  assert.equal(metrics.valueOf(handshakes, ["ok"]), 2);
  assert.equal(metrics.valueOf(handshakes, ["failed"]), 1);
  assert.equal(metrics.valueOf("remote_hsmd_records_refused_total", []), 1);
});
