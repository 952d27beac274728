/**
 * A backup is the card, byte for byte; what is made from it knows what it is.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { Secret } from "../../src/crypto/secret.ts";
import { decodeBackup, encodeBackup } from "../../src/device/backup.ts";
import {
  openCardStore,
  readCardFacts,
  standingChange,
} from "../../src/device/card_state.ts";
import { cardOn } from "../../src/device/commands/card.ts";
import {
  backupCard,
  backupMeaning,
} from "../../src/device/commands/card/backup.ts";
import {
  ageText,
  restoreCard,
} from "../../src/device/commands/card/restore.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import {
  openFile,
  openSealed,
  sealFile,
} from "../../src/device/sealed_secret.ts";
import { StoreError, UsageError } from "../../src/errors.ts";
import {
  type CardFixture,
  commandLine,
  nobody,
  NODE,
  NOW,
  type Said,
  SEED,
  typing,
  withCard,
} from "../support/card_folder.ts";

async function backup(
  folder: string,
  said: Said,
  ...args: readonly string[]
): Promise<void> {
  const store = openCardStore(folder);
  try {
    const access = {
      store,
      folder,
      network: null,
      desk: null,
      print: said.print,
      path: (text: string) => text,
    };
    const line = commandLine(...args);
    assert.equal(await backupCard(access, line, said.prompter, NOW), 0);
  } finally {
    store.close();
  }
}

function restore(said: Said, ...args: readonly string[]): Promise<number> {
  return restoreCard(commandLine(...args), said);
}

/** Everything in a memory but the rows named. */
function rowsOf(folder: string, ...without: readonly string[]) {
  const store = openCardStore(folder);
  const rows = store.dump().rows.filter(({ key }) => !without.includes(key));
  store.close();
  return rows.map(({ key, version, value }) =>
    `${key} ${version} ${value.toHex()}`
  ).sort();
}

function factsOf(folder: string) {
  const store = openCardStore(folder);
  const facts = readCardFacts(store);
  const { generation } = store.head;
  store.close();
  return { ...facts, generation };
}

function ownersError(missing: string, text: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof OwnerError, String(error));
    assert.equal(error.missing, missing);
    assert.match(error.message, text);
    return true;
  };
}

const namesIn = (folder: string) =>
  [...Deno.readDirSync(folder)].map(({ name }) => name).sort();

/** A backup of the fixture's card, made and named. */
async function backedUp(
  { folder, around, keyFile }: CardFixture,
  ...more: readonly string[]
): Promise<string> {
  const path = `${around}/backup-${more.length}`;
  const said = nobody();
  await backup(folder, said, path, "--key-file", keyFile, "--yes", ...more);
  return path;
}

Deno.test("a backup is encoded and decoded without a change", () => {
  const bytes = fc.uint8Array({ maxLength: 100 });
  fc.assert(fc.property(
    fc.record({
      madeAt: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
      network: fc.constantFrom("", "bitcoin", "regtest"),
      id: bytes,
      cardKey: bytes,
      seed: bytes,
      memory: bytes,
    }),
    (content) => {
      const { madeAt, network, id, cardKey, seed, memory } = decodeBackup(
        encodeBackup(content),
      );
      assert.deepEqual(
        { madeAt, network, id, cardKey, seed, memory },
        { ...content },
      );
    },
  ));
});

Deno.test("what is restored from a backup is the card, but for its standing", () =>
  withCard(async (fixture) => {
    const { folder, around, keyFile } = fixture;
    const before = rowsOf(folder, "card/standing");
    const path = await backedUp(fixture);
    const to = `${around}/other`;
    const said = nobody();
    await restore(said, path, "--card", to, "--key-file", keyFile, "--yes");
    assert.deepEqual(rowsOf(to, "card/standing"), before);
    for (const name of ["id", "card_key", "seed.sealed"]) {
      const read = (where: string) => Deno.readFileSync(`${where}/${name}`);
      assert.deepEqual(read(to), read(folder), name);
    }
    assert.equal(factsOf(to).standing?.kind, "restored");
    assert.equal(factsOf(folder).standing, null);
    assert.match(said.lines.join("\n"), new RegExp(`^node {8}${NODE}$`, "m"));
    assert.match(said.lines.join("\n"), /^network {5}regtest$/m);
    assert.match(said.lines.join("\n"), /^channels {4}2 open channels$/m);
    assert.match(said.lines.join("\n"), /signs nothing for channels/);
  }));

Deno.test("any rows, written and deleted, come back with their versions", () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          key: fc.stringMatching(/^other\/[a-z0-9]{1,8}$/),
          value: fc.option(fc.uint8Array({ minLength: 1, maxLength: 300 })),
        }),
        { minLength: 1, maxLength: 30 },
      ),
      (changes) =>
        withCard(async (fixture) => {
          const store = openCardStore(fixture.folder);
          for (const change of changes) store.commit([change]);
          store.close();
          const before = rowsOf(fixture.folder, "card/standing");
          const path = await backedUp(fixture);
          const to = `${fixture.around}/other`;
          const key = ["--key-file", fixture.keyFile];
          await restore(nobody(), path, "--card", to, ...key, "--yes");
          assert.deepEqual(rowsOf(to, "card/standing"), before);
        }),
    ),
    { numRuns: 8 },
  ));

Deno.test("a running softkey's card is checked and backed up, and no more", () =>
  withCard(async ({ folder, around, keyFile }) => {
    const store = openCardStore(folder);
    const { lines, print, printError } = nobody();
    const access = {
      store,
      folder,
      network: null,
      desk: { own: () => assert.fail("nothing is changed") },
      questions: null,
      print,
      printError,
      path: (text: string) => `${around}/${text}`,
    };
    const key = ["--key-file", keyFile];
    const on = (...args: readonly string[]) =>
      cardOn(access, commandLine(...args));
    assert.equal(await on("check", ...key), 0);
    assert.match(lines.join("\n"), /The card is whole/);
    assert.equal(await on("backup", "file", ...key, "--yes"), 0);
    assert.ok(namesIn(around).includes("file"));
    for (const line of [["wipe"], ["seal"], ["passphrase"], ["restore", "f"]]) {
      await assert.rejects(on(...line, "--yes"), /stop it first$/);
    }
    await assert.rejects(
      on("backup", "moved", "--move", ...key, "--yes"),
      /^UsageError: Cannot move a card that a softkey runs with: stop it first$/,
    );
    store.close();
    assert.equal(factsOf(folder).standing, null);
  }));

Deno.test("a backup is one file for its owner only, and sealed as the card is", () =>
  withCard(async (fixture) => {
    const path = await backedUp(fixture);
    assert.equal((Deno.statSync(path).mode ?? 0) & 0o777, 0o400);
    assert.deepEqual(namesIn(fixture.around), ["backup-0", "card", "key"]);
    const bytes = Deno.readFileSync(path);
    const opened = openFile(bytes, "backup", fixture.key).reveal();
    const { seed, madeAt } = decodeBackup(opened);
    assert.equal(madeAt, BigInt(NOW));
    const again = openSealed(seed, fixture.key);
    assert.ok(again.equals(SEED));
    // Neither the seed nor the card's key is in it in clear.
    const hex = bytes.toHex();
    assert.ok(!hex.includes(SEED.subarray(32, 64).toHex()));
    assert.ok(!hex.includes(fixture.card.key.toHex()));
  }));

Deno.test("a moved card signs nothing, and what is restored goes on where it stopped", () =>
  withCard(async (fixture) => {
    const { folder, around, keyFile } = fixture;
    const { generation } = factsOf(folder);
    const path = await backedUp(fixture, "--move");
    const old = factsOf(folder);
    assert.equal(old.standing?.kind, "moved");
    assert.equal(old.standing?.generation, generation);
    const to = `${around}/other`;
    const said = nobody();
    await restore(said, path, "--card", to, "--key-file", keyFile, "--yes");
    const now = factsOf(to);
    assert.equal(now.standing, null);
    assert.ok(now.generation > old.generation, "the head only rises");
    assert.match(
      said.lines.join("\n"),
      /Restore it once and in one place only/,
    );
  }));

Deno.test("a moved card is backed up by --move again and in no other way", () =>
  withCard(async (fixture) => {
    const { folder, around, keyFile } = fixture;
    await backedUp(fixture, "--move");
    const before = factsOf(folder);
    const line = [`${around}/again`, "--key-file", keyFile, "--yes"];
    await assert.rejects(
      backup(folder, nobody(), ...line),
      ownersError("rightNode", /it was moved to another one/),
    );
    await backup(folder, nobody(), ...line, "--move");
    assert.deepEqual(factsOf(folder).standing, before.standing);
    assert.equal(factsOf(folder).generation, before.generation);
  }));

Deno.test("an old state does not become the last word by a move", () =>
  withCard(async (fixture) => {
    const { folder, around, keyFile } = fixture;
    const store = openCardStore(folder);
    const standing = { kind: "restored", generation: 1n, at: 2n } as const;
    store.commit([standingChange(standing)]);
    store.close();
    const line = [`${around}/file`, "--key-file", keyFile, "--yes"];
    await assert.rejects(
      backup(folder, nobody(), ...line, "--move"),
      ownersError("rightNode", /^Cannot move the card .*brought up to date/),
    );
    await backup(folder, nobody(), ...line);
    const to = `${around}/other`;
    const args = [`${around}/file`, "--card", to, "--key-file", keyFile];
    await restore(nobody(), ...args, "--yes");
    assert.equal(factsOf(to).standing?.kind, "restored");
  }));

Deno.test("a backup says what it means for channels, and wants consent", () =>
  withCard(async ({ folder, around, keyFile }) => {
    const path = `${around}/file`;
    const line = [path, "--key-file", keyFile];
    const unsure = typing("no");
    await assert.rejects(
      backup(folder, unsure, ...line),
      ownersError("consent", /^Nothing was done: "no" was typed, want yes$/),
    );
    assert.equal(unsure.lines[0], "This card has 2 open channels.");
    await assert.rejects(
      backup(folder, nobody(), ...line),
      ownersError("terminal", /^Cannot ask for consent: no terminal/),
    );
    const careless = typing("yes");
    await assert.rejects(
      backup(folder, careless, ...line, "--move"),
      ownersError("consent", /want move$/),
    );
    assert.equal(factsOf(folder).standing, null);
    assert.deepEqual(namesIn(around), ["card", "key"]);
    await backup(folder, typing("YES"), ...line);
    const memory = { channelCount: 1 } as ReturnType<typeof factsOf>["memory"];
    const [one] = backupMeaning({ memory, standing: null }, false);
    assert.equal(one, "This card has 1 open channel.");
  }));

Deno.test("a backup is made with the card's own key, and replaces no file", () =>
  withCard(async ({ folder, around, keyFile }) => {
    const wrong = `${around}/wrong`;
    await Deno.writeFile(wrong, new Uint8Array(32), { mode: 0o400 });
    await assert.rejects(
      backup(folder, nobody(), `${around}/f`, "--key-file", wrong, "--yes"),
      ownersError("rightKey", /^Wrong key file/),
    );
    await assert.rejects(
      backup(folder, nobody(), keyFile, "--key-file", keyFile, "--yes"),
      UsageError,
    );
    await assert.rejects(
      backup(
        folder,
        nobody(),
        `${around}/none/f`,
        "--key-file",
        keyFile,
        "--yes",
        "--move",
      ),
      (error) =>
        error instanceof StoreError &&
        /is marked as moved and signs nothing: give the command again/
          .test(error.message),
    );
  }));

Deno.test("a card without a sealed seed is not backed up", () =>
  withCard(async ({ folder, around, keyFile }) => {
    const line = [`${around}/f`, "--key-file", keyFile, "--yes"];
    await assert.rejects(
      backup(folder, nobody(), ...line),
      ownersError("seed", /it has no seed yet$/),
    );
    await Deno.writeFile(`${folder}/hsm_secret`, SEED);
    await assert.rejects(
      backup(folder, nobody(), ...line),
      ownersError("seed", /sealed first \(softkey card seal\)$/),
    );
  }, { isSeeded: false }));

Deno.test("a restore goes into a new or empty folder only", () =>
  withCard(async (fixture) => {
    const { folder, around, keyFile } = fixture;
    const path = await backedUp(fixture);
    const line = [path, "--key-file", keyFile, "--yes", "--card"];
    await assert.rejects(restore(nobody(), ...line, folder), /is not empty/);
    await assert.rejects(restore(nobody(), ...line, path), /want a folder/);
    const empty = `${around}/empty`;
    await Deno.mkdir(empty);
    await restore(nobody(), ...line, `${empty}/`);
    assert.deepEqual(
      namesIn(empty),
      ["card_key", "id", "seed.sealed", "state.db", "state.db.sum"],
    );
    assert.equal((Deno.statSync(empty).mode ?? 0) & 0o777, 0o700);
    await restore(nobody(), ...line, `${around}/deep/new/`);
    assert.deepEqual(namesIn(`${around}/deep`), ["new"]);
  }));

Deno.test("what an interrupted restore left is no card, and goes with the next", () =>
  withCard(async (fixture) => {
    const { around, keyFile } = fixture;
    const path = await backedUp(fixture);
    const left = `${around}/other.softkey-new`;
    await Deno.mkdir(left);
    await Deno.writeTextFile(`${left}/state.db`, "half");
    const to = `${around}/other`;
    await restore(nobody(), path, "--key-file", keyFile, "--yes", "--card", to);
    assert.deepEqual(
      namesIn(around),
      ["backup-0", "card", "key", "other"],
    );
  }));

Deno.test("a restore of another node or network is refused before anything is made", () =>
  withCard(async (fixture) => {
    const { around, keyFile } = fixture;
    const path = await backedUp(fixture);
    const to = `${around}/other`;
    const line = [path, "--key-file", keyFile, "--yes", "--card", to];
    await assert.rejects(
      restore(nobody(), ...line, "--network", "bitcoin"),
      ownersError("rightNode", /Cannot restore for bitcoin: .* for regtest$/),
    );
    const other = `03${"11".repeat(32)}`;
    await assert.rejects(
      restore(nobody(), ...line, "--node-id", other),
      ownersError("rightNode", new RegExp(`of node ${NODE}, want ${other}$`)),
    );
    await assert.rejects(
      restore(typing("n"), ...line.filter((word) => word !== "--yes")),
      ownersError("consent", /Nothing was done/),
    );
    assert.deepEqual(namesIn(around), ["backup-0", "card", "key"]);
    const right = ["--network", "regtest", "--node-id", NODE];
    assert.equal(await restore(nobody(), ...line, ...right), 0);
  }));

Deno.test("a changed, foreign or missing backup is refused in one sentence", () =>
  withCard(async (fixture) => {
    const { around, folder, keyFile, key } = fixture;
    const path = await backedUp(fixture);
    const to = `${around}/other`;
    const line = ["--key-file", keyFile, "--yes", "--card", to];
    const bytes = Deno.readFileSync(path);
    const changed = `${around}/changed`;
    for (const at of [0, 9, 40, 80, bytes.length >> 1, bytes.length - 1]) {
      const flipped = new Uint8Array(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ 0x10;
      await Deno.writeFile(changed, flipped);
      await assert.rejects(
        restore(nobody(), changed, ...line),
        ownersError("validSeed", /^Cannot use the backup .*: Cannot decode /),
      );
    }
    await assert.rejects(
      restore(nobody(), `${around}/missing`, ...line),
      ownersError("validSeed", /there is no such file$/),
    );
    await assert.rejects(
      restore(nobody(), `${folder}/seed.sealed`, ...line),
      ownersError("validSeed", /a seed, want a backup$/),
    );
    const text = new Uint8Array(50);
    const content = "backup";
    const empty = sealFile({ content, text, key, nodeId: null });
    await Deno.writeFile(changed, empty);
    await assert.rejects(
      restore(nobody(), changed, ...line),
      ownersError("validSeed", /^Cannot use the backup: Cannot decode backup/),
    );
    assert.ok(!namesIn(around).includes("other"));
  }));

Deno.test("a backup opens with the typed passphrase of its card", () =>
  withCard(async ({ folder, around, keyFile }) => {
    const { changePassphrase } = await import(
      "../../src/device/commands/card/seal.ts"
    );
    const change = commandLine("--card", folder, "--key-file", keyFile);
    await changePassphrase(change, typing("correct horse", "correct horse"));
    const path = `${around}/file`;
    await backup(folder, typing("yes", "wrong", "correct horse"), path);
    const to = `${around}/other`;
    await restore(typing("correct horse", "yes"), path, "--card", to);
    const sealed = Deno.readFileSync(`${to}/seed.sealed`);
    const bytes = new Secret(new TextEncoder().encode("correct horse"));
    const opened = openSealed(sealed, { kind: "passphrase", bytes });
    assert.ok(opened.equals(SEED));
  }));

Deno.test("an age is told in words", () => {
  const hour = 3_600_000;
  assert.equal(ageText(5 * 60_000), "5 minutes ago");
  assert.equal(ageText(-1), "0 minutes ago");
  assert.equal(ageText(3 * hour), "3 hours ago");
  assert.equal(ageText(49 * hour), "2 days ago");
});
