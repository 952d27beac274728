/**
 * Commitment transactions, rebuilt from what the signer knows of the channel.
 *
 * A request brings a transaction, a number and a list of HTLCs. The scripts of
 * both sides are made from keys, points and delays of ours; the two balances are
 * read off the outputs that carry those scripts; then the whole transaction is
 * built again and must be the same to the byte. Nothing of the transaction is
 * believed, and the PSBT beside it is not looked at.
 *
 * Standard: BOLT 3, "Commitment Transaction".
 *
 * What it does not do: judge what the commitment says (`policy/commitment.ts`),
 * or remember it (`channel.ts`).
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { keyPairOf, publicKeyOf } from "../bitcoin/keys.ts";
import { p2wpkh, p2wsh, toRemoteWithAnchors } from "../bitcoin/script.ts";
import { encodeTxWithoutWitness, type Tx, txidOf } from "../bitcoin/tx.ts";
import {
  buildCommitment,
  type Commitment,
  type CommitmentKeys,
  type CommitmentTerms,
  obscuringFactor,
} from "../lightning/commitment.ts";
import {
  deriveOurPublicKey,
  deriveOurRevocationPublicKey,
  derivePublicKey,
  deriveTheirRevocationPublicKey,
} from "../lightning/keys.ts";
import { toLocalScript } from "../lightning/scripts.ts";
import { perCommitmentSecret } from "../lightning/shachain.ts";
import type { CommitmentView } from "../policy/commitment.ts";
import {
  type HsmHtlc,
  type Outpoint,
  type PubKey,
  type Sat,
  SIDE_LOCAL,
} from "../wire/types.ts";
import type { ChannelId, ChannelKeys } from "../keyderiv/channel.ts";
import type { DerivedKeys } from "./cache.ts";
import { type Call, type ReadyChannel, refuseState } from "./call.ts";
import type {
  ChannelSetup,
  CommitmentRecord,
  FundingRecord,
} from "./records.ts";

/** Whose commitment: who would broadcast it. */
export type Broadcaster = "holder" | "counterparty";

/** A commitment as a request brings it. */
export interface CommitmentRequest {
  readonly source: PointSource;
  readonly tx: Tx;
  readonly number: bigint;
  readonly feerate: number;
  readonly htlcs: readonly HsmHtlc[];
}

/** A commitment that was rebuilt and found to be what it should be. */
export interface ReadCommitment {
  readonly funding: FundingRecord;
  readonly record: CommitmentRecord;
  readonly built: Commitment;
  readonly keys: CommitmentKeys;
  readonly terms: CommitmentTerms;
}

/** BOLT 9, option_anchors_zero_fee_htlc_tx: bits 22 and 23. */
const ANCHORS_BIT = 22;
/** BOLT 9, option_static_remotekey: bits 12 and 13. */
const STATIC_REMOTEKEY_BIT = 12;

function hasFeature(bits: Uint8Array, even: number): boolean {
  return [even, even + 1].some((bit) =>
    ((bits[bits.length - 1 - (bit >> 3)] ?? 0) >> (bit & 7) & 1) === 1
  );
}

/** Whether a channel's type has anchors without HTLC fees. */
export function hasAnchors(channelType: Uint8Array): boolean {
  return hasFeature(channelType, ANCHORS_BIT);
}

/** Whether a channel's type pays the other side to a key that never changes. */
export function hasStaticRemotekey(channelType: Uint8Array): boolean {
  return hasFeature(channelType, STATIC_REMOTEKEY_BIT);
}

/** BOLT 9 bits of which a channel type may be made; each is an even one. */
const SAFE_BITS: readonly number[] = [
  STATIC_REMOTEKEY_BIT,
  ANCHORS_BIT,
  // option_scid_alias and option_zeroconf change no transaction.
  46,
  50,
];

/** Whether a channel's type has nothing that would change its transactions. */
export function hasOnlySafeBits(channelType: Uint8Array): boolean {
  const bits = Array.from({ length: channelType.length * 8 }, (_, i) => i);
  return bits.every((bit) =>
    SAFE_BITS.includes(bit & ~1) || !hasFeature(channelType, bit & ~1)
  );
}

/** Our point of commitment n. */
export function ourPoint(
  { state }: KeySource,
  channel: ReadyChannel,
  n: bigint,
): PubKey {
  const { peerId, dbid } = channel.id;
  return state.cache.point(`point/${peerId.toHex()}/${dbid}/${n}`, () => {
    const { shaseed } = state.channels.keysOf(channel.id);
    return publicKeyOf(perCommitmentSecret(shaseed, n));
  });
}

/** Whether two names of an output are the same. */
export function isSameOutpoint(a: Outpoint, b: Outpoint): boolean {
  return a.index === b.index && isSameBytes(a.txid, b.txid);
}

/** The commitment of a list that spends the same output. */
export function onSameOutput(
  list: readonly CommitmentRecord[],
  { funding }: Pick<CommitmentRecord, "funding">,
): CommitmentRecord | null {
  return list.find((entry) => isSameOutpoint(entry.funding, funding)) ?? null;
}

/** What tells one HTLC from another; two that are equal have the same name. */
export function htlcName(
  { side, amount, paymentHash, cltvExpiry }: HsmHtlc,
): string {
  return `${side}/${amount}/${paymentHash.toHex()}/${cltvExpiry}`;
}

/** Where a per-commitment point comes from: ours has its secret beside it. */
export type PointSource =
  | { readonly broadcaster: "holder"; readonly number: bigint }
  | { readonly broadcaster: "counterparty"; readonly point: PubKey };

/** The keys of a commitment, of which HTLCs may need some. */
export function commitmentKeys(
  call: KeySource,
  channel: ReadyChannel,
  source: PointSource,
  remoteFundingKey: PubKey,
): CommitmentKeys {
  const { broadcaster } = source;
  const derived = derivedKeys(call, channel, source);
  return allKeys(endsOf(call, channel), derived, broadcaster, remoteFundingKey);
}

/** The keys of a commitment that follow from its per-commitment point. */
export function derivedKeys(
  call: KeySource,
  channel: ReadyChannel,
  source: PointSource,
): DerivedKeys {
  return source.broadcaster === "holder"
    ? holderKeys(call, channel, source.number)
    : counterpartyKeys(call, channel, source.point);
}

/** What keys are derived from. */
export type KeySource = Pick<Call, "state">;

/** An opening that starts over may bring other basepoints. */
function nameOf({ peerId, dbid }: ChannelId, setup: ChannelSetup): string {
  const { revocation, htlc, delayedPayment } = setup.remoteBasepoints;
  const points = [revocation, htlc, delayedPayment];
  return [peerId.toHex(), dbid, ...points.map((each) => each.toHex())].join(
    "/",
  );
}

/** Keys of our commitment n; may be worked out before they are asked for. */
export function holderKeys(
  call: KeySource,
  channel: ReadyChannel,
  n: bigint,
): DerivedKeys {
  const name = `${nameOf(channel.id, channel.setup)}/${n}`;
  return call.state.cache.commitmentKeys(
    name,
    () => deriveHolderKeys(endsOf(call, channel), n),
  );
}

function counterpartyKeys(
  call: KeySource,
  channel: ReadyChannel,
  point: PubKey,
): DerivedKeys {
  const name = `${nameOf(channel.id, channel.setup)}/${point.toHex()}`;
  return call.state.cache.commitmentKeys(
    name,
    () => deriveCounterpartyKeys(endsOf(call, channel), point),
  );
}

// ------------------------------------------------------------- a channel's ends

/** What keys and scripts of a channel follow from: our secrets, their points. */
export interface ChannelEnds {
  readonly ours: ChannelKeys;
  readonly setup: ChannelSetup;
}

function endsOf(
  { state }: KeySource,
  { id, setup }: ReadyChannel,
): ChannelEnds {
  return { ours: state.channels.keysOf(id), setup };
}

/** BOLT 3, keys of our commitment n; what is ours by way of its secret. */
export function deriveHolderKeys(
  { ours, setup }: ChannelEnds,
  n: bigint,
): DerivedKeys {
  const perCommitment = keyPairOf(perCommitmentSecret(ours.shaseed, n));
  const { point } = perCommitment;
  const theirs = setup.remoteBasepoints;
  return lazyHtlcKeys({
    revocation: deriveOurRevocationPublicKey(theirs.revocation, perCommitment),
    delayed: deriveOurPublicKey(ours.delayedPayment, point),
    broadcasterHtlc: () => deriveOurPublicKey(ours.htlc, point),
    countersignerHtlc: () => derivePublicKey(theirs.htlc, point),
  });
}

/** The same of theirs with this per-commitment point. */
export function deriveCounterpartyKeys(
  { ours, setup }: ChannelEnds,
  point: PubKey,
): DerivedKeys {
  const theirs = setup.remoteBasepoints;
  return lazyHtlcKeys({
    revocation: deriveTheirRevocationPublicKey(ours.revocation, point),
    delayed: derivePublicKey(theirs.delayedPayment, point),
    broadcasterHtlc: () => derivePublicKey(theirs.htlc, point),
    countersignerHtlc: () => deriveOurPublicKey(ours.htlc, point),
  });
}

/** Those keys, and the ones that do not depend on the commitment. */
export function allKeys(
  { ours, setup }: ChannelEnds,
  derived: DerivedKeys,
  broadcaster: Broadcaster,
  remoteFundingKey: PubKey,
): CommitmentKeys {
  const isHolder = broadcaster === "holder";
  const theirs = setup.remoteBasepoints;
  return {
    revocation: derived.revocation,
    delayed: derived.delayed,
    get broadcasterHtlc() {
      return derived.broadcasterHtlc;
    },
    get countersignerHtlc() {
      return derived.countersignerHtlc;
    },
    toRemote: isHolder ? theirs.payment : ours.payment.point,
    broadcasterFunding: isHolder ? ours.funding.point : remoteFundingKey,
    countersignerFunding: isHolder ? remoteFundingKey : ours.funding.point,
  };
}

/** Both HTLC keys only when there is an HTLC, and then once. */
function lazyHtlcKeys(
  keys: {
    readonly revocation: PubKey;
    readonly delayed: PubKey;
    readonly broadcasterHtlc: () => PubKey;
    readonly countersignerHtlc: () => PubKey;
  },
): DerivedKeys {
  let broadcaster: PubKey | undefined;
  let countersigner: PubKey | undefined;
  return {
    revocation: keys.revocation,
    delayed: keys.delayed,
    get broadcasterHtlc() {
      return broadcaster ??= keys.broadcasterHtlc();
    },
    get countersignerHtlc() {
      return countersigner ??= keys.countersignerHtlc();
    },
  };
}

/** What all commitments of one side on one output have in common. */
export function commitmentTerms(
  call: KeySource,
  channel: ReadyChannel,
  broadcaster: Broadcaster,
  funding: Outpoint,
): CommitmentTerms {
  return termsBetween(endsOf(call, channel), broadcaster, funding);
}

/** The same, between these ends. */
export function termsBetween(
  { ours: { payment: { point: ours } }, setup }: ChannelEnds,
  broadcaster: Broadcaster,
  funding: Outpoint,
): CommitmentTerms {
  const theirs = setup.remoteBasepoints.payment;
  return {
    funding,
    hasAnchors: hasAnchors(setup.channelType),
    // BOLT 2: each side announces the delay of the other side's outputs.
    toSelfDelay: broadcaster === "holder"
      ? setup.remoteToSelfDelay
      : setup.localToSelfDelay,
    obscurer: setup.isOutbound
      ? obscuringFactor(ours, theirs)
      : obscuringFactor(theirs, ours),
  };
}

/**
 * Reads a commitment transaction by rebuilding it.
 *
 * @throws {PolicyViolation} when it is not the channel's
 */
export function readCommitment(
  call: Call,
  channel: ReadyChannel,
  request: CommitmentRequest,
): ReadCommitment {
  const { tx, number, source, htlcs, feerate } = request;
  const { broadcaster } = source;
  const funding = fundingOf(call, channel, tx);
  const keys = commitmentKeys(call, channel, source, funding.remoteFundingKey);
  const terms = commitmentTerms(call, channel, broadcaster, funding.outpoint);
  checkVersion(call, tx);
  const isHolder = broadcaster === "holder";
  const balances = readBalances(call, tx, keys, terms);
  const built = buildCommitment(terms, keys, {
    number,
    ...balances,
    htlcs: htlcs.map((htlc) => ({
      isOffered: (htlc.side === SIDE_LOCAL) === isHolder,
      amount: htlc.amount,
      paymentHash: htlc.paymentHash,
      cltvExpiry: htlc.cltvExpiry,
    })),
  });
  checkSame(call, tx, built);
  const { toBroadcaster, toCountersigner } = balances;
  const spent = tx.outputs.reduce((total, { amount }) => total + amount, 0n);
  checkCovered(call, spent, funding);
  return {
    funding,
    built,
    keys,
    terms,
    record: {
      funding: funding.outpoint,
      txid: txidOf(tx),
      feerate,
      toUs: isHolder ? toBroadcaster : toCountersigner,
      toThem: isHolder ? toCountersigner : toBroadcaster,
      // What is left of an amount in satoshi is one.
      fee: funding.value - spent as Sat,
      htlcs,
    },
  };
}

/** BOLT 3: outputs and fee are the funding output's value. */
function checkCovered(
  { judge }: Call,
  spent: bigint,
  { value }: FundingRecord,
): void {
  const facts = () => `outputs of ${spent} sat, want ${value} or less`;
  judge.require("policy-commitment-fee-range", spent <= value, facts);
  // Whatever the owner relaxes: what is not there cannot be paid out.
  if (spent > value) refuseState(facts());
}

/** A commitment in the terms in which it is judged. */
export function commitmentView(
  { setup }: ReadyChannel,
  { funding, record }: ReadCommitment,
  number: bigint,
  broadcaster: Broadcaster,
): CommitmentView {
  const { isSplice, pushValue, value } = funding;
  return {
    ...record,
    number,
    isHolder: broadcaster === "holder",
    fundingValue: value,
    isFunder: setup.isOutbound,
    // Whole satoshi of an amount in millisatoshi.
    pushed: isSplice ? null : pushValue / 1000n as Sat,
    hasAnchors: hasAnchors(setup.channelType),
  };
}

/** BOLT 3: one input, and it is the funding output. */
function fundingOf(
  { judge }: Call,
  channel: ReadyChannel,
  { inputs }: Tx,
): FundingRecord {
  const [input] = inputs;
  const funding = channel.record.fundings.find(({ outpoint }) =>
    input !== undefined && inputs.length === 1 &&
    isSameOutpoint(outpoint, input)
  );
  judge.require(
    "policy-splice-known-outpoint",
    funding !== undefined,
    () =>
      inputs.length === 1
        ? "spends an output that is not the channel's, want a funding output"
        : `${inputs.length} inputs, want the channel's funding output alone`,
  );
  return funding ?? refuseState("spends an output that is not the channel's");
}

function checkVersion({ judge }: Call, { version }: Tx): void {
  judge.require(
    "policy-commitment-version",
    version === 2,
    () => `version ${version}, want 2`,
  );
}

interface Balances {
  readonly toBroadcaster: Sat;
  readonly toCountersigner: Sat;
}

/** The amounts of the outputs that have the two balances' scripts. */
function readBalances(
  { judge }: Call,
  { outputs }: Tx,
  keys: CommitmentKeys,
  { hasAnchors: isAnchored, toSelfDelay, toRemoteCsv = 1 }: CommitmentTerms,
): Balances {
  const { revocation, delayed, toRemote } = keys;
  const local = p2wsh(toLocalScript({ revocation, delayed, toSelfDelay }));
  const remote = isAnchored
    ? p2wsh(toRemoteWithAnchors(toRemote, toRemoteCsv))
    : p2wpkh(toRemote);
  const paid = (script: Uint8Array) => {
    const found = outputs.filter((output) =>
      isSameBytes(output.script, script)
    );
    judge.require(
      "policy-commitment-scripts",
      found.length <= 1,
      () => `${found.length} outputs of one balance, want one at most`,
    );
    // No output is no money.
    return found[0]?.amount ?? 0n as Sat;
  };
  return { toBroadcaster: paid(local), toCountersigner: paid(remote) };
}

/** Byte for byte; what no commitment has is told from what this one has not. */
function checkSame({ judge }: Call, tx: Tx, { tx: wanted }: Commitment) {
  const found = encodeTxWithoutWitness(tx);
  if (isSameBytes(found, encodeTxWithoutWitness(wanted))) return;
  const known = new Set(wanted.outputs.map(({ script }) => script.toHex()));
  const stranger = tx.outputs.findIndex(({ script }) =>
    !known.has(script.toHex())
  );
  judge.require(
    "policy-commitment-scripts",
    stranger < 0,
    () => `output ${stranger} is no output of this commitment`,
  );
  judge.require(
    "policy-commitment",
    false,
    () => describeDifference(tx, wanted),
  );
}

/** The first thing in which two transactions differ, in words. */
function describeDifference(tx: Tx, wanted: Tx): string {
  if (tx.locktime !== wanted.locktime) {
    return `locktime ${tx.locktime}, want ${wanted.locktime}`;
  }
  const [sequence] = tx.inputs.map((input) => input.sequence);
  const [wantedSequence] = wanted.inputs.map((input) => input.sequence);
  if (sequence !== wantedSequence) {
    return `sequence ${sequence}, want ${wantedSequence}`;
  }
  const { length } = wanted.outputs;
  if (tx.outputs.length !== length) {
    return `${tx.outputs.length} outputs, want ${length}`;
  }
  const at = tx.outputs.findIndex(({ amount, script }, i) => {
    const other = wanted.outputs[i];
    return other === undefined || amount !== other.amount ||
      !isSameBytes(script, other.script);
  });
  return `output ${at} of ${tx.outputs[at]?.amount} sat, ` +
    `want ${wanted.outputs[at]?.amount} sat and its script`;
}
