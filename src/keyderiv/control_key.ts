/**
 * The key by which an owner's control messages are known: of the seed, and out of
 * the node's reach.
 *
 * ```
 * HKDF-SHA256(ikm: the whole seed, salt: "remote-hsmd control key",
 *             info: LE32(count)), 32 bytes; count from 0 until it is a key
 * ```
 *
 * A Sphinx device checks control messages by its node key. But whoever asks for
 * signatures can have the node key sign any bytes (lightningd's signmessage, with
 * the very prefix of the envelope), so there the node's host can write control
 * messages. Here it cannot, because nothing that it may ask for leads to this key:
 *
 * | what a node can have | comes from | why it is no help |
 * | --- | --- | --- |
 * | signatures: messages, invoices, gossip, offers | node key, HKDF(seed, no salt, "nodeid") | another key |
 * | the same with a tweak (BOLT 12) | node key or BOLT 12 key, plus a hash | to hit this key the hash would have to be the difference of two unknown keys |
 * | signatures of spends, BIP 137 messages | BIP 32 of the seed, or of HKDF(seed, no salt, "bip32 seed") | HMAC-SHA512, other paths |
 * | signatures and points of channels | HKDF(seed, no salt, "peer seed"), then per channel | other keys |
 * | revoked secrets | the shachain of a channel | hashes of the above |
 * | secrets by name (makesecret, derive_secret) | HKDF(HKDF(seed, no salt, "derived secrets"), name) | any name, but under a key that is itself a derived one |
 * | shared secrets (ecdh) | SHA-256 of a product with the node key | a hash |
 * | keys that a developer forces at init | the node | this one is always of the seed |
 *
 * HKDF's first half is HMAC(salt, seed). Core Lightning's salts are empty or four
 * bytes that count; ours is none of them, so our first half is independent of
 * theirs as long as HMAC-SHA256 is a pseudorandom function.
 *
 * The signer keeps the public key alone. The private one is made when its owner
 * asks for it at the card (`softkey control-key`), and out of the same words it is
 * always the same.
 *
 * So `sign_message` refuses nothing for the sake of control messages: a text that
 * looks like one is signed by the node key, which opens nothing here. A login
 * token, 4 bytes under the node key, can be made that way too. It opens an MQTT
 * session and no more: a device of ours proves itself inside the sealed link, with
 * the key of its card too, and one that speaks plain Sphinx is as safe as Sphinx is.
 *
 * Standard: RFC 5869.
 *
 * What it does not do: sign (`wire/control_envelope.ts`), or keep the key.
 *
 * @module
 */

import { type KeyPair, keyPairOf } from "../bitcoin/keys.ts";
import { hkdf } from "../crypto/hash.ts";
import { isPrivateKey } from "../crypto/secp.ts";
import { Secret } from "../crypto/secret.ts";
import type { NodeSecret } from "./secret_file.ts";

const SALT = new TextEncoder().encode("remote-hsmd control key");

/** The control key of a seed. */
export function deriveControlKey({ seed }: Pick<NodeSecret, "seed">): KeyPair {
  const ikm = seed.reveal();
  for (let count = 0;; count++) {
    const info = new Uint8Array(4);
    new DataView(info.buffer).setUint32(0, count, true);
    const key = hkdf({ ikm, salt: SALT, info, length: 32 });
    if (isPrivateKey(key)) return keyPairOf(new Secret(key));
  }
}
