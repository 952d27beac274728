/**
 * Questions to a person: a line from standard input, hidden on a terminal.
 *
 * @module
 */

import { UsageError } from "../errors.ts";

const ENTER = [0x0a, 0x0d];
const BACKSPACE = [0x08, 0x7f];
const CONTROL_C = 0x03;
const CONTROL_D = 0x04;
const LONGEST_LINE = 4096;

/** Writes to standard output. */
export function say(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}

/** Asks, and reads a line without showing it. @throws {UsageError} at Ctrl-C */
export async function askHidden(question: string): Promise<string> {
  say(question);
  const isTerminal = Deno.stdin.isTerminal();
  if (isTerminal) Deno.stdin.setRaw(true);
  try {
    return await readLine();
  } finally {
    if (isTerminal) Deno.stdin.setRaw(false);
    say("\n");
  }
}

async function readLine(): Promise<string> {
  const line: number[] = [];
  const byte = new Uint8Array(1);
  while (line.length < LONGEST_LINE) {
    const count = await Deno.stdin.read(byte);
    const [value = CONTROL_D] = byte;
    if (value === CONTROL_C) throw new UsageError("Stopped by Ctrl-C");
    const isEnd = count === null || value === CONTROL_D;
    if (isEnd || ENTER.includes(value)) break;
    if (BACKSPACE.includes(value)) line.pop();
    else line.push(value);
  }
  return new TextDecoder().decode(Uint8Array.from(line));
}
