/**
 * The wallet's public keys, from the base keys that the device announced.
 *
 * lightningd has 51 of them checked one by one at each start, and one more for
 * every address it ever issued; none of that needs the device.
 *
 * @module
 */

import { derivePublicChild, derivePublicWalletKey } from "../keyderiv.ts";
import type { ExtKey, PubKey } from "../wire/types.ts";
import type { DeviceIdentity } from "./pairing.ts";

/** Where hardened indexes begin; nothing public is derived from there on. */
const HARDENED = 0x8000_0000;

/** Which wallet of the node. */
export type WalletKind = "legacy" | "bip86";

/** Public keys by index. */
export class WalletKeys {
  readonly #chains: Readonly<Record<WalletKind, ExtKey | null>>;

  constructor({ bip32, bip86 }: DeviceIdentity) {
    // The external chain of m/86'/0'/0' is derived once, not for every key.
    const external = bip86 && derivePublicChild(bip86, 0);
    this.#chains = { legacy: bip32, bip86: external };
  }

  /** The key at an index, or null where there is none. */
  at(kind: WalletKind, index: number): PubKey | null {
    const chain = this.#chains[kind];
    if (chain === null || index >= HARDENED) return null;
    return derivePublicWalletKey(chain, index);
  }
}
