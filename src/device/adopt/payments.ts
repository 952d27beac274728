/**
 * Payments that were under way when a node's database was written: what the
 * rules for payments have to know of them, so that they can come to their end.
 *
 * What goes out and is not covered by what comes in was paid by the owner, while
 * the node's keys were in it: it counts as consented. A forward whose outgoing
 * part was paid has to bring its incoming part in.
 *
 * What it does not do: judge (`policy/payments.ts`).
 *
 * @module
 */

import type { ChannelId } from "../../keyderiv/channel.ts";
import { type HashTotals, totalsOf } from "../../policy/payments.ts";
import { freshPayment, type Write } from "../../signer/memory.ts";
import type {
  ChannelAmount,
  ChannelRecord,
  PaymentRecord,
} from "../../signer/records.ts";
import type { Sha256 } from "../../wire/types.ts";
import { msat } from "./commitments.ts";
import type { HtlcRow } from "./rows.ts";

/** Builds payment records, starting from those that a card has. */
export class PaymentBook {
  readonly #records = new Map<string, PaymentRecord>();
  readonly #touched = new Set<string>();

  constructor(known: Iterable<PaymentRecord>) {
    for (const record of known) {
      this.#records.set(record.paymentHash.toHex(), record);
    }
  }

  /** Takes what a channel holds now, in the place of what it held before. */
  takeChannel(record: ChannelRecord): void {
    this.#forget(record);
    for (const totals of totalsOf(statesOf(record)).values()) {
      this.#add(record, totals);
    }
  }

  /** Takes what was paid on and whose incoming part is still there. */
  takePaid(htlcs: readonly HtlcRow[]): void {
    const byHash = Map.groupBy(htlcs, (htlc) => htlc.paymentHash.toHex());
    for (const parts of byHash.values()) {
      const [first] = parts;
      if (first === undefined) continue;
      const record = this.#recordOf(first.paymentHash);
      const sum = parts.reduce((total, { amount }) => total + amount, 0n);
      // The card may have counted the same.
      const isMore = sum > record.settled;
      this.#set(isMore ? { ...record, settled: msat(sum) } : record);
    }
  }

  #forget(id: ChannelId): void {
    const isOther = ({ peerId, dbid }: ChannelAmount) =>
      dbid !== id.dbid || peerId.toHex() !== id.peerId.toHex();
    for (const record of this.#records.values()) {
      const incoming = record.incoming.filter(isOther);
      const outgoing = record.outgoing.filter(isOther);
      const isSame = incoming.length === record.incoming.length &&
        outgoing.length === record.outgoing.length;
      if (!isSame) this.#set({ ...record, incoming, outgoing });
    }
  }

  #add({ peerId, dbid }: ChannelId, totals: HashTotals): void {
    const record = this.#recordOf(totals.paymentHash);
    const here = (amount: bigint, cltv: number) =>
      amount === 0n ? [] : [{ peerId, dbid, amount: msat(amount), cltv }];
    this.#set({
      ...record,
      incoming: [
        ...record.incoming,
        ...here(totals.incoming, totals.incomingCltv),
      ],
      outgoing: [
        ...record.outgoing,
        ...here(totals.outgoing, totals.outgoingCltv),
      ],
    });
  }

  #recordOf(paymentHash: Sha256): PaymentRecord {
    return this.#records.get(paymentHash.toHex()) ??
      freshPayment(paymentHash);
  }

  #set(record: PaymentRecord): void {
    const key = record.paymentHash.toHex();
    this.#records.set(key, record);
    this.#touched.add(key);
  }

  /** What changed; a payment that means nothing any more is forgotten. */
  writes(): readonly Write[] {
    return [...this.#touched].flatMap((key): Write[] => {
      const record = this.#records.get(key);
      if (record === undefined) return [];
      const { incoming, outgoing, approval, paymentHash: hash } = record;
      const isOver = incoming.length === 0 && outgoing.length === 0 &&
        approval === null;
      return [{
        kind: "payment",
        hash,
        record: isOver ? null : withConsent(record),
      }];
    });
  }
}

const sumOf = (entries: readonly ChannelAmount[]) =>
  entries.reduce((total, { amount }) => total + amount, 0n);

function withConsent(record: PaymentRecord): PaymentRecord {
  const { incoming, outgoing, settled, approval, consented } = record;
  const covered = sumOf(incoming) + (approval?.amount ?? 0n);
  const missing = sumOf(outgoing) + settled - covered;
  return missing > consented ? { ...record, consented: msat(missing) } : record;
}

/** The HTLCs of each commitment that may be broadcast, by its outputs. */
function statesOf({ holder, counterparty }: ChannelRecord) {
  return [
    holder.current,
    holder.pending,
    counterparty.current,
    counterparty.previous,
  ].filter((list) => list.length > 0)
    .map((list) => list.map(({ htlcs }) => htlcs));
}
