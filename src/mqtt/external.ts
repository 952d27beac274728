/**
 * Devices met on an MQTT server that somebody else runs.
 *
 * The server is a place and no authority: it lets in whom it likes, and whoever
 * it lets in may write on any device's topics. So nobody is believed here; what
 * a device is, its seal proves (sealed_sessions.ts). Sessions are made from
 * messages, because a server tells nobody who comes and goes:
 *
 * | what is heard from a client id | |
 * | --- | --- |
 * | its first `hello` or `sealed-res` | a session begins |
 * | `hello`, not sealed | the session before is gone, a new one begins |
 * | `bye`, not sealed | the session is gone |
 * | the connection to the server ends | all are gone |
 *
 * A client id that began with a seal is not sent off by words that anybody can
 * write. Two topics of everybody are subscribed to, `hello` and `sealed-res`, and
 * the rest of what a device says for those that said hello. Retained messages
 * are not heard: they say what was.
 *
 * Each connection is a new client with a clean session: nothing is repeated that
 * belongs to the one before. The client id comes from the link key, so that
 * each broker has its own; a server ends the older one of two with the same.
 *
 * Standard: MQTT 3.1.1.
 *
 * What it does not do: prove who a device is, or decide who is served.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { sha256 } from "../crypto/hash.ts";
import { FRAME_LIMIT } from "../wire/frame.ts";
import {
  connectMqtt,
  type MqttClient,
  type ServerAccess,
  serverName,
  topicPrefix,
} from "./access.ts";
import { encodeSealed } from "./sealed.ts";
import type { DeviceLink, DeviceSession, LinkListener } from "./session.ts";
import { clientIdProblem, nameIn, type TopicName, topicOf } from "./topics.ts";

/** Where the server is, and who hears what comes from there. */
export interface ExternalServerOptions {
  /** `mqtt://host:port/prefix`, or `mqtts`. */
  readonly url: string;
  readonly access: ServerAccess;
  /** The broker's public link key, 33 bytes. */
  readonly linkKey: Uint8Array;
  readonly listener: LinkListener;
  /** Logged in and subscribed. */
  readonly connected: () => void;
  /** Not connected any more, or not yet; told once for each reason. */
  readonly disconnected: (reason: string) => void;
  /** 0 to 1, spreads the tries of many brokers. */
  readonly random: () => number;
}

/** What is subscribed to for every client id. */
export const OF_ALL: readonly TopicName[] = ["hello", "sealed-res"];
/** What is subscribed to for one that said hello. */
export const OF_ONE: readonly TopicName[] = [
  "bye",
  "init-1-res",
  "init-2-res",
  "init-3-res",
  "vls-res",
  "lss-res",
  "lss-conflict-res",
  "control-res",
  "proxy-res",
  "error",
  "card",
  "led",
  "paired",
  "pong",
];

/** Client ids at one time; a shared server may have many more of its own. */
const MOST_SESSIONS = 256;
/** Client ids that are told to shake hands anew. */
const MOST_GREETED = 64;
/** A server that lets this much wait takes nothing any more. */
const MOST_WAITING = 2 * FRAME_LIMIT;

/** First and longest pause between two tries. */
const BACK_OFF_MS = { first: 50, most: 3_000 };
/** A connection that held this long was a good one. */
const SETTLED_MS = 10_000;

/** A session, and what is known of its client id. */
interface Entry {
  readonly session: DeviceSession;
  /** Whether it began with something sealed. */
  readonly isSealing: boolean;
  /** Whether all that it may say is subscribed to. */
  isSubscribed: boolean;
  isTrusted: boolean;
}

/** The MQTT client id of a broker: 23 letters, which every server takes. */
export function brokerClientId(linkKey: Uint8Array): string {
  return `remotehsmd${sha256(linkKey).toHex().slice(0, 13)}`;
}

/** A connection to a server that is there whenever it can be. */
export class ExternalServer implements DeviceLink, AsyncDisposable {
  readonly #options: ExternalServerOptions;
  readonly #prefix: string;
  readonly #from: string;
  /** By client id, the oldest first. */
  readonly #entries = new Map<string, Entry>();
  #greeted: readonly string[] = [];
  #client: MqttClient | null = null;
  #isUp = false;
  #retry: ReturnType<typeof setTimeout> | null = null;
  #failures = 0;
  #told = "";
  #isStopped = false;

  constructor(options: ExternalServerOptions) {
    this.#options = options;
    this.#prefix = topicPrefix(options.url);
    this.#from = serverName(options.url);
  }

  /** Connects, and from then on keeps connecting. */
  start(): void {
    const { url, access, linkKey } = this.#options;
    const client = connectMqtt(url, access, {
      clientId: brokerClientId(linkKey),
    });
    this.#client = client;
    let reason = "the server closed the connection";
    let since = Infinity;
    client.on("error", (error) => reason = reasonOf(error));
    client.on("connect", () => {
      since = performance.now();
      this.#subscribe(client, (problem) => reason = problem);
    });
    client.on("message", (topic, payload, { retain }) => {
      if (this.#client === client && !retain) this.#hear(topic, payload);
    });
    client.on("close", () => {
      if (performance.now() - since >= SETTLED_MS) this.#failures = 0;
      this.#close(client, reason);
    });
  }

  /**
   * Tells these client ids, now and after each new connection, that we know no
   * sealed session of theirs: they need not wait until they notice. One that
   * we hear is left alone.
   */
  greet(cids: readonly string[]): void {
    this.#greeted = cids.slice(0, MOST_GREETED);
    if (this.#isUp) this.#greetAll();
  }

  /** Publishes to one device; false when its session is over. */
  send(session: DeviceSession, name: TopicName, payload: Uint8Array): boolean {
    const { cid } = session;
    if (this.#entries.get(cid)?.session !== session) return false;
    return this.#publish(topicOf(cid, name), payload);
  }

  /** Ends a session; the device itself hears nothing of it. */
  drop(session: DeviceSession): void {
    if (this.#entries.get(session.cid)?.session !== session) return;
    // As on a server of ours, the end is heard of after the call.
    queueMicrotask(() => this.#forget(session));
  }

  /** A device that has proved itself is not put out to make room. */
  trust(session: DeviceSession): void {
    const entry = this.#entries.get(session.cid);
    if (entry?.session === session) entry.isTrusted = true;
  }

  /** Ends the connection for good. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isStopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    const client = this.#client;
    this.#client = null;
    this.#isUp = false;
    this.#forgetAll();
    if (client !== null) await client.endAsync(!client.connected);
  }

  #subscribe(client: MqttClient, failed: (reason: string) => void): void {
    const topics = OF_ALL.map((name) => `${this.#prefix}+/${name}`);
    client.subscribe(topics, { qos: 0 }, (error) => {
      if (this.#client !== client) return;
      if (error) {
        failed(`it refuses a subscription to ${topics.join(" and ")}`);
        client.end(true);
        return;
      }
      this.#isUp = true;
      this.#told = "";
      this.#options.connected();
      this.#greetAll();
    });
  }

  #greetAll(): void {
    for (const cid of this.#greeted) {
      if (this.#entries.has(cid)) continue;
      this.#publish(topicOf(cid, "sealed"), encodeSealed("again"));
    }
  }

  #publish(topic: string, payload: Uint8Array): boolean {
    const client = this.#client;
    if (client === null || !client.connected) return false;
    if (client.stream.writableLength > MOST_WAITING) {
      client.stream.destroy();
      return false;
    }
    const { buffer, byteOffset, byteLength } = payload;
    client.publish(
      `${this.#prefix}${topic}`,
      Buffer.from(buffer, byteOffset, byteLength),
      { qos: 0, retain: false },
    );
    return true;
  }

  #hear(topic: string, payload: Uint8Array): void {
    if (!topic.startsWith(this.#prefix)) return;
    const inner = topic.slice(this.#prefix.length);
    const cid = inner.slice(0, inner.indexOf("/"));
    const name = nameIn(inner, cid, "fromDevice");
    if (name === null || clientIdProblem(cid) !== null) return;
    const entry = this.#entryFor(cid, name);
    if (entry === null) return;
    if (name === "hello") this.#subscribeTo(entry);
    this.#options.listener.message(entry.session, name, payload);
    if (name === "bye" && !entry.isSealing) this.#forget(entry.session);
  }

  /** The session that a message belongs to; null when there is no room. */
  #entryFor(cid: string, name: TopicName): Entry | null {
    const entry = this.#entries.get(cid);
    if (entry === undefined) {
      return OF_ALL.includes(name) && this.#hasRoom()
        ? this.#begin(cid, name)
        : null;
    }
    const isOver = !entry.isSealing &&
      (name === "hello" || (name === "sealed-res" && !entry.isTrusted));
    if (!isOver) return entry;
    this.#forget(entry.session);
    return this.#begin(cid, name);
  }

  #begin(cid: string, name: TopicName): Entry {
    const entry = {
      session: {
        cid,
        key: null,
        from: this.#from,
        isSealed: false,
        transcript: null,
      },
      isSealing: name === "sealed-res",
      isSubscribed: false,
      isTrusted: false,
    };
    this.#entries.set(cid, entry);
    return entry;
  }

  /** Before we ask it anything: a server takes what we say in our order. */
  #subscribeTo(entry: Entry): void {
    if (entry.isSubscribed) return;
    entry.isSubscribed = true;
    this.#client?.subscribe(this.#topicsOf(entry.session.cid), { qos: 0 });
  }

  #topicsOf(cid: string): string[] {
    return OF_ONE.map((name) => `${this.#prefix}${topicOf(cid, name)}`);
  }

  /** Puts out the oldest that is not trusted, if it has to. */
  #hasRoom(): boolean {
    if (this.#entries.size < MOST_SESSIONS) return true;
    for (const { session, isTrusted } of this.#entries.values()) {
      if (isTrusted) continue;
      this.#forget(session);
      return true;
    }
    return false;
  }

  #forget(session: DeviceSession): void {
    const entry = this.#entries.get(session.cid);
    if (entry?.session !== session) return;
    this.#entries.delete(session.cid);
    if (entry.isSubscribed && this.#client?.connected === true) {
      this.#client.unsubscribe(this.#topicsOf(session.cid));
    }
    this.#options.listener.gone(session);
  }

  #forgetAll(): void {
    for (const { session } of [...this.#entries.values()]) {
      this.#forget(session);
    }
  }

  #close(client: MqttClient, reason: string): void {
    if (this.#client !== client) return;
    this.#client = null;
    this.#isUp = false;
    client.end(true);
    this.#forgetAll();
    if (this.#isStopped) return;
    if (this.#told !== reason) this.#options.disconnected(reason);
    this.#told = reason;
    const { first, most } = BACK_OFF_MS;
    const pause = Math.min(first * 2 ** this.#failures, most);
    this.#failures += 1;
    const retryMs = Math.round(pause * (0.5 + this.#options.random() / 2));
    this.#retry = setTimeout(() => this.start(), retryMs);
  }
}

/** Errors of the library and of the system, as an operator reads them. */
const REASONS: Readonly<Record<string, string>> = {
  // Bad user name or password, not authorised (MQTT 3.1.1 3.2.2.3).
  "4": "it refuses our login: user, password or client id",
  "5": "it refuses our login: user, password or client id",
  "ECONNREFUSED": "nobody listens there",
  "ENOTFOUND": "there is no such host",
  "EHOSTUNREACH": "there is no way to that host",
  "ENETUNREACH": "there is no way to that network",
  "Keepalive timeout": "it does not answer any more",
  "connack timeout": "it does not answer our login",
};

function reasonOf(error: Error): string {
  const code = String(Reflect.get(error, "code"));
  return REASONS[code] ?? REASONS[error.message] ?? (error.message || code);
}
