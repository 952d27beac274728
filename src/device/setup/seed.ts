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
import type { Options } from "../arguments.ts";
import { type Card, readCardSecret, readSealed } from "../card.ts";
import type { Prompter } from "../prompt.ts";
import { unseal } from "../seal_key.ts";

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
