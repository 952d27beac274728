/**
 * `softkey policy`: reads and changes what the owner's rules compare with.
 *
 *     policy show
 *     policy set NAME VALUE      policy unset NAME
 *     policy warn TAG[@DATE]     policy strict TAG
 *     policy rules [TAG]         (no card needed)
 *
 * What is shown is what is enforced: both read the same record. A softkey that
 * runs with the card goes by a change from the next request on. Each change is a
 * line in the ledger.
 *
 * What it does not do: know a limit (`policy/limits.ts`), or how a change
 * becomes durable (`owner/ownership.ts`).
 *
 * @module
 */

import { UsageError } from "../../errors.ts";
import { formatFilterEntry, parseFilterEntry } from "../../policy/filter.ts";
import {
  defaultPolicy,
  describePolicy,
  type LimitLine,
  type Policy,
  withFilter,
  withLimit,
} from "../../policy/limits.ts";
import { isRuleTag, type RuleRow, RULES } from "../../policy/rules.ts";
import { type Arguments, noMore, wantedWord } from "../arguments.ts";
import { readCardState } from "../card_state.ts";
import { type CardAccess, wantedCardNetwork } from "../owner/access.ts";
import { ownPolicy } from "../owner/ownership.ts";
import { print } from "../terminal.ts";
import { withCard } from "./open.ts";

/** A policy changed, and the lines that say how. */
interface Changed {
  readonly policy: Policy;
  readonly lines: readonly string[];
}

type Action = (policy: Policy, words: readonly string[]) => Changed;

const ACTIONS: Readonly<Record<string, Action>> = { set, unset, warn, strict };

/** Runs `policy …`. */
export async function policy(args: Arguments): Promise<number> {
  const [name = "", ...rest] = args.words;
  if (name === "rules") return showRules(rest);
  findAction(name);
  return await withCard("policy", args, policyOn);
}

/** The same on a card that is open. */
export function policyOn(access: CardAccess, { words }: Arguments): number {
  const [name = "", ...rest] = words;
  const action = findAction(name);
  const network = wantedCardNetwork(access);
  const { policy } = readCardState(access.store, network);
  if (action === null) return show(access, policy, rest);
  const changed = action(policy, rest);
  ownPolicy(access, changed.policy, changed.lines.join(", "));
  for (const line of changed.lines) access.print(line);
  return 0;
}

/** What changes a policy; null for what shows it. @throws {UsageError} */
function findAction(name: string): Action | null {
  if (name === "show") return null;
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (action !== undefined) return action;
  const names = ["rules", "show", ...Object.keys(ACTIONS)].join(", ");
  throw new UsageError(
    `Cannot run policy ${JSON.stringify(name)}: want one of ${names}`,
  );
}

/** Every rule as its row says it, or one of them. */
function showRules(words: readonly string[]): number {
  noMore(words.slice(1));
  const [tag] = words;
  if (tag !== undefined && !isRuleTag(tag)) {
    const found = JSON.stringify(tag);
    throw new UsageError(
      `Unknown rule ${found}: try softkey policy rules for all`,
    );
  }
  const rows: [string, RuleRow][] = Object.entries(RULES);
  for (const [name, row] of rows) {
    if (tag === undefined || tag === name) showRule(name, row);
  }
  return 0;
}

function showRule(tag: string, row: RuleRow): void {
  print(`${tag} (${row.isRelaxable ? "may be set to warn" : "always strict"})`);
  print(`  ${row.summary}`);
  print(`  source: ${row.source}`);
  if (row.coveredBy !== undefined) print(`  refused as: ${row.coveredBy}`);
  print(`  advice: ${row.advice}`);
  if (row.note !== undefined) print(`  note: ${row.note}`);
}

function show(
  { print }: CardAccess,
  policy: Policy,
  words: readonly string[],
): number {
  noMore(words);
  const before = defaultPolicy(policy.network);
  for (const line of describePolicy(policy)) {
    const usual = valueOf(before, line.name);
    const note = line.isDefault ? "" : `, the default is ${usual?.value}`;
    print(`${lineOf(line)}${note}`);
  }
  for (const entry of policy.filter) {
    print(`filter ${formatFilterEntry(entry)}`);
  }
  return 0;
}

function set(policy: Policy, words: readonly string[]): Changed {
  const name = wantedWord(words, 0, "the name of a limit");
  const text = wantedWord(words, 1, `a value for ${name}`);
  noMore(words.slice(2));
  return limitChanged(withLimit(policy, name, text), name);
}

function unset(policy: Policy, words: readonly string[]): Changed {
  const name = wantedWord(words, 0, "the name of a limit");
  noMore(words.slice(1));
  const text = valueOf(defaultPolicy(policy.network), name)?.value ?? "";
  return limitChanged(withLimit(policy, name, text), name);
}

function warn(policy: Policy, words: readonly string[]): Changed {
  const [tag, day] = wantedWord(words, 0, "the tag of a rule").split("@", 2);
  noMore(words.slice(1));
  const text = day === undefined ? `${tag}:warn` : `${tag}:warn@${day}`;
  const entry = formatFilterEntry(parseFilterEntry(text));
  const others = entriesBeside(policy, `${tag}`);
  return filterChanged(policy, [entry, ...others], `filter ${entry}`);
}

function strict(policy: Policy, words: readonly string[]): Changed {
  const tag = wantedWord(words, 0, "the tag of a rule");
  noMore(words.slice(1));
  // Reading it checks that there is such a rule.
  const entry = formatFilterEntry(parseFilterEntry(`${tag}:error`));
  const others = entriesBeside(policy, tag);
  // A prefix that covers the tag would still relax it: say error before it.
  const entries = others.length === 0 ? [] : [entry, ...others];
  return filterChanged(policy, entries, `strict ${tag}`);
}

function filterChanged(
  policy: Policy,
  entries: readonly string[],
  line: string,
): Changed {
  return { policy: withFilter(policy, entries), lines: [line] };
}

/** Entries of the filter for other tags, as text. */
function entriesBeside(policy: Policy, tag: string): readonly string[] {
  return policy.filter
    .filter((entry) => tag !== `${entry.tag}${entry.isPrefix ? "*" : ""}`)
    .map(formatFilterEntry);
}

function limitChanged(policy: Policy, name: string): Changed {
  const line = valueOf(policy, name);
  return { policy, lines: line === undefined ? [] : [lineOf(line)] };
}

function valueOf(policy: Policy, name: string): LimitLine | undefined {
  return describePolicy(policy).find((line) => line.name === name);
}

function lineOf({ name, value, unit, isDefault }: LimitLine): string {
  return `${name} ${value} ${unit}${isDefault ? " (default)" : ""}`;
}
