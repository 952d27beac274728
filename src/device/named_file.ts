/**
 * Files that an option names, and what is missing when they cannot be read.
 *
 * @module
 */

import { describeError } from "../errors.ts";
import { type Missing, OwnerError } from "./owner_error.ts";

/**
 * All of a file; `name` is how the owner named it.
 *
 * @throws {OwnerError} for one that cannot be read
 */
export async function readNamed(
  path: string,
  name: string,
  missing: Missing,
): Promise<Uint8Array> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    const why = cause instanceof Deno.errors.NotFound
      ? "there is no such file"
      : describeError(cause);
    throw new OwnerError(missing, `Cannot read ${name}: ${why}`, { cause });
  }
}

/** One line end, of Unix or Windows, is the editor's and not the owner's. */
export function withoutLineEnd(content: Uint8Array): Uint8Array {
  const { length } = content;
  if (content[length - 1] !== 0x0a) return content;
  return content.subarray(0, length - (content[length - 2] === 0x0d ? 2 : 1));
}
