/**
 * What a card may still do that is not, or may not be, the last word of its
 * device.
 *
 * | standing | how it came about | serves |
 * | --- | --- | --- |
 * | good | the usual one; nothing is written | everything |
 * | restored | made from a backup or a seed while the card went on, or may have | what no old state can hurt |
 * | moved | a backup was made with --move: another card goes on | nothing |
 *
 * Who signs from an old state can sign a commitment that was revoked since, and
 * the other side then takes all of the channel. So a restored card signs no
 * commitment of either side, releases no secret, revokes nothing, closes nothing
 * together with the peer, splices nothing and opens nothing. It brings home what
 * is on the chain already, and keeps node and wallet going.
 *
 * What it does not do: judge a request that it lets through; the policy does.
 *
 * @module
 */

import { type RequestName, REQUESTS } from "../wire/hsmd.ts";

/** That a card is not the last word; null is good standing. */
export interface Standing {
  readonly kind: "restored" | "moved";
  /** Commits that the card had when it came about. */
  readonly generation: bigint;
  /** Unix time in milliseconds. */
  readonly at: bigint;
}

/** What a restored card does with a request, and why. */
export interface StandingRow {
  readonly restored: "serves" | "refuses";
  readonly reason: string;
}

const serves = (reason: string): StandingRow => ({
  restored: "serves",
  reason,
});
const refuses = (reason: string): StandingRow => ({
  restored: "refuses",
  reason,
});

const SWEEP = "takes what is on the chain already to our own wallet: the " +
  "policy checks where it goes, and nobody can claim it back by an old state";
const GOSSIP = "says who we are and what we charge; moves no money";
const WALLET_CHECK = "compares a public key; signs nothing";
const MESSAGE = "signs text under a prefix that no transaction has";
const PAYMENT = "a payment needs a new commitment, which is refused; a clear " +
  "no now is better than one that hangs";

/** Every request of lightningd, with what a restored card does about it. */
export const STANDING_ROWS: Readonly<Record<RequestName, StandingRow>> = {
  ecdh_req: serves("shares a secret of a session; the node key has no state"),
  cannouncement_sig_req: serves(GOSSIP),
  cupdate_sig_req: serves(GOSSIP),
  sign_any_cannouncement_req: serves(GOSSIP),
  sign_commitment_tx: refuses(
    "signs our commitment for the chain: an old one was revoked since, and " +
      "the peer takes everything",
  ),
  node_announcement_sig_req: serves(GOSSIP),
  sign_withdrawal: serves(
    "spends coins of the wallet, which the chain knows and no card remembers; " +
      "the policy limits it",
  ),
  sign_invoice: serves("asks to be paid; owes nobody anything"),
  client_hsmfd: serves("never reaches a card: the broker answers it"),
  get_channel_basepoints: serves("public keys, the same at any time"),
  init: serves("tells node id and public keys; a node needs it to start"),
  sign_delayed_payment_to_us: serves(SWEEP),
  sign_remote_htlc_to_us: serves(SWEEP),
  sign_penalty_to_us: serves(SWEEP),
  sign_local_htlc_tx: serves(
    "claims an HTLC of our commitment that is on the chain already, to us; " +
      "without that commitment the signature is of no use",
  ),
  get_per_commitment_point: serves(
    "a public point, the same at any time, which a sweep needs; the secret that " +
      "goes with it to nodes of wire version 5 is of a commitment that even " +
      "the old state knows as replaced",
  ),
  sign_remote_commitment_tx: refuses(
    "signs the peer's commitment: with an old one it gets back money that it " +
      "paid since",
  ),
  sign_remote_htlc_tx: refuses(
    "belongs to a commitment of the peer, see sign_remote_commitment_tx",
  ),
  sign_mutual_close_tx: refuses(
    "divides the channel by our balance, and an old balance may be wrong",
  ),
  check_future_secret: serves(
    "says whether a secret that the peer knows is ours: so a node learns that " +
      "it is behind; releases nothing",
  ),
  sign_message: serves(MESSAGE),
  get_output_scriptpubkey: serves("a public script, the same at any time"),
  sign_bolt12: serves("signs offers' invoices: owes nobody anything"),
  sign_option_will_fund_offer: refuses(
    "promises money for a channel that this card will not open",
  ),
  derive_secret: serves("secrets of the node itself, the same at any time"),
  check_pubkey: serves(WALLET_CHECK),
  sign_splice_tx: refuses(
    "spends the channel's funding output by a state that may be old",
  ),
  new_channel: refuses(
    "a channel's number may have been used since: its keys must not be twice",
  ),
  setup_channel: refuses(
    "starts a channel at commitment 0, where one may be further already",
  ),
  check_outpoint: serves("asks how deep an output is; changes nothing"),
  dev_memleak: serves("counts memory of the node's developers"),
  forget_channel: refuses(
    "forgets what was signed for a channel that the last card may know as open",
  ),
  validate_commitment_tx: refuses(
    "takes a new commitment of ours on top of an old one",
  ),
  validate_revocation: refuses(
    "notes that the peer gave up a commitment which an old state may not know",
  ),
  lock_outpoint: refuses("changes which output funds the channel"),
  preapprove_invoice: refuses(PAYMENT),
  preapprove_keysend: refuses(PAYMENT),
  revoke_commitment_tx: refuses(
    "releases the secret that gives a commitment of ours away for ever",
  ),
  sign_bolt12_2: serves("signs invoice requests; a payment is asked for apart"),
  bip137_sign_message: serves(MESSAGE),
  preapprove_invoice_check: refuses(PAYMENT),
  preapprove_keysend_check: refuses(PAYMENT),
  check_bip86_pubkey: serves(WALLET_CHECK),
  dev_preinit: serves("settings of the node's developers, before init"),
  sign_any_delayed_payment_to_us: serves(SWEEP),
  sign_any_remote_htlc_to_us: serves(SWEEP),
  sign_any_penalty_to_us: serves(SWEEP),
  sign_any_local_htlc_tx: serves(
    "claims an HTLC of our commitment that is on the chain already, to us; " +
      "without that commitment the signature is of no use",
  ),
  sign_anchorspend: serves(
    "adds a fee from the wallet to a commitment that somebody signed already; " +
      "signs no commitment",
  ),
  sign_htlc_tx_mingle: serves(
    "as sign_any_local_htlc_tx, with a fee from the wallet",
  ),
};

const REFUSED_TYPES: ReadonlySet<number> = new Set(
  Object.entries(REQUESTS)
    .filter(([name]) => isRefused(name))
    .map(([, { type }]) => type),
);

function isRefused(name: string): boolean {
  // The keys of both tables are the same: the type of the rows says so.
  const row = STANDING_ROWS[name as RequestName];
  return row.restored === "refuses";
}

/**
 * Why a card of this standing does not answer a request, with what to do; null
 * when it may. Requests that only VLS nodes make are harmless ones.
 */
export function refusalByStanding(
  standing: Standing | null,
  messageType: number,
): string | null {
  switch (standing?.kind) {
    case undefined:
      return null;
    case "moved":
      return "Cannot serve: this card was moved to another one by a backup, " +
        "want the card that it was restored to";
    case "restored":
      return REFUSED_TYPES.has(messageType) ? RESTORED : null;
  }
}

const RESTORED = "Cannot act on a channel: this card was restored and may " +
  "not know the last state, want it brought up to date (softkey card adopt " +
  "--database FILE)";

/** A standing in words that an owner understands, for card check and the start. */
export function describeStanding(standing: Standing | null): string {
  if (standing === null) return "good";
  const { kind, generation, at } = standing;
  const day = new Date(Number(at)).toISOString().slice(0, 16).replace("T", " ");
  return kind === "moved"
    ? `moved to another card on ${day}: signs nothing`
    : `restored on ${day} at generation ${generation}: signs nothing for ` +
      "channels until it is brought up to date (softkey card adopt)";
}
