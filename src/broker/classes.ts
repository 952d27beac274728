/**
 * How urgent each request is: a row for everything that lightningd and its
 * daemons ask.
 *
 * A signer is one hand for a whole node. Whoever may write to it must not be
 * able to keep it from what protects money, so requests are classed, and those
 * that were not sent yet go in the order of their class (`queue.ts`).
 *
 * | class | what is in it | who asks |
 * | --- | --- | --- |
 * | protective | revocations, penalties, sweeps, closes | channel daemons, lightningd |
 * | commitment | what moves a payment or keeps a channel going | channel daemons, lightningd |
 * | operator | what an owner, a plugin or gossip asked for | lightningd, opening daemons |
 * | handshake | a stranger at the door (BOLT 8), onion messages | connectd |
 *
 * One request is two things: ecdh_req from lightningd opens the onion of a
 * payment, ecdh_req from connectd (a client without a channel) answers whoever
 * connects. The row says the first, {@linkcode classOf} the second.
 *
 * Facts are those of Core Lightning v26.06.6; rows that only older releases ask
 * are classed as what took their place.
 *
 * What it does not do: decide whether a request is allowed. The signer does.
 *
 * @module
 */

import type { Request } from "../unixfd.ts";
import { type RequestName, REQUESTS } from "../wire/hsmd.ts";

/** Classes of requests, the most urgent first. */
export const CLASSES = [
  "protective",
  "commitment",
  "operator",
  "handshake",
] as const;

/** How urgent a request is. */
export type RequestClass = (typeof CLASSES)[number];

/** The class of each request, as a daemon of a channel or lightningd asks it. */
export const REQUEST_CLASSES: Readonly<Record<RequestName, RequestClass>> = {
  ecdh_req: "commitment",
  cannouncement_sig_req: "operator",
  cupdate_sig_req: "operator",
  sign_any_cannouncement_req: "operator",
  // lightningd signs its own newest commitment only to broadcast it.
  sign_commitment_tx: "protective",
  node_announcement_sig_req: "operator",
  sign_withdrawal: "operator",
  sign_invoice: "operator",
  // Answered here and never sent.
  client_hsmfd: "operator",
  get_channel_basepoints: "operator",
  init: "operator",
  sign_delayed_payment_to_us: "protective",
  sign_remote_htlc_to_us: "protective",
  // channeld asks it for each state that the peer revoked: the watchtower's.
  sign_penalty_to_us: "protective",
  sign_local_htlc_tx: "protective",
  get_per_commitment_point: "commitment",
  sign_remote_commitment_tx: "commitment",
  sign_remote_htlc_tx: "commitment",
  sign_mutual_close_tx: "protective",
  // The peer says that we have lost our memory: the channel ends by the answer.
  check_future_secret: "protective",
  sign_message: "operator",
  get_output_scriptpubkey: "operator",
  sign_bolt12: "operator",
  sign_option_will_fund_offer: "operator",
  derive_secret: "operator",
  check_pubkey: "operator",
  sign_splice_tx: "operator",
  new_channel: "operator",
  setup_channel: "operator",
  check_outpoint: "commitment",
  dev_memleak: "operator",
  forget_channel: "operator",
  validate_commitment_tx: "commitment",
  // After it, an old state of the peer's can be punished.
  validate_revocation: "protective",
  lock_outpoint: "commitment",
  preapprove_invoice: "operator",
  preapprove_keysend: "operator",
  // Until it is answered, our own old state could still be broadcast.
  revoke_commitment_tx: "protective",
  sign_bolt12_2: "operator",
  bip137_sign_message: "operator",
  preapprove_invoice_check: "operator",
  preapprove_keysend_check: "operator",
  check_bip86_pubkey: "operator",
  dev_preinit: "operator",
  sign_any_delayed_payment_to_us: "protective",
  sign_any_remote_htlc_to_us: "protective",
  sign_any_penalty_to_us: "protective",
  sign_any_local_htlc_tx: "protective",
  sign_anchorspend: "protective",
  sign_htlc_tx_mingle: "protective",
};

const BY_NAME: Readonly<Record<string, RequestClass | undefined>> =
  REQUEST_CLASSES;

/** The class of a request; of the broker's own messages: operator. */
export function classOf(
  { requester, row }: Pick<Request, "requester" | "row">,
): RequestClass {
  const isStranger = row.type === REQUESTS.ecdh_req.type &&
    !requester.isMaster && requester.dbid === 0n;
  return isStranger ? "handshake" : BY_NAME[row.name] ?? "operator";
}
