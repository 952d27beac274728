/**
 * `softkey run` as a process: cards of other releases and other nodes, and its
 * end.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openCard } from "../../src/device/card.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { freePort } from "../support/paths.ts";
import { startSoftkey, untilSaid } from "../support/softkey.ts";

const secretOf = (seed: number) =>
  makeSecretFile(new Uint8Array(16).fill(seed));

async function inFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A softkey whose broker is not there, and what it said when it ended. */
async function start(folder: string, seed: number) {
  return await startSoftkey({
    folder,
    url: `mqtt://127.0.0.1:${freePort()}`,
    secret: secretOf(seed),
    output: "piped",
  });
}

/** Runs until it says this, then ends it kindly; its exit code. */
async function runUntil(
  folder: string,
  { seed, text }: { readonly seed: number; readonly text: string },
): Promise<number> {
  const softkey = await start(folder, seed);
  await untilSaid(softkey, text);
  softkey.kill("SIGTERM");
  const { code } = await softkey.status;
  return code;
}

Deno.test("a card from before there was a memory gets an empty one, and the owner is told", () =>
  inFolder(async (folder) => {
    await openCard(`${folder}/card`);
    const text = "channels that were opened before are unknown to this signer";
    assert.equal(await runUntil(folder, { seed: 1, text }), 0);
    assert.ok((await Deno.stat(`${folder}/card/state.db`)).isFile);
  }));

Deno.test("a memory of another node is refused before anything connects", () =>
  inFolder(async (folder) => {
    assert.equal(await runUntil(folder, { seed: 1, text: "connecting" }), 0);
    const softkey = await start(folder, 2);
    const said = await new Response(softkey.stdout).text();
    const { code } = await softkey.status;
    assert.equal(code, 2);
    assert.doesNotMatch(said, /connecting/);
    assert.equal(await runUntil(folder, { seed: 1, text: "connecting" }), 0);
  }));

Deno.test("a second softkey with the same card ends with exit code 2", () =>
  inFolder(async (folder) => {
    const first = await start(folder, 1);
    await untilSaid(first, "connecting");
    const second = await start(folder, 1);
    await new Response(second.stdout).text();
    assert.equal((await second.status).code, 2);
    first.kill("SIGTERM");
    assert.equal((await first.status).code, 0);
  }));
