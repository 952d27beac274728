/**
 * The life of two nodes, step by step. A step fails by throwing.
 *
 * @module
 */

import { find, number, text } from "./json.ts";
import type { Node, StartOptions } from "./node.ts";
import { until } from "./process.ts";
import { mine, processesOf, type World } from "./world.ts";

/** One line of the report. */
export interface Step {
  readonly title: string;
  /** What it found out, for the reader. */
  readonly run: (world: World) => Promise<string>;
}

const CHANNEL = 1_000_000;
const SPLICE = 100_000;
const DEPTH = 6;

/** One that the plugin for dual funding takes. */
const FEERATE = "2000perkw";

/** Blocks after which lightningd forgets a channel that is settled. */
const FORGOTTEN = 100;

/** In the order in which they have to run. */
export const STEPS: readonly Step[] = [
  { title: "start alice, her seed made by her softkey", run: startAlice },
  { title: "start bob, with 32 bytes and no words", run: startBob },
  { title: "fund both wallets", run: fund },
  { title: "connect", run: connect },
  { title: "open a channel, alice to bob", run: openFromAlice },
  { title: "pay both ways", run: payBothWays },
  { title: "keysend both ways", run: keysendBothWays },
  { title: "fetch and pay a BOLT 12 invoice", run: payOffer },
  { title: "sign and check messages", run: signMessages },
  { title: "withdraw", run: withdraw },
  { title: "splice in", run: spliceIn },
  { title: "splice out", run: spliceOut },
  { title: "restart alice's node, her softkey stays", run: restartAlice },
  { title: "kill -9 bob's softkey, pay while it is away", run: payWhileAway },
  { title: "kill -9 alice's softkey amid payments", run: killAmidPayments },
  { title: "close together", run: closeTogether },
  { title: "open a channel, bob to alice, both fund it", run: openFromBob },
  { title: "close alone, alice's node away", run: closeAlone },
  { title: "sweep what is on chain", run: sweep },
  { title: "stop both nodes", run: stopNodes },
  { title: "read the logs", run: readLogs },
];

async function startAlice({ alice }: World): Promise<string> {
  return await startPaired(alice);
}

/** Its softkey is paired by the string, while lightningd waits for a signer. */
export async function startPaired(
  node: Node,
  options: StartOptions = {},
): Promise<string> {
  await node.makeSeed();
  const starting = node.startLightningd({ ...options, pairing: "code" });
  const { lightningd } = node;
  await Promise.race([starting, lightningd.line(/waiting for a signer/)]);
  const said = await node.pair();
  node.startSoftkey();
  await starting;
  return `${node.id}; ${said}`;
}

async function startBob({ bob }: World): Promise<string> {
  return await startNode(bob);
}

async function startNode(node: Node): Promise<string> {
  node.startSoftkey();
  const line = await node.softkey.line(/ node id [0-9a-f]{66}/);
  await node.startLightningd();
  if (line.endsWith(node.id)) return node.id;
  throw new Error(`lightningd says ${node.id}, the softkey ${line}`);
}

/** Two coins for each of them. */
export async function fund(world: World): Promise<string> {
  const { alice, bob, bitcoin } = world;
  for (const node of [alice, bob]) {
    for (const kind of ["bech32", "p2tr"]) {
      const made = await node.ask("newaddr", { addresstype: kind });
      await bitcoin.send(text(made, kind), 2 * CHANNEL);
    }
  }
  await mine(world, 1);
  const sums = await Promise.all(
    [alice, bob].map((node) =>
      until(`coins of ${node.name}`, async () => {
        const sum = await node.confirmed();
        return sum === 4 * CHANNEL ? sum : undefined;
      })
    ),
  );
  return `${sums.join(" and ")} sat`;
}

/** They are peers. */
export async function connect({ alice, bob }: World): Promise<string> {
  await alice.connect(bob);
  return `to ${bob.id}`;
}

/** A channel that alice pays for. */
export async function openFromAlice(world: World): Promise<string> {
  return await open(world, world.alice, world.bob);
}

async function openFromBob(world: World): Promise<string> {
  const { alice, bob } = world;
  await alice.ask("funderupdate", {
    policy: "match",
    policy_mod: 50,
    fund_probability: 100,
    leases_only: "false",
  });
  const said = await open(world, bob, alice);
  const total = number(await alice.usable(), "total_msat") / 1000;
  if (total === CHANNEL * 1.5) return `${said} of ${total} sat`;
  throw new Error(`The channel has ${total} sat, alice put nothing into it`);
}

async function open(world: World, from: Node, to: Node): Promise<string> {
  const params = { id: to.id, amount: CHANNEL, feerate: FEERATE };
  const opened = await from.ask("fundchannel", params);
  await world.bitcoin.pooled(text(opened, "txid"));
  await mine(world, DEPTH);
  await to.usable();
  const channel = await from.usable();
  return `channel ${text(channel, "short_channel_id")}`;
}

let labels = 0;

/**
 * Waits until a node can pay that much through its channel: an HTLC is fulfilled
 * before it is off both commitments, and until then its amount is nobody's to
 * spend. Nothing tells by an event when that has changed.
 */
export async function payable(from: Node, msat: number): Promise<void> {
  await until(`${from.name} to have ${msat} msat to spend`, async () => {
    const channel = await from.usable();
    const updates = find(channel, "updates");
    const isKnown = updates !== undefined &&
      find(updates, "local") !== undefined &&
      find(updates, "remote") !== undefined;
    const isThere = number(channel, "spendable_msat") >= msat;
    return isKnown && isThere ? true : undefined;
  });
}

/** A payment, to its end. */
export async function payOne(
  from: Node,
  to: Node,
  msat: number,
): Promise<void> {
  const label = `payment ${++labels}`;
  await to.usable();
  await payable(from, msat);
  const preimage = await from.pay(await to.invoice(label, msat));
  const paid = await to.ask("waitinvoice", { label: JSON.stringify(label) });
  if (text(paid, "payment_preimage") === preimage) return;
  throw new Error(`${from.name} has another preimage than ${to.name}`);
}

/** A payment each way. */
export async function payBothWays({ alice, bob }: World): Promise<string> {
  await payOne(alice, bob, 200_000_000);
  await payOne(bob, alice, 50_000_000);
  return "200000 and 50000 sat";
}

async function keysendBothWays({ alice, bob }: World): Promise<string> {
  const amount = { amount_msat: 1_234_567 };
  for (const [from, to] of [[alice, bob], [bob, alice]] as const) {
    await payable(from, amount.amount_msat);
    await from.ask("keysend", { destination: to.id, ...amount });
  }
  return "1234567 msat";
}

async function payOffer({ alice, bob }: World): Promise<string> {
  const made = await bob.ask("offer", { amount: "any", description: "e2e" });
  const offer = text(made, "bolt12");
  const fetched = await alice.ask("fetchinvoice", {
    offer,
    amount_msat: 7_000,
  });
  await payable(alice, 7_000);
  await alice.pay(text(fetched, "invoice"));
  return `${offer.slice(0, 40)}…`;
}

async function signMessages({ alice, bob }: World): Promise<string> {
  for (const [from, to] of [[alice, bob], [bob, alice]] as const) {
    const message = `I am ${from.name}`;
    const signed = await from.ask("signmessage", { message });
    const checked = await to.ask("checkmessage", {
      message,
      zbase: text(signed, "zbase"),
      pubkey: from.id,
    });
    if (find(checked, "verified") !== true) throw new Error("Not verified");
  }
  return "two";
}

async function withdraw(world: World): Promise<string> {
  const { alice, bob, bitcoin } = world;
  const made = await bob.ask("newaddr", { addresstype: "p2tr" });
  const before = await bob.confirmed();
  const sent = await alice.ask("withdraw", {
    destination: text(made, "p2tr"),
    satoshi: 300_000,
  });
  await bitcoin.pooled(text(sent, "txid"));
  await mine(world, 1);
  await until("the coin at bob", async () => {
    return await bob.confirmed() === before + 300_000 ? true : undefined;
  });
  return text(sent, "txid");
}

async function spliceIn(world: World): Promise<string> {
  return await splice(world, "splicein", CHANNEL + SPLICE);
}

async function spliceOut(world: World): Promise<string> {
  return await splice(world, "spliceout", CHANNEL);
}

async function splice(
  world: World,
  method: "splicein" | "spliceout",
  most: number,
): Promise<string> {
  const { alice, bob, bitcoin } = world;
  const channel = text(await alice.usable(), "channel_id");
  const done = await alice.ask(method, { channel, amount: SPLICE });
  await bitcoin.pooled(text(done, "txid"));
  await mine(world, DEPTH);
  await bob.usable();
  const total = number(await alice.usable(), "total_msat") / 1000;
  // The fee of a splice-out comes out of the channel.
  if (total > most || total < most - SPLICE / 2) {
    throw new Error(`The channel has ${total} sat, wanted about ${most}`);
  }
  await payOne(alice, bob, 10_000_000);
  return `the channel has ${total} sat`;
}

async function restartAlice({ alice, bob }: World): Promise<string> {
  const derive = async () =>
    text(await alice.ask("makesecret", { string: "e2e" }), "secret");
  const before = await derive();
  await alice.stopLightningd();
  await alice.startLightningd();
  if (await derive() !== before) throw new Error("Another secret than before");
  await alice.connect(bob);
  await alice.usable();
  await payOne(alice, bob, 5_000_000);
  return "paid";
}

async function payWhileAway({ alice, bob }: World): Promise<string> {
  const label = "while away";
  const invoice = await bob.invoice(label, 3_000_000);
  await bob.killSoftkey();
  const { lightningd } = bob;
  const from = lightningd.lines.length;
  const comeBack = async () => {
    const line = await lightningd.line(/hsmd: waiting for /, from);
    bob.startSoftkey();
    return line.replace(/^.*hsmd: /, "");
  };
  const [said] = await Promise.all([comeBack(), alice.pay(invoice)]);
  return said;
}

const CROWD = 8;

async function killAmidPayments({ alice, bob }: World): Promise<string> {
  const replace = async () => {
    await alice.killSoftkey();
    alice.startSoftkey();
  };
  const payments = Array.from(
    { length: CROWD },
    () => payOne(alice, bob, 1_000_000),
  );
  await Promise.all([...payments, replace()]);
  return `${CROWD} paid`;
}

/** Both agree, and forget the channel. */
export async function closeTogether(world: World): Promise<string> {
  const { alice, bob, bitcoin } = world;
  const marks = [alice, bob].map(({ lightningd }) => lightningd.lines.length);
  const closed = await alice.ask("close", { id: bob.id });
  if (text(closed, "type") !== "mutual") throw new Error("Not mutual");
  await bitcoin.pooled();
  await mine(world, 1);
  await forgotten(world, marks);
  return "forgotten by both";
}

/** Waits until onchaind has nothing left to do and the channel is gone. */
async function forgotten(
  world: World,
  marks: readonly number[],
): Promise<void> {
  await mine(world, FORGOTTEN);
  for (const [index, node] of [world.alice, world.bob].entries()) {
    await node.lightningd.line(/onchaind complete, forgetting/, marks[index]);
    await until(`${node.name} to forget the channel`, async () => {
      return (await node.channels()).length === 0 ? true : undefined;
    });
  }
}

/** What bob has in the channel that he closes alone, before fees. */
const OWN_OUTPUT = CHANNEL * 0.6;

async function closeAlone(world: World): Promise<string> {
  const { alice, bob, bitcoin } = world;
  await payOne(bob, alice, (CHANNEL - OWN_OUTPUT) * 1000);
  const before = await alice.confirmed();
  await alice.stopLightningd();
  const closed = await bob.ask("close", { id: alice.id, unilateraltimeout: 1 });
  if (text(closed, "type") !== "unilateral") throw new Error("Not unilateral");
  await bitcoin.pooled();
  await alice.startLightningd();
  await mine(world, 1);
  return await until("alice's coin", async () => {
    const gain = await alice.confirmed() - before;
    return gain > 0 ? `alice has ${gain} sat of it` : undefined;
  });
}

const MOST_BLOCKS = 60;
const MOST_FEES = 20_000;

/** Bob's own output is behind a delay; his onchaind sweeps it after that. */
async function sweep(world: World): Promise<string> {
  const { bob } = world;
  const { lightningd } = bob;
  const before = await bob.confirmed();
  const isSwept = () =>
    lightningd.lines.some((line) =>
      /Resolved OUR_UNILATERAL\/DELAYED_OUTPUT_TO_US by our/.test(line)
    );
  let blocks = 0;
  for (; !isSwept(); blocks++) {
    if (blocks === MOST_BLOCKS) throw new Error(`No sweep in ${blocks} blocks`);
    await mine(world, 1);
  }
  await forgotten(world, [0, lightningd.lines.length]);
  const gain = await bob.confirmed() - before;
  if (gain < OWN_OUTPUT - MOST_FEES) {
    throw new Error(`Bob swept ${gain} of ${OWN_OUTPUT} sat`);
  }
  return `after ${blocks} blocks, bob has ${gain} sat of it`;
}

/** Everything, as an operator stops it. */
export async function stopNodes({ alice, bob }: World): Promise<string> {
  for (const node of [alice, bob]) {
    await node.stopLightningd();
    await node.stopSoftkeys();
  }
  return "softkeys too";
}

/** Nothing broken, and no secret, in any log. */
export function readLogs(world: World): Promise<string> {
  const lines = processesOf(world).flatMap((process) => process.lines);
  const broken = lines.filter((line) => line.includes("**BROKEN**"));
  if (broken.length > 0) throw new Error(broken.join("\n"));
  const secret = world.secret.toHex();
  if (lines.some((line) => line.toLowerCase().includes(secret))) {
    throw new Error("Bob's secret is in a log");
  }
  return Promise.resolve(`${lines.length} lines, none broken`);
}
