/**
 * What the storage server has acknowledged, and the puts that follow from it.
 *
 * | row of the card | value |
 * | --- | --- |
 * | `shared/head` | the head that was acknowledged, its version and digest |
 * | `shared/0000002a` | a slot: version, digest of its entry, the row's key, SHA-256 of the row |
 *
 * They are written before any answer leaves that rests on them: so what a server
 * once acknowledged is known for good, and a server that forgets is found out.
 * A row of the card that differs from what its slot says was not acknowledged,
 * and nobody has had an answer that rests on it.
 *
 * What it does not do: read or write a card, or speak to a server.
 *
 * @module
 */

import { sha256 } from "../../crypto/hash.ts";
import { replaceInSum, rowDigest, toNumber } from "../../store/digest.ts";
import type { Change, StoredValue } from "../../store/store.ts";
import {
  bool,
  choice,
  decode,
  encode,
  fixed,
  struct,
  u64,
  varBytes,
} from "../../wire/codec.ts";
import type { LssEntry } from "../../wire/lss.ts";
import {
  encodeHead,
  encodeSlot,
  HEAD_NAME,
  type HeadText,
  nameOfSlot,
  ORIGIN_SIZE,
} from "./entries.ts";

const PREFIX = "shared/";
const HEAD_ROW = `${PREFIX}head`;
const FORMAT = 1;
const SHARED = /^(?:channel|payment|chain)\/|^(?:node|policy|allowlist)$/;
const OWNED: ReadonlySet<string> = new Set(["policy", "allowlist"]);

/** Whether a row of the card is the same on all cards of a node. */
export function isSharedKey(key: string): boolean {
  return SHARED.test(key);
}

/** Whether a shared row is what the owner chose, and no part of what was signed. */
export function isOwnersKey(key: string): boolean {
  return OWNED.has(key);
}

/** Whether a row tells of something that was signed or promised. */
export function isSignersKey(key: string): boolean {
  return /^(?:channel|payment)\//.test(key);
}

/** A slot as it was acknowledged. */
export interface SlotRecord {
  readonly version: bigint;
  /** Of the entry, sealed as it is. */
  readonly digest: Uint8Array;
  /** Of the row; empty in a free slot. */
  readonly key: string;
  /** SHA-256 of the row's value. */
  readonly plain: Uint8Array;
}

/** The head as it was acknowledged. */
export interface HeadRecord extends HeadText {
  readonly version: bigint;
  readonly digest: Uint8Array;
}

const slotRecord = struct("shared slot", {
  format: choice("format", [FORMAT]),
  version: u64,
  digest: fixed<Uint8Array>("digest", 32),
  key: varBytes("key", 16),
  plain: fixed<Uint8Array>("plain", 32),
});

const headRecord = struct("shared head", {
  format: choice("format", [FORMAT]),
  version: u64,
  digest: fixed<Uint8Array>("digest", 32),
  sum: fixed<Uint8Array>("sum", 32),
  isWhole: bool,
  origin: fixed<Uint8Array>("origin", ORIGIN_SIZE),
});

/** Every slot, and which row is where. */
export class SlotBook {
  readonly #slots = new Map<number, SlotRecord>();
  readonly #places = new Map<string, number>();
  readonly #free = new Set<number>();
  #head: HeadRecord | null = null;
  /** No slot has this number or a higher one. */
  #end = 0;

  /** Takes what a card holds. @throws {DecodeError} for a damaged record */
  static load(values: Iterable<StoredValue>): SlotBook {
    const book = new SlotBook();
    for (const { key, value } of values) {
      if (key === HEAD_ROW) book.setHead(decodeHeadRow(value));
      else if (key.startsWith(PREFIX)) {
        const slot = Number.parseInt(key.slice(PREFIX.length), 16);
        book.setSlot(slot, decodeSlotRow(value));
      }
    }
    return book;
  }

  /** Null when nothing was ever acknowledged. */
  get head(): HeadRecord | null {
    return this.#head;
  }

  /** All slots, free ones too. */
  slots(): Iterable<[number, SlotRecord]> {
    return this.#slots.entries();
  }

  /** A slot; undefined for one that was never used. */
  slot(number: number): SlotRecord | undefined {
    return this.#slots.get(number);
  }

  /** Where a row is; undefined when it has no slot. */
  slotOf(key: string): number | undefined {
    return this.#places.get(key);
  }

  /** The slot of a row as it was acknowledged. */
  recordOf(key: string): SlotRecord | undefined {
    const slot = this.#places.get(key);
    return slot === undefined ? undefined : this.#slots.get(slot);
  }

  /** The keys of all rows that have a slot. */
  keys(): Iterable<string> {
    return this.#places.keys();
  }

  /** Slots for new rows: free ones, then new ones; none is taken by this. */
  *vacant(): Generator<number> {
    yield* this.#free;
    for (let slot = this.#end;; slot++) yield slot;
  }

  /** Makes a slot what it was acknowledged to be. */
  setSlot(slot: number, record: SlotRecord): void {
    const before = this.#slots.get(slot);
    if (before !== undefined && this.#places.get(before.key) === slot) {
      this.#places.delete(before.key);
    }
    this.#slots.set(slot, record);
    this.#end = Math.max(this.#end, slot + 1);
    if (record.key === "") {
      this.#free.add(slot);
      return;
    }
    this.#free.delete(slot);
    this.#places.set(record.key, slot);
  }

  /** Makes the head what it was acknowledged to be. */
  setHead(head: HeadRecord): void {
    this.#head = head;
  }

  /** Takes a put that was acknowledged, and is durable on the card. */
  apply({ slots, head }: Put): void {
    for (const [slot, record] of slots) this.setSlot(slot, record);
    this.setHead(head);
  }
}

/** Everything on a card that differs from what was acknowledged; null: deleted. */
export function unacknowledged(
  local: ReadonlyMap<string, Uint8Array>,
  book: SlotBook,
): Map<string, Uint8Array | null> {
  const dirty = new Map<string, Uint8Array | null>();
  for (const [key, value] of local) {
    if (!isAsRecorded(value, book.recordOf(key))) dirty.set(key, value);
  }
  for (const key of book.keys()) if (!local.has(key)) dirty.set(key, null);
  return dirty;
}

/** Whether a row is what its slot says. */
export function isAsRecorded(
  value: Uint8Array,
  record: SlotRecord | undefined,
): boolean {
  return record !== undefined && isEqual(sha256(value), record.plain);
}

/** Whether two strings of bytes, neither of them secret, are the same. */
export function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** A put under way, and what will be so when it is acknowledged. */
export interface Put {
  /** Sorted by key. */
  readonly entries: readonly LssEntry[];
  readonly slots: readonly (readonly [number, SlotRecord])[];
  readonly head: HeadRecord;
  /** The rows that are done with it. */
  readonly keys: readonly string[];
}

/** What a put is made with. */
export interface PutOptions {
  readonly book: SlotBook;
  /** Rows that were not acknowledged; null: deleted. */
  readonly dirty: ReadonlyMap<string, Uint8Array | null>;
  /** The card that puts, for the first head. */
  readonly origin: Uint8Array;
  readonly seal: (
    place: { readonly key: string; readonly version: bigint },
    text: Uint8Array,
  ) => LssEntry;
  /** A put is full when its values have this many bytes. */
  readonly limit: number;
}

/** What comes next for the server; null when there is nothing that it lacks. */
export function preparePut(options: PutOptions): Put | null {
  const { book, dirty, seal, limit, origin } = options;
  const vacant = book.vacant();
  const made: { readonly number: number; readonly sealed: Sealed }[] = [];
  const keys: string[] = [];
  let size = 0;
  let isWhole = true;
  for (const [key, value] of dirty) {
    const known = book.slotOf(key);
    if (size >= limit) {
      isWhole = false;
      break;
    }
    keys.push(key);
    if (known === undefined && value === null) continue;
    const number = known ?? vacant.next().value;
    if (number === undefined) break;
    const sealed = sealRow(options, number, { key, value });
    made.push({ number, sealed });
    size += sealed.entry.value.length;
  }
  if (made.length === 0) return null;
  const before = book.head;
  const sum = made.reduce((sum, { number, sealed }) => {
    const old = book.slot(number)?.digest ?? null;
    return replaceInSum(sum, old, sealed.record.digest);
  }, before?.sum ?? 0n);
  const version = before === null ? 0n : before.version + 1n;
  const text = { sum, isWhole, origin: before?.origin ?? origin };
  const headEntry = seal({ key: HEAD_NAME, version }, encodeHead(text));
  const entries = [...made.map(({ sealed }) => sealed.entry), headEntry];
  return {
    entries: entries.toSorted((a, b) => a.key < b.key ? -1 : 1),
    slots: made.map(({ number, sealed }) => [number, sealed.record] as const),
    head: { ...text, version, digest: rowDigest(headEntry) },
    keys,
  };
}

interface Sealed {
  readonly entry: LssEntry;
  readonly record: SlotRecord;
}

function sealRow(
  { book, seal }: PutOptions,
  number: number,
  row: { readonly key: string; readonly value: Uint8Array | null },
): Sealed {
  const before = book.slot(number);
  const version = before === undefined ? 0n : before.version + 1n;
  const text = row.value === null
    ? { key: "", value: new Uint8Array() }
    : { key: row.key, value: row.value };
  const entry = seal({ key: nameOfSlot(number), version }, encodeSlot(text));
  return { entry, record: recordOfEntry(entry, text) };
}

/** What is known of an entry once it is acknowledged. */
export function recordOfEntry(
  entry: LssEntry,
  { key, value }: { readonly key: string; readonly value: Uint8Array },
): SlotRecord {
  const { version } = entry;
  return { version, digest: rowDigest(entry), key, plain: sha256(value) };
}

/** Writes that a put was acknowledged. */
export function putChanges({ slots, head }: Put): readonly Change[] {
  return [
    ...slots.map(([slot, record]) => slotChange(slot, record)),
    headChange(head),
  ];
}

/** Writes what differs between what was acknowledged and what is there now. */
export function bookChanges(
  before: SlotBook,
  after: SlotBook,
): readonly Change[] {
  const { head } = after;
  const changed = [...after.slots()].filter(([slot, record]) => {
    const known = before.slot(slot);
    return known === undefined || !isEqual(known.digest, record.digest);
  });
  const isNewHead = head !== null &&
    (before.head === null || !isEqual(before.head.digest, head.digest));
  return [
    ...changed.map(([slot, record]) => slotChange(slot, record)),
    ...(isNewHead ? [headChange(head)] : []),
  ];
}

/** Forgets everything that was acknowledged: for another server. */
export function forgetChanges(book: SlotBook): readonly Change[] {
  const slots = [...book.slots()].map(([slot]) => rowOfSlot(slot));
  const rows = book.head === null ? slots : [...slots, HEAD_ROW];
  return rows.map((key) => ({ key, value: null }));
}

function rowOfSlot(slot: number): string {
  return `${PREFIX}${slot.toString(16).padStart(8, "0")}`;
}

function slotChange(slot: number, record: SlotRecord): Change {
  const { version, digest, plain } = record;
  const key = new TextEncoder().encode(record.key);
  const all = { format: FORMAT, version, digest, key, plain } as const;
  return { key: rowOfSlot(slot), value: encode(slotRecord, all) };
}

function headChange(head: HeadRecord): Change {
  const { version, digest, isWhole, origin } = head;
  const sum = Uint8Array.fromHex(head.sum.toString(16).padStart(64, "0"));
  const all = {
    format: FORMAT,
    version,
    digest,
    sum,
    isWhole,
    origin,
  } as const;
  return { key: HEAD_ROW, value: encode(headRecord, all) };
}

function decodeSlotRow(value: Uint8Array): SlotRecord {
  const { version, digest, key, plain } = decode(slotRecord, value);
  return { version, digest, key: new TextDecoder().decode(key), plain };
}

function decodeHeadRow(value: Uint8Array): HeadRecord {
  const { version, digest, sum, isWhole, origin } = decode(headRecord, value);
  return { version, digest, sum: toNumber(sum), isWhole, origin };
}
