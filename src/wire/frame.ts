/**
 * Length framing of the hsmd sockets: u32 big-endian length, then the payload.
 *
 * The splitter never allocates for a length that was only announced: it keeps
 * the chunks that arrived and joins them when a frame is whole.
 *
 * @module
 */

import { DecodeError } from "../errors.ts";

/** CLN's limit on a frame, in bytes: a longer one ends the connection. */
export const FRAME_LIMIT: number = 2 ** 27;

const HEADER_LENGTH = 4;

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
  #chunks: Uint8Array[] = [];
  #held = 0;

  /** Frames of `limit` bytes and more are refused. */
  constructor(limit: number = FRAME_LIMIT) {
    this.#limit = limit;
  }

  /** Takes bytes as they arrive. */
  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk);
    this.#held += chunk.length;
  }

  /** Whether bytes of an unfinished frame are held. */
  get isInside(): boolean {
    return this.#held > 0;
  }

  /**
   * The next whole payload, or null when more bytes are needed.
   *
   * @throws {DecodeError} as soon as a frame announces too much
   */
  take(): Uint8Array | null {
    if (this.#held < HEADER_LENGTH) return null;
    const length = this.#length();
    if (length >= this.#limit) {
      const wanted = `${length} bytes, want less than ${this.#limit}`;
      throw new DecodeError("frame", "length", 0, wanted);
    }
    const whole = HEADER_LENGTH + length;
    if (this.#held < whole) return null;
    const bytes = this.#join();
    this.#chunks = whole < bytes.length ? [bytes.subarray(whole)] : [];
    this.#held -= whole;
    return bytes.subarray(HEADER_LENGTH, whole);
  }

  /** The announced length; joins only when it straddles chunks. */
  #length(): number {
    const first = this.#chunks[0];
    const head = first !== undefined && first.length >= HEADER_LENGTH
      ? first
      : this.#join();
    return new DataView(head.buffer, head.byteOffset).getUint32(0);
  }

  #join(): Uint8Array {
    const [first, ...rest] = this.#chunks;
    if (first !== undefined && rest.length === 0) return first;
    const joined = new Uint8Array(this.#held);
    let offset = 0;
    for (const chunk of this.#chunks) {
      joined.set(chunk, offset);
      offset += chunk.length;
    }
    this.#chunks = [joined];
    return joined;
  }
}
