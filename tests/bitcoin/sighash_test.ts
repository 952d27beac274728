/**
 * Digests: the examples of BIP 143 and BIP 341, and a second library for every
 * sighash over generated transactions.
 *
 * @module
 */

import assert from "node:assert/strict";
import * as bitcoinjs from "npm:bitcoinjs-lib@7.0.5";
import fc from "npm:fast-check@4.10.2";
import { tweakTaprootKey } from "../../src/bitcoin/keys.ts";
import {
  hashLegacy,
  hashSegwitV0,
  hashTaproot,
} from "../../src/bitcoin/sighash.ts";
import { scriptCodeOfP2wpkh } from "../../src/bitcoin/script.ts";
import { signTaproot } from "../../src/bitcoin/sign.ts";
import {
  decodeTx,
  encodeTxWithoutWitness,
  type Tx,
  type TxOutput,
} from "../../src/bitcoin/tx.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { RequestError } from "../../src/errors.ts";
import type { Sat, Txid } from "../../src/wire/types.ts";
import { runs } from "../support/arbitrary.ts";

const hex = (text: string) => Uint8Array.fromHex(text);
const SIGHASHES = [0x01, 0x02, 0x03, 0x81, 0x82, 0x83] as const;

Deno.test("BIP 143, native P2WPKH", () => {
  const tx = decodeTx(hex(
    "0100000002fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad96" +
      "9f0000000000eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b5" +
      "5d57b90ec68a0100000000ffffffff02202cb206000000001976a9148280b37df378db99" +
      "f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21" +
      "b2d50ce2f0167faa815988ac11000000",
  ));
  const digest = hashSegwitV0(tx, {
    index: 1,
    script: scriptCodeOfP2wpkh(
      hex("00141d0f172a0ecb48aee1be1f2687d2963ae33f71a1"),
    ),
    amount: 600_000_000n,
    sighash: 1,
  });
  assert.equal(
    digest.toHex(),
    "c37af31116d1b27caf68aae9e3ac82f1477929014d5b917657d0eb49478cb670",
  );
});

// BIP 341, wallet-test-vectors.json, keyPathSpending.

interface Spending {
  readonly index: number;
  readonly key: string;
  readonly merkleRoot: string | null;
  readonly sighash: number;
  readonly digest: string;
  readonly witness: string;
}

const RAW_TX =
  "02000000097de20cbff686da83a54981d2b9bab3586f4ca7e48f57f5b55963115f3b334e" +
  "9c010000000000000000d7b7cab57b1393ace2d064f4d4a2cb8af6def61273e127517d44" +
  "759b6dafdd990000000000fffffffff8e1f583384333689228c5d28eac13366be082dc57" +
  "441760d957275419a418420000000000fffffffff0689180aa63b30cb162a73c6d2a38b7" +
  "eeda2a83ece74310fda0843ad604853b0100000000feffffffaa5202bdf6d8ccd2ee0f02" +
  "02afbbb7461d9264a25e5bfd3c5a52ee1239e0ba6c0000000000feffffff956149bdc66f" +
  "aa968eb2be2d2faa29718acbfe3941215893a2a3446d32acd050000000000000000000e6" +
  "64b9773b88c09c32cb70a2a3e4da0ced63b7ba3b22f848531bbb1d5d5f4c940100000000" +
  "00000000e9aa6b8e6c9de67619e6a3924ae25696bb7b694bb677a632a74ef7eadfd4eabf" +
  "0000000000ffffffffa778eb6a263dc090464cd125c466b5a99667720b1c110468831d05" +
  "8aa1b82af10100000000ffffffff0200ca9a3b000000001976a91406afd46bcdfd22ef94" +
  "ac122aa11f241244a37ecc88ac807840cb0000000020ac9a87f5594be208f8532db38cff" +
  "670c450ed2fea8fcdefcc9a663f78bab962b0065cd1d";

const SPENT: [string, bigint][] = [
  [
    "512053a1f6e454df1aa2776a2814a721372d6258050de330b3c6d10ee8f4e0dda343",
    420000000n,
  ],
  [
    "5120147c9c57132f6e7ecddba9800bb0c4449251c92a1e60371ee77557b6620f3ea3",
    462000000n,
  ],
  ["76a914751e76e8199196d454941c45d1b3a323f1433bd688ac", 294000000n],
  [
    "5120e4d810fd50586274face62b8a807eb9719cef49c04177cc6b76a9a4251d5450e",
    504000000n,
  ],
  [
    "512091b64d5324723a985170e4dc5a0f84c041804f2cd12660fa5dec09fc21783605",
    630000000n,
  ],
  ["00147dd65592d0ab2fe0d0257d571abf032cd9db93dc", 378000000n],
  [
    "512075169f4001aa68f15bbed28b218df1d0a62cbbcf1188c6665110c293c907b831",
    672000000n,
  ],
  [
    "5120712447206d7a5238acc7ff53fbe94a3b64539ad291c7cdbc490b7577e4b17df5",
    546000000n,
  ],
  [
    "512077e30a5522dd9f894c3f8b8bd4c4b2cf82ca7da8a3ea6a239655c39c050ab220",
    588000000n,
  ],
];

const SPENDING: Spending[] = [
  {
    index: 0,
    key: "6b973d88838f27366ed61c9ad6367663045cb456e28335c109e30717ae0c6baa",
    merkleRoot: null,
    sighash: 3,
    digest: "2514a6272f85cfa0f45eb907fcb0d121b808ed37c6ea160a5a9046ed5526d555",
    witness:
      "ed7c1647cb97379e76892be0cacff57ec4a7102aa24296ca39af7541246d8ff14d38958d4cc1e2e478e4d4a764bbfd835b16d4e314b72937b29833060b87276c03",
  },
  {
    index: 1,
    key: "1e4da49f6aaf4e5cd175fe08a32bb5cb4863d963921255f33d3bc31e1343907f",
    merkleRoot:
      "5b75adecf53548f3ec6ad7d78383bf84cc57b55a3127c72b9a2481752dd88b21",
    sighash: 131,
    digest: "325a644af47e8a5a2591cda0ab0723978537318f10e6a63d4eed783b96a71a4d",
    witness:
      "052aedffc554b41f52b521071793a6b88d6dbca9dba94cf34c83696de0c1ec35ca9c5ed4ab28059bd606a4f3a657eec0bb96661d42921b5f50a95ad33675b54f83",
  },
  {
    index: 3,
    key: "d3c7af07da2d54f7a7735d3d0fc4f0a73164db638b2f2f7c43f711f6d4aa7e64",
    merkleRoot:
      "c525714a7f49c28aedbbba78c005931a81c234b2f6c99a73e4d06082adc8bf2b",
    sighash: 1,
    digest: "bf013ea93474aa67815b1b6cc441d23b64fa310911d991e713cd34c7f5d46669",
    witness:
      "ff45f742a876139946a149ab4d9185574b98dc919d2eb6754f8abaa59d18b025637a3aa043b91817739554f4ed2026cf8022dbd83e351ce1fabc272841d2510a01",
  },
  {
    index: 4,
    key: "f36bb07a11e469ce941d16b63b11b9b9120a84d9d87cff2c84a8d4affb438f4e",
    merkleRoot:
      "ccbd66c6f7e8fdab47b3a486f59d28262be857f30d4773f2d5ea47f7761ce0e2",
    sighash: 0,
    digest: "4f900a0bae3f1446fd48490c2958b5a023228f01661cda3496a11da502a7f7ef",
    witness:
      "b4010dd48a617db09926f729e79c33ae0b4e94b79f04a1ae93ede6315eb3669de185a17d2b0ac9ee09fd4c64b678a0b61a0a86fa888a273c8511be83bfd6810f",
  },
  {
    index: 6,
    key: "415cfe9c15d9cea27d8104d5517c06e9de48e2f986b695e4f5ffebf230e725d8",
    merkleRoot:
      "2f6b2c5397b6d68ca18e09a3f05161668ffe93a988582d55c6f07bd5b3329def",
    sighash: 2,
    digest: "15f25c298eb5cdc7eb1d638dd2d45c97c4c59dcaec6679cfc16ad84f30876b85",
    witness:
      "a3785919a2ce3c4ce26f298c3d51619bc474ae24014bcdd31328cd8cfbab2eff3395fa0a16fe5f486d12f22a9cedded5ae74feb4bbe5351346508c5405bcfee002",
  },
  {
    index: 7,
    key: "c7b0e81f0a9a0b0499e112279d718cca98e79a12e2f137c72ae5b213aad0d103",
    merkleRoot:
      "6c2dc106ab816b73f9d07e3cd1ef2c8c1256f519748e0813e4edd2405d277bef",
    sighash: 130,
    digest: "cd292de50313804dabe4685e83f923d2969577191a3e1d2882220dca88cbeb10",
    witness:
      "ea0c6ba90763c2d3a296ad82ba45881abb4f426b3f87af162dd24d5109edc1cdd11915095ba47c3a9963dc1e6c432939872bc49212fe34c632cd3ab9fed429c482",
  },
  {
    index: 8,
    key: "77863416be0d0665e517e1c375fd6f75839544eca553675ef7fdf4949518ebaa",
    merkleRoot:
      "ab179431c28d3b68fb798957faf5497d69c883c6fb1e1cd9f81483d87bac90cc",
    sighash: 129,
    digest: "cccb739eca6c13a8a89e6e5cd317ffe55669bbda23f2fd37b0f18755e008edd2",
    witness:
      "bbc9584a11074e83bc8c6759ec55401f0ae7b03ef290c3139814f545b58a9f8127258000874f44bc46db7646322107d4d86aec8e73b8719a61fff761d75b5dd981",
  },
];

const spent: TxOutput[] = SPENT.map(([script, amount]) => ({
  script: hex(script),
  amount: amount as Sat,
}));

for (const spending of SPENDING) {
  const { index, key, merkleRoot, sighash, digest, witness } = spending;
  Deno.test(`BIP 341, key path of input ${index} with sighash ${sighash}`, () => {
    const tx = decodeTx(hex(RAW_TX));
    const found = hashTaproot(tx, index, spent, sighash);
    assert.equal(found.toHex(), digest);
    const tweaked = tweakTaprootKey(
      new Secret(hex(key)),
      merkleRoot === null ? undefined : hex(merkleRoot),
    );
    const signature = signTaproot(found, tweaked);
    const suffix = sighash === 0 ? [] : [sighash];
    assert.equal(Uint8Array.of(...signature, ...suffix).toHex(), witness);
  });
}

const u32 = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const script = fc.uint8Array({ minLength: 1, maxLength: 80 });
const outputs: fc.Arbitrary<TxOutput> = fc.record({
  amount: fc.bigInt(0n, 21_000_000n * 100_000_000n).map((sat) => sat as Sat),
  script,
}, { noNullPrototype: true });
const transactions: fc.Arbitrary<Tx> = fc.record({
  version: fc.constantFrom(1, 2),
  inputs: fc.array(
    fc.record({
      txid: fc.uint8Array({ minLength: 32, maxLength: 32 })
        .map((bytes) => bytes as Uint8Array as Txid),
      index: u32,
      scriptSig: fc.constant(new Uint8Array()),
      sequence: u32,
      witness: fc.constant([]),
    }, { noNullPrototype: true }),
    { minLength: 1, maxLength: 4 },
  ),
  outputs: fc.array(outputs, { minLength: 1, maxLength: 4 }),
  locktime: u32,
}, { noNullPrototype: true });

/** The same transaction in the other library. */
const theirsOf = (tx: Tx) =>
  bitcoinjs.Transaction.fromBuffer(encodeTxWithoutWitness(tx));

Deno.test("a transaction has the other library's id and bytes", () => {
  fc.assert(
    fc.property(transactions, (tx) => {
      const bytes = encodeTxWithoutWitness(tx);
      assert.deepEqual(decodeTx(bytes), tx);
      assert.deepEqual(new Uint8Array(theirsOf(tx).toBuffer()), bytes);
    }),
    { numRuns: runs() },
  );
});

Deno.test("BIP 143 digests agree with another library for every sighash", () => {
  const sighashes = fc.constantFrom(...SIGHASHES);
  fc.assert(
    fc.property(transactions, sighashes, outputs, (tx, sighash, spends) => {
      for (const index of tx.inputs.keys()) {
        assert.deepEqual(
          hashSegwitV0(tx, { index, sighash, ...spends }),
          new Uint8Array(
            theirsOf(tx)
              .hashForWitnessV0(index, spends.script, spends.amount, sighash),
          ),
        );
      }
    }),
    { numRuns: runs() },
  );
});

Deno.test("BIP 341 digests agree with another library for every sighash", () => {
  const sighashes = fc.constantFrom(0, ...SIGHASHES);
  // The other library takes scripts of Taproot's length for granted.
  const taproot = outputs.map(({ amount }) => ({
    amount,
    script: new Uint8Array(34).fill(0x51),
  }));
  fc.assert(
    fc.property(transactions, sighashes, taproot, (tx, sighash, spends) => {
      const all = tx.inputs.map(() => spends);
      for (const index of tx.inputs.keys()) {
        const isSingle = (sighash & 3) === 3;
        if (isSingle && index >= tx.outputs.length) {
          assert.throws(
            () => hashTaproot(tx, index, all, sighash),
            RequestError,
          );
          continue;
        }
        assert.deepEqual(
          hashTaproot(tx, index, all, sighash),
          new Uint8Array(
            theirsOf(tx).hashForWitnessV1(
              index,
              all.map((each) => each.script),
              all.map((each) => each.amount),
              sighash,
            ),
          ),
        );
      }
    }),
    { numRuns: runs() },
  );
});

Deno.test("legacy digests agree with another library for every sighash", () => {
  const sighashes = fc.constantFrom(...SIGHASHES);
  // A P2PKH script: the other library removes code separators from scripts.
  const p2pkh = fc.uint8Array({ minLength: 20, maxLength: 20 })
    .map((hash) => Uint8Array.of(0x76, 0xa9, 20, ...hash, 0x88, 0xac));
  fc.assert(
    fc.property(transactions, sighashes, p2pkh, (tx, sighash, code) => {
      for (const index of tx.inputs.keys()) {
        // The number one: the other library writes it big-endian.
        const isOne = (sighash & 3) === 3 && index >= tx.outputs.length;
        const found = hashLegacy(tx, { index, script: code, sighash });
        const theirs = new Uint8Array(
          theirsOf(tx).hashForSignature(index, code, sighash),
        );
        assert.deepEqual(found, isOne ? theirs.toReversed() : theirs);
      }
    }),
    { numRuns: runs() },
  );
});

Deno.test("sighashes that no standard has, and inputs that are not, are refused", () => {
  const tx = decodeTx(hex(RAW_TX));
  const spend = { index: 0, script: new Uint8Array(), amount: 1n };
  for (const sighash of [0x04, 0x41, 0x80, 0x84, 0xff]) {
    assert.throws(() => hashSegwitV0(tx, { ...spend, sighash }), RequestError);
    assert.throws(() => hashLegacy(tx, { ...spend, sighash }), RequestError);
    assert.throws(() => hashTaproot(tx, 0, spent, sighash), RequestError);
  }
  const outside = { ...spend, index: tx.inputs.length, sighash: 1 };
  assert.throws(() => hashSegwitV0(tx, outside), RequestError);
  assert.throws(() => hashLegacy(tx, outside), RequestError);
  assert.throws(() => hashTaproot(tx, outside.index, spent, 1), RequestError);
  assert.throws(() => hashTaproot(tx, 0, [], 1), RequestError);
});
