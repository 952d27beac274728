/**
 * A Sphinx signer that says nothing to init is made to start over.
 *
 * One that has lost its connection and kept running needs that: vls-mqtt then
 * takes init for a message about its storage, and would never be ready again.
 *
 * | after init was sent | what follows |
 * | --- | --- |
 * | its answer | nothing |
 * | an error of one that kept running | a gap (`gap.ts`), at once |
 * | nothing for a while | the gap |
 * | nothing even after that | its connection ends |
 *
 * What it does not do: judge an answer; watch devices of ours, which wait for
 * their owners.
 *
 * Facts: sphinx-rs vls-mqtt/src/lss.rs.
 *
 * @module
 */

import type { Device } from "./device.ts";
import { gapFrames, RESTART_MS } from "./gap.ts";
import type { Later } from "./turns.ts";

/** For so long a signer may think about init, in milliseconds. */
export const INIT_MS = 10_000;

/** What the wait for init replies needs from around it. */
export interface InitWaitOptions {
  readonly send: (device: Device, frame: Uint8Array) => void;
  /** It said nothing to init, and is shown the gap. */
  readonly silent: (device: Device) => void;
  /** It does not start over either. */
  readonly lost: (device: Device) => void;
  /** Calls something later; a timer where it is absent. */
  readonly later?: Later;
}

/** Sphinx signers that were sent init. */
export class InitWait {
  readonly #options: InitWaitOptions;
  readonly #callOffs = new Map<Device, () => void>();

  constructor(options: InitWaitOptions) {
    this.#options = options;
  }

  /** It was sent init. */
  begin(device: Device): void {
    this.#wait(device, INIT_MS, () => this.startOver(device));
  }

  /** It answered, or left. */
  end(device: Device): void {
    this.#callOffs.get(device)?.();
    this.#callOffs.delete(device);
  }

  /** It will not answer. */
  startOver(device: Device): void {
    this.#options.silent(device);
    for (const frame of gapFrames()) this.#options.send(device, frame);
    this.#wait(device, RESTART_MS, () => {
      this.#callOffs.delete(device);
      this.#options.lost(device);
    });
  }

  /** Calls timers off. */
  close(): void {
    for (const device of [...this.#callOffs.keys()]) this.end(device);
  }

  #wait(device: Device, ms: number, call: () => void): void {
    this.end(device);
    const { later = timer } = this.#options;
    this.#callOffs.set(device, later(ms, call));
  }
}

function timer(ms: number, call: () => void): () => void {
  const handle = setTimeout(call, ms);
  return () => clearTimeout(handle);
}
