/**
 * The faster curve library does the same as the other one, to the byte.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  addPointTweak,
  addWeightedPoints,
  addWeightedPointToKey,
  ecdh,
  isAnyPoint,
  negateScalar,
  publicKey,
  recoverPublicKey,
  signEcdsa,
  signRecoverable,
  signSchnorr,
  useFastCurve,
  verifyEcdsa,
  verifySchnorr,
} from "../../src/crypto/secp.ts";
import { loadFastCurve } from "../../src/crypto/secp_wasm.ts";
import { runs } from "../support/arbitrary.ts";

const fast = await loadFastCurve();

/** What came out, or what was thrown: a class and a text. */
function outcomeOf(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    assert.ok(error instanceof Error);
    return [error.constructor, error.message];
  }
}

/** What came out, with the faster library and without. */
function bothOutcomes(work: () => unknown): readonly [unknown, unknown] {
  useFastCurve(fast);
  try {
    const quick = outcomeOf(work);
    useFastCurve(null);
    return [quick, outcomeOf(work)];
  } finally {
    useFastCurve(null);
  }
}

/** Runs a piece of work with both and wants the same of them. */
function isSame(work: () => unknown): void {
  const [quick, slow] = bothOutcomes(work);
  assert.deepEqual(quick, slow);
}

const ZEROS = new Uint8Array(32);
const ONES = new Uint8Array(32).fill(0xff);
const ORDER = Uint8Array.fromHex(
  "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
);

const bytes = (length: number) =>
  fc.uint8Array({ minLength: length, maxLength: length });
/** Mostly what is right; also what is at the edges, and what is wrong. */
const scalars = fc.oneof(
  { weight: 6, arbitrary: bytes(32) },
  fc.constantFrom(ZEROS, ONES, ORDER, ZEROS.with(31, 1), ORDER.with(31, 0x40)),
  fc.uint8Array({ maxLength: 40 }),
);
const points = fc.oneof(
  {
    weight: 6,
    arbitrary: bytes(32).map((key) => publicKey(key.with(0, 0).with(31, 1))),
  },
  bytes(32).map((x) => Uint8Array.of(2, ...x)),
  bytes(64).map((xy) => Uint8Array.of(4, ...xy)),
  fc.constantFrom(new Uint8Array(33), new Uint8Array(0), ORDER),
);
const entropies = fc.oneof(
  fc.constantFrom(undefined, ZEROS, new Uint8Array(), ONES),
  bytes(32),
);

Deno.test("the faster library is there to be compared", () => {
  assert.ok(fast !== null);
});

Deno.test("keys and points are the same with both libraries", () => {
  fc.assert(
    fc.property(points, points, scalars, scalars, (a, b, x, y) => {
      isSame(() => publicKey(x));
      isSame(() => ecdh(x, a));
      isSame(() => addPointTweak(a, x));
      isSame(() => addWeightedPoints([a, x], [b, y]));
      isSame(() => addWeightedPointToKey([a, x], y));
    }),
    { numRuns: runs(60) },
  );
});

Deno.test("signatures are the same with both libraries", () => {
  fc.assert(
    fc.property(scalars, scalars, entropies, (digest, key, entropy) => {
      isSame(() => signEcdsa(digest, key, entropy));
      isSame(() => signRecoverable(digest, key));
      isSame(() => signSchnorr(digest, key));
    }),
    { numRuns: runs(60) },
  );
});

Deno.test("what was signed with one library is accepted by the other", () => {
  const key = bytes(32).map((value) => value.with(0, 0).with(31, 1));
  fc.assert(
    fc.property(key, bytes(32), (key, digest) => {
      const point = publicKey(key);
      const [quick, slow] = bothOutcomes(() => signEcdsa(digest, key));
      assert.ok(quick instanceof Uint8Array && slow instanceof Uint8Array);
      assert.ok(verifyEcdsa(quick, digest, point));
      const accepted = bothOutcomes(() => verifyEcdsa(slow, digest, point));
      assert.deepEqual(accepted, [true, true]);
      const [recoverable] = bothOutcomes(() => signRecoverable(digest, key));
      assert.ok(recoverable instanceof Uint8Array);
      assert.deepEqual(recoverPublicKey(digest, recoverable), point);
      const [schnorr] = bothOutcomes(() => signSchnorr(digest, key));
      assert.ok(schnorr instanceof Uint8Array);
      assert.ok(verifySchnorr(schnorr, digest, point.subarray(1)));
    }),
    { numRuns: runs(25) },
  );
});

Deno.test("a high s is refused by both libraries", () => {
  const [key, digest] = [ZEROS.with(31, 7), ONES.with(0, 1)];
  const low = signEcdsa(digest, key);
  const high = new Uint8Array(low);
  high.set(negateScalar(low.subarray(32)), 32);
  const verify = (signature: Uint8Array) => () =>
    verifyEcdsa(signature, digest, publicKey(key));
  assert.deepEqual(bothOutcomes(verify(low)), [true, true]);
  assert.deepEqual(bothOutcomes(verify(high)), [false, false]);
});

Deno.test("bad signatures, digests and points fare the same with both", () => {
  const signatures = fc.oneof(
    fc.tuple(scalars, scalars).map(([r, s]) => Uint8Array.of(...r, ...s)),
    fc.tuple(bytes(32), bytes(32)).map(([digest, key]) =>
      signEcdsa(digest, key.with(0, 0).with(31, 1))
    ),
  );
  fc.assert(
    fc.property(signatures, scalars, points, (signature, digest, point) => {
      isSame(() => verifyEcdsa(signature, digest, point));
    }),
    { numRuns: runs(60) },
  );
});

Deno.test("hybrid and long encodings of a point fare the same with both", () => {
  const [key, digest] = [ZEROS.with(31, 7), ONES];
  const signature = signEcdsa(digest, key);
  // G·7, with its y.
  const y = "6aebca40ba255960a3178d6d861a54dba813d0b813fde7b5a5082628087264da";
  for (const head of [4, 6, 7]) {
    const tail = [...publicKey(key).subarray(1), ...Uint8Array.fromHex(y)];
    const point = Uint8Array.of(head, ...tail);
    assert.equal(isAnyPoint(point), head === 4);
    isSame(() => verifyEcdsa(signature, digest, point));
    isSame(() => addWeightedPointToKey([point, key], key));
    isSame(() => ecdh(key, point));
  }
});

Deno.test("ecdh is never the faster library's, whose time tells of the key", () => {
  const wrong = new Uint8Array(33);
  assert.ok(fast !== null);
  useFastCurve({ ...fast, pointMultiply: () => wrong });
  try {
    const point = publicKey(ZEROS.with(31, 2));
    const shared = ecdh(ZEROS.with(31, 3), point);
    useFastCurve(null);
    assert.deepEqual(shared, ecdh(ZEROS.with(31, 3), point));
  } finally {
    useFastCurve(null);
  }
});

Deno.test("what the faster library is given is used", () => {
  const digest = ONES;
  const [key, marker] = [ZEROS.with(31, 7), new Uint8Array(64)];
  assert.ok(fast !== null);
  useFastCurve({ ...fast, sign: () => marker });
  try {
    assert.equal(signEcdsa(digest, key), marker);
  } finally {
    useFastCurve(null);
  }
});
