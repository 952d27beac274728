/**
 * The sharing of a card: with the keys of its seed, and the desk that has to know
 * when everything on the card is another.
 *
 * What it does not do: speak with anybody.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import type { Network } from "../../bitcoin/networks.ts";
import type { Secret } from "../../crypto/secret.ts";
import {
  openSecretFile,
  parseSecretFile,
  SecretFileError,
} from "../../keyderiv/secret_file.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import { type CardState, readCardState } from "../card_state.ts";
import type { Desk } from "../desk.ts";
import { OwnerError } from "../owner_error.ts";
import { deriveSharedKeys, Sharing } from "./sharing.ts";

/** What a sharing is made of. */
export interface SharedCard {
  readonly store: SqliteStore;
  readonly state: Pick<CardState, "sharing" | "standing">;
  /** The bytes of an hsm_secret file. */
  readonly secretFile: Secret;
  readonly network: Network;
  readonly say: (text: string) => void;
}

/**
 * The sharing of a card; null for the only card of its node.
 *
 * @throws {OwnerError} key, for a seed that opens only when the node says how
 */
export function sharingOf(
  { store, state, secretFile, network, say }: SharedCard,
  desk: Pick<Desk, "renew">,
): Sharing | null {
  if (state.sharing === null) return null;
  return new Sharing({
    keys: deriveSharedKeys(openSeed(secretFile)),
    store,
    sharing: state.sharing,
    isRestored: state.standing?.kind === "restored",
    renew: () => desk.renew(readCardState(store, network)),
    say,
    random: (size) => new Uint8Array(randomBytes(size)),
    now: Date.now,
  });
}

function openSeed(file: Secret) {
  try {
    return openSecretFile(parseSecretFile(file.reveal()));
  } catch (cause) {
    if (!(cause instanceof SecretFileError)) throw cause;
    throw new OwnerError(
      "key",
      "Cannot share this card: its seed opens only with the passphrase that " +
        "lightningd sends, want a seed without one",
      { cause },
    );
  }
}
