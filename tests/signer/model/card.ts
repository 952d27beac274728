/**
 * A signer as a node has it: a desk on a card that can be cut off at each
 * durable write, restarted from its bytes, copied, and put back as it was.
 *
 * What it does not do: judge what it answers (`ledger.ts`).
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import { CardHeads, type CardStand } from "../../../src/broker/card_heads.ts";
import { CONSENTER } from "../../../src/device/approver.ts";
import { readCardState } from "../../../src/device/card_state.ts";
import { Desk, type Stepper } from "../../../src/device/desk.ts";
import { createSigner, step } from "../../../src/signer/handle.ts";
import { encodeWrite, type SignerMemory } from "../../../src/signer/memory.ts";
import {
  type Fault,
  MemoryDisk,
  type MemoryStore,
} from "../../../src/store/memory.ts";
import type { Store } from "../../../src/store/store.ts";
import { messageType } from "../../../src/wire/message.ts";
import { NOBODY } from "../../../src/wire/types.ts";
import { decodeSignerError, SIGNER_ERROR_TYPE } from "../../../src/wire/vls.ts";
import { INIT } from "../../broker/fake.ts";
import { believing } from "../../support/believed.ts";
import type { Asked, Side } from "../../support/peers.ts";
import { YES } from "../../support/strict.ts";

/** What is broken on purpose. */
export interface Sabotage {
  readonly step?: Stepper;
  readonly store?: (store: Store) => Store;
  /** Whether the broker looks at a card's head; true unless said. */
  readonly isGuarded?: boolean;
}

/** What goes wrong with a write; lost: it is written, and the reply lost. */
export type Mishap = Fault | "lost";

/** The text of a signer error; null for an answer. */
export function refusalIn(reply: Uint8Array): string | null {
  return messageType(reply) === SIGNER_ERROR_TYPE
    ? new TextDecoder().decode(decodeSignerError(reply).message)
    : null;
}

/** The time of all lives, in milliseconds: nothing here expires. */
export const NOW = 1_800_000_000_000;

/** One node's signer. */
export class Card {
  readonly #seed: Side;
  readonly #sabotage: Sabotage;
  readonly #heads = CardHeads.inMemory();
  readonly #copies: MemoryDisk[] = [];
  #disk = new MemoryDisk();
  #parts: {
    readonly desk: Desk;
    readonly store: MemoryStore;
    readonly memory: SignerMemory;
  };
  #mishap: { readonly kind: Mishap; after: number } | null = null;
  #hasFailed = false;
  restarts = 0;

  constructor(seed: Side, sabotage: Sabotage) {
    this.#seed = seed;
    this.#sabotage = sabotage;
    this.#parts = this.#start();
  }

  get desk(): Desk {
    return this.#parts.desk;
  }

  #start() {
    const { step: stepper = step, store: wrap = (same) => same } =
      this.#sabotage;
    const store = this.#disk.open();
    const { memory, tail, policy, allowlist, node } = readCardState(
      store,
      NETWORKS.regtest,
    );
    const signer = createSigner({
      secretFile: new Uint8Array(32).fill(7 + this.#seed),
      network: NETWORKS.regtest,
      isDeveloper: false,
      memory,
      policy: believing(policy),
      allowlist,
      consent: YES,
    });
    const desk = new Desk({
      signer,
      step: stepper,
      store: wrap(store),
      memory,
      tail,
      node,
      standing: null,
      approver: CONSENTER,
      say: () => {},
      now: () => NOW,
    });
    const served = desk.serve({ peerId: NOBODY, dbid: 0n, message: INIT });
    assert(!(served instanceof Promise) && served.reply !== null);
    assert.equal(refusalIn(served.reply), null);
    this.#disk.fault = () => this.#nextFault();
    return { desk, store, memory };
  }

  #nextFault(): Fault | null {
    const mishap = this.#mishap;
    if (mishap === null || mishap.kind === "lost") return null;
    if (mishap.after-- > 0) return null;
    this.#mishap = null;
    this.#hasFailed = true;
    return mishap.kind;
  }

  /** Plans that a write from here on goes wrong. */
  plan(kind: Mishap, after: number): void {
    this.#mishap = { kind, after };
  }

  /** Whether a planned fault has struck since the last call. */
  takeFailure(): boolean {
    const hasFailed = this.#hasFailed;
    this.#hasFailed = false;
    return hasFailed;
  }

  /** Whether this reply is to be lost on the way. */
  takeLoss(): boolean {
    const mishap = this.#mishap;
    if (mishap?.kind !== "lost" || mishap.after-- > 0) return false;
    this.#mishap = null;
    return true;
  }

  /** The power is cut; what starts again reads the card. */
  restart(): void {
    this.restarts += 1;
    this.#disk.fault = () => null;
    this.#disk.cutPower();
    this.#parts = this.#start();
    if (this.#sabotage.isGuarded === false) return;
    assert.equal(this.#heads.problemOf(this.#stand()), null, "its own card");
  }

  #stand(): CardStand {
    const { generation, hash } = this.#parts.store.head;
    return { generation, hash: hash.toHex(), card: "00".repeat(16) };
  }

  /** One request, one answer; nothing is done about an error. */
  serve(input: Asked): Uint8Array {
    const served = this.#parts.desk.serve(input);
    assert(!(served instanceof Promise), "consent is there already");
    assert(served.reply !== null, "every request here has a reply");
    return served.reply;
  }

  /** The broker has heard an answer, and with it where the card stands. */
  noteHead(): void {
    this.#heads.note(this.#stand());
  }

  /** The answer that would be given, without giving it. */
  rehearse(input: Asked): Uint8Array {
    const { reply } = step(this.desk.state, input, NOW);
    assert(reply !== null);
    return reply;
  }

  /** A copy of the card, as an owner makes one. */
  copy(): void {
    this.#copies.push(this.#disk.copy());
  }

  /**
   * An old copy is put in. The broker reports it, unless it stands where the
   * card stands; then, or without the check, it is used from here on.
   */
  restore(pick: number): void {
    const copy = this.#copies[pick % Math.max(1, this.#copies.length)];
    if (copy === undefined) return;
    const own = this.#disk;
    own.fault = () => null;
    own.cutPower();
    this.#disk = copy.copy();
    this.#parts = this.#start();
    const newest = this.#heads.newest;
    const found = this.#stand();
    const problem = this.#heads.problemOf(found);
    const isOld = newest !== null && found.generation < newest.generation;
    assert.equal(problem !== null, isOld, "an old card is reported");
    if (problem === null || this.#sabotage.isGuarded === false) return;
    this.#parts.store.close();
    this.#disk = own;
    this.#parts = this.#start();
  }

  /** Everything that is remembered, as bytes; and where the card stands. */
  dump(channels: readonly Pick<Asked, "peerId" | "dbid">[]): string {
    const { memory, store } = this.#parts;
    const writes = [
      ...channels.map((id) =>
        ({ kind: "channel", id, record: memory.channel(id) }) as const
      ),
      ...[...memory.payments()].map((record) =>
        ({ kind: "payment", hash: record.paymentHash, record }) as const
      ),
      { kind: "node", record: memory.node() } as const,
    ];
    const lines = writes.map(encodeWrite)
      .map(({ key, value }) => `${key}=${value?.toHex()}`);
    return [store.head.hash.toHex(), ...lines].join("\n");
  }
}
