/**
 * Rules of sweeps: of what our commitment pays us, of an HTLC on the peer's, and
 * of what the peer has revoked.
 *
 * @module
 */

import assert from "node:assert/strict";
import { p2wsh } from "../../../src/bitcoin/script.ts";
import { type Tx, txidOf } from "../../../src/bitcoin/tx.ts";
import {
  ANCHORS,
  type Asked,
  bitcoinTxOf,
  htlcOf,
  inputOf,
  type NodeOptions,
  PLAIN,
  preapproval,
  sat,
  TestChannel,
  TestNode,
} from "../../support/channel.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

const REQUESTS = ["12", "142", "13", "143", "14", "144"] as const;
type Request = typeof REQUESTS[number];

const STRANGER = Uint8Array.fromHex(`0014${"11".repeat(20)}`);

/** Commitments 0 are revoked, 1 have an HTLC either way. */
function running(type: string, owner: NodeOptions = {}) {
  const node = new TestNode(owner);
  const channel = new TestChannel(node, { type, push: 300_000_000n }).open();
  node.do(preapproval(node, { name: "out", amount: 50_000_000n }));
  const incoming = htlcOf("in", 40_000n, { isOurs: false });
  channel.move(
    channel.adding(
      incoming,
      channel.adding(htlcOf("out", 50_000n, { cltvExpiry: 900 })),
    ),
  );
  return { node, channel };
}

/** What is swept, and how. */
interface Sweep {
  readonly tx: Tx;
  readonly wscript: Uint8Array;
  readonly amount: bigint;
}

/** Whose commitment, which one, and which of its outputs a request is for. */
function sweepOf(channel: TestChannel, request: Request): Sweep {
  const isHolder = request === "12" || request === "142";
  const isPenalty = request === "14" || request === "144";
  const empty = { ...channel.content, ours: 700_000_000n, htlcs: [] };
  const { tx, commitment } = isPenalty
    ? channel.build(false, 0n, { ...empty, theirs: 300_000_000n })
    : channel.build(isHolder, 1n);
  const index = commitment.outputs.findIndex(({ kind }, i) =>
    isHolder || isPenalty
      ? kind === "to_broadcaster"
      : kind === "htlc" && tx.outputs[i]?.amount === 50_000n
  );
  const wscript = commitment.outputs[index]?.witnessScript;
  const amount = tx.outputs[index]?.amount;
  if (!wscript || amount === undefined) assert.fail("there is an output");
  const sequence = isHolder ? 6 : channel.hasAnchors && !isPenalty ? 1 : 0;
  return {
    wscript,
    amount,
    tx: {
      version: 2,
      inputs: [inputOf({ txid: txidOf(tx), index }, sequence)],
      outputs: [{
        amount: sat(amount - 1000n),
        script: channel.node.walletScript(2),
      }],
      // The HTLC that we offered comes back after its expiry.
      locktime: isHolder || isPenalty ? 0 : 900,
    },
  };
}

function ask(
  channel: TestChannel,
  request: Request,
  { tx, wscript, amount }: Sweep,
): Asked {
  const spent = { amount: sat(amount), script: p2wsh(wscript) };
  const { peerId: peerid, dbid: channelDbid } = channel.id;
  const common = { tx: bitcoinTxOf(tx, [spent]), wscript };
  const named = { input: 0, peerid, channelDbid };
  const ofHtlc = {
    remotePerCommitmentPoint: channel.theirPoint(1n),
    optionAnchorOutputs: channel.hasAnchors,
  };
  const revocationSecret = channel.theirSecret(0n);
  const commitNum = 1n;
  switch (request) {
    case "12":
      return channel.ask("sign_delayed_payment_to_us", {
        ...common,
        commitNum,
      });
    case "142":
      return channel.node.ask("sign_any_delayed_payment_to_us", {
        ...common,
        ...named,
        commitNum,
      });
    case "13":
      return channel.ask("sign_remote_htlc_to_us", { ...common, ...ofHtlc });
    case "143":
      return channel.node.ask("sign_any_remote_htlc_to_us", {
        ...common,
        ...named,
        ...ofHtlc,
      });
    case "14":
      return channel.ask("sign_penalty_to_us", {
        ...common,
        revocationSecret,
      });
    case "144":
      return channel.node.ask("sign_any_penalty_to_us", {
        ...common,
        ...named,
        revocationSecret,
      });
  }
}

interface Part {
  readonly tag: RuleCase["tag"];
  readonly name: string;
  readonly owner?: NodeOptions;
  readonly valid?: (sweep: Sweep, channel: TestChannel) => Sweep;
  readonly altered: (sweep: Sweep, channel: TestChannel) => Sweep;
}

const inTx = (change: Partial<Tx>) => (sweep: Sweep): Sweep => ({
  ...sweep,
  tx: { ...sweep.tx, ...change },
});

const paying = (of: (amount: bigint) => bigint) => (sweep: Sweep): Sweep =>
  inTx({
    outputs: sweep.tx.outputs.map((output) => ({
      ...output,
      amount: sat(of(sweep.amount)),
    })),
  })(sweep);

const PARTS: readonly Part[] = [
  {
    tag: "policy-sweep-version",
    name: "version 1",
    altered: inTx({ version: 1 }),
  },
  {
    tag: "policy-sweep-locktime",
    name: "a locktime that is a time",
    altered: inTx({ locktime: 500_000_000 }),
  },
  {
    tag: "policy-sweep-sequence",
    name: "another sequence",
    altered: (sweep) =>
      inTx({
        inputs: sweep.tx.inputs.map((input) => ({ ...input, sequence: 5 })),
      })(sweep),
  },
  {
    tag: "policy-sweep-other",
    name: "a script that is no commitment's",
    altered: (sweep, { fundingScript }) => ({
      ...sweep,
      wscript: fundingScript,
    }),
  },
  {
    tag: "policy-sweep-destination-allowlisted",
    name: "a stranger gets it",
    altered: (sweep) =>
      inTx({
        outputs: sweep.tx.outputs.map((output) => ({
          ...output,
          script: STRANGER,
        })),
      })(sweep),
  },
  {
    tag: "policy-sweep-destination-allowlisted",
    name: "a stranger gets a satoshi",
    altered: (sweep) =>
      inTx({
        outputs: [...sweep.tx.outputs, { amount: sat(1n), script: STRANGER }],
      })(sweep),
  },
  {
    tag: "policy-sweep-fee-range",
    name: "more than half goes to miners",
    owner: {
      limits: { max_feerate_per_kw: "1000", hard_max_feerate_per_kw: "1000" },
    },
    valid: paying((amount) => amount - amount / 2n),
    altered: paying((amount) => amount - amount / 2n - 1n),
  },
];

const CASES = PARTS.flatMap((part) =>
  REQUESTS.flatMap((request) =>
    [PLAIN, ANCHORS].map((type): RuleCase => {
      const { tag, name, owner = {}, altered } = part;
      const { valid = (sweep: Sweep) => sweep } = part;
      return {
        tag,
        name: `${name} (request ${request}, type ${type})`,
        make: (): Pair => {
          const { node, channel } = running(type, owner);
          const sweep = sweepOf(channel, request);
          return {
            node,
            valid: ask(channel, request, valid(sweep, channel)),
            altered: ask(channel, request, altered(sweep, channel)),
          };
        },
      };
    })
  )
);

/** What is asked for with another output's script, number or secret. */
const OTHERS: readonly RuleCase[] = REQUESTS.map((request, i) => ({
  tag: "policy-sweep-other",
  name: `an output of another kind (request ${request})`,
  make: () => {
    const { node, channel } = running(PLAIN);
    const sweep = sweepOf(channel, request);
    const other = REQUESTS[(i + 2) % REQUESTS.length] ?? request;
    const { wscript } = sweepOf(channel, other);
    return {
      node,
      valid: ask(channel, request, sweep),
      altered: ask(channel, request, { ...sweep, wscript }),
    };
  },
}));

testRules([...CASES, ...OTHERS, {
  tag: "policy-sweep-locktime",
  name: "a locktime after the expiry of an HTLC",
  make: () => {
    const { node, channel } = running(PLAIN);
    const sweep = sweepOf(channel, "143");
    return {
      node,
      valid: ask(channel, "143", sweep),
      altered: ask(channel, "143", inTx({ locktime: 901 })(sweep)),
    };
  },
}]);
