/**
 * Questions at the softkey's own terminal: one at a time, in order.
 *
 * A question that ends while it is shown (its deadline passed, or it was answered
 * from another terminal) gives its place to the next. A `y` that is being typed
 * at that moment was meant for the one that ended, so the next one wants its
 * number too: `y 4`.
 *
 * What it does not do: keep questions, or time them (`approver.ts`).
 *
 * @module
 */

import {
  type AnsweredQuestion,
  describeAnswer,
  type QuestionBook,
  type WaitingQuestion,
} from "../approver.ts";

/** A terminal that the softkey runs at. */
export interface TerminalOptions {
  readonly book: QuestionBook;
  /** Lines that the owner types. */
  readonly lines: AsyncIterable<string>;
  readonly write: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** Shows what waits at a terminal, and takes what is typed there. */
export function askAtTerminal(options: TerminalOptions): void {
  const desk = new TerminalQuestions(options);
  desk.listen();
}

class TerminalQuestions {
  readonly #options: TerminalOptions;
  /** The one that is shown. */
  #shown: WaitingQuestion | null = null;
  /** Whether the one before ended by itself: a late "y" may be on its way. */
  #wantsNumber = false;

  constructor(options: TerminalOptions) {
    this.#options = options;
  }

  /** What is typed while nothing is asked answers nothing. */
  async listen(): Promise<void> {
    const { book, lines } = this.#options;
    const stop = book.listen({
      asked: () => this.#showNext(),
      answered: (answered) => this.#end(answered),
    });
    this.#showNext();
    try {
      for await (const line of lines) this.#hear(line);
    } catch {
      // A terminal that is gone is the same as one that is closed.
    } finally {
      // Questions go on waiting for `softkey approve`.
      stop();
    }
  }

  #showNext(): void {
    if (this.#shown !== null) return;
    const [next] = this.#options.book.waiting();
    if (next === undefined) return;
    this.#shown = next;
    const left = Math.max(0, next.deadline - this.#options.now());
    const form = `${this.#form}, ${Math.round(left / 1000)} s`;
    this.#options.write(`${next.question} [${form}] `);
  }

  /** What has to be typed. */
  get #form(): string {
    const id = this.#shown?.id;
    return this.#wantsNumber ? `y ${id} or n ${id}` : "y/n";
  }

  #hear(line: string): void {
    const shown = this.#shown;
    if (shown === null) return;
    const match = /^(?:(y|yes)|n|no)(?: +(\d{1,9}))?$/i.exec(line.trim());
    const [, yes, number] = match ?? [];
    const isNumber = number === undefined
      ? !this.#wantsNumber
      : Number(number) === shown.id;
    if (match === null || !isNumber) {
      const form = this.#form.replace("/", " or ");
      return this.#options.write(`please type ${form}: `);
    }
    this.#options.book.answer(shown.id, yes !== undefined, "here");
  }

  /** Whether it was shown here, so that its end is shown too. */
  #end(answered: AnsweredQuestion): boolean {
    if (answered.asked.id !== this.#shown?.id) return false;
    const isHere = answered.by === "here";
    this.#shown = null;
    this.#wantsNumber = !isHere;
    const here = answered.isGranted ? "allowed\n" : "declined\n";
    this.#options.write(isHere ? here : `\n${describeAnswer(answered)}\n`);
    this.#showNext();
    return true;
  }
}
