/**
 * A secret is a value of one class, so that it cannot be printed by accident.
 *
 * Seeds and private keys that outlive one expression are held in a
 * {@link Secret}. Whatever turns a value into text (a template, JSON, a log
 * line, the inspector of Deno or Node) shows a mask. The bytes come out through
 * {@link Secret.reveal} only, which is easy to search for in a review.
 *
 * What it does not do: keep the bytes out of swap or of a heap dump; a garbage
 * collected language offers no such promise. `wipe` overwrites the one copy
 * that is held here.
 *
 * @module
 */

import { Bug } from "../errors.ts";

const MASK = "[secret]";

/** Bytes that nobody gets to see by accident. */
export class Secret {
  #bytes: Uint8Array | null;

  /** Takes a copy: whoever made the bytes may wipe or reuse theirs. */
  constructor(bytes: Uint8Array) {
    this.#bytes = new Uint8Array(bytes);
  }

  /** How many bytes there are. */
  get length(): number {
    return this.reveal().length;
  }

  /**
   * The bytes themselves, to be used and not to be kept or changed.
   *
   * @throws {Bug} after {@link wipe}
   */
  reveal(): Uint8Array {
    if (this.#bytes === null) throw new Bug("Cannot reveal a wiped secret");
    return this.#bytes;
  }

  /** Whether both hold the same bytes; takes as long for any answer. */
  equals(other: Secret | Uint8Array): boolean {
    return isEqualConstantTime(
      this.reveal(),
      other instanceof Secret ? other.reveal() : other,
    );
  }

  /** Overwrites the bytes; the secret is of no use from here on. */
  wipe(): void {
    this.#bytes?.fill(0);
    this.#bytes = null;
  }

  toString(): string {
    return MASK;
  }

  toJSON(): string {
    return MASK;
  }

  [Symbol.for("Deno.customInspect")](): string {
    return MASK;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return MASK;
  }
}

/** Compares in a time that depends on the lengths alone, which are not secret. */
export function isEqualConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (const [i, byte] of a.entries()) difference |= byte ^ (b[i] ?? 0);
  return difference === 0;
}
