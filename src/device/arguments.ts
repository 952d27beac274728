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

/** Every option, with what was given. */
export interface Options {
  readonly broker?: string | undefined;
  readonly card?: string | undefined;
  readonly network?: string | undefined;
  readonly "hsm-secret"?: string | undefined;
  readonly approve?: string | undefined;
  readonly "approval-deadline"?: string | undefined;
  readonly yes: boolean;
  readonly developer: boolean;
  readonly help: boolean;
}

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
      options: {
        broker: { type: "string" },
        card: { type: "string" },
        network: { type: "string" },
        "hsm-secret": { type: "string" },
        approve: { type: "string" },
        "approval-deadline": { type: "string" },
        yes: { type: "boolean", default: false },
        developer: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
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
  name: "broker" | "card" | "network",
): string {
  const value = options[name];
  if (value !== undefined) return value;
  throw new UsageError(`Missing --${name}: try softkey --help`);
}

/** The network that is named. @throws {UsageError} */
export function wantedNetwork(options: Options): Network {
  const name = wanted(options, "network");
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
