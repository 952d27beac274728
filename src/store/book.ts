/**
 * The chain of the ledger's lines: how it grows, what is kept of it, and how it
 * is verified.
 *
 * Each line's hash is over the hash before, its number, its time and its body
 * (`digest.ts`); the newest hash is the tip. The book is kept to its newest
 * {@link LEDGER_LINES} lines and removes older ones a batch at a time; the
 * anchor is the line before the oldest that is kept, so that the rest is
 * verified as before.
 *
 *     anchor <- line <- line <- … <- tip
 *
 * What it does not do: read or write a card.
 *
 * @module
 */

import { DIGEST_SIZE, lineDigest } from "./digest.ts";
import type { LedgerLine, LedgerMark, LedgerRange, NewLine } from "./store.ts";

/** How many lines a card keeps at the least, once there were that many. */
export const LEDGER_LINES = 200_000;
/** How many more may come before as many are removed at once. */
const BATCH = 1_000;

/** Where a book starts. */
export const NO_LINES: LedgerMark = {
  number: 0n,
  hash: new Uint8Array(DIGEST_SIZE),
};

/** The first and the last end of what is kept. */
export interface Marks {
  readonly tip: LedgerMark;
  readonly anchor: LedgerMark;
}

/** The lines that go on from here. */
export function addLines(
  tip: LedgerMark,
  lines: readonly NewLine[],
): readonly LedgerLine[] {
  let { number, hash } = tip;
  return lines.map(({ time, body }) => {
    number += 1n;
    hash = lineDigest(hash, { number, time, body });
    return { number, time, body: body.slice(), hash };
  });
}

/** The mark at a line. */
export function markOf({ number, hash }: LedgerMark): LedgerMark {
  return { number, hash };
}

/** The line that becomes the anchor; null while nothing has to go. */
export function nextAnchor(
  { tip, anchor }: Marks,
  limit: number,
): bigint | null {
  const kept = tip.number - anchor.number;
  const isDue = kept >= BigInt(limit + Math.min(BATCH, limit));
  return isDue ? tip.number - BigInt(limit) : null;
}

/** The number of the first line of a range. */
export function firstOf(
  { tip, anchor }: Marks,
  { from = 0n, last = Infinity }: LedgerRange,
): bigint {
  const oldest = anchor.number + 1n;
  const start = from > oldest ? from : oldest;
  const count = Number(tip.number - start) + 1;
  return last < count ? tip.number - BigInt(Math.max(last, 0)) + 1n : start;
}

/** Follows the chain over some lines; why it breaks, or null where it ends. */
export class ChainCheck {
  #mark: LedgerMark;

  constructor(start: LedgerMark) {
    this.#mark = start;
  }

  /** The last line that fits. */
  get mark(): LedgerMark {
    return this.#mark;
  }

  /** Takes the next line; what is wrong with it, or null. */
  take(line: LedgerLine): string | null {
    const number = this.#mark.number + 1n;
    if (line.number !== number) return `ledger line ${number} is missing`;
    const hash = lineDigest(this.#mark.hash, line);
    if (hash.toHex() !== line.hash.toHex()) {
      return `ledger line ${number} fails its checksum`;
    }
    this.#mark = markOf(line);
    return null;
  }

  /** What is wrong when the lines end here, or null. */
  end(tip: LedgerMark): string | null {
    const { number, hash } = this.#mark;
    const isEnd = number === tip.number && hash.toHex() === tip.hash.toHex();
    return isEnd ? null : `the ledger ends at line ${number}, not at its last`;
  }
}
