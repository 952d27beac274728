/**
 * Commitment transactions, built from terms, keys and balances.
 *
 * The signer does not look for mistakes in a commitment that it is shown: it
 * builds the only right one and compares bytes. Version, locktime, sequence,
 * scripts, anchors and order all follow from what goes in here.
 *
 * Words are those of BOLT 3, seen from the transaction: the broadcaster is the
 * side that can publish it (BOLT 3's "local"), the countersigner the other.
 *
 * Standards: BOLT 3 ("Commitment Transaction", "Commitment Transaction
 * Construction", "Transaction Output Ordering"; vectors in appendices C and F).
 *
 * What it does not do: subtract fees or trim outputs. Balances come in as they
 * stand in the outputs, and the HTLCs are those that have one.
 *
 * @module
 */

import { p2wpkh, p2wsh, toRemoteWithAnchors } from "../bitcoin/script.ts";
import type { Tx, TxInput, TxOutput } from "../bitcoin/tx.ts";
import { sha256 } from "../crypto/hash.ts";
import type { Msat, Outpoint, PubKey, Sat, Sha256 } from "../wire/types.ts";
import {
  anchorScript,
  compareOutputs,
  htlcScripts,
  toLocalScript,
} from "./scripts.ts";

/** Keys of one commitment; may be getters: only what is needed is read. */
export interface CommitmentKeys {
  readonly revocation: PubKey;
  readonly delayed: PubKey;
  readonly broadcasterHtlc: PubKey;
  readonly countersignerHtlc: PubKey;
  /** The countersigner's payment basepoint (option_static_remotekey). */
  readonly toRemote: PubKey;
  readonly broadcasterFunding: PubKey;
  readonly countersignerFunding: PubKey;
}

/** What all commitments of one side on one funding output have in common. */
export interface CommitmentTerms {
  readonly funding: Outpoint;
  readonly hasAnchors: boolean;
  /** Delays the broadcaster's outputs: what the countersigner announced. */
  readonly toSelfDelay: number;
  /** Delays to_remote with anchors: 1, more while a lease runs. */
  readonly toRemoteCsv?: number;
  /** 48 bits; see {@link obscuringFactor}. */
  readonly obscurer: bigint;
}

/** An HTLC that has an output. */
export interface CommitmentHtlc {
  /** By the broadcaster. */
  readonly isOffered: boolean;
  readonly amount: Msat;
  readonly paymentHash: Sha256;
  readonly cltvExpiry: number;
}

/** What differs from one commitment to the next. */
export interface CommitmentContent {
  readonly number: bigint;
  /** Zero for no output. */
  readonly toBroadcaster: Sat;
  /** Zero for no output. */
  readonly toCountersigner: Sat;
  /** Only those that have outputs. */
  readonly htlcs: readonly CommitmentHtlc[];
}

/** What an output of a commitment is for. */
export type CommitmentOutputKind =
  | "to_broadcaster"
  | "to_countersigner"
  | "broadcaster_anchor"
  | "countersigner_anchor"
  | "htlc";

/** What is behind an output of a commitment. */
export interface CommitmentOutput {
  readonly kind: CommitmentOutputKind;
  /** Null for P2WPKH, which has none. */
  readonly witnessScript: Uint8Array | null;
  /** Index in the content's HTLCs; null for all other outputs. */
  readonly htlc: number | null;
}

/** A commitment; `outputs` says what each output of `tx` is. */
export interface Commitment {
  readonly tx: Tx;
  readonly outputs: readonly CommitmentOutput[];
}

/** BOLT 3: each anchor has this amount. */
export const ANCHOR_AMOUNT = 330n as Sat;

const LOW_24 = 0xff_ffffn;
const LOCKTIME_MARK = 0x2000_0000;
const SEQUENCE_MARK = 0x8000_0000;

/** An output with what it is sorted by and what it is for. */
interface Draft extends TxOutput, CommitmentOutput {
  /** Zero but for HTLCs. */
  readonly cltvExpiry: number;
}

/** BOLT 3, commitment transaction construction; without witness. */
export function buildCommitment(
  terms: CommitmentTerms,
  keys: CommitmentKeys,
  content: CommitmentContent,
): Commitment {
  const drafts = [
    ...draftHtlcs(terms, keys, content),
    ...draftBalances(terms, keys, content),
    ...(terms.hasAnchors ? draftAnchors(keys, content) : []),
  ].sort(compareDrafts);
  const obscured = content.number ^ terms.obscurer;
  return {
    tx: {
      version: 2,
      inputs: [inputOf(terms.funding, obscured)],
      outputs: drafts.map(({ amount, script }) => ({ amount, script })),
      locktime: LOCKTIME_MARK + Number(obscured & LOW_24),
    },
    outputs: drafts.map(({ kind, witnessScript, htlc }) => (
      { kind, witnessScript, htlc }
    )),
  };
}

function inputOf({ txid, index }: Outpoint, obscured: bigint): TxInput {
  const sequence = SEQUENCE_MARK + Number((obscured >> 24n) & LOW_24);
  return { txid, index, scriptSig: new Uint8Array(), sequence, witness: [] };
}

/** BOLT 3: equal outputs can only be offered HTLCs; earlier expiry first. */
function compareDrafts(a: Draft, b: Draft): number {
  return compareOutputs(a, b) || a.cltvExpiry - b.cltvExpiry;
}

function draftHtlcs(
  { hasAnchors }: CommitmentTerms,
  keys: CommitmentKeys,
  { htlcs }: CommitmentContent,
): Draft[] {
  if (htlcs.length === 0) return [];
  const scripts = htlcScripts({
    revocation: keys.revocation,
    localHtlc: keys.broadcasterHtlc,
    remoteHtlc: keys.countersignerHtlc,
    hasAnchors,
  });
  return htlcs.map(({ isOffered, amount, paymentHash, cltvExpiry }, htlc) => {
    const witnessScript = isOffered
      ? scripts.offered(paymentHash)
      : scripts.received(paymentHash, cltvExpiry);
    // Whole satoshi of an amount in millisatoshi.
    const sat = (amount / 1000n) as Sat;
    return { ...wrap("htlc", sat, witnessScript), htlc, cltvExpiry };
  });
}

function draftBalances(
  terms: CommitmentTerms,
  keys: CommitmentKeys,
  { toBroadcaster, toCountersigner }: CommitmentContent,
): Draft[] {
  const drafts: Draft[] = [];
  if (toBroadcaster > 0n) {
    const { revocation, delayed } = keys;
    const { toSelfDelay } = terms;
    const script = toLocalScript({ revocation, delayed, toSelfDelay });
    drafts.push(wrap("to_broadcaster", toBroadcaster, script));
  }
  if (toCountersigner > 0n) {
    drafts.push(draftToRemote(terms, keys.toRemote, toCountersigner));
  }
  return drafts;
}

function draftToRemote(
  { hasAnchors, toRemoteCsv = 1 }: CommitmentTerms,
  key: PubKey,
  amount: Sat,
): Draft {
  const kind = "to_countersigner";
  if (hasAnchors) {
    return wrap(kind, amount, toRemoteWithAnchors(key, toRemoteCsv));
  }
  const script = p2wpkh(key);
  const witnessScript = null;
  return { kind, amount, script, witnessScript, htlc: null, cltvExpiry: 0 };
}

/** BOLT 3: a side's anchor exists if it has an output, or there are HTLCs. */
function draftAnchors(
  keys: CommitmentKeys,
  { toBroadcaster, toCountersigner, htlcs }: CommitmentContent,
): Draft[] {
  const anchor = (kind: CommitmentOutputKind, key: PubKey) =>
    wrap(kind, ANCHOR_AMOUNT, anchorScript(key));
  const drafts: Draft[] = [];
  if (toBroadcaster > 0n || htlcs.length > 0) {
    drafts.push(anchor("broadcaster_anchor", keys.broadcasterFunding));
  }
  if (toCountersigner > 0n || htlcs.length > 0) {
    drafts.push(anchor("countersigner_anchor", keys.countersignerFunding));
  }
  return drafts;
}

function wrap(
  kind: CommitmentOutputKind,
  amount: Sat,
  witnessScript: Uint8Array,
): Draft {
  const script = p2wsh(witnessScript);
  return { kind, amount, script, witnessScript, htlc: null, cltvExpiry: 0 };
}

/**
 * BOLT 3: what hides the commitment number, the low 48 bits of a hash of both
 * payment basepoints. It is the same for both sides' commitments.
 */
export function obscuringFactor(
  openerPaymentBasepoint: PubKey,
  accepterPaymentBasepoint: PubKey,
): bigint {
  const hash = sha256(openerPaymentBasepoint, accepterPaymentBasepoint);
  const view = new DataView(hash.buffer, hash.byteOffset, hash.length);
  return view.getBigUint64(24) & 0xffff_ffff_ffffn;
}

/** The number that a transaction hides; null if it is no commitment. */
export function commitmentNumberOf(tx: Tx, obscurer: bigint): bigint | null {
  const [input, ...others] = tx.inputs;
  if (input === undefined || others.length > 0) return null;
  const upper = input.sequence - SEQUENCE_MARK;
  const lower = tx.locktime - LOCKTIME_MARK;
  if (!is24Bits(upper) || !is24Bits(lower)) return null;
  return (BigInt(upper) << 24n | BigInt(lower)) ^ obscurer;
}

function is24Bits(value: number): boolean {
  return value >= 0 && value <= Number(LOW_24);
}
