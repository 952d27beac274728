/** MACs and keys of the storage protocol: documented, published, recorded. @module */

import assert from "node:assert/strict";
import { Secret } from "../../src/crypto/secret.ts";
import { hkdf } from "../../src/crypto/hash.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { deriveStorageKey } from "../../src/keyderiv/storage_key.ts";
import {
  decodeFromBroker,
  decodeFromDevice,
  type LssEntry,
} from "../../src/wire/lss.ts";
import {
  authToken,
  lssMac,
  PUT_NONCE,
  sharedSecret,
  STORED_NONCE,
} from "../../src/wire/lss_mac.ts";
import { readSignerSession } from "../support/recording.ts";
import { bytes32, entryOf } from "../support/storage.ts";

const hex = Uint8Array.fromHex;
const KEY = deriveStorageKey(new Secret(bytes32(1)));

Deno.test("the key of a seed is the documented one", () => {
  const walletSeed = hkdf({ ikm: bytes32(1), info: "bip32 seed", length: 32 });
  assert.equal(
    walletSeed.toHex(),
    "69ce8a378bbaef2d48d2ec4f4ff7f63b6e48f6b36e360105276d1d3d345cc2d2",
  );
  assert.equal(
    KEY.secret.reveal().toHex(),
    "fd2b881396a75e0d6388482638de28e28a7c4cb1190cd36f6cd88ed88f71eb74",
  );
  assert.equal(
    KEY.point.toHex(),
    "0203ab01e0ee2be833388d995c321cde19675841c6b28f5a0b116fffcc50b49bf9",
  );
});

Deno.test("both sides of the worked example have one secret, and its MACs", () => {
  const server = new Secret(bytes32(0x11));
  const serverKey = publicKey(server.reveal());
  const shared = sharedSecret(KEY.secret, serverKey);
  assert.ok(shared.equals(sharedSecret(server, KEY.point)));
  assert.equal(
    shared.reveal().toHex(),
    "978f9d58837c99ac131bcf266b6d9928054dba0bb5c59653ee4ad01470ab9e45",
  );
  assert.equal(
    authToken(shared).toHex(),
    "1debb3c9507ee21c232a78c4bd2096bc303eba3ccb79fadde17a0f18ecbdd887",
  );
  const muts = [
    { key: "_WRITER", version: 0n, value: new Uint8Array(16).fill(9) },
    { key: "node/entry/02aa", version: 0n, value: hex("9201a772656774657374") },
  ];
  const mac = (nonce: Uint8Array, entries: readonly LssEntry[]) =>
    lssMac(shared, nonce, entries).toHex();
  assert.equal(
    mac(bytes32(0x20), []),
    "7009c4cdffb2d3706883910a49ce27705f67611e97a7a5058f9479b414116bcc",
  );
  assert.equal(
    mac(bytes32(0x20), muts),
    "ebed3a472aafda721dfa762214769c8b9e34aaf18a1822d3627cdc1d73de5937",
  );
  assert.equal(
    mac(PUT_NONCE, muts),
    "9738ef2a423339749b62fc0c5c22296f68336ff38cb21622f5d9071940f3931c",
  );
  assert.equal(
    mac(STORED_NONCE, muts),
    "aee9635d458b13ce8c773ba49c02d17e3bee4e9b18bcc40f3a4582f0fa5dc6f0",
  );
});

Deno.test("VLS's own vector: foo, bar and baz under a secret of zeros", () => {
  const shared = new Secret(new Uint8Array(32));
  const entries = [
    entryOf("foo", 0, "\x01"),
    entryOf("bar", 0, "\x02"),
    entryOf("baz", 0, "\x03"),
  ];
  assert.match(lssMac(shared, PUT_NONCE, entries).toHex(), /^2e3c1864/);
  assert.match(lssMac(shared, STORED_NONCE, entries).toHex(), /^8fe3d55b/);
});

Deno.test("secret and token of a server whose key is the generator", () => {
  const generator = publicKey(hex("00".repeat(31) + "01"));
  const shared = sharedSecret(KEY.secret, generator);
  assert.equal(
    shared.reveal().toHex(),
    "8798214ed7f6eb318dc5a571150193f47d7d2646ef49a39a66bd569758483cb1",
  );
  assert.equal(
    authToken(shared).toHex(),
    "6c469c8d79fd795b9fc05a57a7b6436af3bb1c70414901c312bb402226e58472",
  );
});

Deno.test("every MAC of the recorded session is ours too", () => {
  let shared = new Secret(new Uint8Array(32));
  let nonce: Uint8Array = new Uint8Array();
  let put: readonly LssEntry[] = [];
  const checked: string[] = [];
  const check = (
    topic: string,
    found: Uint8Array | null,
    over: Uint8Array,
    entries: readonly LssEntry[],
  ) => {
    assert.equal(found?.toHex(), lssMac(shared, over, entries).toHex(), topic);
    checked.push(topic);
  };
  for (const { topic, payload } of readSignerSession()) {
    if (
      topic === "init-1-msg" || topic === "init-2-msg" || topic === "lss-msg"
    ) {
      const message = decodeFromBroker(payload);
      if (message.kind === "Init") {
        shared = sharedSecret(KEY.secret, message.value.serverPubkey);
      } else if (message.kind === "Created") {
        check(topic, message.value.serverHmac, nonce, message.value.muts);
      } else if (message.kind === "Stored") {
        check(topic, message.value.serverHmac, STORED_NONCE, put);
      }
    }
    if (
      topic === "init-1-res" || topic === "init-2-res" || topic === "lss-res"
    ) {
      const message = decodeFromDevice(payload);
      if (message.kind === "Init") {
        assert.equal(message.value.clientId.toHex(), KEY.point.toHex());
        assert.equal(
          message.value.authToken.toHex(),
          authToken(shared).toHex(),
        );
        nonce = message.value.nonce ?? nonce;
      } else if (message.kind !== "PutConflictConfirmed") {
        put = message.value.muts;
        check(topic, message.value.clientHmac, PUT_NONCE, put);
      }
    }
  }
  assert.equal(checked.length, 14);
});
