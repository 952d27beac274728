/**
 * What the book says of commitments, closes, HTLC transactions and sweeps.
 *
 * Standards: BOLT 2 ("Channel Close"), BOLT 3, BOLT 5.
 *
 * What it does not do: judge; what comes here was signed.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { decodeTx, txidOf } from "../bitcoin/tx.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { readHtlcScript } from "../policy/htlc_tx.ts";
import type { RequestOf } from "../wire/hsmd.ts";
import { type BitcoinTx, type Sha256, SIDE_LOCAL } from "../wire/types.ts";
import { listedAs } from "./allowed_by.ts";
import type { Call } from "./call.ts";
import { isMutualClose, sidesOf } from "./closing.ts";
import { isSameOutpoint } from "./commitment.ts";
import {
  addressOf,
  channelName,
  commitmentIn,
  commitmentWords,
  feeWords,
  found,
  isNews,
  pathsAt,
  recordAfter,
  sat,
  sweepFlow,
  type Taken,
  type Words,
} from "./ledger_words.ts";
import type { ChannelRecord, CommitmentRecord } from "./records.ts";
import { readBitcoinTx } from "./transaction.ts";

// -------------------------------------------------------------- commitments

/** 19: the peer's commitment, and what goes out with it. */
export function describeCommitment(
  taken: Taken,
  { tx, commitNum }: RequestOf<"sign_remote_commitment_tx">,
): Words {
  const { connection: channel, state } = taken.call;
  const record = recordAfter(taken, channel);
  const commitment = found(commitmentIn(record.counterparty.current, tx));
  const again = isNews(taken) ? "" : " again";
  const before = state.memory.channel(channel)?.counterparty.current ?? [];
  return {
    text: `commitment ${commitNum} of ${channelName(channel)}${again}: ` +
      commitmentWords(record, commitment),
    channel,
    payments: newPayments(before, commitment),
  };
}

/** Hashes of HTLCs of ours that no commitment before had. */
function newPayments(
  before: readonly CommitmentRecord[],
  { htlcs }: CommitmentRecord,
): readonly Sha256[] {
  const hashes = ({ htlcs }: Pick<CommitmentRecord, "htlcs">) =>
    htlcs.filter(({ side }) => side === SIDE_LOCAL)
      .map(({ paymentHash }) => paymentHash);
  const known = new Set(before.flatMap(hashes).map((hash) => hash.toHex()));
  return hashes({ htlcs }).filter((hash) => !known.has(hash.toHex()));
}

/** 40: our commitment is worth nothing any more; the next one counts. */
export function describeRevocation(
  taken: Taken,
  { commitNum }: RequestOf<"revoke_commitment_tx">,
): Words {
  const { connection: channel } = taken.call;
  const name = channelName(channel);
  const text = `revoked our commitment ${commitNum} of ${name}`;
  if (!isNews(taken)) return { text: `${text} again`, channel };
  const record = recordAfter(taken, channel);
  const [current] = record.holder.current;
  const next = commitmentWords(record, found(current));
  return { text: `${text}; in ${commitNum + 1n} ${next}`, channel };
}

/** 5: our commitment or a mutual close, for lightningd to broadcast. */
export function describeBroadcast(
  taken: Taken,
  { peerId, channelDbid: dbid, tx }: RequestOf<"sign_commitment_tx">,
): Words {
  const channel = { peerId, dbid };
  const open = decodeTx(tx.tx);
  if (isMutualClose(open)) return closeWords(taken, channel, tx);
  const record = recordAfter(taken, channel);
  const { current, pending, next } = record.holder;
  const txid = txidOf(open);
  const isIt = (each: CommitmentRecord) => isSameBytes(each.txid, txid);
  const isCurrent = current.some(isIt);
  const number = isCurrent ? next - 1n : next;
  const commitment = found([...current, ...pending].find(isIt));
  return {
    text: `our commitment ${number} of ${channelName(channel)}, to be ` +
      `broadcast: ${commitmentWords(record, commitment)}`,
    channel,
  };
}

/** 21, and 5 once it is agreed on. */
export function closeWords(
  taken: Taken,
  id: ChannelId,
  request: BitcoinTx,
): Words {
  const { call } = taken;
  const { tx, psbt } = readBitcoinTx(request);
  const record = recordAfter(taken, id);
  const { ours, theirs } = sidesOf(
    call,
    { id, record, setup: found(record.setup) },
    { tx, psbt },
    balancesOn(record, found(tx.inputs[0])),
  );
  const paths = tx.outputs.flatMap((_, i) => pathsAt(psbt, i));
  const at = (script: Uint8Array) => addressOf(call, script);
  const text = [
    ours === null
      ? "nothing to us"
      : `${sat(ours.output.amount)} to us at ${at(ours.output.script)}`,
    ...(theirs === null ? [] : [
      `${sat(theirs.output.amount)} to the peer at ` +
      at(theirs.output.script),
    ]),
    ...feeWords(psbt, tx.outputs),
  ].join(", ");
  return {
    text: `close of ${channelName(id)}: ${text}`,
    channel: id,
    listed: ours === null ? [] : listedAs(call, ours.output.script, paths),
  };
}

function balancesOn(
  { holder, counterparty }: ChannelRecord,
  outpoint: CommitmentRecord["funding"],
): readonly CommitmentRecord[] {
  return [...holder.current, ...counterparty.current]
    .filter(({ funding }) => isSameOutpoint(funding, outpoint));
}

// ---------------------------------------------------------- HTLCs and sweeps

/** What 13 and 143 sign. */
export const THEIR_HTLC = "sweep of an HTLC of the peer's commitment";
/** What 144 signs. */
export const PENALTY = "penalty on a revoked commitment";

/** What an HTLC transaction is called, whoever's commitment it spends. */
function htlcTxName(wscript: Uint8Array): string {
  const isOffered = readHtlcScript(wscript)?.isOffered ?? false;
  return isOffered ? "HTLC-timeout" : "HTLC-success";
}

/** 20: what the peer may broadcast after its commitment. */
export function describeRemoteHtlc(
  taken: Taken,
  request: RequestOf<"sign_remote_htlc_tx">,
): Words {
  const { connection: channel } = taken.call;
  const { tx, wscript, remotePerCommitPoint: point } = request;
  const { counterparty } = recordAfter(taken, channel);
  const { next, currentPoint, previousPoint } = counterparty;
  const isIt = (known: Uint8Array | null) =>
    known !== null && isSameBytes(known, point);
  const number = isIt(currentPoint)
    ? next - 1n
    : isIt(previousPoint)
    ? next - 2n
    : null;
  const name = channelName(channel);
  const of = number === null
    ? `a commitment of ${name}`
    : `${number} of ${name}`;
  const amount = found(decodeTx(tx.tx).outputs[0]).amount;
  return {
    text: `${htlcTxName(wscript)} of commitment ${of}: ${sat(amount)}`,
    channel,
    mayRide: number !== null,
  };
}

/** 146 and 16: what we do with an HTLC of our own commitment. */
export function localHtlcWords(
  channel: ChannelId,
  { tx, wscript, commitNum }: Pick<
    RequestOf<"sign_local_htlc_tx">,
    "tx" | "wscript" | "commitNum"
  >,
): Words {
  const amount = found(decodeTx(tx.tx).outputs[0]).amount;
  return {
    text: `${htlcTxName(wscript)} of our commitment ${commitNum} of ` +
      `${channelName(channel)}: ${sat(amount)}`,
    channel,
  };
}

/** 12, 13, 14, 142, 143, 144: an output that becomes ours. */
export function sweepWords(
  call: Call,
  channel: ChannelId,
  what: string,
  tx: BitcoinTx,
): Words {
  const { text, listed } = sweepFlow(call, tx);
  return {
    text: `${what} of ${channelName(channel)}: ${text}`,
    channel,
    listed,
  };
}

/**
 * 14: channeld has one made at each revocation, for watchtowers, so this takes no
 * time: whose the output is was judged, and is not looked up once more.
 */
export function describePenalty(
  { call }: Taken,
  { tx: request }: RequestOf<"sign_penalty_to_us">,
): Words {
  const { connection: channel } = call;
  const { tx, psbt } = readBitcoinTx(request);
  const sum = tx.outputs.reduce((total, { amount }) => total + amount, 0n);
  const text = [sat(sum), ...feeWords(psbt, tx.outputs)].join(", ");
  return {
    text: `penalty in advance for a revoked commitment of ` +
      `${channelName(channel)}: ${text}`,
    channel,
  };
}

/** 12 and 142: what our own commitment pays us. */
export function delayedWords(
  call: Call,
  channel: ChannelId,
  number: bigint,
  tx: BitcoinTx,
): Words {
  return sweepWords(call, channel, `sweep of our commitment ${number}`, tx);
}
