/**
 * One of several cards of a node: kept in step with the others by a storage
 * server, through the broker (sphinx-key.md 3).
 *
 * ```
 * broker            card
 *   init-1-msg  ->        the server's key: pinned the first time
 *   <-  init-1-res        who we are, a token, a new nonce
 *   init-2-msg  ->        all entries, MAC over our nonce: always verified
 *   <-  init-2-res        nothing: what the server lacks goes with the first answer
 *   init-3-msg  ->        init, as ever
 *   vls         ->        judged and committed here; its answer waits
 *   <-  lss-res           put: all that was committed and not stored yet
 *   lss-msg     ->        MAC over that very put: written down, then
 *   <-  vls-res           the answers that waited for it, in order
 *   lss-conflict ->       another card was faster: what waits is not answered
 * ```
 *
 * One put is under way at a time; what is committed meanwhile goes with the next.
 * Requests are judged all the while, of every connection. An answer waits for all
 * that was committed before it, its own changes or not; the answers that say the
 * same whatever was signed ({@link TIMELESS}) go at once.
 *
 * An init-1-msg at any time begins anew, with a new nonce: whoever asks again
 * gets what a card that has just started would answer.
 *
 * A card that does not serve pushes nothing: it would only take the turn of the
 * one that does. So the answer to init-2-msg carries nothing, and what the server
 * lacks goes as a put whose MAC is told to us, which that answer's is not.
 *
 * Who can do what, with several cards of one seed:
 *
 * | whoever runs | can | cannot |
 * | --- | --- | --- |
 * | the MQTT server | drop | anything else, inside the sealed link |
 * | the node, storage elsewhere, its key pinned | withhold, delay, repeat a whole put that we made | read, change, mix, show a card less than it saw |
 * | the node and the storage beside it | all of that, and show each card the state of another day | read, change, mix, show a card less than that card saw |
 *
 * The last row is the reason to keep the storage elsewhere (`lss_url`): a node's
 * host that has been taken over can show card A everything and card B what A had
 * stored yesterday; both know of nothing newer, B signs another commitment of a
 * number that A has signed, and the channel is lost. One card alone is safe from
 * that, as it knows what was acknowledged to it. A server whose key the host does
 * not have answers each card, over that card's fresh nonce, with the newest
 * state. One condition: it has to take nonces of 32 bytes only. The protocol's
 * MACs put no length between nonce and entries, so that a server that takes any
 * nonce makes, for whoever has the token, the MAC over any entries at all.
 *
 * What it does not do: decide whose state goes on (`merge.ts`); judge requests.
 *
 * @module
 */

import type { KeyPair } from "../../bitcoin/keys.ts";
import { describeError } from "../../errors.ts";
import { isEqualConstantTime, Secret } from "../../crypto/secret.ts";
import { LONG_NONCE_SIZE } from "../../crypto/xchacha.ts";
import { deriveStorageKey } from "../../keyderiv/storage_key.ts";
import type { NodeSecret } from "../../keyderiv/secret_file.ts";
import type { TopicName } from "../../mqtt/topics.ts";
import type { Change, StoredValue, WatchedStore } from "../../store/store.ts";
import { REQUESTS } from "../../wire/hsmd.ts";
import {
  decodeFromBroker,
  encodeFromDevice,
  type LssFromBroker,
} from "../../wire/lss.ts";
import {
  authToken,
  lssMac,
  PUT_NONCE,
  sharedSecret,
  STORED_NONCE,
} from "../../wire/lss_mac.ts";
import { SIGNER_MESSAGES } from "../../wire/vls.ts";
import {
  type CardSharing,
  sharingChange,
  standingChange,
} from "../card_state.ts";
import { newLine } from "../ledger.ts";
import type { Publish } from "../link.ts";
import { OwnerError } from "../owner_error.ts";
import { deriveEntryKey, openEntry, sealEntry } from "./entries.ts";
import { type Merge, merge, NotNow, openStored, type Stored } from "./merge.ts";
import {
  bookChanges,
  isEqual,
  isSharedKey,
  isSignersKey,
  preparePut,
  type Put,
  putChanges,
  SlotBook,
  unacknowledged,
} from "./slots.ts";

/** What all cards of a seed have. */
export interface SharedKeys {
  /** Who they are to the server. */
  readonly storage: KeyPair;
  /** What their entries are sealed with. */
  readonly entry: Secret;
}

/** The keys of a seed. */
export function deriveSharedKeys(
  { seed }: Pick<NodeSecret, "seed">,
): SharedKeys {
  return { storage: deriveStorageKey(seed), entry: deriveEntryKey(seed) };
}

/** What a shared card works with. */
export interface SharingOptions {
  readonly keys: SharedKeys;
  readonly store: WatchedStore & { readonly id: Uint8Array };
  /** What the card knows of the server. */
  readonly sharing: CardSharing;
  readonly isRestored: boolean;
  /** Everything on the card is another now: it is read anew. */
  readonly renew: () => void;
  /** One line to the owner. */
  readonly say: (text: string) => void;
  /** Random bytes, fit for nonces. */
  readonly random: (size: number) => Uint8Array;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** For tests: how many bytes a put has at most, but for its last value. */
  readonly limit?: number;
}

/** Brokers of Sphinx take packets of 256 KiB. */
const PUT_LIMIT = 128 * 1024;
const NONCE_SIZE = 32;

/**
 * Requests that change nothing that is shared, and whose answers are the same
 * whatever was signed before.
 */
const TIMELESS: ReadonlySet<number> = new Set(
  [
    REQUESTS.dev_preinit,
    REQUESTS.init,
    REQUESTS.dev_memleak,
    SIGNER_MESSAGES.ping,
    SIGNER_MESSAGES.node_info,
    SIGNER_MESSAGES.fee_reference,
    REQUESTS.ecdh_req,
    REQUESTS.get_channel_basepoints,
    REQUESTS.get_output_scriptpubkey,
    REQUESTS.derive_secret,
    REQUESTS.check_pubkey,
    REQUESTS.check_bip86_pubkey,
    REQUESTS.sign_message,
    REQUESTS.bip137_sign_message,
    REQUESTS.cupdate_sig_req,
    REQUESTS.node_announcement_sig_req,
  ].map(({ type }) => type),
);

/** What the broker says about storage. */
const NAMES: ReadonlySet<TopicName> = new Set<TopicName>([
  "init-1-msg",
  "init-2-msg",
  "lss-msg",
  "lss-conflict",
]);

type Everything = (LssFromBroker & { readonly kind: "Created" })["value"];

/** Where the dance is. */
type Phase =
  /** Nothing may be served. */
  | { readonly kind: "out" }
  /** We have asked for everything. */
  | {
    readonly kind: "asked";
    readonly session: Session;
    readonly nonce: Uint8Array;
  }
  /** The card is where the server is. */
  | {
    readonly kind: "in";
    readonly session: Session;
    readonly isFrozen: boolean;
  };

interface Session {
  readonly serverKey: Uint8Array;
  readonly shared: Secret;
  readonly publish: Publish;
}

interface Waiting {
  /** Leaves when all that was committed before this is stored. */
  readonly mark: number;
  readonly send: () => void;
}

interface UnderWay {
  readonly put: Put;
  /** What the server has to answer. */
  readonly mac: Uint8Array;
  /** All commits up to this one are in it; null: it is a part only. */
  readonly mark: number | null;
}

const OUT: Phase = { kind: "out" };

/** A card that is one of several. */
export class Sharing {
  readonly #options: SharingOptions;
  #phase: Phase = OUT;
  #book: SlotBook;
  #sharing: CardSharing;
  #isRestored: boolean;
  /** Rows that no put has covered. */
  #dirty = new Map<string, Uint8Array | null>();
  /** Counts commits of shared rows. */
  #mark = 0;
  #waiting: Waiting[] = [];
  #underWay: UnderWay | null = null;
  /** A commit of our own is no change of the signer's. */
  #isOwnCommit = false;

  constructor(options: SharingOptions) {
    this.#options = options;
    this.#sharing = options.sharing;
    this.#isRestored = options.isRestored;
    this.#book = SlotBook.load(options.store.load());
    options.store.watch((changes) => this.#note(changes));
  }

  /** Whether requests may be served. */
  get isIn(): boolean {
    return this.#phase.kind === "in";
  }

  /**
   * Whether a request may be served; one that comes before the dance has ended
   * is asked again after it.
   *
   * @throws {NotNow} for an init without any dance: it would never come
   */
  mayServe(answerTo: TopicName): boolean {
    if (this.isIn) return true;
    if (answerTo !== "init-3-res") return false;
    throw new NotNow(
      "Cannot serve: this card is one of several, and the node has not said " +
        "what its storage holds, want a broker with storage",
    );
  }

  /** Whether everything that was committed is stored. */
  get isStored(): boolean {
    return this.#dirty.size === 0 && this.#underWay === null;
  }

  /** The connection is gone, and what waits on it: the broker asks again. */
  leave(): void {
    this.#phase = OUT;
    this.#waiting = [];
    this.#underWay = null;
  }

  /**
   * Takes a message; false when it is not about storage.
   *
   * @throws {OwnerError} when nothing may be signed with this storage
   * @throws {NotNow} for anything else: the dance has to begin anew
   */
  take(name: TopicName, payload: Uint8Array, publish: Publish): boolean {
    if (!NAMES.has(name)) return false;
    try {
      this.#take(decodeFromBroker(payload), publish);
    } catch (cause) {
      this.leave();
      if (cause instanceof OwnerError || cause instanceof NotNow) throw cause;
      throw new NotNow(describeError(cause), { cause });
    }
    return true;
  }

  #take(message: LssFromBroker, publish: Publish): void {
    switch (message.kind) {
      case "Init":
        return this.#begin(message.value.serverPubkey, publish);
      case "Created":
        return this.#synchronise(message.value);
      case "Stored":
        return this.#acknowledge(message.value.serverHmac);
      case "PutConflict":
        return this.#giveWay(publish);
    }
  }

  /**
   * Sends an answer once nothing that it may rest on is unknown to the server.
   *
   * @param type of the request; null for bytes that have none
   */
  release(type: number | null, send: () => void): void {
    const phase = this.#phase;
    // What was asked before the dance began anew is asked again after it.
    if (phase.kind !== "in") return;
    const isTimeless = type !== null && TIMELESS.has(type);
    const isFree = this.isStored && this.#waiting.length === 0;
    if (phase.isFrozen || isTimeless || isFree) return send();
    this.#waiting.push({ mark: this.#mark, send });
    this.#store(phase.session);
  }

  #begin(serverKey: Uint8Array, publish: Publish): void {
    this.leave();
    const pinned = this.#sharing.serverKey;
    if (pinned !== null && !isEqual(pinned, serverKey)) {
      throw new OwnerError(
        "rightNode",
        `Cannot use the storage with key ${serverKey.toHex()}: this card ` +
          `knows ${pinned.toHex()}, want that one (softkey card share ` +
          "--new-storage if it was replaced for good)",
      );
    }
    const { keys, random } = this.#options;
    const shared = sharedSecret(keys.storage.secret, serverKey);
    const nonce = random(NONCE_SIZE);
    const session = { serverKey, shared, publish };
    this.#phase = { kind: "asked", session, nonce };
    const clientId = keys.storage.point;
    const value = { clientId, authToken: authToken(shared), nonce };
    publish("init-1-res", encodeFromDevice({ kind: "Init", value }));
  }

  #synchronise({ serverHmac: hmac, muts: entries }: Everything): void {
    const phase = this.#phase;
    // The answer to a question of before: another has been asked since.
    if (phase.kind !== "asked") return;
    const { session, nonce } = phase;
    // Also for an empty list: who is told of nothing has to know from whom.
    const wanted = lssMac(session.shared, nonce, entries);
    if (hmac === null || !isEqualConstantTime(hmac, wanted)) {
      throw new NotNow(
        "Cannot use the storage: Invalid server hmac, want that of key " +
          session.serverKey.toHex(),
      );
    }
    const open = this.#options.keys.entry;
    const stored = openStored(entries, (entry) => openEntry(open, entry));
    const isFrozen = this.#adopt(stored, session.serverKey);
    this.#phase = { kind: "in", session, isFrozen };
    const clientHmac = lssMac(session.shared, PUT_NONCE, []);
    const value = { clientHmac, muts: [] };
    session.publish("init-2-res", encodeFromDevice({ kind: "Created", value }));
  }

  /** Makes the card what it has to be; whether it may store nothing then. */
  #adopt(stored: Stored, serverKey: Uint8Array): boolean {
    const { store, renew, now } = this.#options;
    const values = [...store.load()];
    const local = rowsOf(values);
    const isRestored = this.#isRestored;
    const book = this.#book;
    const { id: origin } = store;
    const sharing = this.#joined(serverKey, local);
    const { isClean } = sharing;
    const merged = merge({ local, book, stored, isRestored, isClean, origin });
    const isCleared = isRestored && merged.isComplete;
    const text = describeMerge(merged, stored, isCleared);
    this.#commit(
      [
        ...merged.rows,
        ...(merged.isImported ? forgottenAnswers(values) : []),
        ...bookChanges(book, stored.book),
        ...(isCleared ? [standingChange(null)] : []),
        ...(sharing === this.#sharing ? [] : [sharingChange(sharing)]),
      ],
      merged.isImported || isCleared
        ? [newLine({ kind: "storage", text }, now())]
        : [],
    );
    this.#sharing = sharing;
    this.#isRestored = isRestored && !isCleared;
    this.#book = stored.book;
    for (const { key, value } of merged.rows) {
      if (value === null) local.delete(key);
      else local.set(key, value);
    }
    this.#dirty = unacknowledged(local, stored.book);
    this.#mark += 1;
    if (merged.isImported || isCleared) renew();
    this.#options.say(text);
    return !merged.isComplete;
  }

  /** What the card knows of the server from now on. */
  #joined(
    serverKey: Uint8Array,
    local: ReadonlyMap<string, Uint8Array>,
  ): CardSharing {
    if (this.#sharing.serverKey !== null) return this.#sharing;
    return { serverKey, isClean: ![...local.keys()].some(isSignersKey) };
  }

  /** Puts what no put has covered, unless one is under way. */
  #store({ shared, publish }: Session): void {
    if (this.#underWay !== null) return;
    const { keys, store, random, limit = PUT_LIMIT } = this.#options;
    const put = preparePut({
      book: this.#book,
      dirty: this.#dirty,
      origin: store.id,
      seal: (place, text) =>
        sealEntry(keys.entry, place, text, random(LONG_NONCE_SIZE)),
      limit,
    });
    if (put === null) {
      this.#dirty.clear();
      return this.#letGo(this.#mark);
    }
    for (const key of put.keys) this.#dirty.delete(key);
    const { entries, head } = put;
    const mark = head.isWhole ? this.#mark : null;
    const mac = lssMac(shared, STORED_NONCE, entries);
    this.#underWay = { put, mac, mark };
    const clientHmac = lssMac(shared, PUT_NONCE, entries);
    const value = { clientHmac, muts: entries };
    publish("lss-res", encodeFromDevice({ kind: "VlsMuts", value }));
  }

  /** The server has it: that is written down before anybody hears an answer. */
  #acknowledge(hmac: Uint8Array | null): void {
    const phase = this.#phase;
    const underWay = this.#underWay;
    // For a put of before: what became of it is known by now.
    if (phase.kind !== "in" || underWay === null) return;
    if (hmac === null || !isEqualConstantTime(hmac, underWay.mac)) {
      throw new NotNow(
        "Cannot take the storage's word: Invalid server hmac, want that of " +
          "what was put",
      );
    }
    const { put, mark } = underWay;
    this.#commit(putChanges(put));
    this.#book.apply(put);
    this.#underWay = null;
    if (mark !== null) this.#letGo(mark);
    if (this.#waiting.length > 0) this.#store(phase.session);
  }

  #letGo(mark: number): void {
    const waiting = this.#waiting;
    const first = waiting.findIndex((each) => each.mark > mark);
    const count = first === -1 ? waiting.length : first;
    this.#waiting = waiting.slice(count);
    for (const { send } of waiting.slice(0, count)) send();
  }

  /** Another card was faster. What waits rests on what never was. */
  #giveWay(publish: Publish): void {
    this.leave();
    publish(
      "lss-conflict-res",
      encodeFromDevice({ kind: "PutConflictConfirmed" }),
    );
  }

  #note(changes: readonly Change[]): void {
    if (this.#isOwnCommit) return;
    const shared = changes.filter(({ key }) => isSharedKey(key));
    if (shared.length === 0) return;
    this.#mark += 1;
    for (const { key, value } of shared) this.#dirty.set(key, value);
  }

  #commit(...all: Parameters<WatchedStore["commit"]>): void {
    this.#isOwnCommit = true;
    try {
      this.#options.store.commit(...all);
    } finally {
      this.#isOwnCommit = false;
    }
  }
}

function rowsOf(values: readonly StoredValue[]): Map<string, Uint8Array> {
  return new Map(
    values.filter(({ key }) => isSharedKey(key))
      .map(({ key, value }) => [key, value]),
  );
}

/** An answer of before belongs to a state that is no more. */
function forgottenAnswers(values: readonly StoredValue[]): readonly Change[] {
  return values.filter(({ key }) => key.startsWith("answer/"))
    .map(({ key }) => ({ key, value: null }));
}

function describeMerge(
  { rows, isImported, dropped, isComplete }: Merge,
  stored: Stored,
  isCleared: boolean,
): string {
  const lost = dropped.length === 0
    ? ""
    : `; the ${dropped.join(" and ")} of the other card counts, not the one ` +
      "that was set here";
  if (!isComplete) {
    return "the storage holds nothing for this seed: this restored card stays " +
      "restored";
  }
  if (isCleared) {
    return "this card was restored, and knows from the storage all that was " +
      `signed: it is in good standing${lost}`;
  }
  if (isImported) {
    return `another card has signed since: its state was taken over, ` +
      `${rows.length} values${lost}`;
  }
  return stored.book.head === null
    ? "the storage is empty: this card's state is the first"
    : "in step with the storage";
}
