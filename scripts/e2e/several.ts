/**
 * A node whose device goes away for a while, and whose device is several; its
 * peer has a softkey that speaks as a Sphinx signer does.
 *
 * Alice's softkey is paired by the string; her two cards have one seed and share
 * their state. Bob's softkey speaks Sphinx, with the storage at his broker.
 *
 * @module
 */

import { withHold } from "./adopt.ts";
import { list, text } from "./json.ts";
import { AWAY, until } from "./process.ts";
import {
  closeTogether,
  connect,
  fund,
  openFromAlice,
  payBothWays,
  payOne,
  readLogs,
  startPaired,
  type Step,
  stopNodes,
} from "./steps.ts";
import type { World } from "./world.ts";

/** In the order in which they have to run. */
export const SEVERAL_STEPS: readonly Step[] = [
  { title: "start alice, her softkey paired by the string", run: startAlice },
  { title: "start bob, his softkey in Sphinx dialect", run: startBob },
  { title: "fund both wallets", run: fund },
  { title: "connect", run: connect },
  { title: "open a channel, alice to bob", run: openFromAlice },
  { title: "pay both ways", run: payBothWays },
  { title: "alice's device away, payments under way", run: stayAway },
  { title: "share alice's card, a second one beside it", run: shareCards },
  { title: "kill -9 the active one amid payments", run: takeOver },
  { title: "kill -9 the other one amid payments", run: takeBack },
  { title: "close together", run: closeTogether },
  { title: "stop both nodes", run: stopNodes },
  { title: "read the logs", run: readLogs },
];

const FIRST = "card";
const SECOND = "second";
const PAYMENT = 1_000_000;

async function startAlice({ alice }: World): Promise<string> {
  return await startPaired(alice, await withHold(alice));
}

async function startBob({ bob }: World): Promise<string> {
  await bob.makeSeed();
  await bob.share(FIRST);
  // A Sphinx broker proves blocks by filters, which its own word stands for.
  await bob.runSoftkey(["policy", "set", "chain", "believed"], FIRST);
  bob.startSoftkey({ dialect: "sphinx" });
  await bob.startLightningd(await withHold(bob));
  return bob.id;
}

// ----------------------------------------------------------------------- away

const HELD = 3;
const BLOCKS = 3;
/** All is answered this long after the device's return, in milliseconds. */
const MOST_ANSWERING_MS = 10_000;

/**
 * Payments are under way both ways and are let go of meanwhile, lightningd itself
 * wants a signature, and blocks are found.
 */
async function stayAway(world: World): Promise<string> {
  const { alice, bob, bitcoin } = world;
  const asked = await holdPayments(world);
  await alice.killSoftkey();
  const left = performance.now();
  for (const node of [alice, bob]) await node.cli("hold", "off");
  for (let i = 0; i < BLOCKS; i++) {
    await new Promise((resolve) => setTimeout(resolve, AWAY / BLOCKS));
    await bitcoin.mine(1);
    if (i === 0) asked.push(signed(world));
  }
  const away = performance.now() - left;
  alice.startSoftkey();
  const back = performance.now();
  await Promise.all(asked);
  const answering = performance.now() - back;
  for (const node of [alice, bob]) await node.usable();
  if (answering > MOST_ANSWERING_MS) {
    throw new Error(`All was answered after ${seconds(answering)}`);
  }
  await payOne(alice, bob, PAYMENT);
  return `away for ${seconds(away)}, ${asked.length} asks answered ` +
    `${seconds(answering)} after its start, the channel is open`;
}

/** Payments both ways that their payees have and do not take. */
async function holdPayments({ alice, bob }: World): Promise<Promise<string>[]> {
  const paid: Promise<string>[] = [];
  for (const [from, to] of [[alice, bob], [bob, alice]] as const) {
    await to.cli("hold", "on");
    for (let i = 0; i < HELD; i++) {
      const invoice = await to.invoice(`held ${from.name} ${i}`, PAYMENT);
      paid.push(from.pay(invoice));
    }
  }
  for (const node of [alice, bob]) {
    await until(`${node.name}'s payments to be held`, async () => {
      const [channel] = await node.channels();
      const htlcs = channel === undefined ? [] : list(channel, "htlcs");
      const isStill = htlcs.every((htlc) =>
        /(SENT|RCVD)_ADD_ACK_REVOCATION/.test(text(htlc, "state"))
      );
      return htlcs.length === 2 * HELD && isStill ? true : undefined;
    });
  }
  return paid;
}

async function signed({ alice }: World): Promise<string> {
  const message = "while away";
  return text(await alice.ask("signmessage", { message }), "zbase");
}

// -------------------------------------------------------------------- several

async function shareCards({ alice, bob }: World): Promise<string> {
  await alice.stopSoftkeys(FIRST);
  await alice.share(FIRST);
  alice.startSoftkey({ card: FIRST });
  await payOne(alice, bob, PAYMENT);
  await alice.restoreSeed(SECOND);
  await alice.share(SECOND);
  const said = await alice.pair(SECOND);
  alice.startSoftkey({ card: SECOND });
  await bothReady(alice);
  return said;
}

/** Waits until one is active and one is warm. */
async function bothReady(alice: World["alice"]): Promise<void> {
  await until("an active device and a warm one", async () => {
    const status = JSON.parse(await alice.runBroker("status", "--json"));
    const stages = list(status, "devices")
      .map((device) => `${text(device, "role")} ${text(device, "stage")}`);
    const wanted = ["active ready", "warm ready"];
    return wanted.every((each) => stages.includes(each)) ? true : undefined;
  });
}

/** A payment passes again this long after a device died, in milliseconds. */
const MOST_TAKE_OVER_MS = 5_000;

async function takeOver(world: World): Promise<string> {
  return await killAmidPayments(world, FIRST);
}

/** The one that was killed first comes back, and has missed a lot. */
async function takeBack(world: World): Promise<string> {
  world.alice.startSoftkey({ card: FIRST });
  await bothReady(world.alice);
  return await killAmidPayments(world, SECOND);
}

async function killAmidPayments(
  { alice, bob }: World,
  card: string,
): Promise<string> {
  const stream = new Stream(alice, bob);
  await stream.passed(0);
  const dead = alice.killSoftkey(card);
  const killed = performance.now();
  const passed = await stream.passed(killed);
  await dead;
  const count = await stream.end();
  const gap = passed - killed;
  if (gap > MOST_TAKE_OVER_MS) {
    throw new Error(`A payment passed after ${seconds(gap)}`);
  }
  return `a payment passes again after ${seconds(gap)}, ${count} in all`;
}

const ABREAST = 4;

/** Payments without a pause, some at a time. */
class Stream {
  readonly #from: World["alice"];
  readonly #to: World["bob"];
  readonly #done: Promise<void>[];
  #isOver = false;
  #count = 0;
  #watch: (began: number) => void = () => {};

  constructor(from: World["alice"], to: World["bob"]) {
    this.#from = from;
    this.#to = to;
    this.#done = Array.from({ length: ABREAST }, () => this.#run());
  }

  /** When a payment that began after `since` has passed. */
  async passed(since: number): Promise<number> {
    const failed = Promise.all(this.#done).then(() => since);
    const passed = new Promise<number>((resolve) => {
      this.#watch = (began) => {
        if (began > since) resolve(performance.now());
      };
    });
    return await Promise.race([passed, failed]);
  }

  /** Waits for those under way; how many there were. */
  async end(): Promise<number> {
    this.#isOver = true;
    await Promise.all(this.#done);
    return this.#count;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) {
      const label = `stream ${crypto.randomUUID()}`;
      const invoice = await this.#to.invoice(label, PAYMENT / 10);
      const began = performance.now();
      await this.#from.pay(invoice);
      this.#count += 1;
      this.#watch(began);
    }
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
