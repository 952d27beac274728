/**
 * The transport of BOLT 8: what both ends of a handshake seal and open with.
 *
 * A message is its length, sealed, and its text, sealed. A key counts its uses,
 * so that whatever is lost, repeated, moved or changed on the way does not open,
 * and is replaced after 1000 of them.
 *
 * Standards: BOLT 8 ("Lightning Message Specification"), RFC 5869 (HKDF), RFC
 * 8439 (ChaCha20-Poly1305).
 *
 * What it does not do: agree on keys (`noise.ts`).
 *
 * @module
 */

import { Bug } from "../errors.ts";
import { open, sealInto, TAG_SIZE } from "./chachapoly.ts";
import { hkdf } from "./hash.ts";
import { Secret } from "./secret.ts";

/** A message is at most this long, before sealing. */
export const NOISE_TEXT_LIMIT = 65_535;
/** What a sealed message is longer: its sealed length (2), and two tags. */
export const NOISE_OVERHEAD: number = 2 + 2 * TAG_SIZE;
const SEALED_LENGTH_SIZE = 2 + TAG_SIZE;
const NONCE_SIZE = 12;
/** Uses of a key until it is replaced. */
const ROTATION = 1000;
const NO_BYTES = new Uint8Array(0);

/** Seals messages; each can be opened once, in this order, by its receiver. */
export class NoiseSender {
  readonly #key: RotatingKey;

  /** Takes copies of the keys. */
  constructor(key: Uint8Array, chainingKey: Uint8Array) {
    this.#key = new RotatingKey(key, chainingKey);
  }

  /** A message as it travels. */
  seal(text: Uint8Array): Uint8Array<ArrayBuffer> {
    const sealed = new Uint8Array(text.length + NOISE_OVERHEAD);
    this.sealInto(text, sealed, 0);
    return sealed;
  }

  /** Writes a message to `target` and returns where it ends. */
  sealInto(text: Uint8Array, target: Uint8Array, offset: number): number {
    if (text.length > NOISE_TEXT_LIMIT) {
      throw new Bug(`Sealed ${text.length} bytes at once`);
    }
    const length = Uint8Array.of(text.length >> 8, text.length & 0xff);
    this.#key.use((aead) => sealInto(aead, length, target, offset));
    const start = offset + SEALED_LENGTH_SIZE;
    this.#key.use((aead) => sealInto(aead, text, target, start));
    return offset + text.length + NOISE_OVERHEAD;
  }

  /** Forgets the key. */
  wipe(): void {
    this.#key.wipe();
  }
}

/** Opens messages in the order in which they were sealed. */
export class NoiseReceiver {
  readonly #key: RotatingKey;
  #isBroken = false;

  /** Takes copies of the keys. */
  constructor(key: Uint8Array, chainingKey: Uint8Array) {
    this.#key = new RotatingKey(key, chainingKey);
  }

  /**
   * The message that starts at `offset` and where the next one does; null when
   * it does not open, and from then on for all that may follow.
   */
  open(
    sealed: Uint8Array,
    offset = 0,
  ): { readonly text: Uint8Array; readonly next: number } | null {
    if (this.#isBroken) return null;
    const opened = this.#open(sealed, offset);
    if (opened === null) this.#isBroken = true;
    return opened;
  }

  #open(sealed: Uint8Array, offset: number) {
    const start = offset + SEALED_LENGTH_SIZE;
    if (sealed.length < start) return null;
    const lengthPart = sealed.subarray(offset, start);
    const length = this.#key.use((aead) => open(aead, lengthPart));
    if (length === null) return null;
    const next = start + readU16(length) + TAG_SIZE;
    if (sealed.length < next) return null;
    const textPart = sealed.subarray(start, next);
    const text = this.#key.use((aead) => open(aead, textPart));
    return text === null ? null : { text, next };
  }

  /** Forgets the key: nothing opens any more. */
  wipe(): void {
    this.#isBroken = true;
    this.#key.wipe();
  }
}

/** A key that counts its uses and is replaced in time. */
class RotatingKey {
  #key: Secret;
  #chainingKey: Secret;
  #uses = 0;
  /** 32 zero bits, then the count, little-endian. */
  readonly #nonce = new Uint8Array(NONCE_SIZE);

  constructor(key: Uint8Array, chainingKey: Uint8Array) {
    this.#key = new Secret(key);
    this.#chainingKey = new Secret(chainingKey);
  }

  use<T>(work: (aead: { key: Uint8Array; nonce: Uint8Array }) => T): T {
    const nonce = this.#nonce;
    nonce[4] = this.#uses & 0xff;
    nonce[5] = this.#uses >> 8;
    const result = work({ key: this.#key.reveal(), nonce });
    this.#uses += 1;
    if (this.#uses === ROTATION) this.#rotate();
    return result;
  }

  #rotate(): void {
    const [chainingKey, key] = stretch(this.#chainingKey, this.#key.reveal());
    this.wipe();
    this.#chainingKey = chainingKey;
    this.#key = key;
    this.#uses = 0;
  }

  wipe(): void {
    this.#key.wipe();
    this.#chainingKey.wipe();
  }
}

/** HKDF to two keys, the chaining key being the salt. */
export function stretch(
  chainingKey: Secret,
  ikm: Uint8Array,
): readonly [first: Secret, second: Secret] {
  const salt = chainingKey.reveal();
  const both = hkdf({ ikm, salt, info: NO_BYTES, length: 64 });
  const keys = [
    new Secret(both.subarray(0, 32)),
    new Secret(both.subarray(32)),
  ] as const;
  both.fill(0);
  return keys;
}

function readU16(bytes: Uint8Array): number {
  const [high = 0, low = 0] = bytes;
  return high * 256 + low;
}
