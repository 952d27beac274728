/**
 * Per-commitment secrets: BOLT 3 appendix D, and a stock hsmd's.
 *
 * @module
 */

import assert from "node:assert/strict";
import { publicKeyOf } from "../../src/bitcoin/keys.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { RequestError } from "../../src/errors.ts";
import {
  generateFromSeed,
  perCommitmentSecret,
} from "../../src/lightning/shachain.ts";

const filled = (byte: number) => new Secret(new Uint8Array(32).fill(byte));

const generation: [string, Secret, bigint, string][] = [
  [
    "0 final node",
    filled(0),
    281474976710655n,
    "02a40c85b6f28da08dfdbe0926c53fab2de6d28c10301f8f7c4073d5e42e3148",
  ],
  [
    "FF final node",
    filled(0xff),
    281474976710655n,
    "7cc854b54e3e0dcdb010d7a3fee464a9687be6e8db3be6854c475621e007a5dc",
  ],
  [
    "FF alternate bits 1",
    filled(0xff),
    0xaaaaaaaaaaan,
    "56f4008fb007ca9acf0e15b054d5c9fd12ee06cea347914ddbaed70d1c13a528",
  ],
  [
    "FF alternate bits 2",
    filled(0xff),
    0x555555555555n,
    "9015daaeb06dba4ccc05b91b2f73bd54405f2be9f217fbacd3c5ac2e62327d31",
  ],
  [
    "01 last nontrivial node",
    filled(1),
    1n,
    "915c75942a26bb3a433a8ce2cb0427c29ec6c1775cfc78328b57f6ba7bfeaa9c",
  ],
];

for (const [name, seed, index, wanted] of generation) {
  Deno.test(`BOLT 3 appendix D, generate_from_seed ${name}`, () => {
    const secret = generateFromSeed(seed, index);
    assert.equal(secret.reveal().toHex(), wanted);
  });
}

const SHASEED = new Secret(
  Uint8Array.fromHex(
    "6afc8d60a70e433d3c6b670ce998db360ff928a836110a9a8d8a517fbd54d921",
  ),
);

const commitments: [bigint, string, string][] = [
  [
    0n,
    "39f4dd2e1a984d7127855c9e3cd7d3ccee2d6ebc7d06c737abf3ab5028cc31da",
    "025ab06db5ac26e8608984b853dc187a4b5ad5c72eb284392798ac3e88c6b646e1",
  ],
  [
    1n,
    "994cbc21154d02134ab5e5e15677cc6f9b47cd986f4e87aed567dda4997fc50f",
    "02a68eea811efc8e6908aaf406836792129340ab379583f2445e766c7122b4887b",
  ],
  [
    2n,
    "42b9886f16da811adc81d0e41cbd665830041244e78002d7da804dbab6f819db",
    "0311763f8d1f33291f7e5a9b6cab0d4d902edacc84c175f8ffe53fd1e2de1c27e2",
  ],
  [
    41n,
    "af70ba3dab6e868a89a7639868e3db68db9b1d71fed0ebe0e7fc26f0c5c62507",
    "023aca65f564de5ae1b2e57e33ab39180f9b7b826086d5dcf54e6e9461fa14bb71",
  ],
];

for (const [n, secret, point] of commitments) {
  Deno.test(`commitment ${n} has the stock hsmd's secret and point`, () => {
    const found = perCommitmentSecret(SHASEED, n);
    assert.equal(found.reveal().toHex(), secret);
    assert.equal(publicKeyOf(found).toHex(), point);
  });
}

Deno.test("the last commitment's secret is the seed, and there is no later", () => {
  const last = 2n ** 48n - 1n;
  assert.ok(perCommitmentSecret(SHASEED, last).equals(SHASEED));
  for (const n of [2n ** 48n, 2n ** 64n - 1n]) {
    assert.throws(() => perCommitmentSecret(SHASEED, n), RequestError);
  }
});
