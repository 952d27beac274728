/**
 * `softkey allowlist`: where coins may go without a question.
 *
 *     allowlist list
 *     allowlist add ENTRY     allowlist remove ENTRY
 *
 * A softkey that runs with the card goes by a change from the next request on.
 * Each change is a line in the ledger.
 *
 * What it does not do: know the form of an entry (`policy/allowlist.ts`).
 *
 * @module
 */

import { DecodeError, UsageError } from "../../errors.ts";
import { createAllowlist } from "../../policy/allowlist.ts";
import { type Arguments, noMore, wantedWord } from "../arguments.ts";
import { readCardState } from "../card_state.ts";
import { type CardAccess, wantedCardNetwork } from "../owner/access.ts";
import { ownAllowlist } from "../owner/ownership.ts";
import { withCard } from "./open.ts";

type Action = (entries: readonly string[], entry: string) => readonly string[];

const ACTIONS: Readonly<Record<string, Action>> = { add, remove };

/** Runs `allowlist …`. */
export async function allowlist(args: Arguments): Promise<number> {
  findAction(args.words[0] ?? "");
  return await withCard("allowlist", args, allowlistOn);
}

/** The same on a card that is open. */
export function allowlistOn(access: CardAccess, { words }: Arguments): number {
  const [name = "", ...rest] = words;
  const action = findAction(name);
  const network = wantedCardNetwork(access);
  const { allowed } = readCardState(access.store, network);
  if (action === null) {
    noMore(rest);
    for (const entry of allowed) access.print(entry);
    return 0;
  }
  const entry = wantedWord(rest, 0, "an entry").trim();
  noMore(rest.slice(1));
  const entries = action(allowed, entry);
  checkEntry(() => createAllowlist(entries, network), entry);
  const text = `${name === "add" ? "added" : "removed"} ${entry}`;
  ownAllowlist(access, entries, text);
  access.print(text);
  return 0;
}

/** What changes the list; null for what shows it. @throws {UsageError} */
function findAction(name: string): Action | null {
  if (name === "list") return null;
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (action !== undefined) return action;
  throw new UsageError(
    `Cannot run allowlist ${JSON.stringify(name)}: want list, add or remove`,
  );
}

function add(entries: readonly string[], entry: string): readonly string[] {
  if (!/^[\x21-\x7e]+$/.test(entry)) {
    throw new UsageError("Cannot add the entry: want one word of plain text");
  }
  return entries.includes(entry) ? entries : [...entries, entry];
}

function remove(entries: readonly string[], entry: string): readonly string[] {
  if (entries.includes(entry)) {
    return entries.filter((other) => other !== entry);
  }
  throw new UsageError(
    `Cannot remove ${JSON.stringify(entry)}: it is not in the allowlist`,
  );
}

function checkEntry(check: () => unknown, entry: string): void {
  try {
    check();
  } catch (cause) {
    if (!(cause instanceof DecodeError)) throw cause;
    const text = `Cannot add ${JSON.stringify(entry)}: ${cause.message}`;
    throw new UsageError(text, { cause });
  }
}
