import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  balanceIn,
  type DbHtlc,
  feerateIn,
  HTLC_STATES,
  htlcsIn,
  msat,
  type View,
} from "../../../src/device/adopt/commitments.ts";
import { gatherSecrets } from "../../../src/device/adopt/secrets.ts";
import type { NodeDatabase } from "../../../src/device/adopt/rows.ts";
import { Unfit } from "../../../src/device/adopt/unfit.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import {
  insertSecret,
  type StoredSecret,
} from "../../../src/lightning/secret_store.ts";
import {
  LAST_INDEX,
  perCommitmentSecret,
} from "../../../src/lightning/shachain.ts";
import { decode } from "../../../src/wire/codec.ts";
import {
  secret,
  sha256,
  SIDE_LOCAL,
  SIDE_REMOTE,
} from "../../../src/wire/types.ts";

const VIEWS: readonly View[] = ["ours", "theirs", "before"];
const HASH = decode(sha256, new Uint8Array(32));

const htlcs: fc.Arbitrary<DbHtlc[]> = fc.array(
  fc.record({
    state: fc.integer({ min: 0, max: 19 }),
    isFulfilled: fc.boolean(),
    amount: fc.bigInt({ min: 1n, max: 10n ** 9n }).map(msat),
    cltvExpiry: fc.constant(500),
    paymentHash: fc.constant(HASH),
  }).map((htlc): DbHtlc => ({
    ...htlc,
    // States up to 9 are of what we offered (CLN, htlc_state_owner).
    side: htlc.state < 10 ? SIDE_LOCAL : SIDE_REMOTE,
  })),
);

Deno.test("no view of a channel makes or loses a millisatoshi", () => {
  fc.assert(fc.property(htlcs, (all) => {
    const start = { ours: 10n ** 12n, theirs: 10n ** 12n };
    for (const view of VIEWS) {
      const { ours, theirs } = balanceIn(view, start, all);
      const held = htlcsIn(view, all)
        .reduce((sum, { amount }) => sum + amount, 0n);
      assert.equal(ours + theirs + held, 2n * 10n ** 12n);
    }
  }));
});

Deno.test("an HTLC goes on each commitment once and off it once", () => {
  const order = { not: 0, here: 1, gone: 2 };
  for (const view of VIEWS) {
    for (const [from, to] of [[0, 9], [10, 19]] as const) {
      const life = HTLC_STATES.slice(from, to + 1)
        .map((row) => order[row[view]]);
      assert.deepEqual(life, life.toSorted((a, b) => a - b));
      assert.equal(life[0], order.not);
      assert.equal(life.at(-1), order.gone);
    }
  }
});

Deno.test("the peer's commitment before differs only while it is not revoked", () => {
  const changed = HTLC_STATES.filter((row) => row.theirs !== row.before)
    .map(({ name }) => name);
  assert.deepEqual(changed, [
    "SENT_ADD_COMMIT",
    "SENT_REMOVE_ACK_COMMIT",
    "SENT_ADD_ACK_COMMIT",
    "SENT_REMOVE_COMMIT",
  ]);
});

Deno.test("a new feerate is on the peer's commitment before it is on ours", () => {
  const feerates = [
    { state: 4, feerate: 1000 },
    { state: 1, feerate: 2000 },
  ];
  assert.equal(feerateIn("ours", feerates), 1000);
  assert.equal(feerateIn("theirs", feerates), 2000);
  assert.equal(feerateIn("before", feerates), 1000);
  assert.equal(feerateIn("ours", []), null);
});

/** Secrets as CLN keeps them: one a number of trailing zeros, none forgotten. */
function clnChain(count: number) {
  const seed = new Secret(new Uint8Array(32).fill(5));
  const known = new Map<bigint, StoredSecret>();
  let stored: readonly StoredSecret[] = [];
  for (let n = 0n; n < BigInt(count); n++) {
    const index = LAST_INDEX - n;
    const value = decode(secret, perCommitmentSecret(seed, n).reveal());
    let position = 0n;
    while ((index >> position & 1n) === 0n) position++;
    known.set(position, { index, secret: value });
    stored = insertSecret(stored, index, value) ?? [];
  }
  return { known, stored };
}

function databaseOf(
  known: ReadonlyMap<bigint, StoredSecret>,
  count: number,
): NodeDatabase {
  const valid = [...known.keys()].reduce((a, b) => a > b ? a : b, -1n) + 1n;
  return {
    version: 282,
    nodeId: null,
    genesisHash: null,
    walletIndex: 0n,
    highestChannel: 1n,
    closed: 0n,
    peers: [],
    channels: [],
    configs: [],
    feerates: [],
    htlcs: [],
    inflights: [],
    penalties: [],
    shachains: [{ id: 7n, minIndex: LAST_INDEX + 1n - BigInt(count), valid }],
    knownSecrets: [...known].map(([position, { index, secret }]) => (
      { shachain: 7n, position, index, secret }
    )),
  };
}

Deno.test("secrets in CLN's 49 places are those of BOLT 3's store", () => {
  for (const count of [0, 1, 2, 3, 4, 7, 8, 31, 32, 33, 100, 255]) {
    const { known, stored } = clnChain(count);
    const found = gatherSecrets(databaseOf(known, count), 7n);
    assert.equal(found.revoked, BigInt(count));
    assert.deepEqual(found.secrets, stored);
  }
});

Deno.test("any secret that is changed or missing is found", () => {
  const count = 100;
  for (const place of clnChain(count).known.keys()) {
    const { known } = clnChain(count);
    const old = known.get(place);
    assert.ok(old !== undefined);
    const broken = decode(secret, new Uint8Array(32).fill(1));
    known.set(place, { ...old, secret: broken });
    const isNewest = old.index === LAST_INDEX + 1n - BigInt(count);
    const others = [...known.values()].filter(({ index }) => index > old.index);
    // One that gives no other, and is given by none, cannot be told.
    if (isNewest && others.length === 0) continue;
    const run = () => gatherSecrets(databaseOf(known, count), 7n);
    const isAlone = !stillGiven(clnChain(count), old.index);
    if (isAlone) assert.doesNotThrow(run);
    else assert.throws(run, Unfit);
  }
});

/** Whether another secret of the chain depends on this one, or it on another. */
function stillGiven(
  { known, stored }: ReturnType<typeof clnChain>,
  index: bigint,
): boolean {
  const gives = (from: bigint, to: bigint) => {
    const free = from === 0n ? LAST_INDEX : (from & -from) - 1n;
    return from !== to && (to & ~free) === from;
  };
  return [...known.values(), ...stored].some((each) =>
    gives(index, each.index) || gives(each.index, index)
  );
}
