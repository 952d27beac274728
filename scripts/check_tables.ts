/**
 * Checks that what is stated in a table is there, and that what is there is
 * stated.
 *
 *     deno run --allow-read scripts/check_tables.ts
 *
 * | table | what is checked |
 * | --- | --- |
 * | wire/hsmd.ts REQUESTS | a handler each; replies and permissions exist |
 * | all message tables | no number and no name twice, rising numbers |
 * | signer/handle.ts HANDLERS | a request each |
 * | cli/config.ts SETTINGS | each key stands in README.md, in code quotes |
 * | errors.ts header | each error class, and no other |
 *
 * A table that is not there is a problem like any other.
 *
 * @module
 */

import { PERMISSIONS, REPLIES, REQUESTS } from "../src/wire/hsmd.ts";
import type { RequestRow, Row } from "../src/wire/message.ts";
import { STATUS } from "../src/wire/status.ts";
import { SIGNER_MESSAGES } from "../src/wire/vls.ts";
import { exists, type Problem, report } from "./problems.ts";

const ROOT = new URL("../", import.meta.url);

/** Requests that the signer never sees, and who answers them. */
const ANSWERED_ELSEWHERE: Readonly<Record<string, string>> = {
  client_hsmfd: "unixfd makes the connection and hands it over",
};

// The rows differ in their fields, which no check here looks at.
const requests = Object.values<unknown>(REQUESTS) as RequestRow[];
const replies = Object.values<unknown>(REPLIES) as Row[];

const at = (path: string, text: string): Problem => ({ path, line: 1, text });

/** Every reply of a request exists, every reply answers something. */
export function checkReplies(
  asked: readonly RequestRow[],
  answers: readonly Row[],
): string[] {
  const known = new Set(answers.map(({ type }) => type));
  const used = new Set(asked.flatMap((row) => row.replies));
  return [
    ...asked.flatMap((row) =>
      row.replies.filter((type) => !known.has(type))
        .map((type) => `${row.name} gets reply ${type}, which has no row`)
    ),
    ...answers.filter(({ type }) => !used.has(type))
      .map(({ name, type }) => `${name} (${type}) answers no request`),
  ];
}

/** Every permission is one of the known bits. */
export function checkPermissions(asked: readonly RequestRow[]): string[] {
  const bits: readonly number[] = Object.values(PERMISSIONS);
  return asked.filter(({ permission }) => !bits.includes(permission))
    .map(({ name, permission }) => `${name} needs unknown bit ${permission}`);
}

/** Within what one reader may get, a number and a name stand once. */
export function checkNumbers(rows: readonly Row[]): string[] {
  return rows.flatMap(({ type, name }, i) => {
    const earlier = rows.slice(0, i);
    return [
      ...(earlier.some((row) => row.type === type)
        ? [`number ${type} of ${name} stands twice`]
        : []),
      ...(earlier.some((row) => row.name === name)
        ? [`name ${name} stands twice`]
        : []),
    ];
  });
}

/** Rows stand in the order of their numbers. */
export function checkOrder(rows: readonly Row[]): string[] {
  return rows.flatMap(({ name, type }, i) => {
    const before = rows[i - 1];
    return before === undefined || before.type < type
      ? []
      : [`${name} (${type}) stands after ${before.type}, want rising numbers`];
  });
}

function checkMessages(): Problem[] {
  const status = Object.values<unknown>(STATUS) as Row[];
  const signer = Object.values<unknown>(SIGNER_MESSAGES) as Row[];
  const tables = [requests, replies, status];
  return [
    ...[
      ...checkReplies(requests, replies),
      ...checkPermissions(requests),
      ...checkNumbers([...requests, ...replies, ...status]),
      ...tables.flatMap(checkOrder),
    ].map((text) => at("src/wire/hsmd.ts", text)),
    // What a signer may get or send besides; fd 0 is out of its sight.
    ...[
      ...checkNumbers([...requests, ...replies, ...signer]),
      ...checkOrder(signer),
    ].map((text) => at("src/wire/vls.ts", text)),
  ];
}

/** Imports one constant; a text says why that is not possible. */
async function importRecord(
  path: string,
  name: string,
): Promise<Readonly<Record<string, unknown>> | string> {
  const url = new URL(path, ROOT);
  if (!await exists(url)) return `is not there, want ${name} in it`;
  const module: Record<string, unknown> = await import(url.href);
  const record = module[name];
  return typeof record === "object" && record !== null
    ? Object.fromEntries(Object.entries(record))
    : `does not export ${name}, want a record`;
}

/** Requests without a handler, and handlers without a request. */
export function compareHandlers(
  names: readonly string[],
  handlers: readonly string[],
): string[] {
  return [
    ...names
      .filter((name) =>
        !handlers.includes(name) && !(name in ANSWERED_ELSEWHERE)
      )
      .map((name) => `has no handler for ${name}`),
    ...handlers.filter((name) => !names.includes(name))
      .map((name) => `handles ${name}, which is no request`),
  ];
}

async function checkHandlers(): Promise<Problem[]> {
  const path = "src/signer/handle.ts";
  const handlers = await importRecord(path, "HANDLERS");
  if (typeof handlers === "string") return [at(path, handlers)];
  return compareHandlers(Object.keys(REQUESTS), Object.keys(handlers))
    .map((text) => at(path, text));
}

/** Settings that the text does not name in code quotes. */
export function findUndocumented(
  keys: readonly string[],
  text: string,
): string[] {
  return keys.filter((key) => !text.includes(`\`${key}\``));
}

async function checkSettings(): Promise<Problem[]> {
  const path = "src/cli/config.ts";
  const settings = await importRecord(path, "SETTINGS");
  if (typeof settings === "string") return [at(path, settings)];
  const readme = new URL("README.md", ROOT);
  if (!await exists(readme)) {
    return [at("README.md", "is not there, want every setting in it")];
  }
  const text = await Deno.readTextFile(readme);
  return findUndocumented(Object.keys(settings), text)
    .map((key) => at("README.md", `does not name the setting \`${key}\``));
}

/** Error classes against the first column of the table in the header. */
export function checkErrorTable(source: string): string[] {
  const header = source.slice(0, source.indexOf("*/"));
  const listed = [...header.matchAll(/^ \* \| ([A-Z]\w*(?:, \w+)*) \|/gm)]
    .flatMap(([, names = ""]) => names.split(", "));
  const classes = [...source.matchAll(/^export class (\w+) extends Error/gm)]
    .map(([, name = ""]) => name);
  return [
    ...classes.filter((name) => !listed.includes(name))
      .map((name) => `does not list ${name} in its header's table`),
    ...listed.filter((name) => !classes.includes(name))
      .map((name) => `lists ${name}, which is no error class`),
  ];
}

async function checkErrors(): Promise<Problem[]> {
  const path = "src/errors.ts";
  const source = await Deno.readTextFile(new URL(path, ROOT));
  return checkErrorTable(source).map((text) => at(path, text));
}

if (import.meta.main) {
  Deno.exitCode = report("tables", [
    ...checkMessages(),
    ...await checkHandlers(),
    ...await checkSettings(),
    ...await checkErrors(),
  ]);
}
