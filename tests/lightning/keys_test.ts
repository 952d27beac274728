/**
 * Keys of one commitment: BOLT 3 appendix E, and a stock hsmd's.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { asPubKey, keyPairOf } from "../../src/bitcoin/keys.ts";
import { Secret } from "../../src/crypto/secret.ts";
import {
  deriveOurPublicKey,
  deriveOurRevocationPublicKey,
  derivePrivateKey,
  derivePublicKey,
  deriveRevocationPrivateKey,
  deriveRevocationPublicKey,
  deriveTheirRevocationPublicKey,
} from "../../src/lightning/keys.ts";
import { CHANNELS } from "../keyderiv/tables.ts";
import { runs } from "../support/arbitrary.ts";

const pair = (hex: string) => keyPairOf(new Secret(Uint8Array.fromHex(hex)));

const base = pair(
  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
);
const commitment = pair(
  "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100",
);

Deno.test("BOLT 3 appendix E, localpubkey and localprivkey", () => {
  assert.equal(
    derivePublicKey(base.point, commitment.point).toHex(),
    "0235f2dbfaa89b57ec7b055afe29849ef7ddfeb1cefdb9ebdc43f5494984db29e5",
  );
  assert.equal(
    derivePrivateKey(base, commitment.point).reveal().toHex(),
    "cbced912d3b21bf196a766651e436aff192362621ce317704ea2f75d87e7be0f",
  );
});

Deno.test("BOLT 3 appendix E, revocationpubkey and revocationprivkey", () => {
  assert.equal(
    deriveRevocationPublicKey(base.point, commitment.point).toHex(),
    "02916e326636d19c33f13e8c0c3a03dd157f332f3e99c317c141dd865eb01f8ff0",
  );
  assert.equal(
    deriveRevocationPrivateKey(base, commitment).reveal().toHex(),
    "d09ffff62ddb2297ab000cc85bcb4283fdeb6aa052affbc9dddcf33b61078110",
  );
});

Deno.test("BOLT 3 appendix E, public keys where one secret is known", () => {
  assert.equal(
    deriveOurPublicKey(base, commitment.point).toHex(),
    "0235f2dbfaa89b57ec7b055afe29849ef7ddfeb1cefdb9ebdc43f5494984db29e5",
  );
  for (
    const revocation of [
      deriveOurRevocationPublicKey(base.point, commitment),
      deriveTheirRevocationPublicKey(base, commitment.point),
    ]
  ) {
    assert.equal(
      revocation.toHex(),
      "02916e326636d19c33f13e8c0c3a03dd157f332f3e99c317c141dd865eb01f8ff0",
    );
  }
});

Deno.test("a known secret changes how a public key is derived, not which", () => {
  const keys = fc.uint8Array({ minLength: 32, maxLength: 32 })
    .map((bytes) => keyPairOf(new Secret(bytes.with(0, 0).with(31, 1))));
  fc.assert(
    fc.property(keys, keys, (base, commitment) => {
      const key = derivePublicKey(base.point, commitment.point);
      assert.deepEqual(deriveOurPublicKey(base, commitment.point), key);
      const revocation = deriveRevocationPublicKey(
        base.point,
        commitment.point,
      );
      assert.deepEqual(
        deriveOurRevocationPublicKey(base.point, commitment),
        revocation,
      );
      assert.deepEqual(
        deriveTheirRevocationPublicKey(base, commitment.point),
        revocation,
      );
    }),
    { numRuns: runs(25) },
  );
});

Deno.test("a channel's keys for a peer's commitment are the stock hsmd's", () => {
  const theirs = pair("22".repeat(32));
  const { htlc, revocation, payment } = CHANNELS.S1;
  assert.equal(
    derivePrivateKey(pair(htlc[0]), theirs.point).reveal().toHex(),
    "78392dcc017a91b0c3eda63cfe4b0c14fe758ee33cafe2f615e99d47b75b2216",
  );
  assert.equal(
    deriveRevocationPrivateKey(pair(revocation[0]), theirs).reveal().toHex(),
    "cb63febd44677e6f760375bebafeefb52250fc96476616305cfb3f714d5ebf73",
  );
  assert.equal(
    derivePrivateKey(pair(payment[0]), theirs.point).reveal().toHex(),
    "22bf5c048ca1442e5e0a02f5aa48781d92291603804f8edcce5eec34e50e99a9",
  );
});

Deno.test("a channel's key for its own commitment is the stock hsmd's", () => {
  const point = asPubKey(Uint8Array.fromHex(
    "023aca65f564de5ae1b2e57e33ab39180f9b7b826086d5dcf54e6e9461fa14bb71",
  ));
  assert.equal(
    derivePrivateKey(pair(CHANNELS.S1.delayedPayment[0]), point).reveal()
      .toHex(),
    "1bce1f3ab5db46c49715b579ec5424cd2a992cf93ca38b4fe865511c3188c0e7",
  );
});
