/**
 * `softkey card wipe`: takes a card away, the seed first.
 *
 * After each step a kill leaves a folder that has no seed and that this command
 * finishes. Only files that are a card's go; the folder goes when nothing else
 * is in it.
 *
 * What it does not do: reach what a disk keeps of deleted files. The sealed seed
 * is encrypted for that reason.
 *
 * @module
 */

import type { SqliteStore } from "../../../store/sqlite.ts";
import { type Arguments, noMore, wanted } from "../../arguments.ts";
import {
  asideOf,
  CARD_FILES,
  folderOf,
  isThere,
  removeCardSecret,
  removeFile,
  syncFolder,
} from "../../card.ts";
import { readCardFacts } from "../../card_state.ts";
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
    await removeSeed(folder);
  });
  await removeRest(folder);
  print(await removeFolder(folder));
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

/** Durable before anything else goes: without it no memory can sign. */
async function removeSeed(folder: string): Promise<void> {
  if (await isThere(`${folder}/${CARD_FILES.clear}`)) {
    await removeCardSecret({ folder });
  }
  await removeFile(`${folder}/${CARD_FILES.sealed}`);
  for (const name of [CARD_FILES.clear, CARD_FILES.sealed]) {
    await removeAsides(`${folder}/${name}`);
  }
  await syncFolder(folder);
}

/** The memory before its log: a memory without its newest commits would be old. */
const REST = [
  CARD_FILES.state,
  CARD_FILES.stateLog,
  CARD_FILES.stateIndex,
  CARD_FILES.stateSum,
  CARD_FILES.socket,
  CARD_FILES.key,
  CARD_FILES.id,
] as const;

async function removeRest(folder: string): Promise<void> {
  for (const name of REST) {
    await removeFile(`${folder}/${name}`);
    await removeAsides(`${folder}/${name}`);
    await syncFolder(folder);
  }
}

/** What writes that ended early left, of this softkey and of earlier ones. */
async function removeAsides(path: string): Promise<void> {
  await removeFile(asideOf(path));
  await removeFile(`${path}.new`);
}

async function removeFolder(folder: string): Promise<string> {
  const left: string[] = [];
  for await (const { name } of Deno.readDir(folder)) left.push(name);
  if (left.length > 0) {
    return `card wiped; other files are left in ${folder}: ${left.join(", ")}`;
  }
  // A folder that others made (a mount, a service's own) may have to stay.
  try {
    await Deno.remove(folder);
    await syncFolder(folderOf(folder));
  } catch {
    return `card wiped; the empty folder ${folder} is left`;
  }
  return `card wiped: ${folder}`;
}
