/**
 * What goes out on fd 0: lightningd stops for ever at a status message that it
 * cannot parse, so none may leave.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import {
  FAIL_REASONS,
  LOG_LEVELS,
  STATUS,
  statusText,
} from "../../src/wire/status.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { runs } from "../support/arbitrary.ts";
import { hex } from "../support/codec_cases.ts";

const { status_log, status_fail, status_version } = STATUS;
const bad_request = STATUS.hsmstatus_client_bad_request;

/** Longest text that a status message carries, in UTF-16 units. */
const LONGEST = 4000;

/** Any text: lone surrogates and control characters as well. */
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 40 })
    .map((units) => String.fromCharCode(...units)),
  fc.integer({ min: LONGEST - 3, max: LONGEST + 3 })
    .map((size) => "\u{1f9ea}\n".repeat(size)),
);

Deno.test("Status text has no byte that lightningd chokes on", () => {
  const fits = fc.property(anyText, (text) => {
    const bytes = statusText(text);
    assert.ok(bytes.every((byte) => byte >= 0x20 && byte !== 0x7f));
    // It is UTF-8, also where it was cut or a surrogate stood alone.
    new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    assert.ok(bytes.length <= 3 * LONGEST);
    const entry = { level: LOG_LEVELS.info, peer: null, entry: bytes };
    const payload = encodeMessage(status_log, entry);
    assert.deepEqual(decodeMessage(status_log, payload), entry);
    assert.equal(payload.indexOf(0, 4), payload.length - 1);
  });
  fc.assert(fits, { numRuns: runs() });
});

Deno.test("Status text keeps what may be said", () => {
  const text = "Grüße, 😀 ~ fine";
  assert.equal(new TextDecoder().decode(statusText(text)), text);
});

Deno.test("Status text turns control characters into spaces", () => {
  assert.deepEqual(
    statusText("a\nb\tc\x00d\x1fe\x7ff"),
    new TextEncoder().encode("a b c d e f"),
  );
});

Deno.test("Status text is cut, and never within a character", () => {
  assert.equal(statusText("x".repeat(LONGEST + 1)).length, LONGEST);
  const cut = statusText("x".repeat(LONGEST - 1) + "😀");
  assert.equal(
    new TextDecoder().decode(cut.subarray(-4)),
    "x\ufffd",
  );
});

Deno.test("A version and a log line are the worked examples' bytes", () => {
  const version = { version: statusText("v26.06.6") };
  assert.deepEqual(
    encodeMessage(status_version, version),
    hex("fff6 7632362e30362e3600"),
  );
  const line = {
    level: LOG_LEVELS.info,
    peer: null,
    entry: statusText("hi"),
  };
  assert.deepEqual(encodeMessage(status_log, line), hex("fff0 04 00 686900"));
});

Deno.test("A log line takes the levels 2 to 6 and no others", () => {
  const allowed: number[] = Object.values(LOG_LEVELS);
  for (let level = 0; level < 256; level++) {
    const line = { level: level as 2, peer: null, entry: hex("") };
    if (allowed.includes(level)) encodeMessage(status_log, line);
    else assert.throws(() => encodeMessage(status_log, line), RangeError);
  }
});

Deno.test("A failure takes the four reasons and no others", () => {
  const allowed: number[] = Object.values(FAIL_REASONS);
  for (let failreason = 0; failreason < 256; failreason++) {
    const fail = { failreason: failreason as 0, desc: hex("") };
    if (allowed.includes(failreason)) encodeMessage(status_fail, fail);
    else assert.throws(() => encodeMessage(status_fail, fail), RangeError);
  }
});

Deno.test("A bad request is reported with the request inside", () => {
  const report = {
    id: NOBODY,
    description: statusText("no"),
    msg: hex("0001 aa"),
  };
  assert.deepEqual(
    encodeMessage(bad_request, report),
    hex("03e8" + "00".repeat(33) + "6e6f00 0003 0001aa"),
  );
});
