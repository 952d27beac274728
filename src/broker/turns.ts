/**
 * Messages that must have a device to themselves.
 *
 * A Sphinx device handles one thing at a time and answers without a number on
 * what is no request, so a control message may not go between a request and its
 * answer, nor two of them at once. Each waits for its turn, begins it when
 * nothing is under way, and holds all else up until it is answered, the device
 * is gone, or the device was silent for {@linkcode SILENCE_MS}.
 *
 * @module
 */

import type { Device } from "./device.ts";

/** How a turn ended: answered, without an answer in time, or with the device. */
export type TurnEnd = "done" | "late" | "gone";

/** Calls something later; gives what calls it off. */
export type Later = (ms: number, call: () => void) => () => void;

/** How long a device may be silent in a turn, in milliseconds. */
export const SILENCE_MS = 10_000;

/** One that waits for its turn, or has it. */
interface Turn {
  readonly device: Device;
  /** False when the device is gone. */
  readonly begin: () => boolean;
  readonly ended: (how: TurnEnd) => void;
  /** Calls its deadline off; null: it has not begun. */
  callOff: (() => void) | null;
}

/** A turn as its owner sees it. */
export interface Exclusive {
  /** Its answer came, or nobody waits for it: others may go on. */
  done(): void;
  readonly ended: Promise<TurnEnd>;
}

/** All turns, of each device one after the other. */
export class Turns {
  readonly #turns = new Set<Turn>();
  readonly #later: Later;
  /** Hears that a device is free again. */
  readonly #freed: (device: Device) => void;

  constructor(later: Later, freed: (device: Device) => void) {
    this.#later = later;
    this.#freed = freed;
  }

  /** Queues one up. */
  add(device: Device, begin: () => boolean): Exclusive {
    const { promise, resolve } = Promise.withResolvers<TurnEnd>();
    const turn: Turn = { device, begin, ended: resolve, callOff: null };
    this.#turns.add(turn);
    return { ended: promise, done: () => this.#end(turn, "done") };
  }

  /** Whether one waits for this device, or has it. */
  isDue(device: Device): boolean {
    return this.#first(device) !== undefined;
  }

  /** Whether one has this device now. */
  isUnderWay(device: Device): boolean {
    return (this.#first(device)?.callOff ?? null) !== null;
  }

  /** Nothing is under way on the device: begins the next turn, if there is one. */
  begin(device: Device): void {
    const turn = this.#first(device);
    if (turn === undefined || turn.callOff !== null) return;
    turn.callOff = this.#later(SILENCE_MS, () => this.#end(turn, "late"));
    if (!turn.begin()) this.#end(turn, "gone");
  }

  /** The device is gone. */
  drop(device: Device): void {
    for (const turn of this.#turns) {
      if (turn.device === device) this.#finish(turn, "gone");
    }
  }

  /** Ends them all. */
  close(): void {
    for (const turn of this.#turns) this.#finish(turn, "gone");
  }

  #first(device: Device): Turn | undefined {
    return this.#turns.values().find((turn) => turn.device === device);
  }

  #end(turn: Turn, how: TurnEnd): void {
    if (this.#finish(turn, how)) this.#freed(turn.device);
  }

  /** False when it had ended before. */
  #finish(turn: Turn, how: TurnEnd): boolean {
    turn.callOff?.();
    if (!this.#turns.delete(turn)) return false;
    turn.ended(how);
    return true;
  }
}
