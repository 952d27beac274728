/**
 * Has a card take over a node that has channels: reads the database of the node,
 * which is stopped, and writes on the card what it has to remember of them.
 *
 * All of it is one commit: the channels, the payments under way, the counters,
 * whose card it is, a line in the book for each channel, and that the card is in
 * good standing. So a card that was restored from an old backup becomes good by
 * adopting the newest database of its node.
 *
 * | the database | then |
 * | --- | --- |
 * | is another node's, or another network's | nothing is written |
 * | knows of fewer signatures than the card | nothing is written |
 * | has a channel that does not check | it is named, the others are taken |
 *
 * What it does not do: ask the owner (`commands/adopt.ts`), or change the
 * database, but for what SQLite undoes after a crash.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import { deriveNodeKeys } from "../keyderiv/node.ts";
import type { NodeSecret } from "../keyderiv.ts";
import { encodeWrite } from "../signer/memory.ts";
import { type ChannelRecord, RECORDS } from "../signer/records.ts";
import { decode } from "../wire/codec.ts";
import type { Change, NewLine, Store } from "../store/store.ts";
import { readNodeDatabase } from "./adopt/database.ts";
import { type Plan, planAdoption } from "./adopt/plan.ts";
import { entriesOf, foundScreen, meaningScreen } from "./adopt/report.ts";
import {
  bindingOf,
  networkChange,
  readCardState,
  standingChange,
} from "./card_state.ts";
import { encodeEntry } from "./ledger.ts";
import { OwnerError } from "./owner_error.ts";

/** What is adopted, and onto which card. */
export interface AdoptOptions {
  /** The card's memory, open. */
  readonly store: Store;
  readonly network: Network;
  /** The node's seed. */
  readonly secret: NodeSecret;
  /** The node's lightningd.sqlite3. */
  readonly databasePath: string;
  readonly print: (text: string) => void;
  /** Returns when the owner consents to what was printed; else throws. */
  readonly consent: () => Promise<void>;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** To be written with it. */
  readonly more?: readonly Change[];
}

/** What was done. */
export interface AdoptReport {
  readonly nodeId: Uint8Array;
  readonly adopted: number;
  readonly left: number;
}

/**
 * Adopts a node's channels, in one durable commit.
 *
 * @throws {StoreError} for a database that cannot be read, is in use, or is old
 * @throws {OwnerError} rightNode, or what consent threw
 */
export async function adoptInto(options: AdoptOptions): Promise<AdoptReport> {
  const { store, network, secret, databasePath, print } = options;
  const state = readCardState(store, network);
  if (state.standing?.kind === "moved") throw movedAway();
  const keys = deriveNodeKeys(secret);
  // Before anything else: another node's card takes nothing.
  const binding = bindingOf(state.node, keys.node.point);
  const db = await readNodeDatabase(databasePath, print);
  const { memory, policy } = state;
  const known = channelsOf(store);
  const plan = planAdoption({ db, keys, network, memory, known });
  const screens = [
    ...foundScreen(plan, { network: network.name, policy }),
    ...meaningScreen(plan),
  ];
  for (const line of screens) print(line);
  await options.consent();
  const changes = [
    ...plan.writes.map(encodeWrite),
    ...(binding === null ? [] : [binding]),
    networkChange(network.name),
    standingChange(null),
    ...options.more ?? [],
  ];
  store.commit(changes, linesOf(plan, options.now()));
  const { nodeId, adopted, left } = plan;
  return { nodeId, adopted: adopted.length, left: left.length };
}

function movedAway(): OwnerError {
  return new OwnerError(
    "rightNode",
    "Cannot adopt onto this card: it was moved and another card goes on, want " +
      "that one",
  );
}

/** Every channel that the card has a record of. */
function channelsOf(store: Store): readonly ChannelRecord[] {
  const { prefix, codec } = RECORDS.channel;
  return [...store.load()]
    .filter(({ key }) => key.startsWith(prefix))
    // Behind its format, which was checked when the memory was read.
    .map(({ key, value }) => decode(codec, value.subarray(1), key));
}

function linesOf(plan: Plan, now: number): readonly NewLine[] {
  return entriesOf(plan).map((entry) => (
    { time: BigInt(now), body: encodeEntry(entry) }
  ));
}
