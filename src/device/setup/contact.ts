/**
 * The first meeting with a node: who it is, which network it is on, and what
 * passphrase its lightningd sends, before anything is answered.
 *
 * The card logs in with its own key, or with the node key of a seed that it has
 * already. The broker introduces the node (topic `control`) and passes on
 * lightningd's init, which waits; answering it is for the box that comes after.
 *
 * What it does not do: ask the owner, or answer the node.
 *
 * @module
 */

import { networkOf } from "../../bitcoin/networks.ts";
import { publicKey } from "../../crypto/secp.ts";
import { Secret } from "../../crypto/secret.ts";
import { describeError } from "../../errors.ts";
import { makeToken } from "../../mqtt/auth.ts";
import { pairingFingerprint } from "../../mqtt/fingerprint.ts";
import type { TopicName } from "../../mqtt/topics.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import { decodeControl, encodeHello } from "../../wire/control.ts";
import { FRAME_LIMIT } from "../../wire/frame.ts";
import { REQUESTS } from "../../wire/hsmd.ts";
import { decodeMessage, messageType } from "../../wire/message.ts";
import type { PubKey } from "../../wire/types.ts";
import { decodeSignerRequest } from "../../wire/vls.ts";
import type { Card } from "../card.ts";
import { type Credentials, type Ending, Link } from "../link.ts";
import { OwnerError } from "../owner_error.ts";
import type { NodeFacts } from "./state.ts";

/** Whom to meet, and as whom. */
export interface ContactOptions {
  readonly url: string;
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
  readonly #link: Link;
  readonly #met = Promise.withResolvers<void>();
  #node: NodeFacts | null = null;
  #init: InitFacts | null = null;
  #lastReason = "";
  #isTaken = false;

  constructor(options: ContactOptions) {
    this.#options = options;
    this.#link = new Link({
      url: options.url,
      random: Math.random,
      credentials: () => this.#credentials(),
      events: {
        connected: () => this.#connected(),
        message: (name, payload) => this.#take(name, payload),
        disconnected: (ending) => this.#lost(ending),
      },
    });
  }

  /**
   * Connects, and waits until the node and its lightningd have spoken.
   *
   * @throws {OwnerError} when the node does not take this card
   */
  async meet(): Promise<{ node: NodeFacts; passphrase: Secret | null }> {
    this.#options.say(`connecting to ${this.#options.url}`);
    this.#link.start();
    await this.#met.promise;
    const { url, card } = this.#options;
    const node = this.#node ?? strangerAt(url, card.cid);
    const { network = null, passphrase = null } = this.#init ?? {};
    return { node: { ...node, network }, passphrase };
  }

  /** Whether the node let it log in, whatever it said then. */
  get isTaken(): boolean {
    return this.#isTaken;
  }

  /** Hangs up. */
  async close(): Promise<void> {
    await this.#link.stop();
  }

  #credentials(): Credentials {
    const { card, nodeKey, isEmpty, software, store } = this.#options;
    // A new card has no history yet that anybody could compare.
    const stand = store === undefined ? {} : {
      generation: store.head.generation,
      headHash: store.head.hash,
      cardId: store.id,
    };
    const key = nodeKey?.reveal() ?? card.key;
    return {
      cid: card.cid,
      username: publicKey(key).toHex(),
      password: makeToken(key, Math.floor(Date.now() / 1000)),
      hello: encodeHello({
        software: new TextEncoder().encode(software),
        isLocked: nodeKey === null,
        // 33 bytes of the curve: made from a key right here.
        cardKey: publicKey(card.key) as PubKey,
        isEmpty,
        ...stand,
      }),
    };
  }

  #connected(): void {
    const { say, url } = this.#options;
    this.#lastReason = "";
    this.#isTaken = true;
    say(`connected to ${url}, waiting for lightningd`);
  }

  #lost({ reason, isRefused }: Ending): void {
    const { say, url } = this.#options;
    if (isRefused) return this.#met.reject(refusedBy(this.#options));
    if (reason === this.#lastReason) return;
    this.#lastReason = reason;
    say(`no connection to ${url}: ${reason}; trying again`);
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
    if (control?.refusal !== undefined) {
      const why = new TextDecoder().decode(control.refusal);
      this.#met.reject(new OwnerError("rightNode", `The node says: ${why}`));
    }
    if (control?.brokerKey === undefined || this.#node !== null) return;
    const { url, card } = this.#options;
    this.#node = {
      url,
      brokerKey: control.brokerKey,
      fingerprint: pairingFingerprint(control.brokerKey, card.cid),
      network: null,
      expectedNode: control.expectedNode?.toHex() ?? null,
    };
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

function refusedBy({ url, nodeKey }: ContactOptions): OwnerError {
  const who = nodeKey === null
    ? "this card"
    : `this seed, which is node ${publicKey(nodeKey.reveal()).toHex()}`;
  return new OwnerError(
    "rightNode",
    `The node at ${url} refuses ${who}: it is paired with another one ` +
      "(its log says with which), or the clocks of both differ; want the " +
      "words or the hsm_secret of that node (softkey restore)",
  );
}
