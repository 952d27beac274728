/** A device's session with the storage, when things go well and when not. @module */

import assert from "node:assert/strict";
import {
  type PutOutcome,
  type Storage,
  type StorageAuth,
  type StorageContent,
  StorageUnavailable,
} from "../../src/broker/storage.ts";
import type { Turns } from "../../src/broker/storage/turns.ts";
import type { Pause } from "../../src/broker/storage/session.ts";
import { type LssEntry, PUT_CONFLICT_CONFIRMED } from "../../src/wire/lss.ts";
import { lssMac, STORED_NONCE } from "../../src/wire/lss_mac.ts";
import {
  bytes32,
  entryOf,
  show,
  StorageClient,
  withStorage,
} from "../support/storage.ts";
import { Talk } from "../support/storage_talk.ts";
import { settle } from "./fake.ts";

/** What a test does to a put. */
type Mishap = (put: () => Promise<PutOutcome>) => Promise<PutOutcome>;

/** A storage whose next puts go wrong. */
class Mishaps implements Storage {
  readonly #storage: Storage;
  readonly #mishaps: Mishap[];

  constructor(storage: Storage, ...mishaps: Mishap[]) {
    this.#storage = storage;
    this.#mishaps = mishaps;
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

  put(
    auth: StorageAuth,
    entries: readonly LssEntry[],
    hmac: Uint8Array,
  ): Promise<PutOutcome> {
    const put = () => this.#storage.put(auth, entries, hmac);
    return this.#mishaps.shift()?.(put) ?? put();
  }

  close(): void {}
}

const unreached: Mishap = () =>
  Promise.reject(new StorageUnavailable("Cannot reach it: gone"));
const answerLost: Mishap = async (put) => {
  await put();
  throw new StorageUnavailable("Cannot reach it: gone after it was stored");
};

/** Pauses that end at once, and are counted. */
function counted(): {
  readonly waits: number[];
  pause: (ms: number) => Promise<void>;
} {
  const waits: number[] = [];
  return {
    waits,
    pause: (ms) => {
      waits.push(ms);
      return Promise.resolve();
    },
  };
}

const A0 = [entryOf("a", 0, "1")];
const A1 = [entryOf("a", 1, "2")];

Deno.test("a change is stored before the device may let its answer out", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage);
    assert.deepEqual(await talk.dance(client, A0), []);
    assert.ok(talk.session.isSynced);
    talk.sayChanges(client, A1);
    assert.ok(talk.session.isStoring);
    const stored = await talk.sent("lss-msg");
    assert.ok(!talk.session.isStoring);
    assert.ok(stored.kind === "Stored");
    assert.deepEqual(stored.value.muts, []);
    const wanted = lssMac(client.shared, STORED_NONCE, A1);
    assert.equal(stored.value.serverHmac?.toHex(), wanted.toHex());
    assert.deepEqual(await client.read(storage), ["a 1 2"]);
    talk.session.end();
  }));

Deno.test("a device that starts again is given everything", () =>
  withStorage(async (storage, client) => {
    const first = new Talk(storage);
    await first.dance(client, A0);
    first.session.end();
    const again = new Talk(storage);
    assert.deepEqual((await again.dance(client)).map(show), ["a 0 1"]);
    assert.equal(again.session.revision, storage.revision);
  }));

Deno.test("a device that did not restart is asked for nothing and given nothing", () =>
  withStorage(async (storage, client) => {
    const first = new Talk(storage);
    await first.dance(client, A0);
    const talk = new Talk(storage);
    talk.session.start();
    await talk.sent("init-1-msg");
    talk.sayInit(client, null);
    const created = await talk.sent("init-2-msg");
    assert.deepEqual(created, {
      kind: "Created",
      value: { serverHmac: null, muts: [] },
    });
    talk.session.take(
      "init-2-res",
      Uint8Array.fromHex(
        "81a74372656174656482ab636c69656e745f686d6163c420" +
          "00".repeat(32) + "a46d75747390",
      ),
    );
    await talk.said("synced");
    // Nobody has shown what it knows.
    assert.equal(talk.session.revision, null);
    talk.sayChanges(client, A1);
    assert.equal((await talk.sent("lss-msg")).kind, "Stored");
    assert.equal(talk.session.revision, null);
  }));

Deno.test("a hello on the same connection begins anew", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage);
    talk.session.start();
    await talk.sent("init-1-msg");
    await talk.dance(client, A0);
    assert.deepEqual((await talk.dance(client)).map(show), ["a 0 1"]);
    assert.deepEqual(talk.left, []);
  }));

Deno.test("a second writer is a conflict: the device is told and starts over", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage);
    await talk.dance(client, A0);
    await client.put(storage, [entryOf("a", 1, "other")]);
    talk.sayChanges(client, A1);
    assert.equal((await talk.sent("lss-conflict")).kind, "PutConflict");
    const reason = await talk.said("behind");
    assert.match(
      reason,
      /version 1 of a, .* version 1 already: another device/,
    );
    assert.ok(!talk.session.isSynced);
    assert.equal(talk.session.revision, null);
    // What was on its way then is nobody's.
    talk.sayChanges(client, A1);
    talk.session.take(
      "lss-conflict-res",
      Uint8Array.fromHex("81b4507574436f6e666c696374436f6e6669726d6564"),
    );
    assert.deepEqual((await talk.dance(client)).map(show), ["a 1 other"]);
    assert.deepEqual(talk.left, []);
  }));

/** Waits that end when the test says so. */
function steered(): { next: () => void; readonly pause: Pause } {
  const waits: (() => void)[] = [];
  return {
    next: () => waits.shift()?.(),
    pause: (_ms, signal) =>
      new Promise((resolve) => {
        waits.push(resolve);
        signal.addEventListener("abort", () => resolve(), { once: true });
      }),
  };
}

/** A session whose device has just been told of a conflict. */
async function inConflict(
  storage: Storage,
  client: StorageClient,
  pause: Pause,
): Promise<Talk> {
  const talk = new Talk(storage, { pause });
  await talk.dance(client, A0);
  await client.put(storage, [entryOf("a", 1, "other")]);
  talk.sayChanges(client, A1);
  await talk.sent("lss-conflict");
  await talk.said("behind");
  return talk;
}

const PING = "00".repeat(41) + "00000005" + "03e8" + "0000" + "00";

Deno.test("a web page's signer knows no conflict: it starts over for a gap", () =>
  withStorage(async (storage, client) => {
    const { next, pause } = steered();
    const talk = await inConflict(storage, client, pause);
    assert.deepEqual(talk.left, []);
    next();
    assert.equal((await talk.sentBytes("vls")).toHex(), "aa55ffff" + PING);
    // One that has answered nothing yet answers this, and then sees the gap.
    assert.equal((await talk.sentBytes("vls")).toHex(), "aa557fff" + PING);
    assert.deepEqual((await talk.dance(client)).map(show), ["a 1 other"]);
    next();
    await settle();
    assert.deepEqual(talk.left, []);
    talk.session.end();
  }));

Deno.test("a signer that confirms the conflict is shown no gap", () =>
  withStorage(async (storage, client) => {
    const { next, pause } = steered();
    const talk = await inConflict(storage, client, pause);
    talk.session.take("lss-conflict-res", PUT_CONFLICT_CONFIRMED);
    await settle();
    next();
    await settle();
    assert.deepEqual(talk.left, []);
    talk.session.end();
  }));

Deno.test("one that does not start over in any way loses its connection", () =>
  withStorage(async (storage, client) => {
    const { next, pause } = steered();
    const talk = await inConflict(storage, client, pause);
    next();
    await talk.sentBytes("vls");
    await talk.sentBytes("vls");
    next();
    assert.match(await talk.said("failed"), /does not start over/);
  }));

Deno.test("one of ours that is in conflict starts over on its own", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage, { dialect: "native" });
    await talk.dance(client, A0);
    await client.put(storage, A1);
    talk.sayChanges(client, [entryOf("a", 1, "mine")]);
    await talk.sent("lss-conflict");
    await talk.said("behind");
    assert.deepEqual((await talk.danceOn(client)).map(show), ["a 1 2"]);
    assert.ok(talk.session.isSynced);
  }));

Deno.test("a storage that is older than the device is called that", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage);
    await talk.dance(client, A0);
    talk.sayChanges(client, [entryOf("a", 7, "")]);
    await talk.sent("lss-conflict");
    assert.match(
      await talk.said("behind"),
      /storage has version 0: an old copy of the storage was put back, or/,
    );
  }));

Deno.test("a storage that cannot be reached is no conflict: the device waits", () =>
  withStorage(async (storage, client) => {
    const { waits, pause } = counted();
    const mishaps = [unreached, unreached, unreached];
    const talk = new Talk(new Mishaps(storage, ...mishaps), { pause });
    // Nothing of what starting changed is left out either.
    await talk.dance(client, A0);
    assert.deepEqual(waits, [250, 500, 1000]);
    assert.deepEqual(talk.lines, [
      "unusual: device d1 (sphinx) waits for the storage: Cannot reach it: gone",
      "info: device d1 (sphinx) goes on: the storage is back",
    ]);
    assert.deepEqual(await client.read(storage), ["a 0 1"]);
    assert.equal(talk.session.revision, storage.revision);
  }));

Deno.test("a put whose answer was lost is known by its bytes", () =>
  withStorage(async (storage, client) => {
    const { waits, pause } = counted();
    const talk = new Talk(new Mishaps(storage, answerLost), { pause });
    await talk.dance(client, A0);
    assert.equal(waits.length, 1);
    assert.equal(talk.session.revision, storage.revision);
    const again = new Talk(new Mishaps(storage, answerLost), { pause });
    await again.dance(client);
    again.sayChanges(client, A1);
    const stored = await again.sent("lss-msg");
    assert.ok(stored.kind === "Stored");
    assert.equal(
      stored.value.serverHmac?.toHex(),
      lssMac(client.shared, STORED_NONCE, A1).toHex(),
    );
    assert.equal(again.session.revision, storage.revision);
  }));

Deno.test("a repeat that is somebody else's bytes is a conflict", () =>
  withStorage(async (storage, client) => {
    const { pause } = counted();
    const overtaken: Mishap = async () => {
      await client.put(storage, [entryOf("a", 1, "other")]);
      throw new StorageUnavailable("Cannot reach it: gone");
    };
    const talk = new Talk(new Mishaps(storage, overtaken), { pause });
    await new Talk(storage).dance(client, A0);
    await talk.dance(client);
    talk.sayChanges(client, A1);
    await talk.sent("lss-conflict");
    assert.match(await talk.said("behind"), /another device was first/);
  }));

Deno.test("a first put with the same bytes as another's is a conflict", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage);
    await talk.dance(client, A0);
    await client.put(storage, A1);
    talk.sayChanges(client, A1);
    await talk.sent("lss-conflict");
    assert.match(await talk.said("behind"), /its proof was lost/);
  }));

Deno.test("what starting changed and nobody took is not passed over", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage);
    talk.session.start();
    await talk.sent("init-1-msg");
    talk.sayInit(client, bytes32(3));
    await talk.sent("init-2-msg");
    await client.put(storage, [entryOf("a", 0, "other")]);
    talk.sayCreated(client, A0);
    await talk.sent("lss-conflict");
    await talk.said("behind");
    assert.ok(!talk.session.isSynced);
  }));

Deno.test("a device that is told to start over hears no Stored after that", () =>
  withStorage(async (storage, client) => {
    const { promise: held, resolve: letGo } = Promise.withResolvers<void>();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const slow: Mishap = async (put) => {
      begin();
      await held;
      return await put();
    };
    const talk = new Talk(new Mishaps(storage, (put) => put(), slow));
    await talk.dance(client, A0);
    talk.sayChanges(client, A1);
    await begun;
    talk.session.resync();
    assert.ok(talk.session.isStoring);
    assert.ok(!talk.session.isSynced);
    assert.deepEqual(talk.left, []);
    letGo();
    await talk.sent("lss-conflict");
    assert.deepEqual(talk.left, []);
    // It was stored all the same, and is read.
    assert.deepEqual((await talk.dance(client)).map(show), ["a 1 2"]);
  }));

Deno.test("a put that waits for the storage ends when the device starts over", () =>
  withStorage(async (storage, client) => {
    const { promise: paused, resolve: isPaused } = Promise.withResolvers<
      void
    >();
    const flaky = new Mishaps(storage, (put) => put(), unreached);
    const talk = new Talk(flaky, {
      pause: (_ms, signal) => {
        isPaused();
        return new Promise((done) => {
          signal.addEventListener("abort", () => done());
        });
      },
    });
    await talk.dance(client, A0);
    talk.sayChanges(client, A1);
    await paused;
    talk.session.resync();
    await talk.sent("lss-conflict");
    assert.deepEqual((await talk.dance(client)).map(show), ["a 0 1"]);
  }));

Deno.test("a change whose turn comes after its device left is not stored", () =>
  withStorage(async (storage, client) => {
    const [active, starting] = [new Talk(storage), new Talk(storage)];
    await active.dance(client, A0);
    starting.session.start();
    await starting.sent("init-1-msg");
    starting.sayInit(client, bytes32(3));
    await starting.sent("init-2-msg");
    active.sayChanges(client, A1);
    await settle();
    active.session.end();
    starting.sayCreated(client, []);
    await starting.said("synced");
    starting.sayChanges(client, [entryOf("b", 0, "")]);
    await starting.sent("lss-msg");
    assert.deepEqual(await client.read(storage), ["a 0 1", "b 0 "]);
  }));

Deno.test("one of ours reads everything again when it is told to", () =>
  withStorage(async (storage, client) => {
    const talk = new Talk(storage, { dialect: "native" });
    await talk.dance(client, A0);
    talk.session.resync();
    await talk.sent("lss-conflict");
    await talk.danceOn(client);
    assert.ok(talk.session.isSynced);
  }));

Deno.test("who has everything shows in the revision", () =>
  withStorage(async (storage, client) => {
    const [active, warm] = [new Talk(storage), new Talk(storage)];
    await active.dance(client, A0);
    await warm.dance(client);
    assert.equal(warm.session.revision, storage.revision);
    active.sayChanges(client, A1);
    await active.sent("lss-msg");
    assert.equal(active.session.revision, storage.revision);
    assert.notEqual(warm.session.revision, storage.revision);
    // Even one that went on with its own keys lacks the other's.
    warm.sayChanges(client, [entryOf("b", 0, "1")]);
    await warm.sent("lss-msg");
    assert.notEqual(warm.session.revision, storage.revision);
    assert.notEqual(active.session.revision, storage.revision);
    await warm.dance(client);
    assert.equal(warm.session.revision, storage.revision);
  }));

Deno.test("while a device starts, nobody writes in between", () =>
  withStorage(async (storage, client) => {
    const [active, starting] = [new Talk(storage), new Talk(storage)];
    await active.dance(client, A0);
    starting.session.start();
    await starting.sent("init-1-msg");
    starting.sayInit(client, bytes32(3));
    await starting.sent("init-2-msg");
    active.sayChanges(client, A1);
    const order: string[] = [];
    const both = [
      active.sent("lss-msg").then(() => order.push("active")),
      starting.said("synced").then(() => order.push("started")),
    ];
    starting.sayCreated(client, [entryOf("s", 0, "")]);
    await Promise.all(both);
    assert.deepEqual(order, ["started", "active"]);
    assert.deepEqual(await client.read(storage), ["a 1 2", "s 0 "]);
  }));

Deno.test("a device that takes too long to start holds nobody up", () =>
  withStorage(async (storage, client) => {
    const active = new Talk(storage);
    const slow = new Talk(storage, { startMs: 1 });
    await active.dance(client, A0);
    slow.session.start();
    await slow.sent("init-1-msg");
    slow.sayInit(client, bytes32(3));
    await slow.sent("init-2-msg");
    active.sayChanges(client, A1);
    await active.sent("lss-msg");
    slow.sayCreated(client, [entryOf("s", 0, "")]);
    await slow.said("synced");
    // It lacks what was written meanwhile, and that shows.
    assert.notEqual(slow.session.revision, storage.revision);
  }));

Deno.test("a device that leaves while it starts gives its turn back", () =>
  withStorage(async (storage, client) => {
    const [active, leaving] = [new Talk(storage), new Talk(storage)];
    await active.dance(client, A0);
    leaving.session.start();
    await leaving.sent("init-1-msg");
    leaving.sayInit(client, bytes32(3));
    await leaving.sent("init-2-msg");
    active.sayChanges(client, A1);
    leaving.session.end();
    await active.sent("lss-msg");
  }));

Deno.test("a device that leaves while the storage is away leaves nothing behind", () =>
  withStorage(async (storage, client) => {
    const { promise: waits, resolve } = Promise.withResolvers<AbortSignal>();
    const talk = new Talk(new Mishaps(storage, unreached), {
      pause: (_ms, signal) => {
        resolve(signal);
        return new Promise((done) => {
          signal.addEventListener("abort", () => done());
        });
      },
    });
    talk.session.start();
    await talk.sent("init-1-msg");
    talk.sayInit(client, bytes32(3));
    await talk.sent("init-2-msg");
    talk.sayCreated(client, A0);
    const signal = await waits;
    talk.session.end();
    assert.ok(signal.aborted);
    assert.deepEqual(await client.read(storage), []);
    assert.deepEqual(talk.left, []);
  }));

Deno.test("bytes that are no message end the session, with a word", () =>
  withStorage(async (storage, client) => {
    const cases: readonly (readonly [(talk: Talk) => void, RegExp])[] = [
      [
        ({ session }) => session.take("init-1-res", Uint8Array.of(1)),
        /Cannot decode lss response/,
      ],
      [
        ({ session }) => session.take("init-1-res", new Uint8Array()),
        /Cannot decode lss response/,
      ],
      [
        ({ session }) =>
          session.take(
            "init-1-res",
            Uint8Array.fromHex("81b4507574436f6e666c696374436f6e6669726d6564"),
          ),
        /said PutConflictConfirmed on init-1-res, want lss-conflict-res/,
      ],
      [
        (talk) => talk.sayChanges(client, A0),
        /changes before it is in step/,
      ],
      [
        (talk) => talk.sayCreated(client, A0),
        /changes from a start that is over/,
      ],
    ];
    for (const [act, words] of cases) {
      const talk = new Talk(storage);
      talk.session.start();
      await talk.sent("init-1-msg");
      act(talk);
      assert.match(await talk.said("failed"), words);
      act(talk);
      assert.deepEqual(talk.left, []);
    }
    assert.deepEqual(await client.read(storage), []);
  }));

Deno.test("a stranger is not given what is stored, nor may it write", () =>
  withStorage(async (storage, client) => {
    const stranger = new StorageClient(await storage.serverKey(), bytes32(9));
    const auth = { ...stranger.auth, clientId: client.auth.clientId };
    const talk = new Talk(storage);
    talk.session.start();
    await talk.sent("init-1-msg");
    talk.sayInit(Object.assign(stranger, { auth }), bytes32(3));
    assert.match(await talk.said("failed"), /token does not fit/);
    const other = new Talk(storage);
    await other.dance(client);
    other.sayChanges(stranger, A0);
    assert.match(await other.said("failed"), /MAC does not fit/);
    assert.deepEqual(await client.read(storage), []);
  }));

Deno.test("a device cannot pile up work", () =>
  withStorage(async (storage, client) => {
    const never: Mishap = () => new Promise(() => {});
    const talk = new Talk(new Mishaps(storage, (put) => put(), never));
    await talk.dance(client, A0);
    for (let i = 0; i < 80; i += 1) talk.sayChanges(client, A1);
    assert.match(await talk.said("failed"), /more than 64 things at once/);
    assert.deepEqual(talk.left, []);
  }));
