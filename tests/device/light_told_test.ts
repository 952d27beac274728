/**
 * The light of a softkey as its node hears of it: an alarm from before the
 * connection too.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { startBareNode } from "../support/bare_node.ts";
import { makeBox } from "../support/softkey.ts";

const SECRET = makeSecretFile(new Uint8Array(16).fill(3));

Deno.test("a node that a softkey comes to is told what its light shows", async () => {
  const folder = await Deno.makeTempDir();
  const told = Promise.withResolvers<string>();
  try {
    await using node = await startBareNode({
      heard: (name, payload) => {
        if (name === "led") told.resolve(new TextDecoder().decode(payload));
      },
    });
    const { url } = node;
    const network = NETWORKS.regtest;
    const box = await makeBox({ folder, url, secret: SECRET, network });
    box.tellLed("alarm");
    box.start();
    assert.equal(await told.promise, "alarm");
    await box.stop();
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
