/**
 * What the chain has done to one channel.
 *
 * ```
 *   funding signed --> funded --> closed --> outputs spent --> forgotten
 *         \__ an input spent by another transaction (double spend)
 * ```
 *
 * The tracker finds transactions; this says what they mean. All that is
 * remembered is a list of events, each with the height at which it happened, so
 * that a reorg is undone by dropping what happened above it. Everything else
 * follows from the events and from the {@link ChannelFacts} that the channel's
 * record gives.
 *
 * | the funding output is spent by | closing |
 * | --- | --- |
 * | a close that we signed | mutual |
 * | a transaction that makes the channel's next output | splice |
 * | a commitment on record, or one with the mark and a number | commitment |
 * | anything else | unknown: our key has signed what we do not know |
 *
 * A commitment with the mark that is not on record is taken for theirs: an old
 * one of ours can be broadcast by nobody but us. Its outputs are not known apart,
 * so all but the anchors count as to be taken.
 *
 * The number of events is bounded by the outputs of a channel's last
 * transactions. What it does not do: follow what becomes of outputs of a revoked
 * commitment after they were spent once; sign, or ask anybody to.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import type { Tx } from "../bitcoin/tx.ts";
import {
  type Findings,
  type FoundTx,
  outpointKey,
  type Watches,
} from "../bitcoin/txo_proof.ts";
import { ANCHOR_AMOUNT, commitmentNumberOf } from "../lightning/commitment.ts";
import {
  type HsmHtlc,
  type Outpoint,
  SIDE_LOCAL,
  type Txid,
} from "../wire/types.ts";

/** How deep an end must be buried before a channel may be forgotten, as in VLS. */
export const FORGET_DEPTH = 100;

/** What an output of a commitment is to us. */
export type OutputRole =
  | { readonly kind: "ours" }
  | { readonly kind: "theirs" }
  | { readonly kind: "anchor" }
  /** Of a commitment that is not on record: nobody knows. */
  | { readonly kind: "any" }
  /** What our HTLC transaction pays, until its delay is over. */
  | { readonly kind: "second_level" }
  | {
    readonly kind: "htlc";
    readonly htlc: HsmHtlc;
    /** Output script of our HTLC transaction; null on their commitment. */
    readonly secondLevel: Uint8Array | null;
  };

/** A commitment transaction on record. */
export interface KnownCommitment {
  readonly txid: Txid;
  readonly isOurs: boolean;
  readonly number: bigint;
  /** One an output. */
  readonly outputs: readonly OutputRole[];
}

/** An output that is, was, or may become the channel's. */
export interface FundingFacts {
  readonly outpoint: Outpoint;
  /** What its transaction spends, where we know: ours, or all of a splice. */
  readonly inputs: readonly Outpoint[];
}

/** What the signer's own records say of a channel. */
export interface ChannelFacts {
  readonly fundings: readonly FundingFacts[];
  /** Mutual closes that we signed. */
  readonly closes: readonly Txid[];
  readonly known: readonly KnownCommitment[];
  /** BOLT 3: hides commitment numbers. */
  readonly obscurer: bigint;
  /** Scripts that pay us alone on commitments of theirs that are not on record. */
  readonly toUs?: readonly Uint8Array[];
  /** Theirs below this number are revoked. */
  readonly revoked: bigint;
  /** HTLCs of our last commitment. */
  readonly htlcs: readonly HsmHtlc[];
  /** Keys of outputs for which we signed a claim, a penalty or a sweep. */
  readonly claimed: ReadonlySet<string>;
  /** Whether the node said that it will ask for this channel no more. */
  readonly isForgotten: boolean;
}

/** How a funding output was spent. */
export type Closing =
  | { readonly kind: "mutual" }
  | { readonly kind: "splice" }
  | { readonly kind: "unknown" }
  | {
    readonly kind: "commitment";
    readonly isOurs: boolean;
    readonly number: bigint;
    readonly isRevoked: boolean;
    /** Whether it is on record, so that its outputs are known apart. */
    readonly isKnown: boolean;
  };

/** An output that is waited for to be spent. */
export interface OpenOutput {
  /** Its key, see `outpointKey`. */
  readonly key: string;
  readonly role: OutputRole;
}

/** What happened in a block. */
export type ChannelEvent =
  | {
    readonly kind: "funded";
    readonly height: number;
    readonly funding: string;
  }
  | {
    readonly kind: "double_spent";
    readonly height: number;
    readonly funding: string;
    readonly txid: Txid;
  }
  | {
    readonly kind: "closed";
    readonly height: number;
    readonly funding: string;
    readonly txid: Txid;
    readonly closing: Closing;
    readonly outputs: readonly OpenOutput[];
  }
  | {
    readonly kind: "spent";
    readonly height: number;
    readonly key: string;
    readonly txid: Txid;
    readonly outputs: readonly OpenOutput[];
  };

type ClosedEvent = Extract<ChannelEvent, { kind: "closed" }>;

/** What is remembered of a channel's life on the chain. */
export interface MonitorState {
  readonly events: readonly ChannelEvent[];
}

// --------------------------------------------------------------------- watching

/** What blocks must be searched for. */
export function watchesOf(
  state: MonitorState,
  facts: ChannelFacts,
): Watches {
  const { fundings } = facts;
  return {
    txids: new Set(fundings.map(({ outpoint }) => outpoint.txid.toHex())),
    outpoints: new Set([
      ...fundings.map(({ outpoint }) => outpointKey(outpoint)),
      ...fundings.flatMap(({ inputs }) => inputs.map(outpointKey)),
      ...openOutputs(state).map(({ key }) => key),
    ]),
  };
}

/** Outputs that may be spent in the very block that makes them: all of them. */
export function followOutputs({ tx, txid }: FoundTx): string[] {
  return tx.outputs.map((_, index) => outpointKey({ txid, index }));
}

/** Outputs of closing transactions that nobody has spent yet. */
export function openOutputs({ events }: MonitorState): readonly OpenOutput[] {
  const spent = new Set(
    events.flatMap((event) => event.kind === "spent" ? [event.key] : []),
  );
  return events.flatMap((event) => "outputs" in event ? event.outputs : [])
    .filter(({ key }) => !spent.has(key));
}

// ---------------------------------------------------------------------- events

/** Takes in what a block did. Blocks come in order, each once. */
export function takeBlock(
  state: MonitorState,
  facts: ChannelFacts,
  { height, findings }: {
    readonly height: number;
    readonly findings: Findings;
  },
): MonitorState {
  return findings.found.reduce(
    (now, { tx, txid }) => takeTx(now, facts, { height, tx, txid }),
    state,
  );
}

/** Takes back what a block did, and all above it. */
export function dropBlock(state: MonitorState, height: number): MonitorState {
  return { events: state.events.filter((event) => event.height < height) };
}

interface Mined {
  readonly height: number;
  readonly tx: Tx;
  readonly txid: Txid;
}

function takeTx(
  state: MonitorState,
  facts: ChannelFacts,
  mined: Mined,
): MonitorState {
  const { tx, txid, height } = mined;
  const funded: ChannelEvent[] = facts.fundings
    .filter(({ outpoint }) => isSameBytes(outpoint.txid, txid))
    .map(({ outpoint }) => ({
      kind: "funded",
      height,
      funding: outpointKey(outpoint),
    }));
  return tx.inputs.map(outpointKey).reduce(
    (now, key) => ({
      events: [...now.events, ...spendOf(now, facts, { ...mined, key })],
    }),
    { events: [...state.events, ...funded] },
  );
}

/** What it means that a transaction spends an output. */
function spendOf(
  state: MonitorState,
  facts: ChannelFacts,
  spend: Mined & { readonly key: string },
): ChannelEvent[] {
  const { key, height, txid } = spend;
  const doubles: ChannelEvent[] = facts.fundings
    .filter(({ outpoint, inputs }) =>
      !isSameBytes(outpoint.txid, txid) &&
      inputs.some((input) => outpointKey(input) === key)
    )
    .map(({ outpoint }) => ({
      kind: "double_spent",
      height,
      funding: outpointKey(outpoint),
      txid,
    }));
  const isFunding = facts.fundings
    .some(({ outpoint }) => outpointKey(outpoint) === key);
  if (isFunding) return [...doubles, closedBy(facts, spend)];
  const open = openOutputs(state).find((output) => output.key === key);
  if (open === undefined) return doubles;
  const outputs = secondLevelOf(open.role, spend);
  return [...doubles, { kind: "spent", height, key, txid, outputs }];
}

function closedBy(
  facts: ChannelFacts,
  { tx, txid, height, key }: Mined & { readonly key: string },
): ClosedEvent {
  const known = facts.known.find((one) => isSameBytes(one.txid, txid));
  const closing = classify(facts, { tx, txid }, known);
  const roles = known?.outputs ?? rolesOf(facts, tx);
  const outputs = closing.kind !== "commitment" ? [] : roles
    .map((role, index) => ({ key: outpointKey({ txid, index }), role }))
    .filter(({ role }) => isWanted(role, closing.isRevoked));
  return { kind: "closed", height, funding: key, txid, closing, outputs };
}

/** Outputs of a commitment that is not on record: what can be told of them. */
function rolesOf({ toUs = [] }: ChannelFacts, { outputs }: Tx): OutputRole[] {
  return outputs.map(({ amount, script }) => {
    if (toUs.some((ours) => isSameBytes(ours, script))) return { kind: "ours" };
    return { kind: amount === ANCHOR_AMOUNT ? "anchor" : "any" };
  });
}

/** Outputs that we want to see spent before the channel is over. */
function isWanted({ kind }: OutputRole, isRevoked: boolean): boolean {
  return kind !== "anchor" && (kind !== "theirs" || isRevoked);
}

function classify(
  facts: ChannelFacts,
  { tx, txid }: { readonly tx: Tx; readonly txid: Txid },
  known: KnownCommitment | undefined,
): Closing {
  const { closes, fundings, obscurer, revoked } = facts;
  if (closes.some((close) => isSameBytes(close, txid))) {
    return { kind: "mutual" };
  }
  if (fundings.some(({ outpoint }) => isSameBytes(outpoint.txid, txid))) {
    return { kind: "splice" };
  }
  const number = known?.number ?? commitmentNumberOf(tx, obscurer);
  if (number === null) return { kind: "unknown" };
  const isOurs = known?.isOurs ?? false;
  return {
    kind: "commitment",
    isOurs,
    number,
    isRevoked: !isOurs && number < revoked,
    isKnown: known !== undefined,
  };
}

/** Outputs of our HTLC transaction: ours too, when their delay is over. */
function secondLevelOf(
  role: OutputRole,
  { tx, txid }: { readonly tx: Tx; readonly txid: Txid },
): OpenOutput[] {
  const script = role.kind === "htlc" ? role.secondLevel : null;
  if (script === null) return [];
  return tx.outputs.flatMap((output, index): OpenOutput[] =>
    isSameBytes(output.script, script)
      ? [{ key: outpointKey({ txid, index }), role: { kind: "second_level" } }]
      : []
  );
}

// ------------------------------------------------------------------ conclusions

/** The height at which a funding transaction confirmed; null for not yet. */
export function fundingHeight(
  { events }: MonitorState,
  outpoint: Outpoint,
): number | null {
  const key = outpointKey(outpoint);
  const funded = events.find((event) =>
    event.kind === "funded" && event.funding === key
  );
  return funded?.height ?? null;
}

/** The height at which a funding became impossible; null for not. */
export function doubleSpendHeight(
  { events }: MonitorState,
  outpoint: Outpoint,
): number | null {
  const key = outpointKey(outpoint);
  const spent = events.find((event) =>
    event.kind === "double_spent" && event.funding === key
  );
  return spent?.height ?? null;
}

/** How the channel ended; null while it goes on, as it does after a splice. */
export function endOf({ events }: MonitorState): ClosedEvent | null {
  return events.find((event): event is ClosedEvent =>
    event.kind === "closed" && event.closing.kind !== "splice"
  ) ?? null;
}

/**
 * Whether nothing on the chain can concern this channel any more: the node is
 * done with it, and its end is buried.
 *
 * `height` is the tip's. Ends are a mutual close, a commitment whose outputs
 * that concern us are all spent, or a double spend of every funding.
 */
export function mayForget(
  state: MonitorState,
  facts: ChannelFacts,
  height: number,
): boolean {
  const over = overSince(state, facts);
  return facts.isForgotten && over !== null &&
    height + 1 - over >= FORGET_DEPTH;
}

/** The height at which the last thing happened that could; null for not yet. */
function overSince(state: MonitorState, facts: ChannelFacts): number | null {
  const end = endOf(state);
  if (end === null) return doubleSpentSince(state, facts);
  if (end.closing.kind === "unknown" || openOutputs(state).length > 0) {
    return null;
  }
  const spent = state.events.filter(({ kind }) => kind === "spent");
  return Math.max(end.height, ...spent.map((event) => event.height));
}

function doubleSpentSince(
  state: MonitorState,
  { fundings }: ChannelFacts,
): number | null {
  const heights = fundings.map(({ outpoint }) =>
    doubleSpendHeight(state, outpoint)
  );
  const known = heights.filter((height) => height !== null);
  const isAll = known.length > 0 && known.length === heights.length;
  return isAll ? Math.max(...known) : null;
}

// ----------------------------------------------------------------------- alarms

/** What the owner has to hear of. */
export type Alarm =
  | {
    readonly kind: "revoked_commitment";
    readonly txid: Txid;
    readonly number: bigint;
    /** Outputs for which no penalty was asked of us. */
    readonly unclaimed: number;
  }
  | { readonly kind: "unknown_spend"; readonly txid: Txid }
  | { readonly kind: "double_spend"; readonly txid: Txid }
  | {
    readonly kind: "htlc_deadline";
    readonly htlc: HsmHtlc;
    /** Blocks until it expires; negative when it has. */
    readonly blocksLeft: number;
  };

/** When to warn of HTLCs, in blocks. */
export interface AlarmMargins {
  /** Before one that came in expires: from then on the peer can take it back. */
  readonly received: number;
  /** After one that went out expired: it should have been taken back. */
  readonly offered: number;
}

/** What is wrong at this height (of deadlines: the highest ever seen). */
export function alarmsOf(
  state: MonitorState,
  facts: ChannelFacts,
  { height, margins }: {
    readonly height: number;
    readonly margins: AlarmMargins;
  },
): readonly Alarm[] {
  return [
    ...state.events.flatMap((event) => alarmOf(state, facts, event)),
    ...pendingHtlcs(state, facts)
      .map((htlc): Alarm & { kind: "htlc_deadline" } => ({
        kind: "htlc_deadline",
        htlc,
        blocksLeft: htlc.cltvExpiry - height,
      }))
      .filter(({ htlc, blocksLeft }) =>
        htlc.side === SIDE_LOCAL
          ? blocksLeft <= -margins.offered
          : blocksLeft <= margins.received
      ),
  ];
}

function alarmOf(
  state: MonitorState,
  facts: ChannelFacts,
  event: ChannelEvent,
): Alarm[] {
  if (event.kind === "double_spent") {
    return isOwnTx(state, facts, event.txid)
      ? []
      : [{ kind: "double_spend", txid: event.txid }];
  }
  if (event.kind !== "closed") return [];
  const { txid, closing, outputs } = event;
  if (closing.kind === "unknown") return [{ kind: "unknown_spend", txid }];
  if (closing.kind !== "commitment" || !closing.isRevoked) return [];
  const mine = new Set(outputs.map(({ key }) => key));
  // What pays us needs no penalty.
  const open = openOutputs(state)
    .filter(({ key, role }) => mine.has(key) && role.kind !== "ours");
  if (open.length === 0) return [];
  const unclaimed = open.filter(({ key }) => !facts.claimed.has(key)).length;
  const { number } = closing;
  return [{ kind: "revoked_commitment", txid, number, unclaimed }];
}

/** One that replaces another of the channel's, or ends the channel. */
function isOwnTx(
  { events }: MonitorState,
  { fundings }: ChannelFacts,
  txid: Txid,
): boolean {
  return fundings.some(({ outpoint }) => isSameBytes(outpoint.txid, txid)) ||
    events.some((event) =>
      event.kind === "closed" && isSameBytes(event.txid, txid)
    );
}

/** HTLCs that nothing was done about: of the commitment, or of its outputs. */
function pendingHtlcs(
  state: MonitorState,
  facts: ChannelFacts,
): readonly HsmHtlc[] {
  if (endOf(state) === null) return facts.htlcs;
  return openOutputs(state).flatMap(({ key, role }) =>
    role.kind === "htlc" && !facts.claimed.has(key) ? [role.htlc] : []
  );
}
