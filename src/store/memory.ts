/**
 * A card that is nowhere: the same promises as the one on a disk, and a way to
 * break them on purpose.
 *
 * It is for tests and rehearsals. A {@link MemoryDisk} outlives the stores that
 * are opened on it, as a disk outlives a program.
 *
 * | fault | the commit | afterwards |
 * | --- | --- | --- |
 * | before | throws, nothing is written | goes on |
 * | torn | throws, nothing is written | refuses until it is reopened |
 * | after | throws, all is written | refuses until it is reopened |
 *
 * What it does not do: survive the process.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import {
  addLines,
  firstOf,
  LEDGER_LINES,
  markOf,
  type Marks,
  nextAnchor,
  NO_LINES,
} from "./book.ts";
import { GENESIS, nextHead, sortByKey } from "./digest.ts";
import type {
  Change,
  CommitListener,
  Head,
  Ledger,
  LedgerLine,
  LedgerRange,
  NewLine,
  StoredValue,
  WatchedStore,
} from "./store.ts";
import { floorAfter, nextVersion, TOMBSTONES } from "./versions.ts";

/** How a commit goes wrong. */
export type Fault = "before" | "torn" | "after";

/** How much a card keeps; for tests. */
export interface MemoryLimits {
  readonly ledgerLines?: number;
  readonly tombstones?: number;
}

interface Content extends Marks {
  readonly head: Head;
  readonly floor: bigint;
  readonly rows: ReadonlyMap<string, StoredValue>;
  readonly lines: readonly LedgerLine[];
}

const NOTHING: Content = {
  head: GENESIS,
  floor: 0n,
  rows: new Map(),
  tip: NO_LINES,
  anchor: NO_LINES,
  lines: [],
};

/** What stays when a program ends. */
export class MemoryDisk {
  /** Asked at each commit; null lets it pass. */
  fault: () => Fault | null = () => null;
  #written: Content = NOTHING;
  #synced: Content = NOTHING;
  #isHonest = true;
  #holder: MemoryStore | null = null;
  readonly #limits: Required<MemoryLimits>;

  constructor(limits: MemoryLimits = {}) {
    const usual = { ledgerLines: LEDGER_LINES, tombstones: TOMBSTONES };
    this.#limits = { ...usual, ...limits };
  }

  /** From now on nothing is synced, though the disk says so. */
  lie(): void {
    this.#isHonest = false;
  }

  /** Loses power: the program ends, and what was not synced is gone. */
  cutPower(): void {
    this.#holder?.close();
    this.#written = this.#synced;
    this.#isHonest = true;
  }

  /** A copy, as an owner makes one. */
  copy(): MemoryDisk {
    const disk = new MemoryDisk(this.#limits);
    disk.#written = this.#written;
    disk.#synced = this.#written;
    return disk;
  }

  /** Opens the card that is on this disk. @throws {StoreError} */
  open(): MemoryStore {
    if (this.#holder !== null) {
      throw new StoreError(
        "open the card",
        "another softkey runs with this card; stop it first",
      );
    }
    const holder = new MemoryStore({
      limits: this.#limits,
      fault: () => this.fault(),
      read: () => this.#written,
      write: (content) => {
        this.#written = content;
        if (this.#isHonest) this.#synced = content;
      },
      release: () => this.#holder = null,
    });
    this.#holder = holder;
    return holder;
  }
}

interface Access {
  readonly limits: Required<MemoryLimits>;
  readonly fault: () => Fault | null;
  readonly read: () => Content;
  readonly write: (content: Content) => void;
  readonly release: () => void;
}

/** A {@linkcode WatchedStore} on a {@linkcode MemoryDisk}. */
export class MemoryStore implements WatchedStore {
  readonly #access: Access;
  #isCertain = true;
  #isOpen = true;
  readonly #ledger: Ledger;
  /** What the card held when it was opened or last committed. */
  #known: Content;
  #listener: CommitListener | null = null;

  constructor(access: Access) {
    this.#access = access;
    this.#known = access.read();
    this.#ledger = readableLedger(() => this.#known);
  }

  /** A store on a disk of its own. */
  static create(): MemoryStore {
    return new MemoryDisk().open();
  }

  get head(): Head {
    return this.#known.head;
  }

  get ledger(): Ledger {
    return this.#ledger;
  }

  get isCertain(): boolean {
    return this.#isCertain;
  }

  load(): Iterable<StoredValue> {
    const rows = [...this.#access.read().rows.values()];
    return sortByKey(rows.filter(({ value }) => value.length > 0));
  }

  commit(changes: readonly Change[], lines: readonly NewLine[] = []): void {
    if (!this.#isCertain) {
      throw new StoreError("write the card", "reopen it: its state is unknown");
    }
    if (changes.length + lines.length === 0) return;
    const { limits, read, write } = this.#access;
    const fault = this.#access.fault();
    const next = extended(changed(read(), changes, limits), lines, limits);
    if (fault === null || fault === "after") write(next);
    if (fault === "torn" || fault === "after") this.#isCertain = false;
    if (fault !== null) {
      throw new StoreError("write the card", `fault ${fault}`);
    }
    this.#known = next;
    this.#listener?.(changes);
  }

  watch(listener: CommitListener): void {
    this.#listener = listener;
  }

  close(): void {
    this.#isCertain = false;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#access.release();
  }
}

function readableLedger(read: () => Content): Ledger {
  return {
    get tip() {
      return read().tip;
    },
    get anchor() {
      return read().anchor;
    },
    *lines(range: LedgerRange = {}) {
      const content = read();
      const first = firstOf(content, range);
      yield* content.lines.filter(({ number }) => number >= first);
    },
  };
}

function changed(
  content: Content,
  changes: readonly Change[],
  { tombstones }: Required<MemoryLimits>,
): Content {
  if (changes.length === 0) return content;
  const rows = new Map(content.rows);
  const written = sortByKey(changes).map(({ key, value }) => {
    const before = rows.get(key)?.version ?? null;
    const version = nextVersion(before, content.floor);
    const row = { key, version, value: (value ?? new Uint8Array()).slice() };
    rows.set(key, row);
    return row;
  });
  const head = nextHead(content.head, written);
  if (written.every(({ value }) => value.length > 0)) {
    return { ...content, head, rows };
  }
  const dead = [...rows.values()].filter(({ value }) => value.length === 0);
  if (dead.length <= tombstones) return { ...content, head, rows };
  for (const { key } of dead) rows.delete(key);
  const versions = dead.map(({ version }) => version);
  return { ...content, head, rows, floor: floorAfter(content.floor, versions) };
}

function extended(
  content: Content,
  lines: readonly NewLine[],
  { ledgerLines }: Required<MemoryLimits>,
): Content {
  const added = addLines(content.tip, lines);
  const all = [...content.lines, ...added];
  const tip = markOf(added.at(-1) ?? content.tip);
  const last = nextAnchor({ tip, anchor: content.anchor }, ledgerLines);
  const anchor = all.find(({ number }) => number === last);
  if (anchor === undefined) return { ...content, tip, lines: all };
  const kept = all.filter(({ number }) => number > anchor.number);
  return { ...content, tip, anchor: markOf(anchor), lines: kept };
}
