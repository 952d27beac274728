/**
 * What tests of pairing are made of: an identity, and sessions that prove keys.
 *
 * @module
 */

import type { DeviceIdentity } from "../../src/broker/pairing.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { proveCard } from "../../src/mqtt/card_proof.ts";
import type { DeviceSession } from "../../src/mqtt/session.ts";
import type { NativeHello } from "../../src/wire/control.ts";
import type { ExtKey, PubKey } from "../../src/wire/types.ts";

/** A private key by number. */
export const secretOf = (n: number): Uint8Array => new Uint8Array(32).fill(n);

/** Its public key. */
export const keyOf = (n: number): Uint8Array => publicKey(secretOf(n));

/** A node's identity; its node key is key 1. */
export const IDENTITY: DeviceIdentity = {
  nodeId: keyOf(1),
  bip32: new Uint8Array(78) as Uint8Array as ExtKey,
  bip86: null,
  bolt12: keyOf(1),
};

/** A sealed session whose handshake proved this key. */
export function sealedSession(
  key: number,
  { cid = "device", transcript = new Uint8Array(32).fill(9) } = {},
): DeviceSession {
  const from = "127.0.0.1:5";
  return { cid, key: keyOf(key), from, isSealed: true, transcript };
}

/** A hello with the proof of a card for a session. */
export function helloOf(
  card: number,
  { transcript }: DeviceSession,
  more: Partial<NativeHello> = {},
): NativeHello {
  return {
    cardKey: keyOf(card) as PubKey,
    ...(transcript === null
      ? {}
      : { cardProof: proveCard(secretOf(card), transcript) }),
    ...more,
  };
}
