/**
 * The one row of `meta`: where a card stands, with a hash over it.
 *
 * What it does not do: compare it with the rows and the lines.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { DatabaseSync } from "node:sqlite";
import { NO_LINES } from "./book.ts";
import {
  firstMetaDigest,
  GENESIS,
  type Meta,
  metaDigest,
  sumToBytes,
  toNumber,
} from "./digest.ts";
import { damaged, octets, wholeNumber } from "./faults.ts";

/** Size of the random bytes that a card is made with. */
export const CARD_ID_SIZE = 16;

/** A new card's. */
export function freshMeta(): Meta {
  return {
    id: new Uint8Array(randomBytes(CARD_ID_SIZE)),
    head: GENESIS,
    sum: 0n,
    floor: 0n,
    tip: NO_LINES,
    anchor: NO_LINES,
  };
}

/** Writes the row of a new card. */
export function insertMeta(db: DatabaseSync, meta: Meta): void {
  db.prepare("INSERT INTO meta VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)").run(
    ...columnsOf(meta),
  );
}

/** Writes the row. */
export function writeMeta(db: DatabaseSync): (meta: Meta) => void {
  const update = db.prepare(
    `UPDATE meta SET generation = ?, head = ?, sum = ?, card = ?, floor = ?,
       tip = ?, tip_hash = ?, anchor = ?, anchor_hash = ?, digest = ?
     WHERE id = 1`,
  );
  return (meta) => void update.run(...columnsOf(meta));
}

/** The row, if its hash fits. @throws {StoreError} */
export function readMeta(db: DatabaseSync, path: string): Meta {
  return read(db, path, metaDigest);
}

/** Gives the row of schema 1, once its own hash fits, the hash of today. */
export function upgradeMeta(db: DatabaseSync, path: string): void {
  writeMeta(db)(read(db, path, firstMetaDigest));
}

function read(
  db: DatabaseSync,
  path: string,
  digestOf: (meta: Meta) => Uint8Array,
): Meta {
  const select = db.prepare("SELECT * FROM meta");
  select.setReadBigInts(true);
  const row = select.get();
  if (row === undefined) throw damaged(path, "its history is missing");
  const mark = (name: string) => ({
    number: wholeNumber(row[name]),
    hash: octets(row[`${name}_hash`]),
  });
  const meta = {
    id: octets(row["card"]),
    head: {
      generation: wholeNumber(row["generation"]),
      hash: octets(row["head"]),
    },
    sum: toNumber(octets(row["sum"])),
    floor: wholeNumber(row["floor"]),
    tip: mark("tip"),
    anchor: mark("anchor"),
  };
  if (digestOf(meta).toHex() === octets(row["digest"]).toHex()) return meta;
  throw damaged(path, "its history fails its checksum");
}

function columnsOf(meta: Meta) {
  const { head, sum, id, floor, tip, anchor } = meta;
  const marks = [tip.number, tip.hash, anchor.number, anchor.hash];
  const where = [head.generation, head.hash, sumToBytes(sum), id, floor];
  return [...where, ...marks, metaDigest(meta)];
}
