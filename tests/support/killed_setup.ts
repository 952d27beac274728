/**
 * A setup that is killed before its n-th change to the disk:
 *
 *     deno run -A killed_setup.ts N init|restore …
 *
 * With fewer than n changes it ends as the softkey does, else by SIGKILL.
 *
 * What it does not do: count what SQLite writes; its own tests do that.
 *
 * @module
 */

import { readArguments } from "../../src/device/arguments.ts";
import { init } from "../../src/device/commands/init.ts";
import { restore } from "../../src/device/commands/restore.ts";
import { complain } from "../../src/device/terminal.ts";

const [at, ...args] = Deno.args;
let left = Number(at);

/** Everything of the runtime that changes a disk. */
const CHANGES = [
  [Deno, ["link", "rename", "remove", "chmod", "mkdir", "open"]],
  [Deno, ["renameSync", "removeSync", "openSync"]],
  [Deno.FsFile.prototype, ["write", "sync", "writeSync", "syncSync"]],
] as const;

for (const [owner, names] of CHANGES) {
  for (const name of names) {
    const own: unknown = Reflect.get(owner, name);
    if (typeof own !== "function") throw new Error(`no ${name} to stop at`);
    const value = function (this: unknown, ...given: unknown[]): unknown {
      left -= 1;
      if (left === 0) Deno.kill(Deno.pid, "SIGKILL");
      return Reflect.apply(own, this, given);
    };
    Object.defineProperty(owner, name, { value, configurable: true });
  }
}

const { options, words: [name, ...words] } = readArguments(args);
const command = name === "init" ? init : restore;
Deno.exit(await command({ options, words }).catch(complain));
