/**
 * The key by which devices know the storage beside the node.
 *
 * Made once. A device that pinned it takes no other server for its own, so that
 * a storage with content and no key is not given a new one.
 *
 * What it does not do: sign anything; the key is for shared secrets only.
 *
 * @module
 */

import { syncFolderOf } from "../replace_file.ts";
import { isPrivateKey } from "../../crypto/secp.ts";
import { Secret } from "../../crypto/secret.ts";
import { describeError, StoreError } from "../../errors.ts";

const KEY_SIZE = 32;

/**
 * Reads the key, or makes it where nothing is stored yet.
 *
 * @throws {StoreError}
 */
export function openServerKey(
  path: string,
  { mayMake }: { readonly mayMake: boolean },
): Secret {
  const found = read(path);
  if (found === null) {
    if (mayMake) return make(path);
    const problem = `${path} is missing, and devices know the storage by it; ` +
      "put it back from a copy, or put 32 random bytes there and tell each " +
      "device of it";
    throw new StoreError("open the storage", problem);
  }
  if (found.length === KEY_SIZE && isPrivateKey(found)) {
    return new Secret(found);
  }
  const problem = `${path} has ${found.length} bytes that are no key, want ` +
    "the 32 that this program wrote";
  throw new StoreError("open the storage", problem);
}

function read(path: string): Uint8Array | null {
  try {
    return Deno.readFileSync(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    const problem = `${path}: ${describeError(cause)}`;
    throw new StoreError("open the storage", problem, { cause });
  }
}

/** Whole and durable before anybody hears of it. */
function make(path: string): Secret {
  const bytes = crypto.getRandomValues(new Uint8Array(KEY_SIZE));
  const aside = `${path}.new`;
  try {
    writeDurably(aside, bytes);
    Deno.renameSync(aside, path);
    syncFolderOf(path);
  } catch (cause) {
    const problem = `${path}: ${describeError(cause)}`;
    throw new StoreError("make the storage's key", problem, { cause });
  }
  return new Secret(bytes);
}

function writeDurably(path: string, bytes: Uint8Array): void {
  using file = Deno.openSync(path, {
    write: true,
    create: true,
    truncate: true,
    mode: 0o600,
  });
  for (let at = 0; at < bytes.length;) {
    at += file.writeSync(bytes.subarray(at));
  }
  file.syncSync();
}
