/**
 * `softkey allowlist`: where coins may go without a question.
 *
 *     allowlist list
 *     allowlist add ENTRY     allowlist remove ENTRY
 *
 * What it does not do: know the form of an entry (`policy/allowlist.ts`).
 *
 * @module
 */

import { DecodeError, UsageError } from "../../errors.ts";
import { createAllowlist } from "../../policy/allowlist.ts";
import {
  type Arguments,
  noMore,
  wanted,
  wantedNetwork,
  wantedWord,
} from "../arguments.ts";
import { storeAllowlist } from "../card_state.ts";
import { print } from "../terminal.ts";
import { withCardState } from "./open.ts";

type Action = (entries: readonly string[], entry: string) => readonly string[];

const ACTIONS: Readonly<Record<string, Action>> = { add, remove };

/** Runs `allowlist …`. */
export function allowlist({ options, words }: Arguments): number {
  const [name = "", ...rest] = words;
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (name !== "list" && action === undefined) {
    throw new UsageError(
      `Cannot run allowlist ${JSON.stringify(name)}: want list, add or remove`,
    );
  }
  const folder = wanted(options, "card");
  const network = wantedNetwork(options);
  return withCardState(folder, network, ({ allowed, store }) => {
    if (action === undefined) {
      noMore(rest);
      for (const entry of allowed) print(entry);
      return 0;
    }
    const entry = wantedWord(rest, 0, "an entry").trim();
    noMore(rest.slice(1));
    const entries = action(allowed, entry);
    checkEntry(() => createAllowlist(entries, network), entry);
    storeAllowlist(store, entries);
    print(`${name === "add" ? "added" : "removed"} ${entry}`);
    return 0;
  });
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
