/**
 * The first block for a device that has no chain, with what the rules of
 * difficulty and time ask of blocks before it.
 *
 * @module
 */

import { PERIOD } from "../bitcoin/difficulty.ts";
import { decodeHeader } from "../bitcoin/header.ts";
import type { NATIVE_CHAIN_MESSAGES } from "../wire/chain_native.ts";
import type { MessageOf } from "../wire/message.ts";
import { AnswerError } from "./bitcoind.ts";
import type { NodeChain } from "./node.ts";

/** Blocks before the first whose times the median of eleven is taken of. */
const EARLIER = 10;

/** What chain_start carries. */
export type FirstBlock = MessageOf<typeof NATIVE_CHAIN_MESSAGES.chain_start>;

/** The highest block up to `highest` that is older than `before`, if it is set. */
export async function findStart(
  node: NodeChain,
  { before, highest }: {
    /** Unix seconds. */
    readonly before: number | null;
    readonly highest: number;
  },
): Promise<FirstBlock> {
  const height = before === null
    ? highest
    : await lastBefore(node, before, highest);
  const earliest = Math.max(0, height - EARLIER);
  const headers = await node.headers(await node.hashes(earliest, height));
  const header = headers[headers.length - 1] ?? missing(height);
  const periodStart = height - height % PERIOD;
  return {
    height,
    header,
    period: periodStart === height ? null : await headerAt(node, periodStart),
    earlierTimes: headers.slice(0, -1).map(timeOf),
  };
}

/** By halves; times of blocks grow but for two hours, which a day covers. */
async function lastBefore(
  node: NodeChain,
  before: number,
  highest: number,
): Promise<number> {
  let [low, high] = [0, highest];
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (timeOf(await headerAt(node, middle)) < before) low = middle;
    else high = middle - 1;
  }
  return low;
}

async function headerAt(node: NodeChain, height: number): Promise<Uint8Array> {
  const [header] = await node.headers(await node.hashes(height, height));
  return header ?? missing(height);
}

function timeOf(header: Uint8Array): number {
  return decodeHeader(header).time;
}

function missing(height: number): never {
  throw new AnswerError("getblockheader", `no block ${height}`, "a header");
}
