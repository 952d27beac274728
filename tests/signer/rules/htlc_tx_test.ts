/**
 * Rules of HTLC transactions, for the peer's commitments and for ours, with
 * anchors and without.
 *
 * @module
 */

import { p2wsh } from "../../../src/bitcoin/script.ts";
import type { Tx } from "../../../src/bitcoin/tx.ts";
import {
  type Alteration,
  ANCHORS,
  type Asked,
  bitcoinTxOf,
  htlcOf,
  PLAIN,
  preapproval,
  sat,
  type SpentHtlc,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

/** Whose commitment: ours is asked about by lightningd, and before by onchaind. */
const REQUESTS = ["20", "16", "146"] as const;
type Request = typeof REQUESTS[number];

/** A channel with an HTLC either way in the last commitments of both sides. */
function running(type: string) {
  const node = new TestNode();
  const channel = new TestChannel(node, { type, push: 300_000_000n }).open();
  node.do(preapproval(node, { name: "out", amount: 50_000_000n }));
  const incoming = htlcOf("in", 40_000n, { isOurs: false, cltvExpiry: 900 });
  channel.move(
    channel.adding(incoming, channel.adding(htlcOf("out", 50_000n))),
  );
  return { node, channel };
}

/** The HTLC transaction of one of the two HTLCs. */
function htlcTx(
  channel: TestChannel,
  request: Request,
  isOurs: boolean,
  { keys = {}, terms = {} }: Alteration = {},
): SpentHtlc {
  const isHolder = request !== "20";
  const built = channel.build(isHolder, 1n);
  const altered = {
    ...built,
    keys: { ...built.keys, ...keys },
    terms: { ...built.terms, ...terms },
  };
  const amount = isOurs ? 50_000n : 40_000n;
  const found = channel.htlcTxs(altered, isHolder)
    .find((each) => each.amount === amount);
  if (found === undefined) throw new Error("No such HTLC");
  return found;
}

function ask(
  channel: TestChannel,
  request: Request,
  { tx, wscript, amount }: SpentHtlc,
  optionAnchorOutputs = channel.hasAnchors,
): Asked {
  const spent = { amount: sat(amount), script: p2wsh(wscript) };
  const common = {
    tx: bitcoinTxOf(tx, [spent]),
    wscript,
    optionAnchorOutputs,
  };
  const { peerId: peerid, dbid: channelDbid } = channel.id;
  switch (request) {
    case "20":
      return channel.ask("sign_remote_htlc_tx", {
        ...common,
        remotePerCommitPoint: channel.theirPoint(1n),
      });
    case "16":
      return channel.ask("sign_local_htlc_tx", { ...common, commitNum: 1n });
    case "146":
      return channel.node.ask("sign_any_local_htlc_tx", {
        ...common,
        commitNum: 1n,
        input: 0,
        peerid,
        channelDbid,
      });
  }
}

interface Part {
  readonly tag: RuleCase["tag"];
  readonly name: string;
  /** Keys and terms of the transaction's output. */
  readonly alter?: (channel: TestChannel) => Alteration;
  readonly tx?: (tx: Tx) => Tx;
}

const another = (channel: TestChannel) => channel.theirs.payment.point;

const onOutput = (change: (amount: bigint) => bigint) => (tx: Tx): Tx => ({
  ...tx,
  outputs: tx.outputs.map(({ amount, script }) => ({
    amount: sat(change(amount)),
    script,
  })),
});

const onInput = (change: Partial<Tx["inputs"][number]>) => (tx: Tx): Tx => ({
  ...tx,
  inputs: tx.inputs.map((input) => ({ ...input, ...change })),
});

const PARTS: readonly Part[] = [
  {
    tag: "policy-htlc-version",
    name: "version 1",
    tx: (tx) => ({ ...tx, version: 1 }),
  },
  {
    tag: "policy-htlc-sequence",
    name: "another sequence",
    tx: onInput({ sequence: 2 }),
  },
  {
    tag: "policy-htlc-to-self-delay",
    name: "another delay",
    alter: () => ({ terms: { toSelfDelay: 9 } }),
  },
  {
    tag: "policy-htlc-revocation-pubkey",
    name: "another revocation key",
    alter: (channel) => ({ keys: { revocation: another(channel) } }),
  },
  {
    tag: "policy-htlc-delayed-pubkey",
    name: "another delayed key",
    alter: (channel) => ({ keys: { delayed: another(channel) } }),
  },
  {
    tag: "policy-htlc-other",
    name: "an output more",
    tx: (tx) => ({ ...tx, outputs: [...tx.outputs, ...tx.outputs] }),
  },
  {
    tag: "policy-htlc-locktime",
    name: "another locktime",
    tx: (tx) => ({ ...tx, locktime: tx.locktime + 1 }),
    // The signer builds the transaction that it should be, and compares.
  },
  {
    tag: "policy-htlc-fee-range",
    name: "a satoshi more of fees",
    tx: onOutput((amount) => amount - 1n),
  },
];

const CASES = PARTS.flatMap(({ alter = () => ({}), tx, ...rest }) =>
  REQUESTS.flatMap((request) =>
    [PLAIN, ANCHORS].flatMap((type) =>
      [true, false].map((isOurs): RuleCase => ({
        ...rest,
        name: `${rest.name} (${request}, type ${type}, ` +
          `${isOurs ? "out" : "in"})`,
        make: (): Pair => {
          const { node, channel } = running(type);
          const altered = htlcTx(channel, request, isOurs, alter(channel));
          return {
            node,
            valid: ask(channel, request, htlcTx(channel, request, isOurs)),
            altered: ask(channel, request, {
              ...altered,
              tx: tx?.(altered.tx) ?? altered.tx,
            }),
          };
        },
      }))
    )
  )
);

const OTHERS: readonly RuleCase[] = REQUESTS.flatMap((request) => [
  {
    tag: "policy-htlc-other",
    name: `as if there were anchors (${request})`,
    make: () => {
      const { node, channel } = running(PLAIN);
      const htlc = htlcTx(channel, request, true);
      return {
        node,
        valid: ask(channel, request, htlc),
        altered: ask(channel, request, htlc, true),
      };
    },
  },
  {
    tag: "policy-htlc-other",
    name: `an amount that no HTLC has (${request})`,
    make: () => {
      const { node, channel } = running(PLAIN);
      const htlc = htlcTx(channel, request, true);
      return {
        node,
        valid: ask(channel, request, htlc),
        altered: ask(channel, request, { ...htlc, amount: 50_001n }),
      };
    },
  },
  {
    tag: "policy-htlc-other",
    name: `a commitment that nobody knows (${request})`,
    make: () => {
      const { node, channel } = running(PLAIN);
      const htlc = htlcTx(channel, request, true);
      const { txid } = channel.funding.outpoint;
      return {
        node,
        valid: ask(channel, request, htlc),
        altered: ask(channel, request, {
          ...htlc,
          tx: onInput({ txid })(htlc.tx),
        }),
      };
    },
  },
]);

testRules([...CASES, ...OTHERS]);
