/**
 * The storage against a model: whatever is put, by whom and in what order, it
 * holds what was said to be stored and nothing else. And several devices of one
 * node against a storage that fails: who is believed to have everything, has it.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  type PutOutcome,
  type Storage,
  type StorageAuth,
  type StorageContent,
  StorageUnavailable,
} from "../../src/broker/storage.ts";
import { openSqliteStorage } from "../../src/broker/storage/sqlite.ts";
import type { Turns } from "../../src/broker/storage/turns.ts";
import type { LssEntry } from "../../src/wire/lss.ts";
import { runs } from "../support/arbitrary.ts";
import {
  bytes32,
  entryOf,
  show,
  StorageClient,
  withFolder,
} from "../support/storage.ts";
import { Talk } from "../support/storage_talk.ts";

const KEYS = ["_w", "a", "b/1", "b/2"];

/** How far from the version that fits. */
const STEPS = [0n, 0n, 0n, 0n, 0n, 0n, -1n, 1n, 7n];

const puts = fc.array(
  fc.record({
    key: fc.constantFrom(...KEYS),
    step: fc.constantFrom(...STEPS),
    text: fc.string({ maxLength: 3 }),
  }),
  { maxLength: 4 },
);

const storageSteps = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("put"), who: fc.nat(1), puts }),
    fc.record({ kind: fc.constant("reopen") }),
  ),
  { maxLength: 30 },
);

/** One client's entries, as they should be. */
type Model = Map<string, LssEntry>;

function sorted(model: Model): string[] {
  return [...model.values()].sort((a, b) => a.key < b.key ? -1 : 1).map(show);
}

Deno.test("the storage holds what was said to be stored and nothing else", () =>
  fc.assert(
    fc.asyncProperty(storageSteps, (steps) =>
      withFolder(async (places) => {
        let storage = openSqliteStorage(places);
        const key = await storage.serverKey();
        const clients = [1, 2].map((seed) => ({
          client: new StorageClient(key, bytes32(seed)),
          model: new Map<string, LssEntry>(),
        }));
        for (const step of steps) {
          if (step.kind === "reopen") {
            storage.close();
            storage = openSqliteStorage(places);
          } else if ("puts" in step) {
            const one = clients[step.who];
            if (one !== undefined) await putAndCompare(storage, one, step.puts);
          }
          for (const { client, model } of clients) {
            assert.deepEqual(await client.read(storage), sorted(model));
          }
        }
        storage.close();
      })),
    { numRuns: runs(40) },
  ));

async function putAndCompare(
  storage: Storage,
  { client, model }: { readonly client: StorageClient; readonly model: Model },
  wanted: readonly {
    readonly key: string;
    readonly step: bigint;
    readonly text: string;
  }[],
): Promise<void> {
  const byKey = new Map(wanted.map((put) => [put.key, put]));
  const entries = KEYS.flatMap((key) => {
    const put = byKey.get(key);
    if (put === undefined) return [];
    const version = (model.get(key)?.version ?? -1n) + 1n + put.step;
    return version < 0n ? [] : [entryOf(key, version, put.text)];
  });
  const fits = entries.every(({ key, version }) =>
    version === (model.get(key)?.version ?? -1n) + 1n
  );
  const outcome = await client.put(storage, entries);
  assert.equal(outcome.kind, fits ? "stored" : "conflict");
  if (fits) { for (const entry of entries) model.set(entry.key, entry); }
}

/** A storage that fails before a put, after it, or not. */
class Flaky implements Storage {
  readonly #storage: Storage;
  readonly #fates: ("ok" | "before" | "after")[];

  constructor(storage: Storage, fates: readonly ("ok" | "before" | "after")[]) {
    this.#storage = storage;
    this.#fates = [...fates];
  }

  get revision(): number {
    return this.#storage.revision;
  }

  get turns(): Turns {
    return this.#storage.turns;
  }

  serverKey(): Promise<Uint8Array> {
    return this.#storage.serverKey();
  }

  get(auth: StorageAuth, nonce: Uint8Array): Promise<StorageContent> {
    return this.#storage.get(auth, nonce);
  }

  async put(
    auth: StorageAuth,
    entries: readonly LssEntry[],
    hmac: Uint8Array,
  ): Promise<PutOutcome> {
    const fate = this.#fates.shift() ?? "ok";
    if (fate === "before") throw new StorageUnavailable("Cannot reach it");
    const outcome = await this.#storage.put(auth, entries, hmac);
    if (fate === "after") throw new StorageUnavailable("Cannot hear it");
    return outcome;
  }

  close(): void {}
}

/** A device that keeps what it was told to be stored. */
class Device {
  readonly client: StorageClient;
  readonly #storage: Storage;
  readonly #isNative: boolean;
  /** What it has, once it is in step. */
  state: Model | null = null;
  #talk: Talk;

  constructor(storage: Storage, client: StorageClient, isNative: boolean) {
    this.#storage = storage;
    this.client = client;
    this.#isNative = isNative;
    this.#talk = this.#newTalk();
  }

  #newTalk(): Talk {
    return new Talk(this.#storage, {
      dialect: this.#isNative ? "native" : "sphinx",
      pause: () => Promise.resolve(),
    });
  }

  /** Whether it may take over: it has all that any device was told. */
  get hasEverything(): boolean {
    return this.#talk.session.revision === this.#storage.revision;
  }

  /** Leaves, and comes back as if it had just started. */
  async restart(): Promise<void> {
    this.#talk.session.end();
    this.#talk = this.#newTalk();
    this.#talk.session.start();
    await this.#read();
  }

  async resync(): Promise<void> {
    if (this.state === null) return;
    this.state = null;
    this.#talk.session.resync();
    await this.#talk.sent("lss-conflict");
    await this.#comeBack();
  }

  /** Changes a key, and keeps it once it is stored. */
  async change(key: string, text: string): Promise<void> {
    if (this.state === null) return;
    const version = (this.state.get(key)?.version ?? -1n) + 1n;
    const entry = entryOf(key, version, text);
    this.#talk.sayChanges(this.client, [entry]);
    const deed = await this.#talk.next();
    assert.ok(deed.kind === "sent", deed.kind);
    if (deed.name === "lss-msg") {
      this.state.set(key, entry);
    } else {
      assert.equal(deed.name, "lss-conflict");
      this.state = null;
      await this.#talk.said("behind");
      await this.#comeBack();
    }
  }

  async #comeBack(): Promise<void> {
    if (this.#isNative) await this.#read();
  }

  async #read(): Promise<void> {
    const entries = await this.#talk.danceOn(this.client);
    this.state = new Map(entries.map((entry) => [entry.key, entry]));
  }

  end(): void {
    this.#talk.session.end();
  }
}

const deviceSteps = fc.array(
  fc.record({
    what: fc.constantFrom("change", "change", "change", "restart", "resync"),
    who: fc.nat(2),
    key: fc.constantFrom(...KEYS),
    text: fc.string({ maxLength: 2 }),
  }),
  { maxLength: 25 },
);
const fates = fc.array(fc.constantFrom("ok", "ok", "before", "after"), {
  maxLength: 30,
});

Deno.test("a device that is believed to have everything has it", () =>
  fc.assert(
    fc.asyncProperty(
      deviceSteps,
      fates,
      fc.boolean(),
      (steps, fates, isNative) =>
        withFolder(async (places) => {
          const real = openSqliteStorage(places);
          const storage = new Flaky(real, fates);
          const key = await storage.serverKey();
          const client = new StorageClient(key, bytes32(1));
          const devices = [0, 1, 2].map(() =>
            new Device(storage, client, isNative)
          );
          for (const { what, who, key, text } of steps) {
            const device = devices[who];
            if (device === undefined) continue;
            if (what === "restart") await device.restart();
            if (what === "resync") await device.resync();
            if (what === "change") await device.change(key, text);
            const there = await client.read(real);
            for (const { hasEverything, state } of devices) {
              if (!hasEverything) continue;
              assert.deepEqual(state === null ? null : sorted(state), there);
            }
            // Whoever wrote or read last is one of them.
            if (device.state !== null) {
              assert.ok(device.hasEverything || what === "change");
            }
          }
          for (const device of devices) device.end();
          real.close();
        }),
    ),
    { numRuns: runs(40) },
  ));
