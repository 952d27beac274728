/**
 * What a card knows of the chain, in words for its owner.
 *
 * What it does not do: know it better than the signer (`signer/chain.ts`).
 *
 * @module
 */

import { display } from "../bitcoin/difficulty.ts";
import type { Network } from "../bitcoin/networks.ts";
import { trackerRules } from "../signer/chain_state.ts";
import { NO_CHAIN } from "../signer/chain_checks.ts";
import { ORIGIN_NODE } from "../signer/chain_records.ts";
import { describeTrust, tipOf } from "../signer/tracker.ts";
import type { CardState } from "./card_state.ts";

/** Where the chain stands, and what that rests on. */
export function describeChain(
  { memory, policy }: Pick<CardState, "memory" | "policy">,
  network: Network,
): string {
  const stored = memory.chain();
  if (stored === null) {
    return policy.chain === "believed"
      ? "none: the node's word is taken (chain is believed)"
      : NO_CHAIN;
  }
  const { hash, height } = tipOf(stored).point;
  const { origin, start } = stored.record;
  const from = origin === ORIGIN_NODE ? ", where the node said" : "";
  const word = policy.chain === "believed"
    ? "The node's word is taken beside it (chain is believed). "
    : "";
  return `block ${height} (${display(hash)}), followed from block ${start}` +
    `${from}. ${word}${describeTrust(trackerRules({ policy, network }))}`;
}

/** Alarms that stand, by channel; none where there are none. */
export function describeAlarms(
  { memory }: Pick<CardState, "memory">,
): readonly string[] {
  return Array.from(memory.channels()).flatMap((id) => {
    const count = memory.monitor(id)?.told.length ?? 0;
    return count === 0 ? [] : [
      `channel ${id.dbid} with ${id.peerId.toHex()}: ` +
      `${count} ${count === 1 ? "alarm stands" : "alarms stand"}, see ` +
      "softkey ledger",
    ];
  });
}

/** What the owner is told when a softkey starts; null for nothing. */
export function chainNotice(
  state: Pick<CardState, "memory" | "policy">,
): string | null {
  const isMissing = state.memory.chain() === null &&
    state.policy.chain === "required";
  return isMissing
    ? `${NO_CHAIN}; until then a channel takes no commitment after its first`
    : null;
}
