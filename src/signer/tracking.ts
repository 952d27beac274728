/**
 * What a new commitment means for payments and for the node's money: gathers
 * what the records know, lets `policy/` judge it, and says what to remember.
 *
 * Two questions, for every commitment of either side:
 *
 * - Does an HTLC go out that nobody approved and nothing that comes in covers?
 * - Is less of the channel ours than before, and does no HTLC explain it?
 *
 * What it does not do: decide by itself; every threshold is the policy's.
 *
 * @module
 */

import {
  type ClaimChange,
  claimOf,
  isCertainlyPaid,
  unexplainedLoss,
} from "../policy/commitment.ts";
import { isConsented } from "../policy/consent.ts";
import {
  checkCltvDelta,
  coverageOf,
  type HashTotals,
  inSat,
  msat,
  type PaymentView,
  totalsOf,
} from "../policy/payments.ts";
import { insertVelocity } from "../policy/velocity.ts";
import { type HsmHtlc, type Sat, SIDE_LOCAL } from "../wire/types.ts";
import type { Call, ReadyChannel } from "./call.ts";
import {
  type Broadcaster,
  htlcName,
  isSameOutpoint,
  onSameOutput,
} from "./commitment.ts";
import { freshPayment, type Write } from "./memory.ts";
import {
  type ChannelAmount,
  type ChannelRecord,
  type CommitmentRecord,
  FUNDING_LOCKED,
  type FundingRecord,
  type NodeRecord,
  type PaymentRecord,
} from "./records.ts";

/** A step of a channel: its record before, and as it would be. */
export interface ChannelChange {
  readonly broadcaster: Broadcaster;
  readonly before: ChannelRecord;
  readonly after: ChannelRecord;
  /** Commitments of the number before, on each output; none for the first. */
  readonly old: readonly CommitmentRecord[];
  /** Commitments of this number that are there already. */
  readonly fresh: readonly CommitmentRecord[];
  readonly added: CommitmentRecord;
}

/** Everything that is to be written for one commitment, the channel included. */
export function trackCommitment(
  call: Call,
  channel: ReadyChannel,
  change: ChannelChange,
): readonly Write[] {
  const ledger = new Ledger(call, channel);
  const main = mainOf(channel, change);
  const replaced = onSameOutput(change.old, change.added);
  // The main output tells what happened; all others have to tell the same.
  if (main !== null) checkSameStory(call, channel, change, main);
  const claims = main === null && replaced !== null
    ? claimChange(channel, change, replaced, ledger)
    : null;
  ledger.takeTotals(change.before, change.after);
  const record = claims === null
    ? change.after
    : ledger.takeClaims(change, claims);
  return [{ kind: "channel", id: channel.id, record }, ...ledger.writes()];
}

/** This number's commitment on the channel's main output; null when it is that. */
function mainOf(
  { record }: ReadyChannel,
  { old, fresh, added }: ChannelChange,
): CommitmentRecord | null {
  const known = old.length > 0 ? old : fresh;
  const isKnown = ({ outpoint }: FundingRecord) =>
    known.some(({ funding }) => isSameOutpoint(funding, outpoint));
  const main =
    record.fundings.find((funding) =>
      funding.state === FUNDING_LOCKED && isKnown(funding)
    ) ?? record.fundings.find(isKnown);
  if (!main || isSameOutpoint(main.outpoint, added.funding)) return null;
  return fresh.find(({ funding }) => isSameOutpoint(funding, main.outpoint)) ??
    null;
}

/**
 * A commitment on an output beside the main one. Its first is what the main one
 * has, but for what left the channel: where that went is judged with the splice
 * itself, and one that was signed early was judged by what it leaves here. Later
 * ones move as the main one does.
 */
function checkSameStory(
  { judge }: Call,
  channel: ReadyChannel,
  { before, old, added }: ChannelChange,
  main: CommitmentRecord,
): void {
  const { fundings } = channel.record;
  const fundingOf = ({ funding }: CommitmentRecord) =>
    fundings.find(({ outpoint }) => isSameOutpoint(outpoint, funding));
  const funding = fundingOf(added);
  const mainFunding = fundingOf(main);
  if (!funding?.isSplice || mainFunding === undefined) return;
  const claim = (entry: CommitmentRecord, { value }: FundingRecord) =>
    claimOf({
      isFunder: channel.setup.isOutbound,
      fundingValue: value,
      ...entry,
    });
  const own = onSameOutput(old, added);
  const mainOld = onSameOutput(old, main);
  const assumed =
    before.presigned.find(({ outpoint }) =>
      isSameOutpoint(outpoint, added.funding)
    )?.least ?? 0n;
  const left = larger(mainFunding.value - funding.value, 0n);
  const wanted = own === null || mainOld === null
    ? larger(claim(main, mainFunding) - left, assumed)
    : claim(own, funding) + claim(main, mainFunding) -
      claim(mainOld, mainFunding);
  // Each HTLC and each balance may have lost a part of a satoshi.
  const rounded = BigInt(added.htlcs.length + 1);
  const rounding = own === null ? rounded : 2n * rounded;
  const found = claim(added, funding);
  judge.require(
    "policy-splice-balance",
    found >= wanted - rounding,
    () => `${found} sat of the splice are ours, want ${wanted} or more`,
  );
}

/** What a change of the channel without a new commitment means for payments. */
export function trackRemoval(
  call: Call,
  channel: ReadyChannel,
  after: ChannelRecord,
): readonly Write[] {
  const ledger = new Ledger(call, channel);
  ledger.takeTotals(channel.record, after);
  return [
    { kind: "channel", id: channel.id, record: after },
    ...ledger.writes(),
  ];
}

/** The commitments that may still be broadcast, each on all its outputs. */
function statesOf({ holder, counterparty }: ChannelRecord) {
  return [
    holder.current,
    holder.pending,
    counterparty.current,
    counterparty.previous,
  ].filter((list) => list.length > 0)
    .map((list) => list.map(({ htlcs }) => htlcs));
}

/** HTLCs of `from` that are not in `other`; equal ones are counted. */
function missingIn(
  from: readonly HsmHtlc[],
  other: readonly HsmHtlc[],
): readonly HsmHtlc[] {
  if (from.length === 0) return from;
  const left = new Map<string, number>();
  for (const htlc of other) {
    const name = htlcName(htlc);
    left.set(name, (left.get(name) ?? 0) + 1);
  }
  return from.filter((htlc) => {
    const name = htlcName(htlc);
    const count = left.get(name) ?? 0;
    if (count > 0) left.set(name, count - 1);
    return count === 0;
  });
}

function claimChange(
  { setup, record }: ReadyChannel,
  { added }: ChannelChange,
  replaced: CommitmentRecord,
  ledger: Ledger,
): ClaimChange | null {
  const funding = record.fundings.find(({ outpoint }) =>
    isSameOutpoint(outpoint, added.funding)
  );
  if (funding === undefined) return null;
  const common = {
    isFunder: setup.isOutbound,
    fundingValue: funding.value,
  };
  const removed = missingIn(replaced.htlcs, added.htlcs);
  const removedIn = removed.filter(({ side }) => side !== SIDE_LOCAL);
  return {
    before: claimOf({ ...common, ...replaced }),
    after: claimOf({ ...common, ...added }),
    removedOut: removed.filter(({ side }) => side === SIDE_LOCAL),
    removedIn,
    mustGain: ledger.mustGain(removedIn, added.htlcs),
    changed: removed.length + missingIn(added.htlcs, replaced.htlcs).length,
  };
}

/** An amount that is known to be one of satoshi. */
// A sum or difference of amounts in satoshi is one.
const sat = (amount: bigint) => amount as Sat;

const larger = (a: bigint, b: bigint) => a > b ? a : b;

/** Millisatoshi that had to come in with an HTLC that is gone. */
interface Due {
  readonly htlc: HsmHtlc;
  readonly amount: bigint;
}

const smaller = (a: bigint, b: bigint) => a < b ? a : b;

const amountOf = (htlcs: readonly HsmHtlc[]) =>
  htlcs.reduce((total, { amount }) => total + amount, 0n);

/** The records that one request changes, each read once and written once. */
class Ledger {
  readonly #call: Call;
  readonly #channel: ReadyChannel;
  readonly #payments = new Map<string, PaymentRecord>();
  /** What has to have been paid to us, by payment hash. */
  readonly #due = new Map<string, Due>();
  #node: NodeRecord;

  constructor(call: Call, channel: ReadyChannel) {
    this.#call = call;
    this.#channel = channel;
    this.#node = call.state.memory.node();
  }

  #payment({ paymentHash }: Pick<HsmHtlc, "paymentHash">): PaymentRecord {
    const key = paymentHash.toHex();
    return this.#payments.get(key) ??
      this.#call.state.memory.payment(paymentHash) ??
      freshPayment(paymentHash);
  }

  #set(record: PaymentRecord): void {
    this.#payments.set(record.paymentHash.toHex(), record);
  }

  /**
   * What must have been paid to us now that these HTLCs are gone, in satoshi:
   * their payment is still out, or went out for good, and nothing else covers it.
   */
  mustGain(
    removedIn: readonly HsmHtlc[],
    remaining: readonly HsmHtlc[],
  ): bigint {
    for (const htlc of removedIn) {
      const key = htlc.paymentHash.toHex();
      const same = ({ paymentHash, side }: HsmHtlc) =>
        side !== SIDE_LOCAL && paymentHash.toHex() === key;
      const gone = amountOf(removedIn.filter(same));
      const owed = this.#owed(htlc) - amountOf(remaining.filter(same));
      if (owed > 0n) this.#due.set(key, { htlc, amount: smaller(owed, gone) });
    }
    const due = [...this.#due.values()];
    return due.reduce((total, { amount }) => total + amount / 1000n, 0n);
  }

  /** Millisatoshi of a payment that only this channel could cover. */
  #owed(htlc: HsmHtlc): bigint {
    const record = this.#payment(htlc);
    const { approval, consented, settled, incoming, outgoing } = record;
    if (approval !== null && approval.amount === null) return 0n;
    const elsewhere = incoming.filter((entry) => !this.#isHere(entry));
    return sumOf(outgoing) + settled - sumOf(elsewhere) - consented -
      (approval?.amount ?? 0n);
  }

  #isHere({ peerId, dbid }: ChannelAmount): boolean {
    const { id } = this.#channel;
    return dbid === id.dbid && peerId.toHex() === id.peerId.toHex();
  }

  /** Every payment hash whose amounts in this channel have changed. */
  takeTotals(before: ChannelRecord, after: ChannelRecord): void {
    const old = totalsOf(statesOf(before));
    const next = totalsOf(statesOf(after));
    for (const [key, totals] of next) {
      if (!isSameTotals(totals, old.get(key))) {
        this.#takeTotal(totals, old.get(key));
      }
    }
    for (const [key, totals] of old) {
      if (!next.has(key)) this.#takeTotal(nothingOf(totals), totals);
    }
  }

  #takeTotal(totals: HashTotals, old: HashTotals | undefined): void {
    const record = this.#withTotals(this.#payment(totals), totals);
    const isMore = totals.outgoing > (old?.outgoing ?? 0n);
    this.#set(isMore ? this.#cover(record) : record);
  }

  #withTotals(record: PaymentRecord, totals: HashTotals): PaymentRecord {
    const { peerId, dbid } = this.#channel.id;
    const others = (entries: readonly ChannelAmount[]) =>
      entries.filter((entry) => !this.#isHere(entry));
    const here = (amount: bigint, cltv: number) =>
      amount === 0n ? [] : [{ peerId, dbid, amount: msat(amount), cltv }];
    return {
      ...record,
      incoming: [
        ...others(record.incoming),
        ...here(totals.incoming, totals.incomingCltv),
      ],
      outgoing: [
        ...others(record.outgoing),
        ...here(totals.outgoing, totals.outgoingCltv),
      ],
    };
  }

  /** Applies the rules of a payment that goes out. */
  #cover(record: PaymentRecord): PaymentRecord {
    const { judge } = this.#call;
    const view = viewOf(record);
    checkCltvDelta(judge, view);
    const coverage = coverageOf(judge, view);
    if (coverage === "covered") return record;
    const { incoming, outgoing, settled, approved } = view;
    const missing = outgoing + settled - incoming - (approved ?? 0n);
    const allow = () => ({
      ...record,
      consented: msat(record.consented + missing),
    });
    if (record.approval !== null && record.approval.amount === null) {
      this.#chargeOpenInvoice(record, missing);
      return allow();
    }
    if (coverage === "unbalanced" && this.#isAllowed(record, missing)) {
      return allow();
    }
    if (coverage === "unbalanced") {
      judge.require(
        "policy-commitment-htlc-routing-balance",
        false,
        () =>
          `${inSat(outgoing + settled)} out for payment ` +
          `${record.paymentHash.toHex()}, want ` +
          `${inSat(incoming)} that comes in and ` +
          `${inSat(approved ?? 0n)} approved`,
      );
    } else {
      const { maxFeePercent } = judge.policy;
      judge.require(
        "policy-htlc-fee-range",
        false,
        () =>
          `fee of ${inSat(missing)} for payment ` +
          `${record.paymentHash.toHex()}, want ${maxFeePercent} % of ` +
          `${inSat(approved ?? 0n)} or less`,
      );
    }
    return allow();
  }

  #isAllowed({ paymentHash }: PaymentRecord, missing: bigint): boolean {
    const hash = paymentHash.toHex();
    return isConsented(
      this.#call.state.consent,
      "payment_without_invoice",
      `payment_without_invoice/${hash}/${missing}`,
      () => `${inSat(missing)} for payment ${hash}, which no invoice covers`,
    );
  }

  /** An invoice that names no amount: what is paid counts against the limit. */
  #chargeOpenInvoice({ paymentHash }: PaymentRecord, missing: bigint): void {
    const { state, judge } = this.#call;
    const { state: paid, isWithin } = insertVelocity(
      judge.policy.velocity,
      this.#node.paid,
      BigInt(judge.now),
      msat(missing),
    );
    this.#node = { ...this.#node, paid };
    const hash = paymentHash.toHex();
    const isAllowed = isWithin || isConsented(
      state.consent,
      "payment_over_limit",
      `payment_over_limit/${hash}/${missing}`,
      () => `${inSat(missing)} for payment ${hash}, over the velocity limit`,
    );
    judge.require(
      "policy-commitment-payment-velocity",
      isAllowed,
      () => `${inSat(missing)} for payment ${hash} is over the limit`,
    );
  }

  /** What had to come in came in: it covers what is still out. */
  #noteGains(): void {
    for (const { htlc, amount } of this.#due.values()) {
      const record = this.#payment(htlc);
      this.#set({ ...record, consented: msat(record.consented + amount) });
    }
  }

  /** What is ours of the channel, and what that says of payments. */
  takeClaims(change: ChannelChange, claims: ClaimChange): ChannelRecord {
    // Counted once: our side's commitments tell the same story a step apart.
    if (change.broadcaster === "counterparty") {
      this.#settle(claims);
      this.#noteGains();
    }
    const loss = unexplainedLoss(claims);
    return loss === 0n ? change.after : this.#takeLoss(change, loss);
  }

  /** HTLCs that left for good count against what was approved. */
  #settle(claims: ClaimChange): void {
    for (const htlc of claims.removedOut) {
      if (!isCertainlyPaid(htlc, claims)) continue;
      const record = this.#payment(htlc);
      const settled = msat(record.settled + htlc.amount);
      this.#set({ ...record, settled });
    }
  }

  #takeLoss(
    { broadcaster, after }: ChannelChange,
    loss: bigint,
  ): ChannelRecord {
    const { judge } = this.#call;
    const before = larger(after.holderLoss, after.counterpartyLoss);
    const field = broadcaster === "holder" ? "holderLoss" : "counterpartyLoss";
    const moved = sat(larger(after[field] + loss, 0n));
    const record = { ...after, [field]: moved };
    const now = larger(record.holderLoss, record.counterpartyLoss);
    // A gain beyond what this channel lost makes up for another channel's loss.
    const surplus = broadcaster === "counterparty" && after[field] + loss < 0n
      ? after[field] + loss
      : 0n;
    this.#chargeLoss(now - before + surplus);
    const { maxUnpaidLossSat } = judge.policy;
    judge.require(
      "policy-commitment-balance",
      loss < 0n || this.#node.loss <= maxUnpaidLossSat,
      () =>
        `${loss} sat less are ours and no payment explains it, ` +
        `${this.#node.loss} sat in all, want ${maxUnpaidLossSat} or less`,
    );
    return record;
  }

  #chargeLoss(loss: bigint): void {
    const { credit, loss: before } = this.#node;
    const free = loss <= 0n ? 0n : loss < credit ? loss : credit;
    this.#node = {
      ...this.#node,
      credit: sat(credit - free),
      loss: sat(larger(before + loss - free, 0n)),
    };
  }

  /** What has changed; a payment that means nothing any more is forgotten. */
  writes(): readonly Write[] {
    const { memory } = this.#call.state;
    const payments = [...this.#payments.values()].map((record): Write => {
      const { incoming, outgoing, approval, paymentHash: hash } = record;
      const isOver = incoming.length === 0 && outgoing.length === 0 &&
        approval === null;
      return { kind: "payment", hash, record: isOver ? null : record };
    });
    const isNodeSame = this.#node === memory.node();
    return isNodeSame
      ? payments
      : [...payments, { kind: "node", record: this.#node }];
  }
}

const sumOf = (entries: readonly ChannelAmount[]) =>
  entries.reduce((total, { amount }) => total + amount, 0n);

function viewOf(record: PaymentRecord): PaymentView {
  const { approval, consented, settled, incoming, outgoing } = record;
  const expiries = incoming.map(({ cltv }) => cltv);
  return {
    incoming: sumOf(incoming) + consented,
    outgoing: sumOf(outgoing),
    settled,
    approved: approval === null ? null : approval.amount ?? 0n,
    incomingCltv: expiries.length === 0 ? 0 : Math.min(...expiries),
    outgoingCltv: Math.max(0, ...outgoing.map(({ cltv }) => cltv)),
  };
}

function isSameTotals(a: HashTotals, b: HashTotals | undefined): boolean {
  return b !== undefined && a.incoming === b.incoming &&
    a.outgoing === b.outgoing && a.incomingCltv === b.incomingCltv &&
    a.outgoingCltv === b.outgoingCltv;
}

function nothingOf({ paymentHash }: HashTotals): HashTotals {
  return {
    paymentHash,
    incoming: 0n,
    outgoing: 0n,
    incomingCltv: 0,
    outgoingCltv: 0,
  };
}
