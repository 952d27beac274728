/**
 * What went wrong lately, kept for whoever asks: the last refusal of each rule,
 * the last errors.
 *
 * Both lists are short and stay so: a node that was taken over can be refused
 * thousands of times a second, and the texts are a device's own.
 *
 * @module
 */

import {
  type ErrorStatus,
  MOST_ERRORS,
  MOST_REFUSALS,
  type RefusalStatus,
} from "./status.ts";

/** Longest text that is kept, in UTF-16 units. */
const LONGEST = 500;

/** A refusal, as it happened. */
export type NewRefusal = Omit<RefusalStatus, "count">;

/** Refusals by rule, and errors, the latest first. */
export class Notes {
  readonly #refusals = new Map<string, RefusalStatus>();
  #errors: readonly ErrorStatus[] = [];

  /** A device refused a request. */
  refused(refusal: NewRefusal): void {
    const { rule } = refusal;
    const count = 1 + (this.#refusals.get(rule)?.count ?? 0);
    // Out and in again: the latest is the last of the map.
    this.#refusals.delete(rule);
    const reason = cut(refusal.reason);
    this.#refusals.set(rule, { ...refusal, reason, count });
    const [oldest] = this.#refusals.keys();
    if (this.#refusals.size > MOST_REFUSALS && oldest !== undefined) {
      this.#refusals.delete(oldest);
    }
  }

  /** Something went wrong. */
  failed(error: ErrorStatus): void {
    const latest = { ...error, text: cut(error.text) };
    this.#errors = [latest, ...this.#errors].slice(0, MOST_ERRORS);
  }

  /** By rule, the latest first. */
  get refusals(): readonly RefusalStatus[] {
    return [...this.#refusals.values()].reverse();
  }

  /** The latest first. */
  get errors(): readonly ErrorStatus[] {
    return this.#errors;
  }
}

function cut(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
}
