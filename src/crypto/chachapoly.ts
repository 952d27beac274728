/**
 * ChaCha20-Poly1305 for what is sealed many times a second: the link.
 *
 * The only file that takes this cipher from `node:crypto`. The runtime's own
 * seals a kilobyte in a third of the time that the library in `sealing.ts`
 * takes, and every request crosses the link twice. Both make the same bytes.
 *
 * Standard: RFC 8439 2.8.
 *
 * What it does not do: choose nonces; `noise.ts` counts them.
 *
 * @module
 */

import { createCipheriv, createDecipheriv } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";

const ALGORITHM = "chacha20-poly1305";
/** Size of Poly1305's tag in bytes. */
export const TAG_SIZE = 16;
const OPTIONS = { authTagLength: TAG_SIZE } as const;

/** Key and nonce of one sealing. */
export interface Aead {
  /** 32 bytes. */
  readonly key: Uint8Array;
  /** 12 bytes, never used twice with one key to seal. */
  readonly nonce: Uint8Array;
  /** In clear, and part of what the tag is over; absent is empty. */
  readonly header?: Uint8Array;
}

/** Writes ciphertext and tag to `target` at `offset`. */
export function sealInto(
  { key, nonce, header }: Aead,
  text: Uint8Array,
  target: Uint8Array,
  offset: number,
): void {
  const cipher = createCipheriv(ALGORITHM, key, nonce, OPTIONS);
  if (header !== undefined) {
    cipher.setAAD(header, { plaintextLength: text.length });
  }
  if (text.length > 0) target.set(cipher.update(text), offset);
  cipher.final();
  target.set(cipher.getAuthTag(), offset + text.length);
}

/** Ciphertext and tag. */
export function seal(aead: Aead, text: Uint8Array): Uint8Array<ArrayBuffer> {
  const sealed = new Uint8Array(text.length + TAG_SIZE);
  sealInto(aead, text, sealed, 0);
  return sealed;
}

/** The text; null when anything is not as it was sealed. */
export function open(
  { key, nonce, header }: Aead,
  sealed: Uint8Array,
): Uint8Array | null {
  const length = sealed.length - TAG_SIZE;
  if (length < 0) return null;
  const cipher = createDecipheriv(ALGORITHM, key, nonce, OPTIONS);
  if (header !== undefined) {
    cipher.setAAD(header, { plaintextLength: length });
  }
  cipher.setAuthTag(sealed.subarray(length));
  const text = cipher.update(sealed.subarray(0, length));
  try {
    cipher.final();
    return new Uint8Array(text.buffer, text.byteOffset, text.byteLength);
  } catch (_error) {
    // With sizes that fit it has one reason to fail: the tag is another.
    text.fill(0);
    return null;
  }
}

/**
 * The same, of anybody's making: the runtime keeps some bytes for each failure,
 * and strangers can fail for days.
 */
export function openStrange(
  { key, nonce, header }: Aead,
  sealed: Uint8Array,
): Uint8Array | null {
  if (sealed.length < TAG_SIZE) return null;
  const cipher = chacha20poly1305(key, nonce, header);
  try {
    return cipher.decrypt(sealed);
  } catch (_error) {
    // Its only failure with sizes that fit: the tag is not the one.
    return null;
  }
}
