/**
 * BOLT 12 invoices: what is paid, to whom, how much, until when, and whether the
 * payee signed just that.
 *
 * Standards: BOLT 12, "Encoding", "Signature Calculation", "Invoices"; BOLT 1,
 * "Type-Length-Value Format" (types rise, and unknown ones must be odd).
 *
 * What it does not do: compare an invoice with the offer that it answers, or
 * read what only the paying node needs, that is descriptions (which are also
 * nobody's to log), features, paths, fallbacks.
 *
 * @module
 */

import { splitWords, toBytes } from "../bitcoin/bech32.ts";
import {
  type Network,
  type NetworkName,
  NETWORKS,
} from "../bitcoin/networks.ts";
import { isSameBytes } from "../bitcoin/bytes.ts";
import { taggedHash } from "../crypto/hash.ts";
import { isPoint, verifySchnorr } from "../crypto/secp.ts";
import { DecodeError } from "../errors.ts";
import { decode, Reader, Writer } from "../wire/codec.ts";
import { readBigSize, writeBigSize } from "../wire/tlv.ts";
import {
  type Msat,
  type PubKey,
  pubkey,
  type Sha256,
  sha256,
} from "../wire/types.ts";

/** An invoice whose signature holds. */
export interface Bolt12Invoice {
  readonly kind: "bolt12";
  readonly paymentHash: Sha256;
  /** Always there: BOLT 12 leaves no amount to the payer. */
  readonly amount: Msat;
  /** Who signed: the invoice's node id, which need not be a node's. */
  readonly payee: PubKey;
  /** What the payee signed. */
  readonly invoiceHash: Sha256;
  /** Unix time in seconds. */
  readonly createdAt: bigint;
  /** Unix time in seconds; at most what a u64 holds. */
  readonly expiresAt: bigint;
  readonly network: NetworkName;
}

/** One record of a TLV stream. */
export interface RawRecord {
  readonly type: bigint;
  /** Type, length and value, as they stand in the stream. */
  readonly bytes: Uint8Array;
  readonly value: Uint8Array;
  /** Where the record starts in its stream. */
  readonly offset: number;
}

const FORMAT = "bolt12";
const PREFIX = "lni";
const DEFAULT_EXPIRY = 7200n;
const MAX_U64 = 2n ** 64n - 1n;
const FIRST_SIGNATURE = 240n;
const LAST_SIGNATURE = 1000n;

/** The fields that are read, under their names in BOLT 12. */
const FIELDS = {
  invreq_chain: 80n,
  invoice_created_at: 164n,
  invoice_relative_expiry: 166n,
  invoice_payment_hash: 168n,
  invoice_amount: 170n,
  invoice_node_id: 176n,
  signature: 240n,
} as const;

type FieldName = keyof typeof FIELDS;

/** Even types of an invoice; the last three are CLN's recurrence. */
// deno-fmt-ignore
const KNOWN_EVEN: ReadonlySet<bigint> = new Set([
  0n, 2n, 4n, 6n, 8n, 10n, 12n, 14n, 16n, 18n, 20n, 22n,
  80n, 82n, 84n, 86n, 88n, 90n,
  160n, 162n, 164n, 166n, 168n, 170n, 172n, 174n, 176n, 240n,
  1_000_000_024n, 1_000_000_026n, 2_000_000_092n,
]);

function fail(path: string, problem: string, offset = 0): never {
  throw new DecodeError(FORMAT, path, offset, problem);
}

/**
 * Whether a text is written as a BOLT 12 invoice, in any case and joined with
 * plus signs or not.
 */
export function isBolt12(text: string): boolean {
  return join(text).toLowerCase().startsWith(`${PREFIX}1`);
}

/**
 * Reads a signed invoice of this network, in one case, without `lightning:`.
 *
 * @throws {DecodeError} for any other text, and for a signature that fails.
 */
export function decodeBolt12(text: string, network: Network): Bolt12Invoice {
  const joined = join(text);
  if (joined.includes("+")) {
    fail("", "a plus at an end, want letters around it");
  }
  const { prefix, words } = splitWords(joined) ??
    fail("", "no Bech32 text, want one");
  if (prefix !== PREFIX) fail("", `no invoice, want prefix ${PREFIX}`);
  const bytes = toBytes(words) ?? fail("", "bits left over, want zeros");
  return readInvoice(readRecords(bytes), network);
}

/** BOLT 12: a plus, and blanks after it, may stand between any two letters. */
function join(text: string): string {
  return text.replaceAll(/([a-z0-9])\+[ \t\n\v\f\r]*(?=[a-z0-9])/gi, "$1");
}

function readInvoice(
  records: readonly RawRecord[],
  network: Network,
): Bolt12Invoice {
  const unknown = records.find(({ type }) =>
    type % 2n === 0n && !KNOWN_EVEN.has(type)
  );
  if (unknown !== undefined) {
    fail("", `unknown even type ${unknown.type}, want known`, unknown.offset);
  }
  requireChain(records, network);
  const createdAt = integer(records, "invoice_created_at", 8) ??
    missing("invoice_created_at");
  const expiry = integer(records, "invoice_relative_expiry", 4) ??
    DEFAULT_EXPIRY;
  const amount = integer(records, "invoice_amount", 8) ??
    missing("invoice_amount");
  const end = createdAt + expiry;
  return {
    kind: FORMAT,
    paymentHash: decode(sha256, fixed(records, "invoice_payment_hash", 32)),
    // The one place where a record becomes an amount: BOLT 12 counts in msat.
    amount: amount as Msat,
    ...checkSignature(records),
    createdAt,
    expiresAt: end > MAX_U64 ? MAX_U64 : end,
    network: network.name,
  };
}

/** BOLT 12: an invoice that names no chain is one of bitcoin. */
function requireChain(records: readonly RawRecord[], network: Network): void {
  const chain = find(records, "invreq_chain")?.value ??
    NETWORKS.bitcoin.genesisHash;
  if (!isSameBytes(chain, network.genesisHash)) {
    fail("invreq_chain", `another chain's, want ${network.name}'s`);
  }
}

function checkSignature(
  records: readonly RawRecord[],
): { readonly payee: PubKey; readonly invoiceHash: Sha256 } {
  const payee = fixed(records, "invoice_node_id", 33);
  if (!isPoint(payee)) {
    fail("invoice_node_id", "no point of the curve, want one");
  }
  const signature = fixed(records, "signature", 64);
  const digest = invoiceDigest(merkleRoot(records));
  if (!verifySchnorr(signature, digest, payee.subarray(1))) {
    fail("signature", "not the payee's, want the payee's");
  }
  return { payee: decode(pubkey, payee), invoiceHash: decode(sha256, digest) };
}

// -------------------------------------------------------------- one record

function find(
  records: readonly RawRecord[],
  name: FieldName,
): RawRecord | undefined {
  return records.find(({ type }) => type === FIELDS[name]);
}

function missing(name: FieldName): never {
  return fail(name, "no such record, want one");
}

function fixed(
  records: readonly RawRecord[],
  name: FieldName,
  size: number,
): Uint8Array {
  const { value, offset } = find(records, name) ?? missing(name);
  if (value.length !== size) {
    fail(name, `${value.length} bytes, want ${size}`, offset);
  }
  return value;
}

/** BOLT 1 tu32 and tu64: no zeros in front. */
function integer(
  records: readonly RawRecord[],
  name: FieldName,
  maxSize: number,
): bigint | null {
  const record = find(records, name);
  if (record === undefined) return null;
  const { value, offset } = record;
  if (value.length > maxSize) {
    fail(name, `${value.length} bytes, want ${maxSize} or fewer`, offset);
  }
  if (value[0] === 0) fail(name, "a zero in front, want none", offset);
  return value.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n);
}

// ------------------------------------------------------------- all records

/**
 * Splits a TLV stream into its records, whatever their types.
 *
 * @throws {DecodeError} for what is not a stream with rising types.
 */
export function readRecords(bytes: Uint8Array): RawRecord[] {
  const reader = new Reader(bytes, FORMAT);
  const records: RawRecord[] = [];
  for (let last = -1n; reader.remaining > 0;) {
    const offset = bytes.length - reader.remaining;
    const type = readBigSize(reader);
    if (type <= last) reader.fail(`type ${type} after ${last}, want rising`);
    last = type;
    const value = readValue(reader);
    const end = bytes.length - reader.remaining;
    records.push({ type, bytes: bytes.subarray(offset, end), value, offset });
  }
  return records;
}

function readValue(reader: Reader): Uint8Array {
  const size = readBigSize(reader);
  if (size > BigInt(reader.remaining)) {
    reader.fail(`${reader.remaining} bytes left, want ${size}`);
  }
  return reader.bytes(Number(size));
}

// --------------------------------------------------------------- signature

const leafHash = taggedHash("LnLeaf");
const branchHash = taggedHash("LnBranch");
/** The digest that an invoice's signature is over, out of its Merkle root. */
const invoiceDigest = taggedHash("lightning", "invoice", "signature");

/**
 * BOLT 12, "Signature Calculation": root of a tree with one leaf for each record
 * that is not a signature, beside a nonce that only who has the first record can
 * make.
 *
 * @throws {DecodeError} for a stream of signatures alone, or of nothing.
 */
export function merkleRoot(records: readonly RawRecord[]): Uint8Array {
  const first = records[0]?.bytes ?? fail("", "no records, want some");
  const nonceHash = taggedHash("LnNonce", first);
  let nodes = records.filter((record) => !isSignature(record))
    .map(({ type, bytes }) =>
      branch(leafHash(bytes), nonceHash(bigSize(type)))
    );
  while (nodes.length > 1) nodes = pairUp(nodes);
  return nodes[0] ?? fail("", "signatures only, want what they sign");
}

function isSignature({ type }: RawRecord): boolean {
  return type >= FIRST_SIGNATURE && type <= LAST_SIGNATURE;
}

/** One level up: neighbours are joined, an odd one goes up as it is. */
function pairUp(nodes: readonly Uint8Array[]): Uint8Array[] {
  const parents: Uint8Array[] = [];
  nodes.forEach((node, i) => {
    const left = i % 2 === 1 ? parents.pop() : undefined;
    parents.push(left === undefined ? node : branch(left, node));
  });
  return parents;
}

/** The lesser hash goes first. */
function branch(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.toHex() < b.toHex() ? branchHash(a, b) : branchHash(b, a);
}

function bigSize(value: bigint): Uint8Array {
  const writer = new Writer();
  writeBigSize(writer, value);
  return writer.finish();
}
