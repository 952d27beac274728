/**
 * The box: a card, a signer and a link, put together.
 *
 * It logs in with its node key. A seed that needs the passphrase that lightningd
 * sends with init has no node key yet: the box then logs in with the card's own
 * key, says that it is locked, opens the seed when init comes, and logs in again
 * as the node before it answers. Only a failure to open is answered while locked.
 * The same happens when a developer's init forces another node key.
 *
 * @module
 */

import { publicKey } from "../crypto/secp.ts";
import type { Secret } from "../crypto/secret.ts";
import { describeError } from "../errors.ts";
import { makeToken } from "../mqtt/auth.ts";
import type { TopicName } from "../mqtt/topics.ts";
import { nodeKeyOf, type SignerState, step } from "../signer/handle.ts";
import { encodeHello } from "../wire/control.ts";
import { FRAME_LIMIT } from "../wire/frame.ts";
import { messageName, REPLIES } from "../wire/hsmd.ts";
import { messageType } from "../wire/message.ts";
import type { PubKey } from "../wire/types.ts";
import { decodeSignerRequest, encodeSignerResponse } from "../wire/vls.ts";
import type { Card } from "./card.ts";
import { type Credentials, Link } from "./link.ts";

/** What the box tells its owner, one line a change of state. */
export type Say = (text: string) => void;

/** What a box is made of. */
export interface BoxOptions {
  readonly card: Card;
  readonly signer: SignerState;
  readonly url: string;
  readonly software: string;
  readonly say: Say;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
}

interface Published {
  readonly name: TopicName;
  readonly payload: Uint8Array;
}

/** Where the answer to a request goes. */
const ANSWERS: Partial<Record<TopicName, TopicName>> = {
  "vls": "vls-res",
  "init-3-msg": "init-3-res",
};

/** A running softkey. */
export class Box {
  readonly #options: BoxOptions;
  readonly #link: Link;
  #state: SignerState;
  /** The key of the login under way, in hex. */
  #loginKey = "";
  #isServing = false;
  #lastReason = "";

  constructor(options: BoxOptions) {
    this.#options = options;
    this.#state = options.signer;
    this.#link = new Link({
      url: options.url,
      random: options.random,
      credentials: () => this.#credentials(),
      events: {
        connected: () => this.#connected(),
        message: (name, payload) => this.#take(name, payload),
        disconnected: (reason, retryMs) => this.#lost(reason, retryMs),
      },
    });
  }

  /** Connects and serves until {@linkcode Box.stop}. */
  start(): void {
    this.#options.say(`connecting to ${this.#options.url}`);
    this.#link.start();
  }

  /** Ends the connection. */
  stop(): Promise<void> {
    return this.#link.stop();
  }

  /** The login: as the node, or as a card that waits for a passphrase. */
  #credentials(): Credentials {
    const { card, software, now } = this.#options;
    const nodeKey: Secret | null = nodeKeyOf(this.#state);
    const key = nodeKey?.reveal() ?? card.key;
    this.#loginKey = publicKey(key).toHex();
    const cardKey = publicKey(card.key);
    return {
      cid: card.cid,
      username: this.#loginKey,
      password: makeToken(key, Math.floor(now() / 1000)),
      hello: encodeHello({
        software: new TextEncoder().encode(software),
        isLocked: nodeKey === null,
        // 33 bytes of the curve: made from a key a line above.
        cardKey: cardKey as PubKey,
      }),
    };
  }

  #connected(): void {
    this.#lastReason = "";
    const key = nodeKeyOf(this.#state);
    const who = key === null
      ? "locked, waiting for the node's passphrase"
      : `as ${publicKey(key.reveal()).toHex()}`;
    this.#options.say(`connected to ${this.#options.url}, ${who}`);
  }

  #lost(reason: string, retryMs: number): void {
    this.#isServing = false;
    // Once a reason, not once a try: a broker may be away for days.
    if (reason === this.#lastReason) return;
    this.#lastReason = reason;
    const text = `disconnected: ${reason}; trying again, next in ${retryMs} ms`;
    this.#options.say(text);
  }

  #take(name: TopicName, payload: Uint8Array): Published | null {
    const answerTo = ANSWERS[name];
    if (answerTo === undefined) return null;
    try {
      const answer = this.#answer(payload, name === "init-3-msg");
      return answer && { name: answerTo, payload: answer };
    } catch (error) {
      const text = describeError(error);
      this.#options.say(`cannot read a request: ${text}`);
      return {
        name: "error",
        payload: new TextEncoder().encode(`${text}\x01`),
      };
    }
  }

  #answer(payload: Uint8Array, isInit: boolean): Uint8Array | null {
    const request = decodeSignerRequest(payload, FRAME_LIMIT);
    const { state, reply, effects } = step(
      this.#state,
      request,
      this.#options.now(),
    );
    this.#state = state;
    for (const { level, text } of effects) {
      if (level !== "debug") this.#options.say(text);
    }
    if (reply === null) return null;
    if (this.#isAnotherNode(reply)) {
      this.#options.say("init made this another node: logging in as that");
      this.#link.restart();
      return null;
    }
    this.#noteServing(reply);
    if (!isInit) this.#link.settle();
    return encodeSignerResponse({ sequence: request.sequence, message: reply });
  }

  /**
   * Whether an init made us a node that we are not logged in as: the seed was
   * locked, or a developer forced a key. The broker asks again after the login.
   */
  #isAnotherNode(reply: Uint8Array): boolean {
    if (messageType(reply) !== REPLIES.init_reply_v4.type) return false;
    const key = nodeKeyOf(this.#state);
    return key !== null && publicKey(key.reveal()).toHex() !== this.#loginKey;
  }

  #noteServing(reply: Uint8Array): void {
    const type = messageType(reply);
    if (this.#isServing || type === null) return;
    if (type === REPLIES.init_reply_v4.type) {
      this.#isServing = true;
      this.#options.say("serving");
    } else if (type === REPLIES.init_reply_failure.type) {
      this.#options.say(`init failed: answered ${messageName(type)}`);
    }
  }
}
