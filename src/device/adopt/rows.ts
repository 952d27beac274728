/**
 * The rows of Core Lightning's database that a card's records are made from: one
 * entry a column, with what its value has to be.
 *
 * | table | what it says |
 * | --- | --- |
 * | vars, version | whose database it is, on which network, how old its form is |
 * | peers, channels, channel_configs | what a channel is |
 * | channel_feerates, channel_htlcs | what its commitments hold |
 * | channel_funding_inflights | outputs of splices, and of openings |
 * | shachains, shachain_known | what the peer has revoked |
 * | penalty_bases | txids of the peer's commitments |
 *
 * The file may hold anything: a value that is not what its column wants fails,
 * naming table, row and column. Preimages, onions and rune secrets are not read.
 *
 * What it does not do: open a file (`database.ts`), or say what rows mean
 * (`build.ts`).
 *
 * @module
 */

import { isPoint } from "../../crypto/secp.ts";
import { describeError, StoreError } from "../../errors.ts";
import { type Codec, decode } from "../../wire/codec.ts";
import {
  type EcdsaSignature,
  ecdsaSignature,
  type Msat,
  type NodeId,
  nodeId,
  type PubKey,
  pubkey,
  type Sat,
  secret,
  type Sha256,
  sha256,
  type Txid,
  txid,
} from "../../wire/types.ts";

/** A value as SQLite gives it, integers as bigint. */
export type SqlValue = null | bigint | number | string | Uint8Array;

/** What a column's value has to be; undefined for one that is not. */
interface Kind<T> {
  readonly wanted: string;
  readonly read: (value: SqlValue) => T | undefined;
}

/** A column, or an expression of columns. */
export interface Column<T> {
  readonly sql: string;
  readonly kind: Kind<T>;
  /** Whether releases before some version have no such column: NULL there. */
  readonly isNew: boolean;
}

type Columns = Readonly<Record<string, Column<unknown>>>;

/** A table, and which of its columns are read. */
export interface Table<C extends Columns> {
  readonly name: string;
  readonly columns: C;
}

/** A row, decoded. */
export type RowOf<T> = T extends Table<infer C> ? {
    readonly [K in keyof C]: C[K] extends Column<infer V> ? V : never;
  }
  : never;

// ---------------------------------------------------------------------- kinds

/** SQLite has no unsigned integers: CLN stores the same 64 bits. */
function whole(most: bigint): Kind<bigint> {
  return {
    wanted: `a whole number, 0 to ${most}`,
    read: (value) =>
      typeof value === "bigint" && value >= 0n && value <= most
        ? value
        : undefined,
  };
}

const mapped = <A, B>(kind: Kind<A>, map: (value: A) => B): Kind<B> => ({
  wanted: kind.wanted,
  read: (value) => {
    const found = kind.read(value);
    return found === undefined ? undefined : map(found);
  },
});

const nullable = <T>(kind: Kind<T>): Kind<T | null> => ({
  wanted: `${kind.wanted}, or NULL`,
  read: (value) => value === null ? null : kind.read(value),
});

const orElse = <T>(kind: Kind<T>, missing: T): Kind<T> =>
  mapped(nullable(kind), (value) => value ?? missing);

const MOST_U64 = (1n << 63n) - 1n;
/** All bitcoins there will be, in satoshi. */
const MOST_SAT = 2_100_000_000_000_000n;

const U64 = whole(MOST_U64);
const U32 = mapped(whole(0xffff_ffffn), Number);
const U16 = mapped(whole(0xffffn), Number);
const FLAG = mapped(whole(1n), (value) => value === 1n);
// Whole numbers in range; the column has their unit.
const SAT = mapped(whole(MOST_SAT), (value) => value as Sat);
const MSAT = mapped(whole(MOST_SAT * 1000n), (value) => value as Msat);

const SIGNED: Kind<bigint> = {
  wanted: `a whole number of satoshi, -${MOST_SAT} to ${MOST_SAT}`,
  read: (value) =>
    typeof value === "bigint" && value <= MOST_SAT && value >= -MOST_SAT
      ? value
      : undefined,
};

const BYTES: Kind<Uint8Array> = {
  wanted: "bytes",
  read: (value) =>
    value instanceof Uint8Array ? new Uint8Array(value) : undefined,
};

function coded<T extends Uint8Array>(codec: Codec<T>): Kind<T> {
  return {
    wanted: `${codec.minSize} bytes`,
    read: (value) =>
      value instanceof Uint8Array && value.length === codec.minSize
        ? decode(codec, new Uint8Array(value))
        : undefined,
  };
}

function onCurve<T extends Uint8Array>(codec: Codec<T>): Kind<T> {
  const { read } = coded(codec);
  return {
    wanted: "a point of the curve, 33 bytes",
    read: (value) => {
      const found = read(value);
      return found !== undefined && isPoint(found) ? found : undefined;
    },
  };
}

const POINT: Kind<PubKey> = onCurve(pubkey);
const NODE: Kind<NodeId> = onCurve(nodeId);
const TXID: Kind<Txid> = coded(txid);
const HASH: Kind<Sha256> = coded(sha256);
const SECRET = coded(secret);
const SIGNATURE: Kind<EcdsaSignature> = coded(ecdsaSignature);

/** States of an HTLC: 0 to 19 (CLN, common/htlc_state.h). */
const HTLC_STATE = mapped(whole(19n), Number);

const column = <T>(sql: string, kind: Kind<T>): Column<T> => ({
  sql,
  kind,
  isNew: false,
});

const newColumn = <T>(sql: string, kind: Kind<T>): Column<T> => ({
  sql,
  kind,
  isNew: true,
});

// --------------------------------------------------------------------- tables

/** Numbers and bytes by name. */
export const VARS = {
  name: "vars",
  columns: {
    number: column("intval", nullable(U64)),
    bytes: column("blobval", nullable(BYTES)),
  },
} as const;

export const VERSION = {
  name: "version",
  columns: { version: column("version", U32) },
} as const;

export const PEERS = {
  name: "peers",
  columns: { id: column("id", U64), nodeId: column("node_id", NODE) },
} as const;

/** Numbers that only some states have are NULL in the others. */
export const CHANNELS = {
  name: "channels",
  columns: {
    dbid: column("id", U64),
    peer: column("peer_id", nullable(U64)),
    state: column("state", U32),
    /** 0: we opened it. */
    funder: column("funder", whole(1n)),
    configLocal: column("channel_config_local", U64),
    configRemote: column("channel_config_remote", nullable(U64)),
    nextLocal: column("next_index_local", U64),
    nextRemote: column("next_index_remote", U64),
    fundingTxid: column("funding_tx_id", nullable(TXID)),
    fundingIndex: column("funding_tx_outnum", nullable(U32)),
    value: column("funding_satoshi", nullable(SAT)),
    ourFunding: column("our_funding_satoshi", orElse(SAT, 0n as Sat)),
    push: column("push_msatoshi", nullable(MSAT)),
    ours: column("msatoshi_local", nullable(MSAT)),
    remoteFundingKey: column("fundingkey_remote", nullable(POINT)),
    remoteRevocation: column("revocation_basepoint_remote", nullable(POINT)),
    remotePayment: column("payment_basepoint_remote", nullable(POINT)),
    remoteHtlc: column("htlc_basepoint_remote", nullable(POINT)),
    remoteDelayed: column("delayed_payment_basepoint_remote", nullable(POINT)),
    point: column("per_commit_remote", nullable(POINT)),
    oldPoint: column("old_per_commit_remote", nullable(POINT)),
    localFundingKey: column("funding_pubkey_local", nullable(POINT)),
    localRevocation: column("revocation_basepoint_local", nullable(POINT)),
    localPayment: column("payment_basepoint_local", nullable(POINT)),
    localHtlc: column("htlc_basepoint_local", nullable(POINT)),
    localDelayed: column("delayed_payment_basepoint_local", nullable(POINT)),
    shachain: column("shachain_remote_id", nullable(U64)),
    shutdownIndex: column("shutdown_keyidx_local", nullable(U64)),
    localShutdown: column("shutdown_scriptpubkey_local", nullable(BYTES)),
    remoteUpfront: column("remote_upfront_shutdown_script", nullable(BYTES)),
    lastTx: column("last_tx", nullable(BYTES)),
    lastSig: column("last_sig", nullable(SIGNATURE)),
    channelType: column("channel_type", nullable(BYTES)),
    localStaticStart: column("local_static_remotekey_start", U64),
    remoteStaticStart: column("remote_static_remotekey_start", U64),
    leaseExpiry: column("lease_expiry", orElse(U32, 0)),
    isLeased: column("lease_commit_sig IS NOT NULL", FLAG),
    isBehind: column("future_per_commitment_point IS NOT NULL", FLAG),
    oldScids: newColumn("old_scids", nullable(BYTES)),
  },
} as const;

export const CONFIGS = {
  name: "channel_configs",
  columns: {
    id: column("id", U64),
    dustLimit: column("dust_limit_satoshis", nullable(SAT)),
    toSelfDelay: column("to_self_delay", nullable(U16)),
  },
} as const;

export const FEERATES = {
  name: "channel_feerates",
  columns: {
    channel: column("channel_id", U64),
    state: column("hstate", HTLC_STATE),
    feerate: column("feerate_per_kw", U32),
  },
} as const;

export const HTLCS = {
  name: "channel_htlcs",
  columns: {
    id: column("id", U64),
    channel: column("channel_id", U64),
    /** 1: we offered it. */
    direction: column("direction", whole(1n)),
    /** What came in for it, when it was forwarded. */
    origin: column("origin_htlc", nullable(U64)),
    amount: column("msatoshi", MSAT),
    cltvExpiry: column("cltv_expiry", U32),
    paymentHash: column("payment_hash", HASH),
    isFulfilled: column("payment_key IS NOT NULL", FLAG),
    state: column("hstate", HTLC_STATE),
  },
} as const;

export const INFLIGHTS = {
  name: "channel_funding_inflights",
  columns: {
    channel: column("channel_id", U64),
    fundingTxid: column("funding_tx_id", TXID),
    fundingIndex: column("funding_tx_outnum", U32),
    value: column("funding_satoshi", SAT),
    ourFunding: column("our_funding_satoshi", SAT),
    spliceAmount: column("splice_amnt", orElse(SIGNED, 0n)),
    fundingPsbt: column("funding_psbt", nullable(BYTES)),
    lastTx: column("last_tx", nullable(BYTES)),
    lastSig: column("last_sig", nullable(SIGNATURE)),
    hasTheirSigs: column(
      "funding_tx_remote_sigs_received",
      orElse(FLAG, false),
    ),
    isLeased: column("lease_commit_sig IS NOT NULL", FLAG),
    remoteFundingKey: newColumn("remote_funding", nullable(POINT)),
    hasOurSigs: newColumn("i_sent_sigs", orElse(FLAG, false)),
  },
} as const;

export const SHACHAINS = {
  name: "shachains",
  columns: {
    id: column("id", U64),
    minIndex: column("min_index", whole(1n << 48n)),
    valid: column("num_valid", whole(49n)),
  },
} as const;

export const KNOWN_SECRETS = {
  name: "shachain_known",
  columns: {
    shachain: column("shachain_id", U64),
    position: column("pos", whole(48n)),
    index: column("idx", whole((1n << 48n) - 1n)),
    secret: column("hash", SECRET),
  },
} as const;

export const PENALTIES = {
  name: "penalty_bases",
  columns: {
    channel: column("channel_id", U64),
    number: column("commitnum", U64),
    txid: column("txid", TXID),
  },
} as const;

export type PeerRow = RowOf<typeof PEERS>;
export type ChannelRow = RowOf<typeof CHANNELS>;
export type ConfigRow = RowOf<typeof CONFIGS>;
export type FeerateRow = RowOf<typeof FEERATES>;
export type HtlcRow = RowOf<typeof HTLCS>;
export type InflightRow = RowOf<typeof INFLIGHTS>;
export type ShachainRow = RowOf<typeof SHACHAINS>;
export type KnownSecretRow = RowOf<typeof KNOWN_SECRETS>;
export type PenaltyRow = RowOf<typeof PENALTIES>;

/** Everything that was read, for one node. */
export interface NodeDatabase {
  readonly version: number;
  readonly nodeId: Uint8Array | null;
  readonly genesisHash: Uint8Array | null;
  /** Largest index of a wallet key that was handed out. */
  readonly walletIndex: bigint;
  /** Largest number of a channel, closed ones included. */
  readonly highestChannel: bigint;
  /** How many closed channels there are. */
  readonly closed: bigint;
  readonly peers: readonly PeerRow[];
  /** Without those that are closed. */
  readonly channels: readonly ChannelRow[];
  readonly configs: readonly ConfigRow[];
  readonly feerates: readonly FeerateRow[];
  /** Those under way, and those that paid for one that is. */
  readonly htlcs: readonly HtlcRow[];
  readonly inflights: readonly InflightRow[];
  readonly shachains: readonly ShachainRow[];
  readonly knownSecrets: readonly KnownSecretRow[];
  readonly penalties: readonly PenaltyRow[];
}

// -------------------------------------------------------------------- reading

/** Fails to read the database, naming what is wrong. */
export function unreadable(problem: string, cause?: unknown): StoreError {
  const options = cause === undefined ? undefined : { cause };
  return new StoreError("read the node's database", problem, options);
}

const SAFE_NAME = /^[a-z0-9_]+/;

/** The column behind an expression of one. */
const nameOf = ({ sql }: Column<unknown>) => SAFE_NAME.exec(sql)?.[0] ?? sql;

/**
 * The SELECT of a table's columns, given which columns the file has.
 *
 * @throws {StoreError} when one is missing that every known release has
 */
export function selectOf<C extends Columns>(
  { name, columns }: Table<C>,
  present: ReadonlySet<string>,
): string {
  const fields = Object.entries(columns).map(([field, each]) => {
    const isThere = present.has(nameOf(each));
    if (!isThere && !each.isNew) {
      throw unreadable(
        `table ${name} has no column ${nameOf(each)}, want a database of ` +
          KNOWN_RELEASES,
      );
    }
    return `${isThere ? each.sql : "NULL"} AS "${field}"`;
  });
  return `SELECT ${fields.join(", ")} FROM ${name}`;
}

/** For people: whose databases were looked at when this was written. */
export const KNOWN_RELEASES = "Core Lightning v24.02 to v26.06.6";
/** The numbers that these releases give their tables. */
export const KNOWN_VERSIONS = { least: 256, most: 282 } as const;

/** Decodes a row. @throws {StoreError} naming table, row and column */
export function readRow<C extends Columns>(
  { name, columns }: Table<C>,
  row: Readonly<Record<string, SqlValue>>,
  number: number,
): RowOf<Table<C>> {
  const entries = Object.entries(columns).map(([field, each]) => {
    const value = row[field] ?? null;
    const found = readValue(each, value);
    if (found === undefined) {
      throw unreadable(
        `table ${name}, row ${number}, column ${nameOf(each)}: ` +
          `${describeValue(value)}, want ${each.kind.wanted}`,
      );
    }
    return [field, found];
  });
  // Every field of C, each read by its own kind.
  return Object.fromEntries(entries) as RowOf<Table<C>>;
}

function readValue(column: Column<unknown>, value: SqlValue): unknown {
  try {
    return column.kind.read(value);
  } catch (cause) {
    throw unreadable(
      `column ${nameOf(column)}: ${describeError(cause)}`,
      cause,
    );
  }
}

/** A value in words; bytes may be secret, and text may be anything. */
function describeValue(value: SqlValue): string {
  if (value === null) return "NULL";
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  return typeof value === "bigint" ? `${value}` : `a ${typeof value}`;
}
