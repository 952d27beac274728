/**
 * A recorded node is played over an MQTT server that belongs to an attacker:
 * broker as a process, paired softkey, and every answer the recorded one, while
 * the attacker changes, repeats, replays, reorders, drops and speaks for either
 * side, at moments that a seed picks.
 *
 * `SEED=n` picks other moments; SLOW=1 plays more often.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { DeviceBook } from "../../src/broker/devices.ts";
import { NoiseInitiator } from "../../src/crypto/noise.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { CONSENTER } from "../../src/device/approver.ts";
import { assemble } from "../../src/device/assemble.ts";
import type { Box } from "../../src/device/box.ts";
import { type Card, openCard } from "../../src/device/card.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import {
  encodeSealed,
  SEALED_KINDS,
  sealedPrologue,
} from "../../src/mqtt/sealed.ts";
import { encodeHello } from "../../src/wire/control.ts";
import type { PubKey } from "../../src/wire/types.ts";
import { runs } from "../support/arbitrary.ts";
import { believing } from "../support/believed.ts";
import {
  type Life,
  newOutcome,
  playLife,
  readRecording,
  recordingsIn,
} from "../support/recording.ts";
import { RunningBroker } from "../support/rig.ts";
import { lifeNetwork } from "../support/whole_path.ts";
import {
  ATTACKER_KEY,
  ATTACKER_POINT,
  type Random,
  seeded,
} from "./attacker.ts";
import { HostileServer, type Published } from "./hostile_server.ts";

const SEED = Number(Deno.env.get("SEED") ?? "1");
const RECORDING = "pay-node1";
const LINK_KEY = new Uint8Array(32).fill(0x21);
/** Hostile actions in one play, and how many packets there are to one. */
const HOSTILE = 60;
const ONE_IN = 4;
/** What is lost without a trace is missed after seconds: one will do. */
const MOST_LOSSES = 1;
/** What is held back comes after this at the latest. */
const LATE_MS = 20;
const RECORD = SEALED_KINDS.record.id;

/** The softkey of the test, which has the broker's key pinned. */
async function makePairedBox(
  { card, life, url }: { card: Card; life: Life; url: string },
): Promise<Pick<Box, "start" | "stop">> {
  const network = lifeNetwork(life);
  const store = openCardStore(card.folder);
  const state = readCardState(store, network);
  const { box } = await assemble({
    card,
    store,
    state: { ...state, policy: believing(state.policy) },
    secretFile: new Secret(life.secret),
    network,
    isDeveloper: true,
    mode: "always",
    approver: CONSENTER,
    gate: {
      pinned: publicKey(LINK_KEY),
      mayMeetAnother: () => false,
      meet: () => {},
    },
    url,
    software: "softkey under attack",
    say: () => {},
  });
  return box;
}

/** A folder of a broker that is paired with this card. */
async function makeBrokerFolder(folder: string, card: Card): Promise<void> {
  await Deno.mkdir(`${folder}/remote_hsmd`);
  await Deno.writeFile(`${folder}/remote_hsmd/link_key`, LINK_KEY);
  const path = `${folder}/remote_hsmd/devices.json`;
  const book = await DeviceBook.open(path, null, 0);
  await book.add({
    kind: "native",
    cid: card.cid,
    cardKey: publicKey(card.key).toHex(),
    software: "",
    pairedAt: 0,
  });
}

/** Takes the server over until it has done enough. */
class Meddler {
  /** How often it did what. */
  readonly done = new Map<string, number>();
  readonly #server: HostileServer;
  readonly #cid: string;
  readonly #random: Random;
  #left = HOSTILE;
  #losses = 0;
  #held: Published | null = null;

  constructor(server: HostileServer, cid: string, random: Random) {
    this.#server = server;
    this.#cid = cid;
    this.#random = random;
    server.hear = (published) => this.#hear(published);
  }

  #hear(published: Published): void {
    const isSpared = this.#left === 0 || this.#random() * ONE_IN >= 1;
    if (isSpared) this.#server.pass(published);
    else this.#meddle(published);
    if (this.#held !== published) this.#letGo(this.#held);
  }

  /** Passes on what was held back, after what came later. */
  #letGo(held: Published | null): void {
    if (held === null || this.#held !== held) return;
    this.#held = null;
    this.#server.pass(held);
  }

  #meddle(published: Published): void {
    const actions = Object.entries(this.#actions);
    const [name, act] = actions[this.#below(actions.length)] ?? [];
    if (name === undefined || act === undefined) return;
    this.#left -= 1;
    this.done.set(name, (this.done.get(name) ?? 0) + 1);
    act(published);
  }

  readonly #actions: Record<string, (published: Published) => void> = {
    drop: (published) => {
      if (!this.#mayLose(published)) this.#server.pass(published);
    },
    hold: (published) => {
      const before = this.#held;
      this.#held = published;
      if (before !== null) this.#server.pass(before);
      // Nothing may come that it could be late for.
      setTimeout(() => this.#letGo(published), LATE_MS);
    },
    repeat: (published) => {
      this.#server.pass(published);
      this.#server.pass(published);
    },
    replay: (published) => {
      const { seen } = this.#server;
      const old = seen[this.#below(seen.length)];
      if (old !== undefined) this.#server.pass(old);
      this.#server.pass(published);
    },
    reflect: (published) => {
      this.#server.pass({ ...published, topic: this.#other(published.topic) });
      this.#server.pass(published);
    },
    change: ({ topic, payload }) => {
      // A record that does not open is told of; of an act one nothing is.
      if (payload[0] !== RECORD) return this.#server.pass({ topic, payload });
      const changed = payload.slice();
      const at = this.#below(payload.length);
      changed[at] = (changed[at] ?? 0) ^ (1 << this.#below(8));
      this.#server.pass({ topic, payload: changed });
    },
    forge: (published) => {
      const body = Uint8Array.from({ length: 80 }, () => this.#below(256));
      const payload = encodeSealed("record", body);
      this.#server.pass({ topic: published.topic, payload });
      this.#server.pass(published);
    },
    hint: (published) => {
      const payload = this.#random() < 0.5
        ? encodeSealed("again")
        : encodeSealed("notMe", ATTACKER_POINT);
      this.#server.pass({ topic: `${this.#cid}/sealed`, payload });
      this.#server.pass(published);
    },
    speakUnsealed: (published) => {
      // 33 bytes of the curve: made from a key.
      const cardKey = ATTACKER_POINT as PubKey;
      const hello = this.#random() < 0.5
        ? new Uint8Array(0)
        : encodeHello({ cardKey });
      this.#server.pass({ topic: `${this.#cid}/hello`, payload: hello });
      const forged = Uint8Array.from({ length: 40 }, () => this.#below(256));
      this.#server.pass({ topic: `${this.#cid}/vls-res`, payload: forged });
      this.#server.pass({ topic: `${this.#cid}/bye`, payload: forged });
      this.#server.pass(published);
    },
    actAsDevice: (published) => {
      const { actOne } = new NoiseInitiator({
        prologue: sealedPrologue(this.#cid),
        key: ATTACKER_KEY,
        random: (length) => crypto.getRandomValues(new Uint8Array(length)),
        responder: publicKey(LINK_KEY),
      });
      const payload = encodeSealed("actOne", actOne);
      this.#server.pass({ topic: `${this.#cid}/sealed-res`, payload });
      this.#server.pass(published);
    },
    cut: (published) => {
      this.#server.pass(published);
      const isDevice = this.#random() < 0.5;
      this.#server.cut((cid) => (cid === this.#cid) === isDevice);
    },
  };

  /** Requests, which the broker misses soonest. */
  #mayLose({ topic, payload }: Published): boolean {
    if (!topic.endsWith("/sealed") || payload[0] !== RECORD) return false;
    this.#losses += 1;
    return this.#losses <= MOST_LOSSES;
  }

  /** The topic of the other direction. */
  #other(topic: string): string {
    const toDevice = `${this.#cid}/sealed`;
    return topic === toDevice ? `${toDevice}-res` : toDevice;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

/** Nothing that was asked or answered stands in clear on the server. */
function assertNothingLeaked(server: HostileServer, life: Life): void {
  const seen = Buffer.concat(server.seen.map(({ payload }) => payload));
  assert.equal(seen.indexOf(Buffer.from("softkey under attack")), -1);
  assert.equal(seen.indexOf(publicKey(LINK_KEY)), -1);
  let compared = 0;
  for (const event of life.events) {
    if (event.kind !== "request" && event.kind !== "reply") continue;
    if (event.bytes.length < 32) continue;
    compared += 1;
    assert.equal(seen.indexOf(event.bytes), -1);
    assert.equal(seen.indexOf(event.bytes.subarray(2, 34)), -1);
  }
  assert.ok(compared > 50);
}

async function playUnderAttack(seed: number): Promise<Meddler> {
  const path = recordingsIn("flows")
    .find(({ href }) => href.includes(`/${RECORDING}.`));
  assert.ok(path);
  const [life] = (await readRecording(path)).lives;
  assert.ok(life);
  await using cleanUp = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir();
  cleanUp.defer(() => Deno.remove(folder, { recursive: true }));
  await using server = await HostileServer.start();
  const { url } = server;
  const card = await openCard(`${folder}/card`);
  await makeBrokerFolder(folder, card);
  await using broker = await RunningBroker.start({
    folder,
    env: { REMOTE_HSMD_MQTT_URL: url, REMOTE_HSMD_PAIRING: "code" },
  });
  const box = await makePairedBox({ card, life, url });
  cleanUp.defer(() => box.stop());
  const meddler = new Meddler(server, card.cid, seeded(seed));
  await broker.logged(/meeting devices on/);
  box.start();
  const outcome = newOutcome();
  await playLife(life, broker.standin, outcome);
  assert.deepEqual(outcome.differences, []);
  assert.equal(outcome.identical, outcome.requests);
  assert.ok(outcome.requests > 100);
  broker.standin.close();
  await broker.silence;
  assert.deepEqual(broker.alarms, []);
  assertNothingLeaked(server, life);
  return meddler;
}

Deno.test("a node whose MQTT server attacks it gets every answer, and only those", async () => {
  for (let seed = SEED; seed < SEED + runs(1); seed++) {
    try {
      const { done } = await playUnderAttack(seed);
      const sum = [...done.values()].reduce((sum, count) => sum + count, 0);
      assert.equal(sum, HOSTILE);
    } catch (error) {
      console.error(`the attack of SEED=${seed} succeeded`);
      throw error;
    }
  }
});
