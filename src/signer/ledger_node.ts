/**
 * What the book says of gossip, invoices, messages and approvals.
 *
 * Standards: BOLT 7, BOLT 11, BOLT 12, BIP 137.
 *
 * What it does not do: quote a description, an alias or a message.
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import { DecodeError } from "../errors.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { decodeInvoice, decodeUnsignedInvoice } from "../lightning/invoice.ts";
import { allowsPayee } from "../policy/allowlist.ts";
import { insertVelocity } from "../policy/velocity.ts";
import type { RequestOf } from "../wire/hsmd.ts";
import type { Msat } from "../wire/types.ts";
import type { Call } from "./call.ts";
import {
  channelName,
  connected,
  counted,
  dateOf,
  msatInSat,
  short,
  shortChannelId,
  type Taken,
  type Words,
} from "./ledger_words.ts";

// ------------------------------------------------------------------- gossip

/** BOLT 7: type and signatures before what is signed. */
const SIGNED_FROM = { channel: 2 + 4 * 64, node: 2 + 64, update: 2 + 64 };
const CHAIN_HASH = 32;

const viewOf = (bytes: Uint8Array) =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** 2 and 4: features, chain, short channel id. */
export function announcementWords(ca: Uint8Array, channel: ChannelId): Words {
  const view = viewOf(ca);
  const features = SIGNED_FROM.channel;
  const at = features + 2 + view.getUint16(features) + CHAIN_HASH;
  const id = shortChannelId(view.getBigUint64(at));
  return {
    text: `channel announcement of ${channelName(channel)} as ${id}`,
    channel,
  };
}

/** 3: chain, short channel id, time, flags, delta, minimum, base, rate. */
export function describeUpdate(
  { call }: Taken,
  { cu }: RequestOf<"cupdate_sig_req">,
): Words {
  const view = viewOf(cu);
  const at = SIGNED_FROM.update + CHAIN_HASH;
  const id = shortChannelId(view.getBigUint64(at));
  const isDisabled = (view.getUint8(at + 13) & 2) === 2;
  const [delta, base] = [view.getUint16(at + 14), view.getUint32(at + 24)];
  const rate = view.getUint32(at + 28);
  return {
    text: `channel update of ${id}: base ${base} msat, ${rate} ppm, ` +
      `${delta} blocks${isDisabled ? ", disabled" : ""}`,
    channel: connected(call.connection),
  };
}

/** 6: features, then the time; what the node calls itself is not quoted. */
export function describeNodeAnnouncement(
  _: Taken,
  { announcement }: RequestOf<"node_announcement_sig_req">,
): Words {
  const view = viewOf(announcement);
  const features = SIGNED_FROM.node;
  const time = view.getUint32(features + 2 + view.getUint16(features));
  return { text: `node announcement, dated ${dateOf(BigInt(time))}` };
}

// ----------------------------------------------------- invoices and messages

/** 8: what is asked, for what hash, until when. */
export function describeInvoice(
  { call }: Taken,
  { u5bytes, hrp }: RequestOf<"sign_invoice">,
): Words {
  const end = hrp.indexOf(0);
  const prefix = end < 0 ? hrp : hrp.subarray(0, end);
  const { network } = call.state;
  const invoice = unlessUnreadable(() =>
    decodeUnsignedInvoice(prefix, u5bytes, network)
  );
  if (invoice === null) {
    const hash = sha256(hrp, u5bytes).toHex();
    return { text: `what is no invoice of this network, SHA-256 ${hash}` };
  }
  const { amount, paymentHash, expiresAt } = invoice;
  const terms = `payment hash ${short(paymentHash)}, until ${
    dateOf(expiresAt)
  }`;
  return { text: `invoice for ${amountWords(amount)}, ${terms}` };
}

const amountWords = (amount: Msat | null) =>
  amount === null ? "any amount" : msatInSat(amount);

function unlessUnreadable<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/** A message is told by its length and hash: it may say anything. */
export function messageWords(message: Uint8Array, key: string): string {
  const { length } = message;
  return `message of ${counted(length, "byte")} under ${key}, SHA-256 ` +
    sha256(message).toHex();
}

/** 25 and 41: which message, and which of its signatures. */
export function bolt12Words(
  { messagename, fieldname, merkleroot }: Pick<
    RequestOf<"sign_bolt12">,
    "messagename" | "fieldname" | "merkleroot"
  >,
): Words {
  const [message, field] = [named(messagename), named(fieldname)];
  const root = short(merkleroot);
  return { text: `BOLT 12 ${message}, ${field}, merkle root ${root}` };
}

/** A name as BOLT 12 has them; anything else is not repeated. */
function named(name: Uint8Array): string {
  const text = String.fromCharCode(...name.subarray(0, 33));
  return /^[a-z0-9_]{1,32}$/.test(text) ? text : "message of another name";
}

// ---------------------------------------------------------------- approvals

/** 38 and 51: an invoice that may be paid from now on. */
export function invoiceApproval(
  taken: Taken,
  invstring: Uint8Array,
): Words | null {
  const { state } = taken.call;
  if (state.switches.failPreapprove) return null;
  const invoice = unlessUnreadable(() =>
    decodeInvoice(invstring, state.network)
  );
  if (invoice === null) {
    const hash = sha256(invstring).toHex();
    return { text: `payment of what is no invoice, SHA-256 ${hash}` };
  }
  if (!isApproving(taken)) return null;
  const { amount, payee, paymentHash } = invoice;
  const isListed = allowsPayee(state.allowlist, payee) &&
    !isWithinLimit(taken.call, amount);
  return {
    text:
      `payment of ${amountWords(amount)} to ${short(payee)}, invoice with ` +
      `payment hash ${short(paymentHash)}`,
    listed: isListed ? [`payee:${payee.toHex()}`] : [],
  };
}

/** 39 and 52: a payment without an invoice. */
export function keysendApproval(
  taken: Taken,
  { destination, paymentHash, amountMsat }: Pick<
    RequestOf<"preapprove_keysend">,
    "destination" | "paymentHash" | "amountMsat"
  >,
): Words | null {
  return isApproving(taken)
    ? {
      text: `keysend of ${msatInSat(amountMsat)} to ${short(destination)}, ` +
        `payment hash ${short(paymentHash)}`,
    }
    : null;
}

/** Whether something is approved that was not approved before. */
function isApproving({ writes }: Taken): boolean {
  return writes.some((write) =>
    write.kind === "payment" && (write.record?.approval ?? null) !== null
  );
}

/** Whether the limit alone let it pass, as it stood before. */
function isWithinLimit({ state, judge }: Call, amount: Msat | null): boolean {
  const { paid } = state.memory.node();
  const none = 0n as Msat; // nothing, in its unit
  return insertVelocity(
    judge.policy.velocity,
    paid,
    BigInt(judge.now),
    amount ?? none,
  ).isWithin;
}
