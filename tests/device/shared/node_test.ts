/**
 * Shared cards and a real broker, over MQTT: two softkeys of one node, one that
 * speaks plain Sphinx, a storage that is slow, and one that was rolled back.
 *
 * @module
 */

import assert from "node:assert/strict";
import { NETWORKS } from "../../../src/bitcoin/networks.ts";
import type { Storage } from "../../../src/broker/storage.ts";
import { openSqliteStorage } from "../../../src/broker/storage/sqlite.ts";
import { Secret } from "../../../src/crypto/secret.ts";
import { CONSENTER } from "../../../src/device/approver.ts";
import { assembleSphinx } from "../../../src/device/assemble.ts";
import { openCard } from "../../../src/device/card.ts";
import {
  openCardStore,
  readCardState,
  sharingChange,
} from "../../../src/device/card_state.ts";
import { OwnerError } from "../../../src/device/owner_error.ts";
import { REPLIES, REQUESTS } from "../../../src/wire/hsmd.ts";
import { encodeMessage, messageType } from "../../../src/wire/message.ts";
import { NOBODY, type NodeId, type PubKey } from "../../../src/wire/types.ts";
import { makeBelievingCard } from "../../support/believed.ts";
import { type RunningBrokerNode, startNode } from "../../support/node.ts";
import { makeBox } from "../../support/softkey.ts";

const SEED = new Uint8Array(32).fill(9);
const network = NETWORKS.regtest;
// 33 bytes of the curve: the generator.
const PEER = Uint8Array.fromHex(
  "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
) as NodeId & PubKey;

/** A folder, a storage in it, and a node that uses it; gone at the end. */
async function withNode(
  run: (place: Place) => Promise<void>,
  wrap: (storage: Storage) => Storage = (storage) => storage,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  await using cleanUp = new AsyncDisposableStack();
  cleanUp.defer(() => Deno.remove(folder, { recursive: true }));
  const storage = openStorage(folder);
  cleanUp.defer(() => storage.close());
  const options = { folder, pairing: "open", storage: wrap(storage) } as const;
  const node = cleanUp.use(await startNode(options));
  await run({ folder, node, cleanUp });
}

interface Place {
  readonly folder: string;
  readonly node: RunningBrokerNode;
  readonly cleanUp: AsyncDisposableStack;
}

function openStorage(folder: string): Storage {
  return openSqliteStorage({
    database: `${folder}/storage.db`,
    keyFile: `${folder}/storage_key`,
  });
}

/** A shared card in a folder of its own. */
async function makeShared(folder: string): Promise<string> {
  await Deno.mkdir(folder, { recursive: true });
  await makeBelievingCard(`${folder}/card`, "regtest");
  const store = openCardStore(`${folder}/card`);
  store.commit([sharingChange({ serverKey: null, isClean: false })]);
  store.close();
  return folder;
}

/** A softkey that runs. */
async function startShared({ folder, node }: Place, which: string) {
  const own = `${folder}/${which}`;
  const said: string[] = [];
  const box = await makeBox({
    folder: own,
    url: node.url,
    secret: SEED,
    network,
    say: (text) => said.push(text),
  });
  box.start();
  return { box, said };
}

/** lightningd's own stream asks. */
async function ask(
  { broker }: RunningBrokerNode,
  row: typeof REQUESTS[keyof typeof REQUESTS],
  message: Uint8Array,
): Promise<Uint8Array> {
  const answer = await broker.ask({
    requester: {
      peerId: NOBODY,
      dbid: 0n,
      permissions: 1027n,
      isMaster: true,
    },
    row,
    message,
    signal: new AbortController().signal,
  });
  assert.equal(answer.kind, "reply");
  return answer.kind === "reply" ? answer.message : new Uint8Array();
}

/** Something that changes the card. */
async function newChannel(node: RunningBrokerNode, dbid: bigint) {
  const row = REQUESTS.new_channel;
  const reply = await ask(node, row, encodeMessage(row, { id: PEER, dbid }));
  assert.equal(messageType(reply), REPLIES.new_channel_reply.type);
}

/** Something that rests on nothing. */
async function ecdh(node: RunningBrokerNode) {
  const row = REQUESTS.ecdh_req;
  const reply = await ask(node, row, encodeMessage(row, { point: PEER }));
  assert.equal(messageType(reply), REPLIES.ecdh_resp.type);
}

/** The channels that a card remembers. */
function channelsOn(folder: string): readonly bigint[] {
  const store = openCardStore(`${folder}/card`);
  try {
    const { memory } = readCardState(store, network);
    return [...memory.channels()].map(({ dbid }) => dbid);
  } finally {
    store.close();
  }
}

Deno.test("two softkeys of one node: the second goes on where the first ended", () =>
  withNode(async (place) => {
    const { folder, node } = place;
    await makeShared(`${folder}/a`);
    await makeShared(`${folder}/b`);
    const a = await startShared(place, "a");
    await node.init();
    await newChannel(node, 1n);
    const b = await startShared(place, "b");
    await a.box.stop();
    await newChannel(node, 2n);
    await b.box.stop();
    assert.deepEqual(channelsOn(`${folder}/b`), [1n, 2n]);
    assert.deepEqual(channelsOn(`${folder}/a`), [1n]);
    const again = await startShared(place, "a");
    await newChannel(node, 3n);
    await again.box.stop();
    assert.deepEqual(channelsOn(`${folder}/a`), [1n, 2n, 3n]);
  }));

Deno.test("a softkey that speaks Sphinx serves our broker as a Sphinx signer does", () =>
  withNode(async ({ folder, node }) => {
    await makeShared(`${folder}/a`);
    const card = await openCard(`${folder}/a/card`);
    const store = openCardStore(card.folder);
    const said: string[] = [];
    const { box } = assembleSphinx({
      card,
      store,
      state: readCardState(store, network),
      secretFile: new Secret(SEED),
      network,
      isDeveloper: false,
      mode: "always",
      approver: CONSENTER,
      url: node.url,
      software: "softkey under test",
      say: (text) => said.push(text),
    });
    box.start();
    await node.init();
    await newChannel(node, 1n);
    await ecdh(node);
    await box.stop();
    assert.deepEqual(channelsOn(`${folder}/a`), [1n]);
    assert.ok(said.some((line) => /not sealed/.test(line)));
  }));

Deno.test("while a put is under way, what rests on nothing is answered", () => {
  const held = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const slow = (storage: Storage): Storage =>
    new Proxy(storage, {
      get(target, name) {
        if (name !== "put") {
          const value: unknown = Reflect.get(target, name, target);
          return typeof value === "function" ? value.bind(target) : value;
        }
        return async (...args: Parameters<Storage["put"]>) => {
          begun.resolve();
          await held.promise;
          return await target.put(...args);
        };
      },
    });
  return withNode(async (place) => {
    const { folder, node } = place;
    await makeShared(`${folder}/a`);
    const a = await startShared(place, "a");
    await node.init();
    let isAnswered = false;
    const waiting = newChannel(node, 1n).then(() => isAnswered = true);
    await begun.promise;
    await ecdh(node);
    assert.equal(isAnswered, false);
    held.resolve();
    await waiting;
    await a.box.stop();
  }, slow);
});

Deno.test("a storage that was rolled back: the softkey ends, and says why", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await makeShared(`${folder}/a`);
    for (const round of [1, 2]) {
      const storage = openStorage(folder);
      const options = { folder, pairing: "open", storage } as const;
      await using node = await startNode(options);
      const place = { folder, node, cleanUp: new AsyncDisposableStack() };
      const { box, said } = await startShared(place, "a");
      if (round === 1) {
        await node.init();
        await newChannel(node, 1n);
        await box.stop();
        storage.close();
        for (const end of ["", "-wal", "-shm"]) {
          await Deno.remove(`${folder}/storage.db${end}`).catch(() => {});
        }
        continue;
      }
      const ending = await box.ended;
      assert.ok(ending instanceof OwnerError);
      assert.match(ending.message, /it was rolled back/);
      assert.ok(said.some((line) => /rolled back/.test(line)));
      await box.stop();
      storage.close();
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

Deno.test("a node without storage is not served by a shared card, which says so", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await makeShared(`${folder}/a`);
    await using node = await startNode({ folder, pairing: "open" });
    const heard = Promise.withResolvers<void>();
    const box = await makeBox({
      folder: `${folder}/a`,
      url: node.url,
      secret: SEED,
      network,
      say: (text) => {
        if (/want a broker with storage/.test(text)) heard.resolve();
      },
    });
    box.start();
    let isServed = false;
    node.init().then(() => isServed = true).catch(() => {});
    await heard.promise;
    await box.stop();
    assert.equal(isServed, false);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
