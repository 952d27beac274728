/**
 * Files `hsm_secret` of every kind, and the failures that lightningd is told.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  makeSecretFile,
  openSecretFile,
  parseSecretFile,
  SecretFileError,
  type Unlock,
} from "../../src/keyderiv.ts";
import { deriveEncryptionKey } from "../../src/keyderiv/secret_file.ts";
import { runs } from "../support/arbitrary.ts";
import { E1_KEY, FILES, mnemonicFile, PASSPHRASE, SEEDS } from "./tables.ts";

const WORDS = new TextDecoder().decode(FILES.M1.subarray(32));

function open(file: Uint8Array, unlock: Unlock = {}) {
  const { kind, seed } = openSecretFile(parseSecretFile(file), unlock);
  return { kind, seed: seed.reveal().toHex() };
}

Deno.test("a plain file is its own seed, with a passphrase or without", () => {
  const wanted = { kind: "plain", seed: FILES.S1.toHex() };
  assert.deepEqual(open(FILES.S1), wanted);
  assert.deepEqual(open(FILES.S1, { passphrase: PASSPHRASE }), wanted);
});

Deno.test("a mnemonic file gives 64 bytes", () => {
  assert.deepEqual(open(FILES.M1), { kind: "mnemonic", seed: SEEDS.M1 });
});

Deno.test("a mnemonic file with a passphrase opens with it", () => {
  assert.deepEqual(open(FILES.W1, { passphrase: PASSPHRASE }), {
    kind: "mnemonicWithPassphrase",
    seed: SEEDS.W1,
  });
});

Deno.test("an encrypted file opens with the key of old releases", () => {
  assert.deepEqual(open(FILES.E1, { encryptionKey: E1_KEY }), {
    kind: "encrypted",
    seed: FILES.S1.toHex(),
  });
});

Deno.test("a passphrase is stretched as libsodium does it", () => {
  const key = deriveEncryptionKey(PASSPHRASE);
  assert.equal(key.reveal().toHex(), E1_KEY.toHex());
});

Deno.test("a file says whether it needs a passphrase", () => {
  const needs = Object.values(FILES)
    .map((file) => parseSecretFile(file).needsPassphrase);
  assert.deepEqual(needs, [false, false, false, true, true]);
});

const failures: [string, Uint8Array, Unlock, number, string][] = [
  ["an empty file", new Uint8Array(), {}, 7, "Invalid hsm_secret format"],
  ["31 bytes", new Uint8Array(31), {}, 7, "Invalid hsm_secret format"],
  [
    "a locked mnemonic without passphrase",
    FILES.W1,
    {},
    1,
    "Passphrase required but not provided",
  ],
  [
    "an encrypted file without passphrase",
    FILES.E1,
    {},
    1,
    "Passphrase required but not provided",
  ],
  [
    "an open mnemonic with a passphrase",
    FILES.M1,
    { passphrase: PASSPHRASE },
    2,
    "Passphrase provided but not needed",
  ],
  [
    "an open mnemonic with an empty passphrase",
    FILES.M1,
    { passphrase: new Uint8Array() },
    2,
    "Passphrase provided but not needed",
  ],
  [
    "a locked mnemonic with another passphrase",
    FILES.W1,
    { passphrase: PASSPHRASE.subarray(1) },
    3,
    "Wrong passphrase",
  ],
  [
    "an encrypted file with another key",
    FILES.E1,
    { encryptionKey: E1_KEY.toReversed() },
    3,
    "Wrong passphrase",
  ],
  [
    "words with a wrong checksum",
    mnemonicFile(WORDS.replace("about", "abandon")),
    {},
    4,
    "Invalid mnemonic",
  ],
  [
    "words and a newline",
    mnemonicFile(`${WORDS}\n`),
    {},
    4,
    "Invalid mnemonic",
  ],
  [
    "words with two spaces between",
    mnemonicFile(WORDS.replace(" ", "  ")),
    {},
    4,
    "Invalid mnemonic",
  ],
  ["33 zero bytes", new Uint8Array(33), {}, 4, "Invalid mnemonic"],
  [
    "megabytes of words",
    mnemonicFile("abandon ".repeat(100_000)),
    {},
    4,
    "Invalid mnemonic",
  ],
];

for (const [what, file, unlock, code, text] of failures) {
  Deno.test(`${what} fails with code ${code}`, () => {
    assert.throws(() => open(file, unlock), (error) => {
      assert.ok(error instanceof SecretFileError);
      assert.equal(error.code, code);
      assert.equal(error.message, `Failed to load hsm_secret: ${text}`);
      return true;
    });
  });
}

Deno.test("a new file has twelve words and no passphrase", () => {
  assert.deepEqual(makeSecretFile(new Uint8Array(16)), FILES.M1);
});

Deno.test("any bytes are a file or a failure with a code", () => {
  const bytes = fc.uint8Array({ maxLength: 100 });
  fc.assert(
    fc.property(bytes, (file) => {
      try {
        open(file, { encryptionKey: new Uint8Array(32) });
      } catch (error) {
        assert.ok(error instanceof SecretFileError);
      }
    }),
    { numRuns: runs() },
  );
});
