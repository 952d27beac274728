/**
 * The kernel's primitives and combinators, and the scalars built from them.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError } from "../../src/errors.ts";
import {
  bool,
  choice,
  type Codec,
  decode,
  encode,
  fixed,
  list,
  option,
  Reader,
  struct,
  u16,
  u32,
  u64,
  u8,
  type ValueOf,
  varBytes,
  wirestring,
  Writer,
} from "../../src/wire/codec.ts";
import {
  amountMsat,
  bitcoinSignature,
  hsmHtlc,
  hsmUtxo,
  type Msat,
  pubkey,
} from "../../src/wire/types.ts";
import { arbitrary, POINTS, runs } from "../support/arbitrary.ts";
import { hex, testCodec } from "../support/codec_cases.ts";

testCodec("A u8", {
  codec: u8,
  good: [[0, "00"], [0x7f, "7f"], [0xff, "ff"]],
  badValues: [-1, 0x100, 1.5, NaN, Infinity],
  badBytes: ["", "0000"],
});

testCodec("A u16", {
  codec: u16,
  good: [[0, "0000"], [0x0102, "0102"], [0xffff, "ffff"]],
  badValues: [-1, 0x1_0000, 0.1, NaN],
  badBytes: ["", "00", "000000"],
});

testCodec("A u32", {
  codec: u32,
  good: [[0, "00000000"], [0x01020304, "01020304"], [2 ** 32 - 1, "ffffffff"]],
  badValues: [-1, 2 ** 32, NaN],
  badBytes: ["", "000000", "0000000000"],
});

testCodec("A u64", {
  codec: u64,
  good: [
    [0n, "0000000000000000"],
    [0x0102030405060708n, "0102030405060708"],
    [2n ** 64n - 1n, "ffffffffffffffff"],
  ],
  badValues: [-1n, 2n ** 64n],
  badBytes: ["", "00000000000000", "000000000000000000"],
});

testCodec("An amount", {
  codec: amountMsat,
  good: [[1n as Msat, "0000000000000001"]],
  badValues: [-1n as Msat, 2n ** 64n as Msat],
  badBytes: ["00"],
});

testCodec("A bool", {
  codec: bool,
  good: [[false, "00"], [true, "01"]],
  badBytes: ["", "02", "ff", "0001"],
});

testCodec<number>("A choice", {
  codec: choice<number>("sighash", [1, 0x83]),
  good: [[1, "01"], [0x83, "83"]],
  badValues: [0, 2, 0x184, NaN],
  badBytes: ["", "00", "02", "ff"],
});

testCodec("Bytes of a fixed length", {
  codec: fixed("thing", 3),
  good: [[hex("010203"), "010203"]],
  badValues: [hex(""), hex("0102"), hex("01020304")],
  badBytes: ["", "0102", "01020304"],
});

testCodec("Bytes behind a u16", {
  codec: varBytes("u8", 16),
  good: [[hex(""), "0000"], [hex("ff00"), "0002 ff00"]],
  badValues: [new Uint8Array(0x1_0000)],
  badBytes: ["", "00", "0001", "ffff 00", "0000 00"],
});

testCodec("Bytes behind a u32", {
  codec: varBytes("tx", 32),
  good: [[hex(""), "00000000"], [hex("07"), "00000001 07"]],
  badBytes: ["", "000000", "ffffffff", "ffffffff 00", "00000000 00"],
});

testCodec("A wirestring", {
  codec: wirestring,
  good: [
    [hex(""), "00"],
    [hex("20"), "20 00"],
    [hex("6869"), "6869 00"],
    [hex("7fc3a9ff"), "7fc3a9ff 00"],
  ],
  badValues: [hex("00"), hex("0a"), hex("681f"), hex("6800")],
  badBytes: ["", "6869", "0a00", "681f00", "6800 00"],
});

testCodec("A list", {
  codec: list(u16),
  good: [[[], "0000"], [[1, 2], "0002 0001 0002"]],
  badValues: [[0x1_0000], new Array(0x1_0000).fill(0)],
  badBytes: ["", "0001", "0001 00", "ffff 0000", "0000 00"],
});

testCodec("A list of things that may be empty", {
  codec: list(struct("nothing", {})),
  good: [[[], "0000"], [[{}, {}], "0002"]],
});

testCodec("An option", {
  codec: option(u16),
  good: [[null, "00"], [7, "01 0007"]],
  badValues: [-1],
  badBytes: ["", "01", "0100", "02", "020007", "000007"],
});

testCodec("A struct", {
  codec: struct("pair", { left: u8, right: option(u8) }),
  good: [
    [{ left: 1, right: null }, "01 00"],
    [{ left: 2, right: 3 }, "02 01 03"],
  ],
  badValues: [{ left: 256, right: null }],
  badBytes: ["", "01", "0101", "0102"],
});

testCodec("A point", {
  codec: pubkey,
  // The length is all that is asked here.
  good: POINTS.map((point) => [
    point as ValueOf<typeof pubkey>,
    point.toHex(),
  ]),
  badBytes: ["02"],
});

testCodec("A signature with its sighash byte", {
  codec: bitcoinSignature,
  good: [
    "01",
    "83",
  ].map((byte) => [
    decode(bitcoinSignature, hex("ab".repeat(64) + byte)),
    "ab".repeat(64) + byte,
  ]),
  badBytes: ["ab".repeat(64) + "00", "ab".repeat(64) + "02"],
});

testCodec("An HTLC", {
  codec: hsmHtlc,
  good: [
    "00 00000000000003e8" + "11".repeat(32) + "00000090",
    "01 ffffffffffffffff" + "11".repeat(32) + "ffffffff",
  ].map((text) => [decode(hsmHtlc, hex(text)), text]),
  badBytes: ["02 00000000000003e8" + "11".repeat(32) + "00000090"],
});

const UTXO = "22".repeat(32) + "00000001 0000000000002710 00000003 00 0001 51";
const CLOSE = "0000000000000005" + "33".repeat(33) + "00 01 00000090";

testCodec("A UTXO", {
  codec: hsmUtxo,
  good: [UTXO + "00 00", UTXO + "01" + CLOSE + "00"]
    .map((text) => [decode(hsmUtxo, hex(text)), text]),
  badBytes: [UTXO + "02 00", UTXO + "00 02"],
});

Deno.test("A writer keeps what it has when it grows, wherever that is", () => {
  for (let filled = 250; filled < 260; filled++) {
    const wide: Codec<unknown>[] = [u8, u16, u32];
    for (const codec of wide) {
      const pair = struct("pair", { left: fixed("l", filled), right: codec });
      const value = { left: new Uint8Array(filled).fill(9), right: 7 };
      assert.deepEqual(decode(pair, encode(pair, value)), value);
    }
    const pair = struct("pair", { left: fixed("l", filled), right: u64 });
    const value = { left: new Uint8Array(filled).fill(9), right: 7n };
    assert.deepEqual(decode(pair, encode(pair, value)), value);
  }
});

Deno.test("A writer hands out bytes that later writing does not change", () => {
  const writer = new Writer();
  writer.u8(1);
  const first = writer.finish();
  writer.u8(2);
  assert.deepEqual(first, hex("01"));
  assert.deepEqual(writer.finish(), hex("0102"));
});

Deno.test("Decoded bytes do not change with the frame they came in", () => {
  const frame = hex("0002 0102");
  const value = decode(varBytes("u8", 16), frame);
  frame.fill(0xff);
  assert.deepEqual(value, hex("0102"));
});

Deno.test("A decoder reads a part of a larger buffer as if it stood alone", () => {
  const buffer = hex("ff 6869 00 ff");
  assert.deepEqual(decode(wirestring, buffer.subarray(1, 4)), hex("6869"));
  assert.throws(() => decode(wirestring, buffer.subarray(1, 3)), DecodeError);
  assert.equal(decode(u16, hex("ff 0102 ff").subarray(1, 3)), 0x0102);
});

Deno.test("A window hides the bytes behind it from a wirestring", () => {
  const reader = new Reader(hex("6869 00"), "test");
  assert.throws(
    () => reader.window(2, () => wirestring.decode(reader)),
    DecodeError,
  );
});

Deno.test("A list that announces more than there is allocates nothing", () => {
  const huge = list(fixed("thing", 1000));
  assert.throws(() => decode(huge, hex("ffff 00")), /1 bytes for 65535 items/);
});

Deno.test("A failure names the message, the field and the offset", () => {
  const inner = struct("inner", { flags: list(bool) });
  const outer = struct("outer", { count: u8, inner });
  assert.throws(() => decode(outer, hex("07 0002 01 05"), "greeting"), {
    name: "DecodeError",
    message: "Cannot decode greeting.inner.flags.1 at 5: 5, want 0 or 1",
    format: "greeting",
    path: "inner.flags.1",
    offset: 5,
  });
});

Deno.test("Reading one value inverts writing it, for every scalar and struct", () => {
  const codecs: readonly Codec<unknown>[] = [
    u8,
    u16,
    u32,
    u64,
    bool,
    wirestring,
    varBytes("u8", 16),
    varBytes("tx", 32),
    option(hsmUtxo),
    list(hsmHtlc),
  ] as Codec<unknown>[];
  for (const codec of codecs) {
    const inverts = fc.property(arbitrary(codec), (value) => {
      assert.deepEqual(decode(codec, encode(codec, value)), value);
    });
    fc.assert(inverts, { numRuns: runs() });
  }
});
