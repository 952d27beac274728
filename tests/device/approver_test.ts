/**
 * The book of questions: the owner at the softkey's terminal, at another one, at
 * both, and nowhere.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  type AnsweredQuestion,
  CONSENTER,
  QuestionBook,
  REFUSER,
} from "../../src/device/approver.ts";
import { askAtTerminal } from "../../src/device/owner/at_terminal.ts";

const question = (key: string) => ({
  consentKind: "unknown_destination",
  key,
  question: `Send ${key}?`,
});

/** A book with everything that it says. */
function openBook(deadlineMs = 60_000) {
  const said: string[] = [];
  const now = () => 1000;
  const say = (line: string) => said.push(line);
  const book = new QuestionBook({ deadlineMs, say, now });
  return { book, said };
}

/** A book at a terminal: lines are typed by the test. */
function openTerminal(deadlineMs?: number) {
  const { book, said } = openBook(deadlineMs);
  const keys = new TransformStream<string, string>();
  const writer = keys.writable.getWriter();
  const shown: string[] = [];
  const write = (text: string) => shown.push(text);
  askAtTerminal({ book, lines: keys.readable, write, now: () => 1000 });
  return {
    book,
    said,
    type: (line: string) => writer.write(line),
    hangUp: () => writer.close(),
    shown: () => shown.join(""),
  };
}

Deno.test("who does not ask says no, or yes, at once", async () => {
  assert.equal(await REFUSER.ask(question("a")), null);
  assert.equal(await CONSENTER.ask(question("a")), true);
});

Deno.test("the owner's y allows, n refuses, anything else is asked again", async () => {
  const { book, type, hangUp, shown } = openTerminal();
  const first = book.ask(question("a"));
  const second = book.ask(question("b"));
  await type("perhaps");
  await type("y");
  assert.equal(await first, true);
  await type("n");
  assert.equal(await second, false);
  assert.match(
    shown(),
    /^Send a\? \[y\/n, 60 s\] please type y or n: allowed\nSend b\? .*declined\n$/,
  );
  await hangUp();
});

Deno.test("an owner who says nothing in time refuses", async () => {
  const { book, hangUp, shown } = openTerminal(5);
  assert.equal(await book.ask(question("a")), null);
  assert.match(shown(), /\nrefused: nobody answered in time\n$/);
  await hangUp();
});

Deno.test("a question needs no terminal, and its deadline is kept", async () => {
  const { book, said } = openBook(5);
  assert.equal(await book.ask(question("a")), null);
  assert.deepEqual(book.waiting(), []);
  assert.deepEqual(said, [
    "question 1 waits 0 s for your answer: softkey approve 1",
    "question 1 refused: nobody answered in time",
  ]);
});

Deno.test("an answer from another terminal counts, and the first terminal says so", async () => {
  const { book, hangUp, shown, said } = openTerminal();
  const asked = book.ask(question("a"));
  assert.notEqual(book.answer(1, true, "elsewhere"), null);
  assert.equal(await asked, true);
  assert.match(shown(), /\nallowed from another terminal\n$/);
  assert.deepEqual(said.length, 1, "what the terminal showed is not said too");
  await hangUp();
});

Deno.test("of two answers the first counts, and the second hears of it", async () => {
  const { book, type, hangUp } = openTerminal();
  const asked = book.ask(question("a"));
  await type("n");
  assert.equal(await asked, false);
  assert.equal(book.answer(1, true, "elsewhere"), null);
  const { isGranted, by } = book.answerTo(1) ?? {};
  assert.deepEqual([isGranted, by], [false, "here"]);
  await hangUp();
});

Deno.test("a y that was meant for a question that ended allows no other", async () => {
  const { book, type, hangUp, shown } = openTerminal();
  const first = book.ask(question("a"));
  const second = book.ask(question("b"));
  book.answer(1, false, "elsewhere");
  assert.equal(await first, false);
  await type("y");
  assert.deepEqual(book.waiting().map(({ id }) => id), [2]);
  assert.match(shown(), /Send b\? \[y 2 or n 2, 60 s\] please type y 2 or n 2/);
  await type("y 1");
  assert.deepEqual(book.waiting().map(({ id }) => id), [2]);
  await type("y 2");
  assert.equal(await second, true);
  await hangUp();
});

Deno.test("a terminal that goes away leaves its question to the others", async () => {
  const { book, said, hangUp } = openTerminal();
  const asked = book.ask(question("a"));
  await hangUp();
  book.answer(1, true, "elsewhere");
  assert.equal(await asked, true);
  assert.equal(said.at(-1), "question 1 allowed from another terminal");
});

Deno.test("the 65th question that waits is refused at once, with a line", async () => {
  const { book, said } = openBook();
  for (let i = 0; i < 64; i++) void book.ask(question(`${i}`));
  assert.equal(await book.ask(question("late")), null);
  assert.match(said.at(-1) ?? "", /64 questions wait already: Send late\?$/);
  assert.equal(book.waiting().length, 64);
  book.answer(7, true, "elsewhere");
  void book.ask(question("next"));
  assert.equal(book.waiting().at(-1)?.key, "next");
  book.close();
});

Deno.test("a question moves no cursor and asks for no second line", () => {
  const { book } = openBook();
  void book.ask(question("\x1b[2Jall\r\n\u202e"));
  assert.equal(book.waiting()[0]?.question, "Send ?[2Jall????");
  book.close();
});

Deno.test("a book that is closed answers nothing that waited, and asks nothing", async () => {
  const { book, said } = openBook(5);
  let isAnswered = false;
  void book.ask(question("a")).then(() => isAnswered = true);
  book.close();
  assert.equal(await book.ask(question("b")), null);
  assert.equal(book.answer(1, true, "elsewhere"), null);
  assert.equal(isAnswered, false);
  assert.equal(said.length, 1);
});

Deno.test("whatever is answered, each question ends once, as it was answered first", async () => {
  const acts = fc.array(
    fc.oneof(
      fc.constant({ act: "ask" } as const),
      fc.record({
        act: fc.constant("answer" as const),
        id: fc.integer({ min: 0, max: 12 }),
        isGranted: fc.boolean(),
        by: fc.constantFrom("here" as const, "elsewhere" as const),
      }),
    ),
    { maxLength: 40 },
  );
  await fc.assert(fc.asyncProperty(acts, async (steps) => {
    const { book } = openBook();
    const heard: AnsweredQuestion[] = [];
    book.listen({ answered: (answered) => heard.push(answered) > 0 });
    const asked: Promise<boolean | null>[] = [];
    const first = new Map<number, boolean>();
    for (const step of steps) {
      if (step.act === "ask") {
        asked.push(book.ask(question(`${asked.length}`)));
        continue;
      }
      const { id, isGranted, by } = step;
      const isOpen = id >= 1 && id <= asked.length && !first.has(id);
      assert.equal(book.answer(id, isGranted, by) !== null, isOpen);
      if (isOpen) first.set(id, isGranted);
    }
    assert.equal(heard.length, first.size);
    for (const [id, isGranted] of first) {
      assert.equal(await asked[id - 1], isGranted);
      assert.equal(book.answerTo(id)?.isGranted, isGranted);
    }
    assert.equal(book.waiting().length, asked.length - first.size);
    book.close();
  }));
});
