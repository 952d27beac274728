/**
 * Writes the book while a softkey runs: with the commits that signing needs
 * anyway, and with as few of its own as can be.
 *
 * ```
 * line of a signature --- state changes too? -- yes --> one commit for both
 *                              | no
 *                              |-- says what a line before said --> waits, 1 s
 *                              '-- else ------------------------> a commit
 * ```
 *
 * Lines that wait go with the next commit, whatever it is for; they are in order.
 *
 * What it does not do: make lines (`ledger.ts`), decide what happens when the
 * card fails (`desk.ts`).
 *
 * @module
 */

import type { Change, NewLine, Store } from "../store/store.ts";
import { type LedgerEntry, newLine } from "./ledger.ts";
import { LineLimit } from "./line_limit.ts";

/** How long a line waits at most. */
const WAIT_MS = 1000;
/** Lines that wait at most: what comes then is written at once. */
const MOST_WAITING = 1024;

/** What a writer works with. */
export interface WriterOptions {
  readonly store: Store;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** Hears of a commit that failed and that no request waits for. */
  readonly fail: (error: unknown) => void;
}

/** One step's changes and lines. */
export interface Keeping {
  readonly changes: readonly Change[];
  readonly entry: LedgerEntry | null;
  /** Whether the line may be written after the reply has left. */
  readonly mayWait: boolean;
}

/** Commits, and the lines that go with them. */
export class LedgerWriter {
  readonly #options: WriterOptions;
  readonly #refusals = new LineLimit();
  readonly #questions = new LineLimit("each");
  #waiting: NewLine[] = [];
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(options: WriterOptions) {
    this.#options = options;
  }

  /** What a step wants kept: one commit, or none. @throws {StoreError} */
  keep({ changes, entry, mayWait }: Keeping): void {
    const lines = entry === null ? [] : [this.#line(entry)];
    const isNothing = changes.length === 0 && lines.length === 0;
    // A store that cannot tell what it holds says so even then.
    if (isNothing) this.#options.store.commit([]);
    else if (mayWait && changes.length === 0) this.#wait(lines);
    else this.#commit(changes, lines);
  }

  /** A line of its own, durable when this returns. @throws {StoreError} */
  note(entry: LedgerEntry): void {
    this.#commit([], [this.#line(entry)]);
  }

  /** The same; a card that fails is told of, and nothing else. */
  tell(entry: LedgerEntry): void {
    this.#flush([this.#line(entry)]);
  }

  /** A line that anybody who asks can bring about: of a kind, within bounds. */
  tellWithinBounds(entry: LedgerEntry, what: string): void {
    this.#tellBy(this.#refusals, entry, what);
  }

  /** The same, but each one has its line while there is no flood of them. */
  tellEachWithinBounds(entry: LedgerEntry, what: string): void {
    this.#tellBy(this.#questions, entry, what);
  }

  #tellBy(limit: LineLimit, entry: LedgerEntry, what: string): void {
    const isDue = this.#collect();
    const taken = limit.take(entry, what, this.#options.now());
    if (taken !== null) this.#flush([this.#line(taken)]);
    else if (isDue) this.#flush([]);
  }

  /** Writes what waits, and what was only counted. */
  close(): void {
    this.#collect(true);
    this.#flush([]);
    this.stop();
  }

  /** Writes nothing any more by itself. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #line(entry: LedgerEntry): NewLine {
    return newLine(entry, this.#options.now());
  }

  /** Counts whose time is over wait for the next commit. */
  #collect(isEnd = false): boolean {
    const now = this.#options.now();
    const counts = [this.#refusals, this.#questions]
      .flatMap((limit) => limit.due(now, isEnd));
    this.#waiting.push(...counts.map((each) => this.#line(each)));
    return counts.length > 0;
  }

  /** One commit for all of it, and for the lines that wait. */
  #commit(changes: readonly Change[], lines: readonly NewLine[]): void {
    this.#collect();
    this.#options.store.commit(changes, [...this.#waiting, ...lines]);
    this.#waiting = [];
    this.stop();
  }

  #wait(lines: readonly NewLine[]): void {
    if (this.#waiting.length >= MOST_WAITING) return this.#commit([], lines);
    this.#waiting.push(...lines);
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#flush([]);
    }, WAIT_MS);
  }

  #flush(lines: readonly NewLine[]): void {
    if (lines.length === 0 && this.#waiting.length === 0) return;
    try {
      this.#commit([], lines);
    } catch (error) {
      this.#options.fail(error);
    }
  }
}
