/**
 * What the book says of transactions with the wallet's coins: spends, openings,
 * splices, fee bumps.
 *
 * What it does not do: judge; what comes here was signed.
 *
 * @module
 */

import { decodePsbt, spentOutput } from "../bitcoin/psbt.ts";
import { type Tx, txidOf } from "../bitcoin/tx.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import type { RequestOf } from "../wire/hsmd.ts";
import type { HsmUtxo } from "../wire/types.ts";
import { listedAs } from "./allowed_by.ts";
import type { Call } from "./call.ts";
import { isSameOutpoint } from "./commitment.ts";
import {
  channelName,
  channelOf,
  counted,
  feeWords,
  type Flow,
  found,
  joinOutputs,
  pathsAt,
  sat,
  type Taken,
  type Words,
} from "./ledger_words.ts";
import { channelOutput, viewSpend } from "./spending.ts";
import { readBitcoinTx } from "./transaction.ts";

// ------------------------------------------------------------------- wallet

/** A PSBT of the wallet. */
interface WalletSpend {
  readonly inputs: readonly HsmUtxo[];
  readonly psbt: Uint8Array;
  readonly what: string;
}

/** 7 and, with a channel, 149; without a coin of ours nothing was signed. */
export function spendWords(
  { call }: Taken,
  { inputs: utxos, psbt: bytes, what }: WalletSpend,
): Words | null {
  const psbt = decodePsbt(bytes);
  const { length } = psbt.inputs.filter((input) =>
    utxos.some(({ outpoint }) => isSameOutpoint(outpoint, input))
  );
  if (length === 0) return null;
  const spending = { psbt, tx: psbt.tx, utxos, mayBeEarly: false };
  const { text, listed, funded } = outputWords(call, spending);
  const [channel = null, ...others] = funded
    .flatMap(({ channel }) => channel ?? []);
  return {
    text: `${what}, ${counted(length, "coin")} of ours: ${text}`,
    listed,
    channel: others.length === 0 ? channel : null,
  };
}

type Spent = Omit<Parameters<typeof viewSpend>[1], "protection">;

/** An output that funds a channel; null for one that is no channel's yet. */
interface Funded {
  readonly amount: bigint;
  readonly channel: ChannelId | null;
}

/** Where the money of a transaction goes: what is not ours first. */
function outputWords(
  call: Call,
  spent: Spent,
): Flow & { readonly funded: readonly Funded[] } {
  const { tx, psbt } = spent;
  const view = viewSpend(call, { ...spent, protection: null });
  const kinds = view.outputs.map(({ destination }) => destination.kind);
  const of = (...wanted: readonly string[]) =>
    tx.outputs.filter((_, i) => wanted.includes(kinds[i] ?? ""));
  const others = of("unknown", "allowed", "paired");
  const back = of("ours").reduce((sum, { amount }) => sum + amount, 0n);
  const funded = fundedBy(call, tx, kinds);
  const text = [
    ...(others.length === 0 ? [] : [joinOutputs(call, others)]),
    ...funded.map(fundedWords),
    ...(back === 0n ? [] : [`${sat(back)} back to us`]),
    ...feeWords(psbt, tx.outputs),
  ].join(", ");
  const listed = tx.outputs.flatMap(({ script }, i) =>
    kinds[i] === "allowed" ? listedAs(call, script, pathsAt(psbt, i)) : []
  );
  return { text, listed, funded };
}

/** Outputs that fund channels, or carry on those that are spent. */
function fundedBy(
  call: Call,
  tx: Tx,
  kinds: readonly string[],
): readonly Funded[] {
  const txid = txidOf(tx);
  return tx.outputs.flatMap(({ amount }, index) => {
    if (kinds[index] !== "funding") return [];
    const record = channelOutput(call, { txid, index })?.record ?? null;
    const channel = record && { peerId: record.peerId, dbid: record.dbid };
    return [{ amount, channel }];
  });
}

function fundedWords({ amount, channel }: Funded): string {
  const name = channel === null ? "it again" : channelName(channel);
  return `${sat(amount)} into ${name}`;
}

/** 149, and 147 too: what brings a transaction of a channel to a block. */
export function bumpWords(
  taken: Taken,
  channel: ChannelId,
  what: string,
  { inputs, psbt }: Omit<WalletSpend, "what">,
): Words | null {
  const name = `fee for ${what} of ${channelName(channel)}`;
  const words = spendWords(taken, { inputs, psbt, what: name });
  return words && { ...words, channel };
}

/** 147: the anchor is signed with or without a coin of ours. */
export function describeAnchorspend(
  taken: Taken,
  { inputs, psbt, ...named }: RequestOf<"sign_anchorspend">,
): Words {
  const channel = channelOf(named);
  const name = channelName(channel);
  return bumpWords(taken, channel, "commitment", { inputs, psbt }) ??
    { text: `fee for commitment of ${name}, no coin of ours`, channel };
}

/** 29: a funding output of ours goes on in another transaction. */
export function describeSplice(
  { call }: Taken,
  { tx: request, inputIndex }: RequestOf<"sign_splice_tx">,
): Words {
  const { connection: channel } = call;
  const { tx, psbt } = readBitcoinTx(request);
  const before = found(spentOutput(found(psbt.inputs[inputIndex]))).amount;
  const spent = { psbt, tx, utxos: [], mayBeEarly: true };
  const { text, listed } = outputWords(call, spent);
  return {
    text: `splice of ${channelName(channel)}, which held ${
      sat(before)
    }: ${text}`,
    channel,
    listed,
  };
}
