/**
 * Figures that follow from a snapshot, set when somebody reads the metrics.
 *
 * @module
 */

import type { BrokerFace } from "../../broker/face.ts";
import {
  ALARM_LED,
  type DeviceRole,
  type HandshakeStatus,
  type StatusSnapshot,
} from "../../broker/status.ts";
import type { Metrics } from "../../metrics/metrics.ts";

const SECOND_MS = 1_000;

const ROLES: readonly DeviceRole[] = ["active", "warm", "coming", "held"];

/** Sets them whenever the metrics of this broker are read. */
export function setGaugesOf(face: BrokerFace): void {
  face.metrics.beforeReading(() => {
    setGauges(face.metrics, face.snapshot());
    const { rss } = Deno.memoryUsage();
    face.metrics.set("process_resident_memory_bytes", [], rss);
  });
}

function setGauges(metrics: Metrics, status: StatusSnapshot): void {
  const { at, startedAt, devices, waiting, chain, heartbeat } = status;
  metrics.set("process_start_time_seconds", [], startedAt / SECOND_MS);
  const age = waiting.oldestAt === null ? 0 : at - waiting.oldestAt;
  metrics.set("remote_hsmd_queue_oldest_seconds", [], age / SECOND_MS);
  metrics.replace(
    "remote_hsmd_devices",
    ROLES.map((role) => [
      [role],
      devices.filter((device) => device.role === role).length,
    ]),
  );
  const isAlarm = devices.some(({ led }) => led === ALARM_LED);
  metrics.set("remote_hsmd_led_alarm", [], Number(isAlarm));
  setIfKnown(metrics, "remote_hsmd_chain_height", chain?.height);
  setIfKnown(metrics, "remote_hsmd_chain_tip_height", chain?.tip);
  if (heartbeat !== null) {
    const seconds = (at - heartbeat.at) / SECOND_MS;
    metrics.set("remote_hsmd_heartbeat_age_seconds", [], seconds);
  }
  countDelayed(metrics, status.handshakes);
}

/** A height that nobody told of is no 0. */
function setIfKnown(
  metrics: Metrics,
  name: "remote_hsmd_chain_height" | "remote_hsmd_chain_tip_height",
  height: number | null | undefined,
): void {
  if (typeof height === "number") metrics.set(name, [], height);
}

function countDelayed(metrics: Metrics, { delayed }: HandshakeStatus): void {
  const name = "remote_hsmd_peer_handshakes_delayed_total";
  metrics.add(name, [], delayed - metrics.valueOf(name, []));
}
