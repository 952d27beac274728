/**
 * `verify`: an operator types a backup and learns whether it is the one.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { FilePairingBook } from "../../src/broker/pairing.ts";
import {
  deriveNodeIdentity,
  openSecretFile,
  openTypedWords,
  parseSecretFile,
} from "../../src/keyderiv.ts";
import { type Ended, inFolder, run } from "./program.ts";

const WORDS = `${"abandon ".repeat(11)}about`;
const OTHER_WORDS = `${"zoo ".repeat(11)}wrong`;
const FILE = Uint8Array.fromHex(
  "1e14cd384691a92120f6702742ca0e06951aeee57e91b5e137526c0a6c0867f4",
);
const utf8 = (text: string) => new TextEncoder().encode(text);

type Backup = ReturnType<typeof openTypedWords>;

const typed = (passphrase = "") => openTypedWords(WORDS, utf8(passphrase));
const fromFile = () =>
  openSecretFile(parseSecretFile(FILE), { passphrase: undefined });

/** Runs verify in the folder of a node that is paired with this secret. */
async function verify(
  paired: Backup,
  input: string,
  prepare: (folder: string) => Promise<void> = () => Promise.resolve(),
): Promise<Ended> {
  const ended: Ended[] = [];
  await inFolder(async (cwd) => {
    await Deno.mkdir(`${cwd}/remote_hsmd`);
    const book = await FilePairingBook.open(`${cwd}/remote_hsmd/pairing.json`);
    const { nodeId, bip32Base, bip86Base, bolt12 } = deriveNodeIdentity(
      paired,
      NETWORKS.regtest.bip32,
    );
    const identity = { nodeId, bip32: bip32Base, bip86: bip86Base, bolt12 };
    await book.store({ identity, cardKeys: [] });
    await prepare(cwd);
    ended.push(await run({ args: ["verify"], cwd, input }));
  });
  const [first] = ended;
  assert.ok(first !== undefined);
  return first;
}

Deno.test("The right words are the backup, and are not shown", async () => {
  const { code, stdout, stderr } = await verify(typed(), `${WORDS}\n\n`);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /This is the backup/);
  assert.ok(!(stdout + stderr).includes("abandon"));
});

Deno.test("Right words in capitals and with more spaces are right", async () => {
  const input = `  ${WORDS.toUpperCase().replaceAll(" ", "   ")} \n\n`;
  assert.equal((await verify(typed(), input)).code, 0);
});

Deno.test("Other words are not the backup, and both node ids are said", async () => {
  const { code, stdout } = await verify(typed(), `${OTHER_WORDS}\n\n`);
  assert.equal(code, 1);
  assert.match(stdout, /NOT the backup/);
  assert.equal(stdout.match(/0[23][0-9a-f]{64}/g)?.length, 2);
});

Deno.test("A passphrase makes another node of the same words", async () => {
  const paired = typed("correct horse");
  assert.equal((await verify(paired, `${WORDS}\ncorrect horse\n`)).code, 0);
  assert.equal((await verify(paired, `${WORDS}\nwrong horse\n`)).code, 1);
  assert.equal((await verify(paired, `${WORDS}\n\n`)).code, 1);
});

Deno.test("Mistyped words are told as such, and not repeated", async () => {
  const input = `${WORDS.replace("about", "above")}\n\n`;
  const { code, stdout, stderr } = await verify(typed(), input);
  assert.equal(code, 2);
  assert.match(stderr, /checksum/);
  assert.ok(!(stdout + stderr).includes("abandon"));
});

Deno.test("A file of 32 bytes is compared like words", async () => {
  const save = (folder: string) => Deno.writeFile(`${folder}/backup`, FILE);
  assert.equal((await verify(fromFile(), "backup\n", save)).code, 0);
  assert.equal((await verify(typed(), "backup\n", save)).code, 1);
});

Deno.test("Without a pairing, or with an argument, verify says what is wrong", async () => {
  await inFolder(async (cwd) => {
    const unpaired = await run({ args: ["verify"], cwd, input: `${WORDS}\n` });
    assert.equal(unpaired.code, 2);
    assert.match(unpaired.stderr, /No pairing/);
    const argument = await run({ args: ["verify", WORDS], cwd });
    assert.equal(argument.code, 2);
    assert.ok(!argument.stderr.includes("abandon"));
  });
});
