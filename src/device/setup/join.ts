/**
 * A card joins a node by its pairing string: the node is known by the key in the
 * string, the card by the code, and the owner consents here.
 *
 *     string --connect, prove both keys--> node --the owner's yes--> paired
 *
 * The card needs no seed for it, and no passphrase: it shakes hands with the
 * card's own key. What the card remembers is written when the node has said that
 * it remembers the card.
 *
 * What it does not do: answer the node.
 *
 * @module
 */

import { NETWORKS } from "../../bitcoin/networks.ts";
import { pairingFingerprint } from "../../mqtt/fingerprint.ts";
import {
  type PairingInvitation,
  parsePairingString,
} from "../../mqtt/pairing_string.ts";
import type { Options } from "../arguments.ts";
import { hasSeed, readSealed } from "../card.ts";
import {
  type CardPairing,
  identityChange,
  networkChange,
  pairingChange,
  readCardFacts,
} from "../card_state.ts";
import { newLine } from "../ledger.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { sealedNodeId } from "../sealed_secret.ts";
import { serverAccess } from "../server_access.ts";
import { Contact } from "./contact.ts";
import { dayOf, isPaired } from "./pairing.ts";
import { networkOfBoth, type OpenCard, SOFTWARE } from "./prepare.ts";
import { contactScreen } from "./screens.ts";
import type { NodeFacts } from "./state.ts";

/** A card, and the string that its owner was given. */
export interface ToJoin extends OpenCard {
  readonly options: Options;
  readonly prompter: Prompter | null;
  /** As it was typed. */
  readonly text: string;
  /** One line to the owner. */
  readonly say: (text: string) => void;
}

/**
 * Pairs the card with a node, durably on both sides.
 *
 * @throws {UsageError} for a string that is none
 * @throws {OwnerError} when node or owner will not, and nothing was changed here
 */
export async function joinNode(all: ToJoin): Promise<CardPairing> {
  const { card, options, say } = all;
  const invitation = parsePairingString(all.text);
  const { url, brokerKey, certHash, code } = invitation;
  checkNetwork(all, invitation);
  checkAskable(all);
  const contact = new Contact({
    url,
    access: await serverAccess(options, { url, certHash }),
    pinned: brokerKey,
    code,
    card,
    nodeKey: null,
    isEmpty: await hasSeed(card) === null,
    software: SOFTWARE,
    say,
  });
  try {
    const node = await contact.introduce();
    await checkNode(all, node);
    await askOwner(all, { ...node, network: invitation.network });
    await contact.consent();
    return remember(all, invitation);
  } finally {
    await contact.close();
  }
}

function checkNetwork(
  { card, store, options }: ToJoin,
  { url, network, brokerKey }: PairingInvitation,
): void {
  networkOfBoth(
    {
      url,
      network,
      brokerKey,
      fingerprint: pairingFingerprint(brokerKey, card.cid),
      expectedNode: null,
    },
    options,
    store,
  );
}

/** Before the code is shown to anybody. */
function checkAskable({ options, prompter }: ToJoin): void {
  if (options.yes || prompter !== null) return;
  throw new OwnerError(
    "consent",
    "Cannot pair: nobody to ask, want a terminal, or --yes",
  );
}

/** A seed that is there already makes one node id and no other. */
async function checkNode(
  { card, store }: ToJoin,
  { url, expectedNode }: NodeFacts,
): Promise<void> {
  const sealed = await readSealed(card);
  const own = readCardFacts(store).node ??
    (sealed === null ? null : sealedNodeId(sealed));
  if (own === null || expectedNode === null) return;
  if (own.toHex() === expectedNode) return;
  throw new OwnerError(
    "rightNode",
    `Cannot pair with the node at ${url}: it is ${expectedNode}, this seed ` +
      `is node ${own.toHex()}, want that node or that node's card`,
  );
}

async function askOwner(
  { card, store, options, prompter, say }: ToJoin,
  node: NodeFacts,
): Promise<void> {
  const screen = contactScreen(node, node.network ?? "");
  for (const line of screen) say(line);
  const { pairing } = readCardFacts(store);
  const key = node.brokerKey?.toHex();
  if (isPaired(pairing) && pairing.brokerKey.toHex() !== key) {
    const before = pairingFingerprint(pairing.brokerKey, card.cid);
    say(
      `It takes the place of ${before}, at ${pairing.url}, which this card is ` +
        `paired with since ${dayOf(pairing.pairedAt)}.`,
    );
  }
  if (options.yes || prompter === null) return;
  const answer = await prompter.ask("Pair with this node? [yes/no] ");
  if (/^y(es)?$/i.test(answer.trim())) return;
  throw new OwnerError("consent", "Cannot pair: the owner said no");
}

function remember(
  { card, store, say }: ToJoin,
  { url, brokerKey, certHash, network }: PairingInvitation,
): CardPairing {
  const now = Date.now();
  const pairing = { brokerKey, url, pairedAt: BigInt(now), certHash };
  const identity = identityChange(store, card);
  const text = `paired with the node at ${url}, fingerprint ` +
    pairingFingerprint(brokerKey, card.cid);
  store.commit([
    ...(identity === null ? [] : [identity]),
    networkChange(NETWORKS[network].name),
    pairingChange(pairing),
  ], [newLine({ kind: "pairing", text }, now)]);
  say(`Done: ${text}.`);
  return pairing;
}
