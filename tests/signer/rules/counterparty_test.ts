/**
 * Rules of the peer's commitments: what is signed and when, and what a
 * revocation has to be.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { DisclosedSecret } from "../../../src/wire/types.ts";
import { htlcOf, TestChannel, TestNode } from "../../support/channel.ts";
import { type RuleCase, testRules } from "./cases.ts";

function opened() {
  const node = new TestNode();
  const channel = new TestChannel(node, { push: 300_000_000n }).open();
  return { node, channel };
}

/** Commitment 1 of the peer's is signed, and 0 is not revoked. */
function signed() {
  const { node, channel } = opened();
  node.do(channel.signTheirs(1n));
  return { node, channel };
}

/** Numbers 0 and 1 are revoked, 2 is current, 3 is signed. */
function moved() {
  const { node, channel } = opened();
  channel.moveTheirs({ ...channel.content, feerate: 1001 }, 1n);
  channel.moveTheirs({ ...channel.content, feerate: 1002 }, 2n);
  node.do(channel.signTheirs(3n));
  return { node, channel };
}

const other = (secret: DisclosedSecret): DisclosedSecret =>
  secret.map((byte, i) => i === 31 ? byte ^ 1 : byte) as DisclosedSecret;

const CASES: readonly RuleCase[] = [
  {
    tag: "policy-commitment-previous-revoked",
    name: "two commitments that are not revoked",
    make: () => {
      const { node, channel } = signed();
      const after = signed();
      after.node.do(after.channel.revocation(0n));
      return {
        node: after.node,
        valid: after.channel.signTheirs(2n),
        elsewhere: node,
        altered: channel.signTheirs(2n),
      };
    },
  },
  {
    tag: "policy-commitment-previous-revoked",
    name: "a number that is left out",
    make: () => {
      const { node, channel } = signed();
      node.do(channel.revocation(0n));
      return {
        node,
        valid: channel.signTheirs(2n),
        altered: channel.signTheirs(3n),
      };
    },
  },
  {
    tag: "policy-commitment-previous-revoked",
    name: "a number that was revoked",
    make: () => {
      const { node, channel } = moved();
      return {
        node,
        valid: channel.signTheirs(3n),
        altered: channel.signTheirs(2n),
      };
    },
  },
  {
    tag: "policy-commitment-previous-revoked",
    name: "the secret of another point",
    make: () => {
      const { node, channel } = moved();
      const secret = other(channel.theirSecret(2n));
      return {
        node,
        valid: channel.revocation(2n),
        altered: channel.revocation(2n, secret),
      };
    },
  },
  {
    tag: "policy-commitment-previous-revoked",
    name: "another secret for what was revoked",
    make: () => {
      const { node, channel } = moved();
      return {
        node,
        valid: channel.revocation(1n),
        altered: channel.revocation(1n, other(channel.theirSecret(1n))),
      };
    },
  },
  {
    tag: "policy-commitment-previous-revoked",
    name: "a revocation without a successor",
    make: () => {
      const { node, channel } = moved();
      node.do(channel.revocation(2n));
      return {
        node,
        valid: channel.revocation(2n),
        altered: channel.revocation(3n),
      };
    },
  },
  {
    tag: "policy-commitment-previous-revoked",
    name: "a revocation out of order",
    make: () => {
      const { node, channel } = moved();
      return {
        node,
        valid: channel.revocation(2n),
        altered: channel.revocation(3n, channel.theirSecret(2n)),
      };
    },
  },
  {
    tag: "policy-commitment-previous-revoked",
    name: "a secret that is right for its point and does not lead to others",
    make: () => {
      // Number 1 has to give 0; the peer's points come from two seeds here.
      const { node, channel } = opened();
      const stray = new TestChannel(new TestNode(), { dbid: 9n });
      node.do(channel.signTheirs(1n, channel.content, {
        alter: { keys: channel.theirKeysAt(stray.theirPoint(1n)) },
        changes: { remotePerCommit: stray.theirPoint(1n) },
      }));
      node.do(channel.revocation(0n));
      node.do(channel.signTheirs(2n));
      const { node: fine, channel: same } = moved();
      return {
        node: fine,
        valid: same.revocation(2n),
        elsewhere: node,
        altered: channel.revocation(1n, stray.theirSecret(1n)),
      };
    },
  },
  {
    tag: "policy-commitment-retry-same",
    name: "another transaction under a number that was signed",
    make: () => {
      const { node, channel } = moved();
      const content = { ...channel.content, feerate: 1003 };
      return {
        node,
        valid: channel.signTheirs(3n),
        altered: channel.signTheirs(3n, content),
      };
    },
  },
  {
    tag: "policy-commitment-retry-same",
    name: "other HTLCs behind the same transaction",
    make: () => {
      const { node, channel } = opened();
      const htlc = htlcOf("one", 20_000n, { isOurs: false });
      const content = channel.adding(htlc);
      node.do(channel.signTheirs(1n, content));
      // The expiry of an HTLC that its broadcaster offered is in no script.
      const later = {
        ...content,
        htlcs: content.htlcs.map((each) => ({ ...each, cltvExpiry: 1001 })),
      };
      return {
        node,
        valid: channel.signTheirs(1n, content),
        altered: channel.signTheirs(1n, later),
      };
    },
  },
  {
    tag: "policy-commitment-retry-same",
    name: "another point for a number that was signed",
    make: () => {
      const { node, channel } = moved();
      const point = channel.theirPoint(7n);
      return {
        node,
        valid: channel.signTheirs(3n),
        altered: channel.signTheirs(3n, channel.content, {
          alter: { keys: channel.theirKeysAt(point) },
          changes: { remotePerCommit: point },
        }),
      };
    },
  },
  {
    tag: "policy-commitment-countersignatory-pubkey",
    found: "policy-commitment-countersignatory-pubkey",
    name: "another funding key than set-up has",
    make: () => {
      const { node, channel } = opened();
      const remoteFundingKey = channel.theirs.htlc.point;
      return {
        node,
        valid: channel.signTheirs(1n),
        altered: channel.signTheirs(1n, channel.content, {
          changes: { remoteFundingKey },
        }),
      };
    },
  },
  {
    tag: "policy-revoke-not-closed",
    name: "a commitment of a channel that was forgotten",
    make: () => {
      const open = opened();
      const { node, channel } = opened();
      const { peerId: id, dbid } = channel.id;
      node.do(node.ask("forget_channel", { id, dbid }));
      return {
        node: open.node,
        valid: open.channel.signTheirs(1n),
        elsewhere: node,
        altered: channel.signTheirs(1n),
      };
    },
  },
];

testRules(CASES);

Deno.test("a revocation is remembered once", () => {
  const { node, channel } = moved();
  node.do(channel.revocation(2n));
  node.do(channel.revocation(2n));
  const { revoked, previous } = node.memory.channel(channel.id)?.counterparty ??
    assert.fail("the channel is known");
  assert.equal(revoked, 3n);
  assert.deepEqual(previous, []);
});
