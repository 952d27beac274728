/**
 * The wallet's public keys, from the base keys that the device announced.
 *
 * lightningd has 51 of them checked one by one at each start, and one more for
 * every address it ever issued; none of that needs the device.
 *
 * @module
 */

import {
  derivePublicChild,
  derivePublicWalletKey,
  HARDENED,
} from "../keyderiv.ts";
import type { ExtKey, PubKey } from "../wire/types.ts";
import type { DeviceIdentity } from "./pairing.ts";

/** Which wallet of the node. */
export type WalletKind = "legacy" | "bip86";

/** Public keys by index. */
export class WalletKeys {
  readonly #identity: DeviceIdentity;
  /** The external chain of m/86'/0'/0', derived once and when it is needed. */
  #external: ExtKey | null = null;

  constructor(identity: DeviceIdentity) {
    this.#identity = identity;
  }

  /** The key at an index, or null where there is none. */
  at(kind: WalletKind, index: number): PubKey | null {
    const chain = kind === "legacy" ? this.#identity.bip32 : this.#bip86();
    // Nothing public is derived from a hardened index on.
    if (chain === null || index >= HARDENED) return null;
    return derivePublicWalletKey(chain, index);
  }

  #bip86(): ExtKey | null {
    const { bip86 } = this.#identity;
    this.#external ??= bip86 && derivePublicChild(bip86, 0);
    return this.#external;
  }
}
