/**
 * Compiles the small C programs for both architectures and writes them as
 * TypeScript modules:
 *
 *     deno run -A scripts/build_helpers.ts            build and write
 *     deno run -A scripts/build_helpers.ts --check    build aside and compare
 *
 * Why the results are committed: whoever runs or tests the project needs no
 * compiler. Why they can be trusted: the compiler leaves no path and no date
 * in them, so the same compiler gives the same bytes, and `--check` says for
 * each one whether it did. Another compiler gives other bytes; such a pair is
 * reported as skipped, after comparing the sources' hash alone.
 *
 * @module
 */

import { fileURLToPath } from "node:url";
import {
  type Architecture,
  decodeElf,
  type ElfImage,
  type ElfImages,
} from "../src/fdpass/elf.ts";

/** A C program and the module that carries it. */
export interface Program {
  /** The file to compile first, then the headers that it includes. */
  readonly sources: readonly [string, ...string[]];
  /** The module to write. */
  readonly module: string;
  /** What it exports. */
  readonly constant: string;
  /** First line of its header. */
  readonly summary: string;
  /** The executable may not be longer than this, in bytes. */
  readonly limit: number;
  /** Reads the module that was written last. */
  readonly recorded: () => Promise<ElfImages>;
}

/** A command that compiles and links for one architecture. */
export interface Compiler {
  /** The program and the arguments that come before all others. */
  readonly command: readonly [string, ...string[]];
  /** First line of its version text and of its linker's. */
  readonly version: string;
}

/** What a check found. */
interface Verdict {
  readonly isDifferent: boolean;
  readonly text: string;
}

const ROOT = new URL("../", import.meta.url);
const COMMAND = "deno run -A scripts/build_helpers.ts";
const ARCHITECTURES: readonly Architecture[] = ["x86_64", "aarch64"];

/** The helper that hands descriptors to lightningd. */
export const HANDOVER: Program = {
  sources: ["src/fdpass/handover.c", "src/fdpass/syscalls.h"],
  module: "src/fdpass/handover_elf.ts",
  constant: "HANDOVER_ELF",
  summary: "The helper that hands descriptors to lightningd, as executables.",
  limit: 4096,
  recorded: async () =>
    (await import("../src/fdpass/handover_elf.ts")).HANDOVER_ELF,
};

/** The program that plays lightningd's operating-system side in tests. */
export const PARENT: Program = {
  sources: ["tests/support/standin/parent.c", "src/fdpass/syscalls.h"],
  module: "tests/support/standin/parent_elf.ts",
  constant: "PARENT_ELF",
  summary: "The operating-system side of the lightningd stand-in.",
  limit: 8192,
  recorded: async () =>
    (await import("../tests/support/standin/parent_elf.ts")).PARENT_ELF,
};

const PROGRAMS: readonly Program[] = [HANDOVER, PARENT];

/** Small, static, without a C library, without traces of time and place. */
const FLAGS = [
  "-std=c11",
  "-Os",
  "-Wall",
  "-Wextra",
  "-ffreestanding",
  "-fno-stack-protector",
  "-fno-pie",
  "-fno-unwind-tables",
  "-fno-asynchronous-unwind-tables",
  "-fno-ident",
  "-nostdlib",
  "-static",
  "-Wl,--strip-all",
  "-Wl,--build-id=none",
  "-Wl,-z,noseparate-code",
  "-Wl,-z,noexecstack",
];

const ARCHITECTURE_FLAGS: Readonly<Record<Architecture, readonly string[]>> = {
  x86_64: ["-fcf-protection=none"],
  aarch64: [],
};

/** Finds every compiler here that can build for `architecture`, best first. */
export async function findCompilers(
  architecture: Architecture,
): Promise<Compiler[]> {
  const compilers: Compiler[] = [];
  for (const command of candidates(architecture)) {
    const version = await probe(command);
    if (version !== null) compilers.push({ command, version });
  }
  return compilers;
}

/** Compiles a program into the file `output`. */
export async function compile(
  program: Program,
  options: {
    architecture: Architecture;
    compiler: Compiler;
    output: string;
  },
): Promise<void> {
  const { architecture, compiler, output } = options;
  const { success, text } = await run([
    ...compiler.command,
    ...FLAGS,
    ...ARCHITECTURE_FLAGS[architecture],
    "-o",
    output,
    path(program.sources[0]),
  ]);
  if (!success) {
    throw new Error(`Cannot compile ${program.sources[0]}: ${text}`);
  }
}

/** The path of a file of the project, given relative to its root. */
function path(relative: string): string {
  return fileURLToPath(new URL(relative, ROOT));
}

function candidates(architecture: Architecture): Compiler["command"][] {
  const triple = `${architecture}-linux-gnu`;
  const native: Compiler["command"][] = architecture === Deno.build.arch
    ? [["gcc"], ["cc"], ["clang"]]
    : [];
  return [
    ...native,
    [`${triple}-gcc`],
    ["clang", `--target=${triple}`, "-fuse-ld=lld"],
  ];
}

/** Returns the version of a compiler and its linker, null without either. */
async function probe(command: Compiler["command"]): Promise<string | null> {
  const compiler = await run([...command, "--version"]);
  if (!compiler.success) return null;
  const linker = await run([...command, "-nostdlib", "-Wl,--version"]);
  const linkerLine = linker.text.split("\n")
    .find((line) => /\b(GNU ld|GNU gold|LLD|mold)\b/.test(line));
  if (linkerLine === undefined) return null;
  return `${compiler.text.split("\n", 1)[0]}; ${linkerLine}`;
}

async function run(
  [program, ...args]: readonly [string, ...string[]],
): Promise<{ success: boolean; text: string }> {
  try {
    const { success, stdout, stderr } = await new Deno.Command(program, {
      args,
      env: { LC_ALL: "C" },
    }).output();
    const decoder = new TextDecoder();
    return { success, text: decoder.decode(stdout) + decoder.decode(stderr) };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return { success: false, text: "" };
  }
}

async function sha256(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", bytes);
  return new Uint8Array(digest).toHex();
}

async function hashSources(program: Program): Promise<string> {
  const texts = await Promise.all(
    program.sources.map((source) => Deno.readTextFile(path(source))),
  );
  return await sha256(new TextEncoder().encode(texts.join("")));
}

/** Compiles in a temporary directory and returns the executable. */
async function build(
  program: Program,
  architecture: Architecture,
  compiler: Compiler,
): Promise<Uint8Array<ArrayBuffer>> {
  const directory = await Deno.makeTempDir();
  try {
    const output = `${directory}/program`;
    await compile(program, { architecture, compiler, output });
    const bytes = await Deno.readFile(output);
    if (bytes.length <= program.limit) return bytes;
    throw new Error(
      `Cannot use ${program.sources[0]} for ${architecture}: ` +
        `${bytes.length} bytes, at most ${program.limit} wanted`,
    );
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

async function buildImage(
  program: Program,
  architecture: Architecture,
): Promise<ElfImage> {
  const [compiler] = await findCompilers(architecture);
  if (compiler === undefined) {
    throw new Error(
      `Cannot build for ${architecture}: no compiler found, tried ` +
        candidates(architecture).map((words) => words.join(" ")).join(", "),
    );
  }
  const bytes = await build(program, architecture, compiler);
  console.log(
    `${program.constant} ${architecture}: ${bytes.length} bytes, ` +
      compiler.version,
  );
  return {
    compiler: compiler.version,
    source: await hashSources(program),
    sha256: await sha256(bytes),
    base64: bytes.toBase64(),
  };
}

function renderImage(architecture: Architecture, image: ElfImage): string {
  const lines = image.base64.match(/.{1,76}/g) ?? [];
  return `  ${architecture}: {
    compiler: ${JSON.stringify(image.compiler)},
    source: "${image.source}",
    sha256: "${image.sha256}",
    base64: \`
${lines.join("\n")}
\`,
  },
`;
}

function renderModule(program: Program, images: ElfImages): string {
  const elf = program.module.split("/").slice(0, -1).map(() => "..").join("/");
  return `/**
 * ${program.summary}
 *
 * Generated from ${program.sources.join(" and ")} by
 * \`${COMMAND}\`; do not edit.
 *
 * @module
 */

import type { ElfImages } from "${elf}/src/fdpass/elf.ts";

/** By architecture: provenance, hash and bytes. */
export const ${program.constant}: ElfImages = {
${ARCHITECTURES.map((name) => renderImage(name, images[name])).join("")}};
`;
}

async function write(program: Program): Promise<void> {
  const images: ElfImages = {
    x86_64: await buildImage(program, "x86_64"),
    aarch64: await buildImage(program, "aarch64"),
  };
  const module = path(program.module);
  await Deno.writeTextFile(module, renderModule(program, images));
  await run([Deno.execPath(), "fmt", "--quiet", module]);
}

/** Compares one recorded executable with the sources and with a fresh one. */
async function check(
  program: Program,
  architecture: Architecture,
): Promise<Verdict> {
  const image = (await program.recorded())[architecture];
  if (image.sha256 !== await sha256(decodeElf(image))) {
    return differs("the bytes do not have the recorded hash");
  }
  if (image.source !== await hashSources(program)) {
    return differs("the sources have changed since it was built");
  }
  const compilers = await findCompilers(architecture);
  const compiler = compilers.find(({ version }) => version === image.compiler);
  if (compiler === undefined) {
    const here = compilers.map(({ version }) => version).join(" / ") || "none";
    const text = `SKIPPED: made by ${image.compiler}; here: ${here}`;
    return { isDifferent: false, text };
  }
  const bytes = await build(program, architecture, compiler);
  return image.sha256 === await sha256(bytes)
    ? { isDifferent: false, text: "the same bytes" }
    : differs(`other bytes from ${compiler.version}`);
}

function differs(text: string): Verdict {
  return { isDifferent: true, text };
}

/** Checks everything; returns whether nothing differs. */
async function checkAll(): Promise<boolean> {
  let isSame = true;
  for (const program of PROGRAMS) {
    for (const architecture of ARCHITECTURES) {
      const { isDifferent, text } = await check(program, architecture);
      const mark = isDifferent ? "DIFFERENT: " : "";
      console.log(`${program.constant} ${architecture}: ${mark}${text}`);
      if (isDifferent) isSame = false;
    }
  }
  return isSame;
}

async function main(args: readonly string[]): Promise<number> {
  const [option] = args;
  if (args.length > 1 || (option !== undefined && option !== "--check")) {
    console.error(`Usage: ${COMMAND} [--check]`);
    return 2;
  }
  if (option === "--check") return await checkAll() ? 0 : 1;
  for (const program of PROGRAMS) await write(program);
  return 0;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
