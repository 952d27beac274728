/**
 * The built programs: what `deno task build` makes works under any name, with
 * nothing but `deno` on PATH, and answers as the stock hsmd did.
 *
 * @module
 */

import assert from "node:assert/strict";
import { buildInto, PROGRAMS } from "../../scripts/build.ts";
import { recordingsIn } from "../support/recording.ts";
import {
  describeOutcome,
  isIdentical,
  playWholePath,
} from "../support/whole_path.ts";
import { inFolder, run } from "./program.ts";

const VERSION = "v26.06.6";

/** Paths of the programs in a folder of their own; null where none are made. */
async function makePrograms(
  folder: string,
): Promise<Map<string, string> | null> {
  const paths = new Map<string, string>();
  for (const program of PROGRAMS) {
    try {
      paths.set(program.name, await buildInto(folder, program));
    } catch (error) {
      if (!(error instanceof Error && /^Cannot bundle/.test(error.message))) {
        throw error;
      }
      console.log(`skipped: ${error.message.split("\n", 1)}`);
      return null;
    }
  }
  return paths;
}

/** A PATH on which `deno` and a shell's own tools are found, and no more. */
async function barePath(folder: string): Promise<string> {
  const bin = `${folder}/bin`;
  await Deno.mkdir(bin);
  await Deno.symlink(Deno.execPath(), `${bin}/deno`);
  for (const tool of ["dirname", "readlink"]) {
    await Deno.symlink(`/usr/bin/${tool}`, `${bin}/${tool}`);
  }
  return bin;
}

Deno.test({
  name:
    "The built programs start under any name with deno on PATH, and play a recording",
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    await inFolder(async (folder) => {
      const programs = await makePrograms(folder);
      if (programs === null) return;
      const broker = programs.get("remote_hsmd_mqtt") ?? "";
      const softkey = programs.get("softkey") ?? "";
      const env = {
        PATH: await barePath(folder),
        LIGHTNINGD_VERSION: VERSION,
      };
      const renamed = `${folder}/lightning_hsmd`;
      const linked = `${folder}/link to hsmd`;
      await Deno.copyFile(broker, renamed);
      await Deno.symlink(broker, linked);
      for (const program of [broker, renamed, linked]) {
        const { code, stdout } = await run({
          program,
          args: ["--version"],
          env,
        });
        assert.deepEqual({ code, stdout }, { code: 0, stdout: `${VERSION}\n` });
      }
      const help = await run({ program: softkey, args: ["--help"], env });
      assert.equal(help.code, 0, help.stderr);
      assert.match(help.stdout, /softkey pair --card/);
      const [recording] = recordingsIn("vectors");
      assert.ok(recording !== undefined);
      const outcome = await playWholePath(recording, {
        broker: renamed,
        softkey,
      });
      assert.ok(isIdentical(outcome), describeOutcome(outcome));
    });
  },
});

Deno.test("A built program says what it misses where there is no deno", async () => {
  await inFolder(async (folder) => {
    const programs = await makePrograms(folder);
    if (programs === null) return;
    const bin = await barePath(folder);
    await Deno.remove(`${bin}/deno`);
    const program = programs.get("remote_hsmd_mqtt") ?? "";
    const { code, stderr } = await run({
      program,
      args: ["--version"],
      env: { PATH: bin },
    });
    assert.equal(code, 2);
    assert.match(stderr, /no deno beside it or on PATH/);
  });
});
