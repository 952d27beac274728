/**
 * What went wrong lately, and the errors that devices tell of.
 *
 * @module
 */

import assert from "node:assert/strict";
import { decodeDeviceError } from "../../src/broker/device_error.ts";
import { Notes } from "../../src/broker/notes.ts";
import { MOST_ERRORS, MOST_REFUSALS } from "../../src/broker/status.ts";

const refusal = (rule: string, at: number) => ({
  rule,
  at,
  request: "sign_message",
  reason: `because ${at}`,
});

Deno.test("refusals are counted by rule, the latest first", () => {
  const notes = new Notes();
  notes.refused(refusal("a", 1));
  notes.refused(refusal("b", 2));
  notes.refused(refusal("a", 3));
  assert.deepEqual(notes.refusals, [
    { ...refusal("a", 3), count: 2 },
    { ...refusal("b", 2), count: 1 },
  ]);
});

Deno.test("rules without end leave the latest", () => {
  const notes = new Notes();
  for (let i = 0; i < 1_000; i++) notes.refused(refusal(`rule-${i}`, i));
  assert.equal(notes.refusals.length, MOST_REFUSALS);
  assert.equal(notes.refusals[0]?.rule, "rule-999");
  assert.equal(notes.refusals.at(-1)?.rule, `rule-${1000 - MOST_REFUSALS}`);
});

Deno.test("errors are the latest, and none is long", () => {
  const notes = new Notes();
  for (let at = 0; at < 100; at++) {
    notes.failed({ at, cid: null, text: "x".repeat(100_000) });
  }
  assert.equal(notes.errors.length, MOST_ERRORS);
  assert.equal(notes.errors[0]?.at, 99);
  assert.ok(notes.errors.every(({ text }) => text.length < 1_000));
});

Deno.test("a device's error is read with its code or without one", () => {
  const read = (bytes: Uint8Array) => {
    const { code, text } = decodeDeviceError(bytes);
    return [code, new TextDecoder().decode(text)];
  };
  // The hardware's own example.
  const hardware = Uint8Array.fromHex("626164206d736701");
  assert.deepEqual(read(hardware), ["Vls", "bad msg"]);
  const plain = new TextEncoder().encode("bad msg");
  assert.deepEqual(read(plain), ["Vls", "bad msg"]);
  const rows = [[0, "Unidentified"], [2, "Control"], [3, "Proxy"]] as const;
  for (const [byte, code] of rows) {
    assert.deepEqual(read(Uint8Array.of(...plain, byte)), [code, "bad msg"]);
  }
  assert.deepEqual(read(new Uint8Array()), ["Vls", ""]);
  assert.deepEqual(read(Uint8Array.of(1)), ["Vls", ""]);
});
