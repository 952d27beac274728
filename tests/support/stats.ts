/** Percentiles of measured times. @module */

/** The value below which `share` (0 to 1) of the sorted sample lies. */
export function percentile(sample: readonly number[], share: number): number {
  const sorted = sample.toSorted((a, b) => a - b);
  const index = Math.min(
    sorted.length - 1,
    Math.floor(sorted.length * share),
  );
  return sorted[index] ?? Number.NaN;
}

/** Milliseconds for a table. */
export function ms(value: number): string {
  return value.toFixed(2).padStart(8);
}
