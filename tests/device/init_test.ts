/**
 * `softkey init`, as a person at a terminal drives it, and without one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { sealSeed } from "../../src/crypto/seed_transfer.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import {
  candidateOfFile,
  candidateOfWords,
} from "../../src/device/setup/candidate.ts";
import { isPaired } from "../../src/device/setup/pairing.ts";
import {
  driveSoftkey,
  inFolder,
  readWords,
  runSoftkey,
  typeBack,
  typeNewPassphrase,
} from "../support/softkey.ts";

const PASSPHRASE = "correct horse battery";

function initOf(folder: string): readonly string[] {
  return ["init", "--card", `${folder}/card`, "--network", "regtest"];
}

/** Whether a card has any seed. */
async function seedsIn(folder: string): Promise<readonly string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(`${folder}/card`)) {
    if (/seed|secret/.test(name)) names.push(name);
  }
  return names;
}

/** What the screens say anyway: some words of the list are in it. */
async function screenText(): Promise<string> {
  const files = ["setup.ts", "setup/screens.ts", "seal_key.ts", "terminal.ts"];
  const texts = files.map((file) =>
    Deno.readTextFile(new URL(`../../src/device/${file}`, import.meta.url))
  );
  return (await Promise.all(texts)).join("\n");
}

Deno.test("a person makes a seed: a wrong word is named, the right ones are taken", () =>
  inFolder(async (folder) => {
    await using terminal = driveSoftkey(...initOf(folder), "--words", "24");
    await terminal.says("Ctrl-C ends it");
    const words = await readWords(terminal);
    assert.equal(words.length, 24);
    await terminal.says("Word ");
    await terminal.types("zzz");
    await terminal.says("is not right");
    assert.deepEqual(await readWords(terminal), words);
    await typeBack(terminal, words);
    const { nodeId } = candidateOfWords(words.join(" "), null, true);
    await terminal.says(nodeId ?? "no id");
    await typeNewPassphrase(terminal, PASSPHRASE);
    await terminal.says("Done.");
    assert.equal(await terminal.ends(), 0);
    assert.deepEqual(await seedsIn(folder), ["seed.sealed"]);
    assert.doesNotMatch(terminal.screen, new RegExp(PASSPHRASE));
    // What stays on the screen, and in its scroll-back, has no word in it.
    // deno-lint-ignore no-control-regex
    const apart = /\x1b\[\?1049h[^]*?\x1b\[\?1049l/g;
    const stays = terminal.screen.replaceAll(apart, "");
    const own = await screenText();
    const telling = words.filter((word) => !own.includes(word));
    assert.ok(telling.length > 12);
    for (const word of telling) {
      assert.doesNotMatch(stays, new RegExp(`\\b${word}\\b`));
    }
  }));

Deno.test("Ctrl-C at any question leaves a card without a seed and a terminal that works", () =>
  inFolder(async (folder) => {
    for (const questions of [0, 1, 2]) {
      await using terminal = driveSoftkey(...initOf(folder));
      if (questions === 0) {
        await terminal.says("take this away");
      } else {
        const words = await readWords(terminal);
        if (questions === 1) await terminal.says("from your paper");
        else {
          await typeBack(terminal, words);
          await terminal.says("or more): ");
        }
      }
      await terminal.press("\x03");
      await terminal.says("nothing was stored");
      assert.equal(await terminal.ends(), 130);
      assert.deepEqual(await seedsIn(folder), []);
      const entered = terminal.screen.split("\x1b[?1049h").length;
      assert.equal(terminal.screen.split("\x1b[?1049l").length, entered);
    }
  }));

Deno.test("without a terminal each thing that is missing has its sentence", () =>
  inFolder(async (folder) => {
    const nothing = await runSoftkey(...initOf(folder));
    assert.equal(nothing.code, 9);
    assert.match(nothing.err, /no terminal, want one, or --words-file FILE/);
    assert.match(nothing.err, /want a terminal, or --yes/);
    assert.match(nothing.err, /want --passphrase-file/);
    const file = `${folder}/words`;
    const unasked = await runSoftkey(...initOf(folder), "--words-file", file);
    assert.equal(unasked.code, 6);
    const all = [...initOf(folder), "--words-file", file, "--yes"];
    const keyless = await runSoftkey(...all);
    assert.equal(keyless.code, 4);
    assert.deepEqual(await seedsIn(folder), []);
    const key = `${folder}/key`;
    // As a setup leaves it that was killed before the seed was stored.
    await Deno.writeTextFile(file, "words", { mode: 0o400 });
    const stuck = await runSoftkey(...all, "--key-file", key);
    assert.equal(stuck.code, 9);
    assert.match(stuck.err, /belongs to no seed on this card, .* remove this/);
    assert.equal(await Deno.readTextFile(file), "words");
    assert.deepEqual(await seedsIn(folder), []);
    await Deno.remove(file);
    const made = await runSoftkey(...all, "--key-file", key);
    assert.equal(made.code, 0, made.err);
    assert.deepEqual(await seedsIn(folder), ["seed.sealed"]);
    const words = (await Deno.readTextFile(file)).trim();
    assert.equal(((await Deno.stat(file)).mode ?? 0) & 0o777, 0o400);
    const { nodeId } = candidateOfWords(words, null, true);
    assert.match(made.out, new RegExp(nodeId ?? "no id"));
    assert.doesNotMatch(made.out + made.err, new RegExp(words));
    const again = await runSoftkey(...all, "--key-file", key);
    assert.equal(again.code, 7);
    assert.match(again.err, /it has a seed, want a folder without one/);
  }));

Deno.test("the end of input ends a question like Ctrl-C", () =>
  inFolder(async (folder) => {
    await using terminal = driveSoftkey(...initOf(folder));
    await readWords(terminal);
    await terminal.says("from your paper");
    await terminal.press("\x04");
    await terminal.says("Stopped by end of input");
    assert.equal(await terminal.ends(), 130);
    assert.deepEqual(await seedsIn(folder), []);
  }));

Deno.test("a setup tool of the hardware sets a card up, when the owner says yes", () =>
  inFolder(async (folder) => {
    await using terminal = driveSoftkey(
      ...["init", "--card", `${folder}/card`, "--setup-listen", "127.0.0.1:0"],
    );
    await typeNewPassphrase(terminal, PASSPHRASE);
    const said = await terminal.says(/pages are at http:\S+\. /);
    const [, address = ""] = /(http:\S+)\. /.exec(said) ?? [];
    const { pubkey } = await (await fetch(`${address}/ecdh`)).json();
    const privateKey = new Uint8Array(32).fill(5);
    const seed = new Secret(new Uint8Array(32).fill(1));
    const sealed = sealSeed(
      { privateKey: new Secret(privateKey), point: Uint8Array.fromHex(pubkey) },
      seed,
      crypto.getRandomValues(new Uint8Array(12)),
    );
    const body = JSON.stringify({
      broker: "127.0.0.1:1883",
      ssid: "",
      pass: "",
      network: "regtest",
      pubkey: publicKey(privateKey).toHex(),
      seed: sealed.toHex(),
    });
    const sent = fetch(`${address}/config`, { method: "POST", body });
    const asked = await terminal.says("Take this seed?");
    const { nodeId } = candidateOfFile(seed.reveal(), { passphrase: null });
    assert.ok(asked.includes(nodeId ?? "no id"));
    assert.match(asked, /broker {7}mqtt:\/\/127\.0\.0\.1:1883/);
    await terminal.types("yes");
    await terminal.says("Did a node ever run with it?");
    await terminal.types("no");
    assert.deepEqual(await (await sent).json(), { success: true });
    await terminal.says("Done.");
    assert.equal(await terminal.ends(), 0);
    assert.deepEqual(await seedsIn(folder), ["seed.sealed"]);
    const store = openCardStore(`${folder}/card`);
    const state = readCardState(store, NETWORKS.regtest);
    store.close();
    assert.equal(state.standing, null);
    assert.equal(state.network, "regtest");
    assert.equal(state.pairing?.url, "mqtt://127.0.0.1:1883");
    assert.equal(isPaired(state.pairing), false);
  }));
