/**
 * So many in a time: what strangers may ask of us.
 *
 * @module
 */

import type { Clock } from "./liveness.ts";

/** Counts what is taken, and counts anew when the time is over. */
export class Allowance {
  readonly #most: number;
  readonly #ms: number;
  readonly #now: Clock;
  #since = -Infinity;
  #taken = 0;

  constructor({ most, ms }: { most: number; ms: number }, now: Clock) {
    this.#most = most;
    this.#ms = ms;
    this.#now = now;
  }

  /** Takes one; false when there is none left. */
  take(): boolean {
    const now = this.#now();
    if (now - this.#since >= this.#ms) {
      this.#since = now;
      this.#taken = 0;
    }
    this.#taken += 1;
    return this.#taken <= this.#most;
  }
}
