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
 * //~ the answer: that is all it does. Next: signer/handle.ts.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Socket } from "node:net";
import mqtt, { type MqttClient } from "mqtt";
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
  /** Payload of hello. */
  readonly hello: Uint8Array;
}

/** Publishes; into nothing once the connection has ended. */
export type Publish = (name: TopicName, payload: Uint8Array) => void;

/** What the link tells. */
export interface LinkEvents {
  /** Logged in and subscribed; hello is on its way. */
  connected(): void;
  /** A message for us, and a way to answer on the connection it came by. */
  message(name: TopicName, payload: Uint8Array, publish: Publish): void;
  /** The connection ended, or none came about; the next try is in `retryMs`. */
  disconnected(ending: Ending, retryMs: number): void;
}

/** Where and how to connect. */
export interface LinkOptions {
  /** `mqtt://host:port`, or `ws://…`. */
  readonly url: string;
  readonly credentials: () => Credentials;
  readonly events: LinkEvents;
  /** 0 to 1, spreads the retries of many devices. */
  readonly random: () => number;
}

/** First and longest pause between two tries, in milliseconds. */
const BACK_OFF_MS = { first: 50, absent: 50, nearby: 1_000, far: 3_000 };
/** Hosts that are this machine: asking costs little there, waiting more. */
const NEARBY = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;
/** The broker drops us after one and a half of these without a word. */
const KEEPALIVE_S = 10;
const CONNECT_TIMEOUT_MS = 10_000;

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

/** A connection that is there whenever it can be. */
export class Link {
  readonly #options: LinkOptions;
  #client: MqttClient | null = null;
  #cid = "";
  #retry: ReturnType<typeof setTimeout> | null = null;
  #failures = 0;
  #isStopped = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  /** Connects, and from then on keeps connecting. */
  start(): void {
    const { url, credentials, events } = this.#options;
    const { cid, username, password, hello } = credentials();
    const client = mqtt.connect(url, {
      clientId: cid,
      username,
      password: Buffer.from(password),
      protocolVersion: 4,
      clean: true,
      keepalive: KEEPALIVE_S,
      connectTimeout: CONNECT_TIMEOUT_MS,
      reconnectPeriod: 0,
      queueQoSZero: false,
      resubscribe: false,
    });
    this.#client = client;
    this.#cid = cid;
    let ending: Ending = { reason: "the broker closed the connection" };
    client.on("error", (error) => ending = endingOf(error));
    client.on("connect", () => {
      // A small answer must not wait for the acknowledgement of the last one.
      if (client.stream instanceof Socket) client.stream.setNoDelay(true);
      const topics = DEVICE_SUBSCRIPTIONS.map((name) => topicOf(cid, name));
      client.subscribe(topics, { qos: 0 }, (error) => {
        if (error) return client.end(true);
        this.#publish(client, topicOf(cid, "hello"), hello);
        events.connected();
      });
    });
    client.on("message", (topic, payload) => {
      const name = nameIn(topic, cid, "toDevice");
      if (name === null) return;
      events.message(name, payload, (name, payload) => {
        if (this.#client !== client) return;
        this.#publish(client, topicOf(cid, name), payload);
      });
    });
    client.on("close", () => this.#close(client, ending));
  }

  /** Ends this connection and makes a new one at once: a new login. */
  restart(): void {
    const client = this.#client;
    this.#client = null;
    client?.end(true);
    if (!this.#isStopped) this.start();
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
    this.#publish(client, topicOf(this.#cid, name), payload);
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
