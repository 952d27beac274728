/**
 * The chain as a signer takes it: blocks that a test mines and shows, what they
 * do to a channel, what is refused, and that a restart changes nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import { decodeHeader, encodeHeader } from "../../src/bitcoin/header.ts";
import { p2wsh } from "../../src/bitcoin/script.ts";
import { type Tx, txidOf } from "../../src/bitcoin/tx.ts";
import { outpointKey, proveBlock } from "../../src/bitcoin/txo_proof.ts";
import { standingAlarms } from "../../src/signer/alarms.ts";
import { watchedChannels } from "../../src/signer/chain_facts.ts";
import { encodeWrite } from "../../src/signer/memory.ts";
import { FORGET_DEPTH } from "../../src/signer/monitor.ts";
import { decode } from "../../src/wire/codec.ts";
import { NATIVE_CHAIN_MESSAGES as NATIVE } from "../../src/wire/chain_native.ts";
import { REPLIES } from "../../src/wire/hsmd.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import {
  CHAIN_MESSAGES as CHAIN,
  isHeartbeatOf,
  signedHeartbeat,
} from "../../src/wire/txoo.ts";
import testnet from "../fixtures/headers/testnet3.json" with { type: "json" };
import {
  chainStateOf,
  fed,
  oracleOf,
  outputOf,
  TestChain,
} from "../support/blocks.ts";
import { coinbaseTx, spendingTx } from "../support/chain.ts";
import {
  ANCHORS,
  type Asked,
  bitcoinTxOf,
  coinOf,
  htlcOf,
  inputOf,
  type NodeOptions,
  preapproval,
  sat,
  TestChannel,
  TestNode,
  withdrawal,
} from "../support/channel.ts";
import { tagOf } from "../support/strict.ts";

const ACTIVE = "policy-commitment-spends-active-utxo";
const REQUIRED = { chain: "required" };

/** A node that wants its chain, with a channel whose funding can be mined. */
function scene(
  limits: Readonly<Record<string, string>> = {},
  options: NodeOptions = {},
) {
  const node = new TestNode({
    ...options,
    limits: { ...REQUIRED, ...limits },
  });
  const chain = new TestChain(node);
  const channel = new TestChannel(node, { type: ANCHORS, push: 300_000_000n });
  const coin = outputOf(coinbaseTx(77));
  const funding = spendingTx([coin], 1);
  channel.funding = {
    outpoint: outputOf(funding, 1),
    value: channel.funding.value,
  };
  return { node, chain, channel, funding, coin };
}

/** The same, with both first commitments. */
function begun(limits: Readonly<Record<string, string>> = {}) {
  const all = scene(limits);
  const { node, channel } = all;
  channel.begin();
  node.do(channel.signTheirs(0n));
  node.do(channel.validate(0n));
  return all;
}

/** The same, in use. */
function opened(limits: Readonly<Record<string, string>> = {}) {
  const all = begun(limits);
  const { node, chain, channel, funding } = all;
  chain.grow([funding]);
  node.do(channel.lock());
  channel.move();
  node.notes = [];
  return all;
}

function isBuried(channel: TestChannel): boolean {
  const { txid: fundingTxid, index: fundingTxout } = channel.funding.outpoint;
  const asked = channel.ask("check_outpoint", { fundingTxid, fundingTxout });
  const { reply } = channel.node.try(asked);
  return decodeMessage(REPLIES.check_outpoint_reply, reply).isBuried;
}

function refusedBy(node: TestNode, asked: Asked): string | null {
  const { refusal } = node.try(asked);
  return refusal === null ? null : tagOf(refusal) ?? refusal;
}

/** Their next commitment, as it stands. */
const nextOf = (channel: TestChannel) =>
  channel.signTheirs(channel.number + 1n);

/** All of a node's memory. */
function dump(node: TestNode): unknown {
  const channels = [...node.memory.channels()];
  const chain = node.memory.chain();
  return {
    chain: chain && { ...chain, record: chain.record },
    channels,
    monitors: channels.map((id) => node.memory.monitor(id)),
    node: node.memory.node(),
  };
}

/** A restart in which nothing is lost and nothing is new. */
function restart(node: TestNode): void {
  const before = dump(node);
  node.restart();
  assert.deepEqual(dump(node), before);
}

// --------------------------------------------------------------------- funding

Deno.test("check_outpoint is true at the depth that is wanted, not before", () => {
  const { chain, channel, funding } = begun({ min_funding_depth: "3" });
  assert.equal(isBuried(channel), false);
  chain.grow([], 5);
  assert.equal(isBuried(channel), false);
  chain.grow([funding]);
  assert.equal(isBuried(channel), false);
  chain.grow();
  assert.equal(isBuried(channel), false);
  chain.grow();
  assert.equal(isBuried(channel), true);
});

Deno.test("An output that no channel has is not buried", () => {
  const { chain, channel, funding } = begun();
  chain.grow([funding]);
  channel.funding = { ...channel.funding, outpoint: outputOf(funding, 0) };
  assert.equal(isBuried(channel), false);
});

Deno.test("An output is locked when it is deep enough", () => {
  const { node, chain, channel, funding } = begun({ min_funding_depth: "2" });
  assert.equal(refusedBy(node, channel.lock()), ACTIVE);
  chain.grow([funding]);
  assert.equal(refusedBy(node, channel.lock()), ACTIVE);
  chain.grow();
  node.do(channel.lock());
});

Deno.test("Without a chain the refusal says what is missing", () => {
  const { node, channel } = begun();
  const { refusal } = node.try(nextOf(channel));
  assert.match(refusal ?? "", /no chain has come to this device yet/);
  assert.match(refusal ?? "", /bitcoind_url/);
  assert.match(refusal ?? "", /softkey policy set chain believed/);
  assert.match(refusal ?? "", /temporary/);
});

Deno.test("An owner who believes the node needs no chain", () => {
  const { node, channel } = begun({ chain: "believed" });
  assert.equal(isBuried(channel), true);
  node.do(channel.lock());
  channel.move();
});

Deno.test("An owner may allow channels without confirmation", () => {
  const { node, channel } = begun({ zero_conf: "allow" });
  assert.equal(isBuried(channel), true);
  node.do(channel.lock());
  channel.move();
});

Deno.test("A reorg that takes a funding back stops its channel until it is there again", () => {
  const { node, chain, channel, funding } = opened();
  chain.grow([], 29);
  assert.equal(refusedBy(node, nextOf(channel)), null);
  chain.shrink(30);
  assert.equal(refusedBy(node, nextOf(channel)), ACTIVE);
  assert.equal(isBuried(channel), false);
  chain.grow([], 40);
  assert.equal(refusedBy(node, nextOf(channel)), ACTIVE);
  chain.grow([funding]);
  assert.equal(refusedBy(node, nextOf(channel)), null);
  assert.equal(isBuried(channel), true);
  assert.match(node.notes.join("\n"), /taken back by a reorganisation/);
});

Deno.test("A reorg above a funding stops nothing that is in use", () => {
  const { node, chain, channel } = opened();
  chain.grow([], 3);
  chain.shrink(2);
  assert.equal(refusedBy(node, nextOf(channel)), null);
  assert.equal(isBuried(channel), true);
});

Deno.test("A new output is not buried while a reorg is behind", () => {
  const { chain, channel, funding } = begun();
  chain.grow([funding]);
  chain.grow([], 3);
  assert.equal(isBuried(channel), true);
  chain.shrink(2);
  assert.equal(isBuried(channel), false);
  chain.grow([], 3);
  assert.equal(isBuried(channel), true);
});

Deno.test("Coins of a funding transaction that go elsewhere are an alarm", () => {
  const { node, chain, channel } = scene();
  const mine = coinOf(node, 1_001_000n);
  const script = p2wsh(channel.fundingScript);
  const whole: Tx = {
    version: 2,
    inputs: [inputOf(mine.outpoint)],
    outputs: [{ amount: sat(channel.funding.value), script }],
    locktime: 0,
  };
  channel.funding = { ...channel.funding, outpoint: outputOf(whole) };
  channel.begin();
  node.do(channel.signTheirs(0n));
  node.do(channel.validate(0n));
  const paths = [null];
  node.change({ limits: { ...REQUIRED }, filter: ["policy-onchain-*:warn"] });
  node.do(withdrawal(node, [mine], whole, paths));
  chain.grow([spendingTx([mine.outpoint], 9)]);
  assert.match(node.notes.join("\n"), /alarm: the coins of its funding/);
  restart(node);
  const told = node.notes.length;
  chain.grow([], 3);
  assert.equal(node.notes.length, told, "told once");
  chain.shrink(4);
  assert.match(node.notes.join("\n"), /alarm: over: .* double spend back/);
});

// --------------------------------------------------------------------- closing

Deno.test("A mutual close that is seen ends the channel, and a reorg undoes it", () => {
  const { node, chain, channel } = opened();
  const close = channel.closing();
  node.do(channel.signClose(close));
  chain.grow([close]);
  assert.equal(refusedBy(node, nextOf(channel)), ACTIVE);
  assert.match(node.notes.join("\n"), /a close that both sides signed/);
  restart(node);
  chain.shrink();
  assert.equal(refusedBy(node, nextOf(channel)), null);
});

Deno.test("Our commitment in the chain is known, and so are its outputs", () => {
  const { node, chain, channel } = opened();
  const { tx } = channel.build(true, 1n);
  chain.grow([tx]);
  assert.match(node.notes.join("\n"), /our commitment 1/);
  const open = node.memory.monitor(channel.id)?.events.at(-1);
  assert.ok(open?.kind === "closed");
  assert.deepEqual(open.outputs.map(({ role }) => role.kind), ["ours"]);
  assert.equal(refusedBy(node, nextOf(channel)), ACTIVE);
});

Deno.test("Their commitment in the chain is known", () => {
  const { node, chain, channel } = opened();
  chain.grow([channel.build(false, 1n).tx]);
  assert.match(node.notes.join("\n"), /the peer's commitment 1/);
  assert.doesNotMatch(node.notes.join("\n"), /alarm/);
});

Deno.test("What takes the funding output and nobody knows is an alarm", () => {
  const { node, chain, channel } = opened();
  chain.grow([spendingTx([channel.funding.outpoint], 5)]);
  assert.match(node.notes.join("\n"), /alarm: its funding output was spent by/);
  restart(node);
});

/** A penalty for the peer's balance on its commitment 0. */
function penaltyOf(channel: TestChannel, isForTower = false): Asked {
  const { tx, commitment } = channel.build(false, 0n);
  const index = commitment.outputs
    .findIndex(({ kind }) => kind === "to_broadcaster");
  const wscript = commitment.outputs[index]?.witnessScript;
  const amount = tx.outputs[index]?.amount;
  if (!wscript || amount === undefined) assert.fail("there is an output");
  const sweep: Tx = {
    version: 2,
    inputs: [inputOf({ txid: txidOf(tx), index }, 0)],
    outputs: [{
      amount: sat(amount - 1000n),
      script: channel.node.walletScript(2),
    }],
    locktime: 0,
  };
  const spent = { amount: sat(amount), script: p2wsh(wscript) };
  const request = {
    tx: bitcoinTxOf(sweep, [spent]),
    wscript,
    revocationSecret: channel.theirSecret(0n),
  };
  if (isForTower) return channel.ask("sign_penalty_to_us", request);
  return channel.node.ask("sign_any_penalty_to_us", {
    ...request,
    input: 0,
    peerid: channel.id.peerId,
    channelDbid: channel.id.dbid,
  });
}

Deno.test("A penalty that is asked for before the block comes is one", () => {
  const { node, chain, channel } = opened();
  node.do(penaltyOf(channel));
  restart(node);
  chain.grow([channel.build(false, 0n).tx]);
  assert.doesNotMatch(node.notes.join("\n"), /alarm/);
});

Deno.test("What was signed for watchtowers before is no penalty", () => {
  const { node, chain, channel } = opened();
  node.do(penaltyOf(channel, true));
  chain.grow([channel.build(false, 0n).tx]);
  assert.match(node.notes.join("\n"), /alarm: the peer's revoked/);
  node.do(penaltyOf(channel, true));
  assert.match(node.notes.join("\n"), /alarm: over: a penalty was asked/);
});

Deno.test("An opening that the node gave up may spend its coins elsewhere", () => {
  const { node, chain, channel } = begun();
  const { peerId: id, dbid } = channel.id;
  const record = node.memory.monitor(channel.id);
  assert.ok(record !== null);
  const coin = outputOf(coinbaseTx(77));
  const inputs = [{
    funding: outpointKey(channel.funding.outpoint),
    inputs: [coin],
  }];
  node.memory.apply([
    { kind: "monitor", id: channel.id, record: { ...record, inputs } },
  ]);
  node.do(node.ask("forget_channel", { id, dbid }));
  chain.grow([spendingTx([coin], 9)]);
  assert.doesNotMatch(node.notes.join("\n"), /alarm/);
  assert.match(node.notes.join("\n"), /coins of a funding transaction were/);
  chain.grow([], FORGET_DEPTH - 1);
  assert.equal(node.memory.channel(channel.id), null);
});

Deno.test("A revoked commitment is one alarm, until the penalty is asked for", () => {
  const { node, chain, channel } = opened();
  chain.grow([channel.build(false, 0n).tx]);
  const alarms = () => node.notes.filter((text) => text.startsWith("alarm"));
  assert.equal(alarms().length, 1);
  assert.match(alarms()[0] ?? "", /revoked commitment 0 is in the chain/);
  assert.match(alarms()[0] ?? "", /no penalty was asked for 1 of its outputs/);
  chain.grow([], 5);
  restart(node);
  chain.grow([], 5);
  assert.equal(alarms().length, 1, "told once");
  node.do(penaltyOf(channel));
  assert.equal(alarms().length, 2);
  assert.match(alarms()[1] ?? "", /alarm: over: a penalty was asked for/);
  restart(node);
  chain.grow([], 5);
  assert.equal(alarms().length, 2);
});

Deno.test("An HTLC near its deadline is one alarm, until it is gone", () => {
  const { node, chain, channel } = opened({ htlc_alarm_blocks: "5" });
  const htlc = htlcOf("in", 40_000n, { isOurs: false, cltvExpiry: 20 });
  const content = channel.content;
  channel.move(channel.adding(htlc));
  chain.grow([], 13);
  assert.deepEqual(node.notes, []);
  chain.grow();
  assert.match(node.notes.join(), /alarm: the HTLC .* was offered to us/);
  assert.match(node.notes.join(), /expires at 20 \(in 5 blocks\)/);
  restart(node);
  chain.grow([], 2);
  assert.equal(node.notes.length, 1);
  channel.move({ ...content });
  chain.grow();
  assert.match(node.notes[1] ?? "", /alarm: over: the HTLC near its deadline/);
});

Deno.test("An HTLC that we offered is an alarm when it expired and stays", () => {
  const { node, chain, channel } = opened({ htlc_alarm_blocks: "5" });
  node.do(preapproval(node, { name: "out", amount: 50_000_000n }));
  channel.move(
    channel.adding(htlcOf("out", 50_000n, { cltvExpiry: 10 })),
  );
  chain.grow([], 13);
  assert.deepEqual(node.notes, []);
  chain.grow();
  assert.match(node.notes.join(), /that we offered, .* \(5 blocks ago\)/);
  const [watched] = watchedChannels(node.state);
  assert.ok(watched !== undefined);
  assert.equal(standingAlarms(node.state, watched, 15).length, 1);
});

Deno.test("A channel is forgotten when the node is done and its end is buried", () => {
  const { node, chain, channel } = opened();
  const { peerId: id, dbid } = channel.id;
  const close = channel.closing();
  node.do(channel.signClose(close));
  chain.grow([close]);
  chain.grow([], 200);
  assert.notEqual(node.memory.channel(channel.id), null, "not asked yet");
  chain.shrink(60);
  chain.shrink(40);
  chain.grow([], 80);
  node.do(channel.node.ask("forget_channel", { id, dbid }));
  chain.grow();
  assert.equal(node.memory.channel(channel.id), null);
  assert.equal(node.memory.monitor(channel.id), null);
  restart(node);
  assert.equal(
    refusedBy(node, channel.newChannel()),
    "policy-channel-original-channel-id-reuse",
  );
  const next = new TestChannel(node, { dbid: dbid + 1n });
  node.do(next.newChannel());
});

Deno.test("A forgotten channel whose end is not buried is kept", () => {
  const { node, chain, channel } = opened();
  const { peerId: id, dbid } = channel.id;
  const close = channel.closing();
  node.do(channel.signClose(close));
  node.do(channel.node.ask("forget_channel", { id, dbid }));
  chain.grow([close]);
  chain.grow([], FORGET_DEPTH - 2);
  assert.notEqual(node.memory.channel(channel.id), null);
  chain.grow();
  assert.equal(node.memory.channel(channel.id), null);
  assert.match(node.notes.join("\n"), /its end is buried: it is forgotten/);
});

// ------------------------------------------------------------------- being fed

Deno.test("A refused block changes nothing, on the card or beside it", () => {
  const { node, chain, funding } = opened();
  chain.grow([], 3);
  const before = dump(node);
  const state = chainStateOf(node);
  const card = new Map(node.card);
  const block = chain.next([spendingTx([outputOf(funding, 1)], 4)]);
  const badHeader = {
    ...block,
    header: { ...block.header, bits: 0x207ffffe },
  };
  const previous = chain.point.header.previous;
  const orphan = { ...block, header: { ...block.header, previous } };
  const evidence = proveBlock(block, {
    txids: new Set(),
    outpoints: new Set(),
  });
  const wrong: readonly (readonly Asked[])[] = [
    chain.messages(badHeader),
    chain.messages(orphan),
    chain.messages({ ...block, txs: block.txs.slice(0, 1) }),
    chain.messages(block, evidence ?? { kind: "external" }),
    [fed(chain.addMessage(block, { kind: "external" }))],
    [fed(encodeMessage(CHAIN.add_block, {
      header: encodeHeader(block.header),
      proof: null,
    }))],
    [fed(encodeMessage(CHAIN.add_block, {
      header: encodeHeader(block.header).subarray(1),
      proof: Uint8Array.of(1, 0, 0, 0),
    }))],
  ];
  for (const messages of wrong) {
    const refusals = messages.map((asked) => node.try(asked).refusal);
    assert.ok(refusals.some((text) => text !== null), refusals.join());
    assert.deepEqual(dump(node), before);
    assert.deepEqual(chainStateOf(node), state);
    assert.deepEqual(node.card, card);
  }
  const [piece, last] = chain.messages(block);
  assert.ok(piece !== undefined && last !== undefined);
  node.do(piece);
  node.do(last);
  chain.note(block);
  assert.equal(chainStateOf(node).height, chain.height);
});

Deno.test("A watch that came after a block's pieces wants them again", () => {
  const { node, chain, channel } = scene();
  chain.grow([], 2);
  const block = chain.next();
  const [piece, last] = chain.messages(block);
  assert.ok(piece !== undefined && last !== undefined);
  node.do(piece);
  channel.begin();
  const { refusal } = node.try(last);
  assert.match(refusal ?? "", /watches that are newer/);
  node.do(piece);
  node.do(last);
});

Deno.test("A piece without the first, and one out of order, are refused", () => {
  const { node, chain } = scene();
  const block = chain.next();
  const [piece] = chain.messages(block);
  assert.ok(piece !== undefined);
  const { hash, content } = decodeMessage(CHAIN.block_chunk, piece.message);
  const at = (offset: number) =>
    fed(encodeMessage(CHAIN.block_chunk, { hash, offset, content }));
  assert.match(node.try(at(8)).refusal ?? "", /want its first/);
  node.do(piece);
  assert.match(node.try(at(8)).refusal ?? "", /policy-chain-validated/);
});

Deno.test("The same state comes from the card after every kind of block", () => {
  const { node, chain, channel, funding } = begun();
  restart(node);
  chain.grow([], 2);
  restart(node);
  chain.grow([funding]);
  restart(node);
  node.do(channel.lock());
  channel.move();
  chain.grow([channel.build(false, 0n).tx]);
  restart(node);
  chain.shrink();
  restart(node);
  chain.grow([channel.build(true, 1n).tx], 3);
  restart(node);
  chain.shrink(2);
  chain.grow([], 4);
  restart(node);
});

Deno.test("A piece that was taken before a restart is asked for again", () => {
  const { node, chain } = scene();
  chain.grow();
  const block = chain.next();
  const [piece, last] = chain.messages(block);
  assert.ok(piece !== undefined && last !== undefined);
  node.do(piece);
  restart(node);
  assert.match(node.try(last).refusal ?? "", /want one/);
  node.do(piece);
  node.do(last);
});

Deno.test("A reorg is as deep as the owner allows", () => {
  const { node, chain } = scene({ max_reorg: "6" });
  chain.grow([], 20);
  chain.shrink(6);
  const { refusal } = node.try(chain.removal());
  assert.match(refusal ?? "", /want a reorg of 6 blocks or less/);
  assert.equal(chainStateOf(node).previous, null);
});

Deno.test("Memory and card do not grow over 5,000 blocks", () => {
  const { node, chain, channel } = opened();
  const size = () => {
    const values = [...node.card.values()];
    return values.reduce((sum, { value }) => sum + value.length, 0);
  };
  const headers = (count: number) => {
    const list: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const block = chain.next();
      chain.note(block);
      list.push(encodeHeader(block.header));
    }
    return fed(encodeMessage(NATIVE.chain_headers, { headers: list }));
  };
  chain.grow([], 1100);
  const [rows, bytes] = [node.card.size, size()];
  chain.grow([], 1900);
  node.do(headers(1000));
  node.do(headers(1000));
  assert.equal(node.card.size, rows);
  assert.ok(size() <= bytes + 64, `${size()} bytes, want ${bytes}`);
  assert.equal(node.memory.chain()?.recent.length, 101);
  assert.equal(chainStateOf(node).height, chain.height);
  assert.equal(refusedBy(node, nextOf(channel)), null);
  restart(node);
});

Deno.test("A block writes less than a kilobyte", () => {
  const { node, chain } = opened();
  chain.grow();
  const before = new Map(node.card);
  chain.grow();
  const written = [...node.card].filter(([key, row]) =>
    before.get(key) !== row
  );
  const bytes = written.reduce((sum, [, { value }]) => sum + value.length, 0);
  assert.deepEqual(written.map(([key]) => key.slice(0, 9)).sort(), [
    "chain/blo",
    "chain/tip",
  ]);
  assert.ok(bytes < 1000, `${bytes} bytes`);
});

// ------------------------------------------------------------------- beginning

const startMessage = (
  height: number,
  header: Uint8Array,
  period: Uint8Array | null = null,
) =>
  fed(encodeMessage(NATIVE.chain_start, {
    height,
    header,
    period,
    earlierTimes: [],
  }));

Deno.test("A fresh signer starts at the block that is built in", () => {
  const node = new TestNode({ limits: REQUIRED });
  const { isStarted, height, isWatching, wantsWholeBlocks, maxReorg } =
    chainStateOf(node);
  assert.deepEqual(
    { isStarted, height, isWatching, wantsWholeBlocks, maxReorg },
    {
      isStarted: true,
      height: 0,
      isWatching: false,
      wantsWholeBlocks: true,
      maxReorg: 100,
    },
  );
  const main = new TestNode({ network: "bitcoin", limits: REQUIRED });
  assert.equal(chainStateOf(main).height, 866_880);
});

Deno.test("A signer with channels in use takes a first block, and says so", () => {
  const node = new TestNode();
  const channel = new TestChannel(node).open();
  channel.move();
  node.change({ limits: REQUIRED });
  assert.equal(chainStateOf(node).isStarted, false);
  assert.equal(refusedBy(node, nextOf(channel)), ACTIVE);
  const chain = new TestChain(node);
  for (let i = 0; i < 4; i++) chain.note(chain.next());
  const { header } = chain.point;
  node.do(startMessage(4, encodeHeader(header), genesis()));
  assert.match(node.notes.join("\n"), /begins at block 4, as the node says/);
  assert.match(node.notes.join("\n"), /taken as confirmed, as the node says/);
  assert.equal(refusedBy(node, nextOf(channel)), null);
  assert.equal(isBuried(channel), true);
  restart(node);
  assert.equal(chainStateOf(node).height, 4);
  const again = node.try(startMessage(4, encodeHeader(header), genesis()));
  assert.match(again.refusal ?? "", /there is one, at block 4/);
});

Deno.test("A seed's birthday is said, but for a chain that begins near the tip", () => {
  const node = new TestNode();
  const said = () => {
    const state = { ...node.state, birthday: 1_700_000_000n };
    const { reply } = node.try(
      fed(encodeMessage(NATIVE.chain_state, {})),
      state,
    );
    return decodeMessage(NATIVE.chain_state_reply, reply).birthday;
  };
  assert.equal(chainStateOf(node).birthday, 0n);
  assert.equal(said(), 1_700_000_000n);
  new TestChannel(node).open().move();
  assert.equal(chainStateOf(node).isStarted, false);
  assert.equal(said(), 0n);
});

Deno.test("An HTLC that expired before the chain came is no alarm", () => {
  const node = new TestNode();
  const channel = new TestChannel(node, { push: 300_000_000n }).open();
  const chain = new TestChain(node);
  for (let i = 0; i < 4; i++) chain.note(chain.next());
  const before = htlcOf("before", 40_000n, { isOurs: false, cltvExpiry: 4 });
  const after = htlcOf("after", 30_000n, { isOurs: false, cltvExpiry: 5 });
  channel.move(channel.adding(after, channel.adding(before)));
  node.change({ limits: REQUIRED });
  node.do(startMessage(4, encodeHeader(chain.point.header), genesis()));
  node.notes = [];
  const zeros = new Uint8Array(32);
  // What the signer knows of the filter headers so far.
  Object.defineProperty(chain, "filterHeader", { value: zeros });
  for (const asked of chain.messages(chain.next())) node.do(asked);
  assert.equal(node.notes.length, 1);
  assert.match(node.notes[0] ?? "", /30000000 msat/);
});

const genesis = () => encodeHeader(new TestChain(new TestNode()).point.header);

Deno.test("A first block without work, or too old, is refused", () => {
  const main = new TestNode({ network: "bitcoin", limits: REQUIRED });
  const easy = genesis();
  assert.match(
    main.try(startMessage(870_000, easy, easy)).refusal ?? "",
    /not enough work/,
  );
  const node = new TestNode({ limits: REQUIRED });
  assert.match(
    node.try(startMessage(5, genesis())).refusal ?? "",
    /no first block of its period/,
  );
});

Deno.test("Headers alone take a signer forward that has nothing to watch", () => {
  const node = new TestNode({ network: "testnet", limits: REQUIRED });
  const headers = testnet.headers.map(({ header }) =>
    Uint8Array.fromHex(header)
  );
  node.do(fed(encodeMessage(NATIVE.chain_headers, { headers })));
  assert.equal(chainStateOf(node).height, headers.length);
  restart(node);
});

Deno.test("Real headers with one bit flipped are refused", () => {
  const headers = testnet.headers.slice(0, 12).map(({ header }) =>
    Uint8Array.fromHex(header)
  );
  for (let bit = 0; bit < 640; bit += 7) {
    const node = new TestNode({ network: "testnet", limits: REQUIRED });
    const flipped = headers.map((header) => header.slice());
    const last = flipped[11];
    assert.ok(last !== undefined);
    last[bit >> 3] = (last[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    const { refusal } = node.try(
      fed(encodeMessage(NATIVE.chain_headers, { headers: flipped })),
    );
    assert.notEqual(refusal, null, `bit ${bit}`);
    assert.equal(node.memory.chain(), null);
  }
});

Deno.test("Headers alone end before a block that could concern a channel", () => {
  const { node, chain, channel } = scene();
  chain.grow();
  node.now = chain.point.header.time + 20 * 600;
  channel.begin();
  const headers: Uint8Array[] = [];
  for (let i = 0; i < 40; i++) {
    const block = chain.next();
    chain.note(block);
    headers.push(encodeHeader(block.header));
  }
  node.do(fed(encodeMessage(NATIVE.chain_headers, { headers })));
  const { height, isWatching } = chainStateOf(node);
  const header = headers[height - 2];
  assert.ok(header !== undefined && height > 1 && height < 12, `${height}`);
  assert.ok(decodeHeader(header).time <= node.now - 7200);
  assert.equal(isWatching, true);
});

Deno.test("A heartbeat is signed by the wallet's account", () => {
  const { node, chain } = scene();
  chain.grow([], 3);
  const reply = node.do(fed(encodeMessage(CHAIN.get_heartbeat, {})));
  const { heartbeat } = decodeMessage(CHAIN.get_heartbeat_reply, reply);
  const signed = decode(signedHeartbeat, heartbeat);
  assert.ok(isHeartbeatOf(signed, node.state.identity.bip32Base.subarray(-33)));
  assert.equal(signed.heartbeat.height, 3);
  assert.equal(signed.heartbeat.time, node.now);
  assert.deepEqual(signed.heartbeat.tipHash, chain.point.hash);
});

Deno.test("A chain that stands still is one alarm, where blocks have a pace", () => {
  const node = new TestNode({ network: "bitcoin", limits: REQUIRED });
  const beat = fed(encodeMessage(CHAIN.get_heartbeat, {}));
  node.now = 1_729_650_000 + 4 * 3600;
  node.do(beat);
  node.do(beat);
  assert.equal(node.notes.length, 1);
  assert.match(node.notes[0] ?? "", /alarm: the newest block, 866880, is/);
});

Deno.test("Watches name fundings, and in a reorg what they were spent by", () => {
  const { node, chain, channel, funding } = opened();
  const watch = (name: "forward" | "reverse") => {
    const [request, reply] = name === "forward"
      ? [CHAIN.forward_watches, CHAIN.forward_watches_reply]
      : [CHAIN.reverse_watches, CHAIN.reverse_watches_reply];
    return decodeMessage(
      reply,
      node.try(fed(encodeMessage(request, {}))).reply,
    );
  };
  assert.deepEqual(watch("forward").txids, [txidOf(funding)]);
  assert.deepEqual(watch("forward").outpoints, [channel.funding.outpoint]);
  const { tx } = channel.build(true, 1n);
  chain.grow([tx]);
  assert.equal(watch("forward").outpoints.length, 2);
  assert.equal(watch("reverse").outpoints.length, 2);
  const tip = decodeMessage(
    CHAIN.tip_info_reply,
    node.try(fed(encodeMessage(CHAIN.tip_info, {}))).reply,
  );
  assert.deepEqual(tip, { height: chain.height, hash: chain.point.hash });
});

/** A block with a filter, as those who have all of it make it. */
function filtered(chain: TestChain, block: ReturnType<TestChain["next"]>) {
  const nothing = { txids: new Set<string>(), outpoints: new Set<string>() };
  const evidence = proveBlock(block, nothing);
  assert.ok(evidence !== null);
  const [asked] = chain.messages(block, evidence);
  assert.ok(asked !== undefined);
  return asked;
}

Deno.test("With oracles a filter will do, when enough of them agree", () => {
  const [a, b, c] = [oracleOf(1), oracleOf(2), oracleOf(3)];
  const keys = [a, b, c].map(({ publicKey }) => publicKey.toHex()).join(",");
  const { node, chain } = scene({ oracles: `2:${keys}` });
  assert.equal(chainStateOf(node).wantsWholeBlocks, false);
  const block = chain.next();
  chain.oracles = [a, oracleOf(9)];
  const { refusal } = node.try(filtered(chain, block));
  assert.match(refusal ?? "", /attested by 1 of the owner's oracles, want 2/);
  chain.oracles = [a, c];
  node.do(filtered(chain, block));
  chain.note(block);
  assert.deepEqual(chainStateOf(node).filterHeader, chain.filterHeader);
  restart(node);
});

Deno.test("After headers alone the oracles' filter headers are joined at a whole block", () => {
  const oracle = oracleOf(1);
  const { node, chain } = scene({
    oracles: `1:${oracle.publicKey.toHex()}`,
  });
  chain.oracles = [oracle];
  const headers: Uint8Array[] = [];
  for (let i = 0; i < 5; i++) {
    const block = chain.next();
    chain.note(block);
    headers.push(encodeHeader(block.header));
  }
  node.do(fed(encodeMessage(NATIVE.chain_headers, { headers })));
  assert.equal(chainStateOf(node).wantsWholeBlocks, true);
  const block = chain.next();
  const { refusal } = node.try(filtered(chain, block));
  assert.match(refusal ?? "", /a filter, want a whole block/);
  for (const asked of chain.messages(block)) node.do(asked);
  chain.note(block);
  assert.equal(chainStateOf(node).wantsWholeBlocks, false);
  const next = chain.next();
  node.do(filtered(chain, next));
  chain.note(next);
  assert.deepEqual(chainStateOf(node).filterHeader, chain.filterHeader);
});

Deno.test("The chain begins anew when it is forgotten, and channels stay", () => {
  const { node, chain, channel } = opened();
  node.memory.apply([{ kind: "chain", record: null }]);
  const { isStarted } = chainStateOf(node);
  assert.equal(isStarted, false);
  const message = startMessage(
    chain.height,
    encodeHeader(chain.point.header),
    genesis(),
  );
  node.do(message);
  assert.equal(refusedBy(node, nextOf(channel)), null);
  const funded = node.memory.monitor(channel.id)?.events ?? [];
  assert.equal(funded.length, 1);
});

Deno.test("A row of the card that is missing is found when it is opened", () => {
  const { node, chain } = scene();
  chain.grow([], 3);
  node.card.delete("chain/block/0002");
  assert.throws(() => node.restart(), /chain\/block/);
});

Deno.test("Every event and role comes back from its bytes", () => {
  const { node, chain, channel } = opened();
  node.do(preapproval(node, { name: "out", amount: 50_000_000n }));
  channel.move(
    channel.adding(htlcOf("out", 50_000n, { cltvExpiry: 500 })),
  );
  const built = channel.build(true, 2n);
  chain.grow([built.tx]);
  const [htlc] = channel.htlcTxs(built, true);
  assert.ok(htlc !== undefined);
  chain.grow([htlc.tx]);
  const events = node.memory.monitor(channel.id)?.events ?? [];
  assert.deepEqual(events.map(({ kind }) => kind), [
    "funded",
    "closed",
    "spent",
  ]);
  const spent = events.at(-1);
  assert.ok(spent?.kind === "spent");
  assert.deepEqual(spent.outputs.map(({ role }) => role.kind), [
    "second_level",
  ]);
  restart(node);
});

Deno.test("A monitor's key names its channel", () => {
  const { node, channel } = begun();
  const record = node.memory.monitor(channel.id);
  const { key } = encodeWrite({ kind: "monitor", id: channel.id, record });
  assert.equal(key, `chain/monitor/${channel.id.peerId.toHex()}/1`);
});
