/**
 * The recorded session of a Sphinx signer, from the device's side: whatever the
 * storage has to say is byte for byte what its own broker said.
 *
 * @module
 */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import { deriveStorageKey } from "../../src/keyderiv/storage_key.ts";
import { sharedSecret } from "../../src/wire/lss_mac.ts";
import { nameIn } from "../../src/mqtt/topics.ts";
import { readSignerSession } from "../support/recording.ts";
import { bytes32, withStorage } from "../support/storage.ts";
import { Talk } from "../support/storage_talk.ts";

const SERVER_KEY = Uint8Array.fromHex(
  "02466d7fcae563e5cb09a0d1870bb580344804617879a14949cf22285f1bae3f27",
);
/** The recorded server's private key is not known; the device's is. */
const SHARED = sharedSecret(
  deriveStorageKey(new Secret(bytes32(1))).secret,
  SERVER_KEY,
);
const RECORDED_SERVER = { publicKey: SERVER_KEY, sharedWith: () => SHARED };

const FROM_BROKER = ["init-1-msg", "init-2-msg", "lss-msg"];
const FROM_DEVICE = ["init-1-res", "init-2-res", "lss-res"];

Deno.test("the recorded session is answered byte for byte", () =>
  withStorage(async (storage) => {
    const talk = new Talk(storage);
    let compared = 0;
    for (const { topic, payload } of readSignerSession()) {
      if (topic === "hello") talk.session.start();
      if (topic === "init-3-msg") await talk.said("synced");
      const name = nameIn(`d1/${topic}`, "d1", "fromDevice");
      if (name !== null && FROM_DEVICE.includes(name)) {
        talk.session.take(name, payload);
      }
      if (!FROM_BROKER.includes(topic)) continue;
      const found = await talk.sentBytes(topic);
      assert.equal(found.toHex(), payload.toHex(), topic);
      compared += 1;
    }
    assert.equal(compared, 8);
    assert.deepEqual(talk.left, []);
    assert.equal(storage.revision, 7);
    assert.equal(talk.session.revision, 7);
    talk.session.end();
  }, RECORDED_SERVER));
