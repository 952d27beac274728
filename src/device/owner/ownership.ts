/**
 * What the owner changes, made durable and put in force: the change and its line
 * in the book are one commit, and a softkey that runs goes by it from the next
 * request on.
 *
 * What it does not do: know what may be changed to what (`policy/`).
 *
 * @module
 */

import { createAllowlist } from "../../policy/allowlist.ts";
import type { Policy } from "../../policy/limits.ts";
import { allowlistChange, policyChange } from "../card_state.ts";
import { newLine } from "../ledger.ts";
import { type OpenedCard, wantedCardNetwork } from "./access.ts";

/** Makes a policy the card's; `text` says what is new. @throws {StoreError} */
export function ownPolicy(
  { store, desk }: OpenedCard,
  policy: Policy,
  text: string,
): void {
  const line = newLine({ kind: "policy", text }, Date.now());
  store.commit([policyChange(policy)], [line]);
  desk?.own({ policy });
}

/** Makes a list of destinations the card's. @throws {StoreError} */
export function ownAllowlist(
  card: OpenedCard,
  entries: readonly string[],
  text: string,
): void {
  const { store, desk } = card;
  const allowlist = createAllowlist(entries, wantedCardNetwork(card));
  const line = newLine({ kind: "allowlist", text }, Date.now());
  store.commit([allowlistChange(entries)], [line]);
  desk?.own({ allowlist });
}
