/**
 * A recording played to a signer that has a policy and a memory, answer by
 * answer: what was identical, what was refused by which rule, what differs.
 *
 * Restarts are restarts: the records go through their bytes, as from a card.
 *
 * @module
 */

import { networkOf } from "../../src/bitcoin/networks.ts";
import type { Consent } from "../../src/policy/consent.ts";
import {
  createSigner,
  type SignerInput,
  type SignerState,
  type Step,
  step,
} from "../../src/signer/handle.ts";
import { encodeWrite, SignerMemory } from "../../src/signer/memory.ts";
import type { StoredValue } from "../../src/store/store.ts";
import { messageName } from "../../src/wire/hsmd.ts";
import { messageType } from "../../src/wire/message.ts";
import { NOBODY, type NodeId } from "../../src/wire/types.ts";
import { decodeSignerError, SIGNER_ERROR_TYPE } from "../../src/wire/vls.ts";
import { believedPolicy } from "./believed.ts";
import {
  readEvents,
  type RecordedEvent,
  type RecordedMessage,
} from "./recording.ts";

const INIT = 11;
const CLIENT_HSMFD = 9;
const DEV_PREINIT = 99;

/** What `softkey --yes` stands for. */
export const YES: Consent = {
  mode: "always",
  granted: new Set(),
  declined: new Set(),
};

/** A request that was not answered as recorded. */
export interface Exceptional {
  /** Index of the request's line in the recording. */
  readonly at: number;
  readonly request: string;
  /** The signer error's text, or null when the reply was another one. */
  readonly refusal: string | null;
}

/** What came of a recording. */
export interface StrictOutcome {
  readonly requests: number;
  readonly identical: number;
  readonly exceptions: readonly Exceptional[];
  /** Rules that were let pass with a warning, as log lines. */
  readonly warnings: readonly string[];
}

/** The tag of a refusal; null when none is in the text. */
export function tagOf(refusal: string): string | null {
  return /policy failure: (policy-[a-z-]+)/.exec(refusal)?.[1] ?? null;
}

/** Hears of each step, before its writes are applied. */
export type StepObserver = (step: Step, input: SignerInput) => void;

type Identity = { readonly peerId: NodeId; readonly dbid: bigint };

interface Waiting {
  readonly message: RecordedMessage;
  readonly at: number;
  readonly found: Uint8Array | null;
}

class StrictReplay {
  readonly #events: readonly RecordedEvent[];
  readonly #consent: Consent;
  readonly #observe: StepObserver;
  readonly #connections = new Map<number, Identity>([
    [0, { peerId: NOBODY, dbid: 0n }],
  ]);
  readonly #waiting = new Map<number, Waiting>();
  readonly #stored = new Map<string, StoredValue>();
  #memory = new SignerMemory();
  #signer: SignerState | null = null;
  requests = 0;
  identical = 0;
  readonly exceptions: Exceptional[] = [];
  readonly warnings: string[] = [];

  constructor(
    events: readonly RecordedEvent[],
    consent: Consent,
    observe: StepObserver,
  ) {
    this.#events = events;
    this.#consent = consent;
    this.#observe = observe;
  }

  run(): StrictOutcome {
    this.#events.forEach((event, at) => this.#follow(event, at));
    return this;
  }

  #follow(event: RecordedEvent, at: number): void {
    if (event.kind === "open") {
      const { peer: peerId, dbid } = event;
      this.#connections.set(event.conn, { peerId, dbid });
    } else if (event.kind === "request") {
      this.#ask(event, at);
    } else if (event.kind === "reply") {
      this.#compare(event);
    }
  }

  /** A restart begins with preinit or, without developer mode, with init. */
  #ask(message: RecordedMessage, at: number): void {
    const isFirst = message.type === DEV_PREINIT ||
      message.type === INIT && this.#signer?.kind !== "locked";
    if (isFirst) this.#start(at);
    if (message.type === CLIENT_HSMFD) return;
    const found = this.#step(message.conn, message.bytes);
    if (message.type === DEV_PREINIT) return;
    this.#waiting.set(message.conn, { message, at, found });
  }

  /** A start: from the card, which is what a restart leaves. */
  #start(at: number): void {
    const isSecret = (event: RecordedEvent) => event.kind === "secret";
    const secret = this.#events.slice(at, at + 6).find(isSecret) ??
      this.#events.slice(0, at).findLast(isSecret);
    const init = this.#events.slice(at)
      .find((event) => event.kind === "request" && event.type === INIT);
    const network = init?.kind === "request"
      ? networkOf(init.bytes.subarray(10, 42))
      : undefined;
    if (secret?.kind !== "secret" || network === undefined) {
      throw new Error(`No secret or network for the start at ${at}`);
    }
    this.#memory = SignerMemory.load(this.#stored.values());
    this.#signer = createSigner({
      secretFile: secret.file,
      network,
      isDeveloper: true,
      memory: this.#memory,
      // No recording has blocks in it.
      policy: believedPolicy(network.name),
      consent: this.#consent,
    });
  }

  #compare(reply: RecordedMessage): void {
    const waiting = this.#waiting.get(reply.conn);
    if (waiting === undefined) return;
    this.#waiting.delete(reply.conn);
    const { message, at, found } = waiting;
    this.requests += 1;
    if (found?.toHex() === reply.bytes.toHex()) {
      this.identical += 1;
      return;
    }
    const isRefusal = found !== null &&
      messageType(found) === SIGNER_ERROR_TYPE;
    this.exceptions.push({
      at,
      request: messageName(message.type),
      refusal: isRefusal
        ? new TextDecoder().decode(decodeSignerError(found).message)
        : null,
    });
  }

  #step(conn: number, message: Uint8Array): Uint8Array | null {
    const identity = this.#connections.get(conn);
    if (this.#signer === null || identity === undefined) {
      throw new Error(`No signer or connection ${conn}`);
    }
    const input = { ...identity, message };
    const taken = step(this.#signer, input, Date.now());
    const { state, reply, writes, effects } = taken;
    this.#observe(taken, input);
    this.#signer = state;
    for (const { key, value } of writes.map(encodeWrite)) {
      const version = (this.#stored.get(key)?.version ?? -1n) + 1n;
      if (value === null) this.#stored.delete(key);
      else this.#stored.set(key, { key, version, value });
    }
    this.#memory.apply(writes);
    for (const effect of effects) {
      if (effect.kind === "log" && effect.level === "unusual") {
        this.warnings.push(effect.text);
      }
    }
    return reply;
  }
}

/** Plays a recording under the strict default policy. */
export function playStrict(
  path: URL,
  consent: Consent = YES,
  observe: StepObserver = () => {},
): StrictOutcome {
  return new StrictReplay(readEvents(path), consent, observe).run();
}
