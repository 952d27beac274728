/**
 * The device that is asked, and the way from one to the next.
 *
 * Who it should be is a function (`fleet.ts`); this acts on it:
 *
 * | to be done | how |
 * | --- | --- |
 * | another one is chosen | the active one answers what it has, for 5 s at most, and gets nothing more |
 * | it has to read the storage first | nobody is asked meanwhile, for 20 s at most |
 * | it may be asked | durably noted first (`active.ts`) |
 *
 * What it does not do: know what is asked, or who may be a device.
 *
 * @module
 */

import { describeError } from "../errors.ts";
import type { ActiveBook } from "./active.ts";
import type { CardHeads } from "./card_heads.ts";
import type { Device } from "./device.ts";
import {
  choose,
  type FleetFacts,
  type Member,
  type Preference,
  type Remembered,
} from "./fleet.ts";
import type { RequestQueue } from "./queue.ts";
import type { Reception } from "./reception.ts";
import type { Storage } from "./storage.ts";

/** What it works with. */
export interface ActiveDeviceOptions {
  readonly reception: Reception;
  readonly queue: RequestQueue;
  readonly book: ActiveBook;
  readonly storage: Storage | null;
  /** How far the card had come that signed last; absent: nobody remembers. */
  readonly heads: Pick<CardHeads, "newest"> | undefined;
  /** Another device is asked from now on, or none. */
  readonly changed: (device: Device | null) => void;
  /** A choice was made, whatever came of it. */
  readonly chosen: () => void;
  /** It could not be noted which device signs. */
  readonly failed: (text: string) => void;
}

/** How long a device may still answer when another one is to be asked. */
const DRAIN_MS = 5_000;
/** How long a device may take to read the storage, or to come back for it. */
const RESYNC_MS = 20_000;
/** When it is tried again to note who is active. */
const RETRY_MS = 5_000;

/** The active device is answering what it has, and then another one is asked. */
interface Drain {
  readonly timer: ReturnType<typeof setTimeout>;
  isOver: boolean;
}

/** A device that is to be asked when it has read the storage. */
interface Awaited {
  readonly cid: string;
  /** Who was asked before. */
  readonly from: string | null;
  readonly timer: ReturnType<typeof setTimeout>;
}

/** Which device is asked. */
export class ActiveDevice {
  readonly #options: ActiveDeviceOptions;
  #current: Device | null = null;
  #why = "no device is connected";
  /** Who is being noted as the active one. */
  #noting: Device | null = null;
  /** The active one answers what it has, and gets nothing more. */
  #drain: Drain | null = null;
  /** The one that reads the storage, to be asked then. */
  #awaited: Awaited | null = null;
  /** Until it is tried again to note who is active. */
  #retry: ReturnType<typeof setTimeout> | null = null;
  #isClosed = false;

  constructor(options: ActiveDeviceOptions) {
    this.#options = options;
  }

  /** The active device; null while nobody is. */
  get current(): Device | null {
    return this.#current;
  }

  /** Who gets what comes now: nobody, while the active one is to change. */
  get asked(): Device | null {
    return this.#drain === null ? this.#current : null;
  }

  /** Why it is this one, or nobody: a sentence for the operator. */
  get why(): string {
    return this.#why;
  }

  /** What the choice is made of, besides the devices. */
  get facts(): FleetFacts {
    const { book, storage } = this.#options;
    const { lastActive, preferred } = book.current;
    return {
      active: this.#current?.session.cid ?? null,
      lastActive: lastActive ?? this.#signedBefore(),
      preferred,
      storageRevision: storage?.revision ?? null,
    };
  }

  /**
   * Nothing is noted, by an earlier release or because the file is lost, but a
   * card is remembered that signed: it was the active one.
   */
  #signedBefore(): Remembered | null {
    const { heads, reception } = this.#options;
    const card = heads?.newest?.card;
    if (card === undefined) return null;
    const device = reception.devices.find(({ stand }) => stand?.card === card);
    const cid = device?.session.cid ?? "the card that signed before";
    return { cid, isStored: false };
  }

  /** Stops timers. */
  close(): void {
    this.#isClosed = true;
    this.#endDrain();
    this.#endWait();
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#retry = null;
  }

  /** A device may be asked. */
  takeReady({ session }: Device): void {
    if (this.#awaited?.cid === session.cid) this.#endWait();
    this.choose();
  }

  /** A device left, or begins anew. */
  takeAway(device: Device): void {
    if (this.#noting === device) this.#noting = null;
    if (device === this.#current) this.#deactivate();
    else this.#options.queue.recall(device);
    this.choose();
  }

  /** The operator wants this one. */
  async prefer(preferred: Preference): Promise<void> {
    await this.#options.book.prefer(preferred);
    this.choose();
  }

  /** Sends what may be sent; a device that is drained makes room for the next. */
  pump(): void {
    this.#options.queue.pump(this.asked);
    const isDrained = this.#drain !== null && this.#current?.inFlight === 0;
    if (isDrained) this.choose();
  }

  /** Chooses anew, and acts on it. */
  choose(): void {
    const { reception, chosen: told } = this.#options;
    const choice = this.#choice();
    this.#why = choice.why;
    const chosen = choice.kind === "nobody"
      ? null
      : reception.byCid(choice.cid);
    switch (choice.kind) {
      case "keep":
        this.#endDrain();
        break;
      case "activate":
        if (this.#isDraining() || this.#isHeldBack(choice.cid)) break;
        this.#activate(chosen);
        break;
      case "resync":
        if (this.#isDraining()) break;
        this.#await(choice.cid);
        this.#deactivate();
        if (chosen !== null) reception.resync(chosen);
        break;
      case "nobody":
        this.#deactivate();
        break;
    }
    this.pump();
    told();
  }

  #choice(): ReturnType<typeof choose> {
    const members = this.#options.reception.devices.map(memberOf);
    return choose(members, this.facts);
  }

  /** Whether another one has to wait until the active one has answered. */
  #isDraining(): boolean {
    const device = this.#current;
    if (device === null || device.inFlight === 0) return false;
    this.#drain ??= this.#startDrain();
    return !this.#drain.isOver;
  }

  #startDrain(): Drain {
    const timer = setTimeout(() => {
      drain.isOver = true;
      this.choose();
    }, DRAIN_MS);
    const drain: Drain = { timer, isOver: false };
    return drain;
  }

  #endDrain(): void {
    if (this.#drain !== null) clearTimeout(this.#drain.timer);
    this.#drain = null;
  }

  /** Nobody puts anything into the storage until this one has read it all. */
  #await(cid: string): void {
    const from = this.#current?.session.cid ?? this.#awaited?.from ?? null;
    this.#endWait();
    const timer = setTimeout(() => {
      this.#awaited = null;
      const device = this.#options.reception.byCid(cid);
      if (device !== null && device.stage !== "ready") device.isTroubled = true;
      this.#giveUp(cid);
      this.choose();
    }, RESYNC_MS);
    this.#awaited = { cid, from, timer };
  }

  /** It would hold the others up each time that it comes back. */
  #giveUp(cid: string): void {
    const { book, failed } = this.#options;
    if (book.current.preferred?.cid !== cid) return;
    failed(
      `${cid} did not read the storage within ${RESYNC_MS / 1000} s and is ` +
        `not waited for any more; to try again: use ${cid}`,
    );
    book.prefer(null).catch((error) =>
      failed(`cannot note which device is wanted: ${describeError(error)}`)
    );
  }

  #endWait(): void {
    if (this.#awaited !== null) clearTimeout(this.#awaited.timer);
    this.#awaited = null;
  }

  /**
   * Whether this one was asked before, and gives way to one that reads. Once a
   * third one is asked there is nothing left to give way for.
   */
  #isHeldBack(cid: string): boolean {
    return this.#current === null && this.#awaited?.from === cid;
  }

  /** Durably noted first: then it may have requests. */
  #activate(device: Device | null): void {
    if (device === null || this.#noting === device) return;
    this.#stopActive();
    this.#noting = device;
    const { cid } = device.session;
    const { book, failed } = this.#options;
    book.activate({
      cid,
      isStored: device.isStored,
      place: device.storage?.place ?? null,
    })
      .then(() => this.#setActive(device))
      .catch((error) => {
        if (this.#noting !== device) return;
        this.#noting = null;
        this.#why = `cannot note which device signs: ${describeError(error)}`;
        failed(this.#why);
        this.#chooseLater();
      });
  }

  /** A full disk tells nobody that there is room again. */
  #chooseLater(): void {
    if (this.#isClosed) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      this.choose();
    }, RETRY_MS);
  }

  #setActive(device: Device): void {
    if (this.#noting !== device) return;
    this.#noting = null;
    const { reception, queue, changed, chosen } = this.#options;
    const isReady = device.stage === "ready" &&
      reception.byCid(device.session.cid) === device;
    const choice = this.#choice();
    const isChosen = choice.kind === "activate" &&
      choice.cid === device.session.cid;
    if (!isReady || !isChosen) return this.choose();
    this.#current = device;
    this.#why = choice.why;
    changed(device);
    queue.pump(device);
    chosen();
  }

  /** The one that was asked so far gets nothing more. */
  #stopActive(): void {
    const before = this.#current;
    if (before === null) return;
    this.#deactivate();
    // What it still has under way must not reach the storage after the new one.
    this.#options.reception.resync(before);
  }

  #deactivate(): void {
    this.#noting = null;
    this.#endDrain();
    const before = this.#current;
    if (before === null) return;
    this.#current = null;
    this.#options.changed(null);
    this.#options.queue.recall(before);
  }
}

/** What the choice among devices needs to know of one. */
export function memberOf(device: Device): Member {
  const { session: { cid }, stage, storage, isStored, isTroubled } = device;
  return {
    cid,
    isReady: stage === "ready",
    isStored,
    place: storage?.place ?? null,
    revision: storage?.revision ?? null,
    isTroubled,
  };
}
