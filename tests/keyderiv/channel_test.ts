/**
 * Keys of channels, as a stock hsmd derives them.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import {
  ChannelKeyRing,
  deriveChannelKeys,
} from "../../src/keyderiv/channel.ts";
import type { NodeId } from "../../src/wire/types.ts";
import { BASES, CHANNELS, PEER } from "./tables.ts";

const peerId = Uint8Array.fromHex(PEER) as Uint8Array as NodeId;
const baseOf = (name: "S1" | "M1") =>
  new Secret(Uint8Array.fromHex(BASES[name].channel));

for (const name of ["S1", "M1"] as const) {
  Deno.test(`${name} has the stock hsmd's keys for a channel`, () => {
    const keys = deriveChannelKeys(baseOf(name), { peerId, dbid: 1n });
    const { shaseed, ...pairs } = CHANNELS[name];
    assert.equal(keys.shaseed.reveal().toHex(), shaseed);
    for (const [kind, wanted] of Object.entries(pairs)) {
      const pair = keys[kind as keyof typeof pairs];
      const found = [pair.secret.reveal().toHex(), pair.point.toHex()];
      assert.deepEqual(found, [...wanted], kind);
    }
  });
}

Deno.test("the dbid is little-endian", () => {
  const dbid = 0x0102030405060708n;
  const { funding } = deriveChannelKeys(baseOf("S1"), { peerId, dbid });
  assert.equal(
    funding.point.toHex(),
    "02ca3856e58611cbe60fabf7c5c546adc7b8cf9a53da1f536a26d1a2977874d399",
  );
});

Deno.test("forced secrets come in the order of init", () => {
  const secrets = new Uint8Array(160).map((_, i) => 1 + Math.floor(i / 32));
  const shaseed = new Uint8Array(32).fill(9);
  const id = { peerId, dbid: 1n };
  const keys = deriveChannelKeys(baseOf("S1"), id, { secrets, shaseed });
  const { funding, revocation, payment, delayedPayment, htlc } = keys;
  const found = [funding, revocation, payment, delayedPayment, htlc]
    .map(({ secret }) => secret.reveal()[0]);
  assert.deepEqual(found, [1, 2, 3, 4, 5]);
  assert.ok(keys.shaseed.equals(shaseed));
});

Deno.test("a ring gives each channel its own keys and forgets without harm", () => {
  const ring = new ChannelKeyRing(baseOf("S1"));
  const first = ring.keysOf({ peerId, dbid: 1n });
  assert.equal(ring.keysOf({ peerId, dbid: 1n }), first);
  for (let dbid = 2n; dbid < 1100n; dbid++) ring.keysOf({ peerId, dbid });
  const again = ring.keysOf({ peerId, dbid: 1n });
  assert.notEqual(again, first);
  assert.deepEqual(again.funding.point, first.funding.point);
});
