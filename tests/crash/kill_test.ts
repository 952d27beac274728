/**
 * The line going dead in mid-sentence: 200 times, at moments that a seed picks,
 * the connection is cut at some byte or the softkey is killed. Every request
 * must be answered in the end, with the recorded answer.
 *
 * `CRASH_SEED=n` picks other moments; SLOW=1 does it more often.
 *
 * @module
 */

import assert from "node:assert/strict";
import net from "node:net";
import { runs } from "../support/arbitrary.ts";
import {
  newOutcome,
  type Observer,
  type Outcome,
  playLife,
  readRecording,
  type Recording,
  RECORDINGS,
} from "../support/recording.ts";
import { RunningBroker, startBox } from "../support/rig.ts";
import { startSoftkey } from "../support/softkey.ts";
import { lifeNetwork } from "../support/whole_path.ts";

const SEED = Number(Deno.env.get("CRASH_SEED") ?? 1);
const KILLS = runs(10);
const CUTS = runs(190);

/** Opened, paid, spliced, closed in several ways; small and large messages. */
const NAMES = [
  "flows/script_splice_msat-node1",
  "flows/closing_anchorspend_htlc_tx_rbf-node1",
  "flows/keysend-node2",
  "flows/pay-node1",
] as const;

type Random = () => number;

/** mulberry32: numbers from 0 to 1, the same for the same seed. */
function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Bytes of a login up to its init reply, about. */
const LOGIN_BYTES = 1_900;
/** How whatever a softkey says shows in the stream: it is sealed. */
const SAID = new TextEncoder().encode("/sealed-res").toHex();
/** Two acts, hello, the light, the init reply: what comes next is an answer. */
const SAID_BEFORE = 6;

/** When a connection is cut. */
interface Cut {
  /** At this byte … */
  readonly bytes: number;
  /** … counted from the first answer on it, or from its start. */
  readonly isAfterAnswer: boolean;
}

const NEVER: Cut = { bytes: Infinity, isAfterAnswer: true };

/**
 * The next cut. A softkey waits longer after each connection on which it
 * answered nothing, so most of them get as far as an answer.
 */
function nextCut(random: Random): Cut {
  const kind = random();
  const bytes = (most: number) => Math.ceil(random() * most);
  if (kind < 0.08) return { bytes: bytes(LOGIN_BYTES), isAfterAnswer: false };
  if (kind < 0.2) {
    return { bytes: LOGIN_BYTES + bytes(5_000), isAfterAnswer: false };
  }
  // Large answers must come through some time.
  return { bytes: bytes(kind < 0.7 ? 1_500 : 12_000), isAfterAnswer: true };
}

/** How often a softkey says something in a chunk. */
function saidIn(chunk: Uint8Array): number {
  return chunk.toHex().split(SAID).length - 1;
}

/** Carries bytes between softkey and broker, and cuts at a byte. */
class CuttingProxy implements AsyncDisposable {
  readonly #server: net.Server;
  readonly #sockets = new Set<net.Socket>();
  readonly #target: number;
  readonly #nextCut: () => Cut;
  readonly #onCut: () => void;

  private constructor(target: number, nextCut: () => Cut, onCut: () => void) {
    this.#target = target;
    this.#nextCut = nextCut;
    this.#onCut = onCut;
    this.#server = net.createServer((socket) => this.#carry(socket));
  }

  static async start(
    target: number,
    nextCut: () => Cut,
    onCut: () => void,
  ): Promise<CuttingProxy> {
    const proxy = new CuttingProxy(target, nextCut, onCut);
    const { promise, resolve } = Promise.withResolvers<void>();
    proxy.#server.listen(0, "127.0.0.1", resolve);
    await promise;
    return proxy;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === "string") {
      throw new Error("The proxy does not listen");
    }
    return address.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise<void>((resolve) =>
      this.#server.close(() => resolve())
    );
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  #carry(near: net.Socket): void {
    const far = net.connect(this.#target, "127.0.0.1");
    const { bytes, isAfterAnswer } = this.#nextCut();
    let left = bytes;
    let isCounting = !isAfterAnswer;
    let said = 0;
    const end = () => {
      near.destroy();
      far.destroy();
    };
    const carry = (from: net.Socket, to: net.Socket) => {
      this.#sockets.add(from);
      from.on("close", () => this.#sockets.delete(from));
      from.on("error", end).on("close", end);
      from.on("data", (chunk: Uint8Array) => {
        if (left <= 0) return;
        if (from === near) said += saidIn(chunk);
        isCounting ||= said > SAID_BEFORE;
        if (!isCounting) return void to.write(chunk);
        const part = chunk.subarray(0, left);
        left -= chunk.length;
        if (left > 0) return void to.write(part);
        this.#onCut();
        to.write(part, end);
      });
    };
    carry(near, far);
    carry(far, near);
  }
}

async function readNamed(name: string): Promise<Recording> {
  return await readRecording(new URL(`${name}.jsonl.gz`, RECORDINGS));
}

/** Plays the only life of a recording on a broker with some device. */
async function playOn(
  recording: Recording,
  device: (folder: string, port: number) => Promise<AsyncDisposable>,
  observe?: Observer,
): Promise<Outcome> {
  const [life] = recording.lives;
  assert.ok(life !== undefined && recording.lives.length === 1);
  const folder = await Deno.makeTempDir();
  try {
    await using broker = await RunningBroker.start({ folder });
    const port = Number((await broker.address()).split(":").at(-1));
    await using _device = await device(folder, port);
    const outcome = newOutcome();
    await playLife(life, broker.standin, outcome, observe);
    broker.standin.close();
    assert.equal(await broker.standin.exit, 2);
    await broker.silence;
    assert.deepEqual(broker.alarms, []);
    return outcome;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function assertIdentical(outcome: Outcome, seed: string): void {
  assert.deepEqual(outcome.differences, [], seed);
  assert.equal(outcome.identical, outcome.requests, seed);
}

Deno.test({
  name: `${CUTS} cuts of the connection at any byte lose no answer`,
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const random = seeded(SEED);
    let left = CUTS;
    for (let round = 0; left > 0; round++) {
      const recording = await readNamed(NAMES[round % NAMES.length] ?? "");
      const [life] = recording.lives;
      assert.ok(life !== undefined);
      const outcome = await playOn(recording, async (folder, port) => {
        const proxy = await CuttingProxy.start(
          port,
          () => left > 0 ? nextCut(random) : NEVER,
          () => left -= 1,
        );
        const box = await startBox({
          folder,
          secret: life.secret,
          network: lifeNetwork(life),
          url: `mqtt://127.0.0.1:${proxy.port}`,
        });
        return {
          async [Symbol.asyncDispose]() {
            await box.stop();
            await proxy[Symbol.asyncDispose]();
          },
        };
      });
      const where = `CRASH_SEED=${SEED}, round ${round}, ${recording.name}`;
      assertIdentical(outcome, where);
    }
  },
});

/** Kills a softkey; false when it is dead already and no other is up yet. */
function kill(softkey: Deno.ChildProcess | null, signal: Deno.Signal): boolean {
  try {
    softkey?.kill(signal);
    return softkey !== null;
  } catch (error) {
    if (error instanceof TypeError) return false;
    throw error;
  }
}

Deno.test({
  name: `${KILLS} times kill -9 of the softkey loses no answer`,
  sanitizeOps: true,
  sanitizeResources: true,
  async fn() {
    const random = seeded(SEED + 1_000);
    let kills = 0;
    for (let round = 0; kills < KILLS; round++) {
      const recording = await readNamed(NAMES[round % NAMES.length] ?? "");
      let softkey: Deno.ChildProcess | null = null;
      let restart: Promise<void> = Promise.resolve();
      let untilKill = 1 + Math.floor(random() * 20);
      const observe = () => {
        untilKill -= 1;
        if (untilKill > 0 || kills >= KILLS) return;
        untilKill = 1 + Math.floor(random() * 20);
        kills += kill(softkey, "SIGKILL") ? 1 : 0;
      };
      const outcome = await playOn(recording, (folder, port) => {
        let isOver = false;
        const [life] = recording.lives;
        assert.ok(life !== undefined);
        const { secret } = life;
        const url = `mqtt://127.0.0.1:${port}`;
        restart = (async () => {
          while (!isOver) {
            softkey = await startSoftkey({ folder, url, secret });
            if (isOver) kill(softkey, "SIGTERM");
            await softkey.status;
          }
        })();
        return Promise.resolve({
          async [Symbol.asyncDispose]() {
            isOver = true;
            kill(softkey, "SIGTERM");
            await restart;
          },
        });
      }, observe);
      const where = `CRASH_SEED=${SEED}, round ${round}, ${recording.name}`;
      assertIdentical(outcome, where);
    }
  },
});
