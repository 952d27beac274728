/**
 * How commands that work on a card get at it: one that is there, that no softkey
 * runs with.
 *
 * What it does not do: make a card.
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import { UsageError } from "../../errors.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import {
  type CardState,
  openCardStore,
  readCardState,
  STATE_FILE,
} from "../card_state.ts";

/** Opens the memory of a card that has one, for one use. */
export function withCardStore<T>(
  folder: string,
  use: (store: SqliteStore) => T,
): T {
  if (!isFile(`${folder}/${STATE_FILE}`)) {
    throw new UsageError(
      `Cannot use the card ${folder}: it has no ${STATE_FILE}, want a card ` +
        "that softkey run was started with",
    );
  }
  const store = openCardStore(folder);
  try {
    return use(store);
  } finally {
    store.close();
  }
}

/** The same, with everything on it decoded. */
export function withCardState<T>(
  folder: string,
  network: Network,
  use: (state: CardState) => T,
): T {
  return withCardStore(folder, (store) => use(readCardState(store, network)));
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
