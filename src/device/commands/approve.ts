/**
 * `softkey approve`: answers questions of a running softkey from another
 * terminal.
 *
 *     approve                     what waits
 *     approve ID [ID…]            allows
 *     approve --decline ID [ID…]  declines
 *
 * Exit code 1 when one of them waits no more; what became of it is said.
 *
 * What it does not do: allow everything at once. Each question is a decision.
 *
 * @module
 */

import { UsageError } from "../../errors.ts";
import { type Arguments, wanted } from "../arguments.ts";
import {
  describeAnswer,
  type QuestionBook,
  type WaitingQuestion,
} from "../approver.ts";
import type { CardAccess } from "../owner/access.ts";
import { trySending } from "./open.ts";

/** Runs `approve …`. */
export async function approve(args: Arguments): Promise<number> {
  const folder = wanted(args.options, "card");
  const code = await trySending(folder, "approve", args);
  if (code !== null) return code;
  throw new UsageError(
    `Cannot answer: no softkey that takes answers runs with the card ` +
      `${folder}, want one started with --approve ask`,
  );
}

/** The same on a softkey that runs. */
export function approveOn(
  access: CardAccess,
  { options, words }: Arguments,
): number {
  const { questions } = access;
  if (questions === null) {
    throw new UsageError(
      "Cannot answer: this softkey does not ask, want it started with " +
        "--approve ask",
    );
  }
  if (words.length > 0) {
    const ids = words.map(parseId);
    const codes = ids.map((id) => answer(access, questions, id, options));
    return Math.max(...codes);
  }
  if (options.decline) throw new UsageError("Missing ID: want --decline ID");
  showWaiting(access, questions);
  return 0;
}

function showWaiting({ print }: CardAccess, book: QuestionBook): void {
  const waiting = book.waiting();
  if (waiting.length === 0) print("nothing waits for an answer");
  for (const question of waiting) print(lineOf(question, Date.now()));
}

function lineOf(question: WaitingQuestion, now: number): string {
  const asked = seconds(now - question.askedAt);
  const left = seconds(question.deadline - now);
  return `${question.id}  ${question.question}\n` +
    `   asked ${asked} s ago, ${left} s left`;
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1000));
}

function answer(
  { print, printError }: CardAccess,
  book: QuestionBook,
  id: number,
  { decline }: Arguments["options"],
): number {
  const given = book.answer(id, !decline, "elsewhere");
  if (given === null) {
    printError(`softkey: ${describeMissing(book, id)}`);
    return 1;
  }
  print(`${decline ? "declined" : "allowed"} ${id}: ${given.asked.question}`);
  return 0;
}

function describeMissing(book: QuestionBook, id: number): string {
  const earlier = book.answerTo(id);
  const why = earlier === undefined
    ? "no such question waits, softkey approve shows those that do"
    : `it was ${describeAnswer(earlier)}`;
  return `Cannot answer question ${id}: ${why}`;
}

function parseId(word: string): number {
  if (/^[1-9]\d{0,8}$/.test(word)) return Number(word);
  throw new UsageError(
    `Cannot answer question ${JSON.stringify(word)}: want a number that ` +
      "softkey approve shows",
  );
}
