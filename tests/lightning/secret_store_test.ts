/**
 * The store of the peer's secrets: BOLT 3 appendix D, then what it promises.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import vectors from "../fixtures/bolt3/secrets.json" with { type: "json" };
import { Secret } from "../../src/crypto/secret.ts";
import {
  insertSecret,
  secretAt,
  type StoredSecret,
} from "../../src/lightning/secret_store.ts";
import { generateFromSeed } from "../../src/lightning/shachain.ts";
import type { DisclosedSecret } from "../../src/wire/types.ts";

const LAST = 0xffff_ffff_ffffn;
const SEED = new Secret(new Uint8Array(32).fill(0xff));

const disclosed = (hex: string) =>
  Uint8Array.fromHex(hex) as Uint8Array as DisclosedSecret;

function secretOf(index: bigint, seed = SEED): DisclosedSecret {
  return generateFromSeed(seed, index).reveal() as DisclosedSecret;
}

/** Inserts in falling order; fails the test when one does not fit. */
function fill(from: bigint, count: number): readonly StoredSecret[] {
  let store: readonly StoredSecret[] = [];
  for (let i = 0n; i < count; i++) {
    const next = insertSecret(store, from - i, secretOf(from - i));
    assert.ok(next !== null, `${from - i}`);
    store = next;
  }
  return store;
}

for (const { name, seed, i, output } of vectors.generation) {
  Deno.test(`BOLT 3 vector: ${name}`, () => {
    const secret = new Secret(Uint8Array.fromHex(seed));
    assert.equal(
      generateFromSeed(secret, BigInt(i)).reveal().toHex(),
      output,
    );
  });
}

for (const { name, inserts } of vectors.storage) {
  Deno.test(`BOLT 3 vector: ${name}`, () => {
    let store: readonly StoredSecret[] = [];
    for (const { i, secret, output } of inserts) {
      const next = insertSecret(store, BigInt(i), disclosed(secret));
      assert.equal(next === null ? "ERROR" : "OK", output, i);
      store = next ?? store;
    }
  });
}

Deno.test("The vectors are all there", () => {
  assert.equal(vectors.generation.length, 5);
  assert.equal(vectors.storage.length, 9);
  const failing = vectors.storage.filter(({ inserts }) =>
    inserts.at(-1)?.output === "ERROR"
  );
  assert.equal(failing.length, 8);
});

Deno.test("Every secret that was inserted can be had, and no other", () => {
  for (let count = 0; count <= 70; count++) {
    const store = fill(LAST, count);
    assert.ok(store.length <= 7, `${store.length} entries for ${count}`);
    for (let i = 0n; i < 72n; i++) {
      const found = secretAt(store, LAST - i);
      const wanted = i < count ? secretOf(LAST - i) : null;
      assert.equal(found?.toHex(), wanted?.toHex());
    }
  }
});

Deno.test("A store that starts in the middle knows what came after", () => {
  fc.assert(fc.property(
    fc.bigInt(100n, LAST),
    fc.integer({ min: 1, max: 40 }),
    (from, count) => {
      const store = fill(from, count);
      const lowest = from - BigInt(count) + 1n;
      for (let index = lowest; index <= from; index++) {
        const found = secretAt(store, index);
        assert.equal(found?.toHex(), secretOf(index).toHex());
      }
      assert.equal(secretAt(store, lowest - 1n), null);
    },
  ));
});

Deno.test("The last secret of all gives every other", () => {
  const store = insertSecret([], 0n, secretOf(0n));
  assert.ok(store !== null);
  for (const index of [0n, 1n, 0x1234_5678_9abcn, LAST]) {
    assert.equal(secretAt(store, index)?.toHex(), secretOf(index).toHex());
  }
  assert.equal(secretAt(store, LAST + 1n), null);
  assert.equal(secretAt(store, -1n), null);
});

Deno.test("A secret that is known changes nothing when it is repeated", () => {
  const store = fill(LAST, 11);
  for (let i = 0n; i < 11n; i++) {
    assert.equal(insertSecret(store, LAST - i, secretOf(LAST - i)), store);
    const other = secretOf(LAST - i - 1n);
    assert.equal(insertSecret(store, LAST - i, other), null);
  }
});

Deno.test("A secret out of order does not fit", () => {
  const store = fill(LAST - 8n, 6); // none of them gives an earlier one
  for (const index of [LAST, LAST - 7n, LAST - 15n, LAST - 17n, -1n]) {
    const any = index < 0n ? secretOf(0n) : secretOf(index);
    assert.equal(insertSecret(store, index, any), null, `${index}`);
  }
  assert.equal(insertSecret([], LAST + 1n, secretOf(0n)), null);
});

Deno.test("A changed bit of a parent does not fit", () => {
  const store = fill(LAST, 7);
  const index = LAST - 7n; // gives all seven
  fc.assert(fc.property(
    fc.integer({ min: 0, max: 255 }),
    (bit) => {
      const secret = new Uint8Array(secretOf(index)) as
        & Uint8Array
        & DisclosedSecret;
      secret[bit >> 3] = (secret[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.equal(insertSecret(store, index, secret), null);
    },
  ));
  assert.equal(insertSecret(store, index, secretOf(index))?.length, 1);
});
