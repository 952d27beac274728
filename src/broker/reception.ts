/**
 * How a connection becomes a device that may be asked: it says hello, is judged,
 * reads the storage where its state is there, hears lightningd's init, and shows
 * keys that must be the node's.
 *
 * | stage | what is awaited |
 * | --- | --- |
 * | connected | its hello |
 * | pairing | its owner's consent |
 * | syncing | that it has read the storage |
 * | greeted | lightningd's init |
 * | initialising | its init reply |
 * | ready | |
 *
 * Before lightningd hears of a device's init reply, its keys are compared with
 * the key that it proved and with the pairing.
 *
 * What it does not do: ask a ready device anything (`../broker.ts`), choose
 * between several (`fleet.ts`).
 *
 * //~ Anybody can connect and say hello; a door is for that. What counts is
 * //~ proved, step by step: a key by the handshake, a card by its signature, the
 * //~ node by the keys in the init reply. lightningd hears of a device only
 * //~ after the last of these, because what it has heard once it does not
 * //~ forget. Next: broker/fleet.ts, for when there are two.
 *
 * @module
 */

import { type Network, networkOf } from "../bitcoin/networks.ts";
import {
  DecodeError,
  describeError,
  IdentityError,
  SIGNER_ERROR_CODES,
} from "../errors.ts";
import { pairingFingerprint } from "../mqtt/fingerprint.ts";
import type { DeviceLink, DeviceSession } from "../mqtt/session.ts";
import type { TopicName } from "../mqtt/topics.ts";
import type { Answer } from "../unixfd.ts";
import {
  decodeCardHead,
  decodeHello,
  encodeControl,
  encodeRefusal,
  type NativeHello,
} from "../wire/control.ts";
import { FRAME_LIMIT } from "../wire/frame.ts";
import { messageName, REPLIES, REQUESTS } from "../wire/hsmd.ts";
import { decodeMessage, messageType } from "../wire/message.ts";
import type { LogLevel } from "../wire/status.ts";
import { NOBODY, type PubKey } from "../wire/types.ts";
import {
  decodeSignerError,
  decodeSignerResponse,
  encodeSignerRequest,
  SIGNER_ERROR_TYPE,
} from "../wire/vls.ts";
import {
  bad,
  initFailure,
  pinVersion,
  printable,
  replyWith,
} from "./answers.ts";
import {
  describeDevice,
  type Device,
  NATIVE,
  newDevice,
  SPHINX,
  standIn,
} from "./device.ts";
import {
  abilitiesIn,
  initFor,
  missingIn,
  problemOfInit,
} from "./negotiation.ts";
import type { NodeSelf } from "./node_self.ts";
import {
  checkIdentity,
  type DeviceIdentity,
  identityIn,
  type PairingBook,
} from "./pairing.ts";
import type { PairingDesk } from "./pairing_desk.ts";
import { InitWait } from "./start_over.ts";
import { ALARM_LED } from "./status.ts";
import type { Storage } from "./storage.ts";
import { StorageSession } from "./storage/session.ts";

/** What the reception works with. */
export interface ReceptionOptions {
  readonly link: DeviceLink;
  readonly desk: PairingDesk;
  readonly book: PairingBook;
  readonly self: NodeSelf;
  /** Where the state of shared devices is; null: they are taken without one. */
  readonly storage: Storage | null;
  /** Its version, where it is known. */
  readonly lightningd: string | null;
  /** `pairing = open`: what is not sealed is taken too. */
  readonly isOpen: boolean;
  readonly now: () => number;
  readonly log: (level: LogLevel, text: string) => void;
  /** The same kind of line is written now and then only. */
  readonly logRarely: (level: LogLevel, kind: string, text: string) => void;
  /** Text for somebody at a terminal, while lightningd does not read its log. */
  readonly tell: (text: string) => void;
}

/** What comes of it. */
export interface ReceptionEvents {
  /** A device may be asked. */
  ready(device: Device): void;
  /** What it was asked has nobody now: it left, or it begins anew. */
  away(device: Device): void;
  /** Whether it is the one that is asked. */
  isActive(device: Device): boolean;
  /** A ready device said something that is not the reception's business. */
  heard(device: Device, name: TopicName, payload: Uint8Array): void;
  /** Something that a status would show is another. */
  changed(): void;
}

/** lightningd's init, and what became of it. */
interface Init {
  readonly message: Uint8Array;
  readonly preinit: Uint8Array | null;
  /** Answers lightningd; null once that was done. */
  answer: ((answer: Answer) => void) | null;
}

const INIT_SEQUENCE = 0;
/** Longest name of a light's state that is kept. */
const LONGEST_LED = 40;
/** All that a device may say before its owner has consented. */
const TO_PAIR: readonly TopicName[] = ["paired", "bye"];
/** What is the business of a device's storage session. */
const TO_STORAGE: readonly TopicName[] = [
  "init-1-res",
  "init-2-res",
  "lss-res",
  "lss-conflict-res",
];

/** All devices that are connected. */
export class Reception {
  readonly #options: ReceptionOptions;
  readonly #events: ReceptionEvents;
  readonly #devices = new Map<DeviceSession, Device>();
  #init: Init | null = null;
  /** Devices are believed one after the other. */
  #welcomes: Promise<void> = Promise.resolve();

  /** Sphinx signers that think about init. */
  readonly #inits: InitWait;

  constructor(options: ReceptionOptions, events: ReceptionEvents) {
    this.#options = options;
    this.#events = events;
    this.#inits = new InitWait({
      send: ({ session }, frame) => options.link.send(session, "vls", frame),
      silent: (device) => {
        const text = `device ${describeDevice(device)} does not answer init, ` +
          "is made to start over";
        options.logRarely("unusual", text, text);
      },
      lost: ({ session }) => this.reject(session, "it does not answer init"),
    });
  }

  /** The one that is here longest first. */
  get devices(): readonly Device[] {
    return [...this.#devices.values()];
  }

  /** The connected device of a client id. */
  byCid(cid: string): Device | null {
    return this.devices.find(({ session }) => session.cid === cid) ?? null;
  }

  /** Whether lightningd waits for the answer to its init. */
  get isInitOpen(): boolean {
    return Boolean(this.#init?.answer);
  }

  /** lightningd's network, once its init came. */
  get network(): Network | null {
    return this.#init === null ? null : networkIn(this.#init.message) ?? null;
  }

  /** lightningd's init came; answered when a device has proved who it is. */
  takeInit(message: Uint8Array, preinit: Uint8Array | null): Promise<Answer> {
    return new Promise((answer) => {
      this.#init = { message, preinit, answer };
      for (const device of this.devices) this.#initialise(device);
      this.#events.changed();
    });
  }

  /** Whether there was one. */
  get hasInit(): boolean {
    return this.#init !== null;
  }

  /** Takes what a device published. */
  message(session: DeviceSession, name: TopicName, payload: Uint8Array): void {
    try {
      const known = this.#devices.get(session);
      if (name === "hello") this.#greet(known ?? this.#meet(session), payload);
      // Whoever did not say who it is has nothing to say.
      else if (known !== undefined) this.#take(known, name, payload);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.reject(session, error.message);
    }
  }

  /** Lets go of devices that are not paired any more. */
  dropUnpaired(): void {
    for (const device of this.devices) {
      const isPaired = this.#options.desk.isStillPaired(device.paired);
      if (!isPaired) this.#refuse(device, "it was unpaired");
    }
  }

  /** A device's connection ended. */
  gone(session: DeviceSession): void {
    const device = this.#devices.get(session);
    if (device === undefined) return;
    this.#devices.delete(session);
    this.#leave(device);
    if (device.stage !== "connected") {
      const text = `device ${describeDevice(device)} disconnected`;
      this.#options.logRarely("info", text, text);
    }
    this.#events.changed();
  }

  /** Ends a connection, and says why in the log. */
  reject(session: DeviceSession, reason: string): void {
    const { cid, from } = session;
    const text = `device ${cid} at ${from} refused: ${reason}`;
    this.#options.logRarely("unusual", `${cid} ${reason}`, text);
    // Not the connection that took its name since.
    if (this.#devices.has(session)) this.#options.link.drop(session);
  }

  /** Ends what devices have with the storage. */
  close(): void {
    for (const { storage } of this.#devices.values()) storage?.end();
    this.#inits.close();
  }

  /** Of one client id the newest connection counts, as for the server. */
  #meet(session: DeviceSession): Device {
    const before = this.byCid(session.cid);
    if (before !== null) this.gone(before.session);
    const device = newDevice(session, this.#options.now());
    this.#devices.set(session, device);
    return device;
  }

  #take(device: Device, name: TopicName, payload: Uint8Array): void {
    // Nor has whoever was not let in.
    if (device.stage === "connected") return;
    if (this.#isPairing(device) && !TO_PAIR.includes(name)) return;
    if (TO_STORAGE.includes(name)) return this.#store(device, name, payload);
    switch (name) {
      case "init-3-res":
        return this.#takeInitReply(device, payload);
      case "card":
        return this.#takeCardHead(device, payload);
      case "led":
        return this.#takeLed(device, payload);
      case "paired":
        return this.#takePaired(device, payload);
      case "bye":
        return this.#options.link.drop(device.session);
      case "error":
        this.#takeError(device);
        return this.#events.heard(device, name, payload);
      default:
        return this.#events.heard(device, name, payload);
    }
  }

  // ------------------------------------------------------------- who it is

  #greet(device: Device, payload: Uint8Array): void {
    const hello = decodeHello(payload);
    device.stage = "connected";
    this.#leave(device);
    device.hello = hello;
    device.dialect = hello === null ? SPHINX : NATIVE;
    device.isStored = this.#options.storage !== null &&
      (hello === null || Boolean(hello.isShared));
    device.stand = standIn(hello);
    if (hello?.software !== undefined) {
      device.software = printable(hello.software);
    }
    this.#sayConnected(device);
    const reason = this.#judge(device);
    if (reason !== null) return this.#refuse(device, reason);
    if (hello !== null) this.#introduce(device, hello);
    if (this.#isPairing(device)) return;
    this.#begin(device);
  }

  /** Why it is not taken; null when it is, or is being paired. */
  #judge(device: Device): string | null {
    const { desk, isOpen, book } = this.#options;
    const { session, hello } = device;
    if (hello !== null && !session.isSealed && !isOpen) {
      return "its link is not sealed, want a softkey that seals it";
    }
    const judged = hello === null
      ? desk.judgeSphinx(session)
      : desk.judge(session, hello);
    if (judged.kind === "refused") return judged.reason;
    if (judged.kind === "pairing") {
      device.stage = "pairing";
      return null;
    }
    device.paired = judged.device;
    this.#options.link.trust(session);
    const isComparable = hello !== null && !hello.isShared;
    return isComparable ? book.heads?.problemOf(device.stand) ?? null : null;
  }

  #isPairing({ stage }: Device): boolean {
    return stage === "pairing";
  }

  #sayConnected(device: Device): void {
    const { session, hello, software } = device;
    const locked = hello?.isLocked ? ", locked" : "";
    this.#options.logRarely(
      "info",
      `${session.cid} connected`,
      `device ${describeDevice(device)} connected from ${session.from}: ` +
        `${software}${locked}`,
    );
  }

  /** Not taken: told to both owners. */
  #refuse(device: Device, reason: string): void {
    device.stage = "connected";
    const { session, hello } = device;
    if (hello !== null) {
      this.#options.link.send(session, "control", encodeRefusal(reason));
    }
    this.reject(session, reason);
  }

  /** Says who this node is: the device's owner pairs with that, or does not. */
  #introduce(device: Device, { isEmpty }: NativeHello): void {
    const { session } = device;
    const { book, self, link, logRarely, tell } = this.#options;
    const nodeId = book.current?.identity.nodeId ?? self.nodeId;
    // A key of ours, and ids that a curve point was checked for before.
    const brokerKey = self.linkKey as PubKey;
    link.send(
      session,
      "control",
      encodeControl({
        brokerKey,
        ...(nodeId === null ? {} : { expectedNode: nodeId as PubKey }),
      }),
    );
    if (!this.#isToCompare(device)) return;
    const fingerprint = pairingFingerprint(brokerKey, session.cid);
    const what = isEmpty ? "is new and asks its owner" : "can be paired";
    const text = `device ${session.cid} ${what}: fingerprint ${fingerprint}, ` +
      "the same on the device's screen";
    logRarely("info", text, text);
    if (this.isInitOpen) tell(text);
  }

  /** Whether somebody has to compare fingerprints: not for a known device. */
  #isToCompare(device: Device): boolean {
    if (this.#isPairing(device)) return true;
    return device.paired === null && this.#options.book.current === null;
  }

  /** Its owner consented. */
  #takePaired(device: Device, code: Uint8Array): void {
    const { desk, link, log } = this.#options;
    const { hello, session } = device;
    if (hello === null || device.stage !== "pairing") return;
    desk.complete(session, hello, code).then((completion) => {
      if (completion.kind === "refused") {
        return this.#refuse(device, completion.reason);
      }
      log("info", `device ${session.cid} is paired: ${device.software}`);
      link.send(session, "control", encodeControl({ isAccepted: true }));
      this.#events.changed();
    }).catch((error) => this.#refuse(device, describeError(error)));
  }

  // ------------------------------------------------------ storage and init

  /** Who is not asked changes nothing: it starts over with what is stored. */
  #store(device: Device, name: TopicName, payload: Uint8Array): void {
    const { storage } = device;
    if (name === "lss-res" && !this.#events.isActive(device)) {
      return this.resync(device);
    }
    storage?.take(name, payload);
  }

  /** Has a device read the storage again before it is asked anything. */
  resync(device: Device): void {
    if (device.storage === null || device.stage === "syncing") return;
    device.stage = "syncing";
    device.storage.resync();
  }

  /** Has it read the storage, where its state is there. */
  #begin(device: Device): void {
    const { storage, link, log } = this.#options;
    if (!device.isStored || storage === null) return this.#goOn(device);
    const { session, dialect } = device;
    device.stage = "syncing";
    device.storage = new StorageSession({
      storage,
      dialect: dialect.name,
      send: (name, payload) => link.send(session, name, payload),
      log,
      describe: () => describeDevice(device),
      synced: () => {
        device.isTroubled = false;
        this.#goOn(device);
      },
      behind: (reason) => this.#fallBehind(device, reason),
      failed: (reason) => {
        device.isTroubled = true;
        this.reject(session, reason);
      },
    });
    device.storage.start();
  }

  #goOn(device: Device): void {
    if (this.#devices.get(device.session) !== device) return;
    device.stage = "greeted";
    this.#initialise(device);
    this.#events.changed();
  }

  /** Another device has signed since: it reads the storage again. */
  #fallBehind(device: Device, reason: string): void {
    const text = `device ${describeDevice(device)} is out of step: ${reason}`;
    this.#options.logRarely("unusual", text, text);
    device.stage = "syncing";
    this.#events.away(device);
  }

  /** Sends lightningd's init, as soon as both are there. */
  #initialise(device: Device): void {
    if (this.#init === null || device.stage !== "greeted") return;
    device.stage = "initialising";
    const { preinit, message } = this.#init;
    if (preinit !== null && device.dialect === NATIVE) {
      this.#sendInit(device, preinit);
    }
    this.#sendInit(device, initFor(device.dialect.name, message));
    if (device.dialect === SPHINX) this.#inits.begin(device);
  }

  /** One that kept running takes init for a message about its storage. */
  #takeError(device: Device): void {
    const hasKeptRunning = device.dialect === SPHINX &&
      device.stage === "initialising" && device.storage?.revision === null;
    if (hasKeptRunning) this.#inits.startOver(device);
  }

  #sendInit({ session }: Device, message: Uint8Array): void {
    const frame = encodeSignerRequest({
      sequence: INIT_SEQUENCE,
      peerId: NOBODY,
      dbid: 0n,
      message,
    });
    this.#options.link.send(session, "init-3-msg", frame);
  }

  #takeInitReply(device: Device, payload: Uint8Array): void {
    if (device.stage !== "initialising" || this.#init === null) return;
    this.#inits.end(device);
    const { message } = decodeSignerResponse(payload, FRAME_LIMIT);
    switch (messageType(message)) {
      case REPLIES.init_reply_failure.type:
        return this.#takeInitFailure(device, message);
      case SIGNER_ERROR_TYPE: {
        const { code, message: words } = decodeSignerError(message);
        const text = printable(words);
        const isBad = code === SIGNER_ERROR_CODES.badRequest;
        this.#sayFailure(device, text);
        return this.#failInit(device, isBad ? bad(text) : initFailure(text));
      }
      default:
        return this.#takeInitSuccess(device, message, this.#init.message);
    }
  }

  #takeInitFailure(device: Device, message: Uint8Array): void {
    const { errorMessage } = decodeMessage(REPLIES.init_reply_failure, message);
    this.#sayFailure(device, printable(errorMessage));
    this.#failInit(device, replyWith(message));
  }

  #sayFailure(device: Device, reason: string): void {
    const text = `device ${describeDevice(device)} cannot start: ${reason}`;
    this.#options.logRarely("unusual", text, text);
  }

  /**
   * lightningd ends by it: only where no other device could do better, and who
   * says so has proved to be one.
   */
  #failInit({ session }: Device, answer: Answer): void {
    if (this.#options.desk.hasSeveral || session.key === null) return;
    this.#answerInit(answer);
  }

  #takeInitSuccess(
    device: Device,
    message: Uint8Array,
    init: Uint8Array,
  ): void {
    const { session } = device;
    const { lightningd, logRarely, tell } = this.#options;
    const name = describeDevice(device);
    const problem = problemOfInit(init, message, name, lightningd);
    if (problem !== null) {
      logRarely("unusual", problem, problem);
      // Older releases do not understand the failure, and say nothing of it.
      if (this.isInitOpen) tell(problem);
      return this.#failInit(device, initFailure(problem));
    }
    if (messageType(message) !== REPLIES.init_reply_v4.type) {
      const found = messageName(messageType(message));
      return this.reject(session, `answered init with ${found}`);
    }
    this.#welcomes = this.#welcomes
      .then(() => this.#welcome(device, message))
      .catch((error) => this.reject(session, describeError(error)));
  }

  /** The device says who it is; lightningd hears it once we believe it. */
  async #welcome(device: Device, message: Uint8Array): Promise<void> {
    const identity = identityIn(message);
    const { book, desk, self, log, logRarely } = this.#options;
    this.#checkKey(device, identity);
    const { current } = book;
    if (current !== null) checkIdentity(current.identity, identity);
    else checkNodeId(self, identity);
    await desk.remember(
      device.session,
      device.hello,
      identity.nodeId.toHex(),
    );
    device.paired ??= desk.pairedAs(
      device.session,
      device.hello,
      identity.nodeId.toHex(),
    );
    if (current === null) {
      await book.store({ identity, cardKeys: [] });
      log("info", `paired with ${identity.nodeId.toHex()} (${book.place})`);
    }
    // It may have gone while the pairing was stored.
    const isHere = this.#devices.get(device.session) === device;
    if (!isHere || device.stage !== "initialising") return;
    device.abilities = abilitiesIn(message);
    device.stage = "ready";
    const missing = missingIn(device.abilities, describeDevice(device));
    if (missing !== null) logRarely("info", missing, missing);
    this.noteStand(device);
    this.#events.ready(device);
    this.#answerInit(replyWith(message));
  }

  /** A device may only speak for the key that it proved. */
  #checkKey({ session }: Device, identity: DeviceIdentity): void {
    const found = identity.nodeId.toHex();
    const wanted = session.key?.toHex() ?? null;
    if (wanted === null) {
      if (this.#options.desk.mayBe(found)) return;
      throw new IdentityError(
        `Cannot use this device: its node id is ${found}, want one that is ` +
          "paired (remote_hsmd_mqtt pair --device)",
      );
    }
    if (found === wanted) return;
    throw new IdentityError(
      `Cannot use this device: its node id is ${found}, it logged in as ` +
        wanted,
    );
  }

  #answerInit(answer: Answer): void {
    const init = this.#init;
    if (init === null || init.answer === null) return;
    init.answer(answer);
    const message = answer.kind === "reply"
      ? pinVersion(init.message, answer.message)
      : init.message;
    this.#init = { ...init, message, answer: null };
    this.#events.changed();
  }

  // ------------------------------------------------------ what it tells of

  /** A device's light changed: kept for who asks, and in the log. */
  #takeLed(device: Device, payload: Uint8Array): void {
    device.led = printable(payload).slice(0, LONGEST_LED);
    this.#events.changed();
    const text = `device ${describeDevice(device)} shows ${device.led}`;
    if (device.led !== ALARM_LED) return this.#options.log("debug", text);
    this.#options.logRarely("unusual", text, text);
  }

  /** A device committed: remembered, once we believe who it is. */
  #takeCardHead(device: Device, payload: Uint8Array): void {
    const { generation, hash } = decodeCardHead(payload);
    if (device.stand === null) return;
    device.stand = { ...device.stand, generation, hash: hash.toHex() };
    if (device.stage === "ready") this.noteStand(device);
  }

  /** Remembers how far a card is that nobody else remembers. */
  noteStand({ stand, hello }: Device): void {
    const { heads } = this.#options.book;
    if (stand === null || heads === undefined || hello?.isShared) return;
    heads.note(stand);
    const { problem } = heads;
    if (problem === null) return;
    const text = `cannot remember how far the device's card is: ${problem}`;
    this.#options.logRarely("unusual", text, text);
  }

  #leave(device: Device): void {
    this.#inits.end(device);
    device.storage?.end();
    device.storage = null;
    device.abilities = null;
    this.#events.away(device);
  }
}

/** The network of lightningd's init. */
export function networkIn(init: Uint8Array): Network | undefined {
  return networkOf(decodeMessage(REQUESTS.init, init).chainparams);
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
