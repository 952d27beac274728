/**
 * Hashes and key stretching, under the names that the standards use.
 *
 * The only file that imports the hash library: everything else says what it
 * wants to hash, not how. Inputs are given in parts, because almost every digest
 * of this protocol is over a concatenation.
 *
 * Standards: FIPS 180-4 (SHA-2), RFC 5869 (HKDF), RFC 2104 (HMAC), RFC 8018
 * (PBKDF2), RFC 9106 (Argon2), BIP 340 (tagged hashes).
 *
 * What it does not do: know which key or message a digest is for.
 *
 * @module
 */

import { argon2id as nobleArgon2id } from "@noble/hashes/argon2.js";
import { hkdf as nobleHkdf } from "@noble/hashes/hkdf.js";
import { hmac } from "@noble/hashes/hmac.js";
import { ripemd160 as nobleRipemd160 } from "@noble/hashes/legacy.js";
import { pbkdf2 } from "@noble/hashes/pbkdf2.js";
import {
  sha256 as nobleSha256,
  sha512 as nobleSha512,
} from "@noble/hashes/sha2.js";

const utf8 = new TextEncoder();

/** SHA-256 of the parts, one after another. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  const [first, ...rest] = parts;
  if (first !== undefined && rest.length === 0) return nobleSha256(first);
  const hash = nobleSha256.create();
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** SHA-256 twice: Bitcoin's hash of transactions and messages. */
export function sha256d(...parts: readonly Uint8Array[]): Uint8Array {
  return nobleSha256(sha256(...parts));
}

/** RIPEMD-160, which only scripts still use. */
export function ripemd160(bytes: Uint8Array): Uint8Array {
  return nobleRipemd160(bytes);
}

/** RIPEMD-160 of SHA-256: the hash in addresses and key fingerprints. */
export function hash160(bytes: Uint8Array): Uint8Array {
  return nobleRipemd160(nobleSha256(bytes));
}

/** HMAC-SHA-256 of the parts, one after another. */
export function hmacSha256(
  key: Uint8Array,
  ...parts: readonly Uint8Array[]
): Uint8Array {
  const mac = hmac.create(nobleSha256, key);
  for (const part of parts) mac.update(part);
  return mac.digest();
}

/** HMAC-SHA-512, the pseudorandom function of BIP 32. */
export function hmacSha512(key: Uint8Array, message: Uint8Array): Uint8Array {
  return hmac(nobleSha512, key, message);
}

/** What HKDF takes; an absent salt is a salt of zeros (RFC 5869 2.2). */
export interface HkdfInput {
  readonly ikm: Uint8Array;
  readonly salt?: Uint8Array;
  readonly info: Uint8Array | string;
  readonly length: number;
}

/** RFC 5869 with SHA-256. */
export function hkdf({ ikm, salt, info, length }: HkdfInput): Uint8Array {
  const label = typeof info === "string" ? utf8.encode(info) : info;
  return nobleHkdf(nobleSha256, ikm, salt, label, length);
}

/** A hash function whose domain is separated by a tag (BIP 340). */
export type TaggedHash = (...parts: readonly Uint8Array[]) => Uint8Array;

/**
 * SHA-256(tag hash, tag hash, message), with the tag's hash taken once; the tag
 * may come in parts.
 */
export function taggedHash(
  ...tag: readonly (string | Uint8Array)[]
): TaggedHash {
  const hash = sha256(
    ...tag.map((part) => typeof part === "string" ? utf8.encode(part) : part),
  );
  return (...parts) => sha256(hash, hash, ...parts);
}

/** BIP 39's stretching of words into 64 bytes: PBKDF2, SHA-512, 2048 rounds. */
export function stretchWords(
  words: Uint8Array,
  salt: Uint8Array,
): Uint8Array {
  return pbkdf2(nobleSha512, words, salt, { c: 2048, dkLen: 64 });
}

/** What Argon2id takes; memory in KiB. */
export interface Argon2idInput {
  readonly passphrase: Uint8Array;
  readonly salt: Uint8Array;
  readonly passes: number;
  readonly memory: number;
  readonly length: number;
}

/** RFC 9106 Argon2id, version 1.3, one lane. Takes seconds: it is meant to. */
export function argon2id(input: Argon2idInput): Uint8Array {
  return nobleArgon2id(input.passphrase, input.salt, {
    t: input.passes,
    m: input.memory,
    p: 1,
    dkLen: input.length,
  });
}
