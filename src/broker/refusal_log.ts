/**
 * Refusals in lightningd's log: each within the second, and never a flood.
 *
 * A node that was taken over can ask for what is refused thousands of times a
 * second. Of each kind the first few in a second are written as they come, then
 * one more when the second is over, with the number of those left out.
 *
 * @module
 */

import { SIGNER_ERROR_CODES } from "../errors.ts";
import type { Request } from "../unixfd.ts";
import type { LogLevel } from "../wire/status.ts";
import type { NodeId } from "../wire/types.ts";
import { concernOf } from "./refusals.ts";

/** A line about a refusal. */
export interface RefusalLine {
  readonly level: LogLevel;
  readonly text: string;
  readonly peer: NodeId | null;
}

const WINDOW_MS = 1000;
/** Lines of one kind that are written at once, in each window. */
const MOST_AT_ONCE = 3;
/** Kinds that are told apart in a window; the device's text makes them. */
const MOST_KINDS = 64;
const OTHERS = "";

interface Window {
  readonly timer: ReturnType<typeof setTimeout>;
  written: number;
  skipped: number;
  last: RefusalLine | null;
}

/** Writes refusals, a few of each kind a second. */
export class RefusalLog {
  readonly #write: (line: RefusalLine) => void;
  readonly #windows = new Map<string, Window>();

  constructor(write: (line: RefusalLine) => void) {
    this.#write = write;
  }

  /** What the device said to a request; the reason is fit for a log line. */
  say(
    request: Request,
    { code, reason }: { readonly code: number; readonly reason: string },
  ): void {
    const line = lineOf(request, code, reason);
    const window = this.#windowOf(ruleIn(reason, request.row.name));
    if (window.written < MOST_AT_ONCE) {
      window.written += 1;
      return this.#write(line);
    }
    window.skipped += 1;
    window.last = line;
  }

  /** Stops timers; what was left out stays so. */
  close(): void {
    for (const { timer } of this.#windows.values()) clearTimeout(timer);
    this.#windows.clear();
  }

  #windowOf(rule: string): Window {
    const isKnown = this.#windows.has(rule);
    const kind = isKnown || this.#windows.size < MOST_KINDS ? rule : OTHERS;
    const known = this.#windows.get(kind);
    if (known !== undefined) return known;
    const timer = setTimeout(() => this.#end(kind), WINDOW_MS);
    const window: Window = { timer, written: 0, skipped: 0, last: null };
    this.#windows.set(kind, window);
    return window;
  }

  #end(kind: string): void {
    const window = this.#windows.get(kind);
    this.#windows.delete(kind);
    if (window === undefined || window.last === null) return;
    const { last, skipped } = window;
    const more = skipped > 1 ? ` (and ${skipped - 1} more of these)` : "";
    this.#write({ ...last, text: `${last.text}${more}` });
  }
}

/** A broken device is no rule, and louder. */
function lineOf(request: Request, code: number, reason: string): RefusalLine {
  const isBroken = code === SIGNER_ERROR_CODES.internal;
  const { peerId, dbid } = concernOf(request);
  const isNode = dbid === 0n;
  const whom = isNode ? "the node" : `${peerId.toHex()}/${dbid}`;
  const what = isBroken ? "signer failed at" : "refused";
  return {
    level: isBroken ? "broken" : "unusual",
    text: `${what} ${request.row.name} for ${whom}: ${reason}`,
    peer: isNode ? null : peerId,
  };
}

/** What refused: the rule in the signer's words, or else the request's name. */
function ruleIn(text: string, requestName: string): string {
  return /\bpolicy failure: ([^\s:]+)/.exec(text)?.[1] ?? requestName;
}
