/**
 * By what right something was signed, in the words of the book.
 *
 * | words | when |
 * | --- | --- |
 * | the rules | they allow it, and nothing else was needed |
 * | the owner, asked: QUESTION | the owner said yes to that question |
 * | --yes | the owner would have been asked, and said yes to everything before |
 * | an approved invoice HASH… | a new HTLC goes out that it covers |
 * | an approved keysend HASH… | the same |
 * | allowlist: ENTRY | money goes where this entry lets it |
 * | a rule that only warns: TAG | a rule is broken that the owner relaxed |
 *
 * More than one may be true of a signature; then all of them stand there.
 *
 * What it does not do: allow anything. The judge has judged already.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import {
  type Allowlist,
  allowsScript,
  parseAllowlistEntry,
} from "../policy/allowlist.ts";
import type { Sha256 } from "../wire/types.ts";
import type { Call } from "./call.ts";
import type { Write } from "./memory.ts";
import { APPROVED_INVOICE, type PaymentRecord } from "./records.ts";
import { isWalletScript } from "./spending.ts";
import type { Ground } from "./state.ts";

/** Grounds of one kind that are named one by one. */
const MOST_NAMED = 4;
/** Longest question that is quoted. */
const MOST_QUOTED = 300;
/** Digits of a payment hash. */
const SHOWN = 10;
/** Letters of an extended key: who has all of it sees all of the wallet. */
const SHOWN_XPUB = 24;

/** Everything that a signature may rest on besides the rules. */
export interface Right {
  readonly grounds: readonly Ground[];
  /** Payments that go out with it for the first time. */
  readonly payments: readonly Sha256[];
  /** Entries of the allowlist. */
  readonly listed: readonly string[];
}

/** The words for it. */
export function allowedBy(
  { state }: Call,
  writes: readonly Write[],
  { grounds, payments, listed }: Right,
): string {
  const found = [
    ...grounds.map(groundWords),
    ...payments.flatMap((hash) =>
      approvalWords(paymentAfter(writes, hash) ?? state.memory.payment(hash))
    ),
    ...listed.map((entry) => `allowlist: ${entry}`),
  ];
  const [first = "the rules", ...others] = new Set(found);
  const rest = others.slice(MOST_NAMED - 1);
  return [
    first,
    ...others.slice(0, MOST_NAMED - 1),
    ...(rest.length === 0 ? [] : [`${rest.length} more`]),
  ].join("; ");
}

function groundWords(ground: Ground): string {
  if (ground.kind === "warning") return `a rule that only warns: ${ground.tag}`;
  if (ground.mode === "always") return "--yes";
  const { question } = ground;
  const isLong = question.length > MOST_QUOTED;
  const quoted = isLong ? `${question.slice(0, MOST_QUOTED)}…` : question;
  return `the owner, asked: ${quoted}`;
}

function paymentAfter(
  writes: readonly Write[],
  hash: Sha256,
): PaymentRecord | null {
  const key = hash.toHex();
  const write = writes.find((each) =>
    each.kind === "payment" && each.hash.toHex() === key
  );
  return write?.kind === "payment" ? write.record : null;
}

/** None for what is forwarded: what comes in covers it, by the rules. */
function approvalWords(payment: PaymentRecord | null): readonly string[] {
  if (payment === null || payment.approval === null) return [];
  const { approval, paymentHash } = payment;
  const kind = approval.kind === APPROVED_INVOICE ? "invoice" : "keysend";
  const hash = paymentHash.toHex().slice(0, SHOWN);
  return [`an approved ${kind} ${hash}…`];
}

/**
 * The entry of the allowlist that lets money go to a script: none where the
 * script is the wallet's own, or where no entry does.
 */
export function listedAs(
  call: Call,
  script: Uint8Array,
  paths: readonly (readonly number[])[],
): readonly string[] {
  const { allowlist } = call.state;
  if (isWalletScript(call, script, paths)) return [];
  const tried = [null, ...paths];
  const isIn = (list: Allowlist) =>
    tried.some((path) => allowsScript(list, script, path));
  if (!isIn(allowlist)) return [];
  if (allowlist.scripts.has(script.toHex())) {
    return [listedScript(call, script)];
  }
  // Entries are kept in order: the nth that is an extended key has the nth key.
  const { xpubs, entries } = allowlist;
  const at = xpubs.findIndex((xpub) => isIn({ ...allowlist, xpubs: [xpub] }));
  const entry = entries.filter((each) => each.startsWith("xpub:"))[at];
  return entry === undefined ? [] : [`${entry.slice(0, SHOWN_XPUB)}…`];
}

function listedScript({ state }: Call, script: Uint8Array): string {
  const { network, allowlist } = state;
  const entry = allowlist.entries.find((text) => {
    const read = parseAllowlistEntry(text, network);
    return read.kind === "script" && isSameBytes(read.script, script);
  });
  return entry ?? `script ${script.toHex()}`;
}
