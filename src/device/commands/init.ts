/**
 * `softkey init`: makes a seed on a card that has none.
 *
 * At a terminal it shows the words once and has some typed back. Without one,
 * --words-file names where they are written. With --setup-listen it waits for
 * the setup tools that people have for the hardware (`../setup_http.ts`).
 *
 * With --pair it joins a node first, which says the network too.
 *
 * What it does not do: answer a node.
 *
 * @module
 */

import { type Arguments, noMore } from "../arguments.ts";
import { networkFor } from "../card_state.ts";
import { joinNode } from "../setup/join.ts";
import { setUpByTool } from "../setup/listen.ts";
import {
  expectedNodes,
  type OpenCard,
  withEmptyCard,
  wordCountOf,
  wordsPassphraseOf,
} from "../setup/prepare.ts";
import { cardScreen } from "../setup/screens.ts";
import { setUp } from "../setup/set_up.ts";
import { openTerminal, print } from "../terminal.ts";

/** Runs `init`. */
export function init(args: Arguments): Promise<number> {
  noMore(args.words);
  const words = wordCountOf(args.options);
  const listen = args.options["setup-listen"];
  return withEmptyCard(
    args.options,
    (open) =>
      listen === undefined
        ? initCard(args, open, words)
        : listenAt(listen, args, open),
  );
}

async function listenAt(
  listen: string,
  { options }: Arguments,
  open: OpenCard,
): Promise<number> {
  const prompter = openTerminal();
  await setUpByTool({ ...open, options, prompter, listen, say: print });
  return 0;
}

async function initCard(
  { options }: Arguments,
  open: OpenCard,
  words: number,
): Promise<number> {
  if (options.pair !== undefined) {
    const prompter = openTerminal();
    await joinNode({
      ...open,
      options,
      prompter,
      text: options.pair,
      say: print,
    });
  }
  const network = networkFor(options, open.store);
  print(cardScreen(open.card.folder, network.name).join("\n"));
  await setUp({
    ...open,
    options,
    prompter: openTerminal(),
    network,
    plan: {
      node: null,
      network: network.name,
      source: { kind: "new", words },
      expected: expectedNodes(options, open.store, { network, node: null }),
      passphrase: await wordsPassphraseOf(options),
    },
  });
  return 0;
}
