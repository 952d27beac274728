/**
 * Keys under their wire names: the doorway between `crypto/secp.ts`, which knows
 * bytes, and everything that knows what a key is for.
 *
 * Private keys go in and come out as {@link Secret}; public ones carry the
 * brand `PubKey`, which is put on here and, for keys that were received, by the
 * codec that read them.
 *
 * Standard: BIP 341 for the tweak of a Taproot key.
 *
 * What it does not do: derive keys from seeds; that is `keyderiv.ts`.
 *
 * @module
 */

import { taggedHash } from "../crypto/hash.ts";
import {
  addPointTweak,
  addScalars,
  addWeightedPoints,
  addWeightedPointToKey,
  isPrivateKey,
  multiplyScalars,
  negateScalar,
  publicKey,
} from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import type { PubKey } from "../wire/types.ts";

const tapTweak = taggedHash("TapTweak");

/** A private key with the point that belongs to it. */
export interface KeyPair {
  readonly secret: Secret;
  readonly point: PubKey;
}

/** The pair of a private key; its point is worked out once, when it is needed. */
export function keyPairOf(secret: Secret): KeyPair {
  let point: PubKey | undefined;
  return {
    secret,
    get point() {
      return point ??= publicKeyOf(secret);
    },
  };
}

/** The curve library returns compressed points: this names them. */
export function asPubKey(point: Uint8Array): PubKey {
  return point as PubKey;
}

/** The public key of a private one. */
export function publicKeyOf(key: Secret): PubKey {
  return asPubKey(publicKey(key.reveal()));
}

/** A received scalar as a private key. @throws {RequestError} out of range */
export function toPrivateKey(bytes: Uint8Array): Secret {
  if (!isPrivateKey(bytes)) {
    throw new RequestError(
      SIGNER_ERROR_CODES.badRequest,
      "Cannot use a private key: it is not on the curve's scalar range",
    );
  }
  return new Secret(bytes);
}

/** key + tweak. */
export function addToKey(key: Secret, tweak: Uint8Array): Secret {
  return new Secret(addScalars(key.reveal(), tweak));
}

/** a·x + b·y. */
export function addWeightedKeys(
  [a, x]: readonly [key: Secret, tweak: Uint8Array],
  [b, y]: readonly [key: Secret, tweak: Uint8Array],
): Secret {
  const left = multiplyScalars(a.reveal(), x);
  return new Secret(addScalars(left, multiplyScalars(b.reveal(), y)));
}

/** point + tweak·G. */
export function addToPoint(point: PubKey, tweak: Uint8Array): PubKey {
  return asPubKey(addPointTweak(point, tweak));
}

/** a·x + b·y, of public values. */
export function addWeightedPubKeys(
  a: readonly [point: PubKey, tweak: Uint8Array],
  b: readonly [point: PubKey, tweak: Uint8Array],
): PubKey {
  return asPubKey(addWeightedPoints(a, b));
}

/** a·x + b·y·G: what the function above gives, where b is known. */
export function addWeightedPubKeyToKey(
  [a, x]: readonly [point: PubKey, tweak: Uint8Array],
  [b, y]: readonly [key: Secret, tweak: Uint8Array],
): PubKey {
  const key = multiplyScalars(b.reveal(), y);
  return asPubKey(addWeightedPointToKey([a, x], key));
}

/** BIP 341: the private key of the output key; no script tree unless given. */
export function tweakTaprootKey(key: Secret, merkleRoot?: Uint8Array): Secret {
  const point = publicKey(key.reveal());
  const hasEvenY = point[0] === 2;
  const even = hasEvenY ? key.reveal() : negateScalar(key.reveal());
  const tweak = tapTweak(point.subarray(1), merkleRoot ?? new Uint8Array());
  return new Secret(addScalars(even, tweak));
}
