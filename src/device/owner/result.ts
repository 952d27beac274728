/**
 * What a command would have written, gathered to be sent.
 *
 * What it does not do: send it.
 *
 * @module
 */

import {
  ConfigError,
  describeError,
  StoreError,
  UsageError,
} from "../../errors.ts";
import { OwnerError } from "../owner_error.ts";
import type { CommandResult } from "./protocol.ts";

/** Lines of a command that runs for somebody else. */
export class Written {
  readonly #out: string[] = [];
  readonly #err: string[] = [];

  readonly print = (text: string): void => {
    this.#out.push(`${text}\n`);
  };

  readonly printError = (text: string): void => {
    this.#err.push(`${text}\n`);
  };

  /** Everything so far, with the exit code. */
  result(code: number): CommandResult {
    return { out: this.#out.join(""), err: this.#err.join(""), code };
  }

  /** The same for a command that failed. */
  failure(error: unknown): CommandResult {
    const { text, code } = complaintOf(error);
    this.printError(`softkey: ${text}`);
    return this.result(code);
  }
}

/** What went wrong, for a command that wrote nothing. */
export function failureOf(error: unknown): CommandResult {
  return new Written().failure(error);
}

/** Exit code of a bug of ours. */
const BUG = 70;

/** Whether it is none of what an owner can do something about. */
export function isBug(error: unknown): boolean {
  return complaintOf(error).code === BUG;
}

/** As `complain` in `terminal.ts` says it; a bug's stack stays with us. */
function complaintOf(error: unknown): { text: string; code: number } {
  const text = describeError(error);
  if (error instanceof OwnerError) return { text, code: error.code };
  const isTold = error instanceof UsageError || error instanceof ConfigError ||
    error instanceof StoreError;
  return { text, code: isTold ? 2 : BUG };
}
