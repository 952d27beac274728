/**
 * Asks the softkey that runs with a card to run a command.
 *
 * What it does not do: open the card when none runs (`commands/open.ts`).
 *
 * @module
 */

import { describeError, UsageError } from "../../errors.ts";
import { readLine, writeAll } from "./lines.ts";
import {
  type CommandResult,
  decodeResult,
  encodeLine,
  isSocketPath,
  SOCKET_FILE,
} from "./protocol.ts";

/**
 * Has the softkey that runs with this card run a command line; null when none
 * answers there.
 *
 * @throws {UsageError} when it answers, and not with a result
 */
export async function tryRunningSoftkey(
  folder: string,
  args: readonly string[],
): Promise<CommandResult | null> {
  using connection = await connect(`${folder}/${SOCKET_FILE}`);
  if (connection === null) return null;
  try {
    await writeAll(connection, encodeLine({ args, at: Deno.cwd() }));
  } catch (error) {
    // Turned away while we spoke: what it said is still there to read.
    if (!isHungUp(error)) throw error;
  }
  return decodeResult(await readResult(connection));
}

/** Whether a softkey runs with this card and listens. */
export async function isSoftkeyRunning(folder: string): Promise<boolean> {
  using connection = await connect(`${folder}/${SOCKET_FILE}`);
  return connection !== null;
}

/** A connection; null when nobody listens, as with a killed softkey's socket. */
export async function connect(path: string): Promise<Deno.UnixConn | null> {
  if (!isSocketPath(path)) return null;
  try {
    return await Deno.connect({ transport: "unix", path });
  } catch (cause) {
    const isNobody = cause instanceof Deno.errors.NotFound ||
      cause instanceof Deno.errors.ConnectionRefused ||
      cause instanceof Deno.errors.NotADirectory;
    if (isNobody) return null;
    throw new UsageError(
      `Cannot reach the softkey at ${path}: ${describeError(cause)}`,
      { cause },
    );
  }
}

async function readResult(connection: Deno.UnixConn): Promise<Uint8Array> {
  try {
    const line = await readLine(connection, Infinity);
    if (line !== null) return line;
  } catch (error) {
    if (!isHungUp(error)) throw error;
  }
  throw new UsageError(
    "Cannot say what came of it: the softkey that runs with this card ended " +
      "before it answered; look when it runs again",
  );
}

function isHungUp(error: unknown): boolean {
  return error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionReset;
}
