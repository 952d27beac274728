/**
 * Requests that were not answered yet: their order, their numbers, and which
 * device has which.
 *
 * | goes | what | where |
 * | --- | --- | --- |
 * | first | what is urgent, and protective requests | `lanes.ts` |
 * | then | a message that needs the device to itself | `turns.ts` |
 * | then | other requests by class; handshakes as their rate allows | `lanes.ts` |
 * | last | what can wait, when nothing else is there | here |
 *
 * One connection has one request at a time (`unixfd/connection.ts`), so nothing
 * of one connection overtakes itself. No request waits for the answer to another
 * one as long as the device takes more (`window.ts`), so neither a refusal nor an
 * owner who thinks about one holds up another channel.
 *
 * A request gets its number when it is sent first and keeps it until it is
 * answered, over as many sessions as that takes: a device asked twice sees the
 * same question twice, and an answer fits one question only. A device with a
 * window of 1 (Sphinx) restarts when it sees a gap; for it a number is changed
 * where keeping it would make one.
 *
 * //~ First come, first served sounds fair and is a way to lose a channel: a
 * //~ stranger's handshake would stand before the revocation that keeps a thief
 * //~ out. So requests have a class, and what protects money goes first. Next:
 * //~ broker/reception.ts, where somebody comes who could answer.
 *
 * @module
 */

import type { Answer, Request, Requester } from "../unixfd.ts";
import { NOBODY } from "../wire/types.ts";
import { encodeSignerRequest } from "../wire/vls.ts";
import { CLASSES, classOf, type RequestClass } from "./classes.ts";
import type { Device } from "./device.ts";
import type { HandshakeLimit } from "./handshakes.ts";
import { Lanes, type Waiting } from "./lanes.ts";
import { type Exclusive, type Later, Turns } from "./turns.ts";
import { Windows } from "./window.ts";

/** A request that was not answered yet. */
export interface Pending extends Waiting {
  readonly answer: (answer: Answer) => void;
  /** Gets the bare answer of a message that is nobody's request. */
  readonly take: ((message: Uint8Array) => void) | null;
  /** Given when it is sent first, kept until it is answered. */
  sequence: number | null;
  /** The device that has it. */
  sentTo: Device | null;
  /** Since when that device has it, on the clock of the queue. */
  sentAt: number | null;
  /** The same two moments, finely, for durations: milliseconds. */
  readonly begunMs: number;
  sentMs: number | null;
}

/** How many requests of a class there are. */
export interface ClassCount {
  /** Nobody has them. */
  readonly waiting: number;
  /** A device has them. */
  readonly sent: number;
  /** When the oldest was asked; null for none. */
  readonly oldestAskedAt: number | null;
}

/** What the queue needs from around it. */
export interface QueueOptions {
  /** Publishes a request frame to a device; false when the device is gone. */
  readonly send: (device: Device, frame: Uint8Array) => boolean;
  /** Hears that the queue got shorter or longer. */
  readonly changed: () => void;
  readonly now: () => number;
  /** How many handshakes may go; absent: all. */
  readonly handshakes?: HandshakeLimit;
  /** Calls something later; a timer where it is absent. */
  readonly later?: Later;
}

/** Who asks what the broker itself asks. */
export const OURSELVES: Requester = {
  peerId: NOBODY,
  dbid: 0n,
  permissions: 0n,
  isMaster: true,
};

/** Sequence numbers are u16. */
const SEQUENCES = 0x10000;
/** So many requests are shown to whoever looks. */
const MOST_SHOWN = 100;

/** Unanswered requests, and who has them. */
export class RequestQueue {
  readonly #options: QueueOptions;
  /** All of them, in the order in which they were read. */
  readonly #pending = new Set<Pending>();
  /** Those of them that nobody has. */
  readonly #lanes: Lanes<Pending>;
  readonly #turns: Turns;
  readonly #windows = new Windows();
  /** Those of them that were sent, by number. */
  readonly #numbered = new Map<number, Pending>();
  /** The number that a device with a window of 1 takes next. */
  readonly #expected = new WeakMap<Device, number>();
  #nextSequence = 0;
  #nextOrder = 0;
  /** What can wait. */
  #idle: Pending | null = null;
  #isHurried = false;
  #lastAsked = -Infinity;
  /** The device that requests go to. */
  #active: Device | null = null;
  /** Calls off the wait for the rate of handshakes. */
  #callOff: (() => void) | null = null;
  /** Calls off the wait for room at the device. */
  #callOffRoom: (() => void) | null = null;

  constructor(options: QueueOptions) {
    this.#options = options;
    this.#lanes = new Lanes(options.handshakes ?? null);
    this.#turns = new Turns(
      options.later ?? later,
      (device) => this.#goOn(device),
    );
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

  /** Handshakes so far that had to wait for their rate. */
  get delayedHandshakes(): number {
    return this.#lanes.delayedSoFar;
  }

  /** Those that wait longest, a few of them. */
  list(most: number = MOST_SHOWN): readonly Pending[] {
    return this.#pending.values().take(most).toArray();
  }

  /** How many there are of each class, the most urgent first. */
  counts(): ReadonlyMap<RequestClass, ClassCount> {
    const all = Map.groupBy(this.#pending, (pending) => pending.class);
    return new Map(CLASSES.map((name) => [name, countOf(all.get(name) ?? [])]));
  }

  /** Calls timers off. */
  close(): void {
    this.#callOff?.();
    this.#callOff = null;
    this.#callOffRoom?.();
    this.#callOffRoom = null;
    this.#turns.close();
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
      const answer = (answer: Answer) => {
        // lightningd's own signal outlives millions of requests.
        signal.removeEventListener("abort", abandon);
        resolve(answer);
      };
      const pending = this.#make(request, { answer, take: null, isUrgent });
      this.#pending.add(pending);
      this.#lanes.put(pending);
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
    return new Promise((take) => {
      const answer = () => take(null);
      this.#idle = this.#make(request, { answer, take, isUrgent: false });
      this.pump(device);
    });
  }

  /**
   * Has `begin` publish what is no request (it says false when the device is
   * gone) once nothing else is under way on the device, and sends it nothing
   * else until that is done with: see `turns.ts`. It is for devices with a window
   * of 1; on others it would wait for all that an owner thinks about.
   */
  addExclusive(device: Device, begin: () => boolean): Exclusive {
    const turn = this.#turns.add(device, begin);
    this.#goOn(device);
    return turn;
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
    this.#active = device;
    if (device === null) return;
    if (this.#isHurried) this.#sendIdle(device);
    while (!this.#isFull(device)) {
      const next = this.#nextFor(device);
      if (next === null || !this.#send(device, next)) break;
    }
    this.#awaitRate(device);
    this.#awaitRoom(device);
    if (device.inFlight === 0) this.#turns.begin(device);
    const isBusy = this.#pending.size > 0 || device.inFlight > 0;
    if (!isBusy) this.#sendIdle(device);
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
    this.#expectAfter(pending, 1);
    this.#release(pending);
    pending.answer(answer);
  }

  /**
   * As {@linkcode settle}, for a Sphinx device that told an error: the number is
   * not used up, such a device expects it again.
   */
  settleUnnumbered(pending: Pending, answer: Answer): void {
    this.#expectAfter(pending, 0);
    this.#release(pending);
    pending.answer(answer);
  }

  /** The device's bare answer to what could wait; an error uses no number up. */
  settleIdle(
    pending: Pending,
    message: Uint8Array,
    { isError = false }: { readonly isError?: boolean } = {},
  ): void {
    this.#expectAfter(pending, isError ? 0 : 1);
    this.#release(pending);
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
    this.#release(idle);
    idle.answer({ kind: "silence" });
  }

  /** What this device has not answered has nobody now, and it gets no more. */
  recall(device: Device): void {
    if (this.#active === device) this.#active = null;
    this.#expected.delete(device);
    const its = [...this.#pending].filter(({ sentTo }) => sentTo === device);
    for (const pending of its) {
      this.#windows.remove(pending);
      pending.sentTo = null;
      pending.sentAt = null;
      if (pending.request.signal.aborted) this.#abandon(pending);
      else this.#lanes.put(pending);
    }
    device.inFlight = 0;
    this.#turns.drop(device);
  }

  #make(
    request: Request,
    how: Pick<Pending, "answer" | "take" | "isUrgent">,
  ): Pending {
    this.#nextOrder += 1;
    return {
      ...how,
      request,
      class: classOf(request),
      askedAt: this.#options.now(),
      order: this.#nextOrder,
      isLetThrough: false,
      sequence: null,
      sentTo: null,
      sentAt: null,
      begunMs: performance.now(),
      sentMs: null,
    };
  }

  #nextFor(device: Device): Pending | null {
    if (this.#turns.isUnderWay(device)) return null;
    const isProtectiveOnly = this.#turns.isDue(device);
    return this.#lanes.next(this.#options.now(), { isProtectiveOnly });
  }

  #sendIdle(device: Device): void {
    const idle = this.#idle;
    if (idle === null || idle.sentTo !== null) return;
    if (this.#turns.isDue(device)) return;
    if (!this.#isFull(device)) this.#send(device, idle);
  }

  /** Comes back when the rate lets through what nothing else holds up. */
  #awaitRate(device: Device): void {
    const isFull = this.#isFull(device);
    if (this.#callOff !== null || isFull || this.#turns.isDue(device)) return;
    const { delayMs } = this.#lanes;
    if (delayMs === null) return;
    this.#callOff = (this.#options.later ?? later)(delayMs, () => {
      this.#callOff = null;
      this.pump(this.#active);
    });
  }

  /** Comes back when what is under way has become old, if somebody waits. */
  #awaitRoom(device: Device): void {
    const isAwaited = this.#callOffRoom !== null || this.#lanes.isEmpty;
    const now = this.#options.now();
    if (isAwaited || !this.#windows.isFull(device, now)) return;
    const ms = this.#windows.opensInMs(device, now);
    if (ms === null) return;
    this.#callOffRoom = (this.#options.later ?? later)(ms, () => {
      this.#callOffRoom = null;
      this.pump(this.#active);
    });
  }

  #isFull(device: Device): boolean {
    return this.#windows.isFull(device, this.#options.now());
  }

  /** Something has changed for this device, which need not be the active one. */
  #goOn(device: Device): void {
    if (device === this.#active) this.pump(device);
    else if (device.inFlight === 0) this.#turns.begin(device);
  }

  #send(device: Device, pending: Pending): boolean {
    const { requester: { peerId, dbid }, message } = pending.request;
    const sequence = this.#numberFor(device, pending);
    const frame = encodeSignerRequest({ sequence, peerId, dbid, message });
    if (!this.#options.send(device, frame)) return false;
    pending.sentTo = device;
    pending.sentAt = this.#options.now();
    pending.sentMs = performance.now();
    device.inFlight += 1;
    this.#windows.add(device, pending);
    this.#lanes.remove(pending);
    return true;
  }

  /** The number that a request has, or gets, on this device. */
  #numberFor(device: Device, pending: Pending): number {
    const expected = this.#expected.get(device);
    const isFree = expected !== undefined &&
      (this.#numbered.get(expected)?.sentTo ?? null) === null;
    if (!isFree || pending.sequence === expected) {
      return pending.sequence ?? this.#takeSequence(pending);
    }
    this.#unnumber(pending);
    this.#unnumber(this.#numbered.get(expected));
    this.#nextSequence = expected;
    return this.#takeSequence(pending);
  }

  /** After an answer, a device with a window of 1 expects this number. */
  #expectAfter({ sentTo, sequence }: Pending, step: 0 | 1): void {
    if (sentTo?.dialect.window !== 1 || sequence === null) return;
    this.#expected.set(sentTo, (sequence + step) % SEQUENCES);
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

  #unnumber(pending: Pending | undefined): void {
    if (pending === undefined || pending.sequence === null) return;
    this.#numbered.delete(pending.sequence);
    pending.sequence = null;
  }

  /** Nobody waits any more: what was not sent need not be. */
  #abandon(pending: Pending): void {
    if (pending.sentTo !== null || !this.#pending.has(pending)) return;
    this.#release(pending);
    this.#options.changed();
  }

  /** It is nobody's any more; its device has room for another. */
  #release(pending: Pending): void {
    this.#pending.delete(pending);
    this.#lanes.remove(pending);
    if (pending === this.#idle) this.#idle = null;
    if (pending.sequence !== null) this.#numbered.delete(pending.sequence);
    this.#windows.remove(pending);
    if (pending.sentTo !== null) pending.sentTo.inFlight -= 1;
  }
}

function countOf(requests: readonly Pending[]): ClassCount {
  const sent = requests.filter(({ sentTo }) => sentTo !== null).length;
  const oldestAskedAt = requests[0]?.askedAt ?? null;
  return { waiting: requests.length - sent, sent, oldestAskedAt };
}

function later(ms: number, call: () => void): () => void {
  const timer = setTimeout(call, ms);
  return () => clearTimeout(timer);
}
