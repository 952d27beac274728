/**
 * A broker's connection to somebody else's server and a device's, both noted.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { publicKey } from "../../src/crypto/secp.ts";
import {
  connectMqtt,
  type MqttClient,
  type ServerAccess,
} from "../../src/mqtt/access.ts";
import { ExternalServer } from "../../src/mqtt/external.ts";
import type { DeviceSession } from "../../src/mqtt/session.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";

/** Something that the broker heard. */
export type Heard =
  | { readonly kind: "connected" }
  | { readonly kind: "disconnected"; readonly reason: string }
  | {
    readonly kind: "message";
    readonly session: DeviceSession;
    readonly name: TopicName;
    readonly payload: string;
  }
  | { readonly kind: "gone"; readonly session: DeviceSession };

/** An external server that notes what it hears. */
export class NotedExternal implements AsyncDisposable {
  readonly heard: Heard[] = [];
  readonly server: ExternalServer;
  #taken = 0;
  #watch: () => void = () => {};

  constructor(
    url: string,
    { access = {}, seed = 9 }: { access?: ServerAccess; seed?: number } = {},
  ) {
    const note = (heard: Heard) => {
      this.heard.push(heard);
      this.#watch();
    };
    this.server = new ExternalServer({
      url,
      access,
      linkKey: publicKey(new Uint8Array(32).fill(seed)),
      listener: {
        message: (session, name, payload) =>
          note({
            kind: "message",
            session,
            name,
            payload: new TextDecoder().decode(payload),
          }),
        gone: (session) => note({ kind: "gone", session }),
        refused: () => {},
      },
      connected: () => note({ kind: "connected" }),
      disconnected: (reason) => note({ kind: "disconnected", reason }),
      random: () => 0.5,
    });
    this.server.start();
  }

  /** The next thing heard that was not taken yet. */
  async next(): Promise<Heard> {
    for (;;) {
      const heard = this.heard[this.#taken];
      if (heard !== undefined) {
        this.#taken += 1;
        return heard;
      }
      await new Promise<void>((resolve) => this.#watch = resolve);
    }
  }

  /** The next thing of this kind; what comes before it is passed over. */
  async nextOf<K extends Heard["kind"]>(
    kind: K,
  ): Promise<Extract<Heard, { kind: K }>> {
    for (;;) {
      const heard = await this.next();
      if (isKind(heard, kind)) return heard;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }
}

function isKind<K extends Heard["kind"]>(
  heard: Heard,
  kind: K,
): heard is Extract<Heard, { kind: K }> {
  return heard.kind === kind;
}

/** A device, or anybody, on the server. */
export class Guest implements AsyncDisposable {
  readonly #client: MqttClient;
  readonly #heard: { topic: string; payload: Uint8Array }[] = [];
  #watch: () => void = () => {};

  private constructor(client: MqttClient) {
    this.#client = client;
    client.on("message", (topic, payload) => {
      this.#heard.push({ topic, payload });
      this.#watch();
    });
  }

  /** Connects; rejects with what the client says. */
  static async connect(
    url: string,
    clientId: string,
    access: ServerAccess = {},
  ): Promise<Guest> {
    const client = connectMqtt(url, access, {
      clientId,
      protocolVersion: 4,
      reconnectPeriod: 0,
    });
    const guest = new Guest(client);
    await new Promise<void>((resolve, reject) => {
      let error = new Error("closed");
      client.once("connect", () => resolve());
      client.on("error", (problem) => error = problem);
      client.once("close", () => reject(error));
    });
    return guest;
  }

  async subscribe(...topics: readonly string[]): Promise<void> {
    await this.#client.subscribeAsync([...topics], { qos: 0 });
  }

  publish(topic: string, payload: string | Uint8Array, retain = false): void {
    const bytes = typeof payload === "string" ? payload : Buffer.from(payload);
    this.#client.publish(topic, bytes, { qos: 0, retain });
  }

  /** Hears of every message from now on. */
  watch(hear: (topic: string, payload: Uint8Array) => void): void {
    this.#client.on("message", (topic, payload) => hear(topic, payload));
  }

  /** The next message to it. */
  async next(): Promise<{ topic: string; payload: Uint8Array }> {
    for (;;) {
      const heard = this.#heard.shift();
      if (heard !== undefined) return heard;
      await new Promise<void>((resolve) => this.#watch = resolve);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.endAsync(true);
  }
}
