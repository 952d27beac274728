/**
 * What a signer remembers, byte by byte: one row a kind of record.
 *
 * | kind | key | what |
 * | --- | --- | --- |
 * | channel | channel/peer/dbid | setup, funding outputs, commitments, secrets |
 * | payment | payment/hash | what was approved, what is under way |
 * | node | node | counters and velocity that belong to no channel |
 *
 * All amounts and sides are seen from us: `toUs` is our output whoever's
 * commitment it stands on, side LOCAL is an HTLC that we offered. Commitment
 * numbers count from 0 (BOLT 3); `next` is the first that is not there yet.
 *
 * A record starts with the number of its format. A later format gets a row in
 * {@link RECORDS} and a function that lifts the older one.
 *
 * What it does not do: decide. That is `channel.ts` and `policy/`.
 *
 * @module
 */

import {
  bool,
  choice,
  fixed,
  list,
  option,
  struct,
  u16,
  u32,
  u64,
  type ValueOf,
} from "../wire/codec.ts";
import {
  amountMsat,
  amountSat,
  basepoints,
  channelType,
  hsmHtlc,
  nodeId,
  octets,
  outpoint,
  pubkey,
  secret,
  sha256,
  txid,
} from "../wire/types.ts";

/** What setup_channel settles once for a channel's whole life. */
export const channelSetup = struct("channel_setup", {
  isOutbound: bool,
  localToSelfDelay: u16,
  remoteToSelfDelay: u16,
  localShutdownScript: octets,
  localShutdownWalletIndex: option(u32),
  remoteShutdownScript: octets,
  remoteBasepoints: basepoints,
  channelType,
});
export type ChannelSetup = ValueOf<typeof channelSetup>;

/** Known, and nothing of ours lets it confirm. */
export const FUNDING_CANDIDATE = 0;
/** We signed what lets it confirm: from here on it is as good as real. */
export const FUNDING_SIGNED = 1;
/** The node says that it is buried: the channel goes on with this one. */
export const FUNDING_LOCKED = 2;
/** Another one was locked after it: it can be spent no more, or never could. */
export const FUNDING_RETIRED = 3;

/** An output that is, was, or may become the channel's. */
export const fundingRecord = struct("funding", {
  outpoint,
  value: amountSat,
  pushValue: amountMsat,
  remoteFundingKey: pubkey,
  /** Whether it takes over from an output that was there before. */
  isSplice: bool,
  state: choice("funding_state", [
    FUNDING_CANDIDATE,
    FUNDING_SIGNED,
    FUNDING_LOCKED,
    FUNDING_RETIRED,
  ]),
});
export type FundingRecord = ValueOf<typeof fundingRecord>;

/** One side's commitment transaction on one funding output. */
export const commitmentRecord = struct("commitment", {
  /** Which funding output it spends. */
  funding: outpoint,
  /** Of the commitment transaction: what a repeat must be equal to. */
  txid,
  feerate: u32,
  toUs: amountSat,
  toThem: amountSat,
  /** What no output gets, anchors not included. */
  fee: amountSat,
  htlcs: list(hsmHtlc),
});
export type CommitmentRecord = ValueOf<typeof commitmentRecord>;

/** Our commitments: number next-1 is current, number next may be pending. */
export const holderRecord = struct("holder", {
  next: u64,
  current: list(commitmentRecord),
  pending: list(commitmentRecord),
  /** Lowest number that was signed for broadcast; never revoked from then on. */
  signed: option(u64),
});
export type HolderRecord = ValueOf<typeof holderRecord>;

/** A revocation secret in the store of BOLT 3, at its index (2^48-1-n). */
export const storedSecret = struct("stored_secret", { index: u64, secret });
export type StoredSecret = ValueOf<typeof storedSecret>;

/** Theirs: next-1 is current, next-2 is previous until it is revoked. */
export const counterpartyRecord = struct("counterparty", {
  next: u64,
  /** First number that is not revoked. */
  revoked: u64,
  current: list(commitmentRecord),
  previous: list(commitmentRecord),
  currentPoint: option(pubkey),
  previousPoint: option(pubkey),
  secrets: list(storedSecret),
});
export type CounterpartyRecord = ValueOf<typeof counterpartyRecord>;

/** An output of a splice that was signed early, and the least claim on it. */
export const presignedRecord = struct("presigned", {
  outpoint,
  least: amountSat,
});
export type PresignedRecord = ValueOf<typeof presignedRecord>;

/** Everything about one channel. */
export const channelRecord = struct("channel", {
  peerId: nodeId,
  dbid: u64,
  /** Null for a channel that has not been set up. */
  setup: option(channelSetup),
  fundings: list(fundingRecord),
  holder: holderRecord,
  counterparty: counterpartyRecord,
  /** Mutual closes that we signed, by txid. */
  closes: list(txid),
  /** Splices that were signed before their commitments: what has to be ours. */
  presigned: list(presignedRecord),
  /** Satoshi that our commitments lost without a payment to show for it. */
  holderLoss: amountSat,
  /** The same on theirs. */
  counterpartyLoss: amountSat,
  isForgotten: bool,
});
export type ChannelRecord = ValueOf<typeof channelRecord>;

/** What one payment hash has under way in one channel. */
export const channelAmount = struct("channel_amount", {
  peerId: nodeId,
  dbid: u64,
  amount: amountMsat,
  /** Incoming: the earliest expiry; outgoing: the latest. */
  cltv: u32,
});
export type ChannelAmount = ValueOf<typeof channelAmount>;

export const APPROVED_INVOICE = 0;
export const APPROVED_KEYSEND = 1;

/** What the owner, or the owner's limits, allowed to be paid. */
export const approvalRecord = struct("approval", {
  kind: choice("approval_kind", [APPROVED_INVOICE, APPROVED_KEYSEND]),
  /** Null for an invoice that leaves the amount to the payer. */
  amount: option(amountMsat),
  /** What the payee signed; for a keysend the payment hash. */
  invoiceHash: sha256,
  /** Unix seconds. */
  expiresAt: u64,
});
export type ApprovalRecord = ValueOf<typeof approvalRecord>;

/** One payment hash, over all channels. */
export const paymentRecord = struct("payment", {
  paymentHash: sha256,
  approval: option(approvalRecord),
  /** What the owner allowed to go out without an approval. */
  consented: amountMsat,
  /** What certainly went out and will not come back. */
  settled: amountMsat,
  incoming: list(channelAmount),
  outgoing: list(channelAmount),
});
export type PaymentRecord = ValueOf<typeof paymentRecord>;

/** VLS buckets: see policy/velocity.ts. Times in Unix seconds. */
export const velocityRecord = struct("velocity", {
  start: u64,
  buckets: list(amountMsat),
});

/** What belongs to no channel. */
export const nodeRecord = struct("node", {
  /** Largest dbid that was ever used. */
  dbidHighWater: u64,
  paid: velocityRecord,
  fees: velocityRecord,
  /** What their commitments cost us without a payment, over all channels. */
  loss: amountSat,
  /** Approved payments too small for an output: they may become such a loss. */
  credit: amountSat,
  /** Wallet keys up to this index have been seen in use. */
  walletHighWater: u32,
});
export type NodeRecord = ValueOf<typeof nodeRecord>;

/** The answer to a request that changed something, by the request's hash. */
export const answerRecord = struct("answer", {
  /** Rises by one with each answer: the order of the ring. */
  number: u64,
  /** The connection that asked: 33 zero bytes and 0 for lightningd's own. */
  peerId: nodeId,
  dbid: u64,
  request: fixed("request_hash", 32),
  reply: octets,
});

/** Every kind of record: how its key starts, and its format. */
export const RECORDS = {
  channel: { prefix: "channel/", format: 1, codec: channelRecord },
  payment: { prefix: "payment/", format: 1, codec: paymentRecord },
  node: { prefix: "node", format: 1, codec: nodeRecord },
} as const;
