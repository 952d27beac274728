/**
 * Weights, fees and feerates: what a transaction is expected to weigh, what it
 * pays, and below which amount an output is not worth its fee.
 *
 * Two rules for small HTLCs stand side by side. BOLT 3 says which HTLCs have an
 * output, from the dust limit that the broadcaster announced. A signer that was
 * not told that limit only knows what no honest one is below.
 *
 * Standards: BOLT 3 ("Fee Calculation", "Trimmed Outputs", "Dust Limits").
 *
 * What it does not do: judge a fee; the limits are policy.
 *
 * @module
 */

import { encodeTxWithoutWitness, type Tx } from "../bitcoin/tx.ts";
import type { Msat, Sat } from "../wire/types.ts";

const COMMITMENT = { plain: 724, anchors: 1124 } as const;
const HTLC_OUTPUT = 172;
const HTLC_TIMEOUT = { plain: 663, anchors: 666 } as const;
const HTLC_SUCCESS = { plain: 703, anchors: 706 } as const;

/** A signed mutual close has this weight on top of the unsigned one. */
export const MUTUAL_CLOSE_WITNESS_WEIGHT = 222;
/** Bitcoin Core's dust limit of a P2WSH output. */
export const DUST_P2WSH = 330n as Sat;
/** The highest dust limit of any segwit output; no side may announce less. */
export const DUST_SEGWIT = 354n as Sat;

/** BOLT 3: expected weight of a commitment transaction. */
export function commitmentWeight(
  htlcCount: number,
  hasAnchors: boolean,
): number {
  return variant(COMMITMENT, hasAnchors) + HTLC_OUTPUT * htlcCount;
}

/** BOLT 3: the fee that the funder pays, trimmed outputs and anchors aside. */
export function commitmentFee(
  feerate: number,
  htlcCount: number,
  hasAnchors: boolean,
): Sat {
  return feeOf(feerate, commitmentWeight(htlcCount, hasAnchors));
}

/** BOLT 3: of HTLC-timeout if the broadcaster offered it, else HTLC-success. */
export function htlcTxWeight(isOffered: boolean, hasAnchors: boolean): number {
  return variant(isOffered ? HTLC_TIMEOUT : HTLC_SUCCESS, hasAnchors);
}

function variant(
  weights: { readonly plain: number; readonly anchors: number },
  hasAnchors: boolean,
): number {
  return hasAnchors ? weights.anchors : weights.plain;
}

/** BOLT 3: the fee of an HTLC transaction; none at all with anchors. */
export function htlcFee(
  feerate: number,
  isOffered: boolean,
  hasAnchors: boolean,
): Sat {
  if (hasAnchors) return 0n as Sat;
  return feeOf(feerate, htlcTxWeight(isOffered, hasAnchors));
}

/** Satoshi for a weight at a feerate per 1000 weight, rounded down. */
export function feeOf(feerate: number, weight: number): Sat {
  // A product of two non-negative integers, divided: an amount.
  return (BigInt(feerate) * BigInt(weight) / 1000n) as Sat;
}

/** The feerate per 1000 weight of a fee, rounded up as the field does. */
export function feerateOf(feeSat: bigint, weight: number): number {
  return Number((feeSat * 1000n + 999n) / BigInt(weight));
}

/** Weight of a transaction without any witness. */
export function txWeight(tx: Tx): number {
  return encodeTxWithoutWitness(tx).length * 4;
}

/** What decides whether an HTLC has an output. */
export interface HtlcTrim {
  /** By the broadcaster. */
  readonly isOffered: boolean;
  readonly feerate: number;
  readonly hasAnchors: boolean;
}

/** BOLT 3, trimmed outputs: from this amount on an HTLC has an output. */
export function trimThreshold(
  { isOffered, feerate, hasAnchors }: HtlcTrim,
  dustLimit: Sat,
): Sat {
  // A sum of amounts.
  return (dustLimit + htlcFee(feerate, isOffered, hasAnchors)) as Sat;
}

/** BOLT 3: whether an HTLC is too small for an output; compared in msat. */
export function isTrimmed(
  amount: Msat,
  trim: HtlcTrim,
  dustLimit: Sat,
): boolean {
  return amount < trimThreshold(trim, dustLimit) * 1000n;
}

/**
 * The amount below which no honest commitment has an HTLC output, whatever
 * dust limit its broadcaster announced (VLS's rule, outputs-trimmed).
 */
export function dustLimitOfHtlc(trim: HtlcTrim): Sat {
  return trim.hasAnchors ? DUST_SEGWIT : trimThreshold(trim, DUST_P2WSH);
}
