/**
 * Our own commitments: taken, made current by revoking the one before, signed
 * for broadcast.
 *
 * ```
 *    validate n       store (node)       revoke n-1
 *   ------------> pending ---------> . ------------> current
 *                    |                                  |
 *                    '---- sign for broadcast n --------'---> never revoked
 * ```
 *
 * | request | when | then |
 * | --- | --- | --- |
 * | validate n | n is the next | it is pending; another one may replace it |
 * | validate n | n is current | the same again, or a splice's first |
 * | revoke n | n is current, n+1 pending on every live output | n+1 is current |
 * | revoke n | n is revoked | the same secret again |
 * | sign n | n is current or pending | nothing from n on is ever revoked |
 *
 * Standards: BOLT 2 ("Committing Updates So Far", "Completing the Transition"),
 * BOLT 3.
 *
 * What it does not do: sign what the peer broadcasts (`counterparty.ts`).
 *
 * @module
 */

import { hashSegwitV0 } from "../bitcoin/sighash.ts";
import { redeem2of2 } from "../bitcoin/script.ts";
import { verifyEcdsa } from "../crypto/secp.ts";
import { buildHtlcTx } from "../lightning/htlc_tx.ts";
import { perCommitmentSecret } from "../lightning/shachain.ts";
import { checkCommitment } from "../policy/commitment.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import {
  type BitcoinSignature,
  SIDE_LOCAL,
  SIGHASH_ALL,
  SIGHASH_SINGLE_ANYONECANPAY,
} from "../wire/types.ts";
import {
  type Call,
  disclose,
  type ReadyChannel,
  readyChannel,
  refuseState,
} from "./call.ts";
import { checkActive, checkNewHtlcs } from "./chain_checks.ts";
import {
  commitmentView,
  htlcName,
  isSameOutpoint,
  onSameOutput,
  ourPoint,
  type ReadCommitment,
  readCommitment,
} from "./commitment.ts";
import {
  type ChannelRecord,
  type CommitmentRecord,
  FUNDING_LOCKED,
  FUNDING_RETIRED,
  FUNDING_SIGNED,
} from "./records.ts";
import type { Answer, PrepareEffect } from "./state.ts";
import { trackCommitment, trackRemoval } from "./tracking.ts";
import { readBitcoinTx } from "./transaction.ts";

/** The list with the commitment in the place of one on the same output. */
export function withCommitment(
  list: readonly CommitmentRecord[],
  added: CommitmentRecord,
): readonly CommitmentRecord[] {
  const others = list.filter(({ funding }) =>
    !isSameOutpoint(funding, added.funding)
  );
  return [...others, added];
}

/** Whether they are the same transaction with the same HTLCs behind it. */
export function isSameCommitment(
  a: CommitmentRecord,
  b: CommitmentRecord,
): boolean {
  const list = ({ htlcs }: CommitmentRecord) => htlcs.map(htlcName).sort();
  return a.txid.toHex() === b.txid.toHex() &&
    list(a).join() === list(b).join();
}

// ------------------------------------------------------------------- validate

/** 35: a new commitment of ours, countersigned. */
export function answerValidateCommitment(
  call: Call,
  request: RequestOf<"validate_commitment_tx">,
): Answer {
  const { tx } = readBitcoinTx(request.tx);
  const channel = readyChannel(call);
  const { commitNum: number, htlcs, feerate } = request;
  const { holder } = channel.record;
  const isCurrent = number + 1n === holder.next;
  checkNumber(call, channel, number);
  const read = readCommitment(call, channel, {
    source: { broadcaster: "holder", number },
    tx,
    number,
    feerate,
    htlcs,
  });
  const known = onSameOutput(
    isCurrent ? holder.current : holder.pending,
    read.record,
  );
  const reply = encodeMessage(REPLIES.validate_commitment_tx_reply, {
    oldCommitmentSecret: null,
    nextPerCommitmentPoint: ourPoint(call, channel, number + 1n),
  });
  if (known !== null && isSameCommitment(known, read.record)) return { reply };
  checkRetry(call, isCurrent ? known : null);
  checkIsLive(call, read);
  checkNotClosed(call, channel.record);
  checkActive(call, channel, number);
  checkNewHtlcs(call, channel, read.record);
  checkCommitment(
    call.judge,
    commitmentView(channel, read, number, "holder"),
    call.feeReference,
  );
  checkSignatures(call, read, request);
  const writes = trackCommitment(call, channel, {
    broadcaster: "holder",
    before: channel.record,
    after: withHolder(channel.record, number, read.record),
    old: isCurrent ? [] : holder.current,
    fresh: isCurrent ? holder.current : holder.pending,
    added: read.record,
  });
  return { reply, writes, effects: [prepareNext(channel, number + 1n)] };
}

/** The keys of the next commitment are known now: nobody need wait for them. */
function prepareNext({ id }: ReadyChannel, number: bigint): PrepareEffect {
  return { kind: "prepare", channel: id, number };
}

/** The record with a commitment at number next-1 or next. */
function withHolder(
  record: ChannelRecord,
  number: bigint,
  added: CommitmentRecord,
): ChannelRecord {
  const { holder } = record;
  // Commitment 0 has nothing before it: it is current as soon as it is there.
  if (holder.next === 0n) {
    return { ...record, holder: { ...holder, next: 1n, current: [added] } };
  }
  return number === holder.next
    ? {
      ...record,
      holder: { ...holder, pending: withCommitment(holder.pending, added) },
    }
    : {
      ...record,
      holder: { ...holder, current: withCommitment(holder.current, added) },
    };
}

function checkNumber(
  { judge }: Call,
  { record }: ReadyChannel,
  number: bigint,
): void {
  const { next } = record.holder;
  judge.require(
    "policy-commitment-holder-not-revoked",
    number + 2n > next,
    () => `commitment ${number} of ours is revoked, want ${next} or the last`,
  );
  judge.require(
    "policy-revoke-new-commitment-signed",
    number <= next,
    () => `commitment ${number} of ours, want ${next}`,
  );
}

/** A pending commitment may be replaced: nothing was revoked for it yet. */
function checkRetry({ judge }: Call, current: CommitmentRecord | null) {
  judge.require(
    "policy-commitment-retry-same",
    current === null,
    () => "another transaction for our current commitment, want the same",
  );
}

/** A commitment on an output that another one took over from is worth nothing. */
export function checkIsLive(
  { judge }: Call,
  { funding }: ReadCommitment,
): void {
  judge.require(
    "policy-splice-known-outpoint",
    funding.state !== FUNDING_RETIRED,
    () => "spends a funding output that was replaced, want the channel's",
  );
}

function checkNotClosed({ judge }: Call, record: ChannelRecord): void {
  const { holder, closes, isForgotten } = record;
  judge.require(
    "policy-revoke-not-closed",
    holder.signed === null && closes.length === 0 && !isForgotten,
    () =>
      isForgotten
        ? "the channel was forgotten, want no new commitment"
        : holder.signed === null
        ? "a mutual close is signed, want no new commitment"
        : `commitment ${holder.signed} is signed for broadcast, want no other`,
  );
}

/** BOLT 2: without these two kinds of signatures it could not be broadcast. */
function checkSignatures(
  call: Call,
  read: ReadCommitment,
  { sig, htlcSigs }: Pick<
    RequestOf<"validate_commitment_tx">,
    "sig" | "htlcSigs"
  >,
): void {
  const { built, keys, funding } = read;
  const script = redeem2of2(keys.broadcasterFunding, keys.countersignerFunding);
  const digest = hashSegwitV0(built.tx, {
    index: 0,
    script,
    amount: funding.value,
    sighash: SIGHASH_ALL,
  });
  call.judge.require(
    "policy-revoke-new-commitment-signed",
    sig.sighash === SIGHASH_ALL &&
      verifyEcdsa(sig.signature, digest, keys.countersignerFunding),
    () => "the peer's signature of our commitment is not valid",
  );
  checkHtlcSignatures(call, read, htlcSigs);
}

/** BOLT 2, commitment_signed: one signature an HTLC, in the outputs' order. */
function checkHtlcSignatures(
  { judge }: Call,
  { built, record, keys, terms }: ReadCommitment,
  signatures: readonly BitcoinSignature[],
): void {
  const outputs = built.outputs.flatMap((output, outputIndex) => {
    const { htlc: at, witnessScript } = output;
    const htlc = at === null ? undefined : record.htlcs[at];
    return htlc === undefined || witnessScript === null
      ? []
      : [{ htlc, witnessScript, outputIndex }];
  });
  judge.require(
    "policy-revoke-new-commitment-signed",
    outputs.length === signatures.length,
    () => `${signatures.length} HTLC signatures, want ${outputs.length}`,
  );
  if (outputs.length === 0) return;
  const signer = keys.countersignerHtlc;
  const sighash = terms.hasAnchors ? SIGHASH_SINGLE_ANYONECANPAY : SIGHASH_ALL;
  const bad = outputs.findIndex(({ htlc, outputIndex, witnessScript }, i) => {
    const signature = signatures[i];
    const { tx } = buildHtlcTx({
      commitmentTxid: record.txid,
      outputIndex,
      isOffered: htlc.side === SIDE_LOCAL,
      amount: htlc.amount,
      cltvExpiry: htlc.cltvExpiry,
      feerate: record.feerate,
      keys,
      toSelfDelay: terms.toSelfDelay,
      hasAnchors: terms.hasAnchors,
    });
    const amount = htlc.amount / 1000n;
    const spend = { index: 0, script: witnessScript, amount, sighash };
    return signature === undefined || signature.sighash !== sighash ||
      !verifyEcdsa(signature.signature, hashSegwitV0(tx, spend), signer);
  });
  judge.require(
    "policy-revoke-new-commitment-signed",
    bad < 0,
    () => `the peer's signature of HTLC ${bad} is not valid`,
  );
}

// --------------------------------------------------------------------- revoke

/** 40: revokes a commitment of ours: its secret, and the point of n + 2. */
export function answerRevokeCommitment(
  call: Call,
  { commitNum }: RequestOf<"revoke_commitment_tx">,
): Answer {
  const channel = readyChannel(call);
  const { shaseed } = call.state.channels.keysOf(channel.id);
  const { next } = channel.record.holder;
  const secret = perCommitmentSecret(shaseed, commitNum);
  const reply = encodeMessage(REPLIES.revoke_commitment_tx_reply, {
    oldCommitmentSecret: disclose(secret),
    nextPerCommitmentPoint: ourPoint(call, channel, commitNum + 2n),
  });
  if (commitNum + 1n < next) return { reply };
  checkRevocation(call, channel.record, commitNum);
  const { holder } = channel.record;
  const after = {
    ...channel.record,
    holder: {
      ...holder,
      next: next + 1n,
      current: holder.pending,
      pending: [],
    },
  };
  return { reply, writes: trackRemoval(call, channel, after) };
}

function checkRevocation(
  { judge }: Call,
  { holder, fundings }: ChannelRecord,
  number: bigint,
): void {
  const { next, pending, current, signed } = holder;
  judge.require(
    "policy-commitment-broadcast-revoked",
    signed === null || number < signed,
    () => `commitment ${signed} is signed for broadcast, want it kept`,
  );
  const isNext = number + 1n === next && pending.length > 0;
  if (!isNext) {
    judge.require(
      "policy-revoke-new-commitment-signed",
      false,
      () => `revokes ${number} before ${number + 1n} is countersigned`,
    );
    refuseState(`there is no commitment ${number + 1n} to go on with`);
  }
  const live = fundings.filter(({ state }) =>
    state === FUNDING_SIGNED || state === FUNDING_LOCKED
  );
  const wanted = live.map(({ outpoint: funding }) => ({ funding }))
    .filter((each) => onSameOutput(current, each) !== null);
  const missing = wanted.filter((each) => onSameOutput(pending, each) === null);
  judge.require(
    "policy-splice-inflight-revoked",
    missing.length === 0,
    () =>
      `commitment ${number + 1n} is there for ` +
      `${
        wanted.length - missing.length
      } of ${wanted.length} outputs that may ` +
      "confirm, want all",
  );
}

// ------------------------------------------------------------------ broadcast

/**
 * The commitment of ours that a transaction to be broadcast is, and the record
 * that remembers it; null when it is none.
 */
export function broadcastOf(
  { record }: ReadyChannel,
  txid: Uint8Array,
): ChannelRecord | null {
  const { holder } = record;
  const isIn = (list: readonly CommitmentRecord[]) =>
    list.some((entry) => entry.txid.toHex() === txid.toHex());
  const number = isIn(holder.current)
    ? holder.next - 1n
    : isIn(holder.pending)
    ? holder.next
    : null;
  if (number === null) return null;
  const { signed } = holder;
  const lowest = signed === null || number < signed ? number : signed;
  if (lowest === signed) return record;
  return { ...record, holder: { ...holder, signed: lowest } };
}
