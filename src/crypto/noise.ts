/**
 * The handshake of BOLT 8, apart from any line that it runs on:
 * Noise_XK_secp256k1_ChaChaPoly_SHA256.
 *
 *     act one     e, es     initiator -> responder    50 bytes
 *     act two     e, ee     responder -> initiator    50 bytes
 *     act three   s, se     initiator -> responder    66 bytes
 *
 * After it each side knows that the other holds the private key of its static
 * public key, and has two keys that nobody else has: one to seal what it says,
 * one to open what it hears (`noise_cipher.ts`).
 *
 * Standards: BOLT 8 (the prologue is a parameter), RFC 5869 (HKDF), RFC 8439
 * (ChaCha20-Poly1305).
 *
 * What it does not do: make randomness, read a line, or go on after a failure;
 * whoever fails begins anew with another ephemeral key.
 *
 * @module
 */

import { Bug } from "../errors.ts";
import { openStrange, seal, TAG_SIZE } from "./chachapoly.ts";
import { sha256 } from "./hash.ts";
import { NoiseReceiver, NoiseSender, stretch } from "./noise_cipher.ts";
import { ecdh, isPoint, isPrivateKey, publicKey } from "./secp.ts";
import { Secret } from "./secret.ts";

const ascii = new TextEncoder();
const PROTOCOL = sha256(ascii.encode("Noise_XK_secp256k1_ChaChaPoly_SHA256"));
const VERSION = 0;
const NO_BYTES = new Uint8Array(0);
const NONCE_SIZE = 12;

/** Sizes of public keys and of the three acts in bytes. */
export const NOISE_SIZES = {
  key: 33,
  actOne: 50,
  actTwo: 50,
  actThree: 66,
} as const;

/** How a handshake fails, in the words of BOLT 8's test vectors. */
export type NoiseFailure =
  | `ACT${1 | 2 | 3}_${"READ_FAILED" | "BAD_VERSION" | "BAD_TAG"}`
  | `ACT${1 | 2 | 3}_BAD_PUBKEY`
  | "ACT3_BAD_CIPHERTEXT";

/** What both sides know before they begin. */
export interface NoiseOptions {
  readonly prologue: Uint8Array;
  /** Private static key, 32 bytes; stays the caller's to wipe. */
  readonly key: Secret;
  /** Random bytes, for an ephemeral key that serves once. */
  readonly random: (length: number) => Uint8Array;
}

/** The two ciphers that a handshake ends with, and what it proved. */
export interface NoiseSession {
  readonly sender: NoiseSender;
  readonly receiver: NoiseReceiver;
  /** Hash of the whole handshake, 32 bytes: no other session has it. */
  readonly transcript: Uint8Array;
}

/** The side that knows the other's static key beforehand. */
export class NoiseInitiator {
  readonly #key: Secret;
  readonly #ephemeral: Secret;
  readonly #state: Symmetric;
  readonly #actOne: Uint8Array;
  #isDone = false;

  constructor(options: NoiseOptions & { readonly responder: Uint8Array }) {
    const { prologue, key, random, responder } = options;
    this.#key = key;
    this.#ephemeral = makeKey(random);
    this.#state = new Symmetric(prologue, responder);
    const ephemeral = this.#ephemeral.reveal();
    this.#actOne = sayEphemeral(this.#state, ephemeral, responder);
  }

  /** What begins the handshake. */
  get actOne(): Uint8Array {
    return this.#actOne;
  }

  /** Ends the handshake on this side; whatever comes of it, it served. */
  takeActTwo(
    act: Uint8Array,
  ):
    | { readonly failure: NoiseFailure }
    | { readonly actThree: Uint8Array; readonly session: NoiseSession } {
    if (this.#isDone) throw new Bug("Took an act two twice");
    this.#isDone = true;
    try {
      const heard = hearEphemeral(this.#state, 2, act, this.#ephemeral);
      if ("failure" in heard) return heard;
      return this.#sayActThree(heard.ephemeral);
    } finally {
      this.wipe();
    }
  }

  #sayActThree(responderEphemeral: Uint8Array) {
    const key = this.#key.reveal();
    const sealedKey = this.#state.seal(1, publicKey(key));
    this.#state.mixKey(ecdh(key, responderEphemeral));
    const tag = this.#state.seal(0, NO_BYTES);
    const actThree = Uint8Array.of(VERSION, ...sealedKey, ...tag);
    return { actThree, session: this.#state.split("initiator") };
  }

  /** Forgets the keys of a handshake that nobody will end. */
  wipe(): void {
    this.#isDone = true;
    this.#ephemeral.wipe();
    this.#state.wipe();
  }
}

/** The side that learns in act three who the other is. */
export class NoiseResponder {
  readonly #options: NoiseOptions;
  readonly #state: Symmetric;
  #ephemeral: Secret | null = null;
  #step: 1 | 3 | "done" = 1;

  constructor(options: NoiseOptions) {
    this.#options = options;
    const own = publicKey(options.key.reveal());
    this.#state = new Symmetric(options.prologue, own);
  }

  /** Answers act one; makes its ephemeral key only for one that is in order. */
  takeActOne(
    act: Uint8Array,
  ): { readonly failure: NoiseFailure } | { readonly actTwo: Uint8Array } {
    if (this.#step !== 1) throw new Bug("Took an act one twice");
    this.#step = 3;
    const heard = hearEphemeral(this.#state, 1, act, this.#options.key);
    if ("failure" in heard) {
      this.wipe();
      return heard;
    }
    this.#ephemeral = makeKey(this.#options.random);
    const ephemeral = this.#ephemeral.reveal();
    const actTwo = sayEphemeral(this.#state, ephemeral, heard.ephemeral);
    return { actTwo };
  }

  /** Ends the handshake: who the other is, and the session with it. */
  takeActThree(
    act: Uint8Array,
  ):
    | { readonly failure: NoiseFailure }
    | { readonly initiator: Uint8Array; readonly session: NoiseSession } {
    if (this.#step !== 3) throw new Bug("Took an act three out of turn");
    this.#step = "done";
    try {
      return this.#hearActThree(act);
    } finally {
      this.wipe();
    }
  }

  #hearActThree(act: Uint8Array) {
    const { actThree, key } = NOISE_SIZES;
    if (act.length !== actThree) return fail("ACT3_READ_FAILED");
    if (act[0] !== VERSION) return fail("ACT3_BAD_VERSION");
    const end = 1 + key + TAG_SIZE;
    const initiator = this.#state.open(1, act.subarray(1, end));
    if (initiator === null) return fail("ACT3_BAD_CIPHERTEXT");
    if (!isPoint(initiator)) return fail("ACT3_BAD_PUBKEY");
    if (this.#ephemeral === null) throw new Bug("Found no ephemeral key");
    this.#state.mixKey(ecdh(this.#ephemeral.reveal(), initiator));
    if (this.#state.open(0, act.subarray(end)) === null) {
      return fail("ACT3_BAD_TAG");
    }
    return { initiator, session: this.#state.split("responder") };
  }

  /** Forgets the keys of a handshake that nobody will end. */
  wipe(): void {
    this.#step = "done";
    this.#ephemeral?.wipe();
    this.#state.wipe();
  }
}

/** The chaining key, the handshake hash and the key of the act under way. */
class Symmetric {
  #chainingKey = new Secret(PROTOCOL);
  #hash: Uint8Array;
  #actKey: Secret | null = null;

  constructor(prologue: Uint8Array, responder: Uint8Array) {
    this.#hash = sha256(sha256(PROTOCOL, prologue), responder);
  }

  mixHash(bytes: Uint8Array): void {
    this.#hash = sha256(this.#hash, bytes);
  }

  /** Takes a shared secret in, and wipes it. */
  mixKey(shared: Uint8Array): void {
    const [chainingKey, actKey] = stretch(this.#chainingKey, shared);
    shared.fill(0);
    this.wipe();
    this.#chainingKey = chainingKey;
    this.#actKey = actKey;
  }

  seal(count: 0 | 1, text: Uint8Array): Uint8Array {
    const sealed = seal(this.#aead(count), text);
    this.mixHash(sealed);
    return sealed;
  }

  open(count: 0 | 1, sealed: Uint8Array): Uint8Array | null {
    const text = openStrange(this.#aead(count), sealed);
    this.mixHash(sealed);
    return text;
  }

  #aead(count: 0 | 1) {
    if (this.#actKey === null) throw new Bug("Sealed before any key");
    const nonce = new Uint8Array(NONCE_SIZE);
    nonce[4] = count;
    return { key: this.#actKey.reveal(), nonce, header: this.#hash };
  }

  /** The ciphers of the transport: the first key is the initiator's to send. */
  split(role: "initiator" | "responder"): NoiseSession {
    const chainingKey = this.#chainingKey.reveal();
    const [first, second] = stretch(this.#chainingKey, NO_BYTES);
    const [own, other] = role === "initiator"
      ? [first, second]
      : [second, first];
    const sender = new NoiseSender(own.reveal(), chainingKey);
    const receiver = new NoiseReceiver(other.reveal(), chainingKey);
    first.wipe();
    second.wipe();
    return { sender, receiver, transcript: this.#hash };
  }

  wipe(): void {
    this.#chainingKey.wipe();
    this.#actKey?.wipe();
  }
}

/** An act of an ephemeral key: version, the key, a tag over all so far. */
function sayEphemeral(
  state: Symmetric,
  ephemeral: Uint8Array,
  other: Uint8Array,
): Uint8Array {
  const point = publicKey(ephemeral);
  state.mixHash(point);
  state.mixKey(ecdh(ephemeral, other));
  return Uint8Array.of(VERSION, ...point, ...state.seal(0, NO_BYTES));
}

/** Reads such an act with our private key that it is for. */
function hearEphemeral(
  state: Symmetric,
  act: 1 | 2,
  bytes: Uint8Array,
  key: Secret,
): { readonly failure: NoiseFailure } | { readonly ephemeral: Uint8Array } {
  if (bytes.length !== NOISE_SIZES.actOne) return fail(`ACT${act}_READ_FAILED`);
  if (bytes[0] !== VERSION) return fail(`ACT${act}_BAD_VERSION`);
  const end = 1 + NOISE_SIZES.key;
  const ephemeral = new Uint8Array(bytes.subarray(1, end));
  if (!isPoint(ephemeral)) return fail(`ACT${act}_BAD_PUBKEY`);
  state.mixHash(ephemeral);
  state.mixKey(ecdh(key.reveal(), ephemeral));
  const isIntact = state.open(0, bytes.subarray(end)) !== null;
  return isIntact ? { ephemeral } : fail(`ACT${act}_BAD_TAG`);
}

function fail(failure: NoiseFailure): { readonly failure: NoiseFailure } {
  return { failure };
}

function makeKey(random: (length: number) => Uint8Array): Secret {
  const bytes = random(32);
  // One in 2^128 is none: whoever meets it has other things to explain.
  if (!isPrivateKey(bytes)) throw new Bug("Drew no private key");
  const key = new Secret(bytes);
  bytes.fill(0);
  return key;
}
