/**
 * A program in a terminal, as a person drives it: wait until the screen says
 * something, type, look at the exit code.
 *
 * The pseudo-terminal is that of util-linux's `script`, which every Debian has.
 *
 * @module
 */

import { withDeno } from "./paths.ts";

/** Longest that a screen is waited for, in milliseconds. */
const PATIENCE_MS = 120_000;

/** What to run in a terminal. */
export interface TerminalProgram {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A program that runs in a terminal. */
export class DrivenTerminal implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reading: Promise<void>;
  readonly #watchers = new Set<() => void>();
  #screen = "";
  /** Where the part of the screen begins that was not waited for yet. */
  #seen = 0;
  #isEnded = false;

  constructor({ command, args, env = {} }: TerminalProgram) {
    const line = [command, ...args].map(quoted).join(" ");
    this.#child = new Deno.Command("script", {
      args: ["-qfec", `stty cols 80 rows 24; exec ${line}`, "/dev/null"],
      env: { ...withDeno(), TERM: "xterm", SHELL: "/bin/sh", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#keys = this.#child.stdin.getWriter();
    this.#reading = this.#read();
  }

  /** All that was written so far. */
  get screen(): string {
    return this.#screen;
  }

  /** Waits until what was not yet looked at says this; returns all up to it. */
  async says(text: string | RegExp): Promise<string> {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
      const found = this.#find(text);
      if (found !== null) return found;
      if (this.#isEnded) throw new Error(this.#missing(text, "it ended"));
      const left = deadline - Date.now();
      if (left <= 0) throw new Error(this.#missing(text, "time is over"));
      await this.#change(left);
    }
  }

  /** Types a line, and Enter. */
  async types(line: string): Promise<void> {
    await this.press(`${line}\r`);
  }

  /** Types keys as they are. */
  async press(keys: string): Promise<void> {
    await this.#keys.write(new TextEncoder().encode(keys));
  }

  /** The exit code, when it has ended. */
  async ends(): Promise<number> {
    const { code } = await this.#child.status;
    await this.#reading;
    return code;
  }

  /** Ends it, however it stands. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isEnded) this.#child.kill("SIGKILL");
    await this.#child.status;
    await this.#reading;
    await this.#keys.close().catch(() => {});
  }

  #find(text: string | RegExp): string | null {
    const fresh = this.#screen.slice(this.#seen);
    const at = typeof text === "string"
      ? fresh.indexOf(text)
      : fresh.search(text);
    if (at < 0) return null;
    const size = typeof text === "string"
      ? text.length
      : text.exec(fresh)?.[0].length ?? 0;
    this.#seen += at + size;
    return fresh.slice(0, at + size);
  }

  #missing(text: string | RegExp, why: string): string {
    return `The terminal did not say ${text}: ${why}; it said\n${this.#screen}`;
  }

  async #change(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    this.#watchers.add(resolve);
    await promise;
    this.#watchers.delete(resolve);
    clearTimeout(timer);
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    for await (const part of this.#child.stdout) {
      this.#screen += decoder.decode(part, { stream: true });
      this.#wake();
    }
    this.#isEnded = true;
    this.#wake();
  }

  #wake(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

/** A word for a shell. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}
