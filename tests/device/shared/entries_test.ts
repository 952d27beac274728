/**
 * What goes to the storage server: sealed to its place and version, and read back
 * by nobody but the seed.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Secret } from "../../../src/crypto/secret.ts";
import {
  decodeHead,
  decodeSlot,
  deriveEntryKey,
  encodeHead,
  encodeSlot,
  nameOfSlot,
  openEntry,
  sealEntry,
  slotOfName,
} from "../../../src/device/shared/entries.ts";
import { deriveNodeKeys } from "../../../src/keyderiv/node.ts";

const KEY = deriveEntryKey(new Secret(new Uint8Array(32).fill(1)));
const bytes = (most: number) => fc.uint8Array({ maxLength: most });
const NONCE = fc.uint8Array({ minLength: 24, maxLength: 24 });
const VERSION = fc.bigInt({ min: 0n, max: (1n << 63n) - 1n });

Deno.test("names of slots are sorted as their numbers, before the head", () => {
  fc.assert(fc.property(fc.nat(), fc.nat(), (a, b) => {
    assert.equal(slotOfName(nameOfSlot(a)), a);
    assert.equal(a < b, nameOfSlot(a) < nameOfSlot(b));
    assert.ok(nameOfSlot(a) < "softkey/head");
  }));
  for (const name of ["", "softkey/", "softkey/1", "softkey/head", "_WRITER"]) {
    assert.equal(slotOfName(name), null);
  }
});

Deno.test("an entry opens at its place, at its version, with its seed; nowhere else", () => {
  const other = deriveEntryKey(new Secret(new Uint8Array(32).fill(2)));
  fc.assert(fc.property(fc.nat(), VERSION, NONCE, bytes(200), (...all) => {
    const [slot, version, nonce, text] = all;
    const place = { key: nameOfSlot(slot), version };
    const entry = sealEntry(KEY, place, text, nonce);
    assert.equal(openEntry(KEY, entry)?.toHex(), text.toHex());
    assert.equal(openEntry(other, entry), null);
    assert.equal(openEntry(KEY, { ...entry, version: version + 1n }), null);
    const elsewhere = { ...entry, key: nameOfSlot(slot + 1) };
    assert.equal(openEntry(KEY, elsewhere), null);
    const shorter = { ...entry, value: entry.value.subarray(1) };
    assert.equal(openEntry(KEY, shorter), null);
    assert.equal(openEntry(KEY, { ...entry, version: -1n }), null);
  }));
});

Deno.test("slot and head are read as they were written", () => {
  fc.assert(fc.property(
    fc.string({ unit: "grapheme", maxLength: 80 }),
    bytes(300),
    (key, value) => {
      const found = decodeSlot(encodeSlot({ key, value }));
      assert.equal(found.key, key);
      assert.equal(found.value.toHex(), value.toHex());
    },
  ));
  const origin = new Uint8Array(16).fill(5);
  const head = { sum: (1n << 255n) + 7n, isWhole: false, origin };
  assert.deepEqual(decodeHead(encodeHead(head)), head);
});

Deno.test("the key of the entries is none that a node's keys are made from", () => {
  const seed = new Secret(new Uint8Array(32).fill(1));
  const keys = deriveNodeKeys({ kind: "plain", seed });
  const own = KEY.reveal().toHex();
  for (const secret of [keys.derivedBase, keys.channelBase, keys.node.secret]) {
    assert.notEqual(secret.reveal().toHex(), own);
  }
  // Worked out by other means: a card of an older release must open all entries.
  assert.equal(
    own,
    "5f820cbd09e32b94f6f72bde105b7e5ea51dd980c5e07ea04a5e8666e98fbe9d",
  );
});
