/**
 * One at a time, in the order of asking.
 *
 * A device that starts reads everything and writes what follows from it; a
 * change of another device in between would be lost or make its own impossible.
 *
 * What it does not do: end a turn that nobody gives back.
 *
 * @module
 */

/** Gives a turn back; a second time it does nothing. */
export type GiveBack = () => void;

/** A line that is served one after the other. */
export class Turns {
  #last: Promise<void> = Promise.resolve();

  /** Resolves when it is the caller's turn. */
  async take(): Promise<GiveBack> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    await before;
    return resolve;
  }
}
