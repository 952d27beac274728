/**
 * `softkey card restore FILE --card DIR`: a card from a backup, whole or not at
 * all.
 *
 * | step | DIR | DIR.softkey-new |
 * | --- | --- | --- |
 * | the file is opened, shown, and the owner consents | empty or missing | |
 * | files and memory are written, each with its fsync | the same | grows |
 * | the card's standing is written into the memory | the same | whole |
 * | rename, fsync of the folder above | whole | |
 *
 * What a kill leaves in DIR.softkey-new is no card that a softkey is started
 * with; the next restore removes it.
 *
 * What it does not do: put a backup over a card that is there.
 *
 * @module
 */

import { describeError, StoreError, UsageError } from "../../../errors.ts";
import { writeCard } from "../../../store/copy.ts";
import type { Change } from "../../../store/store.ts";
import {
  type Arguments,
  noMore,
  type Options,
  wanted,
  wantedWord,
} from "../../arguments.ts";
import {
  type BackupContent,
  inspectBackup,
  standingAfter,
} from "../../backup.ts";
import {
  asideOf,
  CARD_FILES,
  folderOf,
  isThere,
  makeFile,
  makeFolder,
  syncFolder,
} from "../../card.ts";
import {
  nonceChange,
  openCardStore,
  standingChange,
} from "../../card_state.ts";
import { newLine } from "../../ledger.ts";
import { OwnerError } from "../../owner_error.ts";
import type { Prompter } from "../../prompt.ts";
import { unseal } from "../../seal_key.ts";
import { checkSealed } from "../../sealed_secret.ts";
import { channelsText } from "./backup.ts";
import { wantConsent } from "./consent.ts";

/** Whom a command talks with. */
export interface Talk {
  readonly prompter: Prompter | null;
  readonly print: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** Runs `card restore`; words are what follows. */
export async function restoreCard(
  { options, words }: Arguments,
  { prompter, print, now }: Talk,
): Promise<number> {
  const path = wantedWord(words, 0, "the backup to restore");
  noMore(words.slice(1));
  const folder = await checkFolder(wanted(options, "card"));
  const bytes = await readBackup(path);
  const { secret, key } = await unseal(bytes, "backup", options, prompter);
  key.bytes.wipe();
  const content = inspectBackup(secret);
  secret.wipe();
  checkExpected(content, options);
  for (const line of restoreMeaning(content, now())) print(line);
  await wantConsent({
    prompter,
    isYes: options.yes,
    question: "Type yes to restore it: ",
    answer: "yes",
  });
  await makeCard(folder, content, now());
  print(`card restored: ${folder}`);
  return 0;
}

/** What is in a backup, and what a restored card is, in lines for its owner. */
function restoreMeaning(
  { backup, dump, facts, nodeId, isMove }: BackupContent,
  now: number,
): readonly string[] {
  const made = Number(backup.madeAt);
  const day = new Date(made).toISOString().slice(0, 16).replace("T", " ");
  return [
    `node        ${nodeId?.toHex() ?? "not known"}`,
    `network     ${backup.network === "" ? "not known" : backup.network}`,
    `made        ${day} UTC, ${ageText(now - made)}`,
    `generation  ${dump.head.generation}`,
    `channels    ${channelsText(facts.memory.channelCount)}`,
    ...(isMove ? MOVE_MEANS : COPY_MEANS),
  ];
}

const MOVE_MEANS = [
  "The card was moved into this file: what is restored goes on where it " +
  "stopped.",
  "Restore it once and in one place only, then delete the file: two cards of " +
  "one node can lose the money of its channels.",
] as const;

const COPY_MEANS = [
  "The card may have gone on after this backup. So what is restored keeps the " +
  "node id and the wallet, and signs nothing for channels",
  "until it is brought up to date from the node's own database: softkey card " +
  "adopt --database FILE.",
] as const;

/** An age in words. */
export function ageText(ms: number): string {
  const minutes = Math.max(0, Math.floor(ms / 60_000));
  if (minutes < 120) return `${minutes} minutes ago`;
  const hours = Math.floor(minutes / 60);
  return hours < 48
    ? `${hours} hours ago`
    : `${Math.floor(hours / 24)} days ago`;
}

/** The folder by its full name; it is missing or empty. @throws {UsageError} */
async function checkFolder(named: string): Promise<string> {
  if (!await isThere(named)) return named.replace(/(?<=[^/])\/+$/, "");
  const folder = await Deno.realPath(named);
  if (!(await Deno.stat(folder)).isDirectory) {
    throw new UsageError(`Cannot restore into ${named}: want a folder`);
  }
  for await (const _ of Deno.readDir(folder)) {
    throw new UsageError(
      `Cannot restore into ${named}: it is not empty, want an empty or a new ` +
        "folder",
    );
  }
  return folder;
}

async function readBackup(path: string): Promise<Uint8Array> {
  try {
    const bytes = await Deno.readFile(path);
    checkSealed(bytes, "backup");
    return bytes;
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound
      ? "there is no such file"
      : describeError(cause);
    const text = `Cannot use the backup ${path}: ${why}`;
    throw new OwnerError("validSeed", text, { cause });
  }
}

function checkExpected(
  { backup, nodeId }: BackupContent,
  { network, "node-id": expected }: Options,
): void {
  const { network: own } = backup;
  if (network !== undefined && own !== "" && network !== own) {
    throw new OwnerError(
      "rightNode",
      `Cannot restore for ${network}: the backup is of a card for ${own}`,
    );
  }
  const found = nodeId?.toHex();
  if (expected === undefined || found === expected.toLowerCase()) return;
  throw new OwnerError(
    "rightNode",
    `Cannot restore: the backup is of node ${found ?? "not known"}, want ` +
      expected,
  );
}

async function makeCard(
  folder: string,
  content: BackupContent,
  now: number,
): Promise<void> {
  const aside = asideOf(folder);
  try {
    await removeFolder(aside);
    await fillFolder(aside, content, now);
    await Deno.rename(aside, folder);
    await syncFolder(folderOf(folder));
  } catch (cause) {
    await removeFolder(aside);
    if (cause instanceof StoreError) throw cause;
    const problem = `${folder}: ${describeError(cause)}`;
    throw new StoreError("restore the card", problem, { cause });
  }
}

async function fillFolder(
  folder: string,
  content: BackupContent,
  now: number,
): Promise<void> {
  const { id, cardKey, seed, memory } = content.backup;
  await makeFolder(folder);
  await makeFile(`${folder}/${CARD_FILES.id}`, id, 0o600);
  await makeFile(`${folder}/${CARD_FILES.key}`, cardKey, 0o600);
  writeCard(`${folder}/${CARD_FILES.state}`, memory);
  const store = openCardStore(folder);
  try {
    const standing = standingAfter(content, now);
    const text = standing === null
      ? "the card was moved here by a backup"
      : "the card was restored from a backup: it signs nothing for channels";
    store.commit(
      [standingChange(standing), ...noncesAfter(content, now)],
      [newLine({ kind: "card", text }, now)],
    );
  } finally {
    store.close();
  }
  await makeFile(`${folder}/${CARD_FILES.sealed}`, seed, 0o400);
}

/**
 * Control messages that the card took after its backup are not to be taken again:
 * numbers start at the time, as they do on a new card.
 */
function noncesAfter(
  { facts: { nonce }, isMove }: BackupContent,
  now: number,
): readonly Change[] {
  const time = BigInt(Math.trunc(now));
  // One that took none starts at the time by itself.
  const isSafe = isMove || nonce === 0n || nonce >= time;
  return isSafe ? [] : [nonceChange(time)];
}

async function removeFolder(path: string): Promise<void> {
  try {
    await Deno.remove(path, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
