/**
 * What the tests of a card share: a folder, bytes, and everything that a card
 * holds as one text.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { type OpenOptions, openSqliteStore } from "../../src/store/sqlite.ts";
import type { NewLine, Store } from "../../src/store/store.ts";

/** Gives a path in a new folder, which is removed afterwards. */
export async function inFolder(
  use: (path: string) => unknown,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(`${folder}/state.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

export function bytes(size: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + seed) & 0xff);
}

export function line(seed: number, size = 40): NewLine {
  return { time: 1_700_000_000_000n + BigInt(seed), body: bytes(size, seed) };
}

/** A small card with every kind of row: long values, a deleted one, lines. */
export function fill(path: string, options: OpenOptions = {}): void {
  const store = openSqliteStore(path, options);
  for (let i = 0; i < 12; i += 1) {
    store.commit([
      { key: `channel/${i % 5}`, value: bytes(700 + i * 40, i) },
      { key: "node", value: bytes(60, i) },
    ], [line(i)]);
  }
  store.commit([{ key: "channel/4", value: null }]);
  store.close();
}

/** An empty file whose pages are small, so that a card in it is. */
export function makeSmallPages(path: string): void {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA page_size = 512; VACUUM");
  db.close();
}

/** Everything that a store shows. */
export function show(store: Store): string {
  const rows = [...store.load()].map(({ key, version, value }) =>
    `${key} ${version} ${value.toHex()}`
  );
  const lines = [...store.ledger.lines()].map(
    ({ number, time, body, hash }) =>
      `line ${number} ${time} ${body.toHex()} ${hash.toHex()}`,
  );
  const { tip, anchor } = store.ledger;
  const marks = [tip, anchor].map(({ number, hash }) =>
    `mark ${number} ${hash.toHex()}`
  );
  const { generation, hash } = store.head;
  return [`${generation} ${hash.toHex()}`, ...marks, ...rows, ...lines]
    .join("\n");
}

/** Opens a card, checks it, closes it; everything that it holds. */
export function contentOf(path: string, options: OpenOptions = {}): string {
  const store = openSqliteStore(path, options);
  try {
    store.check();
    return `${store.id.toHex()} ${show(store)}`;
  } finally {
    store.close();
  }
}

export function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Removes whatever may be beside a card's file. */
export function removeCompany(path: string): void {
  for (const end of ["-wal", "-shm", "-journal", ".sum"]) {
    removeFile(path + end);
  }
}

/** Changes a card's file as no softkey does; its sum is put away. */
export function tamper(path: string, change: (db: DatabaseSync) => void): void {
  const db = new DatabaseSync(path);
  change(db);
  db.close();
  removeFile(`${path}.sum`);
}
