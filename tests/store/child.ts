/**
 * A program that uses a card and is made to end badly: for `sqlite_test.ts` and
 * `kill_test.ts`.
 *
 *     child.ts open PATH    opens it, prints what happened
 *     child.ts fill PATH    commits until it fails; prints each generation
 *
 * @module
 */

import { describeError } from "../../src/errors.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";

const [task, path = ""] = Deno.args;

function tell(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

function fill(): never {
  const store = openSqliteStore(path);
  for (;;) {
    const next = store.head.generation + 1n;
    const size = 1 + Number(next * 977n % 3000n);
    const value = new Uint8Array(size).fill(Number(next % 251n));
    store.commit([
      { key: `channel/${next % 7n}`, value },
      { key: "last", value: new TextEncoder().encode(`${next}`) },
    ]);
    tell(`${store.head.generation} ${store.head.hash.toHex()}`);
  }
}

try {
  if (task === "fill") fill();
  openSqliteStore(path).close();
  tell("opened");
} catch (error) {
  tell(describeError(error));
}
