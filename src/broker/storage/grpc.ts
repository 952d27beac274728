/**
 * A Lightning Storage Server somewhere else, over gRPC (`lss_url`).
 *
 * The broker is a messenger here: device and server know each other by a secret
 * that it has no part in, so that it can neither forge what is stored nor check
 * it. What it must get right is what a failed call means:
 *
 * | the call ended with | then |
 * | --- | --- |
 * | invalid_argument, unauthenticated, permission_denied, … | refused for good |
 * | anything else, a time-out too | may be stored or not: try again |
 *
 * Facts: VLS lightning-storage-server, `lss_pb.ts`.
 *
 * What it does not do: see puts of other programs at the same server; those show
 * as conflicts.
 *
 * @module
 */

import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ConfigError } from "../../errors.ts";
import type { LssEntry } from "../../wire/lss.ts";
import {
  type PutOutcome,
  type Storage,
  type StorageAuth,
  type StorageContent,
  StorageRefused,
  StorageUnavailable,
} from "../storage.ts";
import { Http2Calls } from "./http2_calls.ts";
import { type KeyValue, LightningStorage } from "./lss_pb.ts";
import { checkForm } from "./rules.ts";
import { Turns } from "./turns.ts";

/** A call that takes longer has failed. */
const CALL_MS = 10_000;
const KEY_SIZE = 33;
const HMAC_SIZE = 32;

/** What will not change by asking again. */
const FINAL: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.Unauthenticated,
  Code.PermissionDenied,
  Code.NotFound,
  Code.Unimplemented,
  Code.OutOfRange,
  Code.DataLoss,
]);

/** How calls are made. */
export interface GrpcStorageOptions {
  /** For tests: how long a call may take. */
  readonly callMs?: number;
}

/** Uses the server at an address; connects with the first call. */
export function connectGrpcStorage(
  url: string,
  { callMs = CALL_MS }: GrpcStorageOptions = {},
): Storage {
  return new GrpcStorage(checkUrl(url), callMs);
}

function checkUrl(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed?.protocol === "http:" || parsed?.protocol === "https:") {
    return parsed.origin;
  }
  throw new ConfigError(
    "lss_url",
    "the settings",
    "no address of a storage server",
    "http://HOST:PORT or https://HOST:PORT",
  );
}

class GrpcStorage implements Storage {
  readonly turns: Turns = new Turns();
  readonly #connection: Http2Calls;
  readonly #calls: ReturnType<typeof clientOf>;
  readonly #url: string;
  #revision = 0;

  constructor(url: string, callMs: number) {
    this.#url = url;
    this.#connection = new Http2Calls(url);
    this.#calls = clientOf(url, this.#connection, callMs);
  }

  get revision(): number {
    return this.#revision;
  }

  async serverKey(): Promise<Uint8Array> {
    const { serverId } = await this.#call(() => this.#calls.info({}));
    if (serverId.length === KEY_SIZE) return serverId;
    throw this.#odd(`a key of ${serverId.length} bytes, want ${KEY_SIZE}`);
  }

  async get(auth: StorageAuth, nonce: Uint8Array): Promise<StorageContent> {
    const revision = this.#revision;
    const { kvs, hmac } = await this.#call(() =>
      this.#calls.get({ auth: authOf(auth), keyPrefix: "", nonce })
    );
    return { entries: kvs.map(entryOf), hmac: this.#hmacOf(hmac), revision };
  }

  async put(
    auth: StorageAuth,
    entries: readonly LssEntry[],
    hmac: Uint8Array,
  ): Promise<PutOutcome> {
    checkForm(entries);
    const kvs = entries.map(({ key, version, value }) => ({
      key,
      version,
      value,
    }));
    try {
      const reply = await this.#call(() =>
        this.#calls.put({ auth: authOf(auth), kvs, hmac })
      );
      if (!reply.success) {
        const hmac = reply.hmac.length === HMAC_SIZE ? reply.hmac : null;
        const there = reply.conflicts.map(entryOf);
        return { kind: "conflict", entries: there, hmac };
      }
      this.#revision += 1;
      return { kind: "stored", hmac: this.#hmacOf(reply.hmac) };
    } catch (error) {
      // It may be there all the same: others cannot be sure to have everything.
      if (error instanceof StorageUnavailable) this.#revision += 1;
      throw error;
    }
  }

  close(): void {
    this.#connection.drop();
  }

  #hmacOf(hmac: Uint8Array): Uint8Array {
    if (hmac.length === HMAC_SIZE) return hmac;
    throw this.#odd(`a MAC of ${hmac.length} bytes, want ${HMAC_SIZE}`);
  }

  #odd(problem: string): StorageRefused {
    return new StorageRefused(
      `Cannot use the storage ${this.#url}: ${problem}`,
    );
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (cause) {
      const { code, rawMessage } = ConnectError.from(cause);
      const words = rawMessage.replace(/[^\x20-\x7e]/g, "?").slice(0, 200);
      const text = `${Code[code] ?? code}: ${words}`;
      if (FINAL.has(code)) throw this.#odd(text);
      // It may be dead without a word; the next call has a new one.
      this.#connection.drop();
      throw new StorageUnavailable(
        `Cannot reach the storage ${this.#url}: ${text}`,
        { cause },
      );
    }
  }
}

function clientOf(
  baseUrl: string,
  sessionManager: Http2Calls,
  defaultTimeoutMs: number,
) {
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager,
    defaultTimeoutMs,
  });
  return createClient(LightningStorage, transport);
}

function authOf({ clientId, token }: StorageAuth) {
  return { clientId, token };
}

function entryOf({ key, version, value }: KeyValue): LssEntry {
  return { key, version, value };
}
