/**
 * How much a device may have under way at once.
 *
 * What was sent cannot be overtaken any more: a request that protects money waits
 * at the device behind all that went before it. So a device of ours gets a small
 * number at once. Yet it may keep a question for minutes, until its owner has
 * decided, and such a question must hold up nobody: what is under way for longer
 * than {@linkcode FRESH_MS} does not count. A device with a window of 1 handles
 * one thing at a time and may never be given a second: there all count.
 *
 * @module
 */

import type { Device } from "./device.ts";

/** For so long a request that was sent takes room, in milliseconds. */
export const FRESH_MS = 1_000;
/** Under way at once at most, fresh or not: numbers are u16. */
export const MOST_UNDER_WAY = 1_024;

/** One that was sent; {@linkcode Windows} looks at no more of it than this. */
export interface Sent {
  readonly sentTo: Device | null;
  /** On the clock of the queue. */
  readonly sentAt: number | null;
}

/** The windows of all devices. */
export class Windows {
  /** What was sent lately, in the order of sending. */
  readonly #fresh = new WeakMap<Device, Set<Sent>>();

  /** It was sent to this device. */
  add(device: Device, sent: Sent): void {
    if (device.dialect.window === 1) return;
    const fresh = this.#fresh.get(device) ?? new Set();
    this.#fresh.set(device, fresh.add(sent));
  }

  /** It was answered, or is nobody's: before it forgets whose it was. */
  remove(sent: Sent): void {
    if (sent.sentTo !== null) this.#fresh.get(sent.sentTo)?.delete(sent);
  }

  /** Whether the device takes no more at `now`. */
  isFull(device: Device, now: number): boolean {
    const { inFlight, dialect: { window } } = device;
    if (inFlight < window) return false;
    if (window === 1 || inFlight >= MOST_UNDER_WAY) return true;
    return this.#freshOf(device, now).size >= window;
  }

  /** Milliseconds until time makes room; null when only an answer does. */
  opensInMs(device: Device, now: number): number | null {
    const isBound = device.dialect.window === 1 ||
      device.inFlight >= MOST_UNDER_WAY;
    const [oldest] = this.#freshOf(device, now);
    if (isBound || oldest === undefined) return null;
    return (oldest.sentAt ?? now) + FRESH_MS - now;
  }

  #freshOf(device: Device, now: number): ReadonlySet<Sent> {
    const fresh = this.#fresh.get(device) ?? new Set();
    for (const sent of fresh) {
      if (isFresh(sent, now)) break;
      fresh.delete(sent);
    }
    return fresh;
  }
}

/** A clock that stepped back makes nothing fresh for longer. */
function isFresh({ sentAt }: Sent, now: number): boolean {
  const age = now - (sentAt ?? now);
  return age >= 0 && age < FRESH_MS;
}
