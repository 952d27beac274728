/**
 * Keeps a line that repeats itself from filling the log.
 *
 * A device that is refused comes back, again and again, and is refused for the
 * same reason. The first time is news; after that the line is written at growing
 * distances, with the number of times in between.
 *
 * @module
 */

/** Seconds to the next line of the same kind: doubled each time, up to an hour. */
const FIRST_PAUSE_S = 10;
const LONGEST_PAUSE_S = 3600;
/** Kinds that are remembered; past it the oldest is forgotten. */
const MOST_KINDS = 256;

interface Kind {
  nextAt: number;
  pauseS: number;
  skipped: number;
}

/** Remembers what was said lately. */
export class Repeats {
  readonly #now: () => number;
  readonly #kinds = new Map<string, Kind>();

  /** `now` is in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The text to write for a line of this kind, or null for none this time. */
  filter(kind: string, text: string): string | null {
    const now = this.#now();
    const known = this.#kinds.get(kind);
    if (known === undefined) {
      this.#remember(kind, now);
      return text;
    }
    if (now < known.nextAt) {
      known.skipped += 1;
      return null;
    }
    known.pauseS = Math.min(known.pauseS * 2, LONGEST_PAUSE_S);
    known.nextAt = now + known.pauseS * 1000;
    const times = known.skipped;
    known.skipped = 0;
    return times === 0 ? text : `${text} (and ${times} times more since)`;
  }

  #remember(kind: string, now: number): void {
    const [oldest] = this.#kinds.keys();
    if (this.#kinds.size >= MOST_KINDS && oldest !== undefined) {
      this.#kinds.delete(oldest);
    }
    this.#kinds.set(kind, {
      nextAt: now + FIRST_PAUSE_S * 1000,
      pauseS: FIRST_PAUSE_S,
      skipped: 0,
    });
  }
}
