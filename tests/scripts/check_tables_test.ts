/**
 * The table check sees a row that is missing, doubled or out of place.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  checkErrorTable,
  checkLimits,
  checkManual,
  checkNumbers,
  checkOrder,
  checkPermissions,
  checkReplies,
  checkRules,
  compareHandlers,
  findUndocumented,
  limitRows,
  type RuleTables,
} from "../../scripts/check_tables.ts";
import type { RuleRow } from "../../src/policy/rules.ts";
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

const rule = (row: Partial<RuleRow> = {}): RuleRow => ({
  summary: "",
  source: "",
  isRelaxable: true,
  default: { mainnet: "refuse", test: "refuse" },
  advice: "",
  ...row,
});

const TABLES: RuleTables = {
  rules: {
    "policy-a": rule({ limits: ["maxA"] }),
    "policy-b": rule({ coveredBy: "policy-a" }),
  },
  missing: ["policy-c"],
  fields: ["maxA"],
};
const RULE_TEXTS = {
  "src/policy/rules.ts": '"policy-a" "policy-b" maxA',
  "src/policy/limits.ts": "maxA",
  "src/policy/a.ts": 'require("policy-a", x <= policy.maxA)',
  "tests/policy/a_test.ts": '"policy-a", "policy-b"',
};

/** The problems of a tree that is right but for some files and tables. */
function ruleProblems(
  changed: Readonly<Record<string, string>>,
  tables: Partial<RuleTables> = {},
): string[] {
  const texts = new Map(Object.entries({ ...RULE_TEXTS, ...changed }));
  const all = { ...TABLES, ...tables };
  return [...checkRules(all, texts), ...checkLimits(all, texts)]
    .map(({ path, line, text }) => `${path}:${line}: ${text}`);
}

Deno.test("A rule with code and test, itself or through another, is right", () => {
  assert.deepEqual(ruleProblems({}), []);
});

Deno.test("A rule without code is found, with the rules that it covers", () => {
  const elsewhere = 'maxA; // policy-a, and "policy-ab" is something else';
  assert.deepEqual(
    ruleProblems({
      "src/policy/a.ts": elsewhere,
      "src/wire/a.ts": '"policy-a"',
    }),
    [
      "src/policy/rules.ts:1: policy-a has no code",
      "src/policy/rules.ts:1: policy-b has no code",
      "src/policy/a.ts:1: policy-ab is no row of RULES",
    ],
  );
});

Deno.test("A rule without a test is found, a covered one too", () => {
  const texts = {
    "tests/policy/a_test.ts": '"policy-a"',
    // Lists of tags are no tests of them.
    "tests/policy/rules_test.ts": '"policy-b"',
  };
  assert.deepEqual(ruleProblems(texts), [
    "src/policy/rules.ts:1: policy-b has no test",
  ]);
});

Deno.test("A tag that is no rule, or is not to be enforced, is found", () => {
  const text = 'a\n"policy-x"\n"policy-c"';
  assert.deepEqual(ruleProblems({ "src/cli/b.ts": text }), [
    "src/cli/b.ts:2: policy-x is no row of RULES",
    "src/cli/b.ts:3: policy-c is used, and listed as not enforced",
  ]);
});

Deno.test("A tag in two tables, or covered by nothing, is found", () => {
  const rules = {
    ...TABLES.rules,
    "policy-b": rule({ coveredBy: "policy-z" }),
  };
  assert.deepEqual(ruleProblems({}, { rules, missing: ["policy-a"] }), [
    "src/policy/rules.ts:1: policy-b is covered by policy-z, want a rule with " +
    "code of its own",
    "src/policy/rules.ts:1: policy-b has no code",
    "src/policy/rules.ts:1: policy-a is enforced and not: it stands in two " +
    "tables",
  ]);
});

Deno.test("A limit that no rule reads, and one that is none, are found", () => {
  assert.deepEqual(ruleProblems({ "src/policy/a.ts": '"policy-a"; maxAB' }), [
    "src/policy/limits.ts:1: maxA is read by no rule",
  ]);
  assert.deepEqual(ruleProblems({}, { fields: [] }), [
    "src/policy/rules.ts:1: policy-a names maxA, no limit",
  ]);
});

Deno.test("A limit that the manual does not show, or shows otherwise, is found", () => {
  const [first = "", ...others] = limitRows();
  const table = limitRows().map((row) => row.replaceAll(" | ", "  |  "));
  const missing = (readme: string) =>
    checkManual(readme).filter((text) => text.includes("| `"));
  assert.deepEqual(missing(table.join("\n")), []);
  assert.deepEqual(missing(others.join("\n")), [`does not say: ${first}`]);
  assert.equal(missing(first.replace("144", "145")).length, others.length + 1);
});
