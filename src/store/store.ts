/**
 * What a storage card is to the program that signs: named, versioned values,
 * changed together or not at all.
 *
 * A version starts at 0 and rises by one with each write of its key, so that a
 * storage server can hold the same values (VLS, Lightning Storage Server). All
 * changes of one request are one commit; each commit extends a chain of hashes
 * whose head others may remember, and a card that is older than its head was
 * once seen to be has been rolled back.
 *
 * //~ Everything before this was about what to sign; this is about not forgetting
 * //~ it. The interface is four verbs long because whoever implements it has one
 * //~ hard job: when commit returns, it has happened, whatever comes next. The
 * //~ proof of that, and of the rest, is where the tour ends. Next:
 * //~ tests/README.md.
 *
 * @module
 */

/** A value as it is kept. */
export interface StoredValue {
  readonly key: string;
  /** 0 for the first write of the key, then one more with each. */
  readonly version: bigint;
  readonly value: Uint8Array;
}

/** A value to be written; null deletes it. */
export interface Change {
  readonly key: string;
  readonly value: Uint8Array | null;
}

/** Where a card's history stands. */
export interface Head {
  /** Number of commits so far. */
  readonly generation: bigint;
  /** SHA-256 over the head before and the commit's changes, 32 bytes. */
  readonly hash: Uint8Array;
}

/** An open card. One program at a time has it open for writing. */
export interface Store {
  readonly head: Head;
  /** False once nobody can tell what the card holds: it has to be reopened. */
  readonly isCertain: boolean;
  /** Everything that is kept; what was deleted is not. */
  load(): Iterable<StoredValue>;
  /**
   * Writes all changes, durably: they survive a loss of power from here on.
   *
   * @throws {StoreError} when nothing was written, or nobody can tell
   */
  commit(changes: readonly Change[]): void;
  /** Lets go of the card. */
  close(): void;
}
