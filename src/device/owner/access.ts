/**
 * What an owner's command works on: a card, opened for it alone, or the card of a
 * softkey that runs.
 *
 * A command is written once against {@link CardAccess} and does not know which of
 * the two it has, but for what only a running softkey can do.
 *
 * | | opened directly | of a running softkey |
 * | --- | --- | --- |
 * | desk | null | the one that serves the node |
 * | questions | null | those that wait; null when the owner is not asked |
 * | print | standard output | goes back over the socket |
 * | path | as it is typed | from the folder that the owner typed it in |
 *
 * What it does not do: open a card (`commands/open.ts`), or listen (`socket.ts`).
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import { UsageError } from "../../errors.ts";
import type { Ownership } from "../../signer/state.ts";
import type { SqliteStore } from "../../store/sqlite.ts";
import type { Arguments } from "../arguments.ts";
import type { QuestionBook } from "../approver.ts";

/** What a command needs of the desk of a running softkey. */
export interface RunningDesk {
  /** In force from the next request on. */
  own(ownership: Partial<Pick<Ownership, "policy" | "allowlist">>): void;
}

/** A card that is open. */
export interface OpenedCard {
  readonly store: SqliteStore;
  /** Null when neither the card nor the command line names one. */
  readonly network: Network | null;
  readonly folder: string;
  /** Null when the card was opened for this command alone. */
  readonly desk: RunningDesk | null;
  /** Null when nothing is asked. */
  readonly questions: QuestionBook | null;
}

/** A card that is open, and somebody who reads what comes of a command. */
export interface CardAccess extends OpenedCard {
  /** A line of the result. */
  readonly print: (text: string) => void;
  /** A line about what went wrong. */
  readonly printError: (text: string) => void;
  /** A file or folder that the owner named, from here. */
  readonly path: (text: string) => string;
}

/** A command that works on an open card; returns its exit code. */
export type CardCommand = (
  access: CardAccess,
  args: Arguments,
) => number | Promise<number>;

/** The card's network, for what cannot do without. @throws {UsageError} */
export function wantedCardNetwork(
  { network, folder }: OpenedCard,
): Network {
  if (network !== null) return network;
  throw new UsageError(
    `Missing --network: the card ${folder} does not know its network yet`,
  );
}
