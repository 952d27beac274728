/**
 * MQTT by hand: packets as bytes over a plain connection, so that a test can
 * send what no client library would, and stop reading when it likes.
 *
 * MQTT 3.1.1 §2.2 (fixed header), §3.1 (CONNECT), §3.3 (PUBLISH), §3.8
 * (SUBSCRIBE).
 *
 * @module
 */

import net from "node:net";
import { makeToken } from "../../src/mqtt/auth.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import {
  type DeviceSession,
  EmbeddedServer,
  type LoginAttempt,
} from "../../src/mqtt/embedded.ts";
import { checkLogin } from "../../src/mqtt/auth.ts";
import type { ServerCertificate } from "../../src/mqtt/tls.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";

const utf8 = new TextEncoder();

function text(value: string | Uint8Array): number[] {
  const bytes = typeof value === "string" ? utf8.encode(value) : value;
  return [bytes.length >> 8, bytes.length & 0xff, ...bytes];
}

/** A packet: first byte, remaining length, body. */
export function packet(first: number, body: readonly number[]): Uint8Array {
  return Uint8Array.of(first, ...remainingLength(body.length), ...body);
}

/** §2.2.3: seven bits a byte, the low ones first. */
export function remainingLength(length: number): number[] {
  const bytes: number[] = [];
  do {
    bytes.push(length % 128 + (length >= 128 ? 128 : 0));
    length = Math.floor(length / 128);
  } while (length > 0);
  return bytes;
}

/** What a CONNECT says; by default one that is let in. */
export interface ConnectFields {
  readonly cid?: string;
  readonly seed?: number;
  readonly password?: string;
  readonly keepalive?: number;
  readonly name?: string;
  readonly level?: number;
  readonly will?: { readonly topic: string; readonly message: string };
}

/** CONNECT. */
export function connect(fields: ConnectFields = {}): Uint8Array {
  const { cid = "aa", seed = 1, keepalive = 60, name = "MQTT" } = fields;
  const { level = 4, will } = fields;
  const key = new Uint8Array(32).fill(seed);
  const flags = 0b1100_0010 | (will ? 0b0000_0100 : 0);
  return packet(0x10, [
    ...text(name),
    level,
    flags,
    keepalive >> 8,
    keepalive & 0xff,
    ...text(cid),
    ...(will ? [...text(will.topic), ...text(will.message)] : []),
    ...text(publicKey(key).toHex()),
    ...text(fields.password ?? makeToken(key, 1000)),
  ]);
}

/** SUBSCRIBE to one filter. */
export function subscribe(filter: string, qos = 0): Uint8Array {
  return packet(0x82, [0, 1, ...text(filter), qos]);
}

/** PUBLISH. */
export function publish(
  topic: string,
  payload: string,
  { qos = 0, retain = false }: { qos?: number; retain?: boolean } = {},
): Uint8Array {
  const id = qos > 0 ? [0, 9] : [];
  const first = 0x30 | qos << 1 | (retain ? 1 : 0);
  return packet(first, [...text(topic), ...id, ...utf8.encode(payload)]);
}

/** A packet that came back. */
export interface Packet {
  /** The first byte. */
  readonly first: number;
  readonly body: Uint8Array;
}

/** A connection that speaks bytes. */
export class RawClient implements Disposable {
  readonly #conn: Deno.TcpConn;
  #held = new Uint8Array(0);

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  static async open(port: number): Promise<RawClient> {
    return new RawClient(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Connects and logs in. */
  static async login(port: number, fields?: ConnectFields): Promise<RawClient> {
    const client = await RawClient.open(port);
    await client.send(connect(fields));
    const packet = await client.read();
    if (packet?.first === 0x20 && packet.body[1] === 0) return client;
    client[Symbol.dispose]();
    throw new Error(`Login refused: ${packet?.body.toHex()}`);
  }

  async send(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) {
      sent += await this.#conn.write(bytes.subarray(sent));
    }
  }

  /** The next packet, or null when the server closed. */
  async read(): Promise<Packet | null> {
    for (;;) {
      const packet = this.#take();
      if (packet !== null) return packet;
      const chunk = new Uint8Array(65_536);
      const count = await this.#conn.read(chunk).catch(nullForReset);
      if (count === null) return null;
      this.#held = Uint8Array.of(...this.#held, ...chunk.subarray(0, count));
    }
  }

  [Symbol.dispose](): void {
    this.#conn.close();
  }

  #take(): Packet | null {
    let length = 0;
    for (let i = 1; i < this.#held.length; i++) {
      const byte = this.#held[i] ?? 0;
      length += (byte & 0x7f) * 128 ** (i - 1);
      if (byte >= 0x80) continue;
      const end = i + 1 + length;
      if (this.#held.length < end) return null;
      const first = this.#held[0] ?? 0;
      const body = this.#held.slice(i + 1, end);
      this.#held = this.#held.slice(end);
      return { first, body };
    }
    return null;
  }
}

function nullForReset(error: unknown): null {
  if (error instanceof Deno.errors.ConnectionReset) return null;
  throw error;
}

/** Something that happened on the server. */
export type Happening =
  | {
    readonly kind: "login";
    readonly cid: string;
    readonly isLoopback: boolean;
  }
  | {
    readonly kind: "message";
    readonly session: DeviceSession;
    readonly name: TopicName;
    readonly payload: string;
  }
  | { readonly kind: "gone"; readonly session: DeviceSession }
  | { readonly kind: "refused"; readonly reason: string };

/** A server that notes what happens. */
export class NotedServer implements AsyncDisposable {
  readonly happenings: Happening[] = [];
  readonly port: number;
  readonly server: EmbeddedServer;
  #watch: () => void = () => {};

  private constructor(server: EmbeddedServer, port: number) {
    this.server = server;
    this.port = port;
  }

  static async start(
    { isWebSocket = false, isPending = false, certificate = null }: {
      isWebSocket?: boolean;
      isPending?: boolean;
      certificate?: ServerCertificate | null;
    } = {},
  ): Promise<NotedServer> {
    let noted = null as NotedServer | null;
    const note = (happening: Happening) => {
      if (noted === null) return;
      noted.happenings.push(happening);
      noted.#watch();
    };
    const server = await EmbeddedServer.start({
      login(attempt: LoginAttempt) {
        const { cid, username, password, isLoopback } = attempt;
        note({ kind: "login", cid, isLoopback });
        const outcome = checkLogin(username, password, {
          now: 1000,
          window: 60,
        });
        return { ...outcome, isPending };
      },
      message: (session, name, payload) =>
        note({
          kind: "message",
          session,
          name,
          payload: new TextDecoder().decode(payload),
        }),
      gone: (session) => note({ kind: "gone", session }),
      refused: (_from, reason) => note({ kind: "refused", reason }),
    });
    const address = { hostname: "127.0.0.1", port: 0 };
    const { port } = isWebSocket
      ? await server.listenWebSocket(address, certificate)
      : await server.listenTcp(address, certificate);
    noted = new NotedServer(server, port);
    return noted;
  }

  /** The first happening, past or coming, of this kind that fits. */
  async happened<K extends Happening["kind"]>(
    kind: K,
    fits: (happening: Extract<Happening, { kind: K }>) => boolean = () => true,
  ): Promise<Extract<Happening, { kind: K }>> {
    const isWanted = (
      happening: Happening,
    ): happening is Extract<Happening, { kind: K }> =>
      happening.kind === kind &&
      fits(happening as Extract<Happening, { kind: K }>);
    for (;;) {
      const found = this.happenings.find(isWanted);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#watch = resolve);
    }
  }

  /** Logs a device in that subscribed to `vls` and said hello. */
  async device(
    cid: string,
    seed = 1,
  ): Promise<{ client: RawClient; session: DeviceSession }> {
    const client = await RawClient.login(this.port, { cid, seed });
    await client.send(subscribe(`${cid}/vls`));
    await client.read();
    const hello = `hello ${this.happenings.length}`;
    await client.send(publish(`${cid}/hello`, hello));
    const { session } = await this.happened(
      "message",
      ({ payload }) => payload === hello,
    );
    return { client, session };
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.server[Symbol.asyncDispose]();
  }
}

/**
 * Counts the sockets that are told not to wait for more bytes: accepted at a
 * port, or connected to it.
 */
export async function countNoDelay(
  port: number,
  fn: () => Promise<void>,
  end: "localPort" | "remotePort" = "localPort",
): Promise<number> {
  const { setNoDelay } = net.Socket.prototype;
  const told = new Set<string>(); // a socket of TLS is one on another
  net.Socket.prototype.setNoDelay = function (isOn?: boolean) {
    if (isOn !== false && this[end] === port) {
      told.add(`${this.localPort} ${this.remotePort}`);
    }
    return setNoDelay.call(this, isOn);
  };
  try {
    await fn();
  } finally {
    net.Socket.prototype.setNoDelay = setNoDelay;
  }
  return told.size;
}
