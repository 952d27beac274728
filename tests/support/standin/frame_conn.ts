/**
 * Length-prefixed frames over a Unix socket, the way lightningd and its
 * daemons use them. Made for measuring too: one write per frame, one copy per
 * frame read.
 *
 * One reader and one writer at a time; hsmd requests alternate strictly, so a
 * second one would be a mistake in the test.
 *
 * @module
 */

const HEADER_LENGTH = 4;
const BUFFER_LENGTH = 65536;

/** A connection that carries frames. */
export class FrameConn implements AsyncIterable<Uint8Array>, Disposable {
  readonly #conn: Deno.UnixConn;
  readonly #onClose: (conn: FrameConn) => void;
  #buffer = new Uint8Array(BUFFER_LENGTH);
  #start = 0;
  #end = 0;
  #isClosed = false;

  /** Takes the connection over; `onClose` hears when it was closed here. */
  constructor(
    conn: Deno.UnixConn,
    onClose: (conn: FrameConn) => void = () => {},
  ) {
    this.#conn = conn;
    this.#onClose = onClose;
  }

  /** Sends a request and returns the reply. Rejects at the end of the stream. */
  async ask(payload: Uint8Array): Promise<Uint8Array> {
    await this.write(payload);
    const reply = await this.read();
    if (reply === null) throw new Error("Cannot read a reply: stream ended");
    return reply;
  }

  /** Sends one frame. */
  write(payload: Uint8Array): Promise<void> {
    const frame = new Uint8Array(HEADER_LENGTH + payload.length);
    new DataView(frame.buffer).setUint32(0, payload.length);
    frame.set(payload, HEADER_LENGTH);
    return this.writeRaw(frame);
  }

  /** Sends bytes as they are. */
  async writeRaw(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) {
      sent += await this.#conn.write(bytes.subarray(sent));
    }
  }

  /** Returns the next frame's payload, or null at the end of the stream. */
  async read(): Promise<Uint8Array | null> {
    for (;;) {
      const frame = this.#takeFrame();
      if (frame !== null) return frame;
      if (!await this.#fill()) return null;
    }
  }

  /** Every frame until the end of the stream. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const payload = await this.read();
      if (payload === null) return;
      yield payload;
    }
  }

  /** Ends our direction only; the other side can still be read. */
  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  /** Closes both directions; a pending read returns null. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#conn.close();
    this.#onClose(this);
  }

  /** The same as {@linkcode FrameConn.close}. */
  [Symbol.dispose](): void {
    this.close();
  }

  #takeFrame(): Uint8Array | null {
    const held = this.#end - this.#start;
    if (held < HEADER_LENGTH) return null;
    const view = new DataView(this.#buffer.buffer, this.#start);
    const length = HEADER_LENGTH + view.getUint32(0);
    if (held < length) {
      this.#makeRoom(length);
      return null;
    }
    const body = this.#start + HEADER_LENGTH;
    this.#start += length;
    return this.#buffer.slice(body, this.#start);
  }

  /** Makes the buffer long enough for a frame that is longer than it. */
  #makeRoom(length: number): void {
    if (length <= this.#buffer.length) return;
    const larger = new Uint8Array(length);
    larger.set(this.#buffer.subarray(this.#start, this.#end));
    this.#end -= this.#start;
    this.#start = 0;
    this.#buffer = larger;
  }

  /** Reads more bytes; returns false at the end of the stream. */
  async #fill(): Promise<boolean> {
    this.#buffer.copyWithin(0, this.#start, this.#end);
    this.#end -= this.#start;
    this.#start = 0;
    const count = await this.#receive(this.#buffer.subarray(this.#end));
    this.#end += count ?? 0;
    return count !== null;
  }

  async #receive(into: Uint8Array): Promise<number | null> {
    try {
      return await this.#conn.read(into);
    } catch (error) {
      if (this.#isClosed) return null;
      if (error instanceof Deno.errors.ConnectionReset) return null;
      throw error;
    }
  }
}
