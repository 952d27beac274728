/**
 * `softkey card seal` and `softkey card passphrase`: a seed in clear is sealed, a
 * sealed one gets another passphrase or key file.
 *
 * | | steps |
 * | --- | --- |
 * | seal | seal, write, read back and open, overwrite and remove the clear file |
 * | passphrase | open, seal anew, open that, replace by a rename |
 *
 * Wherever it is killed, a seed is on the card that the owner can open.
 *
 * What it does not do: run while a softkey does.
 *
 * @module
 */

import { Secret } from "../../../crypto/secret.ts";
import { StoreError, UsageError } from "../../../errors.ts";
import { SecretFileError } from "../../../keyderiv.ts";
import type { SqliteStore } from "../../../store/sqlite.ts";
import {
  type Arguments,
  noMore,
  type Options,
  wanted,
  wantedWord,
} from "../../arguments.ts";
import {
  addSealed,
  CARD_FILES,
  readCardSecret,
  readSealed,
  removeCardSecret,
  replaceSealed,
} from "../../card.ts";
import { readCardFacts } from "../../card_state.ts";
import { OwnerError } from "../../owner_error.ts";
import type { Prompter } from "../../prompt.ts";
import {
  findSealKey,
  keyFromFile,
  newPassphrase,
  type SealKey,
} from "../../seal_key.ts";
import { openSealed, sealSecret } from "../../sealed_secret.ts";
import {
  nodeIdOfSeed,
  nodeOnSeed,
  openCardSeed,
  wantCardFolder,
  withMemory,
} from "./folder.ts";
import type { Talk } from "./restore.ts";

/** Runs `card seal`. */
export async function sealCard(
  { options, words }: Arguments,
  talk: Talk,
): Promise<number> {
  noMore(words);
  const folder = wanted(options, "card");
  await wantCardFolder(folder);
  return await withMemory(folder, async (store) => {
    const clear = await readCardSecret({ folder });
    const sealed = await readSealed({ folder });
    if (clear === null) throw nothingToSeal(folder, sealed !== null);
    const file = new Secret(clear);
    clear.fill(0);
    await sealClear({ folder, file, store, options, talk });
    file.wipe();
    talk.print(`the seed is sealed: ${folder}/${CARD_FILES.sealed}`);
    return 0;
  });
}

interface ClearCard {
  readonly folder: string;
  readonly file: Secret;
  readonly store: SqliteStore | null;
  readonly options: Options;
  readonly talk: Talk;
}

async function sealClear(
  { folder, file, store, options, talk }: ClearCard,
): Promise<void> {
  const isSealed = await readSealed({ folder }) !== null;
  if (!isSealed) {
    const nodeId = nodeIdOfClear(folder, file) ?? nodeOf(store);
    const key = await findSealKey(options, talk.prompter, "new");
    await addSealed({ folder }, sealSecret(file.reveal(), key, nodeId));
    await verify(folder, file, key);
    key.bytes.wipe();
  } else {
    await finishSealing(folder, file, options, talk.prompter);
  }
  await removeCardSecret({ folder });
}

/** A kill before the clear file went: it goes once the sealed one is proven. */
async function finishSealing(
  folder: string,
  file: Secret,
  options: Options,
  prompter: Prompter | null,
): Promise<void> {
  const opened = await openCardSeed(folder, options, prompter);
  if (opened === null) throw nothingToSeal(folder, false);
  const { secret, key } = opened;
  key.bytes.wipe();
  // It may have been overwritten by then.
  const isGone = file.reveal().every((byte) => byte === 0);
  const isSame = isGone || secret.equals(file);
  secret.wipe();
  if (!isSame) throw twoSeeds(folder);
}

async function verify(
  folder: string,
  file: Secret,
  key: SealKey,
): Promise<void> {
  const written = await readSealed({ folder });
  const opened = openSealed(written ?? new Uint8Array(), key);
  const isSame = opened.equals(file);
  opened.wipe();
  if (isSame) return;
  throw new StoreError(
    "seal the card",
    `${folder}/${CARD_FILES.sealed} does not open to the seed that was ` +
      "sealed; the seed in clear was left",
  );
}

async function labelOf(folder: string): Promise<Uint8Array | null> {
  const node = await nodeOnSeed(folder);
  return node === null ? null : Uint8Array.fromHex(node);
}

function nodeIdOfClear(folder: string, file: Secret): Uint8Array | null {
  try {
    return nodeIdOfSeed(file);
  } catch (cause) {
    if (!(cause instanceof SecretFileError)) throw cause;
    throw new OwnerError(
      "validSeed",
      `Cannot seal the card: ${folder}/${CARD_FILES.clear} is no seed, want ` +
        "the file that was put there",
      { cause },
    );
  }
}

function nodeOf(store: SqliteStore | null): Uint8Array | null {
  return store === null ? null : readCardFacts(store).node;
}

function nothingToSeal(folder: string, isSealed: boolean): OwnerError {
  return new OwnerError(
    "seed",
    isSealed
      ? `Cannot seal the card ${folder}: its seed is sealed already (softkey ` +
        "card passphrase changes what opens it)"
      : `Cannot seal the card ${folder}: it has no seed yet`,
  );
}

function twoSeeds(folder: string): StoreError {
  return new StoreError(
    "seal the card",
    `${folder} has two different seeds, ${CARD_FILES.clear} and ` +
      `${CARD_FILES.sealed}; take the one away that is not the card's`,
  );
}

/** What a new seal may be made from, by the word that names it. */
const NEW_KEYS = {
  "key-file": "file",
  "passphrase-file": "passphrase",
} as const;

/**
 * Runs `card passphrase [key-file FILE | passphrase-file FILE]`: without words
 * the new passphrase is typed.
 */
export async function changePassphrase(
  { options, words }: Arguments,
  { prompter, print }: Talk,
): Promise<number> {
  const folder = wanted(options, "card");
  await wantCardFolder(folder);
  const newKey = newKeyOf(words);
  return await withMemory(folder, async () => {
    const opened = await openCardSeed(folder, options, prompter);
    if (opened === null) throw notSealed(folder);
    const { secret, key: old } = opened;
    old.bytes.wipe();
    const key = await newKey(prompter);
    const bytes = sealSecret(secret.reveal(), key, await labelOf(folder));
    checkAgain(bytes, key, secret);
    await replaceSealed({ folder }, bytes);
    secret.wipe();
    key.bytes.wipe();
    print("the card is sealed with the new key; backups keep the old one");
    return 0;
  });
}

function newKeyOf(
  words: readonly string[],
): (prompter: Prompter | null) => Promise<SealKey> {
  const [word] = words;
  if (word === undefined) return typedKey;
  if (word !== "key-file" && word !== "passphrase-file") {
    throw new UsageError(
      `Cannot use ${JSON.stringify(word)}: want key-file FILE or ` +
        "passphrase-file FILE",
    );
  }
  const path = wantedWord(words, 1, "the file with the new key");
  noMore(words.slice(2));
  return () => keyFromFile(NEW_KEYS[word], path, "new");
}

async function typedKey(prompter: Prompter | null): Promise<SealKey> {
  if (prompter !== null) return await newPassphrase(prompter);
  throw new OwnerError(
    "terminal",
    "Cannot ask for the new passphrase: no terminal, want key-file FILE or " +
      "passphrase-file FILE after the command",
  );
}

function checkAgain(bytes: Uint8Array, key: SealKey, secret: Secret): void {
  const opened = openSealed(bytes, key);
  const isSame = opened.equals(secret);
  opened.wipe();
  if (isSame) return;
  throw new StoreError(
    "change the passphrase",
    "what was sealed does not open to the seed; the card was left as it is",
  );
}

function notSealed(folder: string): OwnerError {
  return new OwnerError(
    "seed",
    `Cannot change the passphrase of ${folder}: it has no sealed seed, want ` +
      "softkey card seal or softkey init first",
  );
}
