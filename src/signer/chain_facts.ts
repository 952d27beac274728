/**
 * What the signer's records say of a channel, in the words of the monitor.
 *
 * The monitor asks for most of it only when a block has touched the channel, so
 * what costs curve operations (the outputs of commitments that may be on the
 * chain) is worked out when it is looked at.
 *
 * Standards: BOLT 3 (commitment outputs), BOLT 5.
 *
 * What it does not do: remember (`chain_records.ts`), conclude (`monitor.ts`).
 *
 * @module
 */

import { p2wpkh, p2wsh, toRemoteWithAnchors } from "../bitcoin/script.ts";
import { outpointKey, type Watches } from "../bitcoin/txo_proof.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import {
  buildCommitment,
  type CommitmentOutput,
} from "../lightning/commitment.ts";
import { toLocalScript } from "../lightning/scripts.ts";
import { SIDE_LOCAL } from "../wire/types.ts";
import type { ReadyChannel } from "./call.ts";
import type { MonitorRecord } from "./chain_records.ts";
import {
  commitmentKeys,
  commitmentTerms,
  hasAnchors,
  isSameOutpoint,
  type PointSource,
} from "./commitment.ts";
import {
  type ChannelFacts,
  fundingHeight,
  type KnownCommitment,
  type OutputRole,
  watchesOf,
} from "./monitor.ts";
import {
  type ChannelRecord,
  type CommitmentRecord,
  FUNDING_LOCKED,
  FUNDING_RETIRED,
} from "./records.ts";
import type { ReadyState } from "./state.ts";

/** A channel that blocks can concern. */
export interface WatchedChannel {
  readonly channel: ReadyChannel;
  readonly monitor: MonitorRecord;
  readonly facts: ChannelFacts;
  /** What blocks are searched for on its behalf. */
  readonly watches: Watches;
}

/** A channel that nothing was ever noted of. */
export function freshMonitor(
  { peerId, dbid }: ChannelId,
  since: number,
): MonitorRecord {
  return {
    peerId,
    dbid,
    since: BigInt(since),
    events: [],
    claimed: [],
    inputs: [],
    told: [],
  };
}

/** Every channel that has been set up. */
export function watchedChannels(state: ReadyState): readonly WatchedChannel[] {
  return Array.from(state.memory.channels())
    .flatMap((record) => {
      const watched = watchedChannel(state, record);
      return watched === null ? [] : [watched];
    });
}

/** A channel as blocks can concern it; null before it is set up. */
export function watchedChannel(
  state: ReadyState,
  record: ChannelRecord,
): WatchedChannel | null {
  const { setup, peerId, dbid } = record;
  if (setup === null) return null;
  const channel = { id: { peerId, dbid }, record, setup };
  const known = state.memory.monitor(channel.id);
  return state.cache.watchedOf(
    record,
    known,
    () => watchedBy(state, channel, known ?? freshMonitor(channel.id, 0)),
  );
}

/** A channel with what was noted of it, and what follows from both. */
export function watchedBy(
  state: ReadyState,
  channel: ReadyChannel,
  monitor: MonitorRecord,
): WatchedChannel {
  const facts = factsOf(state, channel, monitor);
  return { channel, monitor, facts, watches: watchesOf(monitor, facts) };
}

/** Whether the channel was in use, as far as its own record says. */
export function isInUse({ fundings, holder }: ChannelRecord): boolean {
  return holder.next > 1n ||
    fundings.some(({ state }) => state === FUNDING_LOCKED);
}

/** What the monitor wants to know of a channel. */
function factsOf(
  state: ReadyState,
  channel: ReadyChannel,
  monitor: MonitorRecord,
): ChannelFacts {
  const { record } = channel;
  return {
    fundings: record.fundings.map(({ outpoint }) => ({
      outpoint,
      inputs: inputsOf(monitor, outpointKey(outpoint)),
    })),
    closes: record.closes,
    get known() {
      return knownCommitments(state, channel);
    },
    get obscurer() {
      const [funding] = record.fundings;
      if (funding === undefined) return 0n;
      const { outpoint } = funding;
      return commitmentTerms({ state }, channel, "holder", outpoint).obscurer;
    },
    get toUs() {
      return [toRemoteScript(state, channel)];
    },
    revoked: record.counterparty.revoked,
    htlcs: currentOf(monitor, record)?.htlcs ?? [],
    claimed: new Set(monitor.claimed),
    isForgotten: record.isForgotten,
  };
}

function inputsOf({ inputs }: MonitorRecord, funding: string) {
  return inputs.find((each) => each.funding === funding)?.inputs ?? [];
}

/** Our commitment on the output that is in the chain. */
function currentOf(
  monitor: MonitorRecord,
  { fundings, holder }: ChannelRecord,
): CommitmentRecord | undefined {
  const live = fundings.findLast(({ outpoint, state }) =>
    state !== FUNDING_RETIRED && fundingHeight(monitor, outpoint) !== null
  );
  const { current } = holder;
  return live === undefined
    ? current[0]
    : current.find(({ funding }) => isSameOutpoint(funding, live.outpoint)) ??
      current[0];
}

/** What pays us on the peer's commitments: the same on all of them. */
function toRemoteScript(
  { channels }: ReadyState,
  { id, setup }: ReadyChannel,
): Uint8Array {
  const { payment } = channels.keysOf(id);
  return hasAnchors(setup.channelType)
    ? p2wsh(toRemoteWithAnchors(payment.point, 1))
    : p2wpkh(payment.point);
}

/** Commitments on record: all that may be broadcast and are not revoked. */
function knownCommitments(
  state: ReadyState,
  channel: ReadyChannel,
): readonly KnownCommitment[] {
  const { holder, counterparty } = channel.record;
  const { current, previous, currentPoint, previousPoint, next } = counterparty;
  const ours = (number: bigint): PointSource => ({
    broadcaster: "holder",
    number,
  });
  const theirs = (point: typeof currentPoint): PointSource | null =>
    point && { broadcaster: "counterparty", point };
  const rows: readonly (readonly [
    readonly CommitmentRecord[],
    PointSource | null,
    bigint,
  ])[] = [
    [holder.current, ours(holder.next - 1n), holder.next - 1n],
    [holder.pending, ours(holder.next), holder.next],
    [current, theirs(currentPoint), next - 1n],
    [previous, theirs(previousPoint), next - 2n],
  ];
  return rows.flatMap(([list, source, number]) =>
    source === null
      ? []
      : list.flatMap((commitment) =>
        knownOf(state, channel, { commitment, source, number })
      )
  );
}

function knownOf(
  state: ReadyState,
  channel: ReadyChannel,
  { commitment, source, number }: {
    readonly commitment: CommitmentRecord;
    readonly source: PointSource;
    readonly number: bigint;
  },
): KnownCommitment[] {
  const { funding, txid, toUs, toThem, htlcs } = commitment;
  const known = channel.record.fundings.find(({ outpoint }) =>
    isSameOutpoint(outpoint, funding)
  );
  if (known === undefined) return [];
  const isOurs = source.broadcaster === "holder";
  const { remoteFundingKey } = known;
  const keys = commitmentKeys({ state }, channel, source, remoteFundingKey);
  const terms = commitmentTerms(
    { state },
    channel,
    source.broadcaster,
    funding,
  );
  const { outputs } = buildCommitment(terms, keys, {
    number,
    toBroadcaster: isOurs ? toUs : toThem,
    toCountersigner: isOurs ? toThem : toUs,
    htlcs: htlcs.map((htlc) => ({
      ...htlc,
      isOffered: (htlc.side === SIDE_LOCAL) === isOurs,
    })),
  });
  const { revocation, delayed } = keys;
  const { toSelfDelay } = terms;
  const secondLevel = isOurs
    ? p2wsh(toLocalScript({ revocation, delayed, toSelfDelay }))
    : null;
  const roles = outputs.map((output) =>
    roleOf(output, commitment, { isOurs, secondLevel })
  );
  return [{ txid, isOurs, number, outputs: roles }];
}

function roleOf(
  { kind, htlc: at }: CommitmentOutput,
  { htlcs }: CommitmentRecord,
  { isOurs, secondLevel }: {
    readonly isOurs: boolean;
    readonly secondLevel: Uint8Array | null;
  },
): OutputRole {
  switch (kind) {
    case "to_broadcaster":
      return { kind: isOurs ? "ours" : "theirs" };
    case "to_countersigner":
      return { kind: isOurs ? "theirs" : "ours" };
    case "broadcaster_anchor":
    case "countersigner_anchor":
      return { kind: "anchor" };
    case "htlc": {
      const htlc = at === null ? undefined : htlcs[at];
      return htlc === undefined
        ? { kind: "any" }
        : { kind: "htlc", htlc, secondLevel };
    }
  }
}
