/**
 * What the commands that set up a card have in common: a card without a seed,
 * open for them alone; what the options say about seed and node.
 *
 * What it does not do: ask (`shell.ts`), or store (`seed_store.ts`).
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import { isPoint } from "../../crypto/secp.ts";
import { Secret } from "../../crypto/secret.ts";
import { WORD_COUNTS } from "../../crypto/words.ts";
import { UsageError } from "../../errors.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import { networkNamed, type Options, wanted } from "../arguments.ts";
import { type Card, hasSeed, openCard } from "../card.ts";
import {
  type CardPairing,
  identityChange,
  networkFor,
  networkOf,
  openCardStore,
  readCardState,
} from "../card_state.ts";
import { readNamed, withoutLineEnd } from "../named_file.ts";
import { OwnerError } from "../owner_error.ts";
import type { Expectation, NodeFacts } from "./state.ts";

/** Bumped with deno.json; the broker shows it. */
export const SOFTWARE = "softkey 0.1.0";

const SCHEMES: readonly string[] = ["mqtt:", "mqtts:", "ws:", "wss:"];

/** A card that is open for one command. */
export interface OpenCard {
  readonly card: Card;
  readonly store: SqliteStore;
}

/** Opens a card that has no seed; its memory is closed at the end. */
export async function withEmptyCard<T>(
  options: Options,
  use: (open: OpenCard) => Promise<T>,
): Promise<T> {
  const card = await openCard(wanted(options, "card"));
  if (await hasSeed(card) !== null) {
    throw new OwnerError(
      "rightNode",
      `Cannot set up the card ${card.folder}: it has a seed, want a folder ` +
        "without one (softkey card check shows whose it is)",
    );
  }
  const store = openCardStore(card.folder);
  try {
    // Files and memory of two cards are no card.
    identityChange(store, card);
    return await use({ card, store });
  } finally {
    store.close();
  }
}

/** Every node id that the seed has to make. @throws {UsageError} */
export function expectedNodes(
  options: Options,
  store: SqliteStore,
  found: { readonly network: Network; readonly node: NodeFacts | null },
): readonly Expectation[] {
  const { node: own } = readCardState(store, found.network);
  const theirs = found.node?.expectedNode ?? null;
  const named = wantedNodeId(options);
  return [
    ...(theirs === null ? [] : [{ nodeId: theirs, by: "the node" }]),
    ...(own === null ? [] : [{ nodeId: own.toHex(), by: "this card" }]),
    ...(named === null ? [] : [{ nodeId: named, by: "--node-id" }]),
  ];
}

function wantedNodeId(options: Options): string | null {
  const text = options["node-id"]?.toLowerCase();
  if (text === undefined) return null;
  const isHex = /^[0-9a-f]{66}$/.test(text);
  if (isHex && isPoint(Uint8Array.fromHex(text))) return text;
  throw new UsageError(
    `Cannot use --node-id ${JSON.stringify(text)}: want 66 hex characters, ` +
      "as lightning-cli getinfo shows them",
  );
}

/** How many words a new seed gets. @throws {UsageError} */
export function wordCountOf(options: Options, usual = 12): number {
  const text = options.words ?? String(usual);
  const count = /^\d{2}$/.test(text) ? Number(text) : 0;
  if (WORD_COUNTS.has(count)) return count;
  const counts = [...WORD_COUNTS.keys()].join(", ");
  throw new UsageError(
    `Cannot use --words ${JSON.stringify(text)}: want one of ${counts}`,
  );
}

/** The broker that is named, or the one that the card is paired with. */
export function brokerUrl(
  options: Options,
  pairing: CardPairing | null,
): string {
  return checkUrl(options.broker ?? pairing?.url ?? wanted(options, "broker"));
}

/** An address of a broker. @throws {UsageError} */
export function checkUrl(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const isMqtt = url !== null && SCHEMES.includes(url.protocol);
  if (isMqtt && url.hostname !== "") return text;
  throw new UsageError(
    `Cannot use --broker ${JSON.stringify(text)}: want mqtt, mqtts, ws or ` +
      "wss://HOST:PORT",
  );
}

/** The passphrase of the words that an option names; null for none. */
export async function wordsPassphraseOf(
  options: Options,
): Promise<Secret | null> {
  const path = options["words-passphrase-file"];
  if (path === undefined) return null;
  const text = withoutLineEnd(
    await readSeedFile(path, "--words-passphrase-file"),
  );
  return text.length === 0 ? null : new Secret(text);
}

/** A file of a seed, or for one. @throws {OwnerError} validSeed */
export function readSeedFile(
  path: string,
  option: string,
): Promise<Uint8Array> {
  return readNamed(path, `${option} ${path}`, "validSeed");
}

/**
 * The network of card and node: a card that knows none yet takes the node's.
 *
 * @throws {OwnerError} rightNode when they are on two
 */
export function networkOfBoth(
  node: NodeFacts,
  options: Options,
  store: SqliteStore,
): Network {
  const isOpen = options.network === undefined && networkOf(store) === null;
  const network = isOpen && node.network !== null
    ? networkNamed(node.network)
    : networkFor(options, store);
  checkSameNetwork(node, network);
  return network;
}

function checkSameNetwork(node: NodeFacts, network: Network): void {
  if (node.network === network.name) return;
  throw new OwnerError(
    "rightNode",
    `Cannot serve the node at ${node.url}: it is on ` +
      `${node.network ?? "an unknown network"}, want ${network.name}`,
  );
}
