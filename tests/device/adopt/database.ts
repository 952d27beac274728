/**
 * Databases of Core Lightning to adopt: made from SQL, changed as a test wants.
 *
 * | file | what is in it |
 * | --- | --- |
 * | `alice.sql` | a node that was stopped: payments held both ways, a forward between two channels, a splice in no block, one channel closed together, one alone |
 * | `bob.sql` | a node that was killed amid payments: a commitment of the peer's that is signed and one before it that is not revoked |
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import {
  type NodeSecret,
  openSecretFile,
  parseSecretFile,
} from "../../../src/keyderiv.ts";
import { readNodeDatabase } from "../../../src/device/adopt/database.ts";
import type { NodeDatabase } from "../../../src/device/adopt/rows.ts";

/** The two nodes. */
export type NodeName = "alice" | "bob";

const sqlOf = (name: NodeName): string =>
  Deno.readTextFileSync(new URL(`${name}.sql`, import.meta.url));

/** The node's seed, as its file. */
export function seedFile(name: NodeName): Uint8Array {
  const [, hex = ""] = /^-- seed: ([0-9a-f]+)$/m.exec(sqlOf(name)) ?? [];
  return Uint8Array.fromHex(hex);
}

/** The node's seed, opened. */
export function seedOf(name: NodeName): NodeSecret {
  return openSecretFile(parseSecretFile(seedFile(name)));
}

/** Makes a node's database, and changes it. */
export function makeDatabase(
  folder: string,
  name: NodeName,
  changes = "",
): string {
  const own = Deno.makeTempDirSync({ dir: folder });
  const path = `${own}/lightningd.sqlite3`;
  const db = new DatabaseSync(path);
  db.exec("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF; BEGIN;");
  db.exec(sqlOf(name));
  db.exec(`${changes}; COMMIT;`);
  db.close();
  return path;
}

/** Reads a node's database, changed. */
export async function readChanged(
  folder: string,
  name: NodeName,
  changes = "",
): Promise<NodeDatabase> {
  return await readNodeDatabase(makeDatabase(folder, name, changes), () => {});
}

/** Runs with a folder of its own. */
export async function withFolder(
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await use(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
