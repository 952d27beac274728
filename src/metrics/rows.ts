/**
 * Every figure that can be measured, one row each: what it is called, what kind
 * it is, what it means, and by which labels it is told apart.
 *
 * | kind | is |
 * | --- | --- |
 * | counter | a number that only grows; its name ends in `_total` |
 * | gauge | a number as it is now |
 * | histogram | how many were at most so large, in steps, and their sum |
 *
 * Units are base units (seconds, bytes) and part of the name, as Prometheus
 * asks. Labels hold names out of tables, never ids, keys or amounts: each
 * combination is a series that somebody has to store.
 *
 * What it does not do: hold numbers. `metrics.ts` does.
 *
 * @module
 */

/** One figure. */
export interface MetricRow {
  readonly kind: "counter" | "gauge" | "histogram";
  /** One sentence, for whoever reads it. */
  readonly help: string;
  readonly labels: readonly string[];
  /** Of a histogram: largest value of each step, rising; none for the others. */
  readonly buckets: readonly number[];
}

/** What tells the series of a metric apart, in the order of its row. */
export type LabelValues<L extends readonly string[]> = {
  readonly [I in keyof L]: string;
};

function counter<const L extends readonly string[]>(
  help: string,
  labels: L,
): { kind: "counter"; help: string; labels: L; buckets: [] } {
  return { kind: "counter", help, labels, buckets: [] };
}

function gauge<const L extends readonly string[]>(
  help: string,
  labels: L,
): { kind: "gauge"; help: string; labels: L; buckets: [] } {
  return { kind: "gauge", help, labels, buckets: [] };
}

function histogram<const L extends readonly string[]>(
  help: string,
  labels: L,
): {
  kind: "histogram";
  help: string;
  labels: L;
  buckets: readonly number[];
} {
  return { kind: "histogram", help, labels, buckets: SECONDS };
}

/** From a quarter of a millisecond to ten minutes. */
const SECONDS: readonly number[] = [
  0.00025,
  0.0005,
  0.001,
  0.0025,
  0.005,
  0.01,
  0.025,
  0.05,
  0.1,
  0.25,
  0.5,
  1,
  2.5,
  5,
  10,
  30,
  60,
  600,
];

/** Every metric. */
export const METRICS = {
  remote_hsmd_requests_total: counter(
    "Requests of the node, by hsmd message and class",
    ["type", "class"],
  ),
  remote_hsmd_request_seconds: histogram(
    "From a request of the node to its answer, by class",
    ["class"],
  ),
  remote_hsmd_request_part_seconds: histogram(
    "Where that time went: queued (until a device had it) and device (until " +
      "its answer, with the write to the storage where its state is there)",
    ["class", "part"],
  ),
  remote_hsmd_queue_length: gauge(
    "Requests that are not answered yet, by class",
    ["class"],
  ),
  remote_hsmd_queue_oldest_seconds: gauge(
    "Age of the oldest request that is not answered yet; 0 for none",
    [],
  ),
  remote_hsmd_refusals_total: counter(
    "Requests that a device refused, by rule",
    ["rule"],
  ),
  remote_hsmd_device_errors_total: counter(
    "Errors that devices told of outside of any answer",
    [],
  ),
  remote_hsmd_device_connections_total: counter(
    "Devices that connected and said who they are, by dialect",
    ["dialect"],
  ),
  remote_hsmd_device_reconnects_total: counter(
    "Of those, devices that had been connected before, by dialect",
    ["dialect"],
  ),
  remote_hsmd_devices: gauge(
    "Devices that are connected, by role",
    ["role"],
  ),
  remote_hsmd_logins_refused_total: counter(
    "MQTT connections that were refused",
    [],
  ),
  remote_hsmd_seal_handshakes_total: counter(
    "Handshakes of sealed links (BOLT 8), by outcome: ok or failed",
    ["outcome"],
  ),
  remote_hsmd_records_refused_total: counter(
    "Sealed messages that did not open: changed, repeated or out of order",
    [],
  ),
  remote_hsmd_storage_puts_total: counter(
    "Writes of devices' state, by outcome: stored, conflict or failed",
    ["outcome"],
  ),
  remote_hsmd_storage_put_seconds: histogram(
    "From a write of a device's state until it is durable",
    [],
  ),
  remote_hsmd_storage_bytes_total: counter(
    "Bytes of devices' state that were made durable",
    [],
  ),
  remote_hsmd_peer_handshakes_total: counter(
    "Handshakes that other nodes began with this one",
    [],
  ),
  remote_hsmd_peer_handshakes_delayed_total: counter(
    "Of those, handshakes that had to wait because of handshake_rate",
    [],
  ),
  remote_hsmd_chain_height: gauge(
    "Tip of the chain as the active device has it",
    [],
  ),
  remote_hsmd_chain_tip_height: gauge(
    "Tip of the chain as bitcoind has it",
    [],
  ),
  remote_hsmd_chain_blocks_total: counter(
    "Blocks that devices were shown",
    [],
  ),
  remote_hsmd_chain_reorgs_total: counter(
    "Blocks that devices were made to take back",
    [],
  ),
  remote_hsmd_heartbeat_age_seconds: gauge(
    "Age of the device's last signed heartbeat",
    [],
  ),
  remote_hsmd_led_alarm: gauge(
    "1 while the light of a device shows an alarm, else 0",
    [],
  ),
  remote_hsmd_health_checks_total: counter(
    "Challenge signatures that /health asked for, by outcome: ok or failed",
    ["outcome"],
  ),
  process_resident_memory_bytes: gauge(
    "Memory that the broker has, in bytes",
    [],
  ),
  process_start_time_seconds: gauge(
    "When the broker started, in Unix seconds",
    [],
  ),
} as const satisfies Readonly<Record<string, MetricRow>>;

/** A metric's name. */
export type MetricName = keyof typeof METRICS;

/** Names of the metrics of one kind. */
export type MetricOf<K extends MetricRow["kind"]> = {
  [N in MetricName]: (typeof METRICS)[N]["kind"] extends K ? N : never;
}[MetricName];

/** A value for each label of a metric, in the order of its row. */
export type LabelsOf<N extends MetricName> = LabelValues<
  (typeof METRICS)[N]["labels"]
>;
