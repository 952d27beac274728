/**
 * The stand-in itself: what it shows the program, and what it reports.
 *
 * @module
 */

import assert from "node:assert/strict";
import { FrameConn, Standin } from "../support/standin/standin.ts";
import { SANITIZED } from "./fake.ts";

/** Runs a shell script as the hsmd. */
function startShell(script: string): Promise<Standin> {
  return Standin.start({ program: "/bin/sh", args: ["-c", script] });
}

/** A status frame with this text, as an argument for printf. */
function frame(text: string): string {
  return `\\000\\000\\000\\${text.length.toString(8).padStart(3, "0")}${text}`;
}

async function readAll(conn: FrameConn): Promise<string[]> {
  const decoder = new TextDecoder();
  return await Array.fromAsync(conn, (payload) => decoder.decode(payload));
}

Deno.test({
  ...SANITIZED,
  name: "The stand-in reports exit codes and signals",
  async fn() {
    for (const [script, code] of [["exit 5", 5], ["kill -9 $$", 256 + 9]]) {
      await using standin = await startShell(String(script));
      assert.equal(await standin.exit, code);
      await assert.rejects(standin.nextClient(), /The hsmd ended/);
    }
  },
});

Deno.test({
  ...SANITIZED,
  name: "The stand-in reports a program that cannot be executed",
  async fn() {
    await using standin = await Standin.start({ program: "/nonexistent" });
    assert.equal(await standin.exit, 127);
  },
});

Deno.test({
  ...SANITIZED,
  name: "The program sees fd 0 to 3, its arguments and its environment",
  async fn() {
    const script = `for fd in 4 5 6 7 8 9 10; do
      [ -e /proc/$$/fd/$fd ] && exit 1
    done
    [ -S /proc/$$/fd/0 ] && [ -S /proc/$$/fd/3 ]`;
    await using standin = await startShell(script);
    assert.equal(await standin.exit, 0);
    await using other = await Standin.start({
      program: "/bin/sh",
      args: ["-c", `[ "$1 $A $(pwd)" = "one two /" ]`, "sh", "one"],
      env: { A: "two" },
      cwd: "/",
    });
    assert.equal(await other.exit, 0);
  },
});

Deno.test({
  ...SANITIZED,
  name: "Status frames arrive in order and end with the program",
  async fn() {
    const script = `printf '${frame("one")}${frame("two")}' >&0`;
    await using standin = await startShell(script);
    assert.equal(await standin.exit, 0);
    assert.deepEqual(await readAll(standin.status), ["one", "two"]);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A half-closed master stream still carries the other direction",
  async fn() {
    const script = `cat <&3 >/dev/null; printf '${frame("bye")}' >&3`;
    await using standin = await startShell(script);
    await standin.master.writeRaw(new Uint8Array(100_000));
    await standin.master.closeWrite();
    assert.deepEqual(await readAll(standin.master), ["bye"]);
    assert.equal(await standin.exit, 0);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A frame 109 without a descriptor after it is reported as such",
  async fn() {
    const reply = "\\000\\000\\000\\002\\000\\155";
    const script = `printf '${reply}\\000' >&3; cat <&3`;
    await using standin = await startShell(script);
    assert.deepEqual(await standin.master.read(), Uint8Array.of(0, 109));
    await assert.rejects(standin.nextClient(), /1 came without a descriptor/);
  },
});

Deno.test({
  ...SANITIZED,
  name: "A frame longer than lightningd accepts ends the master stream",
  async fn() {
    const header = "\\010\\000\\000\\000";
    await using standin = await startShell(`printf '${header}' >&3; cat <&3`);
    assert.equal(await standin.master.read(), null);
  },
});
