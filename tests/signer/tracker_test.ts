/**
 * The tracker, over regtest chains that the tests mine: what it takes, what it
 * finds, and that a block which is refused changes nothing.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  type ChainPoint,
  genesisPoint,
  WORK_RULES,
} from "../../src/bitcoin/difficulty.ts";
import { filterHeader } from "../../src/bitcoin/filter.ts";
import {
  type BlockHeader,
  decodeHeader,
  encodeHeader,
  hashHeader,
} from "../../src/bitcoin/header.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { type Tx, txidOf } from "../../src/bitcoin/tx.ts";
import {
  type Evidence,
  type Follow,
  outpointKey,
  proveBlock,
  txooFilter,
  type TxoProof,
  type Watches,
  type WholeBlock,
} from "../../src/bitcoin/txo_proof.ts";
import {
  DecodeError,
  PolicyViolation,
  RequestError,
} from "../../src/errors.ts";
import {
  addBlock,
  type AddedBlock,
  BlockIntake,
  deadlineHeight,
  depthOf,
  describeTrust,
  isBehind,
  type NewBlock,
  removeBlock,
  startTracker,
  tipAge,
  tipOf,
  type TrackerRules,
  type TrackerState,
} from "../../src/signer/tracker.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { attest, type Attestation } from "../../src/wire/txoo.ts";
import type { PubKey } from "../../src/wire/types.ts";
import mainnet from "../fixtures/headers/mainnet.json" with { type: "json" };
import { runs } from "../support/arbitrary.ts";
import {
  blockBytes,
  coinbaseTx,
  mineBlock,
  minedHeader,
  pointAfter,
  spendingTx,
} from "../support/chain.ts";

const { regtest } = NETWORKS;
const ZERO = new Uint8Array(32);
const NOW = 2_000_000_000;
const NOTHING: Watches = { txids: new Set(), outpoints: new Set() };

const ORACLES = [1, 2, 3].map((n) => {
  const privateKey = new Uint8Array(32).fill(n);
  return {
    privateKey,
    publicKey: publicKey(privateKey) as Uint8Array as PubKey,
  };
});
const [A, B, C] = ORACLES;
assert.ok(A !== undefined && B !== undefined && C !== undefined);

const RULES: TrackerRules = {
  network: regtest,
  oracles: [],
  oraclesNeeded: 0,
  wantsWholeBlocks: false,
  maxReorg: 10,
};

function start(rules: Partial<TrackerRules> = {}): TrackerState {
  const { genesis } = WORK_RULES.regtest;
  return startTracker({ ...RULES, ...rules }, {
    height: 0,
    header: genesis,
    filterHeader: ZERO,
  });
}

/** What oracles say of a block on top of the state's tip. */
function attestAll(
  state: TrackerState,
  block: WholeBlock,
  oracles: readonly typeof ORACLES[number][] = ORACLES.slice(0, 1),
): Attestation[] {
  const tip = tipOf(state);
  const statement = {
    blockHash: hashHeader(block.header),
    height: tip.point.height + 1,
    filterHeader: filterHeader(txooFilter(block), tip.filterHeader),
    time: 0n,
  };
  return oracles.map((oracle) => attest(statement, oracle));
}

/** A block with an honest proof, and what is changed about it. */
function offer(
  state: TrackerState,
  block: WholeBlock,
  change: Partial<NewBlock> & {
    readonly evidence?: Evidence;
    readonly attestations?: readonly Attestation[];
  } = {},
): NewBlock {
  const { watches = NOTHING, follow } = change;
  const evidence = change.evidence ?? proveBlock(block, watches, follow);
  assert.ok(evidence !== null);
  const attestations = change.attestations ?? attestAll(state, block);
  const proof: TxoProof = { attestations, evidence };
  return { header: block.header, proof, watches, now: NOW, ...change };
}

function mine(state: TrackerState, txs: readonly Tx[], mark = 0): WholeBlock {
  return mineBlock(tipOf(state).point, txs, { mark });
}

function grow(state: TrackerState, count: number, mark = 0): TrackerState {
  let grown = state;
  for (let i = 0; i < count; i++) {
    grown = addBlock(grown, offer(grown, mine(grown, [], mark))).state;
  }
  return grown;
}

function shrink(state: TrackerState, count: number): TrackerState {
  let shrunk = state;
  for (let i = 0; i < count; i++) {
    shrunk = removeBlock(shrunk, removalOf(shrunk)).state;
  }
  return shrunk;
}

function removalOf(state: TrackerState) {
  const before = state.recent[state.recent.length - 2] ?? state.recent[0];
  return {
    previousHeader: encodeHeader(before.point.header),
    previousFilterHeader: before.filterHeader,
  };
}

function assertRefused(work: () => unknown, text: RegExp): void {
  assert.throws(work, (error) => {
    assert.ok(error instanceof PolicyViolation, String(error));
    assert.equal(error.tag, "policy-chain-validated");
    assert.match(error.message, text);
    return true;
  });
}

const funding = spendingTx([{ txid: txidOf(coinbaseTx(77)), index: 0 }], 1);
const FUNDING = txidOf(funding);
const close = spendingTx([{ txid: FUNDING, index: 0 }], 2);
const other = spendingTx([{ txid: txidOf(coinbaseTx(78)), index: 3 }], 3);

const watchFunding: Watches = {
  ...NOTHING,
  txids: new Set([FUNDING.toHex()]),
};
const FUNDING_OUTPUT = outpointKey({ txid: FUNDING, index: 0 });
const watchClose: Watches = {
  txids: new Set([FUNDING.toHex()]),
  outpoints: new Set([FUNDING_OUTPUT]),
};

function summary({ findings }: AddedBlock) {
  return {
    confirmed: findings.confirmed.map(({ txid }) => txid.toHex()),
    spent: findings.spent.map(({ outpoint, txid }) => [
      outpoint,
      txid.toHex(),
    ]),
  };
}

Deno.test("A watched transaction confirms, and then its output is spent", () => {
  const state = start();
  const one = mine(state, [other, funding]);
  const added = addBlock(state, offer(state, one, { watches: watchFunding }));
  assert.deepEqual(summary(added), { confirmed: [FUNDING.toHex()], spent: [] });
  assert.equal(added.height, 1);
  assert.deepEqual(added.hash, hashHeader(one.header));
  const two = mine(added.state, [close]);
  const closed = addBlock(
    added.state,
    offer(added.state, two, { watches: watchClose }),
  );
  assert.deepEqual(summary(closed), {
    confirmed: [],
    spent: [[FUNDING_OUTPUT, txidOf(close).toHex()]],
  });
  assert.equal(depthOf(closed.state, 1), 2);
  assert.equal(depthOf(closed.state, 2), 1);
  assert.equal(depthOf(closed.state, 3), 0);
});

Deno.test("An output that is made and spent in one block is followed", () => {
  const state = start();
  const block = mine(state, [funding, close]);
  const follow: Follow = ({ txid }) => [outpointKey({ txid, index: 0 })];
  const wanted = {
    confirmed: [FUNDING.toHex()],
    spent: [[FUNDING_OUTPUT, txidOf(close).toHex()]],
  };
  const how = { watches: watchFunding, follow };
  const added = addBlock(state, offer(state, block, how));
  assert.deepEqual(summary(added), wanted);
  const whole: Evidence = { kind: "block", block: blockBytes(block) };
  const seen = addBlock(
    state,
    offer(state, block, { ...how, evidence: whole }),
  );
  assert.deepEqual(summary(seen), wanted);
  assert.deepEqual(seen.state, added.state);
});

Deno.test("A block in pieces is what it is in one", () => {
  const state = start();
  const block = mine(state, [other, funding]);
  const bytes = blockBytes(block);
  const hash = hashHeader(block.header);
  const watches = watchFunding;
  const evidence: Evidence = { kind: "external" };
  for (const size of [23, 79, 1223, 8192]) {
    const intake = new BlockIntake(state, { hash, watches, now: NOW });
    for (let at = 0; at < bytes.length; at += size) {
      const content = bytes.subarray(at, at + size);
      intake.push({ hash, offset: at, content });
    }
    const added = addBlock(
      state,
      offer(state, block, { evidence, intake, watches }),
    );
    assert.deepEqual(summary(added).confirmed, [FUNDING.toHex()]);
    const direct = addBlock(state, offer(state, block, { watches }));
    assert.deepEqual(added.state, direct.state);
  }
});

Deno.test("Pieces that are missing, strange or without work are refused", () => {
  const state = start();
  const block = mine(state, []);
  const bytes = blockBytes(block);
  const hash = hashHeader(block.header);
  const open = (change: Partial<{ hash: Uint8Array; now: number }> = {}) =>
    new BlockIntake(state, { hash, watches: NOTHING, now: NOW, ...change });
  const piece = { hash, offset: 0, content: bytes.subarray(0, 100) };
  const evidence: Evidence = { kind: "external" };
  const external = (intake?: BlockIntake, watches = NOTHING) => () =>
    addBlock(state, offer(state, block, { evidence, intake, watches }));

  assertRefused(external(), /no block that came in pieces/);
  const half = open();
  half.push(piece);
  assertRefused(() => half.push(piece), /piece 0 of block .* want piece 100/);
  const wrongHash = { ...piece, hash: ZERO, offset: 100 };
  assertRefused(() => half.push(wrongHash), /want piece 100 of this one/);
  assert.throws(external(half), DecodeError);
  const elsewhere = { hash: new Uint8Array(32).fill(9) };
  assertRefused(
    () => open(elsewhere).push({ ...piece, ...elsewhere }),
    /pieces of block/,
  );
  assertRefused(() => open({ now: 0 }).push(piece), /time/);

  const whole = open();
  whole.push({ ...piece, content: bytes });
  external(whole)();
  assertRefused(external(whole, watchFunding), /want them sent again/);
  const next = addBlock(state, offer(state, block)).state;
  const later = mine(next, []);
  assertRefused(
    () => addBlock(next, offer(next, later, { evidence, intake: whole })),
    /proof for block/,
  );
  // Two blocks ahead: its parent is not the tip.
  const orphan = hashHeader(later.header);
  assert.throws(
    () =>
      open({ hash: orphan })
        .push({ hash: orphan, offset: 0, content: blockBytes(later) }),
    RequestError,
  );
  // The tip itself may be shown, when it is about to be taken back.
  const tip = new BlockIntake(next, { hash, watches: NOTHING, now: NOW });
  tip.push({ ...piece, content: bytes });
  assert.deepEqual(tip.finish().seen.hash, hash);
});

Deno.test("A block whose parent is not the tip is an orphan, code 401", () => {
  const state = grow(start(), 2);
  const elsewhere = mineBlock(genesisPoint(regtest), []);
  assert.throws(
    () => addBlock(state, offer(state, elsewhere)),
    (error) => error instanceof RequestError && error.code === 401,
  );
});

Deno.test("What a refused block was, and that it changed nothing", () => {
  const state = grow(start(), 3);
  const before = structuredClone(state);
  const block = mine(state, [funding, close]);
  const watches = watchClose;
  const honest = offer(state, block, { watches });
  addBlock(state, honest);
  const proved = proveBlock(block, watches);
  const empty = proveBlock(block, NOTHING);
  assert.ok(proved !== null && empty !== null);
  const [said] = attestAll(state, block);
  assert.ok(said !== undefined);
  const say = (change: Partial<Attestation["statement"]>) => ({
    watches,
    attestations: [attest({ ...said.statement, ...change }, A)],
  });
  const early: Partial<BlockHeader> = { time: 1 };
  const rows: [NewBlock, RegExp][] = [
    [offer(state, block, { watches, evidence: empty }), /watched outpoint/],
    [
      offer(state, block, { watches, evidence: { ...proved, tree: null } }),
      /without a tree/,
    ],
    [
      offer(state, block, {
        watches,
        evidence: { ...proved, filter: new Uint8Array(1) },
      }),
      /attestation of block/,
    ],
    [offer(state, block, say({ height: 9 })), /at 9/],
    [offer(state, block, say({ filterHeader: ZERO })), /filter header 0000/],
    [
      offer(state, block, say({ blockHash: tipOf(state).point.hash })),
      /attestation of block/,
    ],
    [{ ...honest, now: 0 }, /time .* or less/],
    [{ ...honest, header: { ...block.header, bits: 0x1d00ffff } }, /bits/],
    [{ ...honest, header: { ...block.header, ...early } }, /hash|time/],
    [
      offer(state, block, {
        watches,
        evidence: {
          kind: "block",
          block: blockBytes(mineBlock(genesisPoint(regtest), [])),
        },
      }),
      /proof for block/,
    ],
  ];
  for (const [bad, text] of rows) {
    assertRefused(() => addBlock(state, bad), text);
    assert.deepEqual(state, before);
  }
});

Deno.test("As many oracles as the owner wants must attest, each once", () => {
  const oracles = ORACLES.map((oracle) => oracle.publicKey);
  const stranger = {
    privateKey: new Uint8Array(32).fill(9),
    publicKey: publicKey(new Uint8Array(32).fill(9)) as Uint8Array as PubKey,
  };
  const state = start({ oracles, oraclesNeeded: 2 });
  const block = mine(state, []);
  const by = (...keys: typeof ORACLES) => attestAll(state, block, keys);
  const add = (attestations: readonly Attestation[]) => () =>
    addBlock(state, offer(state, block, { attestations }));
  for (const good of [by(A, B), by(C, A), by(A, B, C), by(stranger, B, C)]) {
    assert.equal(add(good)().height, 1);
  }
  for (const bad of [by(A), by(A, A), by(A, stranger), by(stranger)]) {
    assertRefused(add(bad), /attested by [01] of the owner's oracles, want 2/);
  }
  const [one, two] = by(A, B);
  assert.ok(one !== undefined && two !== undefined);
  const forged = { ...two, signature: one.signature };
  assertRefused(add([one, forged]), /attested by 1/);
  // A stranger's word is nobody's: it need not even be signed.
  const unsigned = { ...one, signature: new Uint8Array(64) };
  const free = start();
  addBlock(free, offer(free, block, { attestations: [unsigned] }));
});

Deno.test("Without oracles a false filter hides a spend, with them it does not", () => {
  const lie = (state: TrackerState, block: WholeBlock): NewBlock => {
    const filter = txooFilter({ ...block, txs: block.txs.slice(0, 1) });
    const tip = tipOf(state);
    const statement = {
      blockHash: hashHeader(block.header),
      height: tip.point.height + 1,
      filterHeader: filterHeader(filter, tip.filterHeader),
      time: 0n,
    };
    return offer(state, block, {
      watches: watchClose,
      evidence: { kind: "filter", filter, txs: [], tree: null },
      attestations: [attest(statement, C)],
    });
  };
  const open = start();
  const block = mine(open, [close]);
  assert.deepEqual(summary(addBlock(open, lie(open, block))).spent, []);
  const strict = start({ oracles: [A.publicKey], oraclesNeeded: 1 });
  assertRefused(() => addBlock(strict, lie(strict, block)), /attested by 0/);
  const whole = start({ wantsWholeBlocks: true });
  assertRefused(() => addBlock(whole, lie(whole, block)), /want a whole block/);
  const texts = [open, strict, whole].map(({ rules }) => describeTrust(rules));
  assert.match(texts[0] ?? "", /can hide that a channel's output was spent/);
  assert.match(texts[1] ?? "", /attested by 1 of 1 oracles/);
  assert.match(texts[2] ?? "", /checked whole/);
});

Deno.test("A reorg counts when its branch has more work, not before", () => {
  const common = grow(start(), 3);
  const old = grow(common, 4);
  assert.equal(isBehind(old), false);
  let state = shrink(old, 4);
  assert.deepEqual(state.recent, common.recent);
  for (let i = 0; i < 4; i++) {
    assert.equal(isBehind(state), true, `${i} blocks of the new branch`);
    assert.equal(depthOf(state, 1), 0);
    assert.equal(deadlineHeight(state), 7);
    state = grow(state, 1, 1);
  }
  assert.equal(isBehind(state), true, "as much work is not more");
  state = grow(state, 1, 1);
  assert.equal(isBehind(state), false);
  assert.equal(depthOf(state, 1), 8);
  assert.equal(deadlineHeight(state), 8);
  // The way back to the block that was best is no new branch.
  const back = grow(shrink(old, 4), 4);
  assert.deepEqual(back, old);
});

Deno.test("A reorg is as deep as the rules allow and no deeper", () => {
  const state = grow(start({ maxReorg: 5 }), 20);
  assert.equal(state.recent.length, 6);
  const low = shrink(state, 5);
  assert.equal(tipOf(low).point.height, 15);
  assertRefused(() => removeBlock(low, removalOf(low)), /5 blocks or less/);
  const again = grow(low, 2, 1);
  assertRefused(() => removeBlock(shrink(again, 2), removalOf(low)), /or less/);
  const genesis = start();
  assertRefused(() => removeBlock(genesis, removalOf(genesis)), /no block/);
});

Deno.test("A block is taken back only to the one before it", () => {
  const state = grow(start(), 3);
  const good = removalOf(state);
  const { hash, height } = removeBlock(state, good);
  assert.deepEqual([hash, height], [tipOf(state).point.hash, 3]);
  const bad = [
    { ...good, previousFilterHeader: ZERO },
    { ...good, previousHeader: encodeHeader(tipOf(state).point.header) },
    removalOf(shrink(state, 1)),
  ];
  for (const one of bad) {
    assertRefused(() => removeBlock(state, one), /another block before/);
  }
});

Deno.test("What is kept does not grow with the chain", () => {
  const size = (state: TrackerState) =>
    JSON.stringify(
      state,
      (_key, value) =>
        typeof value === "bigint"
          ? value.toString(16).padStart(64, "0")
          : value,
    )
      .length;
  const young = grow(start({ maxReorg: 8 }), 20);
  const old = grow(young, 300);
  assert.ok(Math.abs(size(old) - size(young)) < 0.02 * size(young));
  assert.equal(old.recent.length, 9);
});

Deno.test("Any walk of adds and removes leaves the chain of what is left", () => {
  const walk = fc.array(fc.tuple(fc.boolean(), fc.nat(1)), { maxLength: 40 });
  fc.assert(
    fc.property(walk, (steps) => {
      let state = start({ maxReorg: 6 });
      let points: ChainPoint[] = [genesisPoint(regtest)];
      let most = 0n;
      let removable = 0;
      for (const [isAdd, mark] of steps) {
        if (isAdd) {
          const block = mine(state, [], mark);
          state = addBlock(state, offer(state, block)).state;
          points = [...points, pointAfter(tipPoint(points), block)];
          removable = Math.min(6, removable + 1);
        } else if (removable > 0) {
          state = removeBlock(state, removalOf(state)).state;
          points = points.slice(0, -1);
          removable--;
        } else {
          assertRefused(() => removeBlock(state, removalOf(state)), /or less/);
        }
        const { hash, height, work } = tipPoint(points);
        most = work > most ? work : most;
        assert.deepEqual(tipOf(state).point.hash, hash);
        assert.equal(tipOf(state).point.height, height);
        assert.equal(state.best.work, most);
        assert.equal(work < most && !isBehind(state), false);
      }
    }),
    { numRuns: runs(30) },
  );
});

function tipPoint(points: readonly ChainPoint[]): ChainPoint {
  const last = points[points.length - 1];
  assert.ok(last !== undefined);
  return last;
}

Deno.test("A tip's age is told, and none for one ahead of our clock", () => {
  const state = grow(start(), 1);
  const { time } = tipOf(state).point.header;
  assert.equal(tipAge(state, time + 90), 90);
  assert.equal(tipAge(state, time - 90), 0);
});

Deno.test("A mainnet chain is taken up at a checkpoint, through a retarget", () => {
  const real = (height: number) => {
    const row = mainnet.headers.find((one) => one.height === height);
    assert.ok(row !== undefined);
    return decodeHeader(Uint8Array.fromHex(row.header));
  };
  const { time, bits } = real(864864);
  const state = startTracker({ ...RULES, network: NETWORKS.bitcoin }, {
    height: 866879,
    header: real(866879),
    period: { time, bits },
    filterHeader: ZERO,
  });
  const header = real(866880);
  // Nothing is watched: any filter will do for somebody without oracles.
  const filter = new Uint8Array(1);
  const statement = {
    blockHash: hashHeader(header),
    height: 866880,
    filterHeader: filterHeader(filter, ZERO),
    time: 0n,
  };
  const block: NewBlock = {
    header,
    proof: {
      attestations: [attest(statement, A)],
      evidence: { kind: "filter", filter, txs: [], tree: null },
    },
    watches: NOTHING,
    now: header.time,
  };
  const added = addBlock(state, block);
  assert.equal(added.height, 866880);
  assertRefused(
    () =>
      addBlock(state, {
        ...block,
        header: { ...header, nonce: header.nonce + 1 },
      }),
    /hash/,
  );
  const cheap = minedHeader(NETWORKS.bitcoin, tipOf(state).point, {
    bits: 0x207fffff,
  });
  assertRefused(() => addBlock(state, { ...block, header: cheap }), /bits/);
});

Deno.test("Rules that nothing can meet are refused at the start", () => {
  const oracles = [A.publicKey, B.publicKey];
  const bad: Partial<TrackerRules>[] = [
    { oraclesNeeded: 1 },
    { oracles, oraclesNeeded: 3 },
    { oracles, oraclesNeeded: 0 },
    { oracles, oraclesNeeded: 1.5 },
    { oracles: [A.publicKey, A.publicKey], oraclesNeeded: 1 },
    { oracles: [new Uint8Array(33)], oraclesNeeded: 1 },
    { maxReorg: 0 },
  ];
  for (const rules of bad) assert.throws(() => start(rules), RangeError);
  assert.equal(grow(start({ maxReorg: 1 }), 3).recent.length, 2);
});
