/**
 * What our own devices say beyond the Sphinx protocol.
 *
 * A Sphinx device says hello with nothing. One of ours says who it is, which is
 * how the broker knows that requests may be sent again and several at a time.
 *
 * | topic | from | payload |
 * | --- | --- | --- |
 * | hello | device | who it is, and where the history of its card stands |
 * | card | device | where it stands after a commit, before the answer goes |
 * | control | broker | who the node is, after hello; why it does not take a device |
 * | led | device | the state of its light, see `device/led.ts` |
 * | paired | device | its owner consented to this node; the one-time code |
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
  u64,
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
    /** Commits on the card so far. */
    generation: { type: 7, codec: u64 },
    /** Hash over the card's whole history. */
    headHash: { type: 9, codec: fixed("head_hash", 32) },
    /** Random bytes that the card's memory was made with. */
    cardId: { type: 11, codec: fixed("card_id", 16) },
    /** There is no seed yet: its owner is to be asked whether to pair. */
    isEmpty: { type: 13, codec: bool },
    /** The one-time code of the pairing string that its owner was given. */
    pairingCode: { type: 15, codec: fixed("pairing_code", 16) },
    /** Its card is one of several of one node, kept alike by a storage server. */
    isShared: { type: 17, codec: bool },
    /** ECDSA of the card key over SHA256("remote-hsmd card" ‖ transcript). */
    cardProof: { type: 19, codec: fixed("card_proof", 64) },
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

/** Where the history of a card stands, as it travels. */
export const cardHead = struct("card_head", {
  magic: fixed("magic", MAGIC.length),
  generation: u64,
  hash: fixed("head_hash", 32),
});

/** A generation and the hash of its history. */
export interface CardHead {
  readonly generation: bigint;
  readonly hash: Uint8Array;
}

/** Writes the payload of topic `card`. */
export function encodeCardHead(head: CardHead): Uint8Array<ArrayBuffer> {
  return encode(cardHead, { magic: MAGIC, ...head });
}

/** Reads the payload of topic `card`. @throws {DecodeError} */
export function decodeCardHead(payload: Uint8Array): CardHead {
  const { magic, generation, hash } = decode(cardHead, payload);
  if (magic.toHex() === MAGIC.toHex()) return { generation, hash };
  const found = `${magic.toHex()}, want ${MAGIC.toHex()}`;
  throw new DecodeError(cardHead.name, "magic", 0, found);
}

/** What a broker says to a native device on topic `control`. */
export const nativeControl = struct("native_control", {
  magic: fixed("magic", MAGIC.length),
  tlvs: tlvs("native_control_tlvs", {
    /** Why the device is not taken; nothing changes by trying again. */
    refusal: { type: 1, codec: wirestring },
    /** The node's link key: what a pairing is with. */
    brokerKey: { type: 3, codec: pubkey },
    /** The node id that the node had so far, where it had one. */
    expectedNode: { type: 5, codec: pubkey },
    /** The node remembers this device: the pairing is done. */
    isAccepted: { type: 7, codec: bool },
  }),
});

/** What a broker says about itself, or about a device. */
export type NativeControl = ValueOf<typeof nativeControl>["tlvs"];

/** Writes what the broker says. */
export function encodeControl(
  control: NativeControl,
): Uint8Array<ArrayBuffer> {
  return encode(nativeControl, { magic: MAGIC, tlvs: control });
}

/** Writes a refusal. */
export function encodeRefusal(reason: string): Uint8Array<ArrayBuffer> {
  return encodeControl({ refusal: new TextEncoder().encode(reason) });
}

/**
 * Reads what a broker says; null for a control message of another dialect.
 *
 * @throws {DecodeError}
 */
export function decodeControl(payload: Uint8Array): NativeControl | null {
  return isBrokerWord(payload) ? decode(nativeControl, payload).tlvs : null;
}

/** Whether a control message is the broker's own, and not an owner's. */
export function isBrokerWord(payload: Uint8Array): boolean {
  return payload.subarray(0, MAGIC.length).toHex() === MAGIC.toHex();
}

/** The refusal in a control message; null when it says something else. */
export function decodeRefusal(payload: Uint8Array): string | null {
  const refusal = decodeControl(payload)?.refusal;
  return refusal === undefined ? null : new TextDecoder().decode(refusal);
}
