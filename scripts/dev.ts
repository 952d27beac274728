/**
 * `deno task dev`: the whole path on this machine, playing a recorded node.
 *
 * A stand-in for lightningd starts the broker exactly as lightningd would (fd 0,
 * fd 3, descriptors really passed), a softkey connects to it, and the recorded
 * life of a node is played: a channel is opened, paid through, spliced, closed.
 * Each answer is compared bit for bit with the one that the stock hsmd gave.
 *
 * `deno task dev --lightningd PATH [-- ARGUMENTS]` starts a real regtest node on
 * the same broker and device instead, and hands it the arguments.
 *
 * @module
 */

import { parseArgs } from "node:util";
import {
  newOutcome,
  type Outcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../tests/support/recording.ts";
import { RunningBroker } from "../tests/support/rig.ts";
import { freePort, withDeno } from "../tests/support/paths.ts";
import { makeBelievingCard } from "../tests/support/believed.ts";
import { startSoftkey } from "../tests/support/softkey.ts";
import { ms, percentile } from "../tests/support/stats.ts";
import { build, PROGRAMS } from "./build.ts";

/** Opens a channel, pays, splices msat amounts, closes: 118 requests. */
const RECORDING = "flows/script_splice_msat-node1.jsonl.gz";

async function playRecording(): Promise<number> {
  const recording = await readRecording(new URL(RECORDING, RECORDINGS));
  const [life] = recording.lives;
  if (life === undefined) throw new Error(`${RECORDING} is empty`);
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-dev-" });
  console.log(`playing ${recording.name}, a node that lightningd ran once\n`);
  const outcome = newOutcome();
  let softkey: Deno.ChildProcess | null = null;
  try {
    await using broker = await RunningBroker.start({ folder });
    const url = `mqtt://${await broker.address()}`;
    console.log(`broker    pid ${broker.standin.pid}, devices on ${url}`);
    softkey = await startSoftkey({
      folder,
      url,
      secret: life.secret,
      output: "inherit",
    });
    console.log(`softkey   pid ${softkey.pid}\n`);
    await playLife(life, broker.standin, outcome, showRequest);
    console.log(`\nbroker    exit code ${await broker.standin.exit}`);
  } finally {
    softkey?.kill("SIGTERM");
    await softkey?.status;
    await Deno.remove(folder, { recursive: true });
  }
  return summarise(outcome);
}

function showRequest(
  name: string,
  isIdentical: boolean,
  milliseconds: number,
): void {
  const mark = isIdentical ? "identical" : "DIFFERENT";
  console.log(`${ms(milliseconds)} ms  ${mark}  ${name}`);
}

function summarise(outcome: Outcome): number {
  console.log("\nrequest                          count      p50      p99  ms");
  for (const [name, sample] of outcome.latencies) {
    const count = String(sample.length).padStart(5);
    const p50 = ms(percentile(sample, 0.5));
    const p99 = ms(percentile(sample, 0.99));
    console.log(`${name.padEnd(32)} ${count} ${p50} ${p99}`);
  }
  const { requests, identical, differences } = outcome;
  for (const { request, wanted, found } of differences) {
    console.log(`DIFFERENT ${request}\n  wanted ${wanted}\n  found  ${found}`);
  }
  console.log(`\n${requests} requests, ${identical} answers identical`);
  return identical === requests ? 0 : 1;
}

/** A real node: until it ends, or Ctrl-C ends it. */
async function runLightningd(
  program: string,
  args: readonly string[],
): Promise<number> {
  const [broker, softkeyProgram] = await Promise.all(PROGRAMS.map(build));
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-dev-" });
  const port = freePort();
  await makeBelievingCard(`${folder}/card`, "regtest");
  const softkey = new Deno.Command(softkeyProgram ?? "", {
    args: [
      "run",
      "--broker",
      `mqtt://127.0.0.1:${port}`,
      "--card",
      `${folder}/card`,
      "--network",
      "regtest",
      "--yes",
    ],
    env: withDeno(),
    stdin: "null",
  }).spawn();
  console.log(`node in ${folder}: lightning-cli --lightning-dir=${folder}`);
  Deno.addSignalListener("SIGINT", () => {}); // the node has it too
  try {
    const { code } = await new Deno.Command(program, {
      args: [
        "--network=regtest",
        `--lightning-dir=${folder}`,
        `--subdaemon=hsmd:${broker}`,
        ...args,
      ],
      env: {
        ...withDeno(),
        REMOTE_HSMD_MQTT_LISTEN: `127.0.0.1:${port}`,
        REMOTE_HSMD_PAIRING: "first",
      },
    }).spawn().status;
    return code;
  } finally {
    softkey.kill("SIGTERM");
    await softkey.status;
  }
}

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: { lightningd: { type: "string" } },
});
Deno.exit(
  values.lightningd === undefined
    ? await playRecording()
    : await runLightningd(values.lightningd, positionals),
);
