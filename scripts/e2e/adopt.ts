/**
 * Two nodes with channels, whose keys the stock hsmd has, move to softkeys: one
 * after a stop, one after a kill -9 amid payments.
 *
 * Each takes its database over as it is: payments held both ways, a forward
 * between two channels, a splice that is not buried. Then everything has to go
 * on: what was held is paid, channels open, splice, restart and close.
 *
 * @module
 */

import { find, type Json, list, number, text } from "./json.ts";
import type { Node, StartOptions } from "./node.ts";
import { until } from "./process.ts";
import type { Step } from "./steps.ts";
import { mine, processesOf, type World } from "./world.ts";

const CHANNEL = 1_000_000;
const SPLICE = 50_000;
const DEPTH = 6;
const FEERATE = "2000perkw";

/** In the order in which they have to run. */
export const ADOPT_STEPS: readonly Step[] = [
  { title: "start both with the stock hsmd", run: startStock },
  { title: "fund both wallets", run: fund },
  { title: "open channels, both ways", run: openAll },
  { title: "pay, forward and splice", run: liveALittle },
  { title: "close one together, one alone: both half done", run: halfClose },
  { title: "hold payments, leave splice and opening", run: leaveUnderWay },
  { title: "stop alice, her card adopts her channels", run: adoptAlice },
  { title: "start alice with her softkey", run: startAlice },
  { title: "close one alone with its payments under way", run: dropHeld },
  { title: "let go of what was held", run: letGo },
  { title: "bury the splice, pay through each channel", run: payThroughAll },
  { title: "open and splice with the softkey", run: growOn },
  { title: "restart alice", run: restartAlice },
  { title: "kill -9 bob's lightningd amid payments, adopt", run: adoptBob },
  { title: "pay through each channel, twice adopted", run: payThroughAll },
  { title: "close one together", run: closeTogether },
  { title: "close one alone from each side", run: closeAlone },
  { title: "bob cheats with a state from before: penalty", run: punish },
  { title: "close the rest together, stop", run: finish },
  { title: "read the logs", run: readLogs },
];

/** Channel ids of those that go on, by name. */
const opened: Record<string, string> = {};
/** Commitment of bob's that he revokes later. */
let cheat = "";

const both = ({ alice, bob }: World) => [alice, bob] as const;

/** A plugin for lightningd, started by whatever runs this. */
async function holdPlugin(folder: string): Promise<string> {
  const source = new URL("hold_plugin.ts", import.meta.url).pathname;
  const path = `${folder}/hold`;
  await Deno.writeTextFile(
    path,
    `#!/bin/sh\nexec deno run -A --no-lock --quiet '${source}'\n`,
    { mode: 0o755 },
  );
  return path;
}

/** How lightningd is started with the plugin that holds payments. */
export async function withHold(node: Node): Promise<StartOptions> {
  return { more: [`--plugin=${await holdPlugin(node.folder)}`] };
}

async function startStock(world: World): Promise<string> {
  for (const node of both(world)) {
    await node.startLightningd({ hsmd: "stock", ...await withHold(node) });
  }
  await world.alice.connect(world.bob);
  return world.alice.id;
}

async function fund(world: World): Promise<string> {
  for (const node of both(world)) {
    for (let i = 0; i < 5; i++) {
      const made = await node.ask("newaddr", { addresstype: "p2tr" });
      await world.bitcoin.send(text(made, "p2tr"), 2 * CHANNEL);
    }
  }
  await mine(world, 1);
  for (const node of both(world)) {
    await until(`coins of ${node.name}`, async () => {
      return await node.confirmed() === 10 * CHANNEL ? true : undefined;
    });
  }
  return "10 coins";
}

// ------------------------------------------------------------------- channels

async function channelOf(node: Node, name: string): Promise<Json> {
  const found = (await node.channels())
    .find((each) => find(each, "channel_id") === opened[name]);
  if (found !== undefined) return found;
  throw new Error(`${node.name} has no channel ${name}`);
}

function isUsable(channel: Json): boolean {
  return find(channel, "state") === "CHANNELD_NORMAL" &&
    find(channel, "peer_connected") === true &&
    find(channel, "inflight") === undefined &&
    find(channel, "updates", "local") !== undefined &&
    find(channel, "updates", "remote") !== undefined;
}

async function usable(world: World, name: string): Promise<void> {
  for (const node of both(world)) {
    await until(`channel ${name} of ${node.name}`, async () => {
      return isUsable(await channelOf(node, name)) ? true : undefined;
    });
  }
}

interface Opening {
  readonly name: string;
  readonly from: Node;
  readonly to: Node;
  readonly more?: Readonly<Record<string, string | number>>;
}

async function open(world: World, opening: Opening): Promise<void> {
  const { name } = opening;
  const made = await fundChannel(opening);
  opened[name] = text(made, "channel_id");
  await world.bitcoin.pooled(text(made, "txid"));
  await mine(world, DEPTH);
  await usable(world, name);
}

const TRIES = 3;

/**
 * Dual funding fails now and then by a witness that is a byte too short, and
 * always by that of a coin which a closed channel left: lightningd takes it for
 * one of its own wallet. So the tries after the first name coins of the wallet.
 */
async function fundChannel(opening: Opening, tries = TRIES): Promise<Json> {
  const { from, to, more } = opening;
  const coins = tries === TRIES ? {} : { utxos: await walletCoins(from) };
  const params = { id: to.id, amount: CHANNEL, feerate: FEERATE, ...more };
  try {
    return await from.ask("fundchannel", { ...params, ...coins });
  } catch (error) {
    const isChance = /lower effective feerate/.test(String(error));
    if (!isChance || tries === 1) throw error;
    return await fundChannel(opening, tries - 1);
  }
}

/** Coins that the wallet's own keys alone spend: P2WPKH and P2TR. */
async function walletCoins(node: Node): Promise<string> {
  const outputs = list(await node.cli("listfunds"), "outputs");
  const coins = outputs.filter((output) =>
    text(output, "status") === "confirmed" &&
    find(output, "reserved") === false &&
    /^(?:0014|5120)/.test(text(output, "scriptpubkey"))
  );
  return JSON.stringify(
    coins.map((coin) => `${text(coin, "txid")}:${number(coin, "output")}`),
  );
}

async function openAll(world: World): Promise<string> {
  const { alice, bob } = world;
  await open(world, { name: "cheated", from: bob, to: alice });
  await pay(world, bob, alice, "cheated", 100_000_000);
  // Names a peer: it has to be the only channel.
  cheat = text(await bob.ask("dev-sign-last-tx", { id: alice.id }), "tx");
  await open(world, { name: "a", from: alice, to: bob });
  await open(world, { name: "b", from: bob, to: alice });
  // BOLT 9: static remote keys and no anchors.
  const more = { channel_type: "[12]" };
  await open(world, { name: "plain", from: alice, to: bob, more });
  await open(world, { name: "c", from: alice, to: bob });
  for (const name of ["together", "alone", "dropped"]) {
    await open(world, { name, from: alice, to: bob });
  }
  return Object.keys(opened).join(", ");
}

// ------------------------------------------------------------------- payments

let labels = 0;

interface Hop {
  readonly to: Node;
  readonly channel: string;
}

/** Pays through the channels that are named, from one node; does not wait. */
async function send(
  from: Node,
  hops: readonly Hop[],
  msat: number,
  delay = LONG,
): Promise<string> {
  const payee = hops.at(-1)?.to ?? from;
  const bolt11 = await payee.invoice(`adopt ${++labels}`, msat);
  await from.ask("preapproveinvoice", { bolt11 });
  const decoded = await payee.ask("decode", { string: bolt11 });
  const route = await Promise.all(hops.map(async ({ to, channel }, i) => {
    const rest = hops.length - i - 1;
    const scid = text(await channelOf(to, channel), "short_channel_id");
    return {
      id: to.id,
      channel: scid,
      delay: delay + 6 * rest,
      amount_msat: msat + rest * 2000,
      style: "tlv",
    };
  }));
  const hash = text(decoded, "payment_hash");
  await from.ask("sendpay", {
    route: JSON.stringify(route),
    payment_hash: hash,
    payment_secret: text(decoded, "payment_secret"),
    amount_msat: msat,
  });
  return hash;
}

async function paid(from: Node, hash: string): Promise<void> {
  await from.ask("waitsendpay", { payment_hash: hash, timeout: 40 });
}

/** Waits until no HTLC is left on either side of a channel. */
async function quiet(world: World, name: string): Promise<void> {
  for (const node of both(world)) {
    await until(`no HTLC in ${name} of ${node.name}`, async () => {
      const channel = await channelOf(node, name);
      return list(channel, "htlcs").length === 0 ? true : undefined;
    });
  }
}

async function payThrough(
  world: World,
  name: string,
  msat: number,
): Promise<void> {
  const [alice, bob] = both(world);
  await usable(world, name);
  for (const [from, to] of [[alice, bob], [bob, alice]] as const) {
    await paid(from, await send(from, [{ to, channel: name }], msat));
    await quiet(world, name);
  }
}

async function splice(world: World, name: string): Promise<string> {
  const channel = opened[name] ?? "";
  const done = await world.alice.ask("splicein", { channel, amount: SPLICE });
  await world.bitcoin.pooled(text(done, "txid"));
  return text(done, "txid");
}

async function pay(
  world: World,
  from: Node,
  to: Node,
  channel: string,
  msat: number,
): Promise<void> {
  await paid(from, await send(from, [{ to, channel }], msat));
  await quiet(world, channel);
}

async function liveALittle(world: World): Promise<string> {
  const { alice, bob } = world;
  await pay(world, bob, alice, "cheated", 300_000_000);
  for (const name of ["alone", "dropped", "together"]) {
    await pay(world, alice, bob, name, 200_000_000);
  }
  await pay(world, alice, bob, "a", 300_000_000);
  await pay(world, bob, alice, "b", 250_000_000);
  await pay(world, alice, bob, "plain", 200_000_000);
  await pay(world, alice, bob, "c", 200_000_000);
  await paid(
    bob,
    await send(bob, [
      { to: alice, channel: "b" },
      { to: bob, channel: "a" },
    ], 5_000_000),
  );
  await splice(world, "a");
  await mine(world, DEPTH);
  await usable(world, "a");
  for (let i = 0; i < 5; i++) await payThrough(world, "a", 1_000_000);
  return "5 and a round of 5, one splice";
}

/** Blocks until a payment comes back; the least that an invoice allows. */
const SHORT = 10;
const LONG = 150;
const dropped: string[] = [];
const held: { readonly from: Node; readonly hash: string }[] = [];

const IRREVOCABLE = /(SENT|RCVD)_ADD_ACK_REVOCATION/;

/** One is signed and in no block yet; of the other we wait for our output. */
async function halfClose(world: World): Promise<string> {
  await closeWithout(world, world.alice, "alone");
  await mine(world, 2);
  await world.alice.ask("close", { id: opened["together"] ?? "" });
  await world.bitcoin.pooled();
  delete opened["together"];
  return "alone, together";
}

/** Closes a channel while the other node is away. */
async function closeWithout(
  world: World,
  closer: Node,
  name: string,
): Promise<void> {
  const other = closer === world.alice ? world.bob : world.alice;
  await other.stopLightningd();
  await fail(world, closer, name);
  await other.startLightningd();
  await world.alice.connect(world.bob);
}

/** Closes a channel that cannot be closed together. */
async function fail(world: World, node: Node, name: string): Promise<void> {
  const closed = await node.ask("close", {
    id: opened[name] ?? "",
    unilateraltimeout: 1,
  });
  if (text(closed, "type") !== "unilateral") throw new Error("Not unilateral");
  await world.bitcoin.pooled();
  delete opened[name];
}

async function htlcsOf(node: Node): Promise<readonly Json[]> {
  return (await node.channels()).flatMap((each) => [...list(each, "htlcs")]);
}

async function leaveUnderWay(world: World): Promise<string> {
  const { alice, bob } = world;
  await splice(world, "c");
  const young = await fundChannel({ name: "young", from: alice, to: bob });
  opened["young"] = text(young, "channel_id");
  await world.bitcoin.pooled(text(young, "txid"));
  const start = async (from: Node, hops: readonly Hop[], msat: number) => {
    held.push({ from, hash: await send(from, hops, msat) });
  };
  await bob.cli("hold", "on");
  for (const name of ["a", "plain"]) {
    await start(alice, [{ to: bob, channel: name }], 20_000_000);
  }
  // Dust: it has no output, and has to be known all the same.
  await start(alice, [{ to: bob, channel: "a" }], 100_000);
  // Forwarded by alice: in by one of her channels, out by another.
  const hops = [{ to: alice, channel: "b" }, { to: bob, channel: "a" }];
  await start(bob, hops, 7_000_000);
  // Both parts of it, and the three before; alice chooses the way out.
  await until("the forward to be with bob", async () => {
    const htlcs = await htlcsOf(bob);
    return htlcs.length === 5 ? true : undefined;
  });
  await alice.cli("hold", "on");
  for (const name of ["a", "plain"]) {
    await start(bob, [{ to: alice, channel: name }], 30_000_000);
  }
  dropped.push(
    await send(alice, [{ to: bob, channel: "dropped" }], 40_000_000, SHORT),
    await send(bob, [{ to: alice, channel: "dropped" }], 50_000_000, SHORT),
  );
  return `${held.length + dropped.length} payments under way`;
}

// --------------------------------------------------------------------- adopt

async function adoptAlice({ alice }: World): Promise<string> {
  await until("payments to stand still", async () => {
    const htlcs = await htlcsOf(alice);
    const isStill = htlcs.every((htlc) =>
      IRREVOCABLE.test(text(htlc, "state"))
    );
    return htlcs.length === 9 && isStill ? true : undefined;
  });
  await alice.stopLightningd();
  return await adopt(alice);
}

async function adopt(node: Node): Promise<string> {
  await node.takeSecret();
  const lines = await node.adopt();
  const leftOut = lines.filter((line) => /^left out: /.test(line));
  if (leftOut.length > 0) throw new Error(leftOut.join("; "));
  return lines.at(-1) ?? "";
}

async function startAlice(world: World): Promise<string> {
  return await startAdopted(world, world.alice);
}

/** What has no block yet when alice is stopped. */
const UNBURIED: readonly string[] = ["c", "young"];

async function startAdopted(world: World, node: Node): Promise<string> {
  node.startSoftkey();
  await node.startLightningd(await withHold(node));
  await world.alice.connect(world.bob);
  for (const name of Object.keys(opened)) {
    if (!UNBURIED.includes(name)) await usable(world, name);
  }
  return `reconnected ${Object.keys(opened).join(", ")}`;
}

/** Our last commitment and its HTLCs, which are older than the card. */
async function dropHeld(world: World): Promise<string> {
  const { alice, bob } = world;
  const [out = "", incoming = ""] = dropped;
  await fail(world, alice, "dropped");
  await mine(world, 1);
  const { lines } = alice.lightningd;
  // Alice has the preimage: she claims bob's. Bob lets hers run out.
  await alice.cli("hold", "off");
  await alice.cli("hold", "on");
  const isOver = () =>
    [/THEIR_HTLC.* by our proposal/, /OUR_HTLC.* by our proposal/]
      .every((pattern) => lines.some((line) => pattern.test(line)));
  for (let blocks = 0; !isOver(); blocks++) {
    if (blocks === 3 * SHORT) throw new Error("HTLCs are not resolved");
    await mine(world, 1);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  await paid(bob, incoming);
  return await until("alice's payment to come back", async () => {
    await mine(world, 1);
    const status = await statusOf(alice, out);
    return status === "failed" ? "one claimed, one came back" : undefined;
  });
}

async function letGo(world: World): Promise<string> {
  for (const node of both(world)) await node.cli("hold", "off");
  for (const { from, hash } of held) await paid(from, hash);
  // There is nothing to pay with on bob's side of it.
  await usable(world, "young");
  await pay(world, world.alice, world.bob, "young", 300_000_000);
  return `${held.splice(0).length} payments done`;
}

async function payThroughAll(world: World): Promise<string> {
  await mine(world, DEPTH);
  const names = Object.keys(opened);
  for (const name of names) await payThrough(world, name, 2_000_000);
  return names.join(", ");
}

async function growOn(world: World): Promise<string> {
  const { alice, bob } = world;
  await open(world, { name: "later", from: bob, to: alice });
  await paid(
    bob,
    await send(bob, [{ to: alice, channel: "later" }], 300_000_000),
  );
  await quiet(world, "later");
  for (const name of ["b", "a"]) {
    await splice(world, name);
    await mine(world, DEPTH);
    await payThrough(world, name, 1_000_000);
  }
  return "spliced two";
}

async function restartAlice(world: World): Promise<string> {
  const { alice } = world;
  await alice.stopLightningd();
  await alice.startLightningd(await withHold(alice));
  await alice.connect(world.bob);
  await payThrough(world, "a", 1_000_000);
  return "paid";
}

const CROWD = 6;

async function adoptBob(world: World): Promise<string> {
  const { alice, bob } = world;
  for (const name of Object.keys(opened)) await usable(world, name);
  const payments = Array.from({ length: CROWD }, async (_, i) => {
    const name = ["a", "b", "later"][i % 3] ?? "a";
    const [from, to] = i < CROWD / 2 ? [alice, bob] : [bob, alice];
    return { from, hash: await send(from, [{ to, channel: name }], 3_000_000) };
  });
  const sent = await Promise.all(payments);
  await bob.killLightningd();
  const said = await adopt(bob);
  await startAdopted(world, bob);
  for (const name of Object.keys(opened)) await quiet(world, name);
  // What bob had not committed to when he was killed is not under way.
  const states = await Promise.all(
    sent.map(({ from, hash }) => statusOf(from, hash)),
  );
  return `${said}; payments: ${states.join(", ")}`;
}

async function statusOf(from: Node, hash: string): Promise<string> {
  const found = await from.ask("listsendpays", { payment_hash: hash });
  return list(found, "payments").map((each) => text(each, "status")).join("/");
}

// --------------------------------------------------------------------- closes

async function closeTogether(world: World): Promise<string> {
  return await closeMutually(world, "plain");
}

async function closeMutually(world: World, name: string): Promise<string> {
  const closed = await world.alice.ask("close", { id: opened[name] ?? "" });
  if (text(closed, "type") !== "mutual") throw new Error("Not mutual");
  await world.bitcoin.pooled();
  await mine(world, 1);
  delete opened[name];
  return name;
}

async function closeAlone(world: World): Promise<string> {
  await closeWithout(world, world.alice, "b");
  await closeWithout(world, world.bob, "c");
  const before = await sums(world);
  // One block at a time: what is swept waits for blocks, and for a sweep.
  for (let i = 0; i < 2 * SHORT; i++) await mine(world, 1);
  const gains = await until("both to have something of both", async () => {
    await mine(world, 1);
    const after = await sums(world);
    const found = after.map((sum, i) => sum - (before[i] ?? 0));
    return found.every((gain) => gain > 0) ? found : undefined;
  });
  return `gains ${gains.join(" and ")} sat`;
}

const sums = (world: World) =>
  Promise.all(both(world).map((node) => node.confirmed()));

/** The output of an old commitment of bob's goes to alice. */
async function punish(world: World): Promise<string> {
  const { alice, bob, bitcoin } = world;
  await bob.stopLightningd();
  const before = await alice.confirmed();
  const from = alice.lightningd.lines.length;
  await bitcoin.broadcast(cheat);
  delete opened["cheated"];
  await mineAlone(world, 1);
  await alice.lightningd.line(/Propos.*OUR_PENALTY_TX|OUR_PENALTY_TX/, from);
  await bitcoin.pooled();
  await mineAlone(world, DEPTH);
  const gain = await until("alice's gain", async () => {
    const found = await alice.confirmed() - before;
    return found > CHANNEL / 2 ? found : undefined;
  });
  await bob.startLightningd();
  await alice.connect(bob);
  return `alice has ${gain} sat of it`;
}

/** Blocks while bob's node is away. */
async function mineAlone(
  { alice, bitcoin }: World,
  count: number,
): Promise<void> {
  await alice.reach(await bitcoin.mine(count));
}

async function finish(world: World): Promise<string> {
  for (const name of Object.keys(opened)) {
    await usable(world, name);
    await closeMutually(world, name);
  }
  // lightningd forgets them when it pleases: it reads the chain again at each
  // start, and may wait for what it swept long ago.
  await until("no channel to be open", async () => {
    const left = await Promise.all(both(world).map((node) => node.channels()));
    const isClosed = left.flat()
      .every((channel) => find(channel, "state") === "ONCHAIN");
    return isClosed ? true : undefined;
  });
  for (const node of both(world)) {
    await node.stopLightningd();
    await node.stopSoftkeys();
  }
  return "nothing is open";
}

/**
 * What a softkey or a broker says of a request that was not signed. lightningd
 * calls more than that broken when it is killed, and when a peer cheats.
 */
const REFUSALS =
  /policy failure|Cannot sign|consent needed|\*\*BROKEN\*\* hsmd/;

function readLogs(world: World): Promise<string> {
  const lines = processesOf(world).flatMap(({ lines }) => lines);
  const bad = lines.filter((line) => REFUSALS.test(line));
  if (bad.length > 0) throw new Error(bad.slice(0, 20).join("\n"));
  return Promise.resolve(`${lines.length} lines, nothing refused`);
}
