/**
 * The curve secp256k1: points, scalars and raw signatures.
 *
 * The only file that imports the curve library. A program that signs much gives
 * it a faster one ({@link useFastCurve}), which does some of the work behind the
 * same names and gives the same bytes. Points are compressed (33 bytes) or
 * x-only (32 bytes), scalars are 32 bytes, ECDSA signatures are r then s (64
 * bytes) with a low s, nonces are those of RFC 6979.
 *
 * Standards: SEC 1 and SEC 2 (the curve), RFC 6979 (nonces), BIP 340 (Schnorr),
 * BIP 146 (low s).
 *
 * What it does not do: choose extra entropy. Three rules of grinding exist in
 * this protocol and `bitcoin/sign.ts` tells them apart.
 *
 * @module
 */

import { schnorr, secp256k1 } from "@noble/curves/secp256k1.js";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import { sha256 } from "./hash.ts";

const { Point } = secp256k1;
const { Fn } = Point;

/** What is asked of a faster library; `secp_wasm.ts` has one. */
export interface FastCurve {
  pointFromScalar(key: Uint8Array, isCompressed: boolean): Uint8Array | null;
  pointMultiply(
    point: Uint8Array,
    tweak: Uint8Array,
    isCompressed: boolean,
  ): Uint8Array | null;
  pointAdd(
    a: Uint8Array,
    b: Uint8Array,
    isCompressed: boolean,
  ): Uint8Array | null;
  sign(digest: Uint8Array, key: Uint8Array, entropy?: Uint8Array): Uint8Array;
  signRecoverable(digest: Uint8Array, key: Uint8Array): {
    readonly signature: Uint8Array;
    readonly recoveryId: number;
  };
  signSchnorr(
    digest: Uint8Array,
    key: Uint8Array,
    entropy: Uint8Array,
  ): Uint8Array;
  verify(
    digest: Uint8Array,
    point: Uint8Array,
    signature: Uint8Array,
    isStrict: boolean,
  ): boolean;
}

let fastCurve: FastCurve | null = null;

/** Lets another library do what it does faster; null takes it away again. */
export function useFastCurve(curve: FastCurve | null): void {
  fastCurve = curve;
}

/**
 * What the faster library makes of it; null when there is none or it refuses.
 *
 * What it refuses is asked of the other one, which has the last word: errors
 * and odd inputs are the same with both.
 */
function tryFast<T>(work: (curve: FastCurve) => T | null): T | null {
  if (fastCurve === null) return null;
  try {
    return work(fastCurve);
  } catch (_error) {
    return null;
  }
}

/** Whether the bytes are a compressed point of the curve. */
export function isPoint(bytes: Uint8Array): boolean {
  return bytes.length === 33 && isEncodedPoint(bytes);
}

/** Whether the bytes are a point in any encoding that old scripts may hold. */
export function isAnyPoint(bytes: Uint8Array): boolean {
  return (bytes.length === 33 || bytes.length === 65) && isEncodedPoint(bytes);
}

/** Whether the bytes are the x of some point (BIP 340 lift_x). */
export function isXOnly(bytes: Uint8Array): boolean {
  if (bytes.length !== 32) return false;
  const point = new Uint8Array(33);
  point[0] = 2;
  point.set(bytes, 1);
  return isEncodedPoint(point);
}

function isEncodedPoint(bytes: Uint8Array): boolean {
  try {
    // Decoding solves for y and refuses an x without one; the curve's cofactor
    // is 1, so nothing is left to check.
    Point.fromBytes(bytes);
    return true;
  } catch (_error) {
    return false;
  }
}

/** Whether the bytes are a private key: 1 to the group order less 1. */
export function isPrivateKey(bytes: Uint8Array): boolean {
  return secp256k1.utils.isValidSecretKey(bytes);
}

/** The compressed point of a private key. */
export function publicKey(privateKey: Uint8Array): Uint8Array {
  return tryFast((curve) => curve.pointFromScalar(privateKey, true)) ??
    secp256k1.getPublicKey(privateKey, true);
}

/**
 * SHA-256 of the compressed product: libsecp256k1's ECDH, BOLT 8's too.
 *
 * Never the faster library's: its product takes a time that tells of the key.
 */
export function ecdh(privateKey: Uint8Array, point: Uint8Array): Uint8Array {
  return sha256(secp256k1.getSharedSecret(privateKey, point, true));
}

/** point + tweak·G, for public values only: time depends on them. */
export function addPointTweak(
  point: Uint8Array,
  tweak: Uint8Array,
): Uint8Array {
  return tryFast((curve) =>
    point.length === 33
      ? addFast(curve, point, curve.pointFromScalar(tweak, false))
      : null
  ) ?? toFinitePoint(
    Point.fromBytes(point).add(Point.BASE.multiplyUnsafe(toScalar(tweak))),
  );
}

/** a·tweakA + b·tweakB, for public values only: time depends on them. */
export function addWeightedPoints(
  [a, tweakA]: readonly [point: Uint8Array, tweak: Uint8Array],
  [b, tweakB]: readonly [point: Uint8Array, tweak: Uint8Array],
): Uint8Array {
  return tryFast((curve) =>
    addFast(
      curve,
      multiplyFast(curve, a, tweakA),
      multiplyFast(curve, b, tweakB),
    )
  ) ?? toFinitePoint(
    Point.fromBytes(a)
      .mulAddUnsafe(toScalar(tweakA), Point.fromBytes(b), toScalar(tweakB)),
  );
}

/** point·tweak + key·G: time depends on the first two, not on the key. */
export function addWeightedPointToKey(
  [point, tweak]: readonly [point: Uint8Array, tweak: Uint8Array],
  privateKey: Uint8Array,
): Uint8Array {
  return tryFast((curve) =>
    addFast(
      curve,
      multiplyFast(curve, point, tweak),
      curve.pointFromScalar(privateKey, false),
    )
  ) ?? toFinitePoint(
    Point.fromBytes(point).multiplyUnsafe(toScalar(tweak))
      .add(Point.BASE.multiply(toScalar(privateKey))),
  );
}

/** With its y, so that the sum need not solve for it. */
function multiplyFast(curve: FastCurve, point: Uint8Array, tweak: Uint8Array) {
  return point.length === 33 ? curve.pointMultiply(point, tweak, false) : null;
}

/** Null is a point at infinity: the other library says what comes of it. */
function addFast(
  curve: FastCurve,
  a: Uint8Array | null,
  b: Uint8Array | null,
): Uint8Array | null {
  return a === null || b === null ? null : curve.pointAdd(a, b, true);
}

/** key + tweak, modulo the group order. */
export function addScalars(key: Uint8Array, tweak: Uint8Array): Uint8Array {
  return fromScalar(Fn.add(toScalar(key), toScalar(tweak)));
}

/** a·b, modulo the group order. */
export function multiplyScalars(a: Uint8Array, b: Uint8Array): Uint8Array {
  return fromScalar(Fn.mul(toScalar(a), toScalar(b)));
}

/** The group order less the key. */
export function negateScalar(key: Uint8Array): Uint8Array {
  return fromScalar(Fn.neg(toScalar(key)));
}

function toScalar(bytes: Uint8Array): bigint {
  try {
    return Fn.fromBytes(bytes);
  } catch (cause) {
    throw outOfRange("Cannot use a scalar: it is not below the order", cause);
  }
}

function fromScalar(scalar: bigint): Uint8Array {
  if (scalar === 0n) throw outOfRange("Cannot use a scalar: it is zero");
  return Fn.toBytes(scalar);
}

function toFinitePoint(point: InstanceType<typeof Point>): Uint8Array {
  if (point.is0()) throw outOfRange("Cannot use a point: it is at infinity");
  return point.toBytes(true);
}

/** Only a request that was built to this end gets here, once in 2^128. */
function outOfRange(text: string, cause?: unknown): RequestError {
  return new RequestError(SIGNER_ERROR_CODES.badRequest, text, { cause });
}

/** ECDSA over a 32-byte digest; absent entropy is not the same as zeros. */
export function signEcdsa(
  digest: Uint8Array,
  privateKey: Uint8Array,
  extraEntropy?: Uint8Array,
): Uint8Array {
  return tryFast((curve) => curve.sign(digest, privateKey, extraEntropy)) ??
    secp256k1.sign(digest, privateKey, {
      prehash: false,
      lowS: true,
      extraEntropy: extraEntropy ?? false,
    });
}

/** ECDSA with the recovery id after r and s, as CLN and BOLT 11 have it. */
export function signRecoverable(
  digest: Uint8Array,
  privateKey: Uint8Array,
): Uint8Array {
  const fast = tryFast((curve) => curve.signRecoverable(digest, privateKey));
  if (fast !== null) return Uint8Array.of(...fast.signature, fast.recoveryId);
  const signature = secp256k1.sign(digest, privateKey, {
    prehash: false,
    lowS: true,
    extraEntropy: false,
    format: "recovered",
  });
  const moved = new Uint8Array(65);
  moved.set(signature.subarray(1));
  moved.set(signature.subarray(0, 1), 64);
  return moved;
}

/** The point that made a 65-byte signature (recovery id last). */
export function recoverPublicKey(
  digest: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  const moved = new Uint8Array(65);
  moved.set(signature.subarray(64));
  moved.set(signature.subarray(0, 64), 1);
  return secp256k1.recoverPublicKey(moved, digest, { prehash: false });
}

/** Whether r, s is the point's signature of the digest; a high s is not. */
export function verifyEcdsa(
  signature: Uint8Array,
  digest: Uint8Array,
  point: Uint8Array,
): boolean {
  return tryFast((curve) =>
    // Other lengths are old encodings, which the two do not agree about.
    point.length === 33 ? curve.verify(digest, point, signature, true) : null
  ) ?? secp256k1.verify(signature, digest, point, {
    prehash: false,
    lowS: true,
  });
}

const NO_ENTROPY: Uint8Array = new Uint8Array(32);

/** BIP 340 with 32 zero bytes of auxiliary randomness. */
export function signSchnorr(
  digest: Uint8Array,
  privateKey: Uint8Array,
): Uint8Array {
  return tryFast((curve) =>
    curve.signSchnorr(digest, privateKey, NO_ENTROPY)
  ) ?? schnorr.sign(digest, privateKey, NO_ENTROPY);
}

/** Whether it is the x-only point's BIP 340 signature of the digest. */
export function verifySchnorr(
  signature: Uint8Array,
  digest: Uint8Array,
  xOnly: Uint8Array,
): boolean {
  return schnorr.verify(signature, digest, xOnly);
}

/** Whether both halves are below the group order, which libsecp256k1 asks. */
export function isSignature(bytes: Uint8Array): boolean {
  return bytes.length === 64 && isBelowOrder(bytes.subarray(0, 32)) &&
    isBelowOrder(bytes.subarray(32));
}

function isBelowOrder(bytes: Uint8Array): boolean {
  return BigInt(`0x${bytes.toHex()}`) < Fn.ORDER;
}
