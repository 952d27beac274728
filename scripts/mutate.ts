/**
 * Asks the tests of the rules whether they would notice: turns one comparison
 * of one check around at a time, and wants some test to fail.
 *
 *     deno task mutate [FILTER]
 *
 * FILTER is a part of a path or of a line. A mutant is one operator in
 * src/policy, or in a check of the signer, replaced by its neighbour:
 *
 * | operator | becomes |
 * | --- | --- |
 * | <, <=, >, >= | the same with or without equality |
 * | ===, !== | the other one |
 * | &&, \|\| | the other one |
 *
 * Each is run in a copy of the tree outside the repository. Mutants that change
 * no answer are in `mutations/equivalent.json` by file and line, with reasons.
 * Exit status 1: a mutant that is not in that list survived.
 *
 * What it does not do: run the whole suite; only tests of rules count.
 *
 * @module
 */

import equivalents from "./mutations/equivalent.json" with { type: "json" };

const ROOT = new URL("../", import.meta.url);
const WORKERS = 2;
/** A mutant that loops has been noticed. */
const PATIENCE = 120_000;

const OPPOSITES: Readonly<Record<string, string>> = {
  "<": "<=",
  "<=": "<",
  ">": ">=",
  ">=": ">",
  "===": "!==",
  "!==": "===",
  "&&": "||",
  "||": "&&",
};

/** The tests of rules that should notice, by the file's name. */
const RELEVANT: Readonly<Record<string, readonly string[]>> = {
  allowlist: [],
  approval: ["payments"],
  broadcast: ["holder", "close"],
  channel: ["setup", "splice", "holder"],
  close: ["close"],
  closing: ["close", "holder"],
  commitment: ["commitment", "counterparty", "payments"],
  consent: ["payments"],
  counterparty: ["counterparty", "splice"],
  filter: ["setup"],
  gossip: ["gossip"],
  holder: ["holder", "splice", "close"],
  htlc_tx: ["htlc_tx"],
  judge: ["setup"],
  limits: ["setup", "commitment"],
  payments: ["payments"],
  spend: ["onchain", "splice"],
  splice: ["splice"],
  sweep: ["sweep"],
  tracking: ["payments", "splice", "setup", "commitment"],
  velocity: ["payments"],
};

/** Files of the signer that check rules. */
const SIGNER = [
  "approval",
  "broadcast",
  "channel",
  "closing",
  "commitment",
  "counterparty",
  "gossip",
  "holder",
  "tracking",
].map((name) => `src/signer/${name}.ts`);

/** One operator, turned around. */
export interface Mutant {
  readonly file: string;
  /** Index of the operator in the file's text. */
  readonly at: number;
  readonly operator: string;
  /** Counted from 1. */
  readonly line: number;
  /** The line, without blanks around it. */
  readonly text: string;
  /** How many of this operator stand before it on the line. */
  readonly nth: number;
}

/** The same text with blanks in the place of comments and of all literals. */
export function maskText(text: string): string {
  const literal =
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`/g;
  return text.replace(literal, (found) => found.replace(/[^\n]/g, " "));
}

/** Declarations of the outermost level: where each starts and ends. */
function declarations(text: string): readonly (readonly [number, number])[] {
  const starts = [...text.matchAll(/^(?:export |class |function |const )/gm)]
    .map(({ index }) => index);
  return starts.map((start, i) => [start, starts[i + 1] ?? text.length]);
}

/** Whether a declaration decides about something. */
function isCheck(declaration: string): boolean {
  return /\brequire\(|\): boolean|=> boolean/.test(declaration);
}

/** The mutants of a file; `isWhole` looks beyond its checks. */
export function findMutants(
  file: string,
  text: string,
  isWhole: boolean,
): Mutant[] {
  const masked = maskText(text);
  const regions = declarations(masked)
    .filter(([from, to]) => isWhole || isCheck(masked.slice(from, to)));
  const operators = /(?<=\s)(?:<=|>=|===|!==|<|>|&&|\|\|)(?=\s)/g;
  return [...masked.matchAll(operators)]
    .filter(({ index }) =>
      regions.some(([from, to]) => index >= from && index < to)
    )
    .map(({ 0: operator, index: at }) => {
      const start = text.lastIndexOf("\n", at) + 1;
      const before = masked.slice(start, at);
      return {
        file,
        at,
        operator,
        line: text.slice(0, at).split("\n").length,
        text: text.slice(start, text.indexOf("\n", at)).trim(),
        nth: before.split(/\s/).filter((each) => each === operator).length,
      };
    });
}

/** The text with the mutant in it. */
export function mutate(text: string, { at, operator }: Mutant): string {
  const other = OPPOSITES[operator] ?? operator;
  return text.slice(0, at) + other + text.slice(at + operator.length);
}

/** Why a mutant changes no answer; null when nobody said that it does not. */
function reasonOf({ file, text, operator, nth }: Mutant): string | null {
  const known: readonly {
    readonly file: string;
    readonly text: string;
    readonly operator: string;
    readonly nth: number;
    readonly reason: string;
  }[] = equivalents;
  return known.find((each) =>
    each.file === file && each.text === text && each.operator === operator &&
    each.nth === nth
  )?.reason ?? null;
}

async function findSources(): Promise<string[]> {
  const policy: string[] = [];
  for await (const { name } of Deno.readDir(new URL("src/policy/", ROOT))) {
    if (name.endsWith(".ts")) policy.push(`src/policy/${name}`);
  }
  return [...policy.sort(), ...SIGNER];
}

async function allMutants(filter: string): Promise<Mutant[]> {
  const sources = await findSources();
  const found = await Promise.all(sources.map(async (file) => {
    const text = await Deno.readTextFile(new URL(file, ROOT));
    return findMutants(file, text, file.startsWith("src/policy/"));
  }));
  return found.flat()
    .filter(({ file, text }) => file.includes(filter) || text.includes(filter));
}

async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to);
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    const paths = [`${from}/${name}`, `${to}/${name}`] as const;
    await (isDirectory ? copyFolder(...paths) : Deno.copyFile(...paths));
  }
}

/** A tree of its own for one worker: only src is copied. */
async function makeTree(): Promise<string> {
  const tree = await Deno.makeTempDir({ prefix: "mutants-" });
  const root = ROOT.pathname;
  await copyFolder(`${root}src`, `${tree}/src`);
  for (const name of ["tests", "deno.json", "deno.lock"]) {
    await Deno.symlink(`${root}${name}`, `${tree}/${name}`);
  }
  return tree;
}

/** Tests that should notice, the likeliest first. */
async function testsFor(file: string): Promise<string[]> {
  const base = (file.split("/").at(-1) ?? "").replace(/\.ts$/, "");
  const own = `tests/policy/${base}_test.ts`;
  const rules = RELEVANT[base] ?? Object.keys(RELEVANT);
  const paths = rules.map((name) => `tests/signer/rules/${name}_test.ts`);
  const isPolicy = file.startsWith("src/policy/");
  const first = isPolicy ? [own, ...paths] : paths;
  const found = await Promise.all(
    first.map((path) => isThere(`${ROOT.pathname}${path}`)),
  );
  return first.filter((_, i) => found[i] === true);
}

/** Whether all tests pass in a tree. */
async function passes(tree: string, tests: readonly string[]) {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", "--quiet", "--fail-fast", ...tests],
    cwd: tree,
    stdout: "null",
    stderr: "null",
    signal: AbortSignal.timeout(PATIENCE),
  });
  const { success } = await child.output();
  return success;
}

/** Whether the tests leave a mutant alive. */
async function survives(tree: string, mutant: Mutant): Promise<boolean> {
  const { file } = mutant;
  const path = `${tree}/${file}`;
  const text = await Deno.readTextFile(path);
  const tests = await testsFor(file);
  try {
    await Deno.writeTextFile(path, mutate(text, mutant));
    return await passes(tree, tests);
  } finally {
    await Deno.writeTextFile(path, text);
  }
}

function describe({ file, line, text, operator }: Mutant): string {
  return `${file}:${line}: ${operator} to ${OPPOSITES[operator]}: ${text}`;
}

/** Works through the queue until it is empty; says who survived. */
async function work(queue: Mutant[], tree: string): Promise<Mutant[]> {
  const alive: Mutant[] = [];
  for (let next = queue.shift(); next; next = queue.shift()) {
    const isAlive = await survives(tree, next);
    if (isAlive) alive.push(next);
    console.log(`${isAlive ? "SURVIVED" : "killed  "} ${describe(next)}`);
  }
  return alive;
}

async function main(filter: string): Promise<boolean> {
  const found = await allMutants(filter);
  const queue = found.filter((mutant) => reasonOf(mutant) === null);
  const { length } = queue;
  console.log(
    `${length} mutants, ${found.length - length} more that change no answer`,
  );
  const trees = await Promise.all(
    Array.from({ length: WORKERS }, () => makeTree()),
  );
  try {
    const alive = await Promise.all(trees.map((tree) => work(queue, tree)));
    const count = alive.flat().length;
    console.log(`${length - count} of ${length} killed`);
    for (const mutant of alive.flat()) console.log(describe(mutant));
    return count === 0;
  } finally {
    await Promise.all(
      trees.map((tree) => Deno.remove(tree, { recursive: true })),
    );
  }
}

if (import.meta.main) {
  Deno.exitCode = await main(Deno.args[0] ?? "") ? 0 : 1;
}
