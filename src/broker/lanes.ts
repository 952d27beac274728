/**
 * Requests that no device has, and which of them goes next.
 *
 * The more urgent class goes first (`classes.ts`), within a class what was asked
 * first. Who waits rises: each {@linkcode RISE_MS} by one class, up to
 * commitment. So payments overtake an operator's request for two seconds and a
 * handshake for four, and from then on it goes in the order of asking; only what
 * protects money is never risen to. Handshakes wait for their rate besides
 * (`handshakes.ts`), and hold up nobody while they do.
 *
 * @module
 */

import type { Request } from "../unixfd.ts";
import { CLASSES, type RequestClass } from "./classes.ts";
import type { HandshakeLimit } from "./handshakes.ts";

/** One that waits; {@linkcode Lanes} looks at no more of it than this. */
export interface Waiting {
  readonly request: Request;
  readonly class: RequestClass;
  /** Goes before everything else. */
  readonly isUrgent: boolean;
  /** Milliseconds, on the clock of the queue. */
  readonly askedAt: number;
  /** Its place among all that was asked. */
  readonly order: number;
  /** A handshake that the rate let through. */
  isLetThrough: boolean;
}

/** Who waited this long, in milliseconds, counts as one class higher. */
export const RISE_MS = 2_000;

const PROTECTIVE = 0;
const COMMITMENT = 1;

/** The lanes of those that wait, each in the order of asking. */
export class Lanes<T extends Waiting> {
  readonly #limit: HandshakeLimit | null;
  readonly #lanes = CLASSES.map(() => new Set<T>());
  /** The handshake that was found waiting for the rate last. */
  #delayed: T | null = null;
  #delayedSoFar = 0;

  constructor(limit: HandshakeLimit | null) {
    this.#limit = limit;
  }

  /** Handshakes so far that had to wait for the rate. */
  get delayedSoFar(): number {
    return this.#delayedSoFar;
  }

  /** Whether nobody waits. */
  get isEmpty(): boolean {
    return this.#lanes.every((lane) => lane.size === 0);
  }

  /** Milliseconds until the rate lets the next handshake through; null: none waits. */
  get delayMs(): number | null {
    const [first] = this.#lanes.at(-1) ?? [];
    const isDelayed = first !== undefined && !first.isLetThrough;
    return isDelayed && this.#limit !== null ? this.#limit.waitMs : null;
  }

  /** Puts one into its place; it may have been here before. */
  put(waiting: T): void {
    const lane = this.#laneOf(waiting);
    const later = lane.values().filter((other) => isBefore(waiting, other))
      .toArray();
    for (const other of later) lane.delete(other);
    for (const each of [waiting, ...later]) lane.add(each);
  }

  /** It was sent, or nobody waits for it. */
  remove(waiting: T): void {
    this.#laneOf(waiting).delete(waiting);
  }

  /** The one that goes next, at `now`; null when none may. */
  next(
    now: number,
    { isProtectiveOnly }: { readonly isProtectiveOnly: boolean },
  ): T | null {
    let best: { readonly waiting: T; readonly rank: number } | null = null;
    for (const [lane, set] of this.#lanes.entries()) {
      if (isProtectiveOnly && lane > PROTECTIVE) break;
      const waiting = this.#headOf(set);
      if (waiting === null) continue;
      const rank = rankAfter(lane, now - waiting.askedAt);
      const isBetter = best === null || rank < best.rank ||
        rank === best.rank && isBefore(waiting, best.waiting);
      if (isBetter) best = { waiting, rank };
    }
    return best?.waiting ?? null;
  }

  /** The first of a lane; of the handshakes, once the rate lets it through. */
  #headOf(lane: ReadonlySet<T>): T | null {
    const [first] = lane;
    if (first === undefined) return null;
    return this.#isHeldUp(first) ? null : first;
  }

  #isHeldUp(waiting: T): boolean {
    if (waiting.class !== "handshake" || this.#limit === null) return false;
    waiting.isLetThrough ||= this.#limit.take();
    if (waiting.isLetThrough) return false;
    if (this.#delayed !== waiting) this.#delayedSoFar += 1;
    this.#delayed = waiting;
    return true;
  }

  #laneOf(waiting: T): Set<T> {
    const lane = waiting.isUrgent ? PROTECTIVE : CLASSES.indexOf(waiting.class);
    return this.#lanes[lane] ?? new Set();
  }
}

/** The lane as which one counts that has waited in its own for so long. */
function rankAfter(lane: number, waitedMs: number): number {
  if (lane <= COMMITMENT) return lane;
  // A clock that stepped back lets nobody fall.
  const risen = Math.max(0, Math.floor(waitedMs / RISE_MS));
  return Math.max(COMMITMENT, lane - risen);
}

function isBefore(a: Waiting, b: Waiting): boolean {
  return a.isUrgent === b.isUrgent ? a.order < b.order : a.isUrgent;
}
