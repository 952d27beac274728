/**
 * What the seal costs: the same requests through two whole paths in one run, one
 * with a sealed link and one with a plain one, each request by both in turn.
 *
 *     deno run -A scripts/bench/seal.ts [ROUNDS]
 *
 * Everything but the link is the same program on both sides. Which of the two
 * paths is asked first changes with each request.
 *
 * @module
 */

import { fromFileUrl, withDeno } from "../../tests/support/paths.ts";
import {
  type Life,
  newOutcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../../tests/support/recording.ts";
import { RunningBroker } from "../../tests/support/rig.ts";
import { ms, percentile } from "../../tests/support/stats.ts";
import { type Sample, samplesOf } from "./chain.ts";

const SOURCE = "flows/pay-node1.jsonl.gz";
const DEVICE = new URL("link_device.ts", import.meta.url);
const CONFIG = new URL("../../deno.json", import.meta.url);
const ROUNDS = 400;
const WARM_UP = 100;
/** What the bar is, in milliseconds at the median. */
const BAR_MS = 0.2;

/** A whole path: a node, its broker and its device. */
interface Path extends AsyncDisposable {
  readonly samples: readonly Sample[];
}

/** Milliseconds of each request, by both paths. */
interface Times {
  readonly sealed: number[];
  readonly plain: number[];
}

/** Measures, and prints a table. */
export async function measureSeal(
  program?: string,
  rounds: number = ROUNDS,
): Promise<void> {
  const { lives: [life] } = await readRecording(new URL(SOURCE, RECORDINGS));
  if (life === undefined) throw new Error(`${SOURCE} is empty`);
  await using sealed = await openPath(life, "sealed", program);
  await using plain = await openPath(life, "plain", program);
  const times: Times = { sealed: [], plain: [] };
  for (let round = 0; round < WARM_UP + rounds; round++) {
    for (const [i, sample] of sealed.samples.entries()) {
      const other = plain.samples[i];
      if (other === undefined) throw new Error("Two lives of one recording");
      const both = await timeBoth(sample, other, (round + i) % 2 === 0);
      if (round < WARM_UP) continue;
      times.sealed.push(both.sealed);
      times.plain.push(both.plain);
    }
  }
  report(times);
}

async function openPath(
  life: Life,
  link: "sealed" | "plain",
  program: string | undefined,
): Promise<Path> {
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-bench-" });
  await using stack = new AsyncDisposableStack();
  stack.defer(() => Deno.remove(folder, { recursive: true }));
  await Deno.writeFile(`${folder}/hsm_secret`, life.secret, { mode: 0o600 });
  // What is measured is the path, not how it holds strangers up.
  const env = { REMOTE_HSMD_HANDSHAKE_RATE: "1000" };
  const broker = stack.use(await RunningBroker.start({ program, folder, env }));
  const url = `mqtt://${await broker.address()}`;
  const device = startDevice(folder, url, link);
  stack.defer(async () => {
    device.kill("SIGTERM");
    await device.status;
  });
  const events = life.events.filter((event) =>
    event.kind !== "close" || event.conn !== 0 && event.by === "node"
  );
  const stays = { ...life, events };
  await playLife(stays, broker.standin, newOutcome(), () => {});
  const samples = await samplesOf(stays, broker);
  const kept = stack.move();
  return {
    samples,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

function startDevice(
  folder: string,
  url: string,
  link: string,
): Deno.ChildProcess {
  const config = ["--config", fromFileUrl(CONFIG)];
  const program = fromFileUrl(DEVICE);
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", ...config, program, folder, url, link],
    env: withDeno(),
    stdin: "null",
    stdout: "null",
  }).spawn();
}

async function timeBoth(
  sealed: Sample,
  plain: Sample,
  isSealedFirst: boolean,
): Promise<{ readonly sealed: number; readonly plain: number }> {
  if (isSealedFirst) {
    const first = await time(sealed);
    return { sealed: first, plain: await time(plain) };
  }
  const first = await time(plain);
  return { sealed: await time(sealed), plain: first };
}

async function time({ conn, message }: Sample): Promise<number> {
  const sent = performance.now();
  await conn.ask(message);
  return performance.now() - sent;
}

function report({ sealed, plain }: Times): void {
  const row = (name: string, times: readonly number[]) => {
    const cells = [0.5, 0.9, 0.99].map((share) => ms(percentile(times, share)));
    console.log(`${name.padEnd(34)} ${cells.join(" ")}`);
  };
  const costs = sealed.map((value, i) => value - (plain[i] ?? 0));
  console.log(
    `milliseconds, ${sealed.length} requests each      p50      p90      p99`,
  );
  row("sealed link", sealed);
  row("plain link", plain);
  console.log(
    `the seal's own cost: p50 ${percentile(costs, 0.5).toFixed(3)} ms ` +
      `(want ${BAR_MS} or less)`,
  );
}

if (import.meta.main) {
  await measureSeal(undefined, Number(Deno.args[0] ?? ROUNDS));
}
