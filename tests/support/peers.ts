/**
 * Both ends of a channel as the tests know them: their keys, the one right
 * commitment of either side for a given content, and the requests that a node
 * makes with it.
 *
 * What is built here is built from the truth (both seeds), with the parts that
 * BOLT 3's vectors proved; a signer sees only what the protocol shows it.
 *
 * What it does not do: keep the state of a channel, or talk to a signer.
 *
 * @module
 */

import { type KeyPair, keyPairOf } from "../../src/bitcoin/keys.ts";
import { p2wsh, redeem2of2 } from "../../src/bitcoin/script.ts";
import { hashSegwitV0 } from "../../src/bitcoin/sighash.ts";
import { signGround } from "../../src/bitcoin/sign.ts";
import {
  encodeTxWithoutWitness,
  type Tx,
  txidOf,
  type TxOutput,
} from "../../src/bitcoin/tx.ts";
import type { ChannelId, ChannelKeys } from "../../src/keyderiv/channel.ts";
import {
  buildCommitment,
  type Commitment,
  type CommitmentKeys,
  obscuringFactor,
} from "../../src/lightning/commitment.ts";
import { buildHtlcTx } from "../../src/lightning/htlc_tx.ts";
import {
  derivePrivateKey,
  derivePublicKey,
  deriveTheirRevocationPublicKey,
} from "../../src/lightning/keys.ts";
import { perCommitmentSecret } from "../../src/lightning/shachain.ts";
import { commitmentFee, isTrimmed } from "../../src/lightning/weight.ts";
import { type RequestOf, REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import {
  type BitcoinSignature,
  type BitcoinTx,
  type HsmHtlc,
  type Msat,
  NOBODY,
  type NodeId,
  type Outpoint,
  type Sat,
  type Sha256,
  SIDE_LOCAL,
  SIDE_REMOTE,
  SIGHASH_ALL,
  SIGHASH_SINGLE_ANYONECANPAY,
  type Txid,
} from "../../src/wire/types.ts";

/** One of the two ends. */
export type Side = 0 | 1;

/** The other end. */
export const other = (side: Side): Side => side === 0 ? 1 : 0;

/** What stays the same for a channel's life. */
export interface Pair {
  readonly nodes: readonly [NodeId, NodeId];
  readonly keys: readonly [ChannelKeys, ChannelKeys];
  /** Each end's number for the channel. */
  readonly dbid: bigint;
  readonly opener: Side;
  readonly hasAnchors: boolean;
  /** Whole satoshi that the opener gives away. */
  readonly pushed: bigint;
}

/** An output of the channel; `delta` is what splices moved, in millisatoshi. */
export interface Funding {
  readonly outpoint: Outpoint;
  readonly value: Sat;
  readonly delta: readonly [bigint, bigint];
}

/** An HTLC of the channel. */
export interface Htlc {
  readonly by: Side;
  readonly amount: Msat;
  readonly paymentHash: Sha256;
  readonly cltvExpiry: number;
}

/** What a commitment says, whoever's it is and on whatever output. */
export interface Content {
  /** Millisatoshi, without what splices moved. */
  readonly balances: readonly [bigint, bigint];
  readonly htlcs: readonly Htlc[];
  readonly feerate: number;
}

/** One commitment transaction with all that belongs to it. */
export interface Commit {
  readonly owner: Side;
  readonly number: bigint;
  readonly funding: Funding;
  readonly content: Content;
  readonly built: Commitment;
  readonly keys: CommitmentKeys;
  readonly txid: Txid;
  /** Those with an output. */
  readonly htlcs: readonly Htlc[];
}

/** A request, and the connection that it comes on. */
export interface Asked {
  readonly peerId: NodeId;
  readonly dbid: bigint;
  readonly message: Uint8Array;
}

const DELAYS = [144, 100] as const;
const DUST = 354n as Sat;
const ANCHORS = 660n;

/** The channel as this end names it. */
export function channelOf({ nodes, dbid }: Pair, side: Side): ChannelId {
  return { peerId: nodes[other(side)], dbid };
}

/** The per-commitment secret of an end, with its point. */
export function pointOf({ keys }: Pair, side: Side, number: bigint): KeyPair {
  return keyPairOf(perCommitmentSecret(keys[side].shaseed, number));
}

/** What hides the numbers of the channel's commitments. */
export function obscurerOf({ keys, opener }: Pair): bigint {
  const payment = (side: Side) => keys[side].payment.point;
  return obscuringFactor(payment(opener), payment(other(opener)));
}

/** The 2-of-2 of the funding output. */
export function fundingScriptOf({ keys }: Pair): Uint8Array {
  return redeem2of2(keys[0].funding.point, keys[1].funding.point);
}

/** The output that a funding is. */
export function fundingOutput(pair: Pair, { value }: Funding): TxOutput {
  return { amount: value, script: p2wsh(fundingScriptOf(pair)) };
}

function keysOf(pair: Pair, owner: Side, number: bigint): CommitmentKeys {
  const { point } = pointOf(pair, owner, number);
  const ours = pair.keys[owner];
  const theirs = pair.keys[other(owner)];
  return {
    revocation: deriveTheirRevocationPublicKey(theirs.revocation, point),
    delayed: derivePublicKey(ours.delayedPayment.point, point),
    broadcasterHtlc: derivePublicKey(ours.htlc.point, point),
    countersignerHtlc: derivePublicKey(theirs.htlc.point, point),
    toRemote: theirs.payment.point,
    broadcasterFunding: ours.funding.point,
    countersignerFunding: theirs.funding.point,
  };
}

/** BOLT 3: the only right commitment of this number and content. */
export function commitOf(
  pair: Pair,
  owner: Side,
  number: bigint,
  funding: Funding,
  content: Content,
): Commit {
  const { hasAnchors, opener } = pair;
  const { feerate, balances } = content;
  const htlcs = content.htlcs.filter(({ amount, by }) =>
    !isTrimmed(amount, { feerate, hasAnchors, isOffered: by === owner }, DUST)
  );
  const fee = commitmentFee(feerate, htlcs.length, hasAnchors) +
    (hasAnchors ? ANCHORS : 0n);
  const paid = (side: Side) => {
    const sat = (balances[side] + funding.delta[side]) / 1000n -
      (side === opener ? fee : 0n);
    // What is left of an amount in satoshi.
    return (sat < DUST ? 0n : sat) as Sat;
  };
  const keys = keysOf(pair, owner, number);
  const built = buildCommitment(
    {
      funding: funding.outpoint,
      hasAnchors,
      toSelfDelay: DELAYS[other(owner)],
      obscurer: obscurerOf(pair),
    },
    keys,
    {
      number,
      toBroadcaster: paid(owner),
      toCountersigner: paid(other(owner)),
      htlcs: htlcs.map((each) => ({ ...each, isOffered: each.by === owner })),
    },
  );
  const txid = txidOf(built.tx);
  return { owner, number, funding, content, built, keys, txid, htlcs };
}

// ------------------------------------------------------------------- requests

function compact(value: number): number[] {
  return value < 0xfd ? [value] : [0xfd, value & 0xff, value >> 8];
}

function varBytes(bytes: Uint8Array | readonly number[]): number[] {
  return [...compact(bytes.length), ...bytes];
}

function encodeOutput({ amount, script }: TxOutput): number[] {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setBigUint64(0, amount, true);
  return [...head, ...varBytes(script)];
}

/** BIP 174: a transaction, and the outputs that it spends. */
export function bitcoinTx(tx: Tx, spent: readonly TxOutput[]): BitcoinTx {
  const bytes = encodeTxWithoutWitness(tx);
  const inputs = spent.flatMap((output) => [
    ...varBytes([1]),
    ...varBytes(encodeOutput(output)),
    0,
  ]);
  const psbt = Uint8Array.from([
    ...[0x70, 0x73, 0x62, 0x74, 0xff],
    ...varBytes([0]),
    ...varBytes(bytes),
    0,
    ...inputs,
    ...tx.outputs.map(() => 0),
  ]);
  return { tx: bytes, psbt };
}

/** A commitment as requests carry it. */
export function commitTx(pair: Pair, { built, funding }: Commit): BitcoinTx {
  return bitcoinTx(built.tx, [fundingOutput(pair, funding)]);
}

/** HTLCs of a commitment as this end sees them. */
export function htlcsFor(side: Side, { htlcs }: Commit): readonly HsmHtlc[] {
  return htlcs.map(({ by, ...htlc }) => ({
    ...htlc,
    side: by === side ? SIDE_LOCAL : SIDE_REMOTE,
  }));
}

/** A request of the channel's own connection. */
function onChannel(pair: Pair, side: Side, message: Uint8Array): Asked {
  return { ...channelOf(pair, side), message };
}

/** A request of lightningd itself. */
const onMaster = (message: Uint8Array): Asked => ({
  peerId: NOBODY,
  dbid: 0n,
  message,
});

/** 30. */
export function newChannel(pair: Pair, side: Side): Asked {
  const { peerId: id, dbid } = channelOf(pair, side);
  return onMaster(encodeMessage(REQUESTS.new_channel, { id, dbid }));
}

/** 31. */
export function setupChannel(pair: Pair, side: Side, funding: Funding): Asked {
  const { keys, opener, hasAnchors, pushed } = pair;
  const theirs = keys[other(side)];
  const message = encodeMessage(REQUESTS.setup_channel, {
    isOutbound: side === opener,
    channelValue: funding.value,
    // Satoshi in millisatoshi.
    pushValue: pushed * 1000n as Msat,
    fundingTxid: funding.outpoint.txid,
    fundingTxout: funding.outpoint.index,
    localToSelfDelay: DELAYS[side],
    remoteToSelfDelay: DELAYS[other(side)],
    localShutdownScript: new Uint8Array(),
    localShutdownWalletIndex: null,
    remoteShutdownScript: new Uint8Array(),
    remoteBasepoints: {
      revocation: theirs.revocation.point,
      payment: theirs.payment.point,
      htlc: theirs.htlc.point,
      delayedPayment: theirs.delayedPayment.point,
    },
    remoteFundingPubkey: theirs.funding.point,
    // BOLT 9: static remote keys, and zero-fee anchors.
    channelType: Uint8Array.of(...(hasAnchors ? [0x40] : []), 0x10, 0),
  });
  return onChannel(pair, side, message);
}

/** 18. */
export function getPoint(pair: Pair, side: Side, n: bigint): Asked {
  const message = encodeMessage(REQUESTS.get_per_commitment_point, { n });
  return onChannel(pair, side, message);
}

/** 19: this end signs the other's commitment. */
export function signRemote(
  pair: Pair,
  side: Side,
  commit: Commit,
  instead: Partial<RequestOf<"sign_remote_commitment_tx">> = {},
): Asked {
  const { owner, number, content } = commit;
  const message = encodeMessage(REQUESTS.sign_remote_commitment_tx, {
    tx: commitTx(pair, commit),
    remoteFundingKey: pair.keys[owner].funding.point,
    remotePerCommit: pointOf(pair, owner, number).point,
    optionStaticRemotekey: true,
    commitNum: number,
    htlcs: htlcsFor(side, commit),
    feerate: content.feerate,
    ...instead,
  });
  return onChannel(pair, side, message);
}

/** The HTLC transactions of a commitment, in the order of its outputs. */
function htlcSpends({ hasAnchors }: Pair, commit: Commit) {
  const { built, htlcs, owner, content, keys, txid } = commit;
  return built.outputs.flatMap(({ htlc: at, witnessScript }, outputIndex) => {
    const htlc = at === null ? undefined : htlcs[at];
    const output = built.tx.outputs[outputIndex];
    if (htlc === undefined || witnessScript === null || output === undefined) {
      return [];
    }
    const { tx } = buildHtlcTx({
      ...htlc,
      commitmentTxid: txid,
      outputIndex,
      isOffered: htlc.by === owner,
      feerate: content.feerate,
      keys,
      toSelfDelay: DELAYS[other(owner)],
      hasAnchors,
    });
    return [{ tx, wscript: witnessScript, output }];
  });
}

/** 20, once an HTLC. */
export function signRemoteHtlcs(
  pair: Pair,
  side: Side,
  commit: Commit,
): readonly Asked[] {
  const { point } = pointOf(pair, commit.owner, commit.number);
  return htlcSpends(pair, commit).map(({ tx, wscript, output }) =>
    onChannel(
      pair,
      side,
      encodeMessage(REQUESTS.sign_remote_htlc_tx, {
        tx: bitcoinTx(tx, [output]),
        wscript,
        remotePerCommitPoint: point,
        optionAnchorOutputs: pair.hasAnchors,
      }),
    )
  );
}

/** Signatures for a commitment that no signer was asked for. */
export interface Countersigned {
  readonly sig: BitcoinSignature;
  readonly htlcSigs: readonly BitcoinSignature[];
}

/** The other end signs with its keys, past its signer: it is a thief's. */
export function countersign(pair: Pair, commit: Commit): Countersigned {
  const keys = pair.keys[other(commit.owner)];
  const { point } = pointOf(pair, commit.owner, commit.number);
  const digest = hashSegwitV0(commit.built.tx, {
    index: 0,
    script: fundingScriptOf(pair),
    amount: commit.funding.value,
    sighash: SIGHASH_ALL,
  });
  const sighash = pair.hasAnchors ? SIGHASH_SINGLE_ANYONECANPAY : SIGHASH_ALL;
  const key = derivePrivateKey(keys.htlc, point);
  return {
    sig: {
      signature: signGround(digest, keys.funding.secret),
      sighash: SIGHASH_ALL,
    },
    htlcSigs: htlcSpends(pair, commit).map(({ tx, wscript, output }) => ({
      signature: signGround(
        hashSegwitV0(tx, {
          index: 0,
          script: wscript,
          amount: output.amount,
          sighash,
        }),
        key,
      ),
      sighash,
    })),
  };
}

/** 35: this end's commitment, countersigned. */
export function validate(
  pair: Pair,
  commit: Commit,
  signed: Countersigned,
): Asked {
  const { owner, number, content } = commit;
  const message = encodeMessage(REQUESTS.validate_commitment_tx, {
    tx: commitTx(pair, commit),
    htlcs: htlcsFor(owner, commit),
    commitNum: number,
    feerate: content.feerate,
    ...signed,
  });
  return onChannel(pair, owner, message);
}

/** 36. */
export function validateRevocation(
  pair: Pair,
  side: Side,
  revokeNum: bigint,
  perCommitmentSecret: RequestOf<"validate_revocation">["perCommitmentSecret"],
): Asked {
  const message = encodeMessage(REQUESTS.validate_revocation, {
    revokeNum,
    perCommitmentSecret,
  });
  return onChannel(pair, side, message);
}

/** 40. */
export function revoke(pair: Pair, side: Side, commitNum: bigint): Asked {
  const message = encodeMessage(REQUESTS.revoke_commitment_tx, { commitNum });
  return onChannel(pair, side, message);
}

/** 37. */
export function lockOutpoint(pair: Pair, side: Side, at: Funding): Asked {
  const { txid: fundingTxid, index: fundingTxout } = at.outpoint;
  const body = { fundingTxid, fundingTxout };
  return onChannel(pair, side, encodeMessage(REQUESTS.lock_outpoint, body));
}

/** 5: this end's own commitment, to be broadcast. */
export function signForBroadcast(pair: Pair, commit: Commit): Asked {
  const { peerId, dbid } = channelOf(pair, commit.owner);
  return onMaster(encodeMessage(REQUESTS.sign_commitment_tx, {
    peerId,
    channelDbid: dbid,
    tx: commitTx(pair, commit),
    remoteFundingKey: pair.keys[other(commit.owner)].funding.point,
    commitNum: commit.number,
  }));
}

/** 21: any transaction under the name of a mutual close. */
export function signMutualClose(
  pair: Pair,
  side: Side,
  tx: BitcoinTx,
): Asked {
  const remoteFundingKey = pair.keys[other(side)].funding.point;
  const body = { tx, remoteFundingKey };
  const message = encodeMessage(REQUESTS.sign_mutual_close_tx, body);
  return onChannel(pair, side, message);
}

/** 29: an input of any transaction under the name of a splice. */
export function signSplice(pair: Pair, side: Side, tx: BitcoinTx): Asked {
  const remoteFundingKey = pair.keys[other(side)].funding.point;
  const body = { tx, remoteFundingKey, inputIndex: 0 };
  const message = encodeMessage(REQUESTS.sign_splice_tx, body);
  return onChannel(pair, side, message);
}
