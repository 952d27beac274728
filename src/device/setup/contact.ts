/**
 * The first meeting with a node: who it is, which network it is on, and what
 * passphrase its lightningd sends, before anything is answered.
 *
 * The card shakes hands with its own key, or with the node key of a seed that it
 * has already. The broker introduces the node (topic `control`) and passes on
 * lightningd's init, which waits; answering it is for the box that comes after.
 *
 * With a pairing string it is short: the broker takes the code and introduces the
 * node, the owner consents, `paired` says so, and the broker remembers the card.
 * A line that breaks in between comes back, and so does what was said on it.
 *
 * What it does not do: ask the owner, or answer the node.
 *
 * @module
 */

import { networkOf } from "../../bitcoin/networks.ts";
import { publicKey } from "../../crypto/secp.ts";
import { Secret } from "../../crypto/secret.ts";
import { describeError } from "../../errors.ts";
import type { ServerAccess } from "../../mqtt/access.ts";
import { makeToken } from "../../mqtt/auth.ts";
import { proveCard } from "../../mqtt/card_proof.ts";
import { pairingFingerprint } from "../../mqtt/fingerprint.ts";
import type { TopicName } from "../../mqtt/topics.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import {
  decodeControl,
  encodeHello,
  type NativeControl,
} from "../../wire/control.ts";
import { FRAME_LIMIT } from "../../wire/frame.ts";
import { REQUESTS } from "../../wire/hsmd.ts";
import { decodeMessage, messageType } from "../../wire/message.ts";
import type { PubKey } from "../../wire/types.ts";
import { decodeSignerRequest } from "../../wire/vls.ts";
import type { Card } from "../card.ts";
import type { Ending } from "../link.ts";
import { OwnerError } from "../owner_error.ts";
import { SealedLink } from "../sealed_link.ts";
import type { NodeFacts } from "./state.ts";

/** Whom to meet, and as whom. */
export interface ContactOptions {
  readonly url: string;
  /** What the MQTT server wants to see besides. */
  readonly access?: ServerAccess;
  /** The node's link key; null or absent meets whoever is there. */
  readonly pinned?: Uint8Array | null;
  /** The one-time code of a pairing string. */
  readonly code?: Secret;
  readonly card: Pick<Card, "cid" | "key">;
  /** Private node key of a seed that there is; null logs in as the card. */
  readonly nodeKey: Secret | null;
  /** Whether the card has no seed. */
  readonly isEmpty: boolean;
  /** The memory of a card that was used: where its history stands. */
  readonly store?: Pick<SqliteStore, "head" | "id">;
  readonly software: string;
  readonly say: (text: string) => void;
}

/** What lightningd's init says to a device that has no seed yet. */
interface InitFacts {
  readonly network: string | null;
  readonly passphrase: Secret | null;
}

/** A node that was met, still on the line. */
export class Contact {
  readonly #options: ContactOptions;
  readonly #link: SealedLink;
  /** One copy of a card's key, for all logins; or the node's own. */
  readonly #key: Secret;
  readonly #introduced = Promise.withResolvers<NodeFacts>();
  readonly #met = Promise.withResolvers<void>();
  readonly #accepted = Promise.withResolvers<void>();
  #node: NodeFacts | null = null;
  #init: InitFacts | null = null;
  /** The broker's key by the handshake. */
  #brokerKey: Uint8Array | null = null;
  #lastReason = "";
  #isTaken = false;
  /** The owner said yes: the broker hears it on each connection until it takes it. */
  #hasConsent = false;

  constructor(options: ContactOptions) {
    this.#options = options;
    this.#key = options.nodeKey ?? new Secret(options.card.key);
    // Whoever waits for one of them hears of a refusal; nobody has to.
    for (const { promise } of [this.#introduced, this.#met, this.#accepted]) {
      promise.catch(() => {});
    }
    const { url, access } = options;
    this.#link = new SealedLink({
      url,
      ...(access === undefined ? {} : { access }),
      random: Math.random,
      credentials: () => this.#credentials(),
      events: {
        connected: (brokerKey) => this.#connected(brokerKey),
        message: (name, payload) => this.#take(name, payload),
        disconnected: (ending) => this.#lost(ending),
        another: () => false,
      },
    });
  }

  /**
   * Connects, and waits until the node and its lightningd have spoken.
   *
   * @throws {OwnerError} when the node does not take this card
   */
  async meet(): Promise<{ node: NodeFacts; passphrase: Secret | null }> {
    this.#start();
    await this.#met.promise;
    const { url, card } = this.#options;
    const node = this.#node ?? strangerAt(url, card.cid);
    const { network = null, passphrase = null } = this.#init ?? {};
    return { node: { ...node, network }, passphrase };
  }

  /**
   * Connects, and waits until the node has introduced itself.
   *
   * @throws {OwnerError} when the node does not take this card
   */
  introduce(): Promise<NodeFacts> {
    this.#start();
    return this.#introduced.promise;
  }

  /**
   * Tells the node that the owner consented, and waits until it remembers us.
   *
   * @throws {OwnerError} when it does not
   */
  consent(): Promise<void> {
    this.#hasConsent = true;
    this.#tellConsent();
    return this.#accepted.promise;
  }

  /** Whether the node shook hands with it, whatever it said then. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Hangs up. */
  async close(): Promise<void> {
    await this.#link.stop();
    if (this.#options.nodeKey === null) this.#key.wipe();
  }

  #start(): void {
    this.#options.say(`connecting to ${this.#options.url}`);
    this.#link.start();
  }

  #tellConsent(): void {
    const { code } = this.#options;
    if (code !== undefined) this.#link.tell("paired", code.reveal());
  }

  #credentials() {
    const { card, pinned = null } = this.#options;
    const key = this.#key.reveal();
    return {
      cid: card.cid,
      username: publicKey(key).toHex(),
      password: makeToken(key, Math.floor(Date.now() / 1000)),
      staticKey: this.#key,
      pinned,
      hello: (transcript: Uint8Array) => this.#hello(transcript),
    };
  }

  #hello(transcript: Uint8Array): Uint8Array {
    const { card, nodeKey, isEmpty, software, store, code } = this.#options;
    // A new card has no history yet that anybody could compare.
    const stand = store === undefined ? {} : {
      generation: store.head.generation,
      headHash: store.head.hash,
      cardId: store.id,
    };
    return encodeHello({
      software: new TextEncoder().encode(software),
      isLocked: nodeKey === null,
      // 33 bytes of the curve: made from a key right here.
      cardKey: publicKey(card.key) as PubKey,
      isEmpty,
      ...stand,
      ...(code === undefined ? {} : { pairingCode: code.reveal() }),
      cardProof: proveCard(card.key, transcript),
    });
  }

  #connected(brokerKey: Uint8Array): void {
    const { say, url, code } = this.#options;
    this.#lastReason = "";
    this.#isTaken = true;
    this.#brokerKey = brokerKey;
    const next = code === undefined ? "waiting for lightningd" : "showing it " +
      "the code";
    say(`connected to ${url}, ${next}`);
  }

  #lost({ reason, isRefused = false }: Ending): void {
    const { say, url, pinned = null, code } = this.#options;
    this.#brokerKey = null;
    // A node that is known has proved nothing yet: anybody can refuse a login.
    const isPatient = pinned !== null && code === undefined;
    if (isRefused && !isPatient) return this.#refuse(refusedBy(this.#options));
    if (reason === this.#lastReason) return;
    this.#lastReason = reason;
    say(`no connection to ${url}: ${reason}; trying again`);
  }

  #refuse(error: OwnerError): void {
    for (const each of [this.#introduced, this.#met, this.#accepted]) {
      each.reject(error);
    }
  }

  #take(name: TopicName, payload: Uint8Array): void {
    try {
      if (name === "control") this.#takeControl(payload);
      if (name === "init-3-msg") this.#takeInit(payload);
    } catch (error) {
      this.#options.say(
        `cannot read what the node says: ${describeError(error)}`,
      );
    }
  }

  #takeControl(payload: Uint8Array): void {
    const control = decodeControl(payload);
    if (control === null) return;
    const { refusal, brokerKey, isAccepted } = control;
    if (refusal !== undefined) {
      const why = printable(new TextDecoder().decode(refusal));
      this.#refuse(new OwnerError("rightNode", `The node says: ${why}`));
    }
    if (isAccepted === true) this.#accepted.resolve();
    if (brokerKey !== undefined) this.#takeNode(brokerKey, control);
  }

  #takeNode(brokerKey: Uint8Array, { expectedNode }: NativeControl): void {
    if (this.#brokerKey?.toHex() !== brokerKey.toHex()) {
      const reason = "the node introduced itself with a key that it did not " +
        "prove";
      return this.#link.hangUp({ reason });
    }
    const { url, card } = this.#options;
    this.#node ??= {
      url,
      brokerKey,
      fingerprint: pairingFingerprint(brokerKey, card.cid),
      network: null,
      expectedNode: expectedNode?.toHex() ?? null,
    };
    this.#introduced.resolve(this.#node);
    if (this.#hasConsent) this.#tellConsent();
  }

  /** A preinit of a developer comes before it, and says nothing. */
  #takeInit(payload: Uint8Array): void {
    const { message } = decodeSignerRequest(payload, FRAME_LIMIT);
    if (messageType(message) !== REQUESTS.init.type) return;
    const { chainparams, tlvs } = decodeMessage(REQUESTS.init, message);
    const { hsmPassphrase } = tlvs;
    this.#init = {
      network: networkOf(chainparams)?.name ?? null,
      passphrase: hsmPassphrase === undefined
        ? null
        : new Secret(hsmPassphrase),
    };
    this.#met.resolve();
  }
}

function strangerAt(url: string, cid: string): never {
  throw new OwnerError(
    "consent",
    `Cannot pair with the broker at ${url}: it does not say who it is, want ` +
      `one that shows a fingerprint for device ${cid} (a newer release)`,
  );
}

function refusedBy(
  { url, nodeKey, code, access }: ContactOptions,
): OwnerError {
  if (code !== undefined) {
    // The refusal is the same, whoever gives it.
    const wantsUser = access?.user === undefined
      ? ", or the server there is not the node's own and wants --mqtt-user"
      : `, or the server there does not know the user ${access.user}`;
    return new OwnerError(
      "rightNode",
      `The node at ${url} refuses this card: the pairing string has expired ` +
        `or was used, or the clocks of both differ${wantsUser}; want a new ` +
        "string (remote_hsmd_mqtt pair on the node)",
    );
  }
  const who = nodeKey === null
    ? "this card"
    : `this seed, which is node ${publicKey(nodeKey.reveal()).toHex()}`;
  return new OwnerError(
    "rightNode",
    `The node at ${url} refuses ${who}: it is paired with another one ` +
      "(its log says with which), or wants a pairing string " +
      "(remote_hsmd_mqtt pair), or the clocks of both differ; want such a " +
      "string, or the words or the hsm_secret of that node (softkey restore)",
  );
}

/** A broker's words are for a terminal. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 500);
}
