/**
 * Where a rule is applied: what holds passes, what does not is refused, unless
 * the owner has set that rule to warn.
 *
 * A check names its rule and says, in words that are only made when needed, what
 * was found and what is wanted. Everything else about the rule (what it is for,
 * whether it may be relaxed, what to do about it) is its row in `rules.ts`.
 *
 * What it does not do: know any rule.
 *
 * @module
 */

import { PolicyViolation } from "../errors.ts";
import { isWarned } from "./filter.ts";
import type { Policy } from "./limits.ts";
import { RULES, type RuleTag } from "./rules.ts";

/** A rule that was broken and let pass, as the owner wanted it. */
export interface Warning {
  readonly tag: RuleTag;
  readonly text: string;
}

/** Applies the rules of one policy to one request. */
export interface Judge {
  readonly policy: Policy;
  /** Unix time in seconds. */
  readonly now: number;
  /** Rules that were broken and set to warn. */
  readonly warnings: readonly Warning[];
  /**
   * Applies a rule. True when it holds, false when it does not and only warns.
   *
   * @throws {PolicyViolation}
   */
  require(tag: RuleTag, holds: boolean, facts: () => string): boolean;
}

/** A judge of one request, at a time in Unix seconds. */
export function createJudge(policy: Policy, now: number): Judge {
  const warnings: Warning[] = [];
  return {
    policy,
    now,
    warnings,
    require(tag, holds, facts) {
      if (holds) return true;
      const { isRelaxable, isTemporary = false, advice } = RULES[tag];
      const text = `${facts()}; ${advice}`;
      if (!isRelaxable || !isWarned(policy.filter, tag, now)) {
        throw new PolicyViolation(tag, text, { isTemporary });
      }
      warnings.push({ tag, text });
      return false;
    },
  };
}
