/**
 * The allowlist allows what its entries say: addresses and scripts as they
 * stand, keys of an extended key in their range, payees.
 *
 * BIP 86's own test vector, then bitcoinjs-lib for the other forms.
 *
 * @module
 */

import assert from "node:assert/strict";
import { payments } from "npm:bitcoinjs-lib@7.0.5";
import { decodeAddress } from "../../src/bitcoin/address.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { UsageError } from "../../src/errors.ts";
import {
  derivePublicChild,
  derivePublicWalletKey,
  HARDENED,
} from "../../src/keyderiv/bip32.ts";
import { parseXpub } from "../../src/keyderiv/xpub.ts";
import {
  type Allowlist,
  allowsPayee,
  allowsScript,
  createAllowlist,
} from "../../src/policy/allowlist.ts";

const MAIN = NETWORKS.bitcoin;
/** BIP 86, Test vectors: Account 0. */
const XPUB =
  "xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCECoY49yfdDEHGCtMMj92pReUsQ";
const BIP86: Readonly<Record<string, string>> = {
  "0/0": "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr",
  "0/1": "bc1p4qhjn9zdvkux4e44uhx8tc55attvtyu358kutcqkudyccelu0was9fqzwh",
  "1/0": "bc1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqwruhk7",
};
/** BIP 32, Test vector 1, chain m: a private key. */
const XPRV =
  "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi";
/** The same vector's public key, for another network. */
const TPUB =
  "tpubD6NzVbkrYhZ4XgiXtGrdW5XDAPFCL9h7we1vwNCpn8tGbBcgfVYjXyhWo4E1xkh56hjod1RhGjxbaTLV3X4FyWuejifB9jusQ46QzG87VKp";
const NODE =
  "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";

const list = (...entries: string[]): Allowlist =>
  createAllowlist(entries, MAIN);
const script = (address: string) => decodeAddress(address, MAIN);

/** The key at a path below the vector's account. */
function keyAt(branch: number, index: number): Uint8Array {
  const account = parseXpub(XPUB, MAIN);
  return derivePublicWalletKey(derivePublicChild(account, branch), index);
}

function p2wpkhAt(branch: number, index: number): Uint8Array {
  const { output } = payments.p2wpkh({ pubkey: keyAt(branch, index) });
  return output ?? assert.fail("no script");
}

Deno.test("An empty list allows nothing", () => {
  const empty = list();
  for (const address of Object.values(BIP86)) {
    assert.equal(allowsScript(empty, script(address), [0, 0]), false);
  }
  assert.equal(allowsPayee(empty, Uint8Array.fromHex(NODE)), false);
});

Deno.test("An address stands for its script, with and without its kind", () => {
  const [address = "", other = ""] = Object.values(BIP86);
  for (const entry of [address, `address:${address}`, ` ${address} # mine`]) {
    assert.equal(allowsScript(list(entry), script(address)), true, entry);
    assert.equal(allowsScript(list(entry), script(other)), false, entry);
  }
});

Deno.test("A script stands for itself", () => {
  const allowlist = list("script:6A0401020304");
  const allowed = Uint8Array.fromHex("6a0401020304");
  assert.equal(allowsScript(allowlist, allowed), true);
  assert.equal(allowsScript(allowlist, allowed.subarray(0, 5)), false);
});

Deno.test("Blank lines and comments mean nothing, and are not kept", () => {
  const allowlist = list("", "  ", "# all mine", `payee:${NODE} # shop`);
  assert.deepEqual(allowlist.entries, [`payee:${NODE}`]);
});

Deno.test("An extended key allows the addresses of BIP 86's vector", () => {
  const allowlist = list(`xpub:${XPUB}`);
  for (const [path, address] of Object.entries(BIP86)) {
    assert.equal(allowsScript(allowlist, script(address)), true, path);
  }
});

Deno.test("An extended key allows each form of script of its keys", () => {
  const pubkey = keyAt(0, 7);
  const forms = [
    payments.p2wpkh({ pubkey }),
    payments.p2pkh({ pubkey }),
    payments.p2sh({ redeem: payments.p2wpkh({ pubkey }) }),
  ];
  const allowlist = list(`xpub:${XPUB}/0/7`);
  const other = list(`xpub:${XPUB}/0/8`);
  for (const { output } of forms) {
    assert.ok(output);
    assert.equal(allowsScript(allowlist, output), true);
    assert.equal(allowsScript(other, output), false);
  }
});

Deno.test("A range starts and ends where it says", () => {
  const allowlist = list(`xpub:${XPUB}/0/5-20`);
  const cases = [[4, false], [5, true], [20, true], [21, false]] as const;
  for (const [index, isAllowed] of cases) {
    const found = allowsScript(allowlist, p2wpkhAt(0, index));
    assert.equal(found, isAllowed, String(index));
    // A path of an output does not widen a range that the owner wrote.
    const named = allowsScript(allowlist, p2wpkhAt(0, index), [0, index]);
    assert.equal(named, isAllowed, String(index));
  }
  assert.equal(allowsScript(allowlist, p2wpkhAt(1, 5), [1, 5]), false);
});

Deno.test("Without a range it is 0 to 999 of two branches, or a named path", () => {
  const allowlist = list(`xpub:${XPUB}`);
  const cases = [
    [0, 999, true],
    [0, 1000, false],
    [1, 999, true],
    [1, 1000, false],
    [2, 0, false],
  ] as const;
  for (const [branch, index, isAllowed] of cases) {
    const at = p2wpkhAt(branch, index);
    assert.equal(allowsScript(allowlist, at), isAllowed);
    assert.equal(allowsScript(allowlist, at, [branch, index]), true);
    assert.equal(allowsScript(allowlist, at, [branch, index + 1]), isAllowed);
    assert.equal(allowsScript(allowlist, at, []), isAllowed);
  }
});

Deno.test("An open range takes a named index of its branch only", () => {
  const allowlist = list(`xpub:${XPUB}/0/*`);
  assert.equal(allowsScript(allowlist, p2wpkhAt(0, 999)), true);
  assert.equal(allowsScript(allowlist, p2wpkhAt(0, 5000)), false);
  assert.equal(allowsScript(allowlist, p2wpkhAt(0, 5000), [0, 5000]), true);
  assert.equal(allowsScript(allowlist, p2wpkhAt(1, 0), [1, 0]), false);
});

Deno.test("A path that cannot be followed allows nothing and throws nothing", () => {
  const allowlist = list(`xpub:${XPUB}`);
  const paths = [[HARDENED], [0, HARDENED + 1], Array(300).fill(0), [0]];
  for (const path of paths) {
    assert.equal(allowsScript(allowlist, p2wpkhAt(2, 0), path), false);
  }
  assert.equal(allowsScript(allowlist, Uint8Array.of(0x6a), [0, 0]), false);
  assert.equal(allowsScript(allowlist, new Uint8Array(), [0, 0]), false);
});

Deno.test("A payee is allowed by key and allows no script", () => {
  const allowlist = list(`payee:${NODE.toUpperCase()}`);
  const key = Uint8Array.fromHex(NODE);
  assert.equal(allowsPayee(allowlist, key), true);
  assert.equal(allowsPayee(allowlist, keyAt(0, 0)), false);
  assert.equal(allowsScript(allowlist, key), false);
});

const REFUSED: readonly (readonly [entry: string, problem: RegExp])[] = [
  ["nonsense", /Cannot read address: /],
  [`shop:${NODE}`, /unknown kind shop, want address, script, xpub or payee/],
  ["tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", /another network's/],
  ["script:", /not in hex/],
  ["script:6a0", /not in hex/],
  [`script:${"00".repeat(10_001)}`, /10001 bytes, want 10000 or fewer/],
  ["payee:02", /want a compressed point/],
  [`payee:${"ff".repeat(33)}`, /want a compressed point/],
  [`xpub:${TPUB}`, /version 043587cf, want 0488b21e \(xpub\) for bitcoin/],
  [`xpub:${XPRV}`, /version 0488ade4, want 0488b21e/],
  [`xpub:${XPUB}1`, /wrong letters or checksum/],
  [`xpub:${"1".repeat(113)}`, /113 letters, want 112 or fewer/],
  [`xpub:${BIP86["0/0"]}`, /wrong letters or checksum/],
  [`xpub:${XPUB}/`, /no index/],
  [`xpub:${XPUB}/0'/5`, /no index/],
  [`xpub:${XPUB}/2147483648`, /no index/],
  [`xpub:${XPUB}/*/5`, /no index/],
  [`xpub:${XPUB}/0/9-5`, /the range is not of use/],
  [`xpub:${XPUB}/0/1-2-3`, /the range is not of use/],
  [`xpub:${XPUB}/0/0-10000`, /at most 10000 keys/],
  [`xpub:${XPUB}/1/2/3/4/5/6/7/8/9`, /path of 9 steps, want 8 or fewer/],
];

for (const [entry, problem] of REFUSED) {
  Deno.test(`Entry ${entry.slice(0, 30)} is refused: ${problem.source}`, () => {
    assert.throws(() => list("# mine", entry), (error: Error) => {
      assert.ok(error instanceof UsageError);
      assert.match(error.message, /^Cannot use line 2 of the allowlist: /);
      assert.match(error.message, problem);
      return true;
    });
  });
}

Deno.test("A private key that was entered by mistake is not repeated", () => {
  for (
    const entry of [`xpub:${XPRV}`, XPRV, `payee:${XPRV}`, `xpub:x${XPRV}`]
  ) {
    assert.throws(
      () => list(entry),
      ({ message }: Error) => !message.includes(XPRV.slice(0, 12)),
    );
  }
});
