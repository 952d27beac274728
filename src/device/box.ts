/**
 * The box: a card, a signer and a link, put together.
 *
 * It logs in with its node key. A seed that needs the passphrase that lightningd
 * sends with init has no node key yet: the box then logs in with the card's own
 * key, says that it is locked, opens the seed when init comes, and logs in again
 * as the node before it answers. Only a failure to open is answered while locked.
 * The same happens when a developer's init forces another node key.
 *
 * A node is served when its owner has consented to it: the broker introduces the
 * node right after hello, and what it asks is held until the gate has let it in.
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

import { type Network, networkOf } from "../bitcoin/networks.ts";
import { publicKey } from "../crypto/secp.ts";
import type { Secret } from "../crypto/secret.ts";
import { Bug, describeError, UsageError } from "../errors.ts";
import { makeToken } from "../mqtt/auth.ts";
import type { TopicName } from "../mqtt/topics.ts";
import { nodeKeyOf } from "../signer/handle.ts";
import type { SqliteStore } from "../store/sqlite.ts";
import { decodeControl, encodeCardHead, encodeHello } from "../wire/control.ts";
import { FRAME_LIMIT } from "../wire/frame.ts";
import { messageName, REPLIES, REQUESTS } from "../wire/hsmd.ts";
import { decodeMessage, messageType } from "../wire/message.ts";
import type { PubKey } from "../wire/types.ts";
import { decodeSignerRequest, encodeSignerResponse } from "../wire/vls.ts";
import type { Card } from "./card.ts";
import type { Desk, Served } from "./desk.ts";
import { type Credentials, type Ending, Link, type Publish } from "./link.ts";
import { OwnerError } from "./owner_error.ts";

/** What the box tells its owner, one line a change of state. */
export type Say = (text: string) => void;

/** A node as its broker introduces it. */
export interface Introduction {
  /** Link key, 33 bytes; null for a broker that does not introduce itself. */
  readonly brokerKey: Uint8Array | null;
  /** The node id that the node had so far. */
  readonly expectedNode: Uint8Array | null;
  /** Our node id; null while it is not known. */
  readonly nodeId: Uint8Array | null;
}

/** Decides whether a node is served. */
export interface Gate {
  /**
   * Nothing when it is, at once or when the owner was asked.
   *
   * @throws {OwnerError} also by rejection, when it is not
   */
  meet(node: Introduction): void | Promise<void>;
}

/** What happens to a box; its light shows it (`led.ts`). */
export type BoxEvent =
  | "mqtt_connecting"
  | "connected"
  | "disconnected"
  | "request"
  | "alarm"
  | "calm";

/** What a box is made of. */
export interface BoxOptions {
  readonly card: Card;
  readonly store: Pick<SqliteStore, "head" | "id" | "close">;
  readonly desk: Desk;
  readonly network: Network;
  readonly gate: Gate;
  readonly url: string;
  readonly software: string;
  readonly say: Say;
  readonly watch?: (event: BoxEvent) => void;
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
  readonly #ended = Promise.withResolvers<Error>();
  /** The key of the login under way, in hex. */
  #loginKey = "";
  #isServing = false;
  #lastReason = "";
  /** Counts connections: who was let in on one is not on the next. */
  #session = 0;
  #isIn = false;
  /** Whether the node of this connection has not introduced itself. */
  #isUnknown = true;
  /** What the light shows; null before it was said. */
  #light: string | null = null;
  /** What came before its node was let in. */
  #held: (() => void)[] = [];

  constructor(options: BoxOptions) {
    this.#options = options;
    this.#link = new Link({
      url: options.url,
      random: options.random,
      credentials: () => this.#credentials(),
      events: {
        connected: () => this.#connected(),
        message: (name, payload, publish) => this.#take(name, payload, publish),
        disconnected: (ending, retryMs) => this.#lost(ending, retryMs),
      },
    });
  }

  /**
   * Resolves, with the reason, when going on would change nothing: the broker
   * refuses this card, or the owner has to do something first.
   */
  get ended(): Promise<Error> {
    return this.#ended.promise;
  }

  /** Tells the broker what the light shows, now and when it is back. */
  tellLed(name: string): void {
    this.#light = name;
    this.#link.tell("led", new TextEncoder().encode(name));
  }

  /** Connects and serves until {@linkcode Box.stop}. */
  start(): void {
    this.#options.watch?.("mqtt_connecting");
    this.#options.say(`connecting to ${this.#options.url}`);
    this.#link.start();
  }

  /** Ends the connection, and lets go of the card's memory, which is last. */
  async stop(): Promise<void> {
    const { desk, store } = this.#options;
    try {
      await this.#link.stop();
      desk.close();
    } finally {
      store.close();
    }
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
    const light = this.#light;
    this.#options.watch?.("connected");
    // Who has just come does not know of an alarm that no event has changed.
    if (light !== null && light === this.#light) this.tellLed(light);
    this.#shut();
    const key = nodeKeyOf(this.#options.desk.state);
    const who = key === null
      ? "locked, waiting for the node's passphrase"
      : `as ${publicKey(key.reveal()).toHex()}`;
    this.#options.say(`connected to ${this.#options.url}, ${who}`);
  }

  #lost({ reason, isRefused }: Ending, retryMs: number): void {
    this.#isServing = false;
    this.#shut();
    this.#options.watch?.("disconnected");
    // Once a reason, not once a try: a broker may be away for days.
    if (reason === this.#lastReason) return;
    this.#lastReason = reason;
    const why = isRefused ? this.#refusedLogin() : reason;
    this.#options.say(
      `disconnected: ${why}; trying again, next in ${retryMs} ms`,
    );
  }

  #refusedLogin(): string {
    return `the node does not take ${this.#loginKey}: it is paired with ` +
      "another device (its log says with which), or the clocks differ";
  }

  #shut(): void {
    this.#session += 1;
    this.#isIn = false;
    this.#isUnknown = true;
    this.#held = [];
  }

  #take(name: TopicName, payload: Uint8Array, publish: Publish): void {
    try {
      if (name === "control") return this.#takeControl(payload);
      const answerTo = ANSWERS[name];
      if (answerTo === undefined) return;
      const serve = () => this.#serve(payload, answerTo, publish);
      this.#whenIn(() => this.#guarded(serve, publish));
    } catch (error) {
      this.#complain(error, publish);
    }
  }

  #guarded(serve: () => void, publish: Publish): void {
    try {
      serve();
    } catch (error) {
      this.#complain(error, publish);
    }
  }

  #complain(error: unknown, publish: Publish): void {
    const text = describeError(error);
    this.#options.say(`cannot read a request: ${text}`);
    publish("error", new TextEncoder().encode(`${text}\x01`));
  }

  /** Now, or when the owner has consented; the introduction comes first. */
  #whenIn(serve: () => void): void {
    if (this.#isIn) return serve();
    if (this.#held.length === 0 && this.#isUnknown) {
      this.#meet({ brokerKey: null, expectedNode: null });
    }
    if (this.#isIn) return serve();
    this.#held.push(serve);
  }

  #takeControl(payload: Uint8Array): void {
    const control = decodeControl(payload);
    if (control === null) return;
    const { refusal, brokerKey, expectedNode = null } = control;
    if (refusal !== undefined) {
      const why = new TextDecoder().decode(refusal);
      const text = `the node refuses this card: ${printable(why)}`;
      this.#options.say(text);
      this.#end(new UsageError(text));
    }
    if (brokerKey !== undefined) this.#meet({ brokerKey, expectedNode });
  }

  #meet(node: Omit<Introduction, "nodeId">): void {
    this.#isUnknown = false;
    const session = this.#session;
    const letIn = () => {
      if (session === this.#session) this.#open();
    };
    try {
      const met = this.#options.gate.meet({ ...node, nodeId: this.#nodeId() });
      if (!(met instanceof Promise)) return letIn();
      met.then(letIn).catch((error) => this.#end(error));
    } catch (error) {
      this.#end(error);
    }
  }

  #nodeId(): Uint8Array | null {
    const key = nodeKeyOf(this.#options.desk.state);
    return key === null ? null : publicKey(key.reveal());
  }

  #open(): void {
    this.#isIn = true;
    const held = this.#held;
    this.#held = [];
    for (const serve of held) serve();
  }

  #end(error: unknown): void {
    this.#ended.resolve(error instanceof Error ? error : new Bug(`${error}`));
  }

  /** Answers now, or when the owner was asked; the line may be another then. */
  #serve(payload: Uint8Array, answerTo: TopicName, publish: Publish): void {
    const request = decodeSignerRequest(payload, FRAME_LIMIT);
    const { sequence } = request;
    this.#options.watch?.("request");
    const answer = (served: Served) => {
      const { reply, isCommitted } = served;
      const { head } = this.#options.store;
      if (isCommitted) publish("card", encodeCardHead(head));
      if (reply === null || this.#isMoved(reply)) return;
      this.#noteServing(reply);
      if (answerTo !== "init-3-res") this.#link.settle();
      publish(answerTo, encodeSignerResponse({ sequence, message: reply }));
      if (answerTo === "init-3-res") this.#checkNetwork(request.message);
    };
    const served = this.#options.desk.serve(request);
    if (!(served instanceof Promise)) return answer(served);
    served.then(answer).catch((error) => this.#complain(error, publish));
  }

  /** Another network was answered with an error; here the owner hears of it. */
  #checkNetwork(message: Uint8Array): void {
    if (messageType(message) !== REQUESTS.init.type) return;
    const { url, network } = this.#options;
    const { chainparams } = decodeMessage(REQUESTS.init, message);
    const found = networkOf(chainparams)?.name ?? "an unknown network";
    if (found === network.name) return;
    const text = `Cannot serve the node at ${url}: it is on ${found}, want ` +
      `${network.name}, the network of this card`;
    this.#end(new OwnerError("rightNode", text));
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
