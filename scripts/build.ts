/**
 * `deno task build`: makes `dist/remote_hsmd_mqtt` and `dist/softkey`.
 *
 * Each is one executable file: a launcher of a few shell lines that finds `deno`
 * beside itself or on PATH and starts it with this program's permissions, and
 * behind it the whole program as one script. Every launcher line is a string
 * followed by a comment to the script, so that one file is both.
 *
 * @module
 */

import { environmentName, SETTING_NAMES } from "../src/cli/config.ts";

/** A program, its entry and what it may do. */
interface Program {
  readonly name: string;
  readonly entry: string;
  readonly permissions: readonly string[];
  /** An option that reaches where only all permissions together do. */
  readonly openOption?: string;
}

/** Anything else is hidden from the program: libraries look at much. */
const BROKER_ENVIRONMENT: readonly string[] = [
  "LIGHTNINGD_VERSION",
  "XDG_RUNTIME_DIR",
  ...SETTING_NAMES.map(environmentName),
];

/** Where a service manager puts credentials; whether colours are wanted. */
const DEVICE_ENVIRONMENT = ["CREDENTIALS_DIRECTORY", "NO_COLOR", "TERM"];

/** Both programs. */
export const PROGRAMS: readonly Program[] = [
  {
    name: "remote_hsmd_mqtt",
    entry: "main.ts",
    permissions: [
      "--allow-net",
      "--allow-read",
      // The helper's folder may have to be elsewhere; `run` is revoked after.
      "--allow-write=.,/dev/shm,/tmp,/run/user",
      "--allow-run",
      "--ignore-env",
      `--allow-env=${BROKER_ENVIRONMENT.join(",")}`,
    ],
  },
  {
    name: "softkey",
    entry: "src/device/main.ts",
    permissions: [
      "--allow-net",
      "--allow-read",
      "--allow-write",
      // An interface may be named to listen on.
      "--allow-sys=networkInterfaces",
      "--ignore-env",
      `--allow-env=${DEVICE_ENVIRONMENT.join(",")}`,
    ],
    // Lights are in /sys, which Deno keeps from everything that is held back.
    openOption: "--led",
  },
];

const ROOT = new URL("../", import.meta.url).pathname;

const FLAGS = [
  "--no-prompt",
  "--no-config",
  "--no-lock",
  "--no-npm",
  "--no-remote",
];

/** The launcher: shell lines that are strings and comments to the script. */
export function launcherOf(program: Program): string {
  const shell = [
    'here="$(dirname -- "$0")"; deno="$here/deno"',
    '[ -x "$deno" ] || { real="$(readlink -f -- "$0")" && deno="$(dirname -- "$real")/deno"; }',
    '[ -x "$deno" ] || deno="$(command -v deno)"',
    `[ -n "$deno" ] || { echo "${program.name}: no deno beside it or on PATH" >&2; exit 2; }`,
    // A hardened service may forbid just-in-time code, which stops the runtime;
    // without such code it runs. Only where that can be is it tried out.
    `jit=; { [ -n "\${INVOCATION_ID-}" ] || grep -q '^Seccomp:.*2' /proc/self/status; } && ! "$deno" eval 0 >/dev/null 2>&1 && jit=--v8-flags=--jitless`,
    `[ -z "$jit" ] || [ "$1" = --version ] || echo "${program.name}: just-in-time code is forbidden here (MemoryDenyWriteExecute): running without it, slower" >&2`,
    // Memory that holds a seed belongs in no core dump.
    "ulimit -c 0",
    `allow="${program.permissions.join(" ")}"`,
    ...openingOf(program),
    `DENO_NO_UPDATE_CHECK=1 exec "$deno" run $jit --quiet --ext=js ${
      FLAGS.join(" ")
    } $allow "$0" "$@"`,
  ];
  return ["#!/bin/sh", ...shell.map((line) => `":" //; ${line}`), ""].join(
    "\n",
  );
}

/** The line that looks for the option with which nothing is held back. */
function openingOf({ openOption }: Program): readonly string[] {
  return openOption === undefined ? [] : [
    `case " $* " in *" ${openOption} "*|*" ${openOption}="*) allow=--allow-all;; esac`,
  ];
}

/** Makes one program in `dist/`; returns its path. */
export function build(program: Program): Promise<string> {
  return buildInto(`${ROOT}dist`, program);
}

/** Makes one program in a folder; returns its path. */
export async function buildInto(
  folder: string,
  program: Program,
): Promise<string> {
  const script = await embedWasm(await bundle(program.entry));
  const path = `${folder}/${program.name}`;
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(path, launcherOf(program) + script);
  await Deno.chmod(path, 0o755);
  return path;
}

async function bundle(entry: string): Promise<string> {
  const file = await Deno.makeTempFile({ suffix: ".js" });
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["bundle", "--quiet", "--platform", "deno", "-o", file, entry],
      cwd: ROOT,
      stdout: "null",
      stderr: "piped",
    }).output();
    if (!success) {
      throw new Error(
        `Cannot bundle ${entry}: ${new TextDecoder().decode(stderr)}`,
      );
    }
    return await Deno.readTextFile(file);
  } finally {
    await Deno.remove(file);
  }
}

/** How `tiny-secp256k1` gets at the file beside its modules. */
const WASM_READ = 'readFileSync(path("secp256k1.wasm"))';

/** A script has no files beside it: what would be read goes into it. */
export async function embedWasm(script: string): Promise<string> {
  const reads = script.split("secp256k1.wasm").length - 1;
  if (reads === 0) return script;
  if (reads > 1 || !script.includes(WASM_READ)) {
    throw new Error(
      `Cannot embed secp256k1.wasm: named ${reads} times, want ${WASM_READ}`,
    );
  }
  const library = import.meta.resolve("tiny-secp256k1");
  const wasm = await Deno.readFile(new URL("secp256k1.wasm", library));
  const bytes = `Uint8Array.fromBase64("${wasm.toBase64()}")`;
  return script.replace(WASM_READ, () => bytes);
}

if (import.meta.main) {
  for (const program of PROGRAMS) {
    const path = await build(program);
    const { size } = await Deno.stat(path);
    console.log(`${path.slice(ROOT.length)}  ${Math.round(size / 1024)} KiB`);
  }
}
