/**
 * The control key: of the seed alone, always the same, and none of the others.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { deriveControlKey } from "../../src/keyderiv/control_key.ts";
import { deriveNodeKeys } from "../../src/keyderiv/node.ts";
import {
  makeSecretFileOfWords,
  openSecretFile,
  openTypedWords,
  parseSecretFile,
} from "../../src/keyderiv/secret_file.ts";
import { FILES, PASSPHRASE } from "./tables.ts";

const hmac = (key: Uint8Array, ...parts: readonly Uint8Array[]) =>
  parts.reduce((hash, part) => hash.update(part), createHmac("sha256", key))
    .digest();

const opened = (file: Uint8Array) => openSecretFile(parseSecretFile(file));

/** Keys that must come out again for every seed that is in use. */
const KEYS = {
  S1: "0eda70e2ada9488c6eacb99400784ecd57eb590e86bfef86d898a3865a8071d6",
  M1: "3c137fb869a28c6aa63bd4f590a09d1a9233c2f1ae2fbb711b9ea296b77941d7",
};

Deno.test("the control key is HKDF of the whole seed under its own salt", () => {
  for (const file of [FILES.S1, FILES.L1, FILES.M1]) {
    const { seed } = opened(file);
    const salt = new TextEncoder().encode("remote-hsmd control key");
    const prk = hmac(salt, seed.reveal());
    // RFC 5869 2.3: T(1) = HMAC(PRK, info ‖ 1), info is LE32(0).
    const wanted = hmac(prk, new Uint8Array(4), Uint8Array.of(1));
    const { secret } = deriveControlKey({ seed });
    assert.equal(secret.reveal().toHex(), wanted.toString("hex"));
  }
});

Deno.test("the control key of a seed is for ever this one", () => {
  assert.equal(
    deriveControlKey(opened(FILES.S1)).secret.reveal().toHex(),
    KEYS.S1,
  );
  assert.equal(
    deriveControlKey(opened(FILES.M1)).secret.reveal().toHex(),
    KEYS.M1,
  );
});

Deno.test("words that are typed again give the same control key", () => {
  const words = new TextDecoder().decode(FILES.M1.subarray(32));
  const typed = openTypedWords(words, new Uint8Array());
  const file = opened(makeSecretFileOfWords(words, null));
  const first = deriveControlKey(opened(FILES.M1)).point.toHex();
  assert.equal(deriveControlKey(typed).point.toHex(), first);
  assert.equal(deriveControlKey(file).point.toHex(), first);
  const other = openTypedWords(words, PASSPHRASE);
  assert.notEqual(deriveControlKey(other).point.toHex(), first);
});

Deno.test("the control key is none of the node's keys", () => {
  for (const file of [FILES.S1, FILES.M1]) {
    const secret = opened(file);
    const { secret: control } = deriveControlKey(secret);
    const keys = deriveNodeKeys(secret);
    const others = [
      keys.node.secret,
      keys.bolt12.secret,
      keys.wallet.secret,
      keys.derivedBase,
      keys.channelBase,
    ];
    for (const other of others) assert.ok(!control.equals(other));
  }
});
