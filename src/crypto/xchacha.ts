/**
 * XChaCha20-Poly1305: the cipher whose nonces are long enough to be random.
 *
 * The only file that imports it. Several devices that know nothing of each other
 * seal under one key, so that none of them can count: 24 random bytes never meet.
 *
 * Standard: draft-irtf-cfrg-xchacha-03, on RFC 8439.
 *
 * What it does not do: choose nonces, or know what is sealed.
 *
 * @module
 */

import { xchacha20poly1305 } from "@noble/ciphers/chacha.js";

/** Size of a nonce in bytes. */
export const LONG_NONCE_SIZE = 24;
/** Size of Poly1305's tag in bytes. */
export const LONG_TAG_SIZE = 16;

/** Key, nonce and header of one sealing. */
export interface LongSealing {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** 24 bytes, random. */
  readonly nonce: Uint8Array;
  /** In clear, and part of what the tag is over. */
  readonly header: Uint8Array;
}

/** The ciphertext, then the tag. */
export function sealLong(
  { key, nonce, header }: LongSealing,
  text: Uint8Array,
): Uint8Array {
  return xchacha20poly1305(key, nonce, header).encrypt(text);
}

/** The text; null when anything is not as it was sealed. */
export function openLong(
  { key, nonce, header }: LongSealing,
  sealed: Uint8Array,
): Uint8Array | null {
  if (sealed.length < LONG_TAG_SIZE) return null;
  const cipher = xchacha20poly1305(key, nonce, header);
  try {
    return cipher.decrypt(sealed);
  } catch {
    // Its only failure with sizes that fit: the tag is not the one.
    return null;
  }
}
