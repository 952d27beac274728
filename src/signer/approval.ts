/**
 * Payments that the node announces before it makes them: approved within the
 * owner's limits, or by the owner.
 *
 * ```
 *   invoice valid? --- no ---> owner consents to pay without one? -- no --> refused
 *      | yes                          | yes
 *      v                              |
 *   within the velocity limit, or     |
 *   its payee is on the allowlist? ---|--- no --> owner consents? -- no --> refused
 *      | yes                          |                | yes
 *      '------------> approved, remembered by payment hash
 * ```
 *
 * An approval counts once for a payment hash, however often it is asked for.
 *
 * Standards: BOLT 11, BOLT 12; VLS, approval of invoices and keysends.
 *
 * What it does not do: let anything out. That is decided when a commitment
 * carries the HTLC (`tracking.ts`).
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import { ConsentNeeded, DecodeError, describeError } from "../errors.ts";
import { decodeInvoice, type Invoice } from "../lightning/invoice.ts";
import { allowsPayee } from "../policy/allowlist.ts";
import { type ConsentKind, isConsented } from "../policy/consent.ts";
import { inSat, msat } from "../policy/payments.ts";
import { insertVelocity } from "../policy/velocity.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import type { Msat, Sat, Sha256 } from "../wire/types.ts";
import { type Call, logLine, refuseState } from "./call.ts";
import { freshPayment, type Write } from "./memory.ts";
import {
  type ApprovalRecord,
  APPROVED_INVOICE,
  APPROVED_KEYSEND,
  type NodeRecord,
  type PaymentRecord,
} from "./records.ts";
import type { Answer } from "./state.ts";

/** VLS: clocks may differ by this much, in seconds. */
const CLOCK_SKEW = 60;
/** VLS: how long an approved keysend counts, in seconds. */
const KEYSEND_LIFE = 60n;
/** VLS: approvals are kept for a day after they expired, in seconds. */
const KEPT = 86_400n;
/** Payments up to this may have no output in a commitment, in satoshi. */
const SMALL: Sat = 20_000n as Sat;

/** What is to be approved. */
interface Wish {
  readonly paymentHash: Sha256;
  readonly approval: ApprovalRecord;
  /** In words, for the owner. */
  readonly what: string;
  readonly isFromFriend: boolean;
}

/** 38 and 51: may this invoice be paid? */
export function answerPreapproveInvoice(
  call: Call,
  { invstring, checkOnly = false }: {
    readonly invstring: Uint8Array;
    readonly checkOnly?: boolean;
  },
): Answer {
  const effects = [checkOnlyLine("preapprove_invoice", checkOnly)];
  const reply = encodeMessage(REPLIES.preapprove_invoice_reply, {
    approved: !call.state.switches.failPreapprove,
  });
  if (call.state.switches.failPreapprove) return { reply, effects };
  const invoice = readInvoice(call, invstring);
  // The owner pays for anything: there is no payment hash to remember it by.
  if (invoice === null) return { reply, effects };
  const writes = approve(call, invoiceWish(call, invoice), checkOnly);
  return { reply, effects, writes: checkOnly ? [] : writes };
}

/** The invoice; null for what is none and may be paid nevertheless. */
function readInvoice(
  { state }: Call,
  invstring: Uint8Array,
): Invoice | null {
  try {
    return decodeInvoice(invstring, state.network);
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
    const isAllowed = isConsented(
      state.consent,
      "payment_without_invoice",
      `payment_without_invoice/${sha256(invstring).toHex()}`,
      () => "what the node calls an invoice, and cannot be read as one",
    );
    return isAllowed ? null : refuseState(describeError(error));
  }
}

/** 39 and 52: may this be paid without an invoice? */
export function answerPreapproveKeysend(
  call: Call,
  { destination, paymentHash, amountMsat, checkOnly = false }:
    & Pick<
      RequestOf<"preapprove_keysend">,
      "destination" | "paymentHash" | "amountMsat"
    >
    & { readonly checkOnly?: boolean },
): Answer {
  const effects = [checkOnlyLine("preapprove_keysend", checkOnly)];
  const reply = encodeMessage(REPLIES.preapprove_keysend_reply, {
    approved: !call.state.switches.failPreapprove,
  });
  if (call.state.switches.failPreapprove) return { reply, effects };
  const writes = approve(call, {
    paymentHash,
    approval: {
      kind: APPROVED_KEYSEND,
      amount: amountMsat,
      invoiceHash: paymentHash,
      expiresAt: BigInt(call.judge.now) + KEYSEND_LIFE,
    },
    what: `${inSat(amountMsat)} to ${destination.toHex()} without an invoice`,
    // Nobody proved that the payment goes where the node says.
    isFromFriend: false,
  }, checkOnly);
  return { reply, effects, writes: checkOnly ? [] : writes };
}

/** Core Lightning's tests wait for this line. */
function checkOnlyLine(name: string, checkOnly: boolean) {
  return logLine("debug", `${name}: check_only=${checkOnly ? 1 : 0}`);
}

function invoiceWish(call: Call, invoice: Invoice): Wish {
  const { paymentHash, amount, payee, invoiceHash, expiresAt } = invoice;
  const what = amount === null
    ? `an invoice of ${payee.toHex()} for any amount`
    : `${inSat(amount)} to ${payee.toHex()}`;
  checkTimes(call, invoice, what);
  return {
    paymentHash,
    approval: { kind: APPROVED_INVOICE, amount, invoiceHash, expiresAt },
    what,
    isFromFriend: allowsPayee(call.state.allowlist, payee),
  };
}

/** An invoice out of its time is none: only the owner can want it paid. */
function checkTimes(
  { judge, state }: Call,
  { createdAt, expiresAt, paymentHash }: Invoice,
  what: string,
): void {
  const now = BigInt(judge.now);
  const isYoung = now + BigInt(CLOCK_SKEW) >= createdAt;
  const isValid = isYoung && now <= expiresAt;
  const hash = paymentHash.toHex();
  judge.require(
    "policy-invoice-not-expired",
    isValid || isConsented(
      state.consent,
      "payment_without_invoice",
      `payment_without_invoice/${hash}`,
      () => `${what}, on an invoice that is not valid now`,
    ),
    () =>
      isYoung
        ? `invoice expired ${now - expiresAt} s ago`
        : `invoice starts in ${createdAt - now} s`,
  );
}

/** What to remember so that the payment may go out. */
function approve(
  call: Call,
  wish: Wish,
  checkOnly: boolean,
): readonly Write[] {
  const { state, judge } = call;
  const { paymentHash: hash, approval } = wish;
  const known = state.memory.payment(hash);
  if (known !== null && known.approval !== null) {
    const isSame = known.approval.invoiceHash.toHex() ===
        approval.invoiceHash.toHex() &&
      known.approval.amount === approval.amount;
    judge.require(
      "policy-invoice-reuse",
      isSame,
      () => `payment ${hash.toHex()} is approved for another invoice`,
    );
    return [];
  }
  const node = chargeVelocity(call, wish, checkOnly);
  const pruned = prune(call);
  checkCount(call, pruned.length);
  const record: PaymentRecord = {
    ...known ?? freshPayment(hash),
    approval,
  };
  return [
    ...pruned,
    { kind: "payment", hash, record },
    { kind: "node", record: withCredit(call, node, approval.amount) },
  ];
}

/** Counts the amount; over the limit the owner is asked. */
function chargeVelocity(
  { state, judge }: Call,
  { approval, paymentHash, what, isFromFriend }: Wish,
  checkOnly: boolean,
): NodeRecord {
  const node = state.memory.node();
  const { state: paid, isWithin } = insertVelocity(
    judge.policy.velocity,
    node.paid,
    BigInt(judge.now),
    approval.amount ?? msat(0n),
  );
  judge.require(
    "policy-commitment-payment-velocity",
    isWithin || isFromFriend || isAllowed(
      { state, judge },
      "payment_over_limit",
      `payment_over_limit/${paymentHash.toHex()}`,
      what,
      checkOnly,
    ),
    () => `${what} is over the limit`,
  );
  return { ...node, paid };
}

/** Consent; a question that is only a check is not put to the owner yet. */
function isAllowed(
  { state }: Pick<Call, "state" | "judge">,
  kind: ConsentKind,
  key: string,
  what: string,
  checkOnly: boolean,
): boolean {
  try {
    return isConsented(state.consent, kind, key, () => what);
  } catch (error) {
    if (checkOnly && error instanceof ConsentNeeded) return true;
    throw error;
  }
}

/** Approvals that are long over and have nothing under way. */
function prune({ state, judge }: Call): readonly Write[] {
  const { memory } = state;
  if (memory.approvalCount < judge.policy.maxInvoices / 2) return [];
  const now = BigInt(judge.now);
  return [...memory.payments()].flatMap((record): Write[] => {
    const { approval, incoming, outgoing, paymentHash: hash } = record;
    const isOver = approval !== null && approval.expiresAt + KEPT < now &&
      incoming.length === 0 && outgoing.length === 0;
    return isOver ? [{ kind: "payment", hash, record: null }] : [];
  });
}

function checkCount({ state, judge }: Call, pruned: number): void {
  const count = state.memory.approvalCount - pruned;
  const { maxInvoices } = judge.policy;
  judge.require(
    "policy-invoice-count-limit",
    count < maxInvoices,
    () => `${count} approved payments, want ${maxInvoices} or fewer`,
  );
}

/** A small payment may go out as dust, which no HTLC explains. */
function withCredit(
  { judge }: Call,
  node: NodeRecord,
  amount: Msat | null,
): NodeRecord {
  if (amount === null || amount > SMALL * 1000n) return node;
  const { maxUnpaidLossSat } = judge.policy;
  const credit = node.credit + (amount + 999n) / 1000n;
  return {
    ...node,
    // A sum of satoshi, or a limit in satoshi.
    credit: (credit < maxUnpaidLossSat ? credit : maxUnpaidLossSat) as Sat,
  };
}
