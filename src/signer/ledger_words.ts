/**
 * The words of which lines in the book are made: amounts, channels, commitments,
 * outputs and where they go.
 *
 * Amounts are in satoshi with thousands separators, a part of a satoshi behind a
 * point. A peer is the first ten hex digits of its key, a channel peer/dbid.
 * Everything is made of numbers, hashes, keys and addresses: no text that a peer
 * or a payer chose is among it.
 *
 * What it does not do: know a request (`ledger.ts`).
 *
 * @module
 */

import { encodeAddress } from "../bitcoin/address.ts";
import { isSameBytes } from "../bitcoin/bytes.ts";
import { type Psbt, spentOutput } from "../bitcoin/psbt.ts";
import { decodeTx, txidOf, type TxOutput } from "../bitcoin/tx.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import {
  type BitcoinTx,
  type HsmHtlc,
  NOBODY,
  type NodeId,
  type Sha256,
  SIDE_LOCAL,
} from "../wire/types.ts";
import { listedAs } from "./allowed_by.ts";
import type { Call } from "./call.ts";
import { isSameOutpoint } from "./commitment.ts";
import type { Write } from "./memory.ts";
import {
  type ChannelRecord,
  type CommitmentRecord,
  FUNDING_RETIRED,
} from "./records.ts";
import { isWalletScript } from "./spending.ts";
import { readBitcoinTx } from "./transaction.ts";
import { pathsOf } from "./wallet_scripts.ts";

/** A step that was taken, before its writes are applied. */
export interface Taken {
  /** The signer, as the request met it. */
  readonly call: Call;
  readonly writes: readonly Write[];
}

/** Digits of a hash or key that are shown. */
const SHOWN = 10;
/** Outputs that are named one by one. */
const MOST_NAMED = 8;
/** The last second of the year 9999. */
const LAST_SECOND = 253_402_300_799n;

/** Groups of three digits. */
export function grouped(value: bigint): string {
  return `${value}`.replace(/\B(?=(\d{3})+$)/g, ",");
}

/** `1,203,400 sat`. */
export function sat(amount: bigint): string {
  return `${grouped(amount)} sat`;
}

/** `1,203,400 sat`, and `1.500 sat` for one and a half. */
export function msatInSat(amount: bigint): string {
  const rest = amount % 1000n;
  const whole = grouped(amount / 1000n);
  return rest === 0n
    ? `${whole} sat`
    : `${whole}.${`${rest}`.padStart(3, "0")} sat`;
}

/** `1 HTLC`, `2 HTLCs`. */
export function counted(count: number, word: string): string {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

/** The start of a key or hash. */
export function short(bytes: Uint8Array): string {
  return `${bytes.toHex().slice(0, SHOWN)}…`;
}

/** A channel by its peer and number. */
export function channelName({ peerId, dbid }: ChannelId): string {
  return `${short(peerId)}/${dbid}`;
}

/** The channel of a connection; null for lightningd's own. */
export function connected(
  { peerId, dbid }: { readonly peerId: NodeId; readonly dbid: bigint },
): ChannelId | null {
  return dbid === 0n || isSameBytes(peerId, NOBODY) ? null : { peerId, dbid };
}

/** `2026-11-28 07:42:18`, of Unix seconds. */
export function dateOf(seconds: bigint): string {
  if (seconds > LAST_SECOND) return "the end of time";
  const text = new Date(Number(seconds) * 1000).toISOString();
  return text.slice(0, 19).replace("T", " ");
}

/** BOLT 7: block, transaction and output. */
export function shortChannelId(value: bigint): string {
  return `${value >> 40n}x${value >> 16n & 0xff_ffffn}x${value & 0xffffn}`;
}

// -------------------------------------------------------------- commitments

/** The channel's record as it will be; as it is where nothing changes. */
export function recordAfter(
  { call, writes }: Taken,
  { peerId, dbid }: ChannelId,
): ChannelRecord {
  for (const write of writes) {
    const isIt = write.kind === "channel" && write.id.dbid === dbid &&
      isSameBytes(write.id.peerId, peerId);
    if (isIt && write.record !== null) return write.record;
  }
  const known = call.state.memory.channel({ peerId, dbid });
  if (known !== null) return known;
  throw new RangeError(`Cannot describe channel ${dbid}: unknown, want known`);
}

/** Whether a step changed what is known of a channel. */
export function isNews({ writes }: Taken): boolean {
  return writes.some(({ kind }) => kind === "channel");
}

/** The commitment of a list that a transaction is. */
export function commitmentIn(
  list: readonly CommitmentRecord[],
  { tx }: BitcoinTx,
): CommitmentRecord | null {
  const [only, ...others] = list;
  if (only !== undefined && others.length === 0) return only;
  const txid = txidOf(decodeTx(tx));
  return list.find((each) => isSameBytes(each.txid, txid)) ?? null;
}

/** What each side has, what is under way, what is paid for it. */
export function commitmentWords(
  { fundings }: ChannelRecord,
  { funding, toUs, toThem, htlcs, feerate, fee }: CommitmentRecord,
): string {
  const at = fundings.findIndex(({ outpoint }) =>
    isSameOutpoint(outpoint, funding)
  );
  const live = fundings.filter(({ state }) => state !== FUNDING_RETIRED);
  const place = live.length > 1 ? `, on funding output ${at + 1}` : "";
  // The first commitments of a channel come without a feerate.
  const paid = feerate === 0 ? `fee ${sat(fee)}` : feerateWords(feerate);
  return `we keep ${sat(toUs)}, they ${sat(toThem)}, ${htlcWords(htlcs)}, ` +
    `${paid}${place}`;
}

function htlcWords(htlcs: readonly HsmHtlc[]): string {
  if (htlcs.length === 0) return "no HTLCs";
  const out = htlcs.filter(({ side }) => side === SIDE_LOCAL).length;
  const sides = `${out} out, ${htlcs.length - out} in`;
  return `${counted(htlcs.length, "HTLC")} (${sides})`;
}

/** Satoshi per 1000 weight, in satoshi per 1000/4 virtual bytes. */
function feerateWords(perKw: number): string {
  return `${Number((perKw / 250).toFixed(2))} sat/vB`;
}

// ------------------------------------------------------------------ outputs

/** Text about money that goes somewhere, and what in the allowlist allows it. */
export interface Flow {
  readonly text: string;
  readonly listed: readonly string[];
}

/** Where a script pays: its address, or the start of a script without one. */
export function addressOf({ state }: Call, script: Uint8Array): string {
  return encodeAddress(script, state.network) ?? `script ${short(script)}`;
}

/** Named one by one up to a bound; the rest as a sum. */
export function joinOutputs(
  call: Call,
  outputs: readonly TxOutput[],
): string {
  const rest = outputs.slice(MOST_NAMED);
  const sum = rest.reduce((total, { amount }) => total + amount, 0n);
  return [
    ...outputs.slice(0, MOST_NAMED).map(({ amount, script }) =>
      `${sat(amount)} to ${addressOf(call, script)}`
    ),
    ...(rest.length === 0
      ? []
      : [`${sat(sum)} to ${counted(rest.length, "output")} more`]),
  ].join(", ");
}

/** What a transaction of one input pays: to us or not, and the fee. */
export function sweepFlow(call: Call, request: BitcoinTx): Flow {
  const { tx, psbt } = readBitcoinTx(request);
  const listed: string[] = [];
  const parts = tx.outputs.map(({ amount, script }, i) => {
    const paths = pathsAt(psbt, i);
    const address = addressOf(call, script);
    if (isWalletScript(call, script, paths)) {
      return `${sat(amount)} to us at ${address}`;
    }
    listed.push(...listedAs(call, script, paths));
    return `${sat(amount)} to ${address}`;
  });
  const text = [...parts, ...feeWords(psbt, tx.outputs)].join(", ");
  return { text, listed };
}

/** The key paths that an output names. */
export function pathsAt(psbt: Psbt, index: number): readonly number[][] {
  const map = psbt.outputs[index];
  return map === undefined ? [] : pathsOf(map).map((path) => [...path]);
}

/** `fee 226 sat`, where all amounts are known. */
export function feeWords(
  { inputs }: Psbt,
  outputs: readonly TxOutput[],
): readonly string[] {
  const spent = inputs.map(spentOutput);
  if (spent.includes(null)) return [];
  const taken = spent.reduce((sum, output) => sum + (output?.amount ?? 0n), 0n);
  const paid = outputs.reduce((sum, { amount }) => sum + amount, 0n);
  return paid > taken ? [] : [`fee ${sat(taken - paid)}`];
}

// --------------------------------------------------------------------- words

/** What a row says of a request. */
export interface Words {
  readonly text: string;
  readonly channel?: ChannelId | null;
  /** Payments that go out with it for the first time. */
  readonly payments?: readonly Sha256[];
  /** Entries of the allowlist that it needed. */
  readonly listed?: readonly string[];
  /** False where the commitment's own line is not known to be there. */
  readonly mayRide?: boolean;
}

/** The channel that a request names. */
export function channelOf(
  { peerid, channelDbid }: {
    readonly peerid: NodeId;
    readonly channelDbid: bigint;
  },
): ChannelId {
  return { peerId: peerid, dbid: channelDbid };
}

/** What has to be there for words. @throws {RangeError} */
export function found<T>(value: T | null | undefined): T {
  if (value !== null && value !== undefined) return value;
  throw new RangeError(
    "Cannot describe a request: nothing known, want a record",
  );
}
