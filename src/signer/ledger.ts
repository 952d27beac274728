/**
 * What the book says of each request that signs: one row a request.
 *
 * A line is for the owner, who wants to see years later what left with the
 * node's name on it: which channel, how much, where to, and by what right. A
 * request that signs nothing has null in its row: keys, points, checks, and the
 * validation of our own commitment, of which the revocation that follows tells.
 *
 * | kind | what |
 * | --- | --- |
 * | signed | a signature left |
 * | revoked | the secret of a commitment of ours left |
 * | approved | a payment may go out from now on |
 *
 * Rows marked `rides` are signatures that say nothing which the line of their
 * commitment does not say: it is in the book, so theirs may be written a moment
 * later, together with the next.
 *
 * Whatever goes wrong with words, the signature stands: the line is then the
 * request's name alone.
 *
 * Standards: BOLT 3, 5 and 7 for what is read here; BOLT 11 and 12, BIP 137.
 *
 * What it does not do: write the book (`device/desk.ts`), quote a description or
 * a message, which may hold anything.
 *
 * @module
 */

import type { ChannelId } from "../keyderiv/channel.ts";
import { createJudge } from "../policy/judge.ts";
import { currentReference } from "../policy/limits.ts";
import type { Codec, StructValue } from "../wire/codec.ts";
import { type RequestName, REQUESTS } from "../wire/hsmd.ts";
import { decodeMessage, messageType, type Row } from "../wire/message.ts";
import { SIGNER_ERROR_TYPE } from "../wire/vls.ts";
import { allowedBy } from "./allowed_by.ts";
import {
  closeWords,
  delayedWords,
  describeBroadcast,
  describeCommitment,
  describePenalty,
  describeRemoteHtlc,
  describeRevocation,
  localHtlcWords,
  PENALTY,
  sweepWords,
  THEIR_HTLC,
} from "./ledger_channel.ts";
import {
  announcementWords,
  bolt12Words,
  describeInvoice,
  describeNodeAnnouncement,
  describeUpdate,
  invoiceApproval,
  keysendApproval,
  messageWords,
} from "./ledger_node.ts";
import {
  bumpWords,
  describeAnchorspend,
  describeSplice,
  spendWords,
} from "./ledger_wallet.ts";
import {
  channelOf,
  connected,
  type Taken,
  type Words,
} from "./ledger_words.ts";
import type { SignerInput, Step } from "./state.ts";

/** Kinds of lines that a step can leave. */
export type StepKind = "signed" | "revoked" | "approved";

/** What is to be put down for a step. */
export interface Described {
  readonly kind: StepKind;
  readonly request: string;
  /** Which channel it is about; null for the node itself. */
  readonly channel: ChannelId | null;
  /** One sentence without a full stop. */
  readonly text: string;
  readonly allowedBy: string;
  /** Whether the line may be written after the reply has left. */
  readonly rides: boolean;
  /** Whether words failed. */
  readonly isFallback: boolean;
}

/** How one type of request is put into words; null where nothing was signed. */
interface LedgerRow {
  readonly kind: StepKind;
  readonly rides: boolean;
  readonly describe: (taken: Taken, message: Uint8Array) => Words | null;
}

// deno-lint-ignore no-explicit-any
type Fields = Record<string, Codec<any>>;
type Describe<F extends Fields> = (
  taken: Taken,
  request: StructValue<F>,
) => Words | null;

function row<F extends Fields>(
  request: Row<F>,
  describe: Describe<F>,
  kind: StepKind = "signed",
): LedgerRow {
  return {
    kind,
    rides: false,
    describe: (taken, message) =>
      describe(taken, decodeMessage(request, message)),
  };
}

/** A signature that belongs to a commitment whose line is in the book. */
function riding<F extends Fields>(
  request: Row<F>,
  describe: Describe<F>,
): LedgerRow {
  return { ...row(request, describe), rides: true };
}

const R = REQUESTS;

/** Every request, and what the book says of it. */
export const LEDGER: Readonly<Record<RequestName, LedgerRow | null>> = {
  ecdh_req: null,
  cannouncement_sig_req: row(
    R.cannouncement_sig_req,
    ({ call }, { ca }) => announcementWords(ca, call.connection),
  ),
  cupdate_sig_req: row(R.cupdate_sig_req, describeUpdate),
  sign_any_cannouncement_req: row(
    R.sign_any_cannouncement_req,
    (_, { ca, ...named }) => announcementWords(ca, channelOf(named)),
  ),
  sign_commitment_tx: row(R.sign_commitment_tx, describeBroadcast),
  node_announcement_sig_req: row(
    R.node_announcement_sig_req,
    describeNodeAnnouncement,
  ),
  sign_withdrawal: row(
    R.sign_withdrawal,
    (taken, { inputs, psbt }) =>
      spendWords(taken, { inputs, psbt, what: "wallet spend" }),
  ),
  sign_invoice: row(R.sign_invoice, describeInvoice),
  client_hsmfd: null,
  get_channel_basepoints: null,
  init: null,
  sign_delayed_payment_to_us: row(
    R.sign_delayed_payment_to_us,
    ({ call }, { commitNum, tx }) =>
      delayedWords(call, call.connection, commitNum, tx),
  ),
  sign_remote_htlc_to_us: row(
    R.sign_remote_htlc_to_us,
    ({ call }, { tx }) => sweepWords(call, call.connection, THEIR_HTLC, tx),
  ),
  sign_penalty_to_us: riding(R.sign_penalty_to_us, describePenalty),
  sign_local_htlc_tx: row(
    R.sign_local_htlc_tx,
    ({ call }, request) => localHtlcWords(call.connection, request),
  ),
  get_per_commitment_point: null,
  sign_remote_commitment_tx: row(
    R.sign_remote_commitment_tx,
    describeCommitment,
  ),
  sign_remote_htlc_tx: riding(R.sign_remote_htlc_tx, describeRemoteHtlc),
  sign_mutual_close_tx: row(
    R.sign_mutual_close_tx,
    (taken, { tx }) => closeWords(taken, taken.call.connection, tx),
  ),
  check_future_secret: null,
  sign_message: row(
    R.sign_message,
    (_, { msg }) => ({ text: messageWords(msg, "the node key") }),
  ),
  get_output_scriptpubkey: null,
  sign_bolt12: row(R.sign_bolt12, (_, request) => bolt12Words(request)),
  sign_option_will_fund_offer: row(
    R.sign_option_will_fund_offer,
    ({ call }, { blockheight }) => ({
      text: `offer to fund a channel, at block ${blockheight}`,
      channel: connected(call.connection),
    }),
  ),
  derive_secret: null,
  check_pubkey: null,
  sign_splice_tx: row(R.sign_splice_tx, describeSplice),
  new_channel: null,
  setup_channel: null,
  check_outpoint: null,
  dev_memleak: null,
  forget_channel: null,
  validate_commitment_tx: null,
  validate_revocation: null,
  lock_outpoint: null,
  preapprove_invoice: row(
    R.preapprove_invoice,
    (taken, { invstring }) => invoiceApproval(taken, invstring),
    "approved",
  ),
  preapprove_keysend: row(
    R.preapprove_keysend,
    keysendApproval,
    "approved",
  ),
  revoke_commitment_tx: row(
    R.revoke_commitment_tx,
    describeRevocation,
    "revoked",
  ),
  sign_bolt12_2: row(R.sign_bolt12_2, (_, request) => bolt12Words(request)),
  bip137_sign_message: row(
    R.bip137_sign_message,
    (_, { msg, keyidx }) => ({
      text: messageWords(msg, `wallet key ${keyidx}`),
    }),
  ),
  preapprove_invoice_check: row(
    R.preapprove_invoice_check,
    (taken, { invstring, checkOnly }) =>
      checkOnly ? null : invoiceApproval(taken, invstring),
    "approved",
  ),
  preapprove_keysend_check: row(
    R.preapprove_keysend_check,
    (taken, { checkOnly, ...request }) =>
      checkOnly ? null : keysendApproval(taken, request),
    "approved",
  ),
  check_bip86_pubkey: null,
  dev_preinit: null,
  sign_any_delayed_payment_to_us: row(
    R.sign_any_delayed_payment_to_us,
    ({ call }, { commitNum, tx, ...named }) =>
      delayedWords(call, channelOf(named), commitNum, tx),
  ),
  sign_any_remote_htlc_to_us: row(
    R.sign_any_remote_htlc_to_us,
    ({ call }, { tx, ...named }) =>
      sweepWords(call, channelOf(named), THEIR_HTLC, tx),
  ),
  sign_any_penalty_to_us: row(
    R.sign_any_penalty_to_us,
    ({ call }, { tx, ...named }) =>
      sweepWords(call, channelOf(named), PENALTY, tx),
  ),
  sign_any_local_htlc_tx: row(
    R.sign_any_local_htlc_tx,
    (_, request) => localHtlcWords(channelOf(request), request),
  ),
  sign_anchorspend: row(R.sign_anchorspend, describeAnchorspend),
  sign_htlc_tx_mingle: row(
    R.sign_htlc_tx_mingle,
    (taken, { inputs, psbt, ...named }) =>
      bumpWords(taken, channelOf(named), "HTLC transactions", {
        inputs,
        psbt,
      }),
  ),
};

const ROWS: ReadonlyMap<number, readonly [string, LedgerRow]> = new Map(
  Object.entries(LEDGER).flatMap(([name, entry]) => {
    // The keys of both tables are the same: the compiler saw to it.
    const { type } = REQUESTS[name as RequestName];
    return entry === null ? [] : [[type, [name, entry]]];
  }),
);

/**
 * The line for a step, made before its writes are applied; null where nothing
 * was signed. Never throws. `now` is Unix time in milliseconds.
 */
export function describeStep(
  step: Step,
  input: SignerInput,
  now: number,
): Described | null {
  const { reply, state } = step;
  const known = ROWS.get(messageType(input.message) ?? -1);
  const isAnswered = reply !== null && messageType(reply) !== SIGNER_ERROR_TYPE;
  if (known === undefined || !isAnswered || state.kind !== "ready") return null;
  const [request, entry] = known;
  const { peerId, dbid, message } = input;
  const seconds = Math.floor(now / 1000);
  const judge = createJudge(state.policy, seconds);
  const feeReference = currentReference(state.feeReference, seconds);
  const call = { state, connection: { peerId, dbid }, feeReference, judge };
  const { kind } = entry;
  try {
    const words = entry.describe({ call, writes: step.writes }, message);
    if (words === null) return null;
    const { text, channel = null, payments = [], listed = [] } = words;
    const { grounds = [] } = step;
    return {
      kind,
      request,
      channel,
      text,
      allowedBy: allowedBy(call, step.writes, { grounds, payments, listed }),
      rides: entry.rides && words.mayRide !== false,
      isFallback: false,
    };
  } catch (_error) { // words are worth less than the signature that they are for
    const text = `signed ${request}`;
    const channel = connected({ peerId, dbid });
    const right = "unknown";
    const isFallback = true;
    const rides = false;
    return {
      kind,
      request,
      channel,
      text,
      allowedBy: right,
      rides,
      isFallback,
    };
  }
}
