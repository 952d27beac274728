/**
 * The peer's commitments: signed, and revoked by the peer.
 *
 * | request | when | then |
 * | --- | --- | --- |
 * | sign n | n is next, n-2 and all before are revoked | n is current |
 * | sign n | n is current, same output | the same transaction again |
 * | sign n | n is current, other output | a splice's first on that output |
 * | revocation n | n is previous, its secret is the point's | it is kept |
 * | revocation n | n was revoked with that secret | nothing |
 *
 * A second, different transaction for a number that was signed is refused on
 * every output: the peer would hold both.
 *
 * Standards: BOLT 2 ("Committing Updates So Far", "Completing the Transition"),
 * BOLT 3 ("Per-commitment Secret Requirements").
 *
 * What it does not do: HTLC transactions (`transaction.ts`).
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { publicKeyOf, toPrivateKey } from "../bitcoin/keys.ts";
import { insertSecret, secretAt } from "../lightning/secret_store.ts";
import { secretIndex } from "../lightning/shachain.ts";
import { checkCommitment } from "../policy/commitment.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import type { PubKey } from "../wire/types.ts";
import { type Call, readyChannel } from "./call.ts";
import { checkActive, checkNewHtlcs } from "./chain_checks.ts";
import {
  commitmentView,
  onSameOutput,
  type ReadCommitment,
  readCommitment,
} from "./commitment.ts";
import { checkIsLive, isSameCommitment, withCommitment } from "./holder.ts";
import type { ChannelRecord, CounterpartyRecord } from "./records.ts";
import type { Answer } from "./state.ts";
import { trackCommitment, trackRemoval } from "./tracking.ts";
import { readBitcoinTx, signFunding } from "./transaction.ts";

/** 19: the peer's commitment. */
export function answerSignRemoteCommitment(
  call: Call,
  request: RequestOf<"sign_remote_commitment_tx">,
): Answer {
  const open = readBitcoinTx(request.tx);
  const channel = readyChannel(call);
  const { commitNum: number, remotePerCommit: point } = request;
  const { counterparty } = channel.record;
  const isRepeat = number + 1n === counterparty.next;
  checkNumber(call, counterparty, number, point);
  const read = readCommitment(call, channel, {
    source: { broadcaster: "counterparty", point },
    tx: open.tx,
    number,
    feerate: request.feerate,
    htlcs: request.htlcs,
  });
  checkFundingKey(call, read, request.remoteFundingKey);
  const known = isRepeat
    ? onSameOutput(counterparty.current, read.record)
    : null;
  if (known !== null) {
    call.judge.require(
      "policy-commitment-retry-same",
      isSameCommitment(known, read.record),
      () => `another transaction for commitment ${number}, want the same`,
    );
    return signFunding(call, open, request.remoteFundingKey);
  }
  checkIsLive(call, read);
  checkOpenForUpdates(call, channel.record);
  checkActive(call, channel, number);
  checkNewHtlcs(call, channel, read.record);
  checkCommitment(
    call.judge,
    commitmentView(channel, read, number, "counterparty"),
    call.feeReference,
  );
  const writes = trackCommitment(call, channel, {
    broadcaster: "counterparty",
    before: channel.record,
    after: withCounterparty(channel.record, number, point, read),
    old: isRepeat ? counterparty.previous : counterparty.current,
    fresh: isRepeat ? counterparty.current : [],
    added: read.record,
  });
  const answer = signFunding(call, open, request.remoteFundingKey);
  return { ...answer, writes };
}

function checkFundingKey(
  { judge }: Call,
  { funding }: ReadCommitment,
  key: PubKey,
): void {
  judge.require(
    "policy-commitment-countersignatory-pubkey",
    isSameBytes(funding.remoteFundingKey, key),
    () => "another funding key of the peer, want the one of the setup",
  );
}

/** BOLT 2: at most one commitment of the peer's is not revoked when we sign. */
function checkNumber(
  { judge }: Call,
  { next, revoked, currentPoint }: CounterpartyRecord,
  number: bigint,
  point: PubKey,
): void {
  const isKnown = number === next || number + 1n === next;
  judge.require(
    "policy-commitment-previous-revoked",
    isKnown && number <= revoked + 1n,
    () =>
      `commitment ${number} of the peer's, ${revoked} are revoked and ` +
      `${next} signed, want ${next} when ${next - 1n} are revoked`,
  );
  judge.require(
    "policy-commitment-retry-same",
    number === next || currentPoint === null ||
      isSameBytes(currentPoint, point),
    () => `another point for commitment ${number}, want the same`,
  );
}

/** Signed for broadcast or closed: the channel takes no new commitment. */
function checkOpenForUpdates(
  { judge }: Call,
  { isForgotten }: ChannelRecord,
): void {
  judge.require(
    "policy-revoke-not-closed",
    !isForgotten,
    () => "the channel was forgotten, want no new commitment",
  );
}

function withCounterparty(
  record: ChannelRecord,
  number: bigint,
  point: PubKey,
  { record: added }: ReadCommitment,
): ChannelRecord {
  const { counterparty } = record;
  const { next, current, currentPoint } = counterparty;
  const moved = number === next
    ? {
      next: next + 1n,
      previous: current,
      previousPoint: currentPoint,
      current: [added],
      currentPoint: point,
    }
    : { current: withCommitment(current, added) };
  return { ...record, counterparty: { ...counterparty, ...moved } };
}

/** 36: the peer revoked a commitment. */
export function answerValidateRevocation(
  call: Call,
  { revokeNum, perCommitmentSecret }: RequestOf<"validate_revocation">,
): Answer {
  const channel = readyChannel(call);
  const { counterparty } = channel.record;
  const reply = encodeMessage(REPLIES.validate_revocation_reply, {});
  const index = secretIndex(revokeNum);
  const known = revokeNum < counterparty.revoked
    ? secretAt(counterparty.secrets, index)
    : null;
  if (known !== null && isSameBytes(known, perCommitmentSecret)) {
    return { reply };
  }
  const point = publicKeyOf(toPrivateKey(perCommitmentSecret));
  const { previousPoint, revoked, next } = counterparty;
  const isNext = revokeNum === revoked && revokeNum + 2n === next;
  call.judge.require(
    "policy-commitment-previous-revoked",
    isNext && previousPoint !== null && isSameBytes(previousPoint, point),
    () =>
      isNext
        ? `the secret of ${revokeNum} is not that of its point`
        : `revocation of ${revokeNum}, ${revoked} are revoked and ${next} ` +
          `signed, want ${revoked} when ${revoked + 2n} are signed`,
  );
  const secrets = insertSecret(
    counterparty.secrets,
    index,
    perCommitmentSecret,
  );
  call.judge.require(
    "policy-commitment-previous-revoked",
    secrets !== null,
    () => `the secret of ${revokeNum} does not lead to those before it`,
  );
  const after = {
    ...channel.record,
    counterparty: {
      ...counterparty,
      revoked: revoked + 1n,
      previous: [],
      secrets: secrets ?? counterparty.secrets,
    },
  };
  return { reply, writes: trackRemoval(call, channel, after) };
}
