/**
 * The keys of a node that belong to no channel, out of its seed.
 *
 * | key | derivation |
 * | --- | --- |
 * | node key | HKDF of the first 32 bytes, "nodeid" |
 * | wallet, old | BIP 32 master of HKDF(all bytes, "bip32 seed"), m/0/0/i |
 * | wallet, BIP 86 | BIP 32 master of the 64 bytes, m/86'/0'/0'/0/i |
 * | BOLT 12 | m/9735' of the old wallet's master |
 * | derived secrets | HKDF of HKDF(all bytes, "derived secrets") |
 * | base of channels | HKDF of the first 32 bytes, "peer seed" |
 *
 * Everything is worked out once; what is asked for often (wallet keys by index)
 * is one step from what is kept.
 *
 * What it does not do: channels (`channel.ts`), files (`secret_file.ts`).
 *
 * @module
 */

import { type KeyPair, keyPairOf, toPrivateKey } from "../bitcoin/keys.ts";
import type { Bip32Versions } from "../bitcoin/networks.ts";
import { hkdf } from "../crypto/hash.ts";
import { isPrivateKey } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import type { ExtKey, NodeId, PubKey } from "../wire/types.ts";
import {
  checkNotHardened,
  deriveChild,
  deriveMasterKey,
  derivePath,
  encodeExtKey,
  type ExtendedKey,
  HARDENED,
} from "./bip32.ts";
import type { NodeSecret } from "./secret_file.ts";

/** What developers may put in the place of derived keys (init, dev_force_*). */
export interface NodeOverrides {
  readonly nodeKey?: Uint8Array | null;
  /** Takes the place of the old wallet's seed, not of BIP 86's. */
  readonly bip32Seed?: Uint8Array | null;
}

/** The private side of a node. */
export interface NodeKeys {
  readonly node: KeyPair;
  /** m/0/0 */
  readonly wallet: ExtendedKey;
  /** m/86'/0'/0' and its external chain; null for a seed of 32 bytes. */
  readonly bip86: {
    readonly base: ExtendedKey;
    readonly external: ExtendedKey;
  } | null;
  readonly bolt12: KeyPair;
  readonly derivedBase: Secret;
  readonly channelBase: Secret;
}

/** The public side of a node: what an init reply says. */
export interface NodeIdentity {
  readonly nodeId: NodeId;
  /** m/0/0 */
  readonly bip32Base: ExtKey;
  /** m/86'/0'/0'; null for a seed of 32 bytes. */
  readonly bip86Base: ExtKey | null;
  readonly bolt12: PubKey;
}

/** Derives everything that is not a channel's. */
export function deriveNodeKeys(
  { seed }: NodeSecret,
  overrides: NodeOverrides = {},
): NodeKeys {
  const first32 = seed.reveal().subarray(0, 32);
  const master = deriveWalletMaster(seed, overrides.bip32Seed ?? null);
  return {
    node: keyPairOf(
      overrides.nodeKey
        ? toPrivateKey(overrides.nodeKey)
        : deriveNodeKey(first32),
    ),
    wallet: derivePath(master, [0, 0]),
    bip86: seed.length === 64 ? deriveBip86(seed) : null,
    bolt12: deriveChild(master, HARDENED + 9735),
    derivedBase: expand(seed.reveal(), "derived secrets"),
    channelBase: expand(first32, "peer seed"),
  };
}

function expand(ikm: Uint8Array, info: string, salt?: Uint8Array): Secret {
  const input = { ikm, info, length: 32 };
  return new Secret(hkdf(salt === undefined ? input : { ...input, salt }));
}

/** LE32(count): the salt that counts the tries. */
function saltOf(count: number): Uint8Array {
  const salt = new Uint8Array(4);
  new DataView(salt.buffer).setUint32(0, count, true);
  return salt;
}

/** Tries again, once in 2^127, when the result is not a private key. */
function deriveNodeKey(first32: Uint8Array): Secret {
  for (let count = 0;; count++) {
    const key = expand(first32, "nodeid", saltOf(count));
    if (isPrivateKey(key.reveal())) return key;
  }
}

function deriveWalletMaster(
  seed: Secret,
  forced: Uint8Array | null,
): ExtendedKey {
  if (forced !== null) {
    return deriveMasterKey(new Secret(forced)) ?? refuseForcedSeed();
  }
  for (let count = 0;; count++) {
    const seed32 = expand(seed.reveal(), "bip32 seed", saltOf(count));
    const master = deriveMasterKey(seed32);
    if (master !== null) return master;
  }
}

function refuseForcedSeed(): never {
  throw new RequestError(
    SIGNER_ERROR_CODES.badRequest,
    "Cannot use the forced BIP 32 seed: it has no master key",
  );
}

/** The coin type is 0 on every network: CLN derives before it knows better. */
function deriveBip86(seed: Secret): NonNullable<NodeKeys["bip86"]> {
  const master = deriveMasterKey(seed) ?? refuseForcedSeed();
  const base = derivePath(master, [HARDENED + 86, HARDENED, HARDENED]);
  return { base, external: deriveChild(base, 0) };
}

/** The public side, with a network's version bytes. */
export function identityOf(
  keys: NodeKeys,
  versions: Bip32Versions,
): NodeIdentity {
  return {
    // A node's id is the point of its key, unless it is nobody's.
    nodeId: keys.node.point as Uint8Array as NodeId,
    bip32Base: encodeExtKey(keys.wallet, versions.public),
    bip86Base: keys.bip86 && encodeExtKey(keys.bip86.base, versions.public),
    bolt12: keys.bolt12.point,
  };
}

/**
 * The key of the wallet's output `index`: BIP 86 where there is one.
 *
 * @throws {RequestError} for an index of 2^31 and more
 */
export function deriveWalletKey(keys: NodeKeys, index: number): KeyPair {
  checkNotHardened(index);
  return deriveChild(keys.bip86?.external ?? keys.wallet, index);
}

/** makesecret: a secret of 32 bytes for every name. */
export function deriveNamedSecret(keys: NodeKeys, name: Uint8Array): Secret {
  const ikm = keys.derivedBase.reveal();
  return new Secret(hkdf({ ikm, info: name, length: 32 }));
}
