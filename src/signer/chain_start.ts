/**
 * How a chain begins: at a first block, which is built in or the node's, and with
 * headers alone as long as no block could concern a channel.
 *
 * What it does not do: blocks (`chain.ts`).
 *
 * @module
 */

import { checkpointOf } from "../bitcoin/checkpoints.ts";
import {
  type ChainStart,
  display,
  MAX_FUTURE,
  WORK_RULES,
} from "../bitcoin/difficulty.ts";
import {
  decodeHeader,
  hashHeader,
  provesWork,
  targetOf,
} from "../bitcoin/header.ts";
import type { Network } from "../bitcoin/networks.ts";
import { outpointKey } from "../bitcoin/txo_proof.ts";
import { describeError } from "../errors.ts";
import {
  MAX_HEADERS,
  NATIVE_CHAIN_MESSAGES as NATIVE,
} from "../wire/chain_native.ts";
import { encodeMessage, type MessageOf } from "../wire/message.ts";
import { note } from "./alarms.ts";
import { refuseBad } from "./call.ts";
import {
  freshMonitor,
  isInUse,
  type WatchedChannel,
  watchedChannels,
} from "./chain_facts.ts";
import { ORIGIN_NODE } from "./chain_records.ts";
import {
  answer,
  chainWrites,
  isStarted,
  type Outcome,
  trackerOf,
  trackerRules,
  watchedSince,
  ZEROS,
} from "./chain_state.ts";
import type { ChannelEvent } from "./monitor.ts";
import { FUNDING_LOCKED, FUNDING_RETIRED } from "./records.ts";
import { NO_FEED, type ReadyState, type Step } from "./state.ts";
import {
  addHeader,
  startTracker,
  tipOf,
  type TrackerRules,
  type TrackerState,
} from "./tracker.ts";

/** How much easier than the built-in block a first block may be. */
const EASIER = 16n;

/** 3104: a first block, believed of a node that was believed until now. */
export function applyChainStart(
  state: ReadyState,
  request: MessageOf<typeof NATIVE.chain_start>,
  now: number,
): Step {
  const stored = state.memory.chain();
  if (stored !== null) {
    refuseBad(
      `Cannot start a chain: there is one, at block ${stored.record.tip}`,
    );
  }
  const start = readStart(request);
  checkStart(state.network, start, now);
  const tracker = startAt(trackerRules(state), start);
  const { height } = tipOf(tracker).point;
  const assumed = assumeFunded(state, height, now);
  const said = note(
    "chain",
    null,
    `the chain begins at block ${height}, as the node says: nothing before ` +
      "it was checked",
  );
  const chain = chainWrites(null, tracker, ORIGIN_NODE);
  return answer(
    { ...state, feed: NO_FEED },
    encodeMessage(NATIVE.chain_start_reply, {}),
    {
      writes: [...chain, ...assumed.writes],
      effects: [said, ...assumed.effects],
    },
  );
}

function readStart(
  { height, header, period, earlierTimes }: MessageOf<
    typeof NATIVE.chain_start
  >,
): ChainStart {
  return {
    height,
    header: decodeHeader(header),
    ...(period === null ? {} : { period: decodeHeader(period) }),
    earlierTimes,
  };
}

function checkStart(
  network: Network,
  { height, header }: ChainStart,
  now: number,
): void {
  const checkpoint = checkpointOf(network);
  const hash = hashHeader(header);
  const { limit } = WORK_RULES[network.name];
  const usual = targetOf(checkpoint.header.bits) ?? limit;
  const least = checkpoint.height === 0 ? limit : usual * EASIER;
  if (!provesWork(hash, header.bits, least)) {
    refuseBad(
      `Cannot start a chain at block ${display(hash)}: not enough work, want ` +
        `a block of ${network.name}`,
    );
  }
  if (height < checkpoint.height || header.time > now + MAX_FUTURE) {
    refuseBad(
      `Cannot start a chain at height ${height}, time ${header.time}: want ` +
        `${checkpoint.height} or more, and a time that has come`,
    );
  }
}

function startAt(rules: TrackerRules, start: ChainStart): TrackerState {
  try {
    return startTracker(rules, { ...start, filterHeader: ZEROS });
  } catch (error) {
    if (error instanceof RangeError) return refuseBad(describeError(error));
    throw error;
  }
}

/** Channels from before there was a chain: their fundings count as in it. */
export function assumeFunded(
  state: ReadyState,
  height: number,
  now: number,
): Outcome {
  const watched = watchedChannels(state);
  const assumed = watched.map(({ channel, monitor }) => {
    const { id, record } = channel;
    const isNew = state.memory.monitor(id) === null;
    const base = isNew ? freshMonitor(id, now) : monitor;
    const events = isInUse(record)
      ? fundedEvents(channel, height).filter(({ funding }) =>
        !base.events.some((each) =>
          each.kind === "funded" && each.funding === funding
        )
      )
      : [];
    const after = { ...base, events: [...base.events, ...events] };
    return { id, after, isChanged: isNew || events.length > 0, events };
  });
  return {
    writes: assumed.filter(({ isChanged }) => isChanged)
      .map(({ id, after }) => ({ kind: "monitor", id, record: after })),
    effects: assumed.filter(({ events }) => events.length > 0)
      .map(({ id }) =>
        note(
          "chain",
          id,
          `its funding output was in use before block ${height}: taken as ` +
            "confirmed, as the node says, and watched from here on",
        )
      ),
  };
}

function fundedEvents(
  { record }: WatchedChannel["channel"],
  height: number,
): Extract<ChannelEvent, { kind: "funded" }>[] {
  const current = [...record.holder.current, ...record.counterparty.current]
    .map(({ funding }) => outpointKey(funding));
  return record.fundings
    .filter(({ outpoint, state, isSplice }) =>
      state === FUNDING_LOCKED ||
      state !== FUNDING_RETIRED && !isSplice &&
        current.includes(outpointKey(outpoint))
    )
    .map(({ outpoint }) => ({
      kind: "funded",
      height,
      funding: outpointKey(outpoint),
    }));
}

/** 3106: headers of blocks that cannot concern anything. */
export function applyChainHeaders(
  state: ReadyState,
  { headers }: MessageOf<typeof NATIVE.chain_headers>,
  now: number,
): Step {
  const { length } = headers;
  if (length === 0 || length > MAX_HEADERS || !isStarted(state)) {
    refuseBad(
      isStarted(state)
        ? `Cannot add ${length} headers: want 1 to ${MAX_HEADERS}`
        : "Cannot add headers: the chain has no start, want chain_start",
    );
  }
  const tracker = trackerOf(state);
  const since = watchedSince(state) ?? Infinity;
  let after = tracker;
  for (const bytes of headers) {
    const header = decodeHeader(bytes);
    if (header.time > since - MAX_FUTURE) break;
    after = addHeader(after, header, now);
  }
  const { height } = tipOf(after).point;
  const isDone = after === tracker;
  const needsBlocksAt = isDone ? height : state.feed.needsBlocksAt;
  const next = { ...state, feed: { ...state.feed, needsBlocksAt } };
  const reply = encodeMessage(NATIVE.chain_headers_reply, { height });
  const writes = isDone ? [] : chainWrites(state.memory.chain(), after);
  return answer(next, reply, { writes });
}
