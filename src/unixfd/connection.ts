/**
 * One connection that carries hsmd requests: lightningd's own, or a client's.
 *
 * Requests and replies alternate strictly, so the next request is looked at only
 * after the reply to the one before was written. Reading goes on meanwhile, or we
 * would not notice that nobody waits any more; but only up to a little: what is
 * sent early beyond that stays in the socket, and nobody can fill our memory by
 * not waiting.
 *
 * @module
 */

import type net from "node:net";
import { DecodeError } from "../errors.ts";
import { encodeFrame, FrameSplitter } from "../wire/frame.ts";

/** What happens on a connection. */
export interface ConnectionEvents {
  /** A whole request; the next comes after {@linkcode Connection.next}. */
  request(payload: Uint8Array): void;
  /** The other side closed, or sent what cannot be a frame. Comes once. */
  end(reason: string): void;
}

/** How much may come early, in bytes, before reading stops. */
const EARLY_BYTES = 64 * 1024;

/** A framed stream with one request under way at most. */
export class Connection {
  readonly #socket: net.Socket;
  readonly #splitter: FrameSplitter;
  readonly #events: ConnectionEvents;
  #isBusy = false;
  /** Bytes that came while busy. */
  #early = 0;
  #isOver = false;

  /** Takes the socket over. Frames of `limit` bytes and more end it. */
  constructor(socket: net.Socket, limit: number, events: ConnectionEvents) {
    this.#socket = socket;
    this.#splitter = new FrameSplitter(limit);
    this.#events = events;
    socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    socket.on("end", () => this.#finish("closed by the other side"));
    socket.on("error", (error) => this.#finish(error.message));
    socket.on("close", () => this.#finish("closed"));
    // It reads from its beginning on: the end may have come before us.
    if (socket.readableEnded || socket.destroyed) {
      queueMicrotask(() => this.#finish("closed by the other side"));
    }
    socket.resume();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Writes a reply; resolves once the kernel has it, or the end is near. */
  write(payload: Uint8Array): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#socket.write(encodeFrame(payload), () => resolve());
    return promise;
  }

  /** The request under way is done with: look at the next. */
  next(): void {
    this.#isBusy = false;
    this.#deliver();
    if (!this.#isBusy && !this.#isOver) this.#socket.resume();
  }

  /** Closes it from our side; `end` is not told. */
  close(): void {
    this.#isOver = true;
    this.#socket.destroy();
  }

  #receive(chunk: Uint8Array): void {
    this.#splitter.push(chunk);
    if (this.#isBusy) {
      this.#early += chunk.length;
      if (this.#early > EARLY_BYTES) this.#socket.pause();
    }
    this.#deliver();
  }

  #deliver(): void {
    if (this.#isBusy || this.#isOver) return;
    const payload = this.#take();
    if (payload === null) return;
    this.#isBusy = true;
    this.#early = 0;
    this.#events.request(payload);
  }

  #take(): Uint8Array | null {
    try {
      return this.#splitter.take();
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#finish(error.message);
      return null;
    }
  }

  #finish(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#socket.destroy();
    this.#events.end(reason);
  }
}
