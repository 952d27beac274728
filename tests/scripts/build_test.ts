/**
 * What the build does to a script: it has no files beside it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { embedWasm, launcherOf, PROGRAMS } from "../../scripts/build.ts";

const READ = 'readFileSync(path("secp256k1.wasm"))';
/** "\0asm", version 1, as every module of WebAssembly begins. */
const WASM_HEAD = "0061736d01000000";

Deno.test("a script that reads no library is left as it is", async () => {
  const script = "export const two = 1 + 1;\n";
  assert.equal(await embedWasm(script), script);
});

Deno.test("the library that a script would read is put into it", async () => {
  const script = await embedWasm(`before(); binary = ${READ}; after();`);
  const bytes = script
    .match(
      /^before\(\); binary = Uint8Array.fromBase64\("([^"]*)"\); after\(\);$/,
    )
    ?.[1];
  assert.ok(bytes !== undefined);
  const wasm = Uint8Array.fromBase64(bytes);
  assert.equal(wasm.subarray(0, 8).toHex(), WASM_HEAD);
  assert.ok(WebAssembly.validate(wasm));
});

Deno.test("a script that reads it in another way is refused", async () => {
  const scripts = [`${READ}; ${READ}`, 'fetch("secp256k1.wasm")'];
  for (const script of scripts) {
    await assert.rejects(embedWasm(script), /Cannot embed secp256k1\.wasm/);
  }
});

/** What a launcher does, with a shell script in deno's place. */
async function launch(
  program: (typeof PROGRAMS)[number],
  script: string,
  ...args: string[]
): Promise<string> {
  const folder = await Deno.makeTempDir();
  try {
    const deno = `${folder}/deno`;
    const path = `${folder}/${program.name}`;
    await Deno.writeTextFile(deno, `#!/bin/sh\n${script}\n`);
    await Deno.writeTextFile(path, launcherOf(program));
    for (const file of [deno, path]) await Deno.chmod(file, 0o755);
    const { stdout } = await new Deno.Command("sh", {
      args: [
        "-c",
        'ulimit -S -c unlimited 2>/dev/null; exec "$0" "$@"',
        path,
        ...args,
      ],
    }).output();
    return new TextDecoder().decode(stdout);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("no program leaves a core dump", async () => {
  for (const program of PROGRAMS) {
    assert.equal(await launch(program, "ulimit -c"), "0\n");
  }
});

Deno.test("only a softkey with a light is held back by nothing", async () => {
  const [broker, softkey] = PROGRAMS;
  assert.ok(broker !== undefined && softkey !== undefined);
  const started = 'echo "$@"';
  assert.match(
    await launch(softkey, started, "run", "--led", "box:status"),
    /--allow-all \S*softkey run --led box:status\n$/,
  );
  assert.match(await launch(softkey, started, "--led=x"), /--allow-all/);
  for (
    const [program, option] of [[softkey, "--ledger"], [
      broker,
      "--led",
    ]] as const
  ) {
    const line = await launch(program, started, "run", option);
    assert.doesNotMatch(line, /--allow-all/);
    assert.ok(line.includes(program.permissions.join(" ")));
  }
});
