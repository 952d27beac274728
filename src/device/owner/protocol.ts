/**
 * What goes over the owner's socket: one line each way, JSON in UTF-8.
 *
 * | line | form |
 * | --- | --- |
 * | command | `{"args": ["policy", "show"], "at": "/home/owner"}` |
 * | result | `{"out": "…", "err": "…", "code": 0}` |
 *
 * `args` is a command line; `at` is the folder that it was typed in, and may be
 * left out. A result is what the same command would have written and its exit
 * code.
 *
 * What it does not do: carry secrets. Commands that want one want the card alone.
 *
 * @module
 */

import { describeError, UsageError } from "../../errors.ts";

/** The socket's name in the card folder. */
export const SOCKET_FILE = "owner.sock";
/** Longest line of a command, in bytes. */
export const MOST_COMMAND_BYTES = 64 * 1024;
/** `sun_path` holds 108 bytes, the last of them 0 (unix(7)). */
const MOST_PATH_BYTES = 107;

/** A command line, and where it was typed. */
export interface SentCommand {
  readonly args: readonly string[];
  readonly at: string | null;
}

/** What came of a command. */
export interface CommandResult {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** A message as it is sent. */
export function encodeLine(message: SentCommand | CommandResult): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(message)}\n`);
}

/** Reads a command. @throws {UsageError} for anything else */
export function decodeCommand(line: Uint8Array): SentCommand {
  const { args, at = null } = parseObject(line, "the command");
  if (isTexts(args) && (at === null || typeof at === "string")) {
    return { args, at };
  }
  throw new UsageError("Cannot read the command: want args, a list of texts");
}

/** Reads a result. @throws {UsageError} for anything else */
export function decodeResult(line: Uint8Array): CommandResult {
  const { out, err, code } = parseObject(line, "the softkey's answer");
  const isWhole = typeof out === "string" && typeof err === "string" &&
    typeof code === "number" && Number.isInteger(code) && code >= 0 &&
    code < 256;
  if (isWhole) return { out, err, code };
  throw new UsageError(
    "Cannot read the softkey's answer: want out, err and code",
  );
}

/** Whether the socket can have this path. */
export function isSocketPath(path: string): boolean {
  return new TextEncoder().encode(path).length <= MOST_PATH_BYTES;
}

/** Why it cannot. */
export function describeLongPath(path: string): string {
  const size = new TextEncoder().encode(path).length;
  return `${path} has ${size} bytes, want ${MOST_PATH_BYTES} or fewer`;
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((one) => typeof one === "string");
}

function parseObject(
  line: Uint8Array,
  what: string,
): Readonly<Record<string, unknown>> {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(line);
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return { ...value };
  } catch (cause) {
    const isExpected = cause instanceof SyntaxError ||
      cause instanceof TypeError;
    if (!isExpected) throw cause;
    throw new UsageError(
      `Cannot read ${what}: ${describeError(cause)}, want a line of JSON`,
      { cause },
    );
  }
  throw new UsageError(`Cannot read ${what}: want a JSON object`);
}
