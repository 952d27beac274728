/**
 * The queue: what goes first, what waits for whom, what a Sphinx device counts.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  type Device,
  NATIVE,
  newDevice,
  SPHINX,
} from "../../src/broker/device.ts";
import { HandshakeLimit } from "../../src/broker/handshakes.ts";
import { RISE_MS } from "../../src/broker/lanes.ts";
import { type Pending, RequestQueue } from "../../src/broker/queue.ts";
import { SILENCE_MS } from "../../src/broker/turns.ts";
import { FRESH_MS, MOST_UNDER_WAY } from "../../src/broker/window.ts";
import type { Answer } from "../../src/unixfd.ts";
import { type RequestName, REQUESTS } from "../../src/wire/hsmd.ts";
import type { RequestRow } from "../../src/wire/message.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { decodeSignerRequest } from "../../src/wire/vls.ts";
import { runs } from "../support/arbitrary.ts";

const DONE: Answer = { kind: "reply", message: new Uint8Array(2) };
const REFUSED: Answer = { kind: "refused", reason: "no" };
const ROWS: Readonly<Record<string, RequestRow>> = REQUESTS;

/** A queue with a clock, timers and devices that a test moves by hand. */
class World {
  now = 1_000_000;
  /** What each device was sent: numbers of requests, in order. */
  readonly sent = new Map<Device, number[]>();
  readonly sequences = new Map<Device, number[]>();
  readonly queue: RequestQueue;
  readonly #timers = new Set<{ at: number; call: () => void }>();

  constructor({ rate }: { readonly rate?: number } = {}) {
    const now = () => this.now;
    this.queue = new RequestQueue({
      send: (device, frame) => this.#take(device, frame),
      changed: () => {},
      now,
      later: (ms, call) => {
        const timer = { at: this.now + ms, call };
        this.#timers.add(timer);
        return () => this.#timers.delete(timer);
      },
      ...(rate === undefined
        ? {}
        : { handshakes: new HandshakeLimit({ rate, now }) }),
    });
  }

  connect(dialect = SPHINX): Device {
    const session = {
      cid: `device-${this.sent.size}`,
      key: null,
      from: "here",
      isSealed: false,
      transcript: null,
    };
    const device = newDevice(session, this.now);
    device.dialect = dialect;
    this.sent.set(device, []);
    this.sequences.set(device, []);
    return device;
  }

  /** Asks as the daemon of channel `n`; as lightningd or connectd if told so. */
  ask(
    name: RequestName,
    n: number,
    device: Device | null,
    { as = "channel" }: { readonly as?: "channel" | "master" | "connectd" } =
      {},
  ): Promise<Answer> {
    const row = ROWS[name];
    assert.ok(row);
    const isMaster = as === "master";
    const dbid = as === "channel" ? BigInt(n) : 0n;
    const requester = { peerId: NOBODY, dbid, permissions: 0n, isMaster };
    const message = new Uint8Array(6);
    new DataView(message.buffer).setUint32(2, n);
    const { signal } = new AbortController();
    return this.queue.add({ requester, row, message, signal }, device);
  }

  /** Asks what can wait. */
  askIdle(device: Device): Promise<Uint8Array | null> {
    const requester = {
      peerId: NOBODY,
      dbid: 0n,
      permissions: 0n,
      isMaster: true,
    };
    const row = REQUESTS.sign_message;
    const message = new Uint8Array(6).fill(9);
    const { signal } = new AbortController();
    const request = { requester, row, message, signal };
    return this.queue.addIdle(request, device);
  }

  /** The device answers the request `n`. */
  answer(device: Device, n: number, answer = DONE): void {
    const pending = this.held(device, n);
    this.queue.settle(pending, answer);
    this.queue.pump(device);
  }

  held(device: Device, n: number): Pending {
    const found = this.queue.list().find(({ sentTo, request }) =>
      sentTo === device && numberOf(request.message) === n
    );
    assert.ok(found, `request ${n} is under way`);
    return found;
  }

  sentTo(device: Device): readonly number[] {
    return this.sent.get(device) ?? [];
  }

  /** Time goes by, timers fire. */
  advance(ms: number): void {
    const end = this.now + ms;
    for (let fired = 0;; fired++) {
      assert.ok(fired < 1_000, "a timer that fires again at once");
      const [next] = [...this.#timers].filter(({ at }) => at <= end)
        .toSorted((a, b) => a.at - b.at);
      if (next === undefined) break;
      this.now = next.at;
      this.#timers.delete(next);
      next.call();
    }
    this.now = end;
  }

  get timers(): number {
    return this.#timers.size;
  }

  #take(device: Device, frame: Uint8Array): boolean {
    const { sequence, message } = decodeSignerRequest(frame);
    this.sent.get(device)?.push(numberOf(message));
    this.sequences.get(device)?.push(sequence);
    return true;
  }
}

function numberOf(message: Uint8Array): number {
  return new DataView(message.buffer, message.byteOffset).getUint32(2);
}

/** Answers what a device has, one after the other, until nothing is left. */
function answerAll(world: World, device: Device): void {
  for (let i = 0; world.queue.size > 0 && i < 1_000; i++) {
    const [next] = world.queue.list(1_000)
      .filter(({ sentTo }) => sentTo === device);
    if (next === undefined) return;
    world.queue.settle(next, DONE);
    world.queue.pump(device);
  }
}

Deno.test("What is more urgent is sent first, and of one class what was asked first", () => {
  const world = new World();
  void world.ask("ecdh_req", 1, null, { as: "connectd" });
  void world.ask("sign_message", 2, null, { as: "master" });
  void world.ask("get_per_commitment_point", 3, null);
  void world.ask("sign_remote_commitment_tx", 4, null);
  void world.ask("revoke_commitment_tx", 5, null);
  void world.ask("sign_penalty_to_us", 6, null);
  const device = world.connect();
  world.queue.pump(device);
  answerAll(world, device);
  assert.deepEqual(world.sentTo(device), [5, 6, 3, 4, 2, 1]);
});

Deno.test("What is urgent goes before all, and its class is still its own", () => {
  const world = new World();
  void world.ask("sign_penalty_to_us", 1, null);
  const row = REQUESTS.sign_message;
  const message = new Uint8Array(6);
  const { signal } = new AbortController();
  const requester = {
    peerId: NOBODY,
    dbid: 0n,
    permissions: 0n,
    isMaster: true,
  };
  const request = { requester, row, message, signal };
  void world.queue.add(request, null, { isUrgent: true });
  const device = world.connect();
  world.queue.pump(device);
  answerAll(world, device);
  assert.deepEqual(world.sentTo(device), [0, 1]);
});

Deno.test("A protective request waits for no more than the one that a Sphinx device has", () => {
  const world = new World();
  const device = world.connect();
  for (let n = 1; n <= 5; n++) {
    void world.ask("get_per_commitment_point", n, device);
  }
  void world.ask("sign_mutual_close_tx", 6, device);
  world.answer(device, 1);
  assert.deepEqual(world.sentTo(device), [1, 6]);
});

Deno.test("An operator's request that waited two seconds is not overtaken by payments any more", () => {
  const world = new World();
  void world.ask("sign_message", 1, null, { as: "master" });
  world.advance(RISE_MS);
  void world.ask("get_per_commitment_point", 2, null);
  void world.ask("validate_revocation", 3, null);
  const device = world.connect();
  world.queue.pump(device);
  answerAll(world, device);
  assert.deepEqual(world.sentTo(device), [3, 1, 2]);
});

Deno.test("Payments without an end starve neither an operator nor a stranger", () => {
  const world = new World();
  const device = world.connect();
  void world.ask("get_per_commitment_point", 100, device);
  void world.ask("ecdh_req", 1, device, { as: "connectd" });
  void world.ask("sign_message", 2, device, { as: "master" });
  for (let n = 101; n < 160; n++) {
    void world.ask("get_per_commitment_point", n, device);
    world.advance(100);
    world.answer(device, world.sentTo(device).at(-1) ?? 0);
  }
  const sent = world.sentTo(device);
  const [operator, stranger] = [sent.indexOf(2), sent.indexOf(1)];
  assert.ok(operator >= 0 && stranger > operator, sent.join(" "));
});

Deno.test("Strangers have their rate and twice that at once, and nobody waits for them", () => {
  const world = new World({ rate: 10 });
  const device = world.connect(NATIVE);
  for (let n = 1; n <= 25; n++) {
    void world.ask("ecdh_req", n, device, { as: "connectd" });
  }
  assert.equal(world.sentTo(device).length, 20);
  void world.ask("get_per_commitment_point", 99, device);
  assert.equal(world.sentTo(device).at(-1), 99);
  assert.deepEqual(world.queue.counts().get("handshake"), {
    waiting: 5,
    sent: 20,
    oldestAskedAt: 1_000_000,
  });
  world.advance(99);
  assert.equal(world.sentTo(device).length, 21);
  world.advance(1);
  assert.equal(world.sentTo(device).at(-1), 21);
  world.advance(400);
  assert.deepEqual(world.sentTo(device).slice(-5), [21, 22, 23, 24, 25]);
  assert.equal(world.queue.delayedHandshakes, 5);
  assert.equal(world.timers, 0);
});

Deno.test("A handshake that waits for its rate sets one timer, and none while the device is busy", () => {
  const world = new World({ rate: 1 });
  const device = world.connect();
  for (let n = 1; n <= 3; n++) {
    void world.ask("ecdh_req", n, device, { as: "connectd" });
  }
  world.answer(device, 1);
  world.answer(device, 2);
  assert.equal(world.timers, 1);
  void world.ask("get_per_commitment_point", 9, device);
  world.advance(5_000);
  assert.equal(world.timers, 0);
  assert.deepEqual(world.sentTo(device), [1, 2, 9]);
  world.answer(device, 9);
  assert.deepEqual(world.sentTo(device), [1, 2, 9, 3]);
});

Deno.test("A handshake keeps its token when its device is lost", () => {
  const world = new World({ rate: 1 });
  const lost = world.connect();
  for (let n = 1; n <= 2; n++) {
    void world.ask("ecdh_req", n, lost, { as: "connectd" });
  }
  world.queue.recall(lost);
  const other = world.connect(NATIVE);
  world.queue.pump(other);
  assert.deepEqual(world.sentTo(other), [1, 2]);
});

Deno.test("A device that is lost leaves its requests in the order of asking", () => {
  const world = new World();
  const lost = world.connect(NATIVE);
  for (let n = 1; n <= 4; n++) {
    void world.ask("get_per_commitment_point", n, lost);
  }
  world.answer(lost, 2);
  world.queue.recall(lost);
  assert.equal(lost.inFlight, 0);
  void world.ask("get_per_commitment_point", 5, null);
  void world.ask("validate_revocation", 6, null);
  const other = world.connect(NATIVE);
  world.queue.pump(other);
  assert.deepEqual(world.sentTo(other), [6, 1, 3, 4, 5]);
  assert.deepEqual(
    world.queue.list().map(({ sentTo }) => sentTo === other),
    [true, true, true, true, true],
  );
});

Deno.test("Nothing of one channel waits for the owner's word, or a refusal, about another", async () => {
  const world = new World();
  const device = world.connect(NATIVE);
  const thought = world.ask("sign_withdrawal", 1, device, { as: "master" });
  const refused = world.ask("sign_remote_commitment_tx", 2, device);
  const other = world.ask("sign_remote_commitment_tx", 3, device);
  world.answer(device, 3);
  assert.deepEqual(await other, DONE);
  world.answer(device, 2, REFUSED);
  assert.deepEqual(await refused, REFUSED);
  const later = world.ask("get_per_commitment_point", 4, device);
  world.answer(device, 4);
  assert.deepEqual(await later, DONE);
  world.answer(device, 1);
  assert.deepEqual(await thought, DONE);
});

Deno.test("A Sphinx device that refuses one channel is asked for the next at once, under the same number", async () => {
  const world = new World();
  const device = world.connect();
  const refused = world.ask("sign_remote_commitment_tx", 1, device);
  const other = world.ask("sign_remote_commitment_tx", 2, device);
  world.queue.settleUnnumbered(world.held(device, 1), REFUSED);
  world.queue.pump(device);
  assert.deepEqual(await refused, REFUSED);
  world.answer(device, 2);
  assert.deepEqual(await other, DONE);
  assert.deepEqual(world.sequences.get(device), [0, 0]);
});

Deno.test("An exclusive message waits for what is under way, and all else waits for it", async () => {
  const world = new World();
  const device = world.connect();
  const begun: string[] = [];
  void world.ask("get_per_commitment_point", 1, device);
  void world.ask("get_per_commitment_point", 2, device);
  const first = world.queue.addExclusive(device, () => !!begun.push("first"));
  const next = world.queue.addExclusive(device, () => !!begun.push("next"));
  assert.deepEqual(begun, []);
  world.answer(device, 1);
  assert.deepEqual(begun, ["first"]);
  void world.ask("sign_penalty_to_us", 3, device);
  assert.deepEqual(world.sentTo(device), [1]);
  first.done();
  assert.equal(await first.ended, "done");
  // Protective ones go before one that has not begun.
  assert.deepEqual(world.sentTo(device), [1, 3]);
  world.answer(device, 3);
  assert.deepEqual(begun, ["first", "next"]);
  next.done();
  assert.deepEqual(world.sentTo(device), [1, 3, 2]);
  assert.equal(world.timers, 0);
});

Deno.test("A device that is silent about an exclusive message is asked for the rest after ten seconds", async () => {
  const world = new World();
  const device = world.connect();
  world.queue.pump(device);
  const turn = world.queue.addExclusive(device, () => true);
  void world.ask("get_per_commitment_point", 1, device);
  world.advance(SILENCE_MS - 1);
  assert.deepEqual(world.sentTo(device), []);
  world.advance(1);
  assert.equal(await turn.ended, "late");
  assert.deepEqual(world.sentTo(device), [1]);
  turn.done();
  assert.equal(world.timers, 0);
});

Deno.test("An exclusive message ends with its device, begun or not, and one to a warm device begins at once", async () => {
  const world = new World();
  const [active, warm] = [world.connect(), world.connect()];
  void world.ask("get_per_commitment_point", 1, active);
  let begun = 0;
  const waiting = world.queue.addExclusive(active, () => !!++begun);
  const atOnce = world.queue.addExclusive(warm, () => !!++begun);
  assert.equal(begun, 1);
  world.queue.recall(active);
  assert.equal(await waiting.ended, "gone");
  world.queue.recall(warm);
  assert.equal(await atOnce.ended, "gone");
  const refused = world.queue.addExclusive(warm, () => false);
  assert.equal(await refused.ended, "gone");
  assert.equal(world.timers, 0);
});

Deno.test("What can wait goes when nothing else is there, and not beside an exclusive message", () => {
  const world = new World();
  const device = world.connect();
  void world.ask("get_per_commitment_point", 1, device);
  void world.askIdle(device);
  const turn = world.queue.addExclusive(device, () => true);
  world.answer(device, 1);
  assert.equal(world.sentTo(device).length, 1);
  turn.done();
  assert.equal(world.sentTo(device).length, 2);
});

Deno.test("What can wait and a Sphinx device refuses uses up no number, and an answer does", () => {
  const world = new World();
  const device = world.connect(SPHINX);
  for (const isError of [true, true, false, false]) {
    void world.askIdle(device);
    const idle = world.queue.firstOf(device);
    assert.ok(idle);
    world.queue.settleIdle(idle, new Uint8Array(2), { isError });
  }
  void world.ask("get_per_commitment_point", 1, device);
  const [first = 0, ...rest] = world.sequences.get(device) ?? [];
  const offsets = rest.map((sequence) => sequence - first);
  assert.deepEqual(offsets, [0, 0, 1, 2]);
});

Deno.test("A Sphinx device that takes over from a native one sees no gap", () => {
  const world = new World();
  const native = world.connect(NATIVE);
  for (let n = 1; n <= 6; n++) {
    void world.ask("get_per_commitment_point", n, native);
  }
  for (const n of [2, 4, 5]) world.answer(native, n);
  world.queue.recall(native);
  void world.ask("sign_penalty_to_us", 7, null);
  const sphinx = world.connect();
  world.queue.pump(sphinx);
  answerAll(world, sphinx);
  assert.deepEqual(world.sentTo(sphinx), [7, 1, 3, 6]);
  const [first = 0, ...rest] = world.sequences.get(sphinx) ?? [];
  assert.deepEqual(rest, [first + 1, first + 2, first + 3]);
});

Deno.test("A closed queue leaves no timer", () => {
  const world = new World({ rate: 1 });
  const device = world.connect();
  for (let n = 1; n <= 3; n++) {
    void world.ask("ecdh_req", n, device, { as: "connectd" });
  }
  for (const n of [1, 2]) world.answer(device, n);
  world.queue.addExclusive(device, () => true);
  assert.equal(world.timers, 2);
  world.queue.close();
  assert.equal(world.timers, 0);
});

// ------------------------------------------------------------------ window

/** Asks for points of channels `from` to `to`; gives the numbers. */
function askPoints(
  world: World,
  device: Device,
  [from, to]: readonly [number, number],
): readonly number[] {
  const numbers = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  for (const n of numbers) {
    void world.ask("get_per_commitment_point", n, device);
  }
  return numbers;
}

Deno.test("What protects money waits behind no more than a window of what was sent", () => {
  const world = new World();
  const device = world.connect(NATIVE);
  askPoints(world, device, [1, 500]);
  assert.equal(world.sentTo(device).length, NATIVE.window);
  void world.ask("sign_penalty_to_us", 999, device);
  world.answer(device, 7);
  assert.equal(world.sentTo(device).at(-1), 999);
  assert.equal(device.inFlight, NATIVE.window);
  world.queue.close();
});

Deno.test("A window full of questions that an owner thinks about holds up nobody for long", () => {
  const world = new World();
  const device = world.connect(NATIVE);
  const { window } = NATIVE;
  for (let n = 1; n <= window; n++) {
    void world.ask("sign_withdrawal", n, device, { as: "master" });
  }
  world.advance(FRESH_MS / 2);
  askPoints(world, device, [101, 102]);
  void world.ask("validate_revocation", 103, device);
  assert.equal(world.sentTo(device).length, window);
  assert.equal(world.timers, 1);
  world.advance(FRESH_MS / 2 - 1);
  assert.equal(world.sentTo(device).length, window);
  world.advance(1);
  assert.deepEqual(world.sentTo(device).slice(window), [103, 101, 102]);
  assert.equal(world.timers, 0);
  for (const n of [101, 102, 103]) world.answer(device, n);
  askPoints(world, device, [104, 104]);
  assert.equal(world.sentTo(device).at(-1), 104);
});

Deno.test("What was asked in a window that time opened counts in it", () => {
  const world = new World();
  const device = world.connect(NATIVE);
  const { window } = NATIVE;
  askPoints(world, device, [1, 3 * window]);
  world.advance(FRESH_MS);
  assert.equal(world.sentTo(device).length, 2 * window);
  world.answer(device, 1);
  assert.equal(world.sentTo(device).length, 2 * window);
  world.answer(device, window + 1);
  assert.equal(world.sentTo(device).length, 2 * window + 1);
  world.queue.close();
  assert.equal(world.timers, 0);
});

Deno.test("A device keeps no more than so many questions, however old", () => {
  const world = new World();
  const device = world.connect(NATIVE);
  askPoints(world, device, [1, MOST_UNDER_WAY + 10]);
  for (let i = 0; i < 100; i++) world.advance(FRESH_MS);
  assert.equal(device.inFlight, MOST_UNDER_WAY);
  assert.equal(world.timers, 0);
  world.answer(device, 1);
  assert.equal(world.sentTo(device).length, MOST_UNDER_WAY + 1);
});

Deno.test("A clock that steps back keeps no window shut", () => {
  const world = new World();
  const device = world.connect(NATIVE);
  const [first = 0] = askPoints(world, device, [1, 2 * NATIVE.window]);
  world.now -= 60_000;
  world.answer(device, first);
  assert.equal(world.sentTo(device).length, 2 * NATIVE.window);
});

Deno.test("A clock that steps back puts nobody behind strangers", () => {
  const world = new World();
  void world.ask("sign_message", 1, null, { as: "master" });
  world.now -= 60_000;
  void world.ask("ecdh_req", 2, null, { as: "connectd" });
  const device = world.connect();
  world.queue.pump(device);
  answerAll(world, device);
  assert.deepEqual(world.sentTo(device), [1, 2]);
});

Deno.test("A Sphinx device gets one request at a time, however long it takes", () => {
  const world = new World();
  const device = world.connect(SPHINX);
  askPoints(world, device, [1, 3]);
  world.advance(100 * FRESH_MS);
  assert.deepEqual(world.sentTo(device), [1]);
  assert.equal(world.timers, 0);
});

// ------------------------------------------------------------------- model

const NAMES = [
  "sign_penalty_to_us",
  "get_per_commitment_point",
  "sign_message",
  "ecdh_req",
] as const;

type Step =
  | { readonly do: "ask"; readonly name: (typeof NAMES)[number] }
  | { readonly do: "answer" | "error"; readonly pick: number }
  | { readonly do: "lose"; readonly isSphinx: boolean }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "turn" };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant("ask" as const),
    name: fc.constantFrom(...NAMES),
  }),
  fc.record({
    do: fc.constantFrom("answer" as const, "answer" as const, "error" as const),
    pick: fc.nat(100),
  }),
  fc.record({ do: fc.constant("lose" as const), isSphinx: fc.boolean() }),
  fc.record({ do: fc.constant("wait" as const), ms: fc.nat(3_000) }),
  fc.record({ do: fc.constant("turn" as const) }),
);

/** A world with one active device, and what must hold in it at any time. */
class Model {
  readonly #world = new World({ rate: 2 });
  #device = this.#world.connect();
  #asked = 0;
  #answered = 0;
  #turns = 0;
  #turnsEnded = 0;

  take(step: Step): void {
    switch (step.do) {
      case "ask":
        return this.#ask(step.name);
      case "answer":
        return this.#answer(step.pick, { isError: false });
      case "error":
        return this.#answer(step.pick, { isError: true });
      case "lose":
        return this.#lose(step.isSphinx ? SPHINX : NATIVE);
      case "wait":
        return this.#world.advance(step.ms);
      case "turn":
        return this.#addTurn();
    }
  }

  check(): void {
    const { inFlight, dialect } = this.#device;
    assert.equal(inFlight, this.#underWay.length);
    assert.ok(inFlight <= dialect.window);
  }

  /** All is answered in the end, and nothing is left. */
  async finish(): Promise<void> {
    const { queue } = this.#world;
    for (let i = 0; queue.size > 0 && i < 1_000; i++) {
      this.#world.advance(SILENCE_MS);
      for (const pending of this.#underWay) queue.settle(pending, DONE);
      queue.pump(this.#device);
    }
    queue.close();
    for (let i = 0; i < 5; i++) await Promise.resolve();
    assert.equal(this.#answered, this.#asked);
    assert.equal(this.#turnsEnded, this.#turns);
    assert.equal(this.#world.timers, 0);
  }

  get #underWay(): readonly Pending[] {
    return this.#world.queue.list(1_000)
      .filter(({ sentTo }) => sentTo === this.#device);
  }

  #ask(name: RequestName): void {
    const as = name === "ecdh_req" ? "connectd" : "channel";
    this.#asked += 1;
    this.#world.ask(name, this.#asked, this.#device, { as })
      .then(() => this.#answered += 1);
  }

  #answer(pick: number, { isError }: { readonly isError: boolean }): void {
    const { queue } = this.#world;
    const its = this.#underWay;
    const pending = its[pick % Math.max(its.length, 1)];
    if (pending === undefined) return;
    const isSphinx = this.#device.dialect === SPHINX;
    const isTold = isError && isSphinx;
    if (isTold) queue.settleUnnumbered(pending, REFUSED);
    else queue.settle(pending, DONE);
    const sent = this.#world.sentTo(this.#device).length;
    queue.pump(this.#device);
    const isNext = this.#world.sentTo(this.#device).length > sent;
    if (!isSphinx || !isNext) return;
    const next = this.#world.sequences.get(this.#device)?.at(-1);
    assert.equal(next, (pending.sequence ?? 0) + (isTold ? 0 : 1));
  }

  #lose(dialect: typeof SPHINX): void {
    this.#world.queue.recall(this.#device);
    this.#device = this.#world.connect(dialect);
    this.#world.queue.pump(this.#device);
  }

  #addTurn(): void {
    const device = this.#device;
    this.#turns += 1;
    const { ended } = this.#world.queue.addExclusive(device, () => {
      assert.equal(device.inFlight, 0);
      return true;
    });
    void ended.then(() => this.#turnsEnded += 1);
  }
}

Deno.test("Whatever happens, all is answered once, and a Sphinx device has one thing at a time and no gap", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 80, size: "max" }),
      async (steps) => {
        const model = new Model();
        for (const step of steps) {
          model.take(step);
          model.check();
          await Promise.resolve();
        }
        await model.finish();
      },
    ),
    { numRuns: runs(100) },
  );
});
