/**
 * Where the state of shared signers is kept: what any storage server offers.
 *
 * Several devices of one node, and a Sphinx device that restarts, go on from the
 * same state because each of them puts every change here before it answers. The
 * server proves with MACs that it holds what was put, and versions that rise by
 * one show a second writer. The values themselves are opaque.
 *
 * | storage | where the state is |
 * | --- | --- |
 * | `storage/sqlite.ts` | `remote_hsmd/storage.db`, beside the node |
 * | `storage/grpc.ts` | a Lightning Storage Server (`lss_url`) |
 *
 * Facts: VLS lightning-storage-server, sphinx-key broker/src/lss.rs.
 *
 * What it does not do: speak with devices (`storage/session.ts`); read values.
 *
 * @module
 */

import type { LssEntry } from "../wire/lss.ts";
import type { Turns } from "./storage/turns.ts";

export type { LssEntry } from "../wire/lss.ts";

/** Who a device is to the storage, and what proves it. */
export interface StorageAuth {
  /** Public key, 33 bytes: one for all devices of a node. */
  readonly clientId: Uint8Array;
  /** SHA-256 of the secret that client and server share. */
  readonly token: Uint8Array;
}

/** All that a client has stored. */
export interface StorageContent {
  /** Sorted by key. */
  readonly entries: readonly LssEntry[];
  /** MAC(nonce, entries). */
  readonly hmac: Uint8Array;
  /** {@linkcode Storage.revision} when this was read, or before. */
  readonly revision: number;
}

/** What became of a put. */
export type PutOutcome =
  | {
    readonly kind: "stored";
    /** MAC(02, entries). */
    readonly hmac: Uint8Array;
  }
  | {
    readonly kind: "conflict";
    /** What is there under the keys that do not fit; version -1 for nothing. */
    readonly entries: readonly LssEntry[];
    /** MAC(02, entries of the put) if exactly these are there, and known. */
    readonly hmac: Uint8Array | null;
  };

/** A storage server. */
export interface Storage {
  /** What devices know it by: a public key of 33 bytes. */
  serverKey(): Promise<Uint8Array>;
  /**
   * Everything of a client.
   *
   * @throws {StorageUnavailable} when it may work later
   * @throws {StorageRefused} when it never will
   */
  get(auth: StorageAuth, nonce: Uint8Array): Promise<StorageContent>;
  /**
   * Stores all of the entries, sorted by key, or none; durably before it says
   * so. `hmac` is MAC(01, entries).
   *
   * @throws {StorageUnavailable} when it may have stored them or not
   * @throws {StorageRefused} when it stored nothing and never will
   */
  put(
    auth: StorageAuth,
    entries: readonly LssEntry[],
    hmac: Uint8Array,
  ): Promise<PutOutcome>;
  /** How many puts there were since the program started. */
  readonly revision: number;
  /** Who may read and then write what follows from it, one at a time. */
  readonly turns: Turns;
  close(): void;
}

/** The storage cannot be reached or used now; the same may work later. */
export class StorageUnavailable extends Error {
  override readonly name = "StorageUnavailable";
}

/** The storage says no, and will say it again. */
export class StorageRefused extends Error {
  override readonly name = "StorageRefused";
}
