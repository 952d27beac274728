/**
 * BOLT 11 invoices: what is paid, to whom, how much, until when, and whether the
 * payee signed just that.
 *
 * A field of a length that it should not have is skipped, as the vectors of the
 * standard want; of a field that occurs twice the first one counts.
 *
 * Standard: BOLT 11, "Human-Readable Part", "Data Part", "Tagged Fields".
 *
 * What it does not do: read what only the paying node needs, that is the
 * description (which is also nobody's to log), features, routes, fallbacks.
 *
 * @module
 */

import { decodeBech32, toBytes, toPaddedBytes } from "../bitcoin/bech32.ts";
import type { Network, NetworkName } from "../bitcoin/networks.ts";
import { sha256 } from "../crypto/hash.ts";
import { isPoint, recoverPublicKey, verifyEcdsa } from "../crypto/secp.ts";
import { DecodeError } from "../errors.ts";
import { decode, Reader } from "../wire/codec.ts";
import {
  type Msat,
  type PubKey,
  pubkey,
  type Sha256,
  sha256 as hash,
} from "../wire/types.ts";

/** The terms of an invoice, signed or not yet. */
export interface UnsignedInvoice {
  readonly paymentHash: Sha256;
  /** Null for an invoice that leaves the amount to the payer. */
  readonly amount: Msat | null;
  /** Unix time in seconds. */
  readonly createdAt: bigint;
  /** Unix time in seconds. */
  readonly expiresAt: bigint;
  /** What the payee signs. */
  readonly invoiceHash: Sha256;
}

/** An invoice whose signature holds. */
export interface Bolt11Invoice extends UnsignedInvoice {
  readonly kind: "bolt11";
  /** Who signed. */
  readonly payee: PubKey;
  readonly network: NetworkName;
}

const FORMAT = "bolt11";
const DEFAULT_EXPIRY = 3600n;
const MAX_U64 = 2n ** 64n - 1n;
const TIMESTAMP_WORDS = 7;
/** r, s and a recovery id: 520 bits. */
const SIGNATURE_WORDS = 104;
/** Twelve words are 60 bits; a thirteenth is more than 64. */
const MAX_INTEGER_WORDS = 12;

/** Tags of the fields that are read. */
const PAYMENT_HASH = 1;
const EXPIRY = 6;
const PAYMENT_SECRET = 16;
const PAYEE = 19;

/** Lengths in words of those that have a fixed one. */
const FIXED_WORDS: ReadonlyMap<number, number> = new Map([
  [PAYMENT_HASH, 52],
  [PAYMENT_SECRET, 52],
  [PAYEE, 53],
]);

/** Tenths of a millisatoshi in one unit of the amount. */
const MULTIPLIERS: ReadonlyMap<string, bigint> = new Map([
  ["", 10n ** 12n],
  ["m", 10n ** 9n],
  ["u", 10n ** 6n],
  ["n", 10n ** 3n],
  ["p", 1n],
]);

type Fields = ReadonlyMap<number, Uint8Array>;

function fail(path: string, problem: string): never {
  throw new DecodeError(FORMAT, path, 0, problem);
}

/**
 * Reads a signed invoice of this network, in one case, without `lightning:`.
 *
 * @throws {DecodeError} for any other text, and for a signature that fails.
 */
export function decodeBolt11(text: string, network: Network): Bolt11Invoice {
  const { prefix, words, kind } = decodeBech32(text) ??
    fail("", "no Bech32 text, want one");
  if (kind !== "bech32") fail("", "wrong checksum, want Bech32's");
  const size = words.length - SIGNATURE_WORDS;
  if (size < 0) fail("", `${words.length} words, want ${SIGNATURE_WORDS}`);
  const signed = words.subarray(0, size);
  const { terms, fields } = readTerms(prefix, signed, network);
  const signature = bytesOf("signature", words.subarray(size));
  const payee = findPayee(signature, terms.invoiceHash, fields);
  return { kind: FORMAT, ...terms, payee, network: network.name };
}

/**
 * Reads what a node is about to sign: the prefix, and the words before the
 * signature (hsmd's sign_invoice).
 *
 * @throws {DecodeError} for what no invoice of this network starts with.
 */
export function decodeUnsignedInvoice(
  hrp: Uint8Array,
  u5bytes: Uint8Array,
  network: Network,
): UnsignedInvoice {
  const at = u5bytes.findIndex((word) => word > 31);
  if (at >= 0) fail("u5bytes", `word ${u5bytes[at]}, want 0 to 31`);
  // One character a byte: what is not ASCII matches no prefix and no amount.
  const prefix = Array.from(hrp, (code) => String.fromCharCode(code)).join("");
  return readTerms(prefix, u5bytes, network).terms;
}

function readTerms(
  prefix: string,
  words: Uint8Array,
  network: Network,
): { readonly terms: UnsignedInvoice; readonly fields: Fields } {
  const amount = readAmount(prefix, network);
  const reader = new Reader(words, FORMAT);
  const createdAt = reader.within(
    "timestamp",
    () => integer(reader.bytes(TIMESTAMP_WORDS)),
  );
  const fields = readFields(reader);
  if (!fields.has(PAYMENT_SECRET)) fail("s", "no payment secret, want one");
  const paymentHash = readHash(fields);
  // 35 bits and 60 bits: the sum is below 2^64.
  const expiresAt = createdAt + readExpiry(fields);
  const invoiceHash = signableHash(prefix, words);
  const terms = { paymentHash, amount, createdAt, expiresAt, invoiceHash };
  return { terms, fields };
}

/** BOLT 11: the prefix as bytes, then the words, filled up with zero bits. */
function signableHash(prefix: string, words: Uint8Array): Sha256 {
  const digest = sha256(new TextEncoder().encode(prefix), toPaddedBytes(words));
  return decode(hash, digest);
}

/** BOLT 11, human-readable part: `ln`, the network, an amount or nothing. */
function readAmount(prefix: string, network: Network): Msat | null {
  const wanted = `ln${network.invoicePrefix}`;
  const digitsAt = prefix.search(/[0-9]/);
  const end = digitsAt < 0 ? prefix.length : digitsAt;
  if (prefix.slice(0, end) !== wanted) {
    fail("prefix", `no invoice of ${network.name}, want ${wanted}`);
  }
  return end === prefix.length ? null : toMsat(prefix.slice(end));
}

function toMsat(text: string): Msat {
  const [, digits = "", letter = ""] = /^([0-9]{1,32})([munp]?)$/.exec(text) ??
    fail("amount", "no number with m, u, n, p or nothing after it, want one");
  const tenths = BigInt(digits) * (MULTIPLIERS.get(letter) ?? 0n);
  if (tenths % 10n !== 0n) {
    fail("amount", "parts of a millisatoshi, want whole ones");
  }
  const amount = tenths / 10n;
  if (amount > MAX_U64) fail("amount", `${amount} msat, want 0 to 2^64-1`);
  // The one place where a text becomes an amount: its unit was just applied.
  return amount as Msat;
}

/** Tag, length in words, words; the first of each tag that is read here. */
function readFields(reader: Reader): Fields {
  const fields = new Map<number, Uint8Array>();
  while (reader.remaining > 0) {
    const tag = reader.u8();
    const size = reader.u8() * 32 + reader.u8();
    const words = reader.bytes(size);
    const isRead = tag === EXPIRY || FIXED_WORDS.get(tag) === size;
    if (isRead && !fields.has(tag)) fields.set(tag, words);
  }
  return fields;
}

function readHash(fields: Fields): Sha256 {
  const words = fields.get(PAYMENT_HASH) ??
    fail("p", "no payment hash, want one");
  return decode(hash, bytesOf("p", words));
}

function readExpiry(fields: Fields): bigint {
  const words = fields.get(EXPIRY);
  if (words === undefined) return DEFAULT_EXPIRY;
  if (words.length > MAX_INTEGER_WORDS) {
    fail("x", `${words.length} words, want ${MAX_INTEGER_WORDS} or fewer`);
  }
  if (words.length > 1 && words[0] === 0) {
    fail("x", "a zero in front, want the shortest form");
  }
  return integer(words);
}

function integer(words: Uint8Array): bigint {
  return words.reduce((value, word) => value << 5n | BigInt(word), 0n);
}

function bytesOf(path: string, words: Uint8Array): Uint8Array {
  return toBytes(words) ?? fail(path, "bits left over, want zeros");
}

/** BOLT 11: the key of field `n` if there is one, else whoever signed. */
function findPayee(
  signature: Uint8Array,
  digest: Uint8Array,
  fields: Fields,
): PubKey {
  const recovery = signature.at(-1) ?? 0;
  if (recovery > 3) fail("signature", `recovery id ${recovery}, want 0 to 3`);
  const named = fields.get(PAYEE);
  if (named === undefined) return recover(signature, digest);
  const payee = bytesOf("n", named);
  if (!isPoint(payee)) fail("n", "no point of the curve, want one");
  if (!verifyEcdsa(signature.subarray(0, 64), digest, payee)) {
    fail("signature", "not the payee's, want one with a low s");
  }
  return decode(pubkey, payee);
}

function recover(signature: Uint8Array, digest: Uint8Array): PubKey {
  try {
    return decode(pubkey, recoverPublicKey(digest, signature));
  } catch (_error) { // says nothing but that there is no such point
    return fail("signature", "no key could have made it, want one that can");
  }
}
