/**
 * What a card makes of all that a storage server holds: which of the two goes on.
 *
 * | the server | the card | then |
 * | --- | --- | --- |
 * | lacks, or has an older, what it once acknowledged | | refused: rolled back |
 * | has nothing | never stored anything | goes on; stores all with the first answer |
 * | has nothing | restored | stays restored, and stores nothing as the truth |
 * | has what it last acknowledged | has changes since | they stay, and are stored next |
 * | has more: another card has signed | | its state is taken, our changes are dropped |
 * | has a state | was never shared, and has channels | refused: two truths |
 * | has half of a state | of another card | not now: that card has to finish |
 *
 * No answer ever left that rests on what is dropped: answers wait until what they
 * rest on is acknowledged, and that is durable here before they leave
 * (`sharing.ts`). What the owner chose at this card (policy, allowlist) stays if
 * nobody changed the same elsewhere.
 *
 * What it does not do: check the server's MAC, or write anything.
 *
 * @module
 */

import { replaceInSum, rowDigest, sumToBytes } from "../../store/digest.ts";
import type { Change } from "../../store/store.ts";
import type { LssEntry } from "../../wire/lss.ts";
import { OwnerError } from "../owner_error.ts";
import {
  decodeHead,
  decodeSlot,
  HEAD_NAME,
  nameOfSlot,
  slotOfName,
} from "./entries.ts";
import {
  isAsRecorded,
  isEqual,
  isOwnersKey,
  isSignersKey,
  recordOfEntry,
  SlotBook,
} from "./slots.ts";

/** The storage cannot be used now, and may be later. */
export class NotNow extends Error {
  override readonly name = "NotNow";
}

/** Everything that a server holds, opened. */
export interface Stored {
  readonly rows: ReadonlyMap<string, Uint8Array>;
  /** As if all of it had been acknowledged. */
  readonly book: SlotBook;
}

/** Opens an entry; null when it is not of this seed. */
export type OpenEntry = (entry: LssEntry) => Uint8Array | null;

function refuse(problem: string): never {
  throw new OwnerError("rightNode", `Cannot use the storage: ${problem}`);
}

/**
 * Opens all entries and compares them with their head.
 *
 * @throws {OwnerError} rightNode, for anything but a state that a card put there
 */
export function openStored(
  entries: readonly LssEntry[],
  open: OpenEntry,
): Stored {
  const rows = new Map<string, Uint8Array>();
  const book = new SlotBook();
  let sum = 0n;
  let head: LssEntry | null = null;
  for (const entry of entries) {
    if (entry.key === HEAD_NAME) {
      head = entry;
      continue;
    }
    const slot = slotOfName(entry.key) ?? refuseStranger(entry);
    if (book.slot(slot) !== undefined) refuse(`${entry.key} is there twice`);
    const text = readSlot(entry, open);
    book.setSlot(slot, recordOfEntry(entry, text));
    sum = replaceInSum(sum, null, rowDigest(entry));
    if (text.key === "") continue;
    if (rows.has(text.key)) refuse(`${entry.key} holds a row twice`);
    rows.set(text.key, text.value);
  }
  if (head === null) {
    if (entries.length > 0) refuse(`it lacks ${HEAD_NAME}, want all entries`);
    return { rows, book };
  }
  const text = readHead(head, open);
  if (!isEqual(sumToBytes(sum), sumToBytes(text.sum))) {
    refuse(
      "its entries do not belong together: some are missing or older than " +
        "the rest, want all as they were last stored",
    );
  }
  const { version } = head;
  book.setHead({ ...text, version, digest: rowDigest(head) });
  return { rows, book };
}

function refuseStranger({ key }: LssEntry): never {
  refuse(
    `it holds ${JSON.stringify(key.slice(0, 80))} of another kind of signer ` +
      "with this seed, want a storage that only softkeys of this seed use",
  );
}

function readSlot(entry: LssEntry, open: OpenEntry) {
  return readable(entry, open, decodeSlot);
}

function readHead(entry: LssEntry, open: OpenEntry) {
  return readable(entry, open, decodeHead);
}

function readable<T>(
  entry: LssEntry,
  open: OpenEntry,
  read: (text: Uint8Array) => T,
): T {
  const text = open(entry);
  if (text === null) {
    refuse(
      `${entry.key}, version ${entry.version}, was not stored by a softkey ` +
        "with this seed, or was changed since",
    );
  }
  try {
    return read(text);
  } catch (cause) {
    throw new OwnerError(
      "rightNode",
      `Cannot use the storage: ${entry.key} cannot be read; a newer softkey ` +
        "may have stored it, want that one",
      { cause },
    );
  }
}

/** A card, and what a server holds for it. */
export interface MergeInput {
  /** The card's shared rows. */
  readonly local: ReadonlyMap<string, Uint8Array>;
  /** What was acknowledged so far. */
  readonly book: SlotBook;
  readonly stored: Stored;
  readonly isRestored: boolean;
  /** Whether the card had signed nothing when it first met the server. */
  readonly isClean: boolean;
  /** The card's own, as in {@link HeadText.origin}. */
  readonly origin: Uint8Array;
}

/** What a card has to do to be where the server is. */
export interface Merge {
  /** Rows to be written; none when the card goes on as it is. */
  readonly rows: readonly Change[];
  /** Whether the server's state was taken: what was dropped never counted. */
  readonly isImported: boolean;
  /** The owner's changes that were dropped, by their keys. */
  readonly dropped: readonly string[];
  /** Whether this is the last word of the node's cards. */
  readonly isComplete: boolean;
}

/**
 * Decides who goes on.
 *
 * @throws {OwnerError} rightNode, when nothing may be signed with this storage
 * @throws {NotNow} when another card has to finish first
 */
export function merge(input: MergeInput): Merge {
  const { local, book, stored, isRestored } = input;
  checkNotRolledBack(book, stored.book);
  const found = stored.book.head;
  if (found === null) return goOn({ isComplete: !isRestored });
  const isLatest = book.head?.version === found.version;
  if (isLatest && !isRestored) return goOn({ isComplete: true });
  const differing = differences(local, stored.rows);
  if (!found.isWhole) return finish(input, differing);
  if (book.head === null && !isRestored) checkOneTruth(input, differing);
  const kept = new Set(differing.filter((key) => isOwnersToKeep(input, key)));
  const taken = differing.filter((key) => !kept.has(key));
  return {
    rows: taken.map((key) => ({ key, value: stored.rows.get(key) ?? null })),
    isImported: taken.length > 0,
    dropped: taken.filter((key) =>
      isOwnersKey(key) && isChangedHere(input, key)
    ),
    isComplete: true,
  };
}

function goOn({ isComplete }: Pick<Merge, "isComplete">): Merge {
  return { rows: [], isImported: false, dropped: [], isComplete };
}

/** What was acknowledged is there, as it was or further. */
function checkNotRolledBack(known: SlotBook, found: SlotBook): void {
  if (known.head !== null) {
    checkNotOlder(HEAD_NAME, known.head, found.head);
  }
  for (const [slot, record] of known.slots()) {
    checkNotOlder(nameOfSlot(slot), record, found.slot(slot) ?? null);
  }
}

interface Known {
  readonly version: bigint;
  readonly digest: Uint8Array;
}

function checkNotOlder(name: string, known: Known, found: Known | null): void {
  if (found === null) {
    refuse(
      `it was rolled back: ${name} is missing, this card stored version ` +
        `${known.version}; want the storage as it was, nothing is signed from ` +
        "an old state",
    );
  }
  if (found.version < known.version) {
    refuse(
      `it was rolled back: ${name} is version ${found.version}, this card ` +
        `knows ${known.version}; want the storage as it was, nothing is ` +
        "signed from an old state",
    );
  }
  if (found.version > known.version) return;
  if (isEqual(found.digest, known.digest)) return;
  refuse(
    `it was rolled back and went on: ${name}, version ${known.version}, is not ` +
      "what this card knows; want the storage as it was",
  );
}

function differences(
  local: ReadonlyMap<string, Uint8Array>,
  stored: ReadonlyMap<string, Uint8Array>,
): readonly string[] {
  const keys = new Set([...local.keys(), ...stored.keys()]);
  return [...keys].filter((key) => {
    const [ours, theirs] = [local.get(key), stored.get(key)];
    return ours === undefined || theirs === undefined ||
      !isEqual(ours, theirs);
  });
}

/** Half of a state: ours goes on, as nobody else takes half. */
function finish(
  { stored, origin, isRestored }: MergeInput,
  differing: readonly string[],
): Merge {
  const isOurs = !isRestored && stored.book.head !== null &&
    isEqual(stored.book.head.origin, origin) &&
    differing.every((key) => !stored.rows.has(key));
  if (isOurs) return goOn({ isComplete: true });
  throw new NotNow(
    "Cannot use the storage: another card has stored half of its state, want " +
      "that card to finish first",
  );
}

/** A card that signed by itself has a history which the server knows nothing of. */
function checkOneTruth(
  { local, stored, origin, isClean }: MergeInput,
  differing: readonly string[],
): void {
  // Whatever it signed since then was to be stored first, and was not.
  if (isClean) return;
  const head = stored.book.head;
  // The answer to its own first put was lost: nothing was signed in between.
  if (head !== null && isEqual(head.origin, origin)) return;
  if (!differing.some((key) => local.has(key) && isSignersKey(key))) return;
  refuse(
    "it holds the state of another card, and this card has channels that it " +
      "signed for by itself; want a new card with this seed (softkey restore)",
  );
}

/** Changed at this card, and by nobody else. */
function isOwnersToKeep({ local, book, stored }: MergeInput, key: string) {
  if (!isOwnersKey(key)) return false;
  const slot = book.slotOf(key);
  if (slot === undefined) {
    return book.head !== null && local.has(key) && !stored.rows.has(key);
  }
  return book.slot(slot)?.version === stored.book.slot(slot)?.version;
}

function isChangedHere({ local, book }: MergeInput, key: string): boolean {
  const value = local.get(key);
  const record = book.recordOf(key);
  return value === undefined
    ? record !== undefined
    : !isAsRecorded(value, record);
}
