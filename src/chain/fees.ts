/**
 * What transactions cost, as bitcoind estimates it, in the unit of Lightning.
 *
 * bitcoind counts BTC per 1,000 virtual bytes, BOLT 3 satoshi per 1,000 weight
 * units: four of these are one virtual byte.
 *
 * @module
 */

import type { FeeReference } from "../wire/vls.ts";
import { type Bitcoind, fieldIn } from "./bitcoind.ts";

const SAT_PER_BTC = 100_000_000;
const WEIGHT_PER_VBYTE = 4;
/** The wire has 32 bits. */
const MOST = 0xffff_ffff;

/**
 * Blocks until a transaction should be in one. The soonest that bitcoind can tell
 * of counts: on a quiet chain it knows nothing of the next two blocks.
 */
const TARGETS: readonly number[] = [2, 6, 24];

/** BTC per 1,000 vbytes as sat per 1,000 weight; null for what is no rate. */
export function feeratePerKw(btcPerKvb: unknown): number | null {
  if (typeof btcPerKvb !== "number" || !(btcPerKvb > 0)) return null;
  const rate = Math.ceil(btcPerKvb * SAT_PER_BTC / WEIGHT_PER_VBYTE - 1e-6);
  return Math.min(rate, MOST);
}

/**
 * The feerate that gets a transaction into one of the next blocks, and into the
 * mempool at all; null when bitcoind knows neither.
 */
export async function estimateFeerate(
  bitcoind: Bitcoind,
  signal: AbortSignal,
): Promise<number | null> {
  const [estimate, pool] = await Promise.all([
    soonestEstimate(bitcoind, signal),
    bitcoind.call("getmempoolinfo", [], signal),
  ]);
  const rates = [estimate, feeratePerKw(fieldIn(pool, "mempoolminfee"))]
    .filter((rate) => rate !== null);
  return rates.length === 0 ? null : Math.max(...rates);
}

async function soonestEstimate(
  bitcoind: Bitcoind,
  signal: AbortSignal,
): Promise<number | null> {
  for (const target of TARGETS) {
    const params = [target, "CONSERVATIVE"];
    const answer = await bitcoind.call("estimatesmartfee", params, signal);
    const rate = feeratePerKw(fieldIn(answer, "feerate"));
    if (rate !== null) return rate;
  }
  return null;
}

/** A change that is worth telling. */
const CHANGE = 0.05;
/** Seconds after which the same is told again. */
const REPEAT_S = 600n;

/** Whether a device that was told `last` should be told `next`. */
export function isNews(last: FeeReference | null, next: FeeReference): boolean {
  if (last === null || next.time - last.time >= REPEAT_S) return true;
  const change = Math.abs(next.feeratePerKw - last.feeratePerKw);
  return change >= last.feeratePerKw * CHANGE;
}
