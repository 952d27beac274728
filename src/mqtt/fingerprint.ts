/**
 * The short name of a pairing, which both ends show and their owners compare.
 *
 * 40 bits of SHA-256 over the node's link key and the device's client id, in the
 * letters of bech32 (BIP 173), which no two people read differently:
 * `k7qm-2xpd`. Long enough that a mistake, or another device on the same
 * network, shows; it proves who is meant, and not that nobody listens.
 *
 * What it does not do: prove anything about the line. Sealing it does.
 *
 * @module
 */

import { encodeBech32Letters } from "../bitcoin/bech32.ts";
import { sha256 } from "../crypto/hash.ts";

const TAG = new TextEncoder().encode("remote-hsmd pairing");
const BYTES = 5;

/**
 * The fingerprint of a node and a device.
 *
 * @param brokerKey 33 bytes, the node's link key
 * @param cid the device's MQTT client id
 */
export function pairingFingerprint(brokerKey: Uint8Array, cid: string): string {
  const hash = sha256(TAG, brokerKey, new TextEncoder().encode(cid));
  const letters = encodeBech32Letters(hash.subarray(0, BYTES));
  return `${letters.slice(0, 4)}-${letters.slice(4)}`;
}
