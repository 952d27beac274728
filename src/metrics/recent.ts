/**
 * How long things took lately: the last few of each class, and what an operator
 * asks about them (the middle one, the slow ones, the slowest).
 *
 * Histograms count since the start and know their steps only; this forgets, and
 * is exact. Taking one in costs a write to an array; sorting is left to whoever
 * looks.
 *
 * @module
 */

/** How many of each class are kept. */
export const KEPT = 512;
/** Classes that are told apart. */
const MOST_CLASSES = 32;

/** What the last few of a class took, in milliseconds. */
export interface RecentSummary {
  readonly class: string;
  /** How many these figures are made of. */
  readonly count: number;
  readonly medianMs: number;
  /** 99 of 100 were not slower. */
  readonly p99Ms: number;
  readonly mostMs: number;
}

interface Ring {
  readonly values: Float64Array;
  taken: number;
}

/** The last {@linkcode KEPT} durations of each class. */
export class RecentTimes {
  readonly #rings = new Map<string, Ring>();

  /** Takes one in, in milliseconds. */
  take(kind: string, ms: number): void {
    const ring = this.#rings.get(kind) ?? this.#add(kind);
    if (ring === null) return;
    ring.values[ring.taken % KEPT] = ms;
    ring.taken += 1;
  }

  /** A row for each class, in the order in which they came first. */
  summaries(): readonly RecentSummary[] {
    return [...this.#rings].map(([kind, { values, taken }]) => {
      const sorted = values.slice(0, Math.min(taken, KEPT)).sort();
      return {
        class: kind,
        count: sorted.length,
        medianMs: rank(sorted, 0.5),
        p99Ms: rank(sorted, 0.99),
        mostMs: rank(sorted, 1),
      };
    });
  }

  #add(kind: string): Ring | null {
    if (this.#rings.size >= MOST_CLASSES) return null;
    const ring = { values: new Float64Array(KEPT), taken: 0 };
    this.#rings.set(kind, ring);
    return ring;
  }
}

/** The nearest rank: the smallest value that this share of all is not above. */
function rank(sorted: Float64Array, share: number): number {
  const index = Math.max(0, Math.ceil(share * sorted.length) - 1);
  return sorted[index] ?? 0;
}
