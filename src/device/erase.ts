/**
 * How a card is taken away: the seed first, then the rest. Only files that are a
 * card's go.
 *
 * What it does not do: ask anybody, or reach what a disk keeps of deleted files.
 * The sealed seed is encrypted for that reason.
 *
 * @module
 */

import {
  asideOf,
  CARD_FILES,
  folderOf,
  isThere,
  removeCardSecret,
  removeFile,
  syncFolder,
} from "./card.ts";

/**
 * Takes the seed away, sealed or in clear; it is durable when this returns. Before
 * anything else goes: without a seed no memory can sign.
 */
export async function eraseSeed(folder: string): Promise<void> {
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

/**
 * Takes away what a card without a seed still has, and the folder when nothing
 * else is in it; says what is left. Nobody may have the memory open.
 */
export async function eraseRest(folder: string): Promise<string> {
  for (const name of REST) {
    await removeFile(`${folder}/${name}`);
    await removeAsides(`${folder}/${name}`);
    await syncFolder(folder);
  }
  return await removeFolder(folder);
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
