/**
 * What the whole world may throw at an MQTT listener: connections that say
 * nothing, that never finish their CONNECT, that read nothing, and packets that
 * are none.
 *
 * @module
 */

import net from "node:net";
import { connect, packet, publish, remainingLength } from "../mqtt/raw.ts";

/** Numbers between 0 and 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ state >>> 15, state | 1);
    mixed ^= mixed + Math.imul(mixed ^ mixed >>> 7, mixed | 61);
    return ((mixed ^ mixed >>> 14) >>> 0) / 2 ** 32;
  };
}

type Random = () => number;

const below = (random: Random, end: number) => Math.floor(random() * end);

function noise(random: Random, most: number): number[] {
  return Array.from({ length: below(random, most) }, () => below(random, 256));
}

/** Ways to be wrong; each makes the bytes of one connection. */
const MALFORMED: readonly ((random: Random) => Uint8Array)[] = [
  (random) => Uint8Array.from(noise(random, 400)),
  // Any packet type with any flags, before a CONNECT.
  (random) => packet(below(random, 256), noise(random, 200)),
  // A remaining length without an end (MQTT 3.1.1 §2.2.3).
  () => Uint8Array.of(0x10, 0xff, 0xff, 0xff, 0xff, 0xff),
  // 256 MiB announced.
  (random) =>
    Uint8Array.of(0x30, ...remainingLength(268_435_455), ...noise(random, 99)),
  // A CONNECT with some bytes changed.
  (random) => {
    const bytes = connect({ cid: `f${below(random, 1e6)}` });
    for (let i = 0; i < 3; i++) {
      bytes[below(random, bytes.length)] = below(random, 256);
    }
    return bytes;
  },
  // A CONNECT that is cut, with its length as if it were whole.
  (random) => {
    const bytes = connect();
    return bytes.slice(0, below(random, bytes.length));
  },
  () => Uint8Array.of(...connect({ password: "x" }), ...publish("a/b", "c")),
  // Lengths inside that lead beyond the packet.
  (random) => packet(0x82, [0, 1, 0xff, 0xff, ...noise(random, 20)]),
];

/** The bytes of one malformed connection. */
export function malformed(random: Random): Uint8Array {
  const make = MALFORMED[below(random, MALFORMED.length)];
  return make?.(random) ?? new Uint8Array();
}

/** Clients that only cost; all of them close with it. */
export class MqttLoad implements Disposable {
  readonly #port: number;
  readonly #sockets = new Set<net.Socket>();
  readonly #random: Random;
  #isOver = false;
  /** Malformed connections that the server has closed. */
  closed = 0;

  constructor(port: number, seed: number) {
    this.#port = port;
    this.#random = seededRandom(seed);
  }

  /** Connects so many that say nothing; each comes back when it is dropped. */
  async idle(count: number): Promise<void> {
    await this.#many(count, () => new Uint8Array());
  }

  /** Connects so many that begin a CONNECT and never end it. */
  async slow(count: number): Promise<void> {
    await this.#many(count, () => connect().slice(0, 20));
  }

  /** Keeps so many connections busy with packets that are none. */
  fuzz(count: number): void {
    for (let i = 0; i < count; i++) void this.#malform();
  }

  /** A client with these first words that reads nothing, ever. */
  async frozen(words: Uint8Array): Promise<void> {
    const socket = await this.#open();
    socket.pause();
    socket.write(words);
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  async #many(count: number, words: () => Uint8Array): Promise<void> {
    const come = async () => {
      const socket = await this.#open();
      socket.resume();
      const bytes = words();
      if (bytes.length > 0) socket.write(bytes);
      socket.once("close", () => {
        if (!this.#isOver) come().catch(() => {}); // over meanwhile
      });
    };
    await Promise.all(Array.from({ length: count }, come));
  }

  async #malform(): Promise<void> {
    while (!this.#isOver) {
      const socket = await this.#open();
      const { promise, resolve } = Promise.withResolvers<void>();
      socket.once("close", () => resolve());
      socket.resume();
      // Whoever waits for the rest of a packet is not waited for.
      socket.write(malformed(this.#random), () => socket.destroy());
      await promise;
      this.closed += 1;
    }
  }

  #open(): Promise<net.Socket> {
    const { promise, resolve } = Promise.withResolvers<net.Socket>();
    const socket = net.connect(this.#port, "127.0.0.1");
    this.#sockets.add(socket);
    socket.once("connect", () => resolve(socket));
    socket.on("error", () => {}); // a close follows
    socket.on("close", () => {
      this.#sockets.delete(socket);
      resolve(socket);
    });
    return promise;
  }
}
