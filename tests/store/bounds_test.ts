/**
 * What grows on a card, and how far: its log, its file, the rows of what was
 * deleted.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { LOG_LIMIT } from "../../src/store/hold.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { Store } from "../../src/store/store.ts";
import { bytes, inFolder, line, show } from "./support.ts";

const RUNS = Deno.env.get("SLOW") === "1" ? 200 : 20;
const LIMITS = { ledgerLines: 5, tombstones: 3 };

Deno.test("the log stays within its pages and one commit", () =>
  inFolder((path) => {
    const store = openSqliteStore(path, { ledgerLines: 100 });
    const sizeOfLog = () => Deno.statSync(`${path}-wal`).size;
    let greatest = 0;
    for (let i = 0; i < 250; i += 1) {
      const value = new Uint8Array(30_000).fill(i);
      store.commit([{ key: `channel/${i % 9}`, value }], [line(i)]);
      greatest = Math.max(greatest, sizeOfLog());
      // Somebody reads the ledger and stops half way.
      for (const _ of store.ledger.lines()) break;
    }
    const commit = 20 * 4_120;
    assert.ok(greatest > LOG_LIMIT / 2, `${greatest} bytes`);
    assert.ok(greatest <= LOG_LIMIT + commit, `${greatest} bytes`);
    // A log that one great commit made long is cut when it is begun anew.
    store.commit([{ key: "great", value: new Uint8Array(12_000_000).fill(1) }]);
    assert.ok(sizeOfLog() > 2 * LOG_LIMIT);
    store.commit([{ key: "small", value: bytes(1) }]);
    assert.ok(sizeOfLog() <= LOG_LIMIT);
    store.close();
  }));

Deno.test("the file stays as large as what is kept in it", () =>
  inFolder((path) => {
    const options = { ledgerLines: 100, tombstones: 50 };
    const sizes = [0, 1, 2, 3].map((round) => {
      const store = openSqliteStore(path, options);
      for (let i = round * 400; i < (round + 1) * 400; i += 1) {
        store.commit([
          { key: `payment/${i}`, value: bytes(200, i) },
          { key: `payment/${i - 5}`, value: null },
          { key: "node", value: bytes(60, i) },
        ], [line(i, 150)]);
      }
      store.close();
      return Deno.statSync(path).size;
    });
    assert.ok(Math.max(...sizes) < 150_000, `${sizes}`);
  }));

function versions(store: Store): Record<string, bigint> {
  return Object.fromEntries(
    [...store.load()].map(({ key, version }) => [key, version]),
  );
}

Deno.test("what was deleted leaves the card, and its versions never come again", () =>
  inFolder((path) => {
    const store = openSqliteStore(path, { tombstones: 3 });
    const value = bytes(4);
    for (let i = 0; i < 6; i += 1) store.commit([{ key: "often", value }]);
    for (const key of ["often", "b", "c"]) store.commit([{ key, value: null }]);
    assert.equal(store.check().deleted, 3);
    store.commit([{ key: "still", value }]);
    assert.deepEqual(versions(store), { still: 0n });
    store.commit([{ key: "d", value: null }]);
    assert.equal(store.check().deleted, 0);
    for (const key of ["often", "new", "still"]) store.commit([{ key, value }]);
    assert.deepEqual(versions(store), { often: 7n, new: 7n, still: 1n });
    store.close();
    const again = openSqliteStore(path, { tombstones: 3 });
    again.commit([{ key: "newer", value }]);
    assert.equal(versions(again)["newer"], 7n);
    again.close();
  }));

const step = fc.record({
  changes: fc.uniqueArray(
    fc.record({
      key: fc.constantFrom("a", "b", "c", "d", "e", "f"),
      value: fc.option(fc.uint8Array({ minLength: 1, maxLength: 30 }), {
        freq: 1,
      }),
    }),
    { selector: ({ key }) => key },
  ),
  lines: fc.array(
    fc.record({
      time: fc.bigInt({ min: 0n, max: (1n << 63n) - 1n }),
      body: fc.uint8Array({ maxLength: 30 }),
    }),
    { maxLength: 4 },
  ),
  isReopened: fc.boolean(),
});

Deno.test("with narrow bounds a card on a disk does what one in memory does", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 25, size: "max" }),
      (script) =>
        inFolder((path) => {
          const model = new MemoryDisk(LIMITS).open();
          let store = openSqliteStore(path, LIMITS);
          const highest = new Map<string, bigint>();
          for (const { changes, lines, isReopened } of script) {
            model.commit(changes, lines);
            store.commit(changes, lines);
            if (isReopened) {
              store.close();
              store = openSqliteStore(path, LIMITS);
            }
            assert.equal(show(store), show(model));
            const { deleted, lines: kept } = store.check();
            assert.ok(deleted <= LIMITS.tombstones + 1);
            assert.ok(kept < 2 * LIMITS.ledgerLines);
            const now = new Map(
              [...store.load()].map(({ key, version }) => [key, version]),
            );
            for (const { key, value } of changes) {
              if (value === null) continue;
              const version = now.get(key) ?? -1n;
              assert.ok(version > (highest.get(key) ?? -1n), `${key} rises`);
              highest.set(key, version);
            }
          }
          store.close();
        }),
    ),
    { numRuns: RUNS },
  );
});
