/**
 * What lightningd is about to broadcast: our commitment, or a mutual close.
 *
 * The request (5) brings a transaction and a number, and is also how lightningd
 * gets its own signature of a close that was agreed on. What it brings is looked
 * up by its txid among what was countersigned; a commitment that is signed here
 * is never revoked afterwards, and that is durable before the signature leaves.
 *
 * Against VLS: the transaction that was asked for is signed, when it is one that
 * may be, and not the one that the signer would rather see.
 *
 * Standards: BOLT 5.
 *
 * What it does not do: build a commitment. One that this card has not validated
 * may have been revoked.
 *
 * @module
 */

import { txidOf } from "../bitcoin/tx.ts";
import type { RequestOf } from "../wire/hsmd.ts";
import { type Call, readyChannel, refuseState } from "./call.ts";
import { checkMutualClose, isMutualClose } from "./closing.ts";
import { broadcastOf } from "./holder.ts";
import type { Answer } from "./state.ts";
import { readBitcoinTx, signForBroadcast } from "./transaction.ts";

/** 5: our commitment, or a mutual close, to be broadcast. */
export function answerSignCommitment(
  call: Call,
  request: RequestOf<"sign_commitment_tx">,
): Answer {
  const { peerId, channelDbid: dbid, remoteFundingKey } = request;
  const open = readBitcoinTx(request.tx);
  const id = { peerId, dbid };
  const channel = readyChannel(call, id);
  const signed = signForBroadcast(call, id, open, remoteFundingKey);
  if (isMutualClose(open.tx)) {
    return { ...signed, writes: checkMutualClose(call, channel, open) };
  }
  const record = broadcastOf(channel, txidOf(open.tx));
  call.judge.require(
    "policy-other",
    record !== null,
    () =>
      `a commitment that is not our last one, number ` +
      `${channel.record.holder.next - 1n}`,
  );
  if (record === null) return refuseState("a commitment that is not our last");
  if (record === channel.record) return signed;
  return { ...signed, writes: [{ kind: "channel", id, record }] };
}
