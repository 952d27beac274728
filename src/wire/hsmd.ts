/**
 * Every message between lightningd and its hsmd, one row each.
 *
 * Facts from Core Lightning's hsmd/hsmd_wire.csv, releases v24.02 to v26.06.6;
 * `scripts/wire_diff.ts` compares. Row names and numbers are CLN's, field names
 * are its own in camel case. A count that stands before its array is part of
 * the array's codec.
 *
 * A number of 100 or more is not always a reply: 142 to 149 are requests too.
 *
 * //~ This table is what the whole program hangs on. A new message of a new
 * //~ release is a row here and a handler in signer/handle.ts; the compiler asks
 * //~ for the second when it sees the first. Next: broker.ts.
 *
 * @module
 */

import { bool, list, option, u16, u32, u64, u8, wirestring } from "./codec.ts";
import {
  byType,
  type MessageOf,
  reply,
  request,
  type RequestRow,
  type Row,
  table,
} from "./message.ts";
import { tlvs } from "./tlv.ts";
import {
  amountMsat,
  amountSat,
  basepoints,
  bip32KeyVersion,
  bip340sig,
  bitcoinSignature,
  bitcoinTx,
  chainparams,
  channelType,
  ecdsaSignature,
  extKey,
  hsmHtlc,
  hsmUtxo,
  nodeId,
  octets,
  privkey,
  psbt,
  pubkey,
  recoverableSignature,
  secret,
  secrets,
  sha256,
  txid,
} from "./types.ts";

/** What a connection may ask for: bits of client_hsmfd's permissions. */
export const PERMISSIONS = {
  ECDH: 1,
  SIGN_GOSSIP: 2,
  SIGN_ONCHAIN_TX: 4,
  COMMITMENT_POINT: 8,
  SIGN_REMOTE_TX: 16,
  SIGN_CLOSING_TX: 32,
  SIGN_WILL_FUND_OFFER: 64,
  SIGN_SPLICE_TX: 128,
  LOCK_OUTPOINT: 256,
  MASTER: 1024,
} as const;

const P = PERMISSIONS;

/** lightningd's own connection: nothing of one channel without naming it. */
export const MASTER_PERMISSIONS: number = P.MASTER | P.SIGN_GOSSIP | P.ECDH;

/** The protocol versions that we speak. */
export const WIRE_VERSIONS = { min: 4, max: 6 } as const;

/** Kinds of hsm_secret that an init reply names. */
export const SECRET_TYPES = {
  plain: 0,
  encrypted: 1,
  mnemonic: 2,
  mnemonicWithPassphrase: 3,
} as const;

const signTxReply = [112];
const master = (...replies: number[]) => ({ permission: P.MASTER, replies });
const needs = (permission: number, ...replies: number[]) => ({
  permission,
  replies,
});

/** What may be asked, sorted by number. */
export const REQUESTS = table({
  ecdh_req: request(1, { point: pubkey }, needs(P.ECDH, 100)),
  cannouncement_sig_req: request(
    2,
    { ca: octets },
    needs(P.SIGN_GOSSIP, 102),
  ),
  cupdate_sig_req: request(3, { cu: octets }, needs(P.SIGN_GOSSIP, 103)),
  sign_any_cannouncement_req: request(
    4,
    { ca: octets, peerid: nodeId, channelDbid: u64 },
    master(104),
  ),
  sign_commitment_tx: request(5, {
    peerId: nodeId,
    channelDbid: u64,
    tx: bitcoinTx,
    remoteFundingKey: pubkey,
    commitNum: u64,
  }, master(105)),
  node_announcement_sig_req: request(
    6,
    { announcement: octets },
    needs(P.SIGN_GOSSIP, 106),
  ),
  sign_withdrawal: request(7, { inputs: list(hsmUtxo), psbt }, master(107)),
  sign_invoice: request(8, { u5bytes: octets, hrp: octets }, master(108)),
  client_hsmfd: request(
    9,
    { id: nodeId, dbid: u64, permissions: u64 },
    master(109),
  ),
  get_channel_basepoints: request(
    10,
    { peerid: nodeId, dbid: u64 },
    master(110),
  ),
  init: request(11, {
    bip32KeyVersion,
    chainparams,
    hsmEncryptionKey: option(secret),
    devForcePrivkey: option(privkey),
    devForceBip32Seed: option(secret),
    devForceChannelSecrets: option(secrets),
    devForceChannelSecretsShaseed: option(sha256),
    hsmWireMinVersion: u32,
    hsmWireMaxVersion: u32,
    tlvs: tlvs("hsmd_init_tlvs", {
      hsmPassphrase: { type: 1, codec: wirestring },
    }),
  }, master(114, 115)),
  sign_delayed_payment_to_us: request(
    12,
    { commitNum: u64, tx: bitcoinTx, wscript: octets },
    needs(P.SIGN_ONCHAIN_TX, ...signTxReply),
  ),
  sign_remote_htlc_to_us: request(13, {
    remotePerCommitmentPoint: pubkey,
    tx: bitcoinTx,
    wscript: octets,
    optionAnchorOutputs: bool,
  }, needs(P.SIGN_ONCHAIN_TX, ...signTxReply)),
  sign_penalty_to_us: request(
    14,
    { revocationSecret: secret, tx: bitcoinTx, wscript: octets },
    needs(P.SIGN_ONCHAIN_TX, ...signTxReply),
  ),
  sign_local_htlc_tx: request(16, {
    commitNum: u64,
    tx: bitcoinTx,
    wscript: octets,
    optionAnchorOutputs: bool,
  }, {
    ...needs(P.SIGN_ONCHAIN_TX, ...signTxReply),
    releases: "to v25.12",
  }),
  get_per_commitment_point: request(
    18,
    { n: u64 },
    needs(P.COMMITMENT_POINT, 118),
  ),
  sign_remote_commitment_tx: request(19, {
    tx: bitcoinTx,
    remoteFundingKey: pubkey,
    remotePerCommit: pubkey,
    optionStaticRemotekey: bool,
    commitNum: u64,
    htlcs: list(hsmHtlc),
    feerate: u32,
  }, needs(P.SIGN_REMOTE_TX, ...signTxReply)),
  sign_remote_htlc_tx: request(20, {
    tx: bitcoinTx,
    wscript: octets,
    remotePerCommitPoint: pubkey,
    optionAnchorOutputs: bool,
  }, needs(P.SIGN_REMOTE_TX, ...signTxReply)),
  sign_mutual_close_tx: request(
    21,
    { tx: bitcoinTx, remoteFundingKey: pubkey },
    needs(P.SIGN_CLOSING_TX, ...signTxReply),
  ),
  check_future_secret: request(
    22,
    { n: u64, commitmentSecret: secret },
    needs(P.COMMITMENT_POINT, 122),
  ),
  sign_message: request(23, { msg: octets }, master(123)),
  get_output_scriptpubkey: request(
    24,
    { channelId: u64, peerId: nodeId, commitmentPoint: option(pubkey) },
    master(124),
  ),
  sign_bolt12: request(25, {
    messagename: wirestring,
    fieldname: wirestring,
    merkleroot: sha256,
    publictweak: octets,
  }, master(125)),
  sign_option_will_fund_offer: request(26, {
    fundingPubkey: pubkey,
    blockheight: u32,
    channelFeeBaseMaxMsat: u32,
    channelFeeProportionalBasisMax: u16,
  }, needs(P.SIGN_WILL_FUND_OFFER, 126)),
  derive_secret: request(27, { info: octets }, master(127)),
  check_pubkey: request(28, { index: u32, pubkey }, master(128)),
  sign_splice_tx: request(
    29,
    { tx: bitcoinTx, remoteFundingKey: pubkey, inputIndex: u32 },
    needs(P.SIGN_SPLICE_TX, ...signTxReply),
  ),
  new_channel: request(30, { id: nodeId, dbid: u64 }, master(130)),
  setup_channel: request(31, {
    isOutbound: bool,
    channelValue: amountSat,
    pushValue: amountMsat,
    fundingTxid: txid,
    fundingTxout: u16,
    localToSelfDelay: u16,
    localShutdownScript: octets,
    localShutdownWalletIndex: option(u32),
    remoteBasepoints: basepoints,
    remoteFundingPubkey: pubkey,
    remoteToSelfDelay: u16,
    remoteShutdownScript: octets,
    channelType,
  }, needs(P.COMMITMENT_POINT, 131)),
  check_outpoint: request(
    32,
    { fundingTxid: txid, fundingTxout: u16 },
    needs(P.LOCK_OUTPOINT, 132),
  ),
  dev_memleak: request(33, {}, master(133)),
  forget_channel: request(34, { id: nodeId, dbid: u64 }, master(134)),
  validate_commitment_tx: request(35, {
    tx: bitcoinTx,
    htlcs: list(hsmHtlc),
    commitNum: u64,
    feerate: u32,
    sig: bitcoinSignature,
    htlcSigs: list(bitcoinSignature),
  }, needs(P.SIGN_REMOTE_TX, 135)),
  validate_revocation: request(
    36,
    { revokeNum: u64, perCommitmentSecret: secret },
    needs(P.SIGN_REMOTE_TX, 136),
  ),
  lock_outpoint: request(
    37,
    { fundingTxid: txid, fundingTxout: u16 },
    needs(P.LOCK_OUTPOINT, 137),
  ),
  preapprove_invoice: request(38, { invstring: wirestring }, master(138)),
  preapprove_keysend: request(
    39,
    { destination: nodeId, paymentHash: sha256, amountMsat },
    master(139),
  ),
  revoke_commitment_tx: request(
    40,
    { commitNum: u64 },
    needs(P.SIGN_REMOTE_TX, 140),
  ),
  sign_bolt12_2: request(41, {
    messagename: wirestring,
    fieldname: wirestring,
    merkleroot: sha256,
    info: octets,
    publictweak: octets,
  }, master(141)),
  bip137_sign_message: request(45, { msg: octets, keyidx: u32 }, master(145)),
  // The stock hsmd answers both with the replies of 38 and 39.
  preapprove_invoice_check: request(
    51,
    { invstring: wirestring, checkOnly: bool },
    master(138, 151),
  ),
  preapprove_keysend_check: request(52, {
    destination: nodeId,
    paymentHash: sha256,
    amountMsat,
    checkOnly: bool,
  }, master(139, 152)),
  check_bip86_pubkey: request(56, { index: u32, pubkey }, master(156)),
  dev_preinit: request(99, {
    tlvs: tlvs("hsmd_dev_preinit_tlvs", {
      failPreapprove: { type: 1, codec: bool },
      noPreapproveCheck: { type: 3, codec: bool },
      warnOnOvergrind: { type: 5, codec: bool },
    }),
  }, master()),
  sign_any_delayed_payment_to_us: request(142, {
    commitNum: u64,
    tx: bitcoinTx,
    wscript: octets,
    input: u32,
    peerid: nodeId,
    channelDbid: u64,
  }, master(...signTxReply)),
  sign_any_remote_htlc_to_us: request(143, {
    remotePerCommitmentPoint: pubkey,
    tx: bitcoinTx,
    wscript: octets,
    optionAnchorOutputs: bool,
    input: u32,
    peerid: nodeId,
    channelDbid: u64,
  }, master(...signTxReply)),
  sign_any_penalty_to_us: request(144, {
    revocationSecret: secret,
    tx: bitcoinTx,
    wscript: octets,
    input: u32,
    peerid: nodeId,
    channelDbid: u64,
  }, master(...signTxReply)),
  sign_any_local_htlc_tx: request(146, {
    commitNum: u64,
    tx: bitcoinTx,
    wscript: octets,
    optionAnchorOutputs: bool,
    input: u32,
    peerid: nodeId,
    channelDbid: u64,
  }, master(...signTxReply)),
  sign_anchorspend: request(147, {
    peerid: nodeId,
    channelDbid: u64,
    inputs: list(hsmUtxo),
    psbt,
  }, master(148)),
  sign_htlc_tx_mingle: request(149, {
    peerid: nodeId,
    channelDbid: u64,
    inputs: list(hsmUtxo),
    psbt,
  }, master(150)),
});

/** What may be answered, sorted by number. */
export const REPLIES = table({
  ecdh_resp: reply(100, { ss: secret }),
  cannouncement_sig_reply: reply(102, {
    nodeSignature: ecdsaSignature,
    bitcoinSignature: ecdsaSignature,
  }),
  cupdate_sig_reply: reply(103, { cu: octets }),
  sign_any_cannouncement_reply: reply(104, {
    nodeSignature: ecdsaSignature,
    bitcoinSignature: ecdsaSignature,
  }),
  sign_commitment_tx_reply: reply(105, { sig: bitcoinSignature }),
  node_announcement_sig_reply: reply(106, { signature: ecdsaSignature }),
  sign_withdrawal_reply: reply(107, { psbt }),
  sign_invoice_reply: reply(108, { sig: recoverableSignature }),
  client_hsmfd_reply: reply(109, {}),
  get_channel_basepoints_reply: reply(110, {
    basepoints,
    fundingPubkey: pubkey,
  }),
  sign_tx_reply: reply(112, { sig: bitcoinSignature }),
  init_reply_v4: reply(114, {
    hsmVersion: u32,
    hsmCapabilities: list(u32),
    nodeId,
    bip32: extKey,
    bolt12: pubkey,
    tlvs: tlvs("hsmd_init_reply_v4_tlvs", {
      hsmSecretType: { type: 1, codec: u8 },
      bip86Base: { type: 2, codec: extKey },
    }),
  }),
  init_reply_failure: reply(115, { errorCode: u32, errorMessage: wirestring }),
  get_per_commitment_point_reply: reply(118, {
    perCommitmentPoint: pubkey,
    oldCommitmentSecret: option(secret),
  }),
  check_future_secret_reply: reply(122, { correct: bool }),
  sign_message_reply: reply(123, { sig: recoverableSignature }),
  get_output_scriptpubkey_reply: reply(124, { script: octets }),
  sign_bolt12_reply: reply(125, { sig: bip340sig }),
  sign_option_will_fund_offer_reply: reply(126, { rsig: ecdsaSignature }),
  derive_secret_reply: reply(127, { secret }),
  check_pubkey_reply: reply(128, { ok: bool }),
  new_channel_reply: reply(130, {}),
  setup_channel_reply: reply(131, {}),
  check_outpoint_reply: reply(132, { isBuried: bool }),
  dev_memleak_reply: reply(133, { leak: bool }),
  forget_channel_reply: reply(134, {}),
  validate_commitment_tx_reply: reply(135, {
    oldCommitmentSecret: option(secret),
    nextPerCommitmentPoint: pubkey,
  }),
  validate_revocation_reply: reply(136, {}),
  lock_outpoint_reply: reply(137, {}),
  preapprove_invoice_reply: reply(138, { approved: bool }),
  preapprove_keysend_reply: reply(139, { approved: bool }),
  revoke_commitment_tx_reply: reply(140, {
    oldCommitmentSecret: secret,
    nextPerCommitmentPoint: pubkey,
  }),
  sign_bolt12_2_reply: reply(141, { sig: bip340sig }),
  bip137_sign_message_reply: reply(145, { sig: recoverableSignature }),
  sign_anchorspend_reply: reply(148, { psbt }),
  sign_htlc_tx_mingle_reply: reply(150, { psbt }),
  preapprove_invoice_check_reply: reply(151, { approved: bool }),
  preapprove_keysend_check_reply: reply(152, { approved: bool }),
  check_bip86_pubkey_reply: reply(156, { ok: bool }),
});

/** Names of the requests. */
export type RequestName = keyof typeof REQUESTS;
/** What a request carries. */
export type RequestOf<K extends RequestName> = MessageOf<(typeof REQUESTS)[K]>;

const requests = byType<RequestRow & { readonly name: string }>(
  // The rows differ in their fields, which a dispatcher does not look at.
  REQUESTS as unknown as Record<string, RequestRow>,
);
const replies = byType<Row>(REPLIES as unknown as Record<string, Row>);

/** The row of a request by its number; undefined for replies and unknown ones. */
export function requestRow(type: number): RequestRow | undefined {
  return requests.get(type);
}

/** The row of a reply by its number. */
export function replyRow(type: number): Row | undefined {
  return replies.get(type);
}

/** CLN's name of a message, for a log line: known or not, it has one. */
export function messageName(type: number | null): string {
  if (type === null) return "no message";
  return (requests.get(type) ?? replies.get(type))?.name ?? `type ${type}`;
}

/** Whether a connection with these permission bits may ask this. */
export function isPermitted(row: RequestRow, permissions: bigint): boolean {
  const bit = BigInt(row.permission);
  return (permissions & bit) === bit;
}
