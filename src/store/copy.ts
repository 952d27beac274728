/**
 * A card as bytes, and a card made from such bytes: for backups.
 *
 * | part | bytes |
 * | --- | --- |
 * | `RHSKcard`, format 1 | 8, 1 |
 * | card id, generation, head, floor, number and hash of the ledger's anchor | 16, 8, 32, 8, 8, 32 |
 * | number of rows; each: key, version, value | 4; 2 and its length, 8, 4 and its length |
 * | number of lines; each: time, body | 4; 8, 4 and its length |
 * | SHA-256 of where the card stands | 32 |
 *
 * The last is the hash that the card itself keeps (`digest.ts`): over the head,
 * the sum of all rows and both ends of the ledger's chain. The sum and the chain
 * are made anew from what is read, so whatever differs is found. Deleted rows
 * are in it, or versions could fall.
 *
 * What it does not do: hide anything; say whether a copy is old (whoever uses
 * one has to: an older state must not sign).
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../errors.ts";
import {
  type Codec,
  fixed,
  Reader,
  struct,
  u64,
  u8,
  varBytes,
  Writer,
} from "../wire/codec.ts";
import { addLines, markOf } from "./book.ts";
import {
  DIGEST_SIZE,
  type Meta,
  metaDigest,
  replaceInSum,
  rowDigest,
  sortByKey,
} from "./digest.ts";
import { explained } from "./faults.ts";
import { LedgerTable } from "./ledger_table.ts";
import { CARD_ID_SIZE, insertMeta } from "./meta_table.ts";
import { RowTable } from "./row_table.ts";
import { upgradeSchema } from "./schema.ts";
import { type CardDump, openSqliteStore, type SqliteStore } from "./sqlite.ts";
import type { NewLine, StoredValue } from "./store.ts";
import {
  removeIfThere,
  removeSum,
  sizeOf,
  sumPathOf,
  syncFolderOf,
} from "./sum.ts";

export type { CardDump };

const NAME = "card copy";
const MAGIC = new TextEncoder().encode("RHSKcard");
const FORMAT = 1;
const text = new TextEncoder();

/** A u64 that SQLite can hold. */
const integer: Codec<bigint> = {
  ...u64,
  decode(reader) {
    const value = reader.u64();
    return value < 1n << 63n ? value : reader.fail(`${value}, want below 2^63`);
  },
};
const hash = fixed("sha256", DIGEST_SIZE);
const start = struct("start", {
  magic: fixed("magic", MAGIC.length),
  format: u8,
  id: fixed("card id", CARD_ID_SIZE),
  generation: integer,
  head: hash,
  floor: integer,
  anchor: integer,
  anchorHash: hash,
});
const keyName = varBytes("key", 16);
const row: Codec<StoredValue> = struct("row", {
  key: {
    ...keyName,
    encode: (writer: Writer, key: string) =>
      keyName.encode(writer, text.encode(key)),
    decode: (reader: Reader) => {
      const bytes = keyName.decode(reader);
      const key = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
      const isText = text.encode(key).toHex() === bytes.toHex();
      return isText ? key : reader.fail("bytes, want UTF-8");
    },
  },
  version: integer,
  value: varBytes("value", 32),
});
const line: Codec<NewLine> = struct("line", {
  time: integer,
  body: varBytes("body", 32),
});

/** Everything that an open card holds, as bytes that check themselves. */
export function encodeCard(store: Pick<SqliteStore, "dump">): Uint8Array {
  const dump = store.dump();
  const writer = new Writer();
  start.encode(writer, {
    magic: MAGIC,
    format: FORMAT,
    id: dump.id,
    generation: dump.head.generation,
    head: dump.head.hash,
    floor: dump.floor,
    anchor: dump.anchor.number,
    anchorHash: dump.anchor.hash,
  });
  encodeMany(writer, row, sortByKey(dump.rows));
  encodeMany(writer, line, dump.lines);
  writer.bytes(metaDigest(metaOf(dump)));
  return writer.finish();
}

/**
 * What the bytes of {@linkcode encodeCard} hold, verified whole.
 *
 * @throws {DecodeError} for any other bytes
 */
export function decodeCard(bytes: Uint8Array): CardDump {
  const reader = new Reader(bytes, NAME);
  return reader.window(bytes.length, () => {
    const { id, generation, head, floor, ...rest } = decodeStart(reader);
    const rows = decodeMany(reader, "rows", row);
    checkOrder(reader, rows);
    const anchor = { number: rest.anchor, hash: rest.anchorHash };
    const lines = addLines(anchor, decodeMany(reader, "lines", line));
    const dump = {
      id,
      head: { generation, hash: head },
      floor,
      rows,
      anchor,
      lines,
    };
    const wanted = hash.decode(reader).toHex();
    if (metaDigest(metaOf(dump)).toHex() !== wanted) {
      reader.fail("it fails its checksum");
    }
    return dump;
  });
}

/**
 * Makes a card's database from the bytes of {@linkcode encodeCard}: whole and
 * durable when it returns, or not at all. An existing one is never replaced.
 *
 * @throws {DecodeError} for bytes that are not those of a whole card
 * @throws {StoreError} when there is one already, or the disk fails
 */
export function writeCard(path: string, bytes: Uint8Array): void {
  const dump = decodeCard(bytes);
  explained(path, "write the card", () => refuseExisting(path));
  const aside = `${path}.new`;
  try {
    explained(path, "write the card", () => {
      removeAside(aside);
      build(aside, dump);
      verify(aside, bytes);
      moveInto(path, aside);
    });
  } finally {
    removeAside(aside);
  }
}

function encodeMany<T>(
  writer: Writer,
  item: Codec<T>,
  values: readonly T[],
): void {
  writer.u32(values.length);
  for (const value of values) item.encode(writer, value);
}

function decodeMany<T>(reader: Reader, name: string, item: Codec<T>): T[] {
  const count = reader.u32();
  if (count * item.minSize > reader.remaining) {
    reader.fail(`${reader.remaining} bytes for ${count} ${name}`);
  }
  return Array.from(
    { length: count },
    (_, i) => reader.within(`${name}.${i}`, () => item.decode(reader)),
  );
}

function decodeStart(reader: Reader) {
  const found = reader.within("start", () => start.decode(reader));
  if (found.magic.toHex() !== MAGIC.toHex()) {
    reader.fail("another kind of file, want the copy of a card", 0);
  }
  if (found.format !== FORMAT) {
    reader.fail(`format ${found.format}, want ${FORMAT}`, MAGIC.length);
  }
  return found;
}

function checkOrder(reader: Reader, rows: readonly StoredValue[]): void {
  const isSorted = rows.every(({ key }, i) => {
    const before = rows[i - 1];
    return before === undefined || before.key < key;
  });
  if (!isSorted) reader.fail("keys out of order, want each once and sorted");
}

/** Where the card stands, made anew from what it holds. */
function metaOf({ id, head, floor, rows, anchor, lines }: CardDump): Meta {
  const sum = rows.reduce(
    (sum, row) => replaceInSum(sum, null, rowDigest(row)),
    0n,
  );
  const tip = markOf(lines.at(-1) ?? anchor);
  return { id, head, sum, floor, tip, anchor };
}

/** What a new file would replace, or would be changed by. */
function refuseExisting(path: string): void {
  for (const name of [path, `${path}-wal`, `${path}-journal`]) {
    if (sizeOf(name) === null) continue;
    throw new StoreError(
      "write the card",
      `${name} exists, want none; move it away first`,
    );
  }
}

function build(path: string, dump: CardDump): void {
  const db = new DatabaseSync(path);
  try {
    upgradeSchema(db, path, {
      fill: () => {
        insertMeta(db, metaOf(dump));
        const rows = new RowTable(db);
        for (const row of dump.rows) rows.insert(row, rowDigest(row));
        const ledger = new LedgerTable(db);
        for (const line of dump.lines) ledger.insert(line);
      },
    });
  } finally {
    db.close();
  }
}

/** Reads what was written as any start does, and makes its sum. */
function verify(path: string, wanted: Uint8Array): void {
  const store = openSqliteStore(path);
  try {
    store.check();
    if (!areEqual(encodeCard(store), wanted)) {
      throw new StoreError("write the card", `${path} holds something else`);
    }
  } finally {
    store.close();
  }
  if (store.closeProblem !== null) throw store.closeProblem;
}

function areEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** The database first: it is whole without its sum, and not the other way. */
function moveInto(path: string, aside: string): void {
  removeSum(path);
  Deno.linkSync(aside, path);
  syncFolderOf(path);
  Deno.renameSync(sumPathOf(aside), sumPathOf(path));
  syncFolderOf(path);
}

function removeAside(aside: string): void {
  for (const end of ["", "-wal", "-shm", "-journal"]) {
    removeIfThere(`${aside}${end}`);
  }
  for (const name of [sumPathOf(aside), `${sumPathOf(aside)}.new`]) {
    removeIfThere(name);
  }
}
