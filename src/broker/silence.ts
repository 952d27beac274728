/**
 * Requests that a Sphinx signer drops without a word.
 *
 * Not every one says so when it fails: a web page writes to its own console, an
 * ESP32 restarts. It takes one request at a time, so everything else would wait
 * behind that one for ever, or the device would be asked it, and restart, again
 * and again.
 *
 * | what is seen | what it means | what follows |
 * | --- | --- | --- |
 * | no answer for a while, but one to a ping under the same number | it failed | the request is refused |
 * | no answer, and none to the ping | it is slow, or away | nothing |
 * | it leaves or begins anew soon after it was asked, time after time | that makes it restart | the request is refused |
 *
 * The number is the proof: after a failure a device expects the same one again,
 * after an answer the next. A slow one that comes to the ping after its answer
 * sees a gap and starts over, as it would for the repeat that the original broker
 * sends after 10 s.
 *
 * What it does not do: say no (the broker does); watch devices of ours, which
 * answer everything and may take as long as their owner does.
 *
 * Facts: sphinx-rs signer/src/root.rs, vls-mqtt/app/src/signer.ts.
 *
 * @module
 */

import { encodeMessage, messageType } from "../wire/message.ts";
import { NOBODY } from "../wire/types.ts";
import { encodeSignerRequest, SIGNER_MESSAGES } from "../wire/vls.ts";
import type { Device } from "./device.ts";
import type { Later } from "./turns.ts";

/** What it needs from around it. */
export interface SilenceOptions {
  /** Publishes a frame on a device's `vls`. */
  readonly send: (device: Device, frame: Uint8Array) => boolean;
  /** How often something was stored, by whomever; null without a storage. */
  readonly revision: () => number | null;
  /** Milliseconds. */
  readonly now: () => number;
  /** Calls something later; a timer where it is absent. */
  readonly later?: Later;
}

/** For so long a device may be silent before it is pinged, in milliseconds. */
export const SILENT_MS = 30_000;
/** A device that a request makes restart is gone by then, in milliseconds. */
export const RESTART_MS = 30_000;
/** So often it may do that for one request. */
export const MOST_RESTARTS = 5;

/** What a device was asked last. */
interface Asked {
  readonly sequence: number;
  readonly at: number;
  readonly revision: number | null;
  callOff: () => void;
  isPinged: boolean;
}

/** What Sphinx devices have not answered, of each one request. */
export class SilenceWatch {
  readonly #options: SilenceOptions;
  readonly #asked = new Map<Device, Asked>();
  /** How often a request made its device restart. */
  readonly #restarts = new WeakMap<object, number>();

  constructor(options: SilenceOptions) {
    this.#options = options;
  }

  /** A device was sent a request under this number. */
  sent(device: Device, sequence: number): void {
    this.answered(device);
    const { now, revision } = this.#options;
    const asked: Asked = {
      sequence,
      at: now(),
      revision: revision(),
      callOff: () => {},
      isPinged: false,
    };
    this.#asked.set(device, asked);
    this.#wait(device, asked);
  }

  /** It said something to that, or is gone. */
  answered(device: Device): void {
    this.#asked.get(device)?.callOff();
    this.#asked.delete(device);
  }

  /** Whether this is the answer to a ping: it dropped the request. */
  isPong(device: Device, message: Uint8Array): boolean {
    return this.#asked.get(device)?.isPinged === true &&
      messageType(message) === SIGNER_MESSAGES.pong.type;
  }

  /**
   * A device left or begins anew, and has not answered this; true when that was
   * so too often for it to be asked again.
   */
  isLastLoss(device: Device, request: object): boolean {
    const asked = this.#asked.get(device);
    if (asked === undefined) return false;
    const { now, revision } = this.#options;
    const isSoon = now() - asked.at < RESTART_MS;
    // It got as far as a change: that is no failure to understand.
    if (!isSoon || asked.revision !== revision()) return false;
    const restarts = (this.#restarts.get(request) ?? 0) + 1;
    this.#restarts.set(request, restarts);
    return restarts >= MOST_RESTARTS;
  }

  /** Calls timers off. */
  close(): void {
    for (const device of [...this.#asked.keys()]) this.answered(device);
  }

  #wait(device: Device, asked: Asked): void {
    const { later = timer } = this.#options;
    asked.callOff = later(SILENT_MS, () => this.#ping(device, asked));
  }

  /** It waits for us while a change of it is being stored. */
  #ping(device: Device, asked: Asked): void {
    if (device.storage?.isStoring) return this.#wait(device, asked);
    asked.isPinged = true;
    const id = asked.sequence;
    const text = new TextEncoder().encode("are you there?");
    this.#options.send(
      device,
      encodeSignerRequest({
        sequence: asked.sequence,
        peerId: NOBODY,
        dbid: 0n,
        message: encodeMessage(SIGNER_MESSAGES.ping, { id, message: text }),
      }),
    );
  }
}

function timer(ms: number, call: () => void): () => void {
  const handle = setTimeout(call, ms);
  return () => clearTimeout(handle);
}
