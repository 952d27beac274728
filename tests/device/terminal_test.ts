/**
 * Questions at a terminal: line editing, what is shown, and who is no person.
 *
 * @module
 */

import assert from "node:assert/strict";
import { UsageError } from "../../src/errors.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import { complain, openTerminal } from "../../src/device/terminal.ts";
import { fromFileUrl } from "../support/paths.ts";
import { DrivenTerminal } from "../support/terminal.ts";

const PROGRAM = fromFileUrl(
  new URL("../support/terminal_program.ts", import.meta.url),
);

function drive(): DrivenTerminal {
  return new DrivenTerminal({
    command: Deno.execPath(),
    args: ["run", "-A", "--quiet", PROGRAM],
  });
}

Deno.test("a line is edited as it is typed, and shown only where it may be", async () => {
  await using terminal = drive();
  await terminal.says("name? ");
  await terminal.press("wrong\x15Zoë\x7f\x7foe\x1b[D\r");
  await terminal.says('heard "Zoe"');
  await terminal.says("secret? ");
  await terminal.press("hunter\x7fr2\rsecond\r");
  await terminal.says("heard 7 letters");
  await terminal.says("again? ");
  await terminal.says("heard 6 letters");
  await terminal.says("shown once");
  await terminal.press("\r");
  await terminal.says("over");
  assert.equal(await terminal.ends(), 0);
  assert.doesNotMatch(terminal.screen, /hunte|second/);
  // deno-lint-ignore no-control-regex
  assert.match(terminal.screen, /\x1b\[\?1049h[^]*once[^]*\x1b\[2J[^]*1049l/);
});

Deno.test("a signal ends a question, takes the secret away and gives the terminal back", async () => {
  await using terminal = drive();
  await terminal.says("name? ");
  await terminal.types("x");
  await terminal.types("x");
  await terminal.types("x");
  await terminal.says("shown once");
  const [, pid = ""] = /pid (\d+)/.exec(terminal.screen) ?? [];
  Deno.kill(Number(pid), "SIGTERM");
  await terminal.says("Stopped by SIGTERM");
  assert.equal(await terminal.ends(), 143);
  assert.ok(terminal.screen.includes("\x1b[2J\x1b[H\x1b[?1049l"));
});

Deno.test("who is no terminal is nobody", () => {
  // The test runner's own input may be a terminal; both have to be one.
  const isPerson = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  assert.equal(openTerminal() === null, !isPerson);
});

Deno.test("each failure has its exit code", () => {
  const write = Deno.stderr.writeSync;
  let said = "";
  Deno.stderr.writeSync = (bytes) => {
    said += new TextDecoder().decode(bytes);
    return bytes.length;
  };
  try {
    assert.equal(complain(new OwnerError("consent", "one\ntwo")), 6);
    assert.equal(complain(new UsageError("three")), 2);
    assert.equal(complain(new TypeError("four")), 70);
  } finally {
    Deno.stderr.writeSync = write;
  }
  assert.match(said, /^softkey: one\nsoftkey: two\nsoftkey: three\n/);
});
