/**
 * The envelope of a control message: payload, number, and the owner's signature.
 *
 * | part | size | content |
 * | --- | --- | --- |
 * | payload | 1 and more | `control_message.ts` |
 * | nonce | 8 | u64, big-endian |
 * | signature | 65 | 31 + recovery id, r, s; over payload ‖ nonce |
 *
 * The digest is that of Lightning's signmessage, SHA256d("Lightning Signed
 * Message:" ‖ payload ‖ nonce), as sphinx-rs auther/src/nonce.rs has it. Whether
 * the key may be asked to sign anything else is what makes it safe or not:
 * `keyderiv/control_key.ts` is about that.
 *
 * The header byte of the signature says nothing that the verifier needs and is
 * ignored; a high s is refused. An answer has no envelope.
 *
 * What it does not do: compare numbers (`device/control/take.ts`).
 *
 * @module
 */

import { sha256d } from "../crypto/hash.ts";
import { signRecoverable, verifyEcdsa } from "../crypto/secp.ts";
import type { Secret } from "../crypto/secret.ts";
import { DecodeError } from "../errors.ts";

const PREFIX = new TextEncoder().encode("Lightning Signed Message:");
const NONCE_SIZE = 8;
const SIGNATURE_SIZE = 65;
const RECOVERY_BASE = 31;
/** One byte of payload, and what follows it. */
const LEAST_SIZE = 1 + NONCE_SIZE + SIGNATURE_SIZE;

/** What an envelope holds. */
export interface Envelope {
  readonly payload: Uint8Array;
  readonly nonce: bigint;
}

/** Signs a payload under a number. */
export function sealEnvelope(
  { payload, nonce }: Envelope,
  key: Secret,
): Uint8Array {
  const signed = new Uint8Array(payload.length + NONCE_SIZE);
  signed.set(payload);
  new DataView(signed.buffer).setBigUint64(payload.length, nonce);
  const signature = signRecoverable(digestOf(signed), key.reveal());
  const envelope = new Uint8Array(signed.length + SIGNATURE_SIZE);
  envelope.set(signed);
  envelope[signed.length] = RECOVERY_BASE + (signature[64] ?? 0);
  envelope.set(signature.subarray(0, 64), signed.length + 1);
  return envelope;
}

/**
 * What an envelope holds, if this key signed it; null when it did not.
 *
 * @throws {DecodeError} for bytes that are too few
 */
export function openEnvelope(
  bytes: Uint8Array,
  point: Uint8Array,
): Envelope | null {
  const { length } = bytes;
  if (length < LEAST_SIZE) {
    const problem = `${length} bytes, want ${LEAST_SIZE} or more`;
    throw new DecodeError("control envelope", "", 0, problem);
  }
  const signed = bytes.slice(0, length - SIGNATURE_SIZE);
  const signature = bytes.slice(length - SIGNATURE_SIZE + 1);
  if (!verifyEcdsa(signature, digestOf(signed), point)) return null;
  const split = signed.length - NONCE_SIZE;
  return {
    payload: signed.subarray(0, split),
    nonce: new DataView(signed.buffer).getBigUint64(split),
  };
}

function digestOf(signed: Uint8Array): Uint8Array {
  return sha256d(PREFIX, signed);
}
