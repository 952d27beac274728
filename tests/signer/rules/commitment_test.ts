/**
 * Rules of what a commitment says, and of every part of the transaction that is
 * rebuilt: both sides' commitments, with anchors and without.
 *
 * @module
 */

import assert from "node:assert/strict";
import { p2wpkh, p2wsh } from "../../../src/bitcoin/script.ts";
import type { Tx, TxOutput } from "../../../src/bitcoin/tx.ts";
import {
  anchorScript,
  compareOutputs,
} from "../../../src/lightning/scripts.ts";
import type { RuleTag } from "../../../src/policy/rules.ts";
import { encodeMessage } from "../../../src/wire/message.ts";
import type { HsmHtlc } from "../../../src/wire/types.ts";
import { SIGNER_MESSAGES } from "../../../src/wire/vls.ts";
import { fed } from "../../support/blocks.ts";
import {
  type Alteration,
  ANCHORS,
  type Content,
  htlcOf,
  type NodeOptions,
  PLAIN,
  preapproval,
  sat,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

type Side = "holder" | "counterparty";
const SIDES: readonly Side[] = ["holder", "counterparty"];
const TYPES: readonly string[] = [PLAIN, ANCHORS];

/** A channel with something on both sides, and one HTLC either way to come. */
function running(type: string, options: NodeOptions = {}) {
  const node = new TestNode(options);
  const channel = new TestChannel(node, { type, push: 300_000_000n }).open();
  const paid = htlcOf("paid", 50_000n, { cltvExpiry: 700 });
  const received = htlcOf("received", 40_000n, { isOurs: false });
  node.do(preapproval(node, { name: "paid", amount: paid.amount }));
  const content = channel.adding(received, channel.adding(paid));
  return { node, channel, content, paid, received };
}

/** The next commitment of a side, which nothing is wrong with or something. */
function next(
  channel: TestChannel,
  side: Side,
  content: Content,
  alter: Alteration = {},
) {
  return side === "holder"
    ? channel.validate(1n, content, { alter })
    : channel.signTheirs(1n, content, { alter });
}

/** One part of the transaction altered. */
function part(side: Side, type: string, alterOf: AlterOf): Pair {
  const { node, channel, content } = running(type);
  return {
    node,
    valid: next(channel, side, content),
    altered: next(channel, side, content, alterOf(channel, side)),
  };
}

type AlterOf = (channel: TestChannel, side: Side) => Alteration;

const inTx = (change: (tx: Tx) => Tx): AlterOf => () => ({ tx: change });

const onInput = (change: Partial<Tx["inputs"][number]>) =>
  inTx((tx) => ({
    ...tx,
    inputs: tx.inputs.map((input) => ({ ...input, ...change })),
  }));

const withOutputs = (change: (outputs: TxOutput[]) => TxOutput[]) =>
  inTx((tx) => ({
    ...tx,
    outputs: change([...tx.outputs]).sort(compareOutputs),
  }));

const another = (channel: TestChannel) => channel.theirs.htlc.point;
const isAnchor = ({ amount }: TxOutput) => amount === 330n;

/** What an honest commitment of each side pays to whom. */
const anchorOf = (channel: TestChannel, isOurs: boolean) =>
  p2wsh(anchorScript(
    (isOurs ? channel.ours : channel.theirs).funding.point,
  ));

const withoutAnchor = (isOurs: boolean): AlterOf => (channel) => ({
  tx: (tx) => ({
    ...tx,
    outputs: tx.outputs.filter(({ script }) =>
      script.toHex() !== anchorOf(channel, isOurs).toHex()
    ),
  }),
});

/** A balance's output, split in two. */
const doubled = (isOurs: boolean): AlterOf => (channel, side) => ({
  tx: (tx) => {
    const { commitment } = channel.build(
      side === "holder",
      1n,
      running(PLAIN).content,
    );
    const kind = isOurs === (side === "holder")
      ? "to_broadcaster"
      : "to_countersigner";
    const at = commitment.outputs.findIndex((each) => each.kind === kind);
    const outputs = tx.outputs.flatMap((output, i) =>
      i === at
        ? [
          { ...output, amount: sat(1000n) },
          { ...output, amount: sat(output.amount - 1000n) },
        ]
        : [output]
    );
    return { ...tx, outputs: outputs.sort(compareOutputs) };
  },
});

interface Part {
  readonly tag: RuleTag;
  readonly name: string;
  readonly alter: AlterOf;
  readonly found?: RuleTag;
  readonly types?: readonly string[];
  readonly behind?: RegExp;
}

/** A script that nobody expects is found before anything else is. */
const STRANGER = { found: "policy-commitment-scripts" } as const;

const PARTS: readonly Part[] = [
  {
    tag: "policy-commitment",
    name: "an amount",
    alter: withOutputs(([first, ...rest]) =>
      first ? [...rest, { ...first, amount: sat(first.amount - 1n) }] : []
    ),
    types: [ANCHORS],
  },
  {
    tag: "policy-commitment-version",
    found: "policy-commitment-version",
    name: "version 1",
    alter: inTx((tx) => ({ ...tx, version: 1 })),
    behind: /policy-commitment:/,
  },
  {
    tag: "policy-commitment-locktime",
    name: "another locktime",
    alter: inTx((tx) => ({ ...tx, locktime: tx.locktime ^ 1 })),
  },
  {
    tag: "policy-commitment-sequence",
    name: "another sequence",
    alter: inTx((tx) => ({
      ...tx,
      inputs: tx.inputs.map((input) => ({
        ...input,
        sequence: input.sequence + 1,
      })),
    })),
  },
  {
    tag: "policy-commitment-input-single",
    found: "policy-splice-known-outpoint",
    name: "two inputs",
    alter: inTx((tx) => ({ ...tx, inputs: [...tx.inputs, ...tx.inputs] })),
    behind: /not the channel's/,
  },
  {
    tag: "policy-commitment-input-match-funding",
    found: "policy-splice-known-outpoint",
    name: "another output goes in",
    alter: onInput({ index: 0 }),
    behind: /not the channel's/,
  },
  {
    tag: "policy-commitment-revocation-pubkey",
    name: "another revocation key",
    alter: (channel) => ({ keys: { revocation: another(channel) } }),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-broadcaster-pubkey",
    name: "another delayed key",
    alter: (channel) => ({ keys: { delayed: another(channel) } }),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-countersignatory-pubkey",
    name: "another key of the other side",
    alter: (channel) => ({ keys: { toRemote: another(channel) } }),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-htlc-revocation-pubkey",
    name: "another revocation key in HTLCs and all",
    alter: (channel) => ({ keys: { revocation: another(channel) } }),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-htlc-counterparty-htlc-pubkey",
    name: "another HTLC key of the peer's",
    alter: (channel, side) => ({
      keys: side === "holder"
        ? { countersignerHtlc: another(channel) }
        : { broadcasterHtlc: another(channel) },
    }),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-htlc-holder-htlc-pubkey",
    name: "another HTLC key of ours",
    alter: (channel, side) => ({
      keys: side === "holder"
        ? { broadcasterHtlc: another(channel) }
        : { countersignerHtlc: another(channel) },
    }),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-singular",
    name: "an HTLC's output twice",
    alter: withOutputs((outputs) =>
      outputs.flatMap((output) =>
        output.amount === 50_000n ? [output, output] : [output]
      )
    ),
  },
  {
    tag: "policy-commitment-singular-to-holder",
    name: "our balance in two outputs",
    alter: doubled(true),
    types: [PLAIN],
    ...STRANGER,
  },
  {
    tag: "policy-commitment-singular-to-counterparty",
    name: "the peer's balance in two outputs",
    alter: doubled(false),
    types: [PLAIN],
    ...STRANGER,
  },
  {
    tag: "policy-commitment-to-self-delay",
    name: "another delay",
    alter: () => ({ terms: { toSelfDelay: 7 } }),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-no-unrecognized-outputs",
    name: "an output more",
    alter: withOutputs((outputs) => [
      ...outputs,
      { amount: sat(400n), script: Uint8Array.of(0x51) },
    ]),
    ...STRANGER,
  },
  {
    tag: "policy-commitment-scripts",
    name: "an output of a script that is no commitment's",
    alter: withOutputs(([first, ...rest]) =>
      first ? [...rest, { ...first, script: Uint8Array.of(0x51) }] : []
    ),
  },
  {
    tag: "policy-commitment-anchor-amount",
    name: "a satoshi more in anchors",
    alter: withOutputs((outputs) =>
      outputs.map((output) =>
        isAnchor(output) ? { ...output, amount: sat(331n) } : output
      )
    ),
    types: [ANCHORS],
  },
  {
    tag: "policy-commitment-anchor-match-fundingkey",
    name: "an anchor for another key",
    alter: (channel) => ({ keys: { broadcasterFunding: another(channel) } }),
    types: [ANCHORS],
    ...STRANGER,
  },
  {
    tag: "policy-commitment-anchor-to-holder",
    name: "our anchor is missing",
    alter: withoutAnchor(true),
    types: [ANCHORS],
  },
  {
    tag: "policy-commitment-anchor-to-counterparty",
    name: "the peer's anchor is missing",
    alter: withoutAnchor(false),
    types: [ANCHORS],
  },
  {
    tag: "policy-commitment-anchors-not-when-off",
    name: "anchors in a channel without them",
    alter: () => ({ terms: { hasAnchors: true } }),
    types: [PLAIN],
    ...STRANGER,
  },
  {
    tag: "policy-commitment-anchor-static-remotekey",
    name: "to_remote waits two blocks",
    alter: () => ({ terms: { toRemoteCsv: 2 } }),
    types: [ANCHORS],
    ...STRANGER,
  },
  {
    tag: "policy-commitment-anchor-static-remotekey",
    name: "to_remote is a plain key",
    alter: (channel, side) => {
      const keys = side === "holder" ? channel.theirs : channel.ours;
      return {
        tx: (tx) => {
          const largest = side === "holder" ? 260_000n : 50_000n;
          const outputs = tx.outputs.map((output) =>
            output.amount === largest
              ? { ...output, script: p2wpkh(keys.payment.point) }
              : output
          );
          return { ...tx, outputs };
        },
      };
    },
    types: [ANCHORS],
    ...STRANGER,
  },
];

const PART_CASES = PARTS.flatMap(({ types = TYPES, alter, name, ...rest }) =>
  types.flatMap((type) =>
    SIDES.map((side): RuleCase => ({
      ...rest,
      name: `${name} (${side}'s, type ${type})`,
      make: () => part(side, type, alter),
    }))
  )
);

// ------------------------------------------------------------ what it says

/** Two contents of the same channel, one valid. */
function contents(
  side: Side,
  valid: (channel: TestChannel, content: Content) => Content,
  altered: (channel: TestChannel, content: Content) => Content,
  options: NodeOptions = {},
): Pair {
  const { node, channel, content } = running(PLAIN, options);
  return {
    node,
    valid: next(channel, side, valid(channel, content)),
    altered: next(channel, side, altered(channel, content)),
  };
}

const same = (_: TestChannel, content: Content) => content;
const adding = (htlc: HsmHtlc) => (channel: TestChannel, content: Content) =>
  channel.adding(htlc, content);
const incoming = (name: string, amount: bigint, cltvExpiry = 1000) =>
  adding(htlcOf(name, amount, { isOurs: false, cltvExpiry }));
const atFeerate = (feerate: number) => (_: TestChannel, content: Content) => ({
  ...content,
  feerate,
});

/** A fee of 54,300 sat, and the feerates that are declared for it. */
function declaring(side: Side, valid: number, altered: number): Pair {
  const { node, channel } = running(PLAIN);
  const content = { ...channel.content, feerate: 75_000 };
  const declare = (feerate: number) =>
    side === "holder"
      ? channel.validate(1n, content, { changes: { feerate } })
      : channel.signTheirs(1n, content, { changes: { feerate } });
  return { node, valid: declare(valid), altered: declare(altered) };
}

/** Balance that leaves us without an HTLC, and how much of it may. */
function moving(side: Side, valid: bigint, altered: bigint): Pair {
  const take = (amount: bigint) => (_: TestChannel, content: Content) => ({
    ...content,
    ours: content.ours - amount * 1000n,
    theirs: content.theirs + amount * 1000n,
  });
  return contents(side, take(valid), take(altered));
}

const SAYS: readonly ((side: Side) => RuleCase)[] = [
  (side) => ({
    tag: "policy-commitment-htlc-count-limit",
    name: `a third HTLC (${side}'s)`,
    make: () =>
      contents(side, same, incoming("third", 10_000n), {
        limits: { max_htlcs: "2" },
      }),
  }),
  (side) => ({
    tag: "policy-commitment-htlc-inflight-limit",
    name: `a satoshi too many in HTLCs (${side}'s)`,
    make: () =>
      contents(side, incoming("more", 10_000n), incoming("more", 10_001n), {
        limits: { max_htlc_value_sat: "100000" },
      }),
  }),
  ...(["policy-commitment-htlc-cltv-range", "policy-htlc-cltv-range"] as const)
    .map((tag) => (side: Side): RuleCase => ({
      tag,
      name: `an expiry that is a time (${side}'s)`,
      make: () =>
        contents(
          side,
          incoming("late", 10_000n, 499_999_999),
          incoming("late", 10_000n, 500_000_000),
        ),
    })),
  (side) => ({
    tag: "policy-commitment-outputs-trimmed",
    name: `an HTLC that is dust (${side}'s)`,
    make: () => {
      // Theirs: we claim with success on ours, they with timeout on theirs.
      const least = side === "holder" ? 330n + 703n : 330n + 663n;
      return contents(
        side,
        incoming("dust", least),
        incoming("dust", least - 1n),
      );
    },
  }),
  (side) => ({
    tag: "policy-commitment-outputs-trimmed",
    name: `a balance that is dust (${side}'s)`,
    make: () => {
      const { node, channel, content } = running(PLAIN);
      // All but so much is on its way to us.
      const rest = (left: bigint) =>
        channel.adding(
          htlcOf("rest", content.theirs / 1000n - left, { isOurs: false }),
          content,
        );
      const small = rest(354n);
      return {
        node,
        valid: next(channel, side, small),
        altered: next(channel, side, small, {
          tx: (tx) => ({
            ...tx,
            outputs: tx.outputs.map((output) =>
              output.amount === 354n ? { ...output, amount: sat(353n) } : output
            ),
          }),
        }),
      };
    },
  }),
  (side) => ({
    tag: "policy-commitment-fee-range",
    name: `a feerate that is too low (${side}'s)`,
    make: () => contents(side, atFeerate(253), atFeerate(252)),
  }),
  (side) => ({
    tag: "policy-commitment-fee-range",
    name: `a feerate that is too high (${side}'s)`,
    make: () =>
      contents(side, atFeerate(2000), atFeerate(2001), {
        limits: { max_feerate_per_kw: "2000" },
      }),
  }),
  (side) => ({
    tag: "policy-commitment-fee-range",
    name: `less is declared than paid (${side}'s)`,
    make: () => declaring(side, 5028, 5027),
  }),
  (side) => ({
    tag: "policy-commitment-fee-range",
    name: `more is paid out than there is (${side}'s)`,
    make: () => {
      const { node, channel, content } = running(PLAIN);
      // The fee of two HTLCs, and a satoshi.
      const theirs = content.theirs + 1_069_000n;
      return {
        node,
        valid: next(channel, side, content),
        altered: next(channel, side, { ...content, theirs }),
      };
    },
    behind: /outputs of 1000001 sat/,
  }),
  (side) => ({
    tag: "policy-commitment-balance",
    name: `a loss without a payment (${side}'s)`,
    make: () => moving(side, 50_003n, 50_004n),
  }),
];

const SAY_CASES = SAYS.flatMap((make) => SIDES.map(make));

// ---------------------------------------------------------- commitment zero

function zero(
  side: Side,
  isOutbound: boolean,
  valid: (content: Content) => Content,
  altered: (content: Content) => Content,
): Pair {
  const node = new TestNode();
  const channel = new TestChannel(node, { isOutbound, push: 300_000_000n })
    .begin();
  const first = (content: Content) =>
    side === "holder"
      ? channel.validate(0n, content)
      : channel.signTheirs(0n, content);
  return {
    node,
    valid: first(valid(channel.content)),
    altered: first(altered(channel.content)),
  };
}

const giving = (toUs: bigint) => (content: Content) => ({
  ...content,
  ours: content.ours + toUs * 1000n,
  theirs: content.theirs - toUs * 1000n,
});

const ZERO_CASES = SIDES.flatMap((side): RuleCase[] => [
  {
    tag: "policy-commitment-first-no-htlcs",
    name: `an HTLC at once (${side}'s)`,
    make: () =>
      zero(side, true, giving(0n), (content) => {
        const htlc = htlcOf("early", 10_000n, { isOurs: false });
        return {
          ...content,
          theirs: content.theirs - htlc.amount,
          htlcs: [htlc],
        };
      }),
  },
  {
    tag: "policy-commitment-initial-funding-value",
    name: `the peer gets more than was pushed (${side}'s)`,
    make: () => zero(side, true, giving(1n), giving(-1n)),
  },
  {
    tag: "policy-commitment-initial-funding-value",
    name: `we get less than was pushed (${side}'s)`,
    // What is below the dust limit may be left out of an output.
    make: () => zero(side, false, giving(-353n), giving(-354n)),
  },
]);

testRules([...PART_CASES, ...SAY_CASES, ...ZERO_CASES]);

Deno.test("an owner may want no fee at all", () => {
  const { node, channel } = running(PLAIN, {
    limits: { min_feerate_per_kw: "0" },
  });
  const free = { ...channel.content, feerate: 0 };
  for (const side of SIDES) {
    assert.equal(node.try(next(channel, side, free)).refusal, null);
  }
});

Deno.test("inputs are counted in words", () => {
  const { node, channel, content } = running(PLAIN);
  const refusal = (change: (tx: Tx) => Tx) =>
    node.try(next(channel, "holder", content, { tx: change })).refusal ?? "";
  assert.match(
    refusal((tx) => ({ ...tx, inputs: [...tx.inputs, ...tx.inputs] })),
    /2 inputs/,
  );
  assert.match(
    refusal((tx) => ({
      ...tx,
      inputs: tx.inputs.map((input) => ({ ...input, index: 9 })),
    })),
    /an output that is not the channel's/,
  );
});

Deno.test("the largest channel opens, with nothing for the peer", () => {
  const node = new TestNode({ limits: { max_channel_size_sat: "1000000" } });
  new TestChannel(node).open().move({ feerate: 1001 });
});

Deno.test("dust is named for what it is", () => {
  const { node, channel, content } = running(PLAIN);
  const words = (name: string, content: Content, alter: Alteration = {}) =>
    assert.match(
      node.try(next(channel, "counterparty", content, alter)).refusal ?? "",
      new RegExp(name),
    );
  words("HTLC of 992 sat", incoming("dust", 992n)(channel, content));
  const small = { ...content, theirs: 354_000n };
  words("output of 353 sat", small, {
    tx: (tx) => ({
      ...tx,
      outputs: tx.outputs.map((output) =>
        output.amount === 354n ? { ...output, amount: sat(353n) } : output
      ).sort(compareOutputs),
    }),
  });
});

Deno.test("a fee reference raises the bound while it is current by our clock", () => {
  const node = new TestNode({ limits: { max_feerate_per_kw: "2000" } });
  const channel = new TestChannel(node, { type: PLAIN, push: 300_000_000n })
    .open();
  const refusal = () =>
    node.try(channel.signTheirs(1n, { ...channel.content, feerate: 2001 }))
      .refusal ?? "";
  const tell = (time: number) =>
    node.do(fed(encodeMessage(SIGNER_MESSAGES.fee_reference, {
      feeratePerKw: 1000,
      time: BigInt(time),
    })));
  assert.match(refusal(), /fee-range/);
  tell(node.now);
  assert.equal(refusal(), "");
  node.now += 3600;
  assert.equal(refusal(), "");
  node.now += 1;
  assert.match(refusal(), /fee-range/);
  tell(node.now + 7200);
  assert.equal(refusal(), "");
  tell(node.now + 7201);
  assert.match(refusal(), /fee-range/);
});

Deno.test("a peer that pays may raise fees up to the hard maximum", () => {
  const limits = {
    max_feerate_per_kw: "2000",
    hard_max_feerate_per_kw: "3000",
  };
  const refusal = (type: string, isOutbound: boolean, feerate: number) => {
    const node = new TestNode({ limits });
    const push = 300_000_000n;
    const channel = new TestChannel(node, { type, isOutbound, push }).open();
    const content = { ...channel.content, feerate };
    return node.try(channel.signTheirs(1n, content)).refusal;
  };
  assert.equal(refusal(ANCHORS, false, 3000), null);
  const refused = [
    refusal(ANCHORS, false, 3001),
    refusal(PLAIN, false, 2001),
    refusal(ANCHORS, true, 2001),
  ];
  for (const words of refused) assert.match(words ?? "", /fee-range/);
});
