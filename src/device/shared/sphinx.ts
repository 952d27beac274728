/**
 * A shared card that speaks plain Sphinx, so that a stock Sphinx broker takes it
 * (sphinx-key.md 9.2): an empty hello, the dance, and numbered requests.
 *
 * | a request's number | is | then |
 * | --- | --- | --- |
 * | any, after a hello | the first | served |
 * | the last one plus one | the next | served |
 * | the last one, with equal bytes | sent again | the answer of then, once it may leave |
 * | any other | a gap: another device was asked in between | hello again, from the start |
 *
 * A request that is refused is answered on `error`, with its text and the byte 01,
 * and its number may come again. What does not fit the chain (401) is a reply.
 *
 * The link is not sealed. Whoever is between the two can read everything, and ask
 * for signatures in the broker's name; what is signed then is what the owner's
 * rules let pass, and no more. It is for brokers that know nothing else, and only
 * where the owner says so.
 *
 * What it does not do: judge, remember, or talk about storage (`sharing.ts`);
 * know its node before it is asked (nobody introduces itself in this dialect).
 *
 * @module
 */

import { publicKey } from "../../crypto/secp.ts";
import { DecodeError, describeError } from "../../errors.ts";
import type { ServerAccess } from "../../mqtt/access.ts";
import { makeToken } from "../../mqtt/auth.ts";
import type { TopicName } from "../../mqtt/topics.ts";
import { nodeKeyOf } from "../../signer/handle.ts";
import { REPLIES, REQUESTS } from "../../wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
} from "../../wire/message.ts";
import { CHAIN_MESSAGES, SIZED_ADD_BLOCK } from "../../wire/txoo.ts";
import {
  decodeSignerError,
  decodeSignerRequest,
  encodeSignerResponse,
  SIGNER_ERROR_TYPE,
  type SignerRequest,
} from "../../wire/vls.ts";
import type { BoxEvent } from "../box.ts";
import type { Controls } from "../control/controls.ts";
import type { Desk, Served } from "../desk.ts";
import { type Credentials, Link, type Publish } from "../link.ts";
import { OwnerError } from "../owner_error.ts";
import { isEqual } from "./slots.ts";
import type { Sharing } from "./sharing.ts";

/** How the session wants to go on. */
export type Ending =
  /** Hello again at once: as if it had just started. */
  | { readonly kind: "again"; readonly reason: string }
  /** Hello again after a while: the storage is out of step. */
  | { readonly kind: "later"; readonly reason: string }
  /** Nothing may be signed before the owner has done something. */
  | { readonly kind: "over"; readonly error: OwnerError };

/** What a session works with. */
export interface SessionOptions {
  readonly desk: Pick<Desk, "serve">;
  readonly sharing: Sharing;
  readonly controls?: Pick<Controls, "take">;
  /** Hears why the connection has to end. */
  readonly end: (ending: Ending) => void;
  /** Hears that a request was answered. */
  readonly answered?: () => void;
  readonly watch?: (event: BoxEvent) => void;
}

/** The last request that has a number. */
interface Last {
  readonly sequence: number;
  readonly payload: Uint8Array;
  /** Null until it may leave. */
  answer: Uint8Array | null;
}

/** The blocks or headers do not fit: a chain's feeder goes on from there. */
const ORPHAN = 401;

/** One connection of a shared card with a Sphinx broker. */
export class SphinxSession {
  readonly #options: SessionOptions;
  #last: Last | null = null;
  /** Null takes any. */
  #expected: number | null = null;
  #isOver = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    options.sharing.leave();
  }

  /** Takes what the broker says. */
  take(name: TopicName, payload: Uint8Array, publish: Publish): void {
    if (this.#isOver) return;
    try {
      this.#take(name, payload, publish);
    } catch (error) {
      publish("error", errorPayload(describeError(error)));
      this.#end(endingOf(error));
    }
  }

  /** Nothing more is heard or said. */
  close(): void {
    this.#isOver = true;
    this.#options.sharing.leave();
  }

  #take(name: TopicName, payload: Uint8Array, publish: Publish): void {
    if (name === "vls") return this.#request(payload, publish);
    if (name === "init-3-msg") return this.#init(payload, publish);
    if (name === "control") return this.#control(payload, publish);
    const { sharing } = this.#options;
    if (sharing.take(name, payload, publish) && name === "lss-conflict") {
      this.#beginAnew("another device has signed since");
    }
  }

  #end(ending: Ending): void {
    this.close();
    this.#options.end(ending);
  }

  /** At once; but after a pause where nothing was achieved the last time. */
  #beginAnew(reason: string): void {
    const kind = this.#expected === null ? "later" : "again";
    this.#end({ kind, reason });
  }

  /** Outside of the numbers: it carries 0 and does not count. */
  #init(payload: Uint8Array, publish: Publish): void {
    if (!this.#options.sharing.mayServe("init-3-res")) return;
    const request = decodeSignerRequest(payload);
    this.#serve(request, (answer) => publish("init-3-res", answer), publish);
  }

  #request(payload: Uint8Array, publish: Publish): void {
    const { sharing } = this.#options;
    const request = decodeSignerRequest(payload);
    const { sequence } = request;
    const last = this.#last;
    if (last !== null && isEqual(last.payload, payload)) {
      if (last.answer !== null) publish("vls-res", last.answer);
      return;
    }
    if (!sharing.mayServe("vls-res")) return;
    if (this.#expected !== null && sequence !== this.#expected) {
      const reason =
        `invalid sequence: ${sequence}, expected ${this.#expected}`;
      return this.#beginAnew(reason);
    }
    const asked: Last = { sequence, payload, answer: null };
    this.#last = asked;
    this.#serve(request, (answer) => {
      asked.answer = answer;
      this.#expected = (sequence + 1) & 0xffff;
      this.#options.answered?.();
      publish("vls-res", answer);
    }, publish);
  }

  #serve(
    request: SignerRequest,
    answer: (frame: Uint8Array) => void,
    publish: Publish,
  ): void {
    const { desk, sharing, watch } = this.#options;
    watch?.("request");
    const send = ({ reply }: Served) => {
      if (this.#isOver || reply === null) return;
      const refusal = refusalIn(reply);
      if (refusal === null) {
        const { sequence } = request;
        const message = plainReply(request.message, reply);
        return answer(encodeSignerResponse({ sequence, message }));
      }
      // Its number may come again.
      this.#last = null;
      publish("error", errorPayload(refusal));
    };
    const type = messageType(request.message);
    const release = (served: Served) => {
      sharing.release(type, () => send(served));
    };
    const message = plainRequest(request.message);
    const served = desk.serve({ ...request, message });
    if (!(served instanceof Promise)) return release(served);
    served.then(release).catch((error) => {
      publish("error", errorPayload(describeError(error)));
    });
  }

  #control(payload: Uint8Array, publish: Publish): void {
    const { controls } = this.#options;
    if (controls === undefined) return;
    controls.take(payload).then(({ payload, ending }) => {
      publish("control-res", payload);
      if (ending !== null) this.#end({ kind: "over", error: ending });
    }).catch((error) => {
      publish("error", errorPayload(describeError(error)));
    });
  }
}

/** A block's proof has its size before it there; the signer wants it without. */
function plainRequest(message: Uint8Array): Uint8Array {
  if (messageType(message) !== SIZED_ADD_BLOCK.type) return message;
  try {
    const block = decodeMessage(SIZED_ADD_BLOCK, message);
    return encodeMessage(CHAIN_MESSAGES.add_block, block);
  } catch (error) {
    if (error instanceof DecodeError) return message; // without a size already
    throw error;
  }
}

/** The last version of the protocol that these brokers know. */
const LAST_PLAIN_VERSION = 5;

/** They take no byte in an init reply that they do not know of. */
function plainReply(request: Uint8Array, reply: Uint8Array): Uint8Array {
  const isInit = messageType(request) === REQUESTS.init.type &&
    messageType(reply) === REPLIES.init_reply_v4.type;
  if (!isInit) return reply;
  const { hsmWireMaxVersion } = decodeMessage(REQUESTS.init, request);
  const fields = decodeMessage(REPLIES.init_reply_v4, reply);
  // A wallet of BIP 86 is known by its record, to a lightningd that has such.
  const isNew = hsmWireMaxVersion > LAST_PLAIN_VERSION &&
    fields.tlvs.bip86Base !== undefined;
  return isNew
    ? reply
    : encodeMessage(REPLIES.init_reply_v4, { ...fields, tlvs: {} });
}

/** Text of a refusal; null for an answer. */
function refusalIn(reply: Uint8Array): string | null {
  if (messageType(reply) !== SIGNER_ERROR_TYPE) return null;
  const { code, message } = decodeSignerError(reply);
  return code === ORPHAN ? null : new TextDecoder().decode(message);
}

/** What Sphinx brokers take on `error`: text, and a byte that says "VLS". */
function errorPayload(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\x01`);
}

function endingOf(error: unknown): Ending {
  return error instanceof OwnerError
    ? { kind: "over", error }
    : { kind: "later", reason: describeError(error) };
}

/** What a box for Sphinx brokers is made of. */
export interface SphinxBoxOptions {
  readonly cid: string;
  readonly desk: Desk;
  readonly sharing: Sharing;
  readonly controls?: Pick<Controls, "take" | "close" | "finish">;
  /** Closed last. */
  readonly store: { close(): void };
  readonly url: string;
  readonly access?: ServerAccess;
  readonly say: (text: string) => void;
  readonly watch?: (event: BoxEvent) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly random: () => number;
}

/** A running softkey in the dialect of Sphinx; has the face of a box. */
export class SphinxBox {
  readonly #options: SphinxBoxOptions;
  readonly #link: Link;
  readonly #ended = Promise.withResolvers<Error>();
  #session: SphinxSession | null = null;
  #lastReason = "";

  constructor(options: SphinxBoxOptions) {
    this.#options = options;
    const { url, access, random } = options;
    this.#link = new Link({
      url,
      random,
      ...(access === undefined ? {} : { access }),
      credentials: () => this.#credentials(),
      events: {
        connected: () => this.#connected(),
        message: (name, payload, publish) => {
          this.#session?.take(name, payload, publish);
        },
        disconnected: ({ reason }) => this.#lost(reason),
      },
    });
  }

  /** Resolves, with the reason, when going on would change nothing. */
  get ended(): Promise<Error> {
    return this.#ended.promise;
  }

  /** These brokers know no light. */
  tellLed(_name: string): void {}

  /** Connects and serves until {@linkcode SphinxBox.stop}. */
  start(): void {
    const { url, say, watch } = this.#options;
    say(
      `the dialect is Sphinx: the link to ${url} is not sealed, whoever is ` +
        "between can read it and ask for signatures",
    );
    watch?.("mqtt_connecting");
    this.#link.start();
  }

  /** Ends the connection, and lets go of the card's memory, which is last. */
  async stop(): Promise<void> {
    const { desk, controls, store } = this.#options;
    try {
      await this.#link.stop();
      this.#session?.close();
      desk.close();
      controls?.close();
    } finally {
      store.close();
    }
    await controls?.finish();
  }

  #credentials(): Credentials {
    const { cid, desk, now } = this.#options;
    const key = nodeKeyOf(desk.state);
    if (key === null) {
      throw new OwnerError(
        "key",
        "Cannot speak Sphinx: the seed opens only with the passphrase that " +
          "lightningd sends, want a seed without one",
      );
    }
    const secret = key.reveal();
    return {
      cid,
      username: publicKey(secret).toHex(),
      password: makeToken(secret, Math.floor(now() / 1000)),
      hello: new Uint8Array(),
    };
  }

  #connected(): void {
    const { desk, sharing, controls, watch, say, url } = this.#options;
    this.#lastReason = "";
    this.#session?.close();
    this.#session = new SphinxSession({
      desk,
      sharing,
      ...(controls === undefined ? {} : { controls }),
      ...(watch === undefined ? {} : { watch }),
      end: (ending) => this.#end(ending),
      answered: () => this.#link.settle(),
    });
    watch?.("connected");
    say(`connected to ${url}`);
  }

  #end(ending: Ending): void {
    const { say, watch } = this.#options;
    switch (ending.kind) {
      case "again":
        say(`beginning anew: ${ending.reason}`);
        return this.#link.restart();
      case "later":
        return this.#link.hangUp({ reason: ending.reason });
      case "over":
        watch?.("alarm");
        say(ending.error.message);
        this.#ended.resolve(ending.error);
    }
  }

  #lost(reason: string): void {
    this.#session?.close();
    this.#session = null;
    this.#options.watch?.("disconnected");
    if (reason === this.#lastReason) return;
    this.#lastReason = reason;
    this.#options.say(`disconnected: ${reason}; trying again`);
  }
}
