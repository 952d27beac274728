/**
 * Opens the database of a Core Lightning node that is stopped, and reads what
 * its channels are.
 *
 * The file is opened for reading only. After a crash a journal lies beside it:
 * then the file is opened for writing once, so that SQLite undoes what was half
 * written, as lightningd's next start would have done; nothing else is changed.
 *
 * What it does not do: read a PostgreSQL database, or judge what it reads.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { describeError, StoreError } from "../../errors.ts";
import {
  CHANNELS,
  type Column,
  CONFIGS,
  FEERATES,
  HTLCS,
  INFLIGHTS,
  KNOWN_SECRETS,
  type NodeDatabase,
  PEERS,
  PENALTIES,
  readRow,
  type RowOf,
  selectOf,
  SHACHAINS,
  type SqlValue,
  type Table,
  unreadable,
  VARS,
  VERSION,
} from "./rows.ts";

/** CLN: a channel of which nothing is left to do. */
const CLOSED = 10;

/**
 * Reads the database of a node that does not run.
 *
 * @throws {StoreError} for what is no such database, or is in use
 */
export async function readNodeDatabase(
  path: string,
  print: (text: string) => void,
): Promise<NodeDatabase> {
  await checkFile(path);
  await checkStopped(path);
  const isHot = await hasRest(`${path}-journal`) ||
    await hasRest(`${path}-wal`);
  if (isHot) {
    print(
      "lightningd was not stopped but ended: what it had half written is undone",
    );
  }
  const db = openFile(path, !isHot);
  try {
    return explained(path, () => readAll(db));
  } finally {
    db.close();
  }
}

const SQLITE_MAGIC = "SQLite format 3\0";

async function checkFile(path: string): Promise<void> {
  if (/^postgres(ql)?:/.test(path)) {
    throw unreadable(
      `${path.split(":")[0]}: is not supported, want a file ` +
        "lightningd.sqlite3",
    );
  }
  const start = new Uint8Array(SQLITE_MAGIC.length);
  try {
    using file = await Deno.open(path);
    await file.read(start);
  } catch (cause) {
    throw unreadable(`${path}: ${describeError(cause)}`, cause);
  }
  if (new TextDecoder("latin1").decode(start) === SQLITE_MAGIC) return;
  throw unreadable(`${path} is no SQLite database, want lightningd.sqlite3`);
}

/** A node that answers on its socket beside the database is not stopped. */
async function checkStopped(path: string): Promise<void> {
  const folder = path.includes("/")
    ? path.slice(0, path.lastIndexOf("/"))
    : ".";
  try {
    const socket = await Deno.connect({
      transport: "unix",
      path: `${folder}/lightning-rpc`,
    });
    socket.close();
  } catch {
    return; // nobody listens, or there is no such socket
  }
  throw unreadable(`lightningd runs in ${folder}, stop it first`);
}

async function hasRest(path: string): Promise<boolean> {
  try {
    return (await Deno.stat(path)).size > 0;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw unreadable(`${path}: ${describeError(error)}`, error);
  }
}

function openFile(path: string, readOnly: boolean): DatabaseSync {
  return explained(path, () => new DatabaseSync(path, { readOnly }));
}

const CAUSES: readonly { readonly pattern: RegExp; readonly text: string }[] = [
  {
    pattern: /database is locked/,
    text: "it is in use: stop lightningd first",
  },
  { pattern: /malformed|not a database|corrupt/, text: "the file is damaged" },
  { pattern: /unable to open/, text: "no such file, or not permitted" },
];

/** Runs; whatever SQLite throws becomes words for the owner. */
function explained<T>(path: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const said = describeError(cause).replace(/[^\x20-\x7e]/g, "?");
    const known = CAUSES.find(({ pattern }) => pattern.test(said));
    throw unreadable(`${path}: ${known?.text ?? said.slice(0, 200)}`, cause);
  }
}

function readAll(db: DatabaseSync): NodeDatabase {
  db.exec("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; BEGIN");
  checkPages(db);
  const live = `state != ${CLOSED}`;
  const ofLive = (name: string) =>
    `${name} IN (SELECT id FROM channels WHERE ${live})`;
  const underWay = "hstate NOT IN (9, 19)";
  const [version] = rowsOf(db, VERSION);
  const index = (name: string) => variable(db, name)?.number ?? 0n;
  return {
    version: version?.version ?? 0,
    nodeId: variable(db, "node_id")?.bytes ?? null,
    genesisHash: variable(db, "genesis_hash")?.bytes ?? null,
    walletIndex: larger(index("bip32_max_index"), index("bip86_max_index")),
    highestChannel: count(db, "SELECT max(id) AS n FROM channels"),
    closed: count(
      db,
      `SELECT count(*) AS n FROM channels WHERE state = ${CLOSED}`,
    ),
    peers: rowsOf(db, PEERS, "node_id IS NOT NULL"),
    channels: rowsOf(db, CHANNELS, `${live} ORDER BY id`),
    configs: rowsOf(db, CONFIGS),
    feerates: rowsOf(db, FEERATES, `${ofLive("channel_id")} ORDER BY hstate`),
    htlcs: rowsOf(
      db,
      HTLCS,
      `${ofLive("channel_id")} AND (${underWay} OR hstate = 9 AND ` +
        "payment_key IS NOT NULL AND origin_htlc IN (SELECT id FROM " +
        `channel_htlcs WHERE ${underWay})) ORDER BY id`,
    ),
    inflights: rowsOf(
      db,
      INFLIGHTS,
      `${ofLive("channel_id")} ORDER BY funding_feerate`,
    ),
    shachains: rowsOf(db, SHACHAINS),
    knownSecrets: rowsOf(db, KNOWN_SECRETS),
    penalties: rowsOf(db, PENALTIES),
  };
}

const larger = (a: bigint, b: bigint) => a > b ? a : b;

function checkPages(db: DatabaseSync): void {
  const found = db.prepare("PRAGMA quick_check(1)").get()?.["quick_check"];
  if (found !== "ok") throw unreadable("the file is damaged");
}

// deno-lint-ignore no-explicit-any
function rowsOf<C extends Record<string, Column<any>>>(
  db: DatabaseSync,
  table: Table<C>,
  where = "1",
): RowOf<Table<C>>[] {
  const sql = selectOf(table, columnsOf(db, table.name));
  const select = db.prepare(`${sql} WHERE ${where}`);
  select.setReadBigInts(true);
  return select.all().map((row, i) => readRow(table, row, i + 1));
}

function columnsOf(db: DatabaseSync, table: string): ReadonlySet<string> {
  const rows = db.prepare(`PRAGMA table_info(${table})`).all();
  if (rows.length === 0) {
    throw unreadable(`it has no table ${table}, want lightningd.sqlite3`);
  }
  return new Set(rows.map((row) => String(row["name"])));
}

function variable(
  db: DatabaseSync,
  name: string,
): RowOf<typeof VARS> | undefined {
  const select = db.prepare(
    `${selectOf(VARS, columnsOf(db, "vars"))} WHERE name = ?`,
  );
  select.setReadBigInts(true);
  const row = select.get(name);
  return row === undefined ? undefined : readRow(VARS, row, 1);
}

function count(db: DatabaseSync, sql: string): bigint {
  const select = db.prepare(sql);
  select.setReadBigInts(true);
  const value: SqlValue = select.get()?.["n"] ?? null;
  return typeof value === "bigint" ? value : 0n;
}
