/**
 * The handshake and the transport of BOLT 8: its published vectors, all of
 * them, and what an attacker could try with a session of its own.
 *
 * @module
 */

import assert from "node:assert/strict";
import { chacha20poly1305 } from "npm:@noble/ciphers@2.4.0/chacha.js";
import fc from "npm:fast-check@4.10.2";
import { open, openStrange, seal } from "../../src/crypto/chachapoly.ts";
import {
  NoiseInitiator,
  NoiseResponder,
  type NoiseSession,
} from "../../src/crypto/noise.ts";
import {
  NOISE_OVERHEAD,
  NOISE_TEXT_LIMIT,
  NoiseReceiver,
  NoiseSender,
} from "../../src/crypto/noise_cipher.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { Bug } from "../../src/errors.ts";
import { runs } from "../support/arbitrary.ts";

const PROLOGUE = new TextEncoder().encode("lightning");
const NOTHING = new Uint8Array(0);
const HELLO = new TextEncoder().encode("hello");
const hex = (text: string) => Uint8Array.fromHex(text);

/** A step of a vector: what is heard, what is said, or how it ends. */
interface Step {
  readonly input?: string;
  readonly output?: string;
  readonly error?: string;
  readonly sk?: string;
  readonly rk?: string;
}

const CHAINING_KEY =
  "919219dbb2920afa8db80f9a51787a840bcf111ed8d588caf9ab4be716e42b01";

/** The session whose keys the vector names: the two ciphers say the same. */
function assertKeys(session: NoiseSession, { sk = "", rk = "" }: Step): void {
  const chainingKey = hex(CHAINING_KEY);
  const sender = new NoiseSender(hex(sk), chainingKey);
  const receiver = new NoiseSender(hex(rk), chainingKey);
  assert.deepEqual(session.sender.seal(HELLO), sender.seal(HELLO));
  const opened = session.receiver.open(receiver.seal(HELLO));
  assert.deepEqual(opened?.text, HELLO);
}

function playInitiator(
  { steps, "ls.priv": key, "e.priv": ephemeral, "rs.pub": responder }: Vector,
): number {
  const initiator = new NoiseInitiator({
    prologue: PROLOGUE,
    key: new Secret(hex(key)),
    random: () => hex(ephemeral),
    responder: hex(responder ?? ""),
  });
  const [actOne, actTwo, actThree, keys] = steps;
  assert.equal(initiator.actOne.toHex(), actOne?.output);
  const heard = initiator.takeActTwo(hex(actTwo?.input ?? ""));
  if ("failure" in heard) {
    assert.equal(heard.failure, actThree?.error);
    return 3;
  }
  assert.equal(heard.actThree.toHex(), actThree?.output);
  assert.ok(keys);
  assertKeys(heard.session, keys);
  return 4;
}

function playResponder(
  { steps, "ls.priv": key, "e.priv": ephemeral }: Vector,
): number {
  const responder = new NoiseResponder({
    prologue: PROLOGUE,
    key: new Secret(hex(key)),
    random: () => hex(ephemeral),
  });
  const [actOne, actTwo, actThree, keys] = steps;
  const answer = responder.takeActOne(hex(actOne?.input ?? ""));
  if ("failure" in answer) {
    assert.equal(answer.failure, actTwo?.error);
    return 2;
  }
  assert.equal(answer.actTwo.toHex(), actTwo?.output);
  const heard = responder.takeActThree(hex(actThree?.input ?? ""));
  if ("failure" in heard) {
    assert.equal(heard.failure, keys?.error);
    return 4;
  }
  assert.equal(
    heard.initiator.toHex(),
    publicKey(new Uint8Array(32).fill(0x11)).toHex(),
  );
  assert.ok(keys);
  assertKeys(heard.session, keys);
  return 4;
}

interface Vector {
  readonly name: string;
  readonly "ls.priv": string;
  readonly "e.priv": string;
  readonly "rs.pub"?: string;
  readonly steps: readonly Step[];
}

/** Appendix A of BOLT 8. */
interface Vectors {
  readonly handshakes: readonly Vector[];
  readonly messages: {
    readonly ck: string;
    readonly sk: string;
    readonly outputs: Readonly<Record<string, string>>;
  };
}

const FILE = new URL("../fixtures/bolt8/transport.json", import.meta.url);
const { handshakes, messages }: Vectors = JSON.parse(
  Deno.readTextFileSync(FILE),
);

Deno.test("every published handshake of BOLT 8 ends as it says", () => {
  assert.equal(handshakes.length, 15);
  for (const vector of handshakes) {
    const play = vector.name.startsWith("transport-initiator")
      ? playInitiator
      : playResponder;
    const label = `${vector.name}: steps played`;
    assert.equal(play(vector), vector.steps.length, label);
  }
});

Deno.test("the published messages of BOLT 8 are sealed as it says", () => {
  const { ck, sk } = messages;
  const sender = new NoiseSender(hex(sk), hex(ck));
  const receiver = new NoiseReceiver(hex(sk), hex(ck));
  const outputs = new Map(Object.entries(messages.outputs));
  assert.equal(outputs.size, 6);
  for (let i = 0; i <= 1001; i++) {
    const sealed = sender.seal(HELLO);
    const wanted = outputs.get(`${i}`);
    if (wanted !== undefined) assert.equal(sealed.toHex(), wanted, `${i}`);
    assert.deepEqual(receiver.open(sealed)?.text, HELLO, `${i}`);
  }
});

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const INITIATOR = new Secret(new Uint8Array(32).fill(0x11));
const RESPONDER = new Secret(new Uint8Array(32).fill(0x21));
const RESPONDER_POINT = publicKey(RESPONDER.reveal());

function random(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

function makeInitiator(prologue = PROLOGUE): NoiseInitiator {
  return new NoiseInitiator({
    prologue,
    key: INITIATOR,
    random,
    responder: RESPONDER_POINT,
  });
}

function makeResponder(key = RESPONDER): NoiseResponder {
  return new NoiseResponder({ prologue: PROLOGUE, key, random });
}

/** Two ends that shook hands. */
function shake(): { initiator: NoiseSession; responder: NoiseSession } {
  const one = makeInitiator();
  const other = makeResponder();
  const second = other.takeActOne(one.actOne);
  assert.ok("actTwo" in second);
  const third = one.takeActTwo(second.actTwo);
  assert.ok("actThree" in third);
  const ended = other.takeActThree(third.actThree);
  assert.ok("session" in ended);
  assert.deepEqual(ended.initiator, publicKey(INITIATOR.reveal()));
  return { initiator: third.session, responder: ended.session };
}

Deno.test("both ends of a handshake have the same transcript and no other has it", () => {
  const { initiator, responder } = shake();
  assert.deepEqual(initiator.transcript, responder.transcript);
  assert.equal(initiator.transcript.length, 32);
  assert.notDeepEqual(shake().initiator.transcript, initiator.transcript);
});

Deno.test("what either end seals the other opens, whatever its length, over rotations", () => {
  const { initiator, responder } = shake();
  const lengths = [0, 1, 1024, NOISE_TEXT_LIMIT];
  for (let i = 0; i < 1200; i++) {
    const text = random(i % 400 === 0 ? lengths[i / 400] ?? 0 : i % 40);
    const sealed = initiator.sender.seal(text);
    assert.equal(sealed.length, text.length + NOISE_OVERHEAD);
    assert.deepEqual(responder.receiver.open(sealed)?.text, text);
    const back = responder.sender.seal(text);
    assert.deepEqual(initiator.receiver.open(back)?.text, text);
  }
});

Deno.test("a flipped bit, a missing byte, a repeat and a swap do not open, and nothing after them", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.nat(),
      fc.integer({ min: 0, max: 3 }),
      (text, where, damage) => {
        const { initiator, responder } = shake();
        const first = initiator.sender.seal(text);
        const second = initiator.sender.seal(text);
        const flipped = first.slice();
        const at = where % (first.length * 8);
        flipped[at >> 3] = (flipped[at >> 3] ?? 0) ^ (1 << (at & 7));
        const { receiver } = responder;
        if (damage === 1) assert.ok(receiver.open(first));
        const cut = first.subarray(0, where % first.length);
        const wrong = [flipped, first, second, cut][damage];
        assert.ok(wrong);
        assert.equal(receiver.open(wrong), null);
        assert.equal(receiver.open(first), null);
        assert.equal(receiver.open(second), null);
      },
    ),
    { numRuns: runs(20) },
  );
});

Deno.test("an act with any bit flipped fails, and so does one of any other bytes", () => {
  fc.assert(
    fc.property(fc.nat(), (where) => {
      const flip = (act: Uint8Array) => {
        const flipped = new Uint8Array(act);
        const at = where % (act.length * 8);
        flipped[at >> 3] = (flipped[at >> 3] ?? 0) ^ (1 << (at & 7));
        return flipped;
      };
      const one = makeInitiator();
      assert.ok("failure" in makeResponder().takeActOne(flip(one.actOne)));
      const other = makeResponder();
      const second = other.takeActOne(one.actOne);
      assert.ok("actTwo" in second);
      const deceived = makeInitiator();
      assert.ok("failure" in deceived.takeActTwo(second.actTwo));
      const third = one.takeActTwo(second.actTwo);
      assert.ok("actThree" in third);
      assert.ok("failure" in other.takeActThree(flip(third.actThree)));
    }),
    { numRuns: runs(10) },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (act) => {
      assert.ok("failure" in makeResponder().takeActOne(act));
      assert.ok("failure" in makeInitiator().takeActTwo(act));
    }),
    { numRuns: runs(20) },
  );
});

Deno.test("acts one and three of an earlier handshake fail the second time", () => {
  const one = makeInitiator();
  const first = makeResponder();
  const second = first.takeActOne(one.actOne);
  assert.ok("actTwo" in second);
  const third = one.takeActTwo(second.actTwo);
  assert.ok("actThree" in third);
  const again = makeResponder();
  assert.ok("actTwo" in again.takeActOne(one.actOne));
  const heard = again.takeActThree(third.actThree);
  assert.deepEqual(heard, { failure: "ACT3_BAD_CIPHERTEXT" });
});

Deno.test("a handshake for another key or with another prologue fails in act one", () => {
  const other = makeResponder(new Secret(new Uint8Array(32).fill(0x22)));
  const wanted = { failure: "ACT1_BAD_TAG" };
  assert.deepEqual(other.takeActOne(makeInitiator().actOne), wanted);
  const elsewhere = makeInitiator(new TextEncoder().encode("thunder"));
  assert.deepEqual(makeResponder().takeActOne(elsewhere.actOne), wanted);
});

Deno.test("a handshake is for one use, and wiped keys open and seal nothing", () => {
  const one = makeInitiator();
  one.takeActTwo(new Uint8Array(50));
  assert.throws(() => one.takeActTwo(new Uint8Array(50)), Bug);
  const other = makeResponder();
  assert.throws(() => other.takeActThree(new Uint8Array(66)), Bug);
  other.takeActOne(new Uint8Array(50));
  assert.throws(() => other.takeActOne(new Uint8Array(50)), Bug);
  const { initiator, responder } = shake();
  const sealed = initiator.sender.seal(HELLO);
  responder.receiver.wipe();
  assert.equal(responder.receiver.open(sealed), null);
  initiator.sender.wipe();
  assert.throws(() => initiator.sender.seal(HELLO), Bug);
});

Deno.test("the runtime's cipher makes the bytes of a second library and refuses what it refuses", () => {
  const nonces = fc.uint8Array({ minLength: 12, maxLength: 12 });
  const texts = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(
      bytes32,
      nonces,
      texts,
      texts,
      fc.nat(),
      (key, nonce, header, text, where) => {
        const sealed = seal({ key, nonce, header }, text);
        const second = chacha20poly1305(key, nonce, header);
        assert.deepEqual(sealed, second.encrypt(text));
        const flipped = sealed.slice();
        const at = where % sealed.length;
        flipped[at] = (flipped[at] ?? 0) ^ 0x80;
        const longer = Uint8Array.of(...header, 0);
        for (const unseal of [open, openStrange]) {
          assert.deepEqual(unseal({ key, nonce, header }, sealed), text);
          assert.equal(unseal({ key, nonce, header }, flipped), null);
          assert.equal(unseal({ key, nonce, header: longer }, sealed), null);
          assert.equal(
            unseal({ key, nonce, header }, sealed.subarray(1)),
            null,
          );
          assert.equal(unseal({ key, nonce, header }, NOTHING), null);
        }
      },
    ),
    { numRuns: runs(100) },
  );
});
