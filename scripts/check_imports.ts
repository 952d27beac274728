/**
 * Keeps the architecture: who may import whom, and what the core may touch.
 *
 *     deno run --allow-read scripts/check_imports.ts
 *
 * Everything is a table here. An arrow points down the layers or stays in its
 * unit; whatever else is needed is a row with its reason. Type imports count:
 * what a file knows about is what its reader has to know about. The check reads
 * files as text (`source.ts`); a computed import is therefore refused.
 *
 * @module
 */

import { findFiles, type Problem, report } from "./problems.ts";
import {
  findImports,
  findModuleState,
  type Import,
  lineAt,
  readSource,
  type Source,
} from "./source.ts";

/** A part of the program: one file, a folder, or a file and its folder. */
interface Unit {
  readonly name: string;
  /** Files, and folders with a slash at the end. */
  readonly paths: readonly string[];
}

/** Units of the same height. */
interface Layer {
  readonly name: string;
  readonly units: readonly Unit[];
}

/** Something that is allowed against the rule, and why. */
interface Exception {
  readonly from: string;
  readonly to: string;
  readonly reason: string;
}

const unit = (name: string, ...paths: string[]): Unit => ({ name, paths });

/** From top to bottom. */
const LAYERS: readonly Layer[] = [
  {
    name: "programs",
    units: [
      unit("main", "main.ts"),
      unit("mod", "mod.ts"),
      unit("cli", "src/cli/"),
      unit("ops", "src/ops/"),
      unit("device/main", "src/device/main.ts"),
    ],
  },
  {
    name: "shell",
    units: [
      unit("unixfd", "src/unixfd.ts", "src/unixfd/"),
      unit("broker", "src/broker.ts", "src/broker/"),
      unit("chain", "src/chain.ts", "src/chain/"),
      unit("metrics", "src/metrics/"),
      unit("mqtt", "src/mqtt/"),
      unit("fdpass", "src/fdpass/"),
      unit("device", "src/device/"),
      unit("store", "src/store/"),
    ],
  },
  { name: "signer", units: [unit("signer", "src/signer/")] },
  { name: "policy", units: [unit("policy", "src/policy/")] },
  { name: "lightning", units: [unit("lightning", "src/lightning/")] },
  {
    name: "keyderiv",
    units: [unit("keyderiv", "src/keyderiv.ts", "src/keyderiv/")],
  },
  { name: "bitcoin", units: [unit("bitcoin", "src/bitcoin/")] },
  {
    name: "wire",
    units: [
      unit("wire", "src/wire/"),
      unit("store interface", "src/store/store.ts"),
    ],
  },
  { name: "crypto", units: [unit("crypto", "src/crypto/")] },
  { name: "errors", units: [unit("errors", "src/errors.ts")] },
];

/** Arrows between units that the layers alone would refuse. */
const ARROWS: readonly Exception[] = [
  { from: "main", to: "cli", reason: "it runs the command that argv names" },
  { from: "unixfd", to: "fdpass", reason: "clients get their descriptor" },
  { from: "broker", to: "unixfd", reason: "it answers a client's requests" },
  { from: "broker", to: "mqtt", reason: "it knows topics, not packets" },
  { from: "broker", to: "metrics", reason: "it counts what it does" },
  { from: "device", to: "mqtt", reason: "both ends share topics and tokens" },
  { from: "device", to: "store", reason: "it opens its card's memory" },
];

/** What main.ts must not reach: the second program, and what only that needs. */
const NOT_FROM_MAIN = [
  "src/signer/",
  "src/device/",
  "src/crypto/secp_wasm.ts",
  "src/crypto/sealing.ts",
] as const;

/** Parts that know nothing of the machine they run on. */
const CORE = [
  "signer",
  "policy",
  "lightning",
  "bitcoin",
  "wire",
  "crypto",
  "keyderiv",
];

/** What the core does not use, as it looks in code. */
const NOT_IN_CORE = [
  { name: "Deno", pattern: /(?<![.\w$])Deno\b/g },
  {
    name: "a timer",
    pattern: /(?<![\w$])(?:set|clear)(?:Timeout|Interval)\b/g,
  },
  { name: "Math.random", pattern: /\bMath\s*\.\s*random\b/g },
  { name: "a clock", pattern: /\bDate\s*\.\s*now\b|\bnew\s+Date\s*\(\s*\)/g },
  { name: "a clock", pattern: /\bperformance\s*\.\s*now\b/g },
  { name: "console", pattern: /(?<![.\w$])console\b/g },
] as const;

/** Uses in the core against that list. */
const CORE_USES: readonly Exception[] = [
  {
    from: "src/crypto/secp.ts",
    to: "module-level state (fastCurve)",
    reason: "set once by the device; it changes how fast, never what",
  },
  {
    from: "src/crypto/sealing.ts",
    to: "node:crypto",
    reason: "scrypt in the runtime is as fast where compiling is forbidden",
  },
  {
    from: "src/crypto/chachapoly.ts",
    to: "node:crypto",
    reason: "each message of a sealed link passes here; it is much quicker",
  },
];

const KEYDERIV = ["src/keyderiv.ts", "src/keyderiv/"];

/** Each npm package and the files that may name it. */
const NPM_OWNERS: Readonly<Record<string, readonly string[]>> = {
  "@bufbuild/protobuf": ["src/broker/storage/lss_pb.ts"],
  "@connectrpc/connect": ["src/broker/storage/grpc.ts"],
  "@connectrpc/connect-node": ["src/broker/storage/grpc.ts"],
  "@msgpack/msgpack": ["src/wire/msgpack.ts"],
  "@noble/ciphers": ["src/crypto/"],
  "@noble/curves": ["src/crypto/", "src/bitcoin/"],
  "@noble/hashes": ["src/crypto/", "src/bitcoin/"],
  "@scure/base": ["src/crypto/", ...KEYDERIV, "src/bitcoin/"],
  "@scure/bip32": ["src/crypto/", ...KEYDERIV, "src/bitcoin/"],
  "@scure/bip39": ["src/crypto/", ...KEYDERIV],
  "@scure/btc-signer": ["src/bitcoin/"],
  "aedes": ["src/mqtt/embedded.ts"],
  "mqtt": ["src/mqtt/access.ts"],
  "qr": ["src/cli/qr.ts"],
  "smol-toml": ["src/cli/config.ts"],
  "tiny-secp256k1": ["src/crypto/secp_wasm.ts"],
  "ws": ["src/mqtt/embedded.ts", "src/mqtt/access.ts"],
};

/** Places besides src where modules are. */
const ROOTS = ["main.ts", "mod.ts", "src/", "scripts/", "tests/"];

/** A file of the tree, read once. */
interface File {
  readonly path: string;
  readonly source: Source;
  readonly imports: readonly Import[];
}

/** An import that leads to another file of the tree. */
interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly line: number;
}

/** Checks the tree under `root` and returns what is wrong, in order of paths. */
export async function checkImports(root: URL): Promise<Problem[]> {
  const files = await readTree(root);
  const program = files.filter(({ path }) => isProgram(path));
  const arrows = program.flatMap(findArrows);
  return [
    ...program.flatMap((file) => checkTargets(file, files)),
    ...arrows.flatMap(checkArrow),
    ...findCycles(arrows),
    ...checkReach(arrows),
    ...program.filter(isCore).flatMap(checkCore),
    ...files.flatMap(checkPackages),
    ...await checkOwners(root),
  ];
}

async function readTree(root: URL): Promise<File[]> {
  const paths = await findFiles(root, ROOTS, ".ts");
  return await Promise.all(paths.map(async (path) => {
    const source = readSource(await Deno.readTextFile(new URL(path, root)));
    return { path, source, imports: findImports(source) };
  }));
}

/** Whether a file is part of what ships. */
function isProgram(path: string): boolean {
  return path.startsWith("src/") || !path.includes("/");
}

function isCore({ path }: File): boolean {
  const { name } = placeOf(path)?.unit ?? {};
  return name !== undefined && CORE.includes(name);
}

/** The layer and the unit of a path: the most exact one that names it. */
function placeOf(path: string) {
  const candidates = LAYERS.flatMap((layer, height) =>
    layer.units.flatMap((unit) =>
      unit.paths.filter((place) => isInside(path, place))
        .map((place) => ({ layer, height, unit, place }))
    )
  );
  return candidates.sort((a, b) => b.place.length - a.place.length)[0];
}

function isInside(path: string, place: string): boolean {
  return place.endsWith("/") ? path.startsWith(place) : path === place;
}

/** The path that a relative specifier of `from` means; null for all others. */
function resolve(from: string, specifier: string): string | null {
  if (!/^\.{1,2}\//.test(specifier)) return null;
  return new URL(specifier, `file:///${from}`).pathname.slice(1);
}

function findArrows({ path, imports }: File): Arrow[] {
  return imports.flatMap(({ specifier, line }) => {
    const to = specifier === null ? null : resolve(path, specifier);
    const isModule = to !== null && /\.tsx?$/.test(to);
    return isModule ? [{ from: path, to, line }] : [];
  });
}

/** Imports that this check could not follow, or that leave what ships. */
function checkTargets(file: File, files: readonly File[]): Problem[] {
  const at = (line: number, text: string) => ({ path: file.path, line, text });
  const unplaced = placeOf(file.path) === undefined
    ? [at(1, "stands in no layer, want a row in LAYERS")]
    : [];
  const lost = file.imports
    .filter(({ specifier }) => specifier === null)
    .map(({ line }) => at(line, "imports what it computes, want a text"));
  const missing = findArrows(file).flatMap(({ to, line }) => {
    if (!isProgram(to)) return [at(line, `imports ${to}, want src only`)];
    const isThere = files.some(({ path }) => path === to);
    return isThere ? [] : [at(line, `imports ${to}, which is not there`)];
  });
  return [...unplaced, ...lost, ...missing];
}

function checkArrow({ from, to, line }: Arrow): Problem[] {
  const source = placeOf(from);
  const target = placeOf(to);
  if (source === undefined || target === undefined) return [];
  if (source.unit === target.unit || source.height < target.height) return [];
  const isException = ARROWS.some((row) =>
    row.from === source.unit.name && row.to === target.unit.name
  );
  if (isException) return [];
  const where = source.height === target.height ? "beside" : "above";
  const text = `${source.unit.name} imports ${to}, which is ${where} it ` +
    `(${target.unit.name}), want an arrow downward`;
  return [{ path: from, line, text }];
}

/** Every cycle once, at the import that closes it. */
function findCycles(arrows: readonly Arrow[]): Problem[] {
  const problems: Problem[] = [];
  const done = new Set<string>();
  const visit = (path: string, trail: readonly string[]) => {
    for (const { to, line } of arrows.filter(({ from }) => from === path)) {
      const start = [...trail, path].indexOf(to);
      if (start >= 0) {
        const cycle = [...trail, path].slice(start);
        const text = `closes a cycle: ${[...cycle, to].join(" -> ")}`;
        problems.push({ path, line, text });
      } else if (!done.has(to)) visit(to, [...trail, path]);
    }
    done.add(path);
  };
  for (const { from } of arrows) if (!done.has(from)) visit(from, []);
  return problems;
}

/** What main.ts reaches and must not, with the way it takes. */
function checkReach(arrows: readonly Arrow[]): Problem[] {
  const problems: Problem[] = [];
  const ways = new Map<string, readonly string[]>([["main.ts", ["main.ts"]]]);
  // A map may grow while it is walked: new entries are visited as well.
  for (const [path, way] of ways) {
    if (isForbiddenToMain(path)) continue;
    for (const { to, line } of arrows.filter(({ from }) => from === path)) {
      if (ways.has(to)) continue;
      ways.set(to, [...way, to]);
      if (!isForbiddenToMain(to)) continue;
      const text = `main.ts reaches ${to}: ${[...way, to].join(" -> ")}`;
      problems.push({ path, line, text });
    }
  }
  return problems;
}

function isForbiddenToMain(path: string): boolean {
  return NOT_FROM_MAIN.some((place) => isInside(path, place));
}

function checkCore({ path, source, imports }: File): Problem[] {
  const { code } = source;
  const uses = NOT_IN_CORE.flatMap(({ name, pattern }) =>
    [...code.matchAll(pattern)].map(({ index }) => ({
      name,
      line: lineAt(code, index),
    }))
  );
  const modules = imports
    .filter(({ specifier }) => specifier?.startsWith("node:"))
    .map(({ specifier, line }) => ({ name: `${specifier}`, line }));
  const state = findModuleState(code)
    .map(({ name, line }) => ({ name: `module-level state (${name})`, line }));
  return [...uses, ...modules, ...state]
    .filter(({ name }) =>
      !CORE_USES.some((row) => isInside(path, row.from) && row.to === name)
    )
    .map(({ name, line }) => ({
      path,
      line,
      text: `the core uses ${name}, want it from its caller`,
    }));
}

/** Everything imported that is neither a file of ours nor built in. */
function checkPackages({ path, imports }: File): Problem[] {
  return imports.flatMap(({ specifier, line }) => {
    if (specifier === null || resolve(path, specifier) !== null) return [];
    const problem = packageProblem(path, specifier);
    return problem === null ? [] : [{ path, line, text: problem }];
  });
}

function packageProblem(path: string, specifier: string): string | null {
  if (specifier.startsWith("node:")) return null;
  const isTest = path.startsWith("tests/");
  if (specifier.startsWith("npm:")) {
    return isTest ? null : `names ${specifier} inline, want that in tests only`;
  }
  if (/^[a-z]+:/.test(specifier) || specifier.startsWith("/")) {
    return `imports ${specifier}, want a relative path or an npm package`;
  }
  if (isTest) return null;
  const name = packageName(specifier);
  const owners = NPM_OWNERS[name];
  if (owners === undefined) {
    return `imports ${name}, want a row for it in NPM_OWNERS`;
  }
  if (owners.some((place) => isInside(path, place))) return null;
  return `imports ${name}, want that in ${owners.join(" or ")} only`;
}

/** `@scope/name/file.js` and `name/file.js` without the file. */
function packageName(specifier: string): string {
  const length = specifier.startsWith("@") ? 2 : 1;
  return specifier.split("/").slice(0, length).join("/");
}

/** Packages of the import map that nobody owns, and the reverse. */
async function checkOwners(root: URL): Promise<Problem[]> {
  const path = "deno.json";
  const config = JSON.parse(await Deno.readTextFile(new URL(path, root)));
  const mapped = new Set(Object.keys(config.imports ?? {}).map(packageName));
  return [
    ...[...mapped].filter((name) => NPM_OWNERS[name] === undefined)
      .map((name) => `maps ${name}, want a row for it in NPM_OWNERS`),
    ...Object.keys(NPM_OWNERS).filter((name) => !mapped.has(name))
      .map((name) => `does not map ${name}, which NPM_OWNERS has`),
  ].map((text) => ({ path, line: 1, text }));
}

if (import.meta.main) {
  const root = new URL("../", import.meta.url);
  Deno.exitCode = report("imports", await checkImports(root));
}
