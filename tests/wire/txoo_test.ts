/**
 * Chain messages, attestations and heartbeats: bytes recorded from a VLS signer,
 * and any bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError } from "../../src/errors.ts";
import { decode, encode } from "../../src/wire/codec.ts";
import {
  decodeMessage,
  encodeMessage,
  type Row,
} from "../../src/wire/message.ts";
import {
  attest,
  type Attestation,
  attestation,
  bitcoinOutpoint,
  CHAIN_MESSAGES,
  filterHeader,
  isAttested,
  isHeartbeatOf,
  rawHeader,
  rest,
  signedHeartbeat,
  signHeartbeat,
  SIZED_ADD_BLOCK,
  statementDigest,
  u32le,
  u64le,
} from "../../src/wire/txoo.ts";
import type { BlockHash, PubKey, Txid } from "../../src/wire/types.ts";
import { bytes, messageArbitrary, runs } from "../support/arbitrary.ts";
import { hex, testCodec } from "../support/codec_cases.ts";

const ROWS = [
  ...Object.values<unknown>(CHAIN_MESSAGES) as Row[],
  SIZED_ADD_BLOCK as unknown as Row,
];

const GENESIS =
  "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f";
const FUNDING =
  "a06a1d681eb3a8380ee47f3ac4f9c36e7eae58895a9c3ffd362eac9b3e3ddc60";

testCodec("u32le", {
  codec: u32le,
  good: [[0, "00000000"], [1, "01000000"], [0xfffffffe, "feffffff"]],
  badValues: [-1, 2 ** 32, 0.5],
});
testCodec("u64le", {
  codec: u64le,
  good: [[1_700_000_000n, "00f1536500000000"]],
  badValues: [-1n, 1n << 64n],
});
testCodec("filter header", {
  codec: filterHeader,
  good: [[hex(GENESIS), GENESIS]],
  badValues: [hex("00")],
});
testCodec("raw header", {
  codec: rawHeader,
  good: [[new Uint8Array(80), "00".repeat(80)]],
});
testCodec("rest", {
  codec: rest,
  good: [[hex("0102"), "0102"], [hex(""), ""]],
  isOpenEnded: true,
});
testCodec("OutPoint", {
  codec: bitcoinOutpoint,
  good: [[
    { txid: hex(FUNDING) as Uint8Array as Txid, index: 1 },
    `${FUNDING} 01000000`,
  ]],
});

Deno.test("TipInfo and ForwardWatches of a VLS signer come back byte for byte", () => {
  const tip = decodeMessage(
    CHAIN_MESSAGES.tip_info_reply,
    hex(`0836 00000000 ${GENESIS}`),
    { isStrict: true },
  );
  assert.deepEqual([tip.height, tip.hash.toHex()], [0, GENESIS]);
  assert.equal(encodeMessage(CHAIN_MESSAGES.tip_info, {}).toHex(), "07d2");
  const before = hex(`0837 0001 ${FUNDING} 0000`);
  const after = hex(`0837 0001 ${FUNDING} 0001 ${FUNDING} 01000000`);
  const row = CHAIN_MESSAGES.forward_watches_reply;
  for (const [bytes, count] of [[before, 0], [after, 1]] as const) {
    const value = decodeMessage(row, bytes, { isStrict: true });
    assert.equal(value.txids[0]?.toHex(), FUNDING);
    assert.equal(value.outpoints.length, count);
    assert.equal(encodeMessage(row, value).toHex(), bytes.toHex());
  }
  const [outpoint] = decodeMessage(row, after).outpoints;
  assert.equal(outpoint?.index, 1);
});

Deno.test("AddBlock is a counted header and a proof up to the end", () => {
  const header = "ab".repeat(80);
  const message = hex(`07d5 0050 ${header} 01 0102030405`);
  const value = decodeMessage(CHAIN_MESSAGES.add_block, message);
  assert.equal(value.proof?.toHex(), "0102030405");
  assert.deepEqual(encodeMessage(CHAIN_MESSAGES.add_block, value), message);
  const sized = hex(`07d5 0050 ${header} 01 00000002 0102`);
  const old = decodeMessage(SIZED_ADD_BLOCK, sized, { isStrict: true });
  assert.equal(old.proof?.toHex(), "0102");
  assert.deepEqual(encodeMessage(SIZED_ADD_BLOCK, old), sized);
  const none = decodeMessage(
    CHAIN_MESSAGES.add_block,
    hex(`07d5 0050 ${header} 00`),
  );
  assert.equal(none.proof, null);
});

Deno.test("RemoveBlock and BlockChunk are what VLS says", () => {
  const remove = hex(
    `07d6 01 00000001 ff ${"01".repeat(80)} ${"02".repeat(32)}`,
  );
  const removed = decodeMessage(CHAIN_MESSAGES.remove_block, remove, {
    isStrict: true,
  });
  assert.equal(removed.previousFilterHeader.toHex(), "02".repeat(32));
  assert.deepEqual(encodeMessage(CHAIN_MESSAGES.remove_block, removed), remove);
  const chunk = hex(`07d9 ${GENESIS} 00002000 0003 010203`);
  const { hash, offset, content } = decodeMessage(
    CHAIN_MESSAGES.block_chunk,
    chunk,
    { isStrict: true },
  );
  assert.deepEqual([hash.toHex(), offset, content.toHex()], [
    GENESIS,
    8192,
    "010203",
  ]);
});

// VLS signer with seed 32 x 01, its heartbeat at genesis, clock 1,700,000,000.
const ACCOUNT = hex(
  "0364e5b8630f2d545edcba31fe699eb4be168695b55641a190547348c61f55c4da",
);
Deno.test("A heartbeat of a VLS signer is its wallet account's", () => {
  const message = hex(
    "083c006d40a80db514fb765b967799ecc8d504d91d2ebaea58712b87281b384dedbb87cf" +
      "79d2f548c90825dbd15c036f5e9c897a526543c2de59e1ef71ac4d9fab59799bf1062" +
      "26e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f00000000" +
      "4d49e5da6553f100",
  );
  const { heartbeat: raw } = decodeMessage(
    CHAIN_MESSAGES.get_heartbeat_reply,
    message,
    { isStrict: true },
  );
  assert.equal(raw.length, 109);
  const signed = decode(signedHeartbeat, raw);
  assert.deepEqual(encode(signedHeartbeat, signed), raw);
  const { tipHash, height, tipTime, time } = signed.heartbeat;
  assert.deepEqual([tipHash.toHex(), height, tipTime, time], [
    GENESIS,
    0,
    1296688602,
    1_700_000_000,
  ]);
  assert.equal(isHeartbeatOf(signed, ACCOUNT), true);
  const later = { ...signed, heartbeat: { ...signed.heartbeat, time: 1 } };
  assert.equal(isHeartbeatOf(later, ACCOUNT), false);
});

Deno.test("A heartbeat is refused with another size in front, cut or longer", () => {
  const privateKey = new Uint8Array(32).fill(7);
  const signed = signHeartbeat({
    tipHash: hex(GENESIS) as Uint8Array as BlockHash,
    height: 5,
    tipTime: 6,
    time: 7,
  }, privateKey);
  const whole = encode(signedHeartbeat, signed);
  assert.equal(whole.length, 109);
  const wrong = whole.slice();
  wrong[0] = 0x41;
  const bad = [wrong, whole.subarray(1), Uint8Array.of(...whole, 0)];
  for (const one of bad) {
    assert.throws(() => decode(signedHeartbeat, one), DecodeError);
  }
  const short = { ...signed, signature: new Uint8Array(63) };
  assert.throws(() => encode(signedHeartbeat, short), RangeError);
});

const ORACLE = {
  publicKey: hex(
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
  ) as Uint8Array as PubKey,
  privateKey: hex("00".repeat(31) + "01"),
};

Deno.test("An attestation of a TXOO oracle is its signature and its bytes", () => {
  const bytes = hex(
    "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798" +
      "b3043c39c0b372b4b0db1ea30a3e64bb5ae06b0be0b1d42f82d159d7bfd40417" +
      "01000000" +
      "4e788be5216202c641d316f3cd68de6da7b9230ff53e85261e2a731498f4afa0" +
      "00f1536500000000" +
      "508a025d6b101390dac7069f22741206332a634dfb8f1b2c14bbb854c1b2fdaa" +
      "63dde681d16e05134b9012bfe1c5d28cbdfafb2c39c9502b0f6fa211fdee20e9",
  );
  const value = decode(attestation, bytes);
  assert.equal(isAttested(value), true);
  assert.deepEqual(attest(value.statement, ORACLE), value);
  assert.deepEqual(encode(attestation, value), bytes);
  const changes: Partial<Attestation["statement"]>[] = [
    { height: 2 },
    { time: 0n },
    { filterHeader: new Uint8Array(32) },
  ];
  for (const change of changes) {
    const statement = { ...value.statement, ...change };
    assert.notDeepEqual(
      statementDigest(statement),
      statementDigest(value.statement),
    );
    assert.equal(isAttested({ ...value, statement }), false);
  }
  // Bytes that are no point have signed nothing.
  const nobody = new Uint8Array(33).fill(0xff) as Uint8Array as PubKey;
  assert.equal(isAttested({ ...value, oracle: nobody }), false);
});

Deno.test("Any bytes are a chain message or a DecodeError", () => {
  for (const row of ROWS) {
    const whole = messageArbitrary(row).map((value) =>
      encodeMessage(row, value)
    );
    const cut = fc.tuple(whole, fc.nat(200)).map(([message, size]) =>
      message.subarray(0, Math.max(2, message.length - size))
    );
    const junk = bytes(200).map((body) =>
      Uint8Array.of(row.type >> 8, row.type & 0xff, ...body)
    );
    fc.assert(
      fc.property(fc.oneof(whole, cut, junk), (input) => {
        let value;
        try {
          value = decodeMessage(row, input);
        } catch (error) {
          assert.ok(error instanceof DecodeError);
          return;
        }
        const again = decodeMessage(row, encodeMessage(row, value), {
          isStrict: true,
        });
        assert.deepEqual(again, value);
      }),
      { numRuns: runs(60) },
    );
  }
});

Deno.test("Numbers of chain messages rise and stand once", () => {
  const types = Object.values(CHAIN_MESSAGES).map(({ type }) => type);
  assert.deepEqual(types, [...new Set(types)].sort((a, b) => a - b));
});
