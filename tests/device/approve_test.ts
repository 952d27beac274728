/**
 * `softkey approve` as a running softkey does it: what waits, who was first, and
 * what is said to who was not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { QuestionBook } from "../../src/device/approver.ts";
import { openCardStore } from "../../src/device/card_state.ts";
import { askAtTerminal } from "../../src/device/owner/at_terminal.ts";
import { tryRunningSoftkey } from "../../src/device/owner/client.ts";
import { startOwnerSocket } from "../../src/device/owner/socket.ts";

const question = (key: string) => ({
  consentKind: "unknown_destination",
  key,
  question: `Send ${key}?`,
});

interface Running {
  readonly folder: string;
  readonly book: QuestionBook;
}

/** A softkey that asks, or does not. */
async function withSoftkey(
  use: (running: Running) => Promise<void>,
  { isAsking = true, deadlineMs = 60_000 } = {},
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const store = openCardStore(folder);
  const book = new QuestionBook({ deadlineMs, say: () => {}, now: Date.now });
  const access = {
    store,
    network: NETWORKS.regtest,
    folder,
    desk: { own: () => {} },
    questions: isAsking ? book : null,
  };
  const socket = await startOwnerSocket({ folder, access, say: () => {} });
  try {
    await use({ folder, book });
  } finally {
    socket.close();
    book.close();
    store.close();
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs `softkey approve …` from another terminal. */
async function approve(folder: string, ...words: readonly string[]) {
  const result = await tryRunningSoftkey(folder, ["approve", ...words]);
  assert.ok(result !== null);
  return result;
}

Deno.test("what waits is listed with its number, its age and what is left", () =>
  withSoftkey(async ({ folder, book }) => {
    assert.deepEqual(await approve(folder), {
      out: "nothing waits for an answer\n",
      err: "",
      code: 0,
    });
    void book.ask(question("a"));
    void book.ask(question("b"));
    assert.match(
      (await approve(folder)).out,
      /^1 {2}Send a\?\n {3}asked \d+ s ago, \d+ s left\n2 {2}Send b\?\n.*\n$/,
    );
  }));

Deno.test("several are allowed, or declined, by their numbers", () =>
  withSoftkey(async ({ folder, book }) => {
    const asked = ["a", "b", "c"].map((key) => book.ask(question(key)));
    const allowed = await approve(folder, "1", "3");
    assert.deepEqual(allowed, {
      out: "allowed 1: Send a?\nallowed 3: Send c?\n",
      err: "",
      code: 0,
    });
    const declined = await approve(folder, "--decline", "2");
    assert.equal(declined.out, "declined 2: Send b?\n");
    assert.deepEqual(await Promise.all(asked), [true, false, true]);
  }));

Deno.test("of two terminals that answer at once one is first, and the other hears of it", () =>
  withSoftkey(async ({ folder, book }) => {
    for (let id = 1; id <= 10; id++) {
      const asked = book.ask(question(`${id}`));
      const [yes, no] = await Promise.all([
        approve(folder, `${id}`),
        approve(folder, "--decline", `${id}`),
      ]);
      const isGranted = await asked;
      assert.deepEqual([yes.code, no.code], isGranted ? [0, 1] : [1, 0]);
      const late = isGranted ? no.err : yes.err;
      const what = isGranted ? "allowed" : "declined";
      assert.equal(
        late,
        `softkey: Cannot answer question ${id}: it was ${what} from another ` +
          "terminal\n",
      );
    }
  }));

Deno.test("an answer at the softkey's own terminal is told to who comes late", () =>
  withSoftkey(async ({ folder, book }) => {
    const keys = new TransformStream<string, string>();
    const writer = keys.writable.getWriter();
    const lines = keys.readable;
    askAtTerminal({ book, lines, write: () => {}, now: Date.now });
    const asked = book.ask(question("a"));
    await writer.write("y");
    assert.equal(await asked, true);
    const late = await approve(folder, "--decline", "1");
    assert.equal(late.code, 1);
    assert.match(late.err, /it was allowed at the softkey's terminal$/m);
    await writer.close();
  }));

Deno.test("what nobody answered in time is refused, and so it says", () =>
  withSoftkey(async ({ folder, book }) => {
    assert.equal(await book.ask(question("a")), null);
    const late = await approve(folder, "1");
    assert.equal(late.code, 1);
    assert.match(late.err, /it was refused: nobody answered in time$/m);
  }, { deadlineMs: 5 }));

Deno.test("of several numbers those that wait are answered, the others named", () =>
  withSoftkey(async ({ folder, book }) => {
    const asked = book.ask(question("a"));
    const { out, err, code } = await approve(folder, "9", "1");
    assert.deepEqual([out, code], ["allowed 1: Send a?\n", 1]);
    assert.match(err, /question 9: no such question waits/);
    assert.equal(await asked, true);
  }));

Deno.test("a word that is no number answers nothing", () =>
  withSoftkey(async ({ folder, book }) => {
    void book.ask(question("a"));
    for (const words of [["1", "all"], ["0"], ["1x"], ["--decline"]]) {
      const { code, out } = await approve(folder, ...words);
      assert.deepEqual([code, out], [2, ""], words.join(" "));
    }
    assert.equal(book.waiting().length, 1);
  }));

Deno.test("a softkey that does not ask says how to have it ask", () =>
  withSoftkey(async ({ folder }) => {
    const { code, err } = await approve(folder);
    assert.equal(code, 2);
    assert.match(err, /does not ask, want it started with --approve ask$/m);
  }, { isAsking: false }));
