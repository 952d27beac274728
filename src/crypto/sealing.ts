/**
 * What a seed is sealed with: a key made from a passphrase or a key file, and a
 * cipher that notices every change.
 *
 * The only file that imports scrypt, and the AEAD. scrypt is the operating
 * system library's own (OpenSSL, by node:crypto): it runs at full speed where
 * nothing may be compiled at run time, and each guess at a passphrase costs
 * 128 MiB.
 *
 * Standards: RFC 7914 (scrypt), RFC 8439 (ChaCha20-Poly1305), RFC 5869 (HKDF).
 *
 * What it does not do: know a file, or where a passphrase comes from.
 *
 * @module
 */

import { scryptSync } from "node:crypto";
import { chacha20poly1305 } from "@noble/ciphers/chacha.js";
import { hkdf } from "./hash.ts";

/** Size of a sealing key in bytes. */
export const SEAL_KEY_SIZE = 32;
/** Size of a salt in bytes. */
export const SEAL_SALT_SIZE = 16;
/** Size of a nonce in bytes (RFC 8439 2.8). */
export const SEAL_NONCE_SIZE = 12;
/** What a sealed text is longer than the text: Poly1305's tag. */
export const SEAL_TAG_SIZE = 16;

/** What scrypt may cost; N is 2 to the power of logN. */
export interface ScryptCost {
  readonly logN: number;
  readonly r: number;
  readonly p: number;
}

/** For new seals: 128 MiB, less than a second. */
export const SCRYPT_COST: ScryptCost = { logN: 17, r: 8, p: 1 };

/**
 * What is accepted from a file: whoever could change it must not make the softkey
 * take all memory, or do without the work.
 */
const SCRYPT_BOUNDS = {
  logN: { least: 14, most: 18 },
  r: { least: 8, most: 8 },
  p: { least: 1, most: 4 },
} as const;

/** What is wrong with a cost, with what is wanted; null when it is in bounds. */
export function scryptProblem(cost: ScryptCost): string | null {
  for (const name of ["logN", "r", "p"] as const) {
    const { least, most } = SCRYPT_BOUNDS[name];
    const found = cost[name];
    if (!Number.isInteger(found) || found < least || found > most) {
      const wanted = least === most ? `${least}` : `${least} to ${most}`;
      return `scrypt ${name} ${found}, want ${wanted}`;
    }
  }
  return null;
}

/** What scrypt takes. */
export interface ScryptInput extends ScryptCost {
  readonly passphrase: Uint8Array;
  readonly salt: Uint8Array;
  readonly length: number;
}

/** RFC 7914. Takes a part of a second: it is meant to. */
export function scrypt(input: ScryptInput): Uint8Array {
  const { passphrase, salt, logN, r, p, length } = input;
  const cost = 2 ** logN;
  // What it takes, and room for what the library counts on top.
  const maxmem = 128 * r * (cost + p + 2) + 1024 * 1024;
  return new Uint8Array(
    scryptSync(passphrase, salt, length, { cost, blockSize: r, p, maxmem }),
  );
}

/** The sealing key that the bytes of a key file stand for: they are random. */
export function keyOfFile(
  content: Uint8Array,
  salt: Uint8Array,
): Uint8Array {
  const info = "softkey seal, key file";
  return hkdf({ ikm: content, salt, info, length: SEAL_KEY_SIZE });
}

/** What is sealed or opened. */
export interface Sealing {
  readonly key: Uint8Array;
  /** Never used twice with one key. */
  readonly nonce: Uint8Array;
  /** Associated data: in clear, and part of what the tag is over. */
  readonly header: Uint8Array;
}

/** RFC 8439 AEAD: the ciphertext, then the tag. */
export function sealText(
  { key, nonce, header }: Sealing,
  text: Uint8Array,
): Uint8Array {
  return chacha20poly1305(key, nonce, header).encrypt(text);
}

/** The text; null when key, header or ciphertext are not those it was sealed with. */
export function openText(
  { key, nonce, header }: Sealing,
  sealed: Uint8Array,
): Uint8Array | null {
  if (sealed.length < SEAL_TAG_SIZE) return null;
  const cipher = chacha20poly1305(key, nonce, header);
  try {
    return cipher.decrypt(sealed);
  } catch {
    // Its only failure with sizes that fit: the tag is not the one.
    return null;
  }
}
