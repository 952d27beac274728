/**
 * A program that uses a card and is made to end badly: for `sqlite_test.ts`,
 * `full_test.ts` and `kill_test.ts`.
 *
 *     child.ts open PATH    opens it, prints what happened
 *     child.ts fill PATH    commits until it fails; prints each generation
 *     child.ts turn PATH    opens, commits and closes it until it fails
 *     child.ts full PATH    fills the disk, commits, makes room, commits
 *
 * @module
 */

import { describeError } from "../../src/errors.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { bytes, contentOf, line, show } from "./support.ts";

const [task, path = ""] = Deno.args;

function tell(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function fill(): never {
  const store = openSqliteStore(path, { ledgerLines: 50, tombstones: 20 });
  for (;;) {
    const next = store.head.generation + 1n;
    const size = 1 + Number(next * 977n % 3000n);
    const value = new Uint8Array(size).fill(Number(next % 251n));
    const body = new TextEncoder().encode(`${next}`);
    store.commit([
      { key: `channel/${next % 7n}`, value },
      { key: `payment/${next}`, value: body },
      { key: `payment/${next - 3n}`, value: null },
      { key: "last", value: body },
    ], [{ time: next, body }]);
    tell(`${store.head.generation} ${store.head.hash.toHex()}`);
  }
}

function turn(): never {
  for (;;) {
    const store = openSqliteStore(path);
    const next = `${store.head.generation + 1n}`;
    const value = new TextEncoder().encode(next);
    store.commit([{ key: "last", value }], [{ time: 1n, body: value }]);
    tell(`${store.head.generation} ${store.head.hash.toHex()}`);
    store.close();
  }
}

/** Takes all the room that is left. */
function takeRoom(name: string): void {
  using file = Deno.openSync(name, { write: true, create: true });
  const piece = new Uint8Array(512);
  try {
    for (;;) file.writeSync(piece);
  } catch (error) {
    if (!/os error 28/.test(describeError(error))) throw error;
  }
}

function fillDisk(): void {
  const store = openSqliteStore(path);
  store.commit([{ key: "a", value: bytes(30_000) }], [line(1)]);
  takeRoom(`${path}.filler`);
  const before = show(store);
  const write = () =>
    store.commit([{ key: "a", value: bytes(300_000, 2) }], [line(2)]);
  try {
    write();
  } catch (error) {
    tell(describeError(error));
  }
  tell(store.isCertain && show(store) === before ? "unchanged" : "torn");
  Deno.removeSync(`${path}.filler`);
  write();
  store.check();
  const after = show(store);
  store.close();
  tell(contentOf(path).endsWith(after) ? "written" : "lost");
  tell(store.closeProblem === null ? "summed" : store.closeProblem.message);
}

try {
  if (task === "fill") fill();
  if (task === "turn") turn();
  if (task === "full") fillDisk();
  else {
    openSqliteStore(path).close();
    tell("opened");
  }
} catch (error) {
  tell(describeError(error));
}
