/**
 * The rules of a mutual close: the channel's last state, paid out.
 *
 * Standards: BOLT 2 ("Channel Close"), BOLT 3 ("Closing Transaction"); VLS §4.3.
 *
 * What it does not do: find out which output is whose (`signer/closing.ts`).
 *
 * @module
 */

import { feerateOf } from "../lightning/weight.ts";
import type { Judge } from "./judge.ts";
import { maxFeerate } from "./limits.ts";

/** What the two sides have in a commitment, in satoshi. */
export interface BalanceView {
  readonly toUs: bigint;
  readonly toThem: bigint;
}

/** A mutual close. */
export interface CloseView {
  readonly outputs: number;
  /** Whether it is the transaction that we build from what it pays. */
  readonly isAsBuilt: boolean;
  /** The current commitments of both sides on this output. */
  readonly balances: readonly BalanceView[];
  readonly htlcs: number;
  readonly isFunder: boolean;
  readonly fundingValue: bigint;
  /** What the close pays us; 0 for no output. */
  readonly toUs: bigint;
  readonly toThem: bigint;
  /** Weight with both signatures. */
  readonly weight: number;
  /** Whether our output, if there is one, has the script of set-up. */
  readonly isAsAgreed: boolean;
  /** Whether our output goes to the wallet or to the allowlist. */
  readonly isAllowed: boolean;
}

/** What the check needs besides the transaction. */
export interface CloseContext {
  readonly feeReference: number | null;
  /** Asks the owner about our output's destination. */
  readonly isConsented: () => boolean;
}

/** Applies every rule of a mutual close. */
export function checkClose(
  judge: Judge,
  view: CloseView,
  context: CloseContext,
): void {
  checkShape(judge, view);
  checkValues(judge, view);
  checkCloseFee(judge, view, context.feeReference);
  checkDestination(judge, view, context);
}

function checkShape(judge: Judge, view: CloseView): void {
  const { outputs, isAsBuilt, balances, htlcs } = view;
  judge.require(
    "policy-mutual-scripts",
    outputs === 1 || outputs === 2,
    () => `${outputs} outputs, want one or two`,
  );
  judge.require(
    "policy-onchain-format-standard",
    isAsBuilt,
    () => "not the closing transaction that BOLT 3 makes of its outputs",
  );
  judge.require(
    "policy-mutual-other",
    balances.length >= 2,
    () => `${balances.length} current commitments, want one of each side`,
  );
  judge.require(
    "policy-mutual-no-pending-htlcs",
    htlcs === 0,
    () => `${htlcs} HTLCs in the current commitments, want none`,
  );
}

/** Who did not open the channel pays nothing; the other one the fee alone. */
function checkValues(judge: Judge, view: CloseView): void {
  const { isFunder, balances, toUs, toThem } = view;
  const { epsilonSat } = judge.policy;
  const far = balances.find((balance) =>
    isFunder
      ? distance(toThem, balance.toThem) > epsilonSat
      : distance(toUs, balance.toUs) > epsilonSat
  );
  judge.require(
    "policy-mutual-value-matches-commitment",
    far === undefined,
    () =>
      isFunder
        ? `${toThem} sat for the peer, its commitment has ${far?.toThem}`
        : `${toUs} sat for us, the commitment has ${far?.toUs}`,
  );
}

const distance = (a: bigint, b: bigint) => a > b ? a - b : b - a;

function checkCloseFee(
  judge: Judge,
  { fundingValue, toUs, toThem, weight }: CloseView,
  feeReference: number | null,
): void {
  const fee = fundingValue - toUs - toThem;
  const { minFeeratePerKw } = judge.policy;
  const most = maxFeerate(judge.policy, feeReference);
  const feerate = fee > 0n ? feerateOf(fee, weight) : 0;
  judge.require(
    "policy-mutual-fee-range",
    fee >= 0n && feerate >= minFeeratePerKw &&
      fee * 1000n <= BigInt(most) * BigInt(weight),
    () =>
      `fee ${fee} sat, ${feerate} sat per kw, want ${minFeeratePerKw} to ` +
      `${most}`,
  );
}

function checkDestination(
  judge: Judge,
  { toUs, isAsAgreed, isAllowed }: CloseView,
  { isConsented }: CloseContext,
): void {
  if (toUs === 0n) return;
  judge.require(
    "policy-mutual-destination-allowlisted",
    isAsAgreed && (isAllowed || isConsented()),
    () =>
      isAsAgreed
        ? `${toUs} sat to a destination that is neither the wallet's nor in ` +
          "the allowlist"
        : `${toUs} sat to another script than set-up has`,
  );
}
