/**
 * What a card remembers, opened: records, answers, and what the owner chose.
 *
 * | key | value | whose |
 * | --- | --- | --- |
 * | card/node | the node id that this card belongs to, 33 bytes | ours |
 * | card/identity | SHA-256(id file, card_key file): compared at each open | ours |
 * | card/network | name of the network, UTF-8 | ours |
 * | card/pairing | the node that the owner consented to, see below | the owner's |
 * | card/standing | whether it is the last word, see below; missing: it is | ours |
 * | card/birthday | u64: when its seed was made, Unix seconds; missing: not known | ours |
 * | card/nonce | u64: the last control nonce that was taken; missing: 0 | ours |
 * | card/shared | that it is one of several of its node, see below; missing: it is not | the owner's |
 * | shared/… | what the storage server acknowledged (`shared/slots.ts`) | ours |
 * | answer/NNN | `answers.ts` | ours |
 * | policy | `policy/limits.ts`; missing: the defaults | the owner's |
 * | allowlist | UTF-8, one entry a line | the owner's |
 * | channel/…, payment/…, node | `signer/records.ts` | the signer's |
 * | chain/… | `signer/chain_records.ts` | the signer's |
 *
 * | record | bytes |
 * | --- | --- |
 * | pairing | format u8 = 2, broker's key 33, its url u16 + UTF-8, Unix ms u64, certificate u8 = 0, or 1 and its SHA-256 |
 * | … of an earlier softkey | format u8 = 1, the same without the certificate |
 * | standing | format u8 = 1, kind u8 (1 restored, 2 moved), generation u64, Unix ms u64 |
 * | shared | format u8 = 1, key of the storage server 33 (zeros before it is known), whether nothing was signed before u8 |
 *
 * A card from before there was a memory gets an empty one: the channels that it
 * signed for are not known to it.
 *
 * What it does not do: sign, or talk to anybody.
 *
 * @module
 */

import { isNetworkName, type Network, NETWORKS } from "../bitcoin/networks.ts";
import { sha256 } from "../crypto/hash.ts";
import { describeError, StoreError, UsageError } from "../errors.ts";
import { type Allowlist, createAllowlist } from "../policy/allowlist.ts";
import {
  decodePolicy,
  defaultPolicy,
  encodePolicy,
  type Policy,
} from "../policy/limits.ts";
import { SignerMemory } from "../signer/memory.ts";
import { openSqliteStore, type SqliteStore } from "../store/sqlite.ts";
import type { Change, Store, StoredValue } from "../store/store.ts";
import {
  bool,
  choice,
  decode,
  encode,
  fixed,
  option,
  struct,
  u64,
  varBytes,
} from "../wire/codec.ts";
import { AnswerTail } from "./answers.ts";
import { networkNamed, type Options } from "./arguments.ts";
import type { Card } from "./card.ts";
import { OwnerError } from "./owner_error.ts";
import type { Standing } from "./standing.ts";

/** The database beside the seed. */
export const STATE_FILE = "state.db";

const KEYS = {
  node: "card/node",
  identity: "card/identity",
  network: "card/network",
  pairing: "card/pairing",
  standing: "card/standing",
  birthday: "card/birthday",
  nonce: "card/nonce",
  shared: "card/shared",
  policy: "policy",
  allowlist: "allowlist",
} as const;

/** The node that the owner let this card serve. */
export interface CardPairing {
  /** Public key of its broker, 33 bytes. */
  readonly brokerKey: Uint8Array;
  readonly url: string;
  /** Unix time in milliseconds. */
  readonly pairedAt: bigint;
  /** SHA-256 of the server's certificate; null: none, or a trusted one. */
  readonly certHash: Uint8Array | null;
}

const FORMAT = 1;
const STANDINGS = { restored: 1, moved: 2 } as const;

const PAIRING_FORMAT = 2;

const pairingRecord = struct("card/pairing", {
  format: choice("format", [PAIRING_FORMAT]),
  brokerKey: fixed<Uint8Array>("broker key", 33),
  url: varBytes("url", 16),
  pairedAt: u64,
  certHash: option(fixed<Uint8Array>("certificate", 32)),
});

/** As it was before there were certificates. */
const earlierPairingRecord = struct("card/pairing", {
  format: choice("format", [FORMAT]),
  brokerKey: fixed<Uint8Array>("broker key", 33),
  url: varBytes("url", 16),
  pairedAt: u64,
});

const standingRecord = struct("card/standing", {
  format: choice("format", [FORMAT]),
  kind: choice("standing", Object.values(STANDINGS)),
  generation: u64,
  at: u64,
});

const sharedRecord = struct("card/shared", {
  format: choice("format", [FORMAT]),
  serverKey: fixed<Uint8Array>("server key", 33),
  isClean: bool,
});

/** That a card is one of several of its node, kept alike by a storage server. */
export interface CardSharing {
  /** Public key of the server, 33 bytes; null until the first time. */
  readonly serverKey: Uint8Array | null;
  /** Whether it had signed nothing by the first time. */
  readonly isClean: boolean;
}

/** What can be read without knowing the network. */
export interface CardFacts {
  readonly memory: SignerMemory;
  /** Node id that the card belongs to; null for one that is new. */
  readonly node: Uint8Array | null;
  /** Name of the network that it is for; null before that is known. */
  readonly network: string | null;
  /** Null before the owner consented to a node. */
  readonly pairing: CardPairing | null;
  /** Null in good standing. */
  readonly standing: Standing | null;
  /** When its seed was made, Unix seconds; null for one from elsewhere. */
  readonly birthday: bigint | null;
  /** The last control nonce that was taken. */
  readonly nonce: bigint;
  /** Null for a card that is the only one of its node. */
  readonly sharing: CardSharing | null;
}

/** Everything on a card, decoded. */
export interface CardState extends CardFacts {
  readonly store: Store;
  readonly tail: AnswerTail;
  readonly policy: Policy;
  readonly allowlist: Allowlist;
  /** As the owner wrote them. */
  readonly allowed: readonly string[];
}

/** Opens the database of a card folder. @throws {StoreError} */
export function openCardStore(folder: string, waitMs = 0): SqliteStore {
  return openSqliteStore(`${folder}/${STATE_FILE}`, { waitMs });
}

/** Decodes all of it. @throws {StoreError} naming what cannot be read */
export function readCardState(store: Store, network: Network): CardState {
  const values = [...store.load()];
  const allowed = linesOf(findIn(values, KEYS.allowlist));
  const policy = findIn(values, KEYS.policy);
  return readable(() => ({
    store,
    ...decodeFacts(values),
    tail: AnswerTail.load(values),
    policy: policy === undefined
      ? defaultPolicy(network.name)
      : decodePolicy(policy, network.name),
    allowlist: createAllowlist(allowed, network),
    allowed,
  }));
}

/** Decodes what needs no network. @throws {StoreError} naming what cannot be read */
export function readCardFacts(store: Pick<Store, "load">): CardFacts {
  return readable(() => decodeFacts([...store.load()]));
}

function decodeFacts(values: readonly StoredValue[]): CardFacts {
  return {
    memory: SignerMemory.load(values),
    node: findIn(values, KEYS.node) ?? null,
    network: decodeText(findIn(values, KEYS.network)),
    pairing: decodePairing(findIn(values, KEYS.pairing)),
    standing: decodeStanding(findIn(values, KEYS.standing)),
    birthday: decodeTime(findIn(values, KEYS.birthday)),
    nonce: decodeNonce(findIn(values, KEYS.nonce)),
    sharing: decodeSharing(findIn(values, KEYS.shared)),
  };
}

/** Writes who the card is paired with; null: nobody. */
export function pairingChange(pairing: CardPairing | null): Change {
  if (pairing === null) return { key: KEYS.pairing, value: null };
  const url = new TextEncoder().encode(pairing.url);
  const record = { ...pairing, format: PAIRING_FORMAT, url } as const;
  return { key: KEYS.pairing, value: encode(pairingRecord, record) };
}

/** Writes that the card is not the last word; null: that it is. */
export function standingChange(standing: Standing | null): Change {
  if (standing === null) return { key: KEYS.standing, value: null };
  const { generation, at } = standing;
  const kind = STANDINGS[standing.kind];
  const record = { format: FORMAT, kind, generation, at } as const;
  return { key: KEYS.standing, value: encode(standingRecord, record) };
}

const NO_SERVER = new Uint8Array(33);

/** Writes that the card is one of several; null: that it is the only one. */
export function sharingChange(sharing: CardSharing | null): Change {
  if (sharing === null) return { key: KEYS.shared, value: null };
  const { isClean } = sharing;
  const serverKey = sharing.serverKey ?? NO_SERVER;
  const value = encode(sharedRecord, { format: FORMAT, serverKey, isClean });
  return { key: KEYS.shared, value };
}

/** Writes when the seed was made, Unix seconds; null: not known. */
export function birthdayChange(time: bigint | null): Change {
  const value = time === null ? null : encode(u64, time);
  return { key: KEYS.birthday, value };
}

/** Writes which network the card is for. */
export function networkChange(name: string): Change {
  return { key: KEYS.network, value: new TextEncoder().encode(name) };
}

/** Writes the last control nonce that was taken. */
export function nonceChange(nonce: bigint): Change {
  return { key: KEYS.nonce, value: encode(u64, nonce) };
}

/**
 * The network that a command is for: the one that is named, if it is the card's
 * or the card has none yet; else the card's.
 *
 * @throws {OwnerError} rightNode, for another one than the card's
 * @throws {UsageError} when nobody says which
 */
export function networkFor(
  { network: named }: Pick<Options, "network">,
  store: Pick<Store, "load">,
): Network {
  const own = networkOf(store);
  if (named === undefined) {
    if (own !== null) return own;
    throw new UsageError(
      "Missing --network: the card has none yet, want --network with one of " +
        Object.keys(NETWORKS).join(", "),
    );
  }
  const network = networkNamed(named);
  if (own === null || own.name === network.name) return network;
  throw new OwnerError(
    "rightNode",
    `Cannot use the card on ${network.name}: it is a card for ${own.name}, ` +
      "want that network or another card",
  );
}

/** The network that a card is for; null before that is known. @throws {StoreError} */
export function networkOf(store: Pick<Store, "load">): Network | null {
  const name = decodeText(valueOf(store, KEYS.network));
  if (name === null) return null;
  if (isNetworkName(name)) return networkNamed(name);
  throw new StoreError(
    "read the card",
    `it is for network ${JSON.stringify(name)}, which this softkey does not ` +
      "know; a newer one may have written it",
  );
}

/** SHA-256 over the files that say who the card is. */
export function identityOf(
  { cid, key }: Pick<Card, "cid" | "key">,
): Uint8Array {
  return sha256(new TextEncoder().encode(cid), key);
}

/**
 * Whether the memory belongs with the files beside it; what to write on a card
 * that does not say yet.
 *
 * @throws {StoreError} when they do not belong together
 */
export function identityChange(
  store: Pick<Store, "load">,
  card: Card,
): Change | null {
  const found = valueOf(store, KEYS.identity);
  const value = identityOf(card);
  if (found === undefined) return { key: KEYS.identity, value };
  if (found.toHex() === value.toHex()) return null;
  throw new StoreError(
    "use the card",
    `${card.folder}/id or ${card.folder}/card_key is damaged or of another ` +
      "card; put back the files that this memory was made with",
  );
}

/** The hash of the files that the memory belongs with; null on an older card. */
export function readCardIdentity(
  store: Pick<Store, "load">,
): Uint8Array | null {
  return valueOf(store, KEYS.identity) ?? null;
}

/** Ties the memory to the files beside it, durably. @throws {StoreError} */
export function bindIdentity(store: Store, card: Card): void {
  const change = identityChange(store, card);
  if (change !== null) store.commit([change]);
}

function valueOf(
  store: Pick<Store, "load">,
  key: string,
): Uint8Array | undefined {
  return findIn([...store.load()], key);
}

function findIn(
  values: readonly StoredValue[],
  key: string,
): Uint8Array | undefined {
  return values.find((row) => row.key === key)?.value;
}

function decodeText(value: Uint8Array | undefined): string | null {
  return value === undefined ? null : new TextDecoder().decode(value);
}

function decodePairing(value: Uint8Array | undefined): CardPairing | null {
  if (value === undefined) return null;
  const record = value[0] === FORMAT
    ? { ...decode(earlierPairingRecord, value), certHash: null }
    : decode(pairingRecord, value);
  const { brokerKey, pairedAt, certHash } = record;
  const url = new TextDecoder().decode(record.url);
  return { brokerKey, url, pairedAt, certHash };
}

function decodeStanding(value: Uint8Array | undefined): Standing | null {
  if (value === undefined) return null;
  const { kind, generation, at } = decode(standingRecord, value);
  const name = kind === STANDINGS.moved ? "moved" : "restored";
  return { kind: name, generation, at };
}

function decodeSharing(value: Uint8Array | undefined): CardSharing | null {
  if (value === undefined) return null;
  const { serverKey, isClean } = decode(sharedRecord, value);
  const isKnown = serverKey.toHex() !== NO_SERVER.toHex();
  return { serverKey: isKnown ? serverKey : null, isClean };
}

function decodeTime(value: Uint8Array | undefined): bigint | null {
  return value === undefined ? null : decode(u64, value);
}

function decodeNonce(value: Uint8Array | undefined): bigint {
  return value === undefined ? 0n : decode(u64, value);
}

/** Whether the card may serve this node; what to write when it is the first. */
export function bindingOf(
  bound: Uint8Array | null,
  nodeId: Uint8Array,
): { readonly key: string; readonly value: Uint8Array } | null {
  if (bound === null) return { key: KEYS.node, value: nodeId };
  if (bound.toHex() === nodeId.toHex()) return null;
  throw new StoreError(
    "use the card",
    `its memory belongs to node ${bound.toHex()}, this seed is node ` +
      `${nodeId.toHex()}; give each node a card of its own`,
  );
}

/** Writes a policy. */
export function policyChange(policy: Policy): Change {
  return { key: KEYS.policy, value: encodePolicy(policy) };
}

/** Writes a list of destinations. */
export function allowlistChange(entries: readonly string[]): Change {
  const text = entries.join("\n");
  const value = text === "" ? null : new TextEncoder().encode(text);
  return { key: KEYS.allowlist, value };
}

function linesOf(value: Uint8Array | undefined): readonly string[] {
  if (value === undefined) return [];
  return new TextDecoder().decode(value).split("\n");
}

/** A value that passes its checksum and cannot be read is of another release. */
function readable<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const problem =
      `${describeError(cause)}; a newer softkey may have written ` +
      "it: run that one, or restore a copy that is not older than the last " +
      "signature";
    throw new StoreError("read the card", problem, { cause });
  }
}
