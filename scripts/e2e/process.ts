/**
 * A program in the background: its lines kept, waited for, and its end made sure
 * of.
 *
 * @module
 */

import { TextLineStream } from "./lines.ts";

/** How long a device stays away, in milliseconds. */
export const AWAY: number = Deno.env.get("SLOW") === "1" ? 600_000 : 30_000;

/** How long anything may take before the run counts as failed. */
export const PATIENCE: number = AWAY + 60_000;

/** How long a program that was asked to stop may take. */
const STOP_PATIENCE = 25_000;

interface Waiter {
  readonly pattern: RegExp;
  readonly resolve: (line: string) => void;
}

/** What to start. */
export interface ProcessOptions {
  /** For people. */
  readonly name: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
}

/** A running program. `await using` kills it. */
export class Process implements AsyncDisposable {
  readonly name: string;
  /** Everything that it printed. */
  readonly lines: string[] = [];
  readonly #child: Deno.ChildProcess;
  readonly #waiters = new Set<Waiter>();
  readonly #reading: Promise<unknown>;
  #ended: Deno.CommandStatus | null = null;

  constructor({ name, program, args, env, cwd }: ProcessOptions) {
    this.name = name;
    this.#child = new Deno.Command(program, {
      args: [...args],
      env,
      clearEnv: true,
      cwd,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const { stdout, stderr, status } = this.#child;
    this.#reading = Promise.all([this.#read(stdout), this.#read(stderr)]);
    status.then((ended) => this.#ended = ended);
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when the program has ended. */
  get ending(): Promise<Deno.CommandStatus> {
    return this.#child.status;
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    const lines = stream
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      this.lines.push(line);
      for (const waiter of this.#waiters) {
        if (waiter.pattern.test(line)) waiter.resolve(line);
      }
    }
  }

  /** The first line, from number `from` on, that fits; waits for it. */
  async line(pattern: RegExp, from = 0): Promise<string> {
    const found = this.lines.slice(from).find((line) => pattern.test(line));
    if (found !== undefined) return found;
    const { promise, resolve } = Promise.withResolvers<string>();
    const waiter = { pattern, resolve };
    this.#waiters.add(waiter);
    try {
      return await within(
        Promise.race([promise, this.#failWhenEnded(pattern)]),
        `${this.name} to print ${pattern}`,
      );
    } finally {
      this.#waiters.delete(waiter);
    }
  }

  async #failWhenEnded(pattern: RegExp): Promise<never> {
    const { code } = await this.ending;
    await this.#reading;
    throw new Error(`${this.name} ended with ${code} before ${pattern}`);
  }

  kill(signal: Deno.Signal): void {
    if (this.#ended === null) this.#child.kill(signal);
  }

  /** Waits until it has ended by itself; its exit code. */
  async end(patience = STOP_PATIENCE): Promise<number> {
    const { code } = await within(this.ending, `${this.name} to end`, patience);
    await within(this.#reading, `the last line of ${this.name}`, patience);
    return code;
  }

  /** Asks it to stop, and kills it where that is not enough. */
  async stop(): Promise<number> {
    this.kill("SIGTERM");
    try {
      return await this.end();
    } catch {
      this.kill("SIGKILL");
      return await this.end();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** A promise that fails when it takes too long. */
export async function within<T>(
  promise: Promise<T>,
  what: string,
  patience = PATIENCE,
): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => late.reject(new Error(`Waited ${patience} ms for ${what}`)),
    patience,
  );
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

const POLL_INTERVAL = 200;

/**
 * Asks again until there is an answer that is not undefined. For what nobody
 * tells by an event.
 */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined>,
  patience = PATIENCE,
): Promise<T> {
  const deadline = Date.now() + patience;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (Date.now() > deadline) {
      throw new Error(`Waited ${patience} ms for ${what}`);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_INTERVAL));
  }
}
