/**
 * The table check sees a row that is missing, doubled or out of place.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  checkErrorTable,
  checkNumbers,
  checkOrder,
  checkPermissions,
  checkReplies,
  compareHandlers,
  findUndocumented,
} from "../../scripts/check_tables.ts";
import { reply, request } from "../../src/wire/message.ts";

const named = <R>(name: string, row: R): R => ({ ...row, name });
const ask = named("ask", request(1, {}, { permission: 1, replies: [101] }));
const answer = named("answer", reply(101, {}));

Deno.test("A table without a mistake has no problem", () => {
  assert.deepEqual(checkReplies([ask], [answer]), []);
  assert.deepEqual(checkPermissions([ask]), []);
  assert.deepEqual(checkNumbers([ask, answer]), []);
  assert.deepEqual(checkOrder([ask, answer]), []);
});

Deno.test("A reply without a row or without a request is found", () => {
  const other = named("other", reply(102, {}));
  assert.deepEqual(checkReplies([ask], [other]), [
    "ask gets reply 101, which has no row",
    "other (102) answers no request",
  ]);
});

Deno.test("A permission that is no known bit is found", () => {
  const odd = named("odd", request(1, {}, { permission: 3, replies: [] }));
  assert.deepEqual(checkPermissions([odd]), ["odd needs unknown bit 3"]);
});

Deno.test("A number or a name that stands twice is found", () => {
  assert.deepEqual(checkNumbers([ask, named("again", reply(1, {}))]), [
    "number 1 of again stands twice",
  ]);
  assert.deepEqual(checkNumbers([ask, named("ask", reply(2, {}))]), [
    "name ask stands twice",
  ]);
});

Deno.test("A row out of order is found", () => {
  assert.deepEqual(checkOrder([answer, ask]), [
    "ask (1) stands after 101, want rising numbers",
  ]);
});

Deno.test("A request without a handler and a handler without one are found", () => {
  assert.deepEqual(compareHandlers(["ask", "client_hsmfd"], ["tell"]), [
    "has no handler for ask",
    "handles tell, which is no request",
  ]);
});

Deno.test("A setting that the README does not name is found", () => {
  const text = "Set `mqtt.port`, or network if you must.";
  assert.deepEqual(findUndocumented(["mqtt.port", "network"], text), [
    "network",
  ]);
});

Deno.test("An error class beside its table is found, and the reverse", () => {
  const source = [
    "/**",
    " * | class | answered by |",
    " * | --- | --- |",
    " * | Gone, Bug | top |",
    " */",
    "export class Bug extends Error {}",
    "export class Late extends Error {}",
  ].join("\n");
  assert.deepEqual(checkErrorTable(source), [
    "does not list Late in its header's table",
    "lists Gone, which is no error class",
  ]);
});
