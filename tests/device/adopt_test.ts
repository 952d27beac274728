import assert from "node:assert/strict";
import { DatabaseSync } from "node:sqlite";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { adoptInto, type AdoptReport } from "../../src/device/adopt.ts";
import { readCardState, standingChange } from "../../src/device/card_state.ts";
import { decodeEntry } from "../../src/device/ledger.ts";
import { OwnerError } from "../../src/device/owner_error.ts";
import { StoreError } from "../../src/errors.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { openSecretFile, parseSecretFile } from "../../src/keyderiv.ts";
import { encodeWrite } from "../../src/signer/memory.ts";
import type { ChannelRecord } from "../../src/signer/records.ts";
import { MemoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { SIDE_LOCAL } from "../../src/wire/types.ts";
import {
  makeDatabase,
  type NodeName,
  seedOf,
  withFolder,
} from "./adopt/database.ts";

const NETWORK = NETWORKS.regtest;

interface Trial {
  readonly store?: Store;
  readonly name?: NodeName;
  readonly changes?: string;
  readonly consent?: () => Promise<void>;
}

interface Outcome {
  readonly report: AdoptReport;
  readonly printed: readonly string[];
}

async function adoptChanged(
  { store = MemoryStore.create(), name = "alice", changes = "", consent }:
    Trial,
): Promise<Outcome> {
  const outcomes: Outcome[] = [];
  await withFolder(async (folder) => {
    const databasePath = makeDatabase(folder, name, changes);
    outcomes.push(await adoptFrom(store, name, databasePath, consent));
  });
  const [outcome] = outcomes;
  assert.ok(outcome !== undefined);
  return outcome;
}

async function adoptFrom(
  store: Store,
  name: NodeName,
  databasePath: string,
  consent = () => Promise.resolve(),
): Promise<Outcome> {
  const printed: string[] = [];
  const report = await adoptInto({
    store,
    network: NETWORK,
    secret: seedOf(name),
    databasePath,
    print: (text) => printed.push(text),
    consent,
    now: () => 1_700_000_000_000,
  });
  return { report, printed };
}

const stateOf = (store: Store) => readCardState(store, NETWORK);

/** The record of a channel, by its number; there is one peer. */
function channelOf(store: Store, dbid: bigint): ChannelRecord {
  const key = [...store.load()].map((row) => row.key)
    .find((name) => name.startsWith("channel/") && name.endsWith(`/${dbid}`));
  const peer = Uint8Array.fromHex(key?.split("/")[1] ?? "");
  const found = stateOf(store).memory.channel({
    // 33 bytes, from the key of a channel.
    peerId: peer as Uint8Array as ChannelRecord["peerId"],
    dbid,
  });
  assert.ok(found !== null);
  return found;
}

Deno.test("adopting is one commit, with a line in the book for each channel", async () => {
  const store = MemoryStore.create();
  const { report, printed } = await adoptChanged({ store });
  assert.equal(report.adopted, 8);
  assert.equal(report.left, 0);
  assert.equal(store.head.generation, 1n);
  const lines = [...store.ledger.lines()].map(({ body }) => decodeEntry(body));
  assert.equal(lines.length, 8);
  assert.deepEqual(
    lines.map(({ kind, channel }) => ({ kind, channel })),
    [1n, 2n, 3n, 4n, 5n, 6n, 7n, 8n]
      .map((channel) => ({ kind: "card", channel })),
  );
  const { memory, node, network, standing } = stateOf(store);
  assert.equal(memory.channelCount, 8);
  assert.equal(node?.toHex(), report.nodeId.toHex());
  assert.equal(network, "regtest");
  assert.equal(standing, null);
  assert.equal(memory.node().dbidHighWater, 8n);
  assert.ok(memory.node().walletHighWater > 0);
  assert.match(printed.join(" "), /The node has to stay stopped/);
});

Deno.test("payments under way are known, by what goes out and what comes in", async () => {
  const store = MemoryStore.create();
  await adoptChanged({ store });
  const { memory } = stateOf(store);
  const payments = [...memory.payments()];
  const sides = payments.map(({ incoming, outgoing }) =>
    `${incoming.length > 0 ? "in" : ""}${outgoing.length > 0 ? "out" : ""}`
  );
  assert.deepEqual(sides.toSorted(), [
    "in",
    "in",
    "in",
    "inout",
    "out",
    "out",
    "out",
  ]);
  for (const { incoming, outgoing, consented, settled } of payments) {
    const sum = (list: readonly { readonly amount: bigint }[]) =>
      list.reduce((total, { amount }) => total + amount, 0n);
    assert.equal(settled, 0n);
    // What comes in covers a forward; the owner paid the rest.
    const missing = sum(outgoing) - sum(incoming);
    assert.equal(consented, missing > 0n ? missing : 0n);
  }
});

Deno.test("a forward that was paid has to bring its incoming part in", async () => {
  const store = MemoryStore.create();
  const forward =
    "(SELECT id FROM channel_htlcs WHERE origin_htlc IS NOT NULL " +
    "AND hstate = 4)";
  // As if the way out had been paid and gone, the balance with it.
  const changes = `
    UPDATE channels SET state = 10 WHERE id =
      (SELECT channel_id FROM channel_htlcs WHERE id = ${forward});
    UPDATE channel_htlcs SET channel_id = 1, channel_htlc_id = 99, hstate = 9,
      payment_key = zeroblob(32) WHERE id = ${forward}`;
  await adoptChanged({ store, changes });
  const paid = [...stateOf(store).memory.payments()]
    .filter(({ settled }) => settled > 0n);
  assert.equal(paid.length, 1);
  assert.equal(paid[0]?.settled, 7_000_000n);
  assert.equal(paid[0]?.incoming.length, 1);
  assert.equal(paid[0]?.outgoing.length, 0);
  assert.equal(paid[0]?.consented, 0n);
});

Deno.test("a node that was killed: all its channels are adopted", async () => {
  const store = MemoryStore.create();
  const { report } = await adoptChanged({ store, name: "bob" });
  assert.equal(report.left, 0);
  assert.equal(stateOf(store).memory.channelCount, report.adopted);
});

Deno.test("what does not check is named and left out, and in the book", async () => {
  const store = MemoryStore.create();
  const { report, printed } = await adoptChanged({
    store,
    changes: "UPDATE channels SET lease_expiry = 9 WHERE id = 3",
  });
  assert.deepEqual([report.adopted, report.left], [7, 1]);
  const said = printed.filter((line) => line.startsWith("left out: "));
  assert.equal(said.length, 1);
  assert.match(said[0] ?? "", /channel 3 with .*: it is leased/);
  const lines = [...store.ledger.lines()].map(({ body }) => decodeEntry(body));
  assert.equal(
    lines.filter(({ text }) => /^left channel 3/.test(text)).length,
    1,
  );
});

Deno.test("nothing is written when the owner does not consent", async () => {
  const store = MemoryStore.create();
  const refusal = new OwnerError("consent", "Nothing was done");
  await assert.rejects(
    adoptChanged({ store, consent: () => Promise.reject(refusal) }),
    refusal,
  );
  assert.equal(store.head.generation, 0n);
  assert.equal([...store.load()].length, 0);
});

Deno.test("a restored card is in good standing again; a moved one is refused", async () => {
  for (const kind of ["restored", "moved"] as const) {
    const store = MemoryStore.create();
    store.commit([standingChange({ kind, generation: 3n, at: 1n })]);
    if (kind === "moved") {
      await assert.rejects(adoptChanged({ store }), OwnerError);
      assert.equal(stateOf(store).standing?.kind, "moved");
    } else {
      await adoptChanged({ store });
      assert.equal(stateOf(store).standing, null);
    }
  }
});

Deno.test("adopting the same database again changes no record", async () => {
  const store = MemoryStore.create();
  await adoptChanged({ store });
  const values = () =>
    [...store.load()].map(({ key, value }) => `${key} ${value.toHex()}`);
  const before = values();
  await adoptChanged({ store });
  assert.deepEqual(values(), before);
});

/** A card that went on from what it adopted. */
async function aheadBy(
  change: (record: ChannelRecord) => ChannelRecord,
): Promise<Store> {
  const store = MemoryStore.create();
  await adoptChanged({ store });
  const record = change(channelOf(store, 2n));
  const { peerId, dbid } = record;
  store.commit([
    encodeWrite({ kind: "channel", id: { peerId, dbid }, record }),
  ]);
  return store;
}

const STEPS_AHEAD: Readonly<
  Record<string, (record: ChannelRecord) => ChannelRecord>
> = {
  "a commitment of ours": (record) => ({
    ...record,
    holder: { ...record.holder, next: record.holder.next + 1n },
  }),
  "a commitment of the peer's": (record) => ({
    ...record,
    counterparty: {
      ...record.counterparty,
      next: record.counterparty.next + 1n,
    },
  }),
  "a revocation": (record) => ({
    ...record,
    counterparty: {
      ...record.counterparty,
      revoked: record.counterparty.revoked + 1n,
    },
  }),
};

for (const [name, change] of Object.entries(STEPS_AHEAD)) {
  Deno.test(`an old copy is refused whole: the card has ${name} more`, async () => {
    const store = await aheadBy(change);
    const { generation } = store.head;
    await assert.rejects(adoptChanged({ store }), (error) => {
      assert.ok(error instanceof StoreError);
      assert.match(error.message, /it is an old copy: .* for channel 2 with /);
      return true;
    });
    assert.equal(store.head.generation, generation);
  });
}

Deno.test("an old copy is refused: it lacks a channel of the card", async () => {
  const store = MemoryStore.create();
  await adoptChanged({ store });
  await assert.rejects(
    adoptChanged({ store, changes: "DELETE FROM channels WHERE id = 8" }),
    /old copy: it has no such channel for channel 8/,
  );
});

Deno.test("what the card promised since stays: a close, a broadcast", async () => {
  const store = await aheadBy((record) => ({
    ...record,
    holder: { ...record.holder, signed: record.holder.next - 1n },
    closes: record.holder.current.map(({ txid }) => txid),
  }));
  const before = channelOf(store, 2n);
  await adoptChanged({ store });
  const after = channelOf(store, 2n);
  assert.equal(after.holder.signed, before.holder.signed);
  assert.deepEqual(after.closes, before.closes);
});

Deno.test("another node's database, and another network's, are refused", async () => {
  await withFolder(async (folder) => {
    const databasePath = makeDatabase(folder, "alice");
    const common = {
      store: MemoryStore.create(),
      databasePath,
      print: () => {},
      consent: () => Promise.resolve(),
      now: () => 0,
    };
    const other = openSecretFile(
      parseSecretFile(makeSecretFile(new Uint8Array(16))),
    );
    await assert.rejects(
      adoptInto({ ...common, network: NETWORK, secret: other }),
      /it belongs to node 0[23][0-9a-f]{64}, want 0[23][0-9a-f]{64}/,
    );
    await assert.rejects(
      adoptInto({
        ...common,
        network: NETWORKS.bitcoin,
        secret: seedOf("alice"),
      }),
      /it is for regtest, want bitcoin/,
    );
    assert.equal(common.store.head.generation, 0n);
  });
});

const UNREADABLE: readonly {
  readonly name: string;
  readonly change: string;
  readonly said: RegExp;
}[] = [
  {
    name: "a text for a number",
    change: "UPDATE channels SET next_index_local = 'many' WHERE id = 4",
    said:
      /table channels, row 4, column next_index_local: a string, want a whole/,
  },
  {
    name: "a negative amount",
    change: "UPDATE channels SET msatoshi_local = -5 WHERE id = 1",
    said: /row 1, column msatoshi_local: -5, want a whole number, 0 to/,
  },
  {
    name: "a short point",
    change: "UPDATE channels SET per_commit_remote = x'0203' WHERE id = 3",
    said: /row 3, column per_commit_remote: 2 bytes, want a point/,
  },
  {
    name: "a point off the curve",
    change: "UPDATE channels SET per_commit_remote = " +
      `x'02${"ff".repeat(32)}' WHERE id = 3`,
    said: /row 3, column per_commit_remote: 33 bytes, want a point/,
  },
  {
    name: "an HTLC state that there is not",
    change: "UPDATE channel_htlcs SET hstate = 20 WHERE hstate = 4",
    said: /table channel_htlcs, row \d+, column hstate: 20, want/,
  },
  {
    name: "a secret of 31 bytes",
    change: "UPDATE shachain_known SET hash = zeroblob(31)",
    said: /table shachain_known, row 1, column hash: 31 bytes, want 32 bytes/,
  },
  {
    name: "a column less",
    change: "ALTER TABLE channels DROP COLUMN msatoshi_local",
    said:
      /table channels has no column msatoshi_local, want a database of Core/,
  },
  {
    name: "a table less",
    change: "DROP TABLE shachains",
    said: /it has no table shachains/,
  },
  {
    name: "a form from before what is known",
    change: "UPDATE version SET version = 255",
    said: /it is of version 255, want 256 or later/,
  },
  {
    name: "no node",
    change: "DELETE FROM vars WHERE name = 'node_id'",
    said: /it does not say whose it is/,
  },
];

for (const { name, change, said } of UNREADABLE) {
  Deno.test(`refused, naming where: ${name}`, async () => {
    const store = MemoryStore.create();
    await assert.rejects(adoptChanged({ store, changes: change }), (error) => {
      assert.ok(error instanceof StoreError, String(error));
      assert.match(error.message, /^Cannot read the node's database: /);
      assert.match(error.message, said);
      return true;
    });
    assert.equal(store.head.generation, 0n);
  });
}

Deno.test("columns that only new releases have may be missing", async () => {
  const changes = `
    ALTER TABLE channels DROP COLUMN old_scids;
    ALTER TABLE channel_funding_inflights DROP COLUMN i_sent_sigs;
    ALTER TABLE channel_funding_inflights DROP COLUMN remote_funding;
    UPDATE version SET version = 256`;
  const { report } = await adoptChanged({ changes });
  assert.equal(report.adopted, 8);
});

Deno.test("a form that is newer than what is known is said to be", async () => {
  const { printed, report } = await adoptChanged({
    changes: "UPDATE version SET version = 300",
  });
  assert.equal(report.adopted, 8);
  assert.ok(printed.some((line) => /version 300, newer than/.test(line)));
});

Deno.test("what is no database of lightningd is refused", async () => {
  await withFolder(async (folder) => {
    const store = MemoryStore.create();
    const text = `${folder}/text`;
    await Deno.writeTextFile(text, "SQLite, but not really");
    const empty = `${folder}/empty`;
    const db = new DatabaseSync(empty);
    db.exec("CREATE TABLE mine (a INTEGER)");
    db.close();
    const tries: readonly (readonly [string, RegExp])[] = [
      [text, /is no SQLite database/],
      [empty, /it has no table version/],
      [`${folder}/nothing`, /nothing: .*[Nn]o such file/],
      ["postgres://user:word@host/db", /postgres: is not supported/],
    ];
    for (const [path, said] of tries) {
      await assert.rejects(adoptFrom(store, "alice", path), (error) => {
        assert.ok(error instanceof StoreError, String(error));
        assert.match(error.message, said);
        assert.ok(!error.message.includes("word"));
        return true;
      });
    }
  });
});

Deno.test("a node that answers on its socket has to be stopped first", async () => {
  await withFolder(async (folder) => {
    const path = makeDatabase(folder, "alice");
    const socket = path.replace(/[^/]*$/, "lightning-rpc");
    {
      using _node = Deno.listen({ transport: "unix", path: socket });
      await assert.rejects(
        adoptFrom(MemoryStore.create(), "alice", path),
        /lightningd runs in .*, stop it first/,
      );
    }
    // A socket that nobody listens on is what a kill leaves behind.
    const { report } = await adoptFrom(MemoryStore.create(), "alice", path);
    assert.equal(report.adopted, 8);
  });
});

Deno.test("a database that another program writes to is refused", async () => {
  await withFolder(async (folder) => {
    const path = makeDatabase(folder, "alice");
    const other = new DatabaseSync(path);
    other.exec("BEGIN EXCLUSIVE");
    await assert.rejects(
      adoptFrom(MemoryStore.create(), "alice", path),
      /it is in use: stop lightningd first/,
    );
    other.close();
  });
});

Deno.test("what was half written when the node was killed is undone", async () => {
  await withFolder(async (folder) => {
    const path = makeDatabase(folder, "alice");
    const killed = `${folder}/killed.sqlite3`;
    const writer = new DatabaseSync(path);
    // A cache this small makes SQLite write before the end, journal first.
    writer.exec("PRAGMA cache_size = 1; PRAGMA synchronous = FULL; BEGIN");
    writer.exec(
      "UPDATE channels SET msatoshi_local = 1, next_index_local = 99",
    );
    writer.exec("UPDATE shachain_known SET hash = zeroblob(32)");
    writer.exec("CREATE TABLE big (a BLOB)");
    writer.exec("INSERT INTO big VALUES (zeroblob(500000))");
    await Deno.copyFile(path, killed);
    await Deno.copyFile(`${path}-journal`, `${killed}-journal`);
    writer.exec("ROLLBACK");
    writer.close();
    const { report, printed } = await adoptFrom(
      MemoryStore.create(),
      "alice",
      killed,
    );
    assert.equal(report.adopted, 8);
    assert.ok(printed.some((line) => /half written is undone/.test(line)));
  });
});

Deno.test("HTLCs of ours are those that we offered", async () => {
  const store = MemoryStore.create();
  await adoptChanged({ store });
  const { holder } = channelOf(store, 8n);
  const [current] = holder.current;
  const sides = current?.htlcs.map(({ side, amount }) => (
    { isOurs: side === SIDE_LOCAL, amount }
  ));
  assert.deepEqual(
    sides?.toSorted((a, b) => Number(a.amount - b.amount)),
    [
      { isOurs: true, amount: 40_000_000n },
      { isOurs: false, amount: 50_000_000n },
    ],
  );
});
