/**
 * `softkey card share`: from now on the card is one of several of its node. What
 * it signs is stored with the node's storage server before an answer leaves, so
 * that another card with the seed goes on where it ended.
 *
 * | card | what it is then |
 * | --- | --- |
 * | of a node that it serves | its state is the first that is stored |
 * | a new one with the seed (softkey restore) | takes over what is stored, and is in good standing |
 *
 * `--new-storage`: the server was replaced for good. The card forgets the old one's
 * key, and that it ever acknowledged anything; the state of this card counts.
 *
 * What it does not do: undo that; a card that had gone on alone would leave an old
 * state behind, which another card would take for the newest.
 *
 * @module
 */

import { UsageError } from "../../../errors.ts";
import type { SqliteStore } from "../../../store/sqlite.ts";
import type { Change } from "../../../store/store.ts";
import { type Arguments, noMore } from "../../arguments.ts";
import { readCardFacts, sharingChange } from "../../card_state.ts";
import { newLine } from "../../ledger.ts";
import type { CardAccess } from "../../owner/access.ts";
import { OwnerError } from "../../owner_error.ts";
import type { Prompter } from "../../prompt.ts";
import { forgetChanges, SlotBook } from "../../shared/slots.ts";
import { wantConsent } from "./consent.ts";

const WHAT_IT_MEANS = [
  "This card becomes one of several of its node: all that it signs is stored",
  "with the node's storage first, sealed with the seed. Another card with the",
  "same seed (softkey restore, then softkey card share) can take over then.",
  "This cannot be undone.",
  "",
  "The storage beside the node is under the node's control: whoever takes over",
  "the node can show two cards two different pasts, and have them sign against",
  "each other. A storage server elsewhere (lss_url) prevents that.",
];

const WHAT_IS_NEW = [
  "The card forgets the storage that it knows, and stores what it has with the",
  "next one that it meets. Only the card that signed last may do that: the",
  "others have to be restored anew, or an old state is taken for the newest.",
];

/**
 * Marks the card as shared.
 *
 * @throws {UsageError} while a softkey runs with it
 * @throws {OwnerError} without consent, or for a card that was moved
 */
export async function shareCard(
  { store, desk, print }: CardAccess,
  { options, words }: Arguments,
  prompter: Prompter | null,
): Promise<number> {
  noMore(words);
  if (desk !== null) {
    throw new UsageError(
      "Cannot share the card while a softkey runs with it: stop it first",
    );
  }
  const { sharing, standing } = readCardFacts(store);
  if (standing?.kind === "moved") {
    throw new OwnerError(
      "rightNode",
      "Cannot share this card: it was moved to another one, want that one",
    );
  }
  const isAgain = sharing !== null;
  const isNew = options["new-storage"];
  if (isAgain && !isNew) {
    print(describeSharing(sharing.serverKey));
    return 0;
  }
  if (isNew) wantGoodStanding(isAgain, standing === null);
  for (const line of isNew ? WHAT_IS_NEW : WHAT_IT_MEANS) print(line);
  const question = "Type share to go on: ";
  const isYes = options.yes;
  await wantConsent({ prompter, isYes, question, answer: "share" });
  const text = isNew
    ? "shared anew: the old storage is forgotten"
    : "shared: one of several cards of its node";
  store.commit(changesOf(store), [
    newLine({ kind: "storage", text }, Date.now()),
  ]);
  print("The card is shared when the softkey runs again");
  return 0;
}

function wantGoodStanding(isShared: boolean, isGood: boolean): void {
  if (!isShared) {
    throw new UsageError(
      "Cannot use --new-storage: the card is not shared, want card share alone",
    );
  }
  if (isGood) return;
  throw new OwnerError(
    "rightNode",
    "Cannot store the state of this card as the newest: it was restored and " +
      "may be old, want the card that signed last",
  );
}

function changesOf(store: SqliteStore): readonly Change[] {
  return [
    ...forgetChanges(SlotBook.load(store.load())),
    sharingChange({ serverKey: null, isClean: false }),
  ];
}

/** Whether a card is shared, in a line for its owner. */
export function describeSharing(serverKey: Uint8Array | null): string {
  return serverKey === null
    ? "shared; it has not met the storage yet"
    : `shared, by the storage with key ${serverKey.toHex()}`;
}
