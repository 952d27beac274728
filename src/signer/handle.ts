/**
 * One step of the signer: a request in, an answer out, nothing else touched.
 *
 * Every row of the message table has exactly one line in {@link HANDLERS}; the
 * compiler asks for it when the table grows. Whatever bytes come in, a step
 * returns: what cannot be read, what fails a check, and what breaks inside are
 * all answered with a signer error.
 *
 * | code | when |
 * | --- | --- |
 * | 400 | not a request, not whole, a failed check of the stock hsmd, not initialised |
 * | 500 | a mistake of ours; nothing was signed |
 *
 * //~ A signer could throw and let its caller find words for it. But the caller
 * //~ is a device on the far side of a network, and there is exactly one thing
 * //~ that it can do with a request that cannot be met: say so and go on. So the
 * //~ one catch of the core is here, at its edge. Next: signer/channel.ts.
 *
 * What it does not do: permissions of connections, which the broker knows, and
 * policy, of which there is none yet: this signs what the stock hsmd would.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import { Secret } from "../crypto/secret.ts";
import {
  DecodeError,
  RequestError,
  SIGNER_ERROR_CODES,
  type SignerErrorCode,
} from "../errors.ts";
import type { Codec, StructValue } from "../wire/codec.ts";
import { messageName, type RequestName, REQUESTS } from "../wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
  type Row,
} from "../wire/message.ts";
import { statusText } from "../wire/status.ts";
import { encodeSignerError, SIGNER_MESSAGES } from "../wire/vls.ts";
import { type Call, refuseBad } from "./call.ts";
import * as channel from "./channel.ts";
import * as gossip from "./gossip.ts";
import { applyInit, applyPreinit } from "./init.ts";
import * as message from "./message.ts";
import * as node from "./node.ts";
import { pointCheckOf } from "./points.ts";
import type { Answer, SignerInput, SignerState, Step } from "./state.ts";
import * as transaction from "./transaction.ts";
import * as wallet from "./wallet.ts";

export { nodeKeyOf } from "./init.ts";
export type {
  Effect,
  LogEffect,
  SignerInput,
  SignerState,
  Step,
} from "./state.ts";

/** What a signer is made from. */
export interface SignerOptions {
  /** The bytes of the file `hsm_secret`, opened at init. */
  readonly secretFile: Uint8Array | Secret;
  readonly network: Network;
  /** Allows keys to be forced on the main network. */
  readonly isDeveloper: boolean;
}

/** A signer that waits for init. */
export function createSigner(options: SignerOptions): SignerState {
  const { secretFile, network, isDeveloper } = options;
  return {
    kind: "locked",
    network,
    isDeveloper,
    secretFile: secretFile instanceof Secret
      ? secretFile
      : new Secret(secretFile),
    switches: {
      failPreapprove: false,
      noPreapproveCheck: false,
      warnOnOvergrind: false,
    },
  };
}

/** How one type of request is met, from bytes to step. */
interface Meeting {
  readonly type: number;
  readonly meet: (state: SignerState, input: SignerInput) => Step;
}

// deno-lint-ignore no-explicit-any
type Fields = Record<string, Codec<any>>;

/** Reads a request whole, curve points and all. */
function readerOf<F extends Fields>(
  row: Row<F>,
): (bytes: Uint8Array) => StructValue<F> {
  const check = pointCheckOf(row.body);
  return (bytes) => {
    const request = decodeMessage(row, bytes);
    check?.(request, messageName(row.type));
    return request;
  };
}

/** A request that needs keys: it is answered and changes nothing. */
function answered<F extends Fields>(
  row: Row<F>,
  answer: (call: Call, request: StructValue<F>) => Answer,
): Meeting {
  const read = readerOf(row);
  return {
    type: row.type,
    meet(state, { peerId, dbid, message }) {
      if (state.kind !== "ready") return refuseBad(NOT_INITIALISED);
      const call = { state, connection: { peerId, dbid } };
      const { reply, effects = [] } = answer(call, read(message));
      return { state, reply, effects };
    },
  };
}

const NOT_INITIALISED = "Cannot answer: the signer is not initialised";

/** A request that may come at any time and makes the next state. */
function applied<F extends Fields>(
  row: Row<F>,
  apply: (state: SignerState, request: StructValue<F>) => Step,
): Meeting {
  const read = readerOf(row);
  return {
    type: row.type,
    meet: (state, input) => apply(state, read(input.message)),
  };
}

const R = REQUESTS;

/** Every request that lightningd and its daemons may make. */
export const HANDLERS: Readonly<Record<RequestName, Meeting>> = {
  ecdh_req: answered(R.ecdh_req, node.answerEcdh),
  cannouncement_sig_req: answered(
    R.cannouncement_sig_req,
    gossip.answerChannelAnnouncement,
  ),
  cupdate_sig_req: answered(R.cupdate_sig_req, gossip.answerChannelUpdate),
  sign_any_cannouncement_req: answered(
    R.sign_any_cannouncement_req,
    gossip.answerAnyChannelAnnouncement,
  ),
  sign_commitment_tx: answered(
    R.sign_commitment_tx,
    transaction.answerSignCommitment,
  ),
  node_announcement_sig_req: answered(
    R.node_announcement_sig_req,
    gossip.answerNodeAnnouncement,
  ),
  sign_withdrawal: answered(R.sign_withdrawal, wallet.answerSignWithdrawal),
  sign_invoice: answered(R.sign_invoice, message.answerSignInvoice),
  client_hsmfd: applied(
    R.client_hsmfd,
    () => refuseBad("Cannot hand out a connection: a signer has none"),
  ),
  get_channel_basepoints: answered(
    R.get_channel_basepoints,
    channel.answerChannelBasepoints,
  ),
  init: applied(R.init, applyInit),
  sign_delayed_payment_to_us: answered(
    R.sign_delayed_payment_to_us,
    transaction.answerSignDelayedPayment,
  ),
  sign_remote_htlc_to_us: answered(
    R.sign_remote_htlc_to_us,
    transaction.answerSignRemoteHtlcToUs,
  ),
  sign_penalty_to_us: answered(
    R.sign_penalty_to_us,
    transaction.answerSignPenalty,
  ),
  sign_local_htlc_tx: answered(
    R.sign_local_htlc_tx,
    transaction.answerSignLocalHtlc,
  ),
  get_per_commitment_point: answered(
    R.get_per_commitment_point,
    channel.answerPerCommitmentPoint,
  ),
  sign_remote_commitment_tx: answered(
    R.sign_remote_commitment_tx,
    transaction.answerSignRemoteCommitment,
  ),
  sign_remote_htlc_tx: answered(
    R.sign_remote_htlc_tx,
    transaction.answerSignRemoteHtlc,
  ),
  sign_mutual_close_tx: answered(
    R.sign_mutual_close_tx,
    transaction.answerSignMutualClose,
  ),
  check_future_secret: answered(
    R.check_future_secret,
    channel.answerCheckFutureSecret,
  ),
  sign_message: answered(R.sign_message, message.answerSignMessage),
  get_output_scriptpubkey: answered(
    R.get_output_scriptpubkey,
    channel.answerOutputScript,
  ),
  sign_bolt12: answered(R.sign_bolt12, message.answerSignBolt12),
  sign_option_will_fund_offer: answered(
    R.sign_option_will_fund_offer,
    message.answerWillFund,
  ),
  derive_secret: answered(R.derive_secret, node.answerDeriveSecret),
  check_pubkey: answered(R.check_pubkey, node.answerCheckPubkey),
  sign_splice_tx: answered(R.sign_splice_tx, transaction.answerSignSplice),
  new_channel: answered(R.new_channel, channel.answerNewChannel),
  setup_channel: answered(R.setup_channel, channel.answerSetupChannel),
  check_outpoint: answered(R.check_outpoint, channel.answerCheckOutpoint),
  dev_memleak: answered(R.dev_memleak, node.answerMemleak),
  forget_channel: answered(R.forget_channel, channel.answerForgetChannel),
  validate_commitment_tx: answered(
    R.validate_commitment_tx,
    channel.answerValidateCommitment,
  ),
  validate_revocation: answered(
    R.validate_revocation,
    channel.answerValidateRevocation,
  ),
  lock_outpoint: answered(R.lock_outpoint, channel.answerLockOutpoint),
  preapprove_invoice: answered(
    R.preapprove_invoice,
    (call) => message.answerPreapproveInvoice(call, {}),
  ),
  preapprove_keysend: answered(
    R.preapprove_keysend,
    (call) => message.answerPreapproveKeysend(call, {}),
  ),
  revoke_commitment_tx: answered(
    R.revoke_commitment_tx,
    channel.answerRevokeCommitment,
  ),
  sign_bolt12_2: answered(R.sign_bolt12_2, message.answerSignBolt12Second),
  bip137_sign_message: answered(
    R.bip137_sign_message,
    message.answerBip137SignMessage,
  ),
  preapprove_invoice_check: answered(
    R.preapprove_invoice_check,
    message.answerPreapproveInvoice,
  ),
  preapprove_keysend_check: answered(
    R.preapprove_keysend_check,
    message.answerPreapproveKeysend,
  ),
  check_bip86_pubkey: answered(
    R.check_bip86_pubkey,
    node.answerCheckBip86Pubkey,
  ),
  dev_preinit: applied(R.dev_preinit, applyPreinit),
  sign_any_delayed_payment_to_us: answered(
    R.sign_any_delayed_payment_to_us,
    transaction.answerSignAnyDelayedPayment,
  ),
  sign_any_remote_htlc_to_us: answered(
    R.sign_any_remote_htlc_to_us,
    transaction.answerSignAnyRemoteHtlcToUs,
  ),
  sign_any_penalty_to_us: answered(
    R.sign_any_penalty_to_us,
    transaction.answerSignAnyPenalty,
  ),
  sign_any_local_htlc_tx: answered(
    R.sign_any_local_htlc_tx,
    transaction.answerSignAnyLocalHtlc,
  ),
  sign_anchorspend: answered(R.sign_anchorspend, wallet.answerSignAnchorspend),
  sign_htlc_tx_mingle: answered(
    R.sign_htlc_tx_mingle,
    wallet.answerSignHtlcMingle,
  ),
};

/** What VLS nodes ask besides. */
const SIGNER_ANSWERS: readonly Meeting[] = [
  applied(SIGNER_MESSAGES.ping, (state, { id }) => ({
    state,
    reply: encodeMessage(SIGNER_MESSAGES.pong, { id, message: PONG }),
    effects: [],
  })),
  answered(SIGNER_MESSAGES.node_info, node.answerNodeInfo),
];

const PONG = new TextEncoder().encode("pong");

const MEETINGS: ReadonlyMap<number, Meeting> = new Map(
  [...Object.values(HANDLERS), ...SIGNER_ANSWERS]
    .map((meeting) => [meeting.type, meeting]),
);

/**
 * Answers one request. Total: any bytes give a step, and no call throws.
 *
 * `now` (Unix time in milliseconds) is for what depends on time; nothing does
 * yet.
 */
export function step(
  state: SignerState,
  input: SignerInput,
  _now: number,
): Step {
  const type = messageType(input.message);
  try {
    const meeting = type === null ? undefined : MEETINGS.get(type);
    if (meeting === undefined) {
      return refuseBad(`Cannot answer ${messageName(type)}: not a request`);
    }
    return meeting.meet(state, input);
  } catch (error) {
    return { state, reply: encodeError(error, type), effects: [] };
  }
}

/** Names what is safe to name: an unforeseen error may quote what it choked on. */
function encodeError(error: unknown, type: number | null): Uint8Array {
  const { badRequest, internal } = SIGNER_ERROR_CODES;
  if (error instanceof RequestError) {
    return errorFrame(error.code, error.message);
  }
  if (error instanceof DecodeError) {
    return errorFrame(badRequest, error.message);
  }
  return errorFrame(internal, `Cannot answer ${messageName(type)}: internal`);
}

function errorFrame(code: SignerErrorCode, text: string): Uint8Array {
  return encodeSignerError({ code, message: statusText(text) });
}
