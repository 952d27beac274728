/**
 * The whole device is killed while a node keeps it busy: `softkey run`, its
 * signer and its card, with SIGKILL, at moments that a seed picks.
 *
 * Recorded nodes are played over the whole path. After each kill the card as it
 * lies there is copied, and the copy must show that nothing acknowledged is
 * lost: it is whole, its records stand where the answers said that they do, and
 * the last change that each connection had an answer for is answered with the
 * same bytes. The broker, which hears of each commit before its answer, refuses
 * a card that fell behind; a softkey that ends by itself fails the test. In the
 * end every answer of the recording is the recorded one.
 *
 * `CRASH_SEED=n` picks other moments; SLOW=1 kills 500 times.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import { Desk } from "../../src/device/desk.ts";
import { CONSENTER } from "../../src/device/approver.ts";
import { createSigner, step } from "../../src/signer/handle.ts";
import type { SignerMemory } from "../../src/signer/memory.ts";
import type { SignerInput } from "../../src/signer/state.ts";
import { messageName, REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { believing } from "../support/believed.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";
import {
  type Life,
  newOutcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../support/recording.ts";
import { RunningBroker } from "../support/rig.ts";
import { startSoftkey } from "../support/softkey.ts";
import { lifeNetwork } from "../support/whole_path.ts";

const SEED = Number(Deno.env.get("CRASH_SEED") ?? 1);
const KILLS = Deno.env.get("SLOW") === "1" ? 500 : 12;

/** Nodes that open, pay, forward, splice and close: much to remember. */
const NAMES = [
  "flows/pay-node1",
  "flows/script_two_chan_splice_out-node2",
  "flows/sendpay-node2",
  "flows/keysend-node2",
  "flows/fetchinvoice-node2",
  "flows/script_two_chan_splice_k-node2",
] as const;

/** A softkey lives for this many changes at most … */
const MOST_CHANGES = 4;
/** … and a little longer: a few requests. */
const MOST_BUSY_MS = 6;
/** How often it is killed while it starts, and until when. */
const STARTING_SHARE = 0.15;
const MOST_STARTING_MS = 900;

const ENTRY = fromFileUrl(new URL("../../src/device/main.ts", import.meta.url));
const CONFIG = fromFileUrl(new URL("../../deno.json", import.meta.url));

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

/** A request that the recording has an answer to. */
interface Exchange {
  readonly type: number;
  readonly input: SignerInput;
  readonly reply: Uint8Array;
}

/** The exchanges of a life, in the order of their answers. */
function exchangesOf(life: Life): readonly Exchange[] {
  const exchanges: Exchange[] = [];
  const owners = new Map([[0, { peerId: NOBODY, dbid: 0n }]]);
  const asked = new Map<number, { type: number; bytes: Uint8Array }>();
  for (const event of life.events) {
    if (event.kind === "open") {
      owners.set(event.conn, { peerId: event.peer, dbid: event.dbid });
    } else if (event.kind === "request") {
      asked.set(event.conn, event);
    } else if (event.kind === "reply") {
      const owner = owners.get(event.conn);
      const request = asked.get(event.conn);
      assert.ok(owner !== undefined && request !== undefined);
      const { type, bytes: message } = request;
      const { bytes: reply } = event;
      exchanges.push({ type, input: { ...owner, message }, reply });
    }
  }
  return exchanges;
}

/** Requests that change the card when they are new. */
const CHANGING: readonly number[] = [
  REQUESTS.new_channel,
  REQUESTS.setup_channel,
  REQUESTS.lock_outpoint,
  REQUESTS.forget_channel,
  REQUESTS.sign_remote_commitment_tx,
  REQUESTS.validate_commitment_tx,
  REQUESTS.revoke_commitment_tx,
  REQUESTS.validate_revocation,
  REQUESTS.sign_commitment_tx,
  REQUESTS.sign_mutual_close_tx,
  REQUESTS.sign_splice_tx,
  REQUESTS.sign_withdrawal,
  REQUESTS.sign_anchorspend,
  REQUESTS.sign_htlc_tx_mingle,
  REQUESTS.preapprove_invoice,
  REQUESTS.preapprove_keysend,
  REQUESTS.preapprove_invoice_check,
  REQUESTS.preapprove_keysend_check,
].map(({ type }) => type);

/** The last change of each connection that was acknowledged. */
function lastChanges(acknowledged: readonly Exchange[]): readonly Exchange[] {
  const last = new Map<string, Exchange>();
  for (const exchange of acknowledged) {
    const { peerId, dbid } = exchange.input;
    if (!CHANGING.includes(exchange.type)) continue;
    last.set(`${peerId.toHex()}/${dbid}`, exchange);
  }
  return [...last.values()];
}

/** How far a channel must have come, by an answer that its node has. */
const STANDS: Readonly<
  Record<number, (memory: SignerMemory, input: SignerInput) => boolean>
> = {
  [REQUESTS.sign_remote_commitment_tx.type]: (memory, input) => {
    const row = REQUESTS.sign_remote_commitment_tx;
    const { commitNum } = decodeMessage(row, input.message);
    return (memory.channel(input)?.counterparty.next ?? 0n) > commitNum;
  },
  [REQUESTS.validate_revocation.type]: (memory, input) => {
    const row = REQUESTS.validate_revocation;
    const { revokeNum } = decodeMessage(row, input.message);
    return (memory.channel(input)?.counterparty.revoked ?? 0n) > revokeNum;
  },
  [REQUESTS.validate_commitment_tx.type]: (memory, input) => {
    const row = REQUESTS.validate_commitment_tx;
    const { commitNum } = decodeMessage(row, input.message);
    const { next = 0n, pending = [] } = memory.channel(input)?.holder ?? {};
    return next > commitNum || next === commitNum && pending.length > 0;
  },
  [REQUESTS.revoke_commitment_tx.type]: (memory, input) => {
    const row = REQUESTS.revoke_commitment_tx;
    const { commitNum } = decodeMessage(row, input.message);
    return (memory.channel(input)?.holder.next ?? 0n) >= commitNum + 2n;
  },
};

/** What is checked after each kill. */
interface Scene {
  readonly folder: string;
  readonly life: Life;
  readonly acknowledged: readonly Exchange[];
  readonly where: string;
}

async function emptyFolder(path: string): Promise<void> {
  for (const { name } of Deno.readDirSync(path)) {
    await Deno.remove(`${path}/${name}`, { recursive: true });
  }
}

/** Opens a copy of the card, as the next softkey will find it. */
async function checkCard(scene: Scene, copy: string): Promise<bigint> {
  const { folder, life, acknowledged, where } = scene;
  // What the check before left behind was stopped; this one was not.
  await emptyFolder(copy);
  for await (const { name } of Deno.readDir(`${folder}/card`)) {
    // SQLite makes the index of its log anew.
    if (!/^state\.db(-wal)?$/.test(name)) continue;
    await Deno.copyFile(`${folder}/card/${name}`, `${copy}/${name}`);
  }
  const store = openCardStore(copy);
  try {
    const { head } = store.check();
    const network = lifeNetwork(life);
    const state = readCardState(store, network);
    for (const { type, input } of acknowledged) {
      const stands = STANDS[type]?.(state.memory, input) ?? true;
      assert.ok(stands, `${where}: ${messageName(type)} was forgotten`);
    }
    const signer = createSigner({
      secretFile: life.secret,
      network,
      isDeveloper: true,
      memory: state.memory,
      policy: believing(state.policy),
      allowlist: state.allowlist,
      consent: { mode: "always", granted: new Set(), declined: new Set() },
    });
    const desk = new Desk({
      ...state,
      signer,
      step,
      standing: null,
      approver: CONSENTER,
      say: () => {},
      now: Date.now,
    });
    const starts = life.events.flatMap((event) =>
      event.kind === "request" && [99, 11].includes(event.type)
        ? [event.bytes]
        : []
    );
    for (const message of starts) {
      await desk.serve({ peerId: NOBODY, dbid: 0n, message });
    }
    for (const { type, input, reply } of lastChanges(acknowledged)) {
      const again = await desk.serve(input);
      const what = `${where}: ${messageName(type)} again`;
      assert.equal(again.reply?.toHex(), reply.toHex(), what);
    }
    return head.generation;
  } finally {
    store.close();
  }
}

/** Kills one softkey after another; keeps one running while the life lasts. */
class Killer {
  readonly #random: Random;
  readonly #start: () => Promise<Deno.ChildProcess>;
  readonly #afterKill: () => Promise<void>;
  readonly #mayKill: () => boolean;
  #softkey: Deno.ChildProcess | null = null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #isOver = false;
  #changesLeft = 0;
  kills = 0;

  constructor(options: {
    readonly random: Random;
    readonly start: () => Promise<Deno.ChildProcess>;
    /** Looks at the card while nobody has it. */
    readonly afterKill: () => Promise<void>;
    readonly mayKill: () => boolean;
  }) {
    this.#random = options.random;
    this.#start = options.start;
    this.#afterKill = options.afterKill;
    this.#mayKill = options.mayKill;
  }

  /** Until {@link Killer.end}. */
  async run(): Promise<void> {
    while (!this.#isOver) {
      const softkey = await this.#start();
      this.#softkey = softkey;
      this.#changesLeft = Math.floor(this.#random() * (MOST_CHANGES + 1));
      if (this.#isOver) softkey.kill("SIGTERM");
      else if (this.#random() < STARTING_SHARE) this.#killIn(MOST_STARTING_MS);
      const { signal, code } = await softkey.status;
      this.#disarm();
      this.#softkey = null;
      if (signal !== "SIGKILL") {
        // A softkey that the broker refuses ends with 2.
        assert.equal(code, 0, "the softkey ended by itself");
        assert.ok(this.#isOver, "the softkey ended by itself");
        return;
      }
      this.kills += 1;
      await this.#afterKill();
    }
  }

  /** An answer came, from the softkey that runs. */
  noteAnswer(isChange: boolean): void {
    if (isChange) this.#changesLeft -= 1;
    if (this.#changesLeft <= 0) this.#killIn(MOST_BUSY_MS);
  }

  end(): void {
    this.#isOver = true;
    this.#disarm();
    this.#softkey?.kill("SIGTERM");
  }

  #killIn(mostMs: number): void {
    if (this.#timer !== null || this.#isOver || !this.#mayKill()) return;
    // The moment is the point of this test; nothing is waited for.
    this.#timer = setTimeout(() => {
      try {
        this.#softkey?.kill("SIGKILL");
      } catch (error) {
        // It is dead already, and its status on the way.
        if (!(error instanceof TypeError)) throw error;
      }
    }, this.#random() * mostMs);
  }

  #disarm(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

/** Plays one recording while its softkey is killed; the number of kills. */
async function playAndKill(
  name: string,
  most: number,
  random: Random,
  where: string,
): Promise<number> {
  const path = new URL(`${name}.jsonl.gz`, RECORDINGS);
  const { lives: [life, ...more] } = await readRecording(path);
  assert.ok(life !== undefined && more.length === 0);
  const exchanges = exchangesOf(life);
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/copy`);
    await using broker = await RunningBroker.start({ folder });
    const url = `mqtt://${await broker.address()}`;
    const { secret } = life;
    const { name: network } = lifeNetwork(life);
    let answered = 0;
    let generation = 0n;
    const killer: Killer = new Killer({
      random,
      mayKill: () => killer.kills < most,
      start: () => startSoftkey({ folder, url, secret, network }),
      async afterKill() {
        const isThere = await Deno.stat(`${folder}/card/state.db`)
          .then(() => true, () => false);
        if (!isThere) return assert.equal(answered, 0, where);
        const acknowledged = exchanges.slice(0, answered);
        const scene = { folder, life, acknowledged, where };
        const found = await checkCard(scene, `${folder}/copy`);
        assert.ok(found >= generation, `${where}: went back to ${found}`);
        generation = found;
      },
    });
    const running = killer.run();
    const outcome = newOutcome();
    const playing = playLife(life, broker.standin, outcome, () => {
      const type = exchanges[answered]?.type ?? -1;
      answered += 1;
      killer.noteAnswer(CHANGING.includes(type));
    });
    // When the device is gone for good, the node would wait for ever.
    await Promise.race([playing, running]);
    killer.end();
    await running;
    broker.standin.close();
    assert.equal(await broker.standin.exit, 2);
    await broker.silence;
    assert.deepEqual(broker.alarms, [], where);
    assert.deepEqual(outcome.differences, [], where);
    assert.equal(outcome.identical, outcome.requests, where);
    assert.equal(answered, exchanges.length, where);
    await assertWhole(`${folder}/card`, where);
    return killer.kills;
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** `softkey card check`, as the owner would run it. */
async function assertWhole(card: string, where: string): Promise<void> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-A", "--quiet", "--config", CONFIG, ENTRY],
      ...["card", "check", "--card", card],
    ],
    env: withDeno(),
  }).output();
  const said = new TextDecoder().decode(stdout);
  const complained = new TextDecoder().decode(stderr);
  assert.equal(code, 0, `${where}: ${complained}`);
  assert.match(said, /The card is whole/);
}

Deno.test(`killed ${KILLS} times under load, a softkey loses nothing acknowledged`, async () => {
  const random = seeded(SEED);
  let kills = 0;
  for (let round = 0; kills < KILLS; round += 1) {
    const name = NAMES[round % NAMES.length] ?? "";
    const where = `CRASH_SEED=${SEED}, round ${round}, ${name}`;
    kills += await playAndKill(name, KILLS - kills, random, where);
  }
});
