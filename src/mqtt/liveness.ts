/**
 * Whether the other end of a sealed session is still there.
 *
 * | end | says | when |
 * | --- | --- | --- |
 * | broker | ping | 15 s after it last heard the device, 5 s while an answer is owed |
 * | broker | over | 10 s after a ping without hearing anything |
 * | device | over | 60 s after it last heard the broker, which pings more often |
 *
 * A timer here is not set again for each message: it goes off at the time that
 * it was set for, looks how long it really has to wait, and waits for the rest.
 *
 * What it does not do: send anything, or know what is sealed.
 *
 * @module
 */

/** A clock that only goes forward, in milliseconds. */
export type Clock = () => number;

const PING_MS = { quiet: 15_000, owed: 5_000 };
const PONG_MS = 10_000;
/** A timer that is later than this was asleep with the whole machine. */
const ASLEEP_MS = 2_000;

/** Calls when it is time, which may be put off as often as one likes. */
class LazyTimer {
  readonly #now: Clock;
  readonly #due: () => number;
  readonly #pass: (lateMs: number) => void;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #setFor = Infinity;

  constructor(now: Clock, due: () => number, pass: (lateMs: number) => void) {
    this.#now = now;
    this.#due = due;
    this.#pass = pass;
  }

  /** It may be due sooner than it was. */
  look(): void {
    const due = this.#due();
    if (due >= this.#setFor) return;
    this.end();
    this.#setFor = due;
    const ms = Math.max(0, Math.ceil(due - this.#now()));
    this.#timer = setTimeout(() => this.#ring(), ms);
  }

  #ring(): void {
    this.#setFor = Infinity;
    const late = this.#now() - this.#due();
    if (late >= 0) this.#pass(late);
    else this.look();
  }

  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#setFor = Infinity;
  }
}

/** What the broker does about a quiet device. */
export interface LivenessOptions {
  readonly now: Clock;
  /** Ask the device for a word. */
  readonly ping: () => void;
  /** It does not answer. */
  readonly over: () => void;
}

/** The broker's eye on a device. */
export class Liveness {
  readonly #options: LivenessOptions;
  readonly #timer: LazyTimer;
  #heardAt: number;
  #pingedAt: number | null = null;
  /** Answers that the device owes, and since when it owes any. */
  #owed = 0;
  #owedSince = 0;

  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#heardAt = options.now();
    const due = () => this.#due();
    this.#timer = new LazyTimer(options.now, due, (late) => this.#pass(late));
    this.#timer.look();
  }

  /** The device said something. */
  heard(): void {
    this.#heardAt = this.#options.now();
    if (this.#pingedAt === null) return;
    this.#pingedAt = null;
    this.#timer.look();
  }

  /** The device owes one more answer. */
  asked(): void {
    this.#owed += 1;
    if (this.#owed > 1) return;
    this.#owedSince = this.#options.now();
    this.#timer.look();
  }

  /** One answer less. */
  answered(): void {
    this.#owed = Math.max(0, this.#owed - 1);
  }

  /** Looks no more. */
  end(): void {
    this.#timer.end();
  }

  #due(): number {
    if (this.#pingedAt !== null) return this.#pingedAt + PONG_MS;
    const quiet = this.#heardAt + PING_MS.quiet;
    if (this.#owed === 0) return quiet;
    const owed = Math.max(this.#heardAt, this.#owedSince) + PING_MS.owed;
    return Math.min(quiet, owed);
  }

  #pass(late: number): void {
    const wasPinged = this.#pingedAt !== null;
    // What the device said meanwhile may wait behind this very timer.
    if (wasPinged && late < ASLEEP_MS) return this.#options.over();
    this.#pingedAt = this.#options.now();
    this.#timer.look();
    if (!wasPinged) this.#options.ping();
  }
}

/** Tells when nothing was heard for a time. */
export class Silence {
  readonly #now: Clock;
  readonly #timer: LazyTimer;
  #heardAt: number;
  #limitMs: number;

  constructor(now: Clock, limitMs: number, tell: () => void) {
    this.#now = now;
    this.#heardAt = now();
    this.#limitMs = limitMs;
    const due = () => this.#heardAt + this.#limitMs;
    this.#timer = new LazyTimer(now, due, (late) => {
      if (late < ASLEEP_MS) return tell();
      this.heard();
      this.#timer.look();
    });
    this.#timer.look();
  }

  /** Something was heard. */
  heard(): void {
    this.#heardAt = this.#now();
  }

  /** Another limit holds, from now on. */
  allow(limitMs: number): void {
    this.#limitMs = limitMs;
    this.heard();
    this.#timer.look();
  }

  /** Listens no more. */
  end(): void {
    this.#timer.end();
  }
}
