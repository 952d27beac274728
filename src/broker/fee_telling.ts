/**
 * Tells devices what transactions cost: the newest estimate to whichever device
 * is active, before all that waits, since the device's bounds follow it.
 *
 * It is nobody's request. A device that goes away leaves nothing to repeat, the
 * next one is told what is newest then; and whatever a device answers, one that
 * does not know the message included, is the end of it.
 *
 * @module
 */

import { encodeMessage } from "../wire/message.ts";
import { type FeeReference, SIGNER_MESSAGES } from "../wire/vls.ts";
import { type Device, NATIVE } from "./device.ts";
import { OURSELVES, type RequestQueue } from "./queue.ts";

/** The newest fee reference, and who was told. */
export class FeeTelling {
  readonly #queue: RequestQueue;
  #newest: FeeReference | null = null;
  /** Ends when the device need not answer any more. */
  #current = new AbortController();

  constructor(queue: RequestQueue) {
    this.#queue = queue;
  }

  /** There is a newer one. */
  take(reference: FeeReference, active: Device | null): void {
    this.#newest = reference;
    this.tell(active);
  }

  /** Tells a device that is the active one now. */
  tell(active: Device | null): void {
    this.withdraw();
    if (this.#newest === null || active?.dialect !== NATIVE) return;
    this.#current = new AbortController();
    const row = SIGNER_MESSAGES.fee_reference;
    const message = encodeMessage(row, this.#newest);
    const { signal } = this.#current;
    const request = { requester: OURSELVES, row, message, signal };
    this.#queue.add(request, active, { isUrgent: true });
  }

  /** The device that was told is leaving. */
  withdraw(): void {
    this.#current.abort();
  }
}
