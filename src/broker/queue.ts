/**
 * Requests that were not answered yet: their order, their numbers, and which
 * device has which.
 *
 * A request gets its number when it is sent first and keeps it until it is
 * answered, over as many sessions as that takes: a device asked twice sees the
 * same question twice, and an answer fits one question only.
 *
 * @module
 */

import type { Answer, Request } from "../unixfd.ts";
import { encodeSignerRequest } from "../wire/vls.ts";
import type { Device } from "./device.ts";

/** A request that was not answered yet. */
export interface Pending {
  readonly request: Request;
  /** Milliseconds, on the clock of the queue. */
  readonly askedAt: number;
  readonly answer: (answer: Answer) => void;
  /** Gets the bare answer of a message that is nobody's request. */
  readonly take: ((message: Uint8Array) => void) | null;
  /** Given when it is sent first, kept until it is answered. */
  sequence: number | null;
  /** The device that has it. */
  sentTo: Device | null;
}

/** What the queue needs from around it. */
export interface QueueOptions {
  /** Publishes a request frame to a device; false when the device is gone. */
  readonly send: (device: Device, frame: Uint8Array) => boolean;
  /** Hears that the queue got shorter or longer. */
  readonly changed: () => void;
  readonly now: () => number;
}

/** Sequence numbers are u16. */
const SEQUENCES = 0x10000;

/** Unanswered requests, in the order in which they were read. */
export class RequestQueue {
  readonly #options: QueueOptions;
  #pending: Set<Pending> = new Set();
  /** Those of them that were sent, by number. */
  readonly #numbered = new Map<number, Pending>();
  #nextSequence = 0;
  /** What can wait. */
  #idle: Pending | null = null;
  #isHurried = false;
  #lastAsked = -Infinity;

  constructor(options: QueueOptions) {
    this.#options = options;
  }

  /** When a request came last, on the queue's clock. */
  get lastAsked(): number {
    return this.#lastAsked;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** The one that waits longest. */
  get oldest(): Pending | undefined {
    return this.#pending.values().next().value;
  }

  /**
   * Takes a request in and gives its answer, whenever that comes; an urgent one
   * goes before all that were not sent yet. One whose signal ends unsent has no
   * answer.
   */
  add(
    request: Request,
    active: Device | null,
    { isUrgent = false }: { readonly isUrgent?: boolean } = {},
  ): Promise<Answer> {
    this.#lastAsked = this.#options.now();
    return new Promise((resolve) => {
      const { signal } = request;
      const abandon = () => this.#abandon(pending);
      const pending: Pending = {
        request,
        askedAt: this.#options.now(),
        answer(answer) {
          // lightningd's own signal outlives millions of requests.
          signal.removeEventListener("abort", abandon);
          resolve(answer);
        },
        take: null,
        sequence: null,
        sentTo: null,
      };
      this.#pending = isUrgent
        ? new Set([pending, ...this.#pending])
        : this.#pending.add(pending);
      signal.addEventListener("abort", abandon);
      this.pump(active);
      this.#options.changed();
    });
  }

  /**
   * Takes a message that can wait, in the place of an earlier one; gives the
   * bare answer, or null when the device left first.
   */
  addIdle(
    request: Request,
    device: Device,
  ): Promise<Uint8Array | null> {
    this.dropIdle();
    this.#isHurried = false;
    return new Promise((resolve) => {
      this.#idle = {
        request,
        askedAt: this.#options.now(),
        answer: () => resolve(null),
        take: resolve,
        sequence: null,
        sentTo: null,
      };
      this.pump(device);
    });
  }

  /**
   * What can wait has waited: it goes as soon as the device takes anything,
   * because a request may be under way for as long as an owner thinks about it.
   */
  hurryIdle(device: Device): void {
    this.#isHurried = true;
    this.pump(device);
  }

  /** Sends the active device what it may have, in order. */
  pump(device: Device | null): void {
    if (device === null) return;
    if (this.#isHurried) this.#sendIdle(device);
    for (const pending of this.#pending) {
      if (device.inFlight >= device.dialect.window) return;
      if (pending.sentTo === null) this.#send(device, pending);
    }
    const isBusy = this.#pending.size > 0 || device.inFlight > 0;
    if (!isBusy) this.#sendIdle(device);
  }

  #sendIdle(device: Device): void {
    const idle = this.#idle;
    if (idle === null || idle.sentTo !== null) return;
    if (device.inFlight < device.dialect.window) this.#send(device, idle);
  }

  /** The request that a device may answer under this number. */
  find(device: Device, sequence: number): Pending | undefined {
    const pending = this.#numbered.get(sequence);
    return pending?.sentTo === device ? pending : undefined;
  }

  /** The first request that a device has. */
  firstOf(device: Device): Pending | undefined {
    return this.#pending.values().find(({ sentTo }) => sentTo === device) ??
      (this.#idle?.sentTo === device ? this.#idle : undefined);
  }

  /** A request is answered. */
  settle(pending: Pending, answer: Answer): void {
    this.#remove(pending);
    if (pending.sentTo !== null) pending.sentTo.inFlight -= 1;
    pending.answer(answer);
  }

  /**
   * As {@linkcode settle}, for a Sphinx device that told an error: the number is
   * not used up, such a device expects it again.
   */
  settleUnnumbered(pending: Pending, answer: Answer): void {
    if (this.#numbered.size === 1 && pending.sequence !== null) {
      this.#nextSequence = pending.sequence;
    }
    this.settle(pending, answer);
  }

  /** The device's bare answer to what could wait. */
  settleIdle(pending: Pending, message: Uint8Array): void {
    this.#remove(pending);
    if (pending.sentTo !== null) pending.sentTo.inFlight -= 1;
    pending.take?.(message);
  }

  /** Nobody asks what could wait any more. */
  dropIdle(): void {
    const idle = this.#idle;
    if (idle === null) return;
    // A Sphinx device that comes back expects the number again.
    if (this.#numbered.size === 1 && idle.sequence !== null) {
      this.#nextSequence = idle.sequence;
    }
    this.#remove(idle);
    if (idle.sentTo !== null) idle.sentTo.inFlight -= 1;
    idle.answer({ kind: "silence" });
  }

  /** What this device has not answered has nobody now. */
  recall(device: Device): void {
    for (const pending of this.#pending) {
      if (pending.sentTo !== device) continue;
      pending.sentTo = null;
      if (pending.request.signal.aborted) this.#abandon(pending);
    }
    device.inFlight = 0;
  }

  #send(device: Device, pending: Pending): void {
    const { requester: { peerId, dbid }, message } = pending.request;
    const sequence = pending.sequence ?? this.#takeSequence(pending);
    const frame = encodeSignerRequest({ sequence, peerId, dbid, message });
    if (!this.#options.send(device, frame)) return;
    pending.sentTo = device;
    device.inFlight += 1;
  }

  /**
   * The next number that no unanswered request has. Numbers are given at the
   * first sending: a Sphinx device restarts when it sees a gap.
   */
  #takeSequence(pending: Pending): number {
    while (this.#numbered.has(this.#nextSequence)) this.#stepSequence();
    const sequence = this.#nextSequence;
    this.#stepSequence();
    pending.sequence = sequence;
    this.#numbered.set(sequence, pending);
    return sequence;
  }

  #stepSequence(): void {
    this.#nextSequence = (this.#nextSequence + 1) % SEQUENCES;
  }

  /** Nobody waits any more: what was not sent need not be. */
  #abandon(pending: Pending): void {
    if (pending.sentTo !== null || !this.#pending.has(pending)) return;
    this.#remove(pending);
    this.#options.changed();
  }

  #remove(pending: Pending): void {
    this.#pending.delete(pending);
    if (pending === this.#idle) this.#idle = null;
    if (pending.sequence !== null) this.#numbered.delete(pending.sequence);
  }
}
