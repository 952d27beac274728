/**
 * `softkey control-key` as an owner runs it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { openCardStore } from "../../../src/device/card_state.ts";
import { openSecretFile, parseSecretFile } from "../../../src/keyderiv.ts";
import { deriveControlKey } from "../../../src/keyderiv/control_key.ts";
import { FILES, PASSPHRASE } from "../../keyderiv/tables.ts";
import { SEED, withCard } from "../../support/card_folder.ts";
import { inFolder, runSoftkey } from "../../support/softkey.ts";

const keyOf = (file: Uint8Array, passphrase?: Uint8Array) =>
  deriveControlKey(openSecretFile(parseSecretFile(file), { passphrase }));

Deno.test("the key is written for its owner only, and shown nowhere", () =>
  withCard(async ({ folder, around, keyFile }) => {
    const path = `${around}/control-key`;
    const args = ["control-key", "--card", folder, "--key-file", keyFile];
    // A softkey runs with the card: its memory is not needed.
    const store = openCardStore(folder);
    const made = await runSoftkey(...args, "--out", path);
    store.close();
    assert.equal(made.code, 0, made.err);
    const { secret, point } = keyOf(SEED);
    const hex = secret.reveal().toHex();
    assert.equal(await Deno.readTextFile(path), `${hex}\n`);
    const { mode } = await Deno.stat(path);
    assert.equal((mode ?? 0) & 0o777, 0o600);
    assert.ok(!(made.out + made.err).includes(hex));
    assert.ok(made.out.includes(point.toHex()));
    const again = await runSoftkey(...args, "--out", path);
    assert.equal(again.code, 2);
    assert.match(again.err, /there is such a file, want a new name/);
    const nowhere = await runSoftkey(...args);
    assert.match(nowhere.err, /Missing --out/);
  }));

Deno.test("a card without a seed has no key", () =>
  withCard(async ({ folder, around }) => {
    const path = `${around}/control-key`;
    const made = await runSoftkey(
      "control-key",
      "--card",
      folder,
      "--out",
      path,
    );
    assert.equal(made.code, 3);
    assert.match(made.err, /it has no seed, want softkey restore first/);
    assert.deepEqual(await namesOf(around), ["card", "key"]);
  }, { isSeeded: false }));

Deno.test("a seed with the node's passphrase wants it, and the right one", () =>
  inFolder(async (folder) => {
    const path = `${folder}/control-key`;
    await Deno.writeFile(`${folder}/hsm_secret`, FILES.W1, { mode: 0o600 });
    await Deno.writeFile(`${folder}/right`, PASSPHRASE);
    await Deno.writeTextFile(`${folder}/wrong`, "another");
    const args = [
      "control-key",
      "--card",
      folder,
      "--hsm-secret",
      `${folder}/hsm_secret`,
      "--out",
      path,
    ];
    const none = await runSoftkey(...args);
    assert.equal(none.code, 4, none.err);
    const file = "--words-passphrase-file";
    const wrong = await runSoftkey(...args, file, `${folder}/wrong`);
    assert.equal(wrong.code, 5, wrong.err);
    const right = await runSoftkey(...args, file, `${folder}/right`);
    assert.equal(right.code, 0, right.err);
    const { secret } = keyOf(FILES.W1, PASSPHRASE);
    assert.equal(
      (await Deno.readTextFile(path)).trim(),
      secret.reveal().toHex(),
    );
  }));

async function namesOf(folder: string): Promise<readonly string[]> {
  const names = await Array.fromAsync(Deno.readDir(folder), ({ name }) => name);
  return names.sort();
}
