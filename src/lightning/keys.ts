/**
 * The keys of one commitment, out of basepoints and its per-commitment point.
 *
 * Standard: BOLT 3, "Key Derivation" (appendix E has the vectors). Whose point
 * it is decides whose key comes out; the arithmetic is the same for both sides.
 *
 * What it does not do: decide which of the keys a script needs.
 *
 * @module
 */

import {
  addToKey,
  addToPoint,
  addWeightedKeys,
  addWeightedPubKeys,
  addWeightedPubKeyToKey,
  type KeyPair,
  publicKeyOf,
} from "../bitcoin/keys.ts";
import { sha256 } from "../crypto/hash.ts";
import type { Secret } from "../crypto/secret.ts";
import type { PubKey } from "../wire/types.ts";

/** pubkey = basepoint + SHA-256(per-commitment point, basepoint)·G */
export function derivePublicKey(
  basepoint: PubKey,
  perCommitmentPoint: PubKey,
): PubKey {
  return addToPoint(basepoint, sha256(perCommitmentPoint, basepoint));
}

/** privkey = basepoint secret + SHA-256(per-commitment point, basepoint) */
export function derivePrivateKey(
  basepoint: KeyPair,
  perCommitmentPoint: PubKey,
): Secret {
  const tweak = sha256(perCommitmentPoint, basepoint.point);
  return addToKey(basepoint.secret, tweak);
}

/** The same for a basepoint of ours, which is quicker. */
export function deriveOurPublicKey(
  basepoint: KeyPair,
  perCommitmentPoint: PubKey,
): PubKey {
  return publicKeyOf(derivePrivateKey(basepoint, perCommitmentPoint));
}

/** revocationpubkey, which neither side knows the secret of until it is told. */
export function deriveRevocationPublicKey(
  revocationBasepoint: PubKey,
  perCommitmentPoint: PubKey,
): PubKey {
  return addWeightedPubKeys(
    [revocationBasepoint, sha256(revocationBasepoint, perCommitmentPoint)],
    [perCommitmentPoint, sha256(perCommitmentPoint, revocationBasepoint)],
  );
}

/** The same for our own commitment, of which we know the secret: quicker. */
export function deriveOurRevocationPublicKey(
  theirRevocationBasepoint: PubKey,
  perCommitment: KeyPair,
): PubKey {
  const base = theirRevocationBasepoint;
  const { point, secret } = perCommitment;
  return addWeightedPubKeyToKey(
    [base, sha256(base, point)],
    [secret, sha256(point, base)],
  );
}

/** The same for their commitment, where the basepoint is ours: quicker. */
export function deriveTheirRevocationPublicKey(
  ourRevocationBasepoint: KeyPair,
  perCommitmentPoint: PubKey,
): PubKey {
  const { point: base, secret } = ourRevocationBasepoint;
  const point = perCommitmentPoint;
  return addWeightedPubKeyToKey(
    [point, sha256(point, base)],
    [secret, sha256(base, point)],
  );
}

/** revocationprivkey, once the per-commitment secret has been revealed. */
export function deriveRevocationPrivateKey(
  revocationBasepoint: KeyPair,
  perCommitment: KeyPair,
): Secret {
  const { point: base } = revocationBasepoint;
  const { point } = perCommitment;
  return addWeightedKeys(
    [revocationBasepoint.secret, sha256(base, point)],
    [perCommitment.secret, sha256(point, base)],
  );
}
