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
  ["sphinx", "sphinx", "shared"],
  ["own", "shared", "sphinx"],
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

/** Delivers what all but this one say, until they are quiet. */
async function withhold(node: SeveralNode, actor: Actor): Promise<void> {
  actor.isMute = true;
  await node.quiet();
  actor.isMute = false;
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
      await withhold(node, a);
      assert.equal(node.activeCid, b.cid);
      const { revision } = node.storage;
      assert.equal(node.open.size, 0); // by the other one
      const { released } = node;
      a.outbox.unshift(...late);
      a.deliver();
      await node.settle();
      assert.equal(node.storage.revision, revision);
      assert.equal(node.released, released);
      node.ask();
      await node.drain();
      assert.equal(node.activeCid, b.cid);
    });
  }
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
    a.hello();
    a.deliver();
    await node.settle();
    a.leave();
    a.isMute = true;
    node.ask();
    await node.drain();
    assert.equal(node.activeCid, b.cid);
    assert.equal(node.active.current.lastActive?.isStored, true);
  });
});
