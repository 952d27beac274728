/**
 * Rules of mutual closes, as closingd asks for them (21) and as lightningd does
 * again (5).
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Tx, TxOutput } from "../../../src/bitcoin/tx.ts";
import { compareOutputs } from "../../../src/lightning/scripts.ts";
import {
  type ChannelOptions,
  htlcOf,
  inputOf,
  type NodeOptions,
  sat,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import { YES } from "../../support/strict.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

const REQUESTS = ["21", "5"] as const;
type Request = typeof REQUESTS[number];

const STRANGER = Uint8Array.fromHex(`0014${"11".repeat(20)}`);

function opened(owner: NodeOptions = {}, options: ChannelOptions = {}) {
  const node = new TestNode(owner);
  const channel = new TestChannel(node, { push: 300_000_000n, ...options })
    .open();
  return { node, channel };
}

const ask = (channel: TestChannel, request: Request, tx: Tx) =>
  request === "21" ? channel.signClose(tx) : channel.broadcast(tx);

type Change = (tx: Tx, channel: TestChannel) => Tx;

/** The output of one side with something done to it. */
const onOutput =
  (isOurs: boolean, change: (output: TxOutput) => Partial<TxOutput>): Change =>
  (tx, { node }) => {
    const ours = node.walletScript(3).toHex();
    const outputs = tx.outputs.map((output) =>
      (output.script.toHex() === ours) === isOurs
        ? { ...output, ...change(output) }
        : output
    );
    return { ...tx, outputs: outputs.sort(compareOutputs) };
  };

const adding = (isOurs: boolean, more: bigint): Change =>
  onOutput(isOurs, ({ amount }) => ({ amount: sat(amount + more) }));

/** From us to them, so that the fee stays. */
const moving = (amount: bigint): Change => (tx, channel) =>
  adding(false, amount)(adding(true, -amount)(tx, channel), channel);

const same: Change = (tx) => tx;

interface Part {
  readonly tag: RuleCase["tag"];
  readonly name: string;
  readonly valid?: Change;
  readonly altered: Change;
  readonly isOutbound?: boolean;
  readonly owner?: NodeOptions;
  readonly behind?: RegExp;
}

const VALUE = "policy-mutual-value-matches-commitment";

const PARTS: readonly Part[] = [
  {
    tag: "policy-mutual-scripts",
    name: "three outputs",
    altered: (tx) => ({
      ...tx,
      outputs: [{ amount: sat(0n), script: STRANGER }, ...tx.outputs],
    }),
  },
  {
    tag: "policy-onchain-format-standard",
    name: "version 1",
    altered: (tx) => ({ ...tx, version: 1 }),
  },
  {
    tag: "policy-onchain-format-standard",
    name: "a locktime",
    altered: (tx) => ({ ...tx, locktime: 1 }),
  },
  {
    tag: VALUE,
    name: "the peer gets more than epsilon too much",
    valid: moving(10_000n),
    altered: moving(10_001n),
  },
  {
    tag: VALUE,
    name: "the peer gets more than epsilon too little",
    valid: moving(-10_000n),
    altered: moving(-10_001n),
  },
  {
    tag: VALUE,
    name: "we get more than epsilon too little",
    isOutbound: false,
    valid: moving(10_000n),
    altered: moving(10_001n),
  },
  {
    tag: "policy-mutual-fee-range",
    name: "no fee at all",
    altered: adding(true, 400n),
  },
  {
    tag: "policy-mutual-fee-range",
    name: "a fee that is too high",
    owner: { limits: { max_feerate_per_kw: "1000" } },
    altered: adding(true, -400n),
  },
  {
    tag: "policy-mutual-destination-allowlisted",
    name: "our output goes to a stranger",
    altered: onOutput(true, () => ({ script: STRANGER })),
  },
  {
    tag: "policy-splice-known-outpoint",
    name: "an output that is not the channel's",
    altered: (tx, { funding }) => ({
      ...tx,
      inputs: [inputOf({ ...funding.outpoint, index: 7 }, 0xffff_ffff)],
    }),
    behind: /not the channel's/,
  },
];

const CASES = PARTS.flatMap((part) =>
  REQUESTS.map((request): RuleCase => {
    const { tag, name, valid = same, altered, behind } = part;
    const { isOutbound = true, owner = {} } = part;
    return {
      tag,
      name: `${name} (request ${request})`,
      ...(behind === undefined ? {} : { behind }),
      make: (): Pair => {
        const { node, channel } = opened(owner, { isOutbound });
        const tx = channel.closing();
        return {
          node,
          valid: ask(channel, request, valid(tx, channel)),
          altered: ask(channel, request, altered(tx, channel)),
        };
      },
    };
  })
);

const STATES = REQUESTS.flatMap((request): readonly RuleCase[] => [
  {
    tag: "policy-mutual-other",
    name: `only the peer has a commitment (request ${request})`,
    make: () => {
      const { node, channel } = opened();
      const half = new TestNode();
      const begun = new TestChannel(half, { push: 300_000_000n }).begin();
      half.do(begun.signTheirs(0n));
      return {
        node,
        valid: ask(channel, request, channel.closing()),
        elsewhere: half,
        altered: ask(begun, request, begun.closing()),
      };
    },
  },
  ...(["ours", "theirs"] as const).map((side): RuleCase => ({
    tag: "policy-mutual-no-pending-htlcs",
    name: `an HTLC on one commitment, ${side} (request ${request})`,
    make: () => {
      const { node, channel } = opened();
      const busy = opened();
      const htlc = htlcOf("in", 9_000n, { isOurs: false });
      const content = busy.channel.adding(htlc);
      busy.node.do(
        side === "ours"
          ? busy.channel.validate(1n, content)
          : busy.channel.signTheirs(1n, content),
      );
      return {
        node,
        valid: ask(channel, request, channel.closing()),
        elsewhere: busy.node,
        altered: ask(busy.channel, request, busy.channel.closing()),
      };
    },
  })),
  {
    tag: "policy-mutual-destination-allowlisted",
    name: `another script than set-up promised (request ${request})`,
    make: () => {
      const localShutdownScript = new TestNode().walletScript(3);
      const { node, channel } = opened({}, { localShutdownScript });
      const tx = channel.closing();
      const script = node.walletScript(4);
      return {
        node,
        valid: ask(channel, request, tx),
        altered: ask(
          channel,
          request,
          onOutput(true, () => ({ script }))(tx, channel),
        ),
      };
    },
  },
]);

testRules([...CASES, ...STATES]);

Deno.test("a close may go to a stranger with the owner's consent", () => {
  const { node, channel } = opened({ consent: YES });
  const change = onOutput(true, () => ({ script: STRANGER }));
  const { refusal } = node.try(
    channel.signClose(change(channel.closing(), channel)),
  );
  assert.equal(refusal, null);
});

Deno.test("a close is remembered once, and each other offer beside it", () => {
  const { node, channel } = opened();
  for (const fee of [500n, 500n, 600n]) {
    node.do(channel.signClose(channel.closing(fee)));
  }
  assert.equal(node.memory.channel(channel.id)?.closes.length, 2);
});

Deno.test("a close without an output of ours passes where we have nothing", () => {
  const node = new TestNode();
  const channel = new TestChannel(node, { isOutbound: false }).open();
  const { refusal } = node.try(channel.signClose());
  assert.equal(refusal, null);
});

Deno.test("what is a commitment by half is judged as a close", () => {
  const { node, channel } = opened();
  const close = channel.closing();
  const { inputs: [input = assert.fail("there is one")] } = close;
  const commitment = channel.build(true, 0n).tx;
  const halves: readonly Tx[] = [
    { ...close, inputs: [{ ...input, sequence: 0x8000_0000 }] },
    { ...close, locktime: 0x2000_0000 },
    { ...commitment, locktime: 0 },
  ];
  for (const tx of halves) {
    const { refusal } = node.try(channel.broadcast(tx));
    assert.match(refusal ?? "", /policy-onchain-format-standard/);
  }
  assert.equal(node.try(channel.broadcast(commitment)).refusal, null);
});
