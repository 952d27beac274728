/**
 * `deno task compile`: both programs as single files that need nothing, for
 * x86-64 and arm64 Linux.
 *
 * `deno compile` puts the program behind a runtime that it downloads once. Where
 * that download is out of reach this says so and fails; `deno task build` makes
 * files that use the `deno` of the machine.
 *
 * @module
 */

import { PROGRAMS } from "./build.ts";

const TARGETS = {
  "x86_64": "x86_64-unknown-linux-gnu",
  "aarch64": "aarch64-unknown-linux-gnu",
} as const;

const ROOT = new URL("../", import.meta.url).pathname;

/** What the compiler says when it cannot get the runtime. */
const OUT_OF_REACH = /denort|download|error sending request|dns|connect/i;

async function compile(
  program: (typeof PROGRAMS)[number],
  arch: string,
  target: string,
): Promise<string | null> {
  const output = `dist/${program.name}-${arch}`;
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--no-prompt",
      ...program.permissions,
      "--target",
      target,
      "--output",
      output,
      program.entry,
    ],
    cwd: ROOT,
    stdout: "null",
    stderr: "piped",
  }).output();
  const text = new TextDecoder().decode(stderr).trim();
  if (success) {
    console.log(`${output}`);
    return null;
  }
  return OUT_OF_REACH.test(text)
    ? `${output}: the runtime for ${target} cannot be downloaded here. Run this ` +
      "on a machine that reaches Deno's downloads, or name a runtime in " +
      `DENORT_BIN; deno task build works without it.\n${text}`
    : `${output}: ${text}`;
}

if (import.meta.main) {
  const problems: string[] = [];
  for (const program of PROGRAMS) {
    for (const [arch, target] of Object.entries(TARGETS)) {
      const problem = await compile(program, arch, target);
      if (problem !== null) problems.push(problem);
    }
  }
  for (const problem of problems) console.error(problem);
  Deno.exit(problems.length === 0 ? 0 : 1);
}
