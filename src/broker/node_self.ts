/**
 * Who the node is to its devices: the key that a device's owner pairs with, and
 * the node id that this node had so far.
 *
 * The link key is made once and lies beside the pairing. Devices know the node
 * by it; nothing on the chain or in a channel is signed with it. The node id is
 * read from lightningd's own database, where it is SQLite and in its usual
 * place: lightningd opens it only after its hsmd has answered init, and ends
 * when the ids differ. So a device with another seed is refused before
 * lightningd hears of it.
 *
 * What it does not do: hold a key of the node.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import { isPrivateKey, publicKey } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import { ConfigError, describeError } from "../errors.ts";
import { replaceFile } from "./replace_file.ts";

/** A node as its devices see it. */
export interface NodeSelf {
  /** Public link key, 33 bytes: what devices pin. */
  readonly linkKey: Uint8Array;
  /** Node id in lightningd's database; null where none can be read. */
  readonly nodeId: Uint8Array | null;
}

/** The same, with the private link key: for the handshake. */
export interface OwnNodeSelf extends NodeSelf {
  readonly privateKey: Secret;
}

/** Where both are. */
export interface NodePlaces {
  /** The link key's file; made when it is missing. */
  readonly keyFile: string;
  /** lightningd's database. */
  readonly database: string;
}

const KEY_SIZE = 32;
const NODE_ID_SIZE = 33;

/** Reads who the node is; makes its link key. @throws {ConfigError} */
export async function openNodeSelf(
  places: NodePlaces,
): Promise<OwnNodeSelf> {
  const key = await readOrMakeKey(places.keyFile);
  return {
    privateKey: key,
    linkKey: publicKey(key.reveal()),
    nodeId: readNodeId(places.database),
  };
}

async function readOrMakeKey(path: string): Promise<Secret> {
  const found = await read(path);
  if (found === null) return await makeKey(path);
  if (found.length === KEY_SIZE && isPrivateKey(found)) {
    return new Secret(found);
  }
  throw new ConfigError(
    "pairing",
    path,
    `${found.length} bytes that are no key`,
    "a link key that this program wrote, or no file to pair anew",
  );
}

async function makeKey(path: string): Promise<Secret> {
  const key = crypto.getRandomValues(new Uint8Array(KEY_SIZE));
  await replaceFile(path, key);
  return new Secret(key);
}

async function read(path: string): Promise<Uint8Array | null> {
  try {
    return await Deno.readFile(path);
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    throw new ConfigError(
      "pairing",
      path,
      describeError(cause),
      "a readable file",
    );
  }
}

/** The node id that lightningd will compare with ours (wallet_sanity_check). */
function readNodeId(path: string): Uint8Array | null {
  try {
    const db = new DatabaseSync(path, { readOnly: true });
    try {
      const row = db.prepare("SELECT blobval FROM vars WHERE name = 'node_id'")
        .get();
      const value = row?.["blobval"];
      const isId = value instanceof Uint8Array && value.length === NODE_ID_SIZE;
      return isId ? Uint8Array.from(value) : null;
    } finally {
      db.close();
    }
  } catch {
    // A new node, another kind of database, one that was left in mid-write:
    // lightningd itself compares later.
    return null;
  }
}
