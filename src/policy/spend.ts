/**
 * The rules for transactions that spend the wallet's coins, alone or together
 * with others: spends, openings from one side or both, splices, fee bumps.
 *
 * One sum decides. What goes in of ours is the wallet's coins and our claim on
 * the channels that are spent; what comes back is outputs of ours, outputs in the
 * allowlist and our claim on the channels that are funded. The difference is
 * what the transaction costs us: it must be the fee, within bounds, or go where
 * the owner consents.
 *
 * //~ VLS asks of a transaction where each output goes and lets the owner's yes
 * //~ end the questions. With coins of two parties in one transaction that is no
 * //~ question that can be answered: the other side's change is unknown to us and
 * //~ harmless. So we ask what it costs us instead, and a yes answers only where
 * //~ it may go. Next:
 * //~ bitcoin/sign.ts, where the bytes of a signature are settled.
 *
 * Standards: BOLT 2 ("Interactive Transaction Construction", "Channel
 * Splicing"), BOLT 3 ("Funding Transaction Output"); VLS §4.4.
 *
 * What it does not do: find out whose an output is (`signer/spending.ts`).
 *
 * @module
 */

import type { Msat, Sat } from "../wire/types.ts";
import { feerateOf } from "../lightning/weight.ts";
import type { Judge } from "./judge.ts";
import { maxFeerate } from "./limits.ts";
import type { RuleTag } from "./rules.ts";
import { insertVelocity, type VelocityState } from "./velocity.ts";

/** VLS: the largest transaction without witnesses. */
export const MAX_BASE_SIZE = 32_768;

/** An output that funds a channel of ours. */
export interface FundingView {
  /** As set-up says. */
  readonly value: Sat;
  readonly hasChannelScript: boolean;
  /** Whether the peer has signed a commitment of ours that spends it. */
  readonly isCountersigned: boolean;
  /** Whether the channel comes from nothing, and not from another output. */
  readonly isOpening: boolean;
  readonly isOutbound: boolean;
  /** Whole satoshi that set-up gives to the peer. */
  readonly pushed: bigint;
  /** What of the output is ours. */
  readonly claim: bigint;
}

/** Where an output goes. */
export type Destination =
  | { readonly kind: "ours" }
  | { readonly kind: "allowed" }
  | { readonly kind: "funding"; readonly funding: FundingView }
  /** Pays no more than the foreign input that signed for it alone. */
  | { readonly kind: "paired" }
  | { readonly kind: "unknown" };

/** An output, and whether it is what it says it is. */
export interface OutputView {
  readonly amount: Sat;
  readonly destination: Destination;
  /** False when it names a key of the wallet and pays something else. */
  readonly isAsNamed: boolean;
}

/** What a transaction is good for when it brings another one to a block. */
export interface Protection {
  /** Satoshi that would be lost without it. */
  readonly stake: bigint;
  /** Weight of what it pays for besides itself. */
  readonly parentWeight: number;
}

/** A transaction that spends coins of ours. */
export interface SpendView {
  readonly version: number;
  /** Bytes without witnesses. */
  readonly baseSize: number;
  /** Least weight with all signatures. */
  readonly weight: number;
  /** Wallet coins that go in, and our claims on channels that are spent. */
  readonly ours: bigint;
  /** What else goes in. */
  readonly others: bigint;
  /** Whether every amount that counts is known, and the one that is signed. */
  readonly areAmountsKnown: boolean;
  readonly areInputsSegwit: boolean;
  /** Whether it spends a funding output. */
  readonly isSplice: boolean;
  /** Whether what it funds is judged before there is a commitment for it. */
  readonly isEarly: boolean;
  readonly outputs: readonly OutputView[];
  readonly protection: Protection | null;
}

/** What the check needs besides the transaction. */
export interface SpendContext {
  readonly feeReference: number | null;
  /** Asks the owner about the unknown destinations, all at once. */
  readonly isConsented: () => boolean;
  /** Asks the owner about money that the peer gets for nothing. */
  readonly isGiftConsented: (amount: bigint) => boolean;
}

/** What a transaction costs us, in satoshi. */
export interface SpendCost {
  readonly fee: bigint;
}

const sumOf = (outputs: readonly OutputView[]) =>
  outputs.reduce((total, { amount }) => total + amount, 0n);

/** What an output gives back to us. */
function backFrom({ amount, destination }: OutputView): bigint {
  switch (destination.kind) {
    case "ours":
    case "allowed":
      return amount;
    case "funding":
      return destination.funding.claim;
    case "paired":
    case "unknown":
      return 0n;
  }
}

/** Applies every rule of a spend; the result is what has to be counted. */
export function checkSpend(
  judge: Judge,
  view: SpendView,
  context: SpendContext,
): SpendCost {
  checkForm(judge, view);
  for (const { amount, destination } of view.outputs) {
    if (destination.kind === "funding") {
      checkFunding(judge, destination.funding, amount, view, context);
    }
  }
  return checkCost(judge, view, context);
}

function checkForm(judge: Judge, view: SpendView): void {
  judge.require(
    "policy-onchain-format-standard",
    view.version === 2,
    () => `version ${view.version}, want 2`,
  );
  judge.require(
    "policy-commitment-other",
    view.areAmountsKnown,
    () => "an input's amount is not given or not the one that is spent",
  );
  judge.require(
    "policy-onchain-max-size",
    view.baseSize <= MAX_BASE_SIZE,
    () => `${view.baseSize} bytes, want ${MAX_BASE_SIZE} or fewer`,
  );
  const misnamed = view.outputs.findIndex(({ isAsNamed }) => !isAsNamed);
  judge.require(
    "policy-onchain-output-scriptpubkey",
    misnamed < 0,
    () => `output ${misnamed} names a wallet key, want that key's script`,
  );
}

function checkFunding(
  judge: Judge,
  funding: FundingView,
  amount: Sat,
  view: SpendView,
  { isGiftConsented }: SpendContext,
): void {
  judge.require(
    "policy-onchain-funding-non-malleable",
    view.areInputsSegwit,
    () => "funds a channel from an input without segwit, want segwit only",
  );
  judge.require(
    "policy-onchain-output-match-commitment",
    amount === funding.value,
    () => `funding output of ${amount} sat, want ${funding.value} sat`,
  );
  judge.require(
    "policy-onchain-output-scriptpubkey",
    funding.hasChannelScript,
    () => "funding output with another script, want the channel's 2-of-2",
  );
  judge.require(
    "policy-onchain-initial-commitment-countersigned",
    funding.isCountersigned,
    () => "no commitment that the peer signed spends the funding output",
  );
  if (!funding.isOpening || !funding.isOutbound) return;
  const given = givenIn(funding, view);
  judge.require(
    "policy-onchain-no-channel-push",
    given === 0n || isGiftConsented(given),
    () => `${given} sat pushed to the peer, want none`,
  );
}

/**
 * What the peer starts with and did not bring: lightningd says in one number
 * what an opener gives away and what a second funder puts in.
 */
function givenIn({ pushed }: FundingView, { others }: SpendView): bigint {
  return pushed > others ? pushed - others : 0n;
}

/** What was pushed and passed that rule is neither a fee nor a destination. */
function pushedIn(view: SpendView): bigint {
  return view.outputs.reduce((total, { destination }) => {
    if (destination.kind !== "funding") return total;
    const { isOpening, isOutbound } = destination.funding;
    return isOpening && isOutbound
      ? total + givenIn(destination.funding, view)
      : total;
  }, 0n);
}

function checkCost(
  judge: Judge,
  view: SpendView,
  { feeReference, isConsented }: SpendContext,
): SpendCost {
  const back = view.outputs.reduce((total, o) => total + backFrom(o), 0n);
  // Before there is a commitment nothing says whose the others' coins become.
  const assumed = view.isEarly ? view.others : 0n;
  const cost = view.ours - back - pushedIn(view) + assumed;
  const unknown = view.outputs.filter(({ destination }) =>
    destination.kind === "unknown"
  );
  const bound = boundOf(judge, view, feeReference);
  if (unknown.length === 0 || isTheirs(view, cost, bound)) {
    return checkFee(judge, view, cost, bound);
  }
  judge.require(
    view.isSplice
      ? "policy-splice-destination-allowlisted"
      : "policy-onchain-no-unknown-outputs",
    isConsented(),
    () =>
      `${sumOf(unknown)} sat to ${unknown.length} unknown destinations, ` +
      "want the wallet, the allowlist or consent",
  );
  return checkFee(judge, view, cost - sumOf(unknown), bound);
}

/** Satoshi that claims may be off by, with their HTLCs rounded down. */
const ROUNDING = 10n;

/**
 * Whether unknown outputs may be the other side's business altogether: what we
 * lose is what miners get, and so none of it goes there.
 */
function isTheirs(view: SpendView, cost: bigint, bound: bigint): boolean {
  const { ours, others, outputs } = view;
  const paidToMiners = ours + others - sumOf(outputs);
  const isShared = view.isSplice ||
    view.outputs.some(({ destination }) => destination.kind === "funding");
  return isShared && view.protection === null && others > 0n &&
    cost <= bound && cost <= paidToMiners + ROUNDING;
}

/** The most that a transaction may cost us. */
function boundOf(
  { policy }: Judge,
  { weight, protection }: SpendView,
  feeReference: number | null,
): bigint {
  if (protection === null) {
    return BigInt(maxFeerate(policy, feeReference)) * BigInt(weight) / 1000n;
  }
  // It protects: no feerate that a spike may ask for is too much, and neither
  // is what it saves.
  const { stake, parentWeight } = protection;
  const most = BigInt(policy.hardMaxFeeratePerKw) *
    BigInt(weight + parentWeight) / 1000n;
  return stake > most ? stake : most;
}

function checkFee(
  judge: Judge,
  view: SpendView,
  cost: bigint,
  bound: bigint,
): SpendCost {
  const fee = cost > 0n ? cost : 0n;
  judge.require(
    feeTag(view, fee),
    fee <= bound,
    () =>
      `${fee} sat (${feerateOf(fee, view.weight)} sat per kw) go to nobody ` +
      `known, want ${bound} sat or less`,
  );
  return { fee };
}

/** The rule that a cost breaks: a fee, or money that the other side got. */
function feeTag(view: SpendView, fee: bigint): RuleTag {
  const { outputs, others, ours, isSplice } = view;
  const paidToMiners = ours + others - sumOf(outputs);
  const isFee = fee <= paidToMiners || others === 0n;
  if (isSplice) {
    return isFee ? "policy-splice-fee-range" : "policy-splice-balance";
  }
  const isInbound = outputs.some(({ destination }) =>
    destination.kind === "funding" && destination.funding.isOpening &&
    !destination.funding.isOutbound
  );
  return isInbound && !isFee
    ? "policy-onchain-no-fund-inbound"
    : "policy-onchain-fee-range";
}

/** Counts a fee against its velocity limit (VLS §4.8). */
export function chargeFee(
  judge: Judge,
  fees: VelocityState,
  fee: bigint,
): VelocityState {
  const { state, isWithin } = insertVelocity(
    judge.policy.feeVelocity,
    fees,
    BigInt(judge.now),
    // Satoshi in millisatoshi.
    fee * 1000n as Msat,
  );
  judge.require(
    "policy-onchain-fee-range",
    isWithin,
    () => `${fee} sat of fees are over the limit of fee_velocity`,
  );
  return state;
}
