/**
 * The broker: requests of the node in, answers of the signer out.
 *
 * It holds no key. It knows which device the node is paired with, hands it every
 * request in the order in which they were read, and matches each answer by its
 * sequence number, never by "the next one in". Requests of different connections
 * are under way together; a device that went away and came back is given
 * everything unanswered again, in order, under the same numbers. A late answer
 * or a second one finds nobody waiting and is forgotten.
 *
 * A session of a device:
 *
 *     connected --hello--> greeted --init sent--> initialising
 *                                                      |
 *                     refused <-- another identity? ---+--- verified --> ready
 *
 * One ready device is active and gets the requests; others stay warm. Before
 * lightningd hears of a device's init reply, its keys are compared with the key
 * that logged in and with the pairing.
 *
 * //~ The hard part of a remote signer is not the signing, it is the line going
 * //~ dead in mid-sentence. We tried "ask again after ten seconds" on paper, as
 * //~ others do: it needs a guess of how slow a device may be, and punishes the
 * //~ slow with more work. So nothing here has a time-out. A connection ends, that
 * //~ is an event, and what was unanswered is asked again. Next: mqtt/embedded.ts.
 *
 * @module
 */

import {
  checkIdentity,
  type DeviceIdentity,
  identityIn,
  type PairingBook,
} from "./broker/pairing.ts";
import {
  bad,
  initFailure,
  pinVersion,
  printable,
  readAnswer,
  replyWith,
} from "./broker/answers.ts";
import {
  describeDevice,
  type Device,
  NATIVE,
  newDevice,
  SPHINX,
  standIn,
} from "./broker/device.ts";
import { ChainFeed } from "./broker/chain_feed.ts";
import { FeeTelling } from "./broker/fee_telling.ts";
import { linesFor } from "./broker/lines.ts";
import type { NodeSelf } from "./broker/node_self.ts";
import { type Pending, RequestQueue } from "./broker/queue.ts";
import { refusalOf } from "./broker/refusals.ts";
import { RefusalLog } from "./broker/refusal_log.ts";
import { Repeats } from "./broker/repeats.ts";
import { WaitingNotice } from "./broker/waiting.ts";
import { WalletKeys } from "./broker/wallet_keys.ts";
import { type Network, networkOf } from "./bitcoin/networks.ts";
import {
  DecodeError,
  describeError,
  IdentityError,
  SIGNER_ERROR_CODES,
} from "./errors.ts";
import type { DeviceSession, LoginAttempt } from "./mqtt/embedded.ts";
import { checkLogin } from "./mqtt/auth.ts";
import { pairingFingerprint } from "./mqtt/fingerprint.ts";
import type { TopicName } from "./mqtt/topics.ts";
import type { Answer, Request } from "./unixfd.ts";
import {
  decodeCardHead,
  decodeHello,
  encodeControl,
  encodeRefusal,
  type NativeHello,
} from "./wire/control.ts";
import { FRAME_LIMIT } from "./wire/frame.ts";
import { messageName, REPLIES, type RequestOf, REQUESTS } from "./wire/hsmd.ts";
import { decodeMessage, encodeMessage, messageType } from "./wire/message.ts";
import type { LogLevel } from "./wire/status.ts";
import { NOBODY, type NodeId, type PubKey } from "./wire/types.ts";
import {
  decodeSignerError,
  decodeSignerResponse,
  encodeSignerError,
  encodeSignerRequest,
  type FeeReference,
  SIGNER_ERROR_TYPE,
  type SignerError,
} from "./wire/vls.ts";

/** How the broker reaches a device. */
export interface DeviceLink {
  /** False when the device is gone. */
  send(session: DeviceSession, name: TopicName, payload: Uint8Array): boolean;
  drop(session: DeviceSession): void;
}

/** What the broker is made of. */
export interface BrokerOptions {
  readonly book: PairingBook;
  /** What devices know this node by. */
  readonly self: NodeSelf;
  readonly log: (level: LogLevel, text: string, peer?: NodeId | null) => void;
  /** Text for somebody at a terminal, while lightningd does not read its log. */
  readonly tell: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** lightningd runs with --developer. */
  readonly isDeveloper: boolean;
  /** How old a login token may be, in seconds; 0 takes any age. */
  readonly tokenWindow: number;
  /** Where devices connect, for a person to read. */
  readonly address: () => string;
}

/** lightningd's init, and what became of it. */
interface Init {
  readonly message: Uint8Array;
  readonly preinit: Uint8Array | null;
  /** Answers lightningd; null once that was done. */
  answer: ((answer: Answer) => void) | null;
}

const INIT_SEQUENCE = 0;
/** A device that has not answered for this long is worth a line. */
const SLOW_MS = 10_000;
/** Longest name of a light's state that is kept. */
const LONGEST_LED = 40;
/** What the light of a softkey is called while its owner is needed. */
const ALARM_LED = "alarm";

/** Requests in, replies out. */
export class Broker {
  readonly #options: BrokerOptions;
  readonly #link: DeviceLink;
  readonly #devices = new Map<DeviceSession, Device>();
  readonly #queue: RequestQueue;
  readonly #waiting: WaitingNotice;
  #preinit: Uint8Array | null = null;
  #init: Init | null = null;
  #wallet: WalletKeys | null = null;
  #active: Device | null = null;
  readonly #repeats: Repeats;
  readonly #refusals: RefusalLog;
  readonly #fees: FeeTelling;
  /** The line on which devices are told of blocks. */
  readonly chain: ChainFeed;
  readonly #network = Promise.withResolvers<Network>();
  /** Devices are believed one after the other. */
  #welcomes: Promise<void> = Promise.resolve();

  constructor(link: DeviceLink, options: BrokerOptions) {
    this.#link = link;
    this.#options = options;
    this.#repeats = new Repeats(options.now);
    this.#refusals = new RefusalLog(({ level, text, peer }) =>
      options.log(level, text, peer)
    );
    this.#queue = new RequestQueue({
      send: ({ session }, frame) => link.send(session, "vls", frame),
      changed: () => this.#noteWaiting(),
      now: options.now,
    });
    this.#fees = new FeeTelling(this.#queue);
    this.chain = new ChainFeed(this.#queue, options.now);
    this.#waiting = new WaitingNotice((text) => {
      // A device that comes and goes is waited for again and again.
      this.#logRarely("info", text.replace(/\d+/g, "#"), text);
      // lightningd reads no log lines before its init is answered.
      if (this.#init?.answer) options.tell(text);
    });
  }

  /** Stops timers. */
  close(): void {
    this.#waiting.stop();
    this.#options.book.heads?.close();
    this.#refusals.close();
  }

  /** lightningd's network, once its init came. */
  get network(): Promise<Network> {
    return this.#network.promise;
  }

  /** Takes what transactions cost now, for the device's bounds. */
  takeFeeReference(reference: FeeReference): void {
    this.#fees.take(reference, this.#active);
  }

  // ---------------------------------------------------- the lightningd side

  /** Answers a request, from what we know or from what the device says. */
  ask(request: Request): Promise<Answer> {
    const { row, message } = request;
    const { log } = this.#options;
    for (const { level, text } of linesFor(row.type, message)) log(level, text);
    const isHere = HERE.get(row.type);
    return isHere === undefined
      ? this.#queue.add(request, this.#active)
      : Promise.resolve(isHere(this, message));
  }

  /** dev_preinit: kept for the device, which gets it before each init. */
  takePreinit(message: Uint8Array): Answer {
    if (!this.#options.isDeveloper) {
      return bad("dev_preinit without --developer");
    }
    this.#preinit = message;
    return { kind: "silence" };
  }

  /** init: once, and answered when a device has proved who it is. */
  takeInit(message: Uint8Array): Promise<Answer> | Answer {
    if (this.#init !== null) return bad("a second init");
    const problem = this.#initProblem(decodeMessage(REQUESTS.init, message));
    if (problem !== null) return bad(problem);
    const network = networkIn(message);
    if (network !== undefined) this.#network.resolve(network);
    return new Promise((answer) => {
      this.#init = { message, preinit: this.#preinit, answer };
      for (const device of this.#devices.values()) this.#initialise(device);
      this.#noteWaiting();
    });
  }

  #initProblem(init: RequestOf<"init">): string | null {
    const isForced = init.devForcePrivkey !== null ||
      init.devForceBip32Seed !== null ||
      init.devForceChannelSecrets !== null ||
      init.devForceChannelSecretsShaseed !== null;
    return isForced && !this.#options.isDeveloper
      ? "dev_force fields without --developer"
      : null;
  }

  /** Public-key checks need the pinned base keys and nothing else. */
  checkPubkey(
    message: Uint8Array,
    row: typeof REQUESTS.check_pubkey | typeof REQUESTS.check_bip86_pubkey,
  ): Answer {
    const { index, pubkey } = decodeMessage(row, message);
    const isBip86 = row.type === REQUESTS.check_bip86_pubkey.type;
    const derived = this.#wallet?.at(isBip86 ? "bip86" : "legacy", index);
    const ok = derived ? derived.toHex() === pubkey.toHex() : false;
    if (!ok) {
      const text = `${row.name} ${index}: the node has ${pubkey.toHex()}, ` +
        `the device ${derived ? derived.toHex() : "no such key"}`;
      this.#options.log("broken", text);
    }
    return replyWith(
      isBip86
        ? encodeMessage(REPLIES.check_bip86_pubkey_reply, { ok })
        : encodeMessage(REPLIES.check_pubkey_reply, { ok }),
    );
  }

  // -------------------------------------------------------- the device side

  /** Decides about a login. */
  login(
    attempt: LoginAttempt,
  ): { readonly key: Uint8Array } | { readonly refusal: string } {
    const login = checkLogin(attempt.username, attempt.password, {
      now: Math.floor(this.#options.now() / 1000),
      window: this.#options.tokenWindow,
    });
    if ("refusal" in login) return login;
    const { book } = this.#options;
    if (book.current === null) return login;
    const { identity, cardKeys } = book.current;
    const nodeId = identity.nodeId.toHex();
    const isKnown = nodeId === attempt.username ||
      cardKeys.includes(attempt.username);
    return isKnown ? login : {
      refusal: `its key is ${attempt.username}, paired with ${nodeId} ` +
        `(pairing: ${book.place})`,
    };
  }

  /** Takes what a device published. */
  message(
    session: DeviceSession,
    name: TopicName,
    payload: Uint8Array,
  ): void {
    try {
      this.#take(this.#deviceOf(session), name, payload);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#reject(session, error.message);
    }
  }

  /** A device's connection ended. */
  gone(session: DeviceSession): void {
    const device = this.#devices.get(session);
    if (device === undefined) return;
    this.#devices.delete(session);
    this.#recall(device);
    if (device.stage !== "connected") {
      const text = `device ${describeDevice(device)} disconnected`;
      this.#logRarely("info", text, text);
    }
    if (this.#active === device) this.#promote();
    this.#noteWaiting();
  }

  #deviceOf(session: DeviceSession): Device {
    const known = this.#devices.get(session);
    if (known !== undefined) return known;
    const device = newDevice(session);
    this.#devices.set(session, device);
    return device;
  }

  #take(device: Device, name: TopicName, payload: Uint8Array): void {
    switch (name) {
      case "hello":
        return this.#greet(device, payload);
      case "init-3-res":
        return this.#takeInitReply(device, payload);
      case "vls-res":
        return this.#takeReply(device, payload);
      case "error":
        return this.#takeError(device, payload);
      case "card":
        return this.#takeCardHead(device, payload);
      case "led":
        return this.#takeLed(device, payload);
      case "bye":
        return this.#link.drop(device.session);
      default:
        // Storage and control belong to features that this broker has not.
        this.#options.log(
          "debug",
          `${describeDevice(device)}: ${name} left unread`,
        );
    }
  }

  #greet(device: Device, payload: Uint8Array): void {
    const hello = decodeHello(payload);
    device.dialect = hello === null ? SPHINX : NATIVE;
    if (hello?.software !== undefined) {
      device.software = printable(hello.software);
    }
    device.cardKey = hello?.cardKey ? hello.cardKey.toHex() : null;
    this.#recall(device);
    device.stage = "greeted";
    const locked = hello?.isLocked ? ", locked" : "";
    this.#logRarely(
      "info",
      `${device.session.cid} connected`,
      `device ${
        describeDevice(device)
      } connected from ${device.session.from}: ` +
        `${device.software}${locked}`,
    );
    if (this.#active === device) this.#promote();
    device.stand = standIn(hello);
    const problem = hello === null
      ? null
      : this.#options.book.heads?.problemOf(device.stand) ?? null;
    if (problem !== null) return this.#refuseCard(device, problem);
    if (hello !== null) this.#introduce(device, hello);
    this.#initialise(device);
  }

  /** Says who this node is: the device's owner pairs with that, or does not. */
  #introduce({ session }: Device, { isEmpty }: NativeHello): void {
    const { book, self, tell } = this.#options;
    const nodeId = book.current?.identity.nodeId ?? self.nodeId;
    // A key of ours, and ids that a curve point was checked for before.
    const brokerKey = self.linkKey as PubKey;
    this.#link.send(
      session,
      "control",
      encodeControl({
        brokerKey,
        ...(nodeId === null ? {} : { expectedNode: nodeId as PubKey }),
      }),
    );
    if (book.current !== null) return;
    const fingerprint = pairingFingerprint(brokerKey, session.cid);
    const what = isEmpty ? "is new and asks its owner" : "can be paired";
    const text = `device ${session.cid} ${what}: fingerprint ${fingerprint}, ` +
      "the same on the device's screen";
    this.#logRarely("info", text, text);
    if (this.#init?.answer) tell(text);
  }

  /** A device's light changed: kept for who asks, and in the log. */
  #takeLed(device: Device, payload: Uint8Array): void {
    device.led = printable(payload).slice(0, LONGEST_LED);
    const text = `device ${describeDevice(device)} shows ${device.led}`;
    if (device.led !== ALARM_LED) return this.#options.log("debug", text);
    this.#logRarely("unusual", text, text);
  }

  /** Its card is not the newest: told to both owners, and not asked. */
  #refuseCard(device: Device, problem: string): void {
    device.stage = "connected";
    this.#link.send(device.session, "control", encodeRefusal(problem));
    this.#reject(device.session, problem);
  }

  /** A device committed: remembered, once we believe who it is. */
  #takeCardHead(device: Device, payload: Uint8Array): void {
    const { generation, hash } = decodeCardHead(payload);
    if (device.stand === null) return;
    device.stand = { ...device.stand, generation, hash: hash.toHex() };
    if (device.stage === "ready") this.#noteStand(device);
  }

  #noteStand({ stand }: Device): void {
    const { heads } = this.#options.book;
    if (stand === null || heads === undefined) return;
    heads.note(stand);
    const { problem } = heads;
    if (problem === null) return;
    const text = `cannot remember how far the device's card is: ${problem}`;
    this.#logRarely("unusual", text, text);
  }

  /** Sends lightningd's init, as soon as both are there. */
  #initialise(device: Device): void {
    if (this.#init === null || device.stage !== "greeted") return;
    device.stage = "initialising";
    const { preinit, message } = this.#init;
    if (preinit !== null && device.dialect === NATIVE) {
      this.#sendInit(device, preinit);
    }
    this.#sendInit(device, message);
  }

  #sendInit(device: Device, message: Uint8Array): void {
    const frame = encodeSignerRequest({
      sequence: INIT_SEQUENCE,
      peerId: NOBODY,
      dbid: 0n,
      message,
    });
    this.#link.send(device.session, "init-3-msg", frame);
  }

  #takeInitReply(device: Device, payload: Uint8Array): void {
    if (device.stage !== "initialising" || this.#init === null) return;
    const { message } = decodeSignerResponse(payload, FRAME_LIMIT);
    switch (messageType(message)) {
      case REPLIES.init_reply_v4.type:
        this.#welcomes = this.#welcomes
          .then(() => this.#welcome(device, message))
          .catch((error) => this.#reject(device.session, describeError(error)));
        return;
      case REPLIES.init_reply_failure.type:
        return this.#takeInitFailure(device, message);
      case SIGNER_ERROR_TYPE: {
        const { code, message: words } = decodeSignerError(message);
        const text = printable(words);
        const isBad = code === SIGNER_ERROR_CODES.badRequest;
        return this.#answerInit(isBad ? bad(text) : initFailure(text));
      }
      default: {
        const found = messageName(messageType(message));
        this.#reject(device.session, `answered init with ${found}`);
      }
    }
  }

  #takeInitFailure(device: Device, message: Uint8Array): void {
    const { errorMessage } = decodeMessage(REPLIES.init_reply_failure, message);
    const text = `device ${describeDevice(device)} cannot start: ` +
      printable(errorMessage);
    this.#logRarely("unusual", text, text);
    this.#answerInit(replyWith(message));
  }

  /** The device says who it is; lightningd hears it once we believe it. */
  async #welcome(device: Device, message: Uint8Array): Promise<void> {
    const identity = identityIn(message);
    const { book } = this.#options;
    checkOwnKey(device.session, identity);
    const { current } = book;
    if (current !== null) checkIdentity(current.identity, identity);
    else checkNodeId(this.#options.self, identity);
    const cardKeys = withCardKey(current?.cardKeys ?? [], device.cardKey);
    if (current === null || cardKeys.length !== current.cardKeys.length) {
      await book.store({ identity, cardKeys });
    }
    if (current === null) {
      const text = `paired with ${identity.nodeId.toHex()} (${book.place})`;
      this.#options.log("info", text);
    }
    this.#wallet ??= new WalletKeys(identity);
    // It may have gone while the pairing was stored.
    const isHere = this.#devices.get(device.session) === device;
    if (!isHere || device.stage !== "initialising") return;
    device.stage = "ready";
    this.#noteStand(device);
    this.#answerInit(replyWith(message));
    if (this.#active === null) {
      this.#active = device;
      this.#tellActive();
    }
    this.#queue.pump(this.#active);
    this.#noteWaiting();
  }

  #answerInit(answer: Answer): void {
    const init = this.#init;
    if (init === null || init.answer === null) return;
    init.answer(answer);
    const message = answer.kind === "reply"
      ? pinVersion(init.message, answer.message)
      : init.message;
    this.#init = { ...init, message, answer: null };
    this.#noteWaiting();
  }

  #takeReply(device: Device, payload: Uint8Array): void {
    const { sequence, message } = decodeSignerResponse(payload, FRAME_LIMIT);
    const pending = this.#queue.find(device, sequence);
    if (pending === undefined) {
      const text = `${describeDevice(device)}: nobody waits for ${sequence}`;
      return this.#options.log("debug", text);
    }
    if (pending.take !== null) return this.#settleIdle(pending, message);
    const answer = this.#answerIn(pending.request, message);
    if (answer === null) {
      const found = messageName(messageType(message));
      const { name } = pending.request.row;
      return this.#reject(device.session, `answered ${name} with ${found}`);
    }
    this.#queue.settle(pending, answer);
    this.#queue.pump(this.#active);
    this.#noteWaiting();
  }

  /** What the device says of the chain is for whoever tells it of that. */
  #settleIdle(pending: Pending, message: Uint8Array): void {
    this.#queue.settleIdle(pending, message);
    this.#queue.pump(this.#active);
  }

  #answerIn(request: Request, message: Uint8Array): Answer | null {
    return messageType(message) === SIGNER_ERROR_TYPE
      ? this.#refusal(request, decodeSignerError(message))
      : readAnswer(request.row, message);
  }

  /** The device said no: the log hears why, the asker what it understands. */
  #refusal(request: Request, error: SignerError): Answer {
    const reason = printable(error.message);
    if (error.code === SIGNER_ERROR_CODES.badRequest) return bad(reason);
    this.#refusals.say(request, { code: error.code, reason });
    return refusalOf(request, error, reason);
  }

  /** Sphinx devices tell errors aside; the request under way is meant. */
  #takeError(device: Device, payload: Uint8Array): void {
    const reason = printable(payload);
    const text = `device ${describeDevice(device)} says: ${reason}`;
    this.#logRarely("unusual", text, text);
    const pending = device.dialect === SPHINX
      ? this.#queue.firstOf(device)
      : undefined;
    if (pending === undefined) return;
    const error = {
      code: SIGNER_ERROR_CODES.refused,
      message: new TextEncoder().encode(reason),
    };
    if (pending.take !== null) {
      return this.#settleIdle(pending, encodeSignerError(error));
    }
    const answer = this.#refusal(pending.request, error);
    this.#queue.settleUnnumbered(pending, answer);
    this.#queue.pump(this.#active);
    this.#noteWaiting();
  }

  #promote(): void {
    const ready = [...this.#devices.values()]
      .find(({ stage }) => stage === "ready");
    this.#active = ready ?? null;
    this.#tellActive();
    this.#queue.pump(this.#active);
  }

  /** Tells the active device what the broker itself has to say. */
  #tellActive(): void {
    this.#fees.tell(this.#active);
    const { current } = this.#options.book;
    const network = this.#init === null
      ? undefined
      : networkIn(this.#init.message);
    if (this.#active === null || current === null || network === undefined) {
      return this.chain.detach();
    }
    this.chain.attach(this.#active, current.identity, network);
  }

  /** What a device has not answered is somebody else's, or nobody's. */
  #recall(device: Device): void {
    if (device === this.#active) {
      this.#fees.withdraw();
      this.chain.detach();
    }
    this.#queue.recall(device);
  }

  #reject(session: DeviceSession, reason: string): void {
    const text = `device ${session.cid} at ${session.from} refused: ${reason}`;
    this.#logRarely("unusual", `${session.cid} ${reason}`, text);
    this.#link.drop(session);
  }

  /** A refused connection; whoever is refused usually comes back at once. */
  refused(from: string, reason: string): void {
    const [host = from] = from.split(/:\d+$/);
    const text = `MQTT connection from ${from} refused: ${reason}`;
    // A stale token says another age each time; it is the same line.
    this.#logRarely("unusual", `${host} ${reason.replace(/\d+/g, "#")}`, text);
  }

  #logRarely(level: LogLevel, kind: string, text: string): void {
    const line = this.#repeats.filter(kind, text);
    if (line !== null) this.#options.log(level, line);
  }

  /** Keeps the notice in step with what is waited for. */
  #noteWaiting(): void {
    const isInit = Boolean(this.#init?.answer);
    if (this.#queue.size === 0 && !isInit) return this.#waiting.stop();
    if (this.#active === null) {
      this.#waiting.start("device", (waited) => this.#absence(waited));
    } else {
      const isLater = true;
      this.#waiting.start("answer", () => this.#slowness(), { isLater });
    }
  }

  #absence(waited: string): string {
    const { oldest, size } = this.#queue;
    const what = oldest === undefined ? "init" : oldest.request.row.name;
    const more = size > 1 ? ` and ${size - 1} more` : "";
    const { book, address } = this.#options;
    const whom = book.current === null
      ? "a signer device to pair with"
      : `signer ${book.current.identity.nodeId.toHex()}`;
    return `waiting for ${whom} on ${address()}: ${what}${more}${waited}`;
  }

  /** The device is there and does not answer: says so once it is long. */
  #slowness(): string | null {
    const { oldest, size } = this.#queue;
    if (oldest === undefined || this.#active === null) return null;
    const age = this.#options.now() - oldest.askedAt;
    if (age < SLOW_MS) return null;
    const more = size > 1 ? ` and ${size - 1} more` : "";
    return `device ${describeDevice(this.#active)} has not answered ` +
      `${oldest.request.row.name}${more} for ${Math.round(age / 1000)} s`;
  }
}

type HereAnswerer = (
  broker: Broker,
  message: Uint8Array,
) => Promise<Answer> | Answer;

/** What is answered without asking the device, or kept for it. */
const HERE: ReadonlyMap<number, HereAnswerer> = new Map<number, HereAnswerer>([
  [REQUESTS.dev_preinit.type, (broker, message) => broker.takePreinit(message)],
  [REQUESTS.init.type, (broker, message) => broker.takeInit(message)],
  [
    REQUESTS.dev_memleak.type,
    () => replyWith(encodeMessage(REPLIES.dev_memleak_reply, { leak: false })),
  ],
  [
    REQUESTS.check_pubkey.type,
    (broker, message) => broker.checkPubkey(message, REQUESTS.check_pubkey),
  ],
  [
    REQUESTS.check_bip86_pubkey.type,
    (broker, message) =>
      broker.checkPubkey(message, REQUESTS.check_bip86_pubkey),
  ],
]);

/** The network of lightningd's init. */
function networkIn(init: Uint8Array): Network | undefined {
  return networkOf(decodeMessage(REQUESTS.init, init).chainparams);
}

/** A device may only speak for the key that it logged in with. */
function checkOwnKey(session: DeviceSession, identity: DeviceIdentity): void {
  const [found, wanted] = [
    identity.nodeId.toHex(),
    session.key.toHex(),
  ];
  if (found === wanted) return;
  throw new IdentityError(
    `Cannot use this device: its node id is ${found}, it logged in as ${wanted}`,
  );
}

/** lightningd ends when its database is another node's. */
function checkNodeId({ nodeId }: NodeSelf, identity: DeviceIdentity): void {
  if (nodeId === null || nodeId.toHex() === identity.nodeId.toHex()) return;
  throw new IdentityError(
    `Cannot use this device: its node id is ${identity.nodeId.toHex()}, ` +
      `lightningd's database is that of ${nodeId.toHex()}; restore its seed ` +
      "on the device",
  );
}

function withCardKey(
  keys: readonly string[],
  key: string | null,
): readonly string[] {
  return key === null || keys.includes(key) ? keys : [...keys, key];
}
