/**
 * A card's folder as the commands find it: its memory opened for one use, the
 * node id of its seed.
 *
 * What it does not do: make a card.
 *
 * @module
 */

import { publicKey } from "../../../crypto/secp.ts";
import type { Secret } from "../../../crypto/secret.ts";
import { DecodeError, StoreError, UsageError } from "../../../errors.ts";
import {
  openSecretFile,
  parseSecretFile,
  SecretFileError,
} from "../../../keyderiv.ts";
import { deriveNodeKeys } from "../../../keyderiv/node.ts";
import type { SqliteStore } from "../../../store/sqlite.ts";
import { CARD_FILES, isThere, readSealed } from "../../card.ts";
import { openCardStore } from "../../card_state.ts";
import type { Prompter } from "../../prompt.ts";
import { type SealOptions, unseal, type Unsealed } from "../../seal_key.ts";
import { sealedNodeId } from "../../sealed_secret.ts";

/** Whether anything in a folder is a card's. */
async function isCardFolder(folder: string): Promise<boolean> {
  for (const file of Object.values(CARD_FILES)) {
    if (await isThere(`${folder}/${file}`)) return true;
  }
  return false;
}

/** @throws {UsageError} for a folder without a card */
export async function wantCardFolder(folder: string): Promise<void> {
  if (await isCardFolder(folder)) return;
  throw new UsageError(
    `Cannot use the card ${folder}: nothing of a card is there`,
  );
}

/**
 * Uses a card's memory while nobody else can; null where the card has none yet.
 *
 * @throws {StoreError} when another softkey has it, or it is damaged
 */
export async function withMemory<T>(
  folder: string,
  use: (store: SqliteStore | null) => Promise<T>,
): Promise<T> {
  if (!await isThere(`${folder}/${CARD_FILES.state}`)) return await use(null);
  const store = openCardStore(folder);
  try {
    return await use(store);
  } finally {
    store.close();
  }
}

/** Whether an error says that a softkey runs with the card. */
export function isBusy(error: unknown): boolean {
  return error instanceof StoreError && /another softkey/.test(error.message);
}

/**
 * The node id that a seed makes; null for one that a passphrase of lightningd
 * opens.
 *
 * @throws {SecretFileError} for bytes that are no hsm_secret file
 */
export function nodeIdOfSeed(file: Secret): Uint8Array | null {
  const parsed = parseSecretFile(file.reveal());
  if (parsed.needsPassphrase) return null;
  const { node } = deriveNodeKeys(openSecretFile(parsed));
  return publicKey(node.secret.reveal());
}

/** The same; null also for bytes that are no hsm_secret file. */
export function nodeIdIfAny(file: Secret): Uint8Array | null {
  try {
    return nodeIdOfSeed(file);
  } catch (error) {
    if (error instanceof SecretFileError) return null;
    throw error;
  }
}

/** The node id, in hex, that a card's sealed seed is labelled with; null for none. */
export async function nodeOnSeed(folder: string): Promise<string | null> {
  const sealed = await readSealed({ folder });
  if (sealed === null) return null;
  try {
    return sealedNodeId(sealed)?.toHex() ?? null;
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/**
 * A card's sealed seed, opened; null where there is none.
 *
 * @throws {OwnerError} key or rightKey
 * @throws {StoreError} for one that is damaged
 */
export async function openCardSeed(
  folder: string,
  options: SealOptions,
  prompter: Prompter | null,
): Promise<Unsealed | null> {
  const sealed = await readSealed({ folder });
  if (sealed === null) return null;
  try {
    return await unseal(sealed, "seed", options, prompter);
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    const path = `${folder}/${CARD_FILES.sealed}`;
    const problem = `${path}: ${cause.message}; restore it from a backup or ` +
      "from the words";
    throw new StoreError("open the seed", problem, { cause });
  }
}
