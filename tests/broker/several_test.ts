/**
 * Several devices of one node, with a real storage: whatever happens, none is
 * asked that does not know what was answered, and nothing waits for ever.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { openSqliteStorage } from "../../src/broker/storage/sqlite.ts";
import type { Storage } from "../../src/broker/storage.ts";
import { runs } from "../support/arbitrary.ts";
import { type Actor, type Kind, SeveralNode } from "./several_parts.ts";

async function withStorage(
  run: (storage: Storage, key: Uint8Array) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  const storage = openSqliteStorage({
    database: `${folder}/storage.db`,
    keyFile: `${folder}/storage_key`,
  });
  try {
    await run(storage, await storage.serverKey());
  } finally {
    storage.close();
    await Deno.remove(folder, { recursive: true });
  }
}

async function withNode(
  kinds: readonly Kind[],
  run: (node: SeveralNode) => Promise<void>,
): Promise<void> {
  await withStorage(async (storage, key) => {
    using node = new SeveralNode(storage, key, kinds);
    await node.begin();
    await run(node);
  });
}

const at = fc.nat({ max: 2 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("ask"), at }) },
  { weight: 12, arbitrary: fc.record({ do: fc.constant("deliver"), at }) },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constantFrom(
        "connect",
        "connect",
        "connect",
        "leave",
        "hello",
        "use",
        "away",
        "back",
        "unpair",
        "pair",
        "tick",
        "quiet",
        "quiet",
      ),
      at,
    }),
  },
);

async function take(
  node: SeveralNode,
  { do: what, at }: { readonly do: string; readonly at: number },
): Promise<void> {
  const actor = node.actors[at];
  if (actor === undefined) return;
  const rows: Readonly<Record<string, () => unknown>> = {
    ask: () => node.ask(),
    deliver: () => actor.deliver(),
    connect: () => actor.connect(),
    leave: () => actor.leave(),
    hello: () => actor.hello(),
    use: () => node.broker.use(actor.cid, { isForced: false }),
    away: () => node.storage.isAway = true,
    back: () => node.storage.isAway = false,
    unpair: () => node.unpair(actor),
    pair: () => node.pair(actor),
    tick: () => node.clock.advance(),
    quiet: () => node.quiet(),
  };
  await rows[what]?.();
  await node.settle();
}

const fleets: readonly (readonly Kind[])[] = [
  ["shared", "shared", "shared"],
  ["sphinx", "sphinx", "sphinx"],
  ["own", "shared", "shared"],
];

for (const kinds of fleets) {
  Deno.test(`Whatever happens to ${kinds.join(", ")}: none that is stale is asked, and all is answered`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 60, size: "max" }),
        fc.integer({ min: -1, max: 2 }),
        async (steps, mute) => {
          await withNode(kinds, async (node) => {
            for (const step of steps) await take(node, step);
            node.storage.isAway = false;
            const isAnotherAble = !kinds.includes("own") &&
              node.actors[mute] !== undefined;
            const silent = isAnotherAble ? node.actors[mute] : undefined;
            for (const actor of node.actors) {
              await node.pair(actor);
              if (actor !== silent) actor.connect();
            }
            // One that hangs in mid-dance and stays, unless it is asked.
            if (silent !== undefined && node.activeCid !== silent.cid) {
              silent.isMute = true;
            }
            node.ask();
            await node.drain();
            assert.equal(node.open.size, 0);
          });
        },
      ),
      { numRuns: runs(40) },
    );
  });
}

// ------------------------------------------------------------ one by one

/** All of them here and in step, the first one asked. */
async function together(node: SeveralNode): Promise<void> {
  for (const actor of node.actors) {
    actor.connect();
    await node.quiet();
  }
  node.ask();
  await node.drain();
  assert.equal(node.activeCid, node.actors[0]?.cid);
}

function three(node: SeveralNode): readonly [Actor, Actor, Actor] {
  const [a, b, c] = node.actors;
  assert.ok(a && b && c);
  return [a, b, c];
}

const SHARED = ["shared", "shared", "shared"] as const;

Deno.test("A change that arrives after the switch is not stored, and an answer is nobody's", async () => {
  for (const isStored of [false, true]) {
    await withNode(SHARED, async (node) => {
      await together(node);
      const [a, b] = three(node);
      node.ask();
      await node.settle();
      if (isStored) a.deliver(); // its change, and it hears: stored
      await node.settle();
      const late = a.outbox.splice(0);
      assert.deepEqual(late.map(({ name }) => name), [
        isStored ? "vls-res" : "lss-res",
      ]);
      await node.broker.use(b.cid, { isForced: false });
      node.clock.advance(); // it had its time to answer
      for (b.heard.length = 0; !b.heard.includes("vls");) {
        b.deliver();
        await node.settle();
      }
      assert.equal(node.activeCid, b.cid);
      const { released, storage: { revision } } = node;
      a.outbox.unshift(...late);
      a.deliver();
      await node.settle();
      assert.equal(node.storage.revision, revision);
      assert.equal(node.released, released);
      assert.equal(node.open.size, 1); // it is for the other one to answer
      node.ask();
      await node.drain();
      assert.equal(node.activeCid, b.cid);
    });
  }
});

Deno.test("A warm device puts nothing into the storage, and the active one goes on", async () => {
  await withNode(SHARED, async (node) => {
    await together(node);
    const [a, b] = three(node);
    b.hello(); // it has read everything
    await node.quiet();
    const { revision } = node.storage;
    b.change();
    await node.quiet();
    assert.equal(node.storage.revision, revision);
    node.ask();
    await node.drain();
    assert.equal(node.activeCid, a.cid);
  });
});

Deno.test("A device that was chosen and never reads the storage holds the others up for seconds", async () => {
  await withNode(SHARED, async (node) => {
    await together(node);
    const [a, b] = three(node);
    b.isMute = true;
    await node.broker.use(b.cid, { isForced: false });
    await node.settle();
    node.ask();
    await node.drain();
    assert.equal(node.activeCid, a.cid);
  });
});

Deno.test("When the active one is gone and the next never reads the storage, the third is asked", async () => {
  await withNode(SHARED, async (node) => {
    await together(node);
    const [a, b, c] = three(node);
    b.isMute = true;
    a.leave();
    a.isMute = true; // and stays away
    node.ask();
    await node.drain();
    assert.equal(node.activeCid, c.cid);
  });
});

Deno.test("The operator changes their mind while the chosen one reads", async () => {
  await withNode(SHARED, async (node) => {
    await together(node);
    const [a, b, c] = three(node);
    c.hello(); // it has read everything
    await node.quiet();
    b.isMute = true;
    await node.broker.use(b.cid, { isForced: false });
    a.leave();
    await node.quiet();
    assert.equal(node.activeCid, c.cid);
    a.connect();
    await node.quiet();
    c.isRefusing = true;
    node.ask();
    await node.settle(); // the third one has it, and will change nothing
    await node.broker.use(a.cid, { isForced: false });
    await node.drain();
    assert.equal(node.activeCid, a.cid);
    node.ask();
    await node.drain();
  });
});

Deno.test("Two devices that say hello at once: one is asked", async () => {
  await withNode(SHARED, async (node) => {
    for (const actor of node.actors) actor.connect();
    node.ask();
    await node.drain();
    const roles = node.broker.snapshot().devices.map(({ role }) => role);
    assert.deepEqual(roles.filter((role) => role === "active"), ["active"]);
  });
});

Deno.test("A device that says hello again is still one whose state is in the storage", async () => {
  await withNode(SHARED, async (node) => {
    await together(node);
    const [a, b] = three(node);
    const noted: boolean[] = [];
    const activate = node.active.activate.bind(node.active);
    node.active.activate = (device) => {
      noted.push(device.isStored);
      return activate(device);
    };
    a.hello();
    a.deliver();
    await node.settle();
    assert.ok(!noted.includes(false));
    a.leave();
    a.isMute = true;
    node.ask();
    await node.drain();
    assert.equal(node.activeCid, b.cid);
    assert.equal(node.active.current.lastActive?.isStored, true);
  });
});

Deno.test("A device that cannot be noted as the active one is not asked, and is once it can be", async () => {
  await withNode(SHARED, async (node) => {
    const [a] = three(node);
    let failures = 3;
    const activate = node.active.activate.bind(node.active);
    node.active.activate = (device) => {
      failures -= 1;
      return failures < 0
        ? activate(device)
        : Promise.reject(new Error("no space left"));
    };
    a.connect();
    await node.quiet();
    assert.equal(node.activeCid, null);
    for (const actor of node.actors) actor.isMute = actor !== a;
    node.ask();
    await node.drain();
    assert.equal(failures, -1);
    assert.equal(node.activeCid, a.cid);
  });
});

Deno.test("A device that is chosen and comes back too late is not waited for each time", async () => {
  await withNode(["sphinx", "sphinx", "sphinx"], async (node) => {
    await together(node);
    const [a, b] = three(node);
    await node.broker.use(b.cid, { isForced: false });
    await node.quiet();
    assert.ok(b.isRestarting); // it has to read, and restarts for that
    b.isRestarting = false;
    b.leave();
    b.isMute = true;
    node.ask();
    await node.drain();
    assert.equal(node.activeCid, a.cid);
    assert.equal(node.active.current.preferred, null);
    b.isMute = false;
    b.connect();
    node.ask();
    await node.quiet();
    assert.equal(node.activeCid, a.cid);
    assert.equal(node.open.size, 0);
  });
});

Deno.test("Where nobody noted who was active, a card that signed before goes before all others", async () => {
  await withNode(["own", "shared", "shared"], async (node) => {
    const [own, shared] = three(node);
    const stand = { generation: 7n, hash: "00".repeat(32), card: own.card };
    node.heads.note(stand);
    shared.connect();
    await node.quiet();
    assert.equal(node.activeCid, null);
    const refused = await node.broker.use(shared.cid, { isForced: false });
    assert.equal(refused.kind, "refused");
    own.generation = 8n;
    own.connect();
    await node.quiet();
    assert.equal(node.activeCid, own.cid);
  });
});
