/**
 * A card in one file: versioned values and a ledger in SQLite.
 *
 * A commit is one transaction in the write-ahead log, which is synced before
 * COMMIT returns (`synchronous = FULL`): what was committed survives a loss of
 * power, what was not never happened. The file is locked for as long as it is
 * open, so that two programs never sign from one memory.
 *
 * | what went wrong | what is said | and then |
 * | --- | --- | --- |
 * | another program has it | that another softkey runs | nothing was read |
 * | no room, no permission | what the disk says | nothing changed, may be tried again |
 * | the disk failed in COMMIT | that nobody can tell | refuses until it is reopened |
 * | a hash or a page is wrong | what to do about it | nothing is signed from it |
 *
 * What is verified, and when:
 *
 * | what | at the start | by `check` |
 * | --- | --- | --- |
 * | every byte, after a clean stop (`sum.ts`) | yes | |
 * | the tables' own words, the row of `meta` | yes | yes |
 * | every row, and the sum over all of them (`digest.ts`) | yes | yes |
 * | the ledger's newest 1,000 lines, and its ends | yes | yes |
 * | the ledger whole, every page | | yes |
 *
 * With a full ledger a start takes 0.1 s and `check` some seconds.
 *
 * After a crash there is no sum over the bytes, and the log holds the newest
 * commits. Each page in it has a checksum that goes on from the one before; a
 * flipped byte ends the log early, and the card is then whole but older. Like
 * an old copy, that is not found here; the node's program remembers the head
 * for that.
 *
 * | what grows | its bound |
 * | --- | --- |
 * | the ledger | 201,000 lines: some 45 MB where a line has 160 bytes |
 * | deleted rows | 1,000, and 256 answers |
 * | the log | 1,000 pages (4 MB) and one commit |
 *
 * What it does not do: know what a value or a line means; give free pages back
 * to the disk (they are used again).
 *
 * @module
 */

import type { DatabaseSync } from "node:sqlite";
import { describeError, StoreError } from "../errors.ts";
import { firstOf, LEDGER_LINES } from "./book.ts";
import { type Meta, nextHead, sortByKey } from "./digest.ts";
import {
  damaged,
  explained,
  isDiskFull,
  plainText,
  printable,
} from "./faults.ts";
import { HeldFile } from "./hold.ts";
import { LedgerTable, VERIFIED_AT_OPEN } from "./ledger_table.ts";
import {
  freshMeta,
  insertMeta,
  readMeta,
  upgradeMeta,
  writeMeta,
} from "./meta_table.ts";
import { isDead, problemOfRows, RowTable } from "./row_table.ts";
import { MIGRATIONS, upgradeSchema } from "./schema.ts";
import type {
  Change,
  CommitListener,
  Head,
  Ledger,
  LedgerLine,
  LedgerMark,
  LedgerRange,
  NewLine,
  StoredValue,
  WatchedStore,
} from "./store.ts";
import { syncFolderOf } from "./sum.ts";
import { TOMBSTONES } from "./versions.ts";

/** A card on a disk. */
export interface SqliteStore extends WatchedStore {
  readonly path: string;
  /** Whether opening it made it. */
  readonly isNew: boolean;
  /** Random bytes that this card was made with. */
  readonly id: Uint8Array;
  /**
   * Why closing it left no sum over the whole file; null while it is open, and
   * when it did. Everything that was committed is there all the same.
   */
  readonly closeProblem: StoreError | null;
  /** Reads every page, row and line; {@linkcode StoreError} when one is wrong. */
  check(): CheckReport;
  /** Everything that it holds, at one moment. */
  dump(): CardDump;
}

/** What a whole card holds. */
export interface CheckReport {
  readonly head: Head;
  readonly values: number;
  readonly deleted: number;
  /** How many lines of the ledger are kept. */
  readonly lines: number;
  /** Whether every byte was compared at the start: the last stop was clean. */
  readonly isSummed: boolean;
}

/** Everything that a card holds, at one moment. */
export interface CardDump {
  readonly id: Uint8Array;
  readonly head: Head;
  /** The version that a key starts at that is not among the rows. */
  readonly floor: bigint;
  /** Sorted by key; deleted ones have no bytes. */
  readonly rows: readonly StoredValue[];
  /** The line before the oldest that is kept. */
  readonly anchor: LedgerMark;
  /** In order. */
  readonly lines: readonly LedgerLine[];
}

/** How a card is opened. */
export interface OpenOptions {
  /** How long to wait for another program that is about to let go of it. */
  readonly waitMs?: number;
  /** For tests of what releases do. */
  readonly migrations?: readonly string[];
  /** For tests: how many lines of the ledger are kept. */
  readonly ledgerLines?: number;
  /** For tests: how many deleted rows may stay. */
  readonly tombstones?: number;
  /** For tests: how many pages the file may have; it is full then. */
  readonly maxPages?: number;
}

const DEFAULTS: Required<OpenOptions> = {
  waitMs: 0,
  migrations: MIGRATIONS,
  ledgerLines: LEDGER_LINES,
  tombstones: TOMBSTONES,
  maxPages: 0xffff_fffe,
};

/** Opens a card's database, or makes one. @throws {StoreError} */
export function openSqliteStore(
  path: string,
  options: OpenOptions = {},
): SqliteStore {
  const settings = { ...DEFAULTS, ...options };
  const held = new HeldFile(path, settings.waitMs);
  try {
    return new SqliteCard(held, settings);
  } catch (error) {
    held.giveBack();
    throw error;
  }
}

class SqliteCard implements SqliteStore {
  readonly path: string;
  readonly isNew: boolean;
  readonly ledger: Ledger;
  readonly #held: HeldFile;
  readonly #db: DatabaseSync;
  readonly #settings: Required<OpenOptions>;
  readonly #rows: RowTable;
  readonly #lines: LedgerTable;
  readonly #putMeta: (meta: Meta) => void;
  #meta: Meta;
  /** Deleted rows that may be removed. */
  #dead: number;
  #isCertain = true;
  #closeProblem: StoreError | null = null;
  #listener: CommitListener | null = null;

  constructor(held: HeldFile, settings: Required<OpenOptions>) {
    const { path, db } = held;
    this.path = path;
    this.#held = held;
    this.#db = db;
    this.#settings = settings;
    const opened = explained(path, "open the card", () => {
      const { before } = this.#upgrade();
      const meta = readMeta(db, path);
      return {
        before,
        meta,
        rows: new RowTable(db),
        lines: new LedgerTable(db),
      };
    });
    this.isNew = opened.before === 0;
    this.#meta = opened.meta;
    this.#rows = opened.rows;
    this.#lines = opened.lines;
    this.#dead = this.#verify(VERIFIED_AT_OPEN).dead;
    held.beginWriting();
    this.#putMeta = explained(path, "open the card", () => {
      held.useLog();
      db.exec(`PRAGMA max_page_count = ${settings.maxPages}`);
      return writeMeta(db);
    });
    this.ledger = this.#readLedger();
    if (this.isNew) syncFolderOf(path);
  }

  get id(): Uint8Array {
    return this.#meta.id;
  }

  get head(): Head {
    return this.#meta.head;
  }

  get isCertain(): boolean {
    return this.#isCertain;
  }

  get closeProblem(): StoreError | null {
    return this.#closeProblem;
  }

  load(): Iterable<StoredValue> {
    return explained(
      this.path,
      "read the card",
      () => this.#rows.read().filter(({ value }) => value.length > 0),
    );
  }

  commit(changes: readonly Change[], lines: readonly NewLine[] = []): void {
    if (!this.#isCertain) throw uncertain();
    if (changes.length + lines.length === 0) return;
    let isEnding = false;
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      const { meta, dead } = this.#write(changes, lines);
      this.#putMeta(meta);
      isEnding = true;
      this.#db.exec("COMMIT");
      this.#meta = meta;
      this.#dead = dead;
    } catch (cause) {
      throw this.#abandon(cause, isEnding);
    }
    this.#listener?.(changes);
  }

  watch(listener: CommitListener): void {
    this.#listener = listener;
  }

  close(): void {
    if (!this.#db.isOpen) return;
    const wasCertain = this.#isCertain;
    this.#isCertain = false;
    if (wasCertain) this.#closeProblem = this.#held.close();
    else this.#held.release();
  }

  check(): CheckReport {
    return explained(this.path, "check the card", () => {
      const problems = this.#db.prepare("PRAGMA integrity_check(1)").all();
      const found = String(problems[0]?.["integrity_check"]);
      if (found !== "ok") throw damaged(this.path, printable(found));
      this.#upgrade();
      readMeta(this.#db, this.path);
      const { values, deleted } = this.#verify(Infinity);
      const { tip, anchor } = this.#meta;
      const lines = Number(tip.number - anchor.number);
      const isSummed = this.#held.sum !== null;
      return { head: this.head, values, deleted, lines, isSummed };
    });
  }

  dump(): CardDump {
    return explained(this.path, "read the card", () => {
      const { id, head, floor, tip, anchor } = this.#meta;
      const rows = this.#rows.read();
      const lines = [...this.#lines.lines(anchor.number + 1n, tip.number)];
      return { id, head, floor, rows, anchor, lines };
    });
  }

  #upgrade() {
    const { db, path } = this.#held;
    return upgradeSchema(db, path, {
      migrations: this.#settings.migrations,
      beforeWriting: () => this.#held.beginWriting(),
      fill: (db, before) => {
        if (before === 0) insertMeta(db, freshMeta());
        if (before === 1) upgradeMeta(db, path);
      },
    });
  }

  #readLedger(): Ledger {
    const marks = () => this.#meta;
    return {
      get tip() {
        return marks().tip;
      },
      get anchor() {
        return marks().anchor;
      },
      lines: (range = {}) => this.#readLines(range),
    };
  }

  *#readLines(range: LedgerRange): Generator<LedgerLine> {
    const { tip } = this.#meta;
    yield* this.#lines.lines(firstOf(this.#meta, range), tip.number);
  }

  /** All of a commit but its end; what the card holds then. */
  #write(changes: readonly Change[], lines: readonly NewLine[]) {
    const { ledgerLines, tombstones } = this.#settings;
    const before = this.#meta;
    const { sum, floor } = before;
    const totals = { sum, floor, dead: this.#dead };
    const written = this.#rows.write(sortByKey(changes), totals);
    const after = this.#rows.sweep(written.totals, tombstones);
    const marks = this.#lines.add(before, lines, ledgerLines);
    const head = changes.length === 0
      ? before.head
      : nextHead(before.head, written.rows);
    const meta = {
      ...before,
      head,
      ...marks,
      sum: after.sum,
      floor: after.floor,
    };
    return { meta, dead: after.dead };
  }

  /** Undoes what it can; whether that is certain depends on how far it came. */
  #abandon(cause: unknown, isEnding: boolean): StoreError {
    const obstacle = this.#rollBack();
    if (obstacle === null && (!isEnding || isDiskFull(cause))) {
      const problem = `${plainText(cause)}; nothing was written`;
      return new StoreError("write the card", problem, { cause });
    }
    this.#isCertain = false;
    return new StoreError(
      "write the card",
      `${
        obstacle ?? plainText(cause)
      }; whether it was written shows when the softkey is restarted`,
      { cause },
    );
  }

  /** Why the transaction could not be undone; null when it was. */
  #rollBack(): string | null {
    try {
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      return null;
    } catch (error) {
      return printable(describeError(error));
    }
  }

  /** Compares all rows and the newest lines with where the card stands. */
  #verify(lineCount: number) {
    return explained(this.path, "read the card", () => {
      const rows = this.#rows.read();
      const problem = problemOfRows(rows, this.#meta.sum) ??
        this.#lines.problem(this.#meta, lineCount);
      if (problem !== null) throw damaged(this.path, problem);
      const deleted = rows.filter(({ value }) => value.length === 0).length;
      const dead = rows.filter(isDead).length;
      return { values: rows.length - deleted, deleted, dead };
    });
  }
}

function uncertain(): StoreError {
  return new StoreError(
    "write the card",
    "an earlier write may or may not have happened; restart the softkey",
  );
}
