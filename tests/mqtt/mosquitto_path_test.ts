/**
 * A recorded node on the whole path, through mosquitto with TLS and client
 * certificates: every answer is the recorded one, also when the server is
 * killed again and again, and when the node starts anew.
 *
 * Skipped where mosquitto or openssl is not installed; `.ci/run` installs both.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DeviceBook } from "../../src/broker/devices.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { openCard } from "../../src/device/card.ts";
import {
  type Life,
  newOutcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../support/recording.ts";
import { RunningBroker } from "../support/rig.ts";
import { seededRandom } from "../support/mqtt_load.ts";
import { makeBox, startSoftkey } from "../support/softkey.ts";
import { lifeNetwork, type WholePathOutcome } from "../support/whole_path.ts";
import { Guest } from "./external_parts.ts";
import { Authorities, MOSQUITTO, Mosquitto } from "./mosquitto.ts";

const PASSWORDS = { broker: "mill", softkey: "pond" };
const PREFIX = "lightning/node";

/** A server that wants to see everything, and what a broker shows to it. */
async function strictServer(folder: string) {
  const from = await Authorities.make();
  const mosquitto = await Mosquitto.start({
    tls: { from, name: "server" },
    wantsCertificate: true,
    users: PASSWORDS,
  });
  const url = `mqtts://127.0.0.1:${mosquitto.port}/${PREFIX}`;
  const path = (name: string) => `${from.folder}/${name}`;
  const password = `${folder}/password`;
  await Deno.writeTextFile(password, `${PASSWORDS.softkey}\n`, { mode: 0o600 });
  return {
    mosquitto,
    url,
    env: {
      REMOTE_HSMD_PAIRING: "code",
      REMOTE_HSMD_MQTT_URL: url,
      REMOTE_HSMD_MQTT_USER: "broker",
      REMOTE_HSMD_MQTT_PASSWORD: PASSWORDS.broker,
      REMOTE_HSMD_MQTT_CA: path("ca.pem"),
      REMOTE_HSMD_MQTT_CERT: path("client.pem"),
      REMOTE_HSMD_MQTT_KEY: path("client.key"),
    },
    access: {
      user: "softkey",
      password: new Secret(new TextEncoder().encode(PASSWORDS.softkey)),
      ca: from.cert("ca"),
      cert: from.cert("client"),
      key: new Secret(from.key("client")),
    },
    args: [
      ...["--mqtt-user", "softkey", "--mqtt-password-file", password],
      ...["--mqtt-ca", path("ca.pem")],
      ...["--mqtt-cert", path("client.pem"), "--mqtt-key", path("client.key")],
    ],
    async [Symbol.asyncDispose]() {
      await mosquitto[Symbol.asyncDispose]();
      await from[Symbol.asyncDispose]();
    },
  };
}

/** The node of this folder knows the card of this folder from before. */
async function pair(folder: string): Promise<void> {
  const { cid, key } = await openCard(`${folder}/card`);
  const place = `${folder}/remote_hsmd`;
  await Deno.mkdir(place, { mode: 0o700 });
  const devices = await DeviceBook.open(`${place}/devices.json`, null, 0);
  const cardKey = publicKey(key).toHex();
  const software = "softkey under test";
  await devices.add({ kind: "native", cid, cardKey, software, pairedAt: 0 });
}

/** How to play a recording. */
interface Play {
  readonly recording: string;
  /** The softkey is a process, started with options. */
  readonly isProcess?: boolean;
  /** The server is killed each time so many requests were answered. */
  readonly killEach?: number;
  /** A neighbour acts as a seed says, each time so many were answered. */
  readonly hostile?: { readonly seed: number; readonly each: number };
}

/** What came of it. */
interface Played extends WholePathOutcome {
  /** How often the broker had a connection to the server. */
  connections: number;
  /** All topics that a neighbour on the server saw, without the client id. */
  readonly topics: ReadonlySet<string>;
  /** What a hostile neighbour did. */
  readonly deeds: readonly string[];
}

type Server = Awaited<ReturnType<typeof strictServer>>;

async function play(
  { recording, isProcess = false, killEach, hostile }: Play,
): Promise<Played> {
  const path = new URL(`${recording}.jsonl.gz`, RECORDINGS);
  const { name, lives } = await readRecording(path);
  const [first] = lives;
  assert.ok(first);
  await using cleanUp = new AsyncDisposableStack();
  const folder = await Deno.makeTempDir();
  cleanUp.defer(() => Deno.remove(folder, { recursive: true }));
  const server = cleanUp.use(await strictServer(folder));
  const neighbour = await Neighbour.move(server, cleanUp, hostile);
  cleanUp.defer(
    await (isProcess ? startProcess : startInside)(folder, server, first),
  );
  await pair(folder);
  const outcome: Played = {
    ...newOutcome(),
    name,
    lives: lives.length,
    problems: [],
    connections: 0,
    topics: neighbour.topics,
    deeds: neighbour.deeds,
  };
  const killer = new Killer(server.mosquitto, killEach ?? Infinity);
  for (const life of lives) {
    await using broker = await RunningBroker.start({ folder, env: server.env });
    await playLife(life, broker.standin, outcome, () => {
      killer.count();
      neighbour.count();
    });
    broker.standin.close();
    await broker.standin.exit;
    await broker.silence;
    outcome.problems.push(...broker.alarms);
    outcome.connections += broker.log.filter((line) =>
      line.startsWith("meeting devices on")
    ).length;
  }
  await killer.done;
  return outcome;
}

/** Kills a server after every so many answers, and starts it again. */
class Killer {
  readonly #mosquitto: Mosquitto;
  readonly #each: number;
  #answers = 0;
  done: Promise<void> = Promise.resolve();

  constructor(mosquitto: Mosquitto, each: number) {
    this.#mosquitto = mosquitto;
    this.#each = each;
  }

  count(): void {
    this.#answers += 1;
    if (this.#answers % this.#each !== 0) return;
    this.done = this.done.then(async () => {
      await this.#mosquitto.kill();
      await this.#mosquitto.restart();
    });
  }
}

/** Payloads of each topic that a neighbour remembers. */
const MOST_REMEMBERED = 200;

/** What a neighbour does to a topic with what it saw there. */
type Deed = (seen: readonly Uint8Array[], random: () => number) => Uint8Array;

const last = (seen: readonly Uint8Array[]) => seen.at(-1) ?? new Uint8Array();
const some = (seen: readonly Uint8Array[], random: () => number) =>
  seen[Math.floor(random() * seen.length)] ?? new Uint8Array();

/** Any client of a server without access rules may do all of this. */
const DEEDS: Readonly<Record<string, Deed>> = {
  "repeats the last": last,
  "repeats an old one": some,
  "flips a bit": (seen, random) => {
    const copy = last(seen).slice();
    const at = Math.floor(random() * copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    return copy;
  },
  "cuts one off": (seen, random) => {
    const one = some(seen, random);
    return one.slice(0, Math.floor(random() * one.length));
  },
  "says who": () => Uint8Array.of(0),
  "says again": () => Uint8Array.of(5),
  "says not me": () =>
    Uint8Array.of(6, ...publicKey(new Uint8Array(32).fill(9))),
  "says anything": (_seen, random) =>
    Uint8Array.from({ length: 60 }, () => Math.floor(random() * 256)),
};

/** Sees all that the server passes on, until it is killed; may be hostile. */
class Neighbour {
  readonly topics = new Set<string>();
  readonly deeds: string[] = [];
  readonly #guest: Guest;
  readonly #seen = new Map<string, Uint8Array[]>();
  readonly #random: () => number;
  readonly #each: number;
  #answers = 0;

  private constructor(guest: Guest, { seed = 0, each = Infinity } = {}) {
    this.#guest = guest;
    this.#random = seededRandom(seed);
    this.#each = each;
    guest.watch((topic, payload) => this.#remember(topic, payload));
  }

  static async move(
    { url, access }: Server,
    cleanUp: AsyncDisposableStack,
    hostile?: Play["hostile"],
  ): Promise<Neighbour> {
    const guest = cleanUp.use(await Guest.connect(url, "neighbour", access));
    const neighbour = new Neighbour(guest, hostile);
    await guest.subscribe("#");
    return neighbour;
  }

  /** A request was answered. */
  count(): void {
    this.#answers += 1;
    if (this.#answers % this.#each === 0) this.#act();
  }

  #act(): void {
    const random = this.#random;
    const topics = [...this.#seen.keys()];
    const topic = topics[Math.floor(random() * topics.length)];
    const names = Object.keys(DEEDS);
    const name = names[Math.floor(random() * names.length)] ?? "";
    const deed = DEEDS[name];
    if (topic === undefined || deed === undefined) return;
    this.deeds.push(`${name} on ${topic}`);
    this.#guest.publish(topic, deed(this.#seen.get(topic) ?? [], random));
  }

  #remember(topic: string, payload: Uint8Array): void {
    this.topics.add(topic.replace(/[0-9a-f]{32}/, "CID"));
    const seen = this.#seen.get(topic) ?? [];
    seen.push(Uint8Array.from(payload));
    if (seen.length > MOST_REMEMBERED) seen.shift();
    this.#seen.set(topic, seen);
  }
}

type Stop = () => Promise<void>;

async function startInside(
  folder: string,
  { url, access }: Server,
  life: Life,
): Promise<Stop> {
  const network = lifeNetwork(life);
  const { secret } = life;
  const box = await makeBox({ folder, url, secret, network, access });
  box.start();
  return () => box.stop();
}

async function startProcess(
  folder: string,
  { url, args }: Server,
  life: Life,
): Promise<Stop> {
  const { name: network } = lifeNetwork(life);
  const { secret } = life;
  const softkey = await startSoftkey({ folder, url, secret, network, args });
  return async () => {
    softkey.kill("SIGTERM");
    await softkey.status;
  };
}

function assertIdentical(outcome: WholePathOutcome): void {
  assert.deepEqual(outcome.differences, []);
  assert.deepEqual(outcome.problems, []);
  assert.equal(outcome.identical, outcome.requests);
  assert.ok(outcome.requests > 50);
}

const ignore = MOSQUITTO === null;

Deno.test({
  name: "A node that starts twice plays through mosquitto",
  ignore,
  fn: async () => {
    const recording = "flows/closing_simple-node1";
    const outcome = await play({ recording });
    assertIdentical(outcome);
    assert.equal(outcome.lives, 2);
    assert.deepEqual([...outcome.topics].sort(), [
      `${PREFIX}/CID/sealed`,
      `${PREFIX}/CID/sealed-res`,
    ]);
  },
});

Deno.test({
  name: "A node plays on while mosquitto is killed and comes back",
  ignore,
  fn: async () => {
    const recording = "flows/closing_simple-node2";
    const outcome = await play({ recording, killEach: 20 });
    assertIdentical(outcome);
    assert.ok(outcome.connections >= 4, `${outcome.connections} connections`);
  },
});

const SEED = Number(Deno.env.get("CRASH_SEED") ?? 1);

Deno.test({
  name:
    `A node plays on beside a neighbour that repeats, changes and invents, seed ${SEED}`,
  ignore,
  fn: async () => {
    const outcome = await play({
      recording: "flows/pay-node1",
      hostile: { seed: SEED, each: 3 },
    });
    assertIdentical(outcome);
    assert.ok(outcome.deeds.length > 15, outcome.deeds.join(", "));
  },
});

Deno.test({
  name: "A softkey process goes through mosquitto as its options say",
  ignore,
  fn: async () => {
    const recording = "flows/signmessage-node1";
    assertIdentical(await play({ recording, isProcess: true }));
  },
});
