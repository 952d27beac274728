/**
 * Scripts of the standard forms.
 *
 * @module
 */

import assert from "node:assert/strict";
import { asPubKey } from "../../src/bitcoin/keys.ts";
import {
  isP2shOf,
  isP2wshOf,
  p2sh,
  p2wpkh,
  p2wsh,
  pushNumber,
  redeem2of2,
  scriptKind,
  toRemoteWithAnchors,
} from "../../src/bitcoin/script.ts";
import { POINTS } from "../support/arbitrary.ts";

const [A, B] = POINTS.map(asPubKey);
assert.ok(A !== undefined && B !== undefined);

// BOLT 3, appendix C: the funding keys of the example channel.
const LOCAL = asPubKey(Uint8Array.fromHex(
  "023da092f6980e58d2c037173180e9a465476026ee50f96695963e8efe436f54eb",
));
const REMOTE = asPubKey(Uint8Array.fromHex(
  "030e9f7b623d2ccc7c9bd44d66d5ce21ce504c0acf6385a132cec6d3c39fa711c1",
));

Deno.test("BOLT 3 appendix C, funding script, whichever key comes first", () => {
  const wanted =
    "5221023da092f6980e58d2c037173180e9a465476026ee50f96695963e8efe436f54eb21" +
    "030e9f7b623d2ccc7c9bd44d66d5ce21ce504c0acf6385a132cec6d3c39fa711c152ae";
  assert.equal(redeem2of2(LOCAL, REMOTE).toHex(), wanted);
  assert.equal(redeem2of2(REMOTE, LOCAL).toHex(), wanted);
});

Deno.test("a script's kind is seen from its first bytes and its length", () => {
  const taproot = Uint8Array.of(0x51, 32, ...A.subarray(1));
  assert.equal(scriptKind(p2wpkh(A)), "p2wpkh");
  assert.equal(scriptKind(p2wsh(A)), "p2wsh");
  assert.equal(scriptKind(taproot), "p2tr");
  for (const script of [p2sh(A), new Uint8Array(), taproot.subarray(1)]) {
    assert.equal(scriptKind(script), "other");
  }
});

Deno.test("a script's hash belongs to that script alone", () => {
  assert.ok(isP2shOf(p2sh(A), A) && !isP2shOf(p2sh(A), B));
  assert.ok(isP2wshOf(p2wsh(A), A) && !isP2wshOf(p2wsh(A), B));
});

const numbers: [number, string][] = [
  [0, "00"],
  [1, "51"],
  [16, "60"],
  [17, "0111"],
  [127, "017f"],
  [128, "028000"],
  [144, "029000"],
  [255, "02ff00"],
  [4032, "02c00f"],
  [0x7fff, "02ff7f"],
  [0x8000, "03008000"],
  [0xffff_ffff, "05ffffffff00"],
];

for (const [value, wanted] of numbers) {
  Deno.test(`script pushes ${value} in the shortest form`, () => {
    assert.equal(pushNumber(value).toHex(), wanted);
  });
}

Deno.test("to_remote with anchors waits for its delay", () => {
  assert.equal(
    toRemoteWithAnchors(A, 1).toHex(),
    `21${A.toHex()}ad51b2`,
  );
});
