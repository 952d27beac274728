/**
 * The device's end of the sealed link: a {@linkcode Link} on which nothing
 * crosses that anybody between could read, change or repeat.
 *
 *     connected   who is there?      no key is pinned: for a first pairing
 *                 act one            to the key that is pinned
 *                 act two            the broker has that key
 *                 act three, hello   we have ours
 *                 records            the session
 *
 * Each connection shakes hands anew, and each failure ends the connection; the
 * link below comes back, more slowly each time. Hints that anybody can forge
 * (`again`, `notMe`, `who`) have no other effect than that, unless the owner
 * allows a pairing with another node.
 *
 * Standard: BOLT 8 (initiator).
 *
 * What it does not do: decide whether the key that it met is the right one
 * where none is pinned; the owner compares fingerprints.
 *
 * //~ The other end of the seal holds one thought: what is not sealed is a hint.
 * //~ A refused login, another key, a wish to begin anew, anybody on the way can
 * //~ say those. So they cost a new connection and some patience, and never make
 * //~ a device give up or trust somebody else. Next: signer/handle.ts.
 *
 * @module
 */

import { NoiseInitiator } from "../crypto/noise.ts";
import { isPoint } from "../crypto/secp.ts";
import { isEqualConstantTime, type Secret } from "../crypto/secret.ts";
import { DecodeError } from "../errors.ts";
import type { ServerAccess } from "../mqtt/access.ts";
import { type Clock, Silence } from "../mqtt/liveness.ts";
import {
  decodeSealed,
  encodeSealed,
  isSealedName,
  SealedChannel,
  type SealedFrame,
  type SealedKind,
  type SealedMessage,
  sealedPrologue,
} from "../mqtt/sealed.ts";
import {
  SEALED_SUBSCRIPTIONS,
  type TopicName,
  TOPICS,
} from "../mqtt/topics.ts";
import {
  type Ending,
  type Line,
  Link,
  type LinkOptions,
  type Publish,
} from "./link.ts";

/** How to log in and whom to meet, asked for each connection anew. */
export interface SealedCredentials {
  readonly cid: string;
  readonly username: string;
  readonly password: string;
  /** Private: what the handshake proves that we have. */
  readonly staticKey: Secret;
  /** The broker's link key; null meets whoever says who it is. */
  readonly pinned: Uint8Array | null;
  /** Payload of hello, which may sign the hash of the handshake. */
  hello(transcript: Uint8Array, brokerKey: Uint8Array): Uint8Array;
}

/** What the link tells. */
export interface SealedLinkEvents {
  /** Hands were shaken with this key; hello is on its way. */
  connected(brokerKey: Uint8Array, transcript: Uint8Array): void;
  /** A message for us, and a way to answer on the connection it came by. */
  message(name: TopicName, payload: Uint8Array, publish: Publish): void;
  /** The connection ended, or none came about; the next try is in `retryMs`. */
  disconnected(ending: Ending, retryMs: number): void;
  /** The broker says, unproved, that its key is this: true meets that one. */
  another(key: Uint8Array): boolean;
}

/** Where and how to connect. */
export interface SealedLinkOptions {
  readonly url: string;
  readonly access?: ServerAccess;
  readonly credentials: () => SealedCredentials;
  readonly events: SealedLinkEvents;
  /** 0 to 1, spreads the retries of many devices. */
  readonly random: () => number;
  /** For ephemeral keys; the runtime's own if absent. */
  readonly randomBytes?: (length: number) => Uint8Array;
  readonly now?: Clock;
  /** What it runs on; MQTT if absent. */
  readonly line?: (options: LinkOptions) => Line;
}

/** Act two must be here after that, anything at all after this. */
const SILENCE_MS = { handshake: 10_000, session: 60_000 };

/** A sealed connection that is there whenever it can be. */
export class SealedLink {
  readonly #options: SealedLinkOptions;
  readonly #line: Line;
  #credentials: SealedCredentials | null = null;
  #conversation: Conversation | null = null;

  constructor(options: SealedLinkOptions) {
    this.#options = options;
    const { url, access, random, line = (options) => new Link(options) } =
      options;
    this.#line = line({
      url,
      random,
      ...(access === undefined ? {} : { access }),
      subscriptions: SEALED_SUBSCRIPTIONS,
      credentials: () => this.#login(),
      events: {
        connected: (publish) => this.#begin(publish),
        message: (name, payload) => this.#take(name, payload),
        disconnected: (ending, retryMs) => {
          this.#end();
          options.events.disconnected(ending, retryMs);
        },
      },
    });
  }

  /** Connects, and from then on keeps connecting. */
  start(): void {
    this.#line.start();
  }

  /** Ends this connection and makes a new one at once: a new login. */
  restart(): void {
    this.#end();
    this.#line.restart();
  }

  /** Ends this connection; the next try comes as after any other ending. */
  hangUp(ending: Ending): void {
    this.#end();
    this.#line.hangUp(ending);
  }

  /** Ends for good, and says so: a server of others would not tell. */
  async stop(): Promise<void> {
    this.tell("bye", new Uint8Array(0));
    this.#end();
    await this.#line.stop();
  }

  /** Says something of our own accord; into nothing while there is no session. */
  tell(name: TopicName, payload: Uint8Array): void {
    this.#conversation?.say(name, payload);
  }

  /** The broker takes what we say: the next try need not be put off. */
  settle(): void {
    this.#line.settle();
  }

  #login() {
    this.#credentials = this.#options.credentials();
    const { cid, username, password } = this.#credentials;
    return { cid, username, password, hello: null };
  }

  #begin(publish: Publish): void {
    this.#end();
    const credentials = this.#credentials;
    if (credentials === null) return;
    const {
      events,
      now = () => performance.now(),
      randomBytes = freshBytes,
    } = this.#options;
    const conversation = new Conversation({
      credentials,
      events,
      now,
      randomBytes,
      publish,
      hangUp: (reason) => {
        if (this.#conversation === conversation) this.hangUp({ reason });
      },
    });
    this.#conversation = conversation;
    conversation.begin();
  }

  #take(name: TopicName, payload: Uint8Array): void {
    if (name === "sealed") this.#conversation?.take(payload);
  }

  #end(): void {
    this.#conversation?.end();
    this.#conversation = null;
  }
}

function freshBytes(length: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** What one connection needs to know. */
interface ConversationOptions {
  readonly credentials: SealedCredentials;
  readonly events: SealedLinkEvents;
  readonly now: Clock;
  readonly randomBytes: (length: number) => Uint8Array;
  readonly publish: Publish;
  readonly hangUp: (reason: string) => void;
}

/** How far a connection has come. */
type Stage =
  | { readonly kind: "asking" }
  | {
    readonly kind: "shaking";
    readonly handshake: NoiseInitiator;
    readonly brokerKey: Uint8Array;
  }
  | { readonly kind: "sealed"; readonly channel: SealedChannel }
  | { readonly kind: "over" };

/** One connection, from its first word to its end. */
class Conversation {
  readonly #options: ConversationOptions;
  readonly #silence: Silence;
  #stage: Stage = { kind: "asking" };

  constructor(options: ConversationOptions) {
    this.#options = options;
    this.#silence = new Silence(options.now, SILENCE_MS.handshake, () => {
      options.hangUp(
        this.#stage.kind === "sealed"
          ? "nothing was heard of the broker for a minute"
          : "the broker did not shake hands",
      );
    });
  }

  begin(): void {
    const { pinned } = this.#options.credentials;
    if (pinned === null) this.#publish("who");
    else this.#shake(pinned);
  }

  /** Takes whatever came on our topic: anybody may have sent it. */
  take(payload: Uint8Array): void {
    const frame = readFrame(payload);
    if (frame === null) return;
    const { kind, body } = frame;
    switch (kind) {
      case "who":
        return this.#takeWho(body);
      case "actTwo":
        return this.#takeActTwo(body);
      case "record":
        return this.#takeRecord(body);
      case "again":
        return this.#options.hangUp("the broker wants to shake hands anew");
      case "notMe":
        return this.#takeNotMe(body);
      case "actOne":
      case "actThree":
        return;
    }
  }

  /** Seals and publishes; into nothing while there is no session. */
  say(name: TopicName, payload: Uint8Array): void {
    if (this.#stage.kind !== "sealed" || !isSealedName(name)) return;
    for (const record of this.#stage.channel.seal(name, payload)) {
      this.#options.publish("sealed-res", record);
    }
  }

  end(): void {
    this.#silence.end();
    if (this.#stage.kind === "shaking") this.#stage.handshake.wipe();
    if (this.#stage.kind === "sealed") this.#stage.channel.end();
    this.#stage = { kind: "over" };
  }

  #publish(kind: SealedKind, ...body: Uint8Array[]): void {
    this.#options.publish("sealed-res", encodeSealed(kind, ...body));
  }

  #shake(brokerKey: Uint8Array): void {
    const { credentials, randomBytes } = this.#options;
    const handshake = new NoiseInitiator({
      prologue: sealedPrologue(credentials.cid),
      key: credentials.staticKey,
      random: randomBytes,
      responder: brokerKey,
    });
    this.#stage = { kind: "shaking", handshake, brokerKey };
    this.#publish("actOne", handshake.actOne);
  }

  #takeWho(key: Uint8Array): void {
    if (this.#stage.kind !== "asking" || !isPoint(key)) return;
    // A copy: the payload is the library's.
    this.#shake(new Uint8Array(key));
  }

  #takeNotMe(key: Uint8Array): void {
    if (this.#stage.kind !== "shaking" || !isPoint(key)) return;
    const { handshake, brokerKey } = this.#stage;
    if (isEqualConstantTime(key, brokerKey)) return;
    const { events, credentials, hangUp } = this.#options;
    // Once a connection: the key that we shake hands with is pinned or allowed.
    const isFirst = brokerKey === credentials.pinned;
    const another = new Uint8Array(key);
    if (!isFirst || !events.another(another)) {
      const found = `its link key is ${key.toHex()}`;
      return hangUp(`${found}, want ${brokerKey.toHex()}`);
    }
    handshake.wipe();
    this.#shake(another);
  }

  #takeActTwo(act: Uint8Array): void {
    if (this.#stage.kind !== "shaking") return;
    const { handshake, brokerKey } = this.#stage;
    const heard = handshake.takeActTwo(act);
    if ("failure" in heard) {
      return this.#options.hangUp(`the handshake failed: ${heard.failure}`);
    }
    const { credentials, events } = this.#options;
    const channel = new SealedChannel(heard.session);
    this.#publish("actThree", heard.actThree);
    this.#stage = { kind: "sealed", channel };
    this.#silence.allow(SILENCE_MS.session);
    const { transcript } = channel;
    this.say("hello", credentials.hello(transcript, brokerKey));
    events.connected(brokerKey, transcript);
  }

  #takeRecord(body: Uint8Array): void {
    // One that is left over from a session before this connection.
    if (this.#stage.kind !== "sealed") return;
    const messages = this.#open(this.#stage.channel, body);
    for (const message of messages) this.#pass(message);
  }

  #open(channel: SealedChannel, body: Uint8Array): SealedMessage[] {
    try {
      const messages = channel.open(body);
      this.#silence.heard();
      return messages;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#options.hangUp(error.message);
      return [];
    }
  }

  #pass({ name, payload }: SealedMessage): void {
    if (this.#stage.kind !== "sealed" || TOPICS[name] !== "toDevice") return;
    if (name === "ping") return this.say("pong", payload);
    this.#options.events.message(name, payload, (name, payload) => {
      this.say(name, payload);
    });
  }
}

/** Null for what no broker sends. */
function readFrame(payload: Uint8Array): SealedFrame | null {
  try {
    return decodeSealed(payload);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}
