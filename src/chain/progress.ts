/**
 * How a long catch-up goes, for the log: how far, how fast, how much longer.
 *
 * @module
 */

/** Blocks below which nothing is said. */
const LONG = 100;
/** Milliseconds from one line to the next. */
const EVERY_MS = 5_000;

/** Watches a device go from one height to another. */
export class Progress {
  readonly #now: () => number;
  #started: { readonly height: number; readonly at: number } | null = null;
  #saidAt = 0;
  #isLong = false;

  /** `now` is in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** A line that is due at this height, or null. */
  at(height: number, tip: number): string | null {
    const now = this.#now();
    if (this.#started === null || height < this.#started.height) {
      this.#started = { height, at: now };
      this.#saidAt = now;
      this.#isLong = tip - height > LONG;
      if (!this.#isLong) return null;
      return `the device is at block ${height} of ${tip}: catching up`;
    }
    if (!this.#isLong || now - this.#saidAt < EVERY_MS) return null;
    this.#saidAt = now;
    const rate = this.#rate(height, now);
    const left = rate > 0 ? ` ${spanText((tip - height) / rate)} left` : "";
    return `the device is at block ${height} of ${tip}: ` +
      `${showRate(rate)} blocks a second,${left}`;
  }

  /** It ended early, or begins anew. */
  reset(): void {
    this.#started = null;
    this.#isLong = false;
  }

  /** The device has the tip: the last line, or null when there was no first. */
  done(height: number): string | null {
    const started = this.#started;
    const wasLong = this.#isLong;
    this.reset();
    if (started === null || !wasLong) return null;
    const now = this.#now();
    const rate = height - started.height === 0
      ? 0
      : (height - started.height) / Math.max(1, now - started.at) * 1000;
    return `the device has the tip, block ${height}: ` +
      `${height - started.height} blocks in ` +
      `${spanText((now - started.at) / 1000)}, ${showRate(rate)} a second`;
  }

  #rate(height: number, now: number): number {
    const { height: first, at } = this.#started ?? { height, at: now };
    return now > at ? (height - first) / (now - at) * 1000 : 0;
  }
}

function showRate(rate: number): string {
  return rate >= 10 ? rate.toFixed(0) : rate.toFixed(1);
}

/** Seconds as people say them. */
function spanText(seconds: number): string {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${(minutes / 60).toFixed(1)} h`;
}
