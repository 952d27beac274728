/**
 * One message of libsodium's secretstream, opened.
 *
 * Core Lightning's old encrypted `hsm_secret` is such a message. The
 * construction is not an RFC: XChaCha20-Poly1305 with a tag byte of its own
 * inside the authenticated block and an odd rule of padding (libsodium,
 * crypto_secretstream_xchacha20poly1305). The only file that imports the
 * ciphers for it.
 *
 * What it does not do: streams of several messages, additional data, rekeying,
 * sealing. Nothing here needs them.
 *
 * @module
 */

import { poly1305 } from "@noble/ciphers/_poly1305.js";
import { chacha20, hchacha } from "@noble/ciphers/chacha.js";
import { isEqualConstantTime } from "./secret.ts";

/** Bytes of the header: 16 for the key, 8 for the nonce. */
export const SECRETSTREAM_HEADER = 24;
/** What a message is longer than its text: a tag byte and a MAC. */
export const SECRETSTREAM_OVERHEAD = 17;

const BLOCK = 64;
const MAC = 16;
const SIGMA = words(new TextEncoder().encode("expand 32-byte k"));

/** Little-endian words, as the cipher's rounds take them. */
function words(bytes: Uint8Array): Uint32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Uint32Array.from(
    { length: bytes.length / 4 },
    (_, i) => view.getUint32(i * 4, true),
  );
}

/** Text of the first message after a header; null when the key is not its key. */
export function openSecretstream(
  key: Uint8Array,
  header: Uint8Array,
  message: Uint8Array,
): Uint8Array | null {
  const subkey = deriveSubkey(key, header.subarray(0, 16));
  const nonce = new Uint8Array(12);
  nonce[0] = 1;
  nonce.set(header.subarray(16), 4);

  const length = message.length - SECRETSTREAM_OVERHEAD;
  const tagged = message.subarray(0, 1);
  const ciphertext = message.subarray(1, 1 + length);
  // The tag travels in the first byte of a block of its own (counter 1), whose
  // other 63 bytes are key stream; all 64 are authenticated.
  const block = chacha20(subkey, nonce, new Uint8Array(BLOCK), undefined, 1);
  block.set(tagged);
  const authenticated = authenticatedBytes(block, ciphertext);
  const macKey = chacha20(subkey, nonce, new Uint8Array(32));
  const mac = poly1305(authenticated, macKey);
  if (!isEqualConstantTime(mac, message.subarray(-MAC))) return null;
  return chacha20(subkey, nonce, ciphertext, undefined, 2);
}

function deriveSubkey(key: Uint8Array, nonce: Uint8Array): Uint8Array {
  const out = new Uint32Array(8);
  hchacha(SIGMA, words(key), words(nonce), out);
  const subkey = new Uint8Array(32);
  const view = new DataView(subkey.buffer);
  for (const [i, word] of out.entries()) view.setUint32(i * 4, word, true);
  return subkey;
}

/** Block, ciphertext, padding, two lengths; the padding is libsodium's own. */
function authenticatedBytes(
  block: Uint8Array,
  ciphertext: Uint8Array,
): Uint8Array {
  const padding = ciphertext.length % 16;
  const bytes = new Uint8Array(BLOCK + ciphertext.length + padding + 16);
  bytes.set(block);
  bytes.set(ciphertext, BLOCK);
  new DataView(bytes.buffer).setBigUint64(
    bytes.length - 8,
    BigInt(BLOCK + ciphertext.length),
    true,
  );
  return bytes;
}
