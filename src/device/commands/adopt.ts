/**
 * `softkey card adopt`: brings a card up to date from the database of its node,
 * which is stopped.
 *
 * It is how a node that has channels moves its keys out, and how a card that was
 * restored from a backup may sign for its channels again. What was found is shown
 * first, and what it means; then the owner is asked, unless --yes is given.
 *
 * What it does not do: put a seed on the card (`softkey restore` does, and then
 * comes here when it was given --database).
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import { useFastCurve } from "../../crypto/secp.ts";
import { loadFastCurve } from "../../crypto/secp_wasm.ts";
import { Secret } from "../../crypto/secret.ts";
import type { Store } from "../../store/store.ts";
import { adoptInto, type AdoptReport } from "../adopt.ts";
import { type Arguments, noMore, type Options, wanted } from "../arguments.ts";
import { type Card, openCard } from "../card.ts";
import { identityChange, networkFor, openCardStore } from "../card_state.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { readSeedFile } from "../setup/prepare.ts";
import { openNodeSecret, readSeed } from "../setup/seed.ts";
import { openTerminal, print } from "../terminal.ts";
import { wantConsent } from "./card/consent.ts";
import { wantNoSoftkey } from "./open.ts";

/** Runs `card adopt`. */
export async function adopt({ options, words }: Arguments): Promise<number> {
  noMore(words);
  wanted(options, "database");
  const folder = wanted(options, "card");
  await wantNoSoftkey(folder, "adopt a database");
  useFastCurve(await loadFastCurve());
  const card = await openCard(folder);
  const prompter = openTerminal();
  const file = await seedOf(card, options, prompter);
  const store = openCardStore(card.folder);
  try {
    const network = networkFor(options, store);
    await adoptWith({ card, store, options, prompter, network, file });
    return 0;
  } finally {
    store.close();
  }
}

/** A card that is open, and what the owner said. */
export interface AdoptParts {
  readonly card: Card;
  readonly store: Store;
  readonly options: Options;
  readonly prompter: Prompter | null;
  readonly network: Network;
  /** The bytes of the hsm_secret. */
  readonly file: Secret;
  /** What opens it, where that is known already. */
  readonly passphrase?: Secret | null;
}

/** Adopts the database that --database names; shows, asks, writes. */
export async function adoptWith(parts: AdoptParts): Promise<AdoptReport> {
  const { card, store, options, prompter, network } = parts;
  const secret = await openNodeSecret(parts);
  const identity = identityChange(store, card);
  const report = await adoptInto({
    store,
    network,
    secret,
    databasePath: wanted(options, "database"),
    print,
    consent: () =>
      wantConsent({
        prompter,
        isYes: options.yes,
        question: "Type adopt to go on with this card: ",
        answer: "adopt",
      }),
    now: Date.now,
    more: identity === null ? [] : [identity],
  });
  print(doneText(report));
  return report;
}

function doneText({ adopted, left }: AdoptReport): string {
  const rest = left === 0 ? "" : `, ${left} left out`;
  return `${adopted} channel${adopted === 1 ? "" : "s"} adopted${rest}; the ` +
    "card is in good standing";
}

/** The seed that --hsm-secret names, or the card's. */
async function seedOf(
  card: Card,
  options: Options,
  prompter: Prompter | null,
): Promise<Secret> {
  const path = options["hsm-secret"];
  if (path !== undefined) {
    return new Secret(await readSeedFile(path, "--hsm-secret"));
  }
  const seed = await readSeed(card, { options, prompter, say: print });
  if (seed !== null) return seed;
  throw new OwnerError(
    "seed",
    `Cannot adopt onto the card ${card.folder}: it has no seed, want ` +
      "--hsm-secret FILE, or softkey restore first",
  );
}
