/**
 * The import check sees what it is there for: each case is a small tree with
 * one thing wrong, or with something that only looks wrong.
 *
 * @module
 */

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";
import { checkImports } from "../../scripts/check_imports.ts";

type Tree = Readonly<Record<string, string>>;

const IMPORTS = [
  "@bufbuild/protobuf",
  "@connectrpc/connect",
  "@connectrpc/connect-node",
  "@msgpack/msgpack",
  "@noble/ciphers/",
  "@noble/curves/",
  "@noble/hashes/",
  "@scure/base",
  "@scure/bip32",
  "@scure/bip39",
  "@scure/btc-signer",
  "aedes",
  "mqtt",
  "qr",
  "smol-toml",
  "tiny-secp256k1",
  "ws",
];
const CONFIG = JSON.stringify({
  imports: Object.fromEntries(IMPORTS.map((name) => [name, `npm:${name}`])),
});

/** Writes the tree, checks it and returns the findings as lines. */
async function findings(tree: Tree): Promise<string[]> {
  const directory = await Deno.makeTempDir();
  try {
    const root = pathToFileURL(`${directory}/`);
    const files = { "deno.json": CONFIG, "main.ts": "", ...tree };
    for (const [path, text] of Object.entries(files)) {
      const url = new URL(path, root);
      await Deno.mkdir(new URL(".", url), { recursive: true });
      await Deno.writeTextFile(url, text);
    }
    const problems = await checkImports(root);
    return problems.map(({ path, line, text }) => `${path}:${line}: ${text}`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const WRONG: readonly {
  readonly name: string;
  readonly tree: Tree;
  readonly found: RegExp;
}[] = [
  {
    name: "An arrow upward",
    tree: {
      "src/wire/a.ts": '\nimport { b } from "../policy/b.ts";\n',
      "src/policy/b.ts": "export const b = 1;",
    },
    found:
      /^src\/wire\/a\.ts:2: wire imports src\/policy\/b\.ts, which is above/,
  },
  {
    name: "An arrow upward for a type alone",
    tree: {
      "src/errors.ts": 'export type { B } from "./crypto/b.ts";',
      "src/crypto/b.ts": "export type B = 1;",
    },
    found: /^src\/errors\.ts:1: errors imports src\/crypto\/b\.ts, .* above/,
  },
  {
    name: "An arrow to the side that no row allows",
    tree: {
      "src/mqtt/a.ts": 'import "../unixfd.ts";',
      "src/unixfd.ts": "",
    },
    found: /^src\/mqtt\/a\.ts:1: mqtt imports src\/unixfd\.ts, which is beside/,
  },
  {
    name: "A cycle",
    tree: {
      "src/wire/a.ts": 'import "./b.ts";',
      "src/wire/b.ts": 'import "./c.ts";',
      "src/wire/c.ts": 'import "./a.ts";',
    },
    found: /^src\/wire\/c\.ts:1: closes a cycle: src\/wire\/a\.ts -> .*a\.ts$/,
  },
  {
    name: "A way from main.ts to the signer",
    tree: {
      "main.ts": 'import "./src/cli/run.ts";',
      "src/cli/run.ts": 'await import("../signer/handle.ts");',
      "src/signer/handle.ts": "",
    },
    found:
      /^src\/cli\/run\.ts:1: main\.ts reaches src\/signer\/handle\.ts: main/,
  },
  {
    name: "A computed import",
    tree: { "src/cli/run.ts": "await import(Deno.args[0]);" },
    found: /^src\/cli\/run\.ts:1: imports what it computes/,
  },
  {
    name: "An import of a file that is not there",
    tree: { "src/wire/a.ts": 'import "./b.ts";' },
    found: /^src\/wire\/a\.ts:1: imports src\/wire\/b\.ts, which is not there/,
  },
  {
    name: "An import of a test by the program",
    tree: { "src/cli/a.ts": 'import "../../tests/b.ts";', "tests/b.ts": "" },
    found: /^src\/cli\/a\.ts:1: imports tests\/b\.ts, want src only/,
  },
  {
    name: "A file in no layer",
    tree: { "src/misc/a.ts": "" },
    found: /^src\/misc\/a\.ts:1: stands in no layer/,
  },
  {
    name: "A package outside of its owner",
    tree: { "src/wire/a.ts": 'import "@noble/hashes/sha2.js";' },
    found: /^src\/wire\/a\.ts:1: imports @noble\/hashes, want that in src\/cry/,
  },
  {
    name: "A package without an owner",
    tree: { "src/crypto/a.ts": 'import x from "left-pad";' },
    found: /^src\/crypto\/a\.ts:1: imports left-pad, want a row/,
  },
  {
    name: "A package of the import map without an owner",
    tree: { "deno.json": CONFIG.replace("{", '{"x":0,').replace("ws", "wz") },
    found: /^deno\.json:1: maps wz, want a row for it in NPM_OWNERS/,
  },
  {
    name: "An inline npm specifier outside of tests",
    tree: { "scripts/a.ts": 'import fc from "npm:fast-check@4.10.2";' },
    found: /^scripts\/a\.ts:1: names npm:fast-check@4\.10\.2 inline/,
  },
  {
    name: "An import from the network",
    tree: { "tests/a.ts": 'import "https://example.org/a.ts";' },
    found: /^tests\/a\.ts:1: imports https:\/\/example\.org\/a\.ts, want a rel/,
  },
  ...[
    ["Deno", "export const pid = () => Deno.pid;", "Deno"],
    ["a timer", "export const f = () => setTimeout(f, 1);", "a timer"],
    ["Math.random", "export const f = () => Math.random();", "Math\\.random"],
    ["Date.now", "export const f = () => Date.now();", "a clock"],
    ["console", "export const f = () => console.log(1);", "console"],
    ["a node: module", 'import "node:crypto";', "node:crypto"],
    ["state", "export let count = 0;", "module-level state \\(count\\)"],
  ].map(([name, text = "", found]) => ({
    name: `The core with ${name}`,
    tree: { "src/policy/a.ts": `\n\n${text}` },
    found: new RegExp(`^src/policy/a\\.ts:3: the core uses ${found},`),
  })),
];

for (const { name, tree, found } of WRONG) {
  Deno.test(`${name} is found, with its line`, async () => {
    const lines = await findings(tree);
    assert.match(lines[0] ?? "nothing found", found);
  });
}

Deno.test("Texts, comments and regular expressions are not code", async () => {
  const tree = {
    "src/wire/a.ts": [
      '// import "../policy/b.ts"; Deno.exit()',
      "/* setTimeout; import('../policy/b.ts') */",
      "export const a = \"import '../policy/b.ts'; console\";",
      "export const b = `Date.now() ${'console'} import('x')`;",
      "export const c = /[\"'/]Deno.pid|let /.test('`');",
      "export function f(value: number): number {",
      "  let half = value / 2 / 1;",
      "  return half;",
      "}",
    ].join("\n"),
  };
  assert.deepEqual(await findings(tree), []);
});

Deno.test("A tree that keeps the rules has no problem", async () => {
  const tree = {
    "main.ts": 'import { run } from "./src/cli/run.ts";\nrun();',
    "src/cli/run.ts": [
      'import type { A } from "../wire/a.ts";',
      'import { pass } from "../unixfd.ts";',
      "export const run = (a: A) => pass(a, Deno.args, Date.now());",
    ].join("\n"),
    "src/unixfd.ts": 'export { pass } from "./fdpass/pass.ts";',
    "src/fdpass/pass.ts": 'import "node:net";\nexport const pass = 1;',
    "src/wire/a.ts": 'export * from "../errors.ts";\nexport type A = 1;',
    "src/errors.ts": "export class Bug extends Error {}",
    "src/device/main.ts": 'import "../signer/handle.ts";\nimport "./link.ts";',
    "src/device/link.ts": 'import "../mqtt/access.ts";',
    "src/mqtt/access.ts": 'import mqtt from "mqtt";',
    "src/signer/handle.ts": 'import "../crypto/hash.ts";',
    "src/crypto/hash.ts": 'import { sha256 } from "@noble/hashes/sha2.js";',
    "tests/a_test.ts": 'import fc from "npm:fast-check@4.10.2";',
  };
  assert.deepEqual(await findings(tree), []);
});
