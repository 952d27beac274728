/**
 * What our own devices say beyond the Sphinx protocol.
 *
 * A Sphinx device says hello with nothing. One of ours says who it is, which is
 * how the broker knows that requests may be sent again and several at a time.
 *
 * @module
 */

import { DecodeError } from "../errors.ts";
import {
  bool,
  decode,
  encode,
  fixed,
  struct,
  type ValueOf,
  wirestring,
} from "./codec.ts";
import { tlvs } from "./tlv.ts";
import { pubkey } from "./types.ts";

const MAGIC = new TextEncoder().encode("RHS1");

/** Payload of hello, native dialect. */
export const nativeHello = struct("native_hello", {
  magic: fixed("magic", MAGIC.length),
  tlvs: tlvs("native_hello_tlvs", {
    /** Program and version, for the operator's eyes. */
    software: { type: 1, codec: wirestring },
    /** The seed waits for the passphrase that lightningd sends with init. */
    isLocked: { type: 3, codec: bool },
    /** The key that this device logs in with while it is locked. */
    cardKey: { type: 5, codec: pubkey },
  }),
});

/** What a native hello carries. */
export type NativeHello = ValueOf<typeof nativeHello>["tlvs"];

/** Writes a native hello. */
export function encodeHello(hello: NativeHello): Uint8Array<ArrayBuffer> {
  return encode(nativeHello, { magic: MAGIC, tlvs: hello });
}

/**
 * Reads a hello: null for the empty one of a Sphinx device.
 *
 * @throws {DecodeError} for anything else that is not a native hello
 */
export function decodeHello(payload: Uint8Array): NativeHello | null {
  if (payload.length === 0) return null;
  const { magic, tlvs } = decode(nativeHello, payload);
  if (magic.toHex() === MAGIC.toHex()) return tlvs;
  const found = `${magic.toHex()}, want ${MAGIC.toHex()}`;
  throw new DecodeError(nativeHello.name, "magic", 0, found);
}
