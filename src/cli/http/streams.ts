/**
 * Server-sent events: what happens, as it happens, to whoever keeps a line open.
 *
 * | stream | event |
 * | --- | --- |
 * | errors | `data:{"code":"Vls","message":"…"}`, each error of a device |
 * | status | `event:status`, `data:` the snapshot as JSON, or as the page |
 *
 * Snapshots are sent when something changed, at most one every
 * {@linkcode PAUSE_MS}: a node under load changes thousands of times a second. A
 * comment every {@linkcode HEARTBEAT_MS} shows both ends that the line stands.
 *
 * A reader that does not keep up misses errors, and gets the newest snapshot when
 * it reads on; one that read nothing from one comment to the next is cut off.
 * Nothing is queued for anybody beyond the connection's own buffer.
 *
 * Standard: HTML Living Standard, 9.2 (server-sent events).
 *
 * @module
 */

import type { ServerResponse } from "node:http";
import type {
  BrokerFace,
  DeviceError,
  Unsubscribe,
} from "../../broker/face.ts";
import type { StatusSnapshot } from "../../broker/status.ts";
import { bodyOf } from "./page.ts";

/** From one snapshot to the next at least, in milliseconds. */
export const PAUSE_MS = 1_000;
/** What changes together is sent together, in milliseconds. */
const TOGETHER_MS = 30;
/** From one comment to the next, in milliseconds. */
export const HEARTBEAT_MS = 30_000;
/** Readers at a time. */
export const MOST_READERS = 16;

/** What a reader of the status gets. */
export type StatusForm = "json" | "html";

/** One line that is open. */
class Reader {
  readonly #response: ServerResponse;
  /** Whether it has read all that it was sent. */
  #isKeepingUp = true;
  /** Whether it was behind at the last comment already. */
  #wasBehind = false;
  /** Is called when a reader that was behind has caught up. */
  onCaughtUp: (() => void) | null = null;

  constructor(response: ServerResponse) {
    this.#response = response;
    response.on("drain", () => {
      this.#isKeepingUp = true;
      this.onCaughtUp?.();
    });
  }

  /** False when it is behind: it was sent nothing. */
  send(text: string): boolean {
    if (!this.#isKeepingUp) return false;
    this.#isKeepingUp = this.#response.write(text);
    return true;
  }

  /** Shows that the line stands; ends it when nobody reads at the other end. */
  beat(): void {
    if (this.send(":\n\n")) this.#wasBehind = false;
    else if (this.#wasBehind) this.end();
    else this.#wasBehind = true;
  }

  end(): void {
    this.#response.destroy();
  }
}

/** A reader of the status, and whether it missed a snapshot. */
interface StatusReader {
  readonly reader: Reader;
  readonly form: StatusForm;
  hasMissed: boolean;
}

/** All lines that are open on one listener. */
export class Streams {
  readonly #face: BrokerFace;
  readonly #heartbeatMs: number;
  readonly #readers = new Set<Reader>();
  readonly #statusReaders = new Set<StatusReader>();
  #unsubscribe: Unsubscribe | null = null;
  #heartbeat: ReturnType<typeof setInterval> | null = null;
  #next: ReturnType<typeof setTimeout> | null = null;
  #sentAt = -Infinity;

  constructor(
    face: BrokerFace,
    { heartbeatMs = HEARTBEAT_MS }: { readonly heartbeatMs?: number } = {},
  ) {
    this.#face = face;
    this.#heartbeatMs = heartbeatMs;
  }

  /** Whether another reader can be taken. */
  get hasRoom(): boolean {
    return this.#readers.size < MOST_READERS;
  }

  /** Sends this one each error from now on. */
  openErrors(response: ServerResponse): void {
    const reader = this.#open(response);
    const unsubscribe = this.#face.onError((error) =>
      reader.send(errorEvent(error))
    );
    response.on("close", unsubscribe);
  }

  /** Sends this one the status, now and whenever it changed. */
  openStatus(response: ServerResponse, form: StatusForm): void {
    const reader = this.#open(response);
    const one: StatusReader = { reader, form, hasMissed: false };
    reader.onCaughtUp = () => {
      if (one.hasMissed) this.#change();
    };
    this.#statusReaders.add(one);
    response.on("close", () => {
      this.#statusReaders.delete(one);
      if (this.#statusReaders.size === 0) this.#stopStatus();
    });
    this.#unsubscribe ??= this.#face.onChange(() => this.#change());
    reader.send(statusEvent(this.#face.snapshot(), form));
  }

  /** Ends all lines. */
  close(): void {
    for (const reader of this.#readers) reader.end();
    this.#stopStatus();
    this.#stopHeartbeat();
  }

  #open(response: ServerResponse): Reader {
    const reader = new Reader(response);
    this.#readers.add(reader);
    response.on("close", () => {
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.#stopHeartbeat();
    });
    this.#heartbeat ??= setInterval(() => {
      for (const one of this.#readers) one.beat();
    }, this.#heartbeatMs);
    return reader;
  }

  #change(): void {
    if (this.#next !== null || this.#statusReaders.size === 0) return;
    const pause = this.#sentAt + PAUSE_MS - performance.now();
    this.#next = setTimeout(
      () => this.#sendStatus(),
      Math.max(TOGETHER_MS, pause),
    );
  }

  #sendStatus(): void {
    this.#next = null;
    this.#sentAt = performance.now();
    const status = this.#face.snapshot();
    const events = new Map<StatusForm, string>();
    for (const one of this.#statusReaders) {
      const event = events.get(one.form) ?? statusEvent(status, one.form);
      events.set(one.form, event);
      one.hasMissed = !one.reader.send(event);
    }
  }

  #stopStatus(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    if (this.#next !== null) clearTimeout(this.#next);
    this.#next = null;
  }

  #stopHeartbeat(): void {
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat);
    this.#heartbeat = null;
  }
}

/** As Sphinx tools expect it; JSON has no line ends. */
function errorEvent({ code, text }: DeviceError): string {
  return `data:${JSON.stringify({ code, message: text })}\n\n`;
}

function statusEvent(status: StatusSnapshot, form: StatusForm): string {
  const value = form === "json"
    ? status
    : { at: status.at, html: bodyOf(status).toString() };
  return `event:status\ndata:${JSON.stringify(value)}\n\n`;
}
