/**
 * What a transaction does with our money, as `policy/spend.ts` wants to know it:
 * whose every input and output is.
 *
 * An input is ours when the request lists it, when its script is the wallet's, or
 * when it is a funding output of a channel of ours; of that, our claim counts. An
 * output is ours when its script is the wallet's, whatever the PSBT says of it.
 *
 * What it does not do: judge, or sign.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import {
  fieldOf,
  INPUT,
  type Psbt,
  type PsbtInput,
  spentOutput,
} from "../bitcoin/psbt.ts";
import { p2wsh, redeem2of2, scriptKind } from "../bitcoin/script.ts";
import {
  encodeTxWithoutWitness,
  type Tx,
  txidOf,
  type TxOutput,
} from "../bitcoin/tx.ts";
import { outpointKey } from "../bitcoin/txo_proof.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { txWeight } from "../lightning/weight.ts";
import { allowsScript } from "../policy/allowlist.ts";
import { claimOf } from "../policy/commitment.ts";
import { isConsented } from "../policy/consent.ts";
import {
  chargeFee,
  type Destination,
  type FundingView,
  type OutputView,
  type Protection,
  type SpendView,
} from "../policy/spend.ts";
import type { HsmUtxo, Outpoint, PubKey, Sat, Txid } from "../wire/types.ts";
import type { Call } from "./call.ts";
import { isSameOutpoint } from "./commitment.ts";
import type { Write } from "./memory.ts";
import {
  type ChannelRecord,
  type CommitmentRecord,
  FUNDING_CANDIDATE,
  FUNDING_SIGNED,
  type FundingRecord,
  type PresignedRecord,
} from "./records.ts";
import { pathsOf } from "./wallet_scripts.ts";

/** A transaction to be looked at, and what the request says of it. */
export interface Spending {
  readonly psbt: Psbt;
  readonly tx: Tx;
  readonly utxos: readonly HsmUtxo[];
  /** Whether funding outputs may be judged before they have commitments. */
  readonly mayBeEarly: boolean;
  readonly protection: Protection | null;
}

/** A funding output of a channel of ours. */
interface ChannelOutput {
  readonly record: ChannelRecord;
  readonly funding: FundingRecord;
}

/** Raise the remembered wallet index only when it is worth a write of its own. */
const HIGH_WATER_STEP = 100;

/** The channel that an output funds, with what is known of the output. */
export function channelOutput(
  { state }: Call,
  outpoint: Outpoint,
): ChannelOutput | null {
  const record = state.memory.channelFundedBy(outpoint);
  const funding = record?.fundings.find((each) =>
    isSameOutpoint(each.outpoint, outpoint)
  );
  return record && funding ? { record, funding } : null;
}

/** Our current commitment on an output; the next one where there is none yet. */
export function holderCommitmentOn(
  { holder }: ChannelRecord,
  funding: Outpoint,
): CommitmentRecord | null {
  return [...holder.current, ...holder.pending]
    .find((each) => isSameOutpoint(each.funding, funding)) ?? null;
}

/** What of a funding output is ours. */
function channelClaim(
  { record, funding }: ChannelOutput,
): bigint {
  const commitment = holderCommitmentOn(record, funding.outpoint);
  const isFunder = record.setup?.isOutbound ?? false;
  const fundingValue = funding.value;
  if (commitment !== null) {
    return claimOf({ isFunder, fundingValue, ...commitment });
  }
  return isFunder ? fundingValue - funding.pushValue / 1000n : 0n;
}

/** The P2WSH of a channel's 2-of-2. */
export function fundingScript(
  { state }: Call,
  record: ChannelRecord,
  remoteFundingKey: PubKey,
): Uint8Array {
  const { funding } = state.channels.keysOf(record);
  return p2wsh(redeem2of2(funding.point, remoteFundingKey));
}

/** Whether a script pays the wallet. */
export function isWalletScript(
  { state }: Call,
  script: Uint8Array,
  paths: readonly (readonly number[])[] = [],
): boolean {
  // No key of the wallet alone locks a P2WSH output.
  if (scriptKind(script) === "p2wsh") return false;
  const { walletHighWater } = state.memory.node();
  const wallet = state.cache.walletOf(state.keys);
  return wallet.indexOf(script, paths, walletHighWater) !== null;
}

/** Whether a script pays the wallet or what the owner has listed. */
export function isAllowedScript(
  call: Call,
  script: Uint8Array,
  paths: readonly (readonly number[])[],
): boolean {
  const { allowlist } = call.state;
  return isWalletScript(call, script, paths) ||
    allowsScript(allowlist, script, null) ||
    paths.some((path) => allowsScript(allowlist, script, path));
}

// ------------------------------------------------------------------- inputs

interface InputSums {
  ours: bigint;
  others: bigint;
  areAmountsKnown: boolean;
  areInputsSegwit: boolean;
  /** Channels whose funding output goes in. */
  readonly channels: ChannelOutput[];
  /** Inputs of nobody we know. */
  readonly foreign: Set<number>;
}

function readInputs(call: Call, { psbt, utxos }: Spending): InputSums {
  const sums: InputSums = {
    ours: 0n,
    others: 0n,
    areAmountsKnown: true,
    areInputsSegwit: true,
    channels: [],
    foreign: new Set(),
  };
  for (const [at, input] of psbt.inputs.entries()) {
    readInput(call, sums, input, utxos, at);
  }
  return sums;
}

function readInput(
  call: Call,
  sums: InputSums,
  input: PsbtInput,
  utxos: readonly HsmUtxo[],
  at: number,
): void {
  const spent = spentOutput(input);
  const utxo = utxos.find(({ outpoint }) => isSameOutpoint(outpoint, input));
  const channel = channelOutput(call, input);
  if (!isSegwit(input, spent)) sums.areInputsSegwit = false;
  if (channel !== null) {
    const claim = channelClaim(channel);
    sums.ours += claim;
    sums.others += channel.funding.value - claim;
    sums.channels.push(channel);
  } else if (utxo !== undefined) {
    sums.ours += utxo.amount;
    if (!isProven(input, utxo)) sums.areAmountsKnown = false;
    noteIndex(call, utxo);
  } else if (spent !== null && isWalletScript(call, spent.script)) {
    sums.ours += spent.amount;
  } else {
    sums.others += spent?.amount ?? 0n;
    sums.foreign.add(at);
  }
}

/** BIP 141: a witness program, bare or in P2SH. */
function isSegwit(input: PsbtInput, spent: TxOutput | null): boolean {
  if (spent === null) return false;
  const redeem = fieldOf(input, INPUT.redeemScript)?.value;
  return scriptKind(redeem ?? spent.script) !== "other";
}

/**
 * Whether the amount that a signature covers is the one that counts. Where the
 * PSBT brings the whole previous transaction, that one is believed.
 */
function isProven(input: PsbtInput, { amount, closeInfo }: HsmUtxo): boolean {
  const { nonWitnessUtxo: previous, index } = input;
  if (previous !== null) {
    const output = previous.outputs[index];
    return isSameBytes(txidOf(previous), input.txid) &&
      output !== undefined && output.amount === amount;
  }
  // With anchors the signer puts the request's amount into the PSBT itself.
  if (closeInfo?.optionAnchors === true) return true;
  return spentOutput(input)?.amount === amount;
}

/** The node uses this index, if the script says so too. */
function noteIndex({ state }: Call, utxo: HsmUtxo): void {
  const { keyindex, scriptPubkey, closeInfo } = utxo;
  const wallet = state.cache.walletOf(state.keys);
  if (closeInfo !== null || keyindex <= wallet.seen) return;
  const isIts = wallet.scriptsAt(keyindex)
    .some((script) => isSameBytes(script, scriptPubkey));
  if (isIts) wallet.note(keyindex);
}

// ------------------------------------------------------------------ outputs

interface OutputContext {
  readonly spending: Spending;
  readonly txid: Txid;
  readonly inputs: InputSums;
}

function readOutput(
  call: Call,
  context: OutputContext,
  { amount, script }: TxOutput,
  index: number,
): OutputView {
  const map = context.spending.psbt.outputs[index] ??
    { fields: [], unknown: [] };
  const wallet = call.state.cache.walletOf(call.state.keys);
  return {
    amount,
    isAsNamed: wallet.isAsNamed(script, map),
    destination: destinationOf(call, context, { amount, script }, index),
  };
}

function destinationOf(
  call: Call,
  context: OutputContext,
  output: TxOutput,
  index: number,
): Destination {
  const { spending, txid, inputs } = context;
  const { script, amount } = output;
  const map = spending.psbt.outputs[index];
  const paths = map === undefined ? [] : pathsOf(map);
  const known = channelOutput(call, { txid, index });
  if (known !== null) {
    const funding = knownFunding(call, known, script, inputs.channels);
    return { kind: "funding", funding };
  }
  const channel = inputs.channels.find(({ record, funding }) =>
    isSameBytes(script, fundingScript(call, record, funding.remoteFundingKey))
  );
  if (channel !== undefined) {
    const funding = earlyFunding(channel, amount, spending.mayBeEarly);
    return { kind: "funding", funding };
  }
  if (isWalletScript(call, script, paths)) return { kind: "ours" };
  if (isAllowedScript(call, script, paths)) return { kind: "allowed" };
  return { kind: isPaired(context, output, index) ? "paired" : "unknown" };
}

function knownFunding(
  call: Call,
  known: ChannelOutput,
  script: Uint8Array,
  spent: readonly ChannelOutput[],
): FundingView {
  const { record, funding } = known;
  const { remoteFundingKey, outpoint, value, pushValue } = funding;
  return {
    value,
    hasChannelScript: isSameBytes(
      script,
      fundingScript(call, record, remoteFundingKey),
    ),
    isCountersigned: holderCommitmentOn(record, outpoint) !== null,
    isOpening: !spent.some((each) => each.record === record),
    isOutbound: record.setup?.isOutbound ?? false,
    pushed: pushValue / 1000n,
    claim: channelClaim(known),
  };
}

/** An output that will be set up after this signature. */
function earlyFunding(
  { record }: ChannelOutput,
  amount: TxOutput["amount"],
  mayBeEarly: boolean,
): FundingView {
  return {
    value: amount,
    hasChannelScript: true,
    isCountersigned: mayBeEarly,
    isOpening: false,
    isOutbound: record.setup?.isOutbound ?? false,
    pushed: 0n,
    claim: amount,
  };
}

/**
 * BIP 143, SINGLE with ANYONECANPAY: an HTLC's output belongs to the input at
 * its place, which was signed for it before.
 */
function isPaired(
  { spending, inputs }: OutputContext,
  { amount }: TxOutput,
  index: number,
): boolean {
  const input = spending.psbt.inputs[index];
  if (input === undefined || spending.protection === null) return false;
  const spent = spentOutput(input);
  return inputs.foreign.has(index) && spent !== null &&
    fieldOf(input, INPUT.finalWitness) !== undefined && amount <= spent.amount;
}

// -------------------------------------------------------------------- whole

/** Least weight of a witness, with its count, by what it unlocks. */
const WITNESS_WEIGHTS = {
  p2wpkh: 107,
  p2tr: 66,
  p2wsh: 109,
  other: 0,
} as const;
/** A 2-of-2, which is what a P2WSH input mostly is. */
const USUAL_SCRIPT = 71;

/** Weight with signatures; low rather than high, so that fees are not let off. */
function weightOf(psbt: Psbt, tx: Tx): number {
  return psbt.inputs.reduce(
    (total, input) => total + witnessWeight(input),
    txWeight(tx) + 2,
  );
}

function witnessWeight(input: PsbtInput): number {
  const final = fieldOf(input, INPUT.finalWitness)?.value;
  if (final !== undefined) return final.length;
  const kind = scriptKind(spentOutput(input)?.script ?? new Uint8Array());
  if (kind !== "p2wsh") return WITNESS_WEIGHTS[kind];
  const script = fieldOf(input, INPUT.witnessScript)?.value;
  return WITNESS_WEIGHTS[kind] + (script?.length ?? USUAL_SCRIPT);
}

/** Everything that the rules of a spend look at. */
export function viewSpend(call: Call, spending: Spending): SpendView {
  const { psbt, tx, protection } = spending;
  const inputs = readInputs(call, spending);
  const txid = txidOf(tx);
  const outputs = tx.outputs.map((output, index) =>
    readOutput(call, { spending, txid, inputs }, output, index)
  );
  const isEarly = spending.mayBeEarly &&
    hasEarlyOutput(call, inputs.channels, tx, txid);
  return {
    version: tx.version,
    baseSize: encodeTxWithoutWitness(tx).length,
    weight: weightOf(psbt, tx),
    ours: inputs.ours,
    others: inputs.others,
    areAmountsKnown: inputs.areAmountsKnown,
    areInputsSegwit: inputs.areInputsSegwit,
    isSplice: inputs.channels.length > 0,
    isEarly,
    outputs: isEarly ? outputs.map(withWholeClaim) : outputs,
    protection,
  };
}

/** Judged early, an output's whole value comes back; others are counted once. */
function withWholeClaim(output: OutputView): OutputView {
  const { destination, amount } = output;
  if (destination.kind !== "funding") return output;
  const funding = {
    ...destination.funding,
    isCountersigned: true,
    claim: amount,
  };
  return { ...output, destination: { kind: "funding", funding } };
}

/** Whether a channel that is spent goes on in what has no commitment yet. */
function hasEarlyOutput(
  call: Call,
  spent: readonly ChannelOutput[],
  tx: Tx,
  txid: Txid,
): boolean {
  return spent.some(({ record }) =>
    !tx.outputs.some((_, index) => {
      const known = channelOutput(call, { txid, index });
      return known?.record === record &&
        holderCommitmentOn(record, { txid, index }) !== null;
    })
  );
}

/** Splices that were signed early, to remember for each channel. */
const REMEMBERED_EARLY = 32;

/**
 * What an early signature takes for granted: that each channel that goes on
 * leaves the peer what it had. Commitments of its output are held against it.
 */
export function assumeClaims(call: Call, tx: Tx): readonly Write[] {
  const txid = txidOf(tx);
  return tx.inputs.flatMap((input): readonly Write[] => {
    const spent = channelOutput(call, input);
    if (spent === null) return [];
    const { record, funding } = spent;
    const theirs = funding.value - channelClaim(spent);
    const script = fundingScript(call, record, funding.remoteFundingKey);
    const assumed = tx.outputs.flatMap((output, index) => {
      if (!isSameBytes(output.script, script)) return [];
      const least = output.amount > theirs ? output.amount - theirs : 0n;
      // A difference of satoshi.
      return [{ outpoint: { txid, index }, least: least as Sat }];
    });
    return assumed.length === 0 ? [] : [presignedWrite(record, assumed)];
  });
}

function presignedWrite(
  record: ChannelRecord,
  assumed: readonly PresignedRecord[],
): Write {
  const { peerId, dbid } = record;
  const others = record.presigned.filter(({ outpoint }) =>
    !assumed.some((each) => isSameOutpoint(each.outpoint, outpoint))
  );
  const presigned = [...others, ...assumed].slice(-REMEMBERED_EARLY);
  const id = { peerId, dbid };
  return { kind: "channel", id, record: { ...record, presigned } };
}

/** Asks the owner about a transaction's unknown destinations. */
export function consentTo(call: Call, tx: Tx): () => boolean {
  const txid = txidOf(tx).toHex();
  const thing = () => {
    const outputs = tx.outputs
      .filter(({ script }) => !isAllowedScript(call, script, []))
      .map(({ amount, script }) => `${amount} sat to script ${script.toHex()}`);
    return outputs.join(", ");
  };
  return () =>
    isConsented(
      call.state.consent,
      "unknown_destination",
      `unknown_destination/${txid}`,
      thing,
    );
}

/** Asks the owner about what a new channel gives away: a payment like any. */
export function consentToGift(call: Call, tx: Tx): (amount: bigint) => boolean {
  const txid = txidOf(tx).toHex();
  return (amount) =>
    isConsented(
      call.state.consent,
      "payment_without_invoice",
      `payment_without_invoice/${txid}/${amount}`,
      () => `${amount} sat to the peer of a new channel`,
    );
}

/** What is to be remembered once a transaction is signed. */
export function rememberSpend(
  call: Call,
  { tx, protection }: Spending,
  fee: bigint,
): readonly Write[] {
  const txid = txidOf(tx);
  const isCounted = protection !== null || fee === 0n ||
    call.state.cache.isCharged(txid);
  const writes = [
    ...fundingWrites(call, tx, txid),
    ...nodeWrites(call, isCounted ? 0n : fee),
  ];
  call.state.cache.noteCharged(txid);
  return writes;
}

function nodeWrites({ state, judge }: Call, fee: bigint): readonly Write[] {
  const node = state.memory.node();
  const { seen } = state.cache.walletOf(state.keys);
  const walletHighWater = Math.max(node.walletHighWater, seen);
  const isHigher = walletHighWater >= node.walletHighWater + HIGH_WATER_STEP;
  if (fee === 0n && !isHigher) return [];
  const fees = fee === 0n ? node.fees : chargeFee(judge, node.fees, fee);
  const record = { ...node, fees: { ...fees, buckets: [...fees.buckets] } };
  return [{ kind: "node", record: { ...record, walletHighWater } }];
}

/** What we sign for may confirm: its funding outputs are as good as real. */
function fundingWrites(call: Call, tx: Tx, txid: Txid): readonly Write[] {
  return tx.outputs.flatMap((_, index): readonly Write[] => {
    const outpoint = { txid, index };
    const known = channelOutput(call, outpoint);
    const isNews = known !== null &&
      known.funding.state === FUNDING_CANDIDATE &&
      holderCommitmentOn(known.record, outpoint) !== null;
    if (!isNews) return [];
    const { record } = known;
    const fundings = record.fundings.map((each): FundingRecord =>
      isSameOutpoint(each.outpoint, outpoint)
        ? { ...each, state: FUNDING_SIGNED }
        : each
    );
    const { peerId, dbid } = record;
    const id = { peerId, dbid };
    return [
      { kind: "channel", id, record: { ...record, fundings } },
      ...inputWrites(call, id, outpoint, tx),
    ];
  });
}

/** What a funding transaction spends: another one may spend it first. */
function inputWrites(
  { state }: Call,
  id: ChannelId,
  funding: Outpoint,
  { inputs }: Tx,
): readonly Write[] {
  const record = state.memory.monitor(id);
  if (record === null) return [];
  const key = outpointKey(funding);
  const known = record.inputs.filter((each) => each.funding !== key);
  const spent = inputs.map(({ txid, index }) => ({ txid, index }));
  const after = [...known, { funding: key, inputs: spent }];
  const inputsKept = after.slice(-REMEMBERED_EARLY);
  return [{ kind: "monitor", id, record: { ...record, inputs: inputsKept } }];
}
