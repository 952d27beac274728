/**
 * Whether a node is served: the owner's consent, asked once for each node.
 *
 * | the card is paired with | --yes | a terminal | neither |
 * | --- | --- | --- | --- |
 * | this node | served | served | served |
 * | nobody | served, remembered | asked | ends |
 * | another node | not met | asked | not met |
 *
 * A node is met without being known on this machine only; one that is elsewhere
 * is known by its pairing string. That a paired node has another key now is a
 * thing that anybody on the way can claim: it takes a person to look at it, and
 * without one the card waits for its own node. A node that has a node id already,
 * and another one than our seed's, is never served.
 *
 * What it does not do: know how a node introduces itself (`../box.ts`).
 *
 * @module
 */

import { pairingFingerprint } from "../../mqtt/fingerprint.ts";
import type { Change, NewLine, Store } from "../../store/store.ts";
import type { Gate, Introduction } from "../box.ts";
import { type CardPairing, pairingChange } from "../card_state.ts";
import { newLine } from "../ledger.ts";
import { OwnerError } from "../owner_error.ts";

/** What a gate works with. */
export interface GateOptions {
  readonly url: string;
  /** The card's MQTT client id. */
  readonly cid: string;
  readonly store: Store;
  readonly pairing: CardPairing | null;
  /** Written with the first node that is let in. */
  readonly later: readonly Change[];
  /** Consents to every node. */
  readonly isYes: boolean;
  /** Asks the owner; null where nobody can be asked. */
  readonly ask: ((question: string) => Promise<boolean>) | null;
  readonly say: (text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
}

/** A key that says: an address was set up, its owner was not asked yet. */
const NO_KEY = new Uint8Array(33);

/** A pairing that still wants the owner's consent: an address without a key. */
export function outstandingPairing(url: string, now: number): CardPairing {
  const pairedAt = BigInt(now);
  return { brokerKey: NO_KEY, url, pairedAt, certHash: null };
}

/** Whether the owner consented to a node, and not to an address alone. */
export function isPaired(pairing: CardPairing | null): pairing is CardPairing {
  return pairing !== null && pairing.brokerKey.toHex() !== NO_KEY.toHex();
}

/** Hosts that are this machine. */
const NEARBY = /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

/**
 * Whether a node may be met at all: by the key that it is known by, or because
 * only this machine's programs can be there.
 *
 * @throws {OwnerError} when it may not
 */
export function checkMeetable(url: string, pairing: CardPairing | null): void {
  if (isPaired(pairing) || NEARBY.test(new URL(url).hostname)) return;
  throw new OwnerError(
    "consent",
    `Cannot meet the node at ${url}: this card is paired with no node, and on ` +
      "a network anybody could answer, want its pairing string " +
      "(remote_hsmd_mqtt pair on the node, softkey pair here)",
  );
}

/** The gate of a card. */
export class PairingGate implements Gate {
  readonly #options: GateOptions;
  #pairing: CardPairing | null;
  #later: readonly Change[];
  /** The owner said no to a node. */
  #isDeclined = false;
  /** Questions that are open, by the node's key. */
  readonly #open = new Map<string, Promise<void>>();

  constructor(options: GateOptions) {
    this.#options = options;
    this.#pairing = isPaired(options.pairing) ? options.pairing : null;
    this.#later = options.later;
  }

  get pinned(): Uint8Array | null {
    return this.#pairing?.brokerKey ?? null;
  }

  /** Asked once: who is on the way could go on claiming for ever. */
  mayMeetAnother(): boolean {
    const { ask, isYes } = this.#options;
    return ask !== null && !isYes && !this.#isDeclined &&
      this.#open.size === 0;
  }

  meet(node: Introduction): void | Promise<void> {
    this.#checkNode(node);
    const key = node.brokerKey;
    if (key === null) return this.#meetStranger();
    const name = key.toHex();
    if (this.#pairing?.brokerKey.toHex() === name) return this.#commit([]);
    if (this.#options.isYes) return this.#meetAnyway(key);
    const open = this.#open.get(name) ??
      this.#consult(key).finally(() => this.#open.delete(name));
    this.#open.set(name, open);
    return open;
  }

  #checkNode({ expectedNode, nodeId }: Introduction): void {
    if (expectedNode === null || nodeId === null) return;
    if (expectedNode.toHex() === nodeId.toHex()) return;
    const { url } = this.#options;
    throw new OwnerError(
      "rightNode",
      `Cannot serve the node at ${url}: it is ${expectedNode.toHex()}, this ` +
        `seed is node ${nodeId.toHex()}, want that node or that node's card`,
    );
  }

  #meetStranger(): void {
    const { isYes, url } = this.#options;
    if (isYes) return;
    throw new OwnerError(
      "consent",
      `Cannot pair with the node at ${url}: its broker does not say who it ` +
        "is, want a newer broker, or --yes to serve it all the same",
    );
  }

  /** --yes consents to a node, and not to another in its place. */
  #meetAnyway(key: Uint8Array): void {
    if (this.#pairing === null) return this.#pair(key, "--yes");
    const { url, cid } = this.#options;
    throw new OwnerError(
      "consent",
      `Cannot serve the node at ${url}: it has fingerprint ` +
        `${pairingFingerprint(key, cid)}, ${this.#known()}, want that node, ` +
        "or softkey pair",
    );
  }

  /** Whom the card is paired with, for an owner. */
  #known(): string {
    const { cid } = this.#options;
    const paired = this.#pairing;
    return paired === null
      ? "this card is paired with no node yet"
      : `this card is paired with ${
        pairingFingerprint(paired.brokerKey, cid)
      }, at ${paired.url} since ${dayOf(paired.pairedAt)}`;
  }

  async #consult(key: Uint8Array): Promise<void> {
    const { ask, url, cid } = this.#options;
    const found = pairingFingerprint(key, cid);
    const who = `the node at ${url} has fingerprint ${found}, ${this.#known()}`;
    if (ask === null) {
      throw new OwnerError(
        "consent",
        `Cannot serve the node: ${who}, want your consent (softkey pair, ` +
          "or --yes)",
      );
    }
    const question = `${capital(who)}.\nThe node's log or terminal shows its ` +
      "fingerprint too. Pair with this node?";
    if (await ask(question)) return this.#pair(key, "the owner");
    this.#isDeclined = true;
    throw new OwnerError("consent", `Cannot serve the node: ${who}, refused`);
  }

  #pair(key: Uint8Array, by: string): void {
    const { url, cid, now, say } = this.#options;
    const before = this.#options.pairing;
    // It is the server's, whichever node is met there.
    const certHash = before?.url === url ? before.certHash : null;
    const pairedAt = BigInt(now());
    const pairing = { brokerKey: key, url, pairedAt, certHash };
    const text = `paired with the node at ${url}, fingerprint ` +
      `${pairingFingerprint(key, cid)}, allowed by ${by}`;
    const line = newLine({ kind: "pairing", text }, now());
    this.#commit([pairingChange(pairing)], [line]);
    this.#pairing = pairing;
    say(text);
  }

  #commit(changes: readonly Change[], lines: readonly NewLine[] = []): void {
    const all = [...changes, ...this.#later];
    if (all.length === 0) return;
    this.#options.store.commit(all, lines);
    this.#later = [];
  }
}

/** The day of a time in milliseconds. */
export function dayOf(time: bigint): string {
  return new Date(Number(time)).toISOString().slice(0, 10);
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}
