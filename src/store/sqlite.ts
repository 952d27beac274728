/**
 * A card in one file: versioned values in SQLite.
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
 * A card is verified whole when it is opened: row by row, and the sum over all
 * rows (`digest.ts`). An old card that is whole in itself is not found here; the
 * node's program remembers the head for that.
 *
 * What it does not do: know what a value means; keep what was deleted (the key
 * stays, with a new version and no bytes).
 *
 * @module
 */

import { DatabaseSync, type StatementSync } from "node:sqlite";
import { createHash, randomBytes } from "node:crypto";
import { Bug, describeError, StoreError } from "../errors.ts";
import {
  GENESIS,
  nextHead,
  replaceInSum,
  rowDigest,
  sortByKey,
  sumToBytes,
  toNumber,
} from "./digest.ts";
import { MIGRATIONS, upgradeSchema } from "./schema.ts";
import type { Change, Head, Store, StoredValue } from "./store.ts";

/** A card on a disk. */
export interface SqliteStore extends Store {
  readonly path: string;
  /** Whether opening it made it. */
  readonly isNew: boolean;
  /** Random bytes that this card was made with. */
  readonly id: Uint8Array;
  /** Reads every page and every row; {@linkcode StoreError} when one is wrong. */
  check(): CheckReport;
}

/** What a whole card holds. */
export interface CheckReport {
  readonly head: Head;
  readonly values: number;
  readonly deleted: number;
}

/** How a card is opened. */
export interface OpenOptions {
  /** For tests of what releases do. */
  readonly migrations?: readonly string[];
  /** How long to wait for another program that is about to let go of it. */
  readonly waitMs?: number;
}

/** Opens a card's database, or makes one. @throws {StoreError} */
export function openSqliteStore(
  path: string,
  { migrations = MIGRATIONS, waitMs = 0 }: OpenOptions = {},
): SqliteStore {
  return new SqliteCard(path, { migrations, waitMs });
}

const SETTINGS = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA trusted_schema = OFF;
  PRAGMA cell_size_check = ON;
`;
const JOURNAL = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
`;
const CARD_ID_SIZE = 16;

interface Statements {
  readonly find: StatementSync;
  readonly put: StatementSync;
  readonly putMeta: StatementSync;
}

class SqliteCard implements SqliteStore {
  readonly path: string;
  readonly isNew: boolean;
  readonly id: Uint8Array;
  readonly #db: DatabaseSync;
  readonly #statements: Statements;
  #head: Head;
  #sum: bigint;
  #isCertain = true;

  constructor(path: string, options: Required<OpenOptions>) {
    const { migrations, waitMs } = options;
    this.path = path;
    this.#db = openDatabase(path, waitMs);
    try {
      const { before } = explained(path, "open the card", () => {
        lock(this.#db);
        return upgradeSchema(this.#db, path, { migrations, fill: makeMeta });
      });
      this.isNew = before === 0;
      const meta = explained(
        path,
        "open the card",
        () => readMeta(this.#db, path),
      );
      this.#statements = explained(path, "open the card", () => {
        this.#db.exec(JOURNAL);
        return prepare(this.#db);
      });
      this.id = meta.id;
      this.#head = meta.head;
      this.#sum = meta.sum;
      this.#verify();
    } catch (error) {
      this.#db.close();
      throw error;
    }
    if (this.isNew) syncFolderOf(path);
  }

  get head(): Head {
    return this.#head;
  }

  get isCertain(): boolean {
    return this.#isCertain;
  }

  load(): Iterable<StoredValue> {
    return explained(
      this.path,
      "read the card",
      () => readRows(this.#db).filter(({ value }) => value.length > 0),
    );
  }

  commit(changes: readonly Change[]): void {
    if (!this.#isCertain) throw uncertain();
    if (changes.length === 0) return;
    let isEnding = false;
    try {
      this.#db.exec("BEGIN IMMEDIATE");
      const { rows, sum } = this.#write(sortByKey(changes));
      const head = nextHead(this.#head, rows);
      this.#writeMeta(head, sum);
      isEnding = true;
      this.#db.exec("COMMIT");
      this.#head = head;
      this.#sum = sum;
    } catch (cause) {
      throw this.#abandon(cause, isEnding);
    }
  }

  close(): void {
    this.#isCertain = false;
    if (this.#db.isOpen) this.#db.close();
  }

  check(): CheckReport {
    return explained(this.path, "check the card", () => {
      const problems = this.#db.prepare("PRAGMA integrity_check(1)").all();
      const found = String(problems[0]?.["integrity_check"]);
      if (found !== "ok") throw damaged(this.path, printable(found));
      return this.#verify();
    });
  }

  #write(changes: readonly Change[]) {
    let sum = this.#sum;
    const rows: StoredValue[] = [];
    for (const change of changes) {
      const before = this.#statements.find.get(change.key);
      const version = before === undefined
        ? 0n
        : wholeNumber(before["version"]) + 1n;
      const value = change.value ?? new Uint8Array();
      const row = { key: change.key, version, value };
      const digest = rowDigest(row);
      this.#statements.put.run(row.key, version, value, digest);
      const old = before === undefined ? null : octets(before["digest"]);
      sum = replaceInSum(sum, old, digest);
      rows.push(row);
    }
    return { rows, sum };
  }

  #writeMeta(head: Head, sum: bigint): void {
    const sumBytes = sumToBytes(sum);
    this.#statements.putMeta.run(
      head.generation,
      head.hash,
      sumBytes,
      metaDigest({ head, sumBytes, id: this.id }),
    );
  }

  /** Undoes what it can; whether that is certain depends on how far it came. */
  #abandon(cause: unknown, isEnding: boolean): StoreError {
    const problem = printable(describeError(cause));
    const obstacle = this.#rollBack();
    if (obstacle === null && (!isEnding || isDiskFull(problem))) {
      return new StoreError("write the card", problem, { cause });
    }
    this.#isCertain = false;
    return new StoreError(
      "write the card",
      `${
        obstacle ?? problem
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

  /** Compares every row with its hash, and all of them with their sum. */
  #verify(): CheckReport {
    return explained(this.path, "read the card", () => {
      let sum = 0n;
      const rows = readRows(this.#db);
      for (const row of rows) {
        const digest = rowDigest(row);
        if (digest.toHex() !== row.digest.toHex()) {
          throw damaged(this.path, `${printable(row.key)} fails its checksum`);
        }
        sum = replaceInSum(sum, null, digest);
      }
      if (sum !== this.#sum) {
        throw damaged(this.path, "values are missing, or older than the rest");
      }
      const deleted = rows.filter(({ value }) => value.length === 0).length;
      return { head: this.#head, values: rows.length - deleted, deleted };
    });
  }
}

function openDatabase(path: string, waitMs: number): DatabaseSync {
  return explained(
    path,
    "open the card",
    () => new DatabaseSync(path, { timeout: waitMs }),
  );
}

/** Takes the file for us alone, for as long as it is open. */
function lock(db: DatabaseSync): void {
  db.exec(SETTINGS);
  db.exec("BEGIN EXCLUSIVE");
  db.exec("COMMIT");
}

function prepare(db: DatabaseSync): Statements {
  const find = db.prepare("SELECT version, digest FROM kv WHERE key = ?");
  find.setReadBigInts(true);
  return {
    find,
    put: db.prepare(
      `INSERT INTO kv (key, version, value, digest) VALUES (?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET version = excluded.version,
         value = excluded.value, digest = excluded.digest`,
    ),
    putMeta: db.prepare(
      `UPDATE meta SET generation = ?, head = ?, sum = ?, digest = ?
       WHERE id = 1`,
    ),
  };
}

function makeMeta(db: DatabaseSync): void {
  const id = new Uint8Array(randomBytes(CARD_ID_SIZE));
  const sumBytes = sumToBytes(0n);
  db.prepare(
    `INSERT INTO meta (id, generation, head, sum, card, digest)
     VALUES (1, ?, ?, ?, ?, ?)`,
  ).run(
    GENESIS.generation,
    GENESIS.hash,
    sumBytes,
    id,
    metaDigest({ head: GENESIS, sumBytes, id }),
  );
}

function readMeta(db: DatabaseSync, path: string) {
  const select = db.prepare(
    "SELECT generation, head, sum, card, digest FROM meta",
  );
  select.setReadBigInts(true);
  const row = select.get();
  if (row === undefined) throw damaged(path, "its history is missing");
  const head = {
    generation: wholeNumber(row["generation"]),
    hash: octets(row["head"]),
  };
  const sumBytes = octets(row["sum"]);
  const id = octets(row["card"]);
  const found = metaDigest({ head, sumBytes, id }).toHex();
  if (found !== octets(row["digest"]).toHex()) {
    throw damaged(path, "its history fails its checksum");
  }
  return { head, sum: toNumber(sumBytes), id };
}

interface Meta {
  readonly head: Head;
  readonly sumBytes: Uint8Array;
  readonly id: Uint8Array;
}

function metaDigest({ head, sumBytes, id }: Meta): Uint8Array {
  const generation = new Uint8Array(8);
  new DataView(generation.buffer).setBigInt64(0, head.generation);
  const hash = createHash("sha256");
  for (const part of [generation, head.hash, sumBytes, id]) hash.update(part);
  return new Uint8Array(hash.digest());
}

interface CheckedRow extends StoredValue {
  readonly digest: Uint8Array;
}

function readRows(db: DatabaseSync): CheckedRow[] {
  const select = db.prepare(
    "SELECT key, version, value, digest FROM kv ORDER BY key",
  );
  select.setReadBigInts(true);
  return select.all().map((row) => ({
    key: String(row["key"]),
    version: wholeNumber(row["version"]),
    value: octets(row["value"]),
    digest: octets(row["digest"]),
  }));
}

function wholeNumber(value: unknown): bigint {
  if (typeof value === "bigint") return value;
  throw new Bug(`Read ${typeof value} where the table holds an integer`);
}

function octets(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  throw new Bug(`Read ${typeof value} where the table holds bytes`);
}

/** SQLite's own words for what is not damage, and ours. */
const OUTSIDE_CAUSES: readonly { pattern: RegExp; text: string }[] = [
  {
    pattern: /database is locked/,
    text: "another softkey runs with this card; stop it first",
  },
  { pattern: /disk is full/, text: "the disk is full" },
  { pattern: /disk I\/O error/, text: "the disk cannot be read or written" },
  { pattern: /readonly database/, text: "it may not be written to" },
  { pattern: /unable to open/, text: "no such folder, or not permitted" },
];

function isDiskFull(problem: string): boolean {
  return /disk is full/.test(problem);
}

/** Runs; whatever SQLite throws becomes words for the owner. */
function explained<T>(path: string, operation: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const said = describeError(cause);
    const known = OUTSIDE_CAUSES.find(({ pattern }) => pattern.test(said));
    if (known === undefined) throw damaged(path, printable(said), cause);
    const problem = `${path}: ${known.text}`;
    throw new StoreError(operation, problem, { cause });
  }
}

function damaged(path: string, problem: string, cause?: unknown): StoreError {
  return new StoreError(
    "use the card",
    `card ${path} is damaged: ${problem}; restore a copy that is not older ` +
      "than the last signature, or close the channels with the node's other " +
      "backups (an older copy could sign a revoked state)",
    { cause },
  );
}

function uncertain(): StoreError {
  return new StoreError(
    "write the card",
    "an earlier write may or may not have happened; restart the softkey",
  );
}

/** What is read from a damaged file may be anything. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);
}

/** A new file is durable once its folder is. */
function syncFolderOf(path: string): void {
  const end = path.lastIndexOf("/");
  const folder = end < 0 ? "." : path.slice(0, Math.max(end, 1));
  using handle = Deno.openSync(folder);
  handle.syncSync();
}
