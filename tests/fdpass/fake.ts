/**
 * Runs `fake_hsmd.ts` under the stand-in, and looks at processes from outside.
 *
 * @module
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { FrameConn, Standin } from "../support/standin/standin.ts";

/** How to run the fake hsmd. */
export interface FakeOptions {
  /** Where its helper may live. */
  readonly directory: string;
  /** Permission flags; `$$` stands for its process id. */
  readonly permissions?: string;
  /** Its own options. */
  readonly args?: readonly string[];
  /** A shell command to run before it. */
  readonly before?: string;
  /** An executable to use in place of the embedded `parent`. */
  readonly parent?: string;
}

/** For tests: both sanitizers, whatever the configuration says. */
export const SANITIZED = { sanitizeOps: true, sanitizeResources: true };

const CLIENT_REQUEST = Uint8Array.of(0, 9);
const CLIENT_REPLY = Uint8Array.of(0, 109);
const PING = Uint8Array.of(0, 7);
const FAKE = fileURLToPath(new URL("./fake_hsmd.ts", import.meta.url));

/** A directory that is removed at the end of the test. */
export class TempDir implements Disposable {
  /** Absolute, without a final slash. */
  readonly path: string = Deno.makeTempDirSync();

  /** Writes an executable file and returns its path. */
  writeProgram(name: string, content: string | Uint8Array): string {
    const path = `${this.path}/${name}`;
    const bytes = typeof content === "string"
      ? new TextEncoder().encode(content)
      : content;
    Deno.writeFileSync(path, bytes, { mode: 0o700 });
    return path;
  }

  /** Removes the directory and everything in it. */
  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** Starts the fake hsmd and waits until it serves. */
export async function startFake(options: FakeOptions): Promise<Standin> {
  const flags = options.permissions ?? "--allow-all";
  const deno = `"$0" run --no-config --no-lock --no-prompt ${flags} "$@"`;
  const standin = await Standin.start({
    program: "/bin/sh",
    args: [
      "-c",
      `${options.before ?? ":"}; exec ${deno}`,
      Deno.execPath(),
      FAKE,
      ...options.args ?? [],
      options.directory,
    ],
    ...(options.parent === undefined ? {} : { parent: options.parent }),
  });
  try {
    assert.equal(await readText(standin.status), "ready");
    return standin;
  } catch (error) {
    await standin[Symbol.asyncDispose]();
    throw error;
  }
}

/** Reads a status frame of the fake hsmd. */
export async function readText(status: FrameConn): Promise<string> {
  const payload = await status.read();
  return payload === null ? "(end)" : new TextDecoder().decode(payload);
}

/** Asks for a client connection, the way lightningd does. */
export async function askClient(standin: Standin): Promise<FrameConn> {
  assert.deepEqual(await standin.master.ask(CLIENT_REQUEST), CLIENT_REPLY);
  return await standin.nextClient();
}

/** Asks for many client connections without reading a single reply. */
export async function requestClients(
  standin: Standin,
  count: number,
): Promise<void> {
  for (let i = 0; i < count; i++) await standin.master.write(CLIENT_REQUEST);
}

/**
 * Waits until the hsmd makes no more progress with its hand-overs: its
 * descriptors stay the same over many turns of its event loop, each an echo on
 * `client`. Coming back too early makes a test weaker, not wrong.
 */
export async function awaitStall(
  standin: Standin,
  client: FrameConn,
): Promise<void> {
  const quietTurns = 50;
  let last = 0;
  for (let quiet = 0; quiet < quietTurns; quiet++) {
    await checkEcho(client, 10);
    const now = descriptors(standin.pid).length;
    if (now !== last) quiet = 0;
    last = now;
  }
}

/** Reads the replies to {@linkcode requestClients} and takes the connections. */
export async function takeClients(
  standin: Standin,
  count: number,
): Promise<FrameConn[]> {
  const clients: FrameConn[] = [];
  for (let i = 0; i < count; i++) {
    assert.deepEqual(await standin.master.read(), CLIENT_REPLY);
    clients.push(await standin.nextClient());
  }
  return clients;
}

/** Checks that a connection carries `length` bytes there and back. */
export async function checkEcho(
  conn: FrameConn,
  length: number,
): Promise<void> {
  const payload = Uint8Array.from({ length }, (_, i) => i % 251);
  assert.deepEqual(await conn.ask(payload), payload);
}

/** Opens, uses and closes connections one after the other. */
export async function openAndClose(
  standin: Standin,
  count: number,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    using client = await askClient(standin);
    await checkEcho(client, 100);
  }
}

/** A round trip through the hsmd's event loop. */
export async function ping(standin: Standin): Promise<void> {
  assert.deepEqual(await standin.master.ask(PING), PING);
}

/** The numbers of a process's open descriptors, sorted. */
export function descriptors(pid: number): number[] {
  return [...Deno.readDirSync(`/proc/${pid}/fd`)]
    .map(({ name }) => Number(name))
    .sort((a, b) => a - b);
}

/**
 * Waits until a process has no more than `count` descriptors. The hsmd learns
 * of a closed connection in its event loop; each ping is one turn of it.
 */
export async function settle(
  standin: Standin,
  pid: number,
  count: number,
): Promise<void> {
  const turns = 10_000;
  for (let i = 0; i < turns && descriptors(pid).length > count; i++) {
    await ping(standin);
  }
  assert.ok(descriptors(pid).length <= count, "descriptors were left behind");
}

/** The process id of the hsmd's helper: its only child. */
export function helperOf(standin: Standin): number {
  const children = [...Deno.readDirSync("/proc")]
    .map(({ name }) => Number(name))
    .filter((pid) => parentOf(pid) === standin.pid);
  assert.equal(children.length, 1);
  return children[0] ?? NaN;
}

/** The parent's id from `/proc/<pid>/stat`, null for what is no process. */
function parentOf(pid: number): number | null {
  try {
    const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
    return Number(stat.slice(stat.lastIndexOf(")")).split(" ")[2]);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    if (isGone(error)) return null;
    throw error;
  }
}

/** A process that ended while we read gives ESRCH, which has no class. */
function isGone(error: unknown): boolean {
  return error instanceof Error && /os error 3\b/.test(error.message);
}
