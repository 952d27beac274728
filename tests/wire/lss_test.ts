/** Messages of the storage protocol: the documented bytes, and damaged ones. @module */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError } from "../../src/errors.ts";
import {
  decodeFromBroker,
  decodeFromDevice,
  encodeFromBroker,
  encodeFromDevice,
  type LssFromBroker,
  type LssFromDevice,
  PUT_CONFLICT,
  PUT_CONFLICT_CONFIRMED,
} from "../../src/wire/lss.ts";
import { readSignerSession } from "../support/recording.ts";

const hex = Uint8Array.fromHex;
const SERVER_KEY = hex(
  "034f355bdcb7cc0af728ef3cceb9615d90684bb5b2ca5f859ab0f0b704075871aa",
);
const CLIENT_ID = hex(
  "0203ab01e0ee2be833388d995c321cde19675841c6b28f5a0b116fffcc50b49bf9",
);
const TOKEN = hex(
  "1debb3c9507ee21c232a78c4bd2096bc303eba3ccb79fadde17a0f18ecbdd887",
);
const CLIENT_HMAC = hex(
  "9738ef2a423339749b62fc0c5c22296f68336ff38cb21622f5d9071940f3931c",
);
const GET_HMAC = hex(
  "ebed3a472aafda721dfa762214769c8b9e34aaf18a1822d3627cdc1d73de5937",
);
const PUT_HMAC = hex(
  "aee9635d458b13ce8c773ba49c02d17e3bee4e9b18bcc40f3a4582f0fa5dc6f0",
);
const MUTS = [
  { key: "_WRITER", version: 0n, value: new Uint8Array(16).fill(9) },
  { key: "node/entry/02aa", version: 0n, value: hex("9201a772656774657374") },
];
const MUTS_HEX = "a46d7574739292a75f575249544552" +
  "9200c4100909090909090909090909090909090992af6e6f64652f656e7472792f30326161" +
  "9200c40a9201a772656774657374";

const FROM_BROKER: readonly (readonly [LssFromBroker, string])[] = [
  [
    { kind: "Init", value: { serverPubkey: SERVER_KEY } },
    "81a4496e697481ad7365727665725f7075626b6579c421" + SERVER_KEY.toHex(),
  ],
  [
    { kind: "Created", value: { serverHmac: GET_HMAC, muts: MUTS } },
    "81a74372656174656482ab7365727665725f686d6163c420" + GET_HMAC.toHex() +
    MUTS_HEX,
  ],
  [
    { kind: "Created", value: { serverHmac: null, muts: [] } },
    "81a74372656174656482ab7365727665725f686d6163c0a46d75747390",
  ],
  [
    { kind: "Stored", value: { serverHmac: PUT_HMAC, muts: [] } },
    "81a653746f72656482ab7365727665725f686d6163c420" + PUT_HMAC.toHex() +
    "a46d75747390",
  ],
  [{ kind: "PutConflict" }, "81ab507574436f6e666c696374"],
];

const INIT_HEAD = "81a4496e697483a9636c69656e745f6964c421" +
  CLIENT_ID.toHex() + "aa617574685f746f6b656ec420" + TOKEN.toHex() +
  "a56e6f6e6365";

const FROM_DEVICE: readonly (readonly [LssFromDevice, string])[] = [
  [
    {
      kind: "Init",
      value: {
        clientId: CLIENT_ID,
        authToken: TOKEN,
        nonce: new Uint8Array(32).fill(0x20),
      },
    },
    INIT_HEAD + "c420" + "20".repeat(32),
  ],
  [
    {
      kind: "Init",
      value: { clientId: CLIENT_ID, authToken: TOKEN, nonce: null },
    },
    INIT_HEAD + "c0",
  ],
  [
    { kind: "Created", value: { clientHmac: CLIENT_HMAC, muts: MUTS } },
    "81a74372656174656482ab636c69656e745f686d6163c420" +
    CLIENT_HMAC.toHex() + MUTS_HEX,
  ],
  [
    { kind: "VlsMuts", value: { clientHmac: CLIENT_HMAC, muts: MUTS } },
    "81a7566c734d75747382ab636c69656e745f686d6163c420" +
    CLIENT_HMAC.toHex() + MUTS_HEX,
  ],
  [
    { kind: "PutConflictConfirmed" },
    "81b4507574436f6e666c696374436f6e6669726d6564",
  ],
];

Deno.test("what the broker says has the documented bytes", () => {
  for (const [message, wanted] of FROM_BROKER) {
    assert.equal(encodeFromBroker(message).toHex(), wanted, message.kind);
    assert.deepEqual(decodeFromBroker(hex(wanted)), message);
  }
});

Deno.test("what a device says has the documented bytes", () => {
  for (const [message, wanted] of FROM_DEVICE) {
    assert.equal(encodeFromDevice(message).toHex(), wanted, message.kind);
    assert.deepEqual(decodeFromDevice(hex(wanted)), message);
  }
});

Deno.test("the two messages without a value are cut off, on the wire too", () => {
  assert.equal(PUT_CONFLICT.length, 13);
  assert.equal(PUT_CONFLICT_CONFIRMED.length, 22);
  const longer = Uint8Array.of(...PUT_CONFLICT, 0xc0);
  assert.throws(() => decodeFromBroker(longer), DecodeError);
});

Deno.test("a message of the other side is none", () => {
  for (const [, wanted] of FROM_BROKER) {
    assert.throws(() => decodeFromDevice(hex(wanted)), DecodeError);
  }
});

Deno.test("any bytes give a message or a DecodeError", () => {
  const whole = [...FROM_BROKER, ...FROM_DEVICE].map(([, text]) => hex(text));
  const recorded = readSignerSession()
    .filter(({ topic }) => /^(init-[12]|lss)-/.test(topic))
    .map(({ payload }) => payload);
  const damaged = fc.tuple(
    fc.constantFrom(...whole, ...recorded),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
    fc.nat(),
  ).map(([bytes, flips, end]) => {
    const copy = new Uint8Array(bytes);
    for (const [at, value] of flips) copy[at % copy.length] = value;
    return end % 3 === 0 ? copy.subarray(0, end % copy.length) : copy;
  });
  fc.assert(
    fc.property(fc.oneof(damaged, fc.uint8Array()), (bytes) => {
      for (const decode of [decodeFromBroker, decodeFromDevice]) {
        try {
          decode(bytes);
        } catch (error) {
          assert.ok(error instanceof DecodeError, String(error));
        }
      }
    }),
    { numRuns: 2_000 },
  );
});
