/**
 * Who is let in, when, and who is not.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Duplex } from "node:stream";
import {
  Doorman,
  DROPS_PER_TURN,
  PATIENCE_MS,
  PER_TURN,
  TURN_MS,
} from "../../src/mqtt/doorman.ts";
import { PacketGuard } from "../../src/mqtt/packet_guard.ts";
import { FakeClock } from "./fake_clock.ts";
import { connect, publish, remainingLength } from "./raw.ts";

/** A door, and what became of those at it. */
class Door implements Disposable {
  readonly clock = new FakeClock();
  readonly doorman = new Doorman(this.clock.now);
  readonly entered: string[] = [];
  readonly refused: string[] = [];
  /** What was said before they were let in. */
  readonly said = new Map<string, string>();

  come(name: string): Duplex {
    const stream = new Duplex({ read() {}, write() {} });
    this.doorman.hold({
      stream,
      guard: new PacketGuard(4_096),
      enter: (said) => {
        this.entered.push(name);
        this.said.set(name, said.map((piece) => piece.toHex()).join(""));
      },
      refuse: (reason) => this.refused.push(`${name}: ${reason}`),
    });
    return stream;
  }

  [Symbol.dispose](): void {
    this.doorman[Symbol.dispose]();
    this.clock[Symbol.dispose]();
  }
}

const WORDS = connect();
/** What arrives on a stream. */
const say = (stream: Duplex, bytes: Uint8Array) => stream.emit("data", bytes);

Deno.test("Who says a CONNECT to an idle door is let in at once, with all that it said", () => {
  using door = new Door();
  const stream = door.come("a");
  say(stream, WORDS.subarray(0, 5));
  assert.deepEqual(door.entered, []);
  const rest = Uint8Array.of(...WORDS.subarray(5), ...publish("aa/hello", ""));
  say(stream, rest);
  assert.deepEqual(door.entered, ["a"]);
  assert.equal(
    door.said.get("a"),
    WORDS.toHex() + publish("aa/hello", "").toHex(),
  );
  assert.equal(door.doorman.size, 0);
  assert.equal(stream.listenerCount("data"), 0);
});

Deno.test("Of many that ask at once a few are let in each turn, the newest first", async () => {
  using door = new Door();
  const names = Array.from({ length: 10 }, (_, i) => `${i}`);
  for (const name of names) say(door.come(name), WORDS);
  assert.deepEqual(door.entered, names.slice(0, PER_TURN));
  await door.clock.pass(TURN_MS);
  assert.deepEqual(door.entered.slice(PER_TURN), ["9", "8"]);
  say(door.come("device"), WORDS);
  await door.clock.pass(TURN_MS);
  assert.deepEqual(door.entered.slice(2 * PER_TURN), ["device", "7"]);
  await door.clock.pass(10 * TURN_MS);
  const last = ["6", "5", "4", "3", "2"];
  assert.deepEqual(door.entered.slice(3 * PER_TURN), last);
  assert.equal(door.clock.timers, 0);
});

Deno.test("Who left while it waited takes nobody's turn", async () => {
  using door = new Door();
  const streams = Array.from({ length: 20 }, (_, i) => door.come(`${i}`));
  for (const stream of streams) say(stream, WORDS);
  const left = streams.slice(PER_TURN + 1);
  for (const [i, stream] of left.entries()) {
    stream.emit(i % 2 === 0 ? "close" : "end");
  }
  assert.ok(left.every(({ destroyed }) => destroyed));
  await door.clock.pass(TURN_MS);
  assert.deepEqual(door.entered.slice(PER_TURN), [`${PER_TURN}`]);
  assert.equal(door.doorman.size, 0);
});

const NO_CONNECT: readonly (readonly [string, Uint8Array, RegExp])[] = [
  ["a PUBLISH first", publish("aa/hello", ""), /no CONNECT first/],
  ["HTTP", new TextEncoder().encode("GET / HTTP/1.1"), /no CONNECT first/],
  [
    "a CONNECT that is too long",
    Uint8Array.of(0x10, ...remainingLength(5_000)),
    /a packet of 5000 bytes, want at most 4096/,
  ],
  [
    "a remaining length without an end",
    Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0xff),
    /remaining length/,
  ],
];

for (const [what, bytes, reason] of NO_CONNECT) {
  Deno.test(`Who says ${what} is dropped at the door`, () => {
    using door = new Door();
    const stream = door.come("a");
    say(stream, bytes);
    assert.deepEqual(door.entered, []);
    assert.match(door.refused.join(), reason);
    assert.ok(stream.destroyed);
    assert.equal(door.doorman.size, 0);
  });
}

Deno.test("Who waits for its turn and does not stop talking is dropped", () => {
  using door = new Door();
  for (let i = 0; i < PER_TURN; i++) say(door.come("before"), WORDS);
  const stream = door.come("a");
  say(stream, WORDS);
  for (let i = 0; i < 3; i++) {
    assert.deepEqual(door.refused, []);
    say(stream, publish("aa/hello", "x".repeat(3_000)));
  }
  assert.match(door.refused.join(), /more than a CONNECT before its answer/);
});

Deno.test("Those who say nothing are dropped when their time is over, some in each turn", async () => {
  using door = new Door();
  const count = 2 * DROPS_PER_TURN + 1;
  for (let i = 0; i < count; i++) door.come(`${i}`);
  await door.clock.pass(PATIENCE_MS - 1);
  assert.deepEqual(door.refused, []);
  const dropped: number[] = [];
  for (let turn = 0; turn < 3; turn++) {
    await door.clock.pass(turn === 0 ? 1 : TURN_MS);
    dropped.push(door.refused.length);
  }
  assert.deepEqual(dropped, [DROPS_PER_TURN, 2 * DROPS_PER_TURN, count]);
  assert.equal(door.refused[0], "0: no CONNECT in 5 s");
  assert.equal(door.clock.timers, 0);
});

Deno.test("Who never ends its CONNECT has no more time than who says nothing", async () => {
  using door = new Door();
  const stream = door.come("a");
  for (let i = 0; i < 10; i++) {
    say(stream, WORDS.subarray(i, i + 1));
    await door.clock.pass(PATIENCE_MS / 10);
  }
  assert.deepEqual(door.refused, ["a: no CONNECT in 5 s"]);
});

Deno.test("A newcomer to a full house takes the place of who waits longest", () => {
  using door = new Door();
  const oldest = door.come("oldest");
  door.come("other");
  assert.ok(door.doorman.dropOldest());
  assert.ok(oldest.destroyed);
  assert.deepEqual(door.refused, ["oldest: too many connections"]);
  assert.ok(door.doorman.dropOldest());
  assert.ok(!door.doorman.dropOldest());
});
