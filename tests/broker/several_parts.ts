/**
 * Several devices of one node that keep their state in a real storage, on a
 * clock and a line that the test moves: each message of a device is delivered
 * when the test says so, and no timer goes off by itself.
 *
 * What is checked all the while: a device that is asked knows everything that
 * was answered before, and an answer comes from the device that was asked last.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Broker } from "../../src/broker.ts";
import { ActiveBook } from "../../src/broker/active.ts";
import type { CardHeads } from "../../src/broker/card_heads.ts";
import { DeviceBook } from "../../src/broker/devices.ts";
import { OpenPairingBook } from "../../src/broker/pairing.ts";
import { PairingCodes } from "../../src/broker/pairing_codes.ts";
import { PairingDesk } from "../../src/broker/pairing_desk.ts";
import type {
  PutOutcome,
  Storage,
  StorageAuth,
  StorageContent,
} from "../../src/broker/storage.ts";
import { StorageUnavailable } from "../../src/broker/storage.ts";
import { proveCard } from "../../src/mqtt/card_proof.ts";
import type { DeviceSession } from "../../src/mqtt/session.ts";
import type { TopicName } from "../../src/mqtt/topics.ts";
import type { Answer } from "../../src/unixfd.ts";
import { decodeControl, encodeHello } from "../../src/wire/control.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import {
  decodeFromBroker,
  encodeFromDevice,
  type LssEntry,
} from "../../src/wire/lss.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import type { PubKey } from "../../src/wire/types.ts";
import {
  decodeSignerRequest,
  encodeSignerError,
  encodeSignerResponse,
  type SignerRequest,
} from "../../src/wire/vls.ts";
import { StorageClient } from "../support/storage.ts";
import {
  contentOf,
  identityOfSeed,
  INIT,
  initReply,
  LINK_KEY,
  PEER,
  pointRequest,
} from "./fake.ts";
import { keyOf, secretOf } from "./pairing_parts.ts";

const IDENTITY = identityOfSeed(1);
const HEAD = "head";

/** Timers that go off when the test says so. */
export class Clock implements Disposable {
  #now = 1_000_000;
  #next = 1;
  readonly #timers = new Map<number, { at: number; call: () => void }>();
  readonly #real = { set: globalThis.setTimeout, clear: clearTimeout };

  constructor() {
    const set = (call: () => void, ms = 0) => {
      const id = this.#next++;
      this.#timers.set(id, { at: this.#now + ms, call });
      return id;
    };
    Object.assign(globalThis, {
      setTimeout: set,
      clearTimeout: (id: number) => this.#timers.delete(id),
    });
  }

  get now(): number {
    return this.#now;
  }

  /** Lets the next timer go off; false when there is none. */
  advance(): boolean {
    const [first] = [...this.#timers].sort(([, a], [, b]) => a.at - b.at);
    if (first === undefined) return false;
    const [id, { at, call }] = first;
    this.#timers.delete(id);
    this.#now = Math.max(this.#now, at);
    call();
    return true;
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, {
      setTimeout: this.#real.set,
      clearTimeout: this.#real.clear,
    });
  }
}

/** A storage that can be away for a while. */
export class FlakyStorage implements Storage {
  readonly #inner: Storage;
  isAway = false;

  constructor(inner: Storage) {
    this.#inner = inner;
  }

  get revision(): number {
    return this.#inner.revision;
  }

  get turns(): Storage["turns"] {
    return this.#inner.turns;
  }

  serverKey(): Promise<Uint8Array> {
    return this.#inner.serverKey();
  }

  // deno-lint-ignore require-await -- what it throws has to be a rejection
  async get(auth: StorageAuth, nonce: Uint8Array): Promise<StorageContent> {
    this.#check();
    return this.#inner.get(auth, nonce);
  }

  // deno-lint-ignore require-await -- as above
  async put(
    auth: StorageAuth,
    entries: readonly LssEntry[],
    hmac: Uint8Array,
  ): Promise<PutOutcome> {
    this.#check();
    return this.#inner.put(auth, entries, hmac);
  }

  close(): void {
    this.#inner.close();
  }

  #check(): void {
    if (this.isAway) throw new StorageUnavailable("Cannot reach it: away");
  }
}

/** How a device keeps its state, and how it speaks. */
export type Kind = "shared" | "sphinx" | "own";

/** A device that does what it should, one delivered message at a time. */
export class Actor {
  readonly cid: string;
  readonly kind: Kind;
  readonly #node: SeveralNode;
  readonly #card: number;
  session: DeviceSession | null = null;
  /** Answers nothing any more, and stays. */
  isMute = false;
  /** Says no to all that it is asked, and changes nothing. */
  isRefusing = false;
  /** What it has said and nobody has heard. */
  readonly outbox: { name: TopicName; payload: Uint8Array }[] = [];
  /** How much was signed, as far as it knows for sure. */
  known = -1n;
  #waiting: SignerRequest[] = [];
  #storing: SignerRequest[] | null = null;
  #last: { sequence: number; bytes: string } | null = null;
  /** What it was told, the fields of control messages too. */
  readonly heard: string[] = [];
  /** How far its card is; null does not say. */
  generation: bigint | null = null;
  /** A pairing code that it shows in its hello. */
  code: Uint8Array | null = null;
  isRestarting = false;
  /** What it says to init. */
  initReply: Uint8Array = initReply(IDENTITY);

  constructor(node: SeveralNode, number: number, kind: Kind) {
    this.#node = node;
    this.#card = 40 + number;
    this.cid = `d${number}`;
    this.kind = kind;
  }

  /** Which card it is. */
  get card(): string {
    return this.#card.toString(16).padStart(32, "0");
  }

  get cardKey(): string {
    return keyOf(this.#card).toHex();
  }

  connect({ isProved = true }: { readonly isProved?: boolean } = {}): void {
    if (this.session !== null) return;
    const isSealed = this.kind !== "sphinx";
    this.session = {
      cid: this.cid,
      // Null: a server that is not ours let it in.
      key: isProved ? IDENTITY.nodeId : null,
      from: "there",
      isSealed,
      transcript: isSealed ? crypto.getRandomValues(new Uint8Array(32)) : null,
    };
    this.isRestarting = false;
    this.hello();
  }

  hello(): void {
    const { transcript } = this.session ?? {};
    this.#forget();
    if (transcript === undefined) return;
    this.outbox.push({
      name: "hello",
      payload: transcript === null ? new Uint8Array() : encodeHello({
        software: new TextEncoder().encode("actor"),
        cardKey: keyOf(this.#card) as PubKey,
        cardProof: proveCard(secretOf(this.#card), transcript),
        ...(this.kind === "shared" ? { isShared: true } : {}),
        ...(this.generation === null ? {} : {
          generation: this.generation,
          headHash: new Uint8Array(32),
          cardId: Uint8Array.fromHex(this.card),
        }),
        ...(this.code === null ? {} : { pairingCode: this.code }),
      }),
    });
  }

  leave(): void {
    const { session } = this;
    if (session === null) return;
    this.session = null;
    this.outbox.length = 0;
    this.#forget();
    this.#node.broker.gone(session);
  }

  /** Hands the broker what it said first. */
  deliver(): boolean {
    const { session } = this;
    if (this.isMute || session === null) return false;
    const first = this.outbox.shift();
    if (first === undefined) return false;
    this.#node.broker.message(session, first.name, first.payload);
    return true;
  }

  receive(name: TopicName, payload: Uint8Array): void {
    const said = name === "control" ? decodeControl(payload) : null;
    this.heard.push(...said === null ? [name] : Object.keys(said));
    switch (name) {
      case "control":
        return;
      case "init-3-msg": {
        const message = this.initReply;
        const reply = encodeSignerResponse({ sequence: 0, message });
        this.outbox.push({ name: "init-3-res", payload: reply });
        return;
      }
      case "vls":
        return this.#asked(payload);
      default:
        return this.#told(payload);
    }
  }

  #told(payload: Uint8Array): void {
    const message = decodeFromBroker(payload);
    const { auth, sign } = this.#node.client;
    switch (message.kind) {
      case "Init":
        this.#forget();
        return this.#say("init-1-res", {
          kind: "Init",
          value: {
            clientId: auth.clientId,
            authToken: auth.token,
            nonce: crypto.getRandomValues(new Uint8Array(32)),
          },
        });
      case "Created": {
        const head = message.value.muts.find(({ key }) => key === HEAD);
        this.known = head?.version ?? -1n;
        const value = { clientHmac: sign([]), muts: [] };
        return this.#say("init-2-res", { kind: "Created", value });
      }
      case "Stored":
        return this.#stored();
      case "PutConflict":
        this.#forget();
        // Hardware restarts.
        if (this.kind === "sphinx") this.isRestarting = true;
    }
  }

  #asked(payload: Uint8Array): void {
    const request = decodeSignerRequest(payload);
    const { sequence } = request;
    if (typeof contentOf(request) !== "number") return;
    assert.ok(
      this.known >= this.#node.released,
      `${this.cid} is asked and knows ${this.known} of ${this.#node.released}`,
    );
    this.#node.askedLast.set(Number(contentOf(request)), this);
    if (this.kind === "sphinx") this.#checkSequence(sequence, payload);
    if (this.isRefusing) {
      const reason = new TextEncoder().encode("no");
      const message = encodeSignerError({ code: 1, message: reason });
      const payload = encodeSignerResponse({ sequence, message });
      this.outbox.push({ name: "vls-res", payload });
      return;
    }
    if (this.kind === "own") {
      this.known += 1n;
      return this.#answer(request);
    }
    this.#waiting.push(request);
    this.#put();
  }

  #checkSequence(sequence: number, payload: Uint8Array): void {
    const last = this.#last;
    const bytes = payload.toHex();
    const isNext = last === null || sequence === (last.sequence + 1) % 65_536;
    assert.ok(
      isNext || (sequence === last.sequence && bytes === last.bytes),
      `${this.cid} would restart: ${sequence} after ${last?.sequence}`,
    );
    this.#last = { sequence, bytes };
  }

  #put(): void {
    if (this.#storing !== null || this.#waiting.length === 0) return;
    this.#storing = this.#waiting;
    this.#waiting = [];
    this.change();
  }

  /** Has a change stored, asked or not. */
  change(): void {
    const value = crypto.getRandomValues(new Uint8Array(8));
    const muts = [{ key: HEAD, version: this.known + 1n, value }];
    const clientHmac = this.#node.client.sign(muts);
    this.#say("lss-res", { kind: "VlsMuts", value: { clientHmac, muts } });
  }

  #stored(): void {
    const done = this.#storing;
    if (done === null) return;
    this.known += 1n;
    this.#storing = null;
    for (const request of done) this.#answer(request);
    this.#put();
  }

  #answer(request: SignerRequest): void {
    const point = new Uint8Array(33).fill(2, 0, 1);
    const view = new DataView(point.buffer);
    view.setUint32(29, Number(contentOf(request)));
    view.setBigUint64(1, this.known);
    view.setUint8(9, this.#card);
    const message = encodeMessage(REPLIES.get_per_commitment_point_reply, {
      perCommitmentPoint: point as Uint8Array as PubKey,
      oldCommitmentSecret: null,
    });
    const { sequence } = request;
    const payload = encodeSignerResponse({ sequence, message });
    this.outbox.push({ name: "vls-res", payload });
  }

  #say(name: TopicName, message: Parameters<typeof encodeFromDevice>[0]): void {
    this.outbox.push({ name, payload: encodeFromDevice(message) });
  }

  /** What was not acknowledged never was. */
  #forget(): void {
    this.#waiting = [];
    this.#storing = null;
    this.#last = null;
  }

  /** Whether an answer is this device's. */
  isBy(answer: Uint8Array): boolean {
    return answer[2 + 9] === this.#card;
  }
}

/** A broker with several devices. */
export class SeveralNode implements Disposable {
  readonly clock = new Clock();
  readonly storage: FlakyStorage;
  readonly client: StorageClient;
  readonly broker: Broker;
  readonly actors: readonly Actor[];
  readonly devices = DeviceBook.inMemory();
  readonly codes: PairingCodes;
  readonly heads: CardHeads;
  readonly active = ActiveBook.inMemory();
  readonly log: string[] = [];
  /** How much the node was answered. */
  released = -1n;
  /** Who was asked this last. */
  readonly askedLast = new Map<number, Actor>();
  readonly open = new Set<number>();
  #initAnswer: Answer | null = null;
  #asked = 0;

  constructor(inner: Storage, serverKey: Uint8Array, kinds: readonly Kind[]) {
    this.storage = new FlakyStorage(inner);
    const client = new StorageClient(serverKey, new Uint8Array(32).fill(7));
    this.client = client;
    this.client.sign = client.sign.bind(client);
    this.actors = kinds.map((kind, i) => new Actor(this, i, kind));
    const now = () => this.clock.now;
    this.codes = PairingCodes.inMemory(now);
    const book = new OpenPairingBook();
    this.heads = book.heads;
    const desk = new PairingDesk({
      mode: "code",
      book,
      devices: this.devices,
      codes: this.codes,
      now,
      problem: (text) => this.log.push(text),
    });
    const find = (session: DeviceSession) =>
      this.actors.find((actor) => actor.session === session);
    this.broker = new Broker({
      send: (session, name, payload) => {
        const actor = find(session);
        actor?.receive(name, payload);
        return actor !== undefined;
      },
      drop: (session) => queueMicrotask(() => find(session)?.leave()),
      trust: () => {},
    }, {
      book,
      desk,
      active: this.active,
      storage: this.storage,
      pairing: "code",
      self: { linkKey: LINK_KEY, nodeId: null },
      log: (level, text) => this.log.push(`${level} ${text}`),
      tell: () => {},
      now,
      isDeveloper: false,
      tokenWindow: 300,
      address: () => "mqtt://here",
    });
  }

  /** Pairs a device as if its owner had done it. */
  async pair({ kind, cid, cardKey }: Actor): Promise<void> {
    const pairedAt = 0;
    await this.devices.add(
      kind === "sphinx"
        ? { kind, nodeKey: IDENTITY.nodeId.toHex(), pairedAt }
        : { kind: "native", cid, cardKey, software: "actor", pairedAt },
    );
  }

  async unpair({ kind, cardKey }: Actor): Promise<void> {
    const name = kind === "sphinx" ? IDENTITY.nodeId.toHex() : cardKey;
    await this.devices.remove(name);
    this.broker.dropUnpaired();
  }

  /** lightningd's init, and all devices paired. */
  async begin(): Promise<void> {
    for (const actor of this.actors) await this.pair(actor);
    this.#send(INIT, REQUESTS.init).then((answer) => this.#initAnswer = answer);
    await this.settle();
  }

  /** What lightningd heard to its init. */
  get initAnswer(): string {
    return this.#initAnswer?.kind ?? "nothing";
  }

  /** Asks for a channel of its own; checks whose answer it is. */
  ask(): void {
    const n = ++this.#asked;
    this.open.add(n);
    this.#send(pointRequest(n), REQUESTS.get_per_commitment_point, BigInt(n))
      .then((answer) => this.#check(n, answer));
  }

  #check(n: number, answer: Answer): void {
    if (this.askedLast.get(n)?.isRefusing) {
      this.open.delete(n);
      return;
    }
    assert.equal(answer.kind, "reply");
    if (answer.kind !== "reply") return;
    const { message } = answer;
    const view = new DataView(message.buffer, message.byteOffset);
    assert.equal(view.getUint32(2 + 29), n);
    assert.ok(
      this.askedLast.get(n)?.isBy(message),
      `${n} is answered by a device that was not asked last`,
    );
    const version = view.getBigUint64(2 + 1);
    if (version > this.released) this.released = version;
    this.open.delete(n);
  }

  #send(
    message: Uint8Array,
    row: Parameters<Broker["ask"]>[0]["row"],
    dbid = 0n,
  ): Promise<Answer> {
    const { signal } = new AbortController();
    const requester = {
      peerId: PEER,
      dbid,
      permissions: 447n,
      isMaster: dbid === 0n,
    };
    return this.broker.ask({ requester, row, message, signal });
  }

  /** Lets everything that was promised happen. */
  async settle(): Promise<void> {
    for (let i = 0; i < 60; i += 1) await Promise.resolve();
  }

  /** Delivers until nobody says anything more. */
  async quiet(): Promise<void> {
    for (let i = 0; i < 2_000; i += 1) {
      await this.settle();
      const isMoved = this.actors.map((actor) => actor.deliver())
        .some((isMoved) => isMoved);
      if (!isMoved) return;
    }
    assert.fail(`it never becomes quiet: ${this.log.slice(-6).join("; ")}`);
  }

  /** Quiet, and timers, until nothing is open; devices that restart come back. */
  async drain(): Promise<void> {
    const until = this.clock.now + 300_000;
    while (true) {
      await this.quiet();
      const back = this.actors.filter(({ isRestarting }) => isRestarting);
      for (const actor of back) {
        actor.leave();
        actor.connect();
      }
      if (back.length > 0) continue;
      if (this.open.size === 0) return;
      const isGone = this.actors.filter((actor) =>
        actor.session === null && !actor.isMute
      );
      for (const actor of isGone) actor.connect();
      if (isGone.length > 0) continue;
      const isMore = this.clock.advance() && this.clock.now < until;
      assert.ok(isMore, this.#stuck());
    }
  }

  #stuck(): string {
    const { devices, node } = this.broker.snapshot();
    const who = devices.map(({ cid, stage, role, why, revision }) =>
      `${cid} ${stage} ${role} ${revision} ${why ?? ""}`
    );
    return `${this.open.size} requests have nobody; ${who.join("; ")}; ` +
      `${JSON.stringify(this.active.current)} storage ` +
      `${this.storage.revision} ${JSON.stringify(node)}; ` +
      this.log.slice(-8).join("; ");
  }

  /** Who was given a request last. */
  get activeCid(): string | null {
    const { devices } = this.broker.snapshot();
    return devices.find(({ role }) => role === "active")?.cid ?? null;
  }

  [Symbol.dispose](): void {
    this.broker.close();
    this.clock[Symbol.dispose]();
  }
}
