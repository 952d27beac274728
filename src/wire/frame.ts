/**
 * Length framing of the hsmd sockets: u32 big-endian length, then the payload.
 *
 * The splitter never allocates for a length that was only announced: it holds
 * what arrived in a buffer that at most doubles, so that every byte is copied a
 * few times at most, however small the chunks are and however late frames are
 * taken.
 *
 * @module
 */

import { DecodeError } from "../errors.ts";

/** CLN's limit on a frame, in bytes: a longer one ends the connection. */
export const FRAME_LIMIT: number = 2 ** 27;

const HEADER_LENGTH = 4;
/** A buffer up to this size is kept when it runs empty, in bytes. */
const KEPT_CAPACITY = 2 ** 16;
const NO_BYTES = new Uint8Array(0);

/** A payload with its length in front. */
export function encodeFrame(payload: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = new Uint8Array(HEADER_LENGTH + payload.length);
  new DataView(frame.buffer).setUint32(0, payload.length);
  frame.set(payload, HEADER_LENGTH);
  return frame;
}

/** Cuts a byte stream into payloads. */
export class FrameSplitter {
  readonly #limit: number;
  /** What is held lies from `#start` to `#end`. */
  #buffer: Uint8Array<ArrayBuffer> = NO_BYTES;
  #start = 0;
  #end = 0;

  /** Frames of `limit` bytes and more are refused. */
  constructor(limit: number = FRAME_LIMIT) {
    this.#limit = limit;
  }

  /** Takes bytes as they arrive; the caller may use the chunk again. */
  push(chunk: Uint8Array): void {
    this.#makeRoom(chunk.length);
    this.#buffer.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** Whether bytes of an unfinished frame are held. */
  get isInside(): boolean {
    return this.#end > this.#start;
  }

  /**
   * The next whole payload, in a buffer of its own, or null when more bytes are
   * needed.
   *
   * @throws {DecodeError} as soon as a frame announces too much
   */
  take(): Uint8Array | null {
    const held = this.#end - this.#start;
    if (held < HEADER_LENGTH) return null;
    const length = new DataView(this.#buffer.buffer).getUint32(this.#start);
    if (length >= this.#limit) {
      const wanted = `${length} bytes, want less than ${this.#limit}`;
      throw new DecodeError("frame", "length", 0, wanted);
    }
    if (held < HEADER_LENGTH + length) return null;
    const from = this.#start + HEADER_LENGTH;
    const payload = this.#buffer.slice(from, from + length);
    this.#start = from + length;
    if (this.#start === this.#end) this.#clear();
    return payload;
  }

  /** Makes `size` bytes free at the end: by moving what is held, or by growing. */
  #makeRoom(size: number): void {
    if (this.#end + size <= this.#buffer.length) return;
    const held = this.#end - this.#start;
    // Moving is for a buffer that is half empty: then it pays for itself.
    if (2 * (held + size) <= this.#buffer.length) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
    } else {
      const grown = new Uint8Array(Math.max(2 * held, held + size));
      grown.set(this.#buffer.subarray(this.#start, this.#end));
      this.#buffer = grown;
    }
    this.#start = 0;
    this.#end = held;
  }

  #clear(): void {
    this.#start = 0;
    this.#end = 0;
    if (this.#buffer.length > KEPT_CAPACITY) this.#buffer = NO_BYTES;
  }
}
