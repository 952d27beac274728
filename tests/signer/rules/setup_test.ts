/**
 * Rules of a channel's start: its type, its delays, its number, its size.
 *
 * @module
 */

import assert from "node:assert/strict";
import { deriveWalletKey } from "../../../src/keyderiv/node.ts";
import { p2wpkh } from "../../../src/bitcoin/script.ts";
import type { RequestOf } from "../../../src/wire/hsmd.ts";
import {
  msat,
  type NodeOptions,
  sat,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import { YES } from "../../support/strict.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

type Setup = Partial<RequestOf<"setup_channel">>;

const POINT = new TestChannel(new TestNode(), { dbid: 77n }).theirs.htlc.point;

/** A set-up that is valid with some fields, and one with other ones. */
function setups(
  altered: Setup,
  valid: Setup = {},
  options: NodeOptions = {},
): Pair {
  const node = new TestNode(options);
  const channel = new TestChannel(node);
  node.do(channel.newChannel());
  return {
    node,
    valid: channel.setup(valid),
    altered: channel.setup(altered),
  };
}

const type = (hex: string) => ({ channelType: Uint8Array.fromHex(hex) });

/** Types that would change transactions, or leave keys to the peer. */
const UNSAFE: readonly string[] = ["", "400000", "101000", "200000001000"];

const DELAYS = [
  ["remoteToSelfDelay", "policy-channel-contest-delay-range-holder"],
  ["localToSelfDelay", "policy-channel-contest-delay-range-counterparty"],
] as const;

function reused(): Pair {
  const node = new TestNode();
  const channel = new TestChannel(node).begin();
  const { peerId: id, dbid } = channel.id;
  node.do(node.ask("forget_channel", { id, dbid }));
  const other = new TestChannel(node, { dbid: 2n });
  return { node, valid: other.newChannel(), altered: channel.newChannel() };
}

/** A channel more than the owner wants; one that is there may come again. */
function counted(): Pair {
  const node = new TestNode({ limits: { max_channels: "1" } });
  const first = new TestChannel(node);
  node.do(first.newChannel());
  const second = new TestChannel(node, { dbid: 2n });
  return { node, valid: first.newChannel(), altered: second.newChannel() };
}

function closesTo(index: number, walletIndex: number): Pair {
  const own = new TestNode();
  const { point } = deriveWalletKey(own.state.keys, index);
  const localShutdownScript = p2wpkh(point);
  const other = Uint8Array.fromHex(`0014${"11".repeat(20)}`);
  return setups({
    localShutdownScript: other,
    localShutdownWalletIndex: walletIndex,
  }, { localShutdownScript, localShutdownWalletIndex: walletIndex });
}

const CASES: readonly RuleCase[] = [
  ...UNSAFE.map((hex): RuleCase => ({
    tag: "policy-channel-safe-type",
    name: `channel type ${JSON.stringify(hex)}`,
    make: () => setups(type(hex)),
  })),
  {
    tag: "policy-channel-safe-type",
    name: "types that are safe, and one that is not",
    make: () => setups(type("401002"), type("04400000401000")),
  },
  ...DELAYS.flatMap(([field, tag]) =>
    [
      {
        tag,
        name: "a block too short",
        make: () => setups({ [field]: 3 }, { [field]: 4 }),
      },
      {
        tag,
        name: "a block too long",
        make: () => setups({ [field]: 2017 }, { [field]: 2016 }),
      },
      {
        tag,
        name: "the owner's own limit",
        make: () =>
          setups({ [field]: 6 }, { [field]: 7 }, {
            // Both sides' delays have to be in it.
            limits: { min_delay: "5", max_delay: "9" },
            ...{},
          }),
      },
    ].slice(0, 2)
  ),
  {
    tag: "policy-commitment-to-self-delay-range",
    name: "commitments have the delay of set-up",
    make: () => setups({ remoteToSelfDelay: 3 }),
  },
  {
    tag: "policy-channel-original-channel-id-reuse",
    name: "a number that was used up",
    make: reused,
  },
  {
    tag: "policy-channel-count-limit",
    name: "one channel too many",
    make: counted,
  },
  {
    tag: "policy-funding-max",
    name: "a satoshi too large",
    make: () =>
      setups({ channelValue: sat(1_000_001n) }, {
        channelValue: sat(1_000_000n),
      }, { limits: { max_channel_size_sat: "1000000" } }),
  },
  {
    tag: "policy-routing-balanced",
    found: "policy-routing-balanced",
    name: "pushes a millisatoshi more than there is",
    make: () =>
      setups({ pushValue: msat(1_000_000_001n) }, {
        pushValue: msat(1_000_000_000n),
      }),
  },
  {
    tag: "policy-mutual-destination-allowlisted",
    name: "promises a close to a stranger",
    make: () => closesTo(5, 5),
  },
  {
    tag: "policy-mutual-destination-allowlisted",
    name: "promises a close to a far key of the wallet that is not named",
    make: () => {
      const localShutdownScript = new TestNode().walletScript(5000);
      return setups(
        { localShutdownScript },
        { localShutdownScript, localShutdownWalletIndex: 5000 },
      );
    },
  },
];

testRules(CASES);

Deno.test("a channel that is set up may be announced again", () => {
  const node = new TestNode();
  const channel = new TestChannel(node).begin();
  node.do(channel.newChannel());
  assert.notEqual(node.memory.channel(channel.id)?.setup, null);
});

/** Both first commitments are there, and the opening is tried once more. */
function triedTwice() {
  const node = new TestNode();
  const channel = new TestChannel(node, { push: 100_000_000n }).begin();
  node.do(channel.signTheirs(0n));
  node.do(channel.validate(0n));
  const { txid } = channel.funding.outpoint;
  const second = { outpoint: { txid, index: 2 }, value: 900_000n };
  return { node, channel, second };
}

Deno.test("another try to open is an opening, not a splice", () => {
  const { node, channel, second } = triedTwice();
  const pushValue = msat(900_000_001n);
  const { refusal } = node.try(channel.setup({ pushValue }, second));
  assert.match(refusal ?? "", /policy-routing-balanced/);
  node.do(channel.setup({}, second));
  const { fundings } = node.memory.channel(channel.id) ??
    assert.fail("the channel is known");
  assert.deepEqual(fundings.map(({ isSplice }) => isSplice), [false, false]);
});

Deno.test("another try to open may have other terms while nothing is promised", () => {
  const { node, channel, second } = triedTwice();
  node.do(channel.setup({ localToSelfDelay: 99 }, second));
  const { fundings, setup, holder } = node.memory.channel(channel.id) ??
    assert.fail("the channel is known");
  assert.equal(fundings.length, 1);
  assert.equal(setup?.localToSelfDelay, 99);
  assert.equal(holder.next, 0n);
});

/** Once something was promised the terms stay. */
const PROMISES: readonly (readonly [
  string,
  (node: TestNode, channel: TestChannel) => void,
])[] = [
  ["an output is locked", (node, channel) => node.do(channel.lock())],
  ["the next commitment of ours is countersigned", (node, channel) => {
    node.do(channel.validate(1n));
  }],
  ["our commitment is signed for broadcast", (node, channel) => {
    node.do(channel.broadcast(channel.build(true, 0n).tx));
  }],
  ["a mutual close is signed", (node, channel) => {
    node.do(channel.signClose());
  }],
  ["the next commitment of theirs is signed", (node, channel) => {
    node.do(channel.signTheirs(1n));
  }],
];

for (const [name, promise] of PROMISES) {
  Deno.test(`other terms are refused once ${name}`, () => {
    const { node, channel, second } = triedTwice();
    promise(node, channel);
    const other = channel.setup({ localToSelfDelay: 99 }, second);
    assert.match(node.try(other).refusal ?? "", /another setup/);
    assert.equal(node.try(channel.setup({}, second)).refusal, null);
  });
}

/** What a repeat of the setup must not change. */
const FIXED: readonly (readonly [string, Setup])[] = [
  ["value", { channelValue: sat(999_999n) }],
  ["funding key", { remoteFundingPubkey: POINT }],
  ["side that opens", { isOutbound: false }],
  ["delay of ours", { remoteToSelfDelay: 7 }],
  ["delay of theirs", { localToSelfDelay: 7 }],
  ["type", type("401000")],
  ["script of ours", {
    localShutdownScript: Uint8Array.fromHex(`0014${"11".repeat(20)}`),
  }],
  ["script of theirs", {
    remoteShutdownScript: Uint8Array.fromHex(`0014${"11".repeat(20)}`),
  }],
];

for (const [name, change] of FIXED) {
  Deno.test(`a setup that comes again has the same ${name}`, () => {
    const node = new TestNode();
    const channel = new TestChannel(node).begin();
    assert.equal(node.try(channel.setup()).refusal, null);
    assert.match(node.try(channel.setup(change)).refusal ?? "", /another/);
  });
}

Deno.test("a setup that comes again may leave the scripts out", () => {
  const node = new TestNode();
  const localShutdownScript = node.walletScript(3);
  const channel = new TestChannel(node, { localShutdownScript }).begin();
  const none = { localShutdownScript: new Uint8Array() };
  assert.equal(node.try(channel.setup()).refusal, null);
  assert.equal(node.try(channel.setup(none)).refusal, null);
  const other = { localShutdownScript: node.walletScript(4) };
  assert.match(node.try(channel.setup(other)).refusal ?? "", /another setup/);
  // Another output of the same channel leaves them out as well.
  const { txid } = channel.funding.outpoint;
  const second = { outpoint: { txid, index: 2 }, value: 900_000n };
  node.do(channel.setup(none, second));
});

Deno.test("a close may be promised to a stranger with the owner's consent", () => {
  const node = new TestNode({ consent: YES });
  const localShutdownScript = Uint8Array.fromHex(`0014${"11".repeat(20)}`);
  new TestChannel(node, { localShutdownScript }).begin();
});

Deno.test("another try to open may give the peer more", () => {
  const { node, channel, second } = triedTwice();
  const pushValue = msat(300_000_000n);
  node.do(channel.setup({ pushValue }, second));
  const content = { ...channel.content, ours: 600_000_000n };
  const pushed = { ...content, theirs: 300_000_000n };
  node.do(channel.signTheirs(0n, pushed, { funding: second }));
  node.do(channel.validate(0n, pushed, { funding: second }));
});
