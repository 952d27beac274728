/**
 * Rules that need a chain: funding outputs that are there and unspent, HTLCs by
 * the chain's height, blocks that are proved.
 *
 * @module
 */

import { encodeHeader, hashHeader } from "../../../src/bitcoin/header.ts";
import { proveBlock } from "../../../src/bitcoin/txo_proof.ts";
import { NATIVE_CHAIN_MESSAGES as NATIVE } from "../../../src/wire/chain_native.ts";
import { encodeMessage } from "../../../src/wire/message.ts";
import { fed, outputOf, TestChain } from "../../support/blocks.ts";
import { coinbaseTx, spendingTx } from "../../support/chain.ts";
import {
  type Asked,
  htlcOf,
  preapproval,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import assert from "node:assert/strict";
import { type RuleCase, testRules } from "./cases.ts";

const ACTIVE = "policy-commitment-spends-active-utxo";
const RECEIVED = "policy-commitment-htlc-received-spends-active-utxo";
const EXPIRY = "policy-commitment-htlc-cltv-range";

/** Two owners' nodes with the same channel; one of them has seen its funding. */
function open(limits: Readonly<Record<string, string>> = {}, dbid = 1n) {
  const node = new TestNode({ limits: { chain: "required", ...limits } });
  const chain = new TestChain(node);
  const { channel, funding } = openOn(chain, dbid);
  return { node, chain, channel, funding };
}

/** A channel that is in use, its funding in a block. */
function openOn(chain: TestChain, dbid: bigint) {
  const { node } = chain;
  const channel = new TestChannel(node, { dbid, push: 300_000_000n });
  const funding = spendingTx([outputOf(coinbaseTx(70 + Number(dbid)))], 1);
  const { value } = channel.funding;
  channel.funding = { outpoint: outputOf(funding, 1), value };
  channel.begin();
  node.do(channel.signTheirs(0n));
  node.do(channel.validate(0n));
  chain.grow([funding]);
  node.do(channel.lock());
  return { channel, funding };
}

/** The same channel of a node that has seen no block with its funding. */
function unfunded(): { node: TestNode; channel: TestChannel } {
  const node = new TestNode({ limits: { chain: "required" } });
  new TestChain(node).grow();
  const channel = new TestChannel(node, { push: 300_000_000n });
  const funding = spendingTx([outputOf(coinbaseTx(71))], 1);
  const { value } = channel.funding;
  channel.funding = { outpoint: outputOf(funding, 1), value };
  channel.begin();
  node.do(channel.signTheirs(0n));
  node.do(channel.validate(0n));
  return { node, channel };
}

/** The same channel of a node that has seen its funding output spent. */
function closed() {
  const all = open();
  all.chain.grow([spendingTx([all.channel.funding.outpoint], 8)]);
  return all;
}

const unfundedCase = (
  name: string,
  ask: (channel: TestChannel) => Asked,
): RuleCase => ({
  tag: ACTIVE,
  name: `${name} before the funding is in a block`,
  make: () => {
    const { node, channel } = open();
    const other = unfunded();
    return {
      node,
      valid: ask(channel),
      altered: ask(other.channel),
      elsewhere: other.node,
    };
  },
});

const closedCase = (
  name: string,
  ask: (channel: TestChannel) => Asked,
): RuleCase => ({
  tag: ACTIVE,
  name: `${name} after the funding output is spent`,
  make: () => {
    const { node, channel } = open();
    const other = closed();
    return {
      node,
      valid: ask(channel),
      altered: ask(other.channel),
      elsewhere: other.node,
    };
  },
});

const theirs = (channel: TestChannel) => channel.signTheirs(1n);
const ours = (channel: TestChannel) => channel.validate(1n);

const offered = (channel: TestChannel, cltvExpiry: number) =>
  channel.signTheirs(
    1n,
    channel.adding(htlcOf("out", 50_000n, { cltvExpiry })),
  );

function expiryCase(name: string, cltvExpiry: number): RuleCase {
  return {
    tag: EXPIRY,
    name,
    make: () => {
      const { node, chain, channel } = open({ max_htlc_expiry: "100" });
      chain.grow([], 9);
      node.do(preapproval(node, { name: "out", amount: 50_000_000n }));
      return {
        node,
        valid: offered(channel, 60),
        altered: offered(channel, cltvExpiry),
      };
    },
  };
}

/** A payment that comes in on one channel and goes out on another. */
function forwarding(isClosed: boolean) {
  const { node, chain, channel: from } = open();
  const { channel: to } = openOn(chain, 2n);
  const incoming = htlcOf("pass", 51_000n, {
    isOurs: false,
    cltvExpiry: 200,
  });
  from.move(from.adding(incoming));
  if (isClosed) chain.grow([from.build(false, 1n).tx]);
  const outgoing = htlcOf("pass", 50_990n, { cltvExpiry: 100 });
  return { node, asked: to.signTheirs(1n, to.adding(outgoing)) };
}

testRules([
  unfundedCase("their commitment 1", theirs),
  unfundedCase("our commitment 1", ours),
  unfundedCase("a lock", (channel) => channel.lock()),
  closedCase("their commitment 1", theirs),
  closedCase("our commitment 1", ours),
  expiryCase("an HTLC that we offer expires at the chain's height", 10),
  expiryCase("an HTLC that we offer expires too late", 111),
  {
    tag: RECEIVED,
    name: "a payment comes in on a channel that is closed",
    make: () => {
      const open = forwarding(false);
      const closed = forwarding(true);
      return {
        node: open.node,
        valid: open.asked,
        altered: closed.asked,
        elsewhere: closed.node,
      };
    },
  },
]);

Deno.test("An approved payment goes out whatever became of other channels", () => {
  const { node, asked } = forwarding(true);
  node.do(preapproval(node, { name: "pass", amount: 50_990_000n }));
  assert.equal(node.try(asked).refusal, null);
});

Deno.test("What a peer offers is not held against the height", () => {
  const { node, chain, channel } = open({ max_htlc_expiry: "100" });
  chain.grow([], 9);
  const late = htlcOf("in", 5_000n, { isOurs: false, cltvExpiry: 5000 });
  const asked = channel.signTheirs(1n, channel.adding(late));
  assert.equal(node.try(asked).refusal, null);
});

Deno.test("policy-chain-validated: a filter in the place of a whole block", () => {
  const { node, chain } = open();
  const block = chain.next();
  const nothing = { txids: new Set<string>(), outpoints: new Set<string>() };
  const evidence = proveBlock(block, nothing);
  assert.ok(evidence !== null);
  const [asked] = chain.messages(block, evidence);
  assert.ok(asked !== undefined);
  const { refusal } = node.try(asked);
  assert.match(refusal ?? "", /policy-chain-validated.*want a whole block/);
  node.change({ limits: { chain: "required", block_proof: "filter" } });
  assert.equal(node.try(asked).refusal, null);
});

Deno.test("policy-chain-validated: a header that does not follow", () => {
  const node = new TestNode({ limits: { chain: "required" } });
  const chain = new TestChain(node);
  const [first, second] = [chain.next(), chain.next()];
  const headers = (...blocks: readonly (typeof first)[]) =>
    fed(encodeMessage(NATIVE.chain_headers, {
      headers: blocks.map(({ header }) => encodeHeader(header)),
    }));
  assert.equal(node.try(headers(first)).refusal, null);
  assert.match(node.try(headers(first, second)).refusal ?? "", /want the tip/);
  const heavy = { ...second, header: { ...second.header, bits: 0x1d00ffff } };
  assert.notEqual(hashHeader(heavy.header), null);
  assert.match(
    node.try(headers(heavy)).refusal ?? "",
    /policy-chain-validated.*bits 1d00ffff/,
  );
});
