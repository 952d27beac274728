/**
 * The first contact of a card without a seed and a node: lightningd's init waits
 * while the owner is asked, and is answered by the box that comes after.
 *
 * What it does not do: answer the node.
 *
 * @module
 */

import type { Secret } from "../../crypto/secret.ts";
import type { ServerAccess } from "../../mqtt/access.ts";
import type { Options } from "../arguments.ts";
import type { CardPairing } from "../card_state.ts";
import { OwnerError } from "../owner_error.ts";
import type { Prompter } from "../prompt.ts";
import { Contact } from "./contact.ts";
import { isPaired } from "./pairing.ts";
import {
  expectedNodes,
  networkOfBoth,
  type OpenCard,
  SOFTWARE,
  wordCountOf,
  wordsPassphraseOf,
} from "./prepare.ts";
import { isAttended, setUp } from "./set_up.ts";
import type { Plan, Source } from "./state.ts";

/** A card without a seed, and where its node is. */
export interface FirstContact extends OpenCard {
  readonly options: Options;
  readonly prompter: Prompter | null;
  readonly url: string;
  readonly access: ServerAccess;
  /** The node that the owner consented to already; null: is asked here. */
  readonly pairing: CardPairing | null;
  /** One line to the owner. */
  readonly say: (text: string) => void;
}

/**
 * From the connection to the stored seed: the bytes of its hsm_secret.
 *
 * @throws {OwnerError | Interrupted} and nothing was stored
 */
export async function meetFirst(first: FirstContact): Promise<Secret> {
  const { card, store, options, prompter, url, access, say } = first;
  checkAskable(first);
  const pairing = isPaired(first.pairing) ? first.pairing : null;
  const contact = new Contact({
    url,
    access,
    pinned: pairing?.brokerKey ?? null,
    card,
    nodeKey: null,
    isEmpty: true,
    software: SOFTWARE,
    say,
  });
  try {
    const met = await contact.meet();
    const network = networkOfBoth(met.node, options, store);
    const plan: Plan = {
      node: pairing === null ? met.node : null,
      network: network.name,
      source: sourceOf(options, prompter),
      expected: expectedNodes(options, store, { network, node: met.node }),
      passphrase: met.passphrase ?? await wordsPassphraseOf(options),
    };
    const all = { card, store, options, prompter, network, plan };
    const { file } = await setUp(all);
    return file;
  } finally {
    await contact.close();
  }
}

/** Who cannot be asked need not be kept waiting for the node. */
function checkAskable({ card, options, prompter }: FirstContact): void {
  if (isAttended(options, prompter)) return;
  const missing = [
    ...(options["words-file"] === undefined
      ? ["Cannot show the words of a new seed: want --words-file FILE"]
      : []),
    ...(options.yes
      ? []
      : ["Cannot ask whether to pair and to make a seed: want --yes"]),
  ];
  if (missing.length === 0) return;
  const seed = `Cannot serve a node: no seed on the card ${card.folder}, ` +
    "want one from softkey init or softkey restore, or a terminal";
  throw new OwnerError("seed", [seed, ...missing].join("\n"));
}

/** What the options say; null where a person is to choose. */
function sourceOf(options: Options, prompter: Prompter | null): Source | null {
  const isOpen = isAttended(options, prompter) && options.words === undefined;
  return isOpen ? null : { kind: "new", words: wordCountOf(options) };
}
