/**
 * The records that a signer works with, decoded, and how they come from and go
 * to a card.
 *
 * A step only reads them. What it wants changed it says in writes; the shell
 * commits those to the card and, when they are durable, applies them here. So a
 * write that failed has never happened.
 *
 * What it does not do: touch a disk.
 *
 * @module
 */

import { DecodeError } from "../errors.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import type { Change, StoredValue } from "../store/store.ts";
import { type Codec, decode, encode } from "../wire/codec.ts";
import type { Msat, Outpoint, Sat, Sha256 } from "../wire/types.ts";
import {
  blockKey,
  blockOfRecord,
  CHAIN_RECORDS,
  chainOf,
  type ChainRecord,
  type MonitorRecord,
  recordOfBlock,
  type StoredChain,
} from "./chain_records.ts";
import {
  type ChannelRecord,
  type NodeRecord,
  type PaymentRecord,
  RECORDS,
} from "./records.ts";
import type { TrackedBlock } from "./tracker.ts";

/** A change that a step wants; null forgets. */
export type Write =
  | {
    readonly kind: "channel";
    readonly id: ChannelId;
    readonly record: ChannelRecord | null;
  }
  | {
    readonly kind: "payment";
    readonly hash: Sha256;
    readonly record: PaymentRecord | null;
  }
  | { readonly kind: "node"; readonly record: NodeRecord }
  | { readonly kind: "chain"; readonly record: ChainRecord | null }
  | { readonly kind: "block"; readonly block: TrackedBlock }
  | {
    readonly kind: "monitor";
    readonly id: ChannelId;
    readonly record: MonitorRecord | null;
  };

/** What a step may read. */
export interface Memory {
  channel(id: ChannelId): ChannelRecord | null;
  /** The channel that an output funds or may come to fund. */
  channelFundedBy(outpoint: Outpoint): ChannelRecord | null;
  /** All channels that were opened and not forgotten: how many. */
  readonly channelCount: number;
  /** Every channel that is remembered. */
  channels(): Iterable<ChannelRecord>;
  /** Where the chain stands; null before any has come. */
  chain(): StoredChain | null;
  /** What the chain did to a channel; null when nothing was ever noted. */
  monitor(id: ChannelId): MonitorRecord | null;
  payment(hash: Sha256): PaymentRecord | null;
  /** Every payment that is remembered. */
  payments(): Iterable<PaymentRecord>;
  /** How many of them were approved. */
  readonly approvalCount: number;
  node(): NodeRecord;
}

/** A node that has never done anything. */
export const FRESH_NODE: NodeRecord = {
  dbidHighWater: 0n,
  paid: { start: 0n, buckets: [] },
  fees: { start: 0n, buckets: [] },
  // Nothing, in its unit.
  loss: 0n as Sat,
  credit: 0n as Sat,
  walletHighWater: 0,
};

/** What a channel has before its first commitment. */
export const NO_COMMITMENTS = {
  holder: { next: 0n, current: [], pending: [], signed: null },
  counterparty: {
    next: 0n,
    revoked: 0n,
    current: [],
    previous: [],
    currentPoint: null,
    previousPoint: null,
    secrets: [],
  },
  closes: [],
  presigned: [],
  // Nothing, in its unit.
  holderLoss: 0n as Sat,
  counterpartyLoss: 0n as Sat,
} as const;

/** A channel that was named and not set up. */
export function freshChannel({ peerId, dbid }: ChannelId): ChannelRecord {
  return {
    ...NO_COMMITMENTS,
    peerId,
    dbid,
    setup: null,
    fundings: [],
    isForgotten: false,
  };
}

/** A payment that nothing is known of. */
export function freshPayment(paymentHash: Sha256): PaymentRecord {
  return {
    paymentHash,
    approval: null,
    // Nothing, in its unit.
    consented: 0n as Msat,
    settled: 0n as Msat,
    incoming: [],
    outgoing: [],
  };
}

/** Key of a channel on the card. */
function channelKey({ peerId, dbid }: ChannelId): string {
  return `${RECORDS.channel.prefix}${peerId.toHex()}/${dbid}`;
}

/** Key of what the chain did to a channel, on the card. */
function monitorKey({ peerId, dbid }: ChannelId): string {
  return `${CHAIN_RECORDS.monitor.prefix}${peerId.toHex()}/${dbid}`;
}

/** Key of a payment on the card. */
function paymentKey(hash: Sha256): string {
  return `${RECORDS.payment.prefix}${hash.toHex()}`;
}

const fundingKey = ({ txid, index }: Outpoint) => `${txid.toHex()}:${index}`;

function pack<T>(format: number, codec: Codec<T>, value: T): Uint8Array {
  const body = encode(codec, value);
  const bytes = new Uint8Array(1 + body.length);
  bytes[0] = format;
  bytes.set(body, 1);
  return bytes;
}

function unpack<T>(
  { format, codec }: { readonly format: number; readonly codec: Codec<T> },
  { key, value }: StoredValue,
): T {
  if (value[0] !== format) {
    const found = `format ${value[0] ?? "missing"}, want ${format}`;
    throw new DecodeError(key, "format", 0, found);
  }
  return decode(codec, value.subarray(1), key);
}

/** A write as the card takes it. */
export function encodeWrite(write: Write): Change {
  switch (write.kind) {
    case "channel": {
      const { format, codec } = RECORDS.channel;
      const { id, record } = write;
      const value = record && pack(format, codec, record);
      return { key: channelKey(id), value };
    }
    case "payment": {
      const { format, codec } = RECORDS.payment;
      const { hash, record } = write;
      const value = record && pack(format, codec, record);
      return { key: paymentKey(hash), value };
    }
    case "node": {
      const { prefix, format, codec } = RECORDS.node;
      return { key: prefix, value: pack(format, codec, write.record) };
    }
    case "chain": {
      const { prefix, format, codec } = CHAIN_RECORDS.chain;
      const { record } = write;
      return { key: prefix, value: record && pack(format, codec, record) };
    }
    case "block": {
      const { format, codec } = CHAIN_RECORDS.block;
      const record = recordOfBlock(write.block);
      const value = pack(format, codec, record);
      return { key: blockKey(record.height), value };
    }
    case "monitor": {
      const { format, codec } = CHAIN_RECORDS.monitor;
      const { id, record } = write;
      const value = record && pack(format, codec, record);
      return { key: monitorKey(id), value };
    }
  }
}

/** 1 for a channel that takes a place, 0 for none. */
function openOf(record: ChannelRecord | null): number {
  return record === null || record.isForgotten ? 0 : 1;
}

/** The records in memory. */
export class SignerMemory implements Memory {
  readonly #channels = new Map<string, ChannelRecord>();
  readonly #fundings = new Map<string, ChannelRecord>();
  readonly #payments = new Map<string, PaymentRecord>();
  readonly #monitors = new Map<string, MonitorRecord>();
  readonly #blocks = new Map<number, TrackedBlock>();
  #chain: StoredChain | null = null;
  #node = FRESH_NODE;
  #open = 0;
  #approved = 0;

  /**
   * Takes what a card holds; keys of other kinds are not for this.
   *
   * @throws {DecodeError} naming the key that is damaged
   */
  static load(values: Iterable<StoredValue>): SignerMemory {
    const memory = new SignerMemory();
    const later: ChainRecord[] = [];
    for (const stored of values) memory.#take(stored, later);
    // What it spans is there by now.
    memory.apply(later.map((record) => ({ kind: "chain", record })));
    return memory;
  }

  #take(stored: StoredValue, later: ChainRecord[]): void {
    const { key } = stored;
    if (key.startsWith(RECORDS.channel.prefix)) {
      const record = unpack(RECORDS.channel, stored);
      const { peerId, dbid } = record;
      this.apply([{ kind: "channel", id: { peerId, dbid }, record }]);
    } else if (key.startsWith(RECORDS.payment.prefix)) {
      const record = unpack(RECORDS.payment, stored);
      this.apply([{ kind: "payment", hash: record.paymentHash, record }]);
    } else if (key === RECORDS.node.prefix) {
      this.#node = unpack(RECORDS.node, stored);
    } else if (key === CHAIN_RECORDS.chain.prefix) {
      later.push(unpack(CHAIN_RECORDS.chain, stored));
    } else if (key.startsWith(CHAIN_RECORDS.block.prefix)) {
      const block = blockOfRecord(unpack(CHAIN_RECORDS.block, stored));
      this.#blocks.set(block.point.height, block);
    } else if (key.startsWith(CHAIN_RECORDS.monitor.prefix)) {
      const record = unpack(CHAIN_RECORDS.monitor, stored);
      this.#monitors.set(monitorKey(record), record);
    }
  }

  /** Makes changes that are durable the truth. */
  apply(writes: readonly Write[]): void {
    for (const write of writes) this.#apply(write);
  }

  #apply(write: Write): void {
    switch (write.kind) {
      case "node":
        this.#node = write.record;
        return;
      case "channel":
        return this.#setChannel(write);
      case "payment":
        return this.#setPayment(write);
      case "chain":
        return this.#setChain(write.record);
      case "block":
        this.#blocks.set(write.block.point.height, write.block);
        return;
      case "monitor":
        return this.#setMonitor(write);
    }
  }

  /** Blocks that do not count are forgotten. */
  #setChain(record: ChainRecord | null): void {
    for (const height of this.#blocks.keys()) {
      const counts = record !== null && height >= record.lowest &&
        height <= record.tip;
      if (!counts) this.#blocks.delete(height);
    }
    this.#chain = record && chainOf(record, this.#blocks);
  }

  #setMonitor({ id, record }: Write & { readonly kind: "monitor" }): void {
    const key = monitorKey(id);
    if (record === null) this.#monitors.delete(key);
    else this.#monitors.set(key, record);
  }

  #setPayment({ hash, record }: Write & { readonly kind: "payment" }): void {
    const key = paymentKey(hash);
    const isApproved = (payment: PaymentRecord | null | undefined) =>
      payment?.approval ? 1 : 0;
    this.#approved += isApproved(record) - isApproved(this.#payments.get(key));
    if (record === null) this.#payments.delete(key);
    else this.#payments.set(key, record);
  }

  #setChannel({ id, record }: Write & { readonly kind: "channel" }): void {
    const key = channelKey(id);
    const before = this.#channels.get(key) ?? null;
    this.#open += openOf(record) - openOf(before);
    for (const { outpoint } of before?.fundings ?? []) {
      this.#fundings.delete(fundingKey(outpoint));
    }
    if (record === null) {
      this.#channels.delete(key);
      return;
    }
    this.#channels.set(key, record);
    for (const { outpoint } of record.fundings) {
      this.#fundings.set(fundingKey(outpoint), record);
    }
  }

  channel(id: ChannelId): ChannelRecord | null {
    return this.#channels.get(channelKey(id)) ?? null;
  }

  channelFundedBy(outpoint: Outpoint): ChannelRecord | null {
    return this.#fundings.get(fundingKey(outpoint)) ?? null;
  }

  channels(): Iterable<ChannelRecord> {
    return this.#channels.values();
  }

  chain(): StoredChain | null {
    return this.#chain;
  }

  monitor(id: ChannelId): MonitorRecord | null {
    return this.#monitors.get(monitorKey(id)) ?? null;
  }

  get channelCount(): number {
    return this.#open;
  }

  payment(hash: Sha256): PaymentRecord | null {
    return this.#payments.get(paymentKey(hash)) ?? null;
  }

  payments(): Iterable<PaymentRecord> {
    return this.#payments.values();
  }

  get approvalCount(): number {
    return this.#approved;
  }

  node(): NodeRecord {
    return this.#node;
  }
}
