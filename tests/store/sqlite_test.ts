/**
 * The card on a disk, and what may happen to a file: two programs, other
 * releases, other hands.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { DatabaseSync } from "node:sqlite";
import { StoreError } from "../../src/errors.ts";
import { MIGRATIONS } from "../../src/store/schema.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";
import {
  bytes,
  contentOf,
  fill,
  inFolder,
  removeFile,
  tamper,
} from "./support.ts";

const CHILD = fromFileUrl(new URL("./child.ts", import.meta.url));

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
    tamper(path, (db) => {
      db.exec(`PRAGMA user_version = ${MIGRATIONS.length + 1}`);
    });
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
    const old = db.prepare("SELECT * FROM kv WHERE key = 'node'").get();
    db.close();
    const later = openSqliteStore(path);
    later.commit([{ key: "node", value: bytes(60, 99) }]);
    later.close();
    tamper(path, (db) => {
      db.prepare(
        "UPDATE kv SET version = ?, value = ?, digest = ? WHERE key = 'node'",
      ).run(
        old?.["version"] ?? null,
        old?.["value"] ?? null,
        old?.["digest"] ?? null,
      );
    });
    assert.throws(() => openSqliteStore(path), /older than the rest/);
    tamper(path, (db) => db.exec("DELETE FROM kv WHERE key = 'channel/4'"));
    assert.throws(() => openSqliteStore(path), /values are missing/);
  }));

Deno.test("a word that changed in the tables' own description is found", () =>
  inFolder((path) => {
    fill(path);
    tamper(path, (db) => db.exec("CREATE TABLE mine (a)"));
    assert.throws(() => openSqliteStore(path), /not those of a card/);
  }));

Deno.test("what changes a card behind its back is found at the next start", () =>
  inFolder((path) => {
    fill(path);
    const sum = Deno.readTextFileSync(`${path}.sum`);
    assert.match(sum, /^[0-9a-f]{64}\n$/);
    tamper(path, (db) => db.exec("PRAGMA user_version = 1"));
    Deno.writeTextFileSync(`${path}.sum`, sum);
    assert.throws(() => openSqliteStore(path), /do not fit/);
    // A start that fails leaves everything where it is.
    assert.equal(Deno.readTextFileSync(`${path}.sum`), sum);
  }));

Deno.test("a sum is there exactly while its card is closed, and fits it", () =>
  inFolder((path) => {
    const sumThere = () => {
      try {
        return Deno.readTextFileSync(`${path}.sum`);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return null;
        throw error;
      }
    };
    fill(path);
    const file = Deno.readFileSync(path);
    assert.equal(
      sumThere(),
      `${createHash("sha256").update(file).digest("hex")}\n`,
    );
    const store = openSqliteStore(path);
    assert.equal(sumThere(), null);
    assert.equal(store.check().isSummed, true);
    assert.throws(() => openSqliteStore(path), /another softkey runs/);
    assert.equal(sumThere(), null);
    store.close();
    store.close();
    assert.equal(store.closeProblem, null);
    assert.notEqual(sumThere(), null);
    removeFile(`${path}.sum`);
    const again = openSqliteStore(path);
    assert.equal(again.check().isSummed, false);
    again.close();
    assert.notEqual(sumThere(), null);
  }));

Deno.test("a card whose sum cannot be written is closed, and says so", () =>
  inFolder((path) => {
    const store = openSqliteStore(path);
    store.commit([{ key: "a", value: bytes(3) }], []);
    Deno.mkdirSync(`${path}.sum`);
    store.close();
    assert.match(
      store.closeProblem?.message ?? "",
      /^Cannot close the card: .*everything that was written is there/,
    );
    Deno.removeSync(`${path}.sum`);
    assert.match(contentOf(path), /^a 0 /m);
  }));

Deno.test("a sum without its card, or beside a log of another, is refused", () =>
  inFolder((path) => {
    fill(path);
    Deno.writeFileSync(`${path}-wal`, bytes(100));
    assert.throws(() => openSqliteStore(path), /is not of this card/);
    Deno.removeSync(`${path}-wal`);
    Deno.renameSync(path, `${path}.lost`);
    assert.throws(() => openSqliteStore(path), /the file is gone/);
    assert.throws(() => Deno.statSync(path), Deno.errors.NotFound);
    Deno.renameSync(`${path}.lost`, path);
    openSqliteStore(path).close();
  }));

Deno.test("an upgrade that fails leaves the card and its sum as they were", () =>
  inFolder((path) => {
    fill(path);
    const before = [path, `${path}.sum`].map((name) =>
      Deno.readFileSync(name).toHex()
    );
    const migrations = [...MIGRATIONS, "CREATE TABLE extra (a)", "no sql"];
    assert.throws(() => openSqliteStore(path, { migrations }), StoreError);
    const after = [path, `${path}.sum`].map((name) =>
      Deno.readFileSync(name).toHex()
    );
    assert.deepEqual(after, before);
  }));
