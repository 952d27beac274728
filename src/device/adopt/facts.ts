/**
 * What the rows of a node's database say of one channel: its setup, the outputs
 * that it has or may get, its HTLCs and feerates, with nothing missing.
 *
 * What it does not do: build commitments (`build.ts`).
 *
 * @module
 */

import { isSameBytes } from "../../bitcoin/bytes.ts";
import { decodePsbt, fieldOf, fieldsOf, INPUT } from "../../bitcoin/psbt.ts";
import type { Tx } from "../../bitcoin/tx.ts";
import { describeError } from "../../errors.ts";
import type { ChannelId, ChannelKeys } from "../../keyderiv/channel.ts";
import {
  hasOnlySafeBits,
  hasStaticRemotekey,
  isSameOutpoint,
} from "../../signer/commitment.ts";
import {
  type ChannelSetup,
  FUNDING_CANDIDATE,
  FUNDING_LOCKED,
  FUNDING_SIGNED,
  type FundingRecord,
} from "../../signer/records.ts";
import {
  type EcdsaSignature,
  type NodeId,
  type PubKey,
  type Sat,
  SIDE_LOCAL,
  SIDE_REMOTE,
} from "../../wire/types.ts";
import {
  type Balance,
  type DbFeerate,
  type DbHtlc,
  msat,
  OVER,
} from "./commitments.ts";
import type {
  ChannelRow,
  ConfigRow,
  InflightRow,
  NodeDatabase,
  PenaltyRow,
} from "./rows.ts";
import { Unfit } from "./unfit.ts";

/** CLN, enum channel_state: the numbers of the database. */
export const CHANNEL_STATES: Readonly<Record<number, string>> = {
  2: "CHANNELD_AWAITING_LOCKIN",
  3: "CHANNELD_NORMAL",
  4: "CHANNELD_SHUTTING_DOWN",
  5: "CLOSINGD_SIGEXCHANGE",
  6: "CLOSINGD_COMPLETE",
  7: "AWAITING_UNILATERAL",
  8: "FUNDING_SPEND_SEEN",
  9: "ONCHAIN",
  11: "DUALOPEND_OPEN_COMMITTED",
  12: "DUALOPEND_AWAITING_LOCKIN",
  13: "CHANNELD_AWAITING_SPLICE",
  14: "DUALOPEND_OPEN_COMMIT_READY",
};

/** The opening goes on: each output is another try. */
const OPENING_TOGETHER: readonly number[] = [11, 12, 14];
/** The funding output is not buried yet. */
const UNLOCKED: readonly number[] = [2, ...OPENING_TOGETHER];

/** What the keys of channels come from, and scripts of the wallet. */
export interface KeySources {
  readonly keysOf: (id: ChannelId) => ChannelKeys;
  /** Scripts that a wallet key of this index is paid by. */
  readonly walletScripts: (index: number) => readonly Uint8Array[];
}

/** A channel's rows, with nothing missing that it cannot do without. */
export interface Facts {
  readonly db: NodeDatabase;
  readonly row: ChannelRow;
  readonly id: ChannelId;
  readonly keys: ChannelKeys;
  readonly setup: ChannelSetup;
  readonly feerates: readonly DbFeerate[];
  readonly htlcs: readonly DbHtlc[];
  readonly outputs: readonly [FundingOutput, ...FundingOutput[]];
  readonly dust: { readonly local: Sat; readonly remote: Sat };
  readonly penalties: readonly PenaltyRow[];
}

/** An output that is or may become the channel's, with our commitment on it. */
export interface FundingOutput {
  readonly funding: FundingRecord;
  readonly balance: Balance;
  readonly lastTx: Tx | null;
  readonly lastSig: EcdsaSignature | null;
}

/** Gathers them. @throws {Unfit} */
export function factsOf(
  db: NodeDatabase,
  row: ChannelRow,
  peerId: NodeId,
  sources: KeySources,
): Facts {
  const { dbid } = row;
  const id = { peerId, dbid };
  const keys = sources.keysOf(id);
  checkKind(row);
  checkKeys(row, keys);
  const local = configOf(db, row.configLocal);
  const remote = configOf(db, row.configRemote);
  return {
    db,
    row,
    id,
    keys,
    setup: setupOf(row, [local, remote], sources),
    feerates: db.feerates.filter(({ channel }) => channel === dbid),
    htlcs: htlcsOf(db, row),
    outputs: outputsOf(db, row, keys),
    dust: {
      local: present(local.dustLimit, "our dust limit"),
      remote: present(remote.dustLimit, "the peer's dust limit"),
    },
    penalties: db.penalties.filter(({ channel }) => channel === dbid),
  };
}

/** What cannot be missing. @throws {Unfit} */
export function present<T>(value: T | null, what: string): T {
  if (value === null) throw new Unfit(`the database has no ${what}`);
  return value;
}

/** One row a kind of channel that no record can stand for. */
const UNFIT_KINDS: readonly {
  readonly isIt: (row: ChannelRow) => boolean;
  readonly reason: string;
}[] = [
  {
    isIt: ({ isBehind }) => isBehind,
    reason: "the peer proved that this database is older than the channel, " +
      "want the newest; it waits for the peer to close",
  },
  {
    isIt: ({ isLeased, leaseExpiry }) => isLeased || leaseExpiry !== 0,
    reason: "it is leased, and leases are not supported",
  },
  {
    isIt: ({ state }) => CHANNEL_STATES[state] === undefined,
    reason: "a state that is not known",
  },
  {
    isIt: ({ state }) => state === 14,
    reason: "its opening was not finished, want it opened again",
  },
  {
    isIt: ({ lastTx }) => lastTx === null,
    reason: "it has no commitment: it was restored from a backup, and waits " +
      "for the peer to close",
  },
  {
    isIt: ({ channelType: type }) =>
      type === null || !hasStaticRemotekey(type) || !hasOnlySafeBits(type),
    reason: "its type is not supported, want static remote keys, without or " +
      "with zero-fee anchors",
  },
  {
    isIt: ({ nextLocal, nextRemote, localStaticStart, remoteStaticStart }) =>
      localStaticStart >= nextLocal || remoteStaticStart >= nextRemote,
    reason: "its last commitment has no static remote key",
  },
];

function checkKind(row: ChannelRow): void {
  const found = UNFIT_KINDS.find(({ isIt }) => isIt(row));
  if (found !== undefined) throw new Unfit(found.reason);
}

/** The seed has to be this channel's. */
function checkKeys(row: ChannelRow, keys: ChannelKeys): void {
  const wanted: readonly (readonly [PubKey | null, PubKey])[] = [
    [row.localFundingKey, keys.funding.point],
    [row.localRevocation, keys.revocation.point],
    [row.localPayment, keys.payment.point],
    [row.localHtlc, keys.htlc.point],
    [row.localDelayed, keys.delayedPayment.point],
  ];
  const isOther = wanted.some(([found, own]) =>
    found === null || !isSameBytes(found, own)
  );
  if (isOther) throw new Unfit("its keys are not those of this seed");
}

function configOf(db: NodeDatabase, wanted: bigint | null): ConfigRow {
  const found = db.configs.find(({ id }) => id === wanted) ?? null;
  return present(found, "parameters of one side");
}

function setupOf(
  row: ChannelRow,
  [local, remote]: readonly [ConfigRow, ConfigRow],
  sources: KeySources,
): ChannelSetup {
  return {
    isOutbound: row.funder === 0n,
    localToSelfDelay: present(local.toSelfDelay, "delay of the peer's outputs"),
    remoteToSelfDelay: present(remote.toSelfDelay, "delay of our outputs"),
    localShutdownScript: agreedScript(row, sources),
    localShutdownWalletIndex: null,
    remoteShutdownScript: row.remoteUpfront ?? new Uint8Array(),
    remoteBasepoints: {
      revocation: present(row.remoteRevocation, "revocation basepoint"),
      payment: present(row.remotePayment, "payment basepoint"),
      htlc: present(row.remoteHtlc, "HTLC basepoint"),
      delayedPayment: present(row.remoteDelayed, "delayed payment basepoint"),
    },
    channelType: present(row.channelType, "channel type"),
  };
}

/**
 * Where a close has to pay us. The wallet's own script is what lightningd falls
 * back to: it was not promised to anybody, and the owner may name another.
 */
function agreedScript(
  { localShutdown, shutdownIndex }: ChannelRow,
  { walletScripts }: KeySources,
): Uint8Array {
  const none = new Uint8Array();
  if (localShutdown === null || localShutdown.length === 0) return none;
  const isNamed = shutdownIndex !== null && shutdownIndex < 1n << 31n;
  const own = isNamed ? walletScripts(Number(shutdownIndex)) : [];
  return own.some((script) => isSameBytes(script, localShutdown))
    ? none
    : localShutdown;
}

function htlcsOf({ htlcs }: NodeDatabase, { dbid }: ChannelRow): DbHtlc[] {
  return htlcs
    .filter(({ channel, state }) => channel === dbid && !OVER.includes(state))
    .map((htlc): DbHtlc => ({
      side: htlc.direction === 1n ? SIDE_LOCAL : SIDE_REMOTE,
      amount: htlc.amount,
      paymentHash: htlc.paymentHash,
      cltvExpiry: htlc.cltvExpiry,
      state: htlc.state,
      isFulfilled: htlc.isFulfilled,
    }));
}

// -------------------------------------------------------------------- outputs

function outputsOf(
  { inflights }: NodeDatabase,
  row: ChannelRow,
  keys: ChannelKeys,
): readonly [FundingOutput, ...FundingOutput[]] {
  const main = mainOutput(row);
  const others = inflights
    .filter(({ channel }) => channel === row.dbid)
    .map((inflight) => inflightOutput(row, main, inflight, keys))
    .filter(({ funding }) =>
      !isSameOutpoint(funding.outpoint, main.funding.outpoint)
    );
  return [main, ...others];
}

function mainOutput(row: ChannelRow): FundingOutput {
  const value = present(row.value, "funding value");
  const ours = present(row.ours, "balance");
  const isSplice = (row.oldScids?.length ?? 0) > 0;
  return {
    funding: {
      outpoint: {
        txid: present(row.fundingTxid, "funding transaction"),
        index: present(row.fundingIndex, "funding output"),
      },
      value,
      pushValue: row.push ?? msat(0n),
      remoteFundingKey: present(row.remoteFundingKey, "funding key"),
      isSplice,
      state: mainState(row),
    },
    balance: { ours, theirs: value * 1000n - ours },
    lastTx: readTx(row.lastTx),
    lastSig: row.lastSig,
  };
}

/** Who only accepts an opening signs nothing that lets it confirm. */
function mainState(row: ChannelRow): FundingRecord["state"] {
  if (!UNLOCKED.includes(row.state)) return FUNDING_LOCKED;
  const isSigned = row.funder === 0n || OPENING_TOGETHER.includes(row.state);
  return isSigned ? FUNDING_SIGNED : FUNDING_CANDIDATE;
}

function inflightOutput(
  row: ChannelRow,
  main: FundingOutput,
  inflight: InflightRow,
  keys: ChannelKeys,
): FundingOutput {
  if (inflight.isLeased) throw new Unfit("a lease is under way in it");
  const isSplice = !OPENING_TOGETHER.includes(row.state);
  const { value, lastSig } = inflight;
  const { funding } = main;
  return {
    funding: {
      outpoint: { txid: inflight.fundingTxid, index: inflight.fundingIndex },
      value,
      pushValue: msat(0n),
      remoteFundingKey: inflight.remoteFundingKey ?? funding.remoteFundingKey,
      isSplice,
      state: isSigned(inflight, keys) ? FUNDING_SIGNED : FUNDING_CANDIDATE,
    },
    balance: isSplice
      ? splicedBalance(main, inflight)
      : balanceOf(inflight.ourFunding * 1000n, value),
    lastTx: readTx(inflight.lastTx),
    lastSig,
  };
}

const balanceOf = (ours: bigint, value: Sat): Balance => (
  { ours, theirs: value * 1000n - ours }
);

/** What each side puts in or takes out, on top of what it has. */
function splicedBalance(
  { funding, balance }: FundingOutput,
  { value, spliceAmount }: InflightRow,
): Balance {
  const theirs = value - funding.value - spliceAmount;
  return {
    ours: balance.ours + spliceAmount * 1000n,
    theirs: balance.theirs + theirs * 1000n,
  };
}

/** Whether our signature that lets it confirm may have left the node. */
function isSigned(inflight: InflightRow, keys: ChannelKeys): boolean {
  const { hasOurSigs, hasTheirSigs, fundingPsbt } = inflight;
  if (hasOurSigs || hasTheirSigs) return true;
  if (fundingPsbt === null) return false;
  const own = keys.funding.point;
  return readPsbt(fundingPsbt).inputs.some((input) =>
    fieldOf(input, INPUT.finalWitness) !== undefined ||
    fieldsOf(input, INPUT.partialSig)
      .some(({ keyData }) => isSameBytes(keyData, own))
  );
}

function readPsbt(bytes: Uint8Array) {
  try {
    return decodePsbt(bytes);
  } catch (error) {
    throw new Unfit(
      `a transaction in it is unreadable: ${describeError(error)}`,
    );
  }
}

function readTx(bytes: Uint8Array | null): Tx | null {
  return bytes === null ? null : readPsbt(bytes).tx;
}
