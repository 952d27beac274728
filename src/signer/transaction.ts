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
 * What it does not do: look at outputs, fees, HTLCs or revocations. It signs
 * what it is asked to sign.
 *
 * @module
 */

import { keyPairOf, publicKeyOf, toPrivateKey } from "../bitcoin/keys.ts";
import { decodePsbt, type Psbt, spentOutput } from "../bitcoin/psbt.ts";
import { redeem2of2 } from "../bitcoin/script.ts";
import { hashSegwitV0 } from "../bitcoin/sighash.ts";
import { encodeDer, signGround } from "../bitcoin/sign.ts";
import { decodeTx, type Tx } from "../bitcoin/tx.ts";
import type { Secret } from "../crypto/secret.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import {
  derivePrivateKey,
  deriveRevocationPrivateKey,
} from "../lightning/keys.ts";
import { perCommitmentSecret } from "../lightning/shachain.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import {
  type BitcoinSignature,
  type BitcoinTx,
  type PubKey,
  SIGHASH_ALL,
  SIGHASH_SINGLE_ANYONECANPAY,
} from "../wire/types.ts";
import { type Call, overgrindLine, refuseBad } from "./call.ts";
import type { Answer } from "./state.ts";

/** DER of a ground signature with its sighash byte; fees count on it. */
const GROUND_LENGTH = 71;

/** A transaction, and what the PSBT beside it says of its inputs. */
interface OpenTx {
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

/** 5: our commitment, or a mutual close, to be broadcast. */
export function answerSignCommitment(
  call: Call,
  request: RequestOf<"sign_commitment_tx">,
): Answer {
  const { peerId, channelDbid: dbid, remoteFundingKey } = request;
  const tx = readBitcoinTx(request.tx);
  checkCommitment(tx);
  const sig = sign(
    tx,
    fundingSigning(call, { peerId, dbid }, remoteFundingKey),
  );
  return {
    reply: encodeMessage(REPLIES.sign_commitment_tx_reply, { sig }),
    effects: effectsOf(call, sig),
  };
}

/** 19: the peer's commitment. */
export function answerSignRemoteCommitment(
  call: Call,
  request: RequestOf<"sign_remote_commitment_tx">,
): Answer {
  const tx = readBitcoinTx(request.tx);
  checkCommitment(tx);
  const { connection } = call;
  const signing = fundingSigning(call, connection, request.remoteFundingKey);
  return answerSigned(call, tx, signing);
}

/** 21: a mutual close. */
export function answerSignMutualClose(
  call: Call,
  request: RequestOf<"sign_mutual_close_tx">,
): Answer {
  const tx = readBitcoinTx(request.tx);
  const { connection } = call;
  const signing = fundingSigning(call, connection, request.remoteFundingKey);
  return answerSigned(call, tx, signing);
}

/** 29: the input of a splice that spends the old funding output. */
export function answerSignSplice(
  call: Call,
  request: RequestOf<"sign_splice_tx">,
): Answer {
  const tx = readBitcoinTx(request.tx);
  const { remoteFundingKey, inputIndex } = request;
  const { connection } = call;
  const signing = fundingSigning(
    call,
    connection,
    remoteFundingKey,
    inputIndex,
  );
  return answerSigned(call, tx, signing);
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
  return answerSigned(call, readBitcoinTx(request.tx), {
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
  const { htlc, shaseed } = call.state.channels.keysOf(channel);
  const secret = perCommitmentSecret(shaseed, request.commitNum);
  return answerSigned(call, tx, {
    key: derivePrivateKey(htlc, publicKeyOf(secret)),
    script: request.wscript,
    index,
    sighash: htlcSighash(request.optionAnchorOutputs),
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
  const { htlc } = call.state.channels.keysOf(channel);
  return answerSigned(call, tx, {
    key: derivePrivateKey(htlc, request.remotePerCommitmentPoint),
    script: request.wscript,
    index,
    sighash: htlcSighash(request.optionAnchorOutputs),
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
  const { delayedPayment, shaseed } = call.state.channels.keysOf(channel);
  const secret = perCommitmentSecret(shaseed, request.commitNum);
  return answerSigned(call, tx, {
    key: derivePrivateKey(delayedPayment, publicKeyOf(secret)),
    script: request.wscript,
    index,
    sighash: SIGHASH_ALL,
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
  request: RequestOf<"sign_penalty_to_us">,
  index: number,
): Answer {
  const tx = readBitcoinTx(request.tx);
  checkSingleInput(tx, index);
  const { revocation } = call.state.channels.keysOf(channel);
  const revoked = keyPairOf(toPrivateKey(request.revocationSecret));
  return answerSigned(call, tx, {
    key: deriveRevocationPrivateKey(revocation, revoked),
    script: request.wscript,
    index,
    sighash: SIGHASH_ALL,
  });
}

/** 14: asked by channeld at each revocation, for watchtowers. */
export function answerSignPenalty(
  call: Call,
  request: RequestOf<"sign_penalty_to_us">,
): Answer {
  return signPenalty(call, call.connection, request, 0);
}

/** 144. */
export function answerSignAnyPenalty(
  call: Call,
  request: RequestOf<"sign_any_penalty_to_us">,
): Answer {
  return signPenalty(call, channelOf(request), request, request.input);
}
