/**
 * `softkey card check`: whether a card is whole, and what is on it.
 *
 * Every page, every row's hash, the sum over all rows, and every record by its
 * own format. Exit code 1 for a damaged card, with what to do.
 *
 * What it does not do: repair. Nobody can make up what was not signed.
 *
 * @module
 */

import { type Network, NETWORKS } from "../../bitcoin/networks.ts";
import { StoreError, UsageError } from "../../errors.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import {
  type Arguments,
  noMore,
  type Options,
  wanted,
  wantedNetwork,
} from "../arguments.ts";
import { readCardState } from "../card_state.ts";
import { print, write } from "../terminal.ts";
import { withCardStore } from "./open.ts";

/** Runs `card check`. */
export function card({ options, words }: Arguments): number {
  const [action, ...rest] = words;
  if (action !== "check") {
    throw new UsageError(
      `Cannot run card ${JSON.stringify(action ?? "")}: want card check`,
    );
  }
  noMore(rest);
  try {
    const network = networkFor(options);
    withCardStore(wanted(options, "card"), (store) => report(store, network));
    return 0;
  } catch (error) {
    const isBusy = error instanceof StoreError &&
      /another softkey/.test(error.message);
    if (!(error instanceof StoreError) || isBusy) throw error;
    write(Deno.stderr, `softkey: ${error.message}\n`);
    return 1;
  }
}

/** Records have one format on all networks; only an allowlist has not. */
function networkFor(options: Options): Network {
  return options.network === undefined
    ? NETWORKS.bitcoin
    : wantedNetwork(options);
}

function report(store: SqliteStore, network: Network): void {
  const { head, values, deleted } = store.check();
  const { memory, tail, allowed, node } = readCardState(store, network);
  const payments = [...memory.payments()].length;
  print(`card        ${store.path}`);
  print(`node        ${node?.toHex() ?? "none yet"}`);
  print(`generation  ${head.generation}`);
  print(`head        ${head.hash.toHex()}`);
  print(`values      ${values}, and ${deleted} deleted`);
  print(`channels    ${memory.channelCount}`);
  print(`payments    ${payments}`);
  print(`answers     ${tail.size}`);
  print(`allowlist   ${allowed.length}`);
  print("The card is whole");
}
