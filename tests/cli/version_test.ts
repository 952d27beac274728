/**
 * `--version`: what lightningd asks at every start, and must hear to the letter.
 *
 * @module
 */

import assert from "node:assert/strict";
import { FROM_SOURCE, inFolder, run } from "./program.ts";

const VERSION = "v26.06.6";

Deno.test("--version repeats what lightningd put into the environment, and nothing else", async () => {
  const env = { LIGHTNINGD_VERSION: VERSION };
  const { code, stdout, stderr } = await run({ args: ["--version"], env });
  assert.deepEqual({ code, stdout, stderr }, {
    code: 0,
    stdout: `${VERSION}\n`,
    stderr: "",
  });
});

/** A program whose own --version looks like lightningd's: Node.js. */
const PARENT = "node";

async function parentVersion(): Promise<string | null> {
  try {
    const { stdout } = await run({ program: PARENT, args: ["--version"] });
    return stdout;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

Deno.test("--version asks the program that started it, where the environment is silent", async () => {
  const version = await parentVersion();
  if (version === null) {
    console.log(`skipped: no ${PARENT} on PATH to play lightningd`);
    return;
  }
  const args = JSON.stringify([...FROM_SOURCE, "--version"]);
  const script = `const { spawnSync } = require("node:child_process");
const { status } = spawnSync(${JSON.stringify(Deno.execPath())}, ${args}, {
  stdio: "inherit",
});
process.exitCode = status;`;
  const { code, stdout } = await run({
    program: PARENT,
    args: ["-e", script],
    env: { LIGHTNINGD_VERSION: "" },
  });
  assert.deepEqual({ code, stdout }, { code: 0, stdout: version });
});

Deno.test("--version takes the setting where nobody else knows", async () => {
  const env = { LIGHTNINGD_VERSION: "", REMOTE_HSMD_CLN_VERSION: "v25.12" };
  const { code, stdout } = await run({ args: ["--version"], env });
  // The parent is asked before: this test's own runtime is not a lightningd.
  assert.deepEqual({ code, stdout }, { code: 0, stdout: "v25.12\n" });
});

Deno.test("--version says what to set, where no source knows, and ends with 2", async () => {
  await inFolder(async (cwd) => {
    const env = { LIGHTNINGD_VERSION: "" };
    const { code, stdout, stderr } = await run({
      args: ["--version"],
      env,
      cwd,
    });
    assert.deepEqual({ code, stdout }, { code: 2, stdout: "" });
    assert.match(stderr, /cln_version/);
  });
});

Deno.test("By hand it explains itself, and refuses what it does not know", async () => {
  await inFolder(async (cwd) => {
    const help = await run({ args: ["--help"], cwd });
    assert.equal(help.code, 0);
    assert.match(help.stdout, /verify/);
    const config = await run({
      args: ["config"],
      cwd,
      env: { REMOTE_HSMD_PAIRING: "open" },
    });
    assert.equal(config.code, 0);
    assert.match(config.stdout, /pairing = "open" +\(REMOTE_HSMD_PAIRING\)/);
    assert.match(config.stdout, /log_level = "debug" +\(default\)/);
    const unknown = await run({ args: ["sign"], cwd });
    assert.equal(unknown.code, 2);
    assert.match(unknown.stderr, /--help/);
  });
});
