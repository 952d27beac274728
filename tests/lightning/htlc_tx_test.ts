/**
 * HTLC transactions: BOLT 3 appendices C and F. Recorded ones are rebuilt with
 * their commitments, in commitment_test.ts.
 *
 * @module
 */

import assert from "node:assert/strict";
import {
  decodeTx,
  encodeTxWithoutWitness,
  txidOf,
} from "../../src/bitcoin/tx.ts";
import { isP2wshOf } from "../../src/bitcoin/script.ts";
import { RequestError } from "../../src/errors.ts";
import { buildCommitment } from "../../src/lightning/commitment.ts";
import { buildHtlcTx, htlcFee } from "../../src/lightning/htlc_tx.ts";
import type { Msat, Txid } from "../../src/wire/types.ts";
import { ANCHOR_CASES, type Bolt3Case, KEYS, PLAIN_CASES } from "./bolt3.ts";

/** Builds the HTLC transaction that spends an output of the vector's tx. */
function build({ terms, content, feerate }: Bolt3Case, outputIndex: number) {
  const { tx, outputs } = buildCommitment(terms, KEYS, content);
  const htlc = content.htlcs[outputs[outputIndex]?.htlc ?? -1];
  assert.ok(htlc !== undefined, `output ${outputIndex} is an HTLC`);
  return buildHtlcTx({
    ...htlc,
    commitmentTxid: txidOf(tx),
    outputIndex,
    feerate,
    keys: KEYS,
    toSelfDelay: terms.toSelfDelay,
    hasAnchors: terms.hasAnchors,
  });
}

for (
  const [appendix, cases] of [["C", PLAIN_CASES], ["F", ANCHOR_CASES]] as const
) {
  for (const vector of cases) {
    if (vector.htlcTxs.length === 0) continue;
    Deno.test(`BOLT 3 ${appendix}, HTLC transactions: ${vector.name}`, () => {
      assert.equal(vector.htlcTxs.length, vector.content.htlcs.length);
      for (const hex of vector.htlcTxs) {
        const wanted = decodeTx(Uint8Array.fromHex(hex));
        const built = build(vector, wanted.inputs[0]?.index ?? -1);
        assert.equal(
          encodeTxWithoutWitness(built.tx).toHex(),
          encodeTxWithoutWitness(wanted).toHex(),
        );
        const script = built.tx.outputs[0]?.script;
        assert.ok(script && isP2wshOf(script, built.outputScript));
      }
    });
  }
}

Deno.test("The vectors have HTLC transactions of every kind", () => {
  const count = (cases: readonly Bolt3Case[], isTimeout: boolean) =>
    cases.flatMap(({ htlcTxs }) => htlcTxs).filter((hex) =>
      (decodeTx(Uint8Array.fromHex(hex)).locktime > 0) === isTimeout
    ).length;
  for (const cases of [PLAIN_CASES, ANCHOR_CASES]) {
    assert.ok(count(cases, true) > 0 && count(cases, false) > 0);
  }
});

Deno.test("An HTLC that cannot pay its fee has no transaction", () => {
  const terms = {
    commitmentTxid: new Uint8Array(32) as Uint8Array as Txid,
    outputIndex: 0,
    isOffered: true,
    amount: 3_315_999n as Msat,
    cltvExpiry: 500,
    paymentHash: new Uint8Array(32),
    feerate: 5000,
    keys: KEYS,
    toSelfDelay: 144,
    hasAnchors: false,
  };
  assert.equal(htlcFee(5000, true, false), 3315n);
  assert.equal(buildHtlcTx(terms).tx.outputs[0]?.amount, 0n);
  const short = { ...terms, amount: 3_314_999n as Msat };
  assert.throws(() => buildHtlcTx(short), RequestError);
  const anchored = buildHtlcTx({ ...short, hasAnchors: true });
  assert.equal(anchored.tx.outputs[0]?.amount, 3314n);
});
