/**
 * A random life of two channels between two honest nodes, as requests to two
 * signers: HTLCs, fees, commitment dances that interleave, splices, crashes,
 * restarts, repeats, old cards, unilateral closes, and a thief in between.
 *
 * ```
 *   updates of Y  ---.                                .--> 36 at Y
 *                    v                                |
 *   19, 20 at Y --commit--> 35 at X, stored, 40 at X -'
 * ```
 *
 * A node is honest: it asks for what BOLT 2 lets it, in any order that leaves,
 * and asks again after a failure. It has to be answered, always; and from
 * everywhere it has to be able to close. A thief has a node's connections and
 * the peer's keys; what it asks for under {@link TRICKS} has to be refused, and
 * a refusal changes nothing.
 *
 * What it does not do: model the chain, fees of closes, or mutual closes.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Tx, txidOf } from "../../../src/bitcoin/tx.ts";
import { sha256 } from "../../../src/crypto/hash.ts";
import { deriveWalletKey } from "../../../src/keyderiv/node.ts";
import { p2wpkh } from "../../../src/bitcoin/script.ts";
import { REPLIES } from "../../../src/wire/hsmd.ts";
import { decodeMessage } from "../../../src/wire/message.ts";
import type {
  BitcoinSignature,
  DisclosedSecret,
  Msat,
  Sat,
  Sha256,
  Txid,
} from "../../../src/wire/types.ts";
import {
  type Asked,
  bitcoinTx,
  channelOf,
  type Commit,
  commitOf,
  commitTx,
  type Content,
  countersign,
  type Countersigned,
  type Funding,
  fundingOutput,
  getPoint,
  type Htlc,
  lockOutpoint,
  newChannel,
  other,
  type Pair,
  pointOf,
  revoke,
  setupChannel,
  type Side,
  signForBroadcast,
  signMutualClose,
  signRemote,
  signRemoteHtlcs,
  signSplice,
  validate,
  validateRevocation,
} from "../../support/peers.ts";
import { Card, type Mishap, refusalIn, type Sabotage } from "./card.ts";
import { Ledger } from "./ledger.ts";

/** One event of a life. What cannot happen where it comes does nothing. */
export type Op =
  | {
    readonly kind: "go";
    readonly pick: number;
    /** How many steps, each as the last one left things. */
    readonly steps: number;
  }
  | {
    readonly kind: "add";
    readonly ch: number;
    readonly side: Side;
    readonly amount: number;
  }
  | { readonly kind: "settle"; readonly ch: number; readonly pick: number }
  | { readonly kind: "fee"; readonly ch: number; readonly rate: number }
  | {
    readonly kind: "splice";
    readonly ch: number;
    readonly side: Side;
    /** Satoshi; below zero they leave the channel. */
    readonly amount: number;
    readonly isEarly: boolean;
  }
  | { readonly kind: "abort"; readonly ch: number }
  | {
    readonly kind: "lock";
    readonly ch: number;
    readonly side: Side;
    readonly pick: number;
  }
  | {
    readonly kind: "close";
    readonly ch: number;
    readonly side: Side;
    readonly pick: number;
  }
  | {
    readonly kind: "repeat";
    readonly ch: number;
    readonly side: Side;
    readonly pick: number;
  }
  | {
    readonly kind: "mishap";
    readonly side: Side;
    readonly what: Mishap;
    readonly after: number;
  }
  | { readonly kind: "restart"; readonly side: Side }
  | { readonly kind: "copy"; readonly side: Side }
  | { readonly kind: "restore"; readonly side: Side; readonly pick: number }
  | {
    readonly kind: "trick";
    readonly ch: number;
    readonly side: Side;
    readonly trick: number;
    readonly pick: number;
  }
  | {
    readonly kind: "wild";
    readonly ch: number;
    readonly side: Side;
    readonly what: number;
    readonly pick: number;
  };

/** An honest node was refused: there was no way on. */
export class Refused extends Error {
  override readonly name = "Refused";
}

type Update =
  | { readonly kind: "add"; readonly by: Side; readonly htlc: Htlc }
  | {
    readonly kind: "remove";
    readonly by: Side;
    readonly htlc: Htlc;
    readonly isFulfilled: boolean;
  }
  | { readonly kind: "fee"; readonly by: Side; readonly feerate: number };

/** Which updates a commitment has, by their place in the channel's list. */
type Applied = ReadonlySet<number>;

interface Signed {
  readonly commit: Commit;
  readonly signatures: Countersigned;
}

/** A commitment of one side, on each output that may confirm. */
interface Held {
  readonly number: bigint;
  readonly applied: Applied;
  readonly on: readonly Signed[];
}

type Message =
  | { readonly kind: "commit"; readonly held: Held }
  | {
    readonly kind: "revoke";
    readonly number: bigint;
    readonly secret: DisclosedSecret;
  }
  | { readonly kind: "locked"; readonly funding: Funding };

/** What one node knows of one channel. */
interface End {
  own: Held;
  pending: Held | null;
  /** The peer's newest commitment that this end signed. */
  signedNumber: bigint;
  signedApplied: Applied;
  /** How many of the peer's commitments are revoked. */
  taken: bigint;
  fundings: readonly Funding[];
  readonly inbox: Message[];
  /** Begun and not finished: opening, splicing. */
  steps: Step[];
  lockSent: Funding | null;
  lockSeen: Funding | null;
  isClosed: boolean;
  /** The last request of each kind, as a reconnection may repeat them. */
  readonly last: Map<string, readonly Asked[]>;
  /** Own commitments that were revoked: what a thief would like signed. */
  readonly revoked: Signed[];
}

/** One request or a few that belong together; false while it has to wait. */
type Step = (end: End) => boolean;

const NONE: Applied = new Set();
const VALUE = 2_000_000n;
const PUSHED = 800_000n;
const RESERVE = 150_000_000n;
const SPLICE_FEE = 1_500n;
const MOST_HTLCS = 8;

/** A channel, seen from above. */
class Channel {
  readonly updates: Update[] = [];
  readonly ends: readonly [End, End];
  readonly first: Funding;
  splice: { readonly funding: Funding; finals: number } | null = null;
  hasSpliced = false;
  /** A thief got something signed: the honest way may be barred. */
  isStolen = false;

  readonly pair: Pair;
  readonly index: number;

  constructor(pair: Pair, index: number) {
    this.pair = pair;
    this.index = index;
    this.first = {
      // A hash names the transaction that opened it.
      outpoint: {
        txid: sha256(Uint8Array.of(index)) as Uint8Array as Txid,
        index: index,
      },
      value: VALUE as Sat,
      delta: [0n, 0n],
    };
    this.ends = [this.#end(), this.#end()];
  }

  #end(): End {
    return {
      own: { number: -1n, applied: NONE, on: [] },
      pending: null,
      signedNumber: -1n,
      signedApplied: NONE,
      taken: 0n,
      fundings: [this.first],
      inbox: [],
      steps: [],
      lockSent: null,
      lockSeen: null,
      isClosed: false,
      last: new Map(),
      revoked: [],
    };
  }

  /** What a commitment with these updates says. */
  content(applied: Applied): Content {
    const { opener } = this.pair;
    const balances: [bigint, bigint] = [PUSHED * 1000n, PUSHED * 1000n];
    balances[opener] = (VALUE - PUSHED) * 1000n;
    const htlcs = new Set<Htlc>();
    let feerate = 1000;
    for (const [id, update] of this.updates.entries()) {
      if (!applied.has(id)) continue;
      if (update.kind === "fee") {
        feerate = update.feerate;
        continue;
      }
      const { htlc, kind, by } = update;
      if (kind === "add") {
        balances[by] -= htlc.amount;
        htlcs.add(htlc);
      } else {
        balances[update.isFulfilled ? by : other(by)] += htlc.amount;
        htlcs.delete(htlc);
      }
    }
    return { balances, htlcs: [...htlcs], feerate };
  }

  /** The content that this end is to sign next. */
  nextApplied(signer: Side): Applied {
    const mine = this.ends[signer].own.applied;
    return new Set(
      this.updates.entries()
        .filter(([id, { by }]) => by === signer || mine.has(id))
        .map(([id]) => id),
    );
  }

  get isOpen(): boolean {
    return this.ends.every(({ steps, own }) =>
      steps.length === 0 && own.number >= 0n
    ) && this.splice === null;
  }

  /** BOLT 2, stfu: nothing is under way. */
  get isQuiet(): boolean {
    return this.isOpen && ([0, 1] as const).every((side) => {
      const end = this.ends[side];
      return !end.isClosed && end.pending === null && end.inbox.length === 0 &&
        end.taken === end.signedNumber && end.lockSent === null &&
        end.lockSeen === null &&
        isSame(end.signedApplied, this.nextApplied(side)) &&
        end.own.applied.size === this.updates.length;
    });
  }
}

function isSame(a: Applied, b: Applied): boolean {
  return a.size === b.size && a.isSubsetOf(b);
}

/** Whether both name the same output. */
const isAt = (a: Funding, b: Funding) =>
  a.outpoint.txid.toHex() === b.outpoint.txid.toHex();

/** What a life is to be. */
export interface Setting {
  readonly sabotage?: Sabotage;
}

/** Two nodes, two channels, two signers. */
export class Life {
  readonly cards: readonly [Card, Card];
  readonly channels: readonly Channel[];
  readonly ledger: Ledger;
  readonly #asked: (readonly [Side, Asked])[] = [];
  readonly #rehearsed = new Map<string, unknown>();
  requests = 0;
  splices = 0;
  /** What came about, by name: a model that does nothing finds nothing. */
  readonly counts = new Map<string, number>();

  constructor({ sabotage = {} }: Setting = {}) {
    this.cards = [new Card(0, sabotage), new Card(1, sabotage)];
    const pairs = ([0, 1] as const).map((index) => this.#pair(index));
    this.ledger = new Ledger(pairs);
    this.channels = pairs.map((pair, index) => new Channel(pair, index));
    for (const channel of this.channels) {
      this.#beginOpening(channel, 0);
      this.#beginOpening(channel, 1);
    }
  }

  #keys(side: Side) {
    const { state } = this.cards[side].desk;
    assert(state.kind === "ready");
    return state;
  }

  #pair(index: Side): Pair {
    const states = [this.#keys(0), this.#keys(1)] as const;
    const nodes = [
      states[0].identity.nodeId,
      states[1].identity.nodeId,
    ] as const;
    const dbid = BigInt(index + 1);
    const keys = (side: Side) =>
      states[side].channels.keysOf({ peerId: nodes[other(side)], dbid });
    return {
      nodes,
      keys: [keys(0), keys(1)],
      dbid,
      opener: index,
      hasAnchors: index === 0,
      pushed: PUSHED,
    };
  }

  // ------------------------------------------------------------------- asking

  /** One request as it leaves a node: what comes back has left the signer. */
  #ask(side: Side, asked: Asked): Uint8Array {
    this.requests += 1;
    const reply = this.cards[side].serve(asked);
    this.ledger.note(side, asked, reply);
    return reply;
  }

  /** An honest request: failures and losses are met by asking again. */
  #want(channel: Channel, side: Side, asked: Asked): Uint8Array {
    const card = this.cards[side];
    this.#asked.push([side, asked]);
    for (let tries = 0; tries < 4; tries++) {
      const reply = this.#ask(side, asked);
      const refusal = refusalIn(reply);
      if (refusal === null && !card.takeLoss()) {
        card.noteHead();
        return reply;
      }
      if (refusal !== null && !card.takeFailure()) {
        throw new Refused(`channel ${channel.index}, side ${side}: ${refusal}`);
      }
      card.restart();
    }
    throw new Refused("the card fails again and again");
  }

  #count(name: string): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
  }

  #wantAll(
    channel: Channel,
    side: Side,
    name: string,
    all: readonly Asked[],
  ): readonly Uint8Array[] {
    const replies = all.map((asked) => this.#want(channel, side, asked));
    channel.ends[side].last.set(name, all);
    // What was signed for an older number is asked for no more.
    if (name === "sign") channel.ends[side].last.delete("sign splice");
    this.#count(name);
    return replies;
  }

  // ------------------------------------------------------------------ opening

  #commit(
    channel: Channel,
    owner: Side,
    number: bigint,
    funding: Funding,
    applied: Applied,
  ): Commit {
    const { pair } = channel;
    const content = channel.content(applied);
    const commit = commitOf(pair, owner, number, funding, content);
    return this.ledger.register(pair, commit);
  }

  #beginOpening(channel: Channel, side: Side): void {
    const { pair, first, ends } = channel;
    const end = ends[side];
    const want = (name: string, asked: Asked): Step => () => {
      this.#wantAll(channel, side, name, [asked]);
      return true;
    };
    end.steps = [
      want("new", newChannel(pair, side)),
      want("point", getPoint(pair, side, 0n)),
      want("setup", setupChannel(pair, side, first)),
      () => {
        const commit = this.#commit(channel, other(side), 0n, first, NONE);
        const signed = this.#countersign(channel, side, [commit], "sign");
        end.signedNumber = 0n;
        ends[other(side)].inbox.push({
          kind: "commit",
          held: { number: 0n, applied: NONE, on: signed },
        });
        return true;
      },
      () => {
        const [message] = end.inbox;
        if (message?.kind !== "commit") return false;
        this.#validate(channel, side, message.held.on);
        end.inbox.shift();
        end.own = message.held;
        return true;
      },
      want("lock", lockOutpoint(pair, side, first)),
    ];
  }

  #countersign(
    channel: Channel,
    side: Side,
    commits: readonly Commit[],
    name: string,
  ): readonly Signed[] {
    const { pair } = channel;
    const asked = commits.map((commit) => [
      signRemote(pair, side, commit),
      ...signRemoteHtlcs(pair, side, commit),
    ]);
    const replies = this.#wantAll(channel, side, name, asked.flat());
    const sigs = replies.map((reply) =>
      decodeMessage(REPLIES.sign_tx_reply, reply).sig
    );
    let at = 0;
    return commits.map((commit, i) => {
      const count = asked[i]?.length ?? 0;
      const signatures = signaturesOf(sigs.slice(at, at + count));
      at += count;
      return { commit, signatures };
    });
  }

  #validate(channel: Channel, side: Side, signed: readonly Signed[]): void {
    const { pair } = channel;
    const asked = signed.map(({ commit, signatures }) =>
      validate(pair, commit, signatures)
    );
    const replies = this.#wantAll(channel, side, "validate", asked);
    for (const [i, reply] of replies.entries()) {
      const { nextPerCommitmentPoint } = decodeMessage(
        REPLIES.validate_commitment_tx_reply,
        reply,
      );
      const number = signed[i]?.commit.number ?? 0n;
      const { point } = pointOf(pair, side, number + 1n);
      assert.equal(nextPerCommitmentPoint.toHex(), point.toHex());
    }
  }

  // -------------------------------------------------------------------- dance

  /** Everything that the protocol allows some node to do next. */
  #enabled(): readonly (() => void)[] {
    return this.channels.flatMap((channel) =>
      ([0, 1] as const).flatMap((side) => this.#enabledAt(channel, side))
    );
  }

  #enabledAt(channel: Channel, side: Side): readonly (() => void)[] {
    const end = channel.ends[side];
    if (channel.isStolen || end.isClosed) return [];
    const [step] = end.steps;
    if (step !== undefined) {
      return [() => {
        if (step(end)) end.steps.shift();
      }];
    }
    if (!channel.isOpen) return [];
    const enabled = [];
    if (end.pending !== null) {
      enabled.push(() => this.#revoke(channel, side));
    }
    const [message] = end.inbox;
    if (message !== undefined && end.pending === null) {
      enabled.push(() => {
        this.#take(channel, side, message);
        end.inbox.shift();
      });
    }
    const applied = channel.nextApplied(side);
    if (
      end.taken === end.signedNumber && !isSame(applied, end.signedApplied)
    ) {
      enabled.push(() => this.#sign(channel, side, applied));
    }
    return enabled;
  }

  #sign(channel: Channel, side: Side, applied: Applied): void {
    const end = channel.ends[side];
    const number = end.signedNumber + 1n;
    const commits = end.fundings.map((funding) =>
      this.#commit(channel, other(side), number, funding, applied)
    );
    const on = this.#countersign(channel, side, commits, "sign");
    end.signedNumber = number;
    end.signedApplied = applied;
    channel.ends[other(side)].inbox.push({
      kind: "commit",
      held: { number, applied, on },
    });
  }

  #take(channel: Channel, side: Side, message: Message): void {
    const { pair } = channel;
    const end = channel.ends[side];
    switch (message.kind) {
      case "commit": {
        const { held } = message;
        // What came for an output that was replaced meanwhile is left out.
        const on = held.on.filter(({ commit }) =>
          end.fundings.some((funding) => isAt(funding, commit.funding))
        );
        this.#validate(channel, side, on);
        end.pending = { ...held, on };
        return;
      }
      case "revoke": {
        const { number, secret } = message;
        const asked = validateRevocation(pair, side, number, secret);
        this.#wantAll(channel, side, "revocation", [asked]);
        end.taken = number + 1n;
        return;
      }
      case "locked":
        end.lockSeen = message.funding;
        this.#lock(channel, side);
    }
  }

  #revoke(channel: Channel, side: Side): void {
    const { pair } = channel;
    const end = channel.ends[side];
    const { pending, own } = end;
    assert(pending !== null);
    const asked = revoke(pair, side, own.number);
    const [reply] = this.#wantAll(channel, side, "revoke", [asked]);
    assert(reply !== undefined);
    const { oldCommitmentSecret: secret, nextPerCommitmentPoint: next } =
      decodeMessage(REPLIES.revoke_commitment_tx_reply, reply);
    const { point } = pointOf(pair, side, own.number + 2n);
    assert.equal(next.toHex(), point.toHex());
    end.revoked.push(...own.on);
    end.own = pending;
    end.pending = null;
    const { number } = own;
    channel.ends[other(side)].inbox.push({ kind: "revoke", number, secret });
  }

  // ------------------------------------------------------------------- splice

  /** The wallet's script of a node. */
  #wallet(side: Side): Uint8Array {
    return p2wpkh(deriveWalletKey(this.#keys(side).keys, 3).point);
  }

  #beginSplice(
    channel: Channel,
    { side, amount, isEarly }: Op & { readonly kind: "splice" },
  ): void {
    const [base] = channel.ends[0].fundings;
    const count = channel.ends[0].fundings.length;
    if (!channel.isQuiet || base === undefined || count > 2) return;
    const change = BigInt(amount);
    const delta: [bigint, bigint] = [...base.delta];
    delta[side] += (change - SPLICE_FEE) * 1000n;
    const { balances } = channel.content(channel.ends[side].own.applied);
    if (balances[side] + delta[side] < RESERVE) return;
    const value = base.value + change - SPLICE_FEE as Sat;
    const { tx, spent } = this.#spliceTx(channel, side, base, {
      value,
      change,
    });
    const outpoint = { txid: txidOf(tx), index: 0 };
    const funding: Funding = { outpoint, value, delta };
    channel.splice = { funding, finals: 0 };
    const sign29 = (at: Side) =>
      signSplice(channel.pair, at, bitcoinTx(tx, spent));
    for (const at of [0, 1] as const) {
      this.#spliceSteps(
        channel,
        at,
        funding,
        sign29(at),
        isEarly && at === side,
      );
    }
  }

  #spliceTx(
    { pair }: Channel,
    side: Side,
    base: Funding,
    { value, change }: { readonly value: Sat; readonly change: bigint },
  ): { readonly tx: Tx; readonly spent: ReturnType<typeof fundingOutput>[] } {
    this.splices += 1;
    const script = this.#wallet(side);
    const coin = { ...base.outpoint, index: 100 + this.splices };
    const isIn = change > 0n;
    const amount = (isIn ? change : -change) as Sat;
    const input = { scriptSig: new Uint8Array(), sequence: 0, witness: [] };
    return {
      tx: {
        version: 2,
        inputs: [
          { ...input, ...base.outpoint },
          ...(isIn ? [{ ...input, ...coin }] : []),
        ],
        outputs: [
          fundingOutput(pair, { ...base, value }),
          ...(isIn ? [] : [{ amount, script }]),
        ],
        // One splice is not another.
        locktime: this.splices,
      },
      spent: [fundingOutput(pair, base), ...(isIn ? [{ amount, script }] : [])],
    };
  }

  #spliceSteps(
    channel: Channel,
    side: Side,
    funding: Funding,
    final: Asked,
    isEarly: boolean,
  ): void {
    const { pair, ends } = channel;
    const end = ends[side];
    const peer = ends[other(side)];
    const want = (name: string, asked: Asked): Step => () => {
      this.#wantAll(channel, side, name, [asked]);
      return true;
    };
    end.steps = [
      ...(isEarly ? [want("splice", final)] : []),
      want("setup", setupChannel(pair, side, funding)),
      () => {
        const { number, applied } = peer.own;
        const commit = this.#commit(
          channel,
          other(side),
          number,
          funding,
          applied,
        );
        const on = this.#countersign(channel, side, [commit], "sign splice");
        peer.inbox.push({ kind: "commit", held: { number, applied, on } });
        return true;
      },
      () => {
        const [message] = end.inbox;
        if (message?.kind !== "commit") return false;
        this.#validate(channel, side, message.held.on);
        end.inbox.shift();
        end.own = { ...end.own, on: [...end.own.on, ...message.held.on] };
        return true;
      },
      () => {
        const { splice } = channel;
        if (splice === null) return true;
        this.#count("splice done");
        splice.finals += 1;
        this.#wantAll(channel, side, "splice", [final]);
        if (splice.finals < 2) return true;
        for (const each of ends) each.fundings = [...each.fundings, funding];
        channel.splice = null;
        return true;
      },
    ];
  }

  /** BOLT 2, tx_abort: until a node has signed the splice for good. */
  #abort(channel: Channel): void {
    const { splice, ends } = channel;
    if (splice === null || splice.finals > 0) return;
    for (const end of ends) {
      end.steps = [];
      end.inbox.length = 0;
      end.last.clear();
      const on = end.own.on.filter(({ commit }) =>
        !isAt(commit.funding, splice.funding)
      );
      end.own = { ...end.own, on };
    }
    channel.splice = null;
  }

  #sendLock(channel: Channel, side: Side, pick: number): void {
    const end = channel.ends[side];
    if (!channel.isOpen || end.isClosed || end.lockSent !== null) return;
    const others = end.fundings.slice(1);
    // The chain decides once: whoever is second locks the same one.
    const funding = channel.ends[other(side)].lockSent ??
      others[pick % Math.max(1, others.length)];
    if (funding === undefined) return;
    end.lockSent = funding;
    channel.ends[other(side)].inbox.push({ kind: "locked", funding });
    this.#lock(channel, side);
  }

  #lock(channel: Channel, side: Side): void {
    const end = channel.ends[side];
    const { lockSent, lockSeen } = end;
    if (lockSent === null || lockSeen === null) return;
    const asked = lockOutpoint(channel.pair, side, lockSent);
    this.#wantAll(channel, side, "lock", [asked]);
    const keep = (held: Held): Held => ({
      ...held,
      on: held.on.filter(({ commit }) => isAt(commit.funding, lockSent)),
    });
    end.fundings = [lockSent];
    end.own = keep(end.own);
    end.pending = end.pending && keep(end.pending);
    end.lockSent = null;
    end.lockSeen = null;
    for (const name of ["sign", "sign splice", "validate", "splice"]) {
      end.last.delete(name);
    }
  }

  // ------------------------------------------------------------------ updates

  #add(channel: Channel, side: Side, amount: number): void {
    if (!channel.isOpen || channel.ends[side].isClosed) return;
    const all = channel.content(new Set(channel.updates.keys()));
    const least = channel.ends[side].fundings
      .reduce((min, { delta }) => delta[side] < min ? delta[side] : min, 0n);
    const msat = BigInt(amount) as Msat;
    if (all.balances[side] + least - msat < RESERVE) return;
    if (all.htlcs.length >= MOST_HTLCS) return;
    const id = channel.updates.length;
    const paymentHash = sha256(Uint8Array.of(channel.index, id, id >> 8));
    const htlc: Htlc = {
      by: side,
      amount: msat,
      // A hash of nothing that anybody knows.
      paymentHash: paymentHash as Uint8Array as Sha256,
      cltvExpiry: 600 + id,
    };
    channel.updates.push({ kind: "add", by: side, htlc });
  }

  /** BOLT 2: only what is irrevocably committed on both sides is removed. */
  #settle(channel: Channel, pick: number): void {
    if (!channel.isOpen) return;
    const { ends, updates } = channel;
    const isSettled = ends.every((end) =>
      end.pending === null && end.taken === end.signedNumber
    );
    if (!isSettled) return;
    const gone = new Set(
      updates.flatMap((each) => each.kind === "remove" ? [each.htlc] : []),
    );
    const ready = [...updates.entries()].flatMap(([id, update]) =>
      update.kind === "add" && !gone.has(update.htlc) &&
        ends.every(({ own }) => own.applied.has(id))
        ? [update.htlc]
        : []
    );
    const htlc = ready[(pick >> 1) % Math.max(1, ready.length)];
    if (htlc === undefined || ends[other(htlc.by)].isClosed) return;
    const isFulfilled = (pick & 1) === 1;
    updates.push({ kind: "remove", by: other(htlc.by), htlc, isFulfilled });
  }

  #changeFee(channel: Channel, feerate: number): void {
    const { opener } = channel.pair;
    if (!channel.isOpen || channel.ends[opener].isClosed) return;
    channel.updates.push({ kind: "fee", by: opener, feerate });
  }

  // -------------------------------------------------------- close and trouble

  /** What the node has stored last: what it would broadcast. */
  #lastStored(channel: Channel, side: Side): Held {
    const { pending, own } = channel.ends[side];
    return pending ?? own;
  }

  #close(channel: Channel, side: Side, pick: number): void {
    const end = channel.ends[side];
    const { on } = this.#lastStored(channel, side);
    const signed = on[pick % Math.max(1, on.length)];
    if (signed === undefined || channel.isStolen) return;
    const asked = signForBroadcast(channel.pair, signed.commit);
    this.#wantAll(channel, side, "close", [asked]);
    end.isClosed = true;
  }

  /** From everywhere a node can close; nobody does it for that. */
  checkCanClose(): void {
    for (const channel of this.channels) {
      for (const side of [0, 1] as const) this.#checkCanClose(channel, side);
    }
  }

  #checkCanClose(channel: Channel, side: Side): void {
    if (channel.isStolen || channel.ends[side].isClosed) return;
    for (const { commit } of this.#lastStored(channel, side).on) {
      // Signing takes its time: what was rehearsed once at a stand is known.
      const { restarts, desk } = this.cards[side];
      const { peerId, dbid } = channelOf(channel.pair, side);
      const record = desk.state.memory.channel({ peerId, dbid });
      const name = `${side}/${restarts}/${commit.txid.toHex()}`;
      if (record !== null && this.#rehearsed.get(name) === record) continue;
      const asked = signForBroadcast(channel.pair, commit);
      const refusal = refusalIn(this.cards[side].rehearse(asked));
      if (refusal !== null) throw new Refused(`close: ${refusal}`);
      if (record !== null) this.#rehearsed.set(name, record);
    }
  }

  #repeat(channel: Channel, side: Side, pick: number): void {
    const { last } = channel.ends[side];
    const all = [...last.values()];
    for (const asked of all[pick % Math.max(1, all.length)] ?? []) {
      this.#want(channel, side, asked);
    }
  }

  // -------------------------------------------------------------------- thief

  #trick(op: Op & { readonly kind: "trick" }): void {
    const channel = this.#channel(op.ch);
    const { side, trick, pick } = op;
    if (channel.isStolen || channel.ends[side].own.number < 0n) return;
    const asked = TRICKS[trick % TRICKS.length]?.asks({
      channel,
      side,
      pick,
      commit: (...args) => this.#commit(channel, ...args),
      register: (commit) => this.ledger.register(channel.pair, commit),
    });
    if (asked === undefined || asked === null) return;
    this.#count(TRICKS[trick % TRICKS.length]?.name ?? "");
    const ids = this.channels.map(({ pair }) => channelOf(pair, side));
    const before = this.cards[side].dump(ids);
    const reply = this.#ask(side, asked);
    const name = TRICKS[trick % TRICKS.length]?.name;
    assert.notEqual(refusalIn(reply), null, `${name} has to be refused`);
    assert.equal(this.cards[side].dump(ids), before, `${name} changes nothing`);
  }

  /** Anything: what was asked before, or a commitment of the thief's making. */
  #wild({ ch, side, what, pick }: Op & { readonly kind: "wild" }): void {
    const channel = this.#channel(ch);
    channel.isStolen = true;
    const asked = this.#wildRequest(channel, side, what, pick);
    if (asked === null) return;
    const reply = this.#ask(side, asked);
    if (refusalIn(reply) !== null && this.cards[side].takeFailure()) {
      this.cards[side].restart();
    }
    this.cards[side].takeLoss();
    this.cards[side].noteHead();
  }

  #wildRequest(
    channel: Channel,
    side: Side,
    what: number,
    pick: number,
  ): Asked | null {
    const { pair, ends } = channel;
    const end = ends[side];
    const number = (base: bigint) => {
      const found = base + BigInt(pick % 4) - 1n;
      return found < 0n ? 0n : found;
    };
    const fundings = [...end.fundings, channel.first];
    const funding = fundings[pick % fundings.length] ?? channel.first;
    const applied = pick % 3 === 0
      ? end.own.applied
      : new Set([...channel.updates.keys()].filter((id) => (id ^ pick) & 1));
    const content = { ...channel.content(applied), feerate: 1000 + pick % 5 };
    const make = (owner: Side, at: bigint) =>
      this.ledger.register(pair, commitOf(pair, owner, at, funding, content));
    const [own] = end.own.on;
    switch (what % 7) {
      case 0: {
        const old = this.#asked.filter(([at]) => at === side);
        return old[pick % Math.max(1, old.length)]?.[1] ?? null;
      }
      case 1:
        return signRemote(
          pair,
          side,
          make(other(side), number(end.signedNumber)),
        );
      case 2: {
        const commit = make(side, number(end.own.number));
        return validate(pair, commit, countersign(pair, commit));
      }
      case 3:
        return revoke(pair, side, number(end.own.number));
      case 4:
        return signForBroadcast(pair, make(side, number(end.own.number)));
      case 5:
        return own === undefined ? null : signForBroadcast(pair, own.commit);
      default: {
        const at = number(end.taken);
        // The thief is the peer: it knows its own secrets.
        const { secret } = pointOf(pair, other(side), at);
        const known = secret.reveal() as DisclosedSecret;
        return validateRevocation(pair, side, at, known);
      }
    }
  }

  // ---------------------------------------------------------------------- run

  #channel(index: number): Channel {
    const channel = this.channels[index % this.channels.length];
    assert(channel !== undefined);
    return channel;
  }

  /** One event. @throws for whatever may not be */
  apply(op: Op): void {
    this.#count(`op ${op.kind}`);
    switch (op.kind) {
      case "go": {
        for (let step = 0; step < op.steps; step++) {
          const enabled = this.#enabled();
          enabled[(op.pick >> step) % Math.max(1, enabled.length)]?.();
        }
        return;
      }
      case "add":
        return this.#add(this.#channel(op.ch), op.side, op.amount);
      case "settle":
        return this.#settle(this.#channel(op.ch), op.pick);
      case "fee":
        return this.#changeFee(this.#channel(op.ch), op.rate);
      case "splice":
        return this.#beginSplice(this.#channel(op.ch), op);
      case "abort":
        return this.#abort(this.#channel(op.ch));
      case "lock":
        return this.#sendLock(this.#channel(op.ch), op.side, op.pick);
      case "close":
        return this.#close(this.#channel(op.ch), op.side, op.pick);
      case "repeat": {
        const channel = this.#channel(op.ch);
        if (!channel.isStolen) this.#repeat(channel, op.side, op.pick);
        return;
      }
      case "mishap":
        return this.cards[op.side].plan(op.what, op.after);
      case "restart":
        return this.cards[op.side].restart();
      case "copy":
        return this.cards[op.side].copy();
      case "restore":
        return this.cards[op.side].restore(op.pick);
      case "trick":
        return this.#trick(op);
      case "wild":
        return this.#wild(op);
    }
  }

  /** A whole life: its events, what is left to do, and a close at its end. */
  run(ops: readonly Op[]): this {
    for (const op of ops) {
      this.apply(op);
      this.checkCanClose();
    }
    this.finish();
    for (const channel of this.channels) {
      this.#close(channel, 0, 0);
      this.#close(channel, 1, 1);
    }
    return this;
  }

  /** An honest dance ends with all updates on both sides' commitments. */
  #checkSettled(): void {
    for (const { ends, updates, isStolen, index } of this.channels) {
      if (isStolen || ends.some(({ isClosed }) => isClosed)) continue;
      for (const { own, inbox } of ends) {
        assert.equal(own.applied.size, updates.length, `channel ${index}`);
        assert.equal(inbox.length, 0);
      }
    }
  }

  /** Does what is left, in order, until there is nothing. */
  finish(): void {
    for (let left = 500; left > 0; left--) {
      const enabled = this.#enabled();
      if (enabled.length === 0) return this.#checkSettled();
      enabled[left % enabled.length]?.();
    }
    throw new Refused("a dance does not come to its end");
  }
}

function signaturesOf(sigs: readonly BitcoinSignature[]): Countersigned {
  const [sig, ...htlcSigs] = sigs;
  assert(sig !== undefined);
  return { sig, htlcSigs };
}

// --------------------------------------------------------------------- tricks

interface Scene {
  readonly channel: Channel;
  readonly side: Side;
  readonly pick: number;
  readonly commit: (
    owner: Side,
    number: bigint,
    funding: Funding,
    applied: Applied,
  ) => Commit;
  /** Makes a commitment of the thief's known for what it is. */
  readonly register: (commit: Commit) => Commit;
}

interface Trick {
  readonly name: string;
  /** Null where it cannot be tried. */
  readonly asks: (scene: Scene) => Asked | null;
}

/** The same commitment with some of the money moved. */
function altered(
  { channel, register }: Scene,
  commit: Commit,
  by = 1_000_000n,
): Commit {
  const { owner, number, funding, content } = commit;
  const [a, b] = content.balances;
  const balances = [a - by, b + by] as const;
  const moved = { ...content, balances };
  return register(commitOf(channel.pair, owner, number, funding, moved));
}

const of = <T>(list: readonly T[], pick: number): T | undefined =>
  list[pick % Math.max(1, list.length)];

/** The newest commitment of the peer's that this end signed. */
function newestOfPeer({ channel, side, pick, commit }: Scene): Commit | null {
  const { signedNumber, signedApplied, fundings } = channel.ends[side];
  const funding = of(fundings, pick);
  if (signedNumber < 0n || funding === undefined) return null;
  // On an output whose first commitment is signed, and not only under way.
  if (!channel.isOpen) return null;
  return commit(other(side), signedNumber, funding, signedApplied);
}

/** All of these have to be refused, wherever a channel stands. */
export const TRICKS: readonly Trick[] = [
  {
    name: "another commitment for a number that was signed",
    asks: (scene) => {
      const { channel, side } = scene;
      const commit = newestOfPeer(scene);
      return commit && signRemote(channel.pair, side, altered(scene, commit));
    },
  },
  {
    name: "the same number with another point",
    asks: (scene) => {
      const { channel: { pair }, side } = scene;
      const commit = newestOfPeer(scene);
      const { point } = pointOf(pair, other(side), 1_000n);
      const instead = { remotePerCommit: point };
      return commit && signRemote(pair, side, commit, instead);
    },
  },
  {
    name: "a commitment before the last but one is revoked",
    asks: ({ channel, side, commit }) => {
      const { signedNumber, signedApplied, taken, fundings: [funding] } =
        channel.ends[side];
      if (funding === undefined || taken >= signedNumber) return null;
      const next = commit(
        other(side),
        signedNumber + 1n,
        funding,
        signedApplied,
      );
      return signRemote(channel.pair, side, next);
    },
  },
  {
    name: "a commitment that is not the next",
    asks: ({ channel, side, commit }) => {
      const { signedNumber, signedApplied, fundings: [funding] } =
        channel.ends[side];
      if (funding === undefined) return null;
      const far = commit(
        other(side),
        signedNumber + 2n,
        funding,
        signedApplied,
      );
      return signRemote(channel.pair, side, far);
    },
  },
  {
    name: "an older commitment of the peer's",
    asks: ({ channel, side, commit, pick }) => {
      const { signedNumber, signedApplied, fundings: [funding] } =
        channel.ends[side];
      if (funding === undefined || signedNumber < 1n) return null;
      const number = BigInt(pick) % signedNumber;
      const old = commit(other(side), number, funding, signedApplied);
      return signRemote(channel.pair, side, old);
    },
  },
  {
    name: "a revocation without a commitment to go on with",
    asks: ({ channel: { pair, ends }, side, pick }) => {
      const { own, pending } = ends[side];
      const ahead = BigInt(pick % 3) + (pending === null ? 0n : 1n);
      return revoke(pair, side, own.number + ahead);
    },
  },
  {
    name: "a revocation of what is signed for broadcast",
    asks: ({ channel: { pair, ends }, side }) => {
      const { isClosed, own } = ends[side];
      return isClosed ? revoke(pair, side, own.number + 1n) : null;
    },
  },
  {
    name: "the broadcast of a revoked commitment",
    asks: ({ channel: { pair, ends }, side, pick }) => {
      const signed = of(ends[side].revoked, pick);
      return signed === undefined
        ? null
        : signForBroadcast(pair, signed.commit);
    },
  },
  {
    name: "the broadcast of an altered commitment",
    asks: (scene) => {
      const { channel: { pair, ends }, side } = scene;
      const [signed] = ends[side].own.on;
      return signed === undefined
        ? null
        : signForBroadcast(pair, altered(scene, signed.commit));
    },
  },
  {
    name: "a revoked commitment as a mutual close",
    asks: ({ channel: { pair, ends }, side, pick }) => {
      const signed = of(ends[side].revoked, pick);
      return signed === undefined
        ? null
        : signMutualClose(pair, side, commitTx(pair, signed.commit));
    },
  },
  {
    name: "a commitment as a splice",
    asks: ({ channel: { pair, ends }, side, pick }) => {
      const { revoked, own } = ends[side];
      const signed = of([...revoked, ...own.on], pick);
      return signed === undefined
        ? null
        : signSplice(pair, side, commitTx(pair, signed.commit));
    },
  },
  {
    name: "the peer's altered commitment as a mutual close",
    asks: (scene) => {
      const { channel: { pair }, side } = scene;
      const commit = newestOfPeer(scene);
      return commit &&
        signMutualClose(pair, side, commitTx(pair, altered(scene, commit)));
    },
  },
  {
    name: "a revoked commitment of ours, countersigned again",
    asks: (scene) => {
      const { channel: { pair, ends }, side, pick } = scene;
      const signed = of(ends[side].revoked, pick);
      if (signed === undefined) return null;
      const commit = altered(scene, signed.commit);
      return validate(pair, commit, countersign(pair, commit));
    },
  },
  {
    name: "another content for our current commitment",
    asks: (scene) => {
      const { channel: { pair, ends }, side } = scene;
      const [signed] = ends[side].own.on;
      if (signed === undefined) return null;
      const commit = altered(scene, signed.commit, 2_000_000n);
      return validate(pair, commit, countersign(pair, commit));
    },
  },
  {
    name: "a commitment of ours that nobody countersigned",
    asks: ({ channel, side, commit }) => {
      const { pair, ends } = channel;
      const { own, pending, isClosed } = ends[side];
      const [signed] = own.on;
      if (signed === undefined || pending !== null || isClosed) return null;
      const { funding } = signed.commit;
      const next = commit(side, own.number + 1n, funding, own.applied);
      return validate(pair, next, signed.signatures);
    },
  },
  {
    name: "a revocation that is not the peer's",
    asks: ({ channel: { pair, ends }, side, pick }) => {
      const { taken } = ends[side];
      // A secret that is true, of another number.
      const { secret } = pointOf(pair, other(side), taken + 1n + BigInt(pick));
      const known = secret.reveal() as DisclosedSecret;
      return validateRevocation(pair, side, taken, known);
    },
  },
  {
    name: "a revocation that is not due",
    asks: ({ channel: { pair, ends }, side, pick }) => {
      const { signedNumber } = ends[side];
      if (signedNumber < 0n) return null;
      const number = signedNumber + BigInt(pick % 3);
      const { secret } = pointOf(pair, other(side), number);
      const known = secret.reveal() as DisclosedSecret;
      return validateRevocation(pair, side, number, known);
    },
  },
  {
    name: "a new commitment after the broadcast",
    asks: ({ channel, side, commit }) => {
      const { pair, ends } = channel;
      const { own, pending, isClosed, fundings: [funding] } = ends[side];
      if (!isClosed || funding === undefined || pending !== null) return null;
      const next = commit(side, own.number + 1n, funding, own.applied);
      return validate(pair, next, countersign(pair, next));
    },
  },
  {
    name: "the lock of an output that is not the channel's",
    asks: ({ channel: { pair, first }, side, pick }) => {
      const outpoint = { ...first.outpoint, index: 1_000 + pick % 60_000 };
      return lockOutpoint(pair, side, { ...first, outpoint });
    },
  },
];
