/**
 * An MQTT server that belongs to an attacker: whatever is published is handed to
 * the test, which passes on what it likes to whom it likes.
 *
 * It speaks as much of MQTT 3.1.1 as broker and softkey need: CONNECT, PUBLISH
 * with QoS 0, SUBSCRIBE, UNSUBSCRIBE, PINGREQ. It lets everybody in.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import net from "node:net";
import { packet } from "../mqtt/raw.ts";

/** Something published. */
export interface Published {
  readonly topic: string;
  readonly payload: Uint8Array;
}

/** Types of packets (§2.2.1). */
const TYPES = {
  connect: 1,
  publish: 3,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
} as const;

/** Somebody who connected. */
interface Client {
  readonly socket: net.Socket;
  readonly filters: Set<string>;
  cid: string;
  left: Buffer;
}

/** The server; port and hook are the test's. */
export class HostileServer implements AsyncDisposable {
  readonly #server: net.Server;
  readonly #clients = new Set<Client>();
  /** All that was ever published by one of them. */
  readonly seen: Published[] = [];
  /** What becomes of it; by default it is passed on. */
  hear: (published: Published) => void = (published) => this.pass(published);

  private constructor() {
    this.#server = net.createServer((socket) => this.#accept(socket));
  }

  /** Listens on a port that the kernel picks. */
  static async start(): Promise<HostileServer> {
    const server = new HostileServer();
    await new Promise<void>((resolve) =>
      server.#server.listen(0, "127.0.0.1", resolve)
    );
    return server;
  }

  get url(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") {
      throw new Error("The server does not listen");
    }
    return `mqtt://127.0.0.1:${address.port}`;
  }

  /** Publishes to whoever subscribed to it. */
  pass({ topic, payload }: Published): void {
    const name = Buffer.from(topic);
    const head = [name.length >> 8, name.length & 0xff, ...name];
    const bytes = packet(0x30, [...head, ...payload]);
    for (const { socket, filters } of this.#clients) {
      const isFor = [...filters].some((filter) => matches(filter, topic));
      if (isFor && !socket.destroyed) socket.write(bytes);
    }
  }

  /** Ends the connections of whoever logged in with such a client id. */
  cut(isMeant: (cid: string) => boolean): void {
    for (const { socket, cid } of this.#clients) {
      if (isMeant(cid)) socket.destroy();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut(() => true);
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  #accept(socket: net.Socket): void {
    socket.setNoDelay(true);
    const client = {
      socket,
      filters: new Set<string>(),
      cid: "",
      left: Buffer.alloc(0),
    };
    this.#clients.add(client);
    socket.on("error", () => {}); // "close" follows
    socket.on("close", () => this.#clients.delete(client));
    socket.on("data", (chunk: Buffer) => this.#read(client, chunk));
  }

  #read(client: Client, chunk: Buffer): void {
    client.left = Buffer.concat([client.left, chunk]);
    for (;;) {
      const whole = takePacket(client.left);
      if (whole === null) return;
      client.left = client.left.subarray(whole.next);
      this.#take(client, whole.type, whole.body);
    }
  }

  #take(client: Client, type: number, body: Buffer): void {
    const { socket, filters } = client;
    switch (type) {
      case TYPES.connect:
        client.cid = readText(body, 10);
        return void socket.write(packet(0x20, [0, 0]));
      case TYPES.publish: {
        const topic = readText(body, 0);
        const start = 2 + Buffer.byteLength(topic);
        const payload = new Uint8Array(body.subarray(start));
        this.seen.push({ topic, payload });
        return this.hear({ topic, payload });
      }
      case TYPES.subscribe: {
        const topics = readTopics(body, 1);
        for (const topic of topics) filters.add(topic);
        const granted = topics.map(() => 0);
        return void socket.write(
          packet(0x90, [...body.subarray(0, 2), ...granted]),
        );
      }
      case TYPES.unsubscribe:
        for (const topic of readTopics(body, 0)) filters.delete(topic);
        return void socket.write(packet(0xb0, [...body.subarray(0, 2)]));
      case TYPES.pingreq:
        return void socket.write(packet(0xd0, []));
    }
  }
}

/** The first packet of a stream; null when it is not whole. */
function takePacket(
  bytes: Buffer,
): { type: number; body: Buffer; next: number } | null {
  let length = 0;
  for (let i = 1; i < Math.min(bytes.length, 5); i++) {
    const byte = bytes[i] ?? 0;
    length += (byte & 0x7f) * 128 ** (i - 1);
    if (byte >= 0x80) continue;
    const next = i + 1 + length;
    if (bytes.length < next) return null;
    const type = (bytes[0] ?? 0) >> 4;
    return { type, body: bytes.subarray(i + 1, next), next };
  }
  return null;
}

function readText(bytes: Buffer, offset: number): string {
  const start = offset + 2;
  return bytes.toString("utf8", start, start + bytes.readUInt16BE(offset));
}

/** Topics after the packet's id, each with so many bytes behind it. */
function readTopics(body: Buffer, trailing: number): string[] {
  const topics: string[] = [];
  for (let at = 2; at < body.length;) {
    const topic = readText(body, at);
    topics.push(topic);
    at += 2 + Buffer.byteLength(topic) + trailing;
  }
  return topics;
}

/** `+` stands for one level. */
function matches(filter: string, topic: string): boolean {
  const levels = topic.split("/");
  const wanted = filter.split("/");
  return levels.length === wanted.length &&
    wanted.every((level, i) => level === "+" || level === levels[i]);
}
