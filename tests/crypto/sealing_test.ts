/**
 * The primitives of a seal against the vectors of their standards.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  keyOfFile,
  openText,
  scrypt,
  SCRYPT_COST,
  scryptProblem,
  sealText,
} from "../../src/crypto/sealing.ts";

const hex = (text: string) => Uint8Array.fromHex(text.replaceAll(/\s/g, ""));
const utf8 = (text: string) => new TextEncoder().encode(text);

/** RFC 7914, section 12; the fourth takes 1 GiB and is left out. */
const SCRYPT = [
  {
    passphrase: "",
    salt: "",
    cost: { logN: 4, r: 1, p: 1 },
    key: "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442" +
      "fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
  },
  {
    passphrase: "password",
    salt: "NaCl",
    cost: { logN: 10, r: 8, p: 16 },
    key: "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162" +
      "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
  },
  {
    passphrase: "pleaseletmein",
    salt: "SodiumChloride",
    cost: { logN: 14, r: 8, p: 1 },
    key: "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2" +
      "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
  },
];

Deno.test("scrypt makes the keys of RFC 7914", () => {
  for (const { passphrase, salt, cost, key } of SCRYPT) {
    const made = scrypt({
      passphrase: utf8(passphrase),
      salt: utf8(salt),
      ...cost,
      length: 64,
    });
    assert.equal(made.toHex(), key);
  }
});

/** RFC 8439, section 2.8.2. */
const AEAD = {
  key: hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f"),
  nonce: hex("070000004041424344454647"),
  header: hex("50515253c0c1c2c3c4c5c6c7"),
  text: utf8(
    "Ladies and Gentlemen of the class of '99: If I could offer you only one " +
      "tip for the future, sunscreen would be it.",
  ),
  sealed: hex(`
    d31a8d34648e60db7b86afbc53ef7ec2 a4aded51296e08fea9e2b5a736ee62d6
    3dbea45e8ca9671282fafb69da92728b 1a71de0a9e060b2905d6a5b67ecd3b36
    92ddbd7f2d778b8c9803aee328091b58 fab324e4fad675945585808b4831d7bc
    3ff4def08e4b7a9de576d26586cec64b 6116
    1ae10b594f09e26a7e902ecbd0600691`),
};

Deno.test("the cipher seals and opens the text of RFC 8439", () => {
  assert.equal(sealText(AEAD, AEAD.text).toHex(), AEAD.sealed.toHex());
  assert.deepEqual(openText(AEAD, AEAD.sealed), AEAD.text);
});

Deno.test("nothing opens with one bit changed in key, nonce, header or text", () => {
  fc.assert(fc.property(
    fc.constantFrom("key", "nonce", "header", "sealed"),
    fc.nat(),
    fc.nat(7),
    (part, at, bit) => {
      const changed = new Uint8Array(AEAD[part]);
      const i = at % changed.length;
      changed[i] = (changed[i] ?? 0) ^ (1 << bit);
      const { sealed, ...sealing } = { ...AEAD, [part]: changed };
      assert.equal(openText(sealing, sealed), null);
    },
  ));
  assert.equal(openText(AEAD, new Uint8Array(15)), null);
});

Deno.test("a file may ask for no more and no less of scrypt than is safe", () => {
  assert.equal(scryptProblem(SCRYPT_COST), null);
  const wrong = [
    [{ logN: 13 }, "scrypt logN 13, want 14 to 18"],
    [{ logN: 19 }, "scrypt logN 19, want 14 to 18"],
    [{ r: 9 }, "scrypt r 9, want 8"],
    [{ p: 0 }, "scrypt p 0, want 1 to 4"],
    [{ p: 5 }, "scrypt p 5, want 1 to 4"],
  ] as const;
  for (const [change, said] of wrong) {
    assert.equal(scryptProblem({ ...SCRYPT_COST, ...change }), said);
  }
});

Deno.test("a key file makes another key with each salt", () => {
  const content = new Uint8Array(32).fill(7);
  const one = keyOfFile(content, new Uint8Array(16));
  const other = keyOfFile(content, new Uint8Array(16).fill(1));
  assert.equal(one.length, 32);
  assert.notEqual(one.toHex(), other.toHex());
  assert.notEqual(one.toHex(), content.toHex());
});
