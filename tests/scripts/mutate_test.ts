/**
 * The scanner for mutants: what it takes for an operator, and what it does not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { findMutants, maskText, mutate } from "../../scripts/mutate.ts";

const SOURCE = `/** a < b in a comment */
const kinds: Map<string, number> = new Map();

export function check(judge: Judge, a: number, b: number): void {
  judge.require("a < b", a < b && b >= 0, () => \`\${a} < \${b}\`);
}

export function add(a: number, b: number): number {
  return a > b ? a : b; // a > b
}
`;

const operatorsIn = (isWhole: boolean) =>
  findMutants("x.ts", SOURCE, isWhole).map(({ operator }) => operator);

Deno.test("comments, texts and type arguments are no operators", () => {
  assert.deepEqual(operatorsIn(true), ["<", "&&", ">=", ">"]);
});

Deno.test("of the signer only what checks is looked at", () => {
  assert.deepEqual(operatorsIn(false), ["<", "&&", ">="]);
});

Deno.test("a mutant differs in its operator alone, and knows its place", () => {
  const [first, second] = findMutants("x.ts", SOURCE, true);
  assert.ok(first && second);
  assert.equal(first.line, 5);
  assert.match(mutate(SOURCE, first), /"a < b", a <= b && b >= 0/);
  assert.match(mutate(SOURCE, second), /"a < b", a < b \|\| b >= 0/);
});

Deno.test("equal operators of one line are told apart", () => {
  const text = "const f = (a: number) => a === 1 || a === 2;\n";
  const found = findMutants("x.ts", text, true)
    .filter(({ operator }) => operator === "===");
  assert.deepEqual(found.map(({ nth }) => nth), [0, 1]);
});

Deno.test("what is masked keeps its place", () => {
  assert.equal(maskText(SOURCE).length, SOURCE.length);
  assert.equal(maskText(SOURCE).split("\n").length, SOURCE.split("\n").length);
});
