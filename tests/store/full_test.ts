/**
 * A disk that is full: the commit says so and nothing of it happened; with room
 * again, the same card goes on.
 *
 * @module
 */

import assert from "node:assert/strict";
import { StoreError } from "../../src/errors.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";
import { bytes, contentOf, inFolder, line, show } from "./support.ts";

const CHILD = fromFileUrl(new URL("./child.ts", import.meta.url));

Deno.test("a full card refuses values and lines, and goes on when there is room", () =>
  inFolder((path) => {
    const store = openSqliteStore(path, { maxPages: 40 });
    const write = (i: number) =>
      store.commit([{ key: `channel/${i}`, value: bytes(900, i) }], [line(i)]);
    let count = 0;
    let before = show(store);
    assert.throws(() => {
      for (;; count += 1) {
        write(count);
        before = show(store);
      }
    }, (error) => {
      assert.ok(error instanceof StoreError);
      assert.equal(
        error.message,
        "Cannot write the card: the disk is full; nothing was written",
      );
      return true;
    });
    assert.ok(count > 10);
    assert.equal(show(store), before);
    assert.equal(store.isCertain, true);
    assert.throws(() => store.commit([], [line(1, 60_000)]), /disk is full/);
    assert.equal(show(store), before);
    store.check();
    for (let i = 0; i < count; i += 1) {
      store.commit([{ key: `channel/${i}`, value: null }]);
    }
    write(count);
    store.check();
    const wanted = show(store);
    store.close();
    assert.ok(contentOf(path).endsWith(wanted));
  }));

Deno.test("a file that may not grow loses nothing that was acknowledged", () =>
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

/** A small disk of our own, where the kernel lets us have one. */
const HOW = ["unshare", "-Urm", "sh", "-c"];
const CAN_MOUNT = new Deno.Command("sh", {
  args: ["-c", `${HOW.slice(0, 2).join(" ")} mount -t tmpfs none /mnt`],
  stderr: "null",
}).outputSync().success;

Deno.test({
  name:
    "a real disk without room refuses, and takes the same when there is some",
  ignore: !CAN_MOUNT,
  fn: () =>
    inFolder(async (path) => {
      const folder = path.replace(/\/[^/]*$/, "");
      const [program = "", ...args] = HOW;
      const { stdout, stderr } = await new Deno.Command(program, {
        args: [
          ...args,
          `mount -t tmpfs -o size=2m none "$0" &&
           exec "$1" run -A --quiet "$2" full "$3"`,
          folder,
          Deno.execPath(),
          CHILD,
          path,
        ],
        env: withDeno(),
      }).output();
      const said = new TextDecoder().decode(stdout).trim().split("\n");
      assert.deepEqual(said, [
        "Cannot write the card: the disk is full; nothing was written",
        "unchanged",
        "written",
        "summed",
      ], new TextDecoder().decode(stderr));
    }),
});
