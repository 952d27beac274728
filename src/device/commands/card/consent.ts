/**
 * The owner's yes to what cannot be taken back: typed, or --yes.
 *
 * What it does not do: say what it is a yes to; that is shown before.
 *
 * @module
 */

import { OwnerError } from "../../owner_error.ts";
import type { Prompter } from "../../prompt.ts";

/** What is asked for, and what counts as a yes. */
export interface ConsentQuestion {
  readonly prompter: Prompter | null;
  /** Whether --yes is given. */
  readonly isYes: boolean;
  /** Ends with what has to be typed. */
  readonly question: string;
  /** What has to be typed. */
  readonly answer: string;
}

/** Returns when the owner consents. @throws {OwnerError} terminal or consent */
export async function wantConsent(
  { prompter, isYes, question, answer }: ConsentQuestion,
): Promise<void> {
  if (isYes) return;
  if (prompter === null) {
    throw new OwnerError(
      "terminal",
      "Cannot ask for consent: no terminal, want --yes",
    );
  }
  const typed = await prompter.ask(question);
  if (typed.trim().toLowerCase() === answer.toLowerCase()) return;
  throw new OwnerError(
    "consent",
    `Nothing was done: ${JSON.stringify(typed.trim())} was typed, want ` +
      answer,
  );
}
