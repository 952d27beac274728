/**
 * Rules of our own commitments: what is taken, what is revoked, what is signed
 * for broadcast, and which points and secrets are given out.
 *
 * @module
 */

import assert from "node:assert/strict";
import { REPLIES, type RequestOf } from "../../../src/wire/hsmd.ts";
import { decodeMessage } from "../../../src/wire/message.ts";
import { type BitcoinSignature, SIGHASH_ALL } from "../../../src/wire/types.ts";
import {
  ANCHORS,
  type ChannelOptions,
  htlcOf,
  type NodeOptions,
  PLAIN,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

const PUSHED: ChannelOptions = { push: 300_000_000n };

function opened(options: ChannelOptions = {}, owner: NodeOptions = {}) {
  const node = new TestNode(owner);
  const channel = new TestChannel(node, { ...PUSHED, ...options }).open();
  return { node, channel };
}

/** A commitment of ours with two HTLCs that come in. */
function withHtlcs(type: string) {
  const { node, channel } = opened({ type });
  const htlcs = ["one", "two"].map((name, i) =>
    htlcOf(name, 40_000n + BigInt(i), { isOurs: false })
  );
  const content = htlcs.reduce(
    (content, htlc) => channel.adding(htlc, content),
    channel.content,
  );
  return { node, channel, content };
}

type Validation = RequestOf<"validate_commitment_tx">;

/** Signatures of a request with something done to them. */
function signatures(
  type: string,
  change: (
    request: Pick<Validation, "sig" | "htlcSigs">,
  ) => Partial<Validation>,
): Pair {
  const { node, channel, content } = withHtlcs(type);
  const good = channel.signaturesOf(1n, content);
  return {
    node,
    valid: channel.validate(1n, content),
    altered: channel.validate(1n, content, { changes: change(good) }),
  };
}

/** A signature by the right key, of something else. */
function flipped({ signature, sighash }: BitcoinSignature): BitcoinSignature {
  const { sig } = opened().channel.signaturesOf(7n);
  assert.notDeepEqual(sig.signature, signature);
  return { signature: sig.signature, sighash };
}

const SIGNATURES: readonly RuleCase[] = [PLAIN, ANCHORS].flatMap((type) => {
  const tag = "policy-revoke-new-commitment-signed" as const;
  const of = (
    name: string,
    change: (
      request: Pick<Validation, "sig" | "htlcSigs">,
    ) => Partial<Validation>,
  ): RuleCase => ({
    tag,
    name: `${name} (type ${type})`,
    make: () => signatures(type, change),
  });
  return [
    of("the peer's signature is of something else", ({ sig }) => ({
      sig: flipped(sig),
    })),
    of("the peer's signature has another sighash", ({ sig }) => ({
      sig: { ...sig, sighash: 0x83 },
    })),
    of("an HTLC's signature is missing", ({ htlcSigs }) => ({
      htlcSigs: htlcSigs.slice(1),
    })),
    of("an HTLC's signature too many", ({ htlcSigs }) => ({
      htlcSigs: [...htlcSigs, ...htlcSigs.slice(1)],
    })),
    of("signatures of HTLCs in another order", ({ htlcSigs }) => ({
      htlcSigs: htlcSigs.toReversed(),
    })),
    of("the last HTLC's signature is of something else", ({ htlcSigs }) => ({
      htlcSigs: htlcSigs.map((each, i) => i === 1 ? flipped(each) : each),
    })),
    of("an HTLC's signature has another sighash", ({ htlcSigs }) => ({
      htlcSigs: htlcSigs.map((each) => ({
        ...each,
        sighash: each.sighash === SIGHASH_ALL ? 0x83 : SIGHASH_ALL,
      })),
    })),
  ];
});

/** Two steps on, so that there is something revoked. */
function moved() {
  const { node, channel } = opened();
  const first = channel.build(true, 0n).tx;
  channel.move({ feerate: 1001 }).move({ feerate: 1002 });
  return { node, channel, first };
}

const NUMBERS: readonly RuleCase[] = [
  {
    tag: "policy-commitment-holder-not-revoked",
    name: "a commitment before the last",
    make: () => {
      const { node, channel } = moved();
      return {
        node,
        valid: channel.validate(2n),
        altered: channel.validate(1n),
      };
    },
  },
  {
    tag: "policy-revoke-new-commitment-signed",
    name: "a commitment after the next",
    make: () => {
      const { node, channel } = moved();
      return {
        node,
        valid: channel.validate(3n),
        altered: channel.validate(4n),
      };
    },
  },
  {
    tag: "policy-commitment-retry-same",
    name: "another one in the place of the current",
    make: () => {
      const { node, channel } = moved();
      const other = { ...channel.content, feerate: 1003 };
      return {
        node,
        valid: channel.validate(2n),
        altered: channel.validate(2n, other),
      };
    },
  },
  {
    tag: "policy-revoke-new-commitment-signed",
    name: "revoking without a successor",
    make: () => {
      const { node, channel } = moved();
      const before = new TestNode();
      const other = new TestChannel(before, PUSHED).open();
      before.do(other.validate(1n));
      return {
        node: before,
        valid: other.revoke(0n),
        elsewhere: node,
        altered: channel.revoke(2n),
      };
    },
  },
  {
    tag: "policy-revoke-new-commitment-signed",
    name: "revoking the successor itself",
    make: () => {
      const { node, channel } = moved();
      node.do(channel.validate(3n));
      return { node, valid: channel.revoke(2n), altered: channel.revoke(3n) };
    },
  },
  {
    tag: "policy-optional-fail-fast",
    name: "a point two past the next",
    make: () => {
      const { node, channel } = moved();
      const point = (n: bigint) =>
        channel.ask("get_per_commitment_point", { n });
      return { node, valid: point(4n), altered: point(5n) };
    },
  },
  {
    tag: "policy-revoke-new-commitment-signed",
    name: "an old node asks for a point, and gets a secret of a live one",
    make: () => {
      const { node, channel } = opened({}, { version: 5 });
      channel.move({ feerate: 1001 });
      const point = (n: bigint) =>
        channel.ask("get_per_commitment_point", { n });
      return { node, valid: point(2n), altered: point(3n) };
    },
  },
  {
    tag: "policy-revoke-new-commitment-valid",
    name: "the secret of a channel that nobody knows",
    make: () => {
      const node = new TestNode({ version: 5 });
      const channel = new TestChannel(node);
      const point = (n: bigint) =>
        channel.ask("get_per_commitment_point", { n });
      return { node, valid: point(1n), altered: point(2n) };
    },
  },
];

/** The same channel, before the end and after. */
function ended(
  end: (node: TestNode, channel: TestChannel) => void,
  ask: (channel: TestChannel) => Pair["valid"],
): Pair {
  const open = moved();
  const over = moved();
  end(over.node, over.channel);
  return {
    node: open.node,
    valid: ask(open.channel),
    elsewhere: over.node,
    altered: ask(over.channel),
  };
}

const ENDS: readonly RuleCase[] = [
  {
    tag: "policy-revoke-not-closed",
    name: "a new commitment after a mutual close",
    make: () =>
      ended(
        (node, channel) => node.do(channel.signClose()),
        (channel) => channel.validate(3n),
      ),
  },
  {
    tag: "policy-revoke-not-closed",
    name: "a new commitment after the last was signed for broadcast",
    make: () =>
      ended(
        (node, channel) => {
          node.do(channel.broadcast(channel.build(true, 2n).tx));
        },
        (channel) => channel.validate(3n),
      ),
  },
  {
    tag: "policy-commitment-broadcast-revoked",
    name: "revoking what was signed for broadcast",
    make: () => {
      const pending = () => {
        const state = moved();
        state.node.do(state.channel.validate(3n));
        return state;
      };
      const open = pending();
      const over = pending();
      over.node.do(over.channel.broadcast(over.channel.build(true, 2n).tx));
      return {
        node: open.node,
        valid: open.channel.revoke(2n),
        elsewhere: over.node,
        altered: over.channel.revoke(2n),
      };
    },
  },
  {
    tag: "policy-other",
    name: "a revoked commitment for broadcast",
    make: () => {
      const { node, channel, first } = moved();
      return {
        node,
        valid: channel.broadcast(channel.build(true, 2n).tx),
        altered: channel.broadcast(first, 0n),
      };
    },
    behind: /not our last/,
  },
  {
    tag: "policy-other",
    name: "a commitment for broadcast that nobody countersigned",
    make: () => {
      const { node, channel } = moved();
      return {
        node,
        valid: channel.broadcast(channel.build(true, 2n).tx),
        altered: channel.broadcast(channel.build(true, 3n).tx, 3n),
      };
    },
    behind: /not our last/,
  },
];

testRules([...SIGNATURES, ...NUMBERS, ...ENDS]);

Deno.test("a commitment that was signed pending stops its own revocation", () => {
  const { node, channel } = moved();
  const next = { ...channel.content, feerate: 1003 };
  node.do(channel.validate(3n, next));
  node.do(channel.broadcast(channel.build(true, 3n, next).tx, 3n));
  node.do(channel.revoke(2n));
  const { refusal } = node.try(channel.revoke(3n));
  assert.match(refusal ?? "", /policy-commitment-broadcast-revoked/);
});

Deno.test("the lowest number that was signed for broadcast counts", () => {
  const { node, channel } = moved();
  const next = { ...channel.content, feerate: 1003 };
  const current = channel.broadcast(channel.build(true, 2n).tx);
  node.do(channel.validate(3n, next));
  node.do(current);
  node.do(channel.broadcast(channel.build(true, 3n, next).tx, 3n));
  const { refusal } = node.try(channel.revoke(2n));
  assert.match(refusal ?? "", /policy-commitment-broadcast-revoked/);
  assert.equal(node.memory.channel(channel.id)?.holder.signed, 2n);
});

Deno.test("a revoked commitment's secret comes again, and is right", () => {
  const { node, channel } = moved();
  for (const n of [0n, 1n]) {
    const reply = decodeMessage(
      REPLIES.revoke_commitment_tx_reply,
      node.do(channel.revoke(n)),
    );
    assert.deepEqual(reply.nextPerCommitmentPoint, channel.ourPoint(n + 2n));
  }
});

Deno.test("a pending commitment may be replaced; the new one counts", () => {
  const { node, channel } = moved();
  const other = { ...channel.content, feerate: 1500 };
  node.do(channel.validate(3n));
  node.do(channel.validate(3n, other));
  const record = node.memory.channel(channel.id);
  assert.deepEqual(record?.holder.pending.map(({ feerate }) => feerate), [
    1500,
  ]);
  node.do(channel.revoke(2n));
  const { next, current, pending } = node.memory.channel(channel.id)?.holder ??
    assert.fail("the channel is known");
  assert.equal(next, 4n);
  assert.deepEqual(current.map(({ feerate }) => feerate), [1500]);
  assert.deepEqual(pending, []);
});

Deno.test("why a channel takes no new commitment is said", () => {
  const closed = moved();
  closed.node.do(closed.channel.signClose());
  assert.match(
    closed.node.try(closed.channel.validate(3n)).refusal ?? "",
    /a mutual close is signed/,
  );
  const over = moved();
  over.node.do(over.channel.broadcast(over.channel.build(true, 2n).tx));
  assert.match(
    over.node.try(over.channel.validate(3n)).refusal ?? "",
    /commitment 2 is signed for broadcast/,
  );
});
