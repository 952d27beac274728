/**
 * The softkey's command line: options are the same for every command, each
 * command takes those that it needs.
 *
 * What it does not do: run anything.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { isNetworkName, type Network, NETWORKS } from "../bitcoin/networks.ts";
import { describeError, UsageError } from "../errors.ts";

/** Options that take a value; main.ts says what each is for. */
const VALUES = {
  broker: { type: "string" },
  pair: { type: "string" },
  card: { type: "string" },
  "mqtt-user": { type: "string" },
  "mqtt-password-file": { type: "string" },
  "mqtt-password-fd": { type: "string" },
  "mqtt-ca": { type: "string" },
  "mqtt-cert": { type: "string" },
  "mqtt-key": { type: "string" },
  dialect: { type: "string" },
  network: { type: "string" },
  "hsm-secret": { type: "string" },
  approve: { type: "string" },
  "approval-deadline": { type: "string" },
  "key-file": { type: "string" },
  "passphrase-file": { type: "string" },
  "passphrase-fd": { type: "string" },
  words: { type: "string" },
  "words-file": { type: "string" },
  "words-passphrase-file": { type: "string" },
  database: { type: "string" },
  "node-id": { type: "string" },
  "setup-listen": { type: "string" },
  led: { type: "string" },
  output: { type: "string" },
  out: { type: "string" },
  kind: { type: "string" },
  peer: { type: "string" },
  channel: { type: "string" },
  since: { type: "string" },
  until: { type: "string" },
  last: { type: "string" },
} as const;

/** Options that are there or not. */
const FLAGS = {
  yes: { type: "boolean", default: false },
  decline: { type: "boolean", default: false },
  json: { type: "boolean", default: false },
  list: { type: "boolean", default: false },
  move: { type: "boolean", default: false },
  "new-storage": { type: "boolean", default: false },
  developer: { type: "boolean", default: false },
  help: { type: "boolean", short: "h", default: false },
} as const;

/** Every option, with what was given. */
export type Options =
  & { readonly [name in keyof typeof VALUES]?: string | undefined }
  & { readonly [name in keyof typeof FLAGS]: boolean };

/** A command line, read. */
export interface Arguments {
  readonly options: Options;
  /** The command and what follows it. */
  readonly words: readonly string[];
}

/** Reads a command line. @throws {UsageError} */
export function readArguments(args: readonly string[]): Arguments {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: { ...VALUES, ...FLAGS },
    });
    return { options: values, words: positionals };
  } catch (cause) {
    throw new UsageError(
      `Cannot read the command line: ${describeError(cause)}`,
      { cause },
    );
  }
}

/** An option that a command cannot do without. @throws {UsageError} */
export function wanted(
  options: Options,
  name: keyof typeof VALUES,
): string {
  const value = options[name];
  if (value !== undefined) return value;
  throw new UsageError(`Missing --${name}: try softkey --help`);
}

/** A network by its name. @throws {UsageError} */
export function networkNamed(name: string): Network {
  if (isNetworkName(name)) return NETWORKS[name];
  const names = Object.keys(NETWORKS).join(", ");
  throw new UsageError(
    `Unknown network ${JSON.stringify(name)}: want ${names}`,
  );
}

/** Words that nobody has a use for. @throws {UsageError} when there are any */
export function noMore(words: readonly string[]): void {
  const [word] = words;
  if (word === undefined) return;
  throw new UsageError(
    `Cannot use ${JSON.stringify(word)}: want no more words`,
  );
}

/** A word that a command needs. @throws {UsageError} */
export function wantedWord(
  words: readonly string[],
  at: number,
  what: string,
): string {
  const word = words[at];
  if (word !== undefined) return word;
  throw new UsageError(`Missing ${what}: try softkey --help`);
}
