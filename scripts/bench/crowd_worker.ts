/// <reference no-default-lib="true" />
/// <reference lib="deno.worker" />

/**
 * The crowd at the MQTT listener, in a thread of its own: what it costs to make
 * is not what it costs to bear.
 *
 * @module
 */

import { connect, publish, subscribe } from "../../tests/mqtt/raw.ts";
import { MqttLoad } from "../../tests/support/mqtt_load.ts";

/** What the crowd is told. */
export interface CrowdOrder {
  readonly port: number;
  readonly idle: number;
  readonly slow: number;
  readonly malformed: number;
}

/** As many as the connection's rights allow: a stranger's login is refused. */
const FROZEN = Uint8Array.of(
  ...connect({ cid: "frozen", seed: 9 }),
  ...subscribe("frozen/vls"),
  ...publish("frozen/hello", ""),
);

let load: MqttLoad | null = null;

/** Comes, or goes. */
async function take(order: CrowdOrder | null): Promise<void> {
  load?.[Symbol.dispose]();
  load = null;
  if (order === null) return self.close();
  load = new MqttLoad(order.port, 6);
  await load.idle(order.idle);
  await load.slow(order.slow);
  await load.frozen(FROZEN);
  load.fuzz(order.malformed);
  postMessage("here");
}

self.onmessage = ({ data }: MessageEvent<CrowdOrder | null>) => take(data);
