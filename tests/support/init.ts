/**
 * lightningd's init, for tests and measurements.
 *
 * @module
 */

import { type Network, NETWORKS } from "../../src/bitcoin/networks.ts";
import { type RequestOf, REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage } from "../../src/wire/message.ts";

/** An init that forces nothing, but for what is changed of it. */
export function initFor(
  network: Network = NETWORKS.regtest,
  changes: Partial<RequestOf<"init">> = {},
): Uint8Array {
  return encodeMessage(REQUESTS.init, {
    bip32KeyVersion: network.bip32,
    chainparams: network.genesisHash,
    hsmEncryptionKey: null,
    devForcePrivkey: null,
    devForceBip32Seed: null,
    devForceChannelSecrets: null,
    devForceChannelSecretsShaseed: null,
    hsmWireMinVersion: 5,
    hsmWireMaxVersion: 6,
    tlvs: {},
    ...changes,
  });
}
