/**
 * MACs of the storage protocol: who put this, and that it was stored.
 *
 * | what | who can make it |
 * | --- | --- |
 * | S = SHA256(compressed(a·B)) | client and server: each has one private key |
 * | token = SHA256(S) | whoever has S |
 * | MAC(n, entries) = HMAC-SHA256(S, S ‖ n ‖ key ‖ version u64 ‖ value ‖ …) | whoever has S |
 *
 * n is 01 for a put, 02 for the answer to it, 32 random bytes of the client's for
 * everything that is stored. Nothing separates a key from what follows; keys and
 * values of one client are not those of a stranger.
 *
 * Facts: VLS vls-core/src/persist/mod.rs, lightning-storage-server.
 *
 * What it does not do: derive a device's key (`keyderiv/storage_key.ts`).
 *
 * @module
 */

import { hmacSha256, sha256 } from "../crypto/hash.ts";
import { ecdh } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import type { LssEntry } from "./lss.ts";

/** Nonce of a client's put. */
export const PUT_NONCE: Uint8Array = Uint8Array.of(1);
/** Nonce of the server's answer to a put. */
export const STORED_NONCE: Uint8Array = Uint8Array.of(2);

/** S, from one's own private key and the other's public key. */
export function sharedSecret(privateKey: Secret, point: Uint8Array): Secret {
  return new Secret(ecdh(privateKey.reveal(), point));
}

/** What proves to the server who asks. */
export function authToken(shared: Secret): Uint8Array {
  return sha256(shared.reveal());
}

const utf8 = new TextEncoder();

/** MAC(nonce, entries), over the entries in their order. */
export function lssMac(
  shared: Secret,
  nonce: Uint8Array,
  entries: readonly LssEntry[],
): Uint8Array {
  const key = shared.reveal();
  const parts = entries.flatMap(({ key, version, value }) => [
    utf8.encode(key),
    versionBytes(version),
    value,
  ]);
  return hmacSha256(key, key, nonce, ...parts);
}

function versionBytes(version: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, version);
  return bytes;
}
