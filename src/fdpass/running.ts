/**
 * Talks to a descriptor helper that runs: one hand-over after the other.
 *
 * A hand-over is a command of sixteen random bytes to the helper. It ends with
 * two events, in either order: the helper's answer, and a connection to our
 * socket that begins with the same bytes. Only the helper can know them, so a
 * connection that begins otherwise is a stranger's and is closed; so is one
 * that has said too little when the hand-over ends. No timer is involved.
 *
 * A command of sixteen zeros asks the helper to refuse: lightningd gets its
 * byte without a descriptor.
 *
 * @module
 */

import type net from "node:net";
import { getSystemErrorName } from "node:util";
import { type Place, removePlace } from "./place.ts";

/** A running helper. Dispose of it, or this process cannot end by itself. */
export interface Handover extends AsyncDisposable {
  /**
   * Hands one end of a fresh stream socket to lightningd over fd 3, and
   * resolves with our end once the byte is sent. Call it only after the reply
   * frame of type 109 was flushed. Calls are served one after the other.
   *
   * The socket comes paused and without a `data` listener, so that no byte is
   * lost; adding one starts the flow. It has an empty `error` listener: watch
   * `close`. Closing it is the caller's business.
   *
   * When it rejects, either lightningd has got the byte without a descriptor,
   * which fails that one peer, or lightningd or the helper is gone.
   */
  pass(): Promise<net.Socket>;
  /**
   * Resolves (never rejects) with a sentence when the helper ended without
   * being asked to.
   */
  readonly ended: Promise<string>;
}

/** What {@linkcode RunningHelper} takes over, and disposes of. */
export interface HelperParts {
  /** Removed at the end. */
  readonly place: Place;
  /** Listens on the socket in that place, with connections paused. */
  readonly server: net.Server;
  /** Its standard input takes the commands. */
  readonly process: Deno.ChildProcess;
  /** Its standard output, after the first answer. */
  readonly answers: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>>;
}

/** A hand-over under way. */
interface Pass extends PromiseWithResolvers<net.Socket> {
  readonly token: Uint8Array<ArrayBuffer>;
  socket: net.Socket | null;
  isAnswered: boolean;
}

const TOKEN_LENGTH = 16;

/** A helper that has said that it is ready. */
export class RunningHelper implements Handover {
  readonly #parts: HelperParts;
  readonly #commands: WritableStreamDefaultWriter<Uint8Array>;
  readonly #end = Promise.withResolvers<string>();
  readonly #finished: Promise<void>;
  /** Connections that have not yet said their sixteen bytes. */
  readonly #unknown = new Set<net.Socket>();
  #current: Pass | null = null;
  #last: Promise<unknown> = Promise.resolve();
  /** Why no hand-over is possible any more. */
  #obstacle: string | null = null;

  /** Takes over what was started. */
  constructor(parts: HelperParts) {
    this.#parts = parts;
    this.#commands = parts.process.stdin.getWriter();
    parts.server.on("connection", (socket) => this.#accept(socket));
    parts.server.on("error", (error) => this.#fail(error.message));
    this.#finished = this.#follow();
  }

  /** See {@linkcode Handover.ended}. */
  get ended(): Promise<string> {
    return this.#end.promise;
  }

  /** See {@linkcode Handover.pass}. */
  pass(): Promise<net.Socket> {
    const result = this.#last.then(() => this.#passOne());
    this.#last = result.catch(() => {});
    return result;
  }

  /** Ends the helper and removes what was made for it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#obstacle ??= "the helper is being ended";
    await this.#commands.close().catch(ignore);
    await this.#finished;
    this.#parts.server.close();
    await removePlace(this.#parts.place.directory);
  }

  async #passOne(): Promise<net.Socket> {
    if (this.#obstacle !== null) throw handoverError(this.#obstacle);
    const token = new Uint8Array(TOKEN_LENGTH);
    if (hasRoom(this.#parts.place.directory)) crypto.getRandomValues(token);
    const pass: Pass = {
      ...Promise.withResolvers<net.Socket>(),
      token,
      socket: null,
      isAnswered: false,
    };
    this.#current = pass;
    // A write fails only when the helper has ended, which #follow reports.
    this.#commands.write(token).catch(ignore);
    try {
      return await pass.promise;
    } finally {
      this.#current = null;
      for (const socket of this.#unknown) socket.destroy();
    }
  }

  /** Reads the helper's answers until it ends, then says why it did. */
  async #follow(): Promise<void> {
    const { answers, process } = this.#parts;
    for (;;) {
      const { value, done } = await answers.read();
      if (done) break;
      for (const code of value) this.#answer(code);
    }
    const { code, signal } = await process.status;
    const isUnasked = this.#obstacle === null;
    this.#obstacle ??= `the helper ended: ${signal ?? `exit code ${code}`}`;
    this.#fail(this.#obstacle);
    if (isUnasked) this.#end.resolve(`Descriptor hand-over: ${this.#obstacle}`);
  }

  #answer(code: number): void {
    if (this.#current === null) return;
    if (code !== 0) return this.#fail(errnoName(code));
    this.#current.isAnswered = true;
    settle(this.#current);
  }

  #fail(reason: string): void {
    this.#current?.socket?.destroy();
    this.#current?.reject(handoverError(reason));
  }

  #accept(socket: net.Socket): void {
    socket.on("error", ignore);
    if (this.#current === null) {
      socket.destroy();
      return;
    }
    this.#unknown.add(socket);
    const forget = () => this.#unknown.delete(socket);
    const listen = () => {
      const token = readToken(socket);
      if (token === null) return;
      forget();
      socket.off("close", forget);
      socket.off("readable", listen);
      this.#recognise(socket, token);
    };
    socket.on("close", forget);
    socket.on("readable", listen);
  }

  #recognise(socket: net.Socket, token: Uint8Array): void {
    const pass = this.#current;
    if (pass === null || pass.socket !== null || !equal(token, pass.token)) {
      socket.destroy();
      return;
    }
    socket.pause();
    pass.socket = socket;
    settle(pass);
  }
}

/** The name of an errno, as in "EPIPE". */
export function errnoName(code: number): string {
  return getSystemErrorName(-code) ?? `errno ${code}`;
}

/**
 * Whether two more descriptors can be opened: one for the connection, and one
 * that the runtime needs to find that no second connection waits. Without
 * these it would stop accepting for good and say nothing (Deno 2.9.6).
 */
function hasRoom(directory: string): boolean {
  try {
    using _first = Deno.openSync(directory);
    using _second = Deno.openSync(directory);
    return true;
  } catch (_cause) {
    // Whatever it is, lightningd must not wait for its byte in vain.
    return false;
  }
}

function settle(pass: Pass): void {
  if (pass.isAnswered && pass.socket !== null) pass.resolve(pass.socket);
}

/** Returns sixteen bytes (fewer at the end), null while they have not come. */
function readToken(socket: net.Socket): Uint8Array | null {
  const token: unknown = socket.read(TOKEN_LENGTH);
  return token instanceof Uint8Array ? token : null;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function handoverError(reason: string): Error {
  return new Error(`Cannot hand a descriptor to lightningd: ${reason}`);
}

/** For failures that show elsewhere. */
function ignore(): void {}
