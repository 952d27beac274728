/**
 * `softkey pair`: the owner consents to a node before it is served.
 *
 *     softkey pair 'RHS1…'       the string that remote_hsmd_mqtt pair shows
 *     softkey pair --broker URL  a node on this machine, with pairing = first
 *     softkey pair --list        whom the card is paired with
 *
 * It connects, shows the fingerprint that the node shows too, asks, and remembers
 * who the node is, where, and on which network. Pairing again takes the place of
 * what was before.
 *
 * What it does not do: make a seed, or answer the node.
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import { publicKey } from "../../crypto/secp.ts";
import type { Secret } from "../../crypto/secret.ts";
import { UsageError } from "../../errors.ts";
import { pairingFingerprint } from "../../mqtt/fingerprint.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import type { Change } from "../../store/store.ts";
import { type Arguments, noMore, type Options, wanted } from "../arguments.ts";
import { type Card, hasSeed, openCard } from "../card.ts";
import {
  identityChange,
  networkChange,
  openCardStore,
  pairingChange,
  readCardFacts,
} from "../card_state.ts";
import { newLine } from "../ledger.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { serverAccess } from "../server_access.ts";
import { nodeKeyIn } from "../setup/candidate.ts";
import { Contact } from "../setup/contact.ts";
import { joinNode } from "../setup/join.ts";
import { checkMeetable, dayOf, isPaired } from "../setup/pairing.ts";
import {
  checkUrl,
  networkOfBoth,
  type OpenCard,
  SOFTWARE,
} from "../setup/prepare.ts";
import { contactScreen } from "../setup/screens.ts";
import { readSeed } from "../setup/seed.ts";
import type { NodeFacts } from "../setup/state.ts";
import { openTerminal, print } from "../terminal.ts";

/** Runs `pair`. */
export async function pair({ options, words }: Arguments): Promise<number> {
  const [text = options.pair, ...more] = words;
  noMore(more);
  const card = await openCard(wanted(options, "card"));
  const store = openCardStore(card.folder);
  const open = { card, store };
  try {
    identityChange(store, card);
    if (options.list) return list(open);
    if (text !== undefined && options.broker !== undefined) {
      throw new UsageError(
        "Cannot use --broker with a pairing string: want one of them",
      );
    }
    const prompter = openTerminal();
    if (options.broker !== undefined) {
      return await pairAt(checkUrl(options.broker), open, options, prompter);
    }
    const typed = text ?? await askString(prompter);
    await joinNode({ ...open, options, prompter, text: typed, say: print });
    sayNext(card, await hasSeed(card) === null);
    return 0;
  } finally {
    store.close();
  }
}

/** Typed here it is in no shell's history. */
async function askString(prompter: Prompter | null): Promise<string> {
  if (prompter !== null) return await prompter.ask("Pairing string: ");
  throw new UsageError(
    "Missing pairing string: want what remote_hsmd_mqtt pair shows, or --broker",
  );
}

function list({ card, store }: OpenCard): number {
  const { pairing, network } = readCardFacts(store);
  if (!isPaired(pairing)) {
    print("This card is paired with no node.");
    return 0;
  }
  const { url, brokerKey, pairedAt } = pairing;
  print(`broker       ${url}`);
  print(`network      ${network ?? "unknown"}`);
  print(`fingerprint  ${pairingFingerprint(brokerKey, card.cid)}`);
  print(`paired       ${dayOf(pairedAt)}`);
  return 0;
}

/** A node on this machine that takes the first device that comes. */
async function pairAt(
  url: string,
  { card, store }: OpenCard,
  options: Options,
  prompter: Prompter | null,
): Promise<number> {
  checkMeetable(url, null);
  const identity = identityChange(store, card);
  const seed = await readSeed(card, { options, prompter, say: print });
  const nodeKey = seed === null ? null : nodeKeyIn(seed.reveal(), null);
  const isEmpty = seed === null;
  const access = await serverAccess(options, { url, certHash: null });
  const who = { card, nodeKey, isEmpty, software: SOFTWARE, access };
  const known = isEmpty ? who : { ...who, store };
  const contact = new Contact({ ...known, url, say: print });
  try {
    const { node } = await contact.meet();
    const network = networkOfBoth(node, options, store);
    checkNode(node, nodeKey);
    await askOwner({ node, network, options, prompter });
    remember(store, node, [
      ...(identity === null ? [] : [identity]),
      networkChange(network.name),
    ]);
    sayNext(card, isEmpty);
    return 0;
  } finally {
    await contact.close();
  }
}

function checkNode({ url, expectedNode }: NodeFacts, key: Secret | null): void {
  if (key === null || expectedNode === null) return;
  const own = publicKey(key.reveal()).toHex();
  if (own === expectedNode) return;
  throw new OwnerError(
    "rightNode",
    `Cannot pair with the node at ${url}: it is ${expectedNode}, this seed ` +
      `is node ${own}, want that node or that node's card`,
  );
}

interface Asked {
  readonly node: NodeFacts;
  readonly network: Network;
  readonly options: Options;
  readonly prompter: Prompter | null;
}

async function askOwner(
  { node, network, options, prompter }: Asked,
): Promise<void> {
  print(contactScreen(node, network.name).join("\n"));
  if (options.yes) return;
  if (prompter === null) {
    throw new OwnerError(
      "consent",
      "Cannot pair: nobody to ask, want a terminal, or --yes",
    );
  }
  const answer = await prompter.ask("Pair with this node? [yes/no] ");
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new OwnerError("consent", "Cannot pair: the owner said no");
}

function remember(
  store: SqliteStore,
  { url, brokerKey, fingerprint }: NodeFacts,
  changes: readonly Change[],
): void {
  if (brokerKey === null) return;
  const now = Date.now();
  const text = `paired with the node at ${url}, fingerprint ${fingerprint}`;
  store.commit([
    ...changes,
    pairingChange({ brokerKey, url, pairedAt: BigInt(now), certHash: null }),
  ], [newLine({ kind: "pairing", text }, now)]);
  print(`Done: ${text}.`);
}

function sayNext({ folder }: Card, isEmpty: boolean): void {
  print(
    isEmpty
      ? `Next: softkey run --card ${folder} makes a seed with you, and ` +
        "serves the node."
      : `Next: softkey run --card ${folder} serves it.`,
  );
}
