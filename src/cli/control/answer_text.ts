/**
 * What a device answered to a control message, in lines for its owner.
 *
 * @module
 */

import { unreachable } from "../../errors.ts";
import type {
  ControlPolicy,
  ControlResponse,
  ControlVelocity,
} from "../../wire/control_message.ts";
import { printable } from "./session.ts";

/** The number that stands for no limit. */
export const NO_LIMIT = 0xffff_ffff_ffff_ffffn;

/** An answer in lines. */
export function describeAnswer(answer: ControlResponse): readonly string[] {
  const { kind } = answer;
  switch (kind) {
    case "Nonce":
      return [`last number taken: ${answer.value}`];
    case "ResetWifi":
      return ["the device forgets where its node is"];
    case "ResetKeys":
      return ["the seed of the device is erased"];
    case "ResetAll":
      return ["the device is erased"];
    case "PolicyCurrent":
    case "PolicyUpdated":
      return describePolicy(answer.value);
    case "AllowlistCurrent":
    case "AllowlistUpdated":
      return describeAllowlist(answer.value);
    case "VelocityCurrent":
      return describeVelocity(answer.value);
    case "OtaConfirm":
      return [
        `the device loads version ${answer.value.version} from ` +
        printable(answer.value.url),
      ];
    case "AllCurrent": {
      const { policy, allowlist, velocity } = answer.value;
      return [
        ...describePolicy(policy),
        ...describeVelocity(velocity),
        ...describeAllowlist(allowlist),
      ];
    }
    case "Error":
      return [`the device refuses: ${printable(answer.value)}`];
  }
  return unreachable(kind);
}

function describePolicy(
  { msatPerInterval, interval, htlcLimitMsat }: ControlPolicy,
): readonly string[] {
  const per = interval === "hourly" ? "an hour" : "a day";
  const limit = msatPerInterval === NO_LIMIT
    ? "unlimited"
    : `${msatPerInterval} msat ${per}`;
  return [`payments: ${limit}`, `HTLCs: ${htlcLimitMsat} msat`];
}

function describeAllowlist(entries: readonly string[]): readonly string[] {
  return entries.length === 0
    ? ["the allowlist is empty"]
    : entries.map((entry) => `allowed: ${printable(entry)}`);
}

function describeVelocity(velocity: ControlVelocity | null): readonly string[] {
  if (velocity === null) return ["paid of late: nothing"];
  const [, buckets] = velocity;
  const paid = buckets.reduce((sum, amount) => sum + amount, 0n);
  return [
    `paid of late: ${paid} msat`,
    `newest first: ${buckets.join(" ")}`,
  ];
}
