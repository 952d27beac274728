/**
 * Addresses: BIP 173 and BIP 350, Bitcoin Core's key_io_valid.json, and what
 * bitcoinjs-lib makes of random scripts.
 *
 * @module
 */

import assert from "node:assert/strict";
import { bech32, bech32m, createBase58check } from "npm:@scure/base@2.4.0";
import * as bitcoinjs from "npm:bitcoinjs-lib@7.0.5";
import fc from "npm:fast-check@4.10.2";
import * as ecc from "npm:tiny-secp256k1@2.2.4";
import { decodeAddress, encodeAddress } from "../../src/bitcoin/address.ts";
import {
  decodeBech32,
  encodeBech32,
  toBytes,
  toWords,
} from "../../src/bitcoin/bech32.ts";
import {
  type Network,
  type NetworkName,
  NETWORKS,
} from "../../src/bitcoin/networks.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { publicKey } from "../../src/crypto/secp.ts";

bitcoinjs.initEccLib(ecc);

/** Bitcoin Core, src/test/data/key_io_valid.json, a part of it. */
const CORE: readonly (readonly [NetworkName, string, string])[] = [
  [
    "bitcoin",
    "1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2mo",
    "76a914a31c06bd463e3923bc1aadbde48b16976c08071788ac",
  ],
  [
    "bitcoin",
    "36j4NfKv6Akva9amjWrLG6MuSQym1GuEmm",
    "a914373b819a068f32b7a6b38b6b38729647cfde01c287",
  ],
  [
    "testnet4",
    "mzK2FFDEhxqHcmrJw1ysqFkVyhUULo45hZ",
    "76a914ce28b26c57472737f5c3561a1761185bd8589a4388ac",
  ],
  [
    "testnet4",
    "2NC2hEhe28ULKAJkW5MjZ3jtTMJdvXmByvK",
    "a914ce0bba75891ff9ec60148d4bd4a09ee2dc5c933187",
  ],
  [
    "signet",
    "mww4LvqtTMKvmeQvizPz2EQv26xTneWrbg",
    "76a914b4110ba93ac54afc14da3bdd19614774a2d55d2988ac",
  ],
  [
    "signet",
    "2N1r7aC69VHeE7yQJPDLi9T1PYq4wnwvjuT",
    "a9145e5a35ab44b3efaea5129ba22b88ba3e2976614587",
  ],
  [
    "regtest",
    "n4fajahJrAuKbN7uNsKjLjQkz9Qn5ewJXQ",
    "76a914fdeca3b08e38af53d7c4c60e3ad208ce5066441088ac",
  ],
  [
    "regtest",
    "2MxFajLApXpYk4VodBSZSt7rw8y4ryABkfA",
    "a91436e9f191e0b75036a77f65e2eaa4752443233fbe87",
  ],
  [
    "bitcoin",
    "bc1qvyq0cc6rahyvsazfdje0twl7ez82ndmuac2lhv",
    "00146100fc6343edc8c874496cb2f5bbfec88ea9b77c",
  ],
  [
    "bitcoin",
    "bc1qyucykdlhp62tezs0hagqury402qwhk589q80tqs5myh3rxq34nwqhkdhv7",
    "002027304b37f70e94bc8a0fbf500e0c957a80ebda87280ef58214d92f119811acdc",
  ],
  [
    "bitcoin",
    "bc1p83n3au0rjylefxq2nc2xh2y4jzz4pm6zxj4mw5pagdjjr2a9f36s6jjnnu",
    "51203c671ef1e3913f94980a9e146ba895908550ef4234abb7503d436521aba54c75",
  ],
  ["bitcoin", "bc1z2rksukkjr8", "520250ed"],
  [
    "testnet4",
    "tb1qcrh3yqn4nlleplcez2yndq2ry8h9ncg3qh7n54",
    "0014c0ef1202759fff90ff19128936814321ee59e111",
  ],
  [
    "testnet4",
    "tb1rgv5m6uvdk3kc7qsuz0c79v88ycr5w4wa",
    "53104329bd718db46d8f021c13f1e2b0e726",
  ],
  [
    "signet",
    "tb1pae5um27ahn8n73pgexe3kcwlp8dhswpn684h2k2w6t9a7w3eq65qephd5y",
    "5120ee69cdabddbccf3f4428c9b31b61df09db783833d1eb75594ed2cbdf3a3906a8",
  ],
  [
    "regtest",
    "bcrt1qdavt4j2sd7dlhqsavtnfxvzppw6k7qy97tmnu9",
    "00146f58bac9506f9bfb821d62e69330410bb56f0085",
  ],
  [
    "regtest",
    "bcrt1pfwxjqvtt4tcxrtdluukfmy2dv7xd2qzdfy6kajv5nwn4yam3wxkq3553uh",
    "51204b8d20316baaf061adbfe72c9d914d678cd5004d49356ec9949ba752777171ac",
  ],
  [
    "regtest",
    "bcrt1sx6p8njlx7h9mc2agz4yg82dzne23050ncq72cneeecez2pst8mahn8xecsf8g6hzx94420",
    "6028368279cbe6f5cbbc2ba8154883a9a29e5517d1f3c03cac4f39ce3225060b3efb799cd9c412746ae2",
  ],
];

/** BIP 350, "Test vectors for v0-v16 native segregated witness addresses". */
const BIP350: readonly (readonly [string, string])[] = [
  [
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
    "0014751e76e8199196d454941c45d1b3a323f1433bd6",
  ],
  [
    "tb1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3q0sl5k7",
    "00201863143c14c5166804bd19203356da136c985678cd4d27a1b8c6329604903262",
  ],
  [
    "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
    "5128751e76e8199196d454941c45d1b3a323f1433bd6751e76e8199196d454941c45d1b3a323f1433bd6",
  ],
  ["BC1SW50QGDZ25J", "6002751e"],
  [
    "bc1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",
    "5210751e76e8199196d454941c45d1b3a323",
  ],
  [
    "tb1qqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesrxh6hy",
    "0020000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
  ],
  [
    "tb1pqqqqp399et2xygdj5xreqhjjvcmzhxw4aywxecjdzew6hylgvsesf3hn0c",
    "5120000000c4a5cad46221b2a187905e5266362b99d5e91c6ce24d165dab93e86433",
  ],
  [
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
    "512079be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
  ],
];

/** BIP 350, the invalid ones, and what we say of each. */
const BIP350_INVALID: readonly (readonly [string, RegExp])[] = [
  [
    "tc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq5zuyut",
    /62 letters of no known form, want tb1 or base58$/,
  ],
  [
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqh2y7hd",
    /checksum of bech32 for version 1, want bech32m/,
  ],
  [
    "tb1z0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqglt7rf",
    /checksum of bech32 for version 2, want bech32m/,
  ],
  [
    "BC1S0XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ54WELL",
    /checksum of bech32 for version 16, want bech32m/,
  ],
  [
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kemeawh",
    /checksum of bech32m for version 0, want bech32$/,
  ],
  [
    "tb1q0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq24jc47",
    /checksum of bech32m for version 0, want bech32$/,
  ],
  [
    "bc1p38j9r5y49hruaue7wxjce0updqjuyyx0kh56v8s25huc6995vvpql3jow4",
    /letters that are not/,
  ],
  [
    "BC130XLXVLHEMJA6C4DQV22UAPCTQUPFHLXM9H8Z3K2E72Q4K9HCZ7VQ7ZWS8R",
    /witness version 17, want 0 to 16/,
  ],
  ["bc1pw5dgrnzv", /program of 1 bytes, want 2 to 40/],
  [
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v8n0nx0muaewav253zgeav",
    /program of 41 bytes, want 2 to 40/,
  ],
  [
    "BC1QR508D6QEJXTDG4Y5R3ZARVARYV98GJ9P",
    /program of 16 bytes, want 20 or 32/,
  ],
  [
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vq47Zagq",
    /letters that are not/,
  ],
  [
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7v07qwwzcrf",
    /bits left over/,
  ],
  [
    "tb1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vpggkg4j",
    /bits left over/,
  ],
  ["bc1gmk9yu", /no witness version/],
];

/** Strings of BIP 173 and BIP 350 with their kind. */
const VALID_STRINGS: readonly (readonly ["bech32" | "bech32m", string])[] = [
  ["bech32", "A12UEL5L"],
  ["bech32", "a12uel5l"],
  ["bech32", "abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"],
  ["bech32", "split1checkupstagehandshakeupstreamerranterredcaperred2y9e3w"],
  ["bech32", "?1ezyfcl"],
  ["bech32m", "A1LQFN3A"],
  ["bech32m", "a1lqfn3a"],
  [
    "bech32m",
    "an83characterlonghumanreadablepartthatcontainsthetheexcludedcharactersbioandnumber11sg7hg6",
  ],
  ["bech32m", "abcdef1l7aum6echk45nj3s0wdvt2fg8x9yrzpqzd3ryx"],
  [
    "bech32m",
    "11llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllludsr8",
  ],
  ["bech32m", "split1checkupstagehandshakeupstreamerranterredcaperredlc445v"],
  ["bech32m", "?1v759aa"],
];

const INVALID_STRINGS: readonly string[] = [
  " 1xj0phk",
  "\x7f1g6xzxy",
  "\x801vctc34",
  "qyrz8wqd2c9m",
  "1qyrz8wqd2c9m",
  "y1b0jsk6g",
  "lt1igcx5c0",
  "in1muywd",
  "mm1crxm3i",
  "au1s5cgom",
  "16plkw9",
  "1p2gdwpf",
  // the Kelvin sign is in upper case and has an ASCII letter in lower case
  "\u212a1LQFN3A",
];

const LETTERS =
  "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz0lIO ";

const base58check = createBase58check(sha256);

const isMain = (address: string) => /^bc/i.test(address);
const networkFor = (address: string): Network =>
  isMain(address) ? NETWORKS.bitcoin : NETWORKS.testnet;

Deno.test("BIP 173 and BIP 350, strings and their checksums", () => {
  for (const [kind, text] of VALID_STRINGS) {
    const found = decodeBech32(text);
    assert.equal(found?.kind, kind, text);
    const again = encodeBech32(found.prefix, found.words, kind);
    assert.equal(again, text.toLowerCase());
  }
  for (const text of INVALID_STRINGS) assert.equal(decodeBech32(text), null);
  // checksum made with the prefix in upper case
  assert.equal(decodeBech32("M1VUXWEZ")?.kind, null);
});

Deno.test("BIP 350, valid addresses and their scripts", () => {
  for (const [address, script] of BIP350) {
    const network = networkFor(address);
    assert.equal(decodeAddress(address, network).toHex(), script, address);
    const again = encodeAddress(Uint8Array.fromHex(script), network);
    assert.equal(again, address.toLowerCase());
  }
});

Deno.test("BIP 350, invalid addresses and what is wrong with each", () => {
  for (const [address, wanted] of BIP350_INVALID) {
    assert.throws(
      () => decodeAddress(address, networkFor(address)),
      (error) => {
        assert.ok(error instanceof RangeError);
        assert.match(error.message, /^Cannot read address: .*, want /);
        assert.match(error.message, wanted, address);
        return true;
      },
    );
  }
});

Deno.test("Bitcoin Core's addresses and scripts, on their networks", () => {
  for (const [name, address, script] of CORE) {
    const network = NETWORKS[name];
    assert.equal(decodeAddress(address, network).toHex(), script, address);
    assert.equal(encodeAddress(Uint8Array.fromHex(script), network), address);
  }
});

Deno.test("an address of another network is told as such", () => {
  for (const [name, address] of CORE) {
    const others = name === "bitcoin"
      ? [NETWORKS.testnet, NETWORKS.signet, NETWORKS.regtest]
      : [NETWORKS.bitcoin];
    for (const network of others) {
      assert.throws(
        () => decodeAddress(address, network),
        new RegExp(`another network's, want one of ${network.name}$`),
      );
    }
  }
  assert.throws(
    () =>
      decodeAddress(
        "bcrt1qdavt4j2sd7dlhqsavtnfxvzppw6k7qy97tmnu9",
        NETWORKS.signet,
      ),
    /another network's, want one of signet$/,
  );
});

Deno.test("base58 that is no address is refused with its reason", () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["", /0 bytes, want 25/],
    [base58check.encode(new Uint8Array(20)), /24 bytes, want 25/],
    [base58check.encode(new Uint8Array(22)), /26 bytes, want 25/],
    ["1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2mp", /wrong checksum/],
    [
      "1FsSia9rv4NeEwvJ2GvXrX7LyxYspbN2m0",
      /34 letters of no known form, want bc1 or base58$/,
    ],
    [
      base58check.encode(Uint8Array.of(48, ...new Uint8Array(20))),
      /version 48, want 0 or 5$/,
    ],
    ["1".repeat(36), /36 letters of no known form/],
    ["1".repeat(0x10000), /65536 letters of no known form/],
  ];
  for (const [text, wanted] of cases) {
    assert.throws(() => decodeAddress(text, NETWORKS.bitcoin), wanted);
  }
});

Deno.test("a longer text than BIP 173 allows is refused for that", () => {
  const words = Uint8Array.of(1, ...toWords(new Uint8Array(60)));
  assert.throws(
    () => decodeAddress(encodeBech32("bc", words, "bech32m"), NETWORKS.bitcoin),
    /106 letters, want 90 or fewer$/,
  );
});

Deno.test("scripts without an address have none", () => {
  const scripts = [
    "",
    "6a0401020304",
    "00", // no program
    "0015" + "00".repeat(21), // version 0 has 20 or 32 bytes
    "5101aa",
    "5129" + "00".repeat(41),
    "5120" + "00".repeat(31),
    "5120" + "00".repeat(33),
    "4f0200aa", // OP_1NEGATE
    "610200aa", // OP_NOP, after OP_16
    "76a915" + "00".repeat(21) + "88ac",
    "a914" + "00".repeat(20) + "88",
  ];
  for (const script of scripts) {
    const found = encodeAddress(Uint8Array.fromHex(script), NETWORKS.regtest);
    assert.equal(found, null, script);
  }
});

const bytes = (size: number) =>
  fc.uint8Array({ minLength: size, maxLength: size });

/** Standard scripts; a taproot key is one that exists. */
const scripts = fc.oneof(
  bytes(20).map((hash) => `76a914${hash.toHex()}88ac`),
  bytes(20).map((hash) => `a914${hash.toHex()}87`),
  bytes(20).map((hash) => `0014${hash.toHex()}`),
  bytes(32).map((hash) => `0020${hash.toHex()}`),
  fc.bigInt(1n, 2n ** 200n).map((key) => {
    const secret = Uint8Array.fromHex(key.toString(16).padStart(64, "0"));
    return `5120${publicKey(secret).subarray(1).toHex()}`;
  }),
);

Deno.test("bitcoinjs-lib makes and reads the same addresses", () => {
  const networks = [
    [NETWORKS.bitcoin, bitcoinjs.networks.bitcoin],
    [NETWORKS.testnet, bitcoinjs.networks.testnet],
    [NETWORKS.regtest, bitcoinjs.networks.regtest],
  ] as const;
  fc.assert(
    fc.property(
      scripts,
      fc.constantFrom(...networks),
      (hex, [ours, theirs]) => {
        const script = Uint8Array.fromHex(hex);
        const address = encodeAddress(script, ours) ?? "none";
        assert.equal(
          address,
          bitcoinjs.address.fromOutputScript(script, theirs),
        );
        assert.equal(decodeAddress(address, ours).toHex(), hex);
        const read = bitcoinjs.address.toOutputScript(address, theirs);
        assert.equal(read.toHex(), hex);
      },
    ),
  );
});

Deno.test("a second library reads the words that we write", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.boolean(), (data, isM) => {
      const kind = isM ? "bech32m" : "bech32";
      const coder = isM ? bech32m : bech32;
      const text = encodeBech32("lnbc1", toWords(data), kind);
      const read = coder.decodeUnsafe(text, 200);
      assert.equal(read?.prefix, "lnbc1");
      assert.deepEqual(coder.fromWords(read.words), data);
      assert.deepEqual(toBytes(Uint8Array.from(read.words)), data);
    }),
  );
});

Deno.test("every change of one letter of an address is found", () => {
  for (const [name, address, script] of CORE) {
    for (let i = 0; i < address.length; i++) {
      for (const letter of LETTERS) {
        const changed = address.slice(0, i) + letter + address.slice(i + 1);
        if (changed === address) continue;
        assert.throws(
          () => decodeAddress(changed, NETWORKS[name]),
          RangeError,
          `${changed} for ${script}`,
        );
      }
    }
  }
});

Deno.test("any text is a script or a RangeError", () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.string().map((rest) => `bcrt1${rest}`),
    fc.uint8Array({ minLength: 25, maxLength: 25 }).map((data) =>
      encodeBech32("bcrt", toWords(data), "bech32m")
    ),
  );
  fc.assert(
    fc.property(text, (found) => {
      try {
        const script = decodeAddress(found, NETWORKS.regtest);
        const again = encodeAddress(script, NETWORKS.regtest);
        assert.equal(again, found.toLowerCase());
      } catch (error) {
        assert.ok(error instanceof RangeError, String(error));
      }
    }),
  );
});
