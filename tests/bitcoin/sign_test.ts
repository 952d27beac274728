/**
 * The rules of grinding, with signatures of a stock hsmd, and DER.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import * as tiny from "npm:tiny-secp256k1@2.2.4";
import {
  encodeDer,
  isDer,
  signGround,
  signGroundPlainFirst,
  signPlain,
} from "../../src/bitcoin/sign.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { runs } from "../support/arbitrary.ts";
import { NODE_KEYS } from "../keyderiv/tables.ts";

const hex = (text: string) => Uint8Array.fromHex(text);
const KEY = new Secret(hex(NODE_KEYS.S1[0]));

const rules: [string, string, string, string][] = [
  [
    "85af83dc076e7c3568d0f5cc46d8d8b33887d0efc0f7d051fb457baada03df3e",
    "2015882dddd80c0cb1e88f590ab94cc3fc64de9d98fc91aeb657de47c1d0acbb3f685eff446327153847e7684c1befda4a4aa963614bd8326034ea868ef5026a",
    "777371b6c9eecbce3a9d91a1778dbec368f88bc2f464013957801c1e4d82712917998299ff075225f381a650ff7e9d4f86cb13c0341a7a15938642430f3478c5",
    "777371b6c9eecbce3a9d91a1778dbec368f88bc2f464013957801c1e4d82712917998299ff075225f381a650ff7e9d4f86cb13c0341a7a15938642430f3478c5",
  ],
  [
    "5576a90c018ccfd81429eb8b5a985fb57e390369453644c4faad12f919efbd9f",
    "5e61946967fc20811ebea884f809cfb8f59c0a73bbce0b62a6fafee646fd86af246b738f998da7f4fd837de7161bdc562cbb9a8aafdc810c447c250be1a967d6",
    "5e61946967fc20811ebea884f809cfb8f59c0a73bbce0b62a6fafee646fd86af246b738f998da7f4fd837de7161bdc562cbb9a8aafdc810c447c250be1a967d6",
    "be869557cb9f79afd2b3250abc889c05c0ffa31dd2dd7242acd237bd1348dd526f9e595d4d13e4c3f9aaba734492bfec87a7c357fccdd4cd5027fbcef550a5fd",
  ],
];

for (const [digest, a, b, c] of rules) {
  Deno.test(`digest ${digest.slice(0, 8)} has the stock hsmd's signatures`, () => {
    assert.equal(signGround(hex(digest), KEY).toHex(), a);
    assert.equal(signGroundPlainFirst(hex(digest), KEY).toHex(), b);
    assert.equal(signPlain(hex(digest), KEY).toHex(), c);
  });
}

const digests = fc.uint8Array({ minLength: 32, maxLength: 32 });

/** The same rules over another library. */
function grind(digest: Uint8Array, first: Uint8Array | undefined): Uint8Array {
  let entropy = first;
  for (let count = 1;; count++) {
    const signature = tiny.sign(digest, KEY.reveal(), entropy);
    if ((signature[0] ?? 0xff) < 0x80) return signature;
    entropy = new Uint8Array(32);
    new DataView(entropy.buffer).setUint32(0, count, true);
  }
}

Deno.test("grinding agrees with the same rules over libsecp256k1", () => {
  fc.assert(
    fc.property(digests, (digest) => {
      assert.deepEqual(
        new Uint8Array(signGround(digest, KEY)),
        grind(digest, new Uint8Array(32)),
      );
      assert.deepEqual(
        new Uint8Array(signGroundPlainFirst(digest, KEY)),
        grind(digest, undefined),
      );
    }),
    { numRuns: runs(50) },
  );
});

Deno.test("a ground signature takes 71 bytes in a witness, save once in 256", () => {
  fc.assert(
    fc.property(digests, (digest) => {
      const der = encodeDer(signGround(digest, KEY), 1);
      assert.ok(der.length <= 71);
      assert.ok(isDer(der));
    }),
    { numRuns: runs(20) },
  );
});

Deno.test("DER takes the shortest form that is not negative", () => {
  const signature = new Uint8Array(64);
  signature[31] = 1;
  signature[32] = 0x80;
  assert.equal(
    encodeDer(signature, 0x83).toHex(),
    "30260201010221008000000000000000000000000000000000000000000000000000000000" +
      "00000083",
  );
});

Deno.test("DER is told from other bytes", () => {
  const good = encodeDer(signGround(new Uint8Array(32), KEY), 1);
  assert.ok(isDer(good));
  const bad = [
    new Uint8Array(),
    good.subarray(1),
    good.subarray(0, -1),
    Uint8Array.of(...good, 0),
    good.with(0, 0x31),
    good.with(1, 0),
    good.with(2, 3),
    good.with(3, 0),
    good.with(3, 0xff),
    good.with(4 + (good[3] ?? 0), 0),
  ];
  for (const bytes of bad) assert.ok(!isDer(bytes), bytes.toHex());
});
