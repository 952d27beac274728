/**
 * The numbers behind the table of metrics.
 *
 * Counting costs a lookup and an addition, a few hundred nanoseconds at most:
 * it is done for every request. Nothing is computed until somebody looks.
 *
 * A label may hold what a device said, a rule's tag for one. So each metric has
 * at most {@linkcode MOST_SERIES} series; what comes after those is counted
 * under `other`.
 *
 * What it does not do: write text (`text.ts`), keep anything over a restart.
 *
 * @module
 */

import {
  type LabelsOf,
  type MetricName,
  type MetricOf,
  type MetricRow,
  METRICS,
} from "./rows.ts";

/** Series of one metric that are told apart. */
export const MOST_SERIES = 256;
/** Label values of whatever came after those. */
const OTHER = "other";
/** Between the values of a key; no name out of a table has it. */
const SEPARATOR = "\u001f";

/** One series of a metric. */
export interface Series {
  readonly labels: readonly string[];
  /** The number; of a histogram, the sum of what was observed. */
  readonly value: number;
  /** Of a histogram: how many were observed, and of those in each step alone. */
  readonly count: number;
  readonly steps: readonly number[];
}

/** A series that is counted. */
interface Counted extends Series {
  value: number;
  count: number;
  readonly steps: number[];
}

/** All metrics of one process. */
export class Metrics {
  readonly #series: Readonly<Record<string, Map<string, Counted>>>;
  readonly #beforeReading: (() => void)[] = [];

  constructor() {
    const names = Object.keys(METRICS);
    this.#series = Object.fromEntries(names.map((name) => [name, new Map()]));
  }

  /** Adds to a counter: one, or as many as it says. */
  add<N extends MetricOf<"counter">>(
    name: N,
    labels: LabelsOf<N>,
    count = 1,
  ): void {
    this.#find(name, labels).value += count;
  }

  /** Says what a gauge is now. */
  set<N extends MetricOf<"gauge">>(
    name: N,
    labels: LabelsOf<N>,
    value: number,
  ): void {
    this.#find(name, labels).value = value;
  }

  /** Says what every series of a gauge is now; those not named are gone. */
  replace<N extends MetricOf<"gauge">>(
    name: N,
    all: Iterable<readonly [labels: LabelsOf<N>, value: number]>,
  ): void {
    this.#series[name]?.clear();
    for (const [labels, value] of all) this.set(name, labels, value);
  }

  /** Takes one value into a histogram. */
  observe<N extends MetricOf<"histogram">>(
    name: N,
    labels: LabelsOf<N>,
    value: number,
  ): void {
    const series = this.#find(name, labels);
    series.value += value;
    series.count += 1;
    const step = stepOf(METRICS[name].buckets, value);
    if (step < series.steps.length) series.steps[step] = 1 + at(series, step);
  }

  /** Is called before anybody reads: sets the gauges that nobody keeps. */
  beforeReading(setGauges: () => void): void {
    this.#beforeReading.push(setGauges);
  }

  /** Every metric with its series, as they are now. */
  read(): readonly Reading[] {
    for (const setGauges of this.#beforeReading) setGauges();
    return Object.entries(METRICS).map(([name, row]) => ({
      name,
      row,
      series: [...this.#series[name]?.values() ?? []],
    }));
  }

  /** What a counter or gauge is, or how many a histogram took; 0 for none. */
  valueOf<N extends MetricName>(name: N, labels: LabelsOf<N>): number {
    const series = this.#series[name]?.get(labels.join(SEPARATOR));
    if (series === undefined) return 0;
    return METRICS[name].kind === "histogram" ? series.count : series.value;
  }

  /** The sum over all series of a counter or a gauge. */
  sumOf(name: MetricOf<"counter" | "gauge">): number {
    const values = this.#series[name]?.values() ?? [];
    return [...values].reduce((sum, { value }) => sum + value, 0);
  }

  #find(name: MetricName, labels: readonly string[]): Counted {
    // Joining one value copies it; most metrics have one label or none.
    const key = labels.length === 1 ? labels[0] ?? "" : labels.join(SEPARATOR);
    return this.#series[name]?.get(key) ?? this.#make(name, labels, key);
  }

  #make(name: MetricName, labels: readonly string[], key: string): Counted {
    const all = this.#series[name] ?? new Map<string, Counted>();
    if (all.size >= MOST_SERIES) {
      const others = labels.map(() => OTHER);
      const other = others.join(SEPARATOR);
      return all.get(other) ?? insert(all, other, newSeries(name, others));
    }
    return insert(all, key, newSeries(name, labels));
  }
}

/** A metric as it was read. */
export interface Reading {
  readonly name: string;
  readonly row: MetricRow;
  readonly series: readonly Series[];
}

function newSeries(name: MetricName, labels: readonly string[]): Counted {
  const steps = METRICS[name].buckets.map(() => 0);
  return { labels: [...labels], value: 0, count: 0, steps };
}

function insert(
  all: Map<string, Counted>,
  key: string,
  series: Counted,
): Counted {
  all.set(key, series);
  return series;
}

function at({ steps }: Counted, step: number): number {
  return steps[step] ?? 0;
}

/** The first step that holds the value; their number when none does. */
function stepOf(buckets: readonly number[], value: number): number {
  const step = buckets.findIndex((most) => value <= most);
  return step < 0 ? buckets.length : step;
}
