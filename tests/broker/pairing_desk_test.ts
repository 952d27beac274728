/**
 * Who may be the node's device, in every mode.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DeviceBook } from "../../src/broker/devices.ts";
import { OpenPairingBook } from "../../src/broker/pairing.ts";
import { PairingCodes } from "../../src/broker/pairing_codes.ts";
import {
  type Judgement,
  PairingDesk,
  type PairingMode,
} from "../../src/broker/pairing_desk.ts";
import type { DeviceSession } from "../../src/mqtt/session.ts";
import type { PubKey } from "../../src/wire/types.ts";
import { helloOf, IDENTITY, keyOf, sealedSession } from "./pairing_parts.ts";

const NOW = 1_000_000;
const CODE = new Uint8Array(16).fill(5);
const NEARBY = { isLoopback: true };
const FAR = { isLoopback: false };
/** Keys: 1 is the node's, others are cards'. */
const NODE = 1;
const CARD = 2;
const OTHER = 3;

function deskOf(mode: PairingMode) {
  const book = new OpenPairingBook();
  const devices = DeviceBook.inMemory();
  const codes = PairingCodes.inMemory(() => NOW);
  const problems: string[] = [];
  const desk = new PairingDesk({
    mode,
    book,
    devices,
    codes,
    now: () => NOW,
    problem: (text) => problems.push(text),
  });
  return { desk, book, devices, codes, problems };
}

const hex = (n: number) => keyOf(n).toHex();
const reasonOf = (judged: Judgement) =>
  judged.kind === "refused" ? judged.reason : judged.kind;

/** Pairs a card by a code, as a device does it. */
async function pairCard(
  { desk, codes }: ReturnType<typeof deskOf>,
  card: number,
) {
  await codes.make(CODE);
  const session = sealedSession(card);
  const hello = helloOf(card, session, {
    pairingCode: CODE,
    software: new TextEncoder().encode("softkey 1"),
  });
  assert.equal(desk.judge(session, hello).kind, "pairing");
  const done = await desk.complete(session, hello, CODE);
  assert.equal(done.kind, "paired");
}

Deno.test("by code: nobody is served before, the paired card afterwards", async () => {
  const parts = deskOf("code");
  const { desk, devices } = parts;
  const session = sealedSession(CARD);
  const hello = helloOf(CARD, session);
  assert.match(desk.mayLogIn(hex(CARD), NEARBY) ?? "", /not paired/);
  assert.match(reasonOf(desk.judge(session, hello)), /not paired/);
  await pairCard(parts, CARD);
  assert.equal(desk.mayLogIn(hex(CARD), FAR), null);
  assert.deepEqual(desk.judge(session, hello), {
    kind: "known",
    device: {
      kind: "native",
      cid: "device",
      cardKey: hex(CARD),
      software: "softkey 1",
      pairedAt: NOW,
    },
  });
  // It makes its seed afterwards, and comes back with a key that nobody knows.
  assert.equal(desk.mayLogIn(hex(NODE), FAR), null);
  const asNode = sealedSession(NODE);
  assert.equal(desk.judge(asNode, helloOf(CARD, asNode)).kind, "known");
  assert.match(
    reasonOf(desk.judge(asNode, helloOf(OTHER, asNode))),
    /not paired/,
  );
  assert.equal(devices.devices.length, 1);
});

Deno.test("an outstanding code opens the door, and nothing more", async () => {
  const { desk, codes } = deskOf("code");
  await codes.make(CODE);
  assert.equal(desk.mayLogIn(hex(OTHER), FAR), null);
  const session = sealedSession(OTHER);
  assert.match(
    reasonOf(desk.judge(session, helloOf(OTHER, session))),
    /not paired/,
  );
  const wrong = new Uint8Array(16).fill(6);
  const hello = helloOf(OTHER, session, { pairingCode: wrong });
  assert.match(reasonOf(desk.judge(session, hello)), /none of this node/);
  assert.match(
    JSON.stringify(await desk.complete(session, hello, wrong)),
    /none of this node/,
  );
});

Deno.test("a card key without its proof is nobody's", async () => {
  const parts = deskOf("code");
  const { desk } = parts;
  await pairCard(parts, CARD);
  const session = sealedSession(NODE);
  const cardKey = keyOf(CARD) as PubKey;
  const later = { ...session, transcript: new Uint8Array(32).fill(8) };
  for (
    const hello of [
      { cardKey },
      // Of another handshake, of another card, and none at all.
      { cardKey, cardProof: helloOf(CARD, later).cardProof },
      { cardKey, cardProof: helloOf(OTHER, session).cardProof },
      { cardKey, cardProof: new Uint8Array(64) },
      { cardKey, cardProof: new Uint8Array(64).fill(255) },
      { cardKey: new Uint8Array(33).fill(7) as PubKey },
      {
        cardKey: new Uint8Array(33).fill(7) as PubKey,
        cardProof: new Uint8Array(64).fill(1),
      },
      {},
    ]
  ) {
    const given = Object.fromEntries(
      Object.entries(hello).filter(([, value]) => value !== undefined),
    );
    assert.equal(desk.judge(session, given).kind, "refused");
    const asking = { ...given, pairingCode: CODE };
    assert.match(reasonOf(desk.judge(session, asking)), /did not prove/);
    assert.equal(
      (await desk.complete(session, asking, CODE)).kind,
      "refused",
    );
  }
  const unsealed: DeviceSession = { ...session, isSealed: false };
  assert.equal(desk.judge(unsealed, helloOf(CARD, session)).kind, "refused");
});

Deno.test("a code that was used lets its device ask again, until it is un-paired", async () => {
  const parts = deskOf("code");
  const { desk, devices } = parts;
  await pairCard(parts, CARD);
  const session = sealedSession(CARD);
  const hello = helloOf(CARD, session, { pairingCode: CODE });
  assert.equal(desk.judge(session, hello).kind, "pairing");
  assert.equal((await desk.complete(session, hello, CODE)).kind, "paired");
  const known = devices.byCardKey(hex(CARD));
  assert.equal(desk.isStillPaired(known), true);
  await devices.remove("device");
  assert.equal(desk.isStillPaired(known), false);
  assert.match(reasonOf(desk.judge(session, hello)), /was used before/);
  assert.equal((await desk.complete(session, hello, CODE)).kind, "refused");
  assert.deepEqual(devices.devices, []);
});

Deno.test("two devices with one code: the first that shows it", async () => {
  const { desk, codes, devices } = deskOf("code");
  await codes.make(CODE);
  const one = sealedSession(CARD, { cid: "one" });
  const two = sealedSession(OTHER, { cid: "two" });
  const helloOne = helloOf(CARD, one, { pairingCode: CODE });
  const helloTwo = helloOf(OTHER, two, { pairingCode: CODE });
  desk.judge(one, helloOne);
  desk.judge(two, helloTwo);
  const [second, first] = await Promise.all([
    desk.complete(two, helloTwo, CODE),
    desk.complete(one, helloOne, CODE),
  ]);
  assert.equal(second.kind, "refused");
  assert.equal(first.kind, "paired");
  assert.deepEqual(
    devices.devices.map((device) => device.kind === "native" && device.cid),
    ["one"],
  );
});

Deno.test("by first: on this machine, until there is one; then who proves the node's key", async () => {
  const { desk, book, devices } = deskOf("first");
  const session = sealedSession(CARD);
  const hello = helloOf(CARD, session);
  assert.equal(desk.mayLogIn(hex(CARD), NEARBY), null);
  assert.match(desk.mayLogIn(hex(CARD), FAR) ?? "", /not paired/);
  assert.deepEqual(desk.judge(session, hello), { kind: "known", device: null });
  const asNode = sealedSession(NODE);
  await desk.remember(asNode, helloOf(CARD, asNode), hex(NODE));
  await book.store({ identity: IDENTITY, cardKeys: [] });
  assert.equal(devices.byCardKey(hex(CARD))?.cid, "device");
  assert.match(desk.mayLogIn(hex(OTHER), NEARBY) ?? "", /paired with/);
  const stranger = sealedSession(OTHER);
  assert.equal(desk.judge(stranger, helloOf(OTHER, stranger)).kind, "refused");
  // The same seed on a new card.
  assert.equal(desk.mayLogIn(hex(NODE), FAR), null);
  assert.equal(desk.judge(asNode, helloOf(OTHER, asNode)).kind, "known");
});

Deno.test("by code, the node's key alone is not enough", async () => {
  const { desk, book } = deskOf("code");
  await book.store({ identity: IDENTITY, cardKeys: [] });
  const asNode = sealedSession(NODE);
  assert.equal(desk.mayLogIn(hex(NODE), FAR), null);
  assert.match(
    reasonOf(desk.judge(asNode, helloOf(OTHER, asNode))),
    /not paired/,
  );
});

Deno.test("open serves anybody, and remembers none", async () => {
  const { desk, devices } = deskOf("open");
  const session = { ...sealedSession(CARD), isSealed: false };
  assert.equal(desk.mayLogIn(hex(CARD), FAR), null);
  assert.equal(desk.judge(session, {}).kind, "known");
  assert.equal(desk.judgeSphinx(session).kind, "known");
  await desk.remember(session, helloOf(CARD, session), hex(NODE));
  assert.deepEqual(devices.devices, []);
});

Deno.test("a Sphinx signer is known by its node id", async () => {
  const { desk, devices } = deskOf("code");
  const own = { ...sealedSession(NODE), isSealed: false, transcript: null };
  const elsewhere = { ...own, key: null };
  assert.match(reasonOf(desk.judgeSphinx(own)), /pair --device 03|02/);
  assert.equal(desk.judgeSphinx(elsewhere).kind, "refused");
  assert.equal(desk.mayBe(hex(NODE)), false);
  const device = {
    kind: "sphinx" as const,
    nodeKey: hex(NODE),
    pairedAt: NOW,
  };
  await devices.add(device);
  assert.equal(desk.mayLogIn(hex(NODE), FAR), null);
  assert.deepEqual(desk.judgeSphinx(own), { kind: "known", device });
  assert.deepEqual(desk.judgeSphinx(elsewhere), { kind: "known", device });
  assert.equal(desk.mayBe(hex(NODE)), true);
  assert.equal(desk.mayBe(hex(OTHER)), false);
  // A native device is no Sphinx signer because it has the same key.
  const sealed = sealedSession(NODE);
  assert.equal(desk.judge(sealed, helloOf(OTHER, sealed)).kind, "refused");
});

Deno.test("by first, the first Sphinx signer is the node's", async () => {
  const { desk, devices, book } = deskOf("first");
  const session = { ...sealedSession(NODE), isSealed: false, transcript: null };
  assert.equal(desk.judgeSphinx(session).kind, "known");
  await desk.remember(session, null, hex(NODE));
  await book.store({ identity: IDENTITY, cardKeys: [] });
  assert.equal(devices.byNodeKey(hex(NODE))?.kind, "sphinx");
  const other = { ...session, key: keyOf(OTHER) };
  assert.equal(desk.judgeSphinx(other).kind, "refused");
});

Deno.test("what a device calls itself is bounded and fit for a terminal", async () => {
  const parts = deskOf("code");
  const { desk, codes, devices } = parts;
  await codes.make(CODE);
  const session = sealedSession(CARD);
  const software = new TextEncoder().encode(`\u009b2J${"x".repeat(5_000)}`);
  const hello = helloOf(CARD, session, { pairingCode: CODE, software });
  await desk.complete(session, hello, CODE);
  const { software: kept = "" } = devices.byCardKey(hex(CARD)) ?? {};
  assert.ok(kept.length <= 100, kept);
  assert.match(kept, /^[\x20-\x7e]+$/);
});
