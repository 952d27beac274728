/**
 * The lines that the book gets of a recording: one for each signature and none
 * besides, each a sentence of a known form.
 *
 * Which replies carry a signature is said here once more, by their numbers: the
 * table under test does not say what is expected of it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Described, describeStep } from "../../src/signer/ledger.ts";
import type { SignerInput, Step } from "../../src/signer/state.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import { decodeMessage, messageType } from "../../src/wire/message.ts";

/** Replies that carry a signature, or the secret of a commitment of ours. */
const SIGNING_REPLIES: ReadonlySet<number> = new Set([
  ...[102, 103, 104, 105, 106, 107, 108, 112, 123, 125, 126],
  ...[140, 141, 145, 148, 150],
]);

const SAT = "\\d{1,3}(?:,\\d{3})*(?:\\.\\d{3})? sat";
const CHANNEL = "0[23][0-9a-f]{8}…/\\d+";
const ADDRESS = "(?:(?:bcrt|bc|tb)1[a-z0-9]{8,90}|script [0-9a-f]{2,10}…)";
const HASH = "[0-9a-f]{10}…";
const DATE = "\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d";
const RATE = `(?:\\d+(?:\\.\\d\\d?)? sat/vB|fee ${SAT})`;
const HTLCS = "(?:no HTLCs|1 HTLC \\((?:1 out, 0|0 out, 1) in\\)|" +
  "\\d+ HTLCs \\(\\d+ out, \\d+ in\\))";
const STATE = `we keep ${SAT}, they ${SAT}, ${HTLCS}, ${RATE}` +
  "(?:, on funding output \\d)?";
const FEE = `, fee ${SAT}`;
const TO = `${SAT} (?:to us at ${ADDRESS}|to ${ADDRESS}|back to us|` +
  `into (?:${CHANNEL}|it again))`;
const OUTPUTS = `${TO}(?:, ${TO})*${FEE}`;
const COINS = "(?:1 coin|\\d+ coins) of ours";
const CLOSE =
  `close of ${CHANNEL}: (?:nothing|${SAT}) to us(?: at ${ADDRESS})?` +
  `(?:, ${SAT} to the peer at ${ADDRESS})?${FEE}`;
const MESSAGE = "message of (?:1 byte|\\d+ bytes) under ";
const SHA256 = ", SHA-256 [0-9a-f]{64}";

/** The form of each request's sentence, whole. */
const FORMS: Readonly<Record<string, string>> = {
  cannouncement_sig_req: `channel announcement of ${CHANNEL} as \\d+x\\d+x\\d+`,
  sign_any_cannouncement_req:
    `channel announcement of ${CHANNEL} as \\d+x\\d+x\\d+`,
  cupdate_sig_req:
    "channel update of \\d+x\\d+x\\d+: base \\d+ msat, \\d+ ppm, " +
    "\\d+ blocks(?:, disabled)?",
  node_announcement_sig_req: `node announcement, dated ${DATE}`,
  sign_commitment_tx:
    `(?:our commitment \\d+ of ${CHANNEL}, to be broadcast: ` +
    `${STATE}|${CLOSE})`,
  sign_remote_commitment_tx:
    `commitment \\d+ of ${CHANNEL}(?: again)?: ${STATE}`,
  sign_remote_htlc_tx:
    `HTLC-(?:timeout|success) of commitment \\d+ of ${CHANNEL}: ${SAT}`,
  sign_any_local_htlc_tx:
    `HTLC-(?:timeout|success) of our commitment \\d+ of ${CHANNEL}: ${SAT}`,
  sign_mutual_close_tx: CLOSE,
  sign_splice_tx: `splice of ${CHANNEL}, which held ${SAT}: ${OUTPUTS}`,
  sign_withdrawal: `wallet spend, ${COINS}: ${OUTPUTS}`,
  sign_anchorspend: `fee for commitment of ${CHANNEL}, ` +
    `(?:no coin of ours|${COINS}: (?:${OUTPUTS}|fee ${SAT}))`,
  sign_htlc_tx_mingle:
    `fee for HTLC transactions of ${CHANNEL}, ${COINS}: ${OUTPUTS}`,
  sign_any_delayed_payment_to_us:
    `sweep of our commitment \\d+ of ${CHANNEL}: ${OUTPUTS}`,
  sign_any_remote_htlc_to_us:
    `sweep of an HTLC of the peer's commitment of ${CHANNEL}: ${OUTPUTS}`,
  sign_penalty_to_us: `penalty in advance for a revoked commitment of ` +
    `${CHANNEL}: ${SAT}${FEE}`,
  sign_any_penalty_to_us:
    `penalty on a revoked commitment of ${CHANNEL}: ${OUTPUTS}`,
  revoke_commitment_tx:
    `revoked our commitment \\d+ of ${CHANNEL}(?: again|; in \\d+ ${STATE})`,
  sign_invoice: `(?:invoice for (?:any amount|${SAT}), payment hash ${HASH}, ` +
    `until ${DATE}|what is no invoice of this network${SHA256})`,
  sign_message: `${MESSAGE}the node key${SHA256}`,
  bip137_sign_message: `${MESSAGE}wallet key \\d+${SHA256}`,
  sign_bolt12: `BOLT 12 [a-z_]+, [a-z_]+, merkle root ${HASH}`,
  sign_bolt12_2: `BOLT 12 [a-z_]+, [a-z_]+, merkle root ${HASH}`,
  sign_option_will_fund_offer: "offer to fund a channel, at block \\d+",
  preapprove_invoice: `payment of (?:any amount|${SAT}) to ${HASH}, invoice ` +
    `with payment hash ${HASH}`,
  preapprove_invoice_check: `payment of (?:any amount|${SAT}) to ${HASH}, ` +
    `invoice with payment hash ${HASH}`,
  preapprove_keysend: `keysend of ${SAT} to ${HASH}, payment hash ${HASH}`,
  preapprove_keysend_check:
    `keysend of ${SAT} to ${HASH}, payment hash ${HASH}`,
};
const RIGHT =
  /^(the rules|--yes|an approved (invoice|keysend) [0-9a-f]{10}…)(; |$)/;

/** Whether the wallet signed at all: a PSBT without its coins comes back. */
function isUnchanged({ message }: SignerInput, reply: Uint8Array): boolean {
  switch (messageType(message)) {
    case REQUESTS.sign_withdrawal.type:
      return decodeMessage(REQUESTS.sign_withdrawal, message).psbt.toHex() ===
        decodeMessage(REPLIES.sign_withdrawal_reply, reply).psbt.toHex();
    case REQUESTS.sign_htlc_tx_mingle.type:
      return decodeMessage(REQUESTS.sign_htlc_tx_mingle, message).psbt
        .toHex() ===
        decodeMessage(REPLIES.sign_htlc_tx_mingle_reply, reply).psbt.toHex();
    default:
      return false;
  }
}

function checkLine({ request, text, isFallback, ...rest }: Described): void {
  assert.ok(!isFallback, text);
  const form = FORMS[request];
  assert.ok(form !== undefined, `no form for ${request}: ${text}`);
  assert.match(text, new RegExp(`^${form}$`));
  assert.match(rest.allowedBy, RIGHT);
  const { channel } = rest;
  const names = new Set(text.match(/0[23][0-9a-f]{8}…\/\d+/g));
  if (channel === null) assert.notEqual(names.size, 1, text);
  else {
    const name = `${channel.peerId.toHex().slice(0, 10)}…/${channel.dbid}`;
    const isNamed = text.includes(name) || request === "cupdate_sig_req" ||
      request === "sign_option_will_fund_offer";
    assert.ok(isNamed, `${name} is not in: ${text}`);
  }
}

/** Describes what a recording has signed, and checks each line. */
export class BookLines {
  readonly lines: Described[] = [];

  /** For playStrict. */
  readonly observe = (step: Step, input: SignerInput): void => {
    const line = describeStep(step, input, Date.now());
    const { reply } = step;
    const type = reply === null ? null : messageType(reply);
    const isSigned = reply !== null && SIGNING_REPLIES.has(type ?? 0) &&
      !isUnchanged(input, reply);
    assert.equal(line !== null && line.kind !== "approved", isSigned);
    if (line === null) return;
    checkLine(line);
    this.lines.push(line);
  };
}
