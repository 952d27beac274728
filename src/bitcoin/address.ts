/**
 * Addresses: what owners read and write, and the output scripts they stand for.
 *
 * The wire never carries one; the owner's settings and texts do.
 *
 * Standards: BIP 13 (P2SH), BIP 141 (witness programs), BIP 173 (Bech32), BIP
 * 350 (Bech32m for witness version 1 and later).
 *
 * What it does not do: say who can spend. A program of a witness version that
 * has no rules yet is read all the same, as BIP 350 wants.
 *
 * @module
 */

import { base58 } from "@scure/base";
import { sha256d } from "../crypto/hash.ts";
import { decodeBech32, encodeBech32, toBytes, toWords } from "./bech32.ts";
import { isSameBytes } from "./bytes.ts";
import { type Network, NETWORKS } from "./networks.ts";

const OP_1 = 0x51;
const MAX_WITNESS_VERSION = 16;
/** BIP 173: longer texts are not what the checksum was made for. */
const MAX_LETTERS = 90;
/** A version byte and a hash. */
const PAYLOAD_SIZE = 21;
const CHECKSUM_SIZE = 4;
/** Letters that 25 bytes take at most; base58 takes quadratic time. */
const MAX_BASE58_LETTERS = 35;

function fail(problem: string): never {
  throw new RangeError(`Cannot read address: ${problem}`);
}

/**
 * The output script that an address of this network stands for.
 *
 * @throws {RangeError} for any other text.
 */
export function decodeAddress(text: string, network: Network): Uint8Array {
  const start = text.slice(0, text.lastIndexOf("1")).toLowerCase();
  if (start === network.address.bech32) return decodeSegwit(text);
  const isKnown = Object.values(NETWORKS)
    .some(({ address }) => address.bech32 === start);
  if (isKnown) failNetwork(network);
  return decodeBase58(text, network);
}

function failNetwork(network: Network): never {
  fail(`another network's, want one of ${network.name}`);
}

function decodeSegwit(text: string): Uint8Array {
  if (text.length > MAX_LETTERS) {
    fail(`${text.length} letters, want ${MAX_LETTERS} or fewer`);
  }
  const { words, kind } = decodeBech32(text) ??
    fail("letters that are not Bech32's, want 32 known ones of one case");
  const version = words[0] ?? fail("no witness version, want 0 to 16");
  if (version > MAX_WITNESS_VERSION) {
    fail(`witness version ${version}, want 0 to ${MAX_WITNESS_VERSION}`);
  }
  if (kind === null) fail("wrong checksum, want the one of its letters");
  const wanted = kindFor(version);
  if (kind !== wanted) {
    fail(`checksum of ${kind} for version ${version}, want ${wanted}`);
  }
  const program = toBytes(words.subarray(1)) ??
    fail("bits left over, want less than a letter of zeros");
  requireProgramSize(version, program.length);
  return witnessScript(version, program);
}

/** BIP 350: version 0 keeps the first checksum. */
function kindFor(version: number): "bech32" | "bech32m" {
  return version === 0 ? "bech32" : "bech32m";
}

function requireProgramSize(version: number, size: number): void {
  if (!isProgramSize(version, size)) {
    const wanted = version === 0 ? "20 or 32" : "2 to 40";
    fail(`witness program of ${size} bytes, want ${wanted}`);
  }
}

function isProgramSize(version: number, size: number): boolean {
  return version === 0 ? size === 20 || size === 32 : size >= 2 && size <= 40;
}

function witnessScript(version: number, program: Uint8Array): Uint8Array {
  const opcode = version === 0 ? 0 : OP_1 - 1 + version;
  return Uint8Array.of(opcode, program.length, ...program);
}

function decodeBase58(text: string, network: Network): Uint8Array {
  const payload = checkBase58(text, network);
  const version = payload[0];
  const hash = payload.subarray(1);
  const { address } = network;
  if (version === address.p2pkh) return p2pkhOf(hash);
  if (version === address.p2sh) return p2shOf(hash);
  const isKnown = Object.values(NETWORKS).some(({ address: other }) =>
    version === other.p2pkh || version === other.p2sh
  );
  if (isKnown) failNetwork(network);
  return fail(
    `version ${version}, want ${address.p2pkh} or ${address.p2sh}`,
  );
}

/** Takes the checksum off: the first bytes of the payload's double hash. */
function checkBase58(text: string, network: Network): Uint8Array {
  const wantedForms = `${network.address.bech32}1 or base58`;
  const bytes = fromBase58(text) ??
    fail(`${text.length} letters of no known form, want ${wantedForms}`);
  const size = bytes.length - CHECKSUM_SIZE;
  if (size !== PAYLOAD_SIZE) {
    fail(`${bytes.length} bytes, want ${PAYLOAD_SIZE + CHECKSUM_SIZE}`);
  }
  const payload = bytes.subarray(0, size);
  const wanted = sha256d(payload).subarray(0, CHECKSUM_SIZE);
  if (!isSameBytes(bytes.subarray(size), wanted)) {
    fail("wrong checksum, want the one of its letters");
  }
  return payload;
}

function fromBase58(text: string): Uint8Array | null {
  if (text.length > MAX_BASE58_LETTERS) return null;
  try {
    return base58.decode(text);
  } catch (_error) { // says what letter it was, which is nobody's to log
    return null;
  }
}

function p2pkhOf(hash: Uint8Array): Uint8Array {
  return Uint8Array.of(0x76, 0xa9, 20, ...hash, 0x88, 0xac);
}

function p2shOf(hash: Uint8Array): Uint8Array {
  return Uint8Array.of(0xa9, 20, ...hash, 0x87);
}

/** The address of an output script on this network; null if it has none. */
export function encodeAddress(
  script: Uint8Array,
  network: Network,
): string | null {
  const { address } = network;
  const hash = script.subarray(3, 23);
  if (isSameBytes(script, p2pkhOf(hash))) return toBase58(address.p2pkh, hash);
  const scriptHash = script.subarray(2, 22);
  if (isSameBytes(script, p2shOf(scriptHash))) {
    return toBase58(address.p2sh, scriptHash);
  }
  const version = witnessVersion(script);
  if (version === null) return null;
  const words = Uint8Array.of(version, ...toWords(script.subarray(2)));
  return encodeBech32(address.bech32, words, kindFor(version));
}

function toBase58(version: number, hash: Uint8Array): string {
  const payload = Uint8Array.of(version, ...hash);
  const checksum = sha256d(payload).subarray(0, CHECKSUM_SIZE);
  return base58.encode(Uint8Array.of(...payload, ...checksum));
}

/** BIP 141: a version, then one push of 2 to 40 bytes, which is all. */
function witnessVersion(script: Uint8Array): number | null {
  const [opcode = -1, size = -1] = script;
  const version = opcode === 0 ? 0 : opcode - (OP_1 - 1);
  const isVersion = opcode === 0 || version >= 1 &&
      version <= MAX_WITNESS_VERSION;
  const isProgram = size === script.length - 2 && isProgramSize(version, size);
  return isVersion && isProgram ? version : null;
}
