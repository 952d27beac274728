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
 * | policy/rules.ts RULES | code and a test each; every tag in use is a row |
 * | policy/rules.ts UNBUILT | no code, and no row of RULES |
 * | policy/limits.ts LIMITS | each field is read by some rule |
 * | cli/config.ts SETTINGS | each key stands in README.md, in code quotes |
 * | policy/limits.ts LIMITS | each row stands in README.md with its defaults |
 * | policy/consent.ts CONSENTS | each summary stands in README.md |
 * | broker/refusals.ts REFUSALS | what ends the node stands in README.md |
 * | errors.ts header | each error class, and no other |
 *
 * A table that is not there is a problem like any other.
 *
 * @module
 */

import { REFUSALS } from "../src/broker/refusals.ts";
import { CONSENTS } from "../src/policy/consent.ts";
import { defaultPolicy, describePolicy, LIMITS } from "../src/policy/limits.ts";
import { type RuleRow, RULES, UNBUILT } from "../src/policy/rules.ts";
import { PERMISSIONS, REPLIES, REQUESTS } from "../src/wire/hsmd.ts";
import type { RequestRow, Row } from "../src/wire/message.ts";
import { STATUS } from "../src/wire/status.ts";
import { SIGNER_MESSAGES } from "../src/wire/vls.ts";
import { exists, findFiles, type Problem, report } from "./problems.ts";

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

/** Rows of the table of limits that README.md has to have. */
export function limitRows(): string[] {
  const mainnet = describePolicy(defaultPolicy("bitcoin"));
  const test = describePolicy(defaultPolicy("regtest"));
  return mainnet.map(({ name, value, unit, help }, i) =>
    `| \`${name}\` | ${value} | ${test[i]?.value} | ${unit} | ${help} |`
  );
}

/** What the owner is told about in README.md, and is not there. */
export function checkManual(readme: string): string[] {
  // Tables are padded and text is wrapped for whoever reads it.
  const text = readme.replace(/\s+/g, " ");
  const ending = Object.entries(REFUSALS)
    .filter(([, refusal]) => refusal?.answer === null)
    .map(([name]) => `\`${name}\``);
  const consents = Object.values(CONSENTS).map(({ summary }) => summary);
  return [...limitRows(), ...consents, ...ending]
    .filter((wanted) => !text.includes(wanted))
    .map((wanted) => `does not say: ${wanted}`);
}

async function checkReadme(): Promise<Problem[]> {
  const path = "README.md";
  const readme = await Deno.readTextFile(new URL(path, ROOT));
  return checkManual(readme).map((text) => at(path, text));
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

/** What the check of the rules looks at. */
export interface RuleTables {
  readonly rules: Readonly<Record<string, RuleRow>>;
  /** Tags that must not be enforced. */
  readonly missing: readonly string[];
  /** Fields of the policy. */
  readonly fields: readonly string[];
}

/** Text of a file by its path. */
export type Texts = ReadonlyMap<string, string>;

const RULE_TABLE = "src/policy/rules.ts";
const LIMIT_TABLE = "src/policy/limits.ts";
/** They use tags as examples, and break no rule. */
const NO_RULE_TESTS = ["rules", "limits", "filter"]
  .map((name) => `tests/policy/${name}_test.ts`);

/** The tags that stand in a text as string literals, with their lines. */
function tagsIn(
  text: string,
): { readonly tag: string; readonly line: number }[] {
  return [...text.matchAll(/["'`](policy-[a-z0-9-]*[a-z0-9])["'`]/g)].map(
    ({ 1: tag = "", index }) => ({
      tag,
      line: text.slice(0, index).split("\n").length,
    }),
  );
}

/** Paths under one of some folders. */
function within(texts: Texts, folders: readonly string[]): [string, string][] {
  return [...texts].filter(([path]) =>
    folders.some((folder) => path.startsWith(folder))
  );
}

function namedIn(texts: readonly [string, string][]): ReadonlySet<string> {
  return new Set(
    texts.flatMap(([, text]) => tagsIn(text).map(({ tag }) => tag)),
  );
}

/** Rules without code or test, and tags in the code that are no rule. */
export function checkRules(tables: RuleTables, texts: Texts): Problem[] {
  const { rules, missing } = tables;
  const code = within(texts, ["src/"]).filter(([path]) => path !== RULE_TABLE);
  const enforced = namedIn(
    within(new Map(code), ["src/policy/", "src/signer/"]),
  );
  const tested = namedIn(
    within(texts, ["tests/policy/", "tests/signer/"])
      .filter(([path]) => !NO_RULE_TESTS.includes(path)),
  );
  const problems = Object.entries(rules).flatMap(([tag, row]) => [
    ...checkCover(rules, tag, row),
    ...(enforced.has(row.coveredBy ?? tag) ? [] : [`${tag} has no code`]),
    ...(tested.has(tag) ? [] : [`${tag} has no test`]),
  ]);
  const twice = missing.filter((tag) => Object.hasOwn(rules, tag))
    .map((tag) => `${tag} is enforced and not: it stands in two tables`);
  return [
    ...[...problems, ...twice].map((text) => at(RULE_TABLE, text)),
    ...code.flatMap(([path, text]) => checkTags(tables, path, text)),
  ];
}

/** The row that stands for another has code of its own. */
function checkCover(
  rules: RuleTables["rules"],
  tag: string,
  { coveredBy }: RuleRow,
): string[] {
  if (coveredBy === undefined) return [];
  const cover = rules[coveredBy];
  return cover === undefined || cover.coveredBy !== undefined
    ? [`${tag} is covered by ${coveredBy}, want a rule with code of its own`]
    : [];
}

function checkTags(
  { rules, missing }: RuleTables,
  path: string,
  text: string,
): Problem[] {
  return tagsIn(text).filter(({ tag }) => !Object.hasOwn(rules, tag))
    .map(({ tag, line }) => ({
      path,
      line,
      text: missing.includes(tag)
        ? `${tag} is used, and listed as not enforced`
        : `${tag} is no row of RULES`,
    }));
}

/** Limits that no rule reads, and rows that name a limit that is none. */
export function checkLimits(
  { rules, fields }: RuleTables,
  texts: Texts,
): Problem[] {
  const code = within(texts, ["src/policy/", "src/signer/"])
    .filter(([path]) => path !== LIMIT_TABLE && path !== RULE_TABLE)
    .map(([, text]) => text).join("\n");
  // maxFeerate() reads these three for everybody.
  const throughFunction = /\bmaxFeerate\(/.test(code)
    ? ["maxFeeratePerKw", "hardMaxFeeratePerKw", "feeReferencePercent"]
    : [];
  const isRead = (field: string) =>
    throughFunction.includes(field) || new RegExp(`\\b${field}\\b`).test(code);
  return [
    ...fields.filter((field) => !isRead(field))
      .map((field) => at(LIMIT_TABLE, `${field} is read by no rule`)),
    ...Object.entries(rules).flatMap(([tag, { limits = [] }]) =>
      limits.filter((field) => !fields.includes(field))
        .map((field) => at(RULE_TABLE, `${tag} names ${field}, no limit`))
    ),
  ];
}

async function checkPolicy(): Promise<Problem[]> {
  const places = ["src/", "tests/policy/", "tests/signer/"];
  const paths = await findFiles(ROOT, places, ".ts");
  const texts = new Map(
    await Promise.all(
      paths.map(async (path) =>
        [path, await Deno.readTextFile(new URL(path, ROOT))] as const
      ),
    ),
  );
  const tables: RuleTables = {
    rules: RULES,
    missing: Object.keys(UNBUILT),
    fields: Object.keys(LIMITS),
  };
  return [...checkRules(tables, texts), ...checkLimits(tables, texts)];
}

if (import.meta.main) {
  Deno.exitCode = report("tables", [
    ...checkMessages(),
    ...await checkHandlers(),
    ...await checkPolicy(),
    ...await checkSettings(),
    ...await checkReadme(),
    ...await checkErrors(),
  ]);
}
