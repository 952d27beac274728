/**
 * The three digests that Bitcoin signatures are over.
 *
 * | spent output | digest |
 * | --- | --- |
 * | SegWit version 0 | BIP 143 |
 * | Taproot key path | BIP 341 |
 * | before SegWit | the original one, which nobody should need |
 *
 * What it does not do: find the script or the amount; the caller knows which
 * promise it signs. A sighash byte that no standard defines is refused for every
 * kind of digest, as libwally does.
 *
 * @module
 */

import { sha256, sha256d, taggedHash } from "../crypto/hash.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import { Writer } from "../wire/codec.ts";
import {
  writeCompactSize,
  writeU32,
  writeU64,
  writeU8,
  writeVarBytes,
} from "./bytes.ts";
import { type Tx, type TxInput, type TxOutput, writeOutput } from "./tx.ts";

/** BIP 341: sign everything, say nothing. */
export const SIGHASH_DEFAULT = 0x00;
const ALL = 0x01;
const NONE = 0x02;
const SINGLE = 0x03;
const ANYONE_CAN_PAY = 0x80;
const OUTPUT_BITS = 0x03;
const ZEROS: Uint8Array = new Uint8Array(32);

const tapSighash = taggedHash("TapSighash");

/** Fails a request whose transaction cannot be signed as it asks. */
function refuse(problem: string): never {
  throw new RequestError(
    SIGNER_ERROR_CODES.badRequest,
    `Cannot hash a transaction: ${problem}`,
  );
}

/** Fails for a sighash byte other than DEFAULT, ALL, NONE, SINGLE, or |0x80. */
function checkSighash(sighash: number): void {
  const kind = sighash & ~ANYONE_CAN_PAY;
  const isValid = sighash === SIGHASH_DEFAULT || kind >= ALL && kind <= SINGLE;
  if (!isValid) refuse(`sighash ${sighash}, want a standard one`);
}

function inputAt(tx: Tx, index: number): TxInput {
  return tx.inputs[index] ??
    refuse(`input ${index}, want less than ${tx.inputs.length}`);
}

function bytesOf(write: (writer: Writer) => void): Uint8Array {
  const writer = new Writer();
  write(writer);
  return writer.finish();
}

function writeOutpoint(writer: Writer, input: TxInput): void {
  writer.bytes(input.txid);
  writeU32(writer, input.index);
}

const outpointsOf = (inputs: readonly TxInput[]) =>
  bytesOf((writer) => inputs.forEach((each) => writeOutpoint(writer, each)));
const sequencesOf = (inputs: readonly TxInput[]) =>
  bytesOf((writer) =>
    inputs.forEach(({ sequence }) => writeU32(writer, sequence))
  );
const outputsOf = (outputs: readonly TxOutput[]) =>
  bytesOf((writer) => outputs.forEach((each) => writeOutput(writer, each)));

/** What an input's signature commits to besides the transaction. */
export interface Spend {
  readonly index: number;
  readonly script: Uint8Array;
  readonly amount: bigint;
  readonly sighash: number;
}

/** BIP 143: the digest for an input of SegWit version 0. */
export function hashSegwitV0(tx: Tx, spend: Spend): Uint8Array {
  const { index, script, amount, sighash } = spend;
  checkSighash(sighash);
  const input = inputAt(tx, index);
  const isAlone = (sighash & ANYONE_CAN_PAY) !== 0;
  const kind = sighash & OUTPUT_BITS;
  const isAllOutputs = kind !== NONE && kind !== SINGLE;
  return sha256d(bytesOf((writer) => {
    writeU32(writer, tx.version);
    writer.bytes(isAlone ? ZEROS : sha256d(outpointsOf(tx.inputs)));
    writer.bytes(
      isAlone || !isAllOutputs ? ZEROS : sha256d(sequencesOf(tx.inputs)),
    );
    writeOutpoint(writer, input);
    writeVarBytes(writer, script);
    writeU64(writer, amount);
    writeU32(writer, input.sequence);
    writer.bytes(hashSignedOutputs(tx, index, kind));
    writeU32(writer, tx.locktime);
    writeU32(writer, sighash);
  }));
}

/** BIP 143: SINGLE without an output of the same index hashes to zeros. */
function hashSignedOutputs(tx: Tx, index: number, kind: number): Uint8Array {
  if (kind === NONE) return ZEROS;
  if (kind !== SINGLE) return sha256d(outputsOf(tx.outputs));
  const output = tx.outputs[index];
  return output === undefined ? ZEROS : sha256d(outputsOf([output]));
}

/** BIP 341: the digest for a key path spend, over all the spent outputs. */
export function hashTaproot(
  tx: Tx,
  index: number,
  spent: readonly (TxOutput | null)[],
  sighash: number,
): Uint8Array {
  checkSighash(sighash);
  const input = inputAt(tx, index);
  const kind = sighash & OUTPUT_BITS;
  const isAlone = (sighash & ANYONE_CAN_PAY) !== 0;
  return tapSighash(bytesOf((writer) => {
    writeU8(writer, 0); // epoch
    writeU8(writer, sighash);
    writeU32(writer, tx.version);
    writeU32(writer, tx.locktime);
    if (!isAlone) writeSpentHashes(writer, tx, spent);
    if (kind !== NONE && kind !== SINGLE) {
      writer.bytes(sha256(outputsOf(tx.outputs)));
    }
    writeU8(writer, 0); // key path, no annex
    if (isAlone) {
      writeOutpoint(writer, input);
      writeOutput(writer, spentAt(spent, index));
      writeU32(writer, input.sequence);
    } else {
      writeU32(writer, index);
    }
    if (kind === SINGLE) {
      const output = tx.outputs[index] ?? refuse(`no output ${index}`);
      writer.bytes(sha256(outputsOf([output])));
    }
  }));
}

function spentAt(spent: readonly (TxOutput | null)[], index: number): TxOutput {
  return spent[index] ?? refuse(`nothing known of what input ${index} spends`);
}

function writeSpentHashes(
  writer: Writer,
  tx: Tx,
  spent: readonly (TxOutput | null)[],
): void {
  const outputs = tx.inputs.map((_, i) => spentAt(spent, i));
  writer.bytes(sha256(outpointsOf(tx.inputs)));
  writer.bytes(
    sha256(bytesOf((w) => outputs.forEach((o) => writeU64(w, o.amount)))),
  );
  writer.bytes(
    sha256(bytesOf((w) => outputs.forEach((o) => writeVarBytes(w, o.script)))),
  );
  writer.bytes(sha256(sequencesOf(tx.inputs)));
}

/** Bitcoin's first digest, for outputs older than SegWit; amounts not included. */
export function hashLegacy(
  tx: Tx,
  { index, script, sighash }: Omit<Spend, "amount">,
): Uint8Array {
  checkSighash(sighash);
  const input = inputAt(tx, index);
  const kind = sighash & OUTPUT_BITS;
  if (kind === SINGLE && index >= tx.outputs.length) {
    // Bitcoin Core's oldest bug: this digest is the number one.
    const one = new Uint8Array(32);
    one[0] = 1;
    return one;
  }
  const isAlone = (sighash & ANYONE_CAN_PAY) !== 0;
  const inputs = isAlone ? [input] : tx.inputs;
  return sha256d(bytesOf((writer) => {
    writeU32(writer, tx.version);
    writeCompactSize(writer, inputs.length);
    for (const each of inputs) {
      const isSigned = each === input;
      writeOutpoint(writer, each);
      writeVarBytes(writer, isSigned ? script : new Uint8Array());
      const isFree = !isSigned && (kind === NONE || kind === SINGLE);
      writeU32(writer, isFree ? 0 : each.sequence);
    }
    writeLegacyOutputs(writer, tx, index, kind);
    writeU32(writer, tx.locktime);
    writeU32(writer, sighash);
  }));
}

/** NONE signs no output; SINGLE blanks those before the one that it signs. */
function writeLegacyOutputs(
  writer: Writer,
  tx: Tx,
  index: number,
  kind: number,
): void {
  const signed = kind === NONE
    ? []
    : kind === SINGLE
    ? tx.outputs.slice(0, index + 1)
    : tx.outputs;
  writeCompactSize(writer, signed.length);
  for (const [i, output] of signed.entries()) {
    if (kind === SINGLE && i < index) {
      writeU64(writer, 0xffff_ffff_ffff_ffffn);
      writeVarBytes(writer, new Uint8Array());
    } else {
      writeOutput(writer, output);
    }
  }
}
