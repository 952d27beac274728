/**
 * What a storage card is to the program that signs: named, versioned values,
 * changed together or not at all.
 *
 * The versions of a key rise with each write of it, so that a storage server can
 * hold the same values (VLS, Lightning Storage Server): by one while it is there,
 * and never below what they were once it was deleted (`versions.ts`). All
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
  /**
   * One more with each write of the key. A key that is not there starts at 0, or
   * above every version that was ever removed with a deleted key.
   */
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

/** A line to be added to the book of what was signed. */
export interface NewLine {
  /** Unix time in milliseconds. */
  readonly time: bigint;
  /** What happened; the store does not look into it. */
  readonly body: Uint8Array;
}

/** A line in the book. */
export interface LedgerLine extends NewLine {
  /** 1 for the first line ever, then one more with each. */
  readonly number: bigint;
  /** SHA-256(hash of the line before, number, time, body), 32 bytes. */
  readonly hash: Uint8Array;
}

/** Where the book stands: a line's number and hash; 0 and zeros before any. */
export interface LedgerMark {
  readonly number: bigint;
  readonly hash: Uint8Array;
}

/** Which lines of the book. */
export interface LedgerRange {
  /** Lines with this number and later. */
  readonly from?: bigint;
  /** At most this many, the newest of them. */
  readonly last?: number;
}

/** The book of what was signed, refused and decided. */
export interface Ledger {
  /** The newest line. */
  readonly tip: LedgerMark;
  /** The line before the oldest that is kept: what its hash goes on from. */
  readonly anchor: LedgerMark;
  /** In order. */
  lines(range?: LedgerRange): Iterable<LedgerLine>;
}

/** An open card. One program at a time has it open for writing. */
export interface Store {
  readonly head: Head;
  readonly ledger: Ledger;
  /** False once nobody can tell what the card holds: it has to be reopened. */
  readonly isCertain: boolean;
  /** Everything that is kept; what was deleted is not. */
  load(): Iterable<StoredValue>;
  /**
   * Writes all changes and lines, durably: they survive a loss of power from
   * here on. Lines alone leave the head where it is.
   *
   * @throws {StoreError} when nothing was written, or nobody can tell
   */
  commit(changes: readonly Change[], lines?: readonly NewLine[]): void;
  /** Lets go of the card. */
  close(): void;
}

/** Hears of what was committed, when it is durable. */
export type CommitListener = (changes: readonly Change[]) => void;

/** A card that tells of its commits, whoever made them. */
export interface WatchedStore extends Store {
  /** From now on: after each commit, before it returns. */
  watch(listener: CommitListener): void;
}
