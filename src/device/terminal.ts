/**
 * What the softkey writes for people, and reads from them.
 *
 * What it does not do: decide what is said.
 *
 * @module
 */

import {
  ConfigError,
  describeError,
  StoreError,
  UsageError,
} from "../errors.ts";

/** A line of the running softkey, with the time. */
export function say(text: string): void {
  const time = new Date().toISOString().slice(0, 19).replace("T", " ");
  print(`${time} ${text}`);
}

/** A line of a command's result. */
export function print(text: string): void {
  write(Deno.stdout, `${text}\n`);
}

/** Text as it is. */
export function write(
  stream: { writeSync(bytes: Uint8Array): number },
  text: string,
): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let done = 0; done < bytes.length;) {
      done += stream.writeSync(bytes.subarray(done));
    }
  } catch (error) {
    // Nobody reads any more; what is done does not depend on readers.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Says what went wrong; the exit code for it. */
export function complain(error: unknown): number {
  const isTold = error instanceof UsageError || error instanceof ConfigError ||
    error instanceof StoreError;
  const text = !isTold && error instanceof Error
    ? error.stack ?? error.message
    : describeError(error);
  write(Deno.stderr, `softkey: ${text}\n`);
  return isTold ? 2 : 70;
}

/** What is typed, line by line. */
export async function* typedLines(
  stream: ReadableStream<Uint8Array>,
): AsyncGenerator<string> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const part of stream) {
    const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}
