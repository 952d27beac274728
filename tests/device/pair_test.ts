/**
 * `softkey pair`, and who is served after it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { formatPairingString } from "../../src/mqtt/pairing_string.ts";
import { startNode } from "../support/node.ts";
import { driveSoftkey, inFolder, runSoftkey } from "../support/softkey.ts";

const OTHER_SECRET = new Secret(new Uint8Array(32).fill(9));
const OTHER_KEY = publicKey(OTHER_SECRET.reveal());

/** A card with a seed that no node was paired with. */
async function makeCard(folder: string): Promise<readonly string[]> {
  const key = ["--key-file", `${folder}/key`];
  const { code, err } = await runSoftkey(
    ...["init", "--card", `${folder}/card`, "--network", "regtest", "--yes"],
    ...["--words-file", `${folder}/words`, ...key],
  );
  assert.equal(code, 0, err);
  return ["--card", `${folder}/card`, ...key];
}

const fingerprintIn = (text: string): string =>
  /fingerprint +([0-9a-z]{4}-[0-9a-z]{4})/.exec(text)?.[1] ?? "none";

Deno.test("a person pairs: both sides show one fingerprint, run needs no more options", () =>
  inFolder(async (folder) => {
    const card = await makeCard(folder);
    await using node = await startNode({ folder });
    const init = node.init();
    {
      const args = ["pair", ...card, "--broker", node.url];
      await using terminal = driveSoftkey(...args);
      const screen = await terminal.says("Pair with this node?");
      const shown = fingerprintIn(screen);
      assert.ok(node.log.some((line) => line.includes(shown)), shown);
      await terminal.types("yes");
      await terminal.says("Done: paired");
      assert.equal(await terminal.ends(), 0);
    }
    await using terminal = driveSoftkey("run", ...card);
    assert.equal((await init).kind, "reply");
    await terminal.says("serving");
    await terminal.press("\x03");
    assert.equal(await terminal.ends(), 0);
  }));

Deno.test("no is no, and without anybody to ask it is no too", () =>
  inFolder(async (folder) => {
    const card = await makeCard(folder);
    await using node = await startNode({ folder });
    node.init();
    const args = ["pair", ...card, "--broker", node.url];
    {
      await using terminal = driveSoftkey(...args);
      await terminal.says("Pair with this node?");
      await terminal.types("no");
      await terminal.says("the owner said no");
      assert.equal(await terminal.ends(), 6);
    }
    const alone = await runSoftkey(...args);
    assert.equal(alone.code, 6);
    assert.match(alone.err, /want a terminal, or --yes/);
    const served = await runSoftkey("run", ...card, "--broker", node.url);
    assert.equal(served.code, 6);
    assert.match(served.err, /paired with no node yet, want your consent/);
    const paired = await runSoftkey(...args, "--yes");
    assert.equal(paired.code, 0, paired.err);
  }));

Deno.test("another node at the same address is not served, and both are named", () =>
  inFolder(async (folder) => {
    const card = await makeCard(folder);
    const paired = `${folder}/a`;
    const other = `${folder}/b`;
    await Deno.mkdir(paired);
    await Deno.mkdir(other);
    let port = 0;
    let known = "";
    {
      await using node = await startNode({ folder: paired });
      port = node.port;
      node.init();
      const args = ["pair", ...card, "--broker", node.url, "--yes"];
      known = fingerprintIn((await runSoftkey(...args)).out);
    }
    const linkKey = OTHER_SECRET;
    await using node = await startNode({ folder: other, linkKey, port });
    node.init();
    {
      // Nobody to ask: its own node may come back.
      await using alone = driveSoftkey("run", ...card, "--yes");
      const line = await alone.says("trying again");
      assert.match(line, new RegExp(`want ${known}, the one that this card`));
      await alone.press("\x03");
      assert.equal(await alone.ends(), 0);
    }
    await using terminal = driveSoftkey("run", ...card);
    const question = await terminal.says("Pair with this node?");
    const text = question.replace(/\r?\n/g, " ");
    assert.match(text, new RegExp(`paired with ${known}, at ${node.url}`));
    const found = fingerprintIn(text);
    assert.notEqual(found, known);
    await terminal.types("no");
    // It is asked once, and its own node is waited for.
    await terminal.says("refused; trying again");
    await terminal.says("softkey pair pairs anew");
    await terminal.press("\x03");
    assert.equal(await terminal.ends(), 0);
    assert.ok(!node.log.some((line) => line.startsWith("paired with")));
  }));

Deno.test("a node that has another id is not paired with, and both are named", () =>
  inFolder(async (folder) => {
    const card = await makeCard(folder);
    await using node = await startNode({ folder, nodeId: OTHER_KEY });
    node.init();
    const args = [...card, "--broker", node.url, "--yes"];
    for (const command of ["pair", "run"]) {
      const { code, err } = await runSoftkey(command, ...args);
      assert.equal(code, 7, err);
      assert.match(err, new RegExp(`it is ${OTHER_KEY.toHex()}, this seed is`));
    }
  }));

Deno.test("pairing again takes the place of the node before", () =>
  inFolder(async (folder) => {
    const card = await makeCard(folder);
    const fingerprints: string[] = [];
    for (
      const linkKey of [OTHER_SECRET, new Secret(new Uint8Array(32).fill(8))]
    ) {
      const home = `${folder}/${fingerprints.length}`;
      await Deno.mkdir(home);
      await using node = await startNode({ folder: home, linkKey });
      node.init();
      const paired = await runSoftkey(
        ...["pair", ...card, "--broker", node.url, "--yes"],
      );
      assert.equal(paired.code, 0, paired.err);
      fingerprints.push(fingerprintIn(paired.out));
      const { out } = await runSoftkey("pair", "--list", ...card);
      assert.equal(fingerprintIn(out), fingerprints.at(-1));
    }
    assert.notEqual(fingerprints[0], fingerprints[1]);
  }));

Deno.test("a node elsewhere is met by its pairing string alone", () =>
  inFolder(async (folder) => {
    const card = await makeCard(folder);
    // TEST-NET-1 (RFC 5737): nothing is dialled.
    const url = ["--broker", "mqtt://192.0.2.1:1883"];
    for (const command of ["pair", "run"]) {
      const { code, err } = await runSoftkey(command, ...card, ...url, "--yes");
      assert.equal(code, 6, err);
      assert.match(err, /anybody could answer, want its pairing string/);
    }
  }));

Deno.test("a string that is none, or for another network, is told before a word is said", () =>
  inFolder(async (folder) => {
    const card = await makeCard(folder);
    const string = formatPairingString({
      url: "mqtt://192.0.2.1:1883",
      network: "bitcoin",
      brokerKey: OTHER_KEY,
      code: new Secret(new Uint8Array(16)),
      certHash: null,
    });
    const wrong = await runSoftkey("pair", string, ...card, "--yes");
    assert.equal(wrong.code, 7, wrong.err);
    assert.match(wrong.err, /on bitcoin, want regtest/);
    const typed = await runSoftkey("pair", `${string}Q`, ...card, "--yes");
    assert.equal(typed.code, 2, typed.err);
    assert.match(typed.err, /Cannot read the pairing string: character \d+/);
    const none = await runSoftkey("pair", ...card);
    assert.equal(none.code, 2, none.err);
    assert.match(none.err, /Missing pairing string/);
  }));
