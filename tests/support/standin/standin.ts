/**
 * Plays lightningd towards an hsmd: starts it the way lightningd does, and
 * gives the test all of its streams.
 *
 * What needs the operating system (socket pairs, fd 0 and 3, receiving
 * descriptors) is done by `parent.c`, which connects back to us for each
 * stream; that file describes the eight bytes that introduce one. The program
 * under test cannot tell the two of us from lightningd.
 *
 * Not played here: the version probe, and anything that lightningd says.
 *
 * @module
 */

import { nativeElf } from "../../../src/fdpass/elf.ts";
import { spawnFresh } from "../../../src/fdpass/fresh.ts";
import { FrameConn } from "./frame_conn.ts";
import { PARENT_ELF } from "./parent_elf.ts";

export { FrameConn } from "./frame_conn.ts";

/** What to run as the hsmd. */
export interface StandinOptions {
  /** Absolute path: there is no search through PATH, as in lightningd. */
  readonly program: string;
  /** What follows its name on the command line. */
  readonly args?: readonly string[];
  /** Added to the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** Where it starts; by default where we are. */
  readonly cwd?: string;
  /** An executable to use in place of the embedded `parent`. */
  readonly parent?: string;
}

/** The process that plays the operating-system side, and where it connects. */
interface Parent {
  readonly directory: string;
  readonly listener: Deno.UnixListener;
  readonly process: Deno.ChildProcess;
}

/** A connection from the parent, after its eight bytes. */
interface Stream {
  readonly kind: string;
  readonly number: number;
  readonly conn: Deno.UnixConn;
}

/** What the parent announces first. */
interface Opening {
  readonly pid: number;
  readonly status: FrameConn;
  readonly master: FrameConn;
}

const HEADER_LENGTH = 8;
/** How long lightningd waits before it kills an hsmd that does not end. */
const GRACE_MS = 10_000;

/** A running hsmd, seen from lightningd's side. */
export class Standin implements AsyncDisposable {
  /** The process id of the hsmd. */
  readonly pid: number;
  /** What the hsmd sends on fd 0. */
  readonly status: FrameConn;
  /** Requests and replies on fd 3. */
  readonly master: FrameConn;

  readonly #parent: Parent;
  readonly #exit = Promise.withResolvers<number>();
  readonly #handovers = new Mailbox<FrameConn | Error>();
  readonly #clients = new Set<FrameConn>();
  readonly #accepting: Promise<void>;

  private constructor(parent: Parent, opening: Opening) {
    this.#parent = parent;
    this.pid = opening.pid;
    this.status = opening.status;
    this.master = opening.master;
    this.#exit.promise.catch(() => {});
    this.#accepting = this.#accept();
  }

  /** Starts the hsmd. It may still fail: see {@linkcode Standin.exit}. */
  static async start(options: StandinOptions): Promise<Standin> {
    const parent = await startParent(options);
    try {
      return new Standin(parent, await acceptOpening(parent));
    } catch (error) {
      await closeParent(parent);
      throw error;
    }
  }

  /** The exit code of the hsmd, or 256 + the signal that ended it. */
  get exit(): Promise<number> {
    return this.#exit.promise;
  }

  /**
   * Returns the next client connection that the hsmd hands over, in order.
   * Rejects for one without a descriptor, and when the hsmd has ended.
   */
  async nextClient(): Promise<FrameConn> {
    const handover = await this.#handovers.take();
    if (handover instanceof Error) throw handover;
    return handover;
  }

  /** Closes the master stream: the hsmd sees the end of fd 3 and should end. */
  close(): void {
    this.master.close();
  }

  /** Ends the hsmd as lightningd does, and everything that belongs to it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    await this.#endOrKill();
    this.status.close();
    for (const client of this.#clients) client.close();
    const isOver = await endParent(this.#parent);
    await closeParent(this.#parent);
    await this.#accepting;
    if (!isOver) throw new Error("Something still holds the hsmd's streams");
  }

  async #endOrKill(): Promise<void> {
    const timer = setTimeout(() => Deno.kill(this.pid, "SIGKILL"), GRACE_MS);
    await this.#exit.promise.catch(() => {});
    clearTimeout(timer);
  }

  /** Takes what the parent announces until the listener is closed. */
  async #accept(): Promise<void> {
    for await (const stream of acceptStreams(this.#parent.listener)) {
      this.#take(stream);
    }
    this.#exit.reject(new Error("The parent ended before the hsmd"));
  }

  #take({ kind, number, conn }: Stream): void {
    if (kind === "c") {
      const client = new FrameConn(conn, () => this.#clients.delete(client));
      this.#clients.add(client);
      this.#handovers.put(client);
      return;
    }
    conn.close();
    if (kind === "x") {
      const text = `Hand-over ${number} came without a descriptor`;
      this.#handovers.put(new Error(text));
    } else if (kind === "e") {
      this.#exit.resolve(number);
      this.#handovers.end(new Error(`The hsmd ended: ${number}`));
    }
  }
}

/** Items in order of arrival, takers in order of asking. */
class Mailbox<T> {
  readonly #items: T[] = [];
  readonly #takers: ((item: T) => void)[] = [];
  #last: T | null = null;

  put(item: T): void {
    const taker = this.#takers.shift();
    if (taker === undefined) this.#items.push(item);
    else taker(item);
  }

  /** From now on everyone who would have to wait gets this one. */
  end(last: T): void {
    this.#last = last;
    for (const taker of this.#takers.splice(0)) taker(last);
  }

  take(): Promise<T> {
    const item = this.#items.shift() ?? this.#last;
    if (item !== null) return Promise.resolve(item);
    return new Promise((resolve) => this.#takers.push(resolve));
  }
}

async function startParent(options: StandinOptions): Promise<Parent> {
  const directory = await Deno.makeTempDir();
  const embedded = `${directory}/parent`;
  const path = `${directory}/socket`;
  await Deno.writeFile(embedded, nativeElf(PARENT_ELF), { mode: 0o500 });
  const listener = Deno.listen({ transport: "unix", path });
  const process = await spawnFresh(options.parent ?? embedded, {
    args: [path, options.program, ...options.args ?? []],
    env: { ...options.env },
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  });
  return { directory, listener, process };
}

/** The parent ends when all its streams have; returns whether it did. */
async function endParent({ process }: Parent): Promise<boolean> {
  const timer = setTimeout(() => process.kill("SIGKILL"), GRACE_MS);
  const { success } = await process.status;
  clearTimeout(timer);
  return success;
}

async function closeParent({ directory, listener }: Parent): Promise<void> {
  listener.close();
  await Deno.remove(directory, { recursive: true });
}

/** Takes the first three streams, which come in this order. */
async function acceptOpening({ listener, process }: Parent): Promise<Opening> {
  const failure = process.status.then(({ code }) => {
    throw new Error(`Cannot start the parent: exit code ${code}`);
  });
  failure.catch(() => {});
  const next = () => Promise.race([acceptStream(listener), failure]);
  const { number: pid, conn } = await next();
  conn.close();
  const status = new FrameConn((await next()).conn);
  const master = new FrameConn((await next()).conn);
  return { pid, status, master };
}

async function* acceptStreams(
  listener: Deno.UnixListener,
): AsyncGenerator<Stream> {
  try {
    for (;;) yield await acceptStream(listener);
  } catch (error) {
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

async function acceptStream(listener: Deno.UnixListener): Promise<Stream> {
  const conn = await listener.accept();
  const header = new Uint8Array(HEADER_LENGTH);
  for (let held = 0; held < HEADER_LENGTH;) {
    const count = await conn.read(header.subarray(held));
    if (count === null) throw new Error("Cannot read the header of a stream");
    held += count;
  }
  const view = new DataView(header.buffer);
  const kind = String.fromCharCode(view.getUint8(0));
  return { kind, number: view.getUint32(4), conn };
}
