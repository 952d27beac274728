/**
 * The chain's messages: what a block says goes to the tracker, what that means
 * to each channel goes to its monitor, and all of it into one commit.
 *
 * | message | what it does |
 * | --- | --- |
 * | tip_info, chain_state, get_heartbeat | says where the chain stands |
 * | forward_watches, reverse_watches | says what blocks are searched for |
 * | chain_start | takes a first block from the node, where none is built in |
 * | chain_headers | blocks from before there was anything to watch |
 * | block_chunk, add_block | one block more, with proof of what is in it |
 * | remove_block | one block less, in a reorg |
 *
 * A chain begins at a block that is built in (`bitcoin/checkpoints.ts`). A signer
 * that has channels in use and no chain yet cannot look up whether their funding
 * outputs are there: it takes a first block from the node, takes those outputs as
 * funded, which the owner did until then, and says so in the book.
 *
 * //~ The node tells its signer what the chain is, and the signer is there because
 * //~ the node may lie. So nothing here is taken over: a block is weighed, searched
 * //~ and proved before it moves anything, and a refused one has never been here.
 * //~ What remains to be believed is said aloud (`describeTrust`). Next:
 * //~ policy/rules.ts, where it says what requests are held against.
 *
 * A step changes nothing but a block that is under way in pieces, which is lost
 * without harm.
 *
 * What it does not do: fetch anything; decide what a block means for a request
 * (`chain_checks.ts`).
 *
 * @module
 */

import { display } from "../bitcoin/difficulty.ts";
import { decodeHeader, encodeHeader } from "../bitcoin/header.ts";
import {
  decodeTxoProof,
  type Findings,
  type Watches,
} from "../bitcoin/txo_proof.ts";
import { decode, encode } from "../wire/codec.ts";
import { NATIVE_CHAIN_MESSAGES as NATIVE } from "../wire/chain_native.ts";
import { encodeMessage, type MessageOf } from "../wire/message.ts";
import {
  bitcoinOutpoint,
  CHAIN_MESSAGES as CHAIN,
  signedHeartbeat,
  signHeartbeat,
} from "../wire/txoo.ts";
import { txid } from "../wire/types.ts";
import { note, tellAlarms } from "./alarms.ts";
import { refuseBad } from "./call.ts";
import {
  watchedBy,
  type WatchedChannel,
  watchedChannels,
} from "./chain_facts.ts";
import { forgetChannel } from "./chain_forget.ts";
import type { MonitorRecord } from "./chain_records.ts";
import { assumeFunded } from "./chain_start.ts";
import {
  answer,
  chainWrites,
  isStarted,
  needsBlocks,
  type Outcome,
  trackerOf,
} from "./chain_state.ts";
import {
  type ChannelEvent,
  type Closing,
  dropBlock,
  followOutputs,
  mayForget,
  takeBlock,
} from "./monitor.ts";
import type { NoteEffect, ReadyState, Step } from "./state.ts";
import {
  addBlock,
  BlockIntake,
  deadlineHeight,
  lacksFilterHeader,
  removeBlock,
  tipAge,
  tipOf,
  type TrackerState,
} from "./tracker.ts";

// ------------------------------------------------------------- where it stands

/** 2002: height and hash of the tip. */
export function applyTipInfo(state: ReadyState): Step {
  const { height, hash } = tipOf(trackerOf(state)).point;
  return answer(state, encodeMessage(CHAIN.tip_info_reply, { height, hash }));
}

/** 3102: all that a broker needs to go on. */
export function applyChainState(state: ReadyState): Step {
  const tracker = trackerOf(state);
  const { recent, rules } = tracker;
  const { point, filterHeader } = tipOf(tracker);
  const previous = recent.length > 1 ? recent[recent.length - 2] : undefined;
  const wantsWholeBlocks = rules.wantsWholeBlocks ||
    lacksFilterHeader(tracker);
  return answer(
    state,
    encodeMessage(NATIVE.chain_state_reply, {
      isStarted: isStarted(state),
      height: point.height,
      hash: point.hash,
      filterHeader,
      wantsWholeBlocks,
      isWatching: needsBlocks(state, tracker),
      maxReorg: rules.maxReorg,
      previous: previous === undefined ? null : {
        header: encodeHeader(previous.point.header),
        filterHeader: previous.filterHeader,
      },
      birthday: birthdayOf(state),
    }),
  );
}

/**
 * Where a chain begins. With channels in use and no chain it begins near the tip:
 * their fundings are taken as confirmed either way, and a chain that is months
 * behind would have every HTLC refused that they offer.
 */
function birthdayOf(state: ReadyState): bigint {
  return isStarted(state) ? state.birthday ?? 0n : 0n;
}

/** Seconds without a block that the owner hears of; regtest has no such time. */
const STALE_AFTER = 3 * 60 * 60;

/** 2008: where the signer is, under the signature of the wallet's account. */
export function applyGetHeartbeat(
  state: ReadyState,
  _: unknown,
  now: number,
): Step {
  const tracker = trackerOf(state);
  const { height, hash, header } = tipOf(tracker).point;
  const beat = { tipHash: hash, height, tipTime: header.time, time: now };
  const signed = signHeartbeat(beat, state.keys.wallet.secret.reveal());
  const heartbeat = encode(signedHeartbeat, signed);
  const age = tipAge(tracker, now);
  const isStale = state.network.name !== "regtest" && age > STALE_AFTER;
  const effects = isStale === state.feed.isStale ? [] : [
    note(
      "alarm",
      null,
      isStale
        ? `the newest block, ${height}, is ${Math.floor(age / 3600)} hours ` +
          "old: see that the node's bitcoind runs and follows the chain"
        : `over: the chain goes on, at block ${height}`,
    ),
  ];
  const next = { ...state, feed: { ...state.feed, isStale } };
  const reply = encodeMessage(CHAIN.get_heartbeat_reply, { heartbeat });
  return answer(next, reply, { effects });
}

// -------------------------------------------------------------------- watching

function allWatches(watched: readonly WatchedChannel[]): Watches {
  const txids = new Set<string>();
  const outpoints = new Set<string>();
  for (const { watches } of watched) {
    for (const txid of watches.txids) txids.add(txid);
    for (const outpoint of watches.outpoints) outpoints.add(outpoint);
  }
  return { txids, outpoints };
}

function encodeWatches({ txids, outpoints }: Watches) {
  const bytes = (keys: Iterable<string>) =>
    [...keys].sort().map((key) => Uint8Array.fromHex(key));
  return {
    txids: bytes(txids).map((each) => decode(txid, each)),
    outpoints: bytes(outpoints).map((each) => decode(bitcoinOutpoint, each)),
  };
}

/** 2003: what the next block is searched for. */
export function applyForwardWatches(state: ReadyState): Step {
  const watches = encodeWatches(allWatches(watchedChannels(state)));
  return answer(state, encodeMessage(CHAIN.forward_watches_reply, watches));
}

/** 2004: the same for the newest block, and what was spent already. */
export function applyReverseWatches(state: ReadyState): Step {
  const watched = watchedChannels(state);
  const { txids, outpoints } = allWatches(watched);
  const spent = watched.flatMap(({ monitor }) =>
    monitor.events.flatMap((event) =>
      event.kind === "spent"
        ? [event.key]
        : event.kind === "closed"
        ? [event.funding]
        : []
    )
  );
  const watches = { txids, outpoints: outpoints.union(new Set(spent)) };
  return answer(
    state,
    encodeMessage(CHAIN.reverse_watches_reply, encodeWatches(watches)),
  );
}

// ---------------------------------------------------------------------- blocks

/** 2009: the next piece of a block. */
export function applyBlockChunk(
  state: ReadyState,
  piece: MessageOf<typeof CHAIN.block_chunk>,
  now: number,
): Step {
  const { hash, offset } = piece;
  const intake = offset === 0
    ? new BlockIntake(trackerOf(state), {
      hash,
      watches: allWatches(watchedChannels(state)),
      follow: followOutputs,
      now,
    })
    : state.feed.intake;
  if (intake === null) {
    return refuseBad(
      `Cannot take piece ${offset} of block ${display(hash)}: nothing before ` +
        "it, want its first",
    );
  }
  intake.push(piece);
  const next = { ...state, feed: { ...state.feed, intake } };
  return answer(next, encodeMessage(CHAIN.block_chunk_reply, {}));
}

/** 2005: a block more. */
export function applyAddBlock(
  state: ReadyState,
  { header, proof }: MessageOf<typeof CHAIN.add_block>,
  now: number,
): Step {
  if (proof === null) refuseBad("Cannot add a block: no proof, want one");
  if (!isStarted(state)) {
    refuseBad("Cannot add a block: the chain has no start, want chain_start");
  }
  const tracker = trackerOf(state);
  const assumed = assumeUnnoted(state, tipOf(tracker).point.height, now);
  const watched = watchedChannels(state).map((each) => {
    const monitor = assumed.monitors.get(each.channel.record);
    return monitor === undefined
      ? each
      : watchedBy(state, each.channel, monitor);
  });
  const added = addBlock(tracker, {
    header: decodeHeader(header),
    proof: decodeTxoProof(proof),
    intake: state.feed.intake ?? undefined,
    watches: allWatches(watched),
    follow: followOutputs,
    now,
  });
  const { findings, height } = added;
  // One a block: the next is there for it with the next.
  const over = watched.find(({ monitor, facts }) =>
    mayForget(monitor, facts, height)
  );
  const outcomes = watched.map((each) =>
    each === over
      ? forgetChannel(state, each.channel)
      : outcomeOf(state, each, {
        tracker: added.state,
        monitor: takeFindings(each, { height, findings }),
        mustWrite: assumed.monitors.has(each.channel.record),
      })
  );
  return answer(
    { ...state, feed: { ...state.feed, intake: null } },
    encodeMessage(CHAIN.add_block_reply, {}),
    {
      writes: [
        ...chainWrites(state.memory.chain(), added.state),
        ...outcomes.flatMap(({ writes }) => writes),
      ],
      effects: [
        ...assumed.effects,
        ...outcomes.flatMap(({ effects }) => effects),
      ],
    },
  );
}

/** Channels of which nothing was noted: they came with their card. */
function assumeUnnoted(state: ReadyState, height: number, now: number) {
  const { memory } = state;
  const isUnnoted = watchedChannels(state)
    .some(({ channel }) => memory.monitor(channel.id) === null);
  const monitors = new Map<unknown, MonitorRecord>();
  if (!isUnnoted) return { monitors, effects: [] };
  const { writes, effects } = assumeFunded(state, height, now);
  for (const write of writes) {
    if (write.kind !== "monitor" || write.record === null) continue;
    const record = memory.channel(write.id);
    const isNew = memory.monitor(write.id) === null;
    if (record !== null && isNew) monitors.set(record, write.record);
  }
  const isNews = (id: NoteEffect["channel"]) =>
    id !== null && memory.monitor(id) === null;
  return {
    monitors,
    effects: effects.filter(({ channel }) => isNews(channel)),
  };
}

function takeFindings(
  { monitor, facts }: WatchedChannel,
  block: { readonly height: number; readonly findings: Findings },
): MonitorRecord {
  if (block.findings.found.length === 0) return monitor;
  const { events } = takeBlock(monitor, facts, block);
  const isChanged = events.length !== monitor.events.length;
  return isChanged ? { ...monitor, events } : monitor;
}

/** What a block more or less comes to for one channel. */
function outcomeOf(
  state: ReadyState,
  watched: WatchedChannel,
  { tracker, monitor, mustWrite }: {
    readonly tracker: TrackerState;
    readonly monitor: MonitorRecord;
    readonly mustWrite: boolean;
  },
): Outcome {
  const { channel } = watched;
  const { id } = channel;
  const after = monitor === watched.monitor
    ? watched
    : watchedBy(state, watched.channel, monitor);
  const news = monitor.events.slice(watched.monitor.events.length)
    .map((event) => note("chain", id, describeEvent(event)));
  const told = tellAlarms(state, after, deadlineHeight(tracker));
  const isSame = told.monitor === watched.monitor && !mustWrite;
  return {
    writes: isSame ? [] : [{ kind: "monitor", id, record: told.monitor }],
    effects: [...news, ...told.effects],
  };
}

function describeEvent(event: ChannelEvent): string {
  const { height } = event;
  switch (event.kind) {
    case "funded":
      return `its funding transaction is in block ${height}`;
    case "double_spent":
      return `the coins of a funding transaction were spent in block ${height} ` +
        `by ${display(event.txid)}`;
    case "closed":
      return `its funding output was spent in block ${height} by ` +
        `${display(event.txid)}: ${describeClosing(event.closing)}`;
    case "spent":
      return `an output of its close was spent in block ${height} by ` +
        display(event.txid);
  }
}

function describeClosing(closing: Closing): string {
  switch (closing.kind) {
    case "mutual":
      return "a close that both sides signed";
    case "splice":
      return "a splice";
    case "unknown":
      return "a transaction that this device does not know";
    case "commitment": {
      const { isOurs, isRevoked, number } = closing;
      if (isOurs) return `our commitment ${number}`;
      return `the peer's ${isRevoked ? "revoked " : ""}commitment ${number}`;
    }
  }
}

/** 2006: a block less, in a reorg. */
export function applyRemoveBlock(
  state: ReadyState,
  removal: MessageOf<typeof CHAIN.remove_block>,
): Step {
  const tracker = trackerOf(state);
  const removed = removeBlock(tracker, removal);
  const { height } = removed;
  const outcomes = watchedChannels(state)
    .filter(({ monitor }) =>
      monitor.events.some((event) => event.height >= height)
    )
    .map((each) => takeBack(state, each, removed));
  return answer(
    { ...state, feed: { ...state.feed, intake: null } },
    encodeMessage(CHAIN.remove_block_reply, {}),
    {
      writes: [
        ...chainWrites(state.memory.chain(), removed.state),
        ...outcomes.flatMap(({ writes }) => writes),
      ],
      effects: outcomes.flatMap(({ effects }) => effects),
    },
  );
}

function takeBack(
  state: ReadyState,
  watched: WatchedChannel,
  { state: tracker, height }: {
    readonly state: TrackerState;
    readonly height: number;
  },
): Outcome {
  const { events } = dropBlock(watched.monitor, height);
  const monitor = { ...watched.monitor, events };
  const undone = watched.monitor.events.slice(events.length)
    .map((event) =>
      note(
        "chain",
        watched.channel.id,
        `taken back by a reorganisation: ${describeEvent(event)}`,
      )
    );
  const told = outcomeOf(state, watched, { tracker, monitor, mustWrite: true });
  return { writes: told.writes, effects: [...undone, ...told.effects] };
}
