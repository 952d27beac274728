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

Deno.test("no program leaves a core dump", async () => {
  const folder = await Deno.makeTempDir();
  try {
    // In place of deno: says what it was started with.
    const deno = `${folder}/deno`;
    await Deno.writeTextFile(deno, "#!/bin/sh\nulimit -c\n");
    await Deno.chmod(deno, 0o755);
    for (const program of PROGRAMS) {
      const path = `${folder}/${program.name}`;
      await Deno.writeTextFile(path, launcherOf(program));
      await Deno.chmod(path, 0o755);
      const { stdout } = await new Deno.Command("sh", {
        args: ["-c", 'ulimit -S -c unlimited 2>/dev/null; "$0"', path],
      }).output();
      assert.equal(new TextDecoder().decode(stdout), "0\n");
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
