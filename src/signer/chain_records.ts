/**
 * How the chain is remembered: where it stands, its last blocks, and what it did
 * to each channel.
 *
 * | key | what | written |
 * | --- | --- | --- |
 * | chain/tip | lowest and newest block that count, the most work seen | with each block |
 * | chain/block/NNNN | a block: header, work, times; a ring by height | once a block |
 * | chain/monitor/peer/dbid | events of a channel, claims, alarms told | when something happens |
 *
 * A block costs two small rows, whatever the height: the ring is overwritten, and
 * what `chain/tip` does not span does not count. So a reorg writes one row, and
 * the card does not grow with the chain.
 *
 * What it does not do: decide. That is `tracker.ts` and `monitor.ts`.
 *
 * @module
 */

import type { ChainPoint } from "../bitcoin/difficulty.ts";
import { decodeHeader, encodeHeader, hashHeader } from "../bitcoin/header.ts";
import { DecodeError } from "../errors.ts";
import {
  bool,
  choice,
  type Codec,
  fixed,
  list,
  option,
  struct,
  u32,
  u64,
  type ValueOf,
} from "../wire/codec.ts";
import { bitcoinOutpoint, filterHeader, rawHeader } from "../wire/txoo.ts";
import {
  chainparams as blockHash,
  hsmHtlc,
  nodeId,
  octets,
  txid,
} from "../wire/types.ts";
import type {
  ChannelEvent,
  Closing,
  MonitorState,
  OpenOutput,
  OutputRole,
} from "./monitor.ts";
import type { Blocks, TrackedBlock } from "./tracker.ts";

/** Slots of the ring of blocks: more than a reorg may ever take back. */
const BLOCK_SLOTS = 1024;

/** A number below 2^256, such as the work in a chain. */
const work: Codec<bigint> = {
  ...fixed<Uint8Array>("work", 32),
  encode: (writer, value) =>
    writer.bytes(Uint8Array.fromHex(value.toString(16).padStart(64, "0"))),
  decode: (reader) => BigInt(`0x${reader.bytes(32).toHex()}`),
};

/** An output's name in a set: see `outpointKey` of `bitcoin/txo_proof.ts`. */
const outputKey: Codec<string> = {
  ...fixed<Uint8Array>("output", 36),
  encode: (writer, value) => writer.bytes(Uint8Array.fromHex(value)),
  decode: (reader) => reader.bytes(36).toHex(),
};

// ----------------------------------------------------------------- the chain

/** This program vouches for the first block, or its network's rules do. */
export const ORIGIN_BUILT_IN = 0;
/** The node named the first block, and was believed. */
export const ORIGIN_NODE = 1;

/** Which of the blocks in the ring count. */
const chainRecord = struct("chain", {
  origin: choice("origin", [ORIGIN_BUILT_IN, ORIGIN_NODE]),
  /** Height of the first block. */
  start: u32,
  /** The lowest block that is kept. */
  lowest: u32,
  tip: u32,
  bestHeight: u32,
  bestHash: blockHash,
  bestWork: work,
});
export type ChainRecord = ValueOf<typeof chainRecord>;

/** A block, with what the next one's rules ask for. */
const blockRecord = struct("block", {
  height: u32,
  header: rawHeader,
  filterHeader,
  work,
  times: list(u32),
  periodTime: u32,
  periodBits: u32,
  usualBits: u32,
});
export type BlockRecord = ValueOf<typeof blockRecord>;

/** A block as the card keeps it. */
export function recordOfBlock(
  { point, filterHeader }: TrackedBlock,
): BlockRecord {
  const { height, header, work, times, period, usualBits } = point;
  return {
    height,
    header: encodeHeader(header),
    filterHeader,
    work,
    times,
    periodTime: period.time,
    periodBits: period.bits,
    usualBits,
  };
}

/** A block as the tracker has it. */
export function blockOfRecord(record: BlockRecord): TrackedBlock {
  const { height, work, times, usualBits, filterHeader } = record;
  const header = decodeHeader(record.header);
  const point: ChainPoint = {
    height,
    header,
    hash: hashHeader(header),
    work,
    times,
    period: { time: record.periodTime, bits: record.periodBits },
    usualBits,
  };
  return { point, filterHeader };
}

/** A chain with the blocks that count. */
export interface StoredChain extends Blocks {
  readonly record: ChainRecord;
}

/** Puts the blocks together. @throws {DecodeError} when one is missing */
export function chainOf(
  record: ChainRecord,
  blocks: ReadonlyMap<number, TrackedBlock>,
): StoredChain {
  const { lowest, tip, bestHeight, bestHash, bestWork } = record;
  const blockAt = (height: number) =>
    blocks.get(height) ?? missing(height, record);
  const others = Array.from(
    { length: Math.max(0, tip - lowest) },
    (_, i) => blockAt(lowest + 1 + i),
  );
  return {
    record,
    recent: [blockAt(lowest), ...others],
    best: { height: bestHeight, hash: bestHash, work: bestWork },
  };
}

function missing(height: number, { lowest, tip }: ChainRecord): never {
  throw new DecodeError(
    "chain/block",
    `${height}`,
    0,
    `missing, want all from ${lowest} to ${tip}`,
  );
}

// ------------------------------------------------------------------- monitors

const ROLES = ["ours", "theirs", "anchor", "any", "second_level", "htlc"];
const CLOSINGS = ["mutual", "splice", "unknown", "commitment"];
const EVENTS = ["funded", "double_spent", "closed", "spent"];

const numbers = (names: readonly string[]) => names.map((_, i) => i);

const openOutput = struct("open_output", {
  key: outputKey,
  role: choice("role", numbers(ROLES)),
  htlc: option(hsmHtlc),
  secondLevel: option(octets),
});

const closingRecord = struct("closing", {
  kind: choice("closing", numbers(CLOSINGS)),
  isOurs: bool,
  number: u64,
  isRevoked: bool,
  isKnown: bool,
});

const eventRecord = struct("event", {
  kind: choice("event", numbers(EVENTS)),
  height: u32,
  /** The funding output, or the one that was spent. */
  key: outputKey,
  txid: option(txid),
  closing: option(closingRecord),
  outputs: list(openOutput),
});
type EventRecord = ValueOf<typeof eventRecord>;

const fundingInputs = struct("funding_inputs", {
  funding: outputKey,
  inputs: list(bitcoinOutpoint),
});

const monitorCodec = struct("monitor", {
  peerId: nodeId,
  dbid: u64,
  /** Unix seconds: no block from before can concern the channel. */
  since: u64,
  events: list(eventRecord),
  /** Outputs for which we signed a claim. */
  claimed: list(outputKey),
  /** What the transactions spend that we signed to fund it. */
  inputs: list(fundingInputs),
  /** Names of the alarms that stand. */
  told: list(octets),
});

/** What a transaction that funds a channel spends. */
export type FundingInputs = ValueOf<typeof fundingInputs>;

/** What the chain did to one channel, and what was made of it. */
export interface MonitorRecord extends MonitorState {
  readonly peerId: ValueOf<typeof nodeId>;
  readonly dbid: bigint;
  readonly since: bigint;
  readonly claimed: readonly string[];
  readonly inputs: readonly FundingInputs[];
  readonly told: readonly string[];
}

/** Monitors as they are on a card. */
const monitorRecord: Codec<MonitorRecord> = {
  name: "monitor",
  minSize: monitorCodec.minSize,
  maxSize: monitorCodec.maxSize,
  shape: monitorCodec.shape,
  encode(writer, value) {
    const told = value.told.map((name) => new TextEncoder().encode(name));
    const events = value.events.map(packEvent);
    monitorCodec.encode(writer, { ...value, events, told });
  },
  decode(reader) {
    const value = monitorCodec.decode(reader);
    const told = value.told.map((name) => new TextDecoder().decode(name));
    const events = value.events.map((event) =>
      unpackEvent(event) ?? reader.fail("an event without its parts")
    );
    return { ...value, events, told };
  },
};

function packEvent(event: ChannelEvent): EventRecord {
  const kind = EVENTS.indexOf(event.kind);
  const { height } = event;
  const key = event.kind === "spent" ? event.key : event.funding;
  return {
    kind,
    height,
    key,
    txid: event.kind === "funded" ? null : event.txid,
    closing: event.kind === "closed" ? packClosing(event.closing) : null,
    outputs: "outputs" in event ? event.outputs.map(packOutput) : [],
  };
}

function packClosing(closing: Closing): ValueOf<typeof closingRecord> {
  const kind = CLOSINGS.indexOf(closing.kind);
  if (closing.kind === "commitment") return { ...closing, kind };
  const nothing = { isOurs: false, isRevoked: false, isKnown: false };
  return { kind, number: 0n, ...nothing };
}

function packOutput({ key, role }: OpenOutput): ValueOf<typeof openOutput> {
  const isHtlc = role.kind === "htlc";
  return {
    key,
    role: ROLES.indexOf(role.kind),
    htlc: isHtlc ? role.htlc : null,
    secondLevel: isHtlc ? role.secondLevel : null,
  };
}

function unpackEvent(event: EventRecord): ChannelEvent | null {
  const { height, key, txid } = event;
  const kind = EVENTS[event.kind];
  if (kind === "funded") return { kind, height, funding: key };
  if (txid === null) return null;
  if (kind === "double_spent") return { kind, height, funding: key, txid };
  const outputs = event.outputs.map(unpackOutput).filter((one) => one !== null);
  if (outputs.length !== event.outputs.length) return null;
  if (kind === "spent") return { kind, height, key, txid, outputs };
  const closing = event.closing && unpackClosing(event.closing);
  if (kind !== "closed" || !closing) return null;
  return { kind, height, funding: key, txid, closing, outputs };
}

function unpackClosing(record: ValueOf<typeof closingRecord>): Closing | null {
  const kind = CLOSINGS[record.kind];
  switch (kind) {
    case "mutual":
    case "splice":
    case "unknown":
      return { kind };
    case "commitment":
      return { ...record, kind };
  }
  return null;
}

function unpackOutput(
  { key, role, htlc, secondLevel }: ValueOf<typeof openOutput>,
): OpenOutput | null {
  const unpacked = unpackRole(ROLES[role], htlc, secondLevel);
  return unpacked && { key, role: unpacked };
}

function unpackRole(
  kind: string | undefined,
  htlc: ValueOf<typeof hsmHtlc> | null,
  secondLevel: Uint8Array | null,
): OutputRole | null {
  switch (kind) {
    case "ours":
    case "theirs":
    case "anchor":
    case "any":
    case "second_level":
      return { kind };
    case "htlc":
      return htlc && { kind, htlc, secondLevel };
  }
  return null;
}

// ---------------------------------------------------------------------- kinds

/** Every kind of record about the chain: how its key starts, and its format. */
export const CHAIN_RECORDS = {
  chain: { prefix: "chain/tip", format: 1, codec: chainRecord },
  block: { prefix: "chain/block/", format: 1, codec: blockRecord },
  monitor: { prefix: "chain/monitor/", format: 1, codec: monitorRecord },
} as const;

/** Key of a block on the card. */
export function blockKey(height: number): string {
  const slot = String(height % BLOCK_SLOTS).padStart(4, "0");
  return `${CHAIN_RECORDS.block.prefix}${slot}`;
}
