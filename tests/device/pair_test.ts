/**
 * `softkey pair`, and who is served after it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { publicKey } from "../../src/crypto/secp.ts";
import { startNode } from "../support/node.ts";
import { driveSoftkey, inFolder, runSoftkey } from "../support/softkey.ts";

const OTHER_KEY = publicKey(new Uint8Array(32).fill(9));

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
    const linkKey = OTHER_KEY;
    await using node = await startNode({ folder: other, linkKey, port });
    node.init();
    const { code, err } = await runSoftkey("run", ...card);
    assert.equal(code, 6, err);
    assert.match(err, new RegExp(`paired with ${known}, at ${node.url}`));
    const found = fingerprintIn(err);
    assert.notEqual(found, known);
    assert.ok(node.log.some((line) => line.includes(found)), found);
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
