/**
 * kill -9 while a card is set up: it has no seed, or a whole one whose words are
 * on the owner's paper; and without one, the same command makes one.
 *
 * A file stands for the paper. `CRASH_SEED=n` picks other moments; SLOW=1 kills
 * 300 times.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import { hasSeed, openCard, readSealed } from "../../src/device/card.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { openSealed, sealedNodeId } from "../../src/device/sealed_secret.ts";
import {
  candidateOfFile,
  candidateOfWords,
} from "../../src/device/setup/candidate.ts";
import { inFolder, type Result, spawnSoftkey } from "../support/softkey.ts";

const KILLS = Deno.env.get("SLOW") === "1" ? 300 : 12;
const SEED = Number(Deno.env.get("CRASH_SEED") ?? "1");

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
function* numbersFrom(seed: number): Generator<number, never> {
  for (let a = seed >>> 0;;) {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ a >>> 15, a | 1);
    t ^= t + Math.imul(t ^ t >>> 7, t | 61);
    yield ((t ^ t >>> 14) >>> 0) / 2 ** 32;
  }
}

/** Sets a card up; killed after so many milliseconds, if it takes longer. */
async function setUp(folder: string, killMs?: number): Promise<Result> {
  const softkey = spawnSoftkey(
    ...["init", "--card", `${folder}/card`, "--network", "regtest", "--yes"],
    ...["--words-file", `${folder}/words`, "--key-file", `${folder}/key`],
  );
  const timer = killMs === undefined
    ? undefined
    : setTimeout(() => softkey.kill(), killMs);
  const result = await softkey.result;
  clearTimeout(timer);
  return result;
}

/** The seed on a card, opened; null when there is none. @throws for half a one */
async function wholeSeed(folder: string): Promise<string | null> {
  const card = await openCard(`${folder}/card`);
  const kind = await hasSeed(card);
  if (kind === null) return null;
  assert.equal(kind, "sealed");
  const sealed = await readSealed(card) ?? new Uint8Array();
  const bytes = new Secret(await Deno.readFile(`${folder}/key`));
  const file = openSealed(sealed, { kind: "file", bytes });
  const { nodeId } = candidateOfFile(file.reveal(), { passphrase: null });
  assert.equal(nodeId, sealedNodeId(sealed)?.toHex());
  const store = openCardStore(card.folder);
  const { network, standing } = readCardState(store, NETWORKS.regtest);
  store.close();
  assert.deepEqual([network, standing], ["regtest", null]);
  return nodeId;
}

async function writtenNode(folder: string): Promise<string | null> {
  const words = await Deno.readTextFile(`${folder}/words`);
  return candidateOfWords(words.trim(), null, true).nodeId;
}

Deno.test("killed at any moment of its setup, a card has no seed or a whole one", async () => {
  let longest = 0;
  await inFolder(async (folder) => {
    const start = performance.now();
    assert.equal((await setUp(folder)).code, 0);
    longest = performance.now() - start;
  });
  const moments = numbersFrom(SEED);
  const found = { none: 0, whole: 0 };
  for (let i = 0; i < KILLS; i++) {
    await inFolder(async (folder) => {
      // The first part is the runtime's own start.
      const moment = longest * (0.4 + 0.7 * moments.next().value);
      await setUp(folder, moment);
      const nodeId = await wholeSeed(folder);
      found[nodeId === null ? "none" : "whole"] += 1;
      if (nodeId !== null) {
        return assert.equal(nodeId, await writtenNode(folder));
      }
      await Deno.remove(`${folder}/words`).catch(() => {});
      const again = await setUp(folder);
      assert.equal(again.code, 0, again.err);
      assert.equal(await wholeSeed(folder), await writtenNode(folder));
    });
  }
  console.log(`    ${found.none} without a seed, ${found.whole} with one`);
  assert.ok(found.none > 0, "no kill came before the seed");
});
