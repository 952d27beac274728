/**
 * A clock that a test moves, and timers that go by it.
 *
 * @module
 */

interface Timer {
  readonly id: number;
  readonly at: number;
  readonly ring: () => void;
}

/** Takes the place of the runtime's timers until it is disposed of. */
export class FakeClock implements Disposable {
  readonly #set = globalThis.setTimeout;
  readonly #clear = globalThis.clearTimeout;
  #timers: Timer[] = [];
  #ids = 0;
  #now = 1_000_000;

  constructor() {
    Object.assign(globalThis, {
      setTimeout: (ring: () => void, ms = 0) => {
        this.#ids += 1;
        this.#timers.push({ id: this.#ids, at: this.#now + ms, ring });
        return this.#ids;
      },
      clearTimeout: (id: number) => {
        this.#timers = this.#timers.filter((timer) => timer.id !== id);
      },
    });
  }

  /** Milliseconds. */
  readonly now = (): number => this.#now;

  /** How many timers are set. */
  get timers(): number {
    return this.#timers.length;
  }

  /** When the next timer goes off; null without one. */
  get next(): number | null {
    const times = this.#timers.map(({ at }) => at);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** Lets time pass: every timer at its time, then what it set off. */
  async pass(ms: number, meanwhile: () => void = () => {}): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const next = this.next;
      if (next === null || next > end) break;
      this.#now = Math.max(this.#now, next);
      this.#ring();
      meanwhile();
      await Promise.resolve();
    }
    this.#now = end;
  }

  /** The machine sleeps: time passes and nothing goes off until it wakes. */
  sleep(ms: number): void {
    this.#now += ms;
    this.#ring();
  }

  #ring(): void {
    const due = this.#timers.filter(({ at }) => at <= this.#now);
    this.#timers = this.#timers.filter(({ at }) => at > this.#now);
    for (const { ring } of due) ring();
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, {
      setTimeout: this.#set,
      clearTimeout: this.#clear,
    });
  }
}
