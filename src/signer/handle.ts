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
 * | 403 | refused: a rule of the policy, or what the channel's state does not allow |
 * | 409 | the owner is to be asked; for the box, which then asks again or refuses |
 * | 500 | a mistake of ours; nothing was signed |
 *
 * //~ A signer could throw and let its caller find words for it. But the caller
 * //~ is a device on the far side of a network, and there is exactly one thing
 * //~ that it can do with a request that cannot be met: say so and go on. So the
 * //~ one catch of the core is here, at its edge. Next: signer/channel.ts.
 *
 * A step changes nothing: what has to be remembered is in its writes, which the
 * shell makes durable before the reply leaves.
 *
 * What it does not do: permissions of connections, which the broker knows.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import { Secret } from "../crypto/secret.ts";
import {
  ConsentNeeded,
  DecodeError,
  PolicyViolation,
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
import { NATIVE_CHAIN_MESSAGES } from "../wire/chain_native.ts";
import { CHAIN_MESSAGES } from "../wire/txoo.ts";
import { encodeSignerError, SIGNER_MESSAGES } from "../wire/vls.ts";
import { type Allowlist, createAllowlist } from "../policy/allowlist.ts";
import { type Consent, NO_CONSENT } from "../policy/consent.ts";
import { createJudge, type Judge, type Warning } from "../policy/judge.ts";
import {
  currentReference,
  defaultPolicy,
  type Policy,
} from "../policy/limits.ts";
import * as approval from "./approval.ts";
import * as broadcast from "./broadcast.ts";
import { KeyCache } from "./cache.ts";
import { type Call, logLine, refuseBad } from "./call.ts";
import * as chain from "./chain.ts";
import { applyChainHeaders, applyChainStart } from "./chain_start.ts";
import * as channel from "./channel.ts";
import { holderKeys, ourPoint } from "./commitment.ts";
import * as counterparty from "./counterparty.ts";
import * as gossip from "./gossip.ts";
import * as holder from "./holder.ts";
import { applyInit, applyPreinit } from "./init.ts";
import * as message from "./message.ts";
import * as node from "./node.ts";
import { type Memory, SignerMemory } from "./memory.ts";
import { pointCheckOf } from "./points.ts";
import type {
  Answer,
  Effect,
  Ground,
  PrepareEffect,
  ReadyState,
  SignerInput,
  SignerState,
  Step,
} from "./state.ts";
import * as transaction from "./transaction.ts";
import * as wallet from "./wallet.ts";

export { controlPointOf, nodeKeyOf } from "./init.ts";
export type {
  Effect,
  Ground,
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
  /** What is remembered; nothing unless given. */
  readonly memory?: Memory;
  /** The owner's limits; the strict default of the network unless given. */
  readonly policy?: Policy;
  /** Nobody unless given. */
  readonly allowlist?: Allowlist;
  /** None unless given. */
  readonly consent?: Consent;
  /** When the seed was made, Unix seconds; not known unless given. */
  readonly birthday?: bigint | null;
}

/** A signer that waits for init. */
export function createSigner(options: SignerOptions): SignerState {
  const { secretFile, network, isDeveloper } = options;
  return {
    kind: "locked",
    network,
    isDeveloper,
    memory: options.memory ?? new SignerMemory(),
    policy: options.policy ?? defaultPolicy(network.name),
    allowlist: options.allowlist ?? createAllowlist([], network),
    consent: options.consent ?? NO_CONSENT,
    feeReference: null,
    birthday: options.birthday ?? null,
    cache: new KeyCache(),
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
  /** `now` is Unix time in seconds. */
  readonly meet: (state: SignerState, input: SignerInput, now: number) => Step;
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

/** A request that needs keys: it is judged, and answered. */
function answered<F extends Fields>(
  row: Row<F>,
  answer: (call: Call, request: StructValue<F>) => Answer,
): Meeting {
  const read = readerOf(row);
  return {
    type: row.type,
    meet(state, { peerId, dbid, message }, now) {
      if (state.kind !== "ready") return refuseBad(NOT_INITIALISED);
      const judge = createJudge(state.policy, now);
      const questions = new Set<string>();
      const noteUse = (question: string) => void questions.add(question);
      const consent = { ...state.consent, noteUse };
      const connection = { peerId, dbid };
      const feeReference = currentReference(state.feeReference, now);
      const call = {
        state: { ...state, consent },
        connection,
        feeReference,
        judge,
      };
      const { reply, effects = [], writes = [] } = answer(call, read(message));
      return {
        state,
        reply,
        writes,
        effects: [...effects, ...judge.warnings.map(warningLine)],
        grounds: groundsOf(judge, consent, questions),
      };
    },
  };
}

function warningLine({ tag, text }: Warning): Effect {
  return logLine("unusual", `let pass with a warning: ${tag}: ${text}`);
}

function groundsOf(
  { warnings }: Judge,
  { mode }: Consent,
  questions: ReadonlySet<string>,
): readonly Ground[] {
  return [
    ...Array.from(
      questions,
      (question): Ground => ({ kind: "consent", mode, question }),
    ),
    ...warnings.map(({ tag }): Ground => ({ kind: "warning", tag })),
  ];
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

/** A message about the chain: it comes from the broker, and makes a state. */
function fed<F extends Fields>(
  row: Row<F>,
  apply: (state: ReadyState, request: StructValue<F>, now: number) => Step,
): Meeting {
  const read = readerOf(row);
  return {
    type: row.type,
    meet(state, { message }, now) {
      if (state.kind !== "ready") return refuseBad(NOT_INITIALISED);
      return apply(state, read(message), now);
    },
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
    broadcast.answerSignCommitment,
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
    counterparty.answerSignRemoteCommitment,
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
    holder.answerValidateCommitment,
  ),
  validate_revocation: answered(
    R.validate_revocation,
    counterparty.answerValidateRevocation,
  ),
  lock_outpoint: answered(R.lock_outpoint, channel.answerLockOutpoint),
  preapprove_invoice: answered(
    R.preapprove_invoice,
    approval.answerPreapproveInvoice,
  ),
  preapprove_keysend: answered(
    R.preapprove_keysend,
    approval.answerPreapproveKeysend,
  ),
  revoke_commitment_tx: answered(
    R.revoke_commitment_tx,
    holder.answerRevokeCommitment,
  ),
  sign_bolt12_2: answered(R.sign_bolt12_2, message.answerSignBolt12Second),
  bip137_sign_message: answered(
    R.bip137_sign_message,
    message.answerBip137SignMessage,
  ),
  preapprove_invoice_check: answered(
    R.preapprove_invoice_check,
    approval.answerPreapproveInvoice,
  ),
  preapprove_keysend_check: answered(
    R.preapprove_keysend_check,
    approval.answerPreapproveKeysend,
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
    writes: [],
  })),
  answered(SIGNER_MESSAGES.node_info, node.answerNodeInfo),
  applied(SIGNER_MESSAGES.fee_reference, (state, feeReference) => ({
    // Believed while it is current, and within the owner's hard maximum, which
    // every use of it applies.
    state: { ...state, feeReference },
    reply: encodeMessage(SIGNER_MESSAGES.fee_reference_reply, {}),
    effects: [],
    writes: [],
  })),
];

/** How the chain comes to this signer. */
const CHAIN_ANSWERS: readonly Meeting[] = [
  fed(CHAIN_MESSAGES.tip_info, chain.applyTipInfo),
  fed(CHAIN_MESSAGES.forward_watches, chain.applyForwardWatches),
  fed(CHAIN_MESSAGES.reverse_watches, chain.applyReverseWatches),
  fed(CHAIN_MESSAGES.add_block, chain.applyAddBlock),
  fed(CHAIN_MESSAGES.remove_block, chain.applyRemoveBlock),
  fed(CHAIN_MESSAGES.get_heartbeat, chain.applyGetHeartbeat),
  fed(CHAIN_MESSAGES.block_chunk, chain.applyBlockChunk),
  fed(NATIVE_CHAIN_MESSAGES.chain_state, chain.applyChainState),
  fed(NATIVE_CHAIN_MESSAGES.chain_start, applyChainStart),
  fed(NATIVE_CHAIN_MESSAGES.chain_headers, applyChainHeaders),
];

const PONG = new TextEncoder().encode("pong");

const MEETINGS: ReadonlyMap<number, Meeting> = new Map(
  [...Object.values(HANDLERS), ...SIGNER_ANSWERS, ...CHAIN_ANSWERS]
    .map((meeting) => [meeting.type, meeting]),
);

/**
 * Answers one request. Total: any bytes give a step, and no call throws.
 *
 * `now` is Unix time in milliseconds: invoices expire, limits are per time.
 */
export function step(
  state: SignerState,
  input: SignerInput,
  now: number,
): Step {
  const type = messageType(input.message);
  try {
    const meeting = type === null ? undefined : MEETINGS.get(type);
    if (meeting === undefined) {
      return refuseBad(`Cannot answer ${messageName(type)}: not a request`);
    }
    return meeting.meet(state, input, Math.floor(now / 1000));
  } catch (error) {
    const reply = encodeError(error, type);
    return { state, reply, effects: questionsOf(error), writes: [] };
  }
}

/** Does work ahead of the request that will want it. */
export function prepare(
  state: SignerState,
  { channel: id, number }: PrepareEffect,
): void {
  const record = state.memory.channel(id);
  if (state.kind !== "ready" || !record?.setup) return;
  const channel = { id, record, setup: record.setup };
  holderKeys({ state }, channel, number);
  ourPoint({ state }, channel, number + 1n);
}

/** What the owner has to be asked before the request can be answered. */
function questionsOf(error: unknown): readonly Effect[] {
  if (!(error instanceof ConsentNeeded)) return [];
  const { kind: consentKind, key, question } = error;
  return [{ kind: "ask", consentKind, key, question }];
}

/** Names what is safe to name: an unforeseen error may quote what it choked on. */
function encodeError(error: unknown, type: number | null): Uint8Array {
  const { badRequest, refused, consentNeeded, internal } = SIGNER_ERROR_CODES;
  if (error instanceof PolicyViolation) {
    return errorFrame(refused, error.message);
  }
  if (error instanceof ConsentNeeded) {
    return errorFrame(consentNeeded, error.message);
  }
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
