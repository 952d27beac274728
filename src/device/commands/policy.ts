/**
 * `softkey policy`: reads and changes what the owner's rules compare with.
 *
 *     policy show
 *     policy set NAME VALUE      policy unset NAME
 *     policy warn TAG[@DATE]     policy strict TAG
 *     policy rules [TAG]         (no card needed)
 *
 * What is shown is what is enforced: both read the same record.
 *
 * What it does not do: change a signer that runs; it has the card.
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
import {
  type Arguments,
  noMore,
  wanted,
  wantedNetwork,
  wantedWord,
} from "../arguments.ts";
import { storePolicy } from "../card_state.ts";
import { print } from "../terminal.ts";
import { withCardState } from "./open.ts";

/** A policy changed, and the lines that say how. */
interface Changed {
  readonly policy: Policy;
  readonly lines: readonly string[];
}

type Action = (policy: Policy, words: readonly string[]) => Changed;

const ACTIONS: Readonly<Record<string, Action>> = { set, unset, warn, strict };

/** Runs `policy …`. */
export function policy({ options, words }: Arguments): number {
  const [name = "", ...rest] = words;
  if (name === "rules") return showRules(rest);
  const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
  if (name !== "show" && action === undefined) {
    const names = ["rules", "show", ...Object.keys(ACTIONS)].join(", ");
    throw new UsageError(
      `Cannot run policy ${JSON.stringify(name)}: want one of ${names}`,
    );
  }
  const folder = wanted(options, "card");
  return withCardState(folder, wantedNetwork(options), ({ policy, store }) => {
    if (action === undefined) return show(policy, rest);
    const changed = action(policy, rest);
    storePolicy(store, changed.policy);
    for (const line of changed.lines) print(line);
    return 0;
  });
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

function show(policy: Policy, words: readonly string[]): number {
  noMore(words);
  for (const line of describePolicy(policy)) print(lineOf(line));
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
