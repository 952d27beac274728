/**
 * Watches an MQTT byte stream for packets that announce too much.
 *
 * MQTT lets a packet announce 256 MiB, and a parser keeps what arrives until
 * the packet is whole. The guard reads nothing but the fixed headers (MQTT
 * 3.1.1 §2.2) and says when a packet is longer than its sender may send: a
 * stranger gets little, a device that has logged in gets what replies need.
 *
 * @module
 */

/** Follows fixed headers; holds at most five bytes of state. */
export class PacketGuard {
  /** Bytes of the current packet's body still to pass. */
  #body = 0;
  /** Bytes of the remaining length read so far; null before the type byte. */
  #lengthBytes: number | null = null;
  #length = 0;
  #limit: number;
  #hasPassedWhole = false;

  /** Refuses packets whose remaining length is over `limit` bytes. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Changes the limit, from the next packet on. */
  allow(limit: number): void {
    this.#limit = limit;
  }

  /** Whether a whole packet has passed. */
  get hasPassedWhole(): boolean {
    return this.#hasPassedWhole;
  }

  /** Why the stream must end here, or null when it may go on. */
  problemIn(chunk: Uint8Array): string | null {
    for (let at = 0; at < chunk.length;) {
      if (this.#body > 0) {
        const passed = Math.min(this.#body, chunk.length - at);
        this.#body -= passed;
        this.#hasPassedWhole ||= this.#body === 0;
        at += passed;
        continue;
      }
      const problem = this.#header(chunk[at] ?? 0);
      if (problem !== null) return problem;
      at += 1;
    }
    return null;
  }

  #header(byte: number): string | null {
    if (this.#lengthBytes === null) {
      this.#lengthBytes = 0;
      this.#length = 0;
      return null;
    }
    this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes;
    this.#lengthBytes += 1;
    if (byte >= 0x80 && this.#lengthBytes < 4) return null;
    if (byte >= 0x80) return "a remaining length of more than 4 bytes";
    if (this.#length > this.#limit) {
      return `a packet of ${this.#length} bytes, want at most ${this.#limit}`;
    }
    this.#body = this.#length;
    this.#hasPassedWhole ||= this.#length === 0;
    this.#lengthBytes = null;
    return null;
  }
}
