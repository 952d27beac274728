/**
 * A recorded node on the whole path, with the broker's own certificate between
 * it and a softkey that knows its hash.
 *
 * @module
 */

import assert from "node:assert/strict";
import { sha256 } from "../../src/crypto/hash.ts";
import { certificateIn } from "../../src/mqtt/pem.ts";
import {
  newOutcome,
  playLife,
  readRecording,
  RECORDINGS,
} from "../support/recording.ts";
import { RunningBroker } from "../support/rig.ts";
import { makeBox } from "../support/softkey.ts";
import { lifeNetwork } from "../support/whole_path.ts";

for (const scheme of ["mqtts", "wss"]) {
  Deno.test(`A recorded node plays over ${scheme} with a pinned certificate`, async () => {
    const path = new URL("flows/signmessage-node2.jsonl.gz", RECORDINGS);
    const { lives: [life] } = await readRecording(path);
    assert.ok(life);
    const outcome = newOutcome();
    await using cleanUp = new AsyncDisposableStack();
    const folder = await Deno.makeTempDir();
    cleanUp.defer(() => Deno.remove(folder, { recursive: true }));
    const broker = cleanUp.use(
      await RunningBroker.start({
        folder,
        env: {
          REMOTE_HSMD_TLS_CERT: "self-signed",
          REMOTE_HSMD_WS_LISTEN: "127.0.0.1:0",
        },
      }),
    );
    const [, address = ""] = await broker.logged(
      new RegExp(`devices on ${scheme}://(\\S+)`),
    );
    const pem = await Deno.readTextFile(`${folder}/remote_hsmd/tls_cert.pem`);
    const certHash = sha256(certificateIn(pem)?.raw ?? new Uint8Array(0));
    const box = await makeBox({
      folder,
      url: `${scheme}://${address}`,
      secret: life.secret,
      network: lifeNetwork(life),
      access: { certHash },
    });
    box.start();
    cleanUp.defer(() => box.stop());
    await playLife(life, broker.standin, outcome);
    broker.standin.close();
    await broker.standin.exit;
    assert.deepEqual(outcome.differences, []);
    assert.equal(outcome.identical, outcome.requests);
    assert.ok(outcome.requests > 50);
  });
}
