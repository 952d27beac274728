/**
 * One flipped byte: each one of the small files of a card that was stopped, a
 * seeded sample of its memory and its exported book.
 *
 * The logic of `card check` is run in this process, for speed; the program itself
 * is asked once for each file.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openCardStore } from "../../src/device/card_state.ts";
import {
  checkCard,
  checkFilesOnly,
} from "../../src/device/commands/card/check.ts";
import { checkExport } from "../../src/device/ledger.ts";
import { StoreError } from "../../src/errors.ts";
import { commandLine } from "../support/card_folder.ts";
import { runSoftkey } from "../support/softkey.ts";

/** Bytes of a large file that are flipped. */
const SAMPLE = 200;
/** Files up to this size are flipped byte by byte. */
const SMALL = 512;

/** What is flipped. */
export interface Flips {
  /** The folder of a card that was stopped. */
  readonly card: string;
  /** An exported ledger of it. */
  readonly book: string;
  /** Of the sample. */
  readonly seed: number;
}

/** Flips one byte after the other, and sees each of them found. */
export async function checkFlips({ card, book, seed }: Flips): Promise<void> {
  const random = seeded(seed);
  const names = [...Deno.readDirSync(card)].map(({ name }) => name).sort();
  const wanted = ["card_key", "id", "seed.sealed", "state.db", "state.db.sum"];
  assert.deepEqual(names, wanted);
  for (const name of names) {
    await flipIn(
      `${card}/${name}`,
      random,
      (where, isFirst) =>
        isFirst ? lookWithProgram(card, name, where) : look(card, name, where),
    );
  }
  await flipIn(book, random, async (where, isFirst) => {
    const text = new TextDecoder("utf-8", { ignoreBOM: true })
      .decode(await Deno.readFile(book));
    assert.notEqual(checkExport(text).fault, null, where);
    if (!isFirst) return;
    const { code, out } = await runSoftkey("ledger", "verify", book);
    assert.equal(code, 1, where);
    assert.match(out, /^The ledger is wrong at /);
  });
  const { code, err } = await runSoftkey("card", "check", "--card", card);
  assert.equal(code, 0, err);
}

/** Changes a byte, looks, puts it back; for each byte, or a sample. */
async function flipIn(
  path: string,
  random: () => number,
  look: (where: string, isFirst: boolean) => Promise<void>,
): Promise<void> {
  const whole = await Deno.readFile(path);
  const { mode } = await Deno.stat(path);
  await Deno.chmod(path, 0o600);
  for (const [i, at] of placesIn(whole.length, random).entries()) {
    const changed = new Uint8Array(whole);
    // Any other value, not just one other bit.
    changed[at] = (changed[at] ?? 0) ^ (1 + Math.floor(random() * 255));
    await Deno.writeFile(path, changed);
    await look(`${path}, byte ${at}: ${changed[at]}`, i === 0);
  }
  await Deno.writeFile(path, whole);
  await Deno.chmod(path, (mode ?? 0o600) & 0o777);
}

function placesIn(size: number, random: () => number): readonly number[] {
  return size <= SMALL
    ? Array.from({ length: size }, (_, at) => at)
    : Array.from({ length: SAMPLE }, () => Math.floor(random() * size));
}

async function look(
  folder: string,
  name: string,
  where: string,
): Promise<void> {
  const lines: string[] = [];
  const print = (text: string) => void lines.push(text);
  const code = await check(folder, print);
  const text = lines.join("\n");
  assert.equal(code, 1, `${where}\n${text}`);
  assert.ok(text.includes(name), `${where}\n${text}`);
  assert.doesNotMatch(text, /The card is whole/);
}

/** As the command does: a memory that does not open is a finding, too. */
async function check(
  folder: string,
  print: (text: string) => void,
): Promise<number> {
  const access = { folder, print, printError: print };
  try {
    const store = openCardStore(folder);
    try {
      const { options } = commandLine("--card", folder);
      return await checkCard({ ...access, store, network: null }, options);
    } finally {
      store.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return await checkFilesOnly(access, error);
  }
}

async function lookWithProgram(
  card: string,
  name: string,
  where: string,
): Promise<void> {
  const { code, err } = await runSoftkey("card", "check", "--card", card);
  assert.equal(code, 1, where);
  assert.ok(err.includes(name), `${where}: ${err}`);
}

/** mulberry32: numbers from 0 to 1, the same for the same seed. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
