/**
 * Both cards, the one on a disk and the one that is nowhere, against a model:
 * named versions, one chain of heads, all of a commit or nothing of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "npm:fast-check@4.10.2";
import { StoreError } from "../../src/errors.ts";
import { MemoryDisk } from "../../src/store/memory.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import type { Change, Store, StoredValue } from "../../src/store/store.ts";

const RUNS = Deno.env.get("SLOW") === "1" ? 200 : 20;

/** A place where a card can be opened again and again. */
interface Place {
  open(): Store;
}

async function onDisk(use: (place: Place) => void): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    use({ open: () => openSqliteStore(`${folder}/state.db`) });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function show(store: Store) {
  return [...store.load()].map(({ key, version, value }) =>
    `${key} ${version} ${value.toHex()}`
  );
}

function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  return bytes;
}

/** The head, written down once more from its definition. */
function headAfter(
  hash: Uint8Array,
  generation: bigint,
  rows: readonly StoredValue[],
): string {
  const digest = createHash("sha256").update(hash).update(u64(generation));
  for (const { key, version, value } of rows) {
    const name = new TextEncoder().encode(key);
    digest.update(u64(BigInt(name.length))).update(name).update(u64(version));
    digest.update(u64(BigInt(value.length))).update(value);
  }
  return digest.digest("hex");
}

const change = fc.record({
  key: fc.constantFrom("node", "channel/1", "channel/2", "payment/a"),
  value: fc.option(fc.uint8Array({ minLength: 1, maxLength: 300 })),
});
const commits = fc.array(
  fc.record({
    changes: fc.uniqueArray(change, { selector: ({ key }) => key }),
    isReopened: fc.boolean(),
  }),
  { maxLength: 12 },
);

/** Plays commits on a card and on a map; they must agree after each. */
function play(
  place: Place,
  script: readonly { changes: readonly Change[]; isReopened: boolean }[],
): void {
  const model = new Map<string, StoredValue>();
  let store = place.open();
  let { generation, hash } = store.head;
  for (const { changes, isReopened } of script) {
    store.commit(changes);
    const rows = changes.toSorted((a, b) => a.key < b.key ? -1 : 1).map(
      ({ key, value }) => {
        const version = (model.get(key)?.version ?? -1n) + 1n;
        const row = { key, version, value: value ?? new Uint8Array() };
        model.set(key, row);
        return row;
      },
    );
    if (rows.length > 0) {
      generation += 1n;
      hash = Uint8Array.fromHex(headAfter(hash, generation, rows));
    }
    if (isReopened) {
      store.close();
      store = place.open();
    }
    assert.equal(store.head.generation, generation);
    assert.equal(store.head.hash.toHex(), hash.toHex());
    const wanted = [...model.values()].filter(({ value }) => value.length > 0)
      .toSorted((a, b) => a.key < b.key ? -1 : 1)
      .map(({ key, version, value }) => `${key} ${version} ${value.toHex()}`);
    assert.deepEqual(show(store), wanted);
  }
  store.close();
}

Deno.test("a card in memory does what the model of a card does", () => {
  fc.assert(
    fc.property(commits, (script) => play(new MemoryDisk(), script)),
    { numRuns: RUNS * 10 },
  );
});

Deno.test("a card on a disk does what the model of a card does", async () => {
  await fc.assert(
    fc.asyncProperty(
      commits,
      (script) => onDisk((place) => play(place, script)),
    ),
    { numRuns: RUNS },
  );
});

Deno.test("a fault before the commit changes nothing and the card goes on", () => {
  const disk = new MemoryDisk();
  const store = disk.open();
  store.commit([{ key: "a", value: Uint8Array.of(1) }]);
  const before = [store.head, show(store)];
  disk.fault = () => "before";
  const write = () => store.commit([{ key: "a", value: Uint8Array.of(2) }]);
  assert.throws(write, StoreError);
  assert.deepEqual([store.head, show(store)], before);
  disk.fault = () => null;
  write();
  assert.deepEqual(show(store), ["a 1 02"]);
});

Deno.test("a commit of which nobody can tell ends the card until it is reopened", () => {
  for (const fault of ["torn", "after"] as const) {
    const disk = new MemoryDisk();
    const store = disk.open();
    disk.fault = () => fault;
    const write = () => store.commit([{ key: "a", value: Uint8Array.of(2) }]);
    assert.throws(write, StoreError);
    disk.fault = () => null;
    assert.equal(store.isCertain, false);
    assert.throws(write, /state is unknown/);
    store.close();
    const wanted = fault === "after" ? ["a 0 02"] : [];
    assert.deepEqual(show(disk.open()), wanted);
  }
});

Deno.test("a disk that lied loses what came after its last sync, whole commits at a time", () => {
  const disk = new MemoryDisk();
  const store = disk.open();
  store.commit([{ key: "a", value: Uint8Array.of(1) }]);
  disk.lie();
  store.commit([{ key: "a", value: Uint8Array.of(2) }]);
  disk.cutPower();
  const again = disk.open();
  assert.deepEqual(show(again), ["a 0 01"]);
  assert.equal(again.head.generation, 1n);
});

Deno.test("a card in memory is open once", () => {
  const disk = new MemoryDisk();
  const store = disk.open();
  assert.throws(() => disk.open(), /another softkey/);
  store.close();
  disk.open();
});
