/**
 * Closing transactions and weights: BOLT 3's numbers, recorded closes, order.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  decodeTx,
  encodeTxWithoutWitness,
  type TxOutput,
} from "../../src/bitcoin/tx.ts";
import { buildClosing } from "../../src/lightning/closing.ts";
import { compareOutputs } from "../../src/lightning/scripts.ts";
import {
  commitmentFee,
  commitmentWeight,
  dustLimitOfHtlc,
  feerateOf,
  htlcFee,
  htlcTxWeight,
  isTrimmed,
  MUTUAL_CLOSE_WITNESS_WEIGHT,
  trimThreshold,
  txWeight,
} from "../../src/lightning/weight.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage } from "../../src/wire/message.ts";
import type { Msat, Sat, Txid } from "../../src/wire/types.ts";
import { readEvents, recordingsIn } from "../support/recording.ts";

const sat = (value: bigint) => value as Sat;
const msat = (value: bigint) => value as Msat;
const funding = {
  txid: new Uint8Array(32).fill(7) as Uint8Array as Txid,
  index: 1,
};
const script = (byte: number, length = 22) => new Uint8Array(length).fill(byte);

function closes() {
  return recordingsIn("flows").flatMap((url) => readEvents(url)).flatMap(
    (event) =>
      event.kind === "request" &&
        event.type === REQUESTS.sign_mutual_close_tx.type
        ? [decodeMessage(REQUESTS.sign_mutual_close_tx, event.bytes)]
        : [],
  );
}

Deno.test("Every recorded mutual close is rebuilt byte for byte", () => {
  const counts = [0, 0, 0];
  for (const { tx: { tx: bytes } } of closes()) {
    const { inputs: [input], outputs } = decodeTx(bytes);
    assert.ok(input !== undefined);
    const [a = null, b = null] = outputs;
    const { txid, index } = input;
    counts[outputs.length] = (counts[outputs.length] ?? 0) + 1;
    for (const [toUs, toThem] of [[a, b], [b, a]] as const) {
      const built = buildClosing({ funding: { txid, index }, toUs, toThem });
      assert.equal(encodeTxWithoutWitness(built).toHex(), bytes.toHex());
    }
  }
  const [none, one = 0, two = 0] = counts;
  assert.equal(none, 0);
  assert.ok(one + two > 10 && two > 0, `${counts}`);
});

Deno.test("A side without an output is left out", () => {
  const toUs = { amount: sat(5n), script: script(1) };
  const built = buildClosing({ funding, toUs, toThem: null });
  assert.deepEqual(built.outputs, [toUs]);
  assert.deepEqual([built.version, built.locktime], [2, 0]);
  assert.equal(built.inputs[0]?.sequence, 0xffff_ffff);
});

Deno.test("closing_complete sets locktime and sequence", () => {
  const built = buildClosing({
    funding,
    toUs: null,
    toThem: { amount: sat(5n), script: script(1) },
    locktime: 800_000,
    sequence: 0xffff_fffd,
  });
  assert.equal(built.locktime, 800_000);
  assert.equal(built.inputs[0]?.sequence, 0xffff_fffd);
});

Deno.test("Outputs go by amount, then script, then the shorter first", () => {
  const sorted: TxOutput[] = [
    { amount: sat(1n), script: script(9) },
    { amount: sat(2n), script: script(1) },
    { amount: sat(2n), script: script(1, 23) },
    { amount: sat(2n), script: script(2, 20) },
    { amount: sat(2n ** 40n), script: script(0) },
  ];
  fc.assert(fc.property(
    fc.shuffledSubarray(sorted, { minLength: sorted.length }),
    (shuffled) => {
      assert.deepEqual(shuffled.sort(compareOutputs), sorted);
    },
  ));
});

Deno.test("Weights and fees are those of BOLT 3", () => {
  assert.deepEqual(
    [0, 3].map((count) => commitmentWeight(count, false)),
    [724, 1240],
  );
  assert.deepEqual(
    [0, 3].map((count) => commitmentWeight(count, true)),
    [1124, 1640],
  );
  const weights = [true, false].flatMap((isOffered) =>
    [false, true].map((hasAnchors) => htlcTxWeight(isOffered, hasAnchors))
  );
  assert.deepEqual(weights, [663, 666, 703, 706]);
  // The example of "Fee Calculation": feerate 5000, dust limit 546.
  assert.equal(htlcFee(5000, true, false), 3315n);
  assert.equal(htlcFee(5000, false, false), 3515n);
  assert.equal(htlcFee(5000, true, true), 0n);
  assert.equal(commitmentFee(5000, 2, false), 5340n);
});

Deno.test("An HTLC is trimmed below dust limit and fee, not at them", () => {
  const limit = sat(546n);
  const trim = { isOffered: true, feerate: 5000, hasAnchors: false };
  assert.equal(trimThreshold(trim, limit), 3861n);
  assert.equal(isTrimmed(msat(3_860_999n), trim, limit), true);
  assert.equal(isTrimmed(msat(3_861_000n), trim, limit), false);
  const received = { ...trim, isOffered: false };
  assert.equal(trimThreshold(received, limit), 4061n);
  const anchored = { ...trim, hasAnchors: true };
  assert.equal(trimThreshold(anchored, limit), 546n);
  assert.equal(dustLimitOfHtlc(anchored), 354n);
  assert.equal(dustLimitOfHtlc(trim), 330n + 3315n);
  assert.equal(dustLimitOfHtlc(received), 330n + 3515n);
});

Deno.test("A feerate from a fee is rounded up, so that fees come back", () => {
  assert.equal(feerateOf(0n, 724), 1);
  assert.equal(feerateOf(183n, 724), Math.floor(183_999 / 724));
  fc.assert(fc.property(
    fc.integer({ min: 253, max: 300_000 }),
    fc.constantFrom(663, 703, 724, 1124),
    (feerate, weight) => {
      const fee = BigInt(feerate) * BigInt(weight) / 1000n;
      const found = feerateOf(fee, weight);
      assert.ok(Math.abs(found - feerate) <= 1, `${found}`);
      assert.equal(BigInt(found) * BigInt(weight) / 1000n, fee);
    },
  ));
});

Deno.test("The weight of an unsigned transaction is four times its size", () => {
  const output = { amount: sat(5n), script: script(1) };
  const tx = buildClosing({ funding, toUs: output, toThem: output });
  assert.equal(txWeight(tx), 4 * (10 + 41 + 2 * 31));
  assert.equal(MUTUAL_CLOSE_WITNESS_WEIGHT, 222);
});
