/**
 * Invoices of both kinds, as the node hands them over before it pays
 * (preapprove_invoice) or signs one of its own (sign_invoice).
 *
 * What a node sends is what its owner typed, in lower case and without
 * `lightning:`, or a BOLT 12 invoice that it fetched. Offers never come.
 *
 * Standards: BOLT 11, BOLT 12.
 *
 * What it does not do: carry a description, so that no log can have one; say
 * whether an invoice has expired or should be paid.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import { DecodeError } from "../errors.ts";
import { type Bolt11Invoice, decodeBolt11 } from "./bolt11.ts";
import { type Bolt12Invoice, decodeBolt12, isBolt12 } from "./bolt12.ts";

export { decodeUnsignedInvoice, type UnsignedInvoice } from "./bolt11.ts";

/** An invoice whose signature holds. */
export type Invoice = Bolt11Invoice | Bolt12Invoice;

const SCHEME = /^lightning:/i;
/** Far more than any invoice has; a frame of the node may have more still. */
const MAX_LETTERS = 0xffff;

/**
 * Reads an invoice of this network and checks its payee's signature.
 *
 * @throws {DecodeError} for any other text or bytes.
 */
export function decodeInvoice(
  text: string | Uint8Array,
  network: Network,
): Invoice {
  if (text.length > MAX_LETTERS) {
    const problem = `${text.length} letters, want ${MAX_LETTERS} or fewer`;
    throw new DecodeError("invoice", "", 0, problem);
  }
  const whole = typeof text === "string" ? text : toText(text);
  const bare = whole.replace(SCHEME, "");
  return isBolt12(bare)
    ? decodeBolt12(bare, network)
    : decodeBolt11(bare, network);
}

/** What is not UTF-8 becomes a letter that no invoice has. */
function toText(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}
