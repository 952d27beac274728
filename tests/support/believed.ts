/**
 * Cards whose owner takes the node's word for the chain: for tests and trials in
 * which nobody has blocks to show.
 *
 * @module
 */

import type { NetworkName } from "../../src/bitcoin/networks.ts";
import { openCard } from "../../src/device/card.ts";
import { openCardStore, policyChange } from "../../src/device/card_state.ts";
import {
  defaultPolicy,
  type Policy,
  withLimit,
} from "../../src/policy/limits.ts";

/** The default policy of a network, but for the chain. */
export function believedPolicy(network: NetworkName): Policy {
  return believing(defaultPolicy(network));
}

/** A policy that takes the node's word for the chain. */
export function believing(policy: Policy): Policy {
  return withLimit(policy, "chain", "believed");
}

/** Makes a card in a folder that takes the node's word; one that is there stays. */
export async function makeBelievingCard(
  folder: string,
  network: NetworkName,
): Promise<void> {
  const { isNew } = await openCard(folder);
  if (!isNew) return;
  const store = openCardStore(folder);
  try {
    store.commit([policyChange(believedPolicy(network))]);
  } finally {
    store.close();
  }
}
