/**
 * Payments over all channels: does what goes out come in somewhere else, or did
 * the owner agree to pay it?
 *
 * For each payment hash the node's channels are added up. Outgoing counts what
 * any commitment that may still be broadcast offers; incoming counts only what
 * all of them hold. What goes out has to be covered when it is added:
 *
 *     incoming + approved + fee allowance >= outgoing + settled
 *
 * where `settled` went out before and did not come back: an approval counts once
 * for a payment hash. When an incoming HTLC goes away while its outgoing one is
 * out or settled, it has to have been paid to us (`mustGain`).
 *
 * Against VLS, deliberately: CLTV bounds are those of the HTLCs that are there,
 * not of attempts that failed (VLS keeps them and refuses later valid routes);
 * an invoice without an amount covers what is sent, within the velocity limit.
 *
 * What it does not do: know a preimage. No request of hsmd carries one.
 *
 * @module
 */

import {
  type HsmHtlc,
  type Msat,
  type Sha256,
  SIDE_LOCAL,
} from "../wire/types.ts";
import type { Judge } from "./judge.ts";

/** One payment hash in one channel. */
export interface HashTotals {
  readonly paymentHash: Sha256;
  readonly incoming: bigint;
  readonly outgoing: bigint;
  /** Earliest expiry of what comes in; 0 for none. */
  readonly incomingCltv: number;
  /** Latest expiry of what goes out; 0 for none. */
  readonly outgoingCltv: number;
}

/** The HTLCs of one commitment number on one side: one list each output. */
export type HtlcLists = readonly (readonly HsmHtlc[])[];

interface Sums {
  readonly paymentHash: Sha256;
  readonly amounts: [incoming: bigint, outgoing: bigint];
  readonly cltv: [incoming: number, outgoing: number];
}

/** Sums by payment hash of one commitment. */
function sumsOf(htlcs: readonly HsmHtlc[]): Map<string, Sums> {
  const sums = new Map<string, Sums>();
  for (const { paymentHash, side, amount, cltvExpiry } of htlcs) {
    const key = paymentHash.toHex();
    const known = sums.get(key) ??
      { paymentHash, amounts: [0n, 0n], cltv: [0, 0] };
    const at = side === SIDE_LOCAL ? 1 : 0;
    known.amounts[at] += amount;
    known.cltv[at] = at === 1
      ? Math.max(known.cltv[at], cltvExpiry)
      : Math.min(known.cltv[at] || cltvExpiry, cltvExpiry);
    sums.set(key, known);
  }
  return sums;
}

/**
 * What a channel holds by payment hash. Each member of `states` is a commitment
 * that may still be broadcast, on every output that it may spend.
 */
export function totalsOf(
  states: readonly HtlcLists[],
): ReadonlyMap<string, HashTotals> {
  const all = states.map((lists) => lists.map(sumsOf));
  const totals = new Map<string, HashTotals>();
  for (const sums of all.flat()) {
    for (const [key, { paymentHash }] of sums) {
      if (totals.has(key)) continue;
      totals.set(key, totalOf(key, paymentHash, all));
    }
  }
  return totals;
}

function totalOf(
  key: string,
  paymentHash: Sha256,
  states: readonly (readonly Map<string, Sums>[])[],
): HashTotals {
  let incoming: bigint | null = null;
  let outgoing = 0n;
  let incomingCltv = 0;
  let outgoingCltv = 0;
  for (const lists of states) {
    let inHere = 0n;
    for (const sums of lists) {
      const found = sums.get(key);
      if (found === undefined) continue;
      if (found.amounts[0] > inHere) inHere = found.amounts[0];
      if (found.amounts[1] > outgoing) outgoing = found.amounts[1];
      const [inCltv, outCltv] = found.cltv;
      if (inCltv > 0) {
        incomingCltv = Math.min(incomingCltv || inCltv, inCltv);
      }
      outgoingCltv = Math.max(outgoingCltv, outCltv);
    }
    if (incoming === null || inHere < incoming) incoming = inHere;
  }
  return {
    paymentHash,
    incoming: incoming ?? 0n,
    outgoing,
    incomingCltv,
    outgoingCltv,
  };
}

/** One payment over all channels, as it would be. */
export interface PaymentView {
  readonly incoming: bigint;
  readonly outgoing: bigint;
  readonly settled: bigint;
  /** Null when nothing was approved. */
  readonly approved: bigint | null;
  readonly incomingCltv: number;
  readonly outgoingCltv: number;
}

/** Whether the money that goes out is covered, and how if not. */
export type Coverage = "covered" | "unbalanced" | "fee too high";

/** The balance of one payment, in millisatoshi (VLS, payment tracking). */
export function coverageOf(judge: Judge, view: PaymentView): Coverage {
  const { incoming, outgoing, settled, approved } = view;
  const { maxRoutingFeeMsat, maxFeePercent } = judge.policy;
  const out = outgoing + settled;
  const base = incoming + (approved ?? 0n);
  const allowance = approved === null ? 0n : maxRoutingFeeMsat;
  if (base + allowance < out) return "unbalanced";
  if (approved === null || base >= out) return "covered";
  const percent = (out - base) * 100n / (approved > 0n ? approved : 1n);
  return percent > BigInt(maxFeePercent) ? "fee too high" : "covered";
}

/** BOLT 2, cltv_expiry_delta: time to claim what comes in, after it went out. */
export function checkCltvDelta(judge: Judge, view: PaymentView): void {
  const { incomingCltv, outgoingCltv } = view;
  if (incomingCltv === 0 || outgoingCltv === 0) return;
  const { cltvDelta } = judge.policy;
  judge.require(
    "policy-routing-cltv-delta",
    incomingCltv - outgoingCltv >= cltvDelta,
    () =>
      `${incomingCltv - outgoingCltv} blocks from outgoing to incoming ` +
      `expiry, want ${cltvDelta} or more`,
  );
}

/** Millisatoshi for people. */
export function inSat(amount: bigint): string {
  const rest = amount % 1000n;
  const whole = `${amount / 1000n}`;
  return rest === 0n
    ? `${whole} sat`
    : `${whole}.${`${rest}`.padStart(3, "0")} sat`;
}

/** An amount that is known to be one of millisatoshi. */
export function msat(amount: bigint): Msat {
  // A sum or difference of amounts in millisatoshi is one.
  return amount as Msat;
}
