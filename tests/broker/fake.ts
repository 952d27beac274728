/**
 * A broker without a network: fake devices on a fake link, requests made by
 * hand, and everything that was sent or logged at hand for a test.
 *
 * @module
 */

import { Broker, type BrokerOptions } from "../../src/broker.ts";
import { DeviceBook } from "../../src/broker/devices.ts";
import {
  type DeviceIdentity,
  OpenPairingBook,
  type PairingBook,
} from "../../src/broker/pairing.ts";
import { PairingCodes } from "../../src/broker/pairing_codes.ts";
import {
  PairingDesk,
  type PairingMode,
} from "../../src/broker/pairing_desk.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import {
  deriveNodeIdentity,
  makeSecretFile,
  openSecretFile,
  parseSecretFile,
} from "../../src/keyderiv.ts";
import type { DeviceLink, DeviceSession } from "../../src/mqtt/session.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";
import type { Answer } from "../../src/unixfd.ts";
import {
  decodeControl,
  encodeHello,
  type NativeControl,
} from "../../src/wire/control.ts";
import { REPLIES, requestRow, REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage, messageType } from "../../src/wire/message.ts";
import { NOBODY, type NodeId, type PubKey } from "../../src/wire/types.ts";
import {
  decodeSignerRequest,
  encodeSignerError,
  encodeSignerResponse,
  type SignerRequest,
} from "../../src/wire/vls.ts";
import { initFor } from "../support/init.ts";

/** A peer of channels. */
export const PEER = Uint8Array.fromHex("02" + "11".repeat(32)) as
  & Uint8Array
  & NodeId;

const identities = new Map<number, DeviceIdentity>();

/** What a device with this seed says about itself. */
export function identityOfSeed(seed: number): DeviceIdentity {
  const known = identities.get(seed) ?? deriveIdentity(seed);
  identities.set(seed, known);
  return known;
}

function deriveIdentity(seed: number): DeviceIdentity {
  const file = parseSecretFile(makeSecretFile(new Uint8Array(16).fill(seed)));
  const secret = openSecretFile(file, { passphrase: undefined });
  const { nodeId, bip32Base, bip86Base, bolt12 } = deriveNodeIdentity(
    secret,
    NETWORKS.regtest.bip32,
  );
  return { nodeId, bip32: bip32Base, bip86: bip86Base, bolt12 };
}

/** lightningd's init on regtest. */
export const INIT: Uint8Array = initFor();

/** The init reply of a device that is who it says. */
export function initReply(identity: DeviceIdentity): Uint8Array {
  const { nodeId, bip32, bip86, bolt12 } = identity;
  return encodeMessage(REPLIES.init_reply_v4, {
    hsmVersion: 6,
    hsmCapabilities: [13, 28],
    nodeId: Uint8Array.from(nodeId) as Uint8Array as NodeId,
    bip32,
    bolt12: Uint8Array.from(bolt12) as Uint8Array as PubKey,
    tlvs: bip86 === null ? {} : { hsmSecretType: 2, bip86Base: bip86 },
  });
}

/** A request for a commitment point: each `n` is another request. */
export function pointRequest(n: number): Uint8Array {
  return encodeMessage(REQUESTS.get_per_commitment_point, { n: BigInt(n) });
}

/** Its reply; says which `n` it answers. */
export function pointReply(n: number): Uint8Array {
  const point = new Uint8Array(33).fill(2, 0, 1);
  new DataView(point.buffer).setUint32(29, n);
  return encodeMessage(REPLIES.get_per_commitment_point_reply, {
    perCommitmentPoint: point as Uint8Array as PubKey,
    oldCommitmentSecret: null,
  });
}

/** The `n` in a point request's frame, or what else the frame carries. */
export function contentOf({ message }: SignerRequest): number | string {
  if (messageType(message) !== REQUESTS.get_per_commitment_point.type) {
    return requestRow(messageType(message) ?? -1)?.name ?? "unknown";
  }
  return Number(
    new DataView(message.buffer, message.byteOffset).getBigUint64(2),
  );
}

/** Lets everything that was promised happen; nothing here waits for I/O. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}

/** What a fake broker is made with. */
export interface FakeOptions {
  readonly book?: PairingBook;
  readonly isDeveloper?: boolean;
  readonly tokenWindow?: number;
  readonly now?: () => number;
  /** Node id in lightningd's database. */
  readonly nodeId?: Uint8Array;
  readonly pairing?: PairingMode;
  readonly devices?: DeviceBook;
  readonly later?: BrokerOptions["later"];
}

/** What devices know the fake node by: the curve's generator. */
export const LINK_KEY: Uint8Array = Uint8Array.fromHex(
  "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
);

/** A broker with its fake surroundings. */
export class FakeNode implements Disposable {
  readonly broker: Broker;
  readonly log: string[] = [];
  readonly devices: FakeDevice[] = [];

  constructor(options: FakeOptions = {}) {
    const find = (session: DeviceSession) =>
      this.devices.find((device) => device.session === session);
    const link: DeviceLink = {
      send: (session, name, payload) =>
        find(session)?.receive(name, payload) ?? false,
      drop: (session) => find(session)?.leave(),
      trust: () => {},
    };
    const book = options.book ?? new OpenPairingBook();
    const now = options.now ?? (() => 0);
    const { pairing = "first", devices = DeviceBook.inMemory() } = options;
    const desk = new PairingDesk({
      mode: pairing,
      book,
      devices,
      codes: PairingCodes.inMemory(now),
      now,
      problem: (text) => this.log.push(text),
    });
    this.broker = new Broker(link, {
      book,
      desk,
      pairing,
      self: { linkKey: LINK_KEY, nodeId: options.nodeId ?? null },
      log: (level, text) => this.log.push(`${level} ${text}`),
      tell: () => {},
      now,
      isDeveloper: options.isDeveloper ?? false,
      tokenWindow: options.tokenWindow ?? 300,
      ...(options.later === undefined ? {} : { later: options.later }),
      address: () => "mqtt://here",
    });
  }

  /** Connects a device; it says nothing yet. */
  connect(
    { seed = 1, cid = "aa", key }: {
      readonly seed?: number;
      readonly cid?: string;
      readonly key?: Uint8Array;
    } = {},
  ): FakeDevice {
    const identity = identityOfSeed(seed);
    const device = new FakeDevice(this.broker, identity, {
      cid,
      key: key ?? identity.nodeId,
      from: "there",
      isSealed: true,
      transcript: new Uint8Array(32),
    });
    this.devices.push(device);
    return device;
  }

  /** Asks as lightningd, or for a channel. */
  ask(
    message: Uint8Array,
    { dbid = 0n, signal }: {
      readonly dbid?: bigint;
      readonly signal?: AbortSignal;
    } = {},
  ): Promise<Answer> {
    const row = requestRow(messageType(message) ?? -1);
    if (row === undefined) throw new Error("Not a request");
    const isMaster = dbid === 0n;
    return this.broker.ask({
      requester: {
        peerId: isMaster ? NOBODY : PEER,
        dbid,
        permissions: isMaster ? 1027n : 447n,
        isMaster,
      },
      row,
      message,
      signal: signal ?? new AbortController().signal,
    });
  }

  /** A node whose init was answered by a device, which it returns. */
  async start(
    options: { readonly isSphinx?: boolean; readonly seed?: number } = {},
  ): Promise<FakeDevice> {
    const answer = this.ask(INIT);
    const device = this.connect(options);
    await device.serve(options);
    await answer;
    return device;
  }

  [Symbol.dispose](): void {
    this.broker.close();
  }
}

/** A device that does what the test tells it. */
export class FakeDevice {
  readonly session: DeviceSession;
  readonly identity: DeviceIdentity;
  readonly #broker: Broker;
  /** Requests that arrived on `vls`, in order. */
  readonly requests: SignerRequest[] = [];
  /** Messages that arrived on `init-3-msg`, in order. */
  readonly inits: Uint8Array[] = [];
  /** What the broker said on `control`, in order. */
  readonly controls: (NativeControl | null)[] = [];
  isHere = true;

  constructor(
    broker: Broker,
    identity: DeviceIdentity,
    session: DeviceSession,
  ) {
    this.#broker = broker;
    this.identity = identity;
    this.session = session;
  }

  receive(name: TopicName, payload: Uint8Array): boolean {
    if (!this.isHere) return false;
    if (name === "control") {
      this.controls.push(decodeControl(payload));
      return true;
    }
    const request = decodeSignerRequest(payload);
    if (name === "vls") this.requests.push(request);
    else this.inits.push(request.message);
    return true;
  }

  publish(name: TopicName, payload: Uint8Array): void {
    this.#broker.message(this.session, name, payload);
  }

  hello({ isSphinx = false }: { readonly isSphinx?: boolean } = {}): void {
    const software = new TextEncoder().encode("fake");
    this.publish(
      "hello",
      isSphinx ? new Uint8Array() : encodeHello({ software }),
    );
  }

  answerInit(message: Uint8Array = initReply(this.identity)): void {
    this.publish("init-3-res", encodeSignerResponse({ sequence: 0, message }));
  }

  /** Says hello and answers init: from now on it is given requests. */
  async serve(options: { readonly isSphinx?: boolean } = {}): Promise<void> {
    this.hello(options);
    await settle();
    this.answerInit();
    await settle();
  }

  reply(sequence: number, message: Uint8Array): void {
    this.publish("vls-res", encodeSignerResponse({ sequence, message }));
  }

  /** Answers the request for a point that came as number `at`. */
  answerPoint(at: number): void {
    const request = this.requests[at];
    if (request === undefined) throw new Error(`No request ${at}`);
    this.reply(request.sequence, pointReply(Number(contentOf(request))));
  }

  fail(sequence: number, code: number, text: string): void {
    const message = new TextEncoder().encode(text);
    this.reply(sequence, encodeSignerError({ code, message }));
  }

  /** Its connection ends. */
  leave(): void {
    if (!this.isHere) return;
    this.isHere = false;
    this.#broker.gone(this.session);
  }

  /** Contents of the requests that it was given. */
  get contents(): (number | string)[] {
    return this.requests.map(contentOf);
  }

  get sequences(): number[] {
    return this.requests.map(({ sequence }) => sequence);
  }
}
