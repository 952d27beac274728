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

Deno.test("--version asks the program that started it, where the environment is silent", async () => {
  // A shell under another name would not do: what is asked is the executable.
  const probe = `if (Deno.args[0] === "--version") console.log("${VERSION}");
else {
  const { code } = await new Deno.Command(${JSON.stringify(Deno.execPath())}, {
    args: ${JSON.stringify([...FROM_SOURCE, "--version"])},
    env: { LIGHTNINGD_VERSION: "" },
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  Deno.exit(code);
}`;
  await inFolder(async (folder) => {
    const source = `${folder}/lightningd.ts`;
    await Deno.writeTextFile(source, probe);
    const program = `${folder}/lightningd`;
    const made = await run({
      program: Deno.execPath(),
      args: [
        "compile",
        "-A",
        "--quiet",
        "--no-check",
        "--no-config",
        "-o",
        program,
        source,
      ],
    });
    if (made.code !== 0) {
      console.log("skipped: deno compile cannot make a stand-in parent here");
      return;
    }
    const { code, stdout } = await run({ program });
    assert.deepEqual({ code, stdout }, { code: 0, stdout: `${VERSION}\n` });
  });
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
