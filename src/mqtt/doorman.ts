/**
 * Keeps connections at the door of the MQTT server until they have said a whole
 * CONNECT, and lets in so many at a time.
 *
 * A connection inside costs a parser, timers and a login with a signature to
 * recover; one at the door costs the bytes that it said. So whoever says nothing,
 * or no MQTT, is never let in, and of those that ask to be let in at once only a
 * few get their turn: the time that strangers take is bounded, and the rest is
 * for the requests of the node.
 *
 * | at the door | what becomes of it |
 * | --- | --- |
 * | a whole CONNECT | let in: {@linkcode PER_TURN} in {@linkcode TURN_MS} ms, the newest first |
 * | another packet, or a long one | dropped at once |
 * | no CONNECT in {@linkcode PATIENCE_MS} ms | dropped, {@linkcode DROPS_PER_TURN} in a turn |
 * | no room for another connection | the oldest at the door is dropped |
 *
 * The newest first, because a device that comes back during a flood then waits
 * for those that came in the same moment, not for all that came before. Dropped
 * in turns, because what is dropped together comes back together.
 *
 * What it does not do: know anybody. Addresses can be had for nothing, and who
 * says a true name is known only after the login.
 *
 * @module
 */

import type { Duplex } from "node:stream";
import type { PacketGuard } from "./packet_guard.ts";

/** Length of a turn, in milliseconds. */
export const TURN_MS = 20;
/** Let in during one turn, 100 in a second: each may cost a millisecond or two. */
export const PER_TURN = 2;
/** Dropped during one turn because they said nothing. */
export const DROPS_PER_TURN = 20;
/** From the start of a connection to its CONNECT, as the original has it. */
export const PATIENCE_MS = 5_000;

/** Type and flags of a CONNECT (MQTT 3.1.1 §3.1.1). */
const CONNECT = 0x10;
/** What may be said while waiting: a CONNECT and what follows it at once. */
const MOST_SAID = 8_192;

/** Who stands at the door. */
export interface Caller {
  readonly stream: Duplex;
  /** Follows what the stream says, before and after it is let in. */
  readonly guard: PacketGuard;
  /** It goes in; what it said so far, and nothing listens to it any more. */
  readonly enter: (said: readonly Uint8Array[]) => void;
  /** It is dropped; why, fit for a log. */
  readonly refuse: (reason: string) => void;
}

/** One that waits. */
interface Waiting extends Caller {
  readonly said: Uint8Array[];
  readonly until: number;
  /** No longer listens to the stream. */
  readonly detach: () => void;
}

/** All that wait to be let in. */
export class Doorman implements Disposable {
  readonly #now: () => number;
  /** All of them, the oldest first. */
  readonly #waiting = new Set<Waiting>();
  /** Those of them that said a CONNECT, in that order. */
  readonly #asking = new Set<Waiting>();
  /** How many more may go in during this turn. */
  #room = PER_TURN;
  #turnBegan = -Infinity;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wakesAt: number | null = null;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** How many stand at the door. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Takes a connection that has just begun. */
  hold(caller: Caller): void {
    const { stream } = caller;
    const hear = (chunk: Uint8Array) => this.#hear(waiting, chunk);
    const leave = () => {
      this.#forget(waiting);
      stream.destroy();
    };
    const waiting: Waiting = {
      ...caller,
      said: [],
      until: this.#now() + PATIENCE_MS,
      detach: () => {
        stream.off("data", hear).off("end", leave).off("close", leave);
      },
    };
    this.#waiting.add(waiting);
    stream.on("error", () => {}); // a close follows
    stream.on("data", hear).on("end", leave).on("close", leave);
    this.#schedule();
  }

  /** Makes room for a newcomer; false when nobody stands here. */
  dropOldest(): boolean {
    const [oldest] = this.#waiting;
    if (oldest === undefined) return false;
    this.#drop(oldest, "too many connections");
    return true;
  }

  /** Sends all of them away, without a word. */
  [Symbol.dispose](): void {
    for (const waiting of this.#waiting) {
      this.#forget(waiting);
      waiting.stream.destroy();
    }
    clearTimeout(this.#timer);
  }

  #hear(waiting: Waiting, chunk: Uint8Array): void {
    const { said, guard } = waiting;
    said.push(chunk);
    const problem = guard.problemIn(chunk) ?? problemOf(said);
    if (problem !== null) return this.#drop(waiting, problem);
    if (!guard.hasPassedWhole || this.#asking.has(waiting)) return;
    this.#asking.add(waiting);
    this.#letIn();
    this.#schedule();
  }

  /** As many as this turn has room for. */
  #letIn(): void {
    while (this.#room > 0 && this.#asking.size > 0) {
      const newest = [...this.#asking].at(-1);
      if (newest === undefined) return;
      if (this.#room === PER_TURN) this.#turnBegan = this.#now();
      this.#room -= 1;
      this.#forget(newest);
      newest.enter(newest.said);
    }
  }

  #turn(): void {
    const now = this.#now();
    this.#wakesAt = null;
    this.#room = PER_TURN;
    this.#turnBegan = now;
    for (const waiting of this.#waiting.values().take(DROPS_PER_TURN)) {
      if (waiting.until > now) break;
      this.#drop(waiting, `no CONNECT in ${PATIENCE_MS / 1_000} s`);
    }
    this.#letIn();
    this.#schedule();
  }

  /** Wakes for the next turn, if one is needed, or for who is here longest. */
  #schedule(): void {
    const at = this.#nextAt();
    if (at === this.#wakesAt) return;
    this.#wakesAt = at;
    clearTimeout(this.#timer);
    if (at === null) return;
    const inMs = Math.max(Math.ceil(at - this.#now()), 0);
    this.#timer = setTimeout(() => this.#turn(), inMs);
  }

  #nextAt(): number | null {
    const turnEnds = this.#turnBegan + TURN_MS;
    if (this.#room < PER_TURN) return turnEnds;
    const [oldest] = this.#waiting;
    return oldest === undefined ? null : Math.max(oldest.until, turnEnds);
  }

  #drop(waiting: Waiting, reason: string): void {
    this.#forget(waiting);
    waiting.stream.destroy();
    waiting.refuse(reason);
  }

  #forget(waiting: Waiting): void {
    waiting.detach();
    this.#waiting.delete(waiting);
    this.#asking.delete(waiting);
  }
}

function problemOf(said: readonly Uint8Array[]): string | null {
  const first = said[0]?.[0];
  if (first !== undefined && first !== CONNECT) return "no CONNECT first";
  const length = said.reduce((sum, piece) => sum + piece.length, 0);
  return length > MOST_SAID ? "more than a CONNECT before its answer" : null;
}
