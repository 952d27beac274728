/**
 * An owner who puts an old copy of the card back: the whole path, softkey, line
 * and broker, on this machine.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { openCardStore } from "../../src/device/card_state.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { startNode } from "../support/node.ts";
import { makeBox, startSoftkey } from "../support/softkey.ts";

/** What an owner has to put back for it to pass on the device. */
const MEMORY = ["state.db", "state.db.sum"];
const SECRET = makeSecretFile(new Uint8Array(16).fill(3));

Deno.test("an old copy of the card is refused, by words to both, and the softkey ends", async () => {
  const folder = await Deno.makeTempDir();
  const card = `${folder}/card`;
  const parts = { folder, secret: SECRET, network: NETWORKS.regtest };
  let newest = 0n;
  {
    await using node = await startNode({ folder });
    const box = await makeBox({ ...parts, url: node.url });
    box.start();
    assert.equal((await node.init()).kind, "reply");
    newest = node.book.heads.newest?.generation ?? 0n;
    await box.stop();
  }
  // The first init ties the card to the node: that is a commit.
  assert.equal(newest, 1n);
  for (const name of MEMORY) {
    await Deno.copyFile(`${card}/${name}`, `${folder}/old.${name}`);
  }
  {
    const store = openCardStore(card);
    store.commit([{ key: "later", value: Uint8Array.of(1) }]);
    store.close();
    await using node = await startNode({ folder });
    const box = await makeBox({ ...parts, url: node.url });
    box.start();
    await node.init();
    assert.equal(node.book.heads.newest?.generation, 2n);
    await box.stop();
  }
  for (const name of MEMORY) {
    await Deno.copyFile(`${folder}/old.${name}`, `${card}/${name}`);
  }
  {
    await using node = await startNode({ folder });
    const lightningd = node.init();
    const softkey = await startSoftkey({
      ...parts,
      network: "regtest",
      url: node.url,
      output: "piped",
    });
    const { code, stdout } = await output(softkey);
    assert.equal(code, 2, stdout);
    const words = /card is rolled back: it stands at 1, this node has seen 2; /;
    assert.match(stdout, words);
    assert.match(node.log.join("\n"), words);
    void lightningd;
  }
  await Deno.remove(folder, { recursive: true });
});

async function output(child: Deno.ChildProcess) {
  const stdout = await new Response(child.stdout).text();
  const { code } = await child.status;
  return { code, stdout };
}
