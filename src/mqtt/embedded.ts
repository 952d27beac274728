/**
 * The MQTT server that the broker carries: `aedes` behind TCP and WebSocket,
 * plain or under TLS 1.3 (RFC 8446).
 *
 * What the library does not do for us is done here: TCP_NODELAY on every
 * accepted socket (without it each message waits 40 ms for a delayed ACK), few
 * strangers let in at a time (`doorman.ts`), bounded packets before a login and
 * after it, publish and subscribe rights confined to the device's own client id,
 * no wills, nothing retained, nothing kept for a session that ended.
 *
 * Messages to a device are written to that device's connection and do not pass
 * through the library's queue, so a subscriber that stopped reading delays
 * nobody; it is dropped after {@linkcode DRAIN_TIMEOUT_MS}. Devices cannot reach
 * each other at all.
 *
 * //~ Why a whole MQTT server in here, for one device? Because hardware exists
 * //~ that speaks MQTT, and because an operator should have one file to drop, not
 * //~ a service to run. Next: device/link.ts shows the other end.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import http from "node:http";
import https from "node:https";
import net from "node:net";
import type { Duplex } from "node:stream";
import tls from "node:tls";
import {
  Aedes,
  type AuthenticateError,
  type Client,
  type ConnectPacket,
} from "aedes";
// @ts-types="npm:@types/ws@8.18.2"
import { createWebSocketStream, WebSocketServer } from "ws";
import { Bug } from "../errors.ts";
import { FRAME_LIMIT } from "../wire/frame.ts";
import { Doorman, PATIENCE_MS } from "./doorman.ts";
import { PacketGuard } from "./packet_guard.ts";
import type { DeviceLink, DeviceSession, LinkListener } from "./session.ts";
import type { ServerCertificate } from "./tls.ts";
import {
  clientIdProblem,
  DEVICE_SUBSCRIPTIONS,
  nameIn,
  SEALED_SUBSCRIPTIONS,
  type TopicName,
  topicOf,
} from "./topics.ts";

export type { DeviceSession } from "./session.ts";

/** Who hears what happens on the server. */
export interface ServerEvents extends LinkListener {
  /** Whether somebody may come in. */
  login(attempt: LoginAttempt): LoginOutcome;
}

/** The key that logs in, or why it may not. */
export type LoginOutcome =
  | {
    readonly key: Uint8Array;
    /** It has more to prove: a stranger's packets, until it is trusted. */
    readonly isPending?: boolean;
  }
  | { readonly refusal: string };

/** What a CONNECT says, and where it comes from. */
export interface LoginAttempt {
  readonly cid: string;
  readonly username: string;
  readonly password: string;
  /** Whether the connection begins on this machine. */
  readonly isLoopback: boolean;
}

/** Where to listen; port 0 lets the kernel choose. */
export interface ListenAddress {
  readonly hostname: string;
  readonly port: number;
}

/** A device that takes nothing for this long is dropped. */
const DRAIN_TIMEOUT_MS = 5_000;
const MOST_CONNECTIONS = 2_000;
const STRANGER_PACKET_LIMIT = 4_096;
/** Room for a whole hsmd message, its frame, its topic and its seal. */
const DEVICE_PACKET_LIMIT = FRAME_LIMIT + 4_096;
/** All that a device may subscribe to, sealed or not. */
const SUBSCRIPTIONS: readonly TopicName[] = [
  ...DEVICE_SUBSCRIPTIONS,
  ...SEALED_SUBSCRIPTIONS,
];

/** Who is at the other end of a connection. */
interface Peer {
  readonly from: string;
  readonly isLoopback: boolean;
}

/** A connection that is let in. */
interface Entry {
  readonly stream: Duplex;
  readonly peer: Peer;
  readonly guard: PacketGuard;
  /** What it said at the door. */
  readonly said: readonly Uint8Array[];
}

const UNKNOWN_PEER: Peer = { from: "an unknown address", isLoopback: false };

/** A server and its listeners. */
export class EmbeddedServer implements AsyncDisposable, DeviceLink {
  readonly #aedes: Aedes;
  readonly #events: ServerEvents;
  readonly #sessions = new Map<Client, DeviceSession>();
  readonly #clients = new Map<DeviceSession, Client>();
  readonly #peers = new WeakMap<Client, Peer>();
  readonly #guards = new WeakMap<Duplex, PacketGuard>();
  readonly #listeners: { close(): void }[] = [];
  readonly #sockets = new Set<net.Socket>();
  readonly #door = new Doorman();

  private constructor(events: ServerEvents) {
    this.#events = events;
    this.#aedes = new Aedes({
      connectTimeout: PATIENCE_MS,
      drainTimeout: DRAIN_TIMEOUT_MS,
      maxClientsIdLength: 128,
      // Ours have two levels; the library's own have four.
      maxTopicLevels: 4,
      queueLimit: 16,
      preConnect: (_client, packet, done) => {
        const problem = connectProblem(packet);
        delete packet.will;
        // The library closes for an error only; a bare no would leave it open.
        done(problem === null ? null : new Error(problem), problem === null);
      },
      authenticate: (client, username, password, done) => {
        const isIn = this.#login(client, username ?? "", password);
        done(isIn ? null : notAuthorised(), isIn);
      },
      authorizeSubscribe: (client, subscription, done) => {
        const name = nameIn(subscription.topic, client.id, "toDevice");
        const isOwn = name !== null && SUBSCRIPTIONS.includes(name);
        done(null, isOwn && subscription.qos < 2 ? subscription : null);
      },
      authorizePublish: (client, packet, done) => {
        const problem = client === null ? null : this.#receive(client, packet);
        done(problem === null ? null : new Error(problem));
      },
    });
    const complain = (client: Client, error: Error) =>
      this.#refuse(client, error.message);
    this.#aedes.on("clientDisconnect", (client) => this.#forget(client));
    this.#aedes.on("clientError", complain);
    this.#aedes.on("connectionError", complain);
  }

  /** Starts the server without a listener. */
  static async start(events: ServerEvents): Promise<EmbeddedServer> {
    const server = new EmbeddedServer(events);
    await server.#aedes.listen();
    return server;
  }

  /** Opens a TCP listener, under TLS with a certificate; tells where it is. */
  async listenTcp(
    address: ListenAddress,
    certificate: ServerCertificate | null = null,
  ): Promise<ListenAddress> {
    const accept = (socket: net.Socket) => this.#accept(socket, peerOf(socket));
    return await this.#listen(
      certificate === null
        ? net.createServer(accept)
        : tls.createServer(tlsOptions(certificate), accept),
      address,
    );
  }

  /** Opens a WebSocket listener (sub-protocol `mqtt`, any path), the same way. */
  async listenWebSocket(
    address: ListenAddress,
    certificate: ServerCertificate | null = null,
  ): Promise<ListenAddress> {
    const listener = certificate === null
      ? http.createServer(answerHttp)
      : https.createServer(tlsOptions(certificate), answerHttp);
    const sockets = new WebSocketServer({
      server: listener,
      maxPayload: DEVICE_PACKET_LIMIT,
      handleProtocols: () => "mqtt",
    });
    sockets.on("connection", (socket, request) => {
      const stream = createWebSocketStream(socket);
      this.#accept(stream, peerOf(request.socket));
    });
    sockets.on("error", () => {}); // told by listen() below
    return await this.#listen(listener, address);
  }

  /** Lets a device that has proved itself send as much as replies need. */
  trust(session: DeviceSession): void {
    const client = this.#clients.get(session);
    if (client === undefined) return;
    this.#guards.get(client.conn)?.allow(DEVICE_PACKET_LIMIT);
  }

  /** Publishes to one device; false when it is gone or has not subscribed. */
  send(
    session: DeviceSession,
    name: TopicName,
    payload: Uint8Array,
  ): boolean {
    const client = this.#clients.get(session);
    if (client === undefined) return false;
    const topic = topicOf(session.cid, name);
    client.publish({
      cmd: "publish",
      topic,
      payload: asBuffer(payload),
      qos: 0,
      retain: false,
      dup: false,
    }, () => {});
    return true;
  }

  /** Ends a device's connection. */
  drop(session: DeviceSession): void {
    this.#clients.get(session)?.close();
  }

  /** Closes listeners and connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    this.#door[Symbol.dispose]();
    await new Promise<void>((resolve) => this.#aedes.close(() => resolve()));
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Listens, and watches what arrives before anybody speaks on it. */
  async #listen(
    listener: net.Server,
    address: ListenAddress,
  ): Promise<ListenAddress> {
    listener.prependListener("connection", (socket) => this.#track(socket));
    // No TLS, or none in time: nobody else ends that connection.
    listener.on("tlsClientError", (_error: Error, socket: net.Socket) => {
      socket.destroy();
    });
    const bound = await listen(listener, address);
    this.#listeners.push(listener);
    return bound;
  }

  /** Notes a raw socket; when there are too many, one of them must go. */
  #track(socket: net.Socket): void {
    const isFull = this.#sockets.size >= MOST_CONNECTIONS;
    if (isFull && !this.#door.dropOldest()) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.on("close", () => this.#sockets.delete(socket));
  }

  /** Has it wait at the door, until it has said who it is. */
  #accept(stream: Duplex, peer: Peer): void {
    if (stream.destroyed) return;
    const guard = new PacketGuard(STRANGER_PACKET_LIMIT);
    this.#door.hold({
      stream,
      guard,
      enter: (said) => this.#enter({ stream, peer, guard, said }),
      refuse: (reason) => this.#events.refused(peer.from, reason),
    });
  }

  #enter({ stream, peer, guard, said }: Entry): void {
    this.#guards.set(stream, guard);
    const client = this.#aedes.handle(stream);
    this.#peers.set(client, peer);
    feed(client, stream, said, (chunk) => {
      const problem = guard.problemIn(chunk);
      if (problem === null) return true;
      this.#events.refused(peer.from, problem);
      stream.destroy();
      return false;
    });
  }

  /** Asks whether the client may come in; makes its session if so. */
  #login(
    client: Client,
    username: string,
    password: Readonly<Uint8Array> | undefined,
  ): boolean {
    const { from, isLoopback } = this.#peers.get(client) ?? UNKNOWN_PEER;
    const attempt = {
      cid: client.id,
      username,
      password: new TextDecoder().decode(password),
      isLoopback,
    };
    const outcome = this.#events.login(attempt);
    if ("refusal" in outcome) {
      this.#refuse(client, outcome.refusal);
      return false;
    }
    const session = {
      cid: client.id,
      key: outcome.key,
      from,
      isSealed: false,
      transcript: null,
    };
    this.#sessions.set(client, session);
    this.#clients.set(session, client);
    if (outcome.isPending !== true) this.trust(session);
    client.conn.on("close", () => this.#forget(client));
    return true;
  }

  /** Takes what a device published; says why it may not. */
  #receive(
    client: Client,
    packet: {
      topic: string;
      payload: string | Uint8Array;
      qos: number;
      retain: boolean;
    },
  ): string | null {
    const session = this.#sessions.get(client);
    if (session === undefined) return "published before login";
    const name = nameIn(packet.topic, session.cid, "fromDevice");
    if (name === null) return "published on a topic that is not its own";
    if (packet.qos > 1) return "published with QoS 2, want 0 or 1";
    packet.retain = false;
    const { payload } = packet;
    this.#events.message(
      session,
      name,
      typeof payload === "string" ? new TextEncoder().encode(payload) : payload,
    );
    return null;
  }

  #forget(client: Client): void {
    const session = this.#sessions.get(client);
    if (session === undefined) return;
    this.#sessions.delete(client);
    this.#clients.delete(session);
    this.#events.gone(session);
  }

  #refuse(client: Client, reason: string): void {
    const { from } = this.#peers.get(client) ?? UNKNOWN_PEER;
    this.#events.refused(from, reason);
  }
}

/** What we use of a client of aedes 1.2.0 that its types do not name. */
interface Insides {
  readonly _parser: { parse(bytes: Uint8Array): number };
  _nextBatch(): void;
}

/**
 * Gives a client what arrives, one piece after the other.
 *
 * By itself aedes reads when it is done with a packet, which may be while its
 * parser is still at work on the same piece. The parser of mqtt-packet 9.0.2 is
 * not made for that: under load it skips a packet, and ends a connection for
 * bytes that are as they should be. So aedes is told that there is nothing to
 * read, and its parser gets every piece from here.
 */
function feed(
  client: Client,
  stream: Duplex,
  said: readonly Uint8Array[],
  mayPass: (chunk: Uint8Array) => boolean,
): void {
  if (!hasInsides(client)) {
    throw new Bug("Found no parser in a client of aedes");
  }
  stream.removeAllListeners("readable");
  const read = stream.read.bind(stream);
  // Null is how aedes reads, and nobody else.
  stream.read = (size?: number | null) => size === null ? null : read(size);
  // It expects to have read once before the first packet.
  client._nextBatch();
  for (const chunk of said) client._parser.parse(chunk);
  stream.on("data", (chunk: Uint8Array) => {
    if (mayPass(chunk)) client._parser.parse(chunk);
  });
}

function hasInsides(client: object): client is Insides {
  const parser: unknown = Reflect.get(client, "_parser");
  return typeof Reflect.get(client, "_nextBatch") === "function" &&
    typeof parser === "object" && parser !== null &&
    typeof Reflect.get(parser, "parse") === "function";
}

/** Why a CONNECT cannot be taken, before its login is looked at. */
function connectProblem(packet: ConnectPacket): string | null {
  if (packet.protocolId !== "MQTT" || packet.protocolVersion !== 4) {
    return `protocol version ${packet.protocolVersion}, want MQTT 3.1.1`;
  }
  if (!packet.keepalive) return "keep alive of 0, want a number of seconds";
  const problem = clientIdProblem(packet.clientId);
  return problem === null ? null : `client id refused: ${problem}`;
}

function notAuthorised(): AuthenticateError {
  // 5: not authorised (MQTT 3.1.1 §3.2.2.3).
  return Object.assign(new Error("login refused"), { returnCode: 5 });
}

function answerHttp(_: http.IncomingMessage, to: http.ServerResponse): void {
  to.writeHead(426, { "content-type": "text/plain" });
  to.end("MQTT over WebSocket is spoken here\n");
}

function tlsOptions({ cert, key }: ServerCertificate): tls.TlsOptions {
  return {
    cert,
    key: asBuffer(key.reveal()),
    minVersion: "TLSv1.3",
    handshakeTimeout: PATIENCE_MS,
  };
}

/** Addresses of this machine; the last is IPv4 on an IPv6 listener. */
const LOOPBACK = /^(?:127\.|::1$|::ffff:127\.)/;

function peerOf({ remoteAddress, remotePort }: net.Socket): Peer {
  return {
    from: `${remoteAddress ?? "?"}:${remotePort ?? "?"}`,
    isLoopback: LOOPBACK.test(remoteAddress ?? ""),
  };
}

/** The same bytes as the library's type. */
function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function listen(
  listener: net.Server,
  { hostname, port }: ListenAddress,
): Promise<ListenAddress> {
  const { promise, resolve, reject } = Promise.withResolvers<ListenAddress>();
  listener.once("error", reject);
  listener.listen(port, hostname, () => {
    listener.off("error", reject);
    const address = listener.address();
    const bound = typeof address === "object" ? address?.port : undefined;
    resolve({ hostname, port: bound ?? port });
  });
  return promise;
}
