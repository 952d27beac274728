/**
 * The monitor: one channel's life on the chain, its ends, and reorgs over them.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { type Tx, txidOf } from "../../src/bitcoin/tx.ts";
import {
  BlockSearch,
  type Findings,
  outpointKey,
} from "../../src/bitcoin/txo_proof.ts";
import {
  alarmsOf,
  type ChannelFacts,
  doubleSpendHeight,
  dropBlock,
  endOf,
  followOutputs,
  FORGET_DEPTH,
  fundingHeight,
  type KnownCommitment,
  mayForget,
  type MonitorState,
  openOutputs,
  type OutputRole,
  takeBlock,
  watchesOf,
} from "../../src/signer/monitor.ts";
import {
  type HsmHtlc,
  type Msat,
  type Sat,
  type Sha256,
  SIDE_LOCAL,
  SIDE_REMOTE,
  type Txid,
} from "../../src/wire/types.ts";
import { runs } from "../support/arbitrary.ts";
import { coinbaseTx, spendingTx } from "../support/chain.ts";

const OBSCURER = 0x1234_5678_9abcn;
const MARGINS = { received: 10, offered: 5 };

const coin = { txid: txidOf(coinbaseTx(1)), index: 0 };
const fundingTx = spendingTx([coin], 1);
const FUNDING = { txid: txidOf(fundingTx), index: 1 };

/** A commitment's form, with outputs of these amounts. */
function commitment(number: bigint, amounts: readonly bigint[]): Tx {
  const hidden = number ^ OBSCURER;
  return {
    ...spendingTx([FUNDING], 0),
    inputs: spendingTx([FUNDING], 0).inputs.map((input) => ({
      ...input,
      sequence: 0x8000_0000 + Number(hidden >> 24n),
    })),
    outputs: amounts.map((amount, i) => ({
      amount: amount as Sat,
      script: Uint8Array.of(0x51, i),
    })),
    locktime: 0x2000_0000 + Number(hidden & 0xff_ffffn),
  };
}

function htlc(side: 0 | 1, cltvExpiry: number): HsmHtlc {
  return {
    side,
    amount: 5_000_000n as Msat,
    paymentHash: new Uint8Array(32) as Uint8Array as Sha256,
    cltvExpiry,
  };
}

const SECOND_LEVEL = Uint8Array.of(0x51, 0x99);
const OFFERED = htlc(SIDE_LOCAL, 500);
const RECEIVED = htlc(SIDE_REMOTE, 600);

function roles(secondLevel: Uint8Array | null): OutputRole[] {
  return [
    { kind: "anchor" },
    { kind: "ours" },
    { kind: "theirs" },
    { kind: "htlc", htlc: OFFERED, secondLevel },
    { kind: "htlc", htlc: RECEIVED, secondLevel },
  ];
}

const AMOUNTS = [330n, 7000n, 8000n, 5000n, 5000n];
const OURS = commitment(7n, AMOUNTS);
const THEIRS = commitment(8n, AMOUNTS);
const REVOKED = commitment(3n, [330n, 330n, 9000n, 6000n]);
const MUTUAL = spendingTx([FUNDING], 50);

const KNOWN: readonly KnownCommitment[] = [
  {
    txid: txidOf(OURS),
    isOurs: true,
    number: 7n,
    outputs: roles(SECOND_LEVEL),
  },
  { txid: txidOf(THEIRS), isOurs: false, number: 8n, outputs: roles(null) },
];

const FACTS: ChannelFacts = {
  fundings: [{ outpoint: FUNDING, inputs: [coin] }],
  closes: [txidOf(MUTUAL)],
  known: KNOWN,
  obscurer: OBSCURER,
  revoked: 8n,
  htlcs: [OFFERED, RECEIVED],
  claimed: new Set(),
  isForgotten: true,
};

/** Looks for what the monitor watches, as the tracker does. */
function search(
  state: MonitorState,
  facts: ChannelFacts,
  txs: readonly Tx[],
): Findings {
  const found = new BlockSearch(watchesOf(state, facts), followOutputs);
  for (const tx of txs) found.take(tx, txidOf(tx));
  return found.findings;
}

/** Nothing has happened yet. */
const NO_EVENTS: MonitorState = { events: [] };

/** A chain of blocks, each with these transactions, from a height on. */
function play(
  blocks: readonly (readonly Tx[])[],
  { facts = FACTS, from = 100, state = NO_EVENTS } = {},
): MonitorState {
  return blocks.reduce(
    (now, txs, i) =>
      takeBlock(now, facts, {
        height: from + i,
        findings: search(now, facts, txs),
      }),
    state,
  );
}

const spendOutput = (tx: Tx, index: number, mark = 60): Tx =>
  spendingTx([{ txid: txidOf(tx), index }], mark);

const unrelated = spendingTx([{ txid: txidOf(coinbaseTx(5)), index: 0 }], 9);

Deno.test("A funding transaction is watched for, and its height kept", () => {
  const watches = watchesOf(NO_EVENTS, FACTS);
  assert.ok(watches.txids.has(FUNDING.txid.toHex()));
  assert.ok(watches.outpoints.has(outpointKey(FUNDING)));
  assert.ok(watches.outpoints.has(outpointKey(coin)));
  const state = play([[unrelated], [unrelated, fundingTx], []]);
  assert.equal(fundingHeight(state, FUNDING), 101);
  assert.equal(doubleSpendHeight(state, FUNDING), null);
  assert.equal(endOf(state), null);
  assert.equal(fundingHeight(dropBlock(state, 101), FUNDING), null);
  assert.equal(fundingHeight(dropBlock(state, 102), FUNDING), 101);
});

Deno.test("A funding input that another transaction spends is a double spend", () => {
  const other = spendingTx([coin], 44);
  const state = play([[other]]);
  assert.equal(doubleSpendHeight(state, FUNDING), 100);
  const alarms = alarmsOf(state, { ...FACTS, htlcs: [] }, {
    height: 100,
    margins: MARGINS,
  });
  assert.deepEqual(alarms, [{ kind: "double_spend", txid: txidOf(other) }]);
  assert.equal(mayForget(state, FACTS, 100 + FORGET_DEPTH - 2), false);
  assert.equal(mayForget(state, FACTS, 100 + FORGET_DEPTH - 1), true);
  const kept = { ...FACTS, isForgotten: false };
  assert.equal(mayForget(state, kept, 100 + FORGET_DEPTH), false);
  assert.equal(doubleSpendHeight(dropBlock(state, 100), FUNDING), null);
});

Deno.test("A funding that replaces another one is no double spend to warn of", () => {
  const again = spendingTx([coin], 45);
  const outpoint = { txid: txidOf(again), index: 0 };
  const facts: ChannelFacts = {
    ...FACTS,
    htlcs: [],
    fundings: [...FACTS.fundings, { outpoint, inputs: [coin] }],
  };
  const state = play([[again]], { facts });
  assert.equal(doubleSpendHeight(state, FUNDING), 100);
  assert.equal(fundingHeight(state, outpoint), 100);
  assert.deepEqual(
    alarmsOf(state, facts, { height: 100, margins: MARGINS }),
    [],
  );
  assert.equal(mayForget(state, facts, 900), false);
});

Deno.test("What spends the funding output says how the channel ended", () => {
  const strange = spendingTx([FUNDING], 51);
  const future = commitment(12n, [9000n]);
  const commit = { kind: "commitment" } as const;
  const rows = [
    [MUTUAL, { kind: "mutual" }],
    [strange, { kind: "unknown" }],
    [OURS, {
      ...commit,
      isOurs: true,
      number: 7n,
      isRevoked: false,
      isKnown: true,
    }],
    [THEIRS, {
      ...commit,
      isOurs: false,
      number: 8n,
      isRevoked: false,
      isKnown: true,
    }],
    [REVOKED, {
      ...commit,
      isOurs: false,
      number: 3n,
      isRevoked: true,
      isKnown: false,
    }],
    [future, {
      ...commit,
      isOurs: false,
      number: 12n,
      isRevoked: false,
      isKnown: false,
    }],
  ] as const;
  for (const [tx, closing] of rows) {
    for (const blocks of [[[fundingTx], [tx]], [[fundingTx, tx]]]) {
      const end = endOf(play(blocks));
      assert.deepEqual(end?.closing, closing);
      assert.deepEqual(end?.txid, txidOf(tx));
      assert.equal(endOf(dropBlock(play(blocks), 100)), null);
    }
  }
});

Deno.test("A known commitment of theirs is revoked when its number is", () => {
  const facts = { ...FACTS, revoked: 9n };
  const end = endOf(play([[fundingTx], [THEIRS]], { facts }));
  assert.equal(end?.closing.kind, "commitment");
  assert.equal(
    end?.closing.kind === "commitment" && end.closing.isRevoked,
    true,
  );
  // Then their own output is to be taken as well.
  assert.equal(end?.outputs.length, 4);
});

Deno.test("A splice goes on with the next output", () => {
  const splice = spendingTx([FUNDING], 70);
  const outpoint = { txid: txidOf(splice), index: 0 };
  const facts: ChannelFacts = {
    ...FACTS,
    fundings: [...FACTS.fundings, { outpoint, inputs: [FUNDING] }],
  };
  const state = play([[fundingTx], [splice]], { facts });
  assert.equal(endOf(state), null);
  assert.equal(fundingHeight(state, outpoint), 101);
  const closed = play([[spendingTx([outpoint], 71)]], {
    facts,
    state,
    from: 102,
  });
  assert.deepEqual(endOf(closed)?.closing, { kind: "unknown" });
  // A commitment on the old output makes the splice impossible: no news.
  const instead = play([[fundingTx], [OURS]], { facts });
  assert.equal(doubleSpendHeight(instead, outpoint), 101);
  const alarms = alarmsOf(instead, facts, { height: 101, margins: MARGINS });
  assert.deepEqual(alarms, []);
});

Deno.test("Our commitment is over when all that is ours was taken", () => {
  const timeout = spendOutput(OURS, 3);
  const second = {
    ...timeout,
    outputs: timeout.outputs.map((output) => ({
      ...output,
      script: SECOND_LEVEL,
    })).slice(0, 1),
  };
  const steps = [
    [[OURS], 3],
    [[spendOutput(OURS, 0)], 3], // the anchor
    [[spendOutput(OURS, 2)], 3], // theirs
    [[spendOutput(OURS, 1)], 2],
    [[second], 2], // its output waits for us
    [[spendOutput(second, 0)], 1],
    [[spendOutput(OURS, 4, 61)], 0], // taken by the peer with the preimage
  ] as const;
  let state = play([[fundingTx]]);
  for (const [i, [txs, open]] of steps.entries()) {
    state = play([txs], { state, from: 101 + i });
    assert.equal(openOutputs(state).length, open, `step ${i}`);
    const isLast = i === steps.length - 1;
    assert.equal(mayForget(state, FACTS, 1000), isLast);
  }
  const last = 101 + steps.length - 1;
  assert.equal(mayForget(state, FACTS, last + FORGET_DEPTH - 2), false);
  assert.equal(mayForget(state, FACTS, last + FORGET_DEPTH - 1), true);
  // A reorg over the last spend opens it again.
  assert.equal(openOutputs(dropBlock(state, last)).length, 1);
});

Deno.test("All in one block is all in many", () => {
  const htlcTx = {
    ...spendOutput(OURS, 3),
    outputs: [{ amount: 4000n as Sat, script: SECOND_LEVEL }],
  };
  const sweep = spendOutput(htlcTx, 0, 62);
  const blocks = [[fundingTx], [OURS], [htlcTx], [sweep]];
  const many = openOutputs(play(blocks));
  const one = openOutputs(play([blocks.flat()]));
  assert.deepEqual(one, many);
  assert.deepEqual(one.map(({ role }) => role.kind), ["ours", "htlc"]);
});

Deno.test("A revoked commitment alarms until all of it was taken", () => {
  const state = play([[fundingTx], [REVOKED]]);
  const facts = { ...FACTS, htlcs: [] };
  const at = { height: 101, margins: MARGINS };
  const txid = txidOf(REVOKED);
  const alarm = { kind: "revoked_commitment", txid, number: 3n } as const;
  assert.deepEqual(alarmsOf(state, facts, at), [{ ...alarm, unclaimed: 2 }]);
  const claimed = new Set([outpointKey({ txid, index: 2 })]);
  assert.deepEqual(alarmsOf(state, { ...facts, claimed }, at), [
    { ...alarm, unclaimed: 1 },
  ]);
  const penalty = spendingTx([{ txid, index: 2 }, { txid, index: 3 }], 80);
  const taken = play([[penalty]], { state, from: 102 });
  assert.deepEqual(alarmsOf(taken, facts, at), []);
  assert.equal(mayForget(taken, facts, 102 + FORGET_DEPTH), true);
});

Deno.test("A spend that we know nothing of alarms, and is never forgotten", () => {
  const strange = spendingTx([FUNDING], 51);
  const state = play([[fundingTx], [strange]]);
  const facts = { ...FACTS, htlcs: [] };
  const alarms = alarmsOf(state, facts, { height: 101, margins: MARGINS });
  assert.deepEqual(alarms, [{ kind: "unknown_spend", txid: txidOf(strange) }]);
  assert.equal(mayForget(state, facts, 10_000), false);
  const mutual = play([[fundingTx], [MUTUAL]]);
  const none = alarmsOf(mutual, facts, { height: 101, margins: MARGINS });
  assert.deepEqual(none, []);
  assert.equal(mayForget(mutual, facts, 101 + FORGET_DEPTH - 1), true);
});

Deno.test("HTLC deadlines: before it expires coming in, after it going out", () => {
  const open = play([[fundingTx]]);
  const hashes = (state: MonitorState, height: number, facts = FACTS) =>
    alarmsOf(state, facts, { height, margins: MARGINS })
      .flatMap((alarm) =>
        alarm.kind === "htlc_deadline"
          ? [[alarm.htlc.cltvExpiry, alarm.blocksLeft]]
          : []
      );
  assert.deepEqual(hashes(open, 504), []);
  assert.deepEqual(hashes(open, 505), [[500, -5]]);
  assert.deepEqual(hashes(open, 589), [[500, -89]]);
  assert.deepEqual(hashes(open, 590), [[500, -90], [600, 10]]);
  // On the chain: what was claimed, or spent, is no worry any more.
  const closed = play([[OURS]], { state: open, from: 101 });
  assert.deepEqual(hashes(closed, 590), [[500, -90], [600, 10]]);
  const txid = txidOf(OURS);
  const claimed = new Set([outpointKey({ txid, index: 3 })]);
  assert.deepEqual(hashes(closed, 590, { ...FACTS, claimed }), [[600, 10]]);
  const spent = play([[spendOutput(OURS, 4)]], { state: closed, from: 102 });
  assert.deepEqual(hashes(spent, 590), [[500, -90]]);
  const mutual = play([[MUTUAL]], { state: open, from: 101 });
  assert.deepEqual(hashes(mutual, 900), []);
});

Deno.test("Any reorg leaves what a chain without it would have left", () => {
  const pool: readonly Tx[] = [
    fundingTx,
    OURS,
    spendOutput(OURS, 1),
    spendOutput(OURS, 3),
    spendOutput(OURS, 4),
    unrelated,
  ];
  // A transaction comes after its parents and once: a cut of the pool.
  const plan = fc.tuple(
    fc.array(fc.nat(3), { minLength: 1, maxLength: 6 }),
    fc.array(fc.nat(3), { maxLength: 6 }),
    fc.nat(6),
  );
  const blocksOf = (sizes: readonly number[], from: number) => {
    let at = from;
    return sizes.map((size) => pool.slice(at, at += size));
  };
  fc.assert(
    fc.property(plan, ([first, second, cut]) => {
      const kept = Math.min(cut, first.length);
      const blocks = blocksOf(first, 0);
      const common = blocks.slice(0, kept);
      const at = common.flat().length;
      const branch = blocksOf(second, at);
      const old = play(blocks);
      const back = dropBlock(old, 100 + kept);
      assert.deepEqual(back, play(common));
      const state = play(branch, { state: back, from: 100 + kept });
      assert.deepEqual(state, play([...common, ...branch]));
      assert.ok(state.events.length <= 20);
    }),
    { numRuns: runs() },
  );
});

Deno.test("A channel whose funding we did not pay watches its output only", () => {
  const facts: ChannelFacts = {
    ...FACTS,
    fundings: [{ outpoint: FUNDING, inputs: [] }],
  };
  assert.equal(watchesOf(NO_EVENTS, facts).outpoints.size, 1);
  const empty: ChannelFacts = { ...facts, fundings: [] };
  assert.equal(mayForget(NO_EVENTS, empty, 10_000), false);
  const nobody = { txid: new Uint8Array(32) as Uint8Array as Txid, index: 0 };
  assert.equal(fundingHeight(NO_EVENTS, nobody), null);
});
