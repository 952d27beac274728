/**
 * BigSize and TLV streams: the vectors of BOLT 1 (appendices A and B), then the
 * rules one by one.
 *
 * Of appendix B's records this kernel has no truncated integer, so record 1 of
 * its namespace n1 is unknown here; as it is odd, the stream rules still apply.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError } from "../../src/errors.ts";
import {
  decode,
  encode,
  fixed,
  Reader,
  struct,
  u16,
  u64,
  u8,
  wirestring,
  Writer,
} from "../../src/wire/codec.ts";
import { readBigSize, tlvs, writeBigSize } from "../../src/wire/tlv.ts";
import { pubkey } from "../../src/wire/types.ts";
import { arbitrary, runs } from "../support/arbitrary.ts";
import { hex, testCodec } from "../support/codec_cases.ts";

/** BOLT 1, appendix A: name, value, bytes. */
const BIGSIZE: readonly (readonly [string, bigint, string])[] = [
  ["zero", 0n, "00"],
  ["one byte high", 252n, "fc"],
  ["two byte low", 253n, "fd00fd"],
  ["two byte high", 65535n, "fdffff"],
  ["four byte low", 65536n, "fe00010000"],
  ["four byte high", 4294967295n, "feffffffff"],
  ["eight byte low", 4294967296n, "ff0000000100000000"],
  ["eight byte high", 18446744073709551615n, "ffffffffffffffffff"],
];

/** The same appendix: what must not be read. */
const BAD_BIGSIZE: readonly (readonly [string, string])[] = [
  ["two byte not canonical", "fd00fc"],
  ["four byte not canonical", "fe0000ffff"],
  ["eight byte not canonical", "ff00000000ffffffff"],
  ["two byte short read", "fd00"],
  ["four byte short read", "feffff"],
  ["eight byte short read", "ffffffffff"],
  ["one byte no read", ""],
  ["two byte no read", "fd"],
  ["four byte no read", "fe"],
  ["eight byte no read", "ff"],
];

function bigSize(value: bigint): Uint8Array {
  const writer = new Writer();
  writeBigSize(writer, value);
  return writer.finish();
}

for (const [name, value, text] of BIGSIZE) {
  Deno.test(`BigSize goes both ways for the vector "${name}"`, () => {
    assert.equal(bigSize(value).toHex(), text);
    const reader = new Reader(hex(text), "test");
    assert.equal(readBigSize(reader), value);
    assert.equal(reader.remaining, 0);
  });
}

for (const [name, text] of BAD_BIGSIZE) {
  Deno.test(`BigSize refuses the vector "${name}"`, () => {
    const reader = new Reader(hex(text), "test");
    assert.throws(() => readBigSize(reader), DecodeError);
  });
}

Deno.test("BigSize goes both ways for every u64", () => {
  const any = fc.oneof(
    fc.bigInt({ min: 0n, max: 0x1_0010n }),
    fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  );
  const inverts = fc.property(any, (value) => {
    assert.equal(readBigSize(new Reader(bigSize(value), "test")), value);
  });
  fc.assert(inverts, { numRuns: runs() });
});

const n1 = tlvs("n1", {
  tlv4: { type: 254, codec: u16 },
  tlv2: { type: 2, codec: fixed("short_channel_id", 8) },
  tlv3: { type: 3, codec: struct("tlv3", { node: pubkey, a: u64, b: u64 }) },
});

const POINT =
  "023da092f6980e58d2c037173180e9a465476026ee50f96695963e8efe436f54eb";

testCodec("A TLV stream", {
  codec: n1,
  isOpenEnded: true,
  // Appendix B: "decoding successes" of namespace n1.
  good: [
    "",
    "02 08 0000000000000226",
    `03 31 ${POINT} 0000000000000001 0000000000000002`,
    "fd00fe 02 0226",
    "02 08 0000000000000226 fd00fe 02 0226",
  ].map((text) => [decode(n1, hex(text)), text]),
  badBytes: [
    // Appendix B: failures in any namespace.
    "fd",
    "fd01",
    "fd0001 00",
    "fd0101",
    "0f fd",
    "0f fd26",
    "0f fd2602",
    "0f fd0001 00",
    `0f fd0201 ${"00".repeat(0x200)}`,
    // Unknown even types.
    "12 00",
    "fd0102 00",
    "fe01000002 00",
    "ff0100000000000002 00",
    // Failures in n1: wrong lengths of known records.
    "02 07 01010101010101",
    "02 09 010101010101010101",
    `03 21 ${POINT}`,
    `03 29 ${POINT} 0000000000000001`,
    `03 30 ${POINT} 0000000000000001 00000000000001`,
    `03 32 ${POINT} 0000000000000001 0000000000000002 01`,
    "fd00fe 00",
    "fd00fe 01 01",
    "fd00fe 03 010101",
    "00 00",
    // Stream failures: order, repetition, a type beyond the largest.
    "02 08 0000000000000226 01 01 2a",
    "02 08 0000000000000231 02 08 0000000000000451",
    "1f 00 0f 01 2a",
    "1f 00 1f 01 2a",
    "ffffffffffffffffff 00 00 00",
  ],
});

Deno.test("A TLV stream skips unknown odd records", () => {
  // Appendix B: "ignored" in either namespace.
  const ignored = [
    "",
    "21 00",
    "fd0201 00",
    "fd00fd 00",
    "fd00ff 00",
    "fe02000001 00",
    "ff0200000000000001 00",
  ];
  for (const text of ignored) assert.deepEqual(decode(n1, hex(text)), {});
  assert.deepEqual(decode(n1, hex("01 02 abcd 02 08 0000000000000226")), {
    tlv2: hex("0000000000000226"),
  });
});

Deno.test("A TLV stream is written in rising order, whatever its table's is", () => {
  const value = { tlv4: 1, tlv2: fixedBytes(8) };
  assert.equal(
    encode(n1, value).toHex(),
    "0208" + "07".repeat(8) + "fd00fe020001",
  );
});

Deno.test("A TLV record's value fills its length", () => {
  const stream = tlvs("text", { words: { type: 1, codec: wirestring } });
  assert.deepEqual(decode(stream, hex("01 03 686900")), { words: hex("6869") });
  // The NUL has to be inside of the record.
  assert.throws(() => decode(stream, hex("01 02 6869 00")), DecodeError);
  assert.throws(() => decode(stream, hex("01 04 686900 68")), DecodeError);
});

Deno.test("A TLV length beyond the message is refused without a number lost", () => {
  assert.throws(
    () => decode(n1, hex("0f ffffffffffffffffff")),
    /0 bytes left, want 18446744073709551615/,
  );
});

Deno.test("A failure in a TLV record names the record", () => {
  const stream = tlvs("flags", { loud: { type: 1, codec: u8 } });
  const outer = struct("message", { flags: stream });
  assert.throws(() => decode(outer, hex("01 02 0000")), {
    path: "flags.loud",
    offset: 3,
  });
});

Deno.test("Reading a TLV stream inverts writing it", () => {
  const inverts = fc.property(arbitrary(n1), (value) => {
    assert.deepEqual(decode(n1, encode(n1, value)), value);
  });
  fc.assert(inverts, { numRuns: runs() });
});

function fixedBytes(size: number): Uint8Array {
  return new Uint8Array(size).fill(7);
}
