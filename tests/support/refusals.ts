/**
 * The requests of recorded nodes that the strict policy refuses, and why that is
 * right: `tests/replay/refusals.json`.
 *
 * @module
 */

import { readFileSync } from "node:fs";

/** Requests of one kind in one recording that one rule refuses. */
export interface ExpectedRefusal {
  readonly recording: string;
  readonly request: string;
  readonly rule: string;
  readonly count: number;
  readonly why: string;
}

const URL_OF_TABLE = new URL("../replay/refusals.json", import.meta.url);

/** The whole table. */
export function expectedRefusals(): readonly ExpectedRefusal[] {
  // The file is ours; the test that reads it names every row it does not meet.
  return JSON.parse(readFileSync(URL_OF_TABLE, "utf8")) as ExpectedRefusal[];
}
