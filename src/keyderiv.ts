/**
 * From a secret to the keys of a node: the doorway.
 *
 * Core Lightning's derivations, bit for bit, because wallets and channels exist
 * that depend on them. The parts: files (`keyderiv/secret_file.ts`), BIP 32
 * (`keyderiv/bip32.ts`), keys of the node (`keyderiv/node.ts`). Keys of channels
 * (`keyderiv/channel.ts`) are the signer's business and are not passed on here.
 *
 * Two programs come through this door. The broker holds no secret: it checks
 * wallet keys against the extended public keys that the device announced. The
 * device and the tools around it hold one, and derive its identity.
 *
 * //~ Nothing here is clever, and some of it is odd: one integer is little-endian,
 * //~ half a seed is used in one place and all of it in the next. People's money
 * //~ lies at the end of these paths, so they stay exactly as they were found, and
 * //~ tables of a stock hsmd's keys hold them there. Next: store/store.ts.
 *
 * What it does not do: keep anything, or read a file.
 *
 * @module
 */

import type { Bip32Versions } from "./bitcoin/networks.ts";
import {
  deriveNodeKeys,
  identityOf,
  type NodeIdentity,
} from "./keyderiv/node.ts";
import type { NodeSecret } from "./keyderiv/secret_file.ts";

export {
  derivePublicChild,
  derivePublicWalletKey,
  HARDENED,
} from "./keyderiv/bip32.ts";
export type { NodeIdentity } from "./keyderiv/node.ts";
export {
  makeSecretFile,
  makeSecretFileOfWords,
  type NodeSecret,
  openSecretFile,
  openTypedWords,
  parseSecretFile,
  type SecretFailure,
  type SecretFile,
  SecretFileError,
  type SecretKind,
  type Unlock,
} from "./keyderiv/secret_file.ts";

/** What a device with this secret says of itself at init; all of it public. */
export function deriveNodeIdentity(
  secret: NodeSecret,
  versions: Bip32Versions,
): NodeIdentity {
  return identityOf(deriveNodeKeys(secret), versions);
}
