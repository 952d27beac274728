/**
 * What travels on the topics `sealed` and `sealed-res`: BOLT 8 in MQTT payloads.
 *
 * A payload is a kind (u8) and its body, one row of {@linkcode SEALED_KINDS}.
 * Inside a record are BOLT 8 messages. The text of each is a piece:
 *
 *     more u8 (1: another piece follows)  ‖  bytes (65,534 where one follows)
 *
 * and the pieces, joined, are a message of the session that is sealed:
 *
 *     name id u8 (SEALED_NAMES)  ‖  payload
 *
 * Acts and records are proof by themselves; the other kinds are hints that
 * anybody can forge, and whoever acts on one loses time at most.
 *
 * Standard: BOLT 8.
 *
 * What it does not do: keep sessions, or time; `sealed_sessions.ts` and
 * `device/sealed_link.ts` do, one at each end.
 *
 * @module
 */

import { NOISE_SIZES, type NoiseSession } from "../crypto/noise.ts";
import { NOISE_OVERHEAD, NOISE_TEXT_LIMIT } from "../crypto/noise_cipher.ts";
import { DecodeError } from "../errors.ts";
import { FRAME_LIMIT } from "../wire/frame.ts";
import type { TopicName } from "./topics.ts";

/** What a payload can be: its number, and the lengths that its body may have. */
export const SEALED_KINDS = {
  /** Device: who are you? Broker: its link key. */
  who: { id: 0, lengths: [0, NOISE_SIZES.key] },
  actOne: { id: 1, lengths: [NOISE_SIZES.actOne] },
  actTwo: { id: 2, lengths: [NOISE_SIZES.actTwo] },
  actThree: { id: 3, lengths: [NOISE_SIZES.actThree] },
  /** Whole BOLT 8 messages, one or more. */
  record: { id: 4, lengths: null },
  /** Broker: I have no session with you, shake hands anew. */
  again: { id: 5, lengths: [0] },
  /** Broker: act one was for another key; mine is this. */
  notMe: { id: 6, lengths: [NOISE_SIZES.key] },
} as const satisfies Record<
  string,
  { readonly id: number; readonly lengths: readonly number[] | null }
>;

/** Name of a kind. */
export type SealedKind = keyof typeof SEALED_KINDS;

/** A payload, taken apart. */
export interface SealedFrame {
  readonly kind: SealedKind;
  readonly body: Uint8Array;
}

/**
 * Numbers of the names inside; they are on the wire and never change.
 *
 * `sealed` and `sealed-res` are not among them: a seal holds no seal.
 */
export const SEALED_NAMES = {
  "hello": 1,
  "bye": 2,
  "init-1-msg": 3,
  "init-1-res": 4,
  "init-2-msg": 5,
  "init-2-res": 6,
  "init-3-msg": 7,
  "init-3-res": 8,
  "vls": 9,
  "vls-res": 10,
  "lss-msg": 11,
  "lss-res": 12,
  "lss-conflict": 13,
  "lss-conflict-res": 14,
  "control": 15,
  "control-res": 16,
  "proxy": 17,
  "proxy-res": 18,
  "error": 19,
  "card": 20,
  "led": 21,
  "paired": 22,
  "ping": 23,
  "pong": 24,
} as const satisfies Record<SealedName, number>;

/** A name that can be inside a seal. */
export type SealedName = Exclude<TopicName, "sealed" | "sealed-res">;

/** A message of the session that is sealed. */
export interface SealedMessage {
  readonly name: SealedName;
  readonly payload: Uint8Array;
}

/** Longest message, with its name, after joining. */
export const SEALED_MESSAGE_LIMIT: number = FRAME_LIMIT + 1_024;
/** A record is at most this long: some servers take no more than 1 MiB. */
const RECORD_LIMIT = 512 * 1_024;
const PIECE_LIMIT = NOISE_TEXT_LIMIT - 1;
const PIECES_A_RECORD = Math.floor(
  RECORD_LIMIT / (NOISE_TEXT_LIMIT + NOISE_OVERHEAD),
);
const LAST = 0;
const MORE = 1;

const KINDS_BY_ID = new Map<number, string>(
  Object.entries(SEALED_KINDS).map(([kind, { id }]) => [id, kind]),
);
const NAMES_BY_ID = new Map<number, string>(
  Object.entries(SEALED_NAMES).map(([name, id]) => [id, name]),
);

/** What both sides of a device's handshake begin with. */
export function sealedPrologue(cid: string): Uint8Array {
  return new TextEncoder().encode(`remote-hsmd/1 ${cid}`);
}

/** Writes a payload. */
export function encodeSealed(
  kind: SealedKind,
  ...body: readonly Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const length = body.reduce((sum, part) => sum + part.length, 1);
  const payload = new Uint8Array(length);
  payload[0] = SEALED_KINDS[kind].id;
  let offset = 1;
  for (const part of body) {
    payload.set(part, offset);
    offset += part.length;
  }
  return payload;
}

/** Takes a payload apart; the body is a view. @throws {DecodeError} */
export function decodeSealed(payload: Uint8Array): SealedFrame {
  const [id = -1] = payload;
  const kind = KINDS_BY_ID.get(id);
  if (kind === undefined || !isKind(kind)) {
    throw new DecodeError("sealed", "kind", 0, `${id}, want 0 to 6`);
  }
  const body = payload.subarray(1);
  const lengths: readonly number[] | null = SEALED_KINDS[kind].lengths;
  if (lengths === null || lengths.includes(body.length)) return { kind, body };
  const wanted = lengths.join(" or ");
  const found = `${body.length} bytes, want ${wanted}`;
  throw new DecodeError("sealed", kind, 1, found);
}

function isKind(name: string): name is SealedKind {
  return Object.hasOwn(SEALED_KINDS, name);
}

function isName(name: string): name is SealedName {
  return Object.hasOwn(SEALED_NAMES, name);
}

/** Whether a topic's name can be inside a seal. */
export function isSealedName(name: TopicName): name is SealedName {
  return isName(name);
}

/** An established session: seals what we say and opens what we hear. */
export class SealedChannel {
  readonly #session: NoiseSession;
  #limit: number;
  /** Pieces of a message that is not whole, and their length. */
  #pieces: Uint8Array[] = [];
  #held = 0;

  /** Messages longer than `limit` are not joined. */
  constructor(session: NoiseSession, limit: number = SEALED_MESSAGE_LIMIT) {
    this.#session = session;
    this.#limit = limit;
  }

  /** Hash of the handshake. */
  get transcript(): Uint8Array {
    return this.#session.transcript;
  }

  /** From here on the other side may say more at once. */
  allow(limit: number): void {
    this.#limit = limit;
  }

  /** Payloads of kind record, to be published in this order: most often one. */
  seal(name: SealedName, payload: Uint8Array): Uint8Array<ArrayBuffer>[] {
    const message = new Uint8Array(payload.length + 1);
    message[0] = SEALED_NAMES[name];
    message.set(payload, 1);
    const records: Uint8Array<ArrayBuffer>[] = [];
    const room = PIECES_A_RECORD * PIECE_LIMIT;
    for (let start = 0; start < message.length; start += room) {
      records.push(this.#sealRecord(message, start, room));
    }
    return records;
  }

  #sealRecord(message: Uint8Array, start: number, room: number) {
    const end = Math.min(start + room, message.length);
    const count = Math.ceil((end - start) / PIECE_LIMIT);
    const size = 1 + end - start + count * (1 + NOISE_OVERHEAD);
    const record = new Uint8Array(size);
    record[0] = SEALED_KINDS.record.id;
    let offset = 1;
    for (let at = start; at < end; at += PIECE_LIMIT) {
      const piece = pieceOf(message, at);
      offset = this.#session.sender.sealInto(piece, record, offset);
    }
    return record;
  }

  /**
   * What the body of a record ends: messages in their order, often one.
   *
   * @throws {DecodeError} when it does not open or is not made as we make it;
   * the session is over then
   */
  open(body: Uint8Array): SealedMessage[] {
    if (body.length === 0) throw broken("record", "no bytes, want a message");
    const messages: SealedMessage[] = [];
    for (let offset = 0; offset < body.length;) {
      const opened = this.#session.receiver.open(body, offset);
      if (opened === null) throw broken("record", "it does not open");
      const message = this.#takePiece(opened.text);
      if (message !== null) messages.push(message);
      offset = opened.next;
    }
    return messages;
  }

  #takePiece(text: Uint8Array): SealedMessage | null {
    const more = text[0];
    if (more !== LAST && more !== MORE) {
      throw broken("more", `${more ?? "nothing"}, want 0 or 1`);
    }
    const piece = text.subarray(1);
    // Crumbs would take far more memory than they have bytes.
    if (more === MORE && piece.length < PIECE_LIMIT) {
      const found = `a piece of ${piece.length} bytes`;
      throw broken("more", `${found}, want ${PIECE_LIMIT} before another`);
    }
    this.#held += piece.length;
    if (this.#held > this.#limit) {
      throw broken("piece", `over ${this.#limit} bytes in all`);
    }
    this.#pieces.push(piece);
    return more === MORE ? null : this.#join();
  }

  #join(): SealedMessage {
    const [first, ...rest] = this.#pieces;
    const whole = first !== undefined && rest.length === 0
      ? first
      : concatenate(this.#pieces, this.#held);
    this.#pieces = [];
    this.#held = 0;
    const name = NAMES_BY_ID.get(whole[0] ?? -1);
    if (name === undefined || !isName(name)) {
      throw broken("name", `${whole[0] ?? "nothing"}, want a known number`);
    }
    return { name, payload: whole.subarray(1) };
  }

  /** Forgets the keys, and what was not whole. */
  end(): void {
    this.#pieces = [];
    this.#session.sender.wipe();
    this.#session.receiver.wipe();
  }
}

function broken(path: string, problem: string): DecodeError {
  return new DecodeError("sealed_record", path, 0, problem);
}

/** The piece of a message that starts there, with its mark in front. */
function pieceOf(message: Uint8Array, start: number): Uint8Array {
  const end = Math.min(start + PIECE_LIMIT, message.length);
  const piece = new Uint8Array(1 + end - start);
  piece[0] = end < message.length ? MORE : LAST;
  piece.set(message.subarray(start, end), 1);
  return piece;
}

function concatenate(
  parts: readonly Uint8Array[],
  length: number,
): Uint8Array {
  const whole = new Uint8Array(length);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
