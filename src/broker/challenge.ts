/**
 * Whether the node's key can sign at this moment, found out by having it sign.
 *
 * A connection that stands proves little: a device can be locked, wrong, or
 * stuck. So a random text is signed by the node key (hsmd 23, sign_message) and
 * the signature is checked against the node id.
 *
 * What is signed is `remote-hsmd health ` and 64 hex digits. The node key signs
 * other things under the same prefix, and this is none of them: a login token
 * is over 4 bytes; the payload of a Sphinx control envelope is a MessagePack map
 * or string, and `r` is a number there.
 *
 * Whoever asks can be anybody, and must not wear out the signer: an outcome
 * holds for {@linkcode HOLD_MS}, and one challenge is under way at most. A
 * device that takes its time is waited for {@linkcode PATIENCE_MS}; whoever asks
 * again waits for the same signature, and no second one is asked for.
 *
 * What it does not do: judge anything else. A node whose chain is behind is
 * green here.
 *
 * @module
 */

import { sha256d } from "../crypto/hash.ts";
import { recoverPublicKey } from "../crypto/secp.ts";
import { describeError } from "../errors.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Answer } from "../unixfd.ts";
import { REPLIES, REQUESTS } from "../wire/hsmd.ts";
import { decodeMessage, encodeMessage, messageType } from "../wire/message.ts";

/** Whether the node can sign, with the reason when it cannot. */
export type Health =
  | {
    readonly isHealthy: true;
    /** When the signature was checked, Unix milliseconds. */
    readonly at: number;
    /** How long it took, in milliseconds. */
    readonly tookMs: number;
  }
  | {
    readonly isHealthy: false;
    readonly at: number;
    /** One plain line. */
    readonly reason: string;
  };

/** How long an outcome holds, in milliseconds. */
export const HOLD_MS = 10_000;
/** How long a device is waited for, in milliseconds. */
export const PATIENCE_MS = 5_000;

const utf8 = new TextEncoder();
/** Of whatever sign_message signs. */
const PREFIX = utf8.encode("Lightning Signed Message:");
const TEXT = "remote-hsmd health ";
const RANDOM_BYTES = 32;

/** A question that only the node's key can answer. */
export interface Challenge {
  /** The text that is to be signed. */
  readonly text: string;
  /** It as an hsmd request, type first. */
  readonly message: Uint8Array;
}

/** A question that nobody asked before. */
export function makeChallenge(
  random: Uint8Array = crypto.getRandomValues(new Uint8Array(RANDOM_BYTES)),
): Challenge {
  const text = TEXT + random.toHex();
  const msg = utf8.encode(text);
  return { text, message: encodeMessage(REQUESTS.sign_message, { msg }) };
}

/** What is wrong with an answer to a challenge; null when nothing is. */
export function problemWith(
  { text }: Challenge,
  answer: Answer,
  nodeId: Uint8Array,
): string | null {
  if (answer.kind === "silence") return "the device left without an answer";
  if (answer.kind !== "reply") {
    return `the device refused to sign: ${answer.reason}`;
  }
  const signature = signatureIn(answer.message);
  if (signature === null) return "the device answered with no signature";
  const signer = signerOf(sha256d(PREFIX, utf8.encode(text)), signature);
  if (signer === nodeId.toHex()) return null;
  return signer === null
    ? "what the device answered is no signature"
    : `the signature is by another key, ${signer}`;
}

function signatureIn(message: Uint8Array): Uint8Array | null {
  const row = REPLIES.sign_message_reply;
  if (messageType(message) !== row.type) return null;
  try {
    return decodeMessage(row, message).sig;
  } catch (_error) {
    return null;
  }
}

/** Hex of the key that signed; null where no key could have. */
function signerOf(digest: Uint8Array, signature: Uint8Array): string | null {
  try {
    return recoverPublicKey(digest, signature).toHex();
  } catch (_error) {
    return null;
  }
}

/** What a health check is made of. */
export interface HealthOptions {
  /** Unix milliseconds. */
  readonly now: () => number;
  /** Why nobody can be asked now; null when somebody can. */
  readonly obstacle: () => string | null;
  /** The node id that the signature has to be by; null while unpaired. */
  readonly nodeId: () => Uint8Array | null;
  /** Has the active device answer; may take as long as it takes. */
  readonly ask: (message: Uint8Array) => Promise<Answer>;
  /** How long one who asks waits; {@linkcode PATIENCE_MS} by default. */
  readonly patienceMs?: number;
  /** Counts outcomes. */
  readonly metrics?: Metrics;
}

/** Asks for a signature, seldom enough. */
export class HealthCheck {
  readonly #options: HealthOptions;
  #last: Health | null = null;
  #underWay: Promise<Health> | null = null;

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  /** Whether the node can sign: found out now, or within {@linkcode HOLD_MS}. */
  check(): Promise<Health> {
    const { obstacle, nodeId } = this.#options;
    const why = obstacle();
    if (why !== null) return Promise.resolve(this.#ill(why));
    const pinned = nodeId();
    if (pinned === null) return Promise.resolve(this.#ill("no node id yet"));
    if (this.#last !== null && this.#isFresh(this.#last)) {
      return Promise.resolve(this.#last);
    }
    this.#underWay ??= this.#find(pinned).finally(() => this.#underWay = null);
    return this.#waitFor(this.#underWay);
  }

  /** Forgets the last outcome: another device is active, or none. */
  forget(): void {
    this.#last = null;
  }

  /** A clock that was put back makes no outcome last longer. */
  #isFresh({ at }: Health): boolean {
    const age = this.#options.now() - at;
    return age >= 0 && age < HOLD_MS;
  }

  async #find(nodeId: Uint8Array): Promise<Health> {
    const begun = this.#options.now();
    const problem = await this.#ask(nodeId);
    const outcome = problem === null ? "ok" : "failed";
    this.#options.metrics?.add("remote_hsmd_health_checks_total", [outcome]);
    if (problem !== null) return this.#last = this.#ill(problem);
    const at = this.#options.now();
    return this.#last = { isHealthy: true, at, tookMs: at - begun };
  }

  async #ask(nodeId: Uint8Array): Promise<string | null> {
    const challenge = makeChallenge();
    try {
      const answer = await this.#options.ask(challenge.message);
      return problemWith(challenge, answer, nodeId);
    } catch (error) {
      return describeError(error);
    }
  }

  /** The outcome, or that it is not there yet. */
  async #waitFor(outcome: Promise<Health>): Promise<Health> {
    const { promise: late, resolve } = Promise.withResolvers<Health>();
    const { patienceMs = PATIENCE_MS } = this.#options;
    const timer = setTimeout(() => {
      const seconds = patienceMs / 1000;
      resolve(this.#ill(`the device has not signed for ${seconds} s`));
    }, patienceMs);
    try {
      return await Promise.race([outcome, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #ill(reason: string): Health {
    return { isHealthy: false, at: this.#options.now(), reason };
  }
}
