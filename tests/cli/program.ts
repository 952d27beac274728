/**
 * The programs as a person or lightningd's probe starts them.
 *
 * @module
 */

import { fromFileUrl } from "../support/paths.ts";

const ROOT = new URL("../../", import.meta.url);
const CONFIG = fromFileUrl(new URL("deno.json", ROOT));

/** The arguments of `deno` that start the broker from source. */
export const FROM_SOURCE: readonly string[] = [
  "run",
  "-A",
  "--quiet",
  "--config",
  CONFIG,
  fromFileUrl(new URL("main.ts", ROOT)),
];

/** What came of a program. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What it is started with. */
export interface Start {
  readonly program?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly input?: string;
}

/** Runs a program to its end; the broker from source by default. */
export async function run(start: Start): Promise<Ended> {
  const { program, args = [], env = {}, cwd, input = "" } = start;
  const own = program === undefined ? FROM_SOURCE : [];
  const child = new Deno.Command(program ?? Deno.execPath(), {
    args: [...own, ...args],
    env: { ...env },
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    ...(cwd === undefined ? {} : { cwd }),
  }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(input));
    await writer.close();
  } catch (error) {
    // It ended without reading to the end, as it may.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
  const { code, stdout, stderr } = await output;
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

/** Calls with a folder that is removed afterwards. */
export async function inFolder(
  fn: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await fn(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
