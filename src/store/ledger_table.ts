/**
 * The lines of `ledger`: the book of what was signed, chained by hashes.
 *
 * Reading goes a piece at a time, with no statement left open in between: an
 * open one would keep the log from being begun anew.
 *
 * What it does not do: begin or end a transaction; look into a line.
 *
 * @module
 */

import type { DatabaseSync, StatementSync } from "node:sqlite";
import {
  addLines,
  ChainCheck,
  markOf,
  type Marks,
  nextAnchor,
} from "./book.ts";
import { octets, wholeNumber } from "./faults.ts";
import type { LedgerLine, NewLine } from "./store.ts";

const PIECE = 256;

/** How many of the newest lines are verified when a card is opened. */
export const VERIFIED_AT_OPEN = 1_000;

/** The table `ledger` of an open card. */
export class LedgerTable {
  readonly #put: StatementSync;
  readonly #some: StatementSync;
  readonly #remove: StatementSync;
  readonly #ends: StatementSync;

  constructor(db: DatabaseSync) {
    this.#put = db.prepare(
      "INSERT INTO ledger (number, time, body, hash) VALUES (?, ?, ?, ?)",
    );
    this.#some = db.prepare(
      `SELECT number, time, body, hash FROM ledger
       WHERE number >= ? AND number <= ? ORDER BY number LIMIT ${PIECE}`,
    );
    this.#remove = db.prepare("DELETE FROM ledger WHERE number <= ?");
    this.#ends = db.prepare(
      "SELECT min(number) AS first, max(number) AS last FROM ledger",
    );
    for (const select of [this.#some, this.#ends]) select.setReadBigInts(true);
  }

  /** Writes a line as it is. */
  insert({ number, time, body, hash }: LedgerLine): void {
    this.#put.run(number, time, body, hash);
  }

  /** Adds lines and removes what is too old; where the book stands then. */
  add(marks: Marks, lines: readonly NewLine[], limit: number): Marks {
    const added = addLines(marks.tip, lines);
    for (const line of added) this.insert(line);
    const tip = markOf(added.at(-1) ?? marks.tip);
    const last = nextAnchor({ tip, anchor: marks.anchor }, limit);
    if (last === null) return { tip, anchor: marks.anchor };
    const [anchor = tip] = this.#piece(last, last);
    this.#remove.run(last);
    return { tip, anchor: markOf(anchor) };
  }

  /** Lines from a number to a number, in order. */
  *lines(from: bigint, to: bigint): Generator<LedgerLine> {
    for (let next = from; next <= to;) {
      const piece = this.#piece(next, to);
      yield* piece;
      const last = piece.at(-1);
      if (last === undefined) return;
      next = last.number + 1n;
    }
  }

  /** Follows the chain over the newest lines; what is wrong with it, or null. */
  problem({ tip, anchor }: Marks, count = Infinity): string | null {
    const isAll = tip.number - anchor.number <= count;
    const before = isAll ? anchor.number : tip.number - BigInt(count);
    const [start = anchor] = isAll ? [] : this.#piece(before, before);
    const chain = new ChainCheck(start);
    for (const line of this.lines(before + 1n, tip.number)) {
      const problem = chain.take(line);
      if (problem !== null) return problem;
    }
    return this.#problemOfEnds({ tip, anchor }) ?? chain.end(tip);
  }

  /** Neither more nor fewer lines than the marks say. */
  #problemOfEnds({ tip, anchor }: Marks): string | null {
    if (tip.number === anchor.number) {
      return this.#ends.get()?.["first"] === null
        ? null
        : "the ledger holds lines that nobody counted";
    }
    const { first, last } = this.#ends.get() ?? {};
    const fits = first === anchor.number + 1n && last === tip.number;
    return fits ? null : "the ledger has lost lines at one of its ends";
  }

  #piece(from: bigint, to: bigint): readonly LedgerLine[] {
    return this.#some.all(from, to).map((row) => ({
      number: wholeNumber(row["number"]),
      time: wholeNumber(row["time"]),
      body: octets(row["body"]),
      hash: octets(row["hash"]),
    }));
  }
}
