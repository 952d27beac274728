/**
 * The curve, against a second library (libsecp256k1 compiled to WebAssembly).
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import * as tiny from "npm:tiny-secp256k1@2.2.4";
import { sha256 } from "../../src/crypto/hash.ts";
import {
  addPointTweak,
  addScalars,
  addWeightedPoints,
  addWeightedPointToKey,
  ecdh,
  isAnyPoint,
  isPoint,
  isPrivateKey,
  isSignature,
  isXOnly,
  multiplyScalars,
  negateScalar,
  publicKey,
  recoverPublicKey,
  signEcdsa,
  signRecoverable,
  signSchnorr,
  verifyEcdsa,
  verifySchnorr,
} from "../../src/crypto/secp.ts";
import { RequestError } from "../../src/errors.ts";
import { runs } from "../support/arbitrary.ts";

const bytes32 = fc.uint8Array({ minLength: 32, maxLength: 32 });
const keys = bytes32.filter((key) => tiny.isPrivate(key));
const ORDER = Uint8Array.fromHex(
  "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
);
const ZEROS = new Uint8Array(32);

/** Runs a property over as many byte strings as there are generators. */
function check(
  arbitraries: readonly fc.Arbitrary<Uint8Array>[],
  property: (...values: readonly Uint8Array[]) => void,
) {
  const all = fc.tuple(...arbitraries);
  const numRuns = runs(25);
  fc.assert(fc.property(all, (values) => property(...values)), { numRuns });
}

Deno.test("keys, points and tweaks agree with libsecp256k1", () => {
  check([keys, keys], (key, tweak) => {
    const point = publicKey(key);
    assert.deepEqual(point, tiny.pointFromScalar(key, true));
    assert.deepEqual(
      addPointTweak(point, tweak),
      tiny.pointAddScalar(point, tweak, true),
    );
    assert.deepEqual(addScalars(key, tweak), tiny.privateAdd(key, tweak));
    assert.deepEqual(negateScalar(key), tiny.privateNegate(key));
    const shared = tiny.pointMultiply(point, tweak, true);
    assert.ok(shared !== null);
    assert.deepEqual(ecdh(tweak, point), sha256(shared));
    assert.deepEqual(publicKey(multiplyScalars(key, tweak)), shared);
  });
});

Deno.test("weighted points are the points of weighted keys", () => {
  check([keys, keys, keys, keys], (a, x, b, y) => {
    const key = addScalars(multiplyScalars(a, x), multiplyScalars(b, y));
    assert.deepEqual(
      addWeightedPoints([publicKey(a), x], [publicKey(b), y]),
      publicKey(key),
    );
    assert.deepEqual(
      addWeightedPointToKey([publicKey(a), x], multiplyScalars(b, y)),
      publicKey(key),
    );
  });
});

Deno.test("weighted points may meet, cancel out or weigh nothing", () => {
  const [one, two] = [ZEROS.with(31, 1), ZEROS.with(31, 2)];
  const [a, b] = [publicKey(one), publicKey(two)];
  const minusOne = negateScalar(one);
  assert.deepEqual(addWeightedPoints([a, one], [a, one]), b);
  assert.deepEqual(addWeightedPointToKey([a, one], one), b);
  assert.deepEqual(addWeightedPoints([a, ZEROS], [b, one]), b);
  assert.deepEqual(addWeightedPointToKey([a, ZEROS], two), b);
  for (
    const toInfinity of [
      () => addWeightedPoints([a, two], [b, minusOne]),
      () => addWeightedPoints([a, ZEROS], [b, ZEROS]),
      () => addWeightedPointToKey([b, minusOne], two),
      () => addWeightedPoints([a, ORDER], [b, one]),
      () => addWeightedPointToKey([a, ORDER], one),
    ]
  ) assert.throws(toInfinity, RequestError);
});

Deno.test("signatures agree with libsecp256k1, entropy or not", () => {
  check([bytes32, keys, bytes32], (digest, key, entropy) => {
    const point = publicKey(key);
    const plain = signEcdsa(digest, key);
    assert.deepEqual(plain, tiny.sign(digest, key));
    assert.deepEqual(
      signEcdsa(digest, key, entropy),
      tiny.sign(digest, key, entropy),
    );
    const zeros = signEcdsa(digest, key, ZEROS);
    assert.deepEqual(zeros, tiny.sign(digest, key, ZEROS));
    assert.notDeepEqual(zeros, plain);
    const recoverable = signRecoverable(digest, key);
    const theirs = tiny.signRecoverable(digest, key);
    assert.deepEqual(recoverable.subarray(0, 64), theirs.signature);
    assert.equal(recoverable[64], theirs.recoveryId);
    assert.deepEqual(recoverPublicKey(digest, recoverable), point);
    assert.ok(verifyEcdsa(plain, digest, point));
    assert.ok(isSignature(plain));
  });
});

Deno.test("Schnorr signatures agree with libsecp256k1", () => {
  check([bytes32, keys], (digest, key) => {
    const signature = signSchnorr(digest, key);
    assert.deepEqual(signature, tiny.signSchnorr(digest, key, ZEROS));
    const xOnly = publicKey(key).subarray(1);
    assert.ok(verifySchnorr(signature, digest, xOnly));
    assert.ok(!verifySchnorr(signature, sha256(digest), xOnly));
  });
});

// BIP 340, test-vectors.csv, the rows with zero auxiliary randomness.
const bip340: [string, string, string][] = [
  [
    "0000000000000000000000000000000000000000000000000000000000000003",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "e907831f80848d1069a5371b402410364bdf1c5f8307b0084c55f1ce2dca821525f66a4a85ea8b71e482a74f382d2ce5ebeee8fdb2172f477df4900d310536c0",
  ],
];

for (const [key, message, signature] of bip340) {
  Deno.test(`BIP 340 vector of key ${key.slice(-2)} signs as published`, () => {
    const found = signSchnorr(
      Uint8Array.fromHex(message),
      Uint8Array.fromHex(key),
    );
    assert.equal(found.toHex(), signature);
  });
}

Deno.test("points are told from other bytes as libsecp256k1 does", () => {
  const any = fc.tuple(fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7), bytes32)
    .map(([head, tail]) => Uint8Array.of(head, ...tail));
  check([any], (bytes) => {
    assert.equal(isPoint(bytes), tiny.isPointCompressed(bytes));
    assert.equal(isAnyPoint(bytes), tiny.isPoint(bytes));
    assert.equal(
      isXOnly(bytes.subarray(1)),
      tiny.isXOnlyPoint(bytes.subarray(1)),
    );
  });
  for (const size of [0, 1, 32, 34, 65]) {
    assert.ok(!isPoint(new Uint8Array(size).fill(2)));
  }
  const uncompressed = tiny.pointFromScalar(ZEROS.with(31, 1), false);
  assert.ok(uncompressed !== null);
  assert.ok(isAnyPoint(uncompressed) && !isPoint(uncompressed));
});

Deno.test("scalars out of range are no keys and refused as tweaks", () => {
  const key = ZEROS.with(31, 1);
  const minusOne = ORDER.with(31, 0x40);
  assert.deepEqual([ZEROS, ORDER, key].map(isPrivateKey), [false, false, true]);
  assert.throws(() => addScalars(key, ORDER), RequestError);
  assert.throws(() => addScalars(key, minusOne), RequestError);
  assert.throws(() => addPointTweak(publicKey(key), minusOne), RequestError);
  assert.deepEqual(addPointTweak(publicKey(key), ZEROS), publicKey(key));
  assert.ok(!isSignature(Uint8Array.of(...key, ...ORDER)));
  assert.ok(!isSignature(key));
});
