/**
 * A recorded node on the whole path: stand-in, descriptors, broker, MQTT,
 * softkey, and back.
 *
 * A restart in the recording is a new broker process on the same port, while the
 * softkey keeps running, as a device does when its node restarts.
 *
 * @module
 */

import {
  type Life,
  newOutcome,
  type Outcome,
  playLife,
  readRecording,
} from "./recording.ts";
import { networkOf, RunningBroker, startBox } from "./rig.ts";
import { startSoftkey } from "./softkey.ts";

/** What to play on; from source, with the softkey in this process, by default. */
export interface WholePathOptions {
  /** Path of a built broker. */
  readonly broker?: string | undefined;
  /** Path of a built softkey. */
  readonly softkey?: string | undefined;
}

/** What came of a recording. */
export interface WholePathOutcome extends Outcome {
  readonly name: string;
  readonly lives: number;
  /** Whatever else was not as it should be, in words. */
  readonly problems: string[];
}

/** How an hsmd ends when lightningd closes fd 3. */
const EXIT_END_OF_FILE = 2;

/** Plays a recording from its first life to its last. */
export async function playWholePath(
  path: URL,
  options: WholePathOptions = {},
): Promise<WholePathOutcome> {
  const { name, lives } = await readRecording(path);
  const outcome = { ...newOutcome(), name, lives: lives.length, problems: [] };
  const folder = await Deno.makeTempDir();
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => Deno.remove(folder, { recursive: true }));
  let listen = "127.0.0.1:0";
  for (const [i, life] of lives.entries()) {
    await using broker = await RunningBroker.start({
      folder,
      listen,
      program: options.broker,
    });
    listen = await broker.address();
    if (i === 0) {
      cleanUp.defer(await startDevice({ folder, life, listen }, options));
    }
    await play(life, broker, outcome);
  }
  return outcome;
}

/** Whether nothing at all was wrong. */
export function isIdentical(outcome: WholePathOutcome): boolean {
  const { requests, identical, problems } = outcome;
  return requests > 0 && identical === requests && problems.length === 0;
}

/** One line about it, and one for each thing that was wrong. */
export function describeOutcome(outcome: WholePathOutcome): string {
  const { name, lives, requests, identical, differences, problems } = outcome;
  const restarts = lives > 1 ? `, ${lives - 1} restarts` : "";
  const wrong = differences.map(({ request, wanted, found }) =>
    `  ${request}: found ${found}, want ${wanted}`
  );
  return [
    `${name}: ${identical} of ${requests} identical${restarts}`,
    ...wrong,
    ...problems.map((problem) => `  ${problem}`),
  ].join("\n");
}

async function play(
  life: Life,
  broker: RunningBroker,
  outcome: WholePathOutcome,
): Promise<void> {
  try {
    await playLife(life, broker.standin, outcome);
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    outcome.problems.push(`stopped: ${what}`);
  }
  broker.standin.close();
  const code = await broker.standin.exit;
  if (code !== EXIT_END_OF_FILE) {
    outcome.problems.push(`exit code ${code}, want ${EXIT_END_OF_FILE}`);
  }
  await broker.silence;
  outcome.problems.push(...broker.alarms.map((line) => `logged: ${line}`));
}

interface DevicePlace {
  readonly folder: string;
  readonly life: Life;
  readonly listen: string;
}

/** Starts the softkey; returns how to stop it. */
async function startDevice(
  { folder, life, listen }: DevicePlace,
  { softkey: program }: WholePathOptions,
): Promise<() => Promise<void>> {
  const network = lifeNetwork(life);
  const { secret } = life;
  const url = `mqtt://${listen}`;
  if (program === undefined) {
    const box = await startBox({ folder, secret, network, url });
    return () => box.stop();
  }
  const { name } = network;
  const options = { folder, secret, url, program, network: name };
  const softkey = await startSoftkey(options);
  return async () => {
    softkey.kill("SIGTERM");
    await softkey.status;
  };
}

/** The network that a life's init names. */
export function lifeNetwork(life: Life): ReturnType<typeof networkOf> {
  for (const event of life.events) {
    if (event.kind === "request" && event.type === 11) {
      return networkOf(event.bytes);
    }
  }
  throw new Error("A life without init");
}
