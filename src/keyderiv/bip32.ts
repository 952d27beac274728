/**
 * Hierarchical keys: BIP 32, as much of it as a node's wallet uses.
 *
 * Private and public derivation of one child, and the 78 bytes of public
 * serialisation that travel in an init reply (no checksum, no base58: those
 * belong to command lines).
 *
 * What it does not do: paths as text, private serialisation.
 *
 * @module
 */

import {
  addToKey,
  addToPoint,
  type KeyPair,
  keyPairOf,
} from "../bitcoin/keys.ts";
import { hash160, hmacSha512 } from "../crypto/hash.ts";
import { isPrivateKey } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import type { ExtKey, PubKey } from "../wire/types.ts";

/** Children from here on cannot be derived from the public key. */
export const HARDENED = 0x8000_0000;

const SEED_KEY: Uint8Array = new TextEncoder().encode("Bitcoin seed");
const SIZE = 78;
const KEY_AT = 45;
const CHAIN_CODE_AT = 13;

/** A private key with what its children are derived from. */
export interface ExtendedKey extends KeyPair {
  readonly chainCode: Secret;
  readonly depth: number;
  /** First four bytes of the parent's HASH160; zero for a master key. */
  readonly parentFingerprint: Uint8Array;
  readonly childNumber: number;
}

/** BIP 32, master key generation; null for the seed in 2^127 that has none. */
export function deriveMasterKey(seed: Secret): ExtendedKey | null {
  const digest = hmacSha512(SEED_KEY, seed.reveal());
  const key = digest.subarray(0, 32);
  if (!isPrivateKey(key)) return null;
  return extend(keyPairOf(new Secret(key)), {
    chainCode: new Secret(digest.subarray(32)),
    depth: 0,
    parentFingerprint: new Uint8Array(4),
    childNumber: 0,
  });
}

/** Keeps the pair's point lazy, which a spread would not. */
function extend(
  pair: KeyPair,
  rest: Omit<ExtendedKey, keyof KeyPair>,
): ExtendedKey {
  return {
    ...rest,
    secret: pair.secret,
    get point() {
      return pair.point;
    },
  };
}

/** BIP 32, CKDpriv: hardened or not. */
export function deriveChild(parent: ExtendedKey, index: number): ExtendedKey {
  const material = index >= HARDENED
    ? Uint8Array.of(0, ...parent.secret.reveal())
    : parent.point;
  const digest = childDigest(parent.chainCode.reveal(), material, index);
  const secret = addToKey(parent.secret, digest.subarray(0, 32));
  return extend(keyPairOf(secret), {
    chainCode: new Secret(digest.subarray(32)),
    depth: parent.depth + 1,
    parentFingerprint: fingerprintOf(parent.point),
    childNumber: index,
  });
}

/** Several children, one below the other. */
export function derivePath(
  key: ExtendedKey,
  path: readonly number[],
): ExtendedKey {
  return path.reduce(deriveChild, key);
}

/** HMAC-SHA-512(chain code, key, index big-endian). */
function childDigest(
  chainCode: Uint8Array,
  material: Uint8Array,
  index: number,
): Uint8Array {
  const message = new Uint8Array(material.length + 4);
  message.set(material);
  new DataView(message.buffer).setUint32(material.length, index);
  return hmacSha512(chainCode, message);
}

function fingerprintOf(point: PubKey): Uint8Array {
  return hash160(point).subarray(0, 4);
}

/** BIP 32, public serialisation, with a network's version. */
export function encodeExtKey(key: ExtendedKey, version: number): ExtKey {
  return encodeParts({
    version,
    depth: key.depth,
    parentFingerprint: key.parentFingerprint,
    childNumber: key.childNumber,
    chainCode: key.chainCode.reveal(),
    point: key.point,
  });
}

interface ExtKeyParts {
  readonly version: number;
  readonly depth: number;
  readonly parentFingerprint: Uint8Array;
  readonly childNumber: number;
  readonly chainCode: Uint8Array;
  readonly point: PubKey;
}

function encodeParts(parts: ExtKeyParts): ExtKey {
  const bytes = new Uint8Array(SIZE);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, parts.version);
  view.setUint8(4, parts.depth);
  bytes.set(parts.parentFingerprint, 5);
  view.setUint32(9, parts.childNumber);
  bytes.set(parts.chainCode, CHAIN_CODE_AT);
  bytes.set(parts.point, KEY_AT);
  // Laid out here as BIP 32 says.
  return bytes as Uint8Array as ExtKey;
}

/**
 * BIP 32, CKDpub: the public key of a child.
 *
 * @throws {RequestError} for a hardened index or a key that is not a point
 */
export function derivePublicWalletKey(parent: ExtKey, index: number): PubKey {
  const { point } = derivePublicParts(parent, index);
  return point;
}

/** BIP 32, CKDpub: the child as an extended key, to derive from again. */
export function derivePublicChild(parent: ExtKey, index: number): ExtKey {
  const { point, chainCode } = derivePublicParts(parent, index);
  const view = new DataView(parent.buffer, parent.byteOffset, SIZE);
  return encodeParts({
    version: view.getUint32(0),
    depth: view.getUint8(4) + 1,
    parentFingerprint: fingerprintOf(pointOf(parent)),
    childNumber: index,
    chainCode,
    point,
  });
}

/** The 33 bytes at the end; on the curve or not is found out by using them. */
function pointOf(key: ExtKey): PubKey {
  return key.subarray(KEY_AT, SIZE) as PubKey;
}

function derivePublicParts(
  parent: ExtKey,
  index: number,
): { point: PubKey; chainCode: Uint8Array } {
  checkNotHardened(index);
  const point = pointOf(parent);
  const chainCode = parent.subarray(CHAIN_CODE_AT, KEY_AT);
  const digest = childDigest(chainCode, point, index);
  return {
    point: addToPoint(point, digest.subarray(0, 32)),
    chainCode: digest.slice(32),
  };
}

/** The stock hsmd ends itself for such an index. */
export function checkNotHardened(index: number): void {
  if (index < HARDENED) return;
  throw new RequestError(
    SIGNER_ERROR_CODES.badRequest,
    `Cannot derive a wallet key: index ${index}, want less than 2^31`,
  );
}
