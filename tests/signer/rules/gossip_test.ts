/**
 * The rule of gossip that a funding key signs: nothing else may look like it.
 *
 * @module
 */

import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import type { Asked } from "../../support/channel.ts";
import { TestChannel, TestNode } from "../../support/channel.ts";
import { type RuleCase, testRules } from "./cases.ts";

interface Parts {
  readonly features?: Uint8Array;
  readonly chain?: Uint8Array;
  readonly nodes?: readonly Uint8Array[];
  readonly keys?: readonly Uint8Array[];
}

/** BOLT 7, channel_announcement; signatures are zeros until they are there. */
function announcement(channel: TestChannel, parts: Parts = {}): Uint8Array {
  const { node, ours, theirs, id } = channel;
  const {
    features = new Uint8Array(),
    chain = NETWORKS.regtest.genesisHash,
    nodes = [node.state.identity.nodeId, id.peerId],
    keys = [ours.funding.point, theirs.funding.point],
  } = parts;
  return Uint8Array.of(
    ...[1, 0],
    ...new Uint8Array(4 * 64),
    ...[features.length >> 8, features.length & 0xff],
    ...features,
    ...chain,
    ...new Uint8Array(8).fill(7),
    ...nodes.flatMap((each) => [...each]),
    ...keys.flatMap((each) => [...each]),
  );
}

type Ask = (channel: TestChannel, ca: Uint8Array) => Asked;

const ASKS: readonly (readonly [string, Ask])[] = [
  ["2", (channel, ca) => channel.ask("cannouncement_sig_req", { ca })],
  ["4", (channel, ca) =>
    channel.node.ask("sign_any_cannouncement_req", {
      ca,
      peerid: channel.id.peerId,
      channelDbid: channel.id.dbid,
    })],
];

const ALTERED: readonly (readonly [
  string,
  (channel: TestChannel) => Parts,
  ((channel: TestChannel) => Parts)?,
])[] = [
  ["another chain", () => ({ chain: NETWORKS.testnet.genesisHash })],
  ["another node", ({ id }) => ({ nodes: [id.peerId, id.peerId] })],
  ["another key", ({ theirs: { funding } }) => ({
    keys: [funding.point, funding.point],
  })],
  ["keys in the other order", ({ ours, theirs }) => ({
    keys: [theirs.funding.point, ours.funding.point],
  })],
  ["nodes in the other order", ({ node, id }) => ({
    nodes: [id.peerId, node.state.identity.nodeId],
  }), ({ node, id, ours, theirs }) => ({
    nodes: [id.peerId, node.state.identity.nodeId],
    keys: [theirs.funding.point, ours.funding.point],
  })],
  ["features that are longer than they say", () => ({
    features: Uint8Array.of(1, 2),
    chain: Uint8Array.of(...NETWORKS.regtest.genesisHash.subarray(1), 0),
  }), () => ({ features: Uint8Array.of(1, 2) })],
];

const CASES = ASKS.flatMap(([number, ask]) =>
  ALTERED.map(([name, altered, valid = () => ({})]): RuleCase => ({
    tag: "policy-gossip-announcement",
    name: `${name} (request ${number})`,
    make: () => {
      const node = new TestNode();
      const channel = new TestChannel(node).open();
      return {
        node,
        valid: ask(channel, announcement(channel, valid(channel))),
        altered: ask(channel, announcement(channel, altered(channel))),
      };
    },
  }))
);

const SHORT: RuleCase = {
  tag: "policy-gossip-announcement",
  name: "nothing behind the signatures",
  make: () => {
    const node = new TestNode();
    const channel = new TestChannel(node).open();
    const whole = announcement(channel);
    return {
      node,
      valid: channel.ask("cannouncement_sig_req", { ca: whole }),
      altered: channel.ask("cannouncement_sig_req", {
        ca: whole.subarray(0, 2 + 4 * 64),
      }),
    };
  },
};

testRules([...CASES, SHORT]);
