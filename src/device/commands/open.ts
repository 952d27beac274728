/**
 * How commands get at a card: through the softkey that runs with it, or by
 * opening it.
 *
 * ```
 * command -- somebody listens on DIR/owner.sock? -- yes --> the softkey runs it
 *                           |
 *                           no --> the card is opened for this command alone
 * ```
 *
 * What it does not do: make a card.
 *
 * @module
 */

import { resolve } from "node:path";
import type { Network } from "../../bitcoin/networks.ts";
import { UsageError } from "../../errors.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import { type Arguments, type Options, wanted } from "../arguments.ts";
import {
  networkFor,
  networkOf,
  openCardStore,
  STATE_FILE,
} from "../card_state.ts";
import type { CardCommand } from "../owner/access.ts";
import { isSoftkeyRunning, tryRunningSoftkey } from "../owner/client.ts";
import { print, write } from "../terminal.ts";

/** Runs a command on a card, whether a softkey runs with it or not. */
export async function withCard(
  name: string,
  args: Arguments,
  command: CardCommand,
): Promise<number> {
  const folder = wanted(args.options, "card");
  const sent = await trySending(folder, name, args);
  if (sent !== null) return sent;
  const store = openExisting(folder);
  try {
    return await command({
      store,
      network: networkIn(args.options, store),
      folder,
      desk: null,
      questions: null,
      print,
      printError,
      path: (text) => text,
    }, args);
  } finally {
    store.close();
  }
}

/** Has a running softkey run the command; null when none does. */
export async function trySending(
  folder: string,
  name: string,
  args: Arguments,
): Promise<number | null> {
  const result = await tryRunningSoftkey(folder, commandLine(name, args));
  if (result === null) return null;
  write(Deno.stdout, result.out);
  write(Deno.stderr, result.err);
  return result.code;
}

/** For commands that want the card alone. @throws {UsageError} */
export async function wantNoSoftkey(
  folder: string,
  what: string,
): Promise<void> {
  if (!await isSoftkeyRunning(folder)) return;
  throw new UsageError(
    `Cannot ${what} while a softkey runs with the card ${folder}: stop the ` +
      "softkey that runs with it first",
  );
}

/** Options that name a file: the softkey runs in another folder. */
const FILE_OPTIONS: ReadonlySet<string> = new Set(
  [
    "hsm-secret",
    "key-file",
    "passphrase-file",
    "words-file",
    "words-passphrase-file",
    "database",
    "output",
  ] satisfies (keyof Options)[],
);

/** The command line that says the same to a softkey that knows its card. */
function commandLine(name: string, args: Arguments): readonly string[] {
  const options = Object.entries(args.options)
    .filter(([key]) => key !== "card")
    .flatMap(([key, value]) => {
      if (value === undefined || value === false) return [];
      if (value === true) return [`--${key}`];
      return [`--${key}=${FILE_OPTIONS.has(key) ? resolve(value) : value}`];
    });
  return [...options, "--", name, ...args.words];
}

function printError(text: string): void {
  write(Deno.stderr, `${text}\n`);
}

function openExisting(folder: string): SqliteStore {
  if (isFile(`${folder}/${STATE_FILE}`)) return openCardStore(folder);
  throw new UsageError(
    `Cannot use the card ${folder}: it has no ${STATE_FILE}, want a card ` +
      "that softkey run was started with",
  );
}

/** The card's network, and the one that is named has to be it. */
function networkIn(options: Options, store: SqliteStore): Network | null {
  return options.network === undefined
    ? networkOf(store)
    : networkFor(options, store);
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
