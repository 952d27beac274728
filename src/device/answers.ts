/**
 * The tail of answered requests: what changed something is answered with the
 * same bytes when it comes again.
 *
 * A broker that lost the line asks again, and cannot know whether the first time
 * was heard. The answer is committed together with what it changed, so there is
 * no moment at which one is durable without the other.
 *
 * A ring of {@link SLOTS} keys, `answer/000` on; each answer has a number, and
 * goes to the slot after the newest. A request is known by SHA-256(peer, dbid,
 * message). Answers of an older format are forgotten: that costs a judgement.
 *
 * Only the last change of a connection is answered from here. An older one may
 * have been overtaken (a commitment that was replaced and comes again must be
 * the pending one again), so it is judged anew; every handler gives the same
 * answer to the same content anyway.
 *
 * What it does not do: remember what only read; an error; check_outpoint and the
 * chain's own messages, whose answers change with the chain; a reply beyond 65,535 bytes, which no message
 * of lightningd has.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { DecodeError } from "../errors.ts";
import { answerRecord } from "../signer/records.ts";
import type { SignerInput } from "../signer/state.ts";
import type { Change, StoredValue } from "../store/store.ts";
import { decode, encode } from "../wire/codec.ts";
import { NATIVE_CHAIN_MESSAGES } from "../wire/chain_native.ts";
import { REQUESTS } from "../wire/hsmd.ts";
import { messageType } from "../wire/message.ts";
import { CHAIN_MESSAGES } from "../wire/txoo.ts";
import { SIGNER_ERROR_TYPE } from "../wire/vls.ts";

/** How many answers are remembered. */
export const SLOTS = 256;

/**
 * Whose request it is. Of each connection only the last change is answered from
 * here: what came before may have been overtaken, and is judged anew.
 */
function scopeOf({ peerId, dbid }: Pick<SignerInput, "peerId" | "dbid">) {
  return `${peerId.toHex()}/${dbid}`;
}

const PREFIX = "answer/";
const FORMAT = 2;
const FORMER_FORMATS: readonly number[] = [1];
const LONGEST_REPLY = 0xffff;
/** Their answers change with the chain. */
const NOT_KEPT: ReadonlySet<number> = new Set(
  [
    REQUESTS.check_outpoint,
    ...Object.values(CHAIN_MESSAGES),
    ...Object.values(NATIVE_CHAIN_MESSAGES),
  ].map(({ type }) => type),
);

/** What is the same about two requests that are the same. */
function requestHash({ peerId, dbid, message }: SignerInput): string {
  const channel = new Uint8Array(8);
  new DataView(channel.buffer).setBigUint64(0, dbid);
  return createHash("sha256")
    .update(peerId)
    .update(channel)
    .update(message)
    .digest("hex");
}

/** An answer that will be remembered once its change is durable. */
export interface Remembering {
  readonly change: Change;
  readonly number: bigint;
  readonly scope: string;
  readonly hash: string;
  readonly reply: Uint8Array;
}

interface Slot {
  readonly number: bigint;
  readonly scope: string;
  readonly hash: string;
}

/** The last answers. */
export class AnswerTail {
  readonly #replies = new Map<string, Uint8Array>();
  readonly #slots: (Slot | undefined)[] = [];
  /** The last change of each connection. */
  readonly #last = new Map<string, string>();
  /** Number of the next answer. */
  #next = 0n;

  /** Takes what a card holds. @throws {DecodeError} for a damaged answer */
  static load(values: Iterable<StoredValue>): AnswerTail {
    const tail = new AnswerTail();
    for (const stored of values) {
      if (stored.key.startsWith(PREFIX)) tail.#take(stored);
    }
    tail.#orderScopes();
    return tail;
  }

  /** How many there are. */
  get size(): number {
    return this.#replies.size;
  }

  /** The answer that this request got, if nothing changed since for its asker. */
  find(input: SignerInput): Uint8Array | undefined {
    const last = this.#last.get(scopeOf(input));
    if (last === undefined) return undefined;
    const hash = requestHash(input);
    return last === hash ? this.#replies.get(hash) : undefined;
  }

  /** What has to be written for an answer, or null where none is kept. */
  prepare(input: SignerInput, reply: Uint8Array): Remembering | null {
    const type = messageType(input.message);
    const isKept = type !== null && !NOT_KEPT.has(type) &&
      messageType(reply) !== SIGNER_ERROR_TYPE &&
      reply.length <= LONGEST_REPLY;
    if (!isKept) return null;
    const hash = requestHash(input);
    const number = this.#next;
    const value = pack(input, { number, hash, reply });
    const key = keyOf(slotOf(number));
    const scope = scopeOf(input);
    return { change: { key, value }, number, scope, hash, reply };
  }

  /** The change is durable. */
  remember({ number, scope, hash, reply }: Remembering): void {
    const slot = slotOf(number);
    const before = this.#slots[slot];
    if (before !== undefined) this.#forget(before);
    this.#slots[slot] = { number, scope, hash };
    this.#replies.set(hash, reply);
    this.#last.set(scope, hash);
    this.#next = number + 1n;
  }

  #forget({ scope, hash }: Slot): void {
    this.#replies.delete(hash);
    if (this.#last.get(scope) === hash) this.#last.delete(scope);
  }

  /** From the oldest answer on: the last of each connection wins. */
  #orderScopes(): void {
    const slots = this.#slots.filter((slot) => slot !== undefined)
      .toSorted((a, b) => a.number < b.number ? -1 : 1);
    for (const { scope, hash } of slots) this.#last.set(scope, hash);
    this.#next = (slots.at(-1)?.number ?? -1n) + 1n;
  }

  /** What has to be written to forget them all. */
  prepareClear(): readonly Change[] {
    return Array.from(this.#slots.keys())
      .filter((slot) => this.#slots[slot] !== undefined)
      .map((slot) => ({ key: keyOf(slot), value: null }));
  }

  /** They are forgotten for good. */
  clear(): void {
    this.#replies.clear();
    this.#last.clear();
    this.#slots.length = 0;
  }

  #take({ key, value }: StoredValue): void {
    const slot = Number(key.slice(PREFIX.length));
    const isSlot = Number.isInteger(slot) && slot >= 0 && slot < SLOTS;
    if (isSlot && FORMER_FORMATS.includes(value[0] ?? FORMAT)) return;
    if (!isSlot || value[0] !== FORMAT) {
      const found = `format ${value[0] ?? "missing"} in slot ${slot}`;
      throw new DecodeError(key, "", 0, `${found}, want format ${FORMAT}`);
    }
    const record = decode(answerRecord, value.subarray(1), key);
    const { number, request, reply } = record;
    const hash = request.toHex();
    this.#slots[slot] = { number, scope: scopeOf(record), hash };
    this.#replies.set(hash, reply);
  }
}

function slotOf(number: bigint): number {
  return Number(number % BigInt(SLOTS));
}

function keyOf(slot: number): string {
  return `${PREFIX}${String(slot).padStart(3, "0")}`;
}

function pack(
  { peerId, dbid }: SignerInput,
  { number, hash, reply }: Pick<Remembering, "number" | "hash" | "reply">,
): Uint8Array {
  const request = Uint8Array.fromHex(hash);
  const body = encode(answerRecord, { number, peerId, dbid, request, reply });
  const value = new Uint8Array(1 + body.length);
  value[0] = FORMAT;
  value.set(body, 1);
  return value;
}
