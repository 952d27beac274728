/**
 * The rules that a commitment transaction has to keep, whoever's it is.
 *
 * The transaction itself was rebuilt and compared before this (`signer/
 * commitment.ts`): what is judged here is what it says. Amounts and sides are
 * seen from us; fees, weights and dust as BOLT 3 counts them.
 *
 * //~ A commitment is a promise that somebody may cash in without asking again,
 * //~ so it is judged as if it were cashed in at once: is the money all there,
 * //~ does it confirm, and is it still ours? The last one is what a thief would
 * //~ change, and what most rules of the field forget to ask. Next:
 * //~ policy/spend.ts.
 *
 * What it does not do: look at other channels (`payments.ts`), or at numbers and
 * repeats (`signer/commitment.ts`).
 *
 * @module
 */

import {
  commitmentWeight,
  dustLimitOfHtlc,
  feerateOf,
} from "../lightning/weight.ts";
import { type HsmHtlc, type Sat, SIDE_LOCAL } from "../wire/types.ts";
import type { Judge } from "./judge.ts";
import { maxFeerate } from "./limits.ts";

/** BOLT 3: an HTLC that expires at a time and not at a height is none. */
const FIRST_TIME = 500_000_000;
/** BOLT 3 and Bitcoin Core: the least that a P2WSH to_local should hold. */
const LEAST_OUTPUT = 354n;
/** BOLT 3: what each anchor holds. */
const ANCHOR = 330n;

/** A commitment, and what the channel makes of it. */
export interface CommitmentView {
  readonly number: bigint;
  /** Whether it is ours to broadcast. */
  readonly isHolder: boolean;
  readonly fundingValue: Sat;
  /** Whether we opened the channel, and so pay for its commitments. */
  readonly isFunder: boolean;
  /** What the opener gave to the other side; null when it is no opening. */
  readonly pushed: Sat | null;
  readonly hasAnchors: boolean;
  /** As the request says, satoshi per 1000 weight; 0 when it does not. */
  readonly feerate: number;
  readonly toUs: Sat;
  readonly toThem: Sat;
  readonly fee: Sat;
  readonly htlcs: readonly HsmHtlc[];
}

/** Whole satoshi of an HTLC: what its output holds. */
export function htlcSat({ amount }: HsmHtlc): bigint {
  return amount / 1000n;
}

const sum = (htlcs: readonly HsmHtlc[]) =>
  htlcs.reduce((total, htlc) => total + htlcSat(htlc), 0n);

/** Applies every rule that needs nothing but the commitment itself. */
export function checkCommitment(
  judge: Judge,
  view: CommitmentView,
  feeReference: number | null,
): void {
  checkSize(judge, view);
  checkHtlcs(judge, view);
  checkTrimmed(judge, view);
  checkFirst(judge, view);
  checkFee(judge, view, feeReference);
}

function checkSize(judge: Judge, { fundingValue }: CommitmentView): void {
  const { maxChannelSizeSat } = judge.policy;
  judge.require(
    "policy-funding-max",
    fundingValue <= maxChannelSizeSat,
    () => `channel of ${fundingValue} sat, want ${maxChannelSizeSat} or less`,
  );
}

function checkHtlcs(judge: Judge, { htlcs }: CommitmentView): void {
  const { maxHtlcs, maxHtlcValueSat } = judge.policy;
  judge.require(
    "policy-commitment-htlc-count-limit",
    htlcs.length <= maxHtlcs,
    () => `${htlcs.length} HTLCs, want ${maxHtlcs} or fewer`,
  );
  const inFlight = sum(htlcs);
  judge.require(
    "policy-commitment-htlc-inflight-limit",
    inFlight <= maxHtlcValueSat,
    () => `${inFlight} sat in HTLCs, want ${maxHtlcValueSat} or less`,
  );
  const late = htlcs.find(({ cltvExpiry }) => cltvExpiry >= FIRST_TIME);
  judge.require(
    "policy-commitment-htlc-cltv-range",
    late === undefined,
    () => `expiry ${late?.cltvExpiry}, want a height below ${FIRST_TIME}`,
  );
}

/** BOLT 3, Dust Limits: an output that nobody would relay has to be left out. */
function checkTrimmed(judge: Judge, view: CommitmentView): void {
  const { toUs, toThem, htlcs, hasAnchors, isHolder, feerate } = view;
  const small = [toUs, toThem].find((out) => out > 0n && out < LEAST_OUTPUT);
  const dust = htlcs.find((htlc) =>
    htlcSat(htlc) < dustLimitOfHtlc({
      feerate,
      isOffered: (htlc.side === SIDE_LOCAL) === isHolder,
      hasAnchors,
    })
  );
  judge.require(
    "policy-commitment-outputs-trimmed",
    small === undefined && dust === undefined,
    () =>
      small === undefined
        ? `HTLC of ${dust && htlcSat(dust)} sat, want dust without output`
        : `output of ${small} sat, want ${LEAST_OUTPUT} or none`,
  );
}

/** BOLT 2: the first commitment holds what was agreed on when it was opened. */
function checkFirst(judge: Judge, view: CommitmentView): void {
  const { number, htlcs, pushed, isFunder, toUs, toThem } = view;
  if (number !== 0n) return;
  judge.require(
    "policy-commitment-first-no-htlcs",
    htlcs.length === 0,
    () => `${htlcs.length} HTLCs on commitment 0, want none`,
  );
  if (pushed === null) return;
  const isRight = isFunder
    ? toThem <= pushed
    : toUs + LEAST_OUTPUT > pushed || toUs >= pushed;
  judge.require(
    "policy-commitment-initial-funding-value",
    isRight,
    () =>
      isFunder
        ? `${toThem} sat for the peer on commitment 0, want ${pushed} or less`
        : `${toUs} sat for us on commitment 0, want ${pushed}`,
  );
}

/**
 * The feerate that was declared and the fee that is paid. Dust has no output:
 * it goes to the fee until it settles, so the fee may be that much larger.
 */
function checkFee(
  judge: Judge,
  view: CommitmentView,
  feeReference: number | null,
): void {
  const { fee, htlcs, hasAnchors, feerate } = view;
  const { minFeeratePerKw, maxUnpaidLossSat } = judge.policy;
  const most = mostFeerate(judge, view, feeReference);
  const weight = commitmentWeight(htlcs.length, hasAnchors);
  const paid = feerateOf(fee, weight);
  const declared = feerate === 0 ? paid : feerate;
  const isDeclared = declared >= minFeeratePerKw && declared <= most;
  const wanted = BigInt(declared) * BigInt(weight) / 1000n;
  const mostFee = wanted + maxUnpaidLossSat + 2n * ANCHOR;
  const isPaid = paid >= minFeeratePerKw && fee <= mostFee;
  judge.require(
    "policy-commitment-fee-range",
    isDeclared && isPaid,
    () =>
      isDeclared
        ? `fee ${fee} sat for feerate ${declared}, want ` +
          `${minFeeratePerKw} sat per kw to ${mostFee} sat`
        : `feerate ${declared} sat per kw, want ${minFeeratePerKw} to ${most}`,
  );
}

/**
 * What somebody else pays is bounded by the hard maximum alone: a peer that
 * raises fees in a spike must not lose the channel over it. Without anchors our
 * own HTLC transactions pay that feerate too.
 */
function mostFeerate(
  { policy }: Judge,
  { isFunder, hasAnchors }: CommitmentView,
  feeReference: number | null,
): number {
  return isFunder || !hasAnchors
    ? maxFeerate(policy, feeReference)
    : policy.hardMaxFeeratePerKw;
}

/** What is ours of a commitment until HTLCs are settled, in satoshi. */
export function claimOf(view: {
  readonly isFunder: boolean;
  readonly fundingValue: bigint;
  readonly toUs: bigint;
  readonly toThem: bigint;
  readonly htlcs: readonly HsmHtlc[];
}): bigint {
  const { isFunder, fundingValue, toUs, toThem, htlcs } = view;
  const ours = htlcs.filter(({ side }) => side === SIDE_LOCAL);
  const theirs = htlcs.filter(({ side }) => side !== SIDE_LOCAL);
  // Who opened it pays fees and anchors: they are ours until they are spent.
  return isFunder ? fundingValue - toThem - sum(theirs) : toUs + sum(ours);
}

/** How our claim moved from one commitment to the next on the same output. */
export interface ClaimChange {
  readonly before: bigint;
  readonly after: bigint;
  /** HTLCs that we offered and that are gone. */
  readonly removedOut: readonly HsmHtlc[];
  /** HTLCs that were offered to us and are gone. */
  readonly removedIn: readonly HsmHtlc[];
  /** Of those, what has to have been paid to us, in satoshi. */
  readonly mustGain: bigint;
  /** HTLCs that came or went: each may round a satoshi. */
  readonly changed: number;
}

/**
 * What a change cost us that no HTLC explains, in satoshi: above zero a loss,
 * below zero a gain. Dust does that, and so does a thief.
 */
export function unexplainedLoss(change: ClaimChange): bigint {
  const { before, after, removedOut, removedIn, mustGain, changed } = change;
  const delta = after - before;
  const rounding = BigInt(changed) + 1n;
  const least = mustGain - sum(removedOut) - rounding;
  const most = sum(removedIn) + rounding;
  if (delta < least) return least - delta;
  return delta > most ? most - delta : 0n;
}

/** Whether the one HTLC of ours that is gone must have been paid. */
export function isCertainlyPaid(htlc: HsmHtlc, change: ClaimChange): boolean {
  const { before, after, removedOut, changed } = change;
  const others = sum(removedOut) - htlcSat(htlc);
  return before - after > others + BigInt(changed) + 1n;
}
