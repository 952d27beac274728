/**
 * Keys of the node: tables of a stock hsmd, BIP 86's own vectors, and another
 * library's BIP 32.
 *
 * @module
 */

import assert from "node:assert/strict";
import { createBase58check } from "@scure/base";
import { HDKey } from "@scure/bip32";
import fc from "npm:fast-check@4.10.2";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { RequestError } from "../../src/errors.ts";
import {
  deriveNodeIdentity,
  derivePublicChild,
  derivePublicWalletKey,
  openSecretFile,
  parseSecretFile,
} from "../../src/keyderiv.ts";
import {
  deriveMasterKey,
  derivePath,
  encodeExtKey,
  HARDENED,
} from "../../src/keyderiv/bip32.ts";
import {
  deriveNamedSecret,
  deriveNodeKeys,
  deriveWalletKey,
} from "../../src/keyderiv/node.ts";
import { runs } from "../support/arbitrary.ts";
import {
  BASES,
  BIP86,
  FILES,
  NAMED,
  NODE_KEYS,
  PASSPHRASE,
  WALLETS,
} from "./tables.ts";

const base58check = createBase58check((bytes: Uint8Array) => sha256(bytes));

function secretOf(name: keyof typeof NODE_KEYS) {
  const unlock = name === "W1" ? { passphrase: PASSPHRASE } : {};
  return openSecretFile(parseSecretFile(FILES[name]), unlock);
}

const keysOf = (name: keyof typeof NODE_KEYS) => deriveNodeKeys(secretOf(name));

for (const name of ["S1", "L1", "M1", "W1"] as const) {
  Deno.test(`${name} has the stock hsmd's node key`, () => {
    const { node } = keysOf(name);
    const found = [node.secret.reveal().toHex(), node.point.toHex()];
    assert.deepEqual(found, [...NODE_KEYS[name]]);
  });
}

for (const name of ["S1", "M1"] as const) {
  Deno.test(`${name} has the stock hsmd's old wallet and BOLT 12 key`, () => {
    const keys = keysOf(name);
    const wanted = WALLETS[name];
    const first = derivePath(keys.wallet, [1]);
    assert.equal(first.secret.reveal().toHex(), wanted.key1);
    assert.equal(first.point.toHex(), wanted.point1);
    assert.equal(keys.bolt12.secret.reveal().toHex(), wanted.bolt12);
    assert.equal(keys.bolt12.point.toHex(), wanted.bolt12Point);
  });

  Deno.test(`${name} has the stock hsmd's named secrets`, () => {
    const keys = keysOf(name);
    const { derived, channel } = BASES[name];
    assert.equal(keys.derivedBase.reveal().toHex(), derived);
    assert.equal(keys.channelBase.reveal().toHex(), channel);
    for (const [text, wanted] of Object.entries(NAMED[name])) {
      const secret = deriveNamedSecret(keys, new TextEncoder().encode(text));
      assert.equal(secret.reveal().toHex(), wanted, text);
    }
  });

  Deno.test(`${name} announces what an init reply says`, () => {
    const secret = secretOf(name);
    const identity = deriveNodeIdentity(secret, NETWORKS.bitcoin.bip32);
    const wanted = WALLETS[name];
    assert.equal(identity.nodeId.toHex(), NODE_KEYS[name][1]);
    assert.equal(base58check.encode(identity.bip32Base), wanted.base);
    assert.equal(identity.bolt12.toHex(), wanted.bolt12Point);
    const bip86 = identity.bip86Base && base58check.encode(identity.bip86Base);
    assert.equal(bip86, name === "M1" ? BIP86.base : null);
  });

  Deno.test(`${name} has public keys that need no secret`, () => {
    const { bip32Base } = deriveNodeIdentity(
      secretOf(name),
      NETWORKS.regtest.bip32,
    );
    const { point1 } = WALLETS[name];
    assert.equal(derivePublicWalletKey(bip32Base, 1).toHex(), point1);
    assert.equal(derivePublicWalletKey(bip32Base, 1).toHex(), point1);
  });
}

Deno.test("L1 has the test suite's static backup secret", () => {
  const label = new TextEncoder().encode("scb secret");
  const secret = deriveNamedSecret(keysOf("L1"), label);
  assert.equal(secret.reveal().toHex(), NAMED.L1["scb secret"]);
});

Deno.test("a mnemonic has the wallet keys of BIP 86, on every network", () => {
  const secret = secretOf("M1");
  const keys = deriveNodeKeys(secret);
  const { bip86Base } = deriveNodeIdentity(secret, NETWORKS.regtest.bip32);
  assert.ok(bip86Base !== null);
  const chain = derivePublicChild(bip86Base, 0);
  for (const [i, [key, point]] of BIP86.keys.entries()) {
    const found = deriveWalletKey(keys, i);
    assert.equal(found.secret.reveal().toHex(), key);
    assert.equal(found.point.toHex(), point);
    assert.equal(derivePublicWalletKey(chain, i).toHex(), point);
  }
});

Deno.test("a wallet key beyond 2^31 is refused", () => {
  const keys = keysOf("S1");
  const { bip32Base } = deriveNodeIdentity(
    secretOf("S1"),
    NETWORKS.bitcoin.bip32,
  );
  assert.throws(() => deriveWalletKey(keys, HARDENED), RequestError);
  assert.throws(() => derivePublicWalletKey(bip32Base, HARDENED), RequestError);
  assert.throws(() => derivePublicWalletKey(bip32Base, HARDENED), RequestError);
});

Deno.test("forced keys take the place of derived ones", () => {
  const forced = new Uint8Array(32).fill(7);
  const secret = secretOf("M1");
  const plain = deriveNodeKeys(secret);
  const keys = deriveNodeKeys(secret, { nodeKey: forced, bip32Seed: forced });
  assert.ok(keys.node.secret.equals(forced));
  const master = deriveMasterKey(new Secret(forced));
  assert.ok(master !== null);
  assert.deepEqual(
    keys.wallet.point,
    derivePath(master, [0, 0]).point,
  );
  assert.deepEqual(keys.bip86?.base.point, plain.bip86?.base.point);
  assert.ok(keys.channelBase.equals(plain.channelBase));
});

Deno.test("a forced node key out of range is refused", () => {
  const nodeKey = new Uint8Array(32);
  const derive = () => deriveNodeKeys(secretOf("S1"), { nodeKey });
  assert.throws(derive, RequestError);
});

const indexes = fc.array(fc.integer({ min: 0, max: 2 ** 32 - 1 }), {
  maxLength: 4,
});
const seeds = fc.uint8Array({ minLength: 16, maxLength: 64 });

Deno.test("BIP 32 agrees with another library on any path", () => {
  fc.assert(
    fc.property(seeds, indexes, (seed, path) => {
      const master = deriveMasterKey(new Secret(seed));
      assert.ok(master !== null);
      const ours = derivePath(master, path);
      const theirs = path.reduce(
        (key, index) => key.deriveChild(index),
        HDKey.fromMasterSeed(seed),
      );
      assert.deepEqual(ours.secret.reveal(), theirs.privateKey);
      assert.equal(
        base58check.encode(encodeExtKey(ours, 0x0488b21e)),
        theirs.publicExtendedKey,
      );
    }),
    { numRuns: runs(20) },
  );
});

Deno.test("public derivation gives the points of private derivation", () => {
  const index = fc.integer({ min: 0, max: HARDENED - 1 });
  fc.assert(
    fc.property(seeds, index, (seed, at) => {
      const master = deriveMasterKey(new Secret(seed));
      assert.ok(master !== null);
      const child = encodeExtKey(derivePath(master, [at]), 0x0488b21e);
      const parent = encodeExtKey(master, 0x0488b21e);
      assert.deepEqual(derivePublicChild(parent, at), child);
      assert.deepEqual(derivePublicWalletKey(parent, at), child.slice(45));
    }),
    { numRuns: runs(20) },
  );
});
