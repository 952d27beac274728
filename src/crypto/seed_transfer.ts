/**
 * A seed on its way to a device: sealed by a setup tool with a key that only the
 * two of them can make.
 *
 * Both have a key of secp256k1. The key of the cipher is SHA-256 of the
 * compressed product; the payload is what the hardware of the field takes:
 *
 * | bytes | content |
 * | --- | --- |
 * | 32 | the seed, encrypted |
 * | 16 | the tag |
 * | 12 | the nonce |
 *
 * Standards: SEC 1 (ECDH), RFC 8439 (ChaCha20-Poly1305, no associated data).
 *
 * What it does not do: tell who holds the other key. Whoever stands between the
 * two can give a key of their own to each; only people who compare both keys on
 * both sides see that.
 *
 * @module
 */

import {
  openText,
  SEAL_NONCE_SIZE,
  SEAL_TAG_SIZE,
  sealText,
} from "./sealing.ts";
import { Secret } from "./secret.ts";
import { ecdh } from "./secp.ts";

/** Size of a seed in bytes. */
export const TRANSFER_SEED_SIZE = 32;
/** Size of a payload in bytes. */
export const TRANSFER_SIZE = TRANSFER_SEED_SIZE + SEAL_TAG_SIZE +
  SEAL_NONCE_SIZE;

const NO_HEADER: Uint8Array = new Uint8Array(0);

/** The key of one end, and the point of the other. */
export interface TransferKeys {
  readonly privateKey: Secret;
  /** 33 bytes of the curve. */
  readonly point: Uint8Array;
}

/** What both ends come to: the key of the cipher. */
export function deriveTransferKey({ privateKey, point }: TransferKeys): Secret {
  return new Secret(ecdh(privateKey.reveal(), point));
}

/** A tool's end: the payload. @param nonce 12 bytes, never the same twice */
export function sealSeed(
  keys: TransferKeys,
  seed: Secret,
  nonce: Uint8Array,
): Uint8Array {
  const key = deriveTransferKey(keys);
  const sealing = { key: key.reveal(), nonce, header: NO_HEADER };
  const sealed = sealText(sealing, seed.reveal());
  key.wipe();
  return Uint8Array.of(...sealed, ...nonce);
}

/** The device's end: the seed; null when the payload is not for these keys. */
export function openSeed(
  keys: TransferKeys,
  payload: Uint8Array,
): Secret | null {
  if (payload.length !== TRANSFER_SIZE) return null;
  const nonce = payload.subarray(-SEAL_NONCE_SIZE);
  const sealed = payload.subarray(0, -SEAL_NONCE_SIZE);
  const key = deriveTransferKey(keys);
  const sealing = { key: key.reveal(), nonce, header: NO_HEADER };
  const text = openText(sealing, sealed);
  key.wipe();
  if (text === null) return null;
  const seed = new Secret(text);
  text.fill(0);
  return seed;
}
