/**
 * The peer's revocation secrets: up to 2^48 of them in at most 49 entries.
 *
 * Secrets come in falling order of index (commitment n has 2^48 - 1 - n). One
 * whose index ends in k zero bits gives the 2^k - 1 that came before it, so
 * these are checked against it and then forgotten. A secret that does not give
 * them was not made by the rule, and the peer that sent it could later deny
 * what it revoked.
 *
 * A channel may be older than this memory: the first entry can be any, and what
 * came before it is not known.
 *
 * Standard: BOLT 3, "Efficient Per-commitment Secret Storage" (appendix D has
 * the vectors). BOLT 3 keeps entries that a later one gives; here they go.
 *
 * What it does not do: know which commitments are revoked, or keep the list.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { Secret } from "../crypto/secret.ts";
import type { DisclosedSecret } from "../wire/types.ts";
import { generateFromSeed, LAST_INDEX } from "./shachain.ts";

/** A secret at its index, 2^48 - 1 - commitment number. */
export interface StoredSecret {
  readonly index: bigint;
  readonly secret: DisclosedSecret;
}

/**
 * BOLT 3, insert_secret: the store with one secret more, highest index first.
 *
 * A secret that is known already changes nothing. Null for one that does not
 * fit: it comes out of order, or does not give those that came before it.
 */
export function insertSecret(
  store: readonly StoredSecret[],
  index: bigint,
  secret: DisclosedSecret,
): readonly StoredSecret[] | null {
  if (index < 0n || index > LAST_INDEX) return null;
  const known = secretAt(store, index);
  if (known !== null) return isSameBytes(known, secret) ? store : null;
  const last = store.at(-1);
  if (last !== undefined && last.index !== index + 1n) return null;
  const added = { index, secret };
  const given = store.filter((entry) => gives(index, entry.index));
  if (!given.every((entry) => isGivenBy(added, entry))) return null;
  return [...store.slice(0, store.length - given.length), added];
}

/** BOLT 3, derive_old_secret: null for an index that was not received. */
export function secretAt(
  store: readonly StoredSecret[],
  index: bigint,
): DisclosedSecret | null {
  const source = store.find((entry) => gives(entry.index, index));
  return source === undefined ? null : derive(source, index);
}

/** Whether the secret at one index gives the one at another: a prefix of it. */
function gives(from: bigint, to: bigint): boolean {
  const mask = trailingZeros(from);
  return to >= 0n && to <= LAST_INDEX && (to & ~mask) === from;
}

/** As ones: the bits below the lowest one that is set; all 48 for zero. */
function trailingZeros(index: bigint): bigint {
  return index === 0n ? LAST_INDEX : (index & -index) - 1n;
}

function isGivenBy(source: StoredSecret, entry: StoredSecret): boolean {
  return isSameBytes(derive(source, entry.index), entry.secret);
}

/** BOLT 3, derive_secret: generate_from_seed for the bits that are free. */
function derive({ index, secret }: StoredSecret, to: bigint): DisclosedSecret {
  const free = to & trailingZeros(index);
  const derived = generateFromSeed(new Secret(secret), free);
  // The peer disclosed it, by disclosing what it is derived from.
  return derived.reveal() as DisclosedSecret;
}
