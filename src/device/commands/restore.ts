/**
 * `softkey restore`: brings a seed that exists onto a card that has none, from
 * words or from a Core Lightning hsm_secret file of any kind.
 *
 * Its node id is compared with whatever names one: --node-id, the card's own
 * memory, and, with --broker, the node. A node that is paired already takes no
 * unknown card; then the seed itself logs in, which only the right one can.
 *
 * What it does not do: stop the signer that had the seed so far. Two that sign
 * for one node lose its money.
 *
 * @module
 */

import { useFastCurve } from "../../crypto/secp.ts";
import { loadFastCurve } from "../../crypto/secp_wasm.ts";
import type { Secret } from "../../crypto/secret.ts";
import { UsageError } from "../../errors.ts";
import { type Arguments, noMore, type Options } from "../arguments.ts";
import { networkFor } from "../card_state.ts";
import { OwnerError } from "../owner_error.ts";
import { serverAccess } from "../server_access.ts";
import { nodeKeyIn } from "../setup/candidate.ts";
import { Contact, type ContactOptions } from "../setup/contact.ts";
import {
  checkUrl,
  expectedNodes,
  networkOfBoth,
  type OpenCard,
  SOFTWARE,
  withEmptyCard,
  wordsPassphraseOf,
} from "../setup/prepare.ts";
import { cardScreen } from "../setup/screens.ts";
import { setUp } from "../setup/set_up.ts";
import type { Candidate, NodeFacts, Source } from "../setup/state.ts";
import { openTerminal, print } from "../terminal.ts";
import { adoptWith } from "./adopt.ts";

/** Runs `restore`. */
export function restore(args: Arguments): Promise<number> {
  noMore(args.words);
  return withEmptyCard(args.options, (open) => restoreCard(args, open));
}

/** Where the node is asked, and which card asks. */
type Server = Pick<ContactOptions, "url" | "access" | "card">;

/** What the node says before the seed is known. */
interface Asked {
  readonly node: NodeFacts | null;
  readonly passphrase: Secret | null;
  /** Whether the node takes nobody but its own seed. */
  readonly isClosed: boolean;
}

const NOBODY: Asked = { node: null, passphrase: null, isClosed: false };

async function restoreCard(
  { options }: Arguments,
  { card, store }: OpenCard,
): Promise<number> {
  const source = sourceOf(options);
  const url = options.broker === undefined ? null : checkUrl(options.broker);
  const access = await serverAccess(options, { url, certHash: null });
  const server = url === null ? null : { url, access, card };
  const asked = server === null ? NOBODY : await askNode(server);
  const { node } = asked;
  const network = node === null
    ? networkFor(options, store)
    : networkOfBoth(node, options, store);
  print(cardScreen(card.folder, network.name).join("\n"));
  const passphrase = await wordsPassphraseOf(options) ?? asked.passphrase;
  const prompter = openTerminal();
  const { file } = await setUp({
    card,
    store,
    options,
    prompter,
    network,
    plan: {
      node,
      network: network.name,
      source,
      expected: expectedNodes(options, store, { network, node }),
      passphrase,
    },
    check: async (candidate) => {
      if (server === null || !asked.isClosed) return;
      await logInAs(candidate, passphrase, server);
    },
  });
  if (options.database === undefined) return 0;
  useFastCurve(await loadFastCurve());
  await adoptWith({
    card,
    store,
    options,
    prompter,
    network,
    file,
    passphrase,
  });
  return 0;
}

function sourceOf(options: Options): Source {
  const path = options["hsm-secret"];
  if (path === undefined) return { kind: "words" };
  if (options["words-file"] === undefined) return { kind: "file", path };
  throw new UsageError(
    "Cannot use --words-file and --hsm-secret together: want one of them",
  );
}

/** Asks as an unknown card; a node that is paired refuses those. */
async function askNode(server: Server): Promise<Asked> {
  const contact = new Contact({
    ...server,
    nodeKey: null,
    isEmpty: true,
    software: SOFTWARE,
    say: print,
  });
  try {
    return { ...await contact.meet(), isClosed: false };
  } catch (error) {
    if (!(error instanceof OwnerError)) throw error;
    print(
      "The node is paired already, and tells a card without its seed nothing, " +
        "its network neither: it is asked again as soon as the seed is known.",
    );
    return { ...NOBODY, isClosed: true };
  } finally {
    await contact.close();
  }
}

/** Only the seed that a node is paired with can log in to it. */
async function logInAs(
  { file, nodeId }: Candidate,
  passphrase: Secret | null,
  server: Server,
): Promise<void> {
  const nodeKey = nodeKeyIn(file.reveal(), passphrase);
  if (nodeKey === null) return;
  const who = { nodeKey, isEmpty: false, software: SOFTWARE };
  const contact = new Contact({ ...who, ...server, say: print });
  try {
    const why = await contact.meet().then(() => null, (error) => {
      // It may know another card of this seed: the seed is right all the same.
      if (error instanceof OwnerError && contact.isTaken) return error.message;
      throw error;
    });
    print(`The node at ${server.url} is ${nodeId}: this is its seed.`);
    if (why !== null) print(`It will not take this card yet. ${why}`);
  } finally {
    await contact.close();
  }
}
