/**
 * How much has gone out lately, and whether more may.
 *
 * Time is cut into intervals, one bucket each; the newest is first. What is
 * counted is what stands in the buckets, so a window reaches back between one
 * interval less than its name and its whole name. What is shown to the owner is
 * computed as what is enforced.
 *
 * Arithmetic: VLS §4.8. Different from there: the window survives a restart,
 * and a clock that runs backwards moves nothing instead of wrapping around.
 *
 * What it does not do: read a clock, keep a state.
 *
 * @module
 */

import type { Msat } from "../wire/types.ts";

/** How a window is cut. */
export interface VelocityWindow {
  readonly buckets: number;
  /** Seconds that one bucket stands for. */
  readonly interval: bigint;
}

/** The windows that a limit may have. */
export const WINDOWS = {
  hour: { buckets: 12, interval: 300n },
  day: { buckets: 24, interval: 3600n },
  /** Kept like an hour, so that a limit that is set later knows of it. */
  unlimited: { buckets: 12, interval: 300n },
} as const satisfies Record<string, VelocityWindow>;

/** What may go out in a window. */
export interface VelocityLimit {
  readonly kind: keyof typeof WINDOWS;
  readonly limit: Msat;
}

/** The limit of what has none. */
export const UNLIMITED: VelocityLimit = {
  kind: "unlimited",
  // The largest amount, in its unit.
  limit: 0xffff_ffff_ffff_ffffn as Msat,
};

/** What has gone out: `records.ts` has the format. */
export interface VelocityState {
  /** Unix seconds at which the newest bucket starts. */
  readonly start: bigint;
  /** Newest first; none for nothing yet. */
  readonly buckets: readonly Msat[];
}

/** How an attempt ended. */
export interface Insertion {
  readonly state: VelocityState;
  /** Whether the amount fits; only then it is counted. */
  readonly isWithin: boolean;
}

const NOTHING = 0n as Msat;

/** Counts an amount if it fits. Time is in Unix seconds. */
export function insertVelocity(
  { kind, limit }: VelocityLimit,
  state: VelocityState,
  now: bigint,
  amount: Msat,
): Insertion {
  return insertInWindow(WINDOWS[kind], limit, { state, now, amount });
}

/** One attempt on a window of any cut. */
export interface Attempt {
  readonly state: VelocityState;
  readonly now: bigint;
  readonly amount: Msat;
}

/** The same for a window that is no row of {@link WINDOWS}. */
export function insertInWindow(
  window: VelocityWindow,
  limit: Msat,
  { state, now, amount }: Attempt,
): Insertion {
  const moved = moveTo(window, state, now);
  if (sum(moved.buckets) + amount > limit) {
    return { state: moved, isWithin: false };
  }
  const [newest = NOTHING, ...older] = moved.buckets;
  // A sum of amounts is one; it is at most the limit, which is a u64.
  const buckets = [newest + amount as Msat, ...older];
  return { state: { ...moved, buckets }, isWithin: true };
}

/** What counts against a limit at a time. */
export function spentIn(
  { kind }: VelocityLimit,
  state: VelocityState,
  now: bigint,
): Msat {
  // A sum of amounts is one.
  return sum(moveTo(WINDOWS[kind], state, now).buckets) as Msat;
}

function moveTo(
  { buckets: length, interval }: VelocityWindow,
  state: VelocityState,
  now: bigint,
): VelocityState {
  const buckets = fitTo(length, state.buckets);
  if (now < state.start) return { start: state.start, buckets };
  const passed = (now - state.start) / interval;
  const shift = passed < BigInt(length) ? Number(passed) : length;
  const empty = Array.from({ length: shift }, () => NOTHING);
  return {
    start: now - now % interval,
    buckets: [...empty, ...buckets.slice(0, length - shift)],
  };
}

/**
 * As many buckets as the window has. What an older, longer window counted goes
 * to the last one: a limit that was changed forgets nothing.
 */
function fitTo(length: number, buckets: readonly Msat[]): Msat[] {
  const kept = buckets.slice(0, length);
  const rest = sum(buckets.slice(length));
  while (kept.length < length) kept.push(NOTHING);
  const last = kept[length - 1] ?? NOTHING;
  kept[length - 1] = last + rest as Msat;
  return kept;
}

function sum(buckets: readonly Msat[]): bigint {
  return buckets.reduce((total: bigint, amount) => total + amount, 0n);
}
