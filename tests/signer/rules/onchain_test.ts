/**
 * Rules of transactions that spend the wallet: where coins go, what they fund,
 * what they cost.
 *
 * @module
 */

import assert from "node:assert/strict";
import { p2wsh } from "../../../src/bitcoin/script.ts";
import { type Tx, txidOf } from "../../../src/bitcoin/tx.ts";
import { deriveWalletKey } from "../../../src/keyderiv/node.ts";
import {
  type Asked,
  type ChannelOptions,
  coinOf,
  inputOf,
  type NodeOptions,
  NOW,
  type OutputPath,
  psbtOf,
  sat,
  TestChannel,
  TestNode,
  withdrawal,
} from "../../support/channel.ts";
import { YES } from "../../support/strict.ts";
import { type Pair, type RuleCase, testRules } from "./cases.ts";

const STRANGER = Uint8Array.fromHex(`0014${"11".repeat(20)}`);

type Spend = Omit<Tx, "inputs">;
type Paths = readonly (OutputPath | null)[];

/** A coin of 1,000,000 sat that pays the wallet, less a fee. */
function toWallet(node: TestNode, changes: Partial<Spend> = {}): Spend {
  const output = { amount: sat(999_000n), script: node.walletScript(5) };
  return { version: 2, outputs: [output], locktime: 0, ...changes };
}

const spend = (node: TestNode, tx: Spend, paths: Paths = []): Asked =>
  withdrawal(node, [coinOf(node, 1_000_000n)], tx, paths);

function spends(
  altered: (node: TestNode) => Asked,
  valid: (node: TestNode) => Asked = (node) => spend(node, toWallet(node)),
  owner: NodeOptions = {},
): Pair {
  const node = new TestNode(owner);
  return { node, valid: valid(node), altered: altered(node) };
}

const paying = (script: Uint8Array, amount = 999_000n) => (node: TestNode) =>
  spend(node, toWallet(node, { outputs: [{ amount: sat(amount), script }] }));

const named = (node: TestNode, index: number): OutputPath => ({
  key: deriveWalletKey(node.state.keys, index).point,
  path: [0, 0, index],
});

/** An output for each hundred bytes that are wanted. */
const large = (count: number) => (node: TestNode) =>
  spend(
    node,
    toWallet(node, {
      outputs: Array.from({ length: count }, () => ({
        amount: sat(900n),
        script: node.walletScript(5),
      })),
    }),
  );

const CASES: readonly RuleCase[] = [
  {
    tag: "policy-onchain-format-standard",
    // A PSBT of version 2, as which the stock hsmd takes it, knows no version 1.
    name: "version 3",
    make: () => spends((node) => spend(node, toWallet(node, { version: 3 }))),
  },
  {
    tag: "policy-onchain-max-size",
    name: "more than 32,768 bytes",
    // 53 bytes, and 31 an output.
    make: () => spends(large(1056), large(1055)),
  },
  {
    tag: "policy-onchain-no-unknown-outputs",
    name: "a stranger gets it",
    make: () => spends(paying(STRANGER)),
  },
  {
    tag: "policy-onchain-output-scriptpubkey",
    name: "an output names a wallet key and pays another one",
    make: () =>
      spends(
        (node) => spend(node, toWallet(node), [named(node, 6)]),
        (node) => spend(node, toWallet(node), [named(node, 5)]),
      ),
  },
  {
    tag: "policy-onchain-fee-range",
    name: "a fee that is too high",
    make: () => {
      // 10, 41, 31 and the marker; 107 for the witness: 437 in all.
      const fee = (sats: bigint) => (node: TestNode) =>
        paying(node.walletScript(5), 1_000_000n - sats)(node);
      return spends(fee(438n), fee(437n), {
        limits: { max_feerate_per_kw: "1000" },
      });
    },
  },
  {
    tag: "policy-onchain-fee-range",
    name: "a fee over the limit of a day",
    make: () => {
      const fee = (sats: bigint) => (node: TestNode) =>
        paying(node.walletScript(5), 1_000_000n - sats)(node);
      return spends(fee(2_001n), fee(2_000n), {
        limits: { fee_velocity: "day:2000000" },
      });
    },
  },
  {
    tag: "policy-commitment-other",
    name: "a coin that is said to be smaller than it is",
    make: () =>
      spends((node) => {
        const coin = coinOf(node, 1_000_000n);
        return node.ask("sign_withdrawal", {
          inputs: [{ ...coin, amount: sat(999_999n) }],
          ...psbtIn(node, coin),
        });
      }),
  },
];

/** The PSBT of a withdrawal, apart from its request. */
function psbtIn(node: TestNode, coin: ReturnType<typeof coinOf>) {
  const tx: Tx = { ...toWallet(node), inputs: [inputOf(coin.outpoint)] };
  const { amount, scriptPubkey: script } = coin;
  return { psbt: psbtOf(tx, [{ amount, script }]) };
}

// ------------------------------------------------------------------- funding

/** A withdrawal that funds a channel, which was set up for it. */
function funding(
  options: ChannelOptions & {
    readonly value?: bigint;
    /** What the output holds, when it is not what set-up says. */
    readonly amount?: bigint;
    readonly script?: Uint8Array;
    readonly isCountersigned?: boolean;
    readonly coinScript?: Uint8Array;
  } = {},
  owner: NodeOptions = {},
): { readonly node: TestNode; readonly asked: Asked } {
  const { value = 999_000n, amount = value, isCountersigned = true } = options;
  const node = new TestNode(owner);
  const channel = new TestChannel(node, { ...options, value });
  const { script = p2wsh(channel.fundingScript) } = options;
  const coin = coinOf(node, 1_000_000n);
  const coins = [{
    ...coin,
    scriptPubkey: options.coinScript ?? coin.scriptPubkey,
  }];
  const tx: Tx = {
    version: 2,
    inputs: [inputOf(coin.outpoint)],
    outputs: [{ amount: sat(amount), script }],
    locktime: 0,
  };
  channel.funding = { outpoint: { txid: txidOf(tx), index: 0 }, value };
  node.do(channel.newChannel());
  node.do(channel.setup());
  if (isCountersigned) node.do(channel.validate(0n));
  return { node, asked: withdrawal(node, coins, tx) };
}

type Funding = NonNullable<Parameters<typeof funding>[0]>;

function fundings(altered: Funding, valid: Funding = {}): Pair {
  const good = funding(valid);
  const bad = funding(altered);
  return {
    node: good.node,
    valid: good.asked,
    elsewhere: bad.node,
    altered: bad.asked,
  };
}

const FUNDINGS: readonly RuleCase[] = [
  {
    tag: "policy-onchain-output-match-commitment",
    name: "a satoshi less than set-up says",
    make: () => fundings({ amount: 998_999n }),
  },
  {
    tag: "policy-onchain-output-scriptpubkey",
    name: "another script than the channel's",
    make: () => fundings({ script: STRANGER }),
  },
  {
    tag: "policy-onchain-initial-commitment-countersigned",
    name: "the peer has signed nothing yet",
    make: () => fundings({ isCountersigned: false }),
  },
  {
    tag: "policy-onchain-no-channel-push",
    name: "a satoshi for the peer",
    make: () =>
      fundings(
        { push: 1_000n, feerate: 1000 },
        { push: 999n, feerate: 1000 },
      ),
  },
  {
    tag: "policy-onchain-funding-non-malleable",
    name: "a coin without segwit",
    make: () =>
      fundings({
        coinScript: Uint8Array.fromHex(`76a914${"33".repeat(20)}88ac`),
      }),
    behind: /internal|sign|script/i,
  },
];

testRules([...CASES, ...FUNDINGS]);

Deno.test("a stranger may be paid with the owner's consent, not the fee", () => {
  const node = new TestNode({
    consent: YES,
    limits: { max_feerate_per_kw: "1000" },
  });
  assert.equal(node.try(paying(STRANGER, 999_600n)(node)).refusal, null);
  assert.match(
    node.try(paying(STRANGER)(node)).refusal ?? "",
    /policy-onchain-fee-range/,
  );
});

Deno.test("the fees of a day add up, and a transaction counts once", () => {
  const node = new TestNode({ limits: { fee_velocity: "day:2000000" } });
  const one = (keyindex: number) =>
    withdrawal(node, [coinOf(node, 1_001_000n, keyindex)], {
      version: 2,
      outputs: [{ amount: sat(1_000_000n), script: node.walletScript(9) }],
      locktime: 0,
    });
  node.do(one(1));
  node.do(one(2));
  node.do(one(2));
  assert.match(node.try(one(3)).refusal ?? "", /policy-onchain-fee-range/);
  node.now = NOW + 25 * 3600;
  assert.equal(node.try(one(3)).refusal, null);
});
