/**
 * The packet guard: whole streams pass however they are cut, and a packet that
 * announces too much is seen at its header.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { PacketGuard } from "../../src/mqtt/packet_guard.ts";
import { runs } from "../support/arbitrary.ts";
import { remainingLength } from "./raw.ts";

const LIMIT = 20_000;

const size = fc.oneof(
  fc.integer({ min: 0, max: 300 }),
  fc.constantFrom(0, 127, 128, 16_383, 16_384, LIMIT),
);

/** A stream of packets: any first byte, a length, that many bytes. */
const stream = fc.array(fc.tuple(fc.nat(255), size, fc.nat(255)), {
  maxLength: 8,
}).map((packets) =>
  packets.map(([first, length, fill]) => {
    const header = [first, ...remainingLength(length)];
    const bytes = new Uint8Array(header.length + length).fill(fill);
    bytes.set(header);
    return bytes;
  })
);

function join(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(
    parts.reduce((sum, { length }) => sum + length, 0),
  );
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** Cuts bytes at the given places, wherever they fall. */
function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = cuts.map((cut) => cut % (bytes.length + 1))
    .toSorted((a, b) => a - b);
  return [0, ...places].map((from, i) => bytes.subarray(from, places[i]));
}

const cuts = fc.array(fc.nat(), { maxLength: 40 });

Deno.test("A stream of packets within the limit passes however it is cut", () => {
  fc.assert(
    fc.property(stream, cuts, (packets, places) => {
      const guard = new PacketGuard(LIMIT);
      for (const chunk of split(join(packets), places)) {
        assert.equal(guard.problemIn(chunk), null);
      }
    }),
    { numRuns: runs() },
  );
});

Deno.test("A packet over the limit is refused at its header, however it is cut", () => {
  const over = fc.integer({ min: LIMIT + 1, max: 2 ** 28 - 1 });
  fc.assert(
    fc.property(stream, over, cuts, (packets, length, places) => {
      const guard = new PacketGuard(LIMIT);
      const header = Uint8Array.of(0x30, ...remainingLength(length));
      const chunks = split(join([...packets, header]), places);
      const problems = chunks.map((chunk) => guard.problemIn(chunk));
      const [problem] = problems.filter((found) => found !== null);
      assert.match(problem ?? "", new RegExp(`^a packet of ${length} bytes`));
    }),
    { numRuns: runs() },
  );
});

Deno.test("A remaining length of more than four bytes is refused", () => {
  const guard = new PacketGuard(2 ** 28);
  const endless = Uint8Array.of(0x30, 0x80, 0x80, 0x80, 0x80);
  assert.match(guard.problemIn(endless) ?? "", /more than 4 bytes/);
});

Deno.test("A limit that is raised counts from the next packet", () => {
  const guard = new PacketGuard(10);
  assert.equal(
    guard.problemIn(Uint8Array.of(0x10, 10, ...new Uint8Array(5))),
    null,
  );
  guard.allow(100);
  assert.equal(guard.problemIn(new Uint8Array(5)), null);
  assert.equal(guard.problemIn(Uint8Array.of(0x30, 100)), null);
  assert.equal(guard.problemIn(new Uint8Array(100)), null);
  assert.notEqual(guard.problemIn(Uint8Array.of(0x30, 101)), null);
});
