/**
 * The seed of a card, opened: sealed as it should be, or in clear on a card of an
 * earlier softkey.
 *
 * What it does not do: make one, or keep the key of the seal.
 *
 * @module
 */

import { Secret } from "../../crypto/secret.ts";
import { DecodeError, StoreError } from "../../errors.ts";
import {
  type NodeSecret,
  openSecretFile,
  parseSecretFile,
  SecretFileError,
} from "../../keyderiv.ts";
import type { Options } from "../arguments.ts";
import { type Card, readCardSecret, readSealed } from "../card.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { unseal } from "../seal_key.ts";
import { wordsPassphraseOf } from "./prepare.ts";

/** How a seed is opened. */
export interface SeedOptions {
  readonly options: Options;
  readonly prompter: Prompter | null;
  /** One line to the owner. */
  readonly say: (text: string) => void;
}

/**
 * The bytes of the hsm_secret on a card; null when it has none.
 *
 * @throws {OwnerError} key or rightKey
 * @throws {StoreError} for a sealed file that is damaged
 */
export async function readSeed(
  card: Card,
  { options, prompter, say }: SeedOptions,
): Promise<Secret | null> {
  const sealed = await readSealed(card);
  if (sealed !== null) {
    return await openSeed(sealed, card, { options, prompter, say });
  }
  const clear = await readCardSecret(card);
  if (clear === null) return null;
  say(
    `warning: the seed on the card is in clear: ${card.folder}/hsm_secret; ` +
      `seal it with softkey card seal --card ${card.folder}`,
  );
  return new Secret(clear);
}

async function openSeed(
  sealed: Uint8Array,
  { folder }: Card,
  { options, prompter }: SeedOptions,
): Promise<Secret> {
  try {
    const { secret, key } = await unseal(sealed, "seed", options, prompter);
    key.bytes.wipe();
    return secret;
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    throw new StoreError(
      "open the seed",
      `${folder}/seed.sealed is damaged (${cause.message}), want a backup of ` +
        "the card, or the words of the seed (softkey restore)",
      { cause },
    );
  }
}

/** A seed's file, and what may open it. */
export interface LockedSeed {
  /** The bytes of the hsm_secret. */
  readonly file: Secret;
  /** What opens it, where that is known already. */
  readonly passphrase?: Secret | null;
  readonly options: Options;
  readonly prompter: Prompter | null;
}

/**
 * What is in a seed's file, with the node's passphrase where it wants one.
 *
 * @throws {OwnerError} key, rightKey or validSeed
 */
export async function openNodeSecret(seed: LockedSeed): Promise<NodeSecret> {
  try {
    const file = parseSecretFile(seed.file.reveal());
    if (!file.needsPassphrase) return openSecretFile(file);
    const passphrase = await passphraseOf(seed);
    return openSecretFile(file, { passphrase: passphrase.reveal() });
  } catch (cause) {
    if (!(cause instanceof SecretFileError)) throw cause;
    const isWrong = cause.failure === "wrongPassphrase";
    throw new OwnerError(
      isWrong ? "rightKey" : "validSeed",
      `Cannot open the seed: ${cause.message}`,
      { cause },
    );
  }
}

async function passphraseOf(
  { passphrase, options, prompter }: LockedSeed,
): Promise<Secret> {
  const known = passphrase ?? await wordsPassphraseOf(options);
  if (known !== null) return known;
  if (prompter === null) {
    throw new OwnerError(
      "key",
      "Cannot open the seed: it wants the node's passphrase, want " +
        "--words-passphrase-file FILE, or a terminal to type it",
    );
  }
  const typed = await prompter.askHidden("Passphrase of the node's seed: ");
  return new Secret(new TextEncoder().encode(typed));
}
