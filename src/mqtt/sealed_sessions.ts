/**
 * The broker's end of sealed sessions: shakes hands with devices, opens what
 * they say and seals what they are told.
 *
 * It stands between the server and the broker and has the faces of both
 * (session.ts): the server tells it what a device published, the broker sends
 * through it. What is not sealed passes through as it came. Each handshake that
 * a device completes is a session of its own; the one before it is gone.
 *
 * | heard | embedded server | external server, where anybody may speak |
 * | --- | --- | --- |
 * | act one for another key | our key (`notMe`) | nothing |
 * | act three that fails, no session | dropped | `again` |
 * | act three that fails, in a session | nothing | nothing |
 * | record without a session | dropped | `again` |
 * | record that does not open | dropped | `again`, and the session is over |
 * | anything malformed | dropped | nothing |
 *
 * An act one leaves an established session alone: nobody has proved anything by
 * it. What is kept for strangers is bounded, and so is what they may cost: so
 * many handshakes in a time, and short messages until the broker trusts them.
 *
 * Standard: BOLT 8 (responder).
 *
 * What it does not do: decide who is served. It proves which key a device has.
 *
 * //~ TLS ends at the MQTT server, and whoever runs that could ask our signer
 * //~ for signatures. So the seal goes all the way to the device, and the server
 * //~ carries it as a post office carries letters. Nothing was invented for it:
 * //~ BOLT 8 is what the node speaks with its peers anyway, and it comes with
 * //~ test vectors. Next: mqtt/embedded.ts, the post office.
 *
 * @module
 */

import { NoiseResponder, type NoiseSession } from "../crypto/noise.ts";
import { publicKey } from "../crypto/secp.ts";
import type { Secret } from "../crypto/secret.ts";
import { Bug, DecodeError } from "../errors.ts";
import { Allowance } from "./allowance.ts";
import { type Clock, Liveness } from "./liveness.ts";
import {
  decodeSealed,
  encodeSealed,
  isSealedName,
  SEALED_MESSAGE_LIMIT,
  SealedChannel,
  type SealedFrame,
  type SealedKind,
  type SealedMessage,
  sealedPrologue,
} from "./sealed.ts";
import type { DeviceLink, DeviceSession, LinkListener } from "./session.ts";
import type { TopicName } from "./topics.ts";

/** What may be counted: how handshakes ended, and records that did not open. */
export type SealCount =
  | "handshake ok"
  | "handshake failed"
  | "record refused";

/** Between whom it stands, and as whom. */
export interface SealedSessionsOptions {
  /** The server. */
  readonly link: DeviceLink;
  /** The broker. */
  readonly listener: LinkListener;
  /** Our private link key. */
  readonly key: Secret;
  /** Whether the server is shared with others: then it is not ours to drop. */
  readonly isShared: boolean;
  /** Random bytes that nobody can guess. */
  readonly random: (length: number) => Uint8Array;
  readonly now?: Clock;
  /** Is told of each, as it happens. */
  readonly count?: (what: SealCount) => void;
}

/** Messages that call for an answer, and the answers. */
const ANSWERS: Partial<Record<TopicName, TopicName>> = {
  "vls": "vls-res",
  "init-1-msg": "init-1-res",
  "init-2-msg": "init-2-res",
  "init-3-msg": "init-3-res",
  "lss-msg": "lss-res",
  "lss-conflict": "lss-conflict-res",
};
const IS_ANSWER: ReadonlySet<string> = new Set(Object.values(ANSWERS));
/** Until it is trusted a device says this much at once: a hello has 300 bytes. */
const STRANGER_LIMIT = 64 * 1_024;
/** Clients that handshakes and sessions are kept for. */
const MOST_PEERS = { own: 2_000, shared: 256 };
/** Handshakes: of one client, and of all together. Each costs milliseconds. */
const ACTS = {
  ofOne: { most: 100, ms: 10_000 },
  ofAll: { most: 200, ms: 10_000 },
};

/** A client of the server that began a handshake. */
interface Peer {
  readonly session: DeviceSession;
  readonly acts: Allowance;
  handshake: NoiseResponder | null;
  established: Established | null;
}

/** A session that both sides have proved. */
interface Established {
  readonly session: DeviceSession;
  readonly peer: Peer;
  readonly channel: SealedChannel;
  readonly liveness: Liveness;
  pings: bigint;
  isStranger: boolean;
}

/** All sealed sessions of a broker. */
export class SealedSessions implements DeviceLink, LinkListener, Disposable {
  readonly #options: SealedSessionsOptions;
  readonly #now: Clock;
  readonly #ownKey: Uint8Array;
  readonly #acts: Allowance;
  /** By the server's session, oldest first. */
  readonly #peers = new Map<DeviceSession, Peer>();
  /** By our session. */
  readonly #established = new Map<DeviceSession, Established>();

  constructor(options: SealedSessionsOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
    this.#ownKey = publicKey(options.key.reveal());
    this.#acts = new Allowance(ACTS.ofAll, this.#now);
  }

  /** Tells a device something; false when it is gone. */
  send(session: DeviceSession, name: TopicName, payload: Uint8Array): boolean {
    if (!session.isSealed) {
      return this.#options.link.send(session, name, payload);
    }
    const established = this.#established.get(session);
    if (established === undefined) return false;
    if (ANSWERS[name] !== undefined) established.liveness.asked();
    const isSent = this.#seal(established, name, payload);
    // What is lost on the way leaves nothing that could be opened after it.
    if (!isSent) this.#endSoon(established);
    return isSent;
  }

  #seal(
    { channel, peer }: Established,
    name: TopicName,
    payload: Uint8Array,
  ): boolean {
    if (!isSealedName(name)) throw new Bug(`Sealed a message on ${name}`);
    const { link } = this.#options;
    return channel.seal(name, payload)
      .every((record) => link.send(peer.session, "sealed", record));
  }

  /** It may say as much as answers need, and is not put out for others. */
  trust(session: DeviceSession): void {
    const established = this.#established.get(session);
    if (established !== undefined) {
      established.isStranger = false;
      established.channel.allow(SEALED_MESSAGE_LIMIT);
    }
    this.#options.link.trust(established?.peer.session ?? session);
  }

  /** Ends a session, and its connection where the server is ours. */
  drop(session: DeviceSession): void {
    const established = this.#established.get(session);
    if (established !== undefined) this.#breakOff(established, "soon");
    else if (!session.isSealed) this.#options.link.drop(session);
  }

  /** A device published something. */
  message(session: DeviceSession, name: TopicName, payload: Uint8Array): void {
    if (name === "sealed-res") return this.#takeSealed(session, payload);
    const peer = this.#peers.get(session);
    // Whoever seals what it says does not also say things that anybody could.
    if (peer !== undefined && peer.established !== null) return;
    this.#options.listener.message(session, name, payload);
  }

  /** A device's connection ended. */
  gone(session: DeviceSession): void {
    this.#forget(session);
    this.#options.listener.gone(session);
  }

  /** A connection was refused or dropped. */
  refused(from: string, reason: string): void {
    this.#options.listener.refused(from, reason);
  }

  /** Forgets all keys and stops all timers; tells nobody. */
  [Symbol.dispose](): void {
    for (const peer of this.#peers.values()) {
      peer.handshake?.wipe();
      if (peer.established !== null) this.#close(peer.established);
    }
    this.#peers.clear();
  }

  #takeSealed(session: DeviceSession, payload: Uint8Array): void {
    try {
      this.#takeFrame(session, decodeSealed(payload));
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#offend(session, error.message);
    }
  }

  #takeFrame(session: DeviceSession, { kind, body }: SealedFrame): void {
    switch (kind) {
      case "who":
        if (body.length > 0) return this.#offend(session, "who with a key");
        return this.#say(session, "who", this.#ownKey);
      case "actOne":
        return this.#takeActOne(session, body);
      case "actThree":
        return this.#takeActThree(session, body);
      case "record":
        return this.#takeRecord(session, body);
      case "actTwo":
      case "again":
      case "notMe":
        return this.#offend(session, `${kind}, which is for devices`);
    }
  }

  #say(session: DeviceSession, kind: SealedKind, ...body: Uint8Array[]): void {
    this.#options.link.send(session, "sealed", encodeSealed(kind, ...body));
  }

  #takeActOne(session: DeviceSession, act: Uint8Array): void {
    const peer = this.#peerOf(session);
    if (peer === null || !this.#acts.take()) return;
    if (!peer.acts.take()) {
      this.#count("handshake failed");
      return this.#offend(session, "too many handshakes");
    }
    const handshake = new NoiseResponder({
      prologue: sealedPrologue(session.cid),
      key: this.#options.key,
      random: this.#options.random,
    });
    const heard = handshake.takeActOne(act);
    if ("failure" in heard) return this.#refuseActOne(session, heard.failure);
    peer.handshake?.wipe();
    peer.handshake = handshake;
    this.#say(session, "actTwo", heard.actTwo);
  }

  #refuseActOne(session: DeviceSession, failure: string): void {
    const isForAnother = failure === "ACT1_BAD_TAG";
    // For another key than ours; on a shared server that may be a neighbour's.
    if (isForAnother && this.#options.isShared) return;
    this.#count("handshake failed");
    if (!isForAnother) return this.#offend(session, failure);
    this.#say(session, "notMe", this.#ownKey);
  }

  #takeActThree(session: DeviceSession, act: Uint8Array): void {
    const peer = this.#peers.get(session);
    const handshake = peer?.handshake ?? null;
    if (peer === undefined || handshake === null) {
      return this.#refuseActThree(session, "ACT3 without an act one");
    }
    peer.handshake = null;
    const heard = handshake.takeActThree(act);
    if ("failure" in heard) {
      return this.#refuseActThree(session, heard.failure);
    }
    if (peer.established !== null) this.#end(peer.established);
    this.#establish(peer, heard.initiator, heard.session);
  }

  #refuseActThree(session: DeviceSession, failure: string): void {
    this.#count("handshake failed");
    const established = this.#peers.get(session)?.established ?? null;
    if (established !== null) return;
    if (this.#options.isShared) this.#say(session, "again");
    else this.#offend(session, failure);
  }

  #establish(peer: Peer, key: Uint8Array, noise: NoiseSession): void {
    const { cid, from } = peer.session;
    const { transcript } = noise;
    const established: Established = {
      session: { cid, from, key, isSealed: true, transcript },
      peer,
      channel: new SealedChannel(noise, STRANGER_LIMIT),
      liveness: new Liveness({
        now: this.#now,
        ping: () => this.#ping(established),
        over: () => this.#breakOff(established, "now"),
      }),
      pings: 0n,
      isStranger: true,
    };
    peer.established = established;
    this.#established.set(established.session, established);
    this.#count("handshake ok");
  }

  #ping(established: Established): void {
    established.pings += 1n;
    const payload = new Uint8Array(8);
    new DataView(payload.buffer).setBigUint64(0, established.pings);
    const isSent = this.#seal(established, "ping", payload);
    if (!isSent) this.#end(established);
  }

  #takeRecord(session: DeviceSession, body: Uint8Array): void {
    const established = this.#peers.get(session)?.established ?? null;
    if (established === null) {
      if (this.#options.isShared) this.#say(session, "again");
      else this.#offend(session, "a record without a session");
      return;
    }
    const messages = this.#open(established, body);
    if (messages === null) return;
    established.liveness.heard();
    for (const message of messages) this.#pass(established, message);
  }

  #open(established: Established, body: Uint8Array): SealedMessage[] | null {
    try {
      return established.channel.open(body);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      const { from } = established.session;
      this.#count("record refused");
      this.#options.listener.refused(from, error.message);
      this.#breakOff(established, "now");
      return null;
    }
  }

  #pass(established: Established, { name, payload }: SealedMessage): void {
    // The broker may have ended the session over the message before.
    const { session, peer, liveness } = established;
    if (peer.established !== established || name === "pong") return;
    if (IS_ANSWER.has(name)) liveness.answered();
    this.#options.listener.message(session, name, payload);
  }

  /** Ends a session and lets the device know, by the means of the server. */
  #breakOff(established: Established, when: "now" | "soon"): void {
    const { session } = established.peer;
    if (when === "now") this.#end(established);
    else this.#endSoon(established);
    if (this.#options.isShared) this.#say(session, "again");
    else this.#options.link.drop(session);
  }

  #end(established: Established): void {
    if (!this.#close(established)) return;
    this.#options.listener.gone(established.session);
  }

  /** For the broker's own calls: it hears of the end after they return. */
  #endSoon(established: Established): void {
    if (!this.#close(established)) return;
    queueMicrotask(() => this.#options.listener.gone(established.session));
  }

  /** False when it is closed already. */
  #close({ session, peer, channel, liveness }: Established): boolean {
    if (!this.#established.delete(session)) return false;
    if (peer.established?.session === session) peer.established = null;
    channel.end();
    liveness.end();
    return true;
  }

  #forget(session: DeviceSession): void {
    const peer = this.#peers.get(session);
    if (peer === undefined) return;
    this.#peers.delete(session);
    peer.handshake?.wipe();
    if (peer.established !== null) this.#end(peer.established);
  }

  #count(what: SealCount): void {
    this.#options.count?.(what);
  }

  /** What breaks the rules costs the connection, where it is ours to end. */
  #offend(session: DeviceSession, problem: string): void {
    if (this.#options.isShared) return;
    const text = `Cannot take a sealed message: ${problem}`;
    this.#options.listener.refused(session.from, text);
    this.#options.link.drop(session);
  }

  /** Null when there are too many that may stay. */
  #peerOf(session: DeviceSession): Peer | null {
    const known = this.#peers.get(session);
    if (known !== undefined) return known;
    const { isShared } = this.#options;
    const most = isShared ? MOST_PEERS.shared : MOST_PEERS.own;
    if (this.#peers.size >= most && !this.#makeRoom()) return null;
    const acts = new Allowance(ACTS.ofOne, this.#now);
    const peer = { session, acts, handshake: null, established: null };
    this.#peers.set(session, peer);
    return peer;
  }

  /** Forgets who proved least, the oldest first. */
  #makeRoom(): boolean {
    const peers = [...this.#peers.values()];
    const oldest = peers.find((peer) => !isSealing(peer)) ??
      peers.find(({ established }) => established === null) ??
      peers.find(({ established }) => established?.isStranger);
    if (oldest !== undefined) this.#forget(oldest.session);
    return oldest !== undefined;
  }
}

function isSealing({ handshake, established }: Peer): boolean {
  return handshake !== null || established !== null;
}
