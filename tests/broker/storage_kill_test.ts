/**
 * A broker that is killed while a device stores: what the device was told to be
 * stored is there, whole, and one change more at the most.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  openSqliteStorage,
  type StoragePlaces,
} from "../../src/broker/storage/sqlite.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";
import { bytes32, StorageClient, withFolder } from "../support/storage.ts";

const CHILD = fromFileUrl(new URL("./storage_child.ts", import.meta.url));
const KILLS = Deno.env.get("SLOW") === "1" ? 300 : 10;

/** Runs the writer, kills it after a moment; everything that it printed. */
async function writeAndKill(
  { database, keyFile }: StoragePlaces,
  afterMs: number,
): Promise<string[]> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", CHILD, database, keyFile],
    env: withDeno(),
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let said = "";
  let isDue = false;
  const decoder = new TextDecoder();
  for await (const part of child.stdout) {
    said += decoder.decode(part, { stream: true });
    if (isDue) continue;
    isDue = true;
    // The moment is the point of this test; nothing is waited for.
    setTimeout(() => child.kill("SIGKILL"), afterMs);
  }
  const { signal } = await child.status;
  assert.equal(signal, "SIGKILL", said);
  // The last line may be cut off.
  return said.slice(0, said.lastIndexOf("\n")).split("\n").slice(1);
}

/** Versions by key. */
type Versions = Map<string, bigint>;

async function look(places: StoragePlaces): Promise<Versions> {
  const storage = openSqliteStorage(places);
  const client = new StorageClient(await storage.serverKey(), bytes32(1));
  const { entries } = await storage.get(client.auth, bytes32(1));
  storage.close();
  for (const { key, version, value } of entries) {
    // Each value begins with its own version: no old one under a new number.
    const text = new TextDecoder().decode(value);
    assert.equal(text.replace(/x*$/, ""), `${version}`, key);
  }
  return new Map(entries.map(({ key, version }) => [key, version]));
}

Deno.test(`killed ${KILLS} times, a storage has all that it said is stored`, () =>
  withFolder(async (places) => {
    let before: Versions = new Map();
    for (let kill = 0; kill < KILLS; kill += 1) {
      const said = await writeAndKill(places, Math.random() * 40);
      const there = await look(places);
      const told: Versions = new Map(before);
      for (const line of said) {
        for (const pair of line.split(" ")) {
          const [key = "", version = "0"] = pair.split("=");
          told.set(key, BigInt(version));
        }
      }
      let more = 0;
      for (const [key, version] of there) {
        const extra = version - (told.get(key) ?? -1n);
        assert.ok(extra === 0n || extra === 1n, `${key}: ${extra} more`);
        if (extra === 1n) more += 1;
      }
      for (const key of told.keys()) assert.ok(there.has(key), key);
      // A change is two keys: both or none.
      assert.ok(more === 0 || more === 2, `${more} of 2 keys`);
      before = there;
    }
  }));
