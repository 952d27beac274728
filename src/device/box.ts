/**
 * The box: a card, a signer and a link, put together.
 *
 * It logs in with its node key. A seed that needs the passphrase that lightningd
 * sends with init has no node key yet: the box then logs in with the card's own
 * key, says that it is locked, opens the seed when init comes, and logs in again
 * as the node before it answers. Only a failure to open is answered while locked.
 * The same happens when a developer's init forces another node key.
 *
 * The link is sealed: the handshake proves that the broker has the key that the
 * card is paired with, and that we have ours. What anybody on the way can forge
 * (a refused login, a claim that the broker has another key) is a line for the
 * owner and another try, never an end.
 *
 * A node is served when its owner has consented to it: the broker introduces the
 * node right after hello, and what it asks is held until the gate has let it in.
 *
 * The plain link is for comparison and for brokers that know no other; what it
 * carries proves nothing.
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
import { Secret } from "../crypto/secret.ts";
import { Bug, describeError, UsageError } from "../errors.ts";
import type { ServerAccess } from "../mqtt/access.ts";
import { makeToken } from "../mqtt/auth.ts";
import { proveCard } from "../mqtt/card_proof.ts";
import { pairingFingerprint } from "../mqtt/fingerprint.ts";
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
import type { Controls } from "./control/controls.ts";
import type { Desk, Served } from "./desk.ts";
import { type Ending, type Line, Link, type Publish } from "./link.ts";
import { OwnerError } from "./owner_error.ts";
import { NotNow } from "./shared/merge.ts";
import type { Sharing } from "./shared/sharing.ts";
import { SealedLink } from "./sealed_link.ts";

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
  /** The link key that a node must prove; null before there was one. */
  readonly pinned: Uint8Array | null;
  /** Whether a node may be met that says, unproved, that its key is another. */
  mayMeetAnother(): boolean;
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

/** Whether what goes over the link is sealed. */
export type LinkKind = "sealed" | "plain";

/** What a box is made of. */
export interface BoxOptions {
  readonly card: Card;
  readonly store: Pick<SqliteStore, "head" | "id" | "close">;
  readonly desk: Desk;
  /** For a card that is one of several of its node. */
  readonly sharing?: Sharing;
  /** Takes what the owner signed; nothing of it is answered without. */
  readonly controls?: Pick<Controls, "take" | "close" | "finish">;
  readonly network: Network;
  readonly gate: Gate;
  readonly url: string;
  /** What the MQTT server wants to see besides. */
  readonly access?: ServerAccess;
  /** Sealed unless it is said otherwise. */
  readonly link?: LinkKind;
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
  readonly #link: Line;
  readonly #ended = Promise.withResolvers<Error>();
  /** One copy, for all logins that are not the node's. */
  readonly #cardKey: Secret;
  /** The key of the login under way, in hex. */
  #loginKey = "";
  /** The broker's key by the handshake; null where nothing proved it. */
  #brokerKey: Uint8Array | null = null;
  /** What the broker claims its key to be, for the line that says so. */
  #claim: string | null = null;
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
    this.#cardKey = new Secret(options.card.key);
    this.#link = options.link === "plain"
      ? this.#plainLink()
      : this.#sealedLink();
  }

  #sealedLink(): Line {
    return new SealedLink({
      ...this.#dial(),
      credentials: () => ({
        ...this.#login(),
        staticKey: this.#key().key,
        pinned: this.#options.gate.pinned,
        hello: (transcript) => this.#hello(transcript),
      }),
      events: {
        connected: (brokerKey) => this.#connected(brokerKey),
        message: (name, payload, publish) => this.#take(name, payload, publish),
        disconnected: (ending, retryMs) => this.#lost(ending, retryMs),
        another: (key) => this.#claimed(key),
      },
    });
  }

  #plainLink(): Line {
    return new Link({
      ...this.#dial(),
      credentials: () => ({ ...this.#login(), hello: this.#hello(null) }),
      events: {
        connected: () => this.#connected(null),
        message: (name, payload, publish) => this.#take(name, payload, publish),
        disconnected: (ending, retryMs) => this.#lost(ending, retryMs),
      },
    });
  }

  #dial() {
    const { url, random, access } = this.#options;
    return { url, random, ...(access === undefined ? {} : { access }) };
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
    const { desk, store, controls } = this.#options;
    try {
      await this.#link.stop();
      desk.close();
      controls?.close();
    } finally {
      store.close();
      this.#cardKey.wipe();
    }
    await controls?.finish();
  }

  /** Private: as the node, or as a card that waits for a passphrase. */
  #key(): { readonly key: Secret; readonly isLocked: boolean } {
    const nodeKey = nodeKeyOf(this.#options.desk.state);
    return { key: nodeKey ?? this.#cardKey, isLocked: nodeKey === null };
  }

  #login() {
    const { card, now } = this.#options;
    const key = this.#key().key.reveal();
    this.#loginKey = publicKey(key).toHex();
    return {
      cid: card.cid,
      username: this.#loginKey,
      password: makeToken(key, Math.floor(now() / 1000)),
    };
  }

  #hello(transcript: Uint8Array | null): Uint8Array {
    const { card, store, software, sharing } = this.#options;
    return encodeHello({
      software: new TextEncoder().encode(software),
      isLocked: this.#key().isLocked,
      // 33 bytes of the curve: made from a key right here.
      cardKey: publicKey(card.key) as PubKey,
      generation: store.head.generation,
      headHash: store.head.hash,
      cardId: store.id,
      ...(sharing === undefined ? {} : { isShared: true }),
      ...(transcript === null
        ? {}
        : { cardProof: proveCard(card.key, transcript) }),
    });
  }

  /** Anybody on the way can say that: a person may look at it, if one is there. */
  #claimed(key: Uint8Array): boolean {
    const { gate, card, url } = this.#options;
    if (gate.mayMeetAnother()) return true;
    const pinned = gate.pinned;
    const wanted = pinned === null
      ? ""
      : `, want ${pairingFingerprint(pinned, card.cid)}, the one that this ` +
        "card is paired with";
    this.#claim = `what answers at ${url} has fingerprint ` +
      `${pairingFingerprint(key, card.cid)}${wanted} (softkey pair pairs anew)`;
    return false;
  }

  #connected(brokerKey: Uint8Array | null): void {
    this.#lastReason = "";
    this.#claim = null;
    const light = this.#light;
    this.#options.watch?.("connected");
    // Who has just come does not know of an alarm that no event has changed.
    if (light !== null && light === this.#light) this.tellLed(light);
    this.#shut();
    this.#brokerKey = brokerKey;
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
    const why = isRefused ? this.#refusedLogin() : this.#claim ?? reason;
    this.#claim = null;
    // Once a reason, not once a try: a broker may be away for days.
    if (why === this.#lastReason) return;
    this.#lastReason = why;
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
    this.#brokerKey = null;
    this.#held = [];
    this.#options.sharing?.leave();
  }

  #take(name: TopicName, payload: Uint8Array, publish: Publish): void {
    try {
      if (name === "control") return this.#takeControl(payload, publish);
      const serve = () => this.#answer(name, payload, publish);
      this.#whenIn(() => this.#guarded(serve, publish));
    } catch (error) {
      this.#complain(error, publish);
    }
  }

  /** What is about storage, or a request. */
  #answer(name: TopicName, payload: Uint8Array, publish: Publish): void {
    if (this.#options.sharing?.take(name, payload, publish)) return;
    const answerTo = ANSWERS[name];
    if (answerTo !== undefined) this.#serve(payload, answerTo, publish);
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
    if (error instanceof OwnerError) {
      this.#options.watch?.("alarm");
      this.#end(error);
    }
    publish("error", new TextEncoder().encode(`${text}\x01`));
    // Out of step with the storage: a new hello begins anew, after a pause.
    if (error instanceof NotNow) return this.#link.hangUp({ reason: text });
    const isWhole = error instanceof OwnerError;
    this.#options.say(isWhole ? text : `cannot read a request: ${text}`);
  }

  /** Now, or when the owner has consented; the introduction comes first. */
  #whenIn(serve: () => void): void {
    if (this.#isIn) return serve();
    if (this.#held.length === 0 && this.#isUnknown) {
      this.#meet({ brokerKey: this.#brokerKey, expectedNode: null });
    }
    if (this.#isIn) return serve();
    this.#held.push(serve);
  }

  #takeControl(payload: Uint8Array, publish: Publish): void {
    const control = decodeControl(payload);
    if (control === null) return this.#takeSigned(payload, publish);
    const { refusal, brokerKey, expectedNode = null } = control;
    if (refusal !== undefined) {
      const why = new TextDecoder().decode(refusal);
      const text = `the node refuses this card: ${printable(why)}`;
      if (this.#isIntruder(this.#brokerKey)) {
        return this.#link.hangUp({ reason: text });
      }
      this.#options.say(text);
      this.#end(new UsageError(text));
    }
    if (brokerKey === undefined) return;
    const proved = this.#brokerKey;
    if (proved !== null && proved.toHex() !== brokerKey.toHex()) {
      const reason = "the node introduced itself with a key that it did not " +
        "prove";
      return this.#link.hangUp({ reason });
    }
    this.#meet({ brokerKey, expectedNode });
  }

  /** What is not the broker's own word is the owner's, or nobody's. */
  #takeSigned(envelope: Uint8Array, publish: Publish): void {
    const { controls, store } = this.#options;
    if (controls === undefined) return;
    this.#whenIn(() => {
      const { generation } = store.head;
      controls.take(envelope).then(({ payload, ending }) => {
        const { head } = store;
        if (head.generation !== generation) {
          publish("card", encodeCardHead(head));
        }
        publish("control-res", payload);
        if (ending !== null) this.#end(ending);
      }).catch((error) => this.#complain(error, publish));
    });
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
      met.then(letIn).catch((error) => this.#keepOut(node, error));
    } catch (error) {
      this.#keepOut(node, error);
    }
  }

  /**
   * A node that is not let in. Ends the box, unless it came in the place of the
   * one that the card is paired with: that one may be back.
   */
  #keepOut({ brokerKey }: Omit<Introduction, "nodeId">, error: unknown): void {
    // Nothing on a plain link is proved, the way to another node neither.
    const isWaiting = this.#options.link !== "plain" &&
      this.#isIntruder(brokerKey) && error instanceof OwnerError;
    if (!isWaiting) return this.#end(error);
    const isHere = this.#brokerKey?.toHex() === brokerKey?.toHex();
    if (isHere) this.#link.hangUp({ reason: error.message });
  }

  /** Whether it proved another key than the one that the card is paired with. */
  #isIntruder(brokerKey: Uint8Array | null): boolean {
    const { pinned } = this.#options.gate;
    return brokerKey !== null && pinned !== null &&
      brokerKey.toHex() !== pinned.toHex();
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
    const { sharing } = this.#options;
    if (sharing?.mayServe(answerTo) === false) return;
    this.#options.watch?.("request");
    const send = (served: Served) => {
      const { reply, isCommitted } = served;
      const { head } = this.#options.store;
      if (isCommitted) publish("card", encodeCardHead(head));
      if (reply === null || this.#isMoved(reply)) return;
      this.#noteServing(reply);
      if (answerTo !== "init-3-res") this.#link.settle();
      publish(answerTo, encodeSignerResponse({ sequence, message: reply }));
      if (answerTo === "init-3-res") this.#checkNetwork(request.message);
    };
    const type = messageType(request.message);
    const answer = (served: Served) => {
      if (sharing === undefined) return send(served);
      sharing.release(type, () => send(served));
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
