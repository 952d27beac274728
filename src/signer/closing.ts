/**
 * Mutual closes: whose each output is, and what the channel's last commitments
 * say that each side has.
 *
 * closingd asks for one signature an offer (21); lightningd asks again for the
 * one that was agreed on, as if it were a commitment (5). Both are judged here.
 *
 * Standards: BOLT 2 ("Channel Close"), BOLT 3 ("Closing Transaction").
 *
 * What it does not do: judge (`policy/close.ts`), or sign.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import type { Psbt } from "../bitcoin/psbt.ts";
import {
  encodeTxWithoutWitness,
  type Tx,
  txidOf,
  type TxOutput,
} from "../bitcoin/tx.ts";
import { buildClosing } from "../lightning/closing.ts";
import { MUTUAL_CLOSE_WITNESS_WEIGHT, txWeight } from "../lightning/weight.ts";
import { checkClose, type CloseView } from "../policy/close.ts";
import { type Call, type ReadyChannel, refuseState } from "./call.ts";
import { isSameOutpoint } from "./commitment.ts";
import {
  type CommitmentRecord,
  FUNDING_RETIRED,
  type FundingRecord,
} from "./records.ts";
import type { Write } from "./memory.ts";
import { consentTo, isAllowedScript } from "./spending.ts";
import { pathsOf } from "./wallet_scripts.ts";

/** BOLT 3: what sequence and locktime of a commitment begin with. */
const COMMITMENT_SEQUENCE = 0x80;
const COMMITMENT_LOCKTIME = 0x20;

/** Whether a transaction of the funding output is a close and no commitment. */
export function isMutualClose({ inputs, locktime }: Tx): boolean {
  const [input] = inputs;
  return input === undefined || input.sequence >>> 24 !== COMMITMENT_SEQUENCE ||
    locktime >>> 24 !== COMMITMENT_LOCKTIME;
}

/** A close as a request brings it. */
export interface CloseRequest {
  readonly tx: Tx;
  readonly psbt: Psbt;
}

/**
 * Judges a mutual close; what it gives has to be remembered before it is signed.
 *
 * @throws {PolicyViolation}
 */
export function checkMutualClose(
  call: Call,
  channel: ReadyChannel,
  request: CloseRequest,
): readonly Write[] {
  const funding = fundingOf(call, channel, request.tx);
  checkClose(call.judge, viewClose(call, channel, funding, request), {
    feeReference: call.feeReference,
    isConsented: consentTo(call, request.tx),
  });
  const { id, record } = channel;
  const txid = txidOf(request.tx);
  if (record.closes.some((known) => isSameBytes(known, txid))) return [];
  const closes = [...record.closes, txid];
  return [{ kind: "channel", id, record: { ...record, closes } }];
}

function fundingOf(
  { judge }: Call,
  { record }: ReadyChannel,
  { inputs }: Tx,
): FundingRecord {
  const [input] = inputs;
  const funding = record.fundings.find(({ outpoint, state }) =>
    input !== undefined && inputs.length === 1 && state !== FUNDING_RETIRED &&
    isSameOutpoint(outpoint, input)
  );
  judge.require(
    "policy-splice-known-outpoint",
    funding !== undefined,
    () => "spends an output that is not the channel's, want a funding output",
  );
  return funding ?? refuseState("spends an output that is not the channel's");
}

function viewClose(
  call: Call,
  channel: ReadyChannel,
  funding: FundingRecord,
  { tx, psbt }: CloseRequest,
): CloseView {
  const { record, setup } = channel;
  const { outpoint } = funding;
  const isHere = (each: CommitmentRecord) =>
    isSameOutpoint(each.funding, outpoint);
  const { holder, counterparty } = record;
  const balances = [
    ...holder.current.filter(isHere),
    ...counterparty.current.filter(isHere),
  ];
  const { ours, theirs } = sidesOf(call, channel, { tx, psbt }, balances);
  const agreed = setup.localShutdownScript;
  const built = buildClosing({
    funding: outpoint,
    toUs: ours?.output ?? null,
    toThem: theirs?.output ?? null,
  });
  return {
    outputs: tx.outputs.length,
    isAsBuilt: isSameBytes(
      encodeTxWithoutWitness(tx),
      encodeTxWithoutWitness(built),
    ),
    balances,
    htlcs: [...balances, ...holder.pending.filter(isHere)]
      .reduce((count, { htlcs }) => count + htlcs.length, 0),
    isFunder: setup.isOutbound,
    fundingValue: funding.value,
    toUs: ours?.output.amount ?? 0n,
    toThem: theirs?.output.amount ?? 0n,
    weight: txWeight(tx) + MUTUAL_CLOSE_WITNESS_WEIGHT,
    isAsAgreed: ours === null || agreed.length === 0 ||
      isSameBytes(ours.output.script, agreed),
    isAllowed: ours?.isAllowed ?? true,
  };
}

/** An output, and whether it goes where we want money to go. */
export interface Candidate {
  readonly output: TxOutput;
  readonly isAllowed: boolean;
}

/** The two sides of a close. */
export interface Division {
  readonly ours: Candidate | null;
  readonly theirs: Candidate | null;
}

/** Whose output is whose: by script, and where that does not say, by amount. */
export function sidesOf(
  call: Call,
  { setup }: ReadyChannel,
  { tx, psbt }: CloseRequest,
  balances: readonly CommitmentRecord[],
): Division {
  const agreed = setup.localShutdownScript;
  const paths = psbt.outputs.map(pathsOf);
  // Where one output names a path, the other one is not looked for.
  const isNamed = paths.some(({ length }) => length > 0);
  const candidates = tx.outputs.map((output, i): Candidate => {
    const { script } = output;
    const own = paths[i] ?? [];
    const isAgreed = agreed.length > 0 && isSameBytes(script, agreed);
    return {
      output,
      isAllowed: isAgreed ||
        (!isNamed || own.length > 0) && isAllowedScript(call, script, own),
    };
  });
  const [first, second] = candidates;
  if (first === undefined) return { ours: null, theirs: null };
  const isFirst = first.isAllowed !== (second?.isAllowed ?? false)
    ? first.isAllowed
    : isNearerToUs(first.output, second?.output, balances);
  return isFirst
    ? { ours: first, theirs: second ?? null }
    : { ours: second ?? null, theirs: first };
}

function isNearerToUs(
  first: TxOutput,
  second: TxOutput | undefined,
  balances: readonly CommitmentRecord[],
): boolean {
  const [balance] = balances;
  if (balance === undefined) return true;
  const { toUs, toThem } = balance;
  const other = second?.amount ?? 0n;
  const straight = distance(first.amount, toUs) + distance(other, toThem);
  const crossed = distance(first.amount, toThem) + distance(other, toUs);
  return straight <= crossed;
}

const distance = (a: bigint, b: bigint) => a > b ? a - b : b - a;
