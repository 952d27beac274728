/**
 * From a channel of the node's database to the record that a card keeps of it,
 * or to the reason why there is none.
 *
 * The node is trusted once: its keys were in it until now. Still everything is
 * checked that can be, because a record that is wrong signs what is wrong:
 *
 * | what | against |
 * | --- | --- |
 * | our basepoints and funding key | what the seed derives for the channel |
 * | our commitment, rebuilt | txid of `last_tx`, and `last_sig` of the peer |
 * | the peer's commitments, rebuilt | `penalty_bases`, where it has a txid |
 * | the peer's revocation secrets | each other, and the number of commitments |
 * | all amounts | what the funding output holds |
 *
 * What it does not do: read or write (`database.ts`, `../adopt.ts`).
 *
 * @module
 */

import { isSameBytes } from "../../bitcoin/bytes.ts";
import { redeem2of2 } from "../../bitcoin/script.ts";
import { hashSegwitV0 } from "../../bitcoin/sighash.ts";
import { type Tx, txidOf } from "../../bitcoin/tx.ts";
import { verifyEcdsa } from "../../crypto/secp.ts";
import { RequestError } from "../../errors.ts";
import type { DerivedKeys } from "../../signer/cache.ts";
import { isMutualClose } from "../../signer/closing.ts";
import { encodeWrite } from "../../signer/memory.ts";
import {
  allKeys,
  type ChannelEnds,
  deriveCounterpartyKeys,
  deriveHolderKeys,
  isSameOutpoint,
  termsBetween,
} from "../../signer/commitment.ts";
import {
  type ChannelRecord,
  type CommitmentRecord,
  type CounterpartyRecord,
  type HolderRecord,
} from "../../signer/records.ts";
import {
  type PubKey,
  type Sat,
  SIGHASH_ALL,
  type Txid,
} from "../../wire/types.ts";
import {
  balanceIn,
  feerateIn,
  htlcsIn,
  rebuild,
  sat,
  type View,
} from "./commitments.ts";
import type { ChannelRow, NodeDatabase } from "./rows.ts";
import {
  CHANNEL_STATES,
  type Facts,
  factsOf,
  type FundingOutput,
  type KeySources,
  present,
} from "./facts.ts";
import { gatherSecrets } from "./secrets.ts";
import { Unfit } from "./unfit.ts";

/** Our last commitment was signed for broadcast, or may have been. */
const ON_CHAIN: readonly number[] = [7, 8, 9];

/** A channel that fits. */
export interface Adopted {
  readonly kind: "adopted";
  readonly record: ChannelRecord;
  readonly state: string;
  /** Ours of the last commitment, in millisatoshi, HTLCs aside. */
  readonly ours: bigint;
  readonly value: Sat;
  /** For the owner: what was not possible to check. */
  readonly notes: readonly string[];
}

/** A channel that does not, and why. */
export interface LeftOut {
  readonly kind: "left";
  readonly dbid: bigint;
  readonly peerId: Uint8Array | null;
  readonly state: string;
  readonly reason: string;
}

/** Builds the record of one channel, or says why there is none. */
export function buildChannel(
  db: NodeDatabase,
  row: ChannelRow,
  sources: KeySources,
): Adopted | LeftOut {
  const { dbid } = row;
  const peerId = db.peers.find(({ id }) => id === row.peer)?.nodeId ?? null;
  const state = CHANNEL_STATES[row.state] ?? `state ${row.state}`;
  try {
    if (peerId === null) throw new Unfit("its peer is not in the database");
    const adopted = { ...build(factsOf(db, row, peerId, sources)), state };
    const { record } = adopted;
    encodeWrite({ kind: "channel", id: record, record });
    return adopted;
  } catch (error) {
    return { kind: "left", dbid, peerId, state, reason: reasonOf(error) };
  }
}

/** Numbers that no channel can have fail where they are used. */
function reasonOf(error: unknown): string {
  if (error instanceof Unfit) return error.message;
  const isValue = error instanceof RangeError || error instanceof RequestError;
  if (!isValue) throw error;
  return `a value in it is out of range: ${error.message}`;
}

// --------------------------------------------------------------------- record

function build(facts: Facts): Omit<Adopted, "state"> {
  const { row, id, setup, outputs } = facts;
  const notes: string[] = [];
  checkAmounts(facts);
  const [main] = outputs;
  const closed = closeOf(facts, main);
  const holder = holderOf(facts, closed);
  const counterparty = counterpartyOf(facts, notes);
  if (closed !== null) {
    notes.push("a close is signed: our last commitment cannot be compared");
  }
  const record: ChannelRecord = {
    ...id,
    setup,
    fundings: outputs.map(({ funding }) => funding),
    holder,
    counterparty,
    closes: closed === null ? [] : [closed],
    presigned: [],
    holderLoss: sat(0n),
    counterpartyLoss: sat(0n),
    isForgotten: false,
  };
  const { ours } = balanceIn("ours", main.balance, facts.htlcs);
  const { value } = main.funding;
  if (ON_CHAIN.includes(row.state)) {
    notes.push("it is closing on chain: it takes no new commitment");
  }
  return { kind: "adopted", record, ours, value, notes };
}

function checkAmounts({ outputs, htlcs }: Facts): void {
  const views: readonly View[] = ["ours", "theirs", "before"];
  for (const { balance } of outputs) {
    const isShort = views.some((view) => {
      const { ours, theirs } = balanceIn(view, balance, htlcs);
      return ours < 0n || theirs < 0n;
    });
    if (isShort) throw new Unfit("its amounts do not add up");
  }
}

/** The mutual close that took the place of our last commitment; null for none. */
function closeOf(facts: Facts, main: FundingOutput): Txid | null {
  const { lastTx } = main;
  if (lastTx === null || !isMutualClose(lastTx)) return null;
  const [input] = lastTx.inputs;
  const isIts = input !== undefined && lastTx.inputs.length === 1 &&
    isSameOutpoint(input, main.funding.outpoint);
  if (!isIts) throw new Unfit("its close spends another output");
  checkSignature(facts, main, lastTx);
  return txidOf(lastTx);
}

/** The peer's signature over the last transaction that spends an output. */
function checkSignature(
  { keys }: Facts,
  { funding, lastSig }: FundingOutput,
  tx: Tx,
): void {
  const { remoteFundingKey, value: amount } = funding;
  const script = redeem2of2(keys.funding.point, remoteFundingKey);
  const spend = { index: 0, script, amount, sighash: SIGHASH_ALL };
  const isValid = lastSig !== null &&
    verifyEcdsa(lastSig, hashSegwitV0(tx, spend), remoteFundingKey);
  if (!isValid) {
    throw new Unfit(
      "the peer's signature of its last transaction is not valid",
    );
  }
}

function holderOf(facts: Facts, closed: Txid | null): HolderRecord {
  const { row, outputs } = facts;
  const { nextLocal: next, state } = row;
  if (next === 0n) throw new Unfit("it has no commitment of ours");
  const number = next - 1n;
  const current = outputs.flatMap((output, i) => {
    const rebuilt = commitmentOn(facts, output, "ours", {
      number,
      derived: deriveHolderKeys(endsOf(facts), number),
    });
    if (i === 0 && closed !== null) return [rebuilt.record];
    if (output.lastTx === null) return [];
    const found = txidOf(output.lastTx);
    if (!isSameBytes(found, rebuilt.record.txid)) {
      throw new Unfit(
        `commitment ${number} of ours follows from its rows as ` +
          `${displayed(rebuilt.record.txid)}, want ${displayed(found)}`,
      );
    }
    checkSignature(facts, output, rebuilt.built.tx);
    return [rebuilt.record];
  });
  const isSignedToo = ON_CHAIN.includes(state) && closed === null;
  return { next, current, pending: [], signed: isSignedToo ? number : null };
}

function counterpartyOf(facts: Facts, notes: string[]): CounterpartyRecord {
  const { row, db } = facts;
  const { nextRemote: next, point, oldPoint } = row;
  const { revoked, secrets } = gatherSecrets(
    db,
    present(row.shachain, "revocation secrets"),
  );
  const unrevoked = next - revoked;
  if (unrevoked !== 1n && unrevoked !== 2n) {
    throw new Unfit(
      `${next} commitments of the peer's are signed and ${revoked} revoked, ` +
        "want 1 or 2 fewer",
    );
  }
  // CLN moves its two points when the peer revokes, not when we sign.
  const isBetween = unrevoked === 2n;
  const currentPoint = present(isBetween ? point : oldPoint, "point");
  const previousPoint = isBetween ? present(oldPoint, "older point") : null;
  const current = theirCommitments(facts, "theirs", next - 1n, currentPoint);
  const previous = previousPoint === null
    ? []
    : theirCommitments(facts, "before", next - 2n, previousPoint);
  checkPenalties(facts, notes, [
    { number: next - 1n, commitments: current },
    { number: next - 2n, commitments: previous },
  ]);
  return {
    next,
    revoked,
    current,
    previous,
    currentPoint,
    previousPoint,
    secrets,
  };
}

function theirCommitments(
  facts: Facts,
  view: View,
  number: bigint,
  point: PubKey,
): CommitmentRecord[] {
  const derived = deriveCounterpartyKeys(endsOf(facts), point);
  return facts.outputs
    // On one without ours, nothing of theirs can be worth anything yet.
    .filter(({ lastTx }) => lastTx !== null)
    .map((output) =>
      commitmentOn(facts, output, view, { number, derived }).record
    );
}

interface Numbered {
  readonly number: bigint;
  readonly commitments: readonly CommitmentRecord[];
}

/**
 * What lightningd noted of each commitment that it could punish. An output that
 * a splice replaced leaves its notes behind: there they are no evidence.
 */
function checkPenalties(
  { penalties, outputs, row }: Facts,
  notes: string[],
  sides: readonly Numbered[],
): void {
  const wasSpliced = outputs.length > 1 || (row.oldScids?.length ?? 0) > 0;
  for (const { number, commitments } of sides) {
    if (commitments.length === 0) continue;
    const noted = penalties.find((each) => each.number === number);
    if (noted === undefined) {
      notes.push(`commitment ${number} of the peer's cannot be compared`);
      continue;
    }
    const isKnown = commitments.some(({ txid }) =>
      isSameBytes(txid, noted.txid)
    );
    if (isKnown) continue;
    const [found] = commitments;
    if (!wasSpliced && found !== undefined) {
      throw new Unfit(
        `commitment ${number} of the peer's follows from its rows as ` +
          `${displayed(found.txid)}, want ${displayed(noted.txid)}`,
      );
    }
    notes.push(`commitment ${number} of the peer's cannot be compared`);
  }
}

function endsOf({ keys, setup }: Facts): ChannelEnds {
  return { ours: keys, setup };
}

function commitmentOn(
  facts: Facts,
  { funding, balance }: FundingOutput,
  view: View,
  { number, derived }: {
    readonly number: bigint;
    readonly derived: DerivedKeys;
  },
) {
  const { setup, dust, htlcs, feerates } = facts;
  const isOurs = view === "ours";
  const broadcaster = isOurs ? "holder" : "counterparty";
  const ends = endsOf(facts);
  return rebuild({
    view,
    number,
    isOutbound: setup.isOutbound,
    terms: termsBetween(ends, broadcaster, funding.outpoint),
    keys: allKeys(ends, derived, broadcaster, funding.remoteFundingKey),
    dustLimit: isOurs ? dust.local : dust.remote,
    value: funding.value,
    feerate: present(feerateIn(view, feerates), "feerate"),
    balance: balanceIn(view, balance, htlcs),
    htlcs: htlcsIn(view, htlcs),
  });
}

/** A txid as people write it. */
export const displayed = (txid: Txid): string => txid.toReversed().toHex();
