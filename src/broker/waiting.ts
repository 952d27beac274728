/**
 * Says that somebody is waited for: once, and again at growing intervals.
 *
 * @module
 */

/** Seconds from the first notice to the later ones; the last repeats. */
const INTERVALS_S = [10, 30, 60, 300, 900, 3600] as const;

/** A notice that repeats itself until it is stopped. */
export class WaitingNotice {
  readonly #say: (text: string) => void;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #since = 0;
  #count = 0;

  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  /** Says it now, unless it is being said already. */
  start(text: () => string): void {
    if (this.#timer !== null) return;
    this.#since = performance.now();
    this.#count = 0;
    this.#say(text());
    this.#arm(text);
  }

  /** There is nothing to wait for any more. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm(text: () => string): void {
    const last = INTERVALS_S.length - 1;
    const seconds = INTERVALS_S[Math.min(this.#count, last)] ?? 3600;
    this.#count += 1;
    this.#timer = setTimeout(() => {
      const waited = Math.round((performance.now() - this.#since) / 1000);
      this.#say(`${text()}, for ${waited} s now`);
      this.#arm(text);
    }, seconds * 1000);
  }
}
