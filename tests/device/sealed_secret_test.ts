/**
 * Sealed files: what they hold comes out with their key and in no other way.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { sha256 } from "../../src/crypto/hash.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { DecodeError } from "../../src/errors.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import {
  checkSealed,
  openFile,
  openSealed,
  sealedKind,
  sealedNodeId,
  sealFile,
  type SealKey,
  sealSecret,
} from "../../src/device/sealed_secret.ts";

const fileKey = (byte: number): SealKey => ({
  kind: "file",
  bytes: new Secret(new Uint8Array(32).fill(byte)),
});
const passphrase = (text: string): SealKey => ({
  kind: "passphrase",
  bytes: new Secret(new TextEncoder().encode(text)),
});
/** The least that is accepted: tests open many. */
const CHEAP = { logN: 14, r: 8, p: 1 };
const NODE = Uint8Array.from({ length: 33 }, (_, i) => i === 0 ? 2 : i);
const SUM_SIZE = 32;

/** As an attacker would who knows the format: the sum fits again. */
function withSum(file: Uint8Array): Uint8Array {
  const changed = new Uint8Array(file);
  const end = changed.length - SUM_SIZE;
  changed.set(sha256(changed.subarray(0, end)), end);
  return changed;
}

function flipped(file: Uint8Array, at: number, bit: number): Uint8Array {
  const changed = new Uint8Array(file);
  const i = at % file.length;
  changed[i] = (changed[i] ?? 0) ^ (1 << bit);
  return changed;
}

function isRefused(open: () => unknown): boolean {
  try {
    open();
    return false;
  } catch (error) {
    return error instanceof DecodeError ||
      (error instanceof OwnerError && error.missing === "rightKey");
  }
}

Deno.test("any bytes that are sealed with a key file come out again", () => {
  fc.assert(fc.property(
    fc.uint8Array({ maxLength: 500 }),
    fc.boolean(),
    (text, isKnown) => {
      const key = fileKey(1);
      const nodeId = isKnown ? NODE : null;
      const sealed = sealSecret(text, key, nodeId);
      assert.deepEqual(openSealed(sealed, key).reveal(), text);
      assert.deepEqual(sealedNodeId(sealed), nodeId);
      assert.equal(sealed.length, 79 + text.length + 16 + 32);
    },
  ));
});

Deno.test("a seed sealed with a passphrase opens with that one only", () => {
  const seed = new Uint8Array(32).fill(3);
  const sealed = sealSecret(seed, passphrase("correct horse"), null, CHEAP);
  assert.equal(sealedKind(sealed), "passphrase");
  assert.deepEqual(
    openSealed(sealed, passphrase("correct horse")).reveal(),
    seed,
  );
  for (const wrong of ["correct hors", "Correct horse", "correct horse\n"]) {
    assert.throws(
      () => openSealed(sealed, passphrase(wrong)),
      (error) =>
        error instanceof OwnerError && error.code === 5 &&
        error.message === "Wrong passphrase: it does not open the card",
    );
  }
});

Deno.test("new seals cost what the table says, and no two are alike", () => {
  const key = passphrase("correct horse");
  const one = sealSecret(NODE, key, null);
  const other = sealSecret(NODE, key, null);
  assert.deepEqual([...one.subarray(8, 14)], [1, 1, 1, 17, 8, 1]);
  assert.equal(new TextDecoder().decode(one.subarray(0, 8)), "SKSEALED");
  assert.notDeepEqual(one.subarray(14, 30), other.subarray(14, 30));
  assert.notDeepEqual(one.subarray(30, 42), other.subarray(30, 42));
});

Deno.test("one flipped bit anywhere is found without the key", () => {
  const sealed = sealSecret(new Uint8Array(73), fileKey(1), NODE);
  for (let at = 0; at < sealed.length; at++) {
    for (let bit = 0; bit < 8; bit++) {
      const changed = flipped(sealed, at, bit);
      assert.throws(() => checkSealed(changed, "seed"), DecodeError);
      assert.throws(() => openSealed(changed, fileKey(1)), DecodeError);
    }
  }
  checkSealed(sealed, "seed");
});

Deno.test("no changed file opens, though its sum was made to fit", () => {
  const sealed = sealSecret(new Uint8Array(73), fileKey(1), NODE);
  const most = sealed.length - SUM_SIZE - 1;
  for (let at = 0; at <= most; at++) {
    const changed = withSum(flipped(sealed, at, at % 8));
    assert.ok(isRefused(() => openSealed(changed, fileKey(1))), `byte ${at}`);
  }
  for (const size of [0, 1, 8, 79, 110, sealed.length - 1]) {
    assert.ok(
      isRefused(() => openSealed(sealed.subarray(0, size), fileKey(1))),
    );
  }
  assert.ok(
    isRefused(() => openSealed(Uint8Array.of(...sealed, 0), fileKey(1))),
  );
});

Deno.test("any bytes are a sealed file or a DecodeError", () => {
  const sealed = sealSecret(NODE, fileKey(1), null);
  fc.assert(fc.property(
    fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.uint8Array({ minLength: 80, maxLength: 300 }).map((rest) =>
        withSum(Uint8Array.of(...sealed.subarray(0, 14), ...rest))
      ),
    ),
    (bytes) => assert.ok(isRefused(() => openSealed(bytes, fileKey(2)))),
  ));
});

Deno.test("a file cannot ask for scrypt beyond the bounds", () => {
  const sealed = sealSecret(NODE, passphrase("correct horse"), null, CHEAP);
  for (const [at, value] of [[11, 63], [11, 4], [12, 255], [13, 200]]) {
    const changed = new Uint8Array(sealed);
    changed[at ?? 0] = value ?? 0;
    assert.throws(
      () => openSealed(withSum(changed), passphrase("correct horse")),
      /Cannot decode sealed file\.scrypt at 11: scrypt /,
    );
  }
});

Deno.test("the wrong kind of key and the wrong key file say so", () => {
  const byFile = sealSecret(NODE, fileKey(1), null);
  assert.throws(
    () => openSealed(byFile, fileKey(2)),
    { message: "Wrong key file: it does not open the card" },
  );
  assert.throws(
    () => openSealed(byFile, passphrase("correct horse")),
    /sealed with a key file, want that \(--key-file\) in place of a passphrase/,
  );
  const byPassphrase = sealSecret(
    NODE,
    passphrase("correct horse"),
    null,
    CHEAP,
  );
  assert.throws(
    () => openSealed(byPassphrase, fileKey(1)),
    /sealed with a passphrase, want that in place of a key file/,
  );
});

Deno.test("a backup is not taken for a seed, nor a seed for a backup", () => {
  const key = fileKey(1);
  const backup = sealFile({ content: "backup", text: NODE, key, nodeId: null });
  assert.throws(() => openSealed(backup, key), /a backup, want a seed/);
  assert.deepEqual(openFile(backup, "backup", key).reveal(), NODE);
  const seed = sealSecret(NODE, key, null);
  assert.throws(() => openFile(seed, "backup", key), /a seed, want a backup/);
});
