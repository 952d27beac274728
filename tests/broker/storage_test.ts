/** The storage beside the node: its rules, its bounds, its file. @module */

import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import {
  type Storage,
  StorageRefused,
  StorageUnavailable,
} from "../../src/broker/storage.ts";
import { openSqliteStorage } from "../../src/broker/storage/sqlite.ts";
import { LIMITS } from "../../src/broker/storage/rules.ts";
import { StoreError } from "../../src/errors.ts";
import { lssMac, STORED_NONCE } from "../../src/wire/lss_mac.ts";
import type { LssEntry } from "../../src/wire/lss.ts";
import {
  bytes32,
  entryOf,
  show,
  StorageClient,
  withFolder,
  withStorage,
} from "../support/storage.ts";

async function stores(
  storage: Storage,
  client: StorageClient,
  ...entries: readonly LssEntry[]
): Promise<void> {
  const outcome = await client.put(storage, entries);
  assert.equal(outcome.kind, "stored");
}

async function conflicts(
  storage: Storage,
  client: StorageClient,
  ...entries: readonly LssEntry[]
): Promise<string[]> {
  const outcome = await client.put(storage, entries);
  assert.ok(outcome.kind === "conflict");
  return outcome.entries.map(show);
}

function refuses(
  storage: Storage,
  client: StorageClient,
  entries: readonly LssEntry[],
  words: RegExp,
): Promise<void> {
  return assert.rejects(client.put(storage, entries), (error) => {
    assert.ok(error instanceof StorageRefused, String(error));
    assert.match(error.message, words);
    return true;
  });
}

Deno.test("a put is answered with the server's MAC, and read back sorted", () =>
  withStorage(async (storage, client) => {
    const entries = [entryOf("a", 0, "1"), entryOf("b/c", 0, "")];
    const outcome = await client.put(storage, entries);
    assert.ok(outcome.kind === "stored");
    const wanted = lssMac(client.shared, STORED_NONCE, entries);
    assert.equal(outcome.hmac.toHex(), wanted.toHex());
    await stores(storage, client, entryOf("_w", 0, "x"));
    assert.deepEqual(await client.read(storage), ["_w 0 x", "a 0 1", "b/c 0 "]);
    assert.equal(storage.revision, 2);
  }));

Deno.test("a version is one more, or 0 for a new key; else nothing is stored", () =>
  withStorage(async (storage, client) => {
    await stores(storage, client, entryOf("a", 0, "1"), entryOf("b", 0, "1"));
    await stores(storage, client, entryOf("a", 1, "2"));
    const before = await client.read(storage);
    const { revision } = storage;
    assert.deepEqual(
      await conflicts(storage, client, entryOf("a", 1, "3")),
      ["a 1 2"],
    );
    assert.deepEqual(
      await conflicts(
        storage,
        client,
        entryOf("a", 3, "3"),
        entryOf("b", 1, "3"),
        entryOf("c", 1, "3"),
      ),
      ["a 1 2", "c -1 "],
    );
    assert.deepEqual(await client.read(storage), before);
    assert.equal(storage.revision, revision);
  }));

Deno.test("a repeat of what is there is a conflict that proves it is there", () =>
  withStorage(async (storage, client) => {
    const entries = [entryOf("a", 0, "1"), entryOf("b", 0, "1")];
    const first = await client.put(storage, entries);
    const again = await client.put(storage, entries);
    assert.ok(first.kind === "stored" && again.kind === "conflict");
    assert.equal(again.hmac?.toHex(), first.hmac.toHex());
    const other = await client.put(storage, [entryOf("a", 0, "2")]);
    assert.ok(other.kind === "conflict");
    assert.equal(other.hmac, null);
    await stores(storage, client, entryOf("a", 1, "2"));
    const old = await client.put(storage, entries);
    assert.ok(old.kind === "conflict");
    assert.equal(old.hmac, null);
  }));

Deno.test("nobody gets in without the secret, and nobody sees another's", () =>
  withStorage(async (storage, client) => {
    const key = await storage.serverKey();
    const other = new StorageClient(key, bytes32(2));
    await stores(storage, client, entryOf("a", 0, "mine"));
    await stores(storage, other, entryOf("a", 0, "theirs"));
    assert.deepEqual(await client.read(storage), ["a 0 mine"]);
    assert.deepEqual(await other.read(storage), ["a 0 theirs"]);
    const stranger = {
      clientId: client.auth.clientId,
      token: other.auth.token,
    };
    await assert.rejects(storage.get(stranger, bytes32(1)), StorageRefused);
    await assert.rejects(
      storage.put(stranger, [], client.sign([])),
      StorageRefused,
    );
    const nobody = { ...client.auth, clientId: new Uint8Array(33) };
    await assert.rejects(storage.get(nobody, bytes32(1)), /id is no key/);
    const entries = [entryOf("b", 0, "1")];
    await assert.rejects(
      storage.put(client.auth, entries, other.sign(entries)),
      /MAC does not fit/,
    );
  }));

Deno.test("what is out of order or out of bounds is refused", () =>
  withStorage(async (storage, client) => {
    const one = (key: string) => [entryOf(key, 0, "")];
    await refuses(storage, client, [...one("b"), ...one("a")], /out of order/);
    await refuses(storage, client, [...one("a"), ...one("a")], /out of order/);
    await refuses(storage, client, one(""), /key of 0 bytes/);
    await refuses(storage, client, one("a\0b"), /control characters/);
    await refuses(storage, client, one("k".repeat(513)), /key of 513 bytes/);
    const value = new Uint8Array(LIMITS.valueBytes + 1);
    const large = { key: "a", version: 0n, value };
    await refuses(storage, client, [large], /4194305 bytes, want at most/);
    const late = entryOf("a", 2n ** 63n, "");
    await refuses(storage, client, [late], /want at most 9223372036854775807/);
    assert.deepEqual(await client.read(storage), []);
  }));

Deno.test("keys are sorted by their bytes, as the other side does", () =>
  withStorage(async (storage, client) => {
    // UTF-16 and UTF-8 disagree about the order of these two.
    await stores(
      storage,
      client,
      entryOf("\uff5e", 0, ""),
      entryOf("\u{1f600}", 0, ""),
    );
    const keys = (await client.read(storage)).map((line) => line.split(" ")[0]);
    assert.deepEqual(keys, ["\uff5e", "\u{1f600}"]);
  }));

Deno.test("one client cannot fill the disk, nor can many clients", () =>
  withStorage(async (storage, client) => {
    const key = await storage.serverKey();
    const value = new Uint8Array(LIMITS.valueBytes);
    const most = LIMITS.total / LIMITS.valueBytes;
    for (let i = 0; i < most - 1; i += 1) {
      await stores(storage, client, { key: `k${i}`, version: 0n, value });
    }
    // The keys count too.
    await refuses(
      storage,
      client,
      [{ key: "last", version: 0n, value }],
      /bytes of one client/,
    );
    // What is replaced does not count twice.
    await stores(storage, client, { key: "k0", version: 1n, value });
    for (let i = 1; i < LIMITS.clients; i += 1) {
      const other = new StorageClient(key, bytes32(100 + i));
      await stores(storage, other, entryOf("a", 0, ""));
    }
    const last = new StorageClient(key, bytes32(99));
    await refuses(storage, last, [entryOf("a", 0, "")], /17 clients/);
  }));

Deno.test("the file and its key are kept, for the owner alone", () =>
  withFolder(async (places) => {
    const first = openSqliteStorage(places);
    const key = await first.serverKey();
    const client = new StorageClient(key, bytes32(1));
    await stores(first, client, entryOf("a", 0, "1"));
    first.close();
    for (const path of [places.database, places.keyFile]) {
      assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o600, path);
    }
    const again = openSqliteStorage(places);
    assert.equal((await again.serverKey()).toHex(), key.toHex());
    assert.deepEqual(await client.read(again), ["a 0 1"]);
    again.close();
  }));

Deno.test("a storage with content and no key is not given a new one", () =>
  withFolder(async (places) => {
    const first = openSqliteStorage(places);
    const client = new StorageClient(await first.serverKey(), bytes32(1));
    await stores(first, client, entryOf("a", 0, "1"));
    first.close();
    Deno.removeSync(places.keyFile);
    assert.throws(() => openSqliteStorage(places), /storage_key is missing/);
    Deno.writeFileSync(places.keyFile, new Uint8Array(31));
    assert.throws(() => openSqliteStorage(places), /31 bytes that are no key/);
  }));

Deno.test("one program has it; another file is not taken for it", () =>
  withFolder((places) => {
    const storage = openSqliteStorage(places);
    assert.throws(
      () => openSqliteStorage(places),
      (error) =>
        error instanceof StoreError && /another program/.test(error.message),
    );
    storage.close();
    const other = { ...places, database: `${places.database}.other` };
    const db = new DatabaseSync(other.database);
    db.exec("CREATE TABLE t (a INTEGER)");
    db.close();
    assert.throws(
      () => openSqliteStorage(other),
      /not a storage of this release/,
    );
  }));

Deno.test("a flipped byte is found before a device believes it", () =>
  withFolder(async (places) => {
    const storage = openSqliteStorage(places);
    const client = new StorageClient(await storage.serverKey(), bytes32(1));
    await stores(storage, client, entryOf("a", 0, "1"), entryOf("b", 0, "1"));
    storage.close();
    const db = new DatabaseSync(places.database);
    db.exec("UPDATE entry SET version = 5 WHERE key = 'b'");
    db.close();
    const again = openSqliteStorage(places);
    await assert.rejects(client.read(again), /fails its checksum/);
    await refuses(again, client, [entryOf("b", 6, "")], /fails its checksum/);
    again.close();
  }));

Deno.test("a full disk refuses nothing for good, and loses nothing", () =>
  withFolder(async (places) => {
    const storage = openSqliteStorage(places, { maxPages: 40 });
    const client = new StorageClient(await storage.serverKey(), bytes32(1));
    await stores(storage, client, entryOf("a", 0, "1"));
    const large = entryOf("a", 1, "x".repeat(300_000));
    await assert.rejects(client.put(storage, [large]), StorageUnavailable);
    assert.equal(storage.revision, 2, "it may be there, for all that is known");
    assert.deepEqual(await client.read(storage), ["a 0 1"]);
    await stores(storage, client, entryOf("a", 1, "2"));
    assert.deepEqual(await client.read(storage), ["a 1 2"]);
    storage.close();
    await assert.rejects(client.read(storage), /it is closed/);
  }));
