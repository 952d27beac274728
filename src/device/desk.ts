/**
 * The desk between the line and the signer: a request is answered only when
 * what the answer commits to is durable, and its line in the book with it.
 *
 * ```
 * request -> answered before? -> step -> owner's consent? -> commit -> apply -> reply
 *              the same bytes            asked, step again    |
 *                                                             '- failed: error 500,
 *                                                                nothing happened
 * ```
 *
 * The step reads the records in memory; they change only after the commit, and
 * nothing comes between: one request runs from step to commit without a pause.
 * A question to the owner pauses one request, which starts anew when the answer
 * is there; others go on meanwhile.
 *
 * | line | durable |
 * | --- | --- |
 * | of a signature | before the reply leaves, in the commit of its state |
 * | of an HTLC's signature, after its commitment's line | with the next commit, after a second at most |
 * | of what the owner answers | at once |
 * | of a refusal, a question, one that nobody answered | at once, in bounds (`line_limit.ts`) |
 *
 * No signature costs two commits: where its state changes, the line rides along;
 * where nothing changes, the line is the commit. A request that is answered from
 * the tail signs nothing new and leaves no line.
 *
 * On a card that is one of several, an answer waits once more, behind this: until
 * the storage server has what it rests on (`shared/sharing.ts`). What that server
 * holds may take the place of all that is remembered here.
 *
 * After a write of which nobody can tell whether it happened, nothing is signed
 * until the softkey is restarted and has read the card.
 *
 * What it does not do: know the protocol of the line, or any rule.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { publicKey } from "../crypto/secp.ts";
import { describeError, SIGNER_ERROR_CODES } from "../errors.ts";
import { hasAlarm } from "../signer/alarms.ts";
import {
  type Effect,
  nodeKeyOf,
  prepare,
  type SignerInput,
  type SignerState,
  type Step,
} from "../signer/handle.ts";
import { encodeWrite, type SignerMemory } from "../signer/memory.ts";
import { type Described, describeStep } from "../signer/ledger.ts";
import { NO_FEED, type NoteEffect, type Ownership } from "../signer/state.ts";
import type { Change, Store } from "../store/store.ts";
import { messageName } from "../wire/hsmd.ts";
import { messageType } from "../wire/message.ts";
import { statusText } from "../wire/status.ts";
import {
  decodeSignerError,
  encodeSignerError,
  SIGNER_ERROR_TYPE,
} from "../wire/vls.ts";
import type { AnswerTail } from "./answers.ts";
import type { Approver, Question } from "./approver.ts";
import { bindingOf, type CardState } from "./card_state.ts";
import type { LedgerEntry } from "./ledger.ts";
import { LedgerWriter } from "./ledger_writer.ts";
import { refusalByStanding, type Standing } from "./standing.ts";

/** One step of a signer; `handle.ts` has the real one. */
export type Stepper = (
  state: SignerState,
  input: SignerInput,
  now: number,
) => Step;

/** What a desk works with. */
export interface DeskOptions {
  readonly signer: SignerState;
  readonly step: Stepper;
  readonly store: Store;
  readonly memory: SignerMemory;
  readonly tail: AnswerTail;
  /** Node id that the card belongs to; null for one that is new. */
  readonly node: Uint8Array | null;
  readonly approver: Approver;
  /** What the card may still do; all of it unless given. */
  readonly standing: Standing | null;
  /** One line to the owner. */
  readonly say: (text: string) => void;
  /** Hears whether an alarm stands, when one begins or is over. */
  readonly alarm?: (isStanding: boolean) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** What a card remembers, as a desk works with it. */
export type Remembered = Pick<
  CardState,
  "memory" | "tail" | "standing" | "policy" | "allowlist"
>;

/** What became of a request. */
export interface Served {
  /** Null only where the protocol has no answer. */
  readonly reply: Uint8Array | null;
  /** Whether something was written for it. */
  readonly isCommitted: boolean;
}

/** A thing that was declined is not asked about again for this long. */
const DECLINED_MS = 600_000;
/** Things that were allowed, remembered for a repeat of the request. */
const MOST_GRANTED = 1024;
/** In the place of a message's number, where it has none. */
const NO_TYPE = -1;

/** Serves requests from one card. */
export class Desk {
  readonly #options: DeskOptions;
  #state: SignerState;
  #memory: SignerMemory;
  #tail: AnswerTail;
  #standing: Standing | null;
  #node: Uint8Array | null;
  /** Why nothing is signed any more. */
  #problem: string | null = null;
  readonly #granted = new Set<string>();
  readonly #declined = new Map<string, number>();
  readonly #open = new Map<string, Promise<boolean>>();
  readonly #writer: LedgerWriter;

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#state = options.signer;
    this.#memory = options.memory;
    this.#tail = options.tail;
    this.#standing = options.standing;
    this.#node = options.node;
    const { store, now } = options;
    const fail = (error: unknown) => void this.#fail(error);
    this.#writer = new LedgerWriter({ store, now, fail });
  }

  /** The signer as it stands. */
  get state(): SignerState {
    return this.#state;
  }

  /** The owner changed what is allowed: it counts from the next request on. */
  own(ownership: Partial<Pick<Ownership, "policy" | "allowlist">>): void {
    this.#state = { ...this.#state, ...ownership };
  }

  /**
   * Everything that is remembered is another now, on the card already: what a
   * storage server holds was taken over. It counts from the next request on.
   */
  renew(card: Remembered): void {
    const { memory, tail, standing, policy, allowlist } = card;
    this.#memory = memory;
    this.#tail = tail;
    this.#standing = standing;
    const state = { ...this.#state, memory, policy, allowlist };
    // Pieces of a block that came before belong to another tip.
    this.#state = state.kind === "ready" ? { ...state, feed: NO_FEED } : state;
    this.#options.alarm?.(hasAlarm(this.#state));
  }

  /** Puts down what is no request; it is durable then. @throws {StoreError} */
  note(entry: LedgerEntry): void {
    try {
      this.#writer.note(entry);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  /** Writes what waits to be written. The desk may go on afterwards. */
  close(): void {
    // After a failure nobody can tell what the card holds: it is left alone.
    if (this.#problem === null) this.#writer.close();
  }

  /** Answers; at once, but for what the owner is asked about. */
  serve(input: SignerInput): Served | Promise<Served> {
    if (this.#problem !== null) return failed(this.#problem);
    const { step, now } = this.#options;
    const type = messageType(input.message) ?? NO_TYPE;
    const refusal = refusalByStanding(this.#standing, type);
    if (refusal !== null) return this.#refuse(refusal, input);
    const isReady = this.#state.kind === "ready";
    const known = isReady ? this.#tail.find(input) : undefined;
    if (known !== undefined) return { reply: known, isCommitted: false };
    const result = step(this.#withAnswers(), input, now());
    const question = result.effects.find(isQuestion);
    if (question !== undefined) return this.#consult(question, input);
    return this.#settle(result, input);
  }

  /** The state, with what the owner has said so far. */
  #withAnswers(): SignerState {
    const state = this.#state;
    if (state.consent.mode !== "ask") return state;
    const now = this.#options.now();
    for (const [key, until] of this.#declined) {
      if (until <= now) this.#declined.delete(key);
    }
    const granted = new Set(this.#granted);
    const declined = new Set(this.#declined.keys());
    return { ...state, consent: { mode: "ask", granted, declined } };
  }

  /** Asks the owner, then answers the request as if it had just come. */
  async #consult(question: Question, input: SignerInput): Promise<Served> {
    const { key } = question;
    if (this.#granted.has(key) || this.#declined.has(key)) {
      return failed(`Cannot sign: asked twice about ${key}`);
    }
    let answer = this.#open.get(key);
    if (answer === undefined) {
      answer = this.#ask(question).finally(() => this.#open.delete(key));
      this.#open.set(key, answer);
    }
    await answer;
    return await this.serve(input);
  }

  async #ask(question: Question): Promise<boolean> {
    const { approver, say, now } = this.#options;
    say(`asking the owner: ${question.question}`);
    this.#noteQuestion("asked", question.question, question);
    const answer = await approver.ask(question).catch((error) => {
      say(`cannot ask the owner: ${describeError(error)}`);
      return null;
    });
    this.#noteAnswer(answer, question);
    if (answer !== true) {
      this.#declined.set(question.key, now() + DECLINED_MS);
      return false;
    }
    const [oldest] = this.#granted;
    if (this.#granted.size >= MOST_GRANTED && oldest !== undefined) {
      this.#granted.delete(oldest);
    }
    this.#granted.add(question.key);
    return true;
  }

  /** Makes a step's result durable, then true, then known. */
  #settle(step: Step, input: SignerInput): Served {
    const tail = this.#tail;
    const { now } = this.#options;
    const { state, writes, reply } = step;
    const described = describeStep(step, input, now());
    const kept = writes.length > 0 && reply !== null
      ? tail.prepare(input, reply)
      : null;
    let isCommitted = false;
    let isAnother = false;
    try {
      isAnother = this.#isAnotherNode(state);
      const changes: readonly Change[] = [
        ...(isAnother ? tail.prepareClear() : []),
        ...this.#binding(state),
        ...writes.map(encodeWrite),
        ...(kept === null ? [] : [kept.change]),
      ];
      const entry = described && entryOf(described);
      const mayWait = described?.rides ?? false;
      this.#writer.keep({ changes, entry, mayWait });
      isCommitted = changes.length > 0;
    } catch (error) {
      return this.#fail(error);
    }
    this.#memory.apply(writes);
    if (isAnother) tail.clear();
    if (kept !== null) tail.remember(kept);
    if (state.kind === "ready") this.#node ??= state.identity.nodeId;
    this.#state = state;
    this.#tell(step, input);
    this.#prepare(step);
    return { reply, isCommitted };
  }

  /** A block that was added brought it, or a request: nobody asks for it. */
  #tellNote({ about, channel, text }: NoteEffect): void {
    const where = channel === null
      ? ""
      : `channel ${channel.dbid} with ${channel.peerId.toHex()}: `;
    this.#options.say(`${about}: ${where}${text}`);
    const place = channel === null
      ? {}
      : { peer: channel.peerId.toHex(), channel: channel.dbid };
    this.#writer.tell({ kind: about, ...place, text });
    if (about === "alarm") this.#options.alarm?.(hasAlarm(this.#state));
  }

  #noteAnswer(answer: boolean | null, question: Question): void {
    const { question: text } = question;
    // Nobody but the owner can bring about that he answers.
    if (answer === true) {
      this.#writer.tell({ kind: "approved", text, allowedBy: "the owner" });
    } else if (answer === false) {
      this.#writer.tell({ kind: "declined", text });
    } else {
      this.#noteQuestion("declined", `${text} Nobody answered`, question);
    }
  }

  /** A line that the node can bring about by asking for things. */
  #noteQuestion(
    kind: "asked" | "declined",
    text: string,
    { consentKind }: Question,
  ): void {
    this.#writer.tellEachWithinBounds({ kind, text }, `${kind} ${consentKind}`);
  }

  /** Says no for the card's standing. */
  #refuse(refusal: string, input: SignerInput): Served {
    const code = SIGNER_ERROR_CODES.refused;
    const reply = encodeSignerError({ code, message: statusText(refusal) });
    this.#tellRefusal(refusal, input);
    return { reply, isCommitted: false };
  }

  #tellRefusal(refusal: string, input: SignerInput): void {
    this.#options.say(`refused ${describeRequest(input)}: ${refusal}`);
    const request = messageName(messageType(input.message));
    const { peerId, dbid } = input;
    const place = dbid === 0n ? {} : { peer: peerId.toHex(), channel: dbid };
    const text = `${request}: ${refusal}`;
    const entry = { kind: "refused", request, text, ...place };
    this.#writer.tellWithinBounds(
      entry,
      `refusals of ${request}, ${ruleOf(refusal)}`,
    );
  }

  /** Works ahead, once the reply is on its way. */
  #prepare({ effects }: Step): void {
    const [next] = effects.filter((effect) => effect.kind === "prepare");
    if (next !== undefined) setImmediate(() => prepare(this.#state, next));
  }

  /** Ties the card to the first node that it serves. */
  #binding(state: SignerState): readonly Change[] {
    if (state.kind !== "ready" || this.#state.kind === "ready") return [];
    const seed = nodeKeyOf(this.#state);
    // A developer's init may force another key; the card goes by the seed.
    const nodeId = seed === null
      ? state.identity.nodeId
      : publicKey(seed.reveal());
    const binding = bindingOf(this.#node, nodeId);
    return binding === null ? [] : [binding];
  }

  #isAnotherNode(state: SignerState): boolean {
    const before = this.#state;
    return state.kind === "ready" && before.kind === "ready" &&
      state.identity.nodeId.toHex() !== before.identity.nodeId.toHex();
  }

  #fail(error: unknown): Served {
    const { store, say } = this.#options;
    const text = describeError(error);
    say(`broken: ${text}`);
    if (!store.isCertain) {
      this.#problem = text;
      this.#writer.stop();
      say("broken: nothing is signed until this softkey is restarted");
    }
    return failed(text);
  }

  #tell({ effects, reply }: Step, input: SignerInput): void {
    const { say } = this.#options;
    for (const effect of effects) {
      if (effect.kind === "note") this.#tellNote(effect);
      if (effect.kind !== "log" || effect.level === "debug") continue;
      const { level, text } = effect;
      say(level === "info" ? text : `${level}: ${text}`);
    }
    const refusal = reply === null ? null : refusalIn(reply);
    if (refusal !== null) this.#tellRefusal(refusal, input);
  }
}

function isQuestion(effect: Effect): effect is Effect & Question {
  return effect.kind === "ask";
}

function failed(text: string): Served {
  const code = SIGNER_ERROR_CODES.internal;
  const reply = encodeSignerError({ code, message: statusText(text) });
  return { reply, isCommitted: false };
}

function refusalIn(reply: Uint8Array): string | null {
  if (messageType(reply) !== SIGNER_ERROR_TYPE) return null;
  const { code, message } = decodeSignerError(reply);
  return code === SIGNER_ERROR_CODES.refused
    ? new TextDecoder().decode(message)
    : null;
}

function describeRequest({ peerId, dbid, message }: SignerInput): string {
  const name = messageName(messageType(message));
  return dbid === 0n ? name : `${name} of channel ${dbid}, ${peerId.toHex()}`;
}

/** The rule that a refusal names. */
function ruleOf(refusal: string): string {
  return /policy-[a-z0-9-]+/.exec(refusal)?.[0] ?? "no rule";
}

function entryOf(
  { kind, request, channel, text, allowedBy }: Described,
): LedgerEntry {
  const place = channel === null
    ? {}
    : { peer: channel.peerId.toHex(), channel: channel.dbid };
  return { kind, request, ...place, text, allowedBy };
}
