/**
 * Writes to the storage are counted, and are otherwise what they were.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  type PutOutcome,
  type Storage,
  StorageUnavailable,
} from "../../src/broker/storage.ts";
import { Turns } from "../../src/broker/storage/turns.ts";
import { measureStorage } from "../../src/broker/storage_metrics.ts";
import { Metrics } from "../../src/metrics/metrics.ts";

const AUTH = { clientId: new Uint8Array(33), token: new Uint8Array(32) };
const HMAC = new Uint8Array(32);
const ENTRY = { key: "a", version: 0n, value: new Uint8Array(100) };

/** A storage whose puts come to this. */
function storageOf(put: () => Promise<PutOutcome>): Storage {
  return {
    serverKey: () => Promise.resolve(Uint8Array.of(2)),
    get: () => Promise.resolve({ entries: [], hmac: HMAC, revision: 5 }),
    put,
    revision: 5,
    turns: new Turns(),
    close: () => {},
  };
}

Deno.test("puts are counted by what came of them", async () => {
  const metrics = new Metrics();
  const outcomes: readonly (() => Promise<PutOutcome>)[] = [
    () => Promise.resolve({ kind: "stored", hmac: HMAC }),
    () => Promise.resolve({ kind: "conflict", entries: [], hmac: null }),
    () => Promise.reject(new StorageUnavailable("Cannot reach it")),
  ];
  let time = 0;
  const clock = () => time += 250;
  for (const outcome of outcomes) {
    const put = measureStorage(storageOf(outcome), metrics, clock)
      .put(AUTH, [ENTRY, ENTRY], HMAC);
    const found = await put.catch((error) => error);
    const wanted = await outcome().catch((error) => error);
    assert.deepEqual(found, wanted);
  }
  const puts = "remote_hsmd_storage_puts_total";
  for (const outcome of ["stored", "conflict", "failed"]) {
    assert.equal(metrics.valueOf(puts, [outcome]), 1, outcome);
  }
  assert.equal(metrics.valueOf("remote_hsmd_storage_put_seconds", []), 1);
  assert.equal(metrics.valueOf("remote_hsmd_storage_bytes_total", []), 200);
});

Deno.test("all else of a counted storage is the storage's own", async () => {
  const storage = storageOf(() => Promise.reject(new Error("not asked")));
  const measured = measureStorage(storage, new Metrics());
  assert.equal(measured.revision, 5);
  assert.equal(measured.turns, storage.turns);
  assert.deepEqual(await measured.serverKey(), Uint8Array.of(2));
  assert.equal((await measured.get(AUTH, HMAC)).revision, 5);
});
