/**
 * Extended public keys as people write them: base58 with a checksum around the
 * 78 bytes that `bip32.ts` derives from.
 *
 * Standard: BIP 32, Serialization format.
 *
 * What it does not do: read private keys, or the versions of SLIP 132 (ypub,
 * zpub), whose bytes say something about scripts that is not asked here.
 *
 * @module
 */

import { createBase58check } from "@scure/base";
import type { Network } from "../bitcoin/networks.ts";
import { sha256 } from "../crypto/hash.ts";
import { isPoint } from "../crypto/secp.ts";
import type { ExtKey } from "../wire/types.ts";

const SIZE = 78;
const KEY_AT = 45;
/** What 82 bytes take at most; base58 takes quadratic time. */
const MAX_LETTERS = 112;

const base58check = createBase58check((bytes: Uint8Array) => sha256(bytes));

/** Never the text itself: it may be a private key by mistake. */
function fail(problem: string): never {
  throw new RangeError(`Cannot read extended key: ${problem}`);
}

/**
 * The key that a text stands for.
 *
 * @throws {RangeError} for what is no public key of this network
 */
export function parseXpub(text: string, network: Network): ExtKey {
  const bytes = fromText(text);
  if (bytes.length !== SIZE) fail(`${bytes.length} bytes, want ${SIZE}`);
  const version = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
  if (version !== network.bip32.public) {
    fail(`version ${inHex(version)}, ${wanted(network)}`);
  }
  if (!isPoint(bytes.subarray(KEY_AT))) fail("no point of the curve, want one");
  // Size, version and point are checked.
  return bytes as ExtKey;
}

function fromText(text: string): Uint8Array {
  if (text.length > MAX_LETTERS) {
    fail(`${text.length} letters, want ${MAX_LETTERS} or fewer`);
  }
  try {
    return base58check.decode(text);
  } catch (_error) { // its text has the key in it
    return fail("wrong letters or checksum, want base58 as a wallet writes it");
  }
}

const inHex = (version: number) => version.toString(16).padStart(8, "0");

function wanted({ name, bip32 }: Network): string {
  const start = bip32.public === 0x0488b21e ? "xpub" : "tpub";
  return `want ${inHex(bip32.public)} (${start}) for ${name}`;
}
