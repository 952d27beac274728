/**
 * `softkey restore`: from typed words, from files of every kind, and what it says
 * to those that are wrong.
 *
 * Vectors: E1, W1 of tests/keyderiv/secret_file_test.ts, made by stock releases.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  candidateOfFile,
  candidateOfWords,
} from "../../src/device/setup/candidate.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { openCardStore, readCardState } from "../../src/device/card_state.ts";
import { makeSecretFileOfWords } from "../../src/keyderiv.ts";
import { startNode } from "../support/node.ts";
import {
  driveSoftkey,
  inFolder,
  makeBox,
  runSoftkey,
  typeNewPassphrase,
} from "../support/softkey.ts";

const ABOUT = `${"abandon ".repeat(11)}about`;
const ABOUT_NODE = candidateOfWords(ABOUT, null, false).nodeId ?? "";
const OTHER = new Uint8Array(32).fill(7);
const OTHER_NODE = candidateOfFile(OTHER, { passphrase: null }).nodeId ?? "";
const PASSPHRASE = "correct horse battery";
const LOCKED = makeSecretFileOfWords(
  "ritual idle hat sunny universe pluck key alpha wing cake have wedding",
  new TextEncoder().encode("test_passphrase"),
);

function restoreOf(folder: string): readonly string[] {
  return ["restore", "--card", `${folder}/card`, "--network", "regtest"];
}

async function write(path: string, content: string | Uint8Array) {
  await Deno.writeFile(
    path,
    typeof content === "string" ? new TextEncoder().encode(content) : content,
    { mode: 0o600 },
  );
  return path;
}

async function hasSeed(folder: string): Promise<boolean> {
  const names = await Array.fromAsync(Deno.readDir(`${folder}/card`));
  return names.some(({ name }) => /seed|secret/.test(name));
}

Deno.test("a person types words: a wrong one is named, the node id is shown", () =>
  inFolder(async (folder) => {
    await using terminal = driveSoftkey(...restoreOf(folder));
    await terminal.says("Words: ");
    await terminal.types("abandon abandn");
    await terminal.says("word 2  abandn: did you mean abandon");
    await terminal.says("take this away");
    await terminal.types("");
    await terminal.says("Words: ");
    await terminal.types("abandon ".repeat(12));
    await terminal.says("12 words so far");
    await terminal.types("");
    await terminal.says("checksum does not fit");
    await terminal.says("Words: ");
    await terminal.types("abandon ".repeat(6));
    await terminal.says("6 words so far");
    await terminal.types(`${"abandon ".repeat(5)}about`);
    await terminal.says("12 words so far");
    await terminal.types("");
    await terminal.says("Passphrase of the words");
    await terminal.types("");
    await terminal.says(ABOUT_NODE);
    await terminal.says("Is this the node");
    await terminal.types("yes");
    await typeNewPassphrase(terminal, PASSPHRASE);
    await terminal.says("It was restored");
    assert.equal(await terminal.ends(), 0);
    assert.doesNotMatch(terminal.screen, new RegExp(ABOUT));
    const store = openCardStore(`${folder}/card`);
    const { standing, network } = readCardState(store, NETWORKS.regtest);
    store.close();
    assert.deepEqual([standing?.kind, network], ["restored", "regtest"]);
  }));

Deno.test("a node id that is not the expected one is refused with both", () =>
  inFolder(async (folder) => {
    const words = await write(`${folder}/words`, `1. ${ABOUT}\n`);
    const key = ["--key-file", `${folder}/key`];
    const all = [...restoreOf(folder), "--words-file", words, ...key];
    const unasked = await runSoftkey(...all);
    assert.equal(unasked.code, 6, unasked.err);
    assert.match(unasked.err, new RegExp(`node ${ABOUT_NODE}, want --node-id`));
    const wrong = await runSoftkey(...all, "--node-id", OTHER_NODE);
    assert.equal(wrong.code, 7);
    assert.match(wrong.err, new RegExp(`${ABOUT_NODE}, want ${OTHER_NODE}`));
    assert.equal(await hasSeed(folder), false);
    const right = await runSoftkey(...all, "--node-id", ABOUT_NODE);
    assert.equal(right.code, 0, right.err);
    assert.equal(await hasSeed(folder), true);
  }));

Deno.test("words and files that are no seed are refused, and no word is repeated", () =>
  inFolder(async (folder) => {
    const key = ["--key-file", `${folder}/key`, "--yes"];
    const all = [...restoreOf(folder), ...key];
    const cases: readonly [string, string | Uint8Array, RegExp][] = [
      ["--words-file", `${"abandon ".repeat(11)}abuot`, /number 12$/m],
      ["--words-file", "abandon ".repeat(12), /checksum does not fit/],
      ["--words-file", "abandon about", /found 2 words/],
      ["--hsm-secret", new Uint8Array(31), /it is no hsm_secret/],
      ["--hsm-secret", new Uint8Array(80), /its words are no seed/],
    ];
    for (const [option, content, wanted] of cases) {
      const path = await write(`${folder}/input`, content);
      const { code, err } = await runSoftkey(...all, option, path);
      assert.equal(code, 8, err);
      assert.match(err, wanted);
      assert.doesNotMatch(err, /abandon|abuot/);
    }
    const missing = await runSoftkey(...all, "--hsm-secret", `${folder}/no`);
    assert.equal(missing.code, 8);
    assert.match(missing.err, /there is no such file/);
    assert.equal(await hasSeed(folder), false);
  }));

Deno.test("a file with a passphrase is compared when that is known, and kept as it is", () =>
  inFolder(async (folder) => {
    const path = await write(`${folder}/hsm_secret`, LOCKED);
    const all = [
      ...restoreOf(folder),
      ...["--hsm-secret", path, "--key-file", `${folder}/key`],
    ];
    const wrong = await write(`${folder}/wrong`, "guess\n");
    const option = "--words-passphrase-file";
    const guessed = await runSoftkey(...all, option, wrong);
    assert.equal(guessed.code, 5);
    assert.match(guessed.err, /this passphrase does not fit/);
    const right = await write(`${folder}/right`, "test_passphrase\n");
    const known = [...all, option, right];
    const other = await runSoftkey(...known, "--node-id", ABOUT_NODE);
    assert.equal(other.code, 7);
    const blind = await runSoftkey(...all);
    assert.equal(blind.code, 0, blind.err);
    assert.match(blind.out, /not known until the node sends its passphrase/);
  }));

Deno.test("the node is asked who it is: before it is paired, and by logging in after", () =>
  inFolder(async (folder) => {
    const words = await write(`${folder}/words`, ABOUT);
    const key = ["--key-file", `${folder}/key`, "--yes"];
    const from = ["--words-file", words, ...key];
    {
      const nodeId = Uint8Array.fromHex(OTHER_NODE);
      await using node = await startNode({ folder, nodeId });
      node.init();
      const all = [...restoreOf(folder), ...from, "--broker", node.url];
      const refused = await runSoftkey(...all);
      assert.equal(refused.code, 7);
      assert.match(
        refused.err,
        new RegExp(`want ${OTHER_NODE} \\(the node\\)`),
      );
    }
    await using node = await startNode({ folder });
    const secret = makeSecretFileOfWords(ABOUT, null);
    const network = NETWORKS.regtest;
    const parts = { folder: `${folder}/old`, secret, network, url: node.url };
    await Deno.mkdir(parts.folder);
    const box = await makeBox(parts);
    box.start();
    assert.equal((await node.init()).kind, "reply");
    await box.stop();
    const ours = [...restoreOf(folder), ...from, "--broker", node.url];
    const other = await write(`${folder}/other`, OTHER);
    const theirs = [
      ...restoreOf(folder),
      ...["--hsm-secret", other, ...key, "--broker", node.url],
    ];
    const refused = await runSoftkey(...theirs);
    assert.equal(refused.code, 7, refused.err);
    assert.match(refused.err, new RegExp(`refuses this seed.*${OTHER_NODE}`));
    assert.equal(await hasSeed(folder), false);
    const nameless = await runSoftkey(
      ...["restore", "--card", `${folder}/unnamed`],
      ...[...from, "--broker", node.url],
    );
    assert.equal(nameless.code, 2);
    assert.match(nameless.out, /paired already, and tells .* its network nei/);
    assert.match(
      nameless.err,
      /Missing --network: .* want --network with one of bitcoin, testnet, /,
    );
    const taken = await runSoftkey(...ours);
    assert.equal(taken.code, 0, taken.err);
    assert.match(taken.out, new RegExp(`is ${ABOUT_NODE}: this is its seed`));
  }));

Deno.test("a node on another network is refused with both names", () =>
  inFolder(async (folder) => {
    await using node = await startNode({ folder });
    node.init();
    const { code, err } = await runSoftkey(
      ...["restore", "--card", `${folder}/card`, "--network", "signet"],
      ...["--broker", node.url],
    );
    assert.equal(code, 7);
    assert.match(err, /it is on regtest, want signet/);
  }));
