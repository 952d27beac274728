/**
 * A broker's storage and a device at it, in a program that is killed: for
 * `storage_kill_test.ts`.
 *
 *     storage_child.ts DATABASE KEY_FILE
 *
 * It prints each change that the device was told to be stored, after that.
 *
 * @module
 */

import { openSqliteStorage } from "../../src/broker/storage/sqlite.ts";
import { bytes32, entryOf, StorageClient } from "../support/storage.ts";
import { Talk } from "../support/storage_talk.ts";

const [database = "", keyFile = ""] = Deno.args;

function tell(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${text}\n`));
}

const storage = openSqliteStorage({ database, keyFile });
const client = new StorageClient(await storage.serverKey(), bytes32(1));
const talk = new Talk(storage);
const state = new Map(
  (await talk.dance(client)).map(({ key, version }) => [key, version]),
);
tell("ready");
for (let turn = 0;; turn += 1) {
  const entries = ["_w", `k${turn % 5}`].map((key) => {
    const version = (state.get(key) ?? -1n) + 1n;
    return entryOf(key, version, `${version}${"x".repeat(turn * 977 % 3_000)}`);
  });
  talk.sayChanges(client, entries);
  await talk.sent("lss-msg");
  for (const { key, version } of entries) state.set(key, version);
  tell(entries.map(({ key, version }) => `${key}=${version}`).join(" "));
}
