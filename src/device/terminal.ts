/**
 * What the softkey writes for people, and reads from them.
 *
 * A question puts the terminal in raw mode until it is answered: nothing typed
 * is shown unless this file shows it, and Ctrl-C comes as a character, so that
 * whatever waits for the answer unwinds and lets go of what it holds. A secret
 * that is shown goes to the alternate screen, which has no scroll-back, and is
 * wiped before that screen is left.
 *
 * What it does not do: decide what is said.
 *
 * @module
 */

import {
  ConfigError,
  describeError,
  StoreError,
  UsageError,
} from "../errors.ts";
import { OwnerError } from "./owner_error.ts";
import type { Prompter } from "./prompt.ts";

/** The owner ended a question: Ctrl-C, end of input, or a signal. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  /** As shells say it: 128 and the signal. */
  readonly code: number;

  constructor(what: string, code = 130) {
    super(`Stopped by ${what}`);
    this.code = code;
  }
}

let mark = "";

/** What stands before each line of the running softkey: its light. */
export function setMark(text: string): void {
  mark = text === "" ? "" : `${text} `;
}

/** A line of the running softkey, with the time. */
export function say(text: string): void {
  const time = new Date().toISOString().slice(0, 19).replace("T", " ");
  print(`${mark}${time} ${text}`);
}

/** A line of a command's result. */
export function print(text: string): void {
  write(Deno.stdout, `${text}\n`);
}

/** Text as it is. */
export function write(
  stream: { writeSync(bytes: Uint8Array): number },
  text: string,
): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < bytes.length;) {
      done += stream.writeSync(bytes.subarray(done));
    }
  } catch (error) {
    // Nobody reads any more; what is done does not depend on readers.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Says what went wrong; the exit code for it. */
export function complain(error: unknown): number {
  const told = codeOf(error);
  const text = told === null && error instanceof Error
    ? error.stack ?? error.message
    : describeError(error);
  const lines = told === null ? [text] : text.split("\n");
  for (const line of lines) write(Deno.stderr, `softkey: ${line}\n`);
  return told ?? 70;
}

/** The exit code of what the owner can do something about; null for a bug. */
function codeOf(error: unknown): number | null {
  if (error instanceof OwnerError || error instanceof Interrupted) {
    return error.code;
  }
  const isTold = error instanceof UsageError || error instanceof ConfigError ||
    error instanceof StoreError;
  return isTold ? 2 : null;
}

/** What is typed, line by line. */
export async function* typedLines(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const part of stream) {
    const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** A person at standard input and output; null when one of them is no terminal. */
export function openTerminal(): Prompter | null {
  const isPerson = Deno.stdin.isTerminal() && Deno.stdout.isTerminal();
  return isPerson ? new Terminal() : null;
}

const CODES = {
  endOfText: "\x03",
  endOfInput: "\x04",
  bell: "\x07",
  backspace: "\b",
  killLine: "\x15",
  delete: "\x7f",
} as const;

const SCREEN = {
  /** To the alternate screen, emptied. */
  enter: "\x1b[?1049h\x1b[2J\x1b[H",
  /** Wiped, and back to where we were. */
  leave: "\x1b[2J\x1b[H\x1b[?1049l",
} as const;

/** Signals that end a question. */
const SIGNALS: Readonly<Partial<Record<Deno.Signal, number>>> = {
  SIGINT: 130,
  SIGTERM: 143,
  SIGHUP: 129,
};

/**
 * Whether the terminal shows what is typed. It begins to only when whoever got an
 * answer has nothing more to do at once: what is typed while a passphrase is
 * checked, or between two hidden lines, is not shown.
 */
class TerminalEcho {
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor() {
    // A command may end right after an answer.
    addEventListener("unload", () => {
      if (this.#timer !== null) this.#start();
    });
  }

  stop(): void {
    this.#clear();
    Deno.stdin.setRaw(true);
  }

  startSoon(): void {
    // Without echo as before, but Ctrl-C is a signal again.
    Deno.stdin.setRaw(true, { cbreak: true });
    this.#timer ??= setTimeout(() => this.#start(), 0);
  }

  #start(): void {
    this.#clear();
    Deno.stdin.setRaw(false);
  }

  #clear(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

const echo = new TerminalEcho();

/** What is shown of what is typed. */
type Echo = "text" | "nothing";

class Terminal implements Prompter {
  /** Typed, and not yet part of an answer. */
  #typed = "";
  readonly #decoder = new TextDecoder();

  show(text: string): void {
    print(text);
  }

  ask(question: string): Promise<string> {
    return this.#ask(question, "text");
  }

  askHidden(question: string): Promise<string> {
    return this.#ask(question, "nothing");
  }

  async showOnce(text: string): Promise<void> {
    // What was typed before it was shown is no answer to it.
    this.#typed = "";
    await this.#raw(async (ended) => {
      write(Deno.stdout, SCREEN.enter);
      try {
        write(Deno.stdout, `${text}\n\nPress Enter to take this away. `);
        await this.#line("nothing", ended);
      } finally {
        write(Deno.stdout, SCREEN.leave);
      }
    });
  }

  #ask(question: string, echo: Echo): Promise<string> {
    return this.#raw(async (ended) => {
      write(Deno.stdout, question);
      try {
        return await this.#line(echo, ended);
      } finally {
        write(Deno.stdout, "\n");
      }
    });
  }

  /** Keys come one by one, and signals end it, before anything is shown. */
  async #raw<T>(use: (ended: Promise<never>) => Promise<T>): Promise<T> {
    const signal = new SignalWatch();
    echo.stop();
    try {
      return await use(signal.ended);
    } finally {
      echo.startSoon();
      signal.close();
    }
  }

  async #line(echo: Echo, ended: Promise<never>): Promise<string> {
    let line = "";
    for (;;) {
      const key = await this.#key(ended);
      if (key === "\r" || key === "\n") return line;
      if (key === CODES.endOfText) throw new Interrupted("Ctrl-C");
      if (key === CODES.endOfInput && line === "") {
        throw new Interrupted("end of input");
      }
      const next = edited(line, key);
      if (echo === "text") write(Deno.stdout, redrawn(line, next));
      line = next;
    }
  }

  /** One character, or a whole escape sequence. */
  async #key(ended: Promise<never>): Promise<string> {
    while (this.#typed === "") {
      const bytes = new Uint8Array(1024);
      const size = await Promise.race([Deno.stdin.read(bytes), ended]);
      if (size === null) throw new Interrupted("end of input");
      this.#typed = this.#decoder.decode(bytes.subarray(0, size), {
        stream: true,
      });
    }
    const [key = ""] = KEY.exec(this.#typed) ?? [];
    this.#typed = this.#typed.slice(key.length);
    return key;
  }
}

/** A sequence of an arrow or paste key (ECMA-48 5.4), or one character. */
// deno-lint-ignore no-control-regex
const KEY = /^(?:\x1b\[[0-?]*[ -/]*[@-~]|\x1bO.|.|\n|\r)/su;

/** A line after a key. */
function edited(line: string, key: string): string {
  if (key === CODES.killLine) return "";
  if (key === CODES.delete || key === CODES.backspace) {
    return [...line].slice(0, -1).join("");
  }
  if (key === "\t") return `${line} `;
  return key < " " ? line : line + key;
}

/** What makes one line out of the other on the screen. */
function redrawn(before: string, after: string): string {
  if (after.startsWith(before)) return after.slice(before.length);
  const gone = [...before].length - [...after].length;
  return "\b \b".repeat(gone);
}

/** Signals, while something other than a question is waited for. */
export function untilInterrupted(): {
  /** Rejects with an {@linkcode Interrupted}. */
  readonly ended: Promise<never>;
  close(): void;
} {
  return new SignalWatch();
}

/** Listens for the signals that end a question, for as long as it is open. */
class SignalWatch {
  readonly #end = Promise.withResolvers<never>();
  readonly #listeners: (() => void)[] = [];

  constructor() {
    // It may end while nobody waits for it.
    this.#end.promise.catch(() => {});
    for (const [name, code] of Object.entries(SIGNALS)) {
      this.#listen(name, code);
    }
  }

  get ended(): Promise<never> {
    return this.#end.promise;
  }

  close(): void {
    for (const remove of this.#listeners) remove();
  }

  #listen(name: string, code: number): void {
    if (!isSignal(name)) return;
    const end = () => this.#end.reject(new Interrupted(name, code));
    Deno.addSignalListener(name, end);
    this.#listeners.push(() => Deno.removeSignalListener(name, end));
  }
}

function isSignal(name: string): name is "SIGINT" | "SIGTERM" | "SIGHUP" {
  return Object.hasOwn(SIGNALS, name);
}
