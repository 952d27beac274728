/**
 * A seed on its way: the hardware's own example, byte for byte, and what is not
 * taken.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import {
  deriveTransferKey,
  openSeed,
  sealSeed,
  TRANSFER_SIZE,
} from "../../src/crypto/seed_transfer.ts";

const hex = (text: string) => Uint8Array.fromHex(text);

// Keys of the compatibility test of sphinx-rs, crypter/src/lib.rs.
const toolKey = new Secret(
  hex("848edb5da88bd8586e9dd890ba25ed372cca15ce8b0e85e093990032e25bec9f"),
);
const deviceKey = new Secret(
  hex("fac40a932bd16e2da3e89771e37e0ca205f0f4a74a08355e479ee104ab2b726b"),
);
const toolPoint = hex(
  "0290efa528c55dde1c4672307847db923d2747d30a2c1b655f01c484680cd2c670",
);
const devicePoint = hex(
  "0320374fa5511eca1509cc7707659df92a8b4a7416b1771ebc0486167529dce608",
);
const nonce = hex("000102030405060708090a0b");
const seed = new Secret(new Uint8Array(32).fill(1));
const payload = hex(
  "dcea7b7318037da2e46b08f4e993ef16a93016441098af4b03a516ec0471558e" +
    "51c5978f8d2962f5d103dd1ffcfd8d42000102030405060708090a0b",
);
const toTool = { privateKey: deviceKey, point: toolPoint };
const toDevice = { privateKey: toolKey, point: devicePoint };

Deno.test("both ends of the hardware's example come to its key", () => {
  assert.deepEqual(publicKey(toolKey.reveal()), toolPoint);
  assert.deepEqual(publicKey(deviceKey.reveal()), devicePoint);
  const key =
    "7796c74caab6515fa739f3fc466a8974266b1b7bc7b3606d08354d4d39d50279";
  assert.equal(deriveTransferKey(toDevice).reveal().toHex(), key);
  assert.equal(deriveTransferKey(toTool).reveal().toHex(), key);
});

Deno.test("the hardware's example is sealed and opened byte for byte", () => {
  assert.deepEqual(sealSeed(toDevice, seed, nonce), payload);
  assert.equal(payload.length, TRANSFER_SIZE);
  assert.ok(openSeed(toTool, payload)?.equals(seed));
});

Deno.test("a payload with any one bit changed does not open", () => {
  for (let bit = 0; bit < payload.length * 8; bit += 7) {
    const changed = Uint8Array.from(payload);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ 1 << (bit & 7);
    assert.equal(openSeed(toTool, changed), null, `bit ${bit}`);
  }
});

Deno.test("a payload of another length does not open", () => {
  for (const length of [0, 11, 12, 28, 56, 59]) {
    assert.equal(openSeed(toTool, payload.subarray(0, length)), null);
  }
  assert.equal(openSeed(toTool, Uint8Array.of(...payload, 0)), null);
});

Deno.test("a payload for another device does not open", () => {
  const privateKey = new Secret(new Uint8Array(32).fill(7));
  assert.equal(openSeed({ privateKey, point: toolPoint }, payload), null);
});

Deno.test("any seed arrives as it was sent", () => {
  const bytes = (length: number) =>
    fc.uint8Array({ minLength: length, maxLength: length });
  fc.assert(
    fc.property(bytes(32), bytes(12), (sent, nonce) => {
      const payload = sealSeed(toDevice, new Secret(sent), nonce);
      assert.deepEqual(openSeed(toTool, payload)?.reveal(), sent);
    }),
    { numRuns: 20 },
  );
});
