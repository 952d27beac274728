/**
 * One flipped byte, at every offset: of a card that was stopped, of its sum, of
 * one that crashed; and of its log.
 *
 * | where | after a clean stop | after a crash |
 * | --- | --- | --- |
 * | any byte of the file | found when it is opened | |
 * | any byte of the sum | found when it is opened | |
 * | a byte of the file in use | | found when it is opened or checked |
 * | a byte that nothing uses | | not found, and nothing depends on it |
 * | a byte of the log | | what is read is what an earlier commit left, whole |
 *
 * @module
 */

import assert from "node:assert/strict";
import { StoreError } from "../../src/errors.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import {
  bytes,
  contentOf,
  fill,
  inFolder,
  line,
  makeSmallPages,
  removeCompany,
  show,
  tamper,
} from "./support.ts";

/** A card that can be opened is synced when it is closed: that takes time. */
const STEP = Deno.env.get("SLOW") === "1" ? 1 : 31;

/** Flips one bit of each byte in turn, in place, and puts it back. */
function flipEach(name: string, look: (at: number) => void): void {
  const { size } = Deno.statSync(name);
  using file = Deno.openSync(name, { read: true, write: true });
  const byte = new Uint8Array(1);
  for (let at = 0; at < size; at += 1) {
    file.seekSync(at, Deno.SeekMode.Start);
    assert.equal(file.readSync(byte), 1);
    const flipped = Uint8Array.of((byte[0] ?? 0) ^ (1 << (at % 8)));
    file.seekSync(at, Deno.SeekMode.Start);
    file.writeSync(flipped);
    look(at);
    file.seekSync(at, Deno.SeekMode.Start);
    file.writeSync(byte);
  }
}

/** A card of a few small pages, with ledger lines that were removed as well. */
function makeSmall(path: string): void {
  makeSmallPages(path);
  const store = openSqliteStore(path, { ledgerLines: 4 });
  for (let i = 0; i < 9; i += 1) {
    store.commit([
      { key: `channel/${i % 3}`, value: bytes(i === 8 ? 600 : 60, i) },
      { key: "node", value: bytes(30, i) },
    ], [line(i, 20)]);
  }
  store.commit([{ key: "channel/1", value: null }]);
  store.close();
}

Deno.test("each flipped byte of a card that was stopped is found, in its sum too", () =>
  inFolder((path) => {
    makeSmall(path);
    const wanted = contentOf(path);
    for (const name of [path, `${path}.sum`]) {
      const whole = Deno.readFileSync(name);
      flipEach(name, (at) => {
        assert.throws(
          () => openSqliteStore(path),
          (error) => {
            assert.ok(error instanceof StoreError, `${name} byte ${at}`);
            return /is damaged: .*state\.db\.sum/.test(error.message);
          },
          `${name} byte ${at}`,
        );
      });
      // Nothing was put away, and nothing written.
      assert.equal(Deno.readFileSync(name).toHex(), whole.toHex());
    }
    assert.equal(contentOf(path), wanted);
  }));

Deno.test("a byte of the file is found missing, or one too many", () =>
  inFolder((path) => {
    fill(path);
    const whole = Deno.readFileSync(path);
    for (const other of [whole.subarray(0, -1), Uint8Array.of(...whole, 0)]) {
      Deno.writeFileSync(path, other);
      assert.throws(() => openSqliteStore(path), /do not fit|is damaged/);
    }
    Deno.writeFileSync(path, whole);
    openSqliteStore(path).close();
  }));

/** Opens a copy of what a crash left; what it holds, or why it is refused. */
function outcomeOf(
  path: string,
  files: { readonly main: Uint8Array; readonly log?: Uint8Array },
): string | StoreError {
  removeCompany(path);
  Deno.writeFileSync(path, files.main);
  if (files.log !== undefined) Deno.writeFileSync(`${path}-wal`, files.log);
  try {
    return contentOf(path);
  } catch (error) {
    if (error instanceof StoreError) return error;
    throw error;
  }
}

/** Where some bytes are, each of them, wherever they are. */
function offsetsOf(whole: Uint8Array, part: Uint8Array): number[] {
  const starts = Array.from(whole.keys()).filter((at) =>
    part.every((byte, i) => byte === whole[at + i])
  );
  assert.ok(starts.length > 0, "the part is in the file");
  return starts.flatMap((at) => Array.from(part, (_, i) => at + i));
}

Deno.test("after a crash each flipped byte in use is found, and no other matters", () =>
  inFolder((path) => {
    makeSmall(path);
    // Without free pages, what is in use is there once.
    tamper(path, (db) => db.exec("VACUUM"));
    const store = openSqliteStore(path);
    const wanted = `${store.id.toHex()} ${show(store)}`;
    const main = Deno.readFileSync(path);
    const parts = [
      store.id,
      store.head.hash,
      store.ledger.tip.hash,
      store.ledger.anchor.hash,
      ...[...store.load()].filter(({ value }) => value.length < 200)
        .flatMap(({ key, value }) => [new TextEncoder().encode(key), value]),
      ...[...store.ledger.lines()].flatMap(({ body, hash }) => [body, hash]),
    ];
    // The first page keeps a copy that nothing reads.
    const table = new TextEncoder().encode("CREATE TABLE ledger");
    const described = offsetsOf(main, table).slice(-table.length);
    store.close();
    const used = new Set([
      ...described,
      ...parts.flatMap((part) => offsetsOf(main, part)),
    ]);
    const copy = `${path}.copy`;
    let found = 0;
    for (let at = 0; at < main.length; at += 1) {
      if (!used.has(at) && at % STEP > 0) continue;
      const flipped = main.slice();
      flipped[at] = (main[at] ?? 0) ^ (1 << (at % 8));
      const outcome = outcomeOf(copy, { main: flipped });
      if (typeof outcome === "string") {
        assert.equal(outcome, wanted, `byte ${at}`);
        assert.ok(!used.has(at), `byte ${at} is in use`);
      } else found += 1;
    }
    assert.ok(found >= used.size);
  }));

Deno.test("a flipped byte of the log leaves what an earlier commit left, whole", () =>
  inFolder((path) => {
    makeSmall(path);
    const store = openSqliteStore(path);
    const id = store.id.toHex();
    const states = [`${id} ${show(store)}`];
    for (let i = 0; i < 4; i += 1) {
      store.commit([
        { key: "node", value: bytes(40, i + 50) },
        { key: `payment/${i}`, value: bytes(10, i) },
      ], [line(i + 50, 20)]);
      states.push(`${id} ${show(store)}`);
    }
    const main = Deno.readFileSync(path);
    const log = Deno.readFileSync(`${path}-wal`);
    store.close();
    const copy = `${path}.copy`;
    assert.equal(outcomeOf(copy, { main, log }), states.at(-1));
    const seen = new Set<number>();
    for (let at = 0; at < log.length; at += STEP) {
      const flipped = log.slice();
      flipped[at] = (log[at] ?? 0) ^ (1 << (at % 8));
      const outcome = outcomeOf(copy, { main, log: flipped });
      if (outcome instanceof StoreError) continue;
      const which = states.indexOf(outcome);
      assert.ok(which >= 0, `byte ${at} gives a state that never was`);
      seen.add(which);
    }
    // Whoever loses its first frame loses all of them.
    assert.deepEqual([...seen].toSorted(), [0, 1, 2, 3]);
  }));
