/**
 * `softkey card wipe`: takes a card away, the seed first.
 *
 * After each step a kill leaves a folder that has no seed and that this command
 * finishes.
 *
 * What it does not do: know which files those are (`../../erase.ts`).
 *
 * @module
 */

import type { SqliteStore } from "../../../store/sqlite.ts";
import { type Arguments, noMore, wanted } from "../../arguments.ts";
import { CARD_FILES, isThere } from "../../card.ts";
import { readCardFacts } from "../../card_state.ts";
import { eraseRest, eraseSeed } from "../../erase.ts";
import { channelsText } from "./backup.ts";
import { wantConsent } from "./consent.ts";
import { isBusy, nodeOnSeed, wantCardFolder, withMemory } from "./folder.ts";
import type { Talk } from "./restore.ts";

/** How many characters of the node id the owner types. */
const TYPED = 8;

/** Runs `card wipe`. */
export async function wipeCard(
  { options, words }: Arguments,
  { prompter, print }: Talk,
): Promise<number> {
  noMore(words);
  const folder = wanted(options, "card");
  await wantCardFolder(folder);
  await withMemoryIfWhole(folder, async (store) => {
    const card = await lookAt(folder, store);
    for (const line of wipeMeaning(card)) print(line);
    const answer = card.node?.slice(0, TYPED) ?? "wipe";
    const what = card.node === null
      ? "Type wipe"
      : `Type the first ${TYPED} characters of the node id`;
    const question = `${what} to take the card away: `;
    await wantConsent({ prompter, isYes: options.yes, question, answer });
    await eraseSeed(folder);
  });
  print(await eraseRest(folder));
  return 0;
}

/** What is lost with a card. */
export interface CardLoss {
  /** In hex. */
  readonly node: string | null;
  /** Null when nobody can tell. */
  readonly channels: number | null;
}

/** What wiping a card means, in lines for its owner. */
function wipeMeaning({ node, channels }: CardLoss): readonly string[] {
  const has = channels === null
    ? "channels that cannot be counted, because its memory cannot be read"
    : channelsText(channels);
  const money = channels === 0 ? [] : [
    "Without the card nobody can sign for these channels: close them first, " +
    "or move the card (softkey card backup FILE --move).",
  ];
  return [
    `This takes away the card of ${
      node === null ? "no node yet" : `node ${node}`
    }, ` +
    `with ${has}.`,
    ...money,
    "The only ways back are the words of the seed and a backup of the card. " +
    "There is no other copy.",
  ];
}

/** A memory that is damaged does not keep its owner from wiping it. */
async function withMemoryIfWhole(
  folder: string,
  use: (store: SqliteStore | null) => Promise<void>,
): Promise<void> {
  let isStarted = false;
  try {
    await withMemory(folder, (store) => {
      isStarted = true;
      return use(store);
    });
  } catch (error) {
    if (isStarted || isBusy(error)) throw error;
    await use(null);
  }
}

async function lookAt(
  folder: string,
  store: SqliteStore | null,
): Promise<CardLoss> {
  const isThereMemory = await isThere(`${folder}/${CARD_FILES.state}`);
  if (store === null) {
    const channels = isThereMemory ? null : 0;
    return { node: await nodeOnSeed(folder), channels };
  }
  const { node, memory } = readCardFacts(store);
  return {
    node: node?.toHex() ?? await nodeOnSeed(folder),
    channels: memory.channelCount,
  };
}
