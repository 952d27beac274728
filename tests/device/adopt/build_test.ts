import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import {
  type Adopted,
  buildChannel,
  type LeftOut,
} from "../../../src/device/adopt/build.ts";
import type { KeySources } from "../../../src/device/adopt/facts.ts";
import {
  CHANNELS,
  CONFIGS,
  FEERATES,
  HTLCS,
  INFLIGHTS,
  KNOWN_SECRETS,
  type NodeDatabase,
  PEERS,
  PENALTIES,
  SHACHAINS,
} from "../../../src/device/adopt/rows.ts";
import { StoreError } from "../../../src/errors.ts";
import { ChannelKeyRing } from "../../../src/keyderiv/channel.ts";
import { deriveNodeKeys } from "../../../src/keyderiv/node.ts";
import { FUNDING_LOCKED, FUNDING_SIGNED } from "../../../src/signer/records.ts";
import { WalletScripts } from "../../../src/signer/wallet_scripts.ts";
import { type NodeName, readChanged, seedOf, withFolder } from "./database.ts";

function sourcesOf(name: NodeName): KeySources {
  const keys = deriveNodeKeys(seedOf(name));
  const ring = new ChannelKeyRing(keys.channelBase);
  const wallet = new WalletScripts(keys);
  return {
    keysOf: (id) => ring.keysOf(id),
    walletScripts: (index) => wallet.scriptsAt(index),
  };
}

function buildAll(db: NodeDatabase, name: NodeName): (Adopted | LeftOut)[] {
  const sources = sourcesOf(name);
  return db.channels.map((row) => buildChannel(db, row, sources));
}

async function builtFrom(
  name: NodeName,
  changes = "",
): Promise<(Adopted | LeftOut)[]> {
  const found: (Adopted | LeftOut)[] = [];
  await withFolder(async (folder) => {
    found.push(...buildAll(await readChanged(folder, name, changes), name));
  });
  return found;
}

const HOSTILE: readonly string[] = [
  "NULL",
  "0",
  "1",
  "-1",
  "9223372036854775807",
  "281474976710656",
  "1.5",
  "'text'",
  "x''",
  "zeroblob(32)",
  "zeroblob(33)",
  "x'02" + "ff".repeat(32) + "'",
  "zeroblob(100000)",
];

const TABLES = [
  CHANNELS,
  CONFIGS,
  FEERATES,
  HTLCS,
  INFLIGHTS,
  SHACHAINS,
  KNOWN_SECRETS,
  PENALTIES,
  PEERS,
] as const;

const columns = TABLES.flatMap(({ name, columns }) =>
  Object.values(columns)
    .filter(({ sql }) => /^[a-z_]+$/.test(sql))
    .map(({ sql }) => ({ table: name, sql }))
);

Deno.test("whatever a column holds: an answer, or an error that says where", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...columns),
      fc.constantFrom(...HOSTILE),
      async ({ table, sql }, value) => {
        // Tables are strict: a value of another type does not get in.
        const change = `UPDATE OR IGNORE ${table} SET ${sql} = ${value}`;
        try {
          await builtFrom("alice", change);
        } catch (error) {
          const isStrict = /cannot store|datatype mismatch/
            .test(String(error));
          assert.ok(isStrict || error instanceof StoreError, String(error));
        }
      },
    ),
    { numRuns: 60 },
  );
});

function adopted(built: readonly (Adopted | LeftOut)[]): Adopted[] {
  return built.map((each) => {
    if (each.kind === "adopted") return each;
    throw new Error(`${each.dbid} was left out: ${each.reason}`);
  });
}

Deno.test("every channel of a node that was stopped is adopted", async () => {
  const all = adopted(await builtFrom("alice"));
  assert.deepEqual(all.map(({ state }) => state), [
    "CHANNELD_NORMAL",
    "CHANNELD_NORMAL",
    "CHANNELD_NORMAL",
    "CHANNELD_NORMAL",
    "CHANNELD_AWAITING_SPLICE",
    "CLOSINGD_COMPLETE",
    "ONCHAIN",
    "CHANNELD_NORMAL",
  ]);
  for (const { record, value } of all) {
    const [current] = record.holder.current;
    assert.ok(current !== undefined);
    const htlcs = current.htlcs.reduce((sum, htlc) => sum + htlc.amount, 0n);
    const anchors = value - current.toUs - current.toThem - current.fee -
      htlcs / 1000n;
    assert.ok([0n, 330n, 660n].includes(anchors), `${anchors} sat of anchors`);
    assert.equal(record.holder.current.length, record.fundings.length);
  }
});

Deno.test("a splice in no block has a commitment on each output", async () => {
  const splice = adopted(await builtFrom("alice"))
    .find(({ state }) => state === "CHANNELD_AWAITING_SPLICE");
  assert.ok(splice !== undefined);
  const { fundings, holder, counterparty } = splice.record;
  assert.deepEqual(fundings.map(({ state }) => state), [
    FUNDING_LOCKED,
    FUNDING_SIGNED,
  ]);
  assert.deepEqual(fundings.map(({ isSplice }) => isSplice), [false, true]);
  assert.equal(holder.current.length, 2);
  assert.equal(counterparty.current.length, 2);
});

Deno.test("what is closing is never revoked, or remembers its close", async () => {
  const all = adopted(await builtFrom("alice"));
  const [onchain] = all.filter(({ state }) => state === "ONCHAIN");
  const [together] = all.filter(({ state }) => state === "CLOSINGD_COMPLETE");
  assert.ok(onchain !== undefined && together !== undefined);
  const { signed, next } = onchain.record.holder;
  assert.equal(signed, next - 1n);
  assert.equal(onchain.record.closes.length, 0);
  assert.equal(together.record.holder.signed, null);
  assert.equal(together.record.closes.length, 1);
});

Deno.test("killed amid payments: the peer's last commitment and the one before", async () => {
  const all = adopted(await builtFrom("bob"));
  const between = all.filter(({ record }) =>
    record.counterparty.previous.length > 0
  );
  assert.ok(between.length > 0, "no channel between two commitments");
  for (const { record: { counterparty } } of between) {
    assert.equal(counterparty.next, counterparty.revoked + 2n);
    assert.ok(counterparty.previousPoint !== null);
    assert.notDeepEqual(
      counterparty.previous[0]?.txid,
      counterparty.current[0]?.txid,
    );
  }
  for (const { record: { counterparty } } of all) {
    if (counterparty.previous.length > 0) continue;
    assert.equal(counterparty.next, counterparty.revoked + 1n);
    assert.equal(counterparty.previousPoint, null);
  }
});

interface Damage {
  readonly name: string;
  /** Of channel 2. */
  readonly change: string;
  readonly reason: RegExp;
}

const OTHER_POINT =
  "x'0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'";
const ours = (set: string) => `UPDATE channels SET ${set} WHERE id = 2`;

const DAMAGES: readonly Damage[] = [
  {
    name: "another balance",
    change: ours("msatoshi_local = msatoshi_local - 1000"),
    reason: /commitment 25 of ours follows from its rows as .*, want /,
  },
  {
    name: "a balance that is more than there is",
    change: ours("msatoshi_local = 2000000000"),
    reason: /amounts do not add up/,
  },
  {
    name: "a signature of something else",
    change: ours("last_sig = (SELECT last_sig FROM channels WHERE id = 3)"),
    reason: /signature of its last transaction is not valid/,
  },
  {
    name: "no signature",
    change: ours("last_sig = NULL"),
    reason: /signature of its last transaction is not valid/,
  },
  {
    name: "another commitment",
    change: ours("last_tx = (SELECT last_tx FROM channels WHERE id = 3)"),
    reason: /commitment 25 of ours follows/,
  },
  {
    name: "no transaction at all",
    change: ours("last_tx = x'70736274'"),
    reason: /a transaction in it is unreadable/,
  },
  {
    name: "restored from a backup",
    change: ours("last_tx = NULL, last_sig = NULL"),
    reason: /restored from a backup/,
  },
  {
    name: "another number of ours",
    change: ours("next_index_local = next_index_local + 1"),
    reason: /commitment 26 of ours follows/,
  },
  {
    name: "a number that no channel reaches",
    change: ours("next_index_local = 1 << 50"),
    reason: /a value in it is out of range: /,
  },
  {
    name: "a script that no record holds",
    change: ours("shutdown_scriptpubkey_local = zeroblob(70000)"),
    reason: /a value in it is out of range: /,
  },
  {
    name: "another number of the peer's",
    change: ours("next_index_remote = next_index_remote + 2"),
    reason: /28 commitments of the peer's are signed and 25 revoked/,
  },
  {
    name: "another feerate",
    change: "UPDATE channel_feerates SET feerate_per_kw = 2531 " +
      "WHERE channel_id = 2",
    reason: /commitment 25 of ours follows/,
  },
  {
    name: "no feerate",
    change: "DELETE FROM channel_feerates WHERE channel_id = 2",
    reason: /the database has no feerate/,
  },
  {
    name: "an HTLC of another amount",
    change: "UPDATE channel_htlcs SET msatoshi = msatoshi + 1000 " +
      "WHERE channel_id = 2",
    reason: /commitment 25 of ours follows/,
  },
  {
    name: "an HTLC less",
    change: "DELETE FROM channel_htlcs WHERE channel_id = 2 AND hstate = 4",
    reason: /commitment 25 of ours follows/,
  },
  {
    name: "another delay of ours",
    change: "UPDATE channel_configs SET to_self_delay = 7 WHERE id = " +
      "(SELECT channel_config_remote FROM channels WHERE id = 2)",
    reason: /commitment 25 of ours follows/,
  },
  {
    name: "a seed that is not the channel's",
    change: ours(`funding_pubkey_local = ${OTHER_POINT}`),
    reason: /keys are not those of this seed/,
  },
  {
    name: "another funding key of the peer's",
    change: ours(`fundingkey_remote = ${OTHER_POINT}`),
    reason: /commitment 25 of ours follows|signature of its last/,
  },
  {
    name: "a secret less",
    change: "DELETE FROM shachain_known WHERE shachain_id = 2 AND idx = " +
      "(SELECT min_index FROM shachains WHERE id = 2)",
    reason: /secrets have a gap/,
  },
  {
    name: "no secrets",
    change: "DELETE FROM shachains WHERE id = 2",
    reason: /revocation secrets are not in the database/,
  },
  {
    name: "a lease",
    change: ours("lease_expiry = 100"),
    reason: /leases are not supported/,
  },
  {
    name: "a type with anchors that cost fees",
    change: ours("channel_type = x'101000'"),
    reason: /type is not supported/,
  },
  {
    name: "no type",
    change: ours("channel_type = NULL"),
    reason: /type is not supported/,
  },
  {
    name: "a commitment from before static remote keys",
    change: ours("local_static_remotekey_start = 26"),
    reason: /no static remote key/,
  },
  {
    name: "a peer that knows better",
    change: ours(`future_per_commitment_point = ${OTHER_POINT}`),
    reason: /older than the channel/,
  },
  {
    name: "a state of a later release",
    change: ours("state = 15"),
    reason: /a state that is not known/,
  },
  {
    name: "no peer",
    change: ours("peer_id = NULL"),
    reason: /its peer is not in the database/,
  },
];

for (const { name, change, reason } of DAMAGES) {
  Deno.test(`left out, and the others adopted: ${name}`, async () => {
    const built = await builtFrom("alice", change);
    const left = built.flatMap((each) => each.kind === "left" ? [each] : []);
    assert.deepEqual(left.map(({ dbid }) => dbid), [2n]);
    assert.match(left[0]?.reason ?? "", reason);
  });
}

Deno.test("left out: a commitment of the peer's that lightningd noted otherwise", async () => {
  const built = await builtFrom(
    "alice",
    "UPDATE penalty_bases SET txid = zeroblob(32) WHERE channel_id = 3 AND " +
      "commitnum = (SELECT max(commitnum) FROM penalty_bases " +
      "WHERE channel_id = 3)",
  );
  const left = built.flatMap((each) => each.kind === "left" ? [each] : []);
  assert.deepEqual(left.map(({ dbid }) => dbid), [3n]);
  assert.match(left[0]?.reason ?? "", /of the peer's follows from its rows/);
});

Deno.test("left out: a secret that does not derive those before it", async () => {
  const built = await builtFrom(
    "alice",
    "UPDATE shachain_known SET hash = zeroblob(32) WHERE shachain_id = 8 " +
      "AND idx = (SELECT min_index FROM shachains WHERE id = 8)",
  );
  const left = built.flatMap((each) => each.kind === "left" ? [each] : []);
  assert.deepEqual(left.map(({ dbid }) => dbid), [8n]);
  assert.match(left[0]?.reason ?? "", /secrets do not derive each other/);
});

Deno.test("left out: an older point of the peer's in the place of the last", async () => {
  const built = await builtFrom(
    "alice",
    "UPDATE channels SET old_per_commit_remote = per_commit_remote " +
      "WHERE id = 3",
  );
  const left = built.flatMap((each) => each.kind === "left" ? [each] : []);
  assert.deepEqual(left.map(({ dbid }) => dbid), [3n]);
});

Deno.test("an agreed script that is not the wallet's is kept", async () => {
  const script = `x'0014${"07".repeat(20)}'`;
  const all = adopted(
    await builtFrom("alice", ours(`shutdown_scriptpubkey_local = ${script}`)),
  );
  const agreed = all.map(({ record }) =>
    record.setup?.localShutdownScript.toHex()
  );
  assert.equal(agreed[1], `0014${"07".repeat(20)}`);
  assert.ok(agreed.every((each, i) => i === 1 || each === ""));
});
