/**
 * What a crowd at the MQTT listener costs those who want a signature: requests
 * through the whole path, without it, beside it, and without it again, in one
 * run.
 *
 *     deno run -A scripts/bench/crowd.ts [REQUESTS]
 *
 * The crowd is 1,000 connections that say nothing, 100 that never end their
 * CONNECT, one that reads nothing, and 8 that send malformed packets one after
 * the other, as fast as they are refused.
 *
 * @module
 */

import { freePort } from "../../tests/support/paths.ts";
import {
  newOutcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../../tests/support/recording.ts";
import { RunningBroker } from "../../tests/support/rig.ts";
import { startSoftkey, untilSaid } from "../../tests/support/softkey.ts";
import { ms, percentile } from "../../tests/support/stats.ts";
import { measure, samplesOf } from "./chain.ts";
import type { CrowdOrder } from "./crowd_worker.ts";

const SOURCE = "flows/pay-node1.jsonl.gz";
const COUNT = 2_000;
const WARM_UP = 200;
const CROWD = { idle: 1_000, slow: 100, malformed: 8 };
/** What the bar is, in milliseconds at the 99th percentile. */
const BAR_MS = 100;

/** Programs to measure; from source where there is none. */
export interface Programs {
  readonly broker?: string;
  readonly softkey?: string;
}

/** Measures, and prints a table. */
export async function measureCrowd(
  { broker: program, softkey }: Programs = {},
  count: number = COUNT,
): Promise<void> {
  const { lives: [life] } = await readRecording(new URL(SOURCE, RECORDINGS));
  if (life === undefined) throw new Error(`${SOURCE} is empty`);
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-bench-" });
  const port = freePort();
  const listen = `127.0.0.1:${port}`;
  const device = await startSoftkey({
    folder,
    url: `mqtt://${listen}`,
    secret: life.secret,
    program: softkey,
    output: "piped",
  });
  try {
    await untilSaid(device, "trying again");
    const env = { REMOTE_HSMD_HANDSHAKE_RATE: "1000" };
    const started = { program, folder, listen, env };
    await using broker = await RunningBroker.start(started);
    const events = life.events.filter((event) =>
      event.kind !== "close" || event.conn !== 0 && event.by === "node"
    );
    const stays = { ...life, events };
    await playLife(stays, broker.standin, newOutcome(), () => {});
    const samples = await samplesOf(stays, broker);
    await measure(samples, WARM_UP);
    const before = await measure(samples, count);
    const leave = await gather({ port, ...CROWD });
    const beside = await measure(samples, count);
    leave();
    const after = await measure(samples, count);
    report({ before, beside, after });
    broker.standin.close();
    await broker.standin.exit;
  } finally {
    device.kill("SIGTERM");
    await device.status;
    await Deno.remove(folder, { recursive: true });
  }
}

/** The crowd is there when this resolves; what it gives sends it away. */
async function gather(order: CrowdOrder): Promise<() => void> {
  const url = new URL("./crowd_worker.ts", import.meta.url);
  const worker = new Worker(url, { type: "module" });
  const { promise, resolve } = Promise.withResolvers<void>();
  worker.onmessage = () => resolve();
  worker.postMessage(order);
  await promise;
  return () => worker.postMessage(null);
}

function report(times: Readonly<Record<string, readonly number[]>>): void {
  console.log(`milliseconds, a crowd at MQTT            p50      p99      max`);
  for (const [name, sample] of Object.entries(times)) {
    const cells = [0.5, 0.99, 1].map((share) => ms(percentile(sample, share)));
    console.log(`${name.padEnd(34)} ${cells.join(" ")}`);
  }
  const p99 = percentile(times["beside"] ?? [], 0.99);
  console.log(`p99 beside it ${p99.toFixed(1)} ms (want ${BAR_MS} or less)`);
}

if (import.meta.main) {
  await measureCrowd({}, Number(Deno.args[0] ?? COUNT));
}
