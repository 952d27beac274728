/**
 * `deno task bench`: what the path costs, and what the signer costs, in one run.
 *
 * Requests of recorded nodes go through the whole path (stand-in for lightningd,
 * descriptors, built broker, MQTT, softkey process) and, each right after, into a
 * signer inside this process. The signer alone is the baseline: the path's own
 * cost is the difference of the two, request by request, so that a machine that
 * slows down slows both.
 *
 * A signer with a memory answers some requests once only, so both get to know
 * the node's whole life first, and what is asked again and again is what may be.
 * The rest, and what validation costs, is measured by `bench/validation.ts`.
 *
 * @module
 */

import { useFastCurve } from "../src/crypto/secp.ts";
import { loadFastCurve } from "../src/crypto/secp_wasm.ts";
import { Secret } from "../src/crypto/secret.ts";
import { createSigner, type SignerState, step } from "../src/signer/handle.ts";
import { SignerMemory } from "../src/signer/memory.ts";
import { messageName, REQUESTS } from "../src/wire/hsmd.ts";
import { messageType } from "../src/wire/message.ts";
import { NOBODY, type NodeId } from "../src/wire/types.ts";
import { SIGNER_ERROR_TYPE } from "../src/wire/vls.ts";
import {
  type Life,
  newOutcome,
  playLife,
  readRecording,
  type RecordedOpen,
  RECORDINGS,
} from "../tests/support/recording.ts";
import { believedPolicy } from "../tests/support/believed.ts";
import { freePort } from "../tests/support/paths.ts";
import { networkOf, RunningBroker } from "../tests/support/rig.ts";
import { startSoftkey, untilSaid } from "../tests/support/softkey.ts";
import type { FrameConn } from "../tests/support/standin/standin.ts";
import { ms, percentile } from "../tests/support/stats.ts";
import { measureChain } from "./bench/chain.ts";
import { openClient } from "./bench/client.ts";
import { measureCrowd } from "./bench/crowd.ts";
import { measureSeal } from "./bench/seal.ts";
import { measureValidation } from "./bench/validation.ts";
import { build, PROGRAMS } from "./build.ts";

/** Nodes whose requests cover the life of a channel and a wallet. */
const SOURCES = [
  "flows/script_splice_msat-node1.jsonl.gz",
  "flows/pay-node1.jsonl.gz",
  "flows/permfail_htlc_out-node2.jsonl.gz",
  "vectors/vector-01.jsonl.gz",
];

const WARM_UP_ROUNDS = 20;
const ROUNDS = 100;
/** Requests of one type, taken from one recording. */
const SAMPLES_PER_TYPE = 3;
const CLIENTS = 1000;

/** A request, and where it belongs. */
interface Sample {
  readonly name: string;
  readonly message: Uint8Array;
  readonly peerId: NodeId;
  readonly dbid: bigint;
  readonly isMaster: boolean;
}

/** Milliseconds of one request type, both ways. */
interface Times {
  readonly path: number[];
  readonly signer: number[];
}

/** Answered by the broker itself: there is no signer to compare with. */
const LOCAL: readonly number[] = [
  REQUESTS.check_pubkey.type,
  REQUESTS.check_bip86_pubkey.type,
  REQUESTS.dev_memleak.type,
];
const NOT_MEASURED: readonly number[] = [
  REQUESTS.init.type,
  REQUESTS.dev_preinit.type,
  REQUESTS.client_hsmfd.type,
];

async function main(): Promise<void> {
  const [broker = "", softkey = ""] = await Promise.all(PROGRAMS.map(build));
  const times = new Map<string, Times>();
  const starts: number[] = [];
  for (const source of SOURCES) {
    const { lives: [life] } = await readRecording(new URL(source, RECORDINGS));
    if (life === undefined) throw new Error(`${source} is empty`);
    starts.push(await measureLife(life, { broker, softkey }, times));
  }
  report(times);
  console.log(
    `\nstart of the broker to its answered init, softkey waiting: ` +
      `${starts.map((value) => value.toFixed(0)).join(", ")} ms`,
  );
  await measureClients(broker);
  await measureSeal(broker);
  await measureCrowd({ broker, softkey });
  await measureValidation();
  await measureChain();
}

interface Programs {
  readonly broker: string;
  readonly softkey: string;
}

async function measureLife(
  life: Life,
  programs: Programs,
  times: Map<string, Times>,
): Promise<number> {
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-bench-" });
  const listen = `127.0.0.1:${freePort()}`;
  const init = initOf(life);
  const device = await startSoftkey({
    folder,
    url: `mqtt://${listen}`,
    secret: life.secret,
    network: networkOf(init).name,
    program: programs.softkey,
    output: "piped",
  });
  try {
    await untilSaid(device, "trying again");
    const start = performance.now();
    await using broker = await RunningBroker.start({
      program: programs.broker,
      folder,
      listen,
      // What is measured is the path, not how it holds strangers up.
      env: { REMOTE_HSMD_HANDSHAKE_RATE: "1000" },
    });
    let ready = 0;
    await playLife(withoutEnd(life), broker.standin, newOutcome(), () => {
      if (ready === 0) ready = performance.now() - start;
    });
    const signer = await playSigner(life, init);
    await measureSamples(samplesOf(life), broker, signer, times);
    broker.standin.close();
    await broker.standin.exit;
    return ready;
  } finally {
    device.kill("SIGTERM");
    await device.status;
    await Deno.remove(folder, { recursive: true });
  }
}

/** A life whose node stays, so that its hsmd closes nothing either. */
function withoutEnd(life: Life): Life {
  const events = life.events.filter((event) =>
    event.kind !== "close" || event.conn !== 0 && event.by === "node"
  );
  return { ...life, events };
}

/** A signer that has lived a life, in this process. */
class LocalSigner {
  readonly #memory: SignerMemory;
  #state: SignerState;

  constructor(state: SignerState, memory: SignerMemory) {
    this.#state = state;
    this.#memory = memory;
  }

  /** False for a refusal. */
  ask(sample: Pick<Sample, "peerId" | "dbid" | "message">): boolean {
    const { state, writes, reply } = step(this.#state, sample, Date.now());
    this.#state = state;
    this.#memory.apply(writes);
    return reply !== null && messageType(reply) !== SIGNER_ERROR_TYPE;
  }
}

/** What the softkey lives through, in the order of the answers. */
async function playSigner(life: Life, init: Uint8Array): Promise<LocalSigner> {
  useFastCurve(await loadFastCurve());
  const memory = new SignerMemory();
  const state = createSigner({
    secretFile: new Secret(life.secret),
    network: networkOf(init),
    isDeveloper: true,
    memory,
    policy: believedPolicy(networkOf(init).name),
    consent: { mode: "always", granted: new Set(), declined: new Set() },
  });
  const signer = new LocalSigner(state, memory);
  const owners = new Map<number, RecordedOpen>();
  const asked = new Map<number, Uint8Array>();
  for (const event of life.events) {
    if (event.kind === "open") owners.set(event.conn, event);
    if (event.kind === "request") asked.set(event.conn, event.bytes);
    const message = event.kind === "reply" ? asked.get(event.conn) : undefined;
    if (event.kind !== "reply" || message === undefined) continue;
    const { peer: peerId = NOBODY, dbid = 0n } = owners.get(event.conn) ?? {};
    signer.ask({ peerId, dbid, message });
  }
  return signer;
}

async function measureSamples(
  all: readonly Sample[],
  { standin }: RunningBroker,
  local: LocalSigner,
  times: Map<string, Times>,
): Promise<void> {
  const samples = all.filter((sample) =>
    LOCAL.includes(typeOf(sample.name)) || local.ask(sample)
  );
  const connections = new Map<string, FrameConn>();
  for (const { peerId, dbid, isMaster } of samples) {
    const key = `${peerId.toHex()} ${dbid}`;
    if (isMaster || connections.has(key)) continue;
    connections.set(key, await openClient(standin, peerId, dbid));
  }
  for (let round = 0; round < WARM_UP_ROUNDS + ROUNDS; round++) {
    for (const sample of samples) {
      const key = `${sample.peerId.toHex()} ${sample.dbid}`;
      const conn = sample.isMaster ? standin.master : connections.get(key);
      const sent = performance.now();
      await conn?.ask(sample.message);
      const answered = performance.now();
      local.ask(sample);
      const signed = performance.now();
      if (round < WARM_UP_ROUNDS) continue;
      const { path, signer } = timesOf(times, sample.name);
      path.push(answered - sent);
      signer.push(signed - answered);
    }
  }
}

function timesOf(times: Map<string, Times>, name: string): Times {
  const known = times.get(name);
  if (known !== undefined) return known;
  const made: Times = { path: [], signer: [] };
  times.set(name, made);
  return made;
}

function initOf(life: Life): Uint8Array {
  const init = life.events.find((event) =>
    event.kind === "request" && event.type === REQUESTS.init.type
  );
  if (init?.kind !== "request") throw new Error("A life without init");
  return init.bytes;
}

/** The first few requests of each type, with the connection they came on. */
function samplesOf(life: Life): Sample[] {
  const samples: Sample[] = [];
  const counts = new Map<number, number>();
  // A channel has one connection: the first peer that a number came with.
  const peers = new Map<bigint, string>();
  const owners = new Map<number, RecordedOpen>();
  for (const event of life.events) {
    if (event.kind === "open") owners.set(event.conn, event);
    if (event.kind !== "request" || NOT_MEASURED.includes(event.type)) continue;
    const count = counts.get(event.type) ?? 0;
    if (count >= SAMPLES_PER_TYPE) continue;
    const owner = owners.get(event.conn);
    if (owner !== undefined) {
      const peer = owner.peer.toHex();
      if ((peers.get(owner.dbid) ?? peer) !== peer) continue;
      peers.set(owner.dbid, peer);
    }
    counts.set(event.type, count + 1);
    samples.push({
      name: messageName(event.type),
      message: event.bytes,
      peerId: owner?.peer ?? NOBODY,
      dbid: owner?.dbid ?? 0n,
      isMaster: owner === undefined,
    });
  }
  return samples;
}

function report(times: ReadonlyMap<string, Times>): void {
  console.log(
    "milliseconds                        path p50      p99  signer p50" +
      "      p99    cost p50      p99   ratio",
  );
  const costs: number[] = [];
  for (const [name, { path, signer }] of times) {
    const isLocal = LOCAL.includes(typeOf(name));
    const cost = path.map((value, i) => value - (signer[i] ?? 0));
    if (!isLocal) costs.push(...cost);
    const cells = [path, signer, cost].map((sample) =>
      `${ms(percentile(sample, 0.5))} ${ms(percentile(sample, 0.99))}`
    );
    const ratio = percentile(path, 0.5) / percentile(signer, 0.5);
    console.log(
      isLocal
        ? `${name.padEnd(34)} ${cells[0]}   (answered by the broker)`
        : `${name.padEnd(34)} ${cells.join("   ")}  ${ms(ratio)}`,
    );
  }
  console.log(
    `\nthe path's own cost, ${costs.length} requests: ` +
      `p50 ${percentile(costs, 0.5).toFixed(2)} ms, ` +
      `p99 ${percentile(costs, 0.99).toFixed(2)} ms`,
  );
}

function typeOf(name: string): number {
  const row = Object.values(REQUESTS).find((candidate) =>
    candidate.name === name
  );
  return row?.type ?? -1;
}

/** Opens and closes many client connections; shows what stays behind. */
async function measureClients(program: string): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-bench-" });
  try {
    await using broker = await RunningBroker.start({ program, folder });
    const { standin } = broker;
    await broker.address();
    const id = new Uint8Array(33).fill(2) as Uint8Array as NodeId;
    const before: number[] = [];
    const start = performance.now();
    for (let i = 0; i < CLIENTS; i++) {
      const client = await openClient(standin, id, BigInt(i + 1));
      client.close();
      if (i === 10) before.push(await countDescriptors(standin.pid));
    }
    const each = (performance.now() - start) / CLIENTS;
    // One more request on the same stream: everything before it is done.
    (await openClient(standin, id, 1n)).close();
    const after = await countDescriptors(standin.pid);
    console.log(
      `${CLIENTS} client connections one after another: ${
        each.toFixed(2)
      } ms ` +
        `each, descriptors of the broker ${before[0]} before, ${after} after`,
    );
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function countDescriptors(pid: number): Promise<number> {
  const entries = await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`));
  return entries.length;
}

await main();
