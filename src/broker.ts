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
 * One ready device is active and gets the requests; others stay warm. Which one,
 * and what it has to prove first, is a function (`broker/fleet.ts`); how a
 * connection becomes a ready device is `broker/reception.ts`.
 *
 * //~ The hard part of a remote signer is not the signing, it is the line going
 * //~ dead in mid-sentence. We tried "ask again after ten seconds" on paper, as
 * //~ others do: it needs a guess of how slow a device may be, and punishes the
 * //~ slow with more work. So nothing here has a time-out. A connection ends,
 * //~ that is an event, and what was unanswered is asked again. Next:
 * //~ broker/queue.ts.
 *
 * @module
 */

import { ActiveBook } from "./broker/active.ts";
import { ActiveDevice, memberOf } from "./broker/active_device.ts";
import { bad, printable, readAnswer, replyWith } from "./broker/answers.ts";
import {
  type Health,
  HealthCheck,
  makeChallenge,
  problemWith,
} from "./broker/challenge.ts";
import { ChainFeed } from "./broker/chain_feed.ts";
import { ControlLine } from "./broker/control_line.ts";
import { describeDevice, type Device, SPHINX } from "./broker/device.ts";
import { decodeDeviceError } from "./broker/device_error.ts";
import type {
  BrokerFace,
  ControlOutcome,
  DeviceError,
  Unsubscribe,
  UseOutcome,
} from "./broker/face.ts";
import { FeeTelling } from "./broker/fee_telling.ts";
import { riskOf } from "./broker/fleet.ts";
import { HandshakeLimit } from "./broker/handshakes.ts";
import { linesFor } from "./broker/lines.ts";
import { answerFor, mayAsk } from "./broker/negotiation.ts";
import type { NodeSelf } from "./broker/node_self.ts";
import { Overview } from "./broker/overview.ts";
import type { PairingBook } from "./broker/pairing.ts";
import type { PairingDesk, PairingMode } from "./broker/pairing_desk.ts";
import { OURSELVES, type Pending, RequestQueue } from "./broker/queue.ts";
import { networkIn, Reception } from "./broker/reception.ts";
import { refusalOf } from "./broker/refusals.ts";
import { MOST_RESTARTS, SilenceWatch, SILENT_MS } from "./broker/silence.ts";
import { RefusalLog } from "./broker/refusal_log.ts";
import { Repeats } from "./broker/repeats.ts";
import type { StatusSnapshot } from "./broker/status.ts";
import type { Storage } from "./broker/storage.ts";
import type { Later } from "./broker/turns.ts";
import { WaitingNotice } from "./broker/waiting.ts";
import { WalletKeys } from "./broker/wallet_keys.ts";
import type { Network } from "./bitcoin/networks.ts";
import { SIGNER_ERROR_CODES } from "./errors.ts";
import { Metrics } from "./metrics/metrics.ts";
import { checkLogin } from "./mqtt/auth.ts";
import type { LoginAttempt } from "./mqtt/embedded.ts";
import type { DeviceLink, DeviceSession } from "./mqtt/session.ts";
import type { TopicName } from "./mqtt/topics.ts";
import type { Answer, Request } from "./unixfd.ts";
import { isBrokerWord } from "./wire/control.ts";
import { FRAME_LIMIT } from "./wire/frame.ts";
import { messageName, REPLIES, type RequestOf, REQUESTS } from "./wire/hsmd.ts";
import { decodeMessage, encodeMessage, messageType } from "./wire/message.ts";
import type { LogLevel } from "./wire/status.ts";
import type { NodeId } from "./wire/types.ts";
import {
  decodeSignerError,
  decodeSignerRequest,
  decodeSignerResponse,
  encodeSignerError,
  type FeeReference,
  SIGNER_ERROR_TYPE,
  type SignerError,
} from "./wire/vls.ts";

/** What the broker is made of. */
export interface BrokerOptions {
  readonly book: PairingBook;
  readonly desk: PairingDesk;
  /** Which device signed last, and which one the operator wants. */
  readonly active?: ActiveBook;
  /** Where the state of shared devices is; absent: they are taken without. */
  readonly storage?: Storage;
  /** What devices know this node by. */
  readonly self: NodeSelf;
  readonly log: (level: LogLevel, text: string, peer?: NodeId | null) => void;
  /** Text for somebody at a terminal, while lightningd does not read its log. */
  readonly tell: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** lightningd runs with --developer. */
  readonly isDeveloper: boolean;
  /** Its version, where it is known. */
  readonly lightningd?: string;
  /** `open`: any device, and without a seal, for tests only. */
  readonly pairing: PairingMode;
  /** How old a login token may be, in seconds; 0 takes any age. */
  readonly tokenWindow: number;
  /** Handshakes of other nodes a second; absent: as many as come. */
  readonly handshakeRate?: number;
  /** Where devices connect, for a person to read. */
  readonly address: () => string;
  readonly metrics?: Metrics;
  /** Calls something later; a timer where it is absent. */
  readonly later?: Later;
}

/** A device that has not answered for this long is worth a line. */
const SLOW_MS = 10_000;
/** How long a device may take to prove the node's key. */
const PROOF_MS = 10_000;

/** Requests in, replies out. */
export class Broker implements BrokerFace {
  readonly #options: BrokerOptions;
  readonly #link: DeviceLink;
  readonly #reception: Reception;
  readonly #queue: RequestQueue;
  readonly #active: ActiveDevice;
  readonly #waiting: WaitingNotice;
  readonly #controls: ControlLine;
  /** What Sphinx devices may have dropped without a word. */
  readonly #silence: SilenceWatch;
  readonly #health: HealthCheck;
  readonly #overview: Overview;
  #preinit: Uint8Array | null = null;
  #wallet: WalletKeys | null = null;
  readonly #repeats: Repeats;
  readonly #refusals: RefusalLog;
  /** Ends the wait for the proof of the active device. */
  #endProof: () => void = () => {};
  readonly #fees: FeeTelling;
  /** The line on which devices are told of blocks. */
  readonly chain: ChainFeed;
  readonly metrics: Metrics;
  readonly #network = Promise.withResolvers<Network>();

  constructor(link: DeviceLink, options: BrokerOptions) {
    const { now, book, self, desk, log, tell, storage = null } = options;
    this.#link = link;
    this.#options = options;
    this.metrics = options.metrics ?? new Metrics();
    this.#repeats = new Repeats(now);
    this.#refusals = new RefusalLog(({ level, text, peer }) =>
      log(level, text, peer)
    );
    const rate = options.handshakeRate;
    this.#queue = new RequestQueue({
      send: (device, frame) => this.#send(device, frame),
      changed: () => this.#noteWaiting(),
      now,
      ...(rate === undefined
        ? {}
        : { handshakes: new HandshakeLimit({ rate, now }) }),
    });
    this.#controls = new ControlLine({ link, queue: this.#queue });
    this.#silence = new SilenceWatch({
      send: (device, frame) => link.send(device.session, "vls", frame),
      revision: () => storage?.revision ?? null,
      now,
      ...(options.later === undefined ? {} : { later: options.later }),
    });
    this.#fees = new FeeTelling(this.#queue);
    this.chain = new ChainFeed(this.#queue, now);
    this.#waiting = new WaitingNotice((text) => {
      // A device that comes and goes is waited for again and again.
      this.#logRarely("info", text.replace(/\d+/g, "#"), text);
      // lightningd reads no log lines before its init is answered.
      if (this.#reception.isInitOpen) tell(text);
    });
    const logRarely = this.#logRarely.bind(this);
    this.#reception = new Reception(
      {
        link,
        desk,
        book,
        self,
        storage,
        isOpen: options.pairing === "open",
        lightningd: options.lightningd ?? null,
        now,
        log,
        logRarely,
        tell,
      },
      {
        ready: (device) => this.#takeReady(device),
        away: (device) => this.#recall(device),
        isActive: (device) => device === this.#active.current,
        heard: (device, name, payload) => this.#take(device, name, payload),
        changed: () => this.#noteWaiting(),
      },
    );
    this.#active = new ActiveDevice({
      reception: this.#reception,
      queue: this.#queue,
      book: options.active ?? ActiveBook.inMemory(),
      storage,
      heads: book.heads,
      changed: (device) => this.#takeActive(device),
      chosen: () => this.#noteWaiting(),
      failed: (text) => this.#logRarely("broken", text, text),
    });
    this.#health = new HealthCheck({
      now,
      obstacle: () => this.#active.current === null ? this.#active.why : null,
      nodeId: () => book.current?.identity.nodeId ?? null,
      ask: (message) => this.#askOurselves(message),
      metrics: this.metrics,
    });
    this.#overview = new Overview({
      reception: this.#reception,
      queue: this.#queue,
      metrics: this.metrics,
      book,
      now,
      address: options.address,
      storage,
      pairing: options.pairing,
      pairedSince: () => desk.since,
      handshakeRate: rate ?? null,
      memberOf,
    });
  }

  /** Stops timers. */
  close(): void {
    this.#waiting.stop();
    this.#endProof();
    this.#options.book.heads?.close();
    this.#refusals.close();
    this.#reception.close();
    this.#controls.close();
    this.#silence.close();
    this.#active.close();
    this.#queue.close();
  }

  /** lightningd's network, once its init came. */
  get network(): Promise<Network> {
    return this.#network.promise;
  }

  /** Takes what transactions cost now, for the device's bounds. */
  takeFeeReference(reference: FeeReference): void {
    this.#fees.take(reference, this.#active.current);
  }

  // ---------------------------------------------------- the lightningd side

  /** Answers a request, from what we know or from what the device says. */
  ask(request: Request): Promise<Answer> {
    const { row, message } = request;
    const { log } = this.#options;
    this.#overview.takeRequest(request);
    for (const { level, text } of linesFor(row.type, message)) log(level, text);
    const isHere = HERE.get(row.type);
    return isHere === undefined
      ? this.#queue.add(request, this.#active.asked)
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
    if (this.#reception.hasInit) return bad("a second init");
    const problem = this.#initProblem(decodeMessage(REQUESTS.init, message));
    if (problem !== null) return bad(problem);
    const network = networkIn(message);
    if (network !== undefined) this.#network.resolve(network);
    return this.#reception.takeInit(message, this.#preinit);
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

  /** Decides about a login at our own server. */
  login(
    attempt: LoginAttempt,
  ): { readonly key: Uint8Array } | { readonly refusal: string } {
    const login = checkLogin(attempt.username, attempt.password, {
      now: Math.floor(this.#options.now() / 1000),
      window: this.#options.tokenWindow,
    });
    if ("refusal" in login) return login;
    const { isLoopback } = attempt;
    const { desk } = this.#options;
    const refusal = desk.mayLogIn(attempt.username, { isLoopback }) ??
      this.#problemOfName(attempt);
    return refusal === null ? login : { refusal };
  }

  /** A stranger must not push out a device by its name. */
  #problemOfName({ cid, username }: LoginAttempt): string | null {
    const there = this.#reception.byCid(cid)?.session.key?.toHex();
    const isFree = there === undefined || there === username ||
      this.#options.desk.knows(username);
    return isFree ? null : `client id ${cid} is another device's`;
  }

  /** Takes what a device published. */
  message(session: DeviceSession, name: TopicName, payload: Uint8Array): void {
    this.#reception.message(session, name, payload);
  }

  /** Lets go of devices that a command has unpaired. */
  dropUnpaired(): void {
    this.#reception.dropUnpaired();
  }

  /** A device's connection ended. */
  gone(session: DeviceSession): void {
    this.#reception.gone(session);
  }

  /** Sends a request, or refuses what the device could not even refuse. */
  #send(device: Device, frame: Uint8Array): boolean {
    const { abilities, dialect, session } = device;
    const isOurs = dialect !== SPHINX || abilities === null;
    if (isOurs) return this.#link.send(session, "vls", frame);
    const { sequence, message } = decodeSignerRequest(frame);
    const type = messageType(message) ?? -1;
    const problem = mayAsk(abilities, dialect.name, type);
    if (problem === null) {
      this.#silence.sent(device, sequence);
      return this.#link.send(session, "vls", frame);
    }
    const answer = answerFor(abilities, dialect.name, type);
    // Once the queue has noted who has it.
    queueMicrotask(() =>
      this.#answerHere(device, { sequence, answer, problem })
    );
    return true;
  }

  /** In place of a device that does not know the request. */
  #answerHere(
    device: Device,
    { sequence, answer: known, problem }: {
      readonly sequence: number;
      readonly answer: Uint8Array | null;
      readonly problem: string;
    },
  ): void {
    const pending = this.#queue.find(device, sequence);
    if (pending === undefined || pending.take !== null) return;
    const answer = known === null
      ? this.#refusal(pending.request, failure(problem))
      : replyWith(known);
    // The device has not seen the number.
    this.#queue.settleUnnumbered(pending, answer);
    this.#active.pump();
    this.#noteWaiting();
  }

  #take(device: Device, name: TopicName, payload: Uint8Array): void {
    switch (name) {
      case "vls-res":
        return this.#takeReply(device, payload);
      case "error":
        return this.#takeError(device, payload);
      case "control-res":
        return this.#controls.take(device, payload);
      default:
        // What of the original protocol nobody uses.
        this.#options.log(
          "debug",
          `${describeDevice(device)}: ${name} left unread`,
        );
    }
  }

  #takeReady(device: Device): void {
    const { current } = this.#options.book;
    if (current !== null) this.#wallet ??= new WalletKeys(current.identity);
    this.#overview.takeReady(device);
    this.#active.takeReady(device);
  }

  #takeReply(device: Device, payload: Uint8Array): void {
    const { sequence, message } = decodeSignerResponse(payload, FRAME_LIMIT);
    const pending = this.#queue.find(device, sequence);
    if (pending === undefined) {
      const text = `${describeDevice(device)}: nobody waits for ${sequence}`;
      return this.#options.log("debug", text);
    }
    if (this.#silence.isPong(device, message)) {
      return this.#takeDropped(device, pending);
    }
    this.#silence.answered(device);
    if (pending.take !== null) return this.#settleIdle(pending, message);
    const answer = this.#answerIn(pending.request, message);
    if (answer === null) {
      const found = messageName(messageType(message));
      const { name } = pending.request.row;
      const reason = `answered ${name} with ${found}`;
      return this.#reception.reject(device.session, reason);
    }
    this.#overview.takeAnswer(pending);
    this.#queue.settle(pending, answer);
    this.#active.pump();
    this.#noteWaiting();
  }

  /** It answers what came after it, so it has failed and said nothing. */
  #takeDropped(device: Device, pending: Pending): void {
    this.#silence.answered(device);
    const error = failure(
      `device ${describeDevice(device)} answers, but has said nothing to ` +
        `this for ${SILENT_MS / 1000} s`,
    );
    if (pending.take !== null) {
      return this.#settleIdle(pending, encodeSignerError(error));
    }
    const answer = this.#refusal(pending.request, error);
    this.#queue.settle(pending, answer);
    this.#active.pump();
    this.#noteWaiting();
  }

  /** What makes a device restart each time is not asked for ever. */
  #dropPoison(device: Device): void {
    const pending = this.#queue.firstOf(device);
    const isPoison = pending !== undefined && pending.take === null &&
      this.#silence.isLastLoss(device, pending.request);
    this.#silence.answered(device);
    if (!isPoison) return;
    const error = failure(
      `device ${
        describeDevice(device)
      } was asked ${MOST_RESTARTS} times, and ` +
        "began anew each time",
    );
    const answer = this.#refusal(pending.request, error);
    this.#queue.settleUnnumbered(pending, answer);
  }

  /** What the device says of the chain is for whoever tells it of that. */
  #settleIdle(
    pending: Pending,
    message: Uint8Array,
    how: { readonly isError?: boolean } = {},
  ): void {
    this.#queue.settleIdle(pending, message, how);
    this.#active.pump();
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
    this.#overview.takeRefusal(request, reason);
    return refusalOf(request, error, reason);
  }

  /** Sphinx devices tell errors aside; the request under way is meant. */
  #takeError(device: Device, payload: Uint8Array): void {
    const { code, text: said } = decodeDeviceError(payload);
    const reason = printable(said);
    const text = `device ${describeDevice(device)} says: ${reason}`;
    this.#logRarely("unusual", text, text);
    this.#overview.takeError({ cid: device.session.cid, code, text: reason });
    const pending = device.dialect === SPHINX
      ? this.#queue.firstOf(device)
      : undefined;
    if (pending === undefined) return;
    this.#silence.answered(device);
    const error = failure(reason);
    if (pending.take !== null) {
      const message = encodeSignerError(error);
      return this.#settleIdle(pending, message, { isError: true });
    }
    const answer = this.#refusal(pending.request, error);
    this.#queue.settleUnnumbered(pending, answer);
    this.#active.pump();
    this.#noteWaiting();
  }

  // ------------------------------------------------------ who is the active

  /** Another device is asked from now on, or none. */
  #takeActive(device: Device | null): void {
    this.#endProof();
    this.#health.forget();
    this.#overview.takeActive(device);
    if (device === null) {
      this.#fees.withdraw();
      this.chain.detach();
    } else {
      this.#tellActive(device);
      this.#proveNode(device);
    }
  }

  /**
   * A server that is not ours let it in without a proof: before it is asked
   * anything else it signs something that nobody could have recorded.
   */
  #proveNode(device: Device): void {
    if (device.session.key !== null) return;
    const challenge = makeChallenge();
    const nodeId = this.#options.book.current?.identity.nodeId;
    if (nodeId === undefined) return;
    // Whoever cannot sign would say nothing, and keep out the one that can.
    const timer = setTimeout(() => {
      const reason = `it did not prove its key within ${PROOF_MS / 1000} s`;
      this.#reception.reject(device.session, reason);
    }, PROOF_MS);
    const asking = new AbortController();
    this.#endProof = () => {
      clearTimeout(timer);
      asking.abort();
    };
    const { signal } = asking;
    const how = { isUrgent: true, signal };
    this.#askOurselves(challenge.message, how).then((answer) => {
      clearTimeout(timer);
      const problem = problemWith(challenge, answer, nodeId);
      if (problem !== null && answer.kind !== "silence") {
        this.#reception.reject(device.session, problem);
      }
    });
  }

  /** Tells the active device what the broker itself has to say. */
  #tellActive(device: Device): void {
    this.#fees.tell(device);
    const { current } = this.#options.book;
    const { network } = this.#reception;
    if (current === null || network === null) return;
    this.chain.attach(device, current.identity, network);
  }

  /** What a device has not answered is somebody else's, or nobody's. */
  #recall(device: Device): void {
    this.#controls.end(device);
    this.#dropPoison(device);
    if (device === this.#active.current) this.#overview.takeLoss();
    this.#active.takeAway(device);
  }

  /** Asks the active device something that nobody but us wants to know. */
  #askOurselves(
    message: Uint8Array,
    { signal = new AbortController().signal, ...options }: {
      readonly isUrgent?: boolean;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<Answer> {
    const row = REQUESTS.sign_message;
    const request = { requester: OURSELVES, row, message, signal };
    return this.#queue.add(request, this.#active.asked, options);
  }

  // -------------------------------------------------- the operator's side

  snapshot(): StatusSnapshot {
    return this.#overview.snapshot({
      active: this.#active.current,
      why: this.#active.why,
      facts: this.#active.facts,
    });
  }

  onChange(listener: () => void): Unsubscribe {
    return this.#overview.onChange(listener);
  }

  onError(listener: (error: DeviceError) => void): Unsubscribe {
    return this.#overview.onError(listener);
  }

  challenge(): Promise<Health> {
    return this.#health.check();
  }

  control(cid: string, envelope: Uint8Array): Promise<ControlOutcome> {
    const device = this.#reception.byCid(cid);
    if (device === null || device.stage !== "ready") {
      return Promise.resolve({ kind: "unknown" });
    }
    // What the broker itself says goes by the same topic.
    if (isBrokerWord(envelope)) {
      const reason = "that is no signed message";
      return Promise.resolve({ kind: "failed", reason });
    }
    return this.#controls.ask(device, envelope);
  }

  async use(
    cid: string,
    { isForced }: { readonly isForced: boolean },
  ): Promise<UseOutcome> {
    const device = this.#reception.byCid(cid);
    if (device === null) return { kind: "unknown" };
    if (device.stage === "connected" || device.stage === "pairing") {
      return { kind: "refused", reason: `${cid} is not let in` };
    }
    const risk = riskOf(memberOf(device), this.#active.facts);
    if (risk !== null && !isForced) return { kind: "refused", reason: risk };
    await this.#active.prefer({ cid, isForced: risk !== null });
    return { kind: "done", text: this.#active.why };
  }

  /** What the chain's follower knows, for whoever looks. */
  get overview(): Overview {
    return this.#overview;
  }

  /** A refused connection; whoever is refused usually comes back at once. */
  refused(from: string, reason: string): void {
    const [host = from] = from.split(/:\d+$/);
    const text = `MQTT connection from ${from} refused: ${reason}`;
    this.metrics.add("remote_hsmd_logins_refused_total", []);
    // A stale token says another age each time; it is the same line.
    this.#logRarely("unusual", `${host} ${reason.replace(/\d+/g, "#")}`, text);
  }

  #logRarely(level: LogLevel, kind: string, text: string): void {
    const line = this.#repeats.filter(kind, text);
    if (line !== null) this.#options.log(level, line);
  }

  /** Keeps the notice in step with what is waited for. */
  #noteWaiting(): void {
    this.#overview.noteChange();
    const isInit = this.#reception.isInitOpen;
    if (this.#queue.size === 0 && !isInit) return this.#waiting.stop();
    if (this.#active.current === null) {
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
    const isHere = this.#reception.devices.some(({ stage }) =>
      stage === "ready"
    );
    const why = isHere ? `; ${this.#active.why}` : "";
    return `waiting for ${whom} on ${address()}: ${what}${more}${waited}${why}`;
  }

  /** The device is there and does not answer: says so once it is long. */
  #slowness(): string | null {
    const { oldest, size } = this.#queue;
    const { current } = this.#active;
    if (oldest === undefined || current === null) return null;
    const age = this.#options.now() - oldest.askedAt;
    if (age < SLOW_MS) return null;
    const more = size > 1 ? ` and ${size - 1} more` : "";
    return `device ${describeDevice(current)} has not answered ` +
      `${oldest.request.row.name}${more} for ${Math.round(age / 1000)} s`;
  }
}

/** A refusal in our own words. */
function failure(reason: string): SignerError {
  const message = new TextEncoder().encode(reason);
  return { code: SIGNER_ERROR_CODES.refused, message };
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
