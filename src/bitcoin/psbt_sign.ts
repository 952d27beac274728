/**
 * Signing inside a PSBT, with the outcome that libwally's signer has.
 *
 * A key signs every input that names it in a key origin and holds no signature
 * of it yet. What is signed follows from the input's own fields (BIP 174), the
 * digest from the spent output: BIP 143, BIP 341, or the original one when only
 * a whole previous transaction is given. ECDSA is rule B, Taproot rule S
 * (`sign.ts`).
 *
 * What it does not do: choose keys, or check what the transaction pays. An input
 * that names no key of ours is left alone. Script path spends are not signed.
 *
 * @module
 */

import { hash160 } from "../crypto/hash.ts";
import { Writer } from "../wire/codec.ts";
import type { PubKey } from "../wire/types.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import { isSameBytes } from "./bytes.ts";
import { type KeyPair, tweakTaprootKey } from "./keys.ts";
import {
  fieldOf,
  fieldsOf,
  INPUT,
  type Psbt,
  type PsbtField,
  type PsbtInput,
  spentOutput,
} from "./psbt.ts";
import {
  isP2shOf,
  isP2wshOf,
  scriptCodeOfP2wpkh,
  scriptKind,
} from "./script.ts";
import {
  hashLegacy,
  hashSegwitV0,
  hashTaproot,
  SIGHASH_DEFAULT,
} from "./sighash.ts";
import { encodeDer, signGroundPlainFirst, signTaproot } from "./sign.ts";
import { txidOf, type TxOutput, writeOutput } from "./tx.ts";

const SIGHASH_ALL = 0x01;
const NOTHING: Uint8Array = new Uint8Array();

/** Fails a request whose PSBT the stock signer would choke on. */
function refuse(index: number, problem: string): never {
  throw new RequestError(
    SIGNER_ERROR_CODES.badRequest,
    `Cannot sign PSBT input ${index}: ${problem}`,
  );
}

/** The input with a field added; one with the same key stays as it is. */
function withField(input: PsbtInput, field: PsbtField): PsbtInput {
  const isThere = fieldsOf(input, field.type)
    .some(({ keyData }) => isSameBytes(keyData, field.keyData));
  return isThere ? input : { ...input, fields: [...input.fields, field] };
}

/** The input with a field that takes the place of another of its type. */
function replacingField(input: PsbtInput, field: PsbtField): PsbtInput {
  const others = input.fields.filter(({ type }) => type !== field.type);
  return { ...input, fields: [...others, field] };
}

/** Says in the input that the key signs it: its fingerprint, child 0. */
export function addKeyOrigin(
  input: PsbtInput,
  key: PubKey,
  { isTaproot }: { readonly isTaproot: boolean },
): PsbtInput {
  const origin = new Uint8Array(8);
  origin.set(hash160(key).subarray(0, 4));
  return withField(
    input,
    isTaproot
      ? {
        type: INPUT.tapKeyOrigin,
        keyData: key.subarray(1),
        value: Uint8Array.of(0, ...origin),
      }
      : { type: INPUT.keyOrigin, keyData: key, value: origin },
  );
}

/** Replaces what the input says about the script that it spends. */
export function setWitnessScript(
  input: PsbtInput,
  witnessScript: Uint8Array,
  spent: TxOutput,
): PsbtInput {
  const writer = new Writer();
  writeOutput(writer, spent);
  const scripted = replacingField(input, {
    type: INPUT.witnessScript,
    keyData: NOTHING,
    value: witnessScript,
  });
  const complete = replacingField(scripted, {
    type: INPUT.witnessUtxo,
    keyData: NOTHING,
    value: writer.finish(),
  });
  return { ...complete, witnessUtxo: spent };
}

/** The PSBT with the key's signature on every input that asks for it. */
export function signPsbt(psbt: Psbt, key: KeyPair): Psbt {
  const inputs = psbt.inputs.map((input, index) => {
    const named = findKey(input, key.point);
    return named === null ? input : signInput(psbt, index, named, key);
  });
  return { ...psbt, inputs };
}

/** Which field names the key and still lacks a signature, if any. */
type NamedBy = "key origin" | "Taproot key origin";

function findKey(input: PsbtInput, point: PubKey): NamedBy | null {
  if (hasKey(input, INPUT.keyOrigin, point)) {
    return hasKey(input, INPUT.partialSig, point) ? null : "key origin";
  }
  const isOpen = fieldOf(input, INPUT.tapKeySig) === undefined;
  return isOpen && hasKey(input, INPUT.tapKeyOrigin, point)
    ? "Taproot key origin"
    : null;
}

/** Whether a field of the type has the key in its key data, whole or as its x. */
function hasKey(input: PsbtInput, type: number, point: PubKey): boolean {
  const wanted = type === INPUT.tapKeyOrigin ? point.subarray(1) : point;
  return fieldsOf(input, type)
    .some(({ keyData }) => isSameBytes(keyData, wanted));
}

function signInput(
  psbt: Psbt,
  index: number,
  named: NamedBy,
  key: KeyPair,
): PsbtInput {
  const input = psbt.inputs[index] ?? refuse(index, "no such input");
  const spent = spentOutput(input) ?? refuse(index, "spends nothing known");
  const isTaproot = scriptKind(spent.script) === "p2tr";
  if (isTaproot !== (named === "Taproot key origin")) {
    refuse(index, `named by a ${named}, its output says otherwise`);
  }
  const script = signingScript(input, index, spent);
  return isTaproot
    ? signTaprootInput(psbt, index, input, key)
    : signEcdsaInput(psbt, index, input, script, key);
}

/** The redeem script where there is one, else what the output is locked with. */
function signingScript(
  input: PsbtInput,
  index: number,
  spent: TxOutput,
): Uint8Array {
  const redeem = fieldOf(input, INPUT.redeemScript)?.value;
  if (redeem === undefined) return spent.script;
  return isP2shOf(spent.script, redeem)
    ? redeem
    : refuse(index, "redeem script of another output");
}

/** The input's own sighash, or the usual one; BIP 174 gives it four bytes. */
function sighashOf(input: PsbtInput, index: number, usual: number): number {
  const value = fieldOf(input, INPUT.sighash)?.value ?? NOTHING;
  if (value.subarray(1).some((byte) => byte !== 0)) {
    refuse(index, "sighash of more than a byte");
  }
  return (value[0] ?? 0) || usual;
}

function signTaprootInput(
  psbt: Psbt,
  index: number,
  input: PsbtInput,
  key: KeyPair,
): PsbtInput {
  if (input.witnessUtxo === null) checkPrevious(input, index);
  const sighash = sighashOf(input, index, SIGHASH_DEFAULT);
  const spent = psbt.inputs.map(spentOutput);
  const digest = hashTaproot(psbt.tx, index, spent, sighash);
  const merkleRoot = fieldOf(input, INPUT.tapMerkleRoot)?.value;
  const tweaked = tweakTaprootKey(key.secret, merkleRoot);
  const signature = signTaproot(digest, tweaked);
  return withField(input, {
    type: INPUT.tapKeySig,
    keyData: NOTHING,
    value: sighash === SIGHASH_DEFAULT
      ? signature
      : Uint8Array.of(...signature, sighash),
  });
}

function signEcdsaInput(
  psbt: Psbt,
  index: number,
  input: PsbtInput,
  script: Uint8Array,
  { secret, point }: KeyPair,
): PsbtInput {
  const sighash = sighashOf(input, index, SIGHASH_ALL);
  const digest = ecdsaDigest(psbt, index, input, { script, sighash });
  const signature = signGroundPlainFirst(digest, secret);
  return withField(input, {
    type: INPUT.partialSig,
    keyData: point,
    value: encodeDer(signature, sighash),
  });
}

/** SegWit if the PSBT says so by a witness UTXO; libwally asks no more either. */
function ecdsaDigest(
  { tx }: Psbt,
  index: number,
  input: PsbtInput,
  { script, sighash }: {
    readonly script: Uint8Array;
    readonly sighash: number;
  },
): Uint8Array {
  if (input.witnessUtxo === null) {
    checkPrevious(input, index);
    return hashLegacy(tx, { index, script, sighash });
  }
  return hashSegwitV0(tx, {
    index,
    script: segwitScriptCode(input, index, script),
    amount: input.witnessUtxo.amount,
    sighash,
  });
}

function segwitScriptCode(
  input: PsbtInput,
  index: number,
  script: Uint8Array,
): Uint8Array {
  const kind = scriptKind(script);
  if (kind === "p2wpkh") return scriptCodeOfP2wpkh(script);
  const witness = fieldOf(input, INPUT.witnessScript)?.value;
  if (kind !== "p2wsh") refuse(index, "not a SegWit script");
  if (witness === undefined) refuse(index, "no witness script");
  return isP2wshOf(script, witness)
    ? witness
    : refuse(index, "witness script of another output");
}

/** BIP 174: a whole previous transaction must be the one that is spent. */
function checkPrevious(input: PsbtInput, index: number): void {
  const previous = input.nonWitnessUtxo ??
    refuse(index, "spends nothing known");
  if (!isSameBytes(txidOf(previous), input.txid)) {
    refuse(index, "previous transaction has another id");
  }
}
