/**
 * The status stream, fd 0: what an hsmd tells lightningd about itself.
 *
 * lightningd reads it from its event loop only, so not while it waits for one
 * of our replies: a write that blocked here would stop both sides for ever.
 * Writes are queued; when the queue grows, the least important lines go first,
 * and how many went is said later.
 *
 * @module
 */

import type net from "node:net";
import { encodeFrame } from "../wire/frame.ts";
import { encodeMessage } from "../wire/message.ts";
import {
  FAIL_REASONS,
  LOG_LEVELS,
  type LogLevel,
  STATUS,
  statusText,
} from "../wire/status.ts";
import type { NodeId } from "../wire/types.ts";

/** Bytes that may wait: past the first no debug lines, past the second none. */
const QUEUE_LIMITS = { chatter: 256 * 1024, anything: 1024 * 1024 } as const;

/** Longest request that a bad-request report repeats, in bytes. */
const REPORTED_BYTES = 0xffff;

/** Writes status messages, never blocking and never malformed. */
export class StatusStream {
  readonly #socket: net.Socket;
  readonly #least: number;
  #dropped = 0;
  #isOpen = true;

  /** Takes the socket over; lines below `least` are not sent. */
  constructor(socket: net.Socket, least: LogLevel) {
    this.#socket = socket;
    this.#least = LOG_LEVELS[least];
    // lightningd closing its end shows as an error of the next write.
    socket.on("error", () => this.#isOpen = false);
  }

  /** Says which release we go with; lightningd compares it with its own. */
  version(version: string): void {
    this.#send(
      encodeMessage(STATUS.status_version, { version: statusText(version) }),
    );
  }

  /** A line in lightningd's log, under `hsmd` or under a peer. */
  log(level: LogLevel, text: string, peer: NodeId | null = null): void {
    const number = LOG_LEVELS[level];
    if (number < this.#least) return;
    if (!this.#hasRoom(number)) {
      this.#dropped += 1;
      return;
    }
    this.#sayDropped();
    this.#line(number, text, peer);
  }

  /** Reports a request that cannot be answered, as the stock hsmd does. */
  badRequest(id: NodeId, description: string, message: Uint8Array): void {
    this.#send(encodeMessage(STATUS.hsmstatus_client_bad_request, {
      id,
      description: statusText(description),
      msg: message.subarray(0, REPORTED_BYTES),
    }));
  }

  /** Says why we end; resolves when lightningd's end has it, or is gone. */
  async fail(
    reason: keyof typeof FAIL_REASONS,
    description: string,
  ): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#send(
      encodeMessage(STATUS.status_fail, {
        failreason: FAIL_REASONS[reason],
        desc: statusText(description),
      }),
      resolve,
    );
    await promise;
  }

  #hasRoom(level: number): boolean {
    const waiting = this.#socket.writableLength;
    return waiting < QUEUE_LIMITS.chatter ||
      (level > LOG_LEVELS.info && waiting < QUEUE_LIMITS.anything);
  }

  #sayDropped(): void {
    if (this.#dropped === 0) return;
    const text = `${this.#dropped} log lines left out: lightningd did not read`;
    this.#dropped = 0;
    this.#line(LOG_LEVELS.info, text, null);
  }

  #line(
    level: (typeof LOG_LEVELS)[LogLevel],
    text: string,
    peer: NodeId | null,
  ): void {
    this.#send(
      encodeMessage(STATUS.status_log, {
        level,
        peer,
        entry: statusText(text),
      }),
    );
  }

  #send(message: Uint8Array, done: () => void = () => {}): void {
    if (!this.#isOpen) return done();
    this.#socket.write(encodeFrame(message), () => done());
  }
}
