/**
 * The networks that a node may run on, and what tells them apart.
 *
 * What it does not do: read addresses or invoices. `address.ts` and
 * `lightning/invoice.ts` do, and look up here what those start with.
 *
 * @module
 */

import type { BlockHash } from "../wire/types.ts";

/** Names of the networks, as lightningd spells them. */
export type NetworkName =
  | "bitcoin"
  | "testnet"
  | "testnet4"
  | "signet"
  | "regtest";

/** BIP 32 version bytes: what an extended key starts with. */
export interface Bip32Versions {
  readonly public: number;
  readonly private: number;
}

/** What an address starts with: a word (BIP 173), or a byte (base58). */
export interface AddressPrefixes {
  readonly bech32: string;
  readonly p2pkh: number;
  readonly p2sh: number;
}

/** One network. */
export interface Network {
  readonly name: NetworkName;
  /** Hash of block 0 in internal byte order: chainparams on the wire. */
  readonly genesisHash: BlockHash;
  readonly bip32: Bip32Versions;
  readonly address: AddressPrefixes;
  /** BOLT 11: what follows `ln` in an invoice; signet's is not BIP 173's. */
  readonly invoicePrefix: string;
  /** Whether its coins are worth money; what may be forced depends on it. */
  readonly isMainnet: boolean;
}

const MAIN: Bip32Versions = { public: 0x0488b21e, private: 0x0488ade4 };
const TEST: Bip32Versions = { public: 0x043587cf, private: 0x04358394 };

function network(
  name: NetworkName,
  genesis: string,
  bech32: string,
  invoicePrefix: string = bech32,
): Network {
  const isMainnet = name === "bitcoin";
  // The one place where a constant becomes a block hash.
  const genesisHash = Uint8Array.fromHex(genesis) as Uint8Array as BlockHash;
  const bip32 = isMainnet ? MAIN : TEST;
  const address = isMainnet
    ? { bech32, p2pkh: 0, p2sh: 5 }
    : { bech32, p2pkh: 111, p2sh: 196 };
  return { name, genesisHash, bip32, address, invoicePrefix, isMainnet };
}

/** The networks by name. */
export const NETWORKS: Readonly<Record<NetworkName, Network>> = {
  bitcoin: network(
    "bitcoin",
    "6fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000",
    "bc",
  ),
  testnet: network(
    "testnet",
    "43497fd7f826957108f4a30fd9cec3aeba79972084e90ead01ea330900000000",
    "tb",
  ),
  testnet4: network(
    "testnet4",
    "43f08bdab050e35b567c864b91f47f50ae725ae2de53bcfbbaf284da00000000",
    "tb",
  ),
  signet: network(
    "signet",
    "f61eee3b63a380a477a063af32b2bbc97c9ff9f01f2c4225e973988108000000",
    "tb",
    "tbs",
  ),
  regtest: network(
    "regtest",
    "06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f",
    "bcrt",
  ),
};

/** Finds a network by the hash of its first block. */
export function networkOf(genesisHash: Uint8Array): Network | undefined {
  const wanted = genesisHash.toHex();
  return Object.values(NETWORKS)
    .find((candidate) => candidate.genesisHash.toHex() === wanted);
}

/** Whether a text, from a command line say, names a network. */
export function isNetworkName(text: string): text is NetworkName {
  return Object.hasOwn(NETWORKS, text);
}
