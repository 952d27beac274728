/**
 * Starts the small helper that hands descriptors to lightningd.
 *
 * lightningd expects a connection for each of its daemons as a descriptor in a
 * control message on fd 3 (hsmd message 9), and the runtime has no interface
 * for that. A helper that inherited fd 3 (`handover.c`) connects to a Unix
 * socket of ours and passes the connected end on; we keep the accepted end. It
 * is started once, before the first request, and lives as long as we do.
 *
 * Permissions, as tried with Deno 2.9.6, for one directory:
 *
 *     --allow-read=<directory> --allow-write=<directory>
 *     --allow-net=unix:<directory>/handover-<pid>/socket   (or all of net)
 *     --allow-run
 *
 * `--allow-run` cannot be narrowed to the helper: Deno refuses to write a file
 * that it may run. There are two ways to do better. Either revoke `run` as
 * soon as {@linkcode startHandover} has returned, since nothing is started
 * afterwards; or install the helper beforehand, name it as `program`, and give
 * `--allow-run=<program>`. A launcher knows the `<pid>`: in its `exec deno`
 * line it is the shell's `$$`.
 *
 * A trap: the helper holds fd 3 as well, so lightningd sees the end of that
 * stream only when the helper has ended too.
 *
 * @module
 */

import net from "node:net";
import { nativeElf } from "./elf.ts";
import { spawnFresh } from "./fresh.ts";
import { HANDOVER_ELF } from "./handover_elf.ts";
import { makePlace, type Place, removePlace } from "./place.ts";
import {
  errnoName,
  type Handover,
  type HelperParts,
  RunningHelper,
} from "./running.ts";

export type { Handover } from "./running.ts";

/** Where to put the helper. */
export interface HandoverOptions {
  /** Directories to try in order; a relative one makes for a shorter path. */
  readonly directories: readonly string[];
  /** An installed helper to run in place of the one that we carry. */
  readonly program?: string | undefined;
}

/**
 * Starts the helper in the first of the directories that allows it.
 *
 * @throws {AggregateError} Naming each directory and what was wrong with it
 */
export async function startHandover(
  { directories, program }: HandoverOptions,
): Promise<Handover> {
  const errors: Error[] = [];
  for (const directory of directories) {
    try {
      return await startIn(directory, program);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      errors.push(new Error(`${directory}: ${reason}`, { cause }));
    }
  }
  const reasons = errors.map((error) => error.message).join("; ");
  throw new AggregateError(
    errors,
    `Cannot start the descriptor helper: ${reasons || "no directory given"}`,
  );
}

async function startIn(
  directory: string,
  program: string | undefined,
): Promise<Handover> {
  const place = await makePlace(directory);
  try {
    const server = await listen(place.socket);
    return await startAt(place, server, program);
  } catch (error) {
    await removePlace(place.directory);
    throw error;
  }
}

function listen(path: string): Promise<net.Server> {
  const { promise, resolve, reject } = Promise.withResolvers<net.Server>();
  const server = net.createServer({ pauseOnConnect: true });
  server.once("error", reject);
  server.listen(path, () => {
    server.off("error", reject);
    resolve(server);
  });
  return promise;
}

async function startAt(
  place: Place,
  server: net.Server,
  program: string | undefined,
): Promise<Handover> {
  try {
    const process = await spawnHelper(place, program);
    const answers = await awaitReady(process);
    return new RunningHelper({ place, server, process, answers });
  } catch (error) {
    server.close();
    throw error;
  }
}

/** Starts the helper, from a file that is there only until it runs. */
async function spawnHelper(
  { helper, socket }: Place,
  program: string | undefined,
): Promise<Deno.ChildProcess> {
  const options: Deno.CommandOptions = {
    args: [socket],
    clearEnv: true,
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  };
  if (program !== undefined) return await spawnFresh(program, options);
  const bytes = nativeElf(HANDOVER_ELF);
  await Deno.writeFile(helper, bytes, { mode: 0o500, createNew: true });
  const process = await spawnFresh(helper, options);
  await Deno.remove(helper);
  return process;
}

/** Waits for the helper's first answer: 0, or the reason why it cannot work. */
async function awaitReady(
  process: Deno.ChildProcess,
): Promise<HelperParts["answers"]> {
  const answers = process.stdout.getReader();
  const { value } = await answers.read();
  const answer = value?.[0];
  if (answer === 0) return answers;
  await Promise.allSettled([answers.cancel(), process.stdin.close()]);
  const { code, signal } = await process.status;
  throw new Error(
    answer === undefined
      ? `The helper ended at once: ${signal ?? `exit code ${code}`}`
      : `The helper cannot use fd 3: ${errnoName(answer)}`,
  );
}
