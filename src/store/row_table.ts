/**
 * The rows of `kv`: versioned values, each with its hash.
 *
 * What it does not do: begin or end a transaction.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import { replaceInSum, rowDigest } from "./digest.ts";
import { octets, printable, wholeNumber } from "./faults.ts";
import type { Change, StoredValue } from "./store.ts";
import { floorAfter, nextVersion } from "./versions.ts";

/** What the rows add up to. */
export interface RowTotals {
  /** Sum of all row hashes. */
  readonly sum: bigint;
  readonly floor: bigint;
  /** Deleted rows that may be removed. */
  readonly dead: number;
}

/** What was written, and what the rows add up to now. */
export interface Written {
  readonly rows: readonly StoredValue[];
  readonly totals: RowTotals;
}

interface CheckedRow extends StoredValue {
  readonly digest: Uint8Array;
}

/** Whether a row may be removed once there are too many. */
export function isDead({ value }: StoredValue): boolean {
  return value.length === 0;
}

/** The table `kv` of an open card. */
export class RowTable {
  readonly #find: StatementSync;
  readonly #put: StatementSync;
  readonly #all: StatementSync;
  readonly #deleted: StatementSync;
  readonly #remove: StatementSync;

  constructor(db: DatabaseSync) {
    const columns = "SELECT key, version, value, digest FROM kv";
    this.#find = db.prepare(`${columns} WHERE key = ?`);
    this.#put = db.prepare(
      `INSERT INTO kv (key, version, value, digest) VALUES (?, ?, ?, ?)
       ON CONFLICT (key) DO UPDATE SET version = excluded.version,
         value = excluded.value, digest = excluded.digest`,
    );
    this.#all = db.prepare(`${columns} ORDER BY key`);
    this.#deleted = db.prepare(`${columns} WHERE length(value) = 0`);
    this.#remove = db.prepare("DELETE FROM kv WHERE key = ?");
    for (const select of [this.#find, this.#all, this.#deleted]) {
      select.setReadBigInts(true);
    }
  }

  /** Every row, sorted by key. */
  read(): readonly CheckedRow[] {
    return this.#all.all().map(rowOf);
  }

  /** Writes changes that are sorted by key. */
  write(changes: readonly Change[], before: RowTotals): Written {
    let { sum, dead } = before;
    const rows = changes.map(({ key, value }) => {
      const found = this.#find.get(key);
      const old = found === undefined ? null : rowOf(found);
      const version = nextVersion(old?.version ?? null, before.floor);
      const row = { key, version, value: value ?? new Uint8Array() };
      const digest = rowDigest(row);
      this.insert(row, digest);
      sum = replaceInSum(sum, old?.digest ?? null, digest);
      dead += Number(isDead(row)) - Number(old !== null && isDead(old));
      return row;
    });
    return { rows, totals: { sum, floor: before.floor, dead } };
  }

  /** Writes a row as it is. */
  insert({ key, version, value }: StoredValue, digest: Uint8Array): void {
    this.#put.run(key, version, value, digest);
  }

  /** Removes the deleted rows when there are more of them than this. */
  sweep(totals: RowTotals, limit: number): RowTotals {
    if (totals.dead <= limit) return totals;
    const removed = this.#deleted.all().map(rowOf).filter(isDead);
    let { sum } = totals;
    for (const { key, digest } of removed) {
      this.#remove.run(key);
      sum = replaceInSum(sum, digest, null);
    }
    const versions = removed.map(({ version }) => version);
    return { sum, floor: floorAfter(totals.floor, versions), dead: 0 };
  }
}

/** Compares rows with their hashes and all of them with their sum. */
export function problemOfRows(
  rows: readonly CheckedRow[],
  wanted: bigint,
): string | null {
  let sum = 0n;
  for (const row of rows) {
    const digest = rowDigest(row);
    if (digest.toHex() !== row.digest.toHex()) {
      return `${printable(row.key)} fails its checksum`;
    }
    sum = replaceInSum(sum, null, digest);
  }
  return sum === wanted ? null : "values are missing, or older than the rest";
}

function rowOf(row: Record<string, unknown>): CheckedRow {
  return {
    key: String(row["key"]),
    version: wholeNumber(row["version"]),
    value: octets(row["value"]),
    digest: octets(row["digest"]),
  };
}
