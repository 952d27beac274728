/**
 * A card as bytes and back: the same card, or none.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError, StoreError } from "../../src/errors.ts";
import { decodeCard, encodeCard, writeCard } from "../../src/store/copy.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { bytes, contentOf, fill, inFolder, line } from "./support.ts";

const OPTIONS = { ledgerLines: 5, tombstones: 2 };

/** A card with removed lines, removed rows and deleted ones. */
function makeCard(path: string): Uint8Array {
  const store = openSqliteStore(path, OPTIONS);
  for (let i = 0; i < 13; i += 1) {
    store.commit([
      { key: `channel/${i % 3}`, value: bytes(20, i) },
      { key: `payment/${i}`, value: i % 2 === 0 ? bytes(9, i) : null },
    ], [line(i, 12)]);
  }
  const copy = encodeCard(store);
  store.close();
  return copy;
}

function filesBeside(path: string): string[] {
  const folder = path.replace(/\/[^/]*$/, "");
  return [...Deno.readDirSync(folder)].map(({ name }) => name).toSorted();
}

Deno.test("a card from its copy is the same card and goes on the same", () =>
  inFolder((path) => {
    const copy = makeCard(path);
    const other = `${path}.other`;
    writeCard(other, copy);
    assert.equal(contentOf(other, OPTIONS), contentOf(path, OPTIONS));
    const [one, two] = [path, other].map((name) =>
      openSqliteStore(name, OPTIONS)
    );
    assert.ok(one !== undefined && two !== undefined);
    // It was compared with the sum that it was made with.
    assert.equal(two.check().isSummed, true);
    for (const store of [one, two]) {
      for (let i = 0; i < 5; i += 1) {
        store.commit([{ key: `payment/${i}`, value: bytes(i + 1) }], [line(i)]);
        store.commit([{ key: `payment/${i}`, value: null }], [line(i)]);
      }
    }
    assert.equal(encodeCard(two).toHex(), encodeCard(one).toHex());
    for (const store of [one, two]) store.close();
    assert.deepEqual(filesBeside(path), [
      "state.db",
      "state.db.other",
      "state.db.other.sum",
      "state.db.sum",
    ]);
  }));

Deno.test("a copy says what the card holds", () =>
  inFolder((path) => {
    fill(path);
    const store = openSqliteStore(path);
    const dump = decodeCard(encodeCard(store));
    assert.deepEqual(dump.head, store.head);
    assert.deepEqual(dump.id, store.id);
    assert.deepEqual(dump.lines, [...store.ledger.lines()]);
    assert.deepEqual(
      dump.rows.filter(({ value }) => value.length > 0),
      [...store.load()].map(({ key, version, value }) => ({
        key,
        version,
        value,
      })),
    );
    assert.equal(dump.rows.length, 6);
    store.close();
  }));

Deno.test("a card that is there is never replaced", () =>
  inFolder((path) => {
    const copy = makeCard(path);
    const before = contentOf(path, OPTIONS);
    assert.throws(() => writeCard(path, copy), /exists, want none/);
    const store = openSqliteStore(path, OPTIONS);
    assert.throws(() => writeCard(path, copy), /exists, want none/);
    assert.throws(() => openSqliteStore(path), /another softkey runs/);
    store.close();
    assert.equal(contentOf(path, OPTIONS), before);
    const other = `${path}.other`;
    Deno.writeFileSync(`${other}-wal`, bytes(10));
    assert.throws(() => writeCard(other, copy), /-wal exists, want none/);
    assert.throws(() => Deno.statSync(other), Deno.errors.NotFound);
  }));

Deno.test("what an attempt left that was cut off is in nobody's way", () =>
  inFolder((path) => {
    const copy = makeCard(path);
    const other = `${path}.other`;
    for (
      const end of [".new", ".new-wal", ".new-journal", ".new.sum", ".sum"]
    ) {
      Deno.writeFileSync(`${other}${end}`, bytes(100));
    }
    writeCard(other, copy);
    assert.equal(contentOf(other, OPTIONS), contentOf(path, OPTIONS));
    assert.equal(filesBeside(path).length, 4);
  }));

Deno.test("a folder that is not there gets no card", () =>
  inFolder((path) => {
    const copy = makeCard(path);
    assert.throws(() => writeCard(`${path}.d/state.db`, copy), StoreError);
  }));

Deno.test("no byte of a copy can be flipped, cut off or added", () =>
  inFolder((path) => {
    const copy = makeCard(path);
    for (let at = 0; at < copy.length; at += 1) {
      const flipped = copy.slice();
      flipped[at] = (copy[at] ?? 0) ^ (1 << (at % 8));
      assert.throws(() => decodeCard(flipped), DecodeError, `byte ${at}`);
      assert.throws(() => decodeCard(copy.subarray(0, at)), DecodeError);
    }
    assert.throws(() => decodeCard(Uint8Array.of(...copy, 0)), DecodeError);
    const other = `${path}.other`;
    const short = copy.subarray(0, -1);
    assert.throws(() => writeCard(other, short), DecodeError);
    assert.equal(filesBeside(path).length, 2);
  }));

Deno.test("any bytes are a card or a DecodeError", () => {
  const start = new TextEncoder().encode("RHSKcard\u0001");
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 400 }),
      fc.boolean(),
      (noise, isLikely) => {
        const input = isLikely ? Uint8Array.of(...start, ...noise) : noise;
        assert.throws(() => decodeCard(input), DecodeError);
      },
    ),
  );
});
