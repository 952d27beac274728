/**
 * Per-commitment secrets: 2^48 of them out of one seed.
 *
 * Standard: BOLT 3, "Per-commitment Secret Requirements" (appendix D has the
 * vectors). Commitment n uses index 2^48 - 1 - n, so that secrets are revealed
 * in an order in which each later one lets the receiver derive earlier ones.
 *
 * What it does not do: store the other side's secrets; a stock hsmd keeps none.
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import { Secret } from "../crypto/secret.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";

/** BOLT 3: the index of commitment 0; later ones count down from it. */
export const LAST_INDEX = 0xffff_ffff_ffffn;

/** The index of commitment n's secret. */
export function secretIndex(n: bigint): bigint {
  return LAST_INDEX - n;
}

/** BOLT 3, generate_from_seed: the value at an index. */
export function generateFromSeed(seed: Secret, index: bigint): Secret {
  const value = new Uint8Array(seed.reveal());
  const hashed = bitsFromTop(index).reduce(flipAndHash, value);
  return new Secret(hashed);
}

/** The set bits among the lowest 48, highest first. */
function bitsFromTop(index: bigint): number[] {
  const bits = Array.from({ length: 48 }, (_, i) => 47 - i);
  return bits.filter((bit) => (index >> BigInt(bit)) & 1n);
}

function flipAndHash(value: Uint8Array, bit: number): Uint8Array {
  const flipped = new Uint8Array(value);
  const at = bit >> 3;
  flipped[at] = (flipped[at] ?? 0) ^ (1 << (bit & 7));
  return sha256(flipped);
}

/**
 * The secret of commitment n.
 *
 * @throws {RequestError} for n of 2^48 and more, which no channel reaches
 */
export function perCommitmentSecret(shaseed: Secret, n: bigint): Secret {
  if (n > LAST_INDEX) {
    throw new RequestError(
      SIGNER_ERROR_CODES.badRequest,
      `Cannot derive a per-commitment secret: number ${n}, want less than 2^48`,
    );
  }
  return generateFromSeed(shaseed, secretIndex(n));
}
