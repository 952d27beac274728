/**
 * kill -9 before each change that a command of `softkey card` makes to the disk:
 * what is left is the card before or after, or says that it is neither, and the
 * same command finishes it.
 *
 * Every fourth change, starting at another one with each command; all of them
 * with SLOW=1.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import { findCard, hasSeed, readSealed } from "../../src/device/card.ts";
import {
  identityChange,
  openCardStore,
  readCardFacts,
} from "../../src/device/card_state.ts";
import {
  openFile,
  openSealed,
  sealSecret,
} from "../../src/device/sealed_secret.ts";
import { type CardFixture, SEED, withCard } from "../support/card_folder.ts";
import { fromFileUrl, withDeno } from "../support/paths.ts";

const at = (path: string) => fromFileUrl(new URL(path, import.meta.url));
const PROGRAM = at("../support/killed_card.ts");
const CONFIG = at("../../deno.json");
const STRIDE = Deno.env.get("SLOW") ? 1 : 4;
/** More changes than any command makes. */
const MOST = 200;

/** Runs a command that dies before change n; whether it did. */
async function diesAt(n: number, args: readonly string[]): Promise<boolean> {
  const { success, signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "-A",
      "--quiet",
      "--config",
      CONFIG,
      PROGRAM,
      `${n}`,
      ...args,
    ],
    env: withDeno(),
    stdin: "null",
  }).output();
  const said = new TextDecoder().decode(stderr);
  assert.ok(success || signal === "SIGKILL", said);
  return !success;
}

/** Kills a command before every change on a card of its own each time. */
async function killEverywhere(
  first: number,
  argsOf: (fixture: CardFixture) => readonly string[],
  prepare: (fixture: CardFixture) => Promise<void>,
  look: (fixture: CardFixture, isKilled: boolean) => Promise<void>,
): Promise<void> {
  let isKilled = true;
  let kills = 0;
  for (let n = first; isKilled; n += STRIDE) {
    assert.ok(n < MOST, "it never ends");
    await withCard(async (fixture) => {
      await prepare(fixture);
      isKilled = await diesAt(n, argsOf(fixture));
      await look(fixture, isKilled);
    });
    if (isKilled) kills += 1;
  }
  assert.ok(kills > 0, "it was never killed");
}

/** Changes beyond all: the command runs to its end. */
async function finish(args: readonly string[]): Promise<void> {
  assert.equal(await diesAt(MOST, args), false);
}

function standingIn(folder: string): string {
  const store = openCardStore(folder);
  try {
    store.check();
    return readCardFacts(store).standing?.kind ?? "good";
  } finally {
    store.close();
  }
}

async function isThere(path: string): Promise<boolean> {
  return await Deno.lstat(path).then(() => true, () => false);
}

const nothing = () => Promise.resolve();
const keyOf = async (path: string) => ({
  kind: "file" as const,
  bytes: new Secret(await Deno.readFile(path)),
});

const backupArgs = ({ around, folder, keyFile }: CardFixture) => [
  "backup",
  `${around}/backup`,
  "--card",
  folder,
  "--key-file",
  keyFile,
  "--yes",
];

Deno.test("a backup that is killed leaves no file or a whole one, and the card as it was", () =>
  killEverywhere(1, backupArgs, nothing, async ({ around, folder, key }) => {
    assert.equal(standingIn(folder), "good");
    const path = `${around}/backup`;
    if (!await isThere(path)) return;
    openFile(await Deno.readFile(path), "backup", key);
  }));

Deno.test("a move that is killed never leaves a file and a card that both sign", () =>
  killEverywhere(
    2,
    (fixture) => [...backupArgs(fixture), "--move"],
    nothing,
    async (fixture, isKilled) => {
      const { around, folder } = fixture;
      const isFile = await isThere(`${around}/backup`);
      const standing = standingIn(folder);
      if (isFile || !isKilled) assert.equal(standing, "moved");
      if (isFile) return;
      await finish([...backupArgs(fixture), "--move"]);
      assert.equal(standingIn(folder), "moved");
      assert.ok(await isThere(`${around}/backup`));
    },
  ));

Deno.test("a restore that is killed leaves no card or a whole one", () => {
  const args = ({ around, keyFile }: CardFixture) => [
    "restore",
    `${around}/backup`,
    "--card",
    `${around}/other`,
    "--key-file",
    keyFile,
    "--yes",
  ];
  return killEverywhere(
    3,
    args,
    (fixture) => finish(backupArgs(fixture)),
    async (fixture) => {
      const folder = `${fixture.around}/other`;
      if (!await isThere(folder)) await finish(args(fixture));
      assert.equal(standingIn(folder), "restored");
      const card = await findCard(folder);
      assert.ok(card !== null);
      const store = openCardStore(folder);
      assert.equal(identityChange(store, card), null);
      store.close();
      const sealed = await readSealed({ folder }) ?? new Uint8Array();
      assert.ok(openSealed(sealed, fixture.key).equals(SEED));
    },
  );
});

Deno.test("a wipe that is killed leaves the card or no seed, and is finished", () => {
  const args = ({ folder }: CardFixture) => ["wipe", "--card", folder, "--yes"];
  return killEverywhere(4, args, nothing, async (fixture) => {
    const { folder, around } = fixture;
    if (!await isThere(folder)) return;
    const seed = await hasSeed({ folder });
    if (seed !== null) assert.equal(standingIn(folder), "good");
    const names = [...Deno.readDirSync(folder)].map(({ name }) => name);
    if (names.length > 0) await finish(args(fixture));
    else await Deno.remove(folder);
    assert.ok(!await isThere(`${around}/card`));
  });
});

Deno.test("a new key that is killed leaves the old seal or the new one", () =>
  killEverywhere(
    1,
    ({ around, folder, keyFile }) => [
      "passphrase",
      "key-file",
      `${around}/new`,
      "--card",
      folder,
      "--key-file",
      keyFile,
    ],
    nothing,
    async ({ around, folder, key }, isKilled) => {
      const sealed = await readSealed({ folder }) ?? new Uint8Array();
      const keys = await isThere(`${around}/new`)
        ? [key, await keyOf(`${around}/new`)]
        : [key];
      const opening = keys.filter((each) => {
        try {
          return openSealed(sealed, each).equals(SEED);
        } catch {
          return false;
        }
      });
      assert.equal(opening.length, 1);
      if (!isKilled) assert.notEqual(opening[0], key);
    },
  ));

Deno.test("a sealing that is killed leaves a seed that opens, and is finished", () => {
  const args = ({ folder, keyFile }: CardFixture) => [
    "seal",
    "--card",
    folder,
    "--key-file",
    keyFile,
  ];
  return killEverywhere(
    2,
    args,
    async ({ folder }) => {
      await Deno.remove(`${folder}/seed.sealed`);
      await Deno.writeFile(`${folder}/hsm_secret`, SEED, { mode: 0o400 });
    },
    async (fixture) => {
      const { folder, key } = fixture;
      if (await hasSeed({ folder }) === "clear") {
        assert.deepEqual(await Deno.readFile(`${folder}/hsm_secret`), SEED);
      }
      if (await isThere(`${folder}/hsm_secret`)) await finish(args(fixture));
      const sealed = await readSealed({ folder }) ?? sealSecret(
        new Uint8Array(),
        key,
        null,
      );
      assert.ok(openSealed(sealed, key).equals(SEED));
    },
  );
});
