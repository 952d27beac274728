/**
 * Death before the n-th change to the disk, for programs that tests kill.
 *
 * What it does not do: count what SQLite writes; its own tests do that.
 *
 * @module
 */

/** Everything of the runtime that changes a disk. */
const CHANGES = [
  [Deno, ["link", "rename", "remove", "chmod", "mkdir", "open"]],
  [Deno, ["renameSync", "removeSync", "openSync"]],
  [Deno.FsFile.prototype, ["write", "sync", "writeSync", "syncSync"]],
] as const;

/** Has this process die by SIGKILL instead of its n-th change from now on. */
export function dieAtChange(n: number): void {
  let left = n;
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
}
