/**
 * The key by which a storage server knows the devices of a node.
 *
 * Child 9736' of the old wallet's BIP 32 master, as VLS has it (vls-core
 * my_keys_manager.rs): all devices with one seed have one key, and with it one
 * state.
 *
 * What it does not do: developers' forced seeds; such a node has no storage.
 *
 * @module
 */

import type { KeyPair } from "../bitcoin/keys.ts";
import { hkdf } from "../crypto/hash.ts";
import { Secret } from "../crypto/secret.ts";
import { Bug } from "../errors.ts";
import { deriveChild, deriveMasterKey, HARDENED } from "./bip32.ts";

const STORAGE_CHILD = HARDENED + 9736;

/** The key of a node's devices at a storage server; its point is the client id. */
export function deriveStorageKey(seed: Secret): KeyPair {
  const ikm = seed.reveal();
  const walletSeed = hkdf({ ikm, info: "bip32 seed", length: 32 });
  const master = deriveMasterKey(new Secret(walletSeed));
  // One seed in 2^127 has none; the signer refuses to start before this.
  if (master === null) throw new Bug("Cannot derive the storage key");
  return deriveChild(master, STORAGE_CHILD);
}
