/**
 * Requests about a channel's life that sign no transaction: its keys, its
 * commitment points and secrets, and notices that a stateless signer takes note
 * of by parsing them.
 *
 * Standards: BOLT 2 (order of commitment and revocation), BOLT 3 (keys).
 *
 * //~ Most of these answers are four bytes long, and that is the point of the file:
 * //~ it is the list of moments at which a signer could have noticed something.
 * //~ The stock hsmd nods at each of them; so do we, until there is a policy to
 * //~ ask. Next: bitcoin/sign.ts, where the bytes of a signature are settled.
 *
 * What it does not do: remember. Any secret of any channel is given to whoever
 * may ask for it, as the stock hsmd does; a validating signer starts here.
 *
 * @module
 */

import { keyPairOf, publicKeyOf } from "../bitcoin/keys.ts";
import { p2wpkh } from "../bitcoin/script.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { derivePrivateKey } from "../lightning/keys.ts";
import { perCommitmentSecret } from "../lightning/shachain.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import type { PubKey } from "../wire/types.ts";
import { type Call, disclose } from "./call.ts";
import type { Answer } from "./state.ts";
import { readBitcoinTx } from "./transaction.ts";

/** Since this version a commitment point comes without an older secret. */
const POINTS_WITHOUT_SECRETS = 6;

/** 10: the basepoints of a channel that is named. */
export function answerChannelBasepoints(
  { state }: Call,
  { peerid, dbid }: RequestOf<"get_channel_basepoints">,
): Answer {
  const keys = state.channels.keysOf({ peerId: peerid, dbid });
  return {
    reply: encodeMessage(REPLIES.get_channel_basepoints_reply, {
      basepoints: {
        revocation: keys.revocation.point,
        payment: keys.payment.point,
        htlc: keys.htlc.point,
        delayedPayment: keys.delayedPayment.point,
      },
      fundingPubkey: keys.funding.point,
    }),
  };
}

function pointAt({ state }: Call, channel: ChannelId, n: bigint): PubKey {
  const { shaseed } = state.channels.keysOf(channel);
  return publicKeyOf(perCommitmentSecret(shaseed, n));
}

/** 18: the point of commitment n; before version 6, the secret of n - 2 too. */
export function answerPerCommitmentPoint(
  call: Call,
  { n }: RequestOf<"get_per_commitment_point">,
): Answer {
  const { state, connection } = call;
  const perCommitmentPoint = pointAt(call, connection, n);
  const { shaseed } = state.channels.keysOf(connection);
  const hasSecret = state.version < POINTS_WITHOUT_SECRETS && n >= 2n;
  return {
    reply: encodeMessage(REPLIES.get_per_commitment_point_reply, {
      perCommitmentPoint,
      oldCommitmentSecret: hasSecret
        ? disclose(perCommitmentSecret(shaseed, n - 2n))
        : null,
    }),
  };
}

/** 22: whether a secret that the peer shows is one that we would make. */
export function answerCheckFutureSecret(
  { state, connection }: Call,
  { n, commitmentSecret }: RequestOf<"check_future_secret">,
): Answer {
  const { shaseed } = state.channels.keysOf(connection);
  const correct = perCommitmentSecret(shaseed, n).equals(commitmentSecret);
  return {
    reply: encodeMessage(REPLIES.check_future_secret_reply, { correct }),
  };
}

/** 35: a new commitment of ours; its signatures are channeld's business. */
export function answerValidateCommitment(
  call: Call,
  { tx, commitNum }: RequestOf<"validate_commitment_tx">,
): Answer {
  readBitcoinTx(tx);
  return {
    reply: encodeMessage(REPLIES.validate_commitment_tx_reply, {
      oldCommitmentSecret: null,
      nextPerCommitmentPoint: pointAt(call, call.connection, commitNum + 1n),
    }),
  };
}

/** 40: revokes a commitment of ours: its secret, and the point of n + 2. */
export function answerRevokeCommitment(
  call: Call,
  { commitNum }: RequestOf<"revoke_commitment_tx">,
): Answer {
  const { shaseed } = call.state.channels.keysOf(call.connection);
  const secret = perCommitmentSecret(shaseed, commitNum);
  return {
    reply: encodeMessage(REPLIES.revoke_commitment_tx_reply, {
      oldCommitmentSecret: disclose(secret),
      nextPerCommitmentPoint: pointAt(call, call.connection, commitNum + 2n),
    }),
  };
}

/** 24: where a peer's old unilateral close paid us. */
export function answerOutputScript(
  { state }: Call,
  { channelId, peerId, commitmentPoint }: RequestOf<"get_output_scriptpubkey">,
): Answer {
  const { payment } = state.channels.keysOf({ peerId, dbid: channelId });
  const key = commitmentPoint === null
    ? payment
    : keyPairOf(derivePrivateKey(payment, commitmentPoint));
  const script = p2wpkh(key.point);
  return {
    reply: encodeMessage(REPLIES.get_output_scriptpubkey_reply, { script }),
  };
}

/** 30: a channel begins. */
export function answerNewChannel(): Answer {
  return { reply: encodeMessage(REPLIES.new_channel_reply, {}) };
}

/** 31: a channel's parameters are settled. */
export function answerSetupChannel(): Answer {
  return { reply: encodeMessage(REPLIES.setup_channel_reply, {}) };
}

/** 32: whether a funding output is buried. The stock hsmd has no chain to ask. */
export function answerCheckOutpoint(): Answer {
  const isBuried = true;
  return { reply: encodeMessage(REPLIES.check_outpoint_reply, { isBuried }) };
}

/** 37: a funding output is the channel's from here on. */
export function answerLockOutpoint(): Answer {
  return { reply: encodeMessage(REPLIES.lock_outpoint_reply, {}) };
}

/** 34: a channel is over. */
export function answerForgetChannel(): Answer {
  return { reply: encodeMessage(REPLIES.forget_channel_reply, {}) };
}

/** 36: the peer revoked; channeld checks the secret itself. */
export function answerValidateRevocation(): Answer {
  return { reply: encodeMessage(REPLIES.validate_revocation_reply, {}) };
}
