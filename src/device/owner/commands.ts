/**
 * The commands that a running softkey does for its owner: the same functions
 * that do them on a card that is opened directly.
 *
 * | command | on a running softkey |
 * | --- | --- |
 * | policy, allowlist | all of it; in force from the next request on |
 * | approve | only there |
 * | ledger | all of it |
 * | card | check, and backup without --move |
 *
 * What it does not do: anything that wants the card for itself.
 *
 * @module
 */

import { resolve } from "node:path";
import { UsageError } from "../../errors.ts";
import { type Arguments, readArguments } from "../arguments.ts";
import { allowlistOn } from "../commands/allowlist.ts";
import { approveOn } from "../commands/approve.ts";
import { cardOn } from "../commands/card.ts";
import { ledgerOn } from "../commands/ledger.ts";
import { policyOn } from "../commands/policy.ts";
import { OwnerError } from "../owner_error.ts";
import type { CardCommand, OpenedCard } from "./access.ts";
import type { CommandResult, SentCommand } from "./protocol.ts";
import { isBug, Written } from "./result.ts";

/** Commands by their name. */
export type OwnerCommands = Readonly<Record<string, CardCommand>>;

/** What a running softkey does. */
export const OWNER_COMMANDS: OwnerCommands = {
  policy: policyOn,
  allowlist: allowlistOn,
  approve: approveOn,
  card: cardOn,
  ledger: ledgerOn,
};

/** Where a command runs. */
export interface CommandSetting {
  readonly access: OpenedCard;
  readonly commands: OwnerCommands;
  /** One line to who looks at the softkey. */
  readonly say: (text: string) => void;
}

/** Runs a command that was sent; what it throws is part of the result. */
export async function runCommand(
  { args, at }: SentCommand,
  { access, commands, say }: CommandSetting,
): Promise<CommandResult> {
  const written = new Written();
  const { print, printError } = written;
  const path = (text: string) => at === null ? text : resolve(at, text);
  try {
    const { options, words: [name = "", ...words] } = readArguments(args);
    const command = findCommand(commands, name);
    checkOptions(options, access);
    say(`command from another terminal: ${describe([name, ...words])}`);
    const full = { ...access, print, printError, path };
    return written.result(await command(full, { options, words }));
  } catch (error) {
    if (isBug(error)) say(`broken: ${stackOf(error)}`);
    return written.failure(error);
  }
}

function findCommand(commands: OwnerCommands, name: string): CardCommand {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command !== undefined) return command;
  throw new UsageError(
    `Cannot run ${JSON.stringify(name)} while a softkey runs with this card: ` +
      "stop the softkey that runs with it first",
  );
}

function checkOptions(
  { network: named, "passphrase-fd": fd }: Arguments["options"],
  { network }: OpenedCard,
): void {
  if (fd !== undefined) {
    throw new UsageError(
      "Cannot use --passphrase-fd while a softkey runs with this card: want " +
        "--passphrase-file",
    );
  }
  if (named === undefined || named === network?.name) return;
  throw new OwnerError(
    "rightNode",
    `Cannot use the card on ${JSON.stringify(named)}: the softkey that runs ` +
      `with it is on ${network?.name ?? "no network yet"}`,
  );
}

function stackOf(error: unknown): string {
  return error instanceof Error && error.stack !== undefined
    ? error.stack
    : String(error);
}

/** Words of a command as they may be shown: one line, and no long one. */
function describe(words: readonly string[]): string {
  return words.join(" ").replace(/\p{C}/gu, "?").slice(0, 200);
}
