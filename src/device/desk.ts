/**
 * The desk between the line and the signer: a request is answered only when
 * what the answer commits to is durable.
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
import {
  type Effect,
  nodeKeyOf,
  prepare,
  type SignerInput,
  type SignerState,
  type Step,
} from "../signer/handle.ts";
import { encodeWrite, type SignerMemory } from "../signer/memory.ts";
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
import { bindingOf } from "./card_state.ts";

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
  /** One line to the owner. */
  readonly say: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

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

/** Serves requests from one card. */
export class Desk {
  readonly #options: DeskOptions;
  #state: SignerState;
  #node: Uint8Array | null;
  /** Why nothing is signed any more. */
  #problem: string | null = null;
  readonly #granted = new Set<string>();
  readonly #declined = new Map<string, number>();
  readonly #open = new Map<string, Promise<boolean>>();

  constructor(options: DeskOptions) {
    this.#options = options;
    this.#state = options.signer;
    this.#node = options.node;
  }

  /** The signer as it stands. */
  get state(): SignerState {
    return this.#state;
  }

  /** Answers; at once, but for what the owner is asked about. */
  serve(input: SignerInput): Served | Promise<Served> {
    if (this.#problem !== null) return failed(this.#problem);
    const { tail, step, now } = this.#options;
    const known = this.#state.kind === "ready" ? tail.find(input) : undefined;
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
    const isGranted = await approver.ask(question).catch((error) => {
      say(`cannot ask the owner: ${describeError(error)}`);
      return false;
    });
    if (!isGranted) {
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
    const { store, tail, memory } = this.#options;
    const { state, writes, reply } = step;
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
      store.commit(changes);
      isCommitted = changes.length > 0;
    } catch (error) {
      return this.#fail(error);
    }
    memory.apply(writes);
    if (isAnother) tail.clear();
    if (kept !== null) tail.remember(kept);
    if (state.kind === "ready") this.#node ??= state.identity.nodeId;
    this.#state = state;
    this.#tell(step, input);
    this.#prepare(step);
    return { reply, isCommitted };
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
      say("broken: nothing is signed until this softkey is restarted");
    }
    return failed(text);
  }

  #tell({ effects, reply }: Step, input: SignerInput): void {
    const { say } = this.#options;
    for (const effect of effects) {
      if (effect.kind !== "log" || effect.level === "debug") continue;
      const { level, text } = effect;
      say(level === "info" ? text : `${level}: ${text}`);
    }
    const refusal = reply === null ? null : refusalIn(reply);
    if (refusal !== null) say(`refused ${describeRequest(input)}: ${refusal}`);
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
