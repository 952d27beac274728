/**
 * libsecp256k1, compiled to WebAssembly: the faster library of `secp.ts`.
 *
 * A signature check takes it less than half the time, and a signer has a
 * millisecond to look at a commitment. It weighs 1.2 MB, so that only the
 * device has it: `secp.ts` does not import it, and the broker never loads it.
 *
 * Its memory is apart from the program's; it overwrites its copies of keys and
 * digests there after each call.
 *
 * What it does not do: anything that `secp.ts` cannot do alone. Where code may
 * not be compiled at run time there is no WebAssembly, and all goes on slower.
 *
 * @module
 */

import type { FastCurve } from "./secp.ts";

/** The library, or null where it cannot run. */
export async function loadFastCurve(): Promise<FastCurve | null> {
  if (!("WebAssembly" in globalThis)) return null;
  try {
    return await import("tiny-secp256k1");
  } catch (_error) {
    // No memory for it, or no leave to read it: speed is all that it adds.
    return null;
  }
}
