/**
 * A secret stays one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { inspect } from "node:util";
import { isEqualConstantTime, Secret } from "../../src/crypto/secret.ts";
import { Bug } from "../../src/errors.ts";

const BYTES = new Uint8Array(32).fill(0xab);

Deno.test("a secret prints as a mask wherever it is put", () => {
  const secret = new Secret(BYTES);
  const prints = [
    `${secret}`,
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true, depth: 9 }),
    Deno.inspect({ secret }, { showHidden: true, depth: 9 }),
    Deno.inspect([secret]),
  ];
  for (const print of prints) {
    assert.match(print, /\[secret\]/);
    assert.doesNotMatch(print, /171|ab, ?ab|abab/i);
  }
});

Deno.test("a secret holds a copy", () => {
  const bytes = new Uint8Array(BYTES);
  const secret = new Secret(bytes);
  bytes.fill(0);
  assert.deepEqual(secret.reveal(), BYTES);
  assert.equal(secret.length, 32);
});

Deno.test("a secret equals the same bytes and no others", () => {
  const secret = new Secret(BYTES);
  assert.ok(secret.equals(BYTES));
  assert.ok(secret.equals(new Secret(BYTES)));
  assert.ok(!secret.equals(BYTES.subarray(1)));
  for (const at of [0, 15, 31]) {
    assert.ok(!secret.equals(BYTES.with(at, 0xaa)));
  }
  assert.ok(isEqualConstantTime(new Uint8Array(), new Uint8Array()));
});

Deno.test("a wiped secret is gone", () => {
  const secret = new Secret(BYTES);
  const bytes = secret.reveal();
  secret.wipe();
  assert.ok(bytes.every((byte) => byte === 0));
  assert.throws(() => secret.reveal(), Bug);
  secret.wipe();
});
