/**
 * Which rules the owner wants to be warned by instead of stopped.
 *
 * An entry is a tag, or the start of tags with `*`, an action, and for a warning
 * an optional day on which the rule is strict again. The first entry that
 * matches counts; a rule that none matches is strict.
 *
 * ```
 * policy-onchain-no-channel-push:warn@2027-01-31
 * policy-mutual-*:warn
 * ```
 *
 * Form: VLS §4.1, with the day added.
 *
 * What it does not do: relax a rule whose row says that it may not be. Such a
 * tag is refused here, and a prefix that also covers some of them leaves those
 * strict (`judge.ts`).
 *
 * @module
 */

import { UsageError } from "../errors.ts";
import { isRuleTag, RULES, type RuleTag } from "./rules.ts";

/** One wish of the owner. */
export interface FilterEntry {
  /** A tag, or with `isPrefix` the start of some. */
  readonly tag: string;
  readonly isPrefix: boolean;
  readonly action: "error" | "warn";
  /** Unix seconds from which on it counts no more; null for never. */
  readonly until: number | null;
}

const FORM = "want TAG:warn, TAG:error or TAG:warn@YYYY-MM-DD, * at the end " +
  "of TAG for all that start so";

/** Reads an entry. @throws {UsageError} saying what is wrong with it */
export function parseFilterEntry(text: string): FilterEntry {
  const match = /^([a-z0-9-]*)(\*?):(error|warn)(?:@(.*))?$/.exec(text.trim());
  if (match === null) refuse(text, FORM);
  const [, tag = "", star, action, day] = match;
  const entry: FilterEntry = {
    tag,
    isPrefix: star === "*",
    action: action === "warn" ? "warn" : "error",
    until: day === undefined ? null : parseDay(day, text),
  };
  checkEntry(entry, text);
  return entry;
}

function refuse(text: string, problem: string): never {
  throw new UsageError(`Cannot use filter ${JSON.stringify(text)}: ${problem}`);
}

/** Midnight UTC at the start of a day. */
function parseDay(day: string, text: string): number {
  const midnight = Date.parse(`${day}T00:00:00Z`);
  const isDay = /^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(midnight) &&
    formatDay(midnight / 1000) === day;
  if (!isDay) {
    refuse(text, `${JSON.stringify(day)} is no day, want YYYY-MM-DD`);
  }
  return midnight / 1000;
}

function formatDay(seconds: number): string {
  return new Date(seconds * 1000).toISOString().slice(0, 10);
}

function checkEntry(entry: FilterEntry, text: string): void {
  const { tag, isPrefix, action, until } = entry;
  const tags = matchingTags(entry);
  if (tags.length === 0) {
    refuse(
      text,
      isPrefix
        ? `no rule starts with ${JSON.stringify(tag)}, want the start of a tag`
        : `${JSON.stringify(tag)} is no rule, want a tag of the rule table`,
    );
  }
  if (action === "warn" && !tags.some((tag) => RULES[tag].isRelaxable)) {
    refuse(text, "it may not be relaxed, want a rule that may");
  }
  if (action === "error" && until !== null) {
    refuse(text, "a day was given for error, want one for warn only");
  }
}

/** The rules that an entry is about. */
export function matchingTags(entry: FilterEntry): RuleTag[] {
  return Object.keys(RULES).filter(isRuleTag)
    .filter((tag) => isMatch(entry, tag));
}

function isMatch(entry: FilterEntry, tag: RuleTag): boolean {
  return entry.isPrefix ? tag.startsWith(entry.tag) : tag === entry.tag;
}

/** An entry as the owner would write it. */
export function formatFilterEntry(entry: FilterEntry): string {
  const { tag, isPrefix, action, until } = entry;
  const day = until === null ? "" : `@${formatDay(until)}`;
  return `${tag}${isPrefix ? "*" : ""}:${action}${day}`;
}

/** Whether a rule that is broken at this time, in Unix seconds, only warns. */
export function isWarned(
  filter: readonly FilterEntry[],
  tag: RuleTag,
  now: number,
): boolean {
  if (!RULES[tag].isRelaxable) return false;
  const entry = filter.find((entry) => isMatch(entry, tag));
  if (entry === undefined || entry.action === "error") return false;
  return entry.until === null || now < entry.until;
}
