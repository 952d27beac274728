import assert from "node:assert/strict";
import { Repeats } from "../../src/broker/repeats.ts";

Deno.test("a line that repeats is written at growing distances", () => {
  let now = 0;
  const repeats = new Repeats(() => now);
  const written: [number, string][] = [];
  for (now = 0; now <= 200_000; now += 1000) {
    const text = repeats.filter("refused", "refused");
    if (text !== null) written.push([now / 1000, text]);
  }
  assert.deepEqual(written, [
    [0, "refused"],
    [10, "refused (and 9 times more since)"],
    [30, "refused (and 19 times more since)"],
    [70, "refused (and 39 times more since)"],
    [150, "refused (and 79 times more since)"],
  ]);
});

Deno.test("lines of other kinds are not held back, and old kinds are forgotten", () => {
  const repeats = new Repeats(() => 0);
  for (let i = 0; i < 1000; i++) {
    assert.equal(repeats.filter(`kind ${i}`, "text"), "text");
  }
  assert.equal(repeats.filter("kind 999", "text"), null);
  assert.equal(repeats.filter("kind 0", "text"), "text");
});
