/**
 * What the owner may allow case by case: a closed list, and it relaxes no rule.
 *
 * A check that finds such a case asks here. Whoever holds the owner's answers
 * (the device's shell) has put them into a {@link Consent}; where one is missing
 * the request stops with its question and is asked again, under the same key,
 * when the answer is there.
 *
 * What it does not do: ask anybody, remember an answer.
 *
 * @module
 */

import { ConsentNeeded } from "../errors.ts";

/** One kind of case. */
export interface ConsentRow {
  /** What it is, for documentation. */
  readonly summary: string;
  /** The question; `{}` stands for what it is about. */
  readonly question: string;
}

/** Everything that may be consented to. */
export const CONSENTS = {
  unknown_destination: {
    summary: "coins go to an address that is neither the node's nor in the " +
      "allowlist",
    question: "Allow {}? It goes beyond your wallet and your allowlist",
  },
  payment_without_invoice: {
    summary: "a payment that no approved invoice or keysend covers",
    question: "Pay {}? Nothing that you approved covers it",
  },
  payment_over_limit: {
    summary: "a payment that goes beyond the velocity limit",
    question: "Pay {}? It is more than your limit allows",
  },
} as const satisfies Record<string, ConsentRow>;

/** A kind of case. */
export type ConsentKind = keyof typeof CONSENTS;

/** What the owner has said so far. */
export interface Consent {
  /** `always` is `--yes`; `ask` waits for an answer. */
  readonly mode: "refuse" | "always" | "ask";
  /** Keys that were answered yes. */
  readonly granted: ReadonlySet<string>;
  /** Keys that were answered no. */
  readonly declined: ReadonlySet<string>;
  /** Hears of each thing that passed by this consent, as its question. */
  readonly noteUse?: (question: string) => void;
}

/** An owner who allows nothing beyond the rules. */
export const NO_CONSENT: Consent = {
  mode: "refuse",
  granted: new Set(),
  declined: new Set(),
};

/** The question about a thing, in the owner's words. */
export function questionOf(kind: ConsentKind, thing: string): string {
  return CONSENTS[kind].question.replace("{}", () => thing);
}

/**
 * Whether the owner consents to the thing that `key` names. `thing` says it in
 * words: an amount and where it goes.
 *
 * @throws {ConsentNeeded} when the owner has to be asked first
 */
export function isConsented(
  consent: Consent,
  kind: ConsentKind,
  key: string,
  thing: () => string,
): boolean {
  const isGiven = isGranted(consent, key);
  if (isGiven === null) {
    throw new ConsentNeeded(kind, key, questionOf(kind, thing()));
  }
  if (isGiven) consent.noteUse?.(questionOf(kind, thing()));
  return isGiven;
}

/** What the owner said of a thing; null for nothing yet. */
function isGranted(
  { mode, granted, declined }: Consent,
  key: string,
): boolean | null {
  switch (mode) {
    case "always":
      return true;
    case "refuse":
      return false;
    case "ask":
      if (declined.has(key)) return false;
      return granted.has(key) ? true : null;
  }
}
