/**
 * A small file that two programs change: the broker while it serves, and its
 * commands in a terminal.
 *
 * Whoever changes it holds a lock on a file beside it, reads, and puts a new
 * file in its place; so no change is lost and no reader sees half of one. It is
 * read anew each time: what a command changed holds from the next question on.
 *
 * Somebody may spoil it by hand while the broker serves, and a broker that ends
 * takes the node with it. So a file that could be read once and cannot be now
 * says what it said last, and lets nobody change it.
 *
 * What it does not do: know what is in the file.
 *
 * @module
 */

import { ConfigError, describeError } from "../errors.ts";
import { replaceFile } from "./replace_file.ts";

/** What is in such a file. */
export interface FileFormat<T> {
  /** What the file is read as while there is none. */
  readonly empty: T;
  /** Throws for a text that it did not write. */
  readonly parse: (text: string) => T;
  readonly format: (value: T) => string;
}

/** Longest file that is read, in bytes; ours are far shorter. */
const LONGEST = 1 << 20;

/** A value in a file, or in memory where there is no path. */
export class SharedFile<T> {
  /** Null for one that lasts as long as the process. */
  readonly path: string | null;
  readonly #format: FileFormat<T>;
  /** The value of one without a path. */
  #value: T;
  /** What the file said when it could be read last. */
  #readable: { readonly value: T } | null = null;
  /** Changes of this process come one after the other. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(path: string | null, format: FileFormat<T>) {
    this.path = path;
    this.#format = format;
    this.#value = format.empty;
  }

  /** Whether there is one. */
  get isThere(): boolean {
    return this.path === null || this.#text(this.path) !== null;
  }

  /**
   * What it says now, or said when it could be read last.
   *
   * @throws {ConfigError} for what could never be read
   */
  read(): T {
    if (this.path === null) return this.#value;
    try {
      const value = this.#parse(this.path);
      this.#readable = { value };
      return value;
    } catch (error) {
      if (this.#readable === null) throw error;
      return this.#readable.value;
    }
  }

  /** Changes it, durably, and says what it was changed to. */
  change(edit: (value: T) => T): Promise<T> {
    const changed = this.#turn.then(() => this.#change(edit));
    this.#turn = changed.catch(() => {});
    return changed;
  }

  /** Calls after each change, whoever made it; until it is closed. */
  watch(changed: () => void): { close(): void } {
    if (this.path === null) return { close: () => {} };
    const at = this.path.lastIndexOf("/");
    const name = this.path.slice(at + 1);
    const watcher = Deno.watchFs(at < 0 ? "." : this.path.slice(0, at), {
      recursive: false,
    });
    (async () => {
      for await (const { paths } of watcher) {
        if (paths.some((path) => path.endsWith(`/${name}`))) changed();
      }
    })();
    return { close: () => watcher.close() };
  }

  async #change(edit: (value: T) => T): Promise<T> {
    if (this.path === null) return this.#value = edit(this.#value);
    using lock = await Deno.open(`${this.path}.lock`, {
      write: true,
      create: true,
      mode: 0o600,
    });
    await lock.lock(true);
    const before = this.#parse(this.path);
    const after = edit(before);
    if (after === before) return after;
    const content = new TextEncoder().encode(this.#format.format(after));
    await replaceFile(this.path, content);
    return after;
  }

  #parse(path: string): T {
    const text = this.#text(path);
    if (text === null) return this.#format.empty;
    try {
      return this.#format.parse(text);
    } catch (cause) {
      throw unreadable(path, describeError(cause));
    }
  }

  #text(path: string): string | null {
    try {
      const bytes = Deno.readFileSync(path);
      if (bytes.length <= LONGEST) return new TextDecoder().decode(bytes);
      throw unreadable(path, `${bytes.length} bytes`);
    } catch (cause) {
      if (cause instanceof Deno.errors.NotFound) return null;
      if (cause instanceof ConfigError) throw cause;
      throw unreadable(path, describeError(cause));
    }
  }
}

function unreadable(path: string, found: string): ConfigError {
  return new ConfigError(
    "pairing",
    path,
    found,
    "a file that this program wrote, or no file to pair anew",
  );
}

/** A property of what was parsed; undefined where there is none. */
export function propertyOf(record: unknown, name: string): unknown {
  return typeof record === "object" && record !== null
    ? Reflect.get(record, name)
    : undefined;
}

/** A text of a form in what was parsed. @throws {TypeError} */
export function textIn(record: unknown, name: string, form: RegExp): string {
  const value = propertyOf(record, name);
  if (typeof value === "string" && form.test(value)) return value;
  throw new TypeError(`no ${name} in it`);
}

/** A time in milliseconds in what was parsed. @throws {TypeError} */
export function timeIn(record: unknown, name: string): number {
  const value = propertyOf(record, name);
  if (typeof value === "number" && Number.isSafeInteger(value)) return value;
  throw new TypeError(`no ${name} in it`);
}

/** A list in what was parsed. @throws {TypeError} */
export function listIn(record: unknown, name: string): readonly unknown[] {
  const value = propertyOf(record, name);
  if (Array.isArray(value)) return value;
  throw new TypeError(`no ${name} in it`);
}
