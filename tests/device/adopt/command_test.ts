import assert from "node:assert/strict";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import { readArguments } from "../../../src/device/arguments.ts";
import {
  openCardStore,
  readCardState,
} from "../../../src/device/card_state.ts";
import { adopt } from "../../../src/device/commands/adopt.ts";
import { OwnerError } from "../../../src/device/owner_error.ts";
import { UsageError } from "../../../src/errors.ts";
import { makeDatabase, seedFile, withFolder } from "./database.ts";

async function run(
  folder: string,
  ...more: readonly string[]
): Promise<number> {
  const card = ["--card", `${folder}/card`];
  return await adopt(readArguments([...card, ...more]));
}

async function written(folder: string, bytes: Uint8Array): Promise<string> {
  const path = await Deno.makeTempFile({ dir: folder });
  await Deno.writeFile(path, bytes);
  return path;
}

Deno.test("card adopt puts a node's channels on a card that is new", async () => {
  await withFolder(async (folder) => {
    const database = makeDatabase(folder, "alice");
    const seed = await written(folder, seedFile("alice"));
    const code = await run(
      folder,
      "--database",
      database,
      "--hsm-secret",
      seed,
      "--network",
      "regtest",
      "--yes",
    );
    assert.equal(code, 0);
    const store = openCardStore(`${folder}/card`);
    try {
      const { memory } = readCardState(store, NETWORKS.regtest);
      assert.equal(memory.channelCount, 8);
      assert.ok(store.check().values > 8);
    } finally {
      store.close();
    }
  });
});

Deno.test("card adopt says what is missing", async () => {
  await withFolder(async (folder) => {
    const database = makeDatabase(folder, "alice");
    const named = ["--database", database, "--network", "regtest"];
    const seed = await written(folder, seedFile("alice"));
    const withSeed = [...named, "--hsm-secret", seed];
    await assert.rejects(run(folder), UsageError);
    const missing = async (
      wanted: string,
      ...args: readonly string[]
    ) => {
      await assert.rejects(run(folder, ...args), (error) => {
        assert.ok(error instanceof OwnerError, String(error));
        assert.equal(error.missing, wanted);
        return true;
      });
    };
    await missing("seed", ...named, "--yes");
    // Tests have no terminal to ask at.
    if (!Deno.stdin.isTerminal()) await missing("terminal", ...withSeed);
    const short = await written(folder, new Uint8Array(7));
    await missing("validSeed", ...named, "--hsm-secret", short, "--yes");
  });
});

Deno.test("a seed that wants a passphrase is opened with the one in a file", async () => {
  await withFolder(async (folder) => {
    const database = makeDatabase(folder, "alice");
    // Words behind the hash of another passphrase's seed.
    const locked = seedFile("alice");
    locked.fill(7, 0, 32);
    const seed = await written(folder, locked);
    const passphrase = await written(
      folder,
      new TextEncoder().encode("not this one\n"),
    );
    const args = [
      "--database",
      database,
      "--hsm-secret",
      seed,
      "--network",
      "regtest",
      "--yes",
    ];
    await assert.rejects(
      run(folder, ...args, "--words-passphrase-file", passphrase),
      (error) => {
        assert.ok(error instanceof OwnerError);
        assert.equal(error.missing, "rightKey");
        assert.ok(!error.message.includes("not this one"));
        return true;
      },
    );
  });
});
