/**
 * A storage server in memory, and cards of one seed whose signer is simple enough
 * to be a model: it signs each number of a channel once.
 *
 * @module
 */

import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { keyPairOf } from "../../../src/bitcoin/keys.ts";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import {
  readCardState,
  sharingChange,
  standingChange,
} from "../../../src/device/card_state.ts";
import { Desk, type Served } from "../../../src/device/desk.ts";
import {
  deriveSharedKeys,
  type SharedKeys,
  Sharing,
} from "../../../src/device/shared/sharing.ts";
import type { TopicName } from "../../../src/mqtt/topics.ts";
import {
  createSigner,
  type SignerInput,
  type SignerState,
  type Step,
  step,
} from "../../../src/signer/handle.ts";
import { freshPayment } from "../../../src/signer/memory.ts";
import { MemoryDisk, type MemoryStore } from "../../../src/store/memory.ts";
import type { Change } from "../../../src/store/store.ts";
import { REQUESTS } from "../../../src/wire/hsmd.ts";
import {
  decodeFromDevice,
  encodeFromBroker,
  type LssEntry,
} from "../../../src/wire/lss.ts";
import {
  lssMac,
  PUT_NONCE,
  sharedSecret,
  STORED_NONCE,
} from "../../../src/wire/lss_mac.ts";
import { messageType } from "../../../src/wire/message.ts";
import { type Msat, NOBODY, type Sha256 } from "../../../src/wire/types.ts";
import { encodeSignerError, SIGNER_ERROR_TYPE } from "../../../src/wire/vls.ts";
import { INIT } from "../../broker/fake.ts";

/** The seed of all cards here. */
export const SEED = new Uint8Array(32).fill(7);

/** The keys of {@link SEED}. */
export const KEYS: SharedKeys = deriveSharedKeys({ seed: new Secret(SEED) });

/** Who a server is, and what it shares with its client. */
export interface ServerKeys {
  readonly point: Uint8Array;
  readonly shared: Secret;
}

const OWN = keyPairOf(new Secret(new Uint8Array(32).fill(0x11)));
const OWN_KEYS: ServerKeys = {
  point: OWN.point,
  shared: sharedSecret(OWN.secret, KEYS.storage.point),
};

/** A Lightning Storage Server: versions rise by one, or nothing is stored. */
export class FakeServer {
  readonly point: Uint8Array;
  readonly #shared: Secret;
  entries = new Map<string, LssEntry>();
  puts = 0;

  /** With a key of its own, and {@link KEYS} at the other end, unless given. */
  constructor(keys: ServerKeys = OWN_KEYS) {
    this.point = keys.point;
    this.#shared = keys.shared;
  }

  /** Sorted by key. */
  get all(): readonly LssEntry[] {
    return [...this.entries.values()].sort((a, b) => a.key < b.key ? -1 : 1);
  }

  get(nonce: Uint8Array): Uint8Array {
    const serverHmac = lssMac(this.#shared, nonce, this.all);
    const value = { serverHmac, muts: this.all };
    return encodeFromBroker({ kind: "Created", value });
  }

  /** The MAC, or null for a conflict. */
  put(entries: readonly LssEntry[], hmac: Uint8Array): Uint8Array | null {
    const wanted = lssMac(this.#shared, PUT_NONCE, entries);
    assert.equal(hmac.toHex(), wanted.toHex());
    const isSorted = entries.every(({ key }, i) => {
      const before = entries[i - 1];
      return before === undefined || before.key < key;
    });
    assert.ok(isSorted, "entries are sorted");
    const fits = entries.every(({ key, version }) =>
      version === (this.entries.get(key)?.version ?? -1n) + 1n
    );
    if (!fits) return null;
    for (const entry of entries) this.entries.set(entry.key, entry);
    this.puts += 1;
    return lssMac(this.#shared, STORED_NONCE, entries);
  }

  /** What a broker that carries to this server would answer; null: nothing. */
  answer(name: TopicName, payload: Uint8Array): Message | null {
    const message = decodeFromDevice(payload);
    if (name === "init-1-res" && message.kind === "Init") {
      const { nonce } = message.value;
      assert.ok(nonce !== null, "every dance has a nonce of its own");
      return { name: "init-2-msg", payload: this.get(nonce) };
    }
    if (name === "lss-res" && message.kind === "VlsMuts") {
      const { muts, clientHmac } = message.value;
      return this.#stored(this.put(muts, clientHmac));
    }
    return name === "lss-conflict-res" ? this.hello() : null;
  }

  #stored(serverHmac: Uint8Array | null): Message {
    if (serverHmac === null) {
      const payload = encodeFromBroker({ kind: "PutConflict" });
      return { name: "lss-conflict", payload };
    }
    const value = { serverHmac, muts: [] };
    const payload = encodeFromBroker({ kind: "Stored", value });
    return { name: "lss-msg", payload };
  }

  /** What begins the dance. */
  hello(key: Uint8Array = this.point): Message {
    const value = { serverPubkey: key };
    const payload = encodeFromBroker({ kind: "Init", value });
    return { name: "init-1-msg", payload };
  }
}

/** A message on the line. */
export interface Message {
  readonly name: TopicName;
  readonly payload: Uint8Array;
}

/** One signature: number n of a channel, of transaction t. */
export interface Move {
  readonly channel: number;
  readonly n: number;
  readonly t: number;
}

const hashOf = (channel: number) =>
  // A number made into a hash, for the key of its row.
  new Uint8Array(32).fill(0xc0 + channel) as Sha256;

/** The request for a move. */
export function requestOf({ channel, n, t }: Move): SignerInput {
  const message = new Uint8Array(8);
  const view = new DataView(message.buffer);
  view.setUint16(0, REQUESTS.sign_remote_commitment_tx.type);
  view.setUint8(2, channel);
  view.setUint32(3, n);
  view.setUint8(7, t);
  return { peerId: NOBODY, dbid: BigInt(channel + 1), message };
}

/** What a card knows of a channel: the last number and its transaction. */
export function lastOf(
  state: SignerState,
  channel: number,
): Omit<Move, "channel"> {
  const record = state.memory.payment(hashOf(channel));
  if (record === null) return { n: -1, t: -1 };
  const settled = Number(record.settled);
  return { n: Math.floor(settled / 256) - 1, t: settled % 256 };
}

/** Signs the next number, or the last one again if it is the same. */
function modelStep(state: SignerState, input: SignerInput): Step {
  const view = new DataView(input.message.buffer, input.message.byteOffset);
  const channel = view.getUint8(2);
  const n = view.getUint32(3);
  const t = view.getUint8(7);
  const last = lastOf(state, channel);
  const nothing = { state, effects: [], writes: [] };
  if (n === last.n && t === last.t) return { ...nothing, reply: signed(n, t) };
  if (n !== last.n + 1) {
    const message = new TextEncoder().encode("another was signed");
    return { ...nothing, reply: encodeSignerError({ code: 403, message }) };
  }
  const hash = hashOf(channel);
  // Number and transaction in the place of an amount.
  const settled = BigInt((n + 1) * 256 + t) as Msat;
  const record = { ...freshPayment(hash), settled };
  const writes = [{ kind: "payment", hash, record }] as const;
  return { ...nothing, writes, reply: signed(n, t) };
}

function signed(n: number, t: number): Uint8Array {
  return Uint8Array.of(0, 112, n, t);
}

/** Whether an answer is a signature. */
export function isSigned(reply: Uint8Array | null): boolean {
  return reply !== null && messageType(reply) !== SIGNER_ERROR_TYPE;
}

/** A card that has met no server. */
const NEW = { serverKey: null, isClean: false };

/** How a card starts. */
export interface CardSetting {
  readonly disk?: MemoryDisk;
  readonly isRestored?: boolean;
  readonly limit?: number;
  /** Not shared unless it says so already. */
  readonly changes?: readonly Change[];
}

/** A card with a desk, and what it has said on the line. */
export class TestCard {
  readonly disk: MemoryDisk;
  readonly id: Uint8Array;
  readonly out: Message[] = [];
  readonly said: string[] = [];
  readonly #setting: CardSetting;
  #store: MemoryStore & { readonly id: Uint8Array };
  desk: Desk;
  sharing: Sharing;

  constructor(setting: CardSetting = {}) {
    this.#setting = setting;
    this.disk = setting.disk ?? new MemoryDisk();
    this.id = new Uint8Array(randomBytes(16));
    const store = this.disk.open();
    const isNew = store.head.generation === 0n;
    const standing = {
      kind: "restored",
      generation: 0n,
      at: 0n,
    } as const;
    store.commit([
      ...(setting.changes ?? []),
      ...(isNew ? [sharingChange(NEW)] : []),
      ...(setting.isRestored === true ? [standingChange(standing)] : []),
    ]);
    store.close();
    [this.#store, this.desk, this.sharing] = this.#start();
  }

  get store(): MemoryStore {
    return this.#store;
  }

  #start() {
    const store = Object.assign(this.disk.open(), { id: this.id });
    const network = NETWORKS.regtest;
    const { limit } = this.#setting;
    const state = readCardState(store, network);
    const { memory, tail, node, standing } = state;
    const signer = createSigner({
      secretFile: SEED,
      network,
      isDeveloper: false,
      memory,
    });
    const desk = new Desk({
      signer,
      step: (state, input, now) =>
        messageType(input.message) === REQUESTS.init.type
          ? step(state, input, now)
          : modelStep(state, input),
      store,
      memory,
      tail,
      node,
      approver: { ask: () => Promise.resolve(false) },
      standing,
      say: (line) => this.said.push(line),
      now: () => 0,
    });
    const sharing = new Sharing({
      keys: KEYS,
      store,
      sharing: state.sharing ?? NEW,
      isRestored: standing?.kind === "restored",
      renew: () => desk.renew(readCardState(store, network)),
      say: (line) => this.said.push(line),
      random: (size) => new Uint8Array(randomBytes(size)),
      now: () => 0,
      ...(limit === undefined ? {} : { limit }),
    });
    desk.serve({ peerId: NOBODY, dbid: 0n, message: INIT });
    return [store, desk, sharing] as const;
  }

  /** Loses power, and starts again. */
  restart(): void {
    this.disk.cutPower();
    this.out.length = 0;
    [this.#store, this.desk, this.sharing] = this.#start();
  }

  /** Hears a message. */
  hear({ name, payload }: Message): void {
    this.sharing.take(name, payload, (name, payload) => {
      this.out.push({ name, payload });
    });
  }

  /** Asks for a signature; `answer` hears it when it leaves. */
  ask(input: SignerInput, answer: (reply: Uint8Array | null) => void): void {
    if (!this.sharing.mayServe("vls-res")) return;
    const served: Served | Promise<Served> = this.desk.serve(input);
    assert.ok(!(served instanceof Promise));
    this.sharing.release(
      messageType(input.message),
      () => answer(served.reply),
    );
  }

  /** Carries everything to and fro until nobody says anything more. */
  carry(server: FakeServer): void {
    for (;;) {
      const message = this.out.shift();
      if (message === undefined) return;
      const answer = server.answer(message.name, message.payload);
      if (answer !== null) this.hear(answer);
    }
  }

  /** The whole dance. */
  dance(server: FakeServer): void {
    this.hear(server.hello());
    this.carry(server);
  }

  /** Asks, carries, and returns what left. */
  sign(server: FakeServer, move: Move): Uint8Array | null {
    const left: (Uint8Array | null)[] = [];
    this.ask(requestOf(move), (reply) => left.push(reply));
    this.carry(server);
    return left[0] ?? null;
  }
}
