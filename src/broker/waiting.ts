/**
 * Says that somebody is waited for: once, and again at growing intervals.
 *
 * @module
 */

/** Seconds from one notice to the next; the last repeats. */
const INTERVALS_S = [10, 30, 60, 300, 900, 3600] as const;

/** A notice that repeats itself until it is stopped. */
export class WaitingNotice {
  readonly #say: (text: string) => void;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #key = "";
  #since = 0;
  #count = 0;

  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  /**
   * Says it, now or after the first interval, unless this very thing is being
   * said already. `text` is asked each time; null says nothing.
   */
  start(
    key: string,
    text: (waited: string) => string | null,
    { isLater = false }: { readonly isLater?: boolean } = {},
  ): void {
    if (this.#timer !== null && this.#key === key) return;
    this.stop();
    this.#key = key;
    this.#since = performance.now();
    this.#count = 0;
    const now = isLater ? null : text("");
    if (now !== null) this.#say(now);
    this.#arm(text);
  }

  /** There is nothing to wait for any more. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm(text: (waited: string) => string | null): void {
    const last = INTERVALS_S.length - 1;
    const seconds = INTERVALS_S[Math.min(this.#count, last)] ?? 3600;
    this.#count += 1;
    this.#timer = setTimeout(() => {
      const waited = Math.round((performance.now() - this.#since) / 1000);
      const line = text(`, for ${waited} s now`);
      if (line !== null) this.#say(line);
      this.#arm(text);
    }, seconds * 1000);
  }
}
