/**
 * The owner's socket of a running softkey: commands from another terminal.
 *
 * A softkey has its card for itself, so a command that wants the card has to ask
 * it. The socket lies in the card folder; whoever may open that folder owns the
 * card anyway. It is made in a folder that nobody else can enter and moved into
 * place when its own mode is set, so that nobody else can connect at any time.
 *
 * | bound | of a client | answer |
 * | --- | --- | --- |
 * | 8 | clients at once | turned away, with a sentence |
 * | 64 KiB | a command | error |
 * | 10 s | to send it, and to take the answer | hung up on |
 *
 * A softkey that cannot listen says why in a line and runs on.
 *
 * What it does not do: know a command (`commands.ts`), or its meaning.
 *
 * @module
 */

import { describeError } from "../../errors.ts";
import type { OpenedCard } from "./access.ts";
import { connect } from "./client.ts";
import { OWNER_COMMANDS, type OwnerCommands, runCommand } from "./commands.ts";
import { readLine, writeAll } from "./lines.ts";
import {
  type CommandResult,
  decodeCommand,
  describeLongPath,
  encodeLine,
  isSocketPath,
  MOST_COMMAND_BYTES,
  SOCKET_FILE,
} from "./protocol.ts";
import { failureOf } from "./result.ts";

const MOST_CLIENTS = 8;
const CLIENT_MS = 10_000;
/** Where the socket is made; short, for a socket's path is. */
const ASIDE = ".own";

/** What an owner's socket is made of. */
export interface SocketOptions {
  /** The card folder; its lock is ours, for `access.store` is open. */
  readonly folder: string;
  readonly access: OpenedCard;
  /** One line to the owner. */
  readonly say: (text: string) => void;
  /** For tests. */
  readonly commands?: OwnerCommands;
  /** How long a client may take to send its command, in milliseconds. */
  readonly clientMs?: number;
}

/** A socket that listens, or does not. */
export interface OwnerSocket {
  /** Stops listening, hangs up on everybody, and takes the socket away. */
  close(): void;
}

/** Listens for the owner's commands, until it is closed. */
export async function startOwnerSocket(
  options: SocketOptions,
): Promise<OwnerSocket> {
  const { folder, say } = options;
  const path = `${folder}/${SOCKET_FILE}`;
  try {
    await warnOfOthers(folder, say);
    const obstacle = await findObstacle(folder);
    if (obstacle === null) return new Listening(options, listen(folder, path));
    say(cannotListen(obstacle));
  } catch (error) {
    say(cannotListen(`${path}: ${describeError(error)}`));
  }
  return { close: () => {} };
}

function cannotListen(why: string): string {
  return "cannot take commands from another terminal, only after a stop: " +
    why;
}

async function warnOfOthers(
  folder: string,
  say: (text: string) => void,
): Promise<void> {
  const { mode } = await Deno.stat(folder);
  if (mode === null || (mode & 0o077) === 0) return;
  say(
    `warning: others can get at the card folder ${folder}; close it to them ` +
      `with chmod 700 ${folder}`,
  );
}

/** What is in the way; what a killed softkey left behind is not. */
async function findObstacle(folder: string): Promise<string | null> {
  const path = `${folder}/${SOCKET_FILE}`;
  const longest = [path, `${folder}/${ASIDE}/s`]
    .reduce((a, b) => a.length >= b.length ? a : b);
  if (!isSocketPath(longest)) return describeLongPath(longest);
  const found = lookAt(path);
  if (found === null) return null;
  if (!found.isSocket) return `${path} is there and is no socket`;
  using answer = await connect(path);
  return answer === null ? null : `${path} answers: another program has it`;
}

/** Makes the socket aside, closes it to others, and moves it into place. */
function listen(folder: string, path: string): Deno.UnixListener {
  const aside = `${folder}/${ASIDE}`;
  if (lookAt(aside) !== null) Deno.removeSync(aside, { recursive: true });
  Deno.mkdirSync(aside, { mode: 0o700 });
  const made = `${aside}/s`;
  const listener = Deno.listen({ transport: "unix", path: made });
  try {
    Deno.chmodSync(made, 0o600);
    // Replaces a socket that a killed softkey left; nothing listens on it.
    Deno.renameSync(made, path);
    Deno.removeSync(aside);
    return listener;
  } catch (error) {
    listener.close();
    throw error;
  }
}

function lookAt(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

class Listening implements OwnerSocket {
  readonly #options: SocketOptions;
  readonly #listener: Deno.UnixListener;
  readonly #path: string;
  /** What we put there; another program may have put its own since. */
  readonly #inode: number | null;
  readonly #clients = new Set<Deno.UnixConn>();
  #isClosed = false;

  constructor(options: SocketOptions, listener: Deno.UnixListener) {
    this.#options = options;
    this.#listener = listener;
    this.#path = `${options.folder}/${SOCKET_FILE}`;
    this.#inode = lookAt(this.#path)?.ino ?? null;
    this.#accept();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
    for (const client of this.#clients) client.close();
    this.#clients.clear();
    try {
      const found = lookAt(this.#path);
      if (found?.ino === this.#inode) Deno.removeSync(this.#path);
    } catch (error) {
      const why = describeError(error);
      this.#options.say(`cannot remove ${this.#path}: ${why}`);
    }
  }

  async #accept(): Promise<void> {
    try {
      for await (const client of this.#listener) this.#greet(client);
    } catch (error) {
      if (this.#isClosed) return;
      this.#options.say(cannotListen(describeError(error)));
      this.close();
    }
  }

  #greet(client: Deno.UnixConn): void {
    const isFull = this.#clients.size >= MOST_CLIENTS;
    this.#clients.add(client);
    this.#attend(client, isFull).catch(() => {
      // It hung up, or we did: nobody is there to be told.
    }).finally(() => this.#drop(client));
  }

  #drop(client: Deno.UnixConn): void {
    if (this.#clients.delete(client)) client.close();
  }

  async #attend(client: Deno.UnixConn, isFull: boolean): Promise<void> {
    const result = isFull ? TURNED_AWAY : await this.#serve(client);
    if (result === null) return;
    await this.#inTime(client, writeAll(client, encodeLine(result)));
  }

  async #serve(client: Deno.UnixConn): Promise<CommandResult | null> {
    const { access, commands = OWNER_COMMANDS, say } = this.#options;
    try {
      const line = await this.#inTime(
        client,
        readLine(client, MOST_COMMAND_BYTES),
      );
      if (line === null || this.#isClosed) return null;
      return await runCommand(decodeCommand(line), { access, commands, say });
    } catch (error) {
      return failureOf(error);
    }
  }

  /** Hangs up on a client that takes too long. */
  async #inTime<T>(client: Deno.UnixConn, work: Promise<T>): Promise<T> {
    const ms = this.#options.clientMs ?? CLIENT_MS;
    const timer = setTimeout(() => this.#drop(client), ms);
    try {
      return await work;
    } finally {
      clearTimeout(timer);
    }
  }
}

const TURNED_AWAY: CommandResult = {
  out: "",
  err: `softkey: Cannot run the command: ${MOST_CLIENTS} others run, ` +
    "want to be tried again\n",
  code: 2,
};
