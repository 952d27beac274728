/**
 * Signed control messages on their way to a device and back.
 *
 * The broker cannot read them and need not: the owner signed them, the device
 * checks that. One is under way on a device at a time, because an answer does
 * not say what it answers.
 *
 * | dialect | when it goes |
 * | --- | --- |
 * | native | at once |
 * | Sphinx | when nothing else is under way, and nothing else goes meanwhile |
 *
 * What it does not do: sign, or look inside.
 *
 * @module
 */

import type { DeviceLink } from "../mqtt/session.ts";
import { type Device, SPHINX } from "./device.ts";
import type { ControlOutcome } from "./face.ts";
import type { RequestQueue } from "./queue.ts";

/** What it works with. */
export interface ControlLineOptions {
  readonly link: DeviceLink;
  readonly queue: Pick<RequestQueue, "addExclusive">;
}

/** How long a device may think, in milliseconds. */
const PATIENCE_MS = 10_000;
/** Messages that wait for a device's answer to another one. */
const MOST_WAITING = 16;

interface Waiting {
  readonly envelope: Uint8Array;
  readonly settle: (outcome: ControlOutcome) => void;
}

/** Messages to one device, the first of them under way. */
interface Line {
  readonly waiting: Waiting[];
  /** Ends a silent device's message. */
  timer: ReturnType<typeof setTimeout> | null;
  /** Lets a Sphinx device's requests go on. */
  release: () => void;
}

/** Control messages of all devices. */
export class ControlLine {
  readonly #options: ControlLineOptions;
  readonly #lines = new Map<Device, Line>();

  constructor(options: ControlLineOptions) {
    this.#options = options;
  }

  /** Passes a message on and gives the answer. */
  ask(device: Device, envelope: Uint8Array): Promise<ControlOutcome> {
    const line = this.#lines.get(device) ??
      { waiting: [], timer: null, release: () => {} };
    this.#lines.set(device, line);
    if (line.waiting.length >= MOST_WAITING) {
      const reason = `${MOST_WAITING} messages wait for this device already`;
      return Promise.resolve({ kind: "failed", reason });
    }
    return new Promise((settle) => {
      line.waiting.push({ envelope, settle });
      if (line.waiting.length === 1) this.#next(device, line);
    });
  }

  /** A device answered. */
  take(device: Device, reply: Uint8Array): void {
    const line = this.#lines.get(device);
    // An answer that came too late, or to nothing.
    if (line === undefined || line.timer === null) return;
    this.#finish(device, line, { kind: "answered", reply });
  }

  /** A device left, or begins anew. */
  end(device: Device): void {
    const line = this.#lines.get(device);
    if (line === undefined) return;
    this.#lines.delete(device);
    if (line.timer !== null) clearTimeout(line.timer);
    for (const { settle } of line.waiting) {
      settle({ kind: "failed", reason: "the device left" });
    }
  }

  /** Ends all of them. */
  close(): void {
    for (const device of [...this.#lines.keys()]) this.end(device);
  }

  #next(device: Device, line: Line): void {
    if (device.dialect !== SPHINX) {
      this.#send(device, line);
      return;
    }
    const begin = () => this.#send(device, line);
    const exclusive = this.#options.queue.addExclusive(device, begin);
    line.release = () => exclusive.done();
  }

  /** False when the device is gone. */
  #send(device: Device, line: Line): boolean {
    const [first] = line.waiting;
    if (first === undefined) return false;
    line.timer = setTimeout(() => {
      const reason = `no answer within ${PATIENCE_MS / 1000} s`;
      this.#finish(device, line, { kind: "failed", reason });
    }, PATIENCE_MS);
    const { session } = device;
    if (this.#options.link.send(session, "control", first.envelope)) {
      return true;
    }
    this.#finish(device, line, { kind: "failed", reason: "the device left" });
    return false;
  }

  #finish(device: Device, line: Line, outcome: ControlOutcome): void {
    if (line.timer !== null) clearTimeout(line.timer);
    line.timer = null;
    const { release } = line;
    line.release = () => {};
    line.waiting.shift()?.settle(outcome);
    release();
    if (line.waiting.length > 0) this.#next(device, line);
    else this.#lines.delete(device);
  }
}
