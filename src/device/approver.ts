/**
 * Who answers for the owner when only the owner can allow something.
 *
 * | approver | answers |
 * | --- | --- |
 * | refuse | no, at once: the default |
 * | always | yes, at once: `--yes` |
 * | terminal | what is typed within the deadline; no when nothing is |
 *
 * What it does not do: decide what may be asked. That list is closed, in
 * `policy/consent.ts`, and no rule is on it.
 *
 * @module
 */

/** What the owner is asked. */
export interface Question {
  /** One of CONSENTS in policy/consent.ts. */
  readonly consentKind: string;
  /** Names the very thing: the same question has the same key. */
  readonly key: string;
  /** In the owner's words. */
  readonly question: string;
}

/** Asks the owner. */
export interface Approver {
  /** True for yes; anything else, and no answer in time, is no. */
  ask(question: Question): Promise<boolean>;
}

/** Says no. */
export const REFUSER: Approver = { ask: () => Promise.resolve(false) };

/** Says yes. */
export const CONSENTER: Approver = { ask: () => Promise.resolve(true) };

/** What a prompt is made of. */
export interface TerminalOptions {
  /** Lines that the owner types. */
  readonly lines: AsyncIterable<string>;
  readonly write: (text: string) => void;
  /** How long a question waits, in milliseconds. */
  readonly deadlineMs: number;
}

/** Asks at a terminal, one question at a time, in order. */
export class TerminalApprover implements Approver {
  readonly #options: TerminalOptions;
  #last: Promise<unknown> = Promise.resolve();
  #hear: ((line: string) => void) | null = null;

  constructor(options: TerminalOptions) {
    this.#options = options;
    this.#listen();
  }

  ask(question: Question): Promise<boolean> {
    const answer = this.#last.then(() => this.#put(question));
    this.#last = answer;
    return answer;
  }

  #put({ question }: Question): Promise<boolean> {
    const { write, deadlineMs } = this.#options;
    write(`${question} [y/n, ${Math.round(deadlineMs / 1000)} s] `);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const end = (isGranted: boolean, text: string) => {
      clearTimeout(timer);
      this.#hear = null;
      write(text);
      resolve(isGranted);
    };
    const timer = setTimeout(
      () => end(false, "\nno answer: refused\n"),
      deadlineMs,
    );
    this.#hear = (line) => {
      if (/^y(es)?$/i.test(line.trim())) end(true, "allowed\n");
      else if (/^no?$/i.test(line.trim())) end(false, "refused\n");
      else write("please type y or n: ");
    };
    return promise;
  }

  /** What is typed while nothing is asked answers nothing. */
  async #listen(): Promise<void> {
    for await (const line of this.#options.lines) this.#hear?.(line);
  }
}
