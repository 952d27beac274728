/**
 * Requests to sign one input of a channel's transaction: commitment, HTLC,
 * splice, mutual close, and what is swept after a unilateral one.
 *
 * All are the same act: a SegWit version 0 digest (BIP 143) of the transaction's
 * bytes, over a script and an amount, signed by rule A. They differ in which
 * key, which script, which sighash, and how little the stock hsmd checks:
 *
 * | request | key | script | sighash |
 * | --- | --- | --- | --- |
 * | 5, 19, 21, 29 | funding | 2-of-2 with the peer's key | ALL |
 * | 20, 13, 143 | htlc, for the peer's commitment point | given | ALL or SINGLE, ANYONECANPAY |
 * | 16, 146 | htlc, for our commitment n | given | the same |
 * | 12, 142 | delayed payment, for our commitment n | given | ALL |
 * | 14, 144 | revocation, with the peer's secret | given | ALL |
 *
 * Standard: BOLT 3.
 *
 * Each is judged before it is signed: closes by `closing.ts`, HTLC transactions
 * and sweeps by `onchain.ts`, splices by `spending.ts`.
 *
 * What it does not do: judge commitments (`holder.ts`, `counterparty.ts`).
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { keyPairOf, publicKeyOf, toPrivateKey } from "../bitcoin/keys.ts";
import { decodePsbt, type Psbt, spentOutput } from "../bitcoin/psbt.ts";
import { redeem2of2 } from "../bitcoin/script.ts";
import { hashSegwitV0 } from "../bitcoin/sighash.ts";
import { encodeDer, signGround } from "../bitcoin/sign.ts";
import {
  decodeTx,
  encodeTxWithoutWitness,
  type Tx,
  txidOf,
} from "../bitcoin/tx.ts";
import type { Secret } from "../crypto/secret.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { commitmentNumberOf } from "../lightning/commitment.ts";
import {
  derivePrivateKey,
  deriveRevocationPrivateKey,
} from "../lightning/keys.ts";
import { perCommitmentSecret } from "../lightning/shachain.ts";
import { checkSpend } from "../policy/spend.ts";
import { checkSplice } from "../policy/splice.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import {
  type BitcoinSignature,
  type BitcoinTx,
  type PubKey,
  SIGHASH_ALL,
  SIGHASH_SINGLE_ANYONECANPAY,
} from "../wire/types.ts";
import { noteClaim } from "./alarms.ts";
import { type Call, overgrindLine, readyChannel, refuseBad } from "./call.ts";
import { checkMutualClose } from "./closing.ts";
import type { Write } from "./memory.ts";
import {
  checkDelayedSweep,
  checkHtlcSweep,
  checkLocalHtlcTx,
  checkPenaltySweep,
  checkRemoteHtlcTx,
} from "./onchain.ts";
import {
  type ChannelRecord,
  FUNDING_LOCKED,
  FUNDING_SIGNED,
} from "./records.ts";
import {
  assumeClaims,
  channelOutput,
  consentTo,
  consentToGift,
  fundingScript,
  rememberSpend,
  viewSpend,
} from "./spending.ts";
import type { Answer } from "./state.ts";

/** DER of a ground signature with its sighash byte; fees count on it. */
const GROUND_LENGTH = 71;

/** A transaction, and what the PSBT beside it says of its inputs. */
export interface OpenTx {
  readonly tx: Tx;
  readonly psbt: Psbt;
}

/** @throws {DecodeError} unless both are whole */
export function readBitcoinTx({ tx, psbt }: BitcoinTx): OpenTx {
  return { tx: decodeTx(tx), psbt: decodePsbt(psbt) };
}

/** What to sign, once the request's own words have been turned into keys. */
interface Signing {
  readonly key: Secret;
  readonly script: Uint8Array;
  readonly index: number;
  readonly sighash: BitcoinSignature["sighash"];
}

function sign({ tx, psbt }: OpenTx, signing: Signing): BitcoinSignature {
  const { key, script, index, sighash } = signing;
  const input = psbt.inputs[index];
  const spent = input && spentOutput(input);
  if (!spent) {
    return refuseBad(`Cannot sign input ${index}: its amount is not given`);
  }
  const { amount } = spent;
  const digest = hashSegwitV0(tx, { index, script, amount, sighash });
  return { signature: signGround(digest, key), sighash };
}

/** Whether it came out shorter than fees were computed for, when asked. */
function effectsOf({ state }: Call, { signature, sighash }: BitcoinSignature) {
  if (!state.switches.warnOnOvergrind) return [];
  const { length } = encodeDer(signature, sighash);
  return length === GROUND_LENGTH ? [] : [overgrindLine(length)];
}

/** What takes an output of a close: the chain's watch hears of it. */
function answerClaimed(
  call: Call,
  channel: ChannelId,
  { tx, signing, mayBeEarly = true }: {
    readonly tx: OpenTx;
    readonly signing: Signing;
    readonly mayBeEarly?: boolean;
  },
): Answer {
  const { reply, effects = [] } = answerSigned(call, tx, signing);
  const input = tx.tx.inputs[signing.index];
  const claim = noteClaim(call.state, channel, { input, mayBeEarly });
  const { writes } = claim;
  return { reply, writes, effects: [...effects, ...claim.effects] };
}

function answerSigned(call: Call, tx: OpenTx, signing: Signing): Answer {
  const sig = sign(tx, signing);
  return {
    reply: encodeMessage(REPLIES.sign_tx_reply, { sig }),
    effects: effectsOf(call, sig),
  };
}

// ------------------------------------------------------------- funding output

function fundingSigning(
  { state }: Call,
  channel: ChannelId,
  remoteFundingKey: PubKey,
  index = 0,
): Signing {
  const { funding } = state.channels.keysOf(channel);
  return {
    key: funding.secret,
    script: redeem2of2(funding.point, remoteFundingKey),
    index,
    sighash: SIGHASH_ALL,
  };
}

/** The stock hsmd's two checks of a commitment transaction. */
function checkCommitment({ tx }: OpenTx): void {
  const { inputs, outputs } = tx;
  if (inputs.length !== 1 || outputs.length === 0) {
    refuseBad(
      `Cannot sign a commitment: ${inputs.length} inputs and ` +
        `${outputs.length} outputs, want 1 and some`,
    );
  }
}

/** The signature of a transaction that lightningd will broadcast. */
export function signForBroadcast(
  call: Call,
  channel: ChannelId,
  tx: OpenTx,
  remoteFundingKey: PubKey,
): Answer {
  checkCommitment(tx);
  const sig = sign(tx, fundingSigning(call, channel, remoteFundingKey));
  return {
    reply: encodeMessage(REPLIES.sign_commitment_tx_reply, { sig }),
    effects: effectsOf(call, sig),
  };
}

/** The connection's channel signs the only input, which spends its output. */
export function signFunding(
  call: Call,
  tx: OpenTx,
  remoteFundingKey: PubKey,
): Answer {
  checkCommitment(tx);
  const signing = fundingSigning(call, call.connection, remoteFundingKey);
  return answerSigned(call, tx, signing);
}

/** 21: a mutual close. */
export function answerSignMutualClose(
  call: Call,
  request: RequestOf<"sign_mutual_close_tx">,
): Answer {
  const open = readBitcoinTx(request.tx);
  const writes = checkMutualClose(call, readyChannel(call), open);
  return { ...signFunding(call, open, request.remoteFundingKey), writes };
}

/** 29: the input of a splice that spends the old funding output. */
export function answerSignSplice(
  call: Call,
  request: RequestOf<"sign_splice_tx">,
): Answer {
  const open = readBitcoinTx(request.tx);
  const { remoteFundingKey, inputIndex } = request;
  const { connection } = call;
  const writes = judgeSplice(call, open, inputIndex);
  const signing = fundingSigning(
    call,
    connection,
    remoteFundingKey,
    inputIndex,
  );
  return { ...answerSigned(call, open, signing), writes };
}

/** Applies the rules of a splice; what it gives is to be remembered. */
function judgeSplice(
  call: Call,
  { tx, psbt }: OpenTx,
  inputIndex: number,
): readonly Write[] {
  const { record } = readyChannel(call);
  const input = tx.inputs[inputIndex];
  const spent = input === undefined ? null : channelOutput(call, input);
  const isConsented = consentTo(call, tx);
  // An owner who consents to a splice has not consented to this.
  call.judge.require(
    "policy-commitment-broadcast-revoked",
    commitmentNumberOf(tx, 0n) === null,
    () => "a commitment under the name of a splice, want a splice",
  );
  checkSplice(call.judge, {
    isSameTx: isSameBytes(
      encodeTxWithoutWitness(withoutScripts(tx)),
      encodeTxWithoutWitness(psbt.tx),
    ),
    isChannelInput: spent !== null && spent.record === record &&
      (spent.funding.state === FUNDING_SIGNED ||
        spent.funding.state === FUNDING_LOCKED),
    sharedOutputs: countShared(call, record, tx),
  }, isConsented);
  const spending = { psbt, tx, utxos: [], mayBeEarly: true, protection: null };
  const view = viewSpend(call, spending);
  const { feeReference } = call;
  const { fee } = checkSpend(call.judge, view, {
    feeReference,
    isConsented,
    isGiftConsented: consentToGift(call, tx),
  });
  return view.isEarly
    ? assumeClaims(call, tx)
    : rememberSpend(call, spending, fee);
}

/** A peer's P2SH input has its script in the transaction, and not in a PSBT. */
function withoutScripts(tx: Tx): Tx {
  const scriptSig = new Uint8Array();
  const inputs = tx.inputs.map((input) => ({ ...input, scriptSig }));
  return { ...tx, inputs };
}

/** Outputs that are this channel's next, set up already or not yet. */
function countShared(call: Call, record: ChannelRecord, tx: Tx): number {
  const txid = txidOf(tx);
  const scripts = record.fundings.map(({ remoteFundingKey }) =>
    fundingScript(call, record, remoteFundingKey)
  );
  return tx.outputs.filter(({ script }, index) =>
    channelOutput(call, { txid, index })?.record === record ||
    scripts.some((shared) => isSameBytes(shared, script))
  ).length;
}

// --------------------------------------------------------------------- HTLCs

/** BOLT 3: with anchors, an HTLC transaction lets fees be added to it. */
function htlcSighash(hasAnchors: boolean): BitcoinSignature["sighash"] {
  return hasAnchors ? SIGHASH_SINGLE_ANYONECANPAY : SIGHASH_ALL;
}

/** The stock hsmd's two checks of a transaction that spends one output. */
function checkSingleInput({ tx }: OpenTx, index: number): void {
  if (index !== 0 || tx.inputs.length !== 1) {
    refuseBad(
      `Cannot sign input ${index} of ${tx.inputs.length}, want 0 of 1`,
    );
  }
}

/** 20: an HTLC transaction of the peer's commitment. */
export function answerSignRemoteHtlc(
  call: Call,
  request: RequestOf<"sign_remote_htlc_tx">,
): Answer {
  const { htlc } = call.state.channels.keysOf(call.connection);
  const open = readBitcoinTx(request.tx);
  const { wscript, remotePerCommitPoint: point } = request;
  checkRemoteHtlcTx(call, { ...open, wscript }, {
    point,
    isAnchored: request.optionAnchorOutputs,
  });
  return answerSigned(call, open, {
    key: derivePrivateKey(htlc, request.remotePerCommitPoint),
    script: request.wscript,
    index: 0,
    sighash: htlcSighash(request.optionAnchorOutputs),
  });
}

/** 146 and, before v26.04, 16: an HTLC transaction of our commitment. */
function signLocalHtlc(
  call: Call,
  channel: ChannelId,
  request: RequestOf<"sign_local_htlc_tx">,
  index: number,
): Answer {
  const tx = readBitcoinTx(request.tx);
  checkSingleInput(tx, index);
  const { wscript, commitNum: number } = request;
  checkLocalHtlcTx(call, channel, { ...tx, wscript }, {
    number,
    isAnchored: request.optionAnchorOutputs,
  });
  const { htlc, shaseed } = call.state.channels.keysOf(channel);
  const secret = perCommitmentSecret(shaseed, request.commitNum);
  return answerClaimed(call, channel, {
    tx,
    signing: {
      key: derivePrivateKey(htlc, publicKeyOf(secret)),
      script: request.wscript,
      index,
      sighash: htlcSighash(request.optionAnchorOutputs),
    },
  });
}

/** 16. */
export function answerSignLocalHtlc(
  call: Call,
  request: RequestOf<"sign_local_htlc_tx">,
): Answer {
  return signLocalHtlc(call, call.connection, request, 0);
}

/** 146. */
export function answerSignAnyLocalHtlc(
  call: Call,
  request: RequestOf<"sign_any_local_htlc_tx">,
): Answer {
  return signLocalHtlc(call, channelOf(request), request, request.input);
}

/** Which channel lightningd names in the requests for onchaind. */
function channelOf(
  { peerid, channelDbid }: Pick<
    RequestOf<"sign_any_local_htlc_tx">,
    "peerid" | "channelDbid"
  >,
): ChannelId {
  return { peerId: peerid, dbid: channelDbid };
}

/** 143 and 13: an HTLC output of the peer's commitment, with its preimage. */
function signRemoteHtlcToUs(
  call: Call,
  channel: ChannelId,
  request: RequestOf<"sign_remote_htlc_to_us">,
  index: number,
): Answer {
  const tx = readBitcoinTx(request.tx);
  checkSingleInput(tx, index);
  const { wscript, remotePerCommitmentPoint: point } = request;
  checkHtlcSweep(call, channel, { ...tx, wscript }, {
    point,
    isAnchored: request.optionAnchorOutputs,
  });
  const { htlc } = call.state.channels.keysOf(channel);
  return answerClaimed(call, channel, {
    tx,
    signing: {
      key: derivePrivateKey(htlc, request.remotePerCommitmentPoint),
      script: request.wscript,
      index,
      sighash: htlcSighash(request.optionAnchorOutputs),
    },
  });
}

/** 13. */
export function answerSignRemoteHtlcToUs(
  call: Call,
  request: RequestOf<"sign_remote_htlc_to_us">,
): Answer {
  return signRemoteHtlcToUs(call, call.connection, request, 0);
}

/** 143. */
export function answerSignAnyRemoteHtlcToUs(
  call: Call,
  request: RequestOf<"sign_any_remote_htlc_to_us">,
): Answer {
  return signRemoteHtlcToUs(call, channelOf(request), request, request.input);
}

// -------------------------------------------------------------------- sweeps

/** 142 and 12: what our own commitment pays us, after its delay. */
function signDelayedPayment(
  call: Call,
  channel: ChannelId,
  request: RequestOf<"sign_delayed_payment_to_us">,
  index: number,
): Answer {
  const tx = readBitcoinTx(request.tx);
  checkSingleInput(tx, index);
  const { wscript, commitNum } = request;
  checkDelayedSweep(call, channel, { ...tx, wscript }, commitNum);
  const { delayedPayment, shaseed } = call.state.channels.keysOf(channel);
  const secret = perCommitmentSecret(shaseed, request.commitNum);
  return answerClaimed(call, channel, {
    tx,
    signing: {
      key: derivePrivateKey(delayedPayment, publicKeyOf(secret)),
      script: request.wscript,
      index,
      sighash: SIGHASH_ALL,
    },
  });
}

/** 12. */
export function answerSignDelayedPayment(
  call: Call,
  request: RequestOf<"sign_delayed_payment_to_us">,
): Answer {
  return signDelayedPayment(call, call.connection, request, 0);
}

/** 142. */
export function answerSignAnyDelayedPayment(
  call: Call,
  request: RequestOf<"sign_any_delayed_payment_to_us">,
): Answer {
  return signDelayedPayment(call, channelOf(request), request, request.input);
}

/** 144 and 14: an output of a commitment that the peer has revoked. */
function signPenalty(
  call: Call,
  channel: ChannelId,
  { request, index, mayBeEarly }: {
    readonly request: RequestOf<"sign_penalty_to_us">;
    readonly index: number;
    readonly mayBeEarly: boolean;
  },
): Answer {
  const tx = readBitcoinTx(request.tx);
  checkSingleInput(tx, index);
  const { revocation } = call.state.channels.keysOf(channel);
  const revoked = keyPairOf(toPrivateKey(request.revocationSecret));
  const { wscript } = request;
  checkPenaltySweep(call, channel, { ...tx, wscript }, revoked.secret);
  return answerClaimed(call, channel, {
    tx,
    signing: {
      key: deriveRevocationPrivateKey(revocation, revoked),
      script: request.wscript,
      index,
      sighash: SIGHASH_ALL,
    },
    mayBeEarly,
  });
}

/** 14: asked by channeld at each revocation, for watchtowers. */
export function answerSignPenalty(
  call: Call,
  request: RequestOf<"sign_penalty_to_us">,
): Answer {
  const asked = { request, index: 0, mayBeEarly: false };
  return signPenalty(call, call.connection, asked);
}

/** 144. */
export function answerSignAnyPenalty(
  call: Call,
  request: RequestOf<"sign_any_penalty_to_us">,
): Answer {
  const asked = { request, index: request.input, mayBeEarly: true };
  return signPenalty(call, channelOf(request), asked);
}
