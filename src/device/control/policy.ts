/**
 * The limits of a control message, in our own terms.
 *
 * | Sphinx | row of `policy/limits.ts` | |
 * | --- | --- | --- |
 * | msat_per_interval, interval | velocity | hourly is hour, daily is day; 2^64 - 1 is unlimited |
 * | htlc_limit_msat | max_htlc_value_sat | whole satoshi only |
 *
 * On the hardware the second one is kept and compared with nothing. Ours limits
 * the HTLCs of one commitment together, so each of them too. It is enforced: a
 * channel whose peer wants more in flight goes no further until they settle.
 *
 * No other limit changes, and what was paid of late stays counted: a new policy
 * is no way to pay the limit twice.
 *
 * What it does not do: keep a policy.
 *
 * @module
 */

import { UsageError } from "../../errors.ts";
import { LIMITS, type Policy, withLimit } from "../../policy/limits.ts";
import { UNLIMITED } from "../../policy/velocity.ts";
import type { ControlPolicy } from "../../wire/control_message.ts";

const KINDS = { hourly: "hour", daily: "day" } as const;
const MSAT_PER_SAT = 1000n;

/** What of a policy a control message can say. */
export function controlPolicyOf(
  { velocity, maxHtlcValueSat }: Pick<Policy, "velocity" | "maxHtlcValueSat">,
): ControlPolicy {
  return {
    msatPerInterval: velocity.limit,
    // One without a limit is kept by the hour.
    interval: velocity.kind === "day" ? "daily" : "hourly",
    htlcLimitMsat: maxHtlcValueSat * MSAT_PER_SAT,
  };
}

/** A policy changed as a control message says. @throws {UsageError} if it cannot be */
export function withControlPolicy(
  policy: Policy,
  { msatPerInterval, interval, htlcLimitMsat }: ControlPolicy,
): Policy {
  const { velocity, maxHtlcValueSat } = LIMITS;
  if (htlcLimitMsat % MSAT_PER_SAT !== 0n) {
    throw new UsageError(
      `Cannot set ${maxHtlcValueSat.name}: ${htlcLimitMsat} msat, want whole ` +
        "satoshi, a multiple of 1000",
    );
  }
  const paid = msatPerInterval === UNLIMITED.limit
    ? UNLIMITED.kind
    : `${KINDS[interval]}:${msatPerInterval}`;
  const sat = `${htlcLimitMsat / MSAT_PER_SAT}`;
  return withLimit(
    withLimit(policy, velocity.name, paid),
    maxHtlcValueSat.name,
    sat,
  );
}
