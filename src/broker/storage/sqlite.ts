/**
 * The storage beside the node: one file of SQLite, and a key of its own.
 *
 * | table | row |
 * | --- | --- |
 * | client | public key; how many entries and bytes it has |
 * | entry | client, key, version, value, SHA-256 of these four |
 *
 * A put is one transaction in the write-ahead log, which is synced before COMMIT
 * returns (`synchronous = FULL`): what a device hears to be stored survives a
 * loss of power. When COMMIT itself fails nobody can tell; the file is then
 * opened anew before the next use, and a repeated put that is there already is
 * known by its bytes.
 *
 * What it does not do: find that a whole old file was put back (devices do: the
 * versions they know are higher); keep anything that was overwritten.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { sha256 } from "../../crypto/hash.ts";
import { isPoint, publicKey } from "../../crypto/secp.ts";
import { isEqualConstantTime, type Secret } from "../../crypto/secret.ts";
import { describeError, StoreError } from "../../errors.ts";
import type { LssEntry } from "../../wire/lss.ts";
import {
  authToken,
  lssMac,
  PUT_NONCE,
  sharedSecret,
  STORED_NONCE,
} from "../../wire/lss_mac.ts";
import {
  type PutOutcome,
  type Storage,
  type StorageAuth,
  type StorageContent,
  StorageRefused,
  StorageUnavailable,
} from "../storage.ts";
import {
  checkForm,
  holdsExactly,
  isNext,
  LIMITS,
  NO_VERSION,
  refuse,
} from "./rules.ts";
import { syncFolderOf } from "../replace_file.ts";
import { openServerKey } from "./server_key.ts";
import { Turns } from "./turns.ts";

/** Where the storage is. */
export interface StoragePlaces {
  readonly database: string;
  readonly keyFile: string;
}

/** `RHSS`, at offset 68 of the file. */
const APPLICATION_ID = 0x5248_5353;
const SCHEMA = 1;

const TABLES = `
  CREATE TABLE client (
    id BLOB PRIMARY KEY,
    entries INTEGER NOT NULL,
    bytes INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE entry (
    client BLOB NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    value BLOB NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (client, key)
  ) STRICT;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${SCHEMA};
`;

const SETTINGS = `
  PRAGMA locking_mode = EXCLUSIVE;
  PRAGMA trusted_schema = OFF;
  PRAGMA cell_size_check = ON;
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
`;

/** How much a client has. */
interface Size {
  readonly entries: number;
  readonly bytes: number;
}

/** Who the server is to its clients. */
export interface ServerIdentity {
  readonly publicKey: Uint8Array;
  /** S, for a client's public key. */
  readonly sharedWith: (clientId: Uint8Array) => Secret;
}

function identityOf(key: Secret): ServerIdentity {
  return {
    publicKey: publicKey(key.reveal()),
    sharedWith: (clientId) => sharedSecret(key, clientId),
  };
}

/** How the storage is opened. */
export interface StorageOptions {
  /** For tests: who the server is. */
  readonly identity?: ServerIdentity;
  /** For tests: how many pages the file may have; it is full then. */
  readonly maxPages?: number;
}

/** SQLite's own bound. */
const MOST_PAGES = 0xffff_fffe;

/**
 * Opens the storage, or makes it.
 *
 * @throws {StoreError}
 */
export function openSqliteStorage(
  places: StoragePlaces,
  { identity, maxPages = MOST_PAGES }: StorageOptions = {},
): Storage {
  const file = new StorageFile(places.database, maxPages);
  try {
    if (identity !== undefined) return new SqliteStorage(file, identity);
    const mayMake = file.use((tables) => tables.isEmpty);
    const key = openServerKey(places.keyFile, { mayMake });
    return new SqliteStorage(file, identityOf(key));
  } catch (error) {
    file.close();
    throw error;
  }
}

class SqliteStorage implements Storage {
  readonly turns: Turns = new Turns();
  readonly #file: StorageFile;
  readonly #server: ServerIdentity;
  /** Secrets shared with clients, by the hex of their key. */
  readonly #shared = new Map<string, Secret>();
  #revision = 0;

  constructor(file: StorageFile, server: ServerIdentity) {
    this.#file = file;
    this.#server = server;
  }

  get revision(): number {
    return this.#revision;
  }

  serverKey(): Promise<Uint8Array> {
    return Promise.resolve(this.#server.publicKey);
  }

  // deno-lint-ignore require-await -- what it throws has to be a rejection
  async get(auth: StorageAuth, nonce: Uint8Array): Promise<StorageContent> {
    const shared = this.#admit(auth);
    const entries = this.#file.use((tables) => tables.read(auth.clientId));
    const hmac = lssMac(shared, nonce, entries);
    return { entries, hmac, revision: this.#revision };
  }

  // deno-lint-ignore require-await -- as above
  async put(
    auth: StorageAuth,
    entries: readonly LssEntry[],
    hmac: Uint8Array,
  ): Promise<PutOutcome> {
    const shared = this.#admit(auth);
    checkForm(entries);
    if (!isEqualConstantTime(lssMac(shared, PUT_NONCE, entries), hmac)) {
      throw new StorageRefused("Cannot store: the client's MAC does not fit");
    }
    const stored = () => lssMac(shared, STORED_NONCE, entries);
    const there = this.#write(auth.clientId, entries);
    if (there === null) return { kind: "stored", hmac: stored() };
    const isDone = holdsExactly(entries, there);
    return { kind: "conflict", entries: there, hmac: isDone ? stored() : null };
  }

  close(): void {
    this.#file.close();
  }

  /** Null when it is written; what is in the way when it is not. */
  #write(
    client: Uint8Array,
    entries: readonly LssEntry[],
  ): readonly LssEntry[] | null {
    try {
      const there = this.#file.change((tables) =>
        tables.write(client, entries)
      );
      if (there === null) this.#revision += 1;
      return there;
    } catch (error) {
      // It may be there all the same: others cannot be sure to have everything.
      if (error instanceof StorageUnavailable) this.#revision += 1;
      throw error;
    }
  }

  /** The secret shared with a client that has proved to have it. */
  #admit({ clientId, token }: StorageAuth): Secret {
    const shared = this.#sharedWith(clientId);
    if (isEqualConstantTime(authToken(shared), token)) return shared;
    throw new StorageRefused("Cannot admit the client: its token does not fit");
  }

  #sharedWith(clientId: Uint8Array): Secret {
    const name = clientId.toHex();
    const known = this.#shared.get(name);
    if (known !== undefined) return known;
    if (!isPoint(clientId)) {
      throw new StorageRefused("Cannot admit the client: its id is no key");
    }
    const shared = this.#server.sharedWith(clientId);
    if (this.#shared.size >= LIMITS.clients) this.#shared.clear();
    this.#shared.set(name, shared);
    return shared;
  }
}

/** An open database; opened anew when nobody can tell what is in it. */
class StorageFile {
  readonly #path: string;
  readonly #maxPages: number;
  #db: DatabaseSync | null;
  #isClosed = false;

  constructor(path: string, maxPages: number) {
    this.#path = path;
    this.#maxPages = maxPages;
    this.#db = explained(
      "open the storage",
      path,
      () => openDatabase(path, maxPages),
    );
  }

  /** Reads. @throws {StorageUnavailable} */
  use<T>(read: (tables: Tables) => T): T {
    return this.#available(() => read(new Tables(this.#open())));
  }

  /**
   * Writes, unless that gives what is in the way.
   *
   * @throws {StorageUnavailable} when it may be written or not
   */
  change<T>(write: (tables: Tables) => T | null): T | null {
    return this.#available(() => {
      const db = this.#open();
      db.exec("BEGIN IMMEDIATE");
      try {
        const problem = write(new Tables(db));
        db.exec(problem === null ? "COMMIT" : "ROLLBACK");
        return problem;
      } catch (error) {
        if (error instanceof StorageRefused) db.exec("ROLLBACK");
        else this.#drop();
        throw error;
      }
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  #open(): DatabaseSync {
    if (this.#isClosed) throw new Error("it is closed");
    return this.#db ??= openDatabase(this.#path, this.#maxPages);
  }

  /** What was not committed is gone with the connection. */
  #drop(): void {
    const db = this.#db;
    this.#db = null;
    if (db?.isOpen) db.close();
  }

  #available<T>(run: () => T): T {
    try {
      return run();
    } catch (cause) {
      if (cause instanceof StorageRefused) throw cause;
      const text = `Cannot use the storage ${this.#path}: ` +
        describeError(cause);
      throw new StorageUnavailable(text, { cause });
    }
  }
}

function explained<T>(operation: string, path: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const said = describeError(cause);
    const problem = /locked/.test(said)
      ? "another program has it open; stop that first"
      : said;
    throw new StoreError(operation, `${path}: ${problem}`, { cause });
  }
}

/** For its owner alone, from its first byte. */
function openDatabase(path: string, maxPages: number): DatabaseSync {
  Deno.openSync(path, { write: true, create: true, mode: 0o600 }).close();
  const db = new DatabaseSync(path);
  try {
    db.exec(SETTINGS);
    db.exec("BEGIN EXCLUSIVE");
    prepareTables(db, path);
    db.exec("COMMIT");
    db.exec(`PRAGMA max_page_count = ${maxPages}`);
    syncFolderOf(path);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

function prepareTables(db: DatabaseSync, path: string): void {
  const pragma = (name: "application_id" | "user_version") =>
    Number(db.prepare(`PRAGMA ${name}`).get()?.[name]);
  const [id, schema] = [pragma("application_id"), pragma("user_version")];
  const isNew = id === 0 && schema === 0 &&
    db.prepare("SELECT 1 FROM sqlite_schema").get() === undefined;
  if (isNew) return db.exec(TABLES);
  if (id === APPLICATION_ID && schema === SCHEMA) return;
  const found =
    `${path} is not a storage of this release: application ${id}, ` +
    `schema ${schema}, want application ${APPLICATION_ID}, schema ${SCHEMA}`;
  throw new StoreError("open the storage", found);
}

/** What can be asked of the tables, inside a transaction or not. */
class Tables {
  readonly #db: DatabaseSync;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  get isEmpty(): boolean {
    return this.#db.prepare("SELECT 1 FROM entry").get() === undefined;
  }

  /** Everything of a client, sorted by the bytes of the keys. */
  read(client: Uint8Array): readonly LssEntry[] {
    const select = this.#db.prepare(
      `SELECT key, version, value, digest FROM entry
       WHERE client = ? ORDER BY key`,
    );
    select.setReadBigInts(true);
    return select.all(client).map((row) => entryOf(client, row));
  }

  /** Writes all of it and gives null, or gives what is in the way. */
  write(
    client: Uint8Array,
    entries: readonly LssEntry[],
  ): readonly LssEntry[] | null {
    const find = this.#db.prepare(
      `SELECT key, version, value, digest FROM entry
       WHERE client = ? AND key = ?`,
    );
    find.setReadBigInts(true);
    const pairs = entries.map((entry) => {
      const row = find.get(client, entry.key);
      return { entry, there: row ? entryOf(client, row) : null };
    });
    const odd = pairs.filter(({ entry, there }) =>
      !isNext(entry.version, there)
    );
    if (odd.length > 0) {
      return odd.map(({ entry: { key }, there }) => there ?? absent(key));
    }
    this.#resize(client, pairs);
    const put = this.#db.prepare(
      `INSERT INTO entry (client, key, version, value, digest)
       VALUES (?, ?, ?, ?, ?)
       ON CONFLICT (client, key) DO UPDATE SET version = excluded.version,
         value = excluded.value, digest = excluded.digest`,
    );
    for (const entry of entries) {
      const { key, version, value } = entry;
      put.run(client, key, version, value, digestOf(client, entry));
    }
    return null;
  }

  /** Keeps count of what a client has. @throws {StorageRefused} */
  #resize(
    client: Uint8Array,
    pairs: readonly {
      readonly entry: LssEntry;
      readonly there: LssEntry | null;
    }[],
  ): void {
    const before = this.#sizeOf(client);
    const after = pairs.reduce((size, { entry, there }) => ({
      entries: size.entries + (there === null ? 1 : 0),
      bytes: size.bytes + sizeOf(entry) - (there === null ? 0 : sizeOf(there)),
    }), before);
    if (after.entries > LIMITS.entries) {
      refuse(`${after.entries} entries of one client`, LIMITS.entries);
    }
    if (after.bytes > LIMITS.total) {
      refuse(`${after.bytes} bytes of one client`, LIMITS.total);
    }
    this.#db.prepare(
      `INSERT INTO client (id, entries, bytes) VALUES (?, ?, ?)
       ON CONFLICT (id) DO UPDATE SET entries = excluded.entries,
         bytes = excluded.bytes`,
    ).run(client, after.entries, after.bytes);
  }

  #sizeOf(client: Uint8Array): Size {
    const row = this.#db.prepare(
      "SELECT entries, bytes FROM client WHERE id = ?",
    ).get(client);
    if (row !== undefined) {
      return { entries: Number(row["entries"]), bytes: Number(row["bytes"]) };
    }
    const others = this.#db.prepare("SELECT count(*) AS n FROM client").get();
    if (Number(others?.["n"]) >= LIMITS.clients) {
      refuse(`${LIMITS.clients + 1} clients`, LIMITS.clients);
    }
    return { entries: 0, bytes: 0 };
  }
}

function absent(key: string): LssEntry {
  return { key, version: NO_VERSION, value: new Uint8Array() };
}

const utf8 = new TextEncoder();

function sizeOf({ key, value }: LssEntry): number {
  return utf8.encode(key).length + value.length;
}

/** A row of `entry`, whose digest must fit. @throws {StorageRefused} */
function entryOf(client: Uint8Array, row: Record<string, unknown>): LssEntry {
  const { key, version, value, digest } = row;
  const isRow = typeof key === "string" && typeof version === "bigint" &&
    value instanceof Uint8Array && digest instanceof Uint8Array;
  const entry = isRow ? { key, version, value: new Uint8Array(value) } : null;
  if (isRow && entry && isEqualConstantTime(digestOf(client, entry), digest)) {
    return entry;
  }
  throw new StorageRefused(
    "Cannot read the storage: an entry fails its checksum; stop the node and " +
      "put back a copy that is not older than the last signature",
  );
}

/** Over lengths too, so that one row cannot pass for another. */
function digestOf(
  client: Uint8Array,
  { key, version, value }: LssEntry,
): Uint8Array {
  const name = utf8.encode(key);
  const head = new Uint8Array(12);
  const view = new DataView(head.buffer);
  view.setUint32(0, name.length);
  view.setBigUint64(4, version);
  return sha256(client, head, name, value);
}
