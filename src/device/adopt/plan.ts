/**
 * What is to be written on a card so that it goes on where a node's database
 * stops; or why the card and the database do not go together.
 *
 * A card is never taken back: where it has signed more than the database knows
 * of, the database is an old copy, and nothing of it is taken.
 *
 * What it does not do: write (`../adopt.ts`).
 *
 * @module
 */

import { type Network, networkOf } from "../../bitcoin/networks.ts";
import { StoreError } from "../../errors.ts";
import { ChannelKeyRing } from "../../keyderiv/channel.ts";
import type { NodeKeys } from "../../keyderiv/node.ts";
import type { Memory, Write } from "../../signer/memory.ts";
import type { ChannelRecord } from "../../signer/records.ts";
import { WalletScripts } from "../../signer/wallet_scripts.ts";
import { OwnerError } from "../owner_error.ts";
import { type Adopted, buildChannel, type LeftOut } from "./build.ts";
import { OVER, sat } from "./commitments.ts";
import type { KeySources } from "./facts.ts";
import { PaymentBook } from "./payments.ts";
import {
  type ChannelRow,
  KNOWN_RELEASES,
  KNOWN_VERSIONS,
  type NodeDatabase,
  unreadable,
} from "./rows.ts";

/** What a plan is made from. */
export interface PlanInput {
  readonly db: NodeDatabase;
  readonly keys: NodeKeys;
  readonly network: Network;
  readonly memory: Memory;
  /** Every channel that the card has a record of. */
  readonly known: readonly ChannelRecord[];
}

/** What adopting would do. */
export interface Plan {
  readonly nodeId: Uint8Array;
  readonly version: number;
  readonly closed: bigint;
  readonly adopted: readonly Adopted[];
  readonly left: readonly LeftOut[];
  readonly writes: readonly Write[];
}

/**
 * Plans to adopt a database.
 *
 * @throws {StoreError} for an old copy, or a database of no known release
 * @throws {OwnerError} rightNode, for another node's or another network's
 */
export function planAdoption(input: PlanInput): Plan {
  const { db, keys, memory, known } = input;
  checkVersion(db);
  const nodeId = checkOwner(input);
  checkNotOlder(db, known);
  const ring = new ChannelKeyRing(keys.channelBase);
  const wallet = new WalletScripts(keys);
  const sources: KeySources = {
    keysOf: (id) => ring.keysOf(id),
    walletScripts: (index) => wallet.scriptsAt(index),
  };
  const built = db.channels.map((row) => buildChannel(db, row, sources));
  const adopted = built.flatMap((each) =>
    each.kind === "adopted" ? [withCard(each, memory)] : []
  );
  const left = built.flatMap((each) => each.kind === "left" ? [each] : []);
  return {
    nodeId,
    version: db.version,
    closed: db.closed,
    adopted,
    left,
    writes: writesOf(input, adopted),
  };
}

function checkVersion({ version }: NodeDatabase): void {
  if (version >= KNOWN_VERSIONS.least) return;
  throw unreadable(
    `it is of version ${version}, want ${KNOWN_VERSIONS.least} or later ` +
      `(${KNOWN_RELEASES}): start a newer lightningd once and stop it`,
  );
}

/** The database has to be this seed's, on this network. */
function checkOwner({ db, keys, network }: PlanInput): Uint8Array {
  const own = keys.node.point;
  if (db.nodeId === null || db.genesisHash === null) {
    throw unreadable(
      "it does not say whose it is: lightningd never ran with it",
    );
  }
  const found = networkOf(db.genesisHash);
  if (found?.name !== network.name) {
    throw new OwnerError(
      "rightNode",
      `Cannot adopt the database: it is for ${
        found?.name ?? "no known network"
      }` +
        `, want ${network.name}`,
    );
  }
  if (db.nodeId.toHex() === own.toHex()) return own;
  throw new OwnerError(
    "rightNode",
    `Cannot adopt the database: it belongs to node ${db.nodeId.toHex()}, ` +
      `want ${own.toHex()}, which this seed is`,
  );
}

function checkNotOlder(
  db: NodeDatabase,
  known: readonly ChannelRecord[],
): void {
  for (const record of known) {
    if (record.setup === null || record.isForgotten) continue;
    const row = rowOf(db, record);
    const problem = row === null
      ? record.dbid > db.highestChannel ? "no such channel" : null
      : olderThan(db, row, record);
    if (problem === null) continue;
    throw new StoreError(
      "adopt the database",
      `it is an old copy: it has ${problem} for channel ${record.dbid} with ` +
        `${record.peerId.toHex()}, and the card has signed more; want the ` +
        "newest one",
    );
  }
}

function rowOf(db: NodeDatabase, { peerId, dbid }: ChannelRecord) {
  const peer = db.peers.find(({ nodeId }) => nodeId.toHex() === peerId.toHex());
  return db.channels.find((row) =>
    row.dbid === dbid && row.peer === peer?.id
  ) ??
    null;
}

function olderThan(
  { shachains }: NodeDatabase,
  row: ChannelRow,
  { holder, counterparty }: ChannelRecord,
): string | null {
  const chain = shachains.find(({ id }) => id === row.shachain);
  const revoked = (1n << 48n) - (chain?.minIndex ?? 1n << 48n);
  if (row.nextLocal < holder.next) {
    return `${row.nextLocal} commitments of ours`;
  }
  if (row.nextRemote < counterparty.next) {
    return `${row.nextRemote} commitments of the peer's`;
  }
  return revoked < counterparty.revoked ? `${revoked} revocations` : null;
}

/** What the card remembers of promises and losses is not forgotten. */
function withCard(adopted: Adopted, memory: Memory): Adopted {
  const { record } = adopted;
  const card = memory.channel(record);
  if (card === null || card.setup === null) return adopted;
  const closes = [...record.closes, ...card.closes];
  const names = closes.map((txid) => txid.toHex());
  return {
    ...adopted,
    record: {
      ...record,
      holder: {
        ...record.holder,
        signed: lower(record.holder.signed, card.holder.signed),
      },
      closes: closes.filter((txid, i) => names.indexOf(txid.toHex()) === i),
      presigned: card.presigned,
      holderLoss: sat(card.holderLoss),
      counterpartyLoss: sat(card.counterpartyLoss),
      isForgotten: card.isForgotten,
    },
  };
}

function lower(a: bigint | null, b: bigint | null): bigint | null {
  if (a === null || b === null) return a ?? b;
  return a < b ? a : b;
}

function writesOf(
  { db, memory }: PlanInput,
  adopted: readonly Adopted[],
): readonly Write[] {
  const book = new PaymentBook(memory.payments());
  for (const { record } of adopted) book.takeChannel(record);
  book.takePaid(db.htlcs.filter(({ state }) => OVER.includes(state)));
  const node = memory.node();
  const channels = adopted.map(({ record }): Write => {
    const { peerId, dbid } = record;
    return { kind: "channel", id: { peerId, dbid }, record };
  });
  return [
    ...channels,
    ...book.writes(),
    {
      kind: "node",
      record: {
        ...node,
        dbidHighWater: larger(node.dbidHighWater, db.highestChannel),
        walletHighWater: Math.max(node.walletHighWater, walletIndex(db)),
      },
    },
  ];
}

const larger = (a: bigint, b: bigint) => a > b ? a : b;

/** BIP 32: wallet keys are not hardened. */
const MOST_INDEX = 2 ** 31 - 1;

const walletIndex = ({ walletIndex: found }: NodeDatabase) =>
  Math.min(Number(found), MOST_INDEX);
