/**
 * PSBT: the envelope in which wallets hand each other a transaction to sign.
 *
 * Reads versions 0 and 2 (BIP 174, BIP 370, the Taproot fields of BIP 371) and
 * writes version 0 exactly as Core Lightning's hsmd does by way of libwally:
 * fields in libwally's order, what it does not know kept as it was and put last,
 * fields that a finalised input no longer needs left out, previous transactions
 * without their witnesses.
 *
 * The form of each field is checked as libwally checks it: keys must be points,
 * signatures must be DER, preimages must hash to their keys. Bytes after the
 * last map are ignored.
 *
 * What it does not do: sign (`psbt_sign.ts`), combine, finalise, Elements.
 *
 * @module
 */

import { hash160, ripemd160, sha256, sha256d } from "../crypto/hash.ts";
import { isAnyPoint, isXOnly } from "../crypto/secp.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import { Reader, Writer } from "../wire/codec.ts";
import type { Sat, Txid } from "../wire/types.ts";
import {
  isSameBytes,
  readCompactSize,
  readCompactValue,
  readList,
  readU32,
  readU64,
  readVarBytes,
  writeCompactSize,
  writeU8,
  writeVarBytes,
} from "./bytes.ts";
import { isDer } from "./sign.ts";
import {
  decodeTx,
  encodeTxWithoutWitness,
  readOutput,
  type Tx,
  type TxOutput,
} from "./tx.ts";

/** Field types of an input that signing reads or writes. */
export const INPUT = {
  nonWitnessUtxo: 0x00,
  witnessUtxo: 0x01,
  partialSig: 0x02,
  sighash: 0x03,
  redeemScript: 0x04,
  witnessScript: 0x05,
  keyOrigin: 0x06,
  finalScriptSig: 0x07,
  finalWitness: 0x08,
  tapKeySig: 0x13,
  tapKeyOrigin: 0x16,
  tapMerkleRoot: 0x18,
} as const;

/** A field: its type, what its key says besides, its value. */
export interface PsbtField {
  readonly type: number;
  readonly keyData: Uint8Array;
  readonly value: Uint8Array;
}

/** A field of a type that we do not know; kept as it came. */
interface UnknownField {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** The fields of one map, in the order in which they were read or added. */
export interface PsbtMap {
  readonly fields: readonly PsbtField[];
  readonly unknown: readonly UnknownField[];
}

/** An input: its map, and what the fields in it mean. */
export interface PsbtInput extends PsbtMap {
  readonly txid: Txid;
  readonly index: number;
  readonly witnessUtxo: TxOutput | null;
  readonly nonWitnessUtxo: Tx | null;
}

/** A PSBT of either version. */
export interface Psbt {
  readonly globals: PsbtMap;
  /** The transaction without any signature. */
  readonly tx: Tx;
  readonly inputs: readonly PsbtInput[];
  readonly outputs: readonly PsbtMap[];
}

/** The first field of a type; undefined when there is none. */
export function fieldOf(map: PsbtMap, type: number): PsbtField | undefined {
  return map.fields.find((field) => field.type === type);
}

/** All fields of a type. */
export function fieldsOf(map: PsbtMap, type: number): readonly PsbtField[] {
  return map.fields.filter((field) => field.type === type);
}

/** What an input spends, as far as the PSBT says. */
export function spentOutput(input: PsbtInput): TxOutput | null {
  return input.witnessUtxo ??
    input.nonWitnessUtxo?.outputs[input.index] ?? null;
}

// -------------------------------------------------------------- field tables

/** What libwally demands of a field; returns what is wrong, or null. */
type Check = (value: Uint8Array, keyData: Uint8Array) => string | null;

interface FieldRule {
  /** Whether keys of this type go on after the type; such types may repeat. */
  readonly hasKeyData?: boolean;
  readonly check: Check;
}

const sized = (...sizes: readonly number[]): FieldRule => ({
  check: ({ length }) =>
    sizes.includes(length) ? null : `${length} bytes, want ${sizes.join("/")}`,
});
const notEmpty: FieldRule = {
  check: ({ length }) => length > 0 ? null : "no bytes, want some",
};
const anything: FieldRule = { check: () => null };

/** Fingerprint, then path steps of four bytes each. */
function isOrigin(value: Uint8Array): boolean {
  return value.length >= 4 && value.length % 4 === 0;
}

const keyOrigin: FieldRule = {
  hasKeyData: true,
  check: (value, key) =>
    isAnyPoint(key) && isOrigin(value) ? null : "not a key and its origin",
};

const tapKeyOrigin: FieldRule = {
  hasKeyData: true,
  check: (value, key) => {
    const reader = new Reader(value, "PSBT Taproot key origin");
    const hashes = Number(readCompactValue(reader));
    if (hashes * 32 > reader.remaining) return "leaf hashes missing";
    const path = value.subarray(value.length - reader.remaining + hashes * 32);
    return isXOnly(key) && isOrigin(path) ? null : "not a key and its origin";
  },
};

const preimageOf = (hash: (bytes: Uint8Array) => Uint8Array): FieldRule => ({
  hasKeyData: true,
  check: (value, key) =>
    isSameBytes(hash(value), key) ? null : "preimage does not hash to its key",
});

const CONTROL_BLOCK_LIMIT = 33 + 32 * 128;

const isControlBlock = ({ length }: Uint8Array): boolean =>
  length >= 33 && length <= CONTROL_BLOCK_LIMIT && (length - 33) % 32 === 0;

const LOCKTIME_THRESHOLD = 500_000_000;

function u32Of(value: Uint8Array): number {
  return readU32(new Reader(value, "PSBT field"));
}

const lock = (isValid: (at: number) => boolean): FieldRule => ({
  check: (value) =>
    value.length === 4 && isValid(u32Of(value)) ? null : "not such a lock time",
});

const GLOBAL_FIELDS: ReadonlyMap<number, FieldRule> = new Map([
  [0x00, anything], // unsigned transaction, read below
  [0x01, { // extended public key: depth as long as its path
    hasKeyData: true,
    check: (value, key) =>
      key.length === 78 && isOrigin(value) &&
        key[4] === value.length / 4 - 1 && isAnyPoint(key.subarray(45))
        ? null
        : "not an extended key and its origin",
  }],
  [0x02, sized(4)], // transaction version
  [0x03, sized(4)], // fallback locktime
  [0x04, notEmpty], // input count
  [0x05, notEmpty], // output count
  [0x06, {
    check: (value) =>
      value.length === 1 && (value[0] ?? 8) < 8 ? null : "not such flags",
  }],
  [0xfb, sized(4)], // version
]);

const INPUT_FIELDS: ReadonlyMap<number, FieldRule> = new Map([
  [INPUT.nonWitnessUtxo, anything], // read below
  [INPUT.witnessUtxo, anything], // read below
  [INPUT.partialSig, {
    hasKeyData: true,
    check: (value: Uint8Array, key: Uint8Array) =>
      isAnyPoint(key) && isDer(value) ? null : "not a key and its signature",
  }],
  [INPUT.sighash, sized(4)],
  [INPUT.redeemScript, notEmpty],
  [INPUT.witnessScript, notEmpty],
  [INPUT.keyOrigin, keyOrigin],
  [INPUT.finalScriptSig, notEmpty],
  [INPUT.finalWitness, {
    check: (value) => {
      const reader = new Reader(value, "PSBT final witness");
      readList(reader, () => readVarBytes(reader));
      return reader.remaining === 0 ? null : "bytes after the witness";
    },
  }],
  [0x09, notEmpty], // proof of reserves
  [0x0a, preimageOf(ripemd160)],
  [0x0b, preimageOf(sha256)],
  [0x0c, preimageOf(hash160)],
  [0x0d, preimageOf(sha256d)],
  [0x0e, sized(32)], // previous txid
  [0x0f, sized(4)], // output index
  [0x10, sized(4)], // sequence
  [0x11, lock((at) => at >= LOCKTIME_THRESHOLD)],
  [0x12, lock((at) => at > 0 && at < LOCKTIME_THRESHOLD)],
  [INPUT.tapKeySig, sized(64, 65)],
  [0x14, {
    hasKeyData: true,
    check: (value, key) =>
      key.length === 64 && (value.length === 64 || value.length === 65)
        ? null
        : "not a leaf and its signature",
  }],
  [0x15, {
    hasKeyData: true,
    check: (value, key) =>
      isControlBlock(key) && value.length > 0 ? null : "not a leaf script",
  }],
  [INPUT.tapKeyOrigin, tapKeyOrigin],
  [0x17, sized(32)],
  [INPUT.tapMerkleRoot, sized(32)],
]);

const OUTPUT_FIELDS: ReadonlyMap<number, FieldRule> = new Map([
  [0x00, notEmpty], // redeem script
  [0x01, notEmpty], // witness script
  [0x02, keyOrigin],
  [0x03, sized(8)], // amount
  [0x04, anything], // script
  [0x05, sized(32)], // Taproot internal key
  [0x06, { // Taproot tree
    check: ({ length }) => length >= 4 ? null : "too short for a tree",
  }],
  [0x07, tapKeyOrigin],
]);

/** What version 2 has in fields and version 0 in the unsigned transaction. */
const V2_GLOBALS = [0x02, 0x03, 0x04, 0x05, 0x06];
const V2_INPUTS = [0x0e, 0x0f, 0x10, 0x11, 0x12];
const V2_OUTPUTS = [0x03, 0x04];

// ------------------------------------------------------------------- reading

const MAGIC = Uint8Array.of(0x70, 0x73, 0x62, 0x74, 0xff);
const SEQUENCE_FINAL = 0xffff_ffff;

/** @throws {DecodeError} for anything that libwally would not read */
export function decodePsbt(bytes: Uint8Array): Psbt {
  const reader = new Reader(bytes, "PSBT");
  if (!isSameBytes(reader.bytes(MAGIC.length), MAGIC)) reader.fail("no magic");
  const globals = reader.within(
    "globals",
    () => readMap(reader, GLOBAL_FIELDS),
  );
  const version = numberOf(globals, 0xfb) ?? 0;
  if (version === 0) return readVersion0(reader, globals);
  if (version === 2) return readVersion2(reader, globals);
  return reader.fail(`version ${version}, want 0 or 2`);
}

function numberOf(map: PsbtMap, type: number): number | undefined {
  const field = fieldOf(map, type);
  return field && u32Of(field.value);
}

function readVersion0(reader: Reader, globals: PsbtMap): Psbt {
  forbid(reader, globals, V2_GLOBALS);
  const unsigned = fieldOf(globals, 0x00) ?? reader.fail("no transaction");
  const tx = decodeTx(unsigned.value, { isLegacy: true });
  if (tx.inputs.some(({ scriptSig }) => scriptSig.length > 0)) {
    reader.fail("a transaction with signatures, want one without");
  }
  const inputs = tx.inputs.map(({ txid, index }, i) =>
    reader.within(`inputs.${i}`, () => {
      const map = readMap(reader, INPUT_FIELDS);
      forbid(reader, map, V2_INPUTS);
      return toInput(reader, map, { txid, index });
    })
  );
  const outputs = tx.outputs.map((_, i) =>
    reader.within(`outputs.${i}`, () => {
      const map = readMap(reader, OUTPUT_FIELDS);
      forbid(reader, map, V2_OUTPUTS);
      return map;
    })
  );
  // The stock hsmd works on version 2, which knows no transaction version 1.
  return {
    globals,
    tx: { ...tx, version: Math.max(tx.version, 2) },
    inputs,
    outputs,
  };
}

function readVersion2(reader: Reader, globals: PsbtMap): Psbt {
  forbid(reader, globals, [0x00]);
  const version = numberOf(globals, 0x02) ?? reader.fail("no version");
  if (version < 2) reader.fail(`transaction version ${version}, want 2`);
  const inputs = Array.from(
    { length: countOf(reader, globals, 0x04) },
    (_, i) =>
      reader.within(`inputs.${i}`, () => {
        const map = readMap(reader, INPUT_FIELDS);
        const txid = fieldOf(map, 0x0e) ?? reader.fail("no previous txid");
        const index = numberOf(map, 0x0f) ?? reader.fail("no output index");
        // 32 bytes by the field's rule, in internal order by BIP 370.
        return toInput(reader, map, { txid: txid.value as Txid, index });
      }),
  );
  const outputs = Array.from(
    { length: countOf(reader, globals, 0x05) },
    (_, i) =>
      reader.within(`outputs.${i}`, () => readMap(reader, OUTPUT_FIELDS)),
  );
  const tx = {
    version,
    inputs: inputs.map((input) => ({
      txid: input.txid,
      index: input.index,
      scriptSig: new Uint8Array(),
      sequence: numberOf(input, 0x10) ?? SEQUENCE_FINAL,
      witness: [],
    })),
    outputs: outputs.map((map) => outputOf(reader, map)),
    locktime: locktimeOf(reader, globals, inputs),
  };
  return { globals, tx, inputs, outputs };
}

/** A count of maps, none of which can be shorter than its separator. */
function countOf(reader: Reader, globals: PsbtMap, type: number): number {
  const field = fieldOf(globals, type) ?? reader.fail("no count");
  const count = readCompactValue(new Reader(field.value, "PSBT count"));
  return count <= BigInt(reader.remaining)
    ? Number(count)
    : reader.fail(`${count} maps in ${reader.remaining} bytes`);
}

function outputOf(reader: Reader, map: PsbtMap): TxOutput {
  const amount = fieldOf(map, 0x03) ?? reader.fail("no amount");
  const script = fieldOf(map, 0x04) ?? reader.fail("no script");
  return {
    // The field holds satoshi by BIP 370.
    amount: readU64(new Reader(amount.value, "PSBT amount")) as Sat,
    script: script.value,
  };
}

/** BIP 370: the strictest of the inputs' locks, heights before times. */
function locktimeOf(
  reader: Reader,
  globals: PsbtMap,
  inputs: readonly PsbtMap[],
): number {
  const locks = inputs.map((input) => ({
    time: numberOf(input, 0x11) ?? 0,
    height: numberOf(input, 0x12) ?? 0,
  }));
  const needsTime = locks.some(({ time, height }) => time > 0 && height === 0);
  const needsHeight = locks.some(({ time, height }) =>
    height > 0 && time === 0
  );
  if (needsTime && needsHeight) reader.fail("locks by time and by height");
  const time = locks.reduce((most, each) => Math.max(most, each.time), 0);
  const height = locks.reduce((most, each) => Math.max(most, each.height), 0);
  if (needsTime) return time;
  return height || time || (numberOf(globals, 0x03) ?? 0);
}

function forbid(reader: Reader, map: PsbtMap, types: readonly number[]): void {
  const found = map.fields.find(({ type }) => types.includes(type));
  if (found) reader.fail(`field ${found.type} of another version`);
}

function readMap(
  reader: Reader,
  rules: ReadonlyMap<number, FieldRule>,
): PsbtMap {
  const fields: PsbtField[] = [];
  const unknown: UnknownField[] = [];
  const seen = new Set<string>();
  for (let size; (size = readCompactSize(reader)) !== 0;) {
    const key = reader.bytes(size);
    const value = readVarBytes(reader);
    const name = key.toHex();
    if (seen.has(name)) reader.fail(`key ${name} twice, want once`);
    seen.add(name);
    const field = toField(key, value);
    const rule = rules.get(field.type);
    if (rule === undefined) {
      unknown.push({ key, value });
    } else {
      checkField(reader, rule, field);
      fields.push(field);
    }
  }
  return { fields, unknown };
}

function toField(key: Uint8Array, value: Uint8Array): PsbtField {
  const reader = new Reader(key, "PSBT key");
  const type = Number(readCompactValue(reader));
  return { type, keyData: reader.bytes(reader.remaining), value };
}

function checkField(reader: Reader, rule: FieldRule, field: PsbtField): void {
  if (rule.hasKeyData !== true && field.keyData.length > 0) {
    reader.fail(`field ${field.type} with key data, want none`);
  }
  const problem = rule.check(field.value, field.keyData);
  if (problem !== null) reader.fail(`field ${field.type}: ${problem}`);
}

function toInput(
  reader: Reader,
  map: PsbtMap,
  outpoint: { readonly txid: Txid; readonly index: number },
): PsbtInput {
  const previous = fieldOf(map, INPUT.nonWitnessUtxo);
  const spent = fieldOf(map, INPUT.witnessUtxo);
  checkSighashes(reader, map);
  return {
    ...map,
    ...outpoint,
    witnessUtxo: spent === undefined ? null : decodeOutput(spent.value),
    nonWitnessUtxo: previous === undefined ? null : decodeTx(previous.value),
  };
}

function decodeOutput(bytes: Uint8Array): TxOutput {
  const reader = new Reader(bytes, "PSBT witness UTXO");
  return reader.window(bytes.length, () => readOutput(reader));
}

/** An input that says its sighash cannot hold signatures of another. */
function checkSighashes(reader: Reader, map: PsbtMap): void {
  const sighash = numberOf(map, INPUT.sighash) ?? 0;
  if (sighash === 0) return;
  const other = fieldsOf(map, INPUT.partialSig)
    .find(({ value }) => value.at(-1) !== sighash);
  if (other) reader.fail(`a signature of another sighash than ${sighash}`);
}

// ------------------------------------------------------------------- writing

/** libwally's order; preimages of all four kinds keep the order they came in. */
const INPUT_ORDER: readonly (readonly number[])[] = [
  [0x00],
  [0x01],
  [0x02],
  [0x03],
  [0x04],
  [0x05],
  [0x06],
  [0x07],
  [0x08],
  [0x09],
  [0x0a, 0x0b, 0x0c, 0x0d],
  [0x13],
  [0x14],
  [0x15],
  [0x16],
  [0x17],
  [0x18],
];
const GLOBAL_ORDER = [[0x01]];
const OUTPUT_ORDER = [[0x00], [0x01], [0x02], [0x05], [0x06], [0x07]];
/** BIP 174: what a finalised input should no longer carry. */
const NEEDED_TO_FINALISE: readonly number[] = [
  INPUT.partialSig,
  INPUT.sighash,
  INPUT.redeemScript,
  INPUT.witnessScript,
  INPUT.keyOrigin,
];

/**
 * The PSBT as version 0.
 *
 * @throws {RequestError} for what libwally can read but not write: an outpoint
 *   of zeros, an output without script
 */
export function encodePsbt(psbt: Psbt): Uint8Array {
  checkWritable(psbt.tx);
  const writer = new Writer();
  writer.bytes(MAGIC);
  const unsigned = encodeTxWithoutWitness(psbt.tx);
  writeField(writer, { type: 0, keyData: NOTHING, value: unsigned });
  writeMap(writer, psbt.globals, GLOBAL_ORDER);
  for (const input of psbt.inputs) {
    writeMap(writer, { ...input, fields: writtenFields(input) }, INPUT_ORDER);
  }
  for (const output of psbt.outputs) writeMap(writer, output, OUTPUT_ORDER);
  return writer.finish();
}

const NOTHING = new Uint8Array();

function checkWritable(tx: Tx): void {
  const isBad =
    tx.inputs.some(({ txid }) => txid.every((byte) => byte === 0)) ||
    tx.outputs.some(({ script }) => script.length === 0);
  if (!isBad) return;
  throw new RequestError(
    SIGNER_ERROR_CODES.badRequest,
    "Cannot write a PSBT: an input spends nothing or an output has no script",
  );
}

function writtenFields(input: PsbtInput): readonly PsbtField[] {
  const isFinal = fieldOf(input, INPUT.finalScriptSig) !== undefined ||
    fieldOf(input, INPUT.finalWitness) !== undefined;
  return input.fields
    .filter(({ type }) => !isFinal || !NEEDED_TO_FINALISE.includes(type))
    .filter(({ type, value }) => type !== INPUT.sighash || u32Of(value) !== 0)
    .map((field) =>
      field.type === INPUT.nonWitnessUtxo && input.nonWitnessUtxo !== null
        ? { ...field, value: encodeTxWithoutWitness(input.nonWitnessUtxo) }
        : field
    );
}

function writeMap(
  writer: Writer,
  map: PsbtMap,
  order: readonly (readonly number[])[],
): void {
  for (const types of order) {
    for (const field of map.fields) {
      if (types.includes(field.type)) writeField(writer, field);
    }
  }
  for (const { key, value } of map.unknown) {
    writeVarBytes(writer, key);
    writeVarBytes(writer, value);
  }
  writeU8(writer, 0);
}

/** All known types fit one byte. */
function writeField(writer: Writer, field: PsbtField): void {
  writeCompactSize(writer, 1 + field.keyData.length);
  writeU8(writer, field.type);
  writer.bytes(field.keyData);
  writeVarBytes(writer, field.value);
}
