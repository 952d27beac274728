/**
 * The peer's revocation secrets, from the form in which Core Lightning keeps
 * them to that of the records.
 *
 * Core Lightning has 49 places, one a number of trailing zeros, and leaves what a
 * later secret gives where it is (`ccan/crypto/shachain`); the records have only
 * what is needed, newest last. Each secret has to give those that it can.
 *
 * Standard: BOLT 3, "Efficient Per-commitment Secret Storage".
 *
 * @module
 */

import { isSameBytes } from "../../bitcoin/bytes.ts";
import { secretAt, type StoredSecret } from "../../lightning/secret_store.ts";
import { LAST_INDEX } from "../../lightning/shachain.ts";
import type { NodeDatabase } from "./rows.ts";
import { Unfit } from "./unfit.ts";

/** What the peer has revoked. */
export interface Revocations {
  /** First number that is not. */
  readonly revoked: bigint;
  /** Highest index first. */
  readonly secrets: readonly StoredSecret[];
}

/** Reads a chain of secrets. @throws {Unfit} when they do not fit together */
export function gatherSecrets(db: NodeDatabase, id: bigint): Revocations {
  const chain = db.shachains.find((each) => each.id === id);
  if (chain === undefined) {
    throw new Unfit("the peer's revocation secrets are not in the database");
  }
  const known = db.knownSecrets
    .filter((each) => each.shachain === id && each.position < chain.valid)
    .map(({ index, secret }) => ({ index, secret }));
  const secrets = needed(known, chain.minIndex);
  const isDerived = known.every(({ index, secret }) => {
    const given = secretAt(secrets, index);
    return index >= chain.minIndex && given !== null &&
      isSameBytes(given, secret);
  });
  if (!isDerived) {
    throw new Unfit("the peer's revocation secrets do not derive each other");
  }
  return { revoked: LAST_INDEX + 1n - chain.minIndex, secrets };
}

/** One secret for each stretch of indexes, from the newest up to the last. */
function needed(known: readonly StoredSecret[], from: bigint): StoredSecret[] {
  const secrets: StoredSecret[] = [];
  for (let index = from; index <= LAST_INDEX;) {
    const found = known.find((each) => each.index === index);
    if (found === undefined) {
      throw new Unfit("the peer's revocation secrets have a gap");
    }
    secrets.unshift(found);
    index += index === 0n ? LAST_INDEX + 1n : index & -index;
  }
  return secrets;
}
