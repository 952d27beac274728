/**
 * The rules that need a chain, where requests are judged by them.
 *
 * | asked | wants |
 * | --- | --- |
 * | commitment n > 0 | the channel's funding in a block, and not spent |
 * | a new HTLC that we offer | an expiry above the chain's height, not too far; what comes in for it on a channel that is not closed |
 * | check_outpoint, lock_outpoint | the output min_funding_depth deep |
 *
 * With `chain` set to believed, a node without chain supply is taken at its word;
 * what this device does know of the chain counts even then.
 *
 * Standards: BOLT 2 (channel_ready), BOLT 5; VLS §4.4.
 *
 * What it does not do: follow the chain (`chain.ts`).
 *
 * @module
 */

import { display } from "../bitcoin/difficulty.ts";
import type { Policy } from "../policy/limits.ts";
import { type HsmHtlc, type Outpoint, SIDE_LOCAL } from "../wire/types.ts";
import type { Call, ReadyChannel } from "./call.ts";
import { deadlineOf } from "./alarms.ts";
import { isInUse } from "./chain_facts.ts";
import { htlcName, isSameOutpoint } from "./commitment.ts";
import { endOf, fundingHeight } from "./monitor.ts";
import {
  type ChannelRecord,
  type CommitmentRecord,
  FUNDING_LOCKED,
} from "./records.ts";
import type { ReadyState } from "./state.ts";
import { depthOf } from "./tracker.ts";

/** What the owner can do about a device without a chain. */
export const NO_CHAIN = "no chain has come to this device yet: give the " +
  "broker bitcoind_url, or believe the node (softkey policy set chain believed)";

const isBelieved = ({ chain }: Policy) => chain === "believed";

/** Whether a channel may take commitment n, by what the chain did to it. */
export function checkActive(
  { state, judge }: Call,
  { id, record }: ReadyChannel,
  number: bigint,
): void {
  if (number === 0n) return;
  const monitor = state.memory.monitor(id);
  const end = monitor && endOf(monitor);
  judge.require(
    "policy-commitment-spends-active-utxo",
    end === null,
    () =>
      `the funding output was spent at height ${end?.height} by ` +
      `${end && display(end.txid)}, want no more commitments`,
  );
  const isThere = isBelieved(judge.policy) ||
    judge.policy.zeroConf === "allow" || isFunded(state, record);
  judge.require(
    "policy-commitment-spends-active-utxo",
    isThere,
    () =>
      state.memory.chain() === null
        ? `commitment ${number}, and ${NO_CHAIN}`
        : `commitment ${number} of a channel whose funding is in no block ` +
          "that this device has seen, want it in one",
  );
}

/** Whether a funding output is in a block: seen, or taken over with the card. */
function isFunded(
  { memory }: Pick<ReadyState, "memory">,
  record: ChannelRecord,
): boolean {
  if (memory.chain() === null) return false;
  const monitor = memory.monitor(record);
  return monitor === null
    ? isInUse(record)
    : monitor.events.some(({ kind }) => kind === "funded");
}

/** Judges HTLCs that we offer anew, by height and by where they come from. */
export function checkNewHtlcs(
  call: Call,
  { record }: ReadyChannel,
  added: CommitmentRecord,
): void {
  const fresh = freshHtlcs(record, added);
  if (fresh.length === 0) return;
  checkExpiries(call, fresh);
  for (const htlc of fresh) checkIncoming(call, htlc);
}

/** HTLCs that are on no commitment yet, of neither side. */
function freshHtlcs(
  { holder, counterparty }: ChannelRecord,
  added: CommitmentRecord,
): readonly HsmHtlc[] {
  if (added.htlcs.length === 0) return [];
  const before = [
    ...holder.current,
    ...holder.pending,
    ...counterparty.current,
    ...counterparty.previous,
  ];
  const known = new Set(before.flatMap(({ htlcs }) => htlcs.map(htlcName)));
  return added.htlcs.filter((htlc) =>
    htlc.side === SIDE_LOCAL && !known.has(htlcName(htlc))
  );
}

function checkExpiries(
  { state, judge }: Call,
  fresh: readonly HsmHtlc[],
): void {
  const height = deadlineOf(state);
  if (height === null) return;
  const most = height + judge.policy.maxHtlcExpiry;
  const wrong = fresh.find(({ cltvExpiry }) =>
    cltvExpiry <= height || cltvExpiry > most
  );
  judge.require(
    "policy-commitment-htlc-cltv-range",
    wrong === undefined,
    () =>
      `we offer an HTLC that expires at ${wrong?.cltvExpiry}, want ` +
      `${height + 1} to ${most}`,
  );
}

/** What pays for a forwarded HTLC must still be there to be taken. */
function checkIncoming(
  { state, judge, connection }: Call,
  { paymentHash }: HsmHtlc,
): void {
  const { memory } = state;
  const payment = memory.payment(paymentHash);
  if (payment === null || payment.approval !== null) return;
  const closed = payment.incoming.find((each) => {
    const isOther = each.dbid !== connection.dbid ||
      each.peerId.toHex() !== connection.peerId.toHex();
    const monitor = isOther ? memory.monitor(each) : null;
    return monitor !== null && endOf(monitor) !== null;
  });
  judge.require(
    "policy-commitment-htlc-received-spends-active-utxo",
    closed === undefined,
    () =>
      `an HTLC for ${paymentHash.toHex()} comes in on channel ` +
      `${closed?.dbid}, whose funding output is spent, want it settled there ` +
      "first",
  );
}

// -------------------------------------------------------------------- depth

/** Whether an output is buried as deep as the owner wants, or was before. */
export function isBuried(
  { policy, memory }: Pick<ReadyState, "policy" | "memory">,
  outpoint: Outpoint,
): boolean {
  if (isBelieved(policy) || policy.zeroConf === "allow") return true;
  const record = memory.channelFundedBy(outpoint);
  const chain = memory.chain();
  if (record === null || chain === null) return false;
  const monitor = memory.monitor(record);
  const funding = record.fundings.find((each) =>
    isSameOutpoint(each.outpoint, outpoint)
  );
  const isLocked = funding?.state === FUNDING_LOCKED;
  // Of a channel that was taken over with its card, nothing is noted yet.
  if (monitor === null) return isLocked;
  const height = fundingHeight(monitor, outpoint);
  if (height === null) return false;
  return isLocked || depthOf(chain, height) >= policy.minFundingDepth;
}
