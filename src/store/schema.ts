/**
 * The tables of a card, and how an older card becomes a newer one.
 *
 * | table | row |
 * | --- | --- |
 * | kv | key, version, value (empty: deleted), SHA-256 of these three |
 * | ledger | number, time, body, SHA-256 of these three after the line before |
| meta | one: generation, head, sum of the row hashes, card id, floor of the \
versions, the ledger's tip and anchor, and the SHA-256 of all of these |
 *
 * The number of the schema is SQLite's `user_version`; `application_id` says
 * that the file is a card at all. A change of the tables is one more entry of
 * {@link MIGRATIONS}: all that a card lacks run in one transaction. What the
 * file then says of its tables has to be what the entries make, word for word.
 *
 * What it does not do: change an entry that was released, ever.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../errors.ts";
import { damaged } from "./faults.ts";

/** `RHSK`, at offset 68 of the file. */
const APPLICATION_ID = 0x5248_534b;

/** What makes schema n+1 from schema n; the first makes an empty file a card. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE kv (
    key TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    digest BLOB NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    head BLOB NOT NULL,
    sum BLOB NOT NULL,
    card BLOB NOT NULL,
    digest BLOB NOT NULL
  ) STRICT;
  `,
  `
  CREATE TABLE ledger (
    number INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    body BLOB NOT NULL,
    hash BLOB NOT NULL
  ) STRICT;
  CREATE TABLE older AS SELECT * FROM meta;
  DROP TABLE meta;
  CREATE TABLE meta (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    generation INTEGER NOT NULL,
    head BLOB NOT NULL,
    sum BLOB NOT NULL,
    card BLOB NOT NULL,
    floor INTEGER NOT NULL,
    tip INTEGER NOT NULL,
    tip_hash BLOB NOT NULL,
    anchor INTEGER NOT NULL,
    anchor_hash BLOB NOT NULL,
    digest BLOB NOT NULL
  ) STRICT;
  INSERT INTO meta
    SELECT id, generation, head, sum, card,
      0, 0, zeroblob(32), 0, zeroblob(32), digest
    FROM older;
  DROP TABLE older;
  `,
];

/** What {@linkcode upgradeSchema} found. */
export interface SchemaChange {
  /** 0 for a file that was empty. */
  readonly before: number;
  readonly after: number;
}

/** How a card is brought up to date. */
export interface UpgradeOptions {
  readonly migrations?: readonly string[];
  /** Called before anything is written. */
  readonly beforeWriting?: () => void;
  /** Brings what the tables hold up to date, in the same transaction. */
  readonly fill: (db: DatabaseSync, before: number) => void;
}

/**
 * Brings the open database to the newest schema, in one transaction.
 *
 * @throws {StoreError} for a file of another program or of a newer softkey
 */
export function upgradeSchema(
  db: DatabaseSync,
  path: string,
  options: UpgradeOptions,
): SchemaChange {
  const { migrations = MIGRATIONS } = options;
  const before = readPragma(db, "user_version");
  checkOwner(db, path, before);
  const after = migrations.length;
  if (before > after) {
    throw new StoreError(
      "open the card",
      `${path} was written by a newer softkey: schema ${before}, want at ` +
        `most ${after}; run that softkey, or a newer one`,
    );
  }
  if (before < after) migrate(db, before, options);
  checkTables(db, path, migrations);
  return { before, after };
}

function checkOwner(db: DatabaseSync, path: string, version: number): void {
  const id = readPragma(db, "application_id");
  const isEmpty = version === 0 && id === 0 && countTables(db) === 0;
  if (isEmpty || (id === APPLICATION_ID && version > 0)) return;
  throw new StoreError(
    "open the card",
    `${path} is not a card's database: application ${id}, schema ${version}, ` +
      `want application ${APPLICATION_ID}`,
  );
}

function migrate(
  db: DatabaseSync,
  before: number,
  { migrations = MIGRATIONS, beforeWriting, fill }: UpgradeOptions,
): void {
  beforeWriting?.();
  db.exec("BEGIN IMMEDIATE");
  try {
    for (const statements of migrations.slice(before)) db.exec(statements);
    fill(db, before);
    db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
    db.exec(`PRAGMA user_version = ${migrations.length}`);
    db.exec("COMMIT");
  } catch (error) {
    if (db.isTransaction) db.exec("ROLLBACK");
    throw error;
  }
}

/** A word that changed in the file's own schema would be obeyed by SQLite. */
function checkTables(
  db: DatabaseSync,
  path: string,
  migrations: readonly string[],
): void {
  const wanted = new DatabaseSync(":memory:");
  try {
    for (const statements of migrations) wanted.exec(statements);
    if (tablesOf(db) === tablesOf(wanted)) return;
  } finally {
    wanted.close();
  }
  throw damaged(path, "its tables are not those of a card");
}

function tablesOf(db: DatabaseSync): string {
  const rows = db.prepare(
    "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name",
  ).all();
  return JSON.stringify(rows);
}

function countTables(db: DatabaseSync): number {
  const row = db.prepare("SELECT count(*) AS n FROM sqlite_schema").get();
  return Number(row?.["n"]);
}

function readPragma(
  db: DatabaseSync,
  name: "user_version" | "application_id",
): number {
  return Number(db.prepare(`PRAGMA ${name}`).get()?.[name]);
}
