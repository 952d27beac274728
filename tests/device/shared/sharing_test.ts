/**
 * Several cards of one seed and a storage server: nothing leaves before it is
 * stored, nothing that was stored is lost, and never two signatures for one number
 * of a channel, whoever is asked, killed or taken over in between.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { policyChange } from "../../../src/device/card_state.ts";
import { OwnerError } from "../../../src/device/owner_error.ts";
import { NotNow } from "../../../src/device/shared/merge.ts";
import { defaultPolicy, withLimit } from "../../../src/policy/limits.ts";
import { encodeFromBroker, type LssEntry } from "../../../src/wire/lss.ts";
import { REQUESTS } from "../../../src/wire/hsmd.ts";
import {
  FakeServer,
  isSigned,
  lastOf,
  type Message,
  type Move,
  requestOf,
  TestCard,
} from "./support.ts";

const FIRST: Move = { channel: 0, n: 0, t: 1 };

Deno.test("an answer leaves when the storage has what it rests on, not before", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  const left: (Uint8Array | null)[] = [];
  card.ask(requestOf(FIRST), (reply) => left.push(reply));
  assert.deepEqual(left, []);
  assert.equal(card.out.at(-1)?.name, "lss-res");
  card.carry(server);
  assert.equal(left.length, 1);
  assert.ok(isSigned(left[0] ?? null));
});

Deno.test("what says the same whatever was signed does not wait; the rest does, in order", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  const left: string[] = [];
  card.ask(requestOf(FIRST), () => left.push("signed"));
  card.sharing.release(REQUESTS.ecdh_req.type, () => left.push("ecdh"));
  card.sharing.release(REQUESTS.sign_invoice.type, () => left.push("invoice"));
  assert.deepEqual(left, ["ecdh"]);
  card.carry(server);
  assert.deepEqual(left, ["ecdh", "signed", "invoice"]);
});

Deno.test("one put is under way; what comes meanwhile goes with the next, all of it", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  const left: number[] = [];
  for (let channel = 0; channel < 5; channel++) {
    const move = { channel, n: 0, t: 1 };
    card.ask(requestOf(move), () => left.push(channel));
  }
  assert.equal(card.out.length, 1);
  card.carry(server);
  assert.deepEqual(left, [0, 1, 2, 3, 4]);
  assert.equal(server.puts, 2);
});

Deno.test("a state too large for one put is stored in parts, and counts when it is whole", () => {
  const server = new FakeServer();
  const first = new TestCard({ limit: 300 });
  first.dance(server);
  const left: number[] = [];
  for (let channel = 0; channel < 9; channel++) {
    first.ask(requestOf({ channel, n: 0, t: 1 }), () => left.push(channel));
  }
  first.hear(nextOf(first, server));
  const part = nextOf(first, server);
  const other = new TestCard();
  assert.throws(() => other.dance(server), NotNow);
  first.hear(part);
  first.carry(server);
  assert.deepEqual(left, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
  assert.ok(server.puts > 3);
  other.dance(server);
  assert.equal(lastOf(other.desk.state, 8).n, 0);
});

/** Carries one message to the server; its answer. */
function nextOf(card: TestCard, server: FakeServer): Message {
  const message = card.out.shift();
  assert.ok(message !== undefined);
  const answer = server.answer(message.name, message.payload);
  assert.ok(answer !== null);
  return answer;
}

Deno.test("a killed card that starts in half of its first state goes on with it", () => {
  const server = new FakeServer();
  const card = new TestCard({ limit: 300 });
  card.dance(server);
  for (let channel = 0; channel < 9; channel++) {
    card.ask(requestOf({ channel, n: 0, t: 1 }), () => {});
  }
  card.hear(nextOf(card, server));
  nextOf(card, server);
  card.restart();
  card.dance(server);
  assert.ok(isSigned(card.sign(server, { channel: 0, n: 1, t: 1 })));
  const other = new TestCard();
  other.dance(server);
  assert.equal(lastOf(other.desk.state, 8).n, 0);
});

Deno.test("another card takes over exactly what was stored, and goes on", () => {
  const server = new FakeServer();
  const [a, b] = [new TestCard(), new TestCard()];
  a.dance(server);
  assert.ok(isSigned(a.sign(server, FIRST)));
  b.dance(server);
  assert.deepEqual(lastOf(b.desk.state, 0), { n: 0, t: 1 });
  assert.ok(!isSigned(b.sign(server, { channel: 0, n: 0, t: 2 })));
  assert.ok(isSigned(b.sign(server, { channel: 0, n: 1, t: 7 })));
  // The first one has not heard of it: its put does not fit any more.
  assert.equal(a.sign(server, { channel: 0, n: 1, t: 8 }), null);
  assert.deepEqual(lastOf(a.desk.state, 0), { n: 1, t: 7 });
  assert.ok(isSigned(a.sign(server, { channel: 0, n: 1, t: 7 })));
});

Deno.test("cards that sign for different channels at once have a conflict too", () => {
  const server = new FakeServer();
  const [a, b] = [new TestCard(), new TestCard()];
  a.dance(server);
  b.dance(server);
  assert.ok(isSigned(a.sign(server, FIRST)));
  assert.equal(b.sign(server, { channel: 1, n: 0, t: 1 }), null);
  assert.ok(isSigned(b.sign(server, { channel: 1, n: 0, t: 1 })));
  assert.deepEqual(lastOf(b.desk.state, 0), { n: 0, t: 1 });
});

Deno.test("an answer that was dropped is not remembered either", () => {
  const server = new FakeServer();
  const [a, b] = [new TestCard(), new TestCard()];
  a.dance(server);
  b.dance(server);
  assert.ok(isSigned(a.sign(server, FIRST)));
  const other = { ...FIRST, t: 2 };
  assert.equal(b.sign(server, other), null);
  assert.ok(!isSigned(b.sign(server, other)));
});

Deno.test("a card that is killed with an unstored change stores it, and answers then", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  card.ask(requestOf(FIRST), () => assert.fail("it was not stored"));
  card.restart();
  card.dance(server);
  assert.equal(server.entries.size, 0);
  assert.ok(isSigned(card.sign(server, FIRST)));
  assert.equal(server.entries.size, 2);
});

Deno.test("a put that was stored while its card was killed is no conflict", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  assert.ok(isSigned(card.sign(server, FIRST)));
  const next = { ...FIRST, n: 1 };
  card.ask(requestOf(next), () => assert.fail("its card was killed"));
  nextOf(card, server);
  card.restart();
  card.dance(server);
  assert.ok(isSigned(card.sign(server, next)));
  assert.equal(server.puts, 2);
});

Deno.test("the first put of all: stored, not heard of, and no second truth", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  card.ask(requestOf(FIRST), () => assert.fail("its card was killed"));
  nextOf(card, server);
  card.ask(requestOf({ ...FIRST, channel: 1 }), () => {});
  card.restart();
  card.dance(server);
  assert.ok(isSigned(card.sign(server, FIRST)));
  assert.ok(isSigned(card.sign(server, { ...FIRST, channel: 1 })));
});

function serverWith(card: TestCard, moves: number): FakeServer {
  const server = new FakeServer();
  card.dance(server);
  for (let n = 0; n < moves; n++) {
    assert.ok(isSigned(card.sign(server, { channel: 0, n, t: 1 })));
  }
  return server;
}

function refusedWith(card: TestCard, server: FakeServer, pattern: RegExp) {
  assert.throws(() => card.dance(server), (error) => {
    assert.ok(error instanceof OwnerError, String(error));
    assert.match(error.message, pattern);
    return true;
  });
  assert.equal(card.sharing.mayServe("vls-res"), false);
}

Deno.test("a server that forgets is found out: all, one entry, one version, other content", () => {
  const card = new TestCard();
  const server = serverWith(card, 3);
  const full = new Map(server.entries);
  const [slot] = full.keys();
  assert.ok(slot !== undefined);

  server.entries = new Map();
  refusedWith(card, server, /rolled back: .* is missing/);

  server.entries = new Map(full);
  server.entries.delete(slot);
  refusedWith(card, server, /do not belong together/);

  const earlier = new TestCard();
  const olderServer = serverWith(earlier, 2);
  server.entries = new Map(olderServer.entries);
  refusedWith(card, server, /rolled back/);

  server.entries = full;
  card.dance(server);
  assert.ok(isSigned(card.sign(server, { channel: 0, n: 3, t: 1 })));
});

Deno.test("what was acknowledged before an answer left is known after a loss of power", () => {
  const card = new TestCard();
  const server = serverWith(card, 1);
  const old = new Map(server.entries);
  assert.ok(isSigned(card.sign(server, { ...FIRST, n: 1 })));
  card.restart();
  server.entries = old;
  refusedWith(card, server, /rolled back/);
});

Deno.test("the same version with other content is a fork, and refused", () => {
  const [a, b] = [new TestCard(), new TestCard()];
  const server = serverWith(a, 1);
  b.dance(server);
  const old = new Map(server.entries);
  assert.ok(isSigned(a.sign(server, { channel: 0, n: 1, t: 1 })));
  // A host with storage of its own shows the other card yesterday: it cannot know.
  server.entries = old;
  assert.ok(isSigned(b.sign(server, { channel: 0, n: 1, t: 2 })));
  // But the first one knows.
  refusedWith(a, server, /rolled back and went on/);
});

Deno.test("entries of different days do not go together, also for a card without a past", () => {
  const a = new TestCard();
  const server = new FakeServer();
  a.dance(server);
  assert.ok(isSigned(a.sign(server, FIRST)));
  const old = new Map(server.entries);
  assert.ok(isSigned(a.sign(server, { ...FIRST, n: 1 })));
  const slot = [...old.values()].find(({ key }) => key.endsWith("00000000"));
  assert.ok(slot !== undefined);
  server.entries.set(slot.key, slot);
  refusedWith(new TestCard(), server, /do not belong together/);
});

Deno.test("an entry of a stranger, or one that was changed, is refused", () => {
  const card = new TestCard();
  const server = serverWith(card, 1);
  const full = new Map(server.entries);
  const put = (entry: LssEntry) => {
    server.entries = new Map(full).set(entry.key, entry);
  };
  put({ key: "node/entry/02", version: 0n, value: Uint8Array.of(1) });
  refusedWith(card, server, /another kind of signer/);
  const [first] = full.values();
  assert.ok(first !== undefined);
  const value = first.value.slice();
  value[30] = (value[30] ?? 0) ^ 1;
  put({ ...first, value });
  refusedWith(card, server, /was not stored by a softkey/);
  put({ ...first, version: first.version + 1n });
  refusedWith(card, server, /was not stored by a softkey/);
});

Deno.test("the MAC is always verified, for an empty list too, and the nonce is new each time", () => {
  const server = new FakeServer();
  const card = new TestCard();
  const nonces = new Set<string>();
  for (const serverHmac of [null, new Uint8Array(32)]) {
    card.hear(server.hello());
    nonces.add(card.out.shift()?.payload.toHex() ?? "");
    const value = { serverHmac, muts: [] };
    const payload = encodeFromBroker({ kind: "Created", value });
    assert.throws(
      () => card.hear({ name: "init-2-msg", payload }),
      /Invalid server hmac/,
    );
    assert.equal(card.sharing.mayServe("vls-res"), false);
  }
  card.hear(server.hello());
  const first = server.answer(
    "init-1-res",
    card.out.shift()?.payload ?? bytes(),
  );
  card.hear(server.hello());
  nonces.add(card.out.shift()?.payload.toHex() ?? "");
  assert.ok(first !== null);
  assert.throws(() => card.hear(first), /Invalid server hmac/);
  assert.equal(nonces.size, 3);
  card.dance(server);
  assert.ok(card.sharing.mayServe("vls-res"));
});

function bytes(): Uint8Array {
  return new Uint8Array();
}

Deno.test("a Stored with another MAC, or for nothing, releases nothing", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  const stored = (serverHmac: Uint8Array | null) => ({
    name: "lss-msg" as const,
    payload: encodeFromBroker({
      kind: "Stored",
      value: { serverHmac, muts: [] },
    }),
  });
  card.hear(stored(new Uint8Array(32)));
  let answers = 0;
  card.ask(requestOf(FIRST), () => answers += 1);
  assert.throws(() => card.hear(stored(new Uint8Array(32))), NotNow);
  assert.equal(answers, 0);
  assert.equal(card.sharing.mayServe("vls-res"), false);
  card.out.length = 0;
  card.dance(server);
  assert.ok(isSigned(card.sign(server, FIRST)));
});

Deno.test("the server's key is pinned at the first dance; another is refused", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  card.restart();
  assert.throws(
    () => card.hear(server.hello(NOBODY_KEY)),
    (error) =>
      error instanceof OwnerError && /--new-storage/.test(error.message),
  );
  card.dance(server);
});

const NOBODY_KEY = Uint8Array.fromHex(
  "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
);

Deno.test("a restored card is good again when the storage has the state; else it stays restored", () => {
  const a = new TestCard();
  const server = serverWith(a, 2);
  const restored = new TestCard({ isRestored: true });
  restored.dance(server);
  assert.ok(isSigned(restored.sign(server, { channel: 0, n: 2, t: 1 })));
  restored.restart();
  restored.dance(server);
  assert.ok(isSigned(restored.sign(server, { channel: 0, n: 3, t: 1 })));

  const empty = new FakeServer();
  const other = new TestCard({ isRestored: true });
  other.dance(empty);
  assert.ok(!isSigned(other.sign(empty, FIRST)));
  other.sharing.release(null, () => {});
  other.carry(empty);
  assert.equal(empty.entries.size, 0);
});

Deno.test("a card that was restored from an old copy takes over what came after", () => {
  const a = new TestCard();
  const server = serverWith(a, 2);
  const copy = a.disk.copy();
  assert.ok(isSigned(a.sign(server, { channel: 0, n: 2, t: 1 })));
  const restored = new TestCard({ disk: copy, isRestored: true });
  restored.dance(server);
  assert.deepEqual(lastOf(restored.desk.state, 0), { n: 2, t: 1 });
  assert.ok(!isSigned(restored.sign(server, { channel: 0, n: 2, t: 9 })));
});

Deno.test("a card that signed by itself does not join another card's state", () => {
  const a = new TestCard();
  const server = serverWith(a, 1);
  const row = [...a.store.load()].find(({ key }) => key.startsWith("payment/"));
  assert.ok(row !== undefined);
  const key = `payment/${"0".repeat(64)}`;
  const value = rowOfHash(row.value);
  const alone = new TestCard({ changes: [{ key, value }] });
  refusedWith(alone, server, /signed for by itself/);
});

/** The same payment under another hash. */
function rowOfHash(value: Uint8Array): Uint8Array {
  return Uint8Array.fromHex(
    value.toHex().replace("c0".repeat(32), "00".repeat(32)),
  );
}

Deno.test("what the owner chose goes along, and is kept where nobody else chose", () => {
  const [a, b] = [new TestCard(), new TestCard()];
  const server = new FakeServer();
  a.dance(server);
  const usual = defaultPolicy("regtest");
  const mine = withLimit(usual, "max_routing_fee_msat", "77000");
  a.store.commit([policyChange(mine)]);
  assert.ok(isSigned(a.sign(server, FIRST)));
  b.dance(server);
  assert.deepEqual(b.desk.state.policy, mine);
  // Chosen at b, which does not serve; a goes on meanwhile.
  const theirs = withLimit(usual, "max_routing_fee_msat", "88000");
  b.store.commit([policyChange(theirs)]);
  assert.ok(isSigned(a.sign(server, { ...FIRST, n: 1 })));
  b.dance(server);
  assert.ok(isSigned(b.sign(server, { ...FIRST, n: 2 })));
  a.dance(server);
  assert.deepEqual(a.desk.state.policy, theirs);
});

Deno.test("a row that is deleted frees its slot: entries are as many as rows at one time", () => {
  const server = new FakeServer();
  const card = new TestCard();
  card.dance(server);
  for (let round = 0; round < 20; round++) {
    const key = `payment/${String(round).padStart(64, "0")}`;
    card.store.commit([{ key, value: Uint8Array.of(1, 2, 3) }]);
    card.sharing.release(null, () => {});
    card.carry(server);
    card.store.commit([{ key, value: null }]);
    card.sharing.release(null, () => {});
    card.carry(server);
  }
  assert.equal(server.entries.size, 2);
  assert.equal(server.puts, 40);
});

Deno.test("the server sees neither keys nor values", () => {
  const card = new TestCard();
  const server = serverWith(card, 5);
  const rows = [...card.store.load()].filter(({ key }) =>
    key.startsWith("payment/")
  );
  assert.ok(rows.length > 0);
  const seen = server.all.map(({ key, value }) =>
    new TextEncoder().encode(key).toHex() + value.toHex()
  ).join(" ");
  for (const { key, value } of rows) {
    assert.ok(!seen.includes(value.toHex()));
    assert.ok(!seen.includes(new TextEncoder().encode(key).toHex()));
  }
  assert.ok(!seen.includes("c0".repeat(8)));
});

/** What may happen; whom, and how far messages come, is the broker's choice. */
type Event =
  | { readonly kind: "ask"; readonly who: number; readonly move: Wish }
  | { readonly kind: "settle"; readonly who: number }
  | { readonly kind: "carry" | "lose" | "hear"; readonly who: number }
  | { readonly kind: "hello" | "kill" | "leave"; readonly who: number };

/** The last number that the card knows again, or the one after. */
interface Wish {
  readonly channel: number;
  readonly more: number;
  readonly t: number;
}

const CARDS = 2;
const who = fc.nat(CARDS - 1);
const event: fc.Arbitrary<Event> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("ask" as const),
      who,
      move: fc.record({
        channel: fc.nat(1),
        more: fc.constantFrom(0, 1, 1, 1),
        t: fc.nat(2),
      }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant("settle" as const), who }),
  },
  {
    weight: 12,
    arbitrary: fc.record({
      kind: fc.constantFrom("carry" as const, "hear" as const),
      who,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "hello" as const,
        "kill" as const,
        "lose" as const,
        "leave" as const,
      ),
      who,
    }),
  },
);

/** Two cards, one server, and a line on which messages wait, come late or never. */
class World {
  readonly server = new FakeServer();
  readonly cards = Array.from({ length: CARDS }, () => new TestCard());
  readonly inbox: Message[][] = this.cards.map(() => []);
  /** What left, for each number of each channel. */
  readonly left = new Map<string, number>();
  signatures = 0;

  run(event: Event): void {
    const card = this.cards[event.who];
    const inbox = this.inbox[event.who];
    assert.ok(card !== undefined && inbox !== undefined);
    switch (event.kind) {
      case "ask":
        return this.#ask(card, event.move);
      case "carry":
        return this.#carry(card, inbox);
      case "hear": {
        const message = inbox.shift();
        if (message !== undefined) hearAll(card, message);
        return;
      }
      case "settle":
        if (!card.sharing.isIn) inbox.push(this.server.hello());
        while (card.out.length + inbox.length > 0) {
          this.#carry(card, inbox);
          const message = inbox.shift();
          if (message !== undefined) hearAll(card, message);
        }
        return;
      case "lose":
        card.out.shift();
        inbox.shift();
        return;
      case "hello":
        inbox.push(this.server.hello());
        return;
      case "leave":
        card.sharing.leave();
        card.out.length = 0;
        inbox.length = 0;
        return;
      case "kill":
        card.restart();
        inbox.length = 0;
        return;
    }
  }

  #ask(card: TestCard, { channel, more, t }: Wish): void {
    const n = Math.max(0, lastOf(card.desk.state, channel).n + more);
    const move = { channel, n, t };
    card.ask(requestOf(move), (reply) => this.#note(move, reply));
  }

  #carry(card: TestCard, inbox: Message[]): void {
    const message = card.out.shift();
    if (message === undefined) return;
    const answer = this.server.answer(message.name, message.payload);
    if (answer !== null) inbox.push(answer);
  }

  #note({ channel, n, t }: Move, reply: Uint8Array | null): void {
    if (!isSigned(reply)) return;
    this.signatures += 1;
    const before = this.left.get(`${channel}/${n}`) ?? t;
    assert.equal(before, t, `two signatures for ${channel}/${n}`);
    this.left.set(`${channel}/${n}`, t);
  }

  /** All that left is in the storage, for whoever comes. */
  check(): void {
    const fresh = new TestCard();
    fresh.dance(this.server);
    for (const [place, t] of this.left) {
      const [channel, n] = place.split("/").map(Number);
      assert.ok(channel !== undefined && n !== undefined);
      const last = lastOf(fresh.desk.state, channel);
      assert.ok(last.n >= n, `${place} left and is not stored`);
      if (last.n === n) assert.equal(last.t, t);
    }
  }
}

/** A message may come when nobody waits for it: then nothing must happen. */
function hearAll(card: TestCard, message: Message): void {
  try {
    card.hear(message);
  } catch (error) {
    if (!(error instanceof NotNow)) throw error;
  }
}

Deno.test("whatever the broker does: never two signatures for one number, none of them unstored", () => {
  let signatures = 0;
  fc.assert(
    fc.property(
      fc.array(event, { minLength: 60, maxLength: 200 }),
      (events) => {
        const world = new World();
        for (const card of world.cards) card.dance(world.server);
        for (const event of events) world.run(event);
        world.check();
        signatures += world.signatures;
        for (const card of world.cards) {
          card.sharing.leave();
          card.out.length = 0;
          card.dance(world.server);
          assert.ok(card.sharing.mayServe("vls-res"));
        }
        world.check();
      },
    ),
    { numRuns: 60 },
  );
  assert.ok(signatures > 100, `only ${signatures} signatures`);
});
