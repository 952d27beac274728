/** The owner at a terminal: y, n, nonsense, silence. @module */

import assert from "node:assert/strict";
import { TerminalApprover } from "../../src/device/approver.ts";

const question = (key: string) => ({
  consentKind: "unknown_destination",
  key,
  question: `Send ${key}?`,
});

/** A keyboard: lines are typed by the test. */
class Keyboard {
  readonly #lines = new TransformStream<string, string>();
  readonly #writer = this.#lines.writable.getWriter();
  readonly lines = this.#lines.readable;

  type(line: string): Promise<void> {
    return this.#writer.write(line);
  }

  close(): Promise<void> {
    return this.#writer.close();
  }
}

Deno.test("the owner's y allows, n refuses, anything else is asked again", async () => {
  const keyboard = new Keyboard();
  const shown: string[] = [];
  const approver = new TerminalApprover({
    lines: keyboard.lines,
    write: (text) => shown.push(text),
    deadlineMs: 60_000,
  });
  const first = approver.ask(question("a"));
  const second = approver.ask(question("b"));
  await keyboard.type("perhaps");
  await keyboard.type("y");
  assert.equal(await first, true);
  await keyboard.type("n");
  assert.equal(await second, false);
  assert.match(shown.join(""), /Send a\?.*please type y or n.*Send b\?/s);
  await keyboard.close();
});

Deno.test("an owner who says nothing in time refuses", async () => {
  const keyboard = new Keyboard();
  const approver = new TerminalApprover({
    lines: keyboard.lines,
    write: () => {},
    deadlineMs: 5,
  });
  assert.equal(await approver.ask(question("a")), false);
  await keyboard.close();
});
