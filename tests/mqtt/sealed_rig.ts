/**
 * Both ends of a sealed link with a server of the test's own between them.
 *
 * @module
 */

import {
  SealedLink,
  type SealedLinkOptions,
} from "../../src/device/sealed_link.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import type { Publish } from "../../src/device/link.ts";
import {
  type SealCount,
  SealedSessions,
} from "../../src/mqtt/sealed_sessions.ts";
import type { DeviceSession } from "../../src/mqtt/session.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";
import { FakeClock } from "./fake_clock.ts";
import { MemoryServer } from "./memory_server.ts";

export const CID = "b0b0b0b0";
export const BROKER_KEY = new Secret(new Uint8Array(32).fill(0x21));
export const BROKER_POINT = publicKey(BROKER_KEY.reveal());
export const DEVICE_KEY = new Secret(new Uint8Array(32).fill(0x11));
export const DEVICE_POINT = publicKey(DEVICE_KEY.reveal());
export const HELLO = text("hello, I am the device of the test");

/** Something that one end was told. */
export interface Heard {
  readonly name: TopicName;
  readonly payload: Uint8Array;
}

/** Something that the device said or heard, and in which session. */
export interface Told extends Heard {
  readonly transcript: Uint8Array;
}

export function text(words: string): Uint8Array {
  return new TextEncoder().encode(words);
}

export function randomBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

export interface RigOptions {
  readonly isShared?: boolean;
  /** What the device has pinned. */
  readonly pinned?: Uint8Array | null;
  readonly another?: (key: Uint8Array) => boolean;
  readonly random?: (length: number) => Uint8Array;
}

/** A broker's end, a device's end, and what each of them heard. */
export class SealedRig implements Disposable {
  readonly clock = new FakeClock();
  readonly server: MemoryServer;
  readonly sessions: SealedSessions;
  readonly link: SealedLink;
  /** The broker heard these, by the session that they came with. */
  readonly atBroker: (Heard & { session: DeviceSession })[] = [];
  readonly gone: DeviceSession[] = [];
  readonly refused: string[] = [];
  /** What the broker's end told whoever counts. */
  readonly counted: SealCount[] = [];
  /** The device heard these. */
  readonly atDevice: Told[] = [];
  /** The device said these, if its connection was there to say it on. */
  readonly said: Told[] = [];
  /** The broker said these. */
  readonly asked: Told[] = [];
  /** Whether the broker drops a device for what it heard; by default never. */
  greet: (session: DeviceSession) => boolean = () => false;
  /** How the device says something on the connection it heard last from. */
  publish: Publish = () => {};
  readonly met: { key: Uint8Array; transcript: Uint8Array }[] = [];
  /** What the device answers to a message; nothing unless the test says. */
  answer: (heard: Heard) => Heard | null = () => null;

  constructor(options: RigOptions = {}) {
    const { isShared = false, pinned = BROKER_POINT, random = randomBytes } =
      options;
    this.server = new MemoryServer({ isShared });
    this.sessions = this.makeSessions(random);
    this.server.attach(this.sessions);
    this.link = new SealedLink({
      url: "mqtt://127.0.0.1:1",
      random: () => 0.5,
      randomBytes: random,
      now: this.clock.now,
      line: this.server.line,
      credentials: () => ({
        cid: CID,
        username: "",
        password: "",
        staticKey: DEVICE_KEY,
        pinned,
        hello: () => HELLO,
      }),
      events: this.#events(options),
    });
  }

  /** Another broker on the same server: the one before forgot everything. */
  makeSessions(random = randomBytes): SealedSessions {
    return new SealedSessions({
      link: this.server,
      key: BROKER_KEY,
      isShared: this.server.isShared,
      random,
      now: this.clock.now,
      count: (what) => this.counted.push(what),
      listener: {
        message: (session, name, payload) => {
          this.atBroker.push({ session, name, payload });
          if (this.greet(session)) this.sessions.drop(session);
        },
        gone: (session) => this.gone.push(session),
        refused: (_from, reason) => this.refused.push(reason),
      },
    });
  }

  #events({ another }: RigOptions): SealedLinkOptions["events"] {
    return {
      connected: (key, transcript) => {
        this.met.push({ key, transcript });
        this.said.push({ name: "hello", payload: HELLO, transcript });
      },
      message: (name, payload, publish) => {
        this.publish = publish;
        const transcript = this.met.at(-1)?.transcript ?? new Uint8Array(0);
        this.atDevice.push({ name, payload, transcript });
        const answer = this.answer({ name, payload });
        if (answer === null) return;
        this.said.push({ ...answer, transcript });
        publish(answer.name, answer.payload);
      },
      disconnected: () => {},
      another: another ?? (() => false),
    };
  }

  /** Connects, and lets both shake hands. */
  start(): DeviceSession {
    this.link.start();
    this.server.run();
    return this.lastSession;
  }

  /** The broker says something; false when the device is gone. */
  ask(session: DeviceSession, name: TopicName, payload: Uint8Array): boolean {
    const { transcript } = session;
    const isSent = this.sessions.send(session, name, payload);
    if (isSent && transcript !== null) {
      this.asked.push({ name, payload, transcript });
    }
    return isSent;
  }

  /** The device says something of its own accord. */
  tell(name: TopicName, payload: Uint8Array): void {
    const transcript = this.met.at(-1)?.transcript ?? new Uint8Array(0);
    this.said.push({ name, payload, transcript });
    this.link.tell(name, payload);
  }

  /** The session that the broker heard last. */
  get lastSession(): DeviceSession {
    const last = this.atBroker.at(-1);
    if (last === undefined) throw new Error("The broker heard nobody");
    return last.session;
  }

  /** Time passes, and everything arrives. */
  async pass(ms: number): Promise<void> {
    this.server.run();
    await this.clock.pass(ms, this.server.run);
  }

  [Symbol.dispose](): void {
    this.sessions[Symbol.dispose]();
    this.link.stop();
    this.clock[Symbol.dispose]();
  }
}
