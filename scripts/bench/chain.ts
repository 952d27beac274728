/**
 * What following the chain costs those who want a signature: requests through
 * the whole path while the device catches up 5,000 blocks, beside the same
 * requests before and after, in one run.
 *
 *     deno run -A scripts/bench/chain.ts [BLOCKS]
 *
 * bitcoind is a stand-in inside this process. The device watches a recorded
 * node's channels, so it takes whole blocks. A request is sent every few
 * milliseconds, one at a time, as a busy node does.
 *
 * @module
 */

import { messageName, REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import { StandInBitcoind } from "../../tests/support/bitcoind.ts";
import { freePort } from "../../tests/support/paths.ts";
import {
  newOutcome,
  playLife,
  readRecording,
  type RecordedOpen,
  RECORDINGS,
} from "../../tests/support/recording.ts";
import { RunningBroker } from "../../tests/support/rig.ts";
import { startSoftkey, untilSaid } from "../../tests/support/softkey.ts";
import type { FrameConn } from "../../tests/support/standin/standin.ts";
import { ms, percentile } from "../../tests/support/stats.ts";
import { openClient } from "./client.ts";

const SOURCE = "flows/pay-node1.jsonl.gz";
const BLOCKS = 5_000;
/** Blocks that are there before the node's channels are. */
const FIRST = 10;
const REQUESTS_BEFORE = 1_000;
/** From one request's answer to the next request, in milliseconds. */
const GAP_MS = 5;
const WARM_UP = 200;
const PER_TYPE = 2;
/**
 * What may be signed as often as one likes. Nothing is written for these: they
 * are quick, and so any wait shows.
 */
const REPEATABLE: readonly string[] = [
  REQUESTS.ecdh_req.name,
  REQUESTS.cupdate_sig_req.name,
  REQUESTS.sign_any_cannouncement_req.name,
  REQUESTS.sign_penalty_to_us.name,
];
/** What the bar is. */
const BAR = 1.5;

/** A request that may be made again and again, and where. */
export interface Sample {
  readonly message: Uint8Array;
  readonly conn: FrameConn;
}

/** Measures, and prints one row. */
export async function measureChain(blocks: number = BLOCKS): Promise<void> {
  const { lives: [life] } = await readRecording(new URL(SOURCE, RECORDINGS));
  if (life === undefined) throw new Error(`${SOURCE} is empty`);
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-bench-" });
  const listen = `127.0.0.1:${freePort()}`;
  const url = `mqtt://${listen}`;
  await using bitcoind = new StandInBitcoind();
  bitcoind.mine(FIRST);
  const { secret } = life;
  const output = "piped";
  const device = await startSoftkey({ folder, url, secret, output });
  try {
    await untilSaid(device, "trying again");
    await using broker = await RunningBroker.start({
      folder,
      listen,
      env: {
        REMOTE_HSMD_BITCOIND_URL: bitcoind.options.url,
        REMOTE_HSMD_BITCOIND_USER: "me",
        REMOTE_HSMD_BITCOIND_PASSWORD: "pw",
        // What is measured is the path, not how it holds strangers up.
        REMOTE_HSMD_HANDSHAKE_RATE: "1000",
      },
    });
    const events = life.events.filter((event) =>
      event.kind !== "close" || event.conn !== 0 && event.by === "node"
    );
    const stays = { ...life, events };
    await playLife(stays, broker.standin, newOutcome(), () => {});
    await broker.logged(new RegExp(`the device is at block ${FIRST}$`));
    const samples = await samplesOf(stays, broker);
    await measure(samples, WARM_UP);
    const before = await measure(samples, REQUESTS_BEFORE);
    const time = Math.floor(Date.now() / 1000) - blocks - 60;
    bitcoind.mine(blocks, [], time);
    const started = performance.now();
    const isOver = broker.logged(
      new RegExp(`has the tip, block ${blocks + FIRST}: .*`),
    )
      .then(([line]) => line);
    let rate: string | null = null;
    isOver.then((line) => rate = line);
    const during = await measure(samples, Infinity, () => rate !== null);
    const seconds = (performance.now() - started) / 1000;
    const after = await measure(samples, REQUESTS_BEFORE);
    report({ before, during, after, seconds, rate: await isOver });
    broker.standin.close();
    await broker.standin.exit;
  } finally {
    device.kill("SIGTERM");
    await device.status;
    await Deno.remove(folder, { recursive: true });
  }
}

/** Requests for signatures, each on its connection. */
export async function samplesOf(
  life: { readonly events: readonly LifeEvent[] },
  { standin }: RunningBroker,
): Promise<readonly Sample[]> {
  const owners = new Map<number, RecordedOpen>();
  const conns = new Map<string, FrameConn>();
  const counts = new Map<string, number>();
  const words = new TextEncoder().encode("a message");
  const message = encodeMessage(REQUESTS.sign_message, { msg: words });
  const samples: Sample[] = [{ message, conn: standin.master }];
  for (const event of life.events) {
    if (event.kind === "open") owners.set(event.conn, event);
    if (event.kind !== "request") continue;
    const name = messageName(event.type);
    const count = counts.get(name) ?? 0;
    if (!REPEATABLE.includes(name) || count >= PER_TYPE) continue;
    const owner = owners.get(event.conn);
    const key = owner ? `${owner.peer.toHex()} ${owner.dbid}` : "";
    const conn = owner === undefined
      ? standin.master
      : conns.get(key) ?? await openClient(standin, owner.peer, owner.dbid);
    if (owner !== undefined) conns.set(key, conn);
    counts.set(name, count + 1);
    samples.push({ message: event.bytes, conn });
  }
  console.log(`requests: sign_message, ${[...counts.keys()].join(", ")}`);
  return samples;
}

type LifeEvent = Awaited<
  ReturnType<typeof readRecording>
>["lives"][number]["events"][number];

/** Times of requests, in milliseconds. */
export async function measure(
  samples: readonly Sample[],
  count: number,
  isOver: () => boolean = () => false,
): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count && !isOver(); i++) {
    const sample = samples[i % samples.length];
    if (sample === undefined) throw new Error("No requests");
    const sent = performance.now();
    await sample.conn.ask(sample.message);
    times.push(performance.now() - sent);
    await new Promise((resolve) => setTimeout(resolve, GAP_MS));
  }
  return times;
}

function report(
  { before, during, after, seconds, rate }: {
    readonly before: readonly number[];
    readonly during: readonly number[];
    readonly after: readonly number[];
    readonly seconds: number;
    readonly rate: string;
  },
): void {
  const row = (name: string, times: readonly number[]) =>
    console.log(
      `${name.padEnd(34)} ${ms(percentile(times, 0.5))} ` +
        `${ms(percentile(times, 0.9))} ${ms(percentile(times, 0.99))} ` +
        `  ${times.length} requests`,
    );
  const without = [...before, ...after];
  const ratio = percentile(during, 0.5) / percentile(without, 0.5);
  console.log(`milliseconds                            p50      p90      p99`);
  row("before the catch-up", before);
  row("while blocks are caught up", during);
  row("after it", after);
  console.log(
    `median with to without: ${ratio.toFixed(2)} (want ${BAR} or less); ` +
      `${seconds.toFixed(0)} s; ${rate}`,
  );
}

if (import.meta.main) await measureChain(Number(Deno.args[0] ?? BLOCKS));
