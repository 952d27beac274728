/**
 * What the owner has to hear of: each alarm once when it begins, and once when
 * it is over.
 *
 * | alarm | begins | is over |
 * | --- | --- | --- |
 * | revoked commitment | the peer broadcast one | a penalty is asked for each output |
 * | HTLC deadline | htlc_alarm_blocks before (offered: after) its expiry | it is gone, or a claim is asked for |
 * | double spend | the coins of a funding transaction went elsewhere | a reorg takes that back |
 * | unknown spend | a funding output went to what we do not know | a reorg takes that back |
 *
 * The names of the alarms that stand are in the channel's monitor record, so that
 * neither a block nor a restart repeats one. The words go to the log and, as a
 * line of its own, into the book.
 *
 * What it does not do: find out (`monitor.ts`), or do anything about it: claims
 * are made by the node, and where it does not, by the owner.
 *
 * @module
 */

import { display } from "../bitcoin/difficulty.ts";
import { outpointKey } from "../bitcoin/txo_proof.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import type { Outpoint } from "../wire/types.ts";
import { SIDE_LOCAL } from "../wire/types.ts";
import type { MonitorRecord } from "./chain_records.ts";
import {
  watchedBy,
  type WatchedChannel,
  watchedChannel,
} from "./chain_facts.ts";
import { htlcName } from "./commitment.ts";
import type { Write } from "./memory.ts";
import { type Alarm, alarmsOf, openOutputs } from "./monitor.ts";
import type { NoteEffect, ReadyState, SignerState } from "./state.ts";
import { deadlineHeight } from "./tracker.ts";

/** An alarm of a channel that stands. */
export interface Standing {
  /** The same as long as it is the same alarm. */
  readonly name: string;
  /** One sentence without a full stop. */
  readonly text: string;
}

/** The height that deadlines count by; null before there is a chain. */
export function deadlineOf(
  { memory }: Pick<ReadyState, "memory">,
): number | null {
  const chain = memory.chain();
  return chain && deadlineHeight(chain);
}

/** What is wrong with a channel at this height; nothing before any. */
export function standingAlarms(
  { policy }: Pick<ReadyState, "policy">,
  { monitor, facts }: WatchedChannel,
  height: number | null,
): readonly Standing[] {
  const received = policy.htlcAlarmBlocks;
  const margins = { received, offered: received };
  return height === null ? [] : alarmsOf(monitor, facts, { height, margins })
    .filter((alarm) => concerns(alarm, monitor, facts.isForgotten))
    .flatMap(describe);
}

/**
 * An opening that the node gave up may spend its coins elsewhere; and an HTLC
 * that expired before its channel was followed was settled in the chain then.
 */
function concerns(
  alarm: Alarm,
  { events }: MonitorRecord,
  isForgotten: boolean,
): boolean {
  if (alarm.kind === "double_spend") return !isForgotten;
  if (alarm.kind !== "htlc_deadline") return true;
  const funded = events.find(({ kind }) => kind === "funded");
  return alarm.htlc.cltvExpiry > (funded?.height ?? 0);
}

function describe(alarm: Alarm): Standing[] {
  switch (alarm.kind) {
    case "revoked_commitment": {
      const { txid, number, unclaimed } = alarm;
      if (unclaimed === 0) return [];
      return [{
        name: `revoked/${txid.toHex()}`,
        text: `the peer's revoked commitment ${number} is in the chain ` +
          `(${display(txid)}), and no penalty was asked for ${unclaimed} of ` +
          "its outputs: see that the node runs and takes them",
      }];
    }
    case "unknown_spend":
      return [{
        name: `unknown/${alarm.txid.toHex()}`,
        text: `its funding output was spent by ${display(alarm.txid)}, which ` +
          "this device did not sign as a close, a splice or a commitment",
      }];
    case "double_spend":
      return [{
        name: `double/${alarm.txid.toHex()}`,
        text: "the coins of its funding transaction were spent by " +
          `${display(alarm.txid)}: the channel will not come about`,
      }];
    case "htlc_deadline":
      return [describeDeadline(alarm)];
  }
}

function describeDeadline(
  { htlc, blocksLeft }: Extract<Alarm, { kind: "htlc_deadline" }>,
): Standing {
  const isOffered = htlc.side === SIDE_LOCAL;
  const when = blocksLeft > 0
    ? `in ${blocksLeft} blocks`
    : `${-blocksLeft} blocks ago`;
  const what = isOffered ? "we offered" : "was offered to us";
  return {
    name: `htlc/${htlcName(htlc)}`,
    text: `the HTLC of ${htlc.amount} msat that ${what}, ` +
      `${htlc.paymentHash.toHex()}, expires at ${htlc.cltvExpiry} (${when}), ` +
      "and no claim was asked for: see that the node runs",
  };
}

/** The monitor with what was told by now, and what there is to tell. */
export interface Told {
  readonly monitor: MonitorRecord;
  readonly effects: readonly NoteEffect[];
}

/** Tells what is new and what is over. */
export function tellAlarms(
  state: Pick<ReadyState, "policy">,
  watched: WatchedChannel,
  height: number | null,
): Told {
  const { monitor, channel } = watched;
  const standing = standingAlarms(state, watched, height);
  const before = new Set(monitor.told);
  const now = new Set(standing.map(({ name }) => name));
  const begun = standing.filter(({ name }) => !before.has(name));
  const over = monitor.told.filter((name) => !now.has(name));
  if (begun.length === 0 && over.length === 0) return { monitor, effects: [] };
  return {
    monitor: { ...monitor, told: [...now] },
    effects: [
      ...begun.map(({ text }) => note("alarm", channel.id, text)),
      ...over.map((name) =>
        note("alarm", channel.id, `over: ${OVER[name.split("/")[0] ?? ""]}`)
      ),
    ],
  };
}

const OVER: Readonly<Record<string, string>> = {
  revoked: "a penalty was asked for each output of the revoked commitment, " +
    "or a reorganisation took it back",
  unknown: "a reorganisation took the unknown spend back",
  double: "a reorganisation took the double spend back",
  htlc: "the HTLC near its deadline is gone, or a claim was asked for",
};

/** A line for log and book. */
export function note(
  about: NoteEffect["about"],
  channel: ChannelId | null,
  text: string,
): NoteEffect {
  return { kind: "note", about, channel, text };
}

/** Whether anything is wrong by now: what was told and is not over. */
export function hasAlarm(state: SignerState): boolean {
  const { memory } = state;
  return state.kind === "ready" && state.feed.isStale ||
    Array.from(memory.channels())
      .some((id) => (memory.monitor(id)?.told.length ?? 0) > 0);
}

/** What is to be remembered and told when a claim is signed. */
export interface Claimed {
  readonly writes: readonly Write[];
  readonly effects: readonly NoteEffect[];
}

const NOTHING: Claimed = { writes: [], effects: [] };

/** Claims to remember: a commitment has fewer outputs. */
const REMEMBERED_CLAIMS = 2048;

/**
 * Notes that a claim on an output was signed. The node may have seen the close
 * before this signer has, and then asks early; what is signed for watchtowers is
 * no claim until the output is there.
 */
export function noteClaim(
  state: ReadyState,
  id: ChannelId,
  { input, mayBeEarly }: {
    readonly input: Outpoint | undefined;
    readonly mayBeEarly: boolean;
  },
): Claimed {
  const known = state.memory.monitor(id);
  const record = state.memory.channel(id);
  if (known === null || record === null || input === undefined) return NOTHING;
  const key = outpointKey(input);
  const isNews = !known.claimed.includes(key) && (mayBeEarly ||
    openOutputs(known).some((output) => output.key === key));
  const watched = watchedChannel(state, record);
  if (!isNews || watched === null) return NOTHING;
  const claimed = [...known.claimed, key].slice(-REMEMBERED_CLAIMS);
  const monitor = { ...known, claimed };
  const after = watchedBy(state, watched.channel, monitor);
  const told = tellAlarms(state, after, deadlineOf(state));
  return {
    writes: [{ kind: "monitor", id, record: told.monitor }],
    effects: told.effects,
  };
}
