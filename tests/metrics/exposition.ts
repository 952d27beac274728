/**
 * Reads the exposition format of Prometheus 0.0.4, with the rules of
 * `promtool check metrics`: anything that is not by the book throws.
 *
 * @module
 */

import assert from "node:assert/strict";

/** One line with a number. */
export interface Sample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric with its samples. */
export interface Family {
  readonly name: string;
  readonly type: string;
  readonly help: string;
  readonly samples: readonly Sample[];
}

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const TYPES = ["counter", "gauge", "histogram"];

/** All metrics in a text. */
export function readExposition(text: string): readonly Family[] {
  assert.ok(text === "" || text.endsWith("\n"), "no line end at the end");
  const families: (Family & { samples: Sample[] })[] = [];
  let help = "";
  for (const line of text.split("\n").slice(0, -1)) {
    const [, kind, name = "", rest = ""] =
      /^# (HELP|TYPE) (\S+) (.*)$/.exec(line) ?? [];
    if (kind === "HELP") {
      help = unescape(rest, "\\n");
    } else if (kind === "TYPE") {
      assert.match(name, NAME);
      assert.ok(TYPES.includes(rest), `type ${rest}`);
      assert.ok(!families.some((one) => one.name === name), `${name} twice`);
      families.push({ name, type: rest, help, samples: [] });
    } else {
      const family = families.at(-1);
      assert.ok(family !== undefined, `${line} before any TYPE`);
      family.samples.push(readSample(line));
    }
  }
  for (const family of families) checkFamily(family);
  return families;
}

function readSample(line: string): Sample {
  const [, name = "", labels = "", value = ""] =
    /^([^\s{]+)(?:\{(.*)\})? (\S+)$/s.exec(line) ?? [];
  assert.match(name, NAME, line);
  return { name, labels: readLabels(labels), value: readNumber(value) };
}

function readLabels(text: string): Readonly<Record<string, string>> {
  const pair = /([^=,]+)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/gy;
  const labels: Record<string, string> = {};
  while (pair.lastIndex < text.length) {
    const match = pair.exec(text);
    assert.ok(match !== null, `labels ${text}`);
    const [, name = "", value = ""] = match;
    assert.match(name, LABEL);
    assert.ok(!(name in labels), `label ${name} twice`);
    labels[name] = unescape(value, '\\n"');
  }
  return labels;
}

function unescape(text: string, known: string): string {
  return text.replace(/\\(.?)/gs, (_all, sign: string) => {
    assert.ok(sign !== "" && known.includes(sign), `escape \\${sign}`);
    return sign === "n" ? "\n" : sign;
  });
}

function readNumber(text: string): number {
  if (text === "+Inf") return Infinity;
  if (text === "-Inf") return -Infinity;
  if (text === "NaN") return NaN;
  assert.match(text, /^[-+]?\d+(\.\d+)?([eE][-+]?\d+)?$/);
  return Number(text);
}

function checkFamily({ name, type, help, samples }: Family): void {
  assert.ok(help.length > 0, `${name}: no help text`);
  const isTotal = name.endsWith("_total");
  assert.equal(type === "counter", isTotal, `${name}: _total is for counters`);
  assert.ok(!/_(count|sum|bucket|info)$/.test(name), `${name}: reserved end`);
  assert.ok(!/milli|micro|minute|hour/.test(name), `${name}: no base unit`);
  const series = samples.map(({ name: own, labels }) =>
    JSON.stringify([own, Object.entries(labels).sort()])
  );
  assert.equal(new Set(series).size, series.length, `${name}: a series twice`);
  if (type === "histogram") checkHistogram(name, samples);
  else for (const sample of samples) assert.equal(sample.name, name);
}

/** The steps of each series rise, end at +Inf, and that is the count. */
function checkHistogram(name: string, samples: readonly Sample[]): void {
  const groups = Map.groupBy(
    samples,
    ({ labels: { le: _le, ...others } }) =>
      JSON.stringify(Object.entries(others).sort()),
  );
  for (const group of groups.values()) {
    const steps = group.filter((one) => one.name === `${name}_bucket`);
    const bounds = steps.map(({ labels }) => readNumber(labels["le"] ?? ""));
    const counts = steps.map(({ value }) => value);
    assert.deepEqual(bounds, bounds.toSorted((a, b) => a - b));
    assert.equal(bounds.at(-1), Infinity);
    assert.deepEqual(counts, counts.toSorted((a, b) => a - b));
    const count = group.filter((one) => one.name === `${name}_count`);
    assert.deepEqual(count.map(({ value }) => value), [counts.at(-1)]);
    assert.equal(group.filter((one) => one.name === `${name}_sum`).length, 1);
    assert.equal(group.length, steps.length + 2);
  }
}
