/**
 * Payloads of the sealed topics: what is written is read, and anything else is
 * a DecodeError.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { NoiseReceiver, NoiseSender } from "../../src/crypto/noise_cipher.ts";
import { DecodeError } from "../../src/errors.ts";
import {
  decodeSealed,
  encodeSealed,
  isSealedName,
  SEALED_KINDS,
  SEALED_NAMES,
  SealedChannel,
  type SealedMessage,
  type SealedName,
  sealedPrologue,
} from "../../src/mqtt/sealed.ts";
import { TOPICS } from "../../src/mqtt/topics.ts";
import { runs } from "../support/arbitrary.ts";

const KEY = new Uint8Array(32).fill(7);
const CHAINING_KEY = new Uint8Array(32).fill(8);
const NAMES: readonly SealedName[] = Object.keys(TOPICS)
  .filter((name) => isSealedName(name as keyof typeof TOPICS)) as SealedName[];
const PIECE = 65_534;

/** A channel that opens what another one like it seals. */
function makeChannel(limit?: number): SealedChannel {
  return new SealedChannel({
    sender: new NoiseSender(KEY, CHAINING_KEY),
    receiver: new NoiseReceiver(KEY, CHAINING_KEY),
    transcript: new Uint8Array(32),
  }, limit);
}

function openAll(
  channel: SealedChannel,
  records: readonly Uint8Array[],
): SealedMessage[] {
  return records.flatMap((record) => channel.open(decodeSealed(record).body));
}

/** A record of one BOLT 8 message with this text. */
function recordOf(sender: NoiseSender, ...texts: Uint8Array[]): Uint8Array {
  return encodeSealed("record", ...texts.map((text) => sender.seal(text)))
    .subarray(1);
}

Deno.test("every topic but the sealed two has a number of its own", () => {
  assert.equal(NAMES.length, Object.keys(TOPICS).length - 2);
  assert.deepEqual([...NAMES].sort(), Object.keys(SEALED_NAMES).sort());
  const ids = new Set(Object.values(SEALED_NAMES));
  assert.equal(ids.size, NAMES.length);
});

Deno.test("the prologue names the protocol, its version and the device", () => {
  const prologue = new TextDecoder().decode(sealedPrologue("b0b"));
  assert.equal(prologue, "remote-hsmd/1 b0b");
});

Deno.test("each kind is read back, and no other length of it", () => {
  for (const [kind, { id, lengths }] of Object.entries(SEALED_KINDS)) {
    for (const length of lengths ?? [0, 1, 1000]) {
      const payload = Uint8Array.of(id, ...new Uint8Array(length).fill(9));
      const read = decodeSealed(payload);
      assert.equal(read.kind, kind);
      assert.equal(read.body.length, length);
      const name = kind as keyof typeof SEALED_KINDS;
      assert.deepEqual(encodeSealed(name, read.body), payload);
      if (lengths === null) continue;
      const longer = Uint8Array.of(...payload, 0);
      assert.throws(() => decodeSealed(longer), DecodeError, kind);
    }
  }
  for (const bad of [[], [7], [255, 0]]) {
    assert.throws(() => decodeSealed(Uint8Array.from(bad)), DecodeError);
  }
});

Deno.test("messages of any name and length arrive as they were, in order", () => {
  const lengths = fc.oneof(
    fc.nat(300),
    fc.constantFrom(PIECE - 2, PIECE - 1, PIECE, 2 * PIECE - 1, 2 * PIECE),
  );
  const messages = fc.array(fc.tuple(fc.constantFrom(...NAMES), lengths), {
    maxLength: 5,
  });
  const [one, other] = [makeChannel(), makeChannel()];
  fc.assert(
    fc.property(messages, (wanted) => {
      const sent = wanted.map(([name, length]) => ({
        name,
        payload: new Uint8Array(length).fill(length),
      }));
      const records = sent.flatMap(({ name, payload }) =>
        one.seal(name, payload)
      );
      assert.deepEqual(openAll(other, records), sent);
    }),
    { numRuns: runs(40) },
  );
});

Deno.test("a message of megabytes travels in records that any server takes", () => {
  const payload = new Uint8Array(3_000_000);
  for (let i = 0; i < payload.length; i += 1000) payload[i] = i % 251;
  const records = makeChannel().seal("vls", payload);
  assert.ok(records.length > 5);
  for (const { length } of records) assert.ok(length <= 512 * 1024);
  const [message, ...rest] = openAll(makeChannel(), records);
  assert.equal(rest.length, 0);
  assert.deepEqual(message?.payload, payload);
});

Deno.test("a message over the limit is refused before it is whole", () => {
  const limit = 100_000;
  const channel = makeChannel(limit);
  const [record] = makeChannel().seal("vls", new Uint8Array(limit));
  assert.ok(record);
  assert.throws(() => channel.open(record.subarray(1)), DecodeError);
  const allowed = makeChannel(limit);
  allowed.allow(limit + 1);
  assert.equal(allowed.open(record.subarray(1)).length, 1);
});

Deno.test("pieces that are not made as we make them are refused", () => {
  const bad = [
    { why: "no mark", texts: [[]] },
    { why: "mark of 2", texts: [[2, 9]] },
    { why: "no name", texts: [[0]] },
    { why: "unknown name", texts: [[0, 0]] },
    { why: "unknown name", texts: [[0, 200, 1]] },
    { why: "a crumb before another piece", texts: [[1, 9], [0, 1]] },
  ];
  for (const { why, texts } of bad) {
    const sender = new NoiseSender(KEY, CHAINING_KEY);
    const record = recordOf(sender, ...texts.map((t) => Uint8Array.from(t)));
    assert.throws(() => makeChannel().open(record), DecodeError, why);
  }
  assert.throws(() => makeChannel().open(new Uint8Array(0)), DecodeError);
});

Deno.test("one record may hold several messages, and a part of the next", () => {
  const sender = new NoiseSender(KEY, CHAINING_KEY);
  const channel = makeChannel();
  const full = new Uint8Array(1 + PIECE);
  full[0] = 1;
  full[1] = SEALED_NAMES["vls-res"];
  const first = recordOf(
    sender,
    Uint8Array.of(0, SEALED_NAMES.led, 1),
    Uint8Array.of(0, SEALED_NAMES.bye),
    full,
  );
  assert.deepEqual(channel.open(first), [
    { name: "led", payload: Uint8Array.of(1) },
    { name: "bye", payload: new Uint8Array(0) },
  ]);
  const [message] = channel.open(recordOf(sender, Uint8Array.of(0, 5)));
  assert.equal(message?.name, "vls-res");
  assert.equal(message?.payload.length, PIECE);
});

Deno.test("any payload is a frame or a DecodeError, any record too", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const channel = makeChannel();
      try {
        const { body } = decodeSealed(bytes);
        channel.open(body);
        assert.fail("opened what nobody sealed");
      } catch (error) {
        assert.ok(error instanceof DecodeError, String(error));
      }
    }),
    { numRuns: runs(300) },
  );
});

Deno.test("records that are lost, repeated, swapped or changed do not open", () => {
  const damages = ["lose", "repeat", "swap", "flip", "cut", "grow"] as const;
  fc.assert(
    fc.property(
      fc.constantFrom(...damages),
      fc.nat(),
      fc.uint8Array({ maxLength: 100 }),
      (damage, where, payload) => {
        const sealer = makeChannel();
        const [first, second] = [1, 2].map(() =>
          sealer.seal("vls", payload)[0]
        );
        assert.ok(first && second);
        const channel = makeChannel();
        const flipped = first.slice();
        const at = 1 + where % (first.length - 1);
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (where & 7));
        if (damage === "repeat") channel.open(first.subarray(1));
        const bad = {
          lose: second,
          repeat: first,
          swap: second,
          flip: flipped,
          cut: first.subarray(0, first.length - 1),
          grow: Uint8Array.of(...first, 0),
        }[damage];
        assert.throws(() => channel.open(bad.subarray(1)), DecodeError);
        const late = damage === "repeat" ? second : first;
        assert.throws(() => channel.open(late.subarray(1)), DecodeError);
      },
    ),
    { numRuns: runs(100) },
  );
});
