/**
 * `softkey card …`: what an owner does with a card as a whole.
 *
 * | command | does | while a softkey runs |
 * | --- | --- | --- |
 * | check | says whether it is whole, and what is on it | yes |
 * | backup FILE | writes it into one sealed file | yes, not with --move |
 * | restore FILE | makes a card from such a file | |
 * | seal | encrypts a seed that is in clear | |
 * | passphrase | changes what opens the seed | |
 * | adopt | brings it up to date from the node's database | |
 * | share | makes it one of several of its node | |
 * | forget-chain | lets the chain begin anew | |
 * | wipe | takes it away | |
 *
 * What it does not do: sign, or change what the owner allows.
 *
 * @module
 */

import { StoreError, UsageError } from "../../errors.ts";
import { type Arguments, noMore, wanted } from "../arguments.ts";
import type { CardAccess } from "../owner/access.ts";
import { openTerminal, print, write } from "../terminal.ts";
import { adopt } from "./adopt.ts";
import { backupCard } from "./card/backup.ts";
import { checkCard, checkFilesOnly } from "./card/check.ts";
import { isBusy } from "./card/folder.ts";
import { forgetChain } from "./card/forget_chain.ts";
import { restoreCard, type Talk } from "./card/restore.ts";
import { changePassphrase, sealCard } from "./card/seal.ts";
import { shareCard } from "./card/share.ts";
import { wipeCard } from "./card/wipe.ts";
import { withCard } from "./open.ts";

type Action = (args: Arguments) => number | Promise<number>;

/** What may follow `softkey card`. */
const ACTIONS: ReadonlyMap<string, Action> = new Map<string, Action>([
  ["check", check],
  ["backup", onCard],
  ["restore", (args) => restoreCard(withoutFirst(args), talk())],
  ["seal", (args) => sealCard(withoutFirst(args), talk())],
  ["passphrase", (args) => changePassphrase(withoutFirst(args), talk())],
  ["adopt", (args) => adopt(withoutFirst(args))],
  ["share", onCard],
  ["forget-chain", onCard],
  ["wipe", (args) => wipeCard(withoutFirst(args), talk())],
]);

/** Runs `softkey card`. */
export async function card(args: Arguments): Promise<number> {
  const [name = ""] = args.words;
  const action = ACTIONS.get(name);
  if (action !== undefined) return await action(args);
  const wanted = [...ACTIONS.keys()].join(", ");
  throw new UsageError(
    `Cannot run card ${JSON.stringify(name)}: want one of ${wanted}`,
  );
}

/** What also works on the card of a softkey that runs; there nobody is asked. */
export async function cardOn(
  access: CardAccess,
  args: Arguments,
): Promise<number> {
  const [name] = args.words;
  const rest = withoutFirst(args);
  const prompter = access.desk === null ? openTerminal() : null;
  if (name === "backup") return await backupCard(access, rest, prompter);
  if (name === "check") {
    noMore(rest.words);
    return await checkCard(access, rest.options, prompter);
  }
  if (name === "forget-chain") return forgetChain(access, rest);
  if (name === "share") return await shareCard(access, rest, prompter);
  throw new UsageError(
    `Cannot run card ${JSON.stringify(name ?? "")} while a softkey runs with ` +
      "this card: stop it first",
  );
}

function onCard(args: Arguments): Promise<number> {
  return withCard("card", args, cardOn);
}

/** A card whose memory does not open still has files that can be looked at. */
async function check(args: Arguments): Promise<number> {
  try {
    return await onCard(args);
  } catch (error) {
    if (!(error instanceof StoreError) || isBusy(error)) throw error;
    const folder = wanted(args.options, "card");
    return await checkFilesOnly({ folder, print, printError }, error);
  }
}

function withoutFirst({ options, words }: Arguments): Arguments {
  return { options, words: words.slice(1) };
}

function talk(): Talk {
  return { prompter: openTerminal(), print, now: Date.now };
}

function printError(text: string): void {
  write(Deno.stderr, `${text}\n`);
}
