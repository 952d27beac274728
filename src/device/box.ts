/**
 * The box: a card, a signer and a link, put together.
 *
 * It logs in with its node key. A seed that needs the passphrase that lightningd
 * sends with init has no node key yet: the box then logs in with the card's own
 * key, says that it is locked, opens the seed when init comes, and logs in again
 * as the node before it answers. Only a failure to open is answered while locked.
 * The same happens when a developer's init forces another node key.
 *
 * Each commit moves the head of the card; the broker hears of it before it hears
 * the answer, so that it can tell a card that was rolled back. A broker that
 * says so ends the box: trying again would change nothing, and another card
 * needs a restart anyway.
 *
 * What it does not do: sign, remember (`desk.ts`), decide what to do after it
 * ended (`commands/run.ts`).
 *
 * @module
 */

import { publicKey } from "../crypto/secp.ts";
import type { Secret } from "../crypto/secret.ts";
import { describeError } from "../errors.ts";
import { makeToken } from "../mqtt/auth.ts";
import type { TopicName } from "../mqtt/topics.ts";
import { nodeKeyOf } from "../signer/handle.ts";
import type { SqliteStore } from "../store/sqlite.ts";
import { decodeRefusal, encodeCardHead, encodeHello } from "../wire/control.ts";
import { FRAME_LIMIT } from "../wire/frame.ts";
import { messageName, REPLIES } from "../wire/hsmd.ts";
import { messageType } from "../wire/message.ts";
import type { PubKey } from "../wire/types.ts";
import { decodeSignerRequest, encodeSignerResponse } from "../wire/vls.ts";
import type { Card } from "./card.ts";
import type { Desk, Served } from "./desk.ts";
import { type Credentials, Link, type Publish } from "./link.ts";

/** What the box tells its owner, one line a change of state. */
export type Say = (text: string) => void;

/** What a box is made of. */
export interface BoxOptions {
  readonly card: Card;
  readonly store: Pick<SqliteStore, "head" | "id" | "close">;
  readonly desk: Desk;
  readonly url: string;
  readonly software: string;
  readonly say: Say;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
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
  readonly #ended = Promise.withResolvers<string>();
  /** The key of the login under way, in hex. */
  #loginKey = "";
  #isServing = false;
  #lastReason = "";

  constructor(options: BoxOptions) {
    this.#options = options;
    this.#link = new Link({
      url: options.url,
      random: options.random,
      credentials: () => this.#credentials(),
      events: {
        connected: () => this.#connected(),
        message: (name, payload, publish) => this.#take(name, payload, publish),
        disconnected: (reason, retryMs) => this.#lost(reason, retryMs),
      },
    });
  }

  /** Resolves, with the reason, when the broker refuses this card for good. */
  get ended(): Promise<string> {
    return this.#ended.promise;
  }

  /** Connects and serves until {@linkcode Box.stop}. */
  start(): void {
    this.#options.say(`connecting to ${this.#options.url}`);
    this.#link.start();
  }

  /** Ends the connection, and lets go of the card's memory. */
  async stop(): Promise<void> {
    await this.#link.stop();
    this.#options.store.close();
  }

  /** The login: as the node, or as a card that waits for a passphrase. */
  #credentials(): Credentials {
    const { card, desk, store, software, now } = this.#options;
    const nodeKey: Secret | null = nodeKeyOf(desk.state);
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
        generation: store.head.generation,
        headHash: store.head.hash,
        cardId: store.id,
      }),
    };
  }

  #connected(): void {
    this.#lastReason = "";
    const key = nodeKeyOf(this.#options.desk.state);
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

  #take(name: TopicName, payload: Uint8Array, publish: Publish): void {
    try {
      if (name === "control") return this.#takeControl(payload);
      const answerTo = ANSWERS[name];
      if (answerTo === undefined) return;
      this.#serve(payload, answerTo, publish);
    } catch (error) {
      this.#complain(error, publish);
    }
  }

  #complain(error: unknown, publish: Publish): void {
    const text = describeError(error);
    this.#options.say(`cannot read a request: ${text}`);
    publish("error", new TextEncoder().encode(`${text}\x01`));
  }

  #takeControl(payload: Uint8Array): void {
    const refusal = decodeRefusal(payload);
    if (refusal === null) return;
    this.#options.say(`the node refuses this card: ${printable(refusal)}`);
    this.#ended.resolve(refusal);
  }

  /** Answers now, or when the owner was asked; the line may be another then. */
  #serve(payload: Uint8Array, answerTo: TopicName, publish: Publish): void {
    const request = decodeSignerRequest(payload, FRAME_LIMIT);
    const { sequence } = request;
    const answer = (served: Served) => {
      const { reply, isCommitted } = served;
      const { head } = this.#options.store;
      if (isCommitted) publish("card", encodeCardHead(head));
      if (reply === null || this.#isMoved(reply)) return;
      this.#noteServing(reply);
      if (answerTo !== "init-3-res") this.#link.settle();
      publish(answerTo, encodeSignerResponse({ sequence, message: reply }));
    };
    const served = this.#options.desk.serve(request);
    if (!(served instanceof Promise)) return answer(served);
    served.then(answer).catch((error) => this.#complain(error, publish));
  }

  /** Logs in again when an init made us another node. */
  #isMoved(reply: Uint8Array): boolean {
    if (!this.#isAnotherNode(reply)) return false;
    this.#options.say("init made this another node: logging in as that");
    this.#link.restart();
    return true;
  }

  /**
   * Whether an init made us a node that we are not logged in as: the seed was
   * locked, or a developer forced a key. The broker asks again after the login.
   */
  #isAnotherNode(reply: Uint8Array): boolean {
    if (messageType(reply) !== REPLIES.init_reply_v4.type) return false;
    const key = nodeKeyOf(this.#options.desk.state);
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

/** A broker's words are for a terminal. */
function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, "?").slice(0, 500);
}
