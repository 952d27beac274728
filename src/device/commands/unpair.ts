/**
 * `softkey unpair`: the card forgets its node, and serves nobody until it is
 * paired again. The seed and what the card remembers of channels stay.
 *
 * What it does not do: tell the node; remote_hsmd_mqtt unpair makes that forget
 * the card.
 *
 * @module
 */

import { pairingFingerprint } from "../../mqtt/fingerprint.ts";
import { type Arguments, noMore, wanted } from "../arguments.ts";
import { openCard } from "../card.ts";
import {
  identityChange,
  openCardStore,
  pairingChange,
  readCardFacts,
} from "../card_state.ts";
import { newLine } from "../ledger.ts";
import { isPaired } from "../setup/pairing.ts";
import { print } from "../terminal.ts";

/** Runs `unpair`. */
export async function unpair({ options, words }: Arguments): Promise<number> {
  noMore(words);
  const card = await openCard(wanted(options, "card"));
  const store = openCardStore(card.folder);
  try {
    identityChange(store, card);
    const { pairing } = readCardFacts(store);
    if (!isPaired(pairing)) {
      print("This card is paired with no node.");
      return 1;
    }
    const text = `un-paired from the node at ${pairing.url}, fingerprint ` +
      pairingFingerprint(pairing.brokerKey, card.cid);
    const line = newLine({ kind: "pairing", text }, Date.now());
    store.commit([pairingChange(null)], [line]);
    print(`Done: ${text}.`);
    return 0;
  } finally {
    store.close();
  }
}
