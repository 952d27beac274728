/**
 * The card on a disk, and what may happen to a file: two programs, a full disk,
 * other releases, flipped bytes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../src/errors.ts";
import { MIGRATIONS } from "../../src/store/schema.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";

const CHILD = fromFileUrl(new URL("./child.ts", import.meta.url));

async function inFolder(use: (path: string) => unknown): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(`${folder}/state.db`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function bytes(size: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => (i * 31 + seed) & 0xff);
}

/** A small card with every kind of page: long values, a deleted one. */
function fill(path: string): void {
  const store = openSqliteStore(path);
  for (let i = 0; i < 12; i += 1) {
    store.commit([
      { key: `channel/${i % 5}`, value: bytes(700 + i * 40, i) },
      { key: "node", value: bytes(60, i) },
    ]);
  }
  store.commit([{ key: "channel/4", value: null }]);
  store.close();
}

function contentOf(path: string): string {
  const store = openSqliteStore(path);
  try {
    store.check();
    const rows = [...store.load()].map(({ key, version, value }) =>
      `${key} ${version} ${value.toHex()}`
    );
    const { generation, hash } = store.head;
    return [generation, hash.toHex(), store.id.toHex(), ...rows].join("\n");
  } finally {
    store.close();
  }
}

Deno.test("the second program that opens a card is told that another runs", () =>
  inFolder(async (path) => {
    const store = openSqliteStore(path);
    assert.throws(() => openSqliteStore(path), /another softkey runs/);
    const child = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--quiet", CHILD, "open", path],
      env: withDeno(),
    }).output();
    const said = new TextDecoder().decode(child.stdout);
    assert.match(said, /another softkey runs with this card/);
    store.close();
    openSqliteStore(path).close();
  }));

Deno.test("a card of a newer schema is refused and left alone", () =>
  inFolder((path) => {
    fill(path);
    const db = new DatabaseSync(path);
    db.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
    db.close();
    assert.throws(() => openSqliteStore(path), /written by a newer softkey/);
  }));

Deno.test("a card of an older schema is upgraded whole or not at all", () =>
  inFolder((path) => {
    fill(path);
    const before = contentOf(path);
    const broken = [
      ...MIGRATIONS,
      "CREATE TABLE extra (a INTEGER) STRICT",
      "no sql",
    ];
    assert.throws(() => openSqliteStore(path, { migrations: broken }));
    assert.equal(contentOf(path), before);
    const migrations = broken.slice(0, -1);
    openSqliteStore(path, { migrations }).close();
    assert.throws(() => openSqliteStore(path), /newer softkey/);
    const db = new DatabaseSync(path);
    assert.equal(db.prepare("SELECT count(*) AS n FROM extra").get()?.["n"], 0);
    db.close();
  }));

Deno.test("a database of another program is not taken for a card", () =>
  inFolder((path) => {
    const db = new DatabaseSync(path);
    db.exec("CREATE TABLE mine (a)");
    db.close();
    assert.throws(() => openSqliteStore(path), /not a card's database/);
  }));

Deno.test("a file that is no database is called damaged, with what to do", () =>
  inFolder(async (path) => {
    await Deno.writeFile(path, bytes(5000));
    assert.throws(() => openSqliteStore(path), (error) => {
      assert.ok(error instanceof StoreError);
      assert.match(error.message, /is damaged: .*restore a copy/);
      return true;
    });
  }));

Deno.test("a row that is put back to an older value is found", () =>
  inFolder((path) => {
    fill(path);
    const db = new DatabaseSync(path);
    db.exec("CREATE TEMP TABLE old AS SELECT * FROM kv WHERE key = 'node'");
    db.close();
    const store = openSqliteStore(path);
    const [first] = store.load();
    assert.ok(first !== undefined);
    store.close();
    const again = new DatabaseSync(path);
    const old = again.prepare("SELECT * FROM kv WHERE key = 'node'").get();
    again.close();
    const later = openSqliteStore(path);
    later.commit([{ key: "node", value: bytes(60, 99) }]);
    later.close();
    const rollback = new DatabaseSync(path);
    rollback.prepare(
      "UPDATE kv SET version = ?, value = ?, digest = ? WHERE key = 'node'",
    ).run(
      old?.["version"] ?? null,
      old?.["value"] ?? null,
      old?.["digest"] ?? null,
    );
    rollback.close();
    assert.throws(() => openSqliteStore(path), /older than the rest/);
    const removal = new DatabaseSync(path);
    removal.exec("DELETE FROM kv WHERE key = 'channel/4'");
    removal.close();
    assert.throws(() => openSqliteStore(path), /values are missing/);
  }));

Deno.test("no flipped byte of a card changes what is read from it", () =>
  inFolder(async (path) => {
    fill(path);
    const compact = new DatabaseSync(path);
    compact.exec("VACUUM");
    compact.close();
    const wanted = contentOf(path);
    const whole = await Deno.readFile(path);
    const step = Deno.env.get("SLOW") === "1" ? 1 : 11;
    const copy = `${path}.copy`;
    const counts = { found: 0, unused: 0 };
    for (let at = 0; at < whole.length; at += step) {
      const flipped = whole.slice();
      flipped[at] = (whole[at] ?? 0) ^ (1 << (at % 8));
      Deno.writeFileSync(copy, flipped);
      for (const end of ["-wal", "-shm", "-journal"]) removeFile(copy + end);
      try {
        assert.equal(contentOf(copy), wanted, `byte ${at}`);
        counts.unused += 1;
      } catch (error) {
        if (!(error instanceof StoreError)) throw error;
        counts.found += 1;
      }
    }
    // What is in use is found: at the least each byte of a value.
    const used = wanted.split("\n").slice(3).map((row) => row.split(" ")[2]);
    const size = used.join("").length / 2;
    assert.ok(counts.found > size / step, JSON.stringify(counts));
  }));

function removeFile(path: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

Deno.test("a disk that is full loses nothing that was acknowledged", () =>
  inFolder(async (path) => {
    const { stdout } = await new Deno.Command("sh", {
      args: [
        "-c",
        `trap '' XFSZ; ulimit -f 400; exec "$0" run -A --quiet "$1" fill "$2"`,
        Deno.execPath(),
        CHILD,
        path,
      ],
      env: withDeno(),
    }).output();
    const said = new TextDecoder().decode(stdout).trim().split("\n");
    assert.match(said.at(-1) ?? "", /^Cannot write the card: /);
    const acknowledged = BigInt(said.at(-2)?.split(" ")[0] ?? "0");
    assert.ok(acknowledged > 5n);
    const store = openSqliteStore(path);
    assert.ok(store.head.generation >= acknowledged);
    store.check();
    store.close();
  }));
