/**
 * What a signer would work out again and again, kept: keys of a commitment, the
 * HTLCs of a record by what their scripts say, scripts of the wallet.
 *
 * Everything here is a memory of a pure function, like the ring of channel keys:
 * it changes how long an answer takes and nothing else, so states may share it.
 * The one exception is the list of transactions whose fee was counted: lost, a
 * fee is counted twice, which errs on the owner's side.
 *
 * What it does not do: hold more than its bounds, or hold a secret.
 *
 * @module
 */

import type { NodeKeys } from "../keyderiv/node.ts";
import type { PubKey, Txid } from "../wire/types.ts";
import type { ChannelRecord, CommitmentRecord } from "./records.ts";
import { WalletScripts } from "./wallet_scripts.ts";

/** Keys to remember: those of some hundred commitments. */
const REMEMBERED_KEYS = 4096;
/** Transactions whose fee was counted. */
const REMEMBERED_TXIDS = 1024;

/** Expiries of a commitment's HTLCs, by what script and amount say of them. */
export type HtlcNames = ReadonlyMap<string, readonly number[]>;

/** A map that forgets what came first when it is full. */
class BoundedMap<T> {
  readonly #limit: number;
  readonly #entries = new Map<string, T>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  set(key: string, value: T): void {
    if (this.#entries.size >= this.#limit) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.#entries.delete(oldest);
    }
    this.#entries.set(key, value);
  }
}

/** Public keys of a commitment, but for its funding output's. */
export interface DerivedKeys {
  readonly revocation: PubKey;
  readonly delayed: PubKey;
  readonly broadcasterHtlc: PubKey;
  readonly countersignerHtlc: PubKey;
}

/** The memory of pure functions that handlers share. */
export class KeyCache {
  readonly #commitments = new BoundedMap<DerivedKeys>(REMEMBERED_KEYS);
  readonly #keys = new BoundedMap<PubKey>(REMEMBERED_KEYS);
  readonly #charged = new BoundedMap<true>(REMEMBERED_TXIDS);
  readonly #htlcs = new WeakMap<CommitmentRecord, HtlcNames>();
  readonly #watched = new WeakMap<ChannelRecord, {
    readonly mark: unknown;
    readonly value: unknown;
  }>();
  readonly #wallets = new WeakMap<NodeKeys, WalletScripts>();

  /** The keys of one commitment, worked out now or before. */
  commitmentKeys(name: string, derive: () => DerivedKeys): DerivedKeys {
    const known = this.#commitments.get(name);
    if (known !== undefined) return known;
    const keys = derive();
    this.#commitments.set(name, keys);
    return keys;
  }

  /** A point of ours, worked out now or before. */
  point(name: string, derive: () => PubKey): PubKey {
    const known = this.#keys.get(name);
    if (known !== undefined) return known;
    const point = derive();
    this.#keys.set(name, point);
    return point;
  }

  /** A public key that two others make, worked out now or before. */
  derived(
    kind: string,
    basepoint: PubKey,
    point: PubKey,
    derive: (basepoint: PubKey, point: PubKey) => PubKey,
  ): PubKey {
    const name = `${kind}/${basepoint.toHex()}/${point.toHex()}`;
    return this.point(name, () => derive(basepoint, point));
  }

  /** The names of a record's HTLCs, made once for each record. */
  htlcsOf(
    record: CommitmentRecord,
    nameAll: (record: CommitmentRecord) => HtlcNames,
  ): HtlcNames {
    const known = this.#htlcs.get(record);
    if (known !== undefined) return known;
    const names = nameAll(record);
    this.#htlcs.set(record, names);
    return names;
  }

  /** What was made of a channel's record, while the mark is the same one. */
  watchedOf<T>(record: ChannelRecord, mark: unknown, make: () => T): T {
    const known = this.#watched.get(record);
    // One maker asks, and finds what it made.
    if (known !== undefined && known.mark === mark) return known.value as T;
    const value = make();
    this.#watched.set(record, { mark, value });
    return value;
  }

  /** The scripts of the wallet that these keys make. */
  walletOf(keys: NodeKeys): WalletScripts {
    const known = this.#wallets.get(keys);
    if (known !== undefined) return known;
    const scripts = new WalletScripts(keys);
    this.#wallets.set(keys, scripts);
    return scripts;
  }

  /** Whether the fee of a transaction was counted before. */
  isCharged(txid: Txid): boolean {
    return this.#charged.get(txid.toHex()) === true;
  }

  /** Notes that the fee of a transaction is counted. */
  noteCharged(txid: Txid): void {
    if (!this.isCharged(txid)) this.#charged.set(txid.toHex(), true);
  }
}
