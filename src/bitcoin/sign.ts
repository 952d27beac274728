/**
 * Which signature, exactly: the rules of grinding, each under a name.
 *
 * Every signature of a stock hsmd is deterministic, and a replacement must give
 * the same bytes. All are RFC 6979 with a low s; they differ in the extra
 * entropy that is mixed into the nonce, and in whether it is changed until r
 * takes 32 bytes in DER ("grinding", which makes fees predictable).
 *
 * | rule | first try | then | used for |
 * | --- | --- | --- | --- |
 * | A, {@link signGround} | 32 zero bytes | LE32(1), LE32(2), … | transactions, gossip |
 * | B, {@link signGroundPlainFirst} | no entropy | LE32(1), LE32(2), … | ECDSA in PSBTs |
 * | C, {@link signPlain} | no entropy | never | messages, invoices, offers to fund |
 * | S, {@link signTaproot} | BIP 340, zero auxiliary bytes | never | Taproot, BOLT 12 |
 *
 * Zero bytes are not the same as none: RFC 6979 hashes them in.
 *
 * //~ A is Core Lightning's own loop, B is libwally's, and Bitcoin libraries ship
 * //~ at least one more (none, then zero, then one). All are valid signatures;
 * //~ one of them is the one that lightningd was built and tested against.
 * //~ Next: keyderiv.ts.
 *
 * What it does not do: hash a transaction, or decide whether to sign.
 *
 * @module
 */

import { signEcdsa, signRecoverable, signSchnorr } from "../crypto/secp.ts";
import type { Secret } from "../crypto/secret.ts";
import type { EcdsaSignature } from "../wire/types.ts";

/** The curve library returns 64 bytes: this names them. */
function asSignature(bytes: Uint8Array): EcdsaSignature {
  return bytes as EcdsaSignature;
}

/** LE32(count), then 28 zero bytes. */
function entropyOf(count: number): Uint8Array {
  const entropy = new Uint8Array(32);
  new DataView(entropy.buffer).setUint32(0, count, true);
  return entropy;
}

/** Whether r needs no leading zero in DER. */
function hasLowR(signature: Uint8Array): boolean {
  return (signature[0] ?? 0xff) < 0x80;
}

function grindFrom(
  count: number,
  digest: Uint8Array,
  key: Uint8Array,
): Uint8Array {
  for (;; count++) {
    const signature = signEcdsa(digest, key, entropyOf(count));
    if (hasLowR(signature)) return signature;
  }
}

/** Rule A: transactions and gossip. */
export function signGround(digest: Uint8Array, key: Secret): EcdsaSignature {
  return asSignature(grindFrom(0, digest, key.reveal()));
}

/** Rule B: ECDSA inside PSBTs. */
export function signGroundPlainFirst(
  digest: Uint8Array,
  key: Secret,
): EcdsaSignature {
  const first = signEcdsa(digest, key.reveal());
  return asSignature(
    hasLowR(first) ? first : grindFrom(1, digest, key.reveal()),
  );
}

/** Rule C: r, s. */
export function signPlain(digest: Uint8Array, key: Secret): EcdsaSignature {
  return asSignature(signEcdsa(digest, key.reveal()));
}

/** Rule C: r, s, recovery id. */
export function signPlainRecoverable(
  digest: Uint8Array,
  key: Secret,
): Uint8Array {
  return signRecoverable(digest, key.reveal());
}

/** Rule S. */
export function signTaproot(digest: Uint8Array, key: Secret): Uint8Array {
  return signSchnorr(digest, key.reveal());
}

/** DER of r, s with the sighash byte behind it, as scripts want it (BIP 66). */
export function encodeDer(
  signature: Uint8Array,
  sighash: number,
): Uint8Array {
  const r = derInteger(signature.subarray(0, 32));
  const s = derInteger(signature.subarray(32));
  return Uint8Array.of(0x30, r.length + s.length, ...r, ...s, sighash);
}

/** Tag, length, the shortest big-endian form that is not negative. */
function derInteger(bytes: Uint8Array): number[] {
  const start = bytes.findIndex((byte) => byte !== 0);
  const digits = [...bytes.subarray(start < 0 ? 31 : start)];
  if ((digits[0] ?? 0) >= 0x80) digits.unshift(0);
  return [0x02, digits.length, ...digits];
}

/** Whether the bytes are such a DER, sighash byte included; values not checked. */
export function isDer(bytes: Uint8Array): boolean {
  const total = bytes.length - 3;
  const rLength = bytes[3] ?? 0;
  const sLength = bytes[5 + rLength] ?? 0;
  return bytes[0] === 0x30 && bytes[1] === total &&
    bytes[2] === 0x02 && rLength >= 1 && rLength <= 33 &&
    bytes[4 + rLength] === 0x02 && sLength >= 1 && sLength <= 33 &&
    rLength + sLength + 4 === total;
}
