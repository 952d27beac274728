/**
 * Commitments out of a node's database: which HTLCs are on one, at which
 * feerate, what each side has of it, and the transaction that follows.
 *
 * Core Lightning keeps no HTLC lists of commitments: it keeps for each HTLC, and
 * for each feerate, how far it has come (`common/htlc_state.h`). From that
 * follow three commitments:
 *
 * | view | whose | number |
 * | --- | --- | --- |
 * | ours | ours | the last that the peer signed |
 * | theirs | the peer's | the last that we signed |
 * | before | the peer's | the one before, as long as it is not revoked |
 *
 * The balance in the database counts an HTLC only when it is over and done: what
 * is under way is taken from who offered it (`channeld/full_channel.c`).
 *
 * Standards: BOLT 2 ("Normal Operation"), BOLT 3 ("Commitment Transaction").
 *
 * What it does not do: compare with what the database has signatures for
 * (`build.ts`).
 *
 * @module
 */

import { txidOf } from "../../bitcoin/tx.ts";
import {
  ANCHOR_AMOUNT,
  buildCommitment,
  type Commitment,
  type CommitmentKeys,
  type CommitmentTerms,
} from "../../lightning/commitment.ts";
import { commitmentFee, isTrimmed } from "../../lightning/weight.ts";
import type { CommitmentRecord } from "../../signer/records.ts";
import {
  type HsmHtlc,
  type Msat,
  type Sat,
  SIDE_LOCAL,
} from "../../wire/types.ts";

/** One of the three commitments that the database tells of. */
export type View = "ours" | "theirs" | "before";

/** Not yet on a commitment, on it, or taken off it. */
type Presence = "not" | "here" | "gone";

type StateRow = Readonly<Record<View, Presence>> & { readonly name: string };

const row = (
  name: string,
  ours: Presence,
  theirs: Presence,
  before: Presence,
): StateRow => ({ name, ours, theirs, before });

/** CLN, enum htlc_state: the numbers of the database are the indexes. */
export const HTLC_STATES: readonly StateRow[] = [
  row("SENT_ADD_HTLC", "not", "not", "not"),
  row("SENT_ADD_COMMIT", "not", "here", "not"),
  row("RCVD_ADD_REVOCATION", "not", "here", "here"),
  row("RCVD_ADD_ACK_COMMIT", "here", "here", "here"),
  row("SENT_ADD_ACK_REVOCATION", "here", "here", "here"),
  row("RCVD_REMOVE_HTLC", "here", "here", "here"),
  row("RCVD_REMOVE_COMMIT", "gone", "here", "here"),
  row("SENT_REMOVE_REVOCATION", "gone", "here", "here"),
  row("SENT_REMOVE_ACK_COMMIT", "gone", "gone", "here"),
  row("RCVD_REMOVE_ACK_REVOCATION", "gone", "gone", "gone"),
  row("RCVD_ADD_HTLC", "not", "not", "not"),
  row("RCVD_ADD_COMMIT", "here", "not", "not"),
  row("SENT_ADD_REVOCATION", "here", "not", "not"),
  row("SENT_ADD_ACK_COMMIT", "here", "here", "not"),
  row("RCVD_ADD_ACK_REVOCATION", "here", "here", "here"),
  row("SENT_REMOVE_HTLC", "here", "here", "here"),
  row("SENT_REMOVE_COMMIT", "here", "gone", "here"),
  row("RCVD_REMOVE_REVOCATION", "here", "gone", "gone"),
  row("RCVD_REMOVE_ACK_COMMIT", "gone", "gone", "gone"),
  row("SENT_REMOVE_ACK_REVOCATION", "gone", "gone", "gone"),
];

/** Both ends of an HTLC's life: such a one is in the balance. */
export const OVER: readonly number[] = [9, 19];

const presenceOf = (state: number, view: View): Presence =>
  HTLC_STATES[state]?.[view] ?? "not";

/** An HTLC of the database. */
export interface DbHtlc extends HsmHtlc {
  readonly state: number;
  /** Whether its preimage is known. */
  readonly isFulfilled: boolean;
}

/** A feerate, which comes to both sides as an HTLC of the opener's does. */
export interface DbFeerate {
  readonly state: number;
  readonly feerate: number;
}

/** What each side has, in millisatoshi. */
export interface Balance {
  readonly ours: bigint;
  readonly theirs: bigint;
}

/** The HTLCs on a commitment, dust included. */
export function htlcsIn(
  view: View,
  htlcs: readonly DbHtlc[],
): readonly DbHtlc[] {
  return htlcs.filter(({ state }) => presenceOf(state, view) === "here");
}

/** What is left for each side beside the HTLCs of a commitment. */
export function balanceIn(
  view: View,
  start: Balance,
  htlcs: readonly DbHtlc[],
): Balance {
  let { ours, theirs } = start;
  for (const { state, side, amount, isFulfilled } of htlcs) {
    const presence = presenceOf(state, view);
    const isTaken = presence === "here" || presence === "gone" && isFulfilled;
    const given = presence === "gone" && isFulfilled ? amount : 0n;
    if (!isTaken) continue;
    if (side === SIDE_LOCAL) [ours, theirs] = [ours - amount, theirs + given];
    else [ours, theirs] = [ours + given, theirs - amount];
  }
  return { ours, theirs };
}

/** The feerate of a commitment; null when the database has none for it. */
export function feerateIn(
  view: View,
  feerates: readonly DbFeerate[],
): number | null {
  const [first] = feerates
    .filter(({ state }) => presenceOf(state, view) === "here")
    .toSorted((a, b) => a.state - b.state);
  return first?.feerate ?? null;
}

/** What one commitment follows from. */
export interface Draft {
  readonly view: View;
  readonly number: bigint;
  readonly isOutbound: boolean;
  readonly terms: CommitmentTerms;
  readonly keys: CommitmentKeys;
  /** What the broadcaster announced. */
  readonly dustLimit: Sat;
  readonly value: Sat;
  readonly feerate: number;
  readonly balance: Balance;
  readonly htlcs: readonly DbHtlc[];
}

/** A commitment, as it is signed and as it is remembered. */
export interface Rebuilt {
  readonly built: Commitment;
  readonly record: CommitmentRecord;
}

/** BOLT 3, from balances to outputs: trims, takes the fee off, builds. */
export function rebuild(draft: Draft): Rebuilt {
  const { terms, keys, view, number, feerate, dustLimit, value } = draft;
  const isOurs = view === "ours";
  const { hasAnchors } = terms;
  const isOffered = ({ side }: HsmHtlc) => (side === SIDE_LOCAL) === isOurs;
  const htlcs = draft.htlcs.filter((htlc) =>
    !isTrimmed(
      htlc.amount,
      { isOffered: isOffered(htlc), feerate, hasAnchors },
      dustLimit,
    )
  );
  const { toUs, toThem } = outputsOf(draft, htlcs.length);
  const built = buildCommitment(terms, keys, {
    number,
    toBroadcaster: isOurs ? toUs : toThem,
    toCountersigner: isOurs ? toThem : toUs,
    htlcs: htlcs.map((htlc) => ({ ...htlc, isOffered: isOffered(htlc) })),
  });
  const spent = built.tx.outputs.reduce((sum, { amount }) => sum + amount, 0n);
  return {
    built,
    record: {
      funding: terms.funding,
      txid: txidOf(built.tx),
      feerate,
      toUs,
      toThem,
      fee: sat(value - spent),
      htlcs: htlcs.map(({ side, amount, paymentHash, cltvExpiry }) => (
        { side, amount, paymentHash, cltvExpiry }
      )),
    },
  };
}

/** The two balances as they stand in outputs: who opened pays for all of it. */
function outputsOf(draft: Draft, untrimmed: number) {
  const { balance, isOutbound, feerate, terms, dustLimit } = draft;
  const { hasAnchors } = terms;
  const cost = 1000n * (
    commitmentFee(feerate, untrimmed, hasAnchors) +
    (hasAnchors ? 2n * ANCHOR_AMOUNT : 0n)
  );
  const { ours, theirs } = balance;
  return {
    toUs: outputOf(isOutbound ? ours - cost : ours, dustLimit),
    toThem: outputOf(isOutbound ? theirs : theirs - cost, dustLimit),
  };
}

/** Zero for what is too little for an output. */
function outputOf(amount: bigint, dustLimit: Sat): Sat {
  return amount >= dustLimit * 1000n ? sat(amount / 1000n) : sat(0n);
}

/** An amount that is known to be one of satoshi. */
// A sum, a difference or a part of amounts is one.
export const sat = (amount: bigint): Sat => amount as Sat;
/** An amount that is known to be one of millisatoshi. */
// The same, in the other unit.
export const msat = (amount: bigint): Msat => amount as Msat;
