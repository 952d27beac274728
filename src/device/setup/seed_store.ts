/**
 * The one moment in which a card gets its seed.
 *
 * What belongs to the seed (network, pairing, standing, birthday) is committed to
 * the memory first, the sealed seed is linked into place last. Killed between the
 * two, the card has no seed, and the next setup writes all of it anew; a seed is
 * never there without its standing.
 *
 * What it does not do: tie the memory to the node id. The first start does.
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import type { Change, Store } from "../../store/store.ts";
import { type Card, writeSealed } from "../card.ts";
import {
  birthdayChange,
  identityChange,
  networkChange,
  pairingChange,
  readCardFacts,
  readCardState,
  standingChange,
} from "../card_state.ts";
import { newLine } from "../ledger.ts";
import { sealSecret } from "../sealed_secret.ts";
import type { SealKey } from "../seal_key.ts";
import { outstandingPairing } from "./pairing.ts";
import type { Candidate, NodeFacts } from "./state.ts";

/** A card without a seed, and what goes onto it. */
export interface ToStore {
  readonly card: Card;
  readonly store: Store;
  readonly network: Network;
  readonly candidate: Candidate;
  readonly key: SealKey;
  /** The node that the owner consented to; null for a card without one. */
  readonly node: NodeFacts | null;
  /** The address of a node that the owner is asked about later. */
  readonly broker?: string;
  /** Unix time in milliseconds. */
  readonly now: number;
}

/** Stores it all, durably. @throws {StoreError | OwnerError} */
export async function storeSeed(all: ToStore): Promise<void> {
  const { card, store, candidate, key, now } = all;
  const nodeId = candidate.nodeId === null
    ? null
    : Uint8Array.fromHex(candidate.nodeId);
  // What takes long, and what can fail, comes before anything is written.
  const sealed = sealSecret(candidate.file.reveal(), key, nodeId);
  const text = describeStored(all);
  store.commit(changesOf(all), [newLine({ kind: "card", text }, now)]);
  await writeSealed(card, sealed);
}

function changesOf(all: ToStore): readonly Change[] {
  const { card, store, network } = all;
  const identity = identityChange(store, card);
  return [
    ...(identity === null ? [] : [identity]),
    networkChange(network.name),
    ...pairingOf(all),
    ...standingOf(all),
    ...birthdayOf(all),
  ];
}

function pairingOf({ node, broker, now }: ToStore): readonly Change[] {
  if (broker !== undefined) {
    return [pairingChange(outstandingPairing(broker, now))];
  }
  if (node === null || node.brokerKey === null) return [];
  const { brokerKey, url } = node;
  const pairedAt = BigInt(now);
  return [pairingChange({ brokerKey, url, pairedAt, certHash: null })];
}

/** A seed that lived elsewhere has channels that this memory has never seen. */
function standingOf(
  { store, network, candidate, now }: ToStore,
): readonly Change[] {
  const { node, standing } = readCardState(store, network);
  if (candidate.isNew) {
    return standing === null ? [] : [standingChange(null)];
  }
  const isOwn = node !== null && node.toHex() === candidate.nodeId;
  if (isOwn) return [];
  const { generation } = store.head;
  return [standingChange({ kind: "restored", generation, at: BigInt(now) })];
}

/** A new seed's is now; one that lived elsewhere is older than anybody says. */
function birthdayOf({ store, candidate, now }: ToStore): readonly Change[] {
  if (candidate.isNew) return [birthdayChange(BigInt(Math.floor(now / 1000)))];
  const { node, birthday } = readCardFacts(store);
  const isOwn = node !== null && node.toHex() === candidate.nodeId;
  return birthday === null || isOwn ? [] : [birthdayChange(null)];
}

function describeStored({ candidate, node }: ToStore): string {
  const what = candidate.isNew ? "new seed" : "seed restored";
  const who = candidate.nodeId === null ? "" : ` of node ${candidate.nodeId}`;
  const where = node === null
    ? ""
    : `, paired with the node at ${node.url}, fingerprint ${node.fingerprint}`;
  return `${what}${who}${where}`;
}
