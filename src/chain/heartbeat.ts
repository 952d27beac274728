/**
 * What a device's signed word about its own chain is worth at this moment.
 *
 * | state | the device's clock, as signed |
 * | --- | --- |
 * | fresh | ours, give or take |
 * | stale | behind ours by more than the network's budget |
 * | future | ahead of ours |
 * | missing | no heartbeat, or not signed by the device we are paired with |
 *
 * Budgets are those of VLS: an hour on bitcoin and the public test networks,
 * five seconds on regtest and signet.
 *
 * What it does not do: act on it. The owner reads it in the log.
 *
 * @module
 */

import type { NetworkName } from "../bitcoin/networks.ts";
import { DecodeError } from "../errors.ts";
import { decode } from "../wire/codec.ts";
import {
  type Heartbeat,
  isHeartbeatOf,
  signedHeartbeat,
} from "../wire/txoo.ts";

/** What a heartbeat shows. */
export type Pulse =
  | { readonly kind: "fresh" | "stale" | "future"; readonly beat: Heartbeat }
  | { readonly kind: "missing"; readonly why: string };

/** Seconds after which a heartbeat is too old. */
function staleAfter(network: NetworkName): number {
  return network === "regtest" || network === "signet" ? 5 : 3600;
}

/** Clocks are never quite together. */
const AHEAD_S = 2;

/** Judges a heartbeat: `now` in Unix seconds, the account's key of 33 bytes. */
export function judgeHeartbeat(
  bytes: Uint8Array,
  { now, accountKey, network }: {
    readonly now: number;
    readonly accountKey: Uint8Array;
    readonly network: NetworkName;
  },
): Pulse {
  const signed = read(bytes);
  if (signed === null) return { kind: "missing", why: "it cannot be read" };
  if (!isSigned(signed, accountKey)) {
    return { kind: "missing", why: "the signature is not the device's" };
  }
  const beat = signed.heartbeat;
  const age = now - beat.time;
  if (age < -AHEAD_S) return { kind: "future", beat };
  return { kind: age > staleAfter(network) ? "stale" : "fresh", beat };
}

type Signed = Parameters<typeof isHeartbeatOf>[0];

function read(bytes: Uint8Array): Signed | null {
  try {
    return decode(signedHeartbeat, bytes);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

function isSigned(signed: Signed, accountKey: Uint8Array): boolean {
  try {
    return isHeartbeatOf(signed, accountKey);
  } catch {
    return false; // not even numbers of the curve
  }
}

/** A heartbeat in words; `now` in Unix seconds. */
export function describePulse(pulse: Pulse, now: number): string {
  if (pulse.kind === "missing") return `heartbeat missing: ${pulse.why}`;
  const { height, time } = pulse.beat;
  const off = Math.abs(now - time);
  const clock = pulse.kind === "fresh"
    ? ""
    : `, ${off} s ${pulse.kind === "stale" ? "old" : "ahead of our clock"}`;
  return `heartbeat ${pulse.kind}: block ${height}${clock}`;
}
