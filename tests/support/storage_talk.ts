/**
 * A storage session with somebody at its other end: what it sends and says comes
 * out in order, one thing at a time.
 *
 * @module
 */

import assert from "node:assert/strict";
import type { Storage } from "../../src/broker/storage.ts";
import {
  StorageSession,
  type StorageSessionOptions,
} from "../../src/broker/storage/session.ts";
import {
  decodeFromBroker,
  encodeFromDevice,
  type LssEntry,
  type LssFromBroker,
} from "../../src/wire/lss.ts";
import { lssMac } from "../../src/wire/lss_mac.ts";
import type { StorageClient } from "./storage.ts";

/** What a session did: sent a message, or called back. */
export type Deed =
  | {
    readonly kind: "sent";
    readonly name: string;
    readonly payload: Uint8Array;
  }
  | { readonly kind: "synced" }
  | { readonly kind: "behind" | "failed"; readonly reason: string };

/** A session under test. */
export class Talk {
  readonly session: StorageSession;
  readonly lines: string[] = [];
  readonly #deeds: Deed[] = [];
  readonly #waiting: ((deed: Deed) => void)[] = [];

  constructor(
    storage: Storage,
    options: Partial<StorageSessionOptions> = {},
  ) {
    this.session = new StorageSession({
      storage,
      dialect: "sphinx",
      send: (name, payload) => {
        this.#add({ kind: "sent", name, payload });
        return true;
      },
      log: (level, text) => this.lines.push(`${level}: ${text}`),
      describe: () => "d1 (sphinx)",
      synced: () => this.#add({ kind: "synced" }),
      behind: (reason) => this.#add({ kind: "behind", reason }),
      failed: (reason) => this.#add({ kind: "failed", reason }),
      ...options,
    });
  }

  #add(deed: Deed): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) this.#deeds.push(deed);
    else waiting(deed);
  }

  /** The next thing that it does. */
  next(): Promise<Deed> {
    const deed = this.#deeds.shift();
    if (deed !== undefined) return Promise.resolve(deed);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** What it did and nobody asked for yet. */
  get left(): readonly Deed[] {
    return this.#deeds;
  }

  /** Its next message, which must have this topic. */
  async sent(name: string): Promise<LssFromBroker> {
    return decodeFromBroker(await this.sentBytes(name));
  }

  /** As {@linkcode Talk.sent}, as it was sent. */
  async sentBytes(name: string): Promise<Uint8Array> {
    const deed = await this.next();
    assert.equal(deed.kind === "sent" ? deed.name : deed.kind, name, say(deed));
    return deed.kind === "sent" ? deed.payload : new Uint8Array();
  }

  /** Its next word, which must be this. */
  async said(kind: "synced" | "behind" | "failed"): Promise<string> {
    const deed = await this.next();
    assert.equal(deed.kind, kind, say(deed));
    return "reason" in deed ? deed.reason : "";
  }

  /** init-1-res */
  sayInit({ auth }: StorageClient, nonce: Uint8Array | null): void {
    const value = { clientId: auth.clientId, authToken: auth.token, nonce };
    this.session.take("init-1-res", encodeFromDevice({ kind: "Init", value }));
  }

  /** init-2-res */
  sayCreated(client: StorageClient, muts: readonly LssEntry[]): void {
    const value = { clientHmac: client.sign(muts), muts };
    this.session.take(
      "init-2-res",
      encodeFromDevice({ kind: "Created", value }),
    );
  }

  /** lss-res */
  sayChanges(client: StorageClient, muts: readonly LssEntry[]): void {
    const value = { clientHmac: client.sign(muts), muts };
    this.session.take("lss-res", encodeFromDevice({ kind: "VlsMuts", value }));
  }

  /** The whole dance; gives what the device was told to be stored. */
  async dance(
    client: StorageClient,
    changes: readonly LssEntry[] = [],
  ): Promise<readonly LssEntry[]> {
    this.session.start();
    return await this.danceOn(client, changes);
  }

  /** The dance that was begun. */
  async danceOn(
    client: StorageClient,
    changes: readonly LssEntry[] = [],
  ): Promise<readonly LssEntry[]> {
    await this.sent("init-1-msg");
    const nonce = crypto.getRandomValues(new Uint8Array(32));
    this.sayInit(client, nonce);
    const created = await this.sent("init-2-msg");
    assert.ok(created.kind === "Created");
    const { muts, serverHmac } = created.value;
    assert.equal(
      serverHmac?.toHex(),
      lssMac(client.shared, nonce, muts).toHex(),
    );
    this.sayCreated(client, changes);
    await this.said("synced");
    return muts;
  }
}

function say(deed: Deed): string {
  return "reason" in deed ? `${deed.kind}: ${deed.reason}` : deed.kind;
}
