/**
 * The light of a softkey as its node hears of it: an alarm from before the
 * connection too.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { EmbeddedServer } from "../../src/mqtt/embedded.ts";
import { makeBox } from "../support/softkey.ts";

const SECRET = makeSecretFile(new Uint8Array(16).fill(3));

Deno.test("a node that a softkey comes to is told what its light shows", async () => {
  const folder = await Deno.makeTempDir();
  const told = Promise.withResolvers<string>();
  try {
    await using server = await EmbeddedServer.start({
      login: ({ username }) => ({ key: Uint8Array.fromHex(username) }),
      message: (_session, name, payload) => {
        if (name === "led") told.resolve(new TextDecoder().decode(payload));
      },
      gone: () => {},
      refused: (_from, reason) => told.reject(new Error(reason)),
    });
    const { port } = await server.listenTcp({ hostname: "127.0.0.1", port: 0 });
    const url = `mqtt://127.0.0.1:${port}`;
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
