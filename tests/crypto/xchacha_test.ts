/**
 * XChaCha20-Poly1305: the draft's own vector, and that every change is noticed.
 *
 * @module
 */

import assert from "node:assert/strict";
import { LONG_TAG_SIZE, openLong, sealLong } from "../../src/crypto/xchacha.ts";

/** Bytes that count up from one. */
const from = (first: number, size: number) =>
  Uint8Array.from({ length: size }, (_, i) => first + i);

// draft-irtf-cfrg-xchacha-03, A.3.1
const KEY = from(0x80, 32);
const NONCE = from(0x40, 24);
const HEADER = Uint8Array.fromHex("50515253c0c1c2c3c4c5c6c7");
const TEXT = new TextEncoder().encode(
  "Ladies and Gentlemen of the class of '99: If I could offer you only one " +
    "tip for the future, sunscreen would be it.",
);
const SEALED =
  "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396c" +
  "bb731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b4522f8c9ba4" +
  "0db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff921f9664c97637da976" +
  "8812f615c68b13b52e" + "c0875924c1c7987947deafd8780acf49";

Deno.test("the draft's vector, both ways", () => {
  const sealing = { key: KEY, nonce: NONCE, header: HEADER };
  const sealed = sealLong(sealing, TEXT);
  assert.equal(sealed.toHex(), SEALED);
  assert.equal(openLong(sealing, sealed)?.toHex(), TEXT.toHex());
});

Deno.test("a changed byte of any part opens nothing", () => {
  const parts = { key: KEY, nonce: NONCE, header: HEADER };
  const sealed = Uint8Array.fromHex(SEALED);
  const flipped = (bytes: Uint8Array, at: number) =>
    bytes.map((byte, i) => i === at ? byte ^ 1 : byte);
  for (let at = 0; at < sealed.length; at++) {
    assert.equal(openLong(parts, flipped(sealed, at)), null);
  }
  for (const name of ["key", "nonce", "header"] as const) {
    const other = { ...parts, [name]: flipped(parts[name], 3) };
    assert.equal(openLong(other, sealed), null);
  }
  for (let size = 0; size <= LONG_TAG_SIZE; size++) {
    assert.equal(openLong(parts, sealed.subarray(0, size)), null);
  }
});
