/**
 * An MQTT server in memory, in the hands of the test: what was published lies
 * in a queue until the test passes it on, or does something else with it.
 *
 * @module
 */

import type {
  Ending,
  Line,
  LinkOptions,
  Publish,
} from "../../src/device/link.ts";
import type {
  DeviceLink,
  DeviceSession,
  LinkListener,
} from "../../src/mqtt/session.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";

/** Something published, on its way. */
export interface Packet {
  readonly to: "broker" | "device";
  readonly cid: string;
  readonly name: TopicName;
  readonly payload: Uint8Array;
}

/** Pause between two connections of a device. */
export const RETRY_MS = 100;

/** A server that has one device at most. */
export class MemoryServer implements DeviceLink {
  readonly isShared: boolean;
  /** What is on its way. */
  queue: Packet[] = [];
  /** All that was ever published. */
  readonly seen: Packet[] = [];
  /** Connections whose device the broker trusts. */
  readonly trusted: DeviceSession[] = [];
  /** Why connections ended, as the device heard it. */
  readonly endings: Ending[] = [];
  #listener: LinkListener | null = null;
  #device: { line: MemoryLine; cid: string; session: DeviceSession } | null =
    null;
  #connections = 0;

  constructor({ isShared }: { readonly isShared: boolean }) {
    this.isShared = isShared;
  }

  /** Who hears the device. */
  attach(listener: LinkListener): void {
    this.#listener = listener;
  }

  /** What the device's link runs on. */
  readonly line = (options: LinkOptions): Line => new MemoryLine(this, options);

  /** The connection of the device; null while it has none. */
  get session(): DeviceSession | null {
    return this.#device?.session ?? null;
  }

  /** How often the device connected. */
  get connections(): number {
    return this.#connections;
  }

  connect(line: MemoryLine, cid: string): void {
    this.#connections += 1;
    const known = this.isShared ? this.#known : null;
    const session = known ?? makeSession(cid, this.isShared, this.#connections);
    this.#known = session;
    this.#device = { line, cid, session };
  }

  /** On a shared server nobody tells the broker that a device came anew. */
  #known: DeviceSession | null = null;

  leave(line: MemoryLine): void {
    if (this.#device?.line !== line) return;
    const { session } = this.#device;
    this.#device = null;
    if (this.isShared) return;
    this.queue = [];
    this.#listener?.gone(session);
  }

  publish(packet: Packet): void {
    this.seen.push(packet);
    this.queue.push(packet);
  }

  send(session: DeviceSession, name: TopicName, payload: Uint8Array): boolean {
    const isThere = this.isShared || this.#device?.session === session;
    if (isThere) {
      this.publish({ to: "device", cid: session.cid, name, payload });
    }
    return isThere;
  }

  trust(session: DeviceSession): void {
    this.trusted.push(session);
  }

  drop(session: DeviceSession): void {
    if (this.#device?.session === session) this.cut();
  }

  /** Ends the device's connection. */
  cut(): void {
    this.#device?.line.lose({ reason: "cut" });
  }

  /** Passes a packet on, whoever made it. */
  deliver({ to, name, payload }: Packet): void {
    // A copy: what arrives is not the memory that was published.
    const arrived = new Uint8Array(payload);
    if (to === "device") return this.#device?.line.hear(name, arrived);
    const session = this.#device?.session ?? this.#known;
    if (session !== null) this.#listener?.message(session, name, arrived);
  }

  /** Passes all on, and what comes of it, in order. */
  readonly run = (): void => {
    for (let left = 10_000; left > 0; left--) {
      const packet = this.queue.shift();
      if (packet === undefined) return;
      this.deliver(packet);
    }
    throw new Error("Broker and device never came to rest");
  };
}

function makeSession(
  cid: string,
  isShared: boolean,
  count: number,
): DeviceSession {
  return {
    cid,
    key: isShared ? null : new Uint8Array(33).fill(2),
    from: `memory:${count}`,
    isSealed: false,
    transcript: null,
  };
}

/** The device's end: connects at once, comes back after a pause. */
class MemoryLine implements Line {
  readonly #server: MemoryServer;
  readonly #options: LinkOptions;
  #publish: Publish | null = null;
  #cid = "";
  #retry: ReturnType<typeof setTimeout> | null = null;

  constructor(server: MemoryServer, options: LinkOptions) {
    this.#server = server;
    this.#options = options;
  }

  start(): void {
    const { cid, hello } = this.#options.credentials();
    this.#cid = cid;
    this.#server.connect(this, cid);
    const publish: Publish = (name, payload) => {
      if (this.#publish !== publish) return;
      const copy = new Uint8Array(payload);
      this.#server.publish({ to: "broker", cid, name, payload: copy });
    };
    this.#publish = publish;
    if (hello !== null) publish("hello", hello);
    this.#options.events.connected(publish);
  }

  hear(name: TopicName, payload: Uint8Array): void {
    const publish = this.#publish;
    if (publish === null) return;
    this.#options.events.message(name, payload, publish);
  }

  lose(ending: Ending): void {
    if (this.#publish === null) return;
    this.#publish = null;
    this.#server.endings.push(ending);
    this.#server.leave(this);
    this.#options.events.disconnected(ending, RETRY_MS);
    this.#retry = setTimeout(() => this.start(), RETRY_MS);
  }

  restart(): void {
    this.#publish = null;
    this.#server.leave(this);
    this.start();
  }

  hangUp(ending: Ending): void {
    this.lose(ending);
  }

  stop(): Promise<void> {
    this.#publish = null;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#server.leave(this);
    return Promise.resolve();
  }

  tell(name: TopicName, payload: Uint8Array): void {
    this.#publish?.(name, payload);
  }

  settle(): void {}

  get cid(): string {
    return this.#cid;
  }
}
