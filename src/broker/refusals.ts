/**
 * How a refusal reaches whoever asked: the smallest harm that Core Lightning
 * understands.
 *
 * A channel's daemon has its connection closed: that channel stops, the node
 * goes on. lightningd itself, and connectd, would take the whole node with
 * them, so here is a row for everything that they ask, with what they then do.
 * There is no refusal in their protocol; what is answered instead is a reply
 * that every check by a key finds empty.
 *
 * | asked for | answered |
 * | --- | --- |
 * | a yes | no |
 * | signatures in a PSBT | the same PSBT, unsigned, where that harms nobody |
 * | a signature | 64 zeros: r and s of zero fit no message and no key |
 * | a shared secret | random bytes: whatever they decrypt fails its MAC |
 * | a secret, a key | the signer's error itself, which is no reply |
 * | that it takes note | that; it promises nothing |
 *
 * The broker invents no answer that only keys can give: zeros are no signature
 * (libsecp256k1 verifies none with r = 0 or s = 0), bitcoind and gossipd refuse
 * what carries them, and lightningd asks again for its next try. Nobody's funds
 * move by one.
 *
 * Rows without an answer end the node, as the stock hsmd's failures do; no rule
 * of our signer refuses what they ask.
 *
 * What it does not do: requests that the device never sees (`HERE` in
 * broker.ts), and requests that the stock hsmd would not take either.
 *
 * Sources are files of Core Lightning v26.06.6.
 *
 * @module
 */

import type { Answer, Request } from "../unixfd.ts";
import { REPLIES, type RequestName, REQUESTS } from "../wire/hsmd.ts";
import { decodeMessage, encodeMessage, type Row } from "../wire/message.ts";
import { NOBODY, type NodeId, SIGHASH_ALL } from "../wire/types.ts";
import { encodeSignerError, type SignerError } from "../wire/vls.ts";
import { mayFundChannel, withoutUnsigned } from "./unsigned_psbt.ts";

/** Makes the answer; null when even that one cannot be made. */
type Kindly = (message: Uint8Array, error: SignerError) => Uint8Array | null;

/** How one request is refused where closing a connection is no way. */
export interface Refusal {
  /** Null: there is no kind answer, the node ends. */
  readonly answer: Kindly | null;
  /** What lightningd then does. */
  readonly then: string;
  /** Where that is written. */
  readonly source: string;
}

const SIGNATURE = 64;
const SECRET = 32;

/** A reply whose fields are these bytes. */
function replyOf(row: Row, body: Uint8Array): Uint8Array {
  return Uint8Array.of(row.type >> 8, row.type & 0xff, ...body);
}

const no = (row: Row): Kindly => () => replyOf(row, Uint8Array.of(0));

const zeros = (row: Row, size: number): Kindly => () =>
  replyOf(row, new Uint8Array(size));

/** A bitcoin_signature of zeros; its sighash byte has to be a known one. */
const noSignature = (row: Row): Kindly => () =>
  replyOf(row, Uint8Array.of(...new Uint8Array(SIGNATURE), SIGHASH_ALL));

const taken = (row: Row): Kindly => () => replyOf(row, new Uint8Array());

/** Not a reply, and so an error of the command that asked. */
const theError: Kindly = (_message, error) => encodeSignerError(error);

/** Random, not zero: what nobody knows, nobody can use to pass for us. */
const aSecretOfNobody: Kindly = () =>
  replyOf(
    REPLIES.ecdh_resp,
    crypto.getRandomValues(new Uint8Array(SECRET)),
  );

/** The stop of a node is a row without answer. */
const ends = (then: string, source: string): Refusal => ({
  answer: null,
  then: `ends: ${then}`,
  source,
});

const SIGNED_FOR_ONCHAIND =
  "broadcasts a transaction that bitcoind refuses, asks again every block";

/** Everything that lightningd's own connections ask of a device. */
export const REFUSALS: Partial<Readonly<Record<RequestName, Refusal>>> = {
  ecdh_req: {
    answer: aSecretOfNobody,
    then: "fails that handshake, onion message or HTLC as undecipherable; " +
      "without an answer connectd would end, and the node with it",
    source: "connectd/handshake.c act_one_responder, common/sphinx.c " +
      "process_onionpacket",
  },
  cannouncement_sig_req: {
    answer: zeros(REPLIES.cannouncement_sig_reply, 2 * SIGNATURE),
    then: "nobody asks it since v24.02",
    source: "hsmd/hsmd_wire.csv",
  },
  cupdate_sig_req: {
    answer: (message) =>
      encodeMessage(
        REPLIES.cupdate_sig_reply,
        decodeMessage(REQUESTS.cupdate_sig_req, message),
      ),
    then: "passes the unsigned update on; gossipd and the peer drop it",
    source: "lightningd/channel_gossip.c sign_update",
  },
  // With zeros lightningd force-closes the channel and may crash on top of it
  // (tried: handle_channel_locked of a channel that is gone). A stop loses less.
  sign_any_cannouncement_req: ends(
    "lightningd verifies both signatures",
    "lightningd/channel_gossip.c send_channel_announce_sigs",
  ),
  sign_commitment_tx: {
    answer: noSignature(REPLIES.sign_commitment_tx_reply),
    then: "broadcasts a transaction that bitcoind refuses, asks again at the " +
      "next close or start",
    source: "lightningd/peer_control.c sign_last_tx",
  },
  node_announcement_sig_req: {
    answer: zeros(REPLIES.node_announcement_sig_reply, SIGNATURE),
    then: "passes the unsigned announcement on; gossipd drops it",
    source: "lightningd/channel_gossip.c channel_gossip_node_announce",
  },
  sign_withdrawal: {
    answer: (message, error) => {
      const { psbt } = decodeMessage(REQUESTS.sign_withdrawal, message);
      return mayFundChannel(psbt)
        ? theError(message, error)
        : encodeMessage(REPLIES.sign_withdrawal_reply, { psbt });
    },
    then: "returns the PSBT unsigned, withdraw fails as not final; where a " +
      "channel may be funded signpsbt fails, because on an unsigned PSBT the " +
      "plugin that opens channels ends, and the node with it",
    source: "wallet/walletrpc.c json_signpsbt, " +
      "plugins/spender/multifundchannel.c after_signpsbt",
  },
  sign_invoice: {
    answer: zeros(REPLIES.sign_invoice_reply, SIGNATURE + 1),
    then: "gives out an invoice that no payer can read",
    source: "lightningd/invoice.c hsm_sign_b11",
  },
  get_channel_basepoints: ends(
    "no channel without its keys",
    "lightningd/channel.c get_channel_basepoints",
  ),
  sign_message: {
    answer: zeros(REPLIES.sign_message_reply, SIGNATURE + 1),
    then: "shows a signature that verifies for nobody",
    source: "lightningd/signmessage.c json_signmessage",
  },
  get_output_scriptpubkey: ends(
    "asked once, while an old database is upgraded",
    "wallet/db.c migrate_pr2342_feerate_per_channel",
  ),
  sign_bolt12: {
    answer: zeros(REPLIES.sign_bolt12_reply, SIGNATURE),
    then: "gives out an invoice that its payer refuses",
    source: "lightningd/invoice.c hsm_sign_b12_invoice",
  },
  derive_secret: {
    answer: theError,
    then: "fails that makesecret command; at its start lightningd ends",
    source: "lightningd/hsm_control.c json_makesecret, lightningd/runes.c",
  },
  new_channel: {
    answer: taken(REPLIES.new_channel_reply),
    then: "goes on; the device still does not know the channel",
    source: "lightningd/opening_common.c new_uncommitted_channel",
  },
  forget_channel: {
    answer: taken(REPLIES.forget_channel_reply),
    then: "goes on; the device still remembers the channel",
    source: "lightningd/channel.c delete_channel",
  },
  preapprove_invoice: {
    answer: no(REPLIES.preapprove_invoice_reply),
    then: "fails the payment: invoice was declined",
    source: "lightningd/invoice.c json_preapproveinvoice",
  },
  preapprove_keysend: {
    answer: no(REPLIES.preapprove_keysend_reply),
    then: "fails the payment: keysend was declined",
    source: "lightningd/invoice.c json_preapprovekeysend",
  },
  sign_bolt12_2: ends(
    "lightningd verifies the signature",
    "lightningd/offer.c hsm_sign_b12",
  ),
  bip137_sign_message: {
    answer: theError,
    then: "fails that signmessagewithkey command",
    source: "wallet/walletrpc.c json_signmessagewithkey",
  },
  preapprove_invoice_check: {
    answer: no(REPLIES.preapprove_invoice_reply),
    then: "fails the payment: invoice was declined",
    source: "lightningd/invoice.c json_preapproveinvoice",
  },
  preapprove_keysend_check: {
    answer: no(REPLIES.preapprove_keysend_reply),
    then: "fails the payment: keysend was declined",
    source: "lightningd/invoice.c json_preapprovekeysend",
  },
  sign_any_delayed_payment_to_us: {
    answer: noSignature(REPLIES.sign_tx_reply),
    then: SIGNED_FOR_ONCHAIND,
    source: "lightningd/onchain_control.c sign_and_get_witness",
  },
  sign_any_remote_htlc_to_us: {
    answer: noSignature(REPLIES.sign_tx_reply),
    then: SIGNED_FOR_ONCHAIND,
    source: "lightningd/onchain_control.c sign_and_get_witness",
  },
  sign_any_penalty_to_us: {
    answer: noSignature(REPLIES.sign_tx_reply),
    then: SIGNED_FOR_ONCHAIND,
    source: "lightningd/onchain_control.c sign_and_get_witness",
  },
  sign_any_local_htlc_tx: {
    answer: noSignature(REPLIES.sign_tx_reply),
    then: "broadcasts a transaction that bitcoind refuses, asks again when " +
      "onchaind starts",
    source: "lightningd/onchain_control.c handle_onchaind_spend_htlc_success",
  },
  sign_anchorspend: {
    answer: (message) =>
      encodeMessage(REPLIES.sign_anchorspend_reply, {
        psbt: decodeMessage(REQUESTS.sign_anchorspend, message).psbt,
      }),
    then: "logs the PSBT as broken, bumps no fee, asks again every block",
    source: "lightningd/anchorspend.c spend_anchor",
  },
  sign_htlc_tx_mingle: {
    answer: (message) => {
      const { psbt } = decodeMessage(REQUESTS.sign_htlc_tx_mingle, message);
      const rest = withoutUnsigned(psbt);
      return rest && encodeMessage(REPLIES.sign_htlc_tx_mingle_reply, {
        psbt: rest,
      });
    },
    then: "goes on with the HTLC transaction alone: no fee bump, asks again " +
      "every block",
    source: "lightningd/onchain_control.c consider_onchain_htlc_tx_rebroadcast",
  },
};

/** The answer to a request that the signer refused. */
export function refusalOf(
  { requester, row, message }: Request,
  error: SignerError,
  reason: string,
): Answer {
  const refused: Answer = { kind: "refused", reason };
  const hasChannel = !requester.isMaster && requester.dbid !== 0n;
  if (hasChannel) return refused;
  const refusals: Readonly<Record<string, Refusal | undefined>> = REFUSALS;
  const reply = refusals[row.name]?.answer?.(message, error) ?? null;
  return reply === null ? refused : { kind: "reply", message: reply };
}

/** The channel that a request is about. */
export interface Concern {
  readonly peerId: NodeId;
  readonly dbid: bigint;
}

/** Whom a request concerns: the connection's channel, or the one it names. */
export function concernOf({ requester, row, message }: Request): Concern {
  const { peerId, dbid } = requester;
  if (!requester.isMaster) return { peerId, dbid };
  // The rows name it differently; one that does not has lightningd's zeros.
  const fields = decodeMessage(row, message);
  return {
    peerId: fields["peerid"] ?? fields["peerId"] ?? fields["id"] ?? NOBODY,
    dbid: fields["channelDbid"] ?? fields["channelId"] ?? fields["dbid"] ?? 0n,
  };
}

/** The rule's tag in the words of our signer; null in anybody else's. */
export function ruleIn(reason: string): string | null {
  return /^[a-z ]+: ([a-z0-9-]{1,60}): /.exec(reason)?.[1] ?? null;
}
