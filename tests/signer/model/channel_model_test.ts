/**
 * Random lives of channels between two signers: whatever happens, nothing
 * leaves that may not, and an honest node has a way on.
 *
 * `SLOW=1` runs twenty times as many. A failure names its seed and path;
 * `MODEL_SEED` runs one again.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { useFastCurve } from "../../../src/crypto/secp.ts";
import { loadFastCurve } from "../../../src/crypto/secp_wasm.ts";
import type { Stepper } from "../../../src/device/desk.ts";
import { step } from "../../../src/signer/handle.ts";
import type { Memory } from "../../../src/signer/memory.ts";
import type { ChannelRecord } from "../../../src/signer/records.ts";
import type { Change, Store } from "../../../src/store/store.ts";
import { runs } from "../../support/arbitrary.ts";
import { REQUESTS } from "../../../src/wire/hsmd.ts";
import { messageType } from "../../../src/wire/message.ts";
import type { Sabotage } from "./card.ts";
import { Life, type Op, TRICKS } from "./life.ts";

useFastCurve(await loadFastCurve());

const side = fc.constantFrom(0 as const, 1 as const);
const ch = fc.nat(1);
const pick = fc.nat(1 << 16);

const go = fc.record({
  kind: fc.constant("go" as const),
  pick,
  steps: fc.integer({ min: 1, max: 6 }),
});
const add = fc.record({
  kind: fc.constant("add" as const),
  ch,
  side,
  amount: fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 2_000_000, max: 30_000_000 }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: 900_000 }) },
  ),
});
const settle = fc.record({ kind: fc.constant("settle" as const), ch, pick });
const fee = fc.record({
  kind: fc.constant("fee" as const),
  ch,
  rate: fc.integer({ min: 300, max: 5_000 }),
});
const splice = fc.record({
  kind: fc.constant("splice" as const),
  ch,
  side,
  amount: fc.oneof(
    fc.integer({ min: 20_000, max: 300_000 }),
    fc.integer({ min: -60_000, max: -5_000 }),
  ),
  isEarly: fc.boolean(),
});
const abort = fc.record({ kind: fc.constant("abort" as const), ch });
const lock = fc.record({ kind: fc.constant("lock" as const), ch, side, pick });
const close = fc.record({
  kind: fc.constant("close" as const),
  ch,
  side,
  pick,
});
const repeat = fc.record({
  kind: fc.constant("repeat" as const),
  ch,
  side,
  pick,
});
const mishap = fc.record({
  kind: fc.constant("mishap" as const),
  side,
  what: fc.constantFrom(
    "before" as const,
    "torn" as const,
    "after" as const,
    "lost" as const,
  ),
  after: fc.nat(3),
});
const restart = fc.record({ kind: fc.constant("restart" as const), side });
const copy = fc.record({ kind: fc.constant("copy" as const), side });
const restore = fc.record({
  kind: fc.constant("restore" as const),
  side,
  pick,
});
const trick = fc.record({
  kind: fc.constant("trick" as const),
  ch,
  side,
  trick: pick,
  pick,
});
const wild = fc.record({
  kind: fc.constant("wild" as const),
  ch,
  side,
  what: pick,
  pick,
});

const HONEST: readonly fc.WeightedArbitrary<Op>[] = [
  { weight: 40, arbitrary: go },
  { weight: 10, arbitrary: add },
  { weight: 6, arbitrary: settle },
  { weight: 2, arbitrary: fee },
  { weight: 4, arbitrary: splice },
  { weight: 1, arbitrary: abort },
  { weight: 5, arbitrary: lock },
  { weight: 4, arbitrary: repeat },
  { weight: 5, arbitrary: mishap },
  { weight: 1, arbitrary: restart },
  { weight: 1, arbitrary: copy },
  { weight: 1, arbitrary: restore },
];

/** Lives begin with enough steps to open both channels, as a rule. */
function lives(
  kinds: readonly fc.WeightedArbitrary<Op>[],
  most: number,
): fc.Arbitrary<readonly Op[]> {
  return fc.array(fc.oneof(...kinds), {
    minLength: Math.floor(most / 3),
    maxLength: most,
    size: "max",
  });
}

const seed = Deno.env.get("MODEL_SEED");
const parameters = (count: number) => ({
  numRuns: runs(count),
  // A failing life is shrunk for as long as this.
  interruptAfterTimeLimit: Deno.env.get("SLOW") === "1" ? 600_000 : 60_000,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
});

/** What all lives of a test did, for a look at whether they did anything. */
class Tally {
  readonly #counts = new Map<string, number>();

  take({ counts, requests, cards, ledger }: Life): void {
    const all = [
      ...counts,
      ["requests", requests],
      ["signatures", ledger.signatures],
      ["secrets", ledger.secrets],
      ["restarts", cards[0].restarts + cards[1].restarts],
      ["lives", 1],
    ] as const;
    for (const [name, count] of all) {
      this.#counts.set(name, (this.#counts.get(name) ?? 0) + count);
    }
  }

  of(name: string): number {
    return this.#counts.get(name) ?? 0;
  }

  toString(): string {
    return [...this.#counts].sort().map((each) => each.join(": ")).join("\n");
  }
}

/** Plays lives; what they did has to have happened often enough. */
function play(
  life: fc.Arbitrary<readonly Op[]>,
  count: number,
  wanted: Readonly<Record<string, number>>,
): void {
  const tally = new Tally();
  fc.assert(
    fc.property(life, (ops) => {
      tally.take(new Life().run(ops));
    }),
    parameters(count),
  );
  if (Deno.env.get("MODEL_TALLY") === "1") console.log(`${tally}`);
  for (const [name, least] of Object.entries(wanted)) {
    assert(tally.of(name) >= least, `${name}: ${tally.of(name)}`);
  }
}

const CLOSES: fc.WeightedArbitrary<Op> = { weight: 1, arbitrary: close };
const TRICKSTER: fc.WeightedArbitrary<Op> = { weight: 30, arbitrary: trick };
const THIEF: fc.WeightedArbitrary<Op> = { weight: 60, arbitrary: wild };

Deno.test("an honest life: every request is answered, every state can be closed", () => {
  const least = { revoke: 20, "splice done": 1, restarts: 5 };
  play(lives(HONEST, 150), 7, least);
});

Deno.test("an honest life with a thief in between: refused, and nothing changed", () => {
  const least = { revoke: 20, "op trick": 50 };
  play(lives([...HONEST, CLOSES, TRICKSTER], 150), 6, least);
});

Deno.test("a thief's life: nothing leaves that may not", () => {
  const honest = lives(HONEST, 60);
  const stolen = lives([...HONEST, CLOSES, THIEF], 90);
  const life = fc.tuple(honest, stolen).map((parts) => parts.flat());
  play(life, 7, { "op wild": 30, signatures: 30, revoke: 5 });
});

// ------------------------------------------------------------------ old cards

const NEWER: Op = { kind: "add", ch: 0, side: 0, amount: 20_000_000 };
const trickNamed = (name: string): Op => {
  const trick = TRICKS.findIndex((each) => each.name === name);
  assert(trick >= 0);
  return { kind: "trick", ch: 0, side: 0, trick, pick: 0 };
};
const REVOKED = trickNamed("the broadcast of a revoked commitment");
const ANOTHER = trickNamed("another commitment for a number that was signed");

/** A card that was copied, went on to the next commitments, and is put back. */
function withOldCard(isGuarded: boolean): Life {
  const life = new Life({ sabotage: { isGuarded } });
  life.finish();
  life.apply({ kind: "copy", side: 0 });
  life.apply(NEWER);
  life.finish();
  life.apply({ kind: "restore", side: 0, pick: 0 });
  return life;
}

Deno.test("an old card is reported, and the new one goes on", () => {
  const life = withOldCard(true);
  life.apply(REVOKED);
  life.apply(ANOTHER);
  life.apply(NEWER);
  life.finish();
  life.checkCanClose();
});

Deno.test("an old card that is used all the same signs a revoked state", () => {
  const life = withOldCard(false);
  assert.throws(() => life.apply(REVOKED), {
    name: "Violation",
    message: "signed commitment 0, which is revoked",
  });
});

Deno.test("an old card that is used all the same signs a number twice", () => {
  const life = withOldCard(false);
  assert.throws(() => life.apply(ANOTHER), {
    name: "Violation",
    message: "two signatures for commitment 1 of the peer's",
  });
});

// ------------------------------------------------------------------- sabotage

/** What the lives of a broken signer end with. */
function failureOf(
  sabotage: Sabotage,
  kinds: readonly fc.WeightedArbitrary<Op>[],
  sought: readonly string[] = ["Violation", "Refused", "AssertionError"],
): Error {
  const property = fc.property(lives(kinds, 120), (ops) => {
    try {
      new Life({ sabotage }).run(ops);
    } catch (error) {
      const isSought = error instanceof Error && sought.includes(error.name);
      if (isSought) throw error;
    }
  });
  const { failed, errorInstance } = fc.check(property, {
    numRuns: 60,
    seed: 3,
    endOnFailure: true,
  });
  assert(failed && errorInstance instanceof Error, "nothing was found");
  return errorInstance;
}

/** The store, but for one of its verbs. */
function withCommit(store: Store, commit: Store["commit"]): Store {
  return {
    get head() {
      return store.head;
    },
    get ledger() {
      return store.ledger;
    },
    get isCertain() {
      return store.isCertain;
    },
    load: () => store.load(),
    commit,
    close: () => store.close(),
  };
}

interface Misreading {
  /** The request that reads it wrong; null for all. */
  readonly only: number | null;
  readonly read: (record: ChannelRecord) => ChannelRecord;
}

/** The signer, with a channel's record read wrong. */
function misreading({ only, read }: Misreading): Stepper {
  return (state, input, now) => {
    const { memory } = state;
    const isMeant = only === null || only === messageType(input.message);
    if (!isMeant) return step(state, input, now);
    const wrong: Memory = {
      channel: (id) => {
        const record = memory.channel(id);
        return record && read(record);
      },
      channelFundedBy: (outpoint) => memory.channelFundedBy(outpoint),
      channels: () => memory.channels(),
      chain: () => memory.chain(),
      monitor: (id) => memory.monitor(id),
      get channelCount() {
        return memory.channelCount;
      },
      payment: (hash) => memory.payment(hash),
      payments: () => memory.payments(),
      get approvalCount() {
        return memory.approvalCount;
      },
      node: () => memory.node(),
    };
    const after = step({ ...state, memory: wrong }, input, now);
    return { ...after, state: { ...after.state, memory } };
  };
}

Deno.test("the model finds a store that says committed and did not", () => {
  const store = (honest: Store) => withCommit(honest, () => {});
  const { name } = failureOf({ store, isGuarded: false }, HONEST);
  assert.equal(name, "Refused");
});

/** Writes what it was given the last time. */
function lateStore(honest: Store): Store {
  let late: readonly Change[] = [];
  return withCommit(honest, (changes) => {
    honest.commit(late);
    late = changes;
  });
}

Deno.test("the model finds a reply that leaves before its write", () => {
  const { name } = failureOf({ store: lateStore, isGuarded: false }, HONEST);
  assert.match(name, /^(Refused|Violation)$/);
});

Deno.test("the model finds a lost write that a thief makes use of", () => {
  const sabotage = { store: lateStore, isGuarded: false };
  const found = failureOf(sabotage, [...HONEST.slice(0, 2), {
    weight: 10,
    arbitrary: restart,
  }, TRICKSTER]);
  assert.match(found.name, /^(Refused|Violation|AssertionError)$/);
});

Deno.test("the model finds old cards in use", () => {
  failureOf({ isGuarded: false }, [
    { weight: 30, arbitrary: go },
    { weight: 10, arbitrary: add },
    { weight: 10, arbitrary: copy },
    { weight: 10, arbitrary: restore },
  ], ["Refused", "Violation"]);
});

const MISREADINGS: Readonly<Record<string, Misreading>> = {
  "what was signed last": {
    only: null,
    read: (record) => ({
      ...record,
      counterparty: { ...record.counterparty, current: [] },
    }),
  },
  "that nothing is countersigned": {
    only: REQUESTS.revoke_commitment_tx.type,
    read: (record) => {
      const { holder } = record;
      const { current, pending: found } = holder;
      const pending = found.length === 0 ? current : found;
      return { ...record, holder: { ...holder, pending } };
    },
  },
};

/** A thief that stays at one signer and one channel. */
const STUBBORN: readonly fc.WeightedArbitrary<Op>[] = [
  { weight: 20, arbitrary: go },
  { weight: 5, arbitrary: add },
  {
    weight: 60,
    arbitrary: wild.map((op) => ({ ...op, ch: 0, side: 0 as const })),
  },
];

for (const [what, misread] of Object.entries(MISREADINGS)) {
  Deno.test(`the model finds a signer that forgets ${what}`, () => {
    const sabotage = { step: misreading(misread) };
    failureOf(sabotage, STUBBORN, ["Violation"]);
  });
}

/** Signs for broadcast, has the next countersigned, and revokes. */
function revokeAfterBroadcast(life: Life): void {
  life.finish();
  const thief = { kind: "wild", ch: 0, side: 0 } as const;
  life.apply({ ...thief, what: 5, pick: 0 });
  life.apply({ ...thief, what: 2, pick: 6 });
  life.apply({ ...thief, what: 3, pick: 1 });
}

Deno.test("the model finds a signer that forgets what was signed for broadcast", () => {
  const step = misreading({
    only: null,
    read: (record) => ({
      ...record,
      holder: { ...record.holder, signed: null },
    }),
  });
  revokeAfterBroadcast(new Life());
  assert.throws(() => revokeAfterBroadcast(new Life({ sabotage: { step } })), {
    name: "Violation",
    message: "the secret of 0, which is signed for broadcast",
  });
});

/** Has two of the peer's commitments signed with none revoked. */
function signAhead(life: Life): void {
  life.finish();
  life.apply(NEWER);
  life.apply({ kind: "go", pick: 0, steps: 1 });
  life.apply({ kind: "wild", ch: 0, side: 0, what: 1, pick: 6 });
}

Deno.test("the model finds a signer that forgets what the peer has not revoked", () => {
  const step = misreading({
    only: REQUESTS.sign_remote_commitment_tx.type,
    read: (record) => {
      const { counterparty } = record;
      const revoked = counterparty.next;
      return { ...record, counterparty: { ...counterparty, revoked } };
    },
  });
  signAhead(new Life());
  assert.throws(() => signAhead(new Life({ sabotage: { step } })), {
    name: "Violation",
    message: "signed commitment 2 before 0 was revoked",
  });
});
