/**
 * Which headers may follow which: proof of work, difficulty and time.
 *
 * | network | most target | difficulty changes every 2016 blocks |
 * | --- | --- | --- |
 * | bitcoin | 2^224 - 1 | by the time that the last 2016 took, fourfold at most |
 * | testnet | 2^224 - 1 | same; a block 20 minutes late has the most target |
 * | testnet4 | 2^224 - 1 | same, from the period's first block (BIP 94) |
 * | signet | 0x377ae·2^216 | as bitcoin |
 * | regtest | 2^255 - 1 | never |
 *
 * A signet block counts because its network's owners signed it. That signature
 * is in the first transaction, not in the header, and is not checked: on signet
 * anybody can make headers that pass here, for the price of a little work.
 *
 * All that a rule asks of earlier blocks is carried along in a
 * {@link ChainPoint}, which has the same size at every height: the times of
 * eleven blocks, the first block of the period, the last target that was not the
 * exception for late blocks.
 *
 * Rules as in Bitcoin Core's GetNextWorkRequired and
 * ContextualCheckBlockHeader. What it does not do: ask for a block version
 * (BIP 34, 65, 66), because a version proves nothing to somebody who does not
 * check scripts; remember more than one block.
 *
 * @module
 */

import type { BlockHash } from "../wire/types.ts";
import { isSameBytes } from "./bytes.ts";
import {
  bitsOf,
  type BlockHeader,
  decodeHeader,
  hashHeader,
  provesWork,
  targetOf,
  workOf,
} from "./header.ts";
import type { Network, NetworkName } from "./networks.ts";

/** Blocks from one change of difficulty to the next. */
export const PERIOD = 2016;

const SPACING = 10 * 60;
const TIMESPAN = PERIOD * SPACING;
/** How many times the median is taken of. */
const MEDIAN_SPAN = 11;
/** How far ahead of our clock a block may be, in seconds. */
export const MAX_FUTURE = 2 * 60 * 60;
/** BIP 94: how far a period may start before the last block's time. */
const MAX_TIMEWARP = 600;

/** What a network asks of the work in its headers. */
export interface WorkRules {
  /** The highest target. */
  readonly limit: bigint;
  /** The highest target in compact form. */
  readonly limitBits: number;
  readonly isRetargeting: boolean;
  /** Whether a block that is 20 minutes late has the highest target. */
  readonly hasLateBlocks: boolean;
  /** Whether difficulty counts from the first block of a period (BIP 94). */
  readonly countsFromFirst: boolean;
  /** The first header. */
  readonly genesis: BlockHeader;
}

/** Where a chain stands: one block, and what the next one's rules ask for. */
export interface ChainPoint {
  readonly height: number;
  readonly hash: BlockHash;
  readonly header: BlockHeader;
  /** Work from where we took the chain up until here, this block included. */
  readonly work: bigint;
  /** Times of the last eleven blocks, newest last; 0 for one we never saw. */
  readonly times: readonly number[];
  /** First block of this block's period. */
  readonly period: PeriodStart;
  /** Last bits of the period that are not those of a late block. */
  readonly usualBits: number;
}

/** What is needed of the first block of a period. */
export interface PeriodStart {
  readonly time: number;
  readonly bits: number;
}

/** A block from which a chain is followed; its owner vouches for it. */
export interface ChainStart {
  readonly height: number;
  readonly header: BlockHeader;
  /** First block of its period, where that is another block. */
  readonly period?: PeriodStart;
  /** Times of the blocks before, oldest first, as many as are known. */
  readonly earlierTimes?: readonly number[];
}

const USUAL_LIMIT = (1n << 224n) - 1n;

function rules(
  genesis: string,
  special: Partial<WorkRules> = {},
): WorkRules {
  const limit = special.limit ?? USUAL_LIMIT;
  return {
    limit,
    limitBits: bitsOf(limit),
    isRetargeting: true,
    hasLateBlocks: false,
    countsFromFirst: false,
    genesis: decodeHeader(Uint8Array.fromHex(genesis)),
    ...special,
  };
}

const NOTHING = "00".repeat(32);
const SATOSHIS_ROOT =
  "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a";
const TESTNET4_ROOT =
  "4e7b2b9128fe0291db0693af2ae418b767e657cd407e80cb1434221eaea7a07a";

/** What each network asks. */
export const WORK_RULES: Readonly<Record<NetworkName, WorkRules>> = {
  bitcoin: rules(`01000000${NOTHING}${SATOSHIS_ROOT}29ab5f49ffff001d1dac2b7c`),
  testnet: rules(`01000000${NOTHING}${SATOSHIS_ROOT}dae5494dffff001d1aa4ae18`, {
    hasLateBlocks: true,
  }),
  testnet4: rules(
    `01000000${NOTHING}${TESTNET4_ROOT}046f3566ffff001dbb0c7817`,
    { hasLateBlocks: true, countsFromFirst: true },
  ),
  signet: rules(`01000000${NOTHING}${SATOSHIS_ROOT}008f4d5fae77031e8ad22203`, {
    limit: 0x377aen << 216n,
  }),
  regtest: rules(`01000000${NOTHING}${SATOSHIS_ROOT}dae5494dffff7f2002000000`, {
    limit: (1n << 255n) - 1n,
    isRetargeting: false,
  }),
};

/**
 * Takes a chain up at a block.
 *
 * @throws {RangeError} in the middle of a period whose first block is not named
 */
export function startChain(start: ChainStart): ChainPoint {
  const { height, header, earlierTimes = [] } = start;
  const isFirst = height % PERIOD === 0;
  const period = isFirst ? header : start.period;
  if (period === undefined) {
    throw new RangeError(
      `Cannot start at block ${height}: no first block of its period, want one`,
    );
  }
  const span = Math.min(MEDIAN_SPAN, height + 1);
  const times = [...new Array<number>(span).fill(0), ...earlierTimes];
  return {
    height,
    header,
    hash: hashHeader(header),
    work: 0n,
    times: [...times, header.time].slice(-span),
    period: { time: period.time, bits: period.bits },
    usualBits: header.bits,
  };
}

/** The first block of a network. */
export function genesisPoint(network: Network): ChainPoint {
  return startChain({ height: 0, header: WORK_RULES[network.name].genesis });
}

/** The bits that the block after `parent` must have. */
export function nextBits(
  network: Network,
  parent: ChainPoint,
  time: number,
): number {
  const work = WORK_RULES[network.name];
  if (!work.isRetargeting) return parent.header.bits;
  if ((parent.height + 1) % PERIOD === 0) return retarget(work, parent);
  if (!work.hasLateBlocks) return parent.header.bits;
  const isLate = time > parent.header.time + 2 * SPACING;
  return isLate ? work.limitBits : parent.usualBits;
}

/** Difficulty follows the time that the period took, fourfold at most. */
function retarget(work: WorkRules, last: ChainPoint): number {
  const taken = last.header.time - last.period.time;
  const span = Math.min(Math.max(taken, TIMESPAN / 4), TIMESPAN * 4);
  const { bits } = work.countsFromFirst ? last.period : last.header;
  const next = (targetOf(bits) ?? 0n) * BigInt(span) / BigInt(TIMESPAN);
  return bitsOf(next > work.limit ? work.limit : next);
}

/** The time that the next block must be later than. */
export function medianTime({ times }: ChainPoint): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

/**
 * What keeps a header from following `parent`, or null when it follows.
 *
 * `now` is our clock, Unix seconds. That the header names its parent is part of
 * it; so is its own hash, which must be given as `hash`.
 */
export function headerProblem(
  network: Network,
  parent: ChainPoint,
  { header, hash, now }: {
    readonly header: BlockHeader;
    readonly hash: Uint8Array;
    readonly now: number;
  },
): string | null {
  const { limit, countsFromFirst } = WORK_RULES[network.name];
  const { time, bits } = header;
  if (!isSameBytes(header.previous, parent.hash)) {
    return `previous block ${display(header.previous)}, want ${
      display(parent.hash)
    }`;
  }
  const wanted = nextBits(network, parent, time);
  if (bits !== wanted) {
    return `bits ${bits.toString(16)}, want ${wanted.toString(16)}`;
  }
  if (!provesWork(hash, bits, limit)) {
    return `hash ${display(hash)}, want one not above the target of bits ${
      bits.toString(16)
    }`;
  }
  const median = medianTime(parent);
  if (time <= median) return `time ${time}, want more than ${median}`;
  const isNewPeriod = (parent.height + 1) % PERIOD === 0;
  const earliest = parent.header.time - MAX_TIMEWARP;
  if (countsFromFirst && isNewPeriod && time < earliest) {
    return `time ${time}, want ${earliest} or more in the first of a period`;
  }
  if (time > now + MAX_FUTURE) {
    return `time ${time}, want ${now + MAX_FUTURE} or less`;
  }
  return null;
}

/** Where the chain stands after a header that {@link headerProblem} let pass. */
export function extendChain(
  network: Network,
  parent: ChainPoint,
  { header, hash }: { readonly header: BlockHeader; readonly hash: BlockHash },
): ChainPoint {
  const height = parent.height + 1;
  const { time, bits } = header;
  const isFirst = height % PERIOD === 0;
  const isUsual = isFirst || bits !== WORK_RULES[network.name].limitBits;
  return {
    height,
    hash,
    header,
    work: parent.work + workOf(bits),
    times: [...parent.times, time].slice(-MEDIAN_SPAN),
    period: isFirst ? { time, bits } : parent.period,
    usualBits: isUsual ? bits : parent.usualBits,
  };
}

/** A hash as people read it: last byte first. */
export function display(hash: Uint8Array): string {
  return hash.toReversed().toHex();
}
