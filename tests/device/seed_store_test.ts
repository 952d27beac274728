/**
 * What a card knows of its seed's age: a new one's moment, nothing of others.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { hasSeed } from "../../src/device/card.ts";
import {
  birthdayChange,
  openCardStore,
  readCardFacts,
} from "../../src/device/card_state.ts";
import { storeSeed } from "../../src/device/setup/seed_store.ts";
import {
  type CardFixture,
  NODE,
  NOW,
  SEED,
  withCard,
} from "../support/card_folder.ts";

const OTHER = `03${"5e".repeat(32)}`;
const OLD = 1_500_000_000n;

/** The birthday of a card that had another, after a seed came onto it. */
async function birthdayAfter(
  { card, folder, key }: CardFixture,
  candidate: { readonly nodeId: string; readonly isNew: boolean },
): Promise<bigint | null> {
  const store = openCardStore(folder);
  try {
    store.commit([birthdayChange(OLD)]);
    await storeSeed({
      card,
      store,
      network: NETWORKS.regtest,
      candidate: { ...candidate, file: new Secret(SEED) },
      key,
      node: null,
      now: NOW + 999,
    });
    assert.ok(await hasSeed(card));
    return readCardFacts(store).birthday;
  } finally {
    store.close();
  }
}

for (
  const [name, candidate, expected] of [
    ["a new seed", { nodeId: OTHER, isNew: true }, BigInt(NOW / 1000)],
    ["a restored one", { nodeId: OTHER, isNew: false }, null],
    ["the card's own, put back", { nodeId: NODE, isNew: false }, OLD],
  ] as const
) {
  Deno.test(`a card knows how old its seed is: ${name}`, () =>
    withCard(async (fixture) => {
      assert.equal(await birthdayAfter(fixture, candidate), expected);
    }, { isSeeded: false }));
}
