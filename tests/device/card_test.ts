/**
 * A card's files and the commands that work on the card as a whole.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import {
  addSealed,
  asideOf,
  CARD_FILES,
  findCard,
  hasSeed,
  makeFile,
  openCard,
  readCardSecret,
  readSealed,
  replaceSealed,
  writeSealed,
} from "../../src/device/card.ts";
import { openCardStore } from "../../src/device/card_state.ts";
import {
  checkCard,
  checkFilesOnly,
} from "../../src/device/commands/card/check.ts";
import { isBusy } from "../../src/device/commands/card/folder.ts";
import {
  changePassphrase,
  sealCard,
} from "../../src/device/commands/card/seal.ts";
import { wipeCard } from "../../src/device/commands/card/wipe.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import { openSealed, sealSecret } from "../../src/device/sealed_secret.ts";
import { ConfigError, StoreError, UsageError } from "../../src/errors.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import {
  type CardFixture,
  commandLine,
  nobody,
  NODE,
  type Said,
  SEED,
  typing,
  withCard,
  writeCardSecret,
} from "../support/card_folder.ts";

const modeOf = (path: string) => (Deno.statSync(path).mode ?? 0) & 0o777;
const namesIn = (folder: string) =>
  [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

function ownersError(missing: string, text: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof OwnerError, String(error));
    assert.equal(error.missing, missing);
    assert.match(error.message, text);
    return true;
  };
}

/** As the command does: a memory that does not open is a finding, too. */
async function check(
  folder: string,
  said: Said,
  ...args: readonly string[]
): Promise<number> {
  const { print, printError, prompter } = said;
  const { options } = commandLine("--card", folder, ...args);
  try {
    const store = openCardStore(folder);
    try {
      const access = { store, folder, network: null, print, printError };
      return await checkCard(access, options, prompter);
    } finally {
      store.close();
    }
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    return await checkFilesOnly({ folder, print, printError }, error);
  }
}

const wipe = (said: Said, folder: string, ...args: readonly string[]) =>
  wipeCard(commandLine("--card", folder, ...args), said);

// ---------------------------------------------------------------------- files

Deno.test("an empty folder becomes a card once, and stays the same one", async () => {
  const around = await Deno.makeTempDir();
  const folder = `${around}/new/card`;
  assert.equal(await findCard(folder), null);
  const made = await openCard(folder);
  const again = await openCard(folder);
  assert.ok(made.isNew && !again.isNew);
  assert.deepEqual({ ...made, isNew: false }, again);
  assert.deepEqual(await findCard(folder), again);
  assert.deepEqual(namesIn(folder), ["card_key", "id"]);
  assert.deepEqual([modeOf(folder), modeOf(`${folder}/id`)], [0o700, 0o600]);
  assert.equal(await hasSeed(again), null);
  await Deno.writeTextFile(`${folder}/id`, "X".repeat(32));
  await assert.rejects(openCard(folder), ConfigError);
  await Deno.remove(around, { recursive: true });
});

Deno.test("a sealed seed is put on a card once, and replaced by name only", () =>
  withCard(async ({ card, folder }) => {
    assert.equal(await readSealed(card), null);
    await writeSealed(card, new Uint8Array(9));
    assert.equal(modeOf(`${folder}/seed.sealed`), 0o400);
    assert.equal(await hasSeed(card), "sealed");
    const second = ownersError("rightNode", /it has one, want an empty card$/);
    await assert.rejects(writeSealed(card, new Uint8Array(8)), second);
    await assert.rejects(addSealed(card, new Uint8Array(8)), second);
    assert.equal((await readSealed(card))?.length, 9);
    await replaceSealed(card, new Uint8Array(7));
    assert.equal((await readSealed(card))?.length, 7);
    assert.equal(modeOf(`${folder}/seed.sealed`), 0o400);
  }, { isSeeded: false }));

Deno.test("a sealed seed does not go beside one in clear by mistake", () =>
  withCard(async ({ card }) => {
    await writeCardSecret(card, SEED);
    assert.equal(await hasSeed(card), "clear");
    await assert.rejects(writeSealed(card, new Uint8Array(9)), OwnerError);
    assert.deepEqual(await readCardSecret(card), SEED);
  }, { isSeeded: false }));

Deno.test("a file that is there is not replaced, and what a kill left is not in the way", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/file`;
  await Deno.writeTextFile(asideOf(path), "half");
  // A file of the owner's that only looks like it.
  await Deno.writeTextFile(`${path}.new`, "mine");
  await makeFile(path, Uint8Array.of(1), 0o400);
  await assert.rejects(
    makeFile(path, Uint8Array.of(2), 0o400),
    Deno.errors.AlreadyExists,
  );
  assert.deepEqual(await Deno.readFile(path), Uint8Array.of(1));
  assert.deepEqual(namesIn(folder), ["file", "file.new"]);
  await Deno.remove(folder, { recursive: true });
});

// ---------------------------------------------------------------------- check

Deno.test("a whole card is said to be whole, with what is on it", () =>
  withCard(async ({ folder }) => {
    const said = nobody();
    assert.equal(await check(folder, said), 0, said.lines.join("\n"));
    const text = said.lines.join("\n");
    const wanted = [
      `node {8}${NODE}`,
      "network {5}regtest",
      "standing {4}good",
      `paired with ${NODE} at mqtt://127\\.0\\.0\\.1:1883`,
      "channels {4}2",
      "ledger {6}1 line, the chain is whole",
      "nonce {7}0",
      "last stop {3}clean: every byte was compared",
      "The card is whole",
    ];
    for (const row of wanted) assert.match(text, new RegExp(`^${row}$`, "m"));
    assert.doesNotMatch(text, /warning|error/);
  }));

Deno.test("one flipped bit in any file of a card is found, and the file is named", () =>
  withCard(async ({ folder }) => {
    const files = ["id", "card_key", "seed.sealed", "state.db", "state.db.sum"];
    assert.deepEqual(namesIn(folder), [...files].sort());
    for (const name of files) {
      const path = `${folder}/${name}`;
      const whole = await Deno.readFile(path);
      for (const at of placesIn(whole.length)) {
        const changed = new Uint8Array(whole);
        changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
        await overwrite(path, changed);
        const said = nobody();
        assert.equal(await check(folder, said), 1, `${name}, byte ${at}`);
        const text = said.lines.join("\n");
        assert.ok(text.includes(name), `${name}, byte ${at}: ${text}`);
        assert.doesNotMatch(text, /The card is whole/);
        await overwrite(path, whole);
      }
    }
    assert.equal(await check(folder, nobody()), 0);
  }));

/** All of a small file, some of a large one: its ends and what is between. */
function placesIn(size: number): readonly number[] {
  const step = Math.max(1, Math.ceil(size / 40));
  const places = Array.from(
    { length: Math.ceil(size / step) },
    (_, i) => i * step,
  );
  return [...places, size - 1];
}

async function overwrite(path: string, bytes: Uint8Array): Promise<void> {
  const mode = modeOf(path);
  await Deno.chmod(path, 0o600);
  await Deno.writeFile(path, bytes);
  await Deno.chmod(path, mode);
}

Deno.test("a file that is missing, or of another card, is found", () =>
  withCard(async ({ folder }) => {
    await Deno.remove(`${folder}/card_key`);
    const said = nobody();
    assert.equal(await check(folder, said), 1);
    assert.match(
      said.lines.join("\n"),
      /id or card_key is missing: put it back/,
    );
    await openCard(folder);
    const other = nobody();
    assert.equal(await check(folder, other), 1);
    assert.match(other.lines.join("\n"), /damaged or of another card/);
  }));

Deno.test("a seed of another node is found, sealed or in clear", () =>
  withCard(async ({ folder, key, card }) => {
    const other = Uint8Array.fromHex(`03${"11".repeat(32)}`);
    await replaceSealed(card, sealSecret(SEED, key, other));
    const said = nobody();
    assert.equal(await check(folder, said), 1);
    assert.match(said.lines.join("\n"), /seed of node 0311.*, want 02|want 03/);
    await Deno.remove(`${folder}/seed.sealed`);
    await writeCardSecret(card, makeSecretFile(new Uint8Array(16)));
    const clear = nobody();
    assert.equal(await check(folder, clear), 1);
    assert.match(
      clear.lines.join("\n"),
      /hsm_secret is damaged or another node's/,
    );
    assert.match(clear.lines.join("\n"), /warning: the seed is in clear/);
    const words = new Uint8Array(SEED);
    words[40] = (words[40] ?? 0) ^ 1;
    await overwrite(`${folder}/hsm_secret`, words);
    const damaged = nobody();
    assert.equal(await check(folder, damaged), 1);
    assert.match(
      damaged.lines.join("\n"),
      /is damaged: it is no seed any more/,
    );
  }));

Deno.test("with its key the seed itself is compared with the card", () =>
  withCard(async ({ folder, keyFile, key, card }) => {
    const said = nobody();
    assert.equal(await check(folder, said, "--key-file", keyFile), 0);
    assert.match(
      said.lines.join("\n"),
      new RegExp(`^seed {8}opens: ${NODE}$`, "m"),
    );
    // The label is right and the seed is not: only the key shows that.
    const foreign = makeSecretFile(new Uint8Array(16));
    const label = Uint8Array.fromHex(NODE);
    await replaceSealed(card, sealSecret(foreign, key, label));
    assert.equal(await check(folder, nobody()), 0);
    const found = nobody();
    assert.equal(await check(folder, found, "--key-file", keyFile), 1);
    assert.match(found.lines.join("\n"), /its seed is of node 0/);
    await Deno.writeFile(`${folder}/../no`, new Uint8Array(32), {
      mode: 0o400,
    });
    await assert.rejects(
      check(folder, nobody(), "--key-file", `${folder}/../no`),
      ownersError("rightKey", /^Wrong key file/),
    );
  }));

Deno.test("a person is asked whether to open the seed, and may say no", () =>
  withCard(async ({ folder, keyFile }) => {
    const change = commandLine("--card", folder, "--key-file", keyFile);
    await changePassphrase(change, typing("correct horse", "correct horse"));
    const lazy = typing("no");
    assert.equal(await check(folder, lazy), 0);
    assert.doesNotMatch(lazy.lines.join("\n"), /opens:/);
    const keen = typing("y", "correct horse");
    assert.equal(await check(folder, keen), 0);
    assert.match(keen.lines.join("\n"), /opens: 0/);
  }));

Deno.test("files that others can read, and left-overs, are warned of", () =>
  withCard(async ({ folder }) => {
    await Deno.chmod(folder, 0o755);
    await Deno.chmod(`${folder}/seed.sealed`, 0o444);
    await Deno.writeTextFile(asideOf(`${folder}/seed.sealed`), "half");
    const said = nobody();
    assert.equal(await check(folder, said), 0);
    const text = said.lines.join("\n");
    assert.match(text, /^warning: others can look into .*: chmod 700 it$/m);
    assert.match(
      text,
      /^warning: others can read .*seed\.sealed: chmod 400 it$/m,
    );
    assert.match(text, /^warning: .*seed\.sealed\.softkey-new is left over/m);
  }));

Deno.test("a card of an earlier softkey is whole, with what it lacks", () =>
  withCard(async ({ folder }) => {
    const store = openCardStore(folder);
    store.commit([{ key: "card/identity", value: null }]);
    store.close();
    const said = nobody();
    assert.equal(await check(folder, said), 0);
    const text = said.lines.join("\n");
    assert.match(
      text,
      /warning: id or card_key are not tied to the memory yet/,
    );
    assert.match(text, /warning: there is no seed yet/);
  }, { isSeeded: false }));

// ----------------------------------------------------------------------- wipe

Deno.test("a card is wiped by who types its node id, and nothing else is", () =>
  withCard(async ({ folder }) => {
    await Deno.writeTextFile(`${folder}/notes`, "mine");
    const hasty = typing("yes");
    await assert.rejects(
      wipe(hasty, folder),
      ownersError("consent", new RegExp(`want ${NODE.slice(0, 8)}$`)),
    );
    const text = hasty.lines.join("\n");
    assert.match(
      text,
      new RegExp(`card of node ${NODE}, with 2 open channels`),
    );
    assert.match(text, /close them first, or move the card/);
    assert.match(text, /only ways back are the words of the seed and a backup/);
    await assert.rejects(
      wipe(nobody(), folder),
      ownersError("terminal", /--yes/),
    );
    assert.equal(await check(folder, nobody()), 0);
    const sure = typing(NODE.slice(0, 8).toUpperCase());
    assert.equal(await wipe(sure, folder), 0);
    assert.deepEqual(namesIn(folder), ["notes"]);
    assert.match(sure.lines.at(-1) ?? "", /other files are left in .*: notes$/);
  }));

Deno.test("a folder with nothing else in it goes with its card", () =>
  withCard(async ({ folder, around }) => {
    await Deno.writeTextFile(`${folder}/owner.sock`, "");
    await Deno.writeTextFile(`${folder}/state.db.sum.new`, "half");
    await Deno.writeTextFile(asideOf(`${folder}/id`), "half");
    assert.equal(await wipe(nobody(), folder, "--yes"), 0);
    assert.deepEqual(namesIn(around), ["key"]);
    await assert.rejects(wipe(nobody(), folder, "--yes"), UsageError);
  }));

Deno.test("a wipe that was killed after the seed is finished by the next", () =>
  withCard(async ({ folder, around }) => {
    // What each step leaves; the seed is the first to go.
    const steps = [
      CARD_FILES.sealed,
      CARD_FILES.state,
      CARD_FILES.stateSum,
      CARD_FILES.key,
    ];
    for (const name of steps) {
      await Deno.remove(`${folder}/${name}`);
      assert.equal(await hasSeed({ folder }), null);
    }
    const said = typing("wipe");
    assert.equal(await wipe(said, folder), 0);
    assert.match(said.lines.join("\n"), /card of no node yet, with no open/);
    assert.deepEqual(namesIn(around), ["key"]);
  }));

Deno.test("a damaged card can be wiped, one that a softkey runs with cannot", () =>
  withCard(async ({ folder, around }) => {
    const store = openCardStore(folder);
    await assert.rejects(wipe(nobody(), folder, "--yes"), isBusy);
    assert.equal(await hasSeed({ folder }), "sealed");
    store.close();
    await Deno.writeTextFile(`${folder}/state.db`, "nonsense");
    const said = typing(NODE.slice(0, 8));
    assert.equal(await wipe(said, folder), 0);
    assert.match(said.lines.join("\n"), /channels that cannot be counted/);
    assert.deepEqual(namesIn(around), ["key"]);
  }));

// ------------------------------------------------------------ seal, passphrase

const seal = (said: Said, folder: string, ...args: readonly string[]) =>
  sealCard(commandLine("--card", folder, ...args), said);

async function openedSeed({ folder, key }: CardFixture): Promise<Uint8Array> {
  const sealed = await readSealed({ folder }) ?? new Uint8Array();
  return openSealed(sealed, key).reveal();
}

Deno.test("a seed in clear is sealed, and the clear file goes", () =>
  withCard(async (fixture) => {
    const { card, folder, keyFile } = fixture;
    await writeCardSecret(card, SEED);
    await assert.rejects(
      seal(nobody(), folder),
      ownersError("key", /^Cannot seal the card: no passphrase/),
    );
    assert.equal(await hasSeed(card), "clear");
    assert.equal(await seal(nobody(), folder, "--key-file", keyFile), 0);
    assert.equal(await hasSeed(card), "sealed");
    assert.equal(await readCardSecret(card), null);
    assert.deepEqual(await openedSeed(fixture), SEED);
    await assert.rejects(
      seal(nobody(), folder, "--key-file", keyFile),
      ownersError("seed", /its seed is sealed already/),
    );
  }, { isSeeded: false }));

Deno.test("a sealing that was killed is finished, whatever was left of the clear file", () =>
  withCard(async (fixture) => {
    const { card, folder, keyFile } = fixture;
    for (const left of [SEED, new Uint8Array(SEED.length)]) {
      await writeCardSecret(card, left);
      assert.equal(await seal(nobody(), folder, "--key-file", keyFile), 0);
      assert.equal(await readCardSecret(card), null);
      assert.deepEqual(await openedSeed(fixture), SEED);
    }
    await writeCardSecret(card, makeSecretFile(new Uint8Array(16)));
    await assert.rejects(
      seal(nobody(), folder, "--key-file", keyFile),
      (error) =>
        error instanceof StoreError && /two different/.test(error.message),
    );
    assert.notEqual(await readCardSecret(card), null);
  }));

Deno.test("a card without a seed, and a folder without a card, have nothing to seal", () =>
  withCard(async ({ folder, around, keyFile }) => {
    await assert.rejects(
      seal(nobody(), folder, "--key-file", keyFile),
      ownersError("seed", /it has no seed yet$/),
    );
    await assert.rejects(seal(nobody(), `${around}/none`), UsageError);
    const line = commandLine("--card", folder, "--key-file", keyFile);
    await assert.rejects(
      changePassphrase(line, nobody()),
      ownersError("seed", /it has no sealed seed/),
    );
  }, { isSeeded: false }));

Deno.test("a seed that is damaged is told, sealed or in clear", () =>
  withCard(async ({ folder, keyFile, card }) => {
    const old = ["--card", folder, "--key-file", keyFile];
    const sealed = await readSealed(card) ?? new Uint8Array();
    sealed[90] = (sealed[90] ?? 0) ^ 1;
    await replaceSealed(card, sealed);
    await assert.rejects(
      changePassphrase(commandLine(...old), nobody()),
      (error) =>
        error instanceof StoreError &&
        /^Cannot open the seed: .*seed\.sealed: .*restore it/.test(
          error.message,
        ),
    );
    await Deno.remove(`${folder}/seed.sealed`);
    await writeCardSecret(card, new Uint8Array(9));
    await assert.rejects(
      seal(nobody(), folder, "--key-file", keyFile),
      ownersError("validSeed", /hsm_secret is no seed/),
    );
  }));

Deno.test("a disk that takes no file leaves the seal that was there", () =>
  withCard(async ({ folder, card }) => {
    const before = await readSealed(card);
    // In the way of what is written aside: a folder that is not empty.
    const aside = asideOf(`${folder}/seed.sealed`);
    await Deno.mkdir(`${aside}/full`, { recursive: true });
    await assert.rejects(
      replaceSealed(card, new Uint8Array(9)),
      (error) =>
        error instanceof StoreError &&
        /^Cannot write the card: .*seed\.sealed: /.test(error.message),
    );
    assert.deepEqual(await readSealed(card), before);
  }));

Deno.test("what opens a seed is changed from a key file to a passphrase and back", () =>
  withCard(async (fixture) => {
    const { folder, around, keyFile } = fixture;
    const change = (said: Said, ...args: readonly string[]) =>
      changePassphrase(commandLine("--card", folder, ...args), said);
    const both = ["correct horse", "correct horse"];
    assert.equal(await change(typing(...both), "--key-file", keyFile), 0);
    await assert.rejects(
      change(nobody(), "--key-file", keyFile),
      ownersError("rightKey", /sealed with a passphrase/),
    );
    const sealed = await readSealed({ folder }) ?? new Uint8Array();
    const bytes = new Secret(new TextEncoder().encode("correct horse"));
    const opened = openSealed(sealed, { kind: "passphrase", bytes });
    assert.deepEqual(opened.reveal(), SEED);
    const newKey = `${around}/new-key`;
    await change(typing("correct horse"), "key-file", newKey);
    const key = {
      kind: "file",
      bytes: new Secret(await Deno.readFile(newKey)),
    } as const;
    assert.deepEqual(await openedSeed({ ...fixture, key }), SEED);
    assert.equal(modeOf(newKey), 0o400);
    assert.deepEqual(
      namesIn(folder).includes("seed.sealed.softkey-new"),
      false,
    );
  }));

Deno.test("a new passphrase that nobody can give is said in one sentence", () =>
  withCard(async (fixture) => {
    const { folder, keyFile } = fixture;
    const old = ["--card", folder, "--key-file", keyFile];
    await assert.rejects(
      changePassphrase(commandLine(...old), nobody()),
      ownersError("terminal", /want key-file FILE or passphrase-file FILE/),
    );
    await assert.rejects(
      changePassphrase(commandLine(...old, "words"), nobody()),
      UsageError,
    );
    await assert.rejects(
      changePassphrase(commandLine(...old, "passphrase-file"), nobody()),
      UsageError,
    );
    assert.deepEqual(await openedSeed(fixture), SEED);
  }));
