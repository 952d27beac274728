/**
 * `softkey card backup FILE [--move]`: a whole card in one sealed file.
 *
 * | | the card | what is restored from the file |
 * | --- | --- | --- |
 * | without --move | goes on | signs nothing for channels |
 * | with --move | signs nothing any more | goes on where the card stopped |
 *
 * With --move the card is marked first, durably, and the backup is taken then:
 * wherever the power fails, at most one of the two can sign. A card that was
 * marked and has no file yet is backed up by the same command again.
 *
 * What it does not do: replace a file.
 *
 * @module
 */

import { isEqualConstantTime } from "../../../crypto/secret.ts";
import { describeError, StoreError, UsageError } from "../../../errors.ts";
import { encodeCard } from "../../../store/copy.ts";
import type { Store } from "../../../store/store.ts";
import { type Arguments, noMore, wantedWord } from "../../arguments.ts";
import { encodeBackup, sealBackup } from "../../backup.ts";
import { CARD_FILES, isThere, makeFile, readFile } from "../../card.ts";
import {
  type CardFacts,
  readCardFacts,
  standingChange,
} from "../../card_state.ts";
import { newLine } from "../../ledger.ts";
import { OwnerError } from "../../owner_error.ts";
import type { CardAccess } from "../../owner/access.ts";
import type { Prompter } from "../../prompt.ts";
import type { SealOptions } from "../../seal_key.ts";
import { openFile, type SealKey } from "../../sealed_secret.ts";
import type { Standing } from "../../standing.ts";
import { wantConsent } from "./consent.ts";
import { openCardSeed } from "./folder.ts";

/** What this command needs of an open card. */
export type BackupAccess = Pick<
  CardAccess,
  "store" | "folder" | "network" | "desk" | "print" | "path"
>;

/** Backs up an open card; words are what follows `card backup`. */
export async function backupCard(
  access: BackupAccess,
  { options, words }: Arguments,
  prompter: Prompter | null = null,
  now: number = Date.now(),
): Promise<number> {
  const path = access.path(wantedWord(words, 0, "the file to write"));
  noMore(words.slice(1));
  const isMove = options.move;
  const { store, print } = access;
  const facts = readCardFacts(store);
  await checkTarget(path);
  checkStanding(access, facts, isMove);
  for (const line of backupMeaning(facts, isMove)) print(line);
  await wantConsent({
    prompter,
    isYes: options.yes,
    question: isMove ? "Type move to go on: " : "Type yes to go on: ",
    answer: isMove ? "move" : "yes",
  });
  const files = await readFiles(access.folder);
  const key = await provenKey(access.folder, options, prompter);
  if (isMove) markMoved(store, facts.standing, now);
  const network = facts.network ?? access.network?.name ?? "";
  const madeAt = BigInt(now);
  const memory = encodeCard(store);
  const text = encodeBackup({ madeAt, network, ...files, memory });
  await writeBackup({ path, text, key, seed: files.seed, isMove });
  if (!isMove) store.commit([], [newLine(entryFor(false), now)]);
  print(`backup written: ${path}`);
  return 0;
}

/** What a backup of a card means, in lines for its owner. */
export function backupMeaning(
  { memory, standing }: Pick<CardFacts, "memory" | "standing">,
  isMove: boolean,
): readonly string[] {
  const channels = channelsText(memory.channelCount);
  const has = `This card has ${channels}.`;
  if (standing?.kind === "restored") {
    return [
      has,
      "It was restored from a backup and is not up to date: nor will be what " +
      "is restored from this one.",
    ];
  }
  return isMove ? [has, ...MOVE_MEANS] : [has, ...COPY_MEANS];
}

const COPY_MEANS = [
  "A backup is out of date with the next signature. What is restored from it " +
  "keeps the node id, the wallet and your settings,",
  "and signs nothing for channels until it is brought up to date: an old state " +
  "could lose all of a channel's money.",
  "To move this card to another place for good, stop the softkey and use --move.",
] as const;

const MOVE_MEANS = [
  "This moves the card: from now on it signs nothing any more, ever. The file " +
  "is the card, until you restore it.",
  "Restore it once and in one place only, then delete the file: two cards of " +
  "one node can lose the money of its channels.",
] as const;

/** How many channels, in words. */
export function channelsText(count: number): string {
  if (count === 0) return "no open channels";
  return count === 1 ? "1 open channel" : `${count} open channels`;
}

async function checkTarget(path: string): Promise<void> {
  if (!await isThere(path)) return;
  throw new UsageError(
    `Cannot write the backup ${path}: it is there already, want a new file`,
  );
}

function checkStanding(
  { desk, folder }: BackupAccess,
  { standing }: CardFacts,
  isMove: boolean,
): void {
  if (isMove && desk !== null) {
    throw new UsageError(
      "Cannot move a card that a softkey runs with: stop it first",
    );
  }
  if (isMove && standing?.kind === "restored") {
    throw new OwnerError(
      "rightNode",
      `Cannot move the card ${folder}: it was restored and may not know the ` +
        "last state, want it brought up to date first (softkey card adopt)",
    );
  }
  if (isMove || standing?.kind !== "moved") return;
  throw new OwnerError(
    "rightNode",
    `Cannot back up the card ${folder}: it was moved to another one, want ` +
      "that one (or --move, to write the file of the move again)",
  );
}

/** The owner shows by opening the seed that the key is the card's. */
async function provenKey(
  folder: string,
  options: SealOptions,
  prompter: Prompter | null,
): Promise<SealKey> {
  const opened = await openCardSeed(folder, options, prompter);
  if (opened === null) throw new OwnerError("seed", NO_SEED);
  opened.secret.wipe();
  return opened.key;
}

const NO_SEED = "Cannot back up the card: it has no seed yet";

interface BackedFiles {
  readonly id: Uint8Array;
  readonly cardKey: Uint8Array;
  readonly seed: Uint8Array;
}

async function readFiles(folder: string): Promise<BackedFiles> {
  const [id, cardKey, seed] = await Promise.all(
    [CARD_FILES.id, CARD_FILES.key, CARD_FILES.sealed].map((name) =>
      readFile(`${folder}/${name}`)
    ),
  );
  if (!seed) {
    const isClear = await isThere(`${folder}/${CARD_FILES.clear}`);
    throw new OwnerError(
      "seed",
      isClear
        ? "Cannot back up the card: its seed is in clear, want it sealed " +
          "first (softkey card seal)"
        : NO_SEED,
    );
  }
  if (id && cardKey) return { id, cardKey, seed };
  throw new StoreError(
    "back up the card",
    `${folder} has no ${id ? CARD_FILES.key : CARD_FILES.id}`,
  );
}

/** Durable before the backup is taken; once is enough. */
function markMoved(store: Store, standing: Standing | null, now: number): void {
  if (standing !== null) return;
  const { generation } = store.head;
  store.commit(
    [standingChange({ kind: "moved", generation, at: BigInt(now) })],
    [newLine(entryFor(true), now)],
  );
}

function entryFor(isMove: boolean) {
  const text = isMove
    ? "the card was moved: a backup was made and this one signs nothing more"
    : "a backup of the card was made";
  return { kind: "card", text };
}

interface BackupFile {
  readonly path: string;
  readonly text: Uint8Array;
  readonly key: SealKey;
  readonly seed: Uint8Array;
  readonly isMove: boolean;
}

/** Writes the file only after it was opened again. */
async function writeBackup(
  { path, text, key, seed, isMove }: BackupFile,
): Promise<void> {
  const file = sealBackup(text, key, seed);
  const again = openFile(file, "backup", key);
  key.bytes.wipe();
  if (!isEqualConstantTime(again.reveal(), text)) {
    throw new StoreError("write the backup", "it does not open to what it was");
  }
  again.wipe();
  text.fill(0);
  try {
    await makeFile(path, file, 0o400);
  } catch (cause) {
    const then = isMove
      ? "; the card is marked as moved and signs nothing: give the command " +
        "again, with a file that can be written"
      : "";
    const problem = `${path}: ${describeError(cause)}${then}`;
    throw new StoreError("write the backup", problem, { cause });
  }
}
