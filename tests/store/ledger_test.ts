/**
 * The ledger of a card: its chain from the definition, its bounds, what was
 * changed in it, and a card that had none.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../src/errors.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import { MIGRATIONS } from "../../src/store/schema.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { LedgerRange, NewLine, Store } from "../../src/store/store.ts";
import { bytes, inFolder, line, show, tamper } from "./support.ts";

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

/** The hash of the last of some lines, written down from its definition. */
function chainOf(lines: readonly NewLine[]): string {
  let before = new Uint8Array(32);
  lines.forEach(({ time, body }, i) => {
    const digest = createHash("sha256").update(before).update(
      u64(BigInt(i + 1)),
    )
      .update(u64(time)).update(body).digest();
    before = new Uint8Array(digest);
  });
  return before.toHex();
}

/** On a disk and in memory. */
function onBoth(
  use: (store: Store) => void,
  options: { readonly ledgerLines?: number } = {},
): Promise<void> {
  use(new MemoryDisk(options).open());
  return inFolder((path) => {
    const store = openSqliteStore(path, options);
    use(store);
    store.close();
  });
}

const numbers = (store: Store, range?: LedgerRange) =>
  [...store.ledger.lines(range)].map(({ number }) => Number(number));

Deno.test("each line's hash goes on from the line before", () =>
  onBoth((store) => {
    const { ledger } = store;
    assert.equal(ledger.tip.number, 0n);
    assert.equal(ledger.tip.hash.toHex(), "00".repeat(32));
    const lines = [line(1), line(2, 0), line(3, 900)];
    store.commit([], lines.slice(0, 1));
    store.commit([{ key: "a", value: bytes(3) }], lines.slice(1));
    assert.equal(ledger.tip.number, 3n);
    assert.equal(ledger.tip.hash.toHex(), chainOf(lines));
    assert.equal(ledger.anchor.number, 0n);
    const read = [...ledger.lines()];
    assert.deepEqual(
      read.map(({ time, body }) => ({ time, body })),
      lines,
    );
    assert.equal(read.at(-1)?.hash.toHex(), chainOf(lines));
  }));

Deno.test("lines alone leave the head, and no lines and no changes do nothing", () =>
  onBoth((store) => {
    store.commit([{ key: "a", value: bytes(3) }]);
    const { generation, hash } = store.head;
    store.commit([], [line(1)]);
    assert.deepEqual(store.head, { generation, hash });
    const before = show(store);
    store.commit([], []);
    assert.equal(show(store), before);
  }));

Deno.test("a range of lines is what it says, in order", () =>
  onBoth((store) => {
    store.commit([], Array.from({ length: 700 }, (_, i) => line(i, 4)));
    const all = Array.from({ length: 700 }, (_, i) => i + 1);
    assert.deepEqual(numbers(store), all);
    assert.deepEqual(numbers(store, { from: 0n }), all);
    assert.deepEqual(numbers(store, { from: 650n }), all.slice(649));
    assert.deepEqual(numbers(store, { last: 3 }), [698, 699, 700]);
    assert.deepEqual(numbers(store, { last: 0 }), []);
    assert.deepEqual(numbers(store, { last: 9_000 }), all);
    assert.deepEqual(numbers(store, { from: 699n, last: 5 }), [699, 700]);
    assert.deepEqual(numbers(store, { from: 690n, last: 2 }), [699, 700]);
    assert.deepEqual(numbers(store, { from: 701n }), []);
    assert.deepEqual(numbers(store, { from: 701n, last: 1 }), []);
  }));

Deno.test("whoever reads the lines while some are added sees those of the start", () =>
  onBoth((store) => {
    store.commit([], Array.from({ length: 300 }, (_, i) => line(i, 4)));
    let count = 0;
    for (const _ of store.ledger.lines()) {
      count += 1;
      store.commit([], [line(count)]);
    }
    assert.equal(count, 300);
    assert.equal(store.ledger.tip.number, 600n);
  }));

Deno.test("the oldest lines go, a batch at a time, and the chain still holds", () =>
  onBoth((store) => {
    const lines = Array.from({ length: 57 }, (_, i) => line(i));
    for (let i = 0; i < 57; i += 3) store.commit([], lines.slice(i, i + 3));
    const { tip, anchor } = store.ledger;
    assert.equal(tip.hash.toHex(), chainOf(lines));
    const kept = Number(tip.number - anchor.number);
    assert.ok(kept >= 10 && kept < 20, `${kept} are kept`);
    assert.equal(
      anchor.hash.toHex(),
      chainOf(lines.slice(0, Number(anchor.number))),
    );
    assert.equal(numbers(store).length, kept);
    assert.equal(numbers(store)[0], Number(anchor.number) + 1);
    // More at once than are kept.
    store.commit([], lines);
    assert.equal(store.ledger.tip.number, 114n);
    assert.equal(store.ledger.anchor.number, 104n);
  }, { ledgerLines: 10 }));

Deno.test("a card whose lines were removed is whole when it is opened again", () =>
  inFolder((path) => {
    const options = { ledgerLines: 10 };
    const store = openSqliteStore(path, options);
    for (let i = 0; i < 57; i += 1) store.commit([], [line(i)]);
    const before = show(store);
    store.close();
    const again = openSqliteStore(path, options);
    assert.equal(show(again), before);
    assert.equal(again.check().lines, numbers(again).length);
    again.close();
  }));

interface Meddling {
  readonly name: string;
  readonly sql: string;
  /** Whether only `check` finds it: it is beyond the newest 1,000. */
  readonly isOld?: boolean;
}

const MEDDLINGS: readonly Meddling[] = [
  { name: "the last line gone", sql: "DELETE FROM ledger WHERE number = 1200" },
  { name: "the first line gone", sql: "DELETE FROM ledger WHERE number = 1" },
  {
    name: "a line between gone",
    sql: "DELETE FROM ledger WHERE number = 900",
  },
  {
    name: "an old line gone",
    sql: "DELETE FROM ledger WHERE number = 90",
    isOld: true,
  },
  {
    name: "a text that changed",
    sql: "UPDATE ledger SET body = x'00' WHERE number = 1100",
  },
  {
    name: "an old text that changed",
    sql: "UPDATE ledger SET body = x'00' WHERE number = 100",
    isOld: true,
  },
  {
    name: "a time that changed",
    sql: "UPDATE ledger SET time = time + 1 WHERE number = 1200",
  },
  {
    name: "a line too many",
    sql: "INSERT INTO ledger VALUES (1201, 1, x'00', zeroblob(32))",
  },
  {
    name: "a line before the first",
    sql: "INSERT INTO ledger VALUES (0, 1, x'00', zeroblob(32))",
  },
  { name: "all lines gone", sql: "DELETE FROM ledger" },
  { name: "a tip that moved", sql: "UPDATE meta SET tip = 1199" },
  { name: "an anchor that moved", sql: "UPDATE meta SET anchor = 1" },
  { name: "a floor that moved", sql: "UPDATE meta SET floor = 7" },
];

for (const { name, sql, isOld = false } of MEDDLINGS) {
  Deno.test(`the ledger with ${name} is found`, () =>
    inFolder((path) => {
      const store = openSqliteStore(path);
      store.commit([], Array.from({ length: 1_200 }, (_, i) => line(i, 4)));
      store.close();
      tamper(path, (db) => db.exec(sql));
      const look = () => openSqliteStore(path);
      if (!isOld) {
        assert.throws(look, /is damaged/);
        return;
      }
      const opened = look();
      assert.throws(() => opened.check(), /is damaged: .*ledger line/);
      opened.close();
    }));
}

Deno.test("lines on a card that knows of none are found", () =>
  inFolder((path) => {
    openSqliteStore(path).close();
    tamper(path, (db) => {
      db.exec("INSERT INTO ledger VALUES (1, 1, x'00', zeroblob(32))");
    });
    assert.throws(() => openSqliteStore(path), /lines that nobody counted/);
  }));

/** A card as the first release wrote it, with two rows. */
function makeFirstSchema(path: string): { head: string; id: string } {
  const db = new DatabaseSync(path);
  db.exec(MIGRATIONS[0] ?? "");
  const rows = [
    { key: "channel/1", version: 4n, value: bytes(300) },
    { key: "channel/2", version: 1n, value: new Uint8Array() },
  ];
  let sum = 0n;
  for (const { key, version, value } of rows) {
    const name = new TextEncoder().encode(key);
    const digest = createHash("sha256").update(u64(BigInt(name.length)))
      .update(name).update(u64(version)).update(u64(BigInt(value.length)))
      .update(value).digest();
    sum = (sum + BigInt(`0x${digest.toString("hex")}`)) % (1n << 256n);
    db.prepare("INSERT INTO kv VALUES (?, ?, ?, ?)")
      .run(key, version, value, new Uint8Array(digest));
  }
  const head = bytes(32, 5);
  const id = bytes(16, 6);
  const total = Uint8Array.fromHex(sum.toString(16).padStart(64, "0"));
  const digest = createHash("sha256").update(u64(7n)).update(head).update(total)
    .update(id).digest();
  db.prepare("INSERT INTO meta VALUES (1, 7, ?, ?, ?, ?)")
    .run(head, total, id, new Uint8Array(digest));
  db.exec(`PRAGMA application_id = ${0x5248_534b}; PRAGMA user_version = 1`);
  db.exec("PRAGMA journal_mode = WAL");
  db.close();
  return { head: head.toHex(), id: id.toHex() };
}

Deno.test("a card of the first schema becomes one with a ledger", () =>
  inFolder((path) => {
    const { head, id } = makeFirstSchema(path);
    const store = openSqliteStore(path);
    assert.equal(store.isNew, false);
    assert.equal(store.head.generation, 7n);
    assert.equal(store.head.hash.toHex(), head);
    assert.equal(store.id.toHex(), id);
    assert.equal(store.ledger.tip.number, 0n);
    const { values, deleted, lines } = store.check();
    assert.deepEqual({ values, deleted, lines }, {
      values: 1,
      deleted: 1,
      lines: 0,
    });
    store.commit([{ key: "channel/1", value: bytes(4) }], [line(1)]);
    const before = show(store);
    assert.match(before, /^channel\/1 5 /m);
    store.close();
    const again = openSqliteStore(path);
    again.check();
    assert.equal(show(again), before);
    again.close();
  }));

Deno.test("a damaged card of the first schema is not made a whole one", () =>
  inFolder((path) => {
    const harms = [
      "UPDATE meta SET generation = 6",
      "UPDATE meta SET digest = zeroblob(32)",
    ];
    for (const harm of harms) {
      makeFirstSchema(path);
      const db = new DatabaseSync(path);
      db.exec(harm);
      db.close();
      const before = Deno.readFileSync(path).toHex();
      const open = () => openSqliteStore(path);
      assert.throws(open, (error) => {
        assert.ok(error instanceof StoreError);
        assert.match(error.message, /history fails its checksum/);
        return true;
      });
      assert.equal(Deno.readFileSync(path).toHex(), before);
      assert.throws(open, /history fails its checksum/);
      Deno.removeSync(path);
    }
  }));
