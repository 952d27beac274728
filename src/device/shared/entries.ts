/**
 * What a shared card puts on a storage server: entries that say nothing.
 *
 * | key on the server | value, sealed |
 * | --- | --- |
 * | `softkey/head` | format u8 = 1, sum over all slots 32, whole u8, origin 16 |
 * | `softkey/0000002a` | format u8 = 1, key of a row u16 and UTF-8, its value u32 and bytes |
 *
 * A row of the card has a slot, a number. Once the row is deleted its slot is
 * free (an empty key) and the next new row takes it, so that there are never
 * more entries than there were rows at one time: the server never removes any.
 * The server learns how many slots there are, how long their values are and when
 * one changes; not what it is about, or whether it was deleted.
 *
 * Every put carries the head, one version further. So whoever did not know the
 * put before has a conflict, also where it is about other rows: each put was
 * decided on the whole state. The head's sum binds the slots together: an old one
 * beside newer ones does not fit, for whoever reads them for the first time too.
 *
 * ```
 * value = nonce 24, XChaCha20-Poly1305(key, nonce, header: name ‖ version u64, text)
 * key   = HKDF-SHA256(the whole seed, salt "softkey shared storage", "entries")
 * ```
 *
 * The salt is none of Core Lightning's (empty, or four bytes), so that no secret
 * that a node may ask for leads to this key.
 *
 * Standards: RFC 5869, draft-irtf-cfrg-xchacha-03.
 *
 * What it does not do: know which entries are new, or speak to the server.
 *
 * @module
 */

import { hkdf } from "../../crypto/hash.ts";
import { Secret } from "../../crypto/secret.ts";
import { LONG_NONCE_SIZE, openLong, sealLong } from "../../crypto/xchacha.ts";
import { toNumber } from "../../store/digest.ts";
import {
  bool,
  choice,
  type Codec,
  decode,
  encode,
  fixed,
  struct,
  varBytes,
} from "../../wire/codec.ts";
import type { LssEntry } from "../../wire/lss.ts";

const PREFIX = "softkey/";
/** The entry that every put carries. */
export const HEAD_NAME = `${PREFIX}head`;
/** Size of the random bytes that a card's memory was made with. */
export const ORIGIN_SIZE = 16;
const FORMAT = 1;
const utf8 = new TextEncoder();

/** The entry of a slot. */
export function nameOfSlot(slot: number): string {
  return `${PREFIX}${slot.toString(16).padStart(8, "0")}`;
}

/** The slot of an entry; null for an entry of something else. */
export function slotOfName(name: string): number | null {
  const digits = name.slice(PREFIX.length);
  const isSlot = name.startsWith(PREFIX) && /^[0-9a-f]{8}$/.test(digits);
  return isSlot ? Number.parseInt(digits, 16) : null;
}

/** A row of the card in its slot; a free slot has an empty key. */
export interface SlotText {
  readonly key: string;
  readonly value: Uint8Array;
}

/** What the head says of all the rest. */
export interface HeadText {
  /** Sum of the digests of all slots' entries, mod 2^256. */
  readonly sum: bigint;
  /** False while a state that is too large for one put is under way. */
  readonly isWhole: boolean;
  /** The card that stored the first state. */
  readonly origin: Uint8Array;
}

const slotText = struct("slot", {
  format: choice("format", [FORMAT]),
  key: varBytes("key", 16),
  value: varBytes("value", 32),
});

const headText = struct("head", {
  format: choice("format", [FORMAT]),
  sum: fixed<Uint8Array>("sum", 32),
  isWhole: bool,
  origin: fixed<Uint8Array>("origin", ORIGIN_SIZE),
});

/** A slot as it is sealed. */
export function encodeSlot({ key, value }: SlotText): Uint8Array {
  return encode(slotText, { format: FORMAT, key: utf8.encode(key), value });
}

/** Reads a slot. @throws {DecodeError} */
export function decodeSlot(bytes: Uint8Array): SlotText {
  const { key, value } = readAll(slotText, bytes);
  return { key: new TextDecoder().decode(key), value };
}

/** The head as it is sealed. */
export function encodeHead({ sum, isWhole, origin }: HeadText): Uint8Array {
  const bytes = Uint8Array.fromHex(sum.toString(16).padStart(64, "0"));
  return encode(headText, { format: FORMAT, sum: bytes, isWhole, origin });
}

/** Reads the head. @throws {DecodeError} */
export function decodeHead(bytes: Uint8Array): HeadText {
  const { sum, isWhole, origin } = readAll(headText, bytes);
  return { sum: toNumber(sum), isWhole, origin };
}

function readAll<T>(codec: Codec<T>, bytes: Uint8Array): T {
  return decode(codec, bytes, "stored entry");
}

/** The key that a seed's entries are sealed with. */
export function deriveEntryKey(seed: Secret): Secret {
  const salt = utf8.encode("softkey shared storage");
  const info = "entries";
  return new Secret(hkdf({ ikm: seed.reveal(), salt, info, length: 32 }));
}

/** Name and version: in clear on the server, and bound to what is sealed. */
type EntryPlace = Pick<LssEntry, "key" | "version">;

/** An entry as the server holds it. */
export function sealEntry(
  key: Secret,
  place: EntryPlace,
  text: Uint8Array,
  nonce: Uint8Array,
): LssEntry {
  const header = headerOf(place);
  const sealed = sealLong({ key: key.reveal(), nonce, header }, text);
  const value = new Uint8Array(nonce.length + sealed.length);
  value.set(nonce);
  value.set(sealed, nonce.length);
  return { key: place.key, version: place.version, value };
}

/** What an entry says; null when nobody with this seed sealed it there. */
export function openEntry(key: Secret, entry: LssEntry): Uint8Array | null {
  if (entry.value.length < LONG_NONCE_SIZE || entry.version < 0n) return null;
  const nonce = entry.value.subarray(0, LONG_NONCE_SIZE);
  const sealed = entry.value.subarray(LONG_NONCE_SIZE);
  const header = headerOf(entry);
  return openLong({ key: key.reveal(), nonce, header }, sealed);
}

function headerOf({ key, version }: EntryPlace): Uint8Array {
  const name = utf8.encode(key);
  const header = new Uint8Array(name.length + 8);
  header.set(name);
  new DataView(header.buffer).setBigUint64(name.length, version);
  return header;
}
