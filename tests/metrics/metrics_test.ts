/**
 * Metrics: what was counted is what is written, and the writing is by the book.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Metrics, MOST_SERIES } from "../../src/metrics/metrics.ts";
import { KEPT, RecentTimes } from "../../src/metrics/recent.ts";
import { METRICS } from "../../src/metrics/rows.ts";
import { metricsText } from "../../src/metrics/text.ts";
import { readExposition, type Sample } from "./exposition.ts";

function samplesOf(metrics: Metrics, name: string): readonly Sample[] {
  const family = readExposition(metricsText(metrics))
    .find((one) => one.name === name);
  assert.ok(family !== undefined, `no ${name}`);
  return family.samples;
}

Deno.test("metrics are all named, with help, before anything was counted", () => {
  const families = readExposition(metricsText(new Metrics()));
  assert.deepEqual(families.map(({ name }) => name), Object.keys(METRICS));
  for (const { name, type } of families) {
    assert.equal(type, METRICS[name as keyof typeof METRICS].kind);
  }
  const valuesOf = (name: string) =>
    families.find((one) => one.name === name)?.samples.map((one) => one.value);
  assert.deepEqual(valuesOf("remote_hsmd_device_errors_total"), [0]);
  assert.deepEqual(valuesOf("remote_hsmd_chain_height"), []);
  assert.deepEqual(valuesOf("remote_hsmd_requests_total"), []);
});

Deno.test("a counter is what was added, for each set of labels", () => {
  const metrics = new Metrics();
  const name = "remote_hsmd_requests_total";
  metrics.add(name, ["sign_message", "operator"]);
  metrics.add(name, ["sign_message", "operator"], 4);
  metrics.add(name, ["ecdh_req", "handshake"]);
  assert.deepEqual(samplesOf(metrics, name), [
    { name, labels: { type: "sign_message", class: "operator" }, value: 5 },
    { name, labels: { type: "ecdh_req", class: "handshake" }, value: 1 },
  ]);
  assert.equal(metrics.valueOf(name, ["sign_message", "operator"]), 5);
  assert.equal(metrics.sumOf(name), 6);
});

Deno.test("a gauge is what it was set to before it is read", () => {
  const metrics = new Metrics();
  let age = 3;
  metrics.beforeReading(() =>
    metrics.set("remote_hsmd_queue_oldest_seconds", [], age)
  );
  const read = () => samplesOf(metrics, "remote_hsmd_queue_oldest_seconds")[0];
  assert.equal(read()?.value, 3);
  age = 4.5;
  assert.equal(read()?.value, 4.5);
});

Deno.test("a series of a gauge that is not named any more is gone", () => {
  const metrics = new Metrics();
  const name = "remote_hsmd_devices";
  metrics.replace(name, [[["active"], 1], [["warm"], 2]]);
  metrics.replace(name, [[["warm"], 1]]);
  const found = samplesOf(metrics, name);
  assert.deepEqual(found, [{ name, labels: { role: "warm" }, value: 1 }]);
});

Deno.test("a histogram counts each value in every step that holds it", () => {
  const name = "remote_hsmd_request_seconds";
  const { buckets } = METRICS[name];
  const value = fc.oneof(
    fc.constantFrom(...buckets, 0, 1e9),
    fc.double({ min: 0, max: 700, noNaN: true }),
  );
  fc.assert(fc.property(fc.array(value, { maxLength: 60 }), (values) => {
    const metrics = new Metrics();
    for (const one of values) metrics.observe(name, ["operator"], one);
    if (values.length === 0) return;
    const samples = samplesOf(metrics, name);
    for (const { name: own, labels, value: count } of samples) {
      if (own !== `${name}_bucket`) continue;
      const most = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
      assert.equal(count, values.filter((one) => one <= most).length);
    }
    const sum = samples.find(({ name: own }) => own === `${name}_sum`);
    const all = values.reduce((total, one) => total + one, 0);
    assert.equal(sum?.value, all);
  }));
});

Deno.test("label values come back as they were, whatever they hold", () => {
  const name = "remote_hsmd_refusals_total";
  const texts = fc.string({ unit: "binary", maxLength: 40 });
  fc.assert(fc.property(fc.uniqueArray(texts, { maxLength: 20 }), (rules) => {
    const metrics = new Metrics();
    for (const rule of rules) metrics.add(name, [rule]);
    const found = samplesOf(metrics, name).map(({ labels }) => labels["rule"]);
    assert.deepEqual(found, rules);
  }));
  const metrics = new Metrics();
  metrics.add(name, ['a\\b"c\nd']);
  assert.ok(metricsText(metrics).includes(`{rule="a\\\\b\\"c\\nd"} 1\n`));
});

Deno.test("a device cannot make series without end", () => {
  const metrics = new Metrics();
  const name = "remote_hsmd_refusals_total";
  const many = 10 * MOST_SERIES;
  for (let i = 0; i < many; i++) metrics.add(name, [`rule-${i}`]);
  const samples = samplesOf(metrics, name);
  assert.equal(samples.length, MOST_SERIES + 1);
  const other = samples.find(({ labels }) => labels["rule"] === "other");
  assert.equal(other?.value, many - MOST_SERIES);
  assert.equal(metrics.sumOf(name), many);
});

Deno.test("the last durations of a class are summed up by nearest rank", () => {
  const times = new RecentTimes();
  for (let i = 0; i < 10 * KEPT; i++) times.take("old", 99_999);
  for (let i = 1; i <= KEPT; i++) times.take("old", i);
  times.take("once", 7);
  assert.deepEqual(times.summaries(), [
    { class: "old", count: 512, medianMs: 256, p99Ms: 507, mostMs: 512 },
    { class: "once", count: 1, medianMs: 7, p99Ms: 7, mostMs: 7 },
  ]);
});

Deno.test("durations of more classes than there are cost nothing", () => {
  const times = new RecentTimes();
  for (let i = 0; i < 1_000; i++) times.take(`class-${i}`, i);
  assert.equal(times.summaries().length, 32);
});
