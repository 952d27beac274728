/**
 * How many handshakes of other nodes the signer answers: a token bucket.
 *
 * Each connection to the node costs the signer one ecdh_req (BOLT 8), and
 * whoever knows the node's address may ask for as many as they like. So they get
 * a rate, and twice that at once after a quiet while: enough for all peers that
 * come back after a restart. What is over it waits for its turn; nothing is
 * dropped, because a handshake without an answer would end connectd, and the
 * node with it.
 *
 * What it does not do: be fair among strangers. connectd asks for all of them on
 * one connection, one after the other, and does not say for whom: the order is
 * its own. It also blocks while it waits for an answer, so the rate should not
 * be lower than what the signer can spare.
 *
 * @module
 */

/** Handshakes at once after a quiet while, as a multiple of the rate. */
const BURST = 2;

/** A bucket of tokens, one for each handshake. */
export class HandshakeLimit {
  /** Handshakes a second. */
  readonly rate: number;
  readonly #now: () => number;
  #tokens: number;
  #countedAt: number;

  /** `now` is in milliseconds; a clock that steps back gives nothing twice. */
  constructor({ rate, now }: {
    readonly rate: number;
    readonly now: () => number;
  }) {
    this.rate = rate;
    this.#now = now;
    this.#tokens = BURST * rate;
    this.#countedAt = now();
  }

  /** Takes a token; false when there is none. */
  take(): boolean {
    this.#fill();
    if (this.#tokens < 1) return false;
    this.#tokens -= 1;
    return true;
  }

  /** Milliseconds until there is a token: at least 1, or 0 for now. */
  get waitMs(): number {
    this.#fill();
    const missing = 1 - this.#tokens;
    return missing <= 0 ? 0 : Math.ceil((missing * 1000) / this.rate);
  }

  #fill(): void {
    const now = this.#now();
    const earned = (Math.max(now - this.#countedAt, 0) * this.rate) / 1000;
    this.#tokens = Math.min(this.#tokens + earned, BURST * this.rate);
    this.#countedAt = now;
  }
}
