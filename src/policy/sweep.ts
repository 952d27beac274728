/**
 * The rules for sweeps: what takes an output of a closed channel to the wallet.
 *
 * A sweep saves money that a late or missing one would lose, so it is refused
 * only for where it goes and for what would make it no sweep. A node that was
 * restored onto a fresh card sweeps as well: without a record of the channel the
 * script is held against our keys alone, and the destination rule protects.
 *
 * Standards: BOLT 3 (scripts), BOLT 5 (who sweeps what when), BIP 68.
 *
 * What it does not do: know the chain's height; whether a locktime has come is
 * seen when the transaction is broadcast.
 *
 * @module
 */

import { feerateOf } from "../lightning/weight.ts";
import type { Sat } from "../wire/types.ts";
import type { Judge } from "./judge.ts";

/** BIP 65: from here on a locktime is a time. */
const FIRST_TIME = 500_000_000;

/** A transaction that sweeps one output. */
export interface SweepView {
  readonly version: number;
  readonly locktime: number;
  /** Expiry of the received HTLC that it takes back; null for all else. */
  readonly cltvExpiry: number | null;
  readonly sequence: number;
  /** What the script lets its sequence be. */
  readonly sequences: readonly number[];
  /** What is wrong with script, key or secret; null for nothing. */
  readonly problem: string | null;
  readonly amount: Sat;
  readonly weight: number;
  readonly outputs: readonly {
    readonly amount: Sat;
    readonly isAllowed: boolean;
  }[];
}

/** Applies every rule of a sweep. */
export function checkSweep(judge: Judge, view: SweepView): void {
  const { version, problem } = view;
  judge.require(
    "policy-sweep-version",
    version === 2,
    () => `version ${version}, want 2`,
  );
  judge.require("policy-sweep-other", problem === null, () => `${problem}`);
  checkLocktime(judge, view);
  checkSequence(judge, view);
  checkDestinations(judge, view);
  checkSweepFee(judge, view);
}

function checkLocktime(
  judge: Judge,
  { locktime, cltvExpiry }: SweepView,
): void {
  const most = cltvExpiry ?? FIRST_TIME - 1;
  judge.require(
    "policy-sweep-locktime",
    locktime <= most,
    () => `locktime ${locktime}, want ${most} or less`,
  );
}

function checkSequence(judge: Judge, { sequence, sequences }: SweepView): void {
  judge.require(
    "policy-sweep-sequence",
    sequences.includes(sequence),
    () => `sequence ${sequence}, want ${sequences.join(" or ")}`,
  );
}

function checkDestinations(judge: Judge, { outputs }: SweepView): void {
  const stranger = outputs.findIndex(({ isAllowed }) => !isAllowed);
  judge.require(
    "policy-sweep-destination-allowlisted",
    outputs.length > 0 && stranger < 0,
    () =>
      outputs.length === 0
        ? "no output, want one of the wallet"
        : `output ${stranger} goes to an unknown destination`,
  );
}

/** More than half of it, at a feerate that no spike explains, is no sweep. */
function checkSweepFee(judge: Judge, view: SweepView): void {
  const { amount, weight, outputs } = view;
  const { hardMaxFeeratePerKw: most } = judge.policy;
  const fee = outputs.reduce(
    (rest, out) => rest - out.amount,
    amount as bigint,
  );
  const feerate = fee > 0n ? feerateOf(fee, weight) : 0;
  judge.require(
    "policy-sweep-fee-range",
    fee * 1000n <= BigInt(most) * BigInt(weight) || fee * 2n <= amount,
    () => `fee ${fee} of ${amount} sat at ${feerate} sat per kw, want ${most}`,
  );
}
