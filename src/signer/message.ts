/**
 * Requests to sign words: messages, invoices, offers, and the approvals that
 * come before paying one.
 *
 * Standards: BOLT 11 (invoices), BOLT 12 (offers; merkle root from the node),
 * BIP 137 (signed messages), the liquidity ads extension of BOLT 2.
 *
 * What it does not do: read an invoice, or remember an approval. Everything is
 * approved unless a developer's switch says otherwise.
 *
 * @module
 */

import {
  signPlain,
  signPlainRecoverable,
  signTaproot,
} from "../bitcoin/sign.ts";
import { writeCompactSize } from "../bitcoin/bytes.ts";
import { addToKey } from "../bitcoin/keys.ts";
import { sha256, sha256d, taggedHash } from "../crypto/hash.ts";
import { deriveNamedSecret, deriveWalletKey } from "../keyderiv/node.ts";
import { Writer } from "../wire/codec.ts";
import { REPLIES, type RequestOf, REQUESTS } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import type { Call } from "./call.ts";
import type { Answer } from "./state.ts";

const utf8 = new TextEncoder();
const LIGHTNING_PREFIX = utf8.encode("Lightning Signed Message:");
const BITCOIN_PREFIX = utf8.encode("\x18Bitcoin Signed Message:\n");
const WILL_FUND_PREFIX = utf8.encode("option_will_fund");

/**
 * 23: a message under the node key; its prefix keeps it from being gossip.
 *
 * A Sphinx device's login and control messages have the same prefix and key. What
 * looks like one is signed all the same: `keyderiv/control_key.ts` says why.
 */
export function answerSignMessage(
  { state }: Call,
  { msg }: RequestOf<"sign_message">,
): Answer {
  const digest = sha256d(LIGHTNING_PREFIX, msg);
  const sig = signPlainRecoverable(digest, state.keys.node.secret);
  return { reply: encodeMessage(REPLIES.sign_message_reply, { sig }) };
}

/** 45: a message under a wallet key (BIP 137). */
export function answerBip137SignMessage(
  { state }: Call,
  { msg, keyidx }: RequestOf<"bip137_sign_message">,
): Answer {
  const { secret } = deriveWalletKey(state.keys, keyidx);
  const length = new Writer();
  writeCompactSize(length, msg.length);
  const digest = sha256d(BITCOIN_PREFIX, length.finish(), msg);
  const sig = signPlainRecoverable(digest, secret);
  return { reply: encodeMessage(REPLIES.bip137_sign_message_reply, { sig }) };
}

/** 8: an invoice (BOLT 11): prefix as text, then its 5-bit words as bits. */
export function answerSignInvoice(
  { state }: Call,
  { u5bytes, hrp }: RequestOf<"sign_invoice">,
): Answer {
  const end = hrp.indexOf(0);
  const prefix = end < 0 ? hrp : hrp.subarray(0, end);
  const digest = sha256(prefix, packWords(u5bytes));
  const sig = signPlainRecoverable(digest, state.keys.node.secret);
  return { reply: encodeMessage(REPLIES.sign_invoice_reply, { sig }) };
}

/** Words of five bits into bytes, most significant bit first, zeros at the end. */
function packWords(words: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(words.length * 5 / 8));
  let held = 0;
  let bits = 0;
  let at = 0;
  for (const word of words) {
    // A word of more than five bits spills into its neighbour, as in CLN.
    held = held << 5 | word;
    bits += 5;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = held >> bits;
    }
    held &= 0xffff;
  }
  if (bits > 0) bytes[at] = held << (8 - bits);
  return bytes;
}

/** 26: an offer to fund, under the node key: SHA-256 of the fields as sent. */
export function answerWillFund(
  { state }: Call,
  request: RequestOf<"sign_option_will_fund_offer">,
): Answer {
  const row = REQUESTS.sign_option_will_fund_offer;
  const fields = encodeMessage(row, request).subarray(2);
  const digest = sha256(WILL_FUND_PREFIX, fields);
  const rsig = signPlain(digest, state.keys.node.secret);
  const reply = REPLIES.sign_option_will_fund_offer_reply;
  return { reply: encodeMessage(reply, { rsig }) };
}

/** BOLT 12, signature calculation: the tag names the message and its field. */
function bolt12Digest(
  request: Pick<
    RequestOf<"sign_bolt12">,
    "messagename" | "fieldname" | "merkleroot"
  >,
): Uint8Array {
  const { messagename, fieldname, merkleroot } = request;
  return taggedHash("lightning", messagename, fieldname)(merkleroot);
}

/** 25: under the node key, or the BOLT 12 key with a public tweak. */
export function answerSignBolt12(
  { state }: Call,
  request: RequestOf<"sign_bolt12">,
): Answer {
  const { node, bolt12 } = state.keys;
  const { publictweak } = request;
  const key = publictweak.length === 0
    ? node.secret
    : addToKey(bolt12.secret, sha256(bolt12.point, publictweak));
  const sig = signTaproot(bolt12Digest(request), key);
  return { reply: encodeMessage(REPLIES.sign_bolt12_reply, { sig }) };
}

/** 41: under the node key, tweaked by a named secret and a public text. */
export function answerSignBolt12Second(
  { state }: Call,
  request: RequestOf<"sign_bolt12_2">,
): Answer {
  const { node } = state.keys;
  const { info, publictweak } = request;
  const key = publictweak.length === 0 ? node.secret : addToKey(
    node.secret,
    sha256(deriveNamedSecret(state.keys, info).reveal(), publictweak),
  );
  const sig = signTaproot(bolt12Digest(request), key);
  return { reply: encodeMessage(REPLIES.sign_bolt12_2_reply, { sig }) };
}
