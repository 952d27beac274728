/**
 * Login of a device: user name = its public key in hex, password = a token.
 *
 * The token (sphinx-rs auther/src/token.rs) is a time and a recoverable
 * signature over it: u32 seconds, 31 + recovery id, r, s; 69 bytes, written in
 * URL-safe base64, 92 characters. The digest is that of Lightning's signmessage:
 * SHA256d("Lightning Signed Message:" ‖ time).
 *
 * The original takes a token of any age, so one that was seen once is a login
 * for ever. Here it must be fresh. It is still bound to nothing but its time:
 * within the window it can be replayed by whoever sees it. The sealed link is
 * what ends that.
 *
 * @module
 */

import { sha256d } from "../crypto/hash.ts";
import { recoverPublicKey, signRecoverable } from "../crypto/secp.ts";

const PREFIX = new TextEncoder().encode("Lightning Signed Message:");
const BASE64 = { alphabet: "base64url" } as const;
const TOKEN_LENGTH = 69;
const TOKEN_CHARACTERS = 92;
const RECOVERY_BASE = 31;

/** A login that is one. */
export interface Login {
  /** The device's public key, 33 bytes. */
  readonly key: Uint8Array;
}

/** A login that is none, and why; fit for a log. */
export interface LoginRefusal {
  readonly refusal: string;
}

/** What a token is checked against. */
export interface Freshness {
  /** Unix time in seconds. */
  readonly now: number;
  /** How far the token's time may be off, in seconds; 0 takes any age. */
  readonly window: number;
}

/** Makes the token of a key for a time (Unix seconds). */
export function makeToken(privateKey: Uint8Array, now: number): string {
  const time = new Uint8Array(4);
  new DataView(time.buffer).setUint32(0, now);
  const signature = signRecoverable(digestOf(time), privateKey);
  const token = new Uint8Array(TOKEN_LENGTH);
  token.set(time);
  token[4] = RECOVERY_BASE + (signature[64] ?? 0);
  token.set(signature.subarray(0, 64), 5);
  return token.toBase64(BASE64);
}

/** Checks user name and password of a CONNECT. */
export function checkLogin(
  username: string,
  password: string,
  freshness: Freshness,
): Login | LoginRefusal {
  if (!/^0[23][0-9a-f]{64}$/.test(username)) {
    return { refusal: "the user name is not a public key in lower-case hex" };
  }
  const token = decodeToken(password);
  if (token === null) return { refusal: "the password is not a token" };
  const age = freshness.now - token.time;
  if (freshness.window > 0 && Math.abs(age) > freshness.window) {
    return {
      refusal:
        `the token is ${age} s old, want at most ${freshness.window} s off`,
    };
  }
  const key = Uint8Array.fromHex(username);
  return token.isSignedBy(username)
    ? { key }
    : { refusal: "the token is not signed by the key in the user name" };
}

function digestOf(time: Uint8Array): Uint8Array {
  const message = new Uint8Array(PREFIX.length + time.length);
  message.set(PREFIX);
  message.set(time, PREFIX.length);
  return sha256d(message);
}

interface Token {
  readonly time: number;
  isSignedBy(username: string): boolean;
}

function decodeToken(password: string): Token | null {
  if (password.length !== TOKEN_CHARACTERS) return null;
  const bytes = attempt(() => Uint8Array.fromBase64(password, BASE64));
  if (bytes === null || bytes.length !== TOKEN_LENGTH) return null;
  const recovery = (bytes[4] ?? 0) - RECOVERY_BASE;
  if (recovery < 0 || recovery > 3) return null;
  return {
    time: new DataView(bytes.buffer, bytes.byteOffset).getUint32(0),
    isSignedBy(username) {
      const signature = new Uint8Array(65);
      signature.set(bytes.subarray(5));
      signature[64] = recovery;
      const digest = digestOf(bytes.subarray(0, 4));
      const key = attempt(() => recoverPublicKey(digest, signature));
      return key !== null && key.toHex() === username;
    },
  };
}

/** The libraries throw for letters and numbers that cannot be. */
function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof Error) return null;
    throw cause;
  }
}
