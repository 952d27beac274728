/**
 * `deno task ok`: everything that decides whether a change is acceptable.
 *
 * The quick checks come first and all of them run, so that one look shows every
 * problem; the tests run when there is none. `--no-tests` leaves them out, for
 * who has just run them.
 *
 * @module
 */

/** A check: what it is called, and how deno runs it. */
interface Check {
  readonly name: string;
  readonly args: readonly string[];
}

const script = (path: string, ...args: readonly string[]) => [
  "run",
  "-A",
  "--quiet",
  `scripts/${path}`,
  ...args,
];

const CHECKS: readonly Check[] = [
  { name: "format", args: ["fmt", "--check", "--quiet"] },
  { name: "lint", args: ["lint", "--quiet"] },
  { name: "types", args: ["check", "--quiet", "."] },
  { name: "examples", args: ["test", "-A", "--doc", "--quiet", "mod.ts"] },
  { name: "imports", args: script("check_imports.ts") },
  { name: "tables", args: script("check_tables.ts") },
  { name: "tour", args: script("check_tour.ts", "--quiet") },
  { name: "wire against CLN's definitions", args: script("wire_diff.ts") },
  { name: "helpers", args: script("build_helpers.ts", "--check") },
];

const TESTS: Check = { name: "tests", args: ["task", "--quiet", "test"] };

const ROOT = new URL("../", import.meta.url).pathname;

async function passes({ name, args }: Check): Promise<boolean> {
  const isTests = name === TESTS.name;
  const output = isTests ? "inherit" : "piped";
  const start = performance.now();
  const result = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT,
    stdin: "null",
    stdout: output,
    stderr: output,
  }).output();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${result.success ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  if (!result.success && !isTests) {
    const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    console.log(decode(result.stdout) + decode(result.stderr));
  }
  return result.success;
}

const failed: string[] = [];
for (const check of CHECKS) {
  if (!await passes(check)) failed.push(check.name);
}
const isTesting = !Deno.args.includes("--no-tests");
if (failed.length === 0 && isTesting && !await passes(TESTS)) {
  failed.push(TESTS.name);
}
if (failed.length > 0) console.log(`not ok: ${failed.join(", ")}`);
Deno.exit(failed.length === 0 ? 0 : 1);
