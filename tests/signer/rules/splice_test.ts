/**
 * Rules of splices: the shape of the transaction, where the money goes, and
 * commitments on two outputs at a time.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Tx } from "../../../src/bitcoin/tx.ts";
import {
  ANCHORS,
  type Content,
  inputOf,
  msat,
  type NodeOptions,
  sat,
  TestChannel,
  type TestFunding,
  TestNode,
} from "../../support/channel.ts";
import { YES } from "../../support/strict.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

function opened(options: NodeOptions = {}) {
  const node = new TestNode(options);
  const channel = new TestChannel(node, {
    push: 300_000_000n,
    type: ANCHORS,
  }).open();
  return { node, channel };
}

const STRANGER = Uint8Array.fromHex(`0014${"11".repeat(20)}`);
/** A splice that costs 500 sat of ours. */
const ours = (content: Content, cost = 500n): Content => ({
  ...content,
  ours: content.ours - cost * 1000n,
});

/** Early signature, set-up, and whatever of the rest is wanted. */
function splicing(
  parts: { readonly isOurs?: boolean; readonly isSigned?: boolean } = {},
) {
  const { isOurs = true, isSigned = true } = parts;
  const { node, channel } = opened();
  const tx = channel.splice();
  const funding = channel.spliced(tx);
  const content = ours(channel.content);
  node.do(channel.signSplice(tx));
  // What CLN puts there is a difference, which may have wrapped around zero.
  const pushValue = msat(2n ** 64n - 500_000n);
  node.do(channel.setup({ pushValue }, funding));
  if (isOurs) node.do(channel.validate(0n, content, { funding }));
  if (isOurs) node.do(channel.signTheirs(0n, content, { funding }));
  if (isOurs && isSigned) node.do(channel.signSplice(tx));
  return { node, channel, tx, funding, content };
}

/** A splice and another one. */
function splices(
  valid: (channel: TestChannel) => Tx,
  altered: (channel: TestChannel) => Tx,
  options: NodeOptions = {},
): Pair {
  const { node, channel } = opened(options);
  return {
    node,
    valid: channel.signSplice(valid(channel)),
    altered: channel.signSplice(altered(channel)),
  };
}

const plain = (channel: TestChannel) => channel.splice();
const out = (amount: bigint, script: Uint8Array) => ({
  amount: sat(amount),
  script,
});

/** The first commitment on the new output says more or less for us. */
function carrying(
  side: "holder" | "counterparty",
  [valid, altered]: readonly [bigint, bigint],
): Pair {
  const { node, channel, funding, content } = splicing({ isOurs: false });
  const ask = (loss: bigint) => {
    const moved = ours(content, loss);
    const theirs = moved.theirs + loss * 1000n;
    return side === "holder"
      ? channel.validate(0n, { ...moved, theirs }, { funding })
      : channel.signTheirs(0n, { ...moved, theirs }, { funding });
  };
  return { node, valid: ask(valid), altered: ask(altered) };
}

const CASES: readonly RuleCase[] = [
  {
    tag: "policy-splice-shared-output",
    name: "two outputs for the channel",
    make: () =>
      splices(
        plain,
        (channel) => {
          const tx = channel.splice(500_000n);
          return { ...tx, outputs: [...tx.outputs, ...tx.outputs] };
        },
      ),
  },
  {
    tag: "policy-splice-known-outpoint",
    name: "an input that is not the channel's",
    make: () => {
      const { node, channel } = opened();
      const other = new TestChannel(node, { dbid: 2n, type: ANCHORS }).open();
      const tx = {
        ...channel.splice(),
        inputs: [inputOf(other.funding.outpoint)],
      };
      return {
        node,
        valid: channel.signSplice(channel.splice()),
        altered: channel.signSplice(tx),
      };
    },
    behind: /policy-splice-destination-allowlisted/,
  },
  {
    tag: "policy-commitment-other",
    name: "another transaction in the PSBT",
    make: () => {
      const { node, channel } = opened();
      const tx = channel.splice();
      return {
        node,
        valid: channel.signSplice(tx),
        altered: channel.ask("sign_splice_tx", {
          tx: channel.mixed(tx, { ...tx, locktime: 1 }),
          remoteFundingKey: channel.theirs.funding.point,
          inputIndex: 0,
        }),
      };
    },
  },
  {
    tag: "policy-splice-fee-range",
    name: "a fee that no feerate explains",
    make: () =>
      splices(
        (channel) => channel.splice(1_000_000n - 500n),
        (channel) => channel.splice(1_000_000n - 1500n),
        { limits: { max_feerate_per_kw: "1000" } },
      ),
  },
  {
    tag: "policy-splice-destination-allowlisted",
    name: "coins for a stranger",
    make: () =>
      splices(
        (channel) => {
          const script = channel.node.walletScript(4);
          return channel.splice(899_500n, [out(100_000n, script)]);
        },
        (channel) => channel.splice(899_500n, [out(100_000n, STRANGER)]),
        // Nor may it pass for a fee.
        { limits: { max_feerate_per_kw: "1000" } },
      ),
  },
  ...(["holder", "counterparty"] as const).map((side): RuleCase => ({
    tag: "policy-splice-balance",
    name: `balance that got lost on the way (${side}'s)`,
    // A satoshi may be lost in rounding.
    make: () => carrying(side, [1n, 2n]),
  })),
  {
    tag: "policy-onchain-initial-commitment-countersigned",
    name: "an output is locked before there is a commitment",
    make: () => {
      const node = new TestNode();
      const before = new TestChannel(node).begin();
      const after = new TestChannel(node, { dbid: 2n }).open();
      return { node, valid: after.lock(), altered: before.lock() };
    },
  },
  {
    tag: "policy-splice-known-outpoint",
    name: "a splice is locked that we have not signed",
    make: () => {
      const before = splicing({ isSigned: false });
      const after = splicing();
      return {
        node: after.node,
        valid: after.channel.lock(after.funding.outpoint),
        elsewhere: before.node,
        altered: before.channel.lock(before.funding.outpoint),
      };
    },
  },
  {
    tag: "policy-splice-known-outpoint",
    name: "an output is locked that is not the channel's",
    make: () => {
      const { node, channel, funding } = splicing();
      const { txid } = funding.outpoint;
      return {
        node,
        valid: channel.lock(funding.outpoint),
        altered: channel.lock({ txid, index: 1 }),
      };
    },
    behind: /initial-commitment-countersigned/,
  },
  ...([["validate", "signTheirs"]] as const).flatMap((names) =>
    names.map((name): RuleCase => ({
      tag: "policy-splice-known-outpoint",
      name: `a commitment on an output that was replaced (${name})`,
      make: () => {
        const { node, channel, funding, content } = splicing();
        node.do(channel.lock(funding.outpoint));
        return {
          node,
          valid: channel[name](1n, content, { funding }),
          altered: channel[name](1n),
        };
      },
    }))
  ),
  {
    tag: "policy-commitment-retry-same",
    name: "another point for the same number on the new output",
    make: () => {
      const { node, channel, funding, content } = splicing({ isOurs: false });
      const point = channel.theirPoint(7n);
      return {
        node,
        valid: channel.signTheirs(0n, content, { funding }),
        altered: channel.signTheirs(0n, content, {
          funding,
          alter: { keys: channel.theirKeysAt(point) },
          changes: { remotePerCommit: point },
        }),
      };
    },
  },
  {
    tag: "policy-splice-inflight-revoked",
    name: "the next commitment is on one output of two",
    make: () => {
      const one = splicing();
      one.node.do(one.channel.validate(1n));
      const both = splicing();
      const { channel, content, funding } = both;
      both.node.do(channel.validate(1n));
      both.node.do(channel.validate(1n, content, { funding }));
      return {
        node: both.node,
        valid: channel.revoke(0n),
        elsewhere: one.node,
        altered: one.channel.revoke(0n),
      };
    },
  },
];

testRules(CASES);

Deno.test("a splice that nobody signed does not hold up a revocation", () => {
  const { node, channel } = splicing({ isSigned: false });
  node.do(channel.validate(1n));
  node.do(channel.revoke(0n));
});

Deno.test("a channel goes on with the output that was locked", () => {
  const { node, channel, funding, content } = splicing();
  node.do(channel.lock(funding.outpoint));
  const after: TestFunding = funding;
  channel.funding = after;
  channel.content = content;
  channel.move({ feerate: 1100 });
  const record = node.memory.channel(channel.id) ?? assert.fail("known");
  assert.equal(record.holder.current.length, 1);
  assert.equal(record.counterparty.current.length, 1);
  assert.deepEqual(record.presigned, []);
});

Deno.test("what the owner consents to may leave in a splice", () => {
  const { node, channel } = opened({
    consent: YES,
    limits: { max_feerate_per_kw: "1000" },
  });
  const tx = channel.splice(899_500n, [out(100_000n, STRANGER)]);
  assert.equal(node.try(channel.signSplice(tx)).refusal, null);
});

Deno.test("an output that is locked may be locked again beside a splice", () => {
  const { node, channel } = splicing();
  const before = node.memory.channel(channel.id);
  node.do(channel.lock());
  assert.deepEqual(node.memory.channel(channel.id), before);
});
