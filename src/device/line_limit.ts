/**
 * Bounds on lines that a request alone can bring about: refusals, questions, and
 * questions that nobody answered.
 *
 * The book is bounded, and its oldest lines make room for new ones. Whoever could
 * have a thousand refusals written a second could have everything else forgotten.
 * So the same refusal is written once in ten minutes, another one of its kind
 * once a minute, and all together 60 at once and then one a minute; what is not
 * written is counted, and the count is. Questions come seldom, and the owner
 * wants to find each: they have 60 lines and one a minute of their own, and
 * nothing else holds them back.
 *
 * | what comes | what is written |
 * | --- | --- |
 * | the first of its kind | a line |
 * | the same text, within 10 minutes | nothing; counted |
 * | another text of that kind, a minute later or more | a line |
 * | more than that, or more kinds than are told apart | nothing; counted |
 * | ten minutes are over, or the softkey stops | a line with the count, if any |
 *
 * What it does not do: refuse. It only says less.
 *
 * @module
 */

import type { LedgerEntry } from "./ledger.ts";

/** The same text is not written again for this long. */
const SAME_MS = 600_000;
/** Another text of the same kind, for this long. */
const KIND_MS = 60_000;
/** Kinds that are told apart; the others share one. */
const MOST_KINDS = 16;
/** Lines that may be written at once, and how long it takes to earn one more. */
const BURST = 60;
const EARN_MS = 60_000;

interface Tally {
  readonly since: number;
  /** Time of the last line, and its text. */
  written: number;
  text: string;
  count: number;
  readonly entry: LedgerEntry;
}

/** Decides which of many entries become lines. */
export class LineLimit {
  readonly #of: "kind" | "each";
  readonly #tallies = new Map<string, Tally>();
  #credit = BURST;
  #earned: number | null = null;

  /** "each": a line for every entry, as long as any may be written. */
  constructor(of: "kind" | "each" = "kind") {
    this.#of = of;
  }

  /** The entry when it is to be written; null when it was counted. */
  take(entry: LedgerEntry, what: string, now: number): LedgerEntry | null {
    const tally = this.#tallies.get(what) ?? this.#begin(entry, what, now);
    const isNew = this.#of === "each" || tally.written < 0 ||
      entry.text !== tally.text && now - tally.written >= KIND_MS;
    if (!isNew || !this.#spend(now)) {
      tally.count += 1;
      return null;
    }
    tally.written = now;
    tally.text = entry.text;
    return entry;
  }

  #begin(entry: LedgerEntry, what: string, now: number): Tally {
    const isMany = this.#tallies.size >= MOST_KINDS;
    const name = isMany ? "" : what;
    const known = this.#tallies.get(name);
    if (known !== undefined) return known;
    const tally = { since: now, written: -1, text: "", count: 0, entry };
    this.#tallies.set(name, tally);
    return tally;
  }

  #spend(now: number): boolean {
    const since = this.#earned ?? now;
    const earned = Math.max(0, Math.floor((now - since) / EARN_MS));
    this.#credit = Math.min(BURST, this.#credit + earned);
    this.#earned = since + earned * EARN_MS;
    if (this.#credit === 0) return false;
    this.#credit -= 1;
    return true;
  }

  /** Counts whose time is over; all of them at the end. */
  due(now: number, isEnd = false): readonly LedgerEntry[] {
    const over = [...this.#tallies].filter(([, { since }]) =>
      isEnd || now - since >= SAME_MS || now < since
    );
    for (const [name] of over) this.#tallies.delete(name);
    return over.flatMap(([name, { count, entry, since }]) => {
      if (count === 0) return [];
      const { kind } = entry;
      const minutes = Math.max(1, Math.ceil((now - since) / 60_000));
      const what = name === "" ? "of other kinds" : `of ${name}`;
      const text = `… and ${count} more ${what} in ${minutes} min`;
      return [{ kind, text }];
    });
  }
}
