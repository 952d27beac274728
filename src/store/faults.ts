/**
 * What SQLite and the disk say, in words for the owner; and what is read from a
 * table, as what it has to be.
 *
 * What it does not do: mend anything.
 *
 * @module
 */

import { Bug, describeError, StoreError } from "../errors.ts";

/** SQLite's own words for what is not damage, and ours. */
const OUTSIDE_CAUSES: readonly { pattern: RegExp; text: string }[] = [
  {
    pattern: /database is locked/,
    text: "another softkey runs with this card; stop it first",
  },
  { pattern: /disk is full|os error 28/, text: "the disk is full" },
  { pattern: /disk I\/O error/, text: "the disk cannot be read or written" },
  {
    pattern: /readonly database|os error (13|30)/,
    text: "it may not be written to",
  },
  { pattern: /unable to open/, text: "no such folder, or not permitted" },
];

function outsideCause(said: string): string | undefined {
  return OUTSIDE_CAUSES.find(({ pattern }) => pattern.test(said))?.text;
}

/** What went wrong, in plain words where there are some. */
export function plainText(cause: unknown): string {
  const said = describeError(cause);
  return outsideCause(said) ?? printable(said);
}

/** Whether another program has the file. */
export function isBusy(cause: unknown): boolean {
  return /database is locked/.test(describeError(cause));
}

/** Whether there was no room; then nothing was written. */
export function isDiskFull(cause: unknown): boolean {
  return /disk is full/.test(describeError(cause));
}

/** Runs; whatever SQLite throws becomes words for the owner. */
export function explained<T>(path: string, operation: string, run: () => T): T {
  try {
    return run();
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    const known = outsideCause(describeError(cause));
    if (known === undefined) throw damaged(path, plainText(cause), cause);
    throw new StoreError(operation, `${path}: ${known}`, { cause });
  }
}

/** A card from which nothing may be signed, and what to do about it. */
export function damaged(
  path: string,
  problem: string,
  cause?: unknown,
): StoreError {
  return new StoreError(
    "use the card",
    `card ${path} is damaged: ${problem}; restore a copy that is not older ` +
      "than the last signature, or close the channels with the node's other " +
      "backups (an older copy could sign a revoked state)",
    { cause },
  );
}

/** What is read from a damaged file may be anything. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);
}

/** A column that holds an integer. */
export function wholeNumber(value: unknown): bigint {
  if (typeof value === "bigint") return value;
  throw new Bug(`Read ${typeof value} where the table holds an integer`);
}

/** A column that holds bytes. */
export function octets(value: unknown): Uint8Array {
  if (value instanceof Uint8Array) return new Uint8Array(value);
  throw new Bug(`Read ${typeof value} where the table holds bytes`);
}
