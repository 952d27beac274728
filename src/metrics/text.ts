/**
 * Metrics as text, in the exposition format of Prometheus, version 0.0.4.
 *
 *     # HELP remote_hsmd_refusals_total Requests that a device refused, by rule
 *     # TYPE remote_hsmd_refusals_total counter
 *     remote_hsmd_refusals_total{rule="policy-commitment-balance"} 3
 *
 * A label value escapes backslash, double quote and line feed; a help text
 * backslash and line feed. The steps of a histogram are cumulative, the last is
 * `+Inf` and equals the count.
 *
 * @module
 */

import type { Metrics, Reading, Series } from "./metrics.ts";

/** Content-Type of the text. */
export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/**
 * All metrics. One that was never touched has no series, but for sums and
 * histograms without labels: those are 0.
 */
export function metricsText(metrics: Metrics): string {
  return metrics.read().map(metricLines).join("");
}

function metricLines({ name, row, series }: Reading): string {
  const head = `# HELP ${name} ${escapeHelp(row.help)}\n` +
    `# TYPE ${name} ${row.kind}\n`;
  // Nothing was counted is a count; nothing was measured is no measure.
  const isBare = series.length === 0 && row.labels.length === 0 &&
    row.kind !== "gauge";
  const all = isBare ? [emptySeries(row.buckets.length)] : series;
  return head + all.map((one) => seriesLines(name, row, one)).join("");
}

function emptySeries(steps: number): Series {
  return { labels: [], value: 0, count: 0, steps: Array(steps).fill(0) };
}

function seriesLines(
  name: string,
  { kind, labels, buckets }: Reading["row"],
  series: Series,
): string {
  const pairs = labels.map((label, index) =>
    pair(label, series.labels[index] ?? "")
  );
  if (kind !== "histogram") return line(name, pairs, series.value);
  let sum = 0;
  const steps = buckets.map((most, step) => {
    sum += series.steps[step] ?? 0;
    return line(`${name}_bucket`, [...pairs, pair("le", `${most}`)], sum);
  });
  return [
    ...steps,
    line(`${name}_bucket`, [...pairs, pair("le", "+Inf")], series.count),
    line(`${name}_sum`, pairs, series.value),
    line(`${name}_count`, pairs, series.count),
  ].join("");
}

function line(name: string, pairs: readonly string[], value: number): string {
  const labels = pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
  return `${name}${labels} ${showNumber(value)}\n`;
}

function pair(label: string, value: string): string {
  return `${label}="${escapeValue(value)}"`;
}

function escapeValue(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')
    .replaceAll("\n", "\\n");
}

function escapeHelp(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

/** As Go reads it, which is what reads it. */
function showNumber(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : `${value}`;
}
