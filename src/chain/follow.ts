/**
 * What a device is told of the chain next, given where it stands and what
 * bitcoind says. Nothing else decides that.
 *
 * | the device | bitcoind | next |
 * | --- | --- | --- |
 * | has no chain | | start: a block from before its seed |
 * | has the node's tip | | synced |
 * | has a block of the node's chain | goes on from there | headers, or blocks |
 * | same | has thrown those blocks away | pruned |
 * | has a block that went stale | has another in its place | remove it |
 * | same, and keeps none before it | | stuck: its owner has to say |
 * | is ahead of bitcoind | does not know its block | wait |
 *
 * Headers go without blocks as long as nothing in a block could concern the
 * device: up to six blocks before the tip, so that what it is told to watch in
 * the meantime is not missed.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { display } from "../bitcoin/difficulty.ts";
import type { ChainState } from "../wire/chain_native.ts";
import type { NodeTip, Standing } from "./node.ts";

/** What bitcoind says that matters to a device. */
export interface NodeView extends NodeTip {
  /** Where it has the device's tip. */
  readonly standing: Standing;
}

/** What comes next. Heights are those of blocks to come. */
export type Next =
  | { readonly kind: "start"; readonly highest: number }
  | { readonly kind: "headers"; readonly from: number; readonly to: number }
  | { readonly kind: "blocks"; readonly from: number; readonly to: number }
  | { readonly kind: "remove"; readonly previous: PreviousBlock }
  | { readonly kind: "synced" }
  | { readonly kind: "wait"; readonly why: string }
  | { readonly kind: "stuck"; readonly why: string };

/** What remove_block names. */
export type PreviousBlock = NonNullable<ChainState["previous"]>;

/** Blocks that always come whole, below the tip. */
const WHOLE = 6;

/**
 * Headers in one message. A device takes some 50 µs for each, and a request to
 * sign may have to wait for all of them.
 */
export const HEADERS_AT_ONCE = 50;

/** Blocks after which bitcoind is asked again whether they are its chain. */
export const BLOCKS_AT_ONCE = 100;

/** What to tell the device next. */
export function nextStep(device: ChainState, node: NodeView): Next {
  if (!device.isStarted) {
    return { kind: "start", highest: Math.max(0, node.height - WHOLE) };
  }
  if (isSameBytes(device.hash, node.hash)) return { kind: "synced" };
  const { standing } = node;
  switch (standing.kind) {
    case "main":
      return forward(device, node);
    case "stale":
      return back(device, node);
    case "unknown":
      return device.height > node.height
        ? { kind: "wait", why: behindText(device, node) }
        : back(device, node);
  }
}

function forward(device: ChainState, node: NodeView): Next {
  const from = device.height + 1;
  if (from > node.height) {
    return { kind: "wait", why: behindText(device, node) };
  }
  const headersTo = node.height - WHOLE;
  if (!device.isWatching && from <= headersTo) {
    const to = Math.min(headersTo, device.height + HEADERS_AT_ONCE);
    return { kind: "headers", from, to };
  }
  if (from < node.lowestBlock) {
    return { kind: "stuck", why: prunedText(from, node) };
  }
  const to = Math.min(node.height, device.height + BLOCKS_AT_ONCE);
  return { kind: "blocks", from, to };
}

function back(device: ChainState, node: NodeView): Next {
  if (device.previous !== null) {
    return { kind: "remove", previous: device.previous };
  }
  return {
    kind: "stuck",
    why: `the device's block ${device.height} ${display(device.hash)} is not ` +
      `in bitcoind's chain (tip ${node.height} ${display(node.hash)}), and ` +
      `the device takes back ${device.maxReorg} blocks at most (its owner's ` +
      "limit max_reorg): if that chain is right, its owner has to let it " +
      "begin anew, softkey card forget-chain",
  };
}

function behindText(device: ChainState, node: NodeView): string {
  return `bitcoind is at block ${node.height}, the device at ` +
    `${device.height}: waiting for bitcoind`;
}

function prunedText(height: number, { lowestBlock }: NodeView): string {
  return `bitcoind has pruned block ${height}, which the device needs next: ` +
    `it has blocks from ${lowestBlock} on; fetch the missing ones with ` +
    "getblockfrompeer, or use a bitcoind that has them";
}

/** A device starts this long before its seed was made. */
const MARGIN_S = 24 * 60 * 60;

/** The time that the first block of a device must be older than; null: any. */
export function startTime({ birthday }: ChainState): number | null {
  return birthday === 0n ? null : Number(birthday) - MARGIN_S;
}
