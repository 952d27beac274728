/**
 * The chain as a signer's memory has it, and what of it is to be written.
 *
 * What it does not do: take anything in (`chain.ts`, `chain_start.ts`).
 *
 * @module
 */

import { checkpointOf } from "../bitcoin/checkpoints.ts";
import { isInUse } from "./chain_facts.ts";
import {
  type ChainRecord,
  ORIGIN_BUILT_IN,
  type StoredChain,
} from "./chain_records.ts";
import type { Write } from "./memory.ts";
import type { Effect, NoteEffect, ReadyState, Step } from "./state.ts";
import {
  startTracker,
  tipOf,
  type TrackedBlock,
  type TrackerRules,
  type TrackerState,
} from "./tracker.ts";

/** A filter header that is not known. */
export const ZEROS = new Uint8Array(32);

/** What the owner chose to believe of the chain. */
export function trackerRules(
  { policy, network }: Pick<ReadyState, "policy" | "network">,
): TrackerRules {
  const { oracles, blockProof, maxReorg } = policy;
  const isUnattested = oracles.keys.length === 0;
  return {
    network,
    oracles: oracles.keys,
    oraclesNeeded: oracles.needed,
    wantsWholeBlocks: blockProof === "whole" ||
      blockProof === "auto" && isUnattested,
    maxReorg,
  };
}

/** The chain as it stands; where none has come, at the block that is built in. */
export function trackerOf(
  state: Pick<ReadyState, "policy" | "network" | "memory">,
): TrackerState {
  const rules = trackerRules(state);
  const stored = state.memory.chain();
  if (stored !== null) {
    return { rules, recent: stored.recent, best: stored.best };
  }
  const checkpoint = checkpointOf(state.network);
  return startTracker(rules, { ...checkpoint, filterHeader: ZEROS });
}

/** Whether a chain is there, or can begin at a block that is built in. */
export function isStarted({ memory }: ReadyState): boolean {
  return memory.chain() !== null ||
    !Array.from(memory.channels()).some(isInUse);
}

/** A step that answers. */
export const answer = (
  state: ReadyState,
  reply: Uint8Array,
  { writes = [], effects = [] }: {
    readonly writes?: readonly Write[];
    readonly effects?: readonly Effect[];
  } = {},
): Step => ({ state, reply, writes, effects });

/** A block's time may be two hours off; nothing depends on more. */
const DAYS_BEFORE = 2 * 24 * 60 * 60;

/** The earliest time of blocks that could concern a channel; null for none. */
export function watchedSince(state: ReadyState): number | null {
  const times = Array.from(state.memory.channels())
    .filter(({ setup }) => setup !== null)
    .map((record) => Number(state.memory.monitor(record)?.since ?? 0n));
  return times.length === 0 ? null : Math.min(...times);
}

/** Whether the next block may concern a channel: its header alone will not do. */
export function needsBlocks(state: ReadyState, tracker: TrackerState): boolean {
  const { height, header } = tipOf(tracker).point;
  const since = watchedSince(state);
  return since !== null &&
    (header.time > since - DAYS_BEFORE || state.feed.needsBlocksAt === height);
}

/** What is to be written for a chain: its state, and blocks that are new. */
export function chainWrites(
  stored: StoredChain | null,
  { recent, best }: TrackerState,
  origin: ChainRecord["origin"] = ORIGIN_BUILT_IN,
): readonly Write[] {
  const [lowest] = recent;
  const { height: tip } = tipOf({ recent }).point;
  const record: ChainRecord = {
    origin: stored?.record.origin ?? origin,
    start: stored?.record.start ?? lowest.point.height,
    lowest: lowest.point.height,
    tip,
    bestHeight: best.height,
    bestHash: best.hash,
    bestWork: best.work,
  };
  return [
    ...newBlocks(stored, recent).map((block) =>
      ({ kind: "block", block }) as const
    ),
    { kind: "chain", record },
  ];
}

/** Blocks that are not stored; from the first that is, all are. */
function newBlocks(
  stored: StoredChain | null,
  recent: readonly TrackedBlock[],
): readonly TrackedBlock[] {
  if (stored === null) return recent;
  const { lowest } = stored.record;
  const isKnown = (block: TrackedBlock) =>
    stored.recent[block.point.height - lowest] === block;
  return recent.slice(recent.findLastIndex(isKnown) + 1);
}

/** What is to be written, and told. */
export interface Outcome {
  readonly writes: readonly Write[];
  readonly effects: readonly NoteEffect[];
}
