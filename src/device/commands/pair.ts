/**
 * `softkey pair`: the owner consents to a node before it is served.
 *
 * It connects, shows the fingerprint that the node's log shows too, asks, and
 * remembers who the node is, where, and on which network.
 *
 * What it does not do: make a seed, or answer the node.
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import { publicKey } from "../../crypto/secp.ts";
import type { Secret } from "../../crypto/secret.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import type { Change } from "../../store/store.ts";
import { type Arguments, noMore, type Options, wanted } from "../arguments.ts";
import { type Card, openCard } from "../card.ts";
import {
  identityChange,
  networkChange,
  openCardStore,
  pairingChange,
} from "../card_state.ts";
import { newLine } from "../ledger.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { nodeKeyIn } from "../setup/candidate.ts";
import { Contact } from "../setup/contact.ts";
import { checkUrl, networkOfBoth, SOFTWARE } from "../setup/prepare.ts";
import { contactScreen } from "../setup/screens.ts";
import { readSeed } from "../setup/seed.ts";
import type { NodeFacts } from "../setup/state.ts";
import { openTerminal, print } from "../terminal.ts";

/** Runs `pair`. */
export async function pair({ options, words }: Arguments): Promise<number> {
  noMore(words);
  const url = checkUrl(wanted(options, "broker"));
  const card = await openCard(wanted(options, "card"));
  const store = openCardStore(card.folder);
  try {
    const identity = identityChange(store, card);
    const prompter = openTerminal();
    const seed = await readSeed(card, { options, prompter, say: print });
    const nodeKey = seed === null ? null : nodeKeyIn(seed.reveal(), null);
    const isEmpty = seed === null;
    const who = { card, nodeKey, isEmpty, software: SOFTWARE };
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
  } finally {
    store.close();
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
    pairingChange({ brokerKey, url, pairedAt: BigInt(now) }),
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
