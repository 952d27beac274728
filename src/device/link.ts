/**
 * The device's MQTT connection: comes back by itself, with a fresh login each
 * time, and never sends anything that belongs to the connection before.
 *
 * The library's own reconnect is off. It would repeat the old token, which is
 * stale by then, and replay publishes that nobody waits for any more; here every
 * connection is a new client, and the broker asks again for what it misses.
 *
 * //~ A device dials out, so that it works behind any router and nothing on it
 * //~ listens. What it hears on the line it hands to the signer and it publishes
 * //~ the answer: that is all it does. Next: device/sealed_link.ts.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import {
  connectMqtt,
  type MqttClient,
  type ServerAccess,
  topicPrefix,
} from "../mqtt/access.ts";
import {
  DEVICE_SUBSCRIPTIONS,
  nameIn,
  type TopicName,
  topicOf,
} from "../mqtt/topics.ts";

/** How to log in, asked for each connection anew. */
export interface Credentials {
  readonly cid: string;
  readonly username: string;
  readonly password: string;
  /** Payload of hello; null says none. */
  readonly hello: Uint8Array | null;
}

/** Publishes; into nothing once the connection has ended. */
export type Publish = (name: TopicName, payload: Uint8Array) => void;

/** What the link tells. */
export interface LinkEvents {
  /** Logged in and subscribed; hello is on its way. */
  connected(publish: Publish): void;
  /** A message for us, and a way to answer on the connection it came by. */
  message(name: TopicName, payload: Uint8Array, publish: Publish): void;
  /** The connection ended, or none came about; the next try is in `retryMs`. */
  disconnected(ending: Ending, retryMs: number): void;
}

/** Where and how to connect. */
export interface LinkOptions {
  /** `mqtt://host:port`, or `mqtts`, `ws`, `wss`. */
  readonly url: string;
  /** What the server wants to see besides; nothing for one of a broker. */
  readonly access?: ServerAccess;
  /** What to listen to; all that is not sealed, if absent. */
  readonly subscriptions?: readonly TopicName[];
  readonly credentials: () => Credentials;
  readonly events: LinkEvents;
  /** 0 to 1, spreads the retries of many devices. */
  readonly random: () => number;
}

/** First and longest pause between two tries, in milliseconds. */
const BACK_OFF_MS = { first: 50, absent: 50, nearby: 1_000, far: 3_000 };
/** Hosts that are this machine: asking costs little there, waiting more. */
const NEARBY = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/** How a connection ended. */
export interface Ending {
  readonly reason: string;
  /** Nothing listens there: not a refusal, but a broker that is not up. */
  readonly isNobodyThere?: boolean;
  /** The broker does not take this login. */
  readonly isRefused?: boolean;
}

/** Not authorised (MQTT 3.1.1 3.2.2.3), as the library hands it on. */
const NOT_AUTHORISED = 5;

function endingOf(error: Error): Ending {
  const code: unknown = Reflect.get(error, "code");
  const reason = error.message || String(code ?? error);
  const isRefused = code === NOT_AUTHORISED;
  return { reason, isNobodyThere: code === "ECONNREFUSED", isRefused };
}

/** What is asked of a connection, whatever it runs on. */
export type Line = Pick<
  Link,
  "start" | "restart" | "hangUp" | "stop" | "tell" | "settle"
>;

/** A connection that is there whenever it can be. */
export class Link {
  readonly #options: LinkOptions;
  readonly #prefix: string;
  #client: MqttClient | null = null;
  #cid = "";
  #retry: ReturnType<typeof setTimeout> | null = null;
  #failures = 0;
  #isStopped = false;

  constructor(options: LinkOptions) {
    this.#options = options;
    this.#prefix = topicPrefix(options.url);
  }

  /** Connects, and from then on keeps connecting. */
  start(): void {
    const { url, access = {}, credentials } = this.#options;
    const { cid, username, password, hello } = credentials();
    const client = connectMqtt(url, access, {
      clientId: cid,
      username,
      password: Buffer.from(password),
    });
    this.#client = client;
    this.#cid = cid;
    let ending: Ending = { reason: "the broker closed the connection" };
    client.on("error", (error) => ending = endingOf(error));
    client.on("connect", () => this.#subscribe(client, cid, hello));
    client.on("message", (topic, payload) => {
      this.#hear(client, cid, topic, payload);
    });
    client.on("close", () => this.#close(client, ending));
  }

  #subscribe(client: MqttClient, cid: string, hello: Uint8Array | null): void {
    const { subscriptions = DEVICE_SUBSCRIPTIONS } = this.#options;
    const topics = subscriptions.map((name) => this.#topic(cid, name));
    client.subscribe(topics, { qos: 0 }, (error) => {
      if (this.#client !== client) return;
      if (error) return client.end(true);
      const publish = this.#publisher(client, cid);
      if (hello !== null) publish("hello", hello);
      this.#options.events.connected(publish);
    });
  }

  #hear(client: MqttClient, cid: string, topic: string, payload: Buffer): void {
    if (this.#client !== client || !topic.startsWith(this.#prefix)) return;
    const name = nameIn(topic.slice(this.#prefix.length), cid, "toDevice");
    if (name === null) return;
    const publish = this.#publisher(client, cid);
    this.#options.events.message(name, payload, publish);
  }

  #publisher(client: MqttClient, cid: string): Publish {
    return (name, payload) => {
      if (this.#client !== client) return;
      this.#publish(client, this.#topic(cid, name), payload);
    };
  }

  #topic(cid: string, name: TopicName): string {
    return `${this.#prefix}${topicOf(cid, name)}`;
  }

  /** Ends this connection and makes a new one at once: a new login. */
  restart(): void {
    const client = this.#client;
    this.#client = null;
    client?.end(true);
    if (this.#retry !== null) clearTimeout(this.#retry);
    if (!this.#isStopped) this.start();
  }

  /** Ends this connection; the next try comes as after any other ending. */
  hangUp(ending: Ending): void {
    if (this.#client !== null) this.#close(this.#client, ending);
  }

  /** Ends for good. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    const client = this.#client;
    this.#client = null;
    if (client !== null) await client.endAsync(!client.connected);
  }

  #publish(client: MqttClient, topic: string, payload: Uint8Array): void {
    const { buffer, byteOffset, byteLength } = payload;
    client.publish(topic, Buffer.from(buffer, byteOffset, byteLength));
  }

  /** Says something of our own accord; into nothing while there is no line. */
  tell(name: TopicName, payload: Uint8Array): void {
    const client = this.#client;
    if (client === null || !client.connected) return;
    this.#publish(client, this.#topic(this.#cid, name), payload);
  }

  /** The broker takes what we say: the next try need not be put off. */
  settle(): void {
    this.#failures = 0;
  }

  #close(client: MqttClient, ending: Ending): void {
    if (this.#client !== client) return;
    this.#client = null;
    client.end(true);
    const { first, absent, nearby, far } = BACK_OFF_MS;
    const isNearby = NEARBY.test(new URL(this.#options.url).hostname);
    const nearest = ending.isNobodyThere ? absent : nearby;
    const longest = isNearby ? nearest : far;
    const pause = Math.min(first * 2 ** this.#failures, longest);
    const retryMs = Math.round(pause * (0.5 + this.#options.random() / 2));
    this.#failures += 1;
    this.#options.events.disconnected(ending, retryMs);
    this.#retry = setTimeout(() => this.start(), retryMs);
  }
}
