/**
 * A storage in a folder of its own, and a client of it that knows the sums.
 *
 * What it does not do: speak as a device does; see tests/sphinx.
 *
 * @module
 */

import {
  openSqliteStorage,
  type ServerIdentity,
  type StoragePlaces,
} from "../../src/broker/storage/sqlite.ts";
import type {
  PutOutcome,
  Storage,
  StorageAuth,
} from "../../src/broker/storage.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { deriveStorageKey } from "../../src/keyderiv/storage_key.ts";
import type { LssEntry } from "../../src/wire/lss.ts";
import {
  authToken,
  lssMac,
  PUT_NONCE,
  sharedSecret,
} from "../../src/wire/lss_mac.ts";

/** 32 bytes of one kind. */
export function bytes32(value: number): Uint8Array {
  return new Uint8Array(32).fill(value);
}

/** A device's side of the sums. */
export class StorageClient {
  readonly auth: StorageAuth;
  readonly shared: Secret;

  constructor(serverKey: Uint8Array, seed: Uint8Array) {
    const key = deriveStorageKey(new Secret(seed));
    this.shared = sharedSecret(key.secret, serverKey);
    this.auth = { clientId: key.point, token: authToken(this.shared) };
  }

  /** MAC of a put. */
  sign(entries: readonly LssEntry[]): Uint8Array {
    return lssMac(this.shared, PUT_NONCE, entries);
  }

  put(
    storage: Storage,
    entries: readonly LssEntry[],
  ): Promise<PutOutcome> {
    return storage.put(this.auth, entries, this.sign(entries));
  }

  /** Everything, as text. */
  async read(storage: Storage): Promise<string[]> {
    const { entries } = await storage.get(this.auth, bytes32(7));
    return entries.map(show);
  }
}

/** An entry of text. */
export function entryOf(
  key: string,
  version: bigint | number,
  value: string,
): LssEntry {
  return {
    key,
    version: BigInt(version),
    value: new TextEncoder().encode(value),
  };
}

/** An entry as a person writes it. */
export function show({ key, version, value }: LssEntry): string {
  return `${key} ${version} ${new TextDecoder().decode(value)}`;
}

/** Runs with a folder that is gone afterwards. */
export async function withFolder<T>(
  run: (places: StoragePlaces) => Promise<T> | T,
): Promise<T> {
  const folder = await Deno.makeTempDir();
  try {
    return await run({
      database: `${folder}/storage.db`,
      keyFile: `${folder}/storage_key`,
    });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** Runs with a storage, and a client that it does not know yet. */
export function withStorage(
  run: (storage: Storage, client: StorageClient) => Promise<void> | void,
  identity?: ServerIdentity,
): Promise<void> {
  return withFolder(async (places) => {
    const storage = openSqliteStorage(places, identity && { identity });
    try {
      const key = await storage.serverKey();
      await run(storage, new StorageClient(key, bytes32(1)));
    } finally {
      storage.close();
    }
  });
}
