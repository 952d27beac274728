/**
 * Transactions: bytes to a value and back.
 *
 * BIP 144 (with witnesses) and the serialisation before it. Txids stay in
 * internal byte order, the order inside a transaction.
 *
 * Written by hand rather than taken from the library that tests compare it
 * with: a signer is asked for a few fields of a transaction somebody else
 * serialised, must never throw anything but a DecodeError, and must accept what
 * libwally accepts (no limits on amounts, CompactSize in any form).
 *
 * What it does not do: judge. No amounts are summed, no script is looked at.
 *
 * @module
 */

import { sha256d } from "../crypto/hash.ts";
import { Reader, Writer } from "../wire/codec.ts";
import type { Sat, Txid } from "../wire/types.ts";
import {
  readCompactSize,
  readList,
  readU32,
  readU64,
  readVarBytes,
  writeCompactSize,
  writeU32,
  writeU64,
  writeVarBytes,
} from "./bytes.ts";

/** What a transaction spends. */
export interface TxInput {
  readonly txid: Txid;
  readonly index: number;
  readonly scriptSig: Uint8Array;
  readonly sequence: number;
  /** Witness stack; empty for none. */
  readonly witness: readonly Uint8Array[];
}

/** What a transaction pays. */
export interface TxOutput {
  readonly amount: Sat;
  readonly script: Uint8Array;
}

/** A transaction. */
export interface Tx {
  readonly version: number;
  readonly inputs: readonly TxInput[];
  readonly outputs: readonly TxOutput[];
  readonly locktime: number;
}

/** How to read: `isLegacy` takes a first count of zero as a count. */
export interface TxForm {
  readonly isLegacy?: boolean;
}

/** @throws {DecodeError} for anything that is not exactly one transaction */
export function decodeTx(bytes: Uint8Array, form: TxForm = {}): Tx {
  const reader = new Reader(bytes, "transaction");
  return reader.window(bytes.length, () => readTx(reader, form));
}

/** Reads a transaction in the middle of something else. */
export function readTx(reader: Reader, { isLegacy = false }: TxForm = {}): Tx {
  const version = readU32(reader);
  const { count, hasWitness } = readMarker(reader, isLegacy);
  const bare = Array.from(
    { length: count },
    (_, i) => reader.within(`inputs.${i}`, () => readInput(reader)),
  );
  const outputs = reader.within(
    "outputs",
    () => readList(reader, () => readOutput(reader)),
  );
  const inputs = hasWitness
    ? bare.map((input) => ({ ...input, witness: readWitness(reader) }))
    : bare;
  return { version, inputs, outputs, locktime: readU32(reader) };
}

/** BIP 144: where the count of inputs would be, a zero and then a one. */
function readMarker(
  reader: Reader,
  isLegacy: boolean,
): { count: number; hasWitness: boolean } {
  const count = readCompactSize(reader);
  if (count !== 0 || isLegacy) return { count, hasWitness: false };
  const flag = reader.u8();
  if (flag !== 1) reader.fail(`witness flag ${flag}, want 1`);
  return { count: readCompactSize(reader), hasWitness: true };
}

function readInput(reader: Reader): TxInput {
  return {
    // 32 bytes read as the format says make a txid.
    txid: reader.bytes(32) as Uint8Array as Txid,
    index: readU32(reader),
    scriptSig: readVarBytes(reader),
    sequence: readU32(reader),
    witness: [],
  };
}

/** Reads an output: 8 bytes of amount, a script. */
export function readOutput(reader: Reader): TxOutput {
  return {
    amount: readU64(reader) as Sat,
    script: readVarBytes(reader),
  };
}

function readWitness(reader: Reader): Uint8Array[] {
  return readList(reader, () => readVarBytes(reader));
}

/** The serialisation before BIP 144: what a txid is the hash of. */
export function encodeTxWithoutWitness(tx: Tx): Uint8Array {
  const writer = new Writer();
  writeU32(writer, tx.version);
  writeCompactSize(writer, tx.inputs.length);
  for (const input of tx.inputs) {
    writer.bytes(input.txid);
    writeU32(writer, input.index);
    writeVarBytes(writer, input.scriptSig);
    writeU32(writer, input.sequence);
  }
  writeCompactSize(writer, tx.outputs.length);
  for (const output of tx.outputs) writeOutput(writer, output);
  writeU32(writer, tx.locktime);
  return writer.finish();
}

/** Writes an output: 8 bytes of amount, a script. */
export function writeOutput(writer: Writer, output: TxOutput): void {
  writeU64(writer, output.amount);
  writeVarBytes(writer, output.script);
}

/** The transaction's id, in internal byte order. */
export function txidOf(tx: Tx): Txid {
  return sha256d(encodeTxWithoutWitness(tx)) as Uint8Array as Txid;
}
