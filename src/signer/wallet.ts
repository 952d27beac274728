/**
 * Requests to sign PSBTs: the wallet's coins, and channel outputs that become
 * the wallet's.
 *
 * The request lists outputs of ours; each is looked up among the PSBT's inputs,
 * its key is worked out, and that key then signs every input that names it. What
 * is in nobody's list stays as it came.
 *
 * Standards: BIP 174, BIP 371; BOLT 3 for what a peer's close pays us.
 *
 * Before anything is signed the transaction is judged (`policy/spend.ts`) by
 * what it does with our money (`spending.ts`).
 *
 * What it does not do: judge.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { type KeyPair, keyPairOf } from "../bitcoin/keys.ts";
import {
  decodePsbt,
  encodePsbt,
  fieldOf,
  fieldsOf,
  INPUT,
  type Psbt,
  type PsbtInput,
  spentOutput,
} from "../bitcoin/psbt.ts";
import {
  addKeyOrigin,
  setWitnessScript,
  signPsbt,
} from "../bitcoin/psbt_sign.ts";
import {
  isP2wshOf,
  p2wsh,
  scriptKind,
  toRemoteWithAnchors,
} from "../bitcoin/script.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { deriveWalletKey } from "../keyderiv/node.ts";
import { derivePrivateKey } from "../lightning/keys.ts";
import { anchorScript } from "../lightning/scripts.ts";
import { commitmentWeight } from "../lightning/weight.ts";
import { checkSpend, type Protection } from "../policy/spend.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import type { CloseInfo, HsmUtxo, PubKey } from "../wire/types.ts";
import { type Call, logLine, overgrindLine, refuseBad } from "./call.ts";
import type { Write } from "./memory.ts";
import {
  consentTo,
  consentToGift,
  holderCommitmentOn,
  rememberSpend,
  viewSpend,
} from "./spending.ts";
import type { Answer, Effect } from "./state.ts";

/** Shortest DER with sighash byte that fees were computed for. */
const GROUND_LENGTH = 71;
/** BOLT 3 with leases: the delay of to_remote takes two bytes at most. */
const LARGEST_CSV = 0x7fff;

/** A PSBT on its way through, with the log lines that belong to it. */
interface Progress {
  readonly psbt: Psbt;
  readonly effects: readonly Effect[];
}

/** 7: a transaction of the wallet. */
export function answerSignWithdrawal(
  call: Call,
  { inputs, psbt }: RequestOf<"sign_withdrawal">,
): Answer {
  const open = decodePsbt(psbt);
  const writes = judgeSpend(call, open, inputs, null);
  const signed = signOurInputs(call, inputs, open);
  const reply = { psbt: encodePsbt(signed.psbt) };
  return {
    reply: encodeMessage(REPLIES.sign_withdrawal_reply, reply),
    effects: signed.effects,
    writes,
  };
}

/** 149: an HTLC transaction that wallet inputs pay the fee of. */
export function answerSignHtlcMingle(
  call: Call,
  { peerid, channelDbid, inputs, psbt }: RequestOf<"sign_htlc_tx_mingle">,
): Answer {
  const open = decodePsbt(psbt);
  const channel = { peerId: peerid, dbid: channelDbid };
  const writes = judgeSpend(call, open, inputs, protectionOf(call, channel));
  const signed = signOurInputs(call, inputs, open);
  const reply = { psbt: encodePsbt(signed.psbt) };
  return {
    reply: encodeMessage(REPLIES.sign_htlc_tx_mingle_reply, reply),
    effects: signed.effects,
    writes,
  };
}

/** 147: a child that pays for a commitment, by its anchor. */
export function answerSignAnchorspend(
  call: Call,
  { peerid, channelDbid, inputs, psbt }: RequestOf<"sign_anchorspend">,
): Answer {
  const open = decodePsbt(psbt);
  const channel = { peerId: peerid, dbid: channelDbid };
  const { funding } = call.state.channels.keysOf(channel);
  checkAnchors(call, open, funding.point);
  const writes = judgeSpend(call, open, inputs, protectionOf(call, channel));
  const wallet = signOurInputs(call, inputs, open);
  const signed = signPsbt(wallet.psbt, funding);
  const reply = { psbt: encodePsbt(signed) };
  return {
    reply: encodeMessage(REPLIES.sign_anchorspend_reply, reply),
    effects: [
      ...wallet.effects,
      ...signed.inputs.flatMap((input) => shortSignature(call, input)),
    ],
    writes,
  };
}

/** Applies the rules of a spend; what it gives is to be remembered. */
function judgeSpend(
  call: Call,
  psbt: Psbt,
  utxos: readonly HsmUtxo[],
  protection: Protection | null,
): readonly Write[] {
  const { tx } = psbt;
  const isSigned = psbt.inputs.some((input) =>
    utxos.some((utxo) => isSpending(input, utxo))
  );
  // Without a coin of ours it is given back as it came, whatever it does; the
  // anchor of a fee bump holds next to nothing.
  if (!isSigned) return [];
  const spending = { psbt, tx, utxos, mayBeEarly: false, protection };
  const { fee } = checkSpend(call.judge, viewSpend(call, spending), {
    feeReference: call.feeReference,
    isConsented: consentTo(call, tx),
    isGiftConsented: consentToGift(call, tx),
  });
  return rememberSpend(call, spending, fee);
}

/** What a fee bump of a channel's transaction saves. */
function protectionOf(
  { state }: Call,
  channel: ChannelId,
): Protection {
  const record = state.memory.channel(channel);
  const states = record === null ? [] : record.fundings.flatMap((funding) => {
    const commitment = holderCommitmentOn(record, funding.outpoint);
    return commitment === null ? [] : [{ funding, commitment }];
  });
  // HTLCs of either direction may still become ours.
  const stakes = states.map(({ funding, commitment }) =>
    funding.value - commitment.toThem
  );
  const counts = states.map(({ commitment }) => commitment.htlcs.length);
  return {
    stake: stakes.reduce(larger, 0n),
    parentWeight: commitmentWeight(Math.max(0, ...counts), true),
  };
}

const larger = (a: bigint, b: bigint) => a > b ? a : b;

/**
 * The funding key signs every input that names it, and it is half of the key to
 * the channel: here it may sign anchors only.
 */
function checkAnchors({ judge }: Call, psbt: Psbt, key: PubKey): void {
  const script = anchorScript(key);
  const other = psbt.inputs.findIndex((input) => {
    const spent = spentOutput(input);
    const witness = fieldOf(input, INPUT.witnessScript)?.value;
    return fieldsOf(input, INPUT.keyOrigin)
      .some(({ keyData }) => isSameBytes(keyData, key)) &&
      !(spent !== null && isP2wshOf(spent.script, script) &&
        witness !== undefined && isSameBytes(witness, script));
  });
  judge.require(
    "policy-commitment-scripts",
    other < 0,
    () => `input ${other} names the funding key, want the channel's anchor`,
  );
}

function signOurInputs(
  call: Call,
  utxos: readonly HsmUtxo[],
  psbt: Psbt,
): Progress {
  const start: Progress = { psbt, effects: [] };
  return utxos.reduce(
    (progress, utxo) => signUtxo(call, progress, utxo),
    start,
  );
}

/** Every input that spends it; a PSBT that does not is returned as it is. */
function signUtxo(call: Call, start: Progress, utxo: HsmUtxo): Progress {
  const at = start.psbt.inputs.flatMap((input, i) =>
    isSpending(input, utxo) ? [i] : []
  );
  return at.reduce((progress, i) => signUtxoAt(call, progress, utxo, i), start);
}

function isSpending(input: PsbtInput, { outpoint }: HsmUtxo): boolean {
  return input.index === outpoint.index &&
    isSameBytes(input.txid, outpoint.txid);
}

function signUtxoAt(
  call: Call,
  { psbt, effects }: Progress,
  utxo: HsmUtxo,
  at: number,
): Progress {
  const key = keyOf(call, utxo);
  const inputs = psbt.inputs.map((input, i) =>
    i === at ? describeInput(input, utxo, key) : input
  );
  const signed = signPsbt({ ...psbt, inputs }, key);
  const wasOpen = inputs.slice(at, at + 1).filter(hasNoSignature);
  const result = wasOpen.length > 0 ? signed.inputs.slice(at, at + 1) : [];
  return {
    psbt: signed,
    effects: [
      ...effects,
      ...(utxo.closeInfo === null ? [] : [CLOSE_LINE]),
      ...result.flatMap((input) => shortSignature(call, input)),
    ],
  };
}

/** Core Lightning's tests wait for this line. */
const CLOSE_LINE = logLine(
  "debug",
  "Unilateral close output, deriving secrets",
);

function hasNoSignature(input: PsbtInput): boolean {
  return fieldsOf(input, INPUT.partialSig).length === 0;
}

/** A wallet's key by its index, or a channel's by what closed it. */
function keyOf({ state }: Call, { keyindex, closeInfo }: HsmUtxo): KeyPair {
  if (closeInfo === null) return deriveWalletKey(state.keys, keyindex);
  const { peerId, channelDbid: dbid, commitmentPoint } = closeInfo;
  const { payment } = state.channels.keysOf({ peerId, dbid });
  // Without a point it is option_static_remotekey: the basepoint itself.
  return commitmentPoint === null
    ? payment
    : keyPairOf(derivePrivateKey(payment, commitmentPoint));
}

/** Says in the input what its signature needs to be found and checked. */
function describeInput(
  input: PsbtInput,
  utxo: HsmUtxo,
  key: KeyPair,
): PsbtInput {
  const isTaproot = scriptKind(utxo.scriptPubkey) === "p2tr";
  const named = addKeyOrigin(input, key.point, { isTaproot });
  const { closeInfo } = utxo;
  return closeInfo?.optionAnchors === true
    ? describeAnchored(named, utxo, key, closeInfo)
    : named;
}

/** BOLT 3: with anchors, to_remote is a script with a delay. */
function describeAnchored(
  input: PsbtInput,
  { amount }: HsmUtxo,
  { point }: KeyPair,
  { csv }: CloseInfo,
): PsbtInput {
  if (csv > LARGEST_CSV) {
    refuseBad(
      `Cannot spend a close: delay ${csv}, want ${LARGEST_CSV} or less`,
    );
  }
  const witnessScript = toRemoteWithAnchors(point, csv);
  const script = p2wsh(witnessScript);
  return setWitnessScript(input, witnessScript, { amount, script });
}

/** The only signature of an input, when it is short and that was asked about. */
function shortSignature(
  { state }: Call,
  input: PsbtInput,
): readonly Effect[] {
  if (!state.switches.warnOnOvergrind) return [];
  const [only, ...others] = fieldsOf(input, INPUT.partialSig);
  if (only === undefined || others.length > 0) return [];
  const { length } = only.value;
  return length < GROUND_LENGTH ? [overgrindLine(length)] : [];
}
