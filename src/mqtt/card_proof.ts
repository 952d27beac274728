/**
 * How a card proves its key inside a sealed link.
 *
 * The handshake proves the node key. The card key is what a node remembers a
 * device by: it signs SHA256("remote-hsmd card" ‖ hash of the handshake), which
 * is another one for each connection, so that no proof fits a second time.
 *
 * What it does not do: seal the link (`sealed.ts`).
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import { signEcdsa, verifyEcdsa } from "../crypto/secp.ts";

const TAG = new TextEncoder().encode("remote-hsmd card");

/** Signs the hash of a handshake with the private card key: 64 bytes. */
export function proveCard(
  cardKey: Uint8Array,
  transcript: Uint8Array,
): Uint8Array {
  return signEcdsa(sha256(TAG, transcript), cardKey);
}

/** Whether a proof is that of this card key for this handshake. */
export function isCardProof(
  proof: Uint8Array,
  cardKey: Uint8Array,
  transcript: Uint8Array,
): boolean {
  return verifyEcdsa(proof, sha256(TAG, transcript), cardKey);
}
