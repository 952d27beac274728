/**
 * A card's file, held by this program alone from the first look to the last.
 *
 * Two locks, because one is not enough: SQLite's own keeps out whoever opens the
 * database, and is let go of before the sum of the closed file can be taken; a
 * second one (flock, on a handle of our own) lasts until the sum is written. The
 * handle is closed last, for closing it would undo SQLite's lock.
 *
 * The write-ahead log stays within {@link LOG_PAGES} pages and one commit: it is
 * copied into the file when it is that long, and begun anew. Pages that became
 * free are used again.
 *
 * What it does not do: know the tables.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../errors.ts";
import { damaged, explained, isBusy, plainText } from "./faults.ts";
import {
  compareSum,
  hashFile,
  readSum,
  removeSum,
  sizeOf,
  sumPathOf,
  writeSum,
} from "./sum.ts";

/** From how many pages on the log is copied into the file. */
const LOG_PAGES = 1_000;
/** A page of the log: the page's bytes and a header. */
const LOG_PAGE_SIZE = 4_096 + 24;
const LOG_HEADER_SIZE = 32;

/** The size in bytes that the log has at the most between commits. */
export const LOG_LIMIT = LOG_HEADER_SIZE + LOG_PAGES * LOG_PAGE_SIZE;

const SETTINGS = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA trusted_schema = OFF;
  PRAGMA cell_size_check = ON;
`;
const JOURNAL = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA wal_autocheckpoint = ${LOG_PAGES};
  PRAGMA journal_size_limit = ${LOG_LIMIT};
`;

/** An open database that no other program can open. */
export class HeldFile {
  readonly path: string;
  readonly db: DatabaseSync;
  /** What the whole file was compared with; null after an unclean stop. */
  readonly sum: string | null;
  readonly #file: Deno.FsFile;
  #hasSum: boolean;

  /** @throws {StoreError} */
  constructor(path: string, waitMs: number) {
    this.path = path;
    explained(path, "open the card", () => checkCompany(path));
    this.db = explained(
      path,
      "open the card",
      () => new DatabaseSync(path, { timeout: waitMs }),
    );
    let file: Deno.FsFile | null = null;
    try {
      lock(this.db, path);
      const opened = file = explained(path, "open the card", () => {
        return Deno.openSync(path);
      });
      this.sum = explained(path, "open the card", () => {
        opened.lockSync(true);
        return compareSum(path, opened);
      });
    } catch (error) {
      this.db.close();
      file?.close();
      throw error;
    }
    this.#file = file;
    this.#hasSum = this.sum !== null;
  }

  /** Puts the sum away; from here on the file may be written. */
  beginWriting(): void {
    if (!this.#hasSum) return;
    explained(this.path, "open the card", () => removeSum(this.path));
    this.#hasSum = false;
  }

  /** Has commits go to the log, and each of them synced. */
  useLog(): void {
    this.db.exec(JOURNAL);
  }

  /** Lets go of a card that could not be opened, and leaves it as it was. */
  giveBack(): void {
    try {
      this.db.close();
      if (this.sum !== null && !this.#hasSum && this.#hash() === this.sum) {
        writeSum(this.path, this.sum);
      }
    } catch (error) {
      // Without a sum it is verified by what is inside; the caller throws why.
      if (!(error instanceof Error)) throw error;
    } finally {
      this.release();
    }
  }

  /**
   * Lets go of the card; with a sum when it is all in the file.
   *
   * @returns why there is no sum, or null
   */
  close(): StoreError | null {
    try {
      this.#emptyLog();
      this.db.close();
      writeSum(this.path, this.#hash());
      return null;
    } catch (cause) {
      const problem = `${plainText(cause)}; everything that was written is ` +
        "there, but not the sum over the whole file";
      return new StoreError("close the card", problem, { cause });
    } finally {
      this.release();
    }
  }

  /** Lets go of the card as it is. */
  release(): void {
    if (this.db.isOpen) this.db.close();
    this.#file.close();
  }

  /** Copies what is in the log into the file. */
  #emptyLog(): void {
    const row = this.db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    if (row?.["busy"] !== 0) {
      throw new StoreError("close the card", "its log is in use");
    }
  }

  /** Of a file without a log: with one its bytes are not all. */
  #hash(): string {
    if (sizeOf(`${this.path}-wal`)) {
      throw new StoreError("close the card", "its log could not be emptied");
    }
    return hashFile(this.#file);
  }
}

/** What cannot be beside a sum: no file, or a log that is in use. */
function checkCompany(path: string): void {
  if (readSum(path) === null) return;
  if (sizeOf(path) === null) {
    throw damaged(path, `the file is gone, and only ${sumPathOf(path)} left`);
  }
  if (sizeOf(`${path}-wal`)) {
    throw damaged(path, `${path}-wal is not of this card, which was stopped`);
  }
}

/** Takes the file for us alone, for as long as it is open. */
function lock(db: DatabaseSync, path: string): void {
  explained(path, "open the card", () => {
    try {
      db.exec(SETTINGS);
      db.exec("BEGIN EXCLUSIVE");
      db.exec("COMMIT");
    } catch (cause) {
      if (!isBusy(cause)) compareUnlocked(path);
      throw cause;
    }
  });
}

/** SQLite's words for a damaged header mislead; the sum tells better. */
function compareUnlocked(path: string): void {
  using file = Deno.openSync(path);
  compareSum(path, file);
}
