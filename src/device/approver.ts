/**
 * Who answers for the owner when only the owner can allow something.
 *
 * | approver | answers |
 * | --- | --- |
 * | refuse | no, at once: the default |
 * | always | yes, at once: `--yes` |
 * | book | what the owner says within the deadline; no when nothing is said |
 *
 * The book keeps each question until it is answered: at the terminal of the
 * softkey (`owner/at_terminal.ts`), or by `softkey approve` from another one. It
 * needs neither. The first answer counts.
 *
 * ```
 *          ask            allow, decline
 * (none) -----> waiting -----------------> answered: what, and by whom
 *                  |        deadline           ^
 *                  '---------------------------'  refused
 * ```
 *
 * What it does not do: decide what may be asked. That list is closed, in
 * `policy/consent.ts`, and no rule is on it. It makes nothing else wait: a
 * request that waits for its question is the desk's (`desk.ts`).
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
  /** True for yes. No is false from the owner, null when nobody answered. */
  ask(question: Question): Promise<boolean | null>;
}

/** Says no. */
export const REFUSER: Approver = { ask: () => Promise.resolve(null) };

/** Says yes. */
export const CONSENTER: Approver = { ask: () => Promise.resolve(true) };

/** A question that waits. */
export interface WaitingQuestion extends Question {
  /** 1 for the first since the softkey started, then one more with each. */
  readonly id: number;
  /** Unix time in milliseconds. */
  readonly askedAt: number;
  /** When it is refused; Unix time in milliseconds. */
  readonly deadline: number;
}

/** Who gave an answer; `deadline` is nobody. */
export type AnsweredBy = "here" | "elsewhere" | "deadline";

/** A question that waits no more. */
export interface AnsweredQuestion {
  readonly asked: WaitingQuestion;
  readonly isGranted: boolean;
  readonly by: AnsweredBy;
  /** Unix time in milliseconds. */
  readonly answeredAt: number;
}

/** Hears what becomes of questions. */
export interface QuestionListener {
  asked?(question: WaitingQuestion): void;
  /** True when it told the owner, who need not be told again. */
  answered?(answered: AnsweredQuestion): boolean;
}

/** What a book of questions is made of. */
export interface BookOptions {
  /** How long a question waits, in milliseconds. */
  readonly deadlineMs: number;
  /** One line to the owner. */
  readonly say: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** Questions that wait at most; each is a request that the node waits for. */
const MOST_WAITING = 64;
/** Answered questions that are remembered, for who answers too late. */
const MOST_ANSWERED = 256;

interface Entry {
  readonly asked: WaitingQuestion;
  readonly timer: ReturnType<typeof setTimeout>;
  readonly resolve: (isGranted: boolean | null) => void;
}

/** Keeps questions until they are answered. */
export class QuestionBook implements Approver {
  readonly #options: BookOptions;
  readonly #waiting = new Map<number, Entry>();
  readonly #answered = new Map<number, AnsweredQuestion>();
  readonly #listeners = new Set<QuestionListener>();
  #lastId = 0;
  #isClosed = false;

  constructor(options: BookOptions) {
    this.#options = options;
  }

  ask(question: Question): Promise<boolean | null> {
    if (this.#isClosed) return Promise.resolve(null);
    if (this.#waiting.size >= MOST_WAITING) {
      this.#options.say(
        `refused, for ${MOST_WAITING} questions wait already: ` +
          printable(question.question),
      );
      return Promise.resolve(null);
    }
    return this.#enter(question);
  }

  /** Everything that waits, oldest first. */
  waiting(): readonly WaitingQuestion[] {
    return [...this.#waiting.values()].map(({ asked }) => asked);
  }

  /** What became of a question; undefined for one that waits or never was. */
  answerTo(id: number): AnsweredQuestion | undefined {
    return this.#answered.get(id);
  }

  /** Answers; null when no such question waits. */
  answer(
    id: number,
    isGranted: boolean,
    by: AnsweredBy,
  ): AnsweredQuestion | null {
    const entry = this.#waiting.get(id);
    if (entry === undefined) return null;
    clearTimeout(entry.timer);
    this.#waiting.delete(id);
    const answeredAt = this.#options.now();
    const answered = { asked: entry.asked, isGranted, by, answeredAt };
    this.#remember(answered);
    entry.resolve(by === "deadline" ? null : isGranted);
    this.#tell(answered);
    return answered;
  }

  /** Has somebody hear of questions from now on; returns how to stop. */
  listen(listener: QuestionListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Stops asking. What waits gets no answer any more, so that nothing is signed
   * or refused on the way out: the node asks again after the restart.
   */
  close(): void {
    this.#isClosed = true;
    for (const { timer } of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }

  #enter(question: Question): Promise<boolean | null> {
    const { deadlineMs, now, say } = this.#options;
    const { promise, resolve } = Promise.withResolvers<boolean | null>();
    const id = ++this.#lastId;
    const askedAt = now();
    const asked: WaitingQuestion = {
      ...question,
      question: printable(question.question),
      id,
      askedAt,
      deadline: askedAt + deadlineMs,
    };
    const timer = setTimeout(
      () => this.answer(id, false, "deadline"),
      deadlineMs,
    );
    this.#waiting.set(id, { asked, timer, resolve });
    const seconds = Math.round(deadlineMs / 1000);
    say(
      `question ${id} waits ${seconds} s for your answer: softkey approve ${id}`,
    );
    for (const listener of this.#listeners) listener.asked?.(asked);
    return promise;
  }

  #tell(answered: AnsweredQuestion): void {
    const told = [...this.#listeners]
      .map((listener) => listener.answered?.(answered) ?? false);
    if (told.includes(true)) return;
    const { id } = answered.asked;
    this.#options.say(`question ${id} ${describeAnswer(answered)}`);
  }

  #remember(answered: AnsweredQuestion): void {
    const [oldest] = this.#answered.keys();
    if (this.#answered.size >= MOST_ANSWERED && oldest !== undefined) {
      this.#answered.delete(oldest);
    }
    this.#answered.set(answered.asked.id, answered);
  }
}

/** "allowed from another terminal", "refused: nobody answered in time". */
export function describeAnswer(
  { isGranted, by }: Pick<AnsweredQuestion, "isGranted" | "by">,
): string {
  const answer = isGranted ? "allowed" : "declined";
  switch (by) {
    case "here":
      return `${answer} at the softkey's terminal`;
    case "elsewhere":
      return `${answer} from another terminal`;
    case "deadline":
      return "refused: nobody answered in time";
  }
}

/** What is shown at a terminal moves no cursor. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, "?");
}
