/**
 * A peer, and the requests that Core Lightning makes of our signer while a
 * channel with that peer lives: valid ones, made from the peer's own keys, which
 * a test alters in one thing.
 *
 * Keys are derived by the public formulas of BOLT 3, which the signer uses for
 * the other side only; signatures of the peer are real.
 *
 * What it does not do: judge. What the signer says is the test's business.
 *
 * @module
 */

import assert from "node:assert/strict";
import { writeU64, writeVarBytes } from "../../src/bitcoin/bytes.ts";
import {
  encodeBech32,
  toPaddedBytes,
  toWords,
} from "../../src/bitcoin/bech32.ts";
import { type KeyPair, keyPairOf } from "../../src/bitcoin/keys.ts";
import { type NetworkName, NETWORKS } from "../../src/bitcoin/networks.ts";
import { p2wpkh, p2wsh, redeem2of2 } from "../../src/bitcoin/script.ts";
import { hashSegwitV0 } from "../../src/bitcoin/sighash.ts";
import { signGround } from "../../src/bitcoin/sign.ts";
import {
  encodeTxWithoutWitness,
  type Tx,
  txidOf,
  type TxInput,
  type TxOutput,
} from "../../src/bitcoin/tx.ts";
import { sha256 } from "../../src/crypto/hash.ts";
import { signRecoverable, useFastCurve } from "../../src/crypto/secp.ts";
import { loadFastCurve } from "../../src/crypto/secp_wasm.ts";
import { Secret } from "../../src/crypto/secret.ts";
import type { ChannelId, ChannelKeys } from "../../src/keyderiv/channel.ts";
import { deriveWalletKey } from "../../src/keyderiv/node.ts";
import { buildClosing } from "../../src/lightning/closing.ts";
import {
  buildCommitment,
  type Commitment,
  type CommitmentKeys,
  type CommitmentTerms,
  obscuringFactor,
} from "../../src/lightning/commitment.ts";
import { buildHtlcTx } from "../../src/lightning/htlc_tx.ts";
import {
  derivePrivateKey,
  derivePublicKey,
  deriveRevocationPublicKey,
} from "../../src/lightning/keys.ts";
import { perCommitmentSecret } from "../../src/lightning/shachain.ts";
import { commitmentFee } from "../../src/lightning/weight.ts";
import { createAllowlist } from "../../src/policy/allowlist.ts";
import { type Consent, NO_CONSENT } from "../../src/policy/consent.ts";
import { type Policy, withFilter, withLimit } from "../../src/policy/limits.ts";
import { createSigner, step } from "../../src/signer/handle.ts";
import { encodeWrite, SignerMemory } from "../../src/signer/memory.ts";
import { NO_FEED, type ReadyState } from "../../src/signer/state.ts";
import type { StoredValue } from "../../src/store/store.ts";
import { Writer } from "../../src/wire/codec.ts";
import {
  type RequestName,
  type RequestOf,
  REQUESTS,
} from "../../src/wire/hsmd.ts";
import {
  encodeMessage,
  messageType,
  type Row,
} from "../../src/wire/message.ts";
import {
  type BitcoinSignature,
  type BitcoinTx,
  type DisclosedSecret,
  type HsmHtlc,
  type HsmUtxo,
  type Msat,
  NOBODY,
  type NodeId,
  type Outpoint,
  type PubKey,
  type Sat,
  type Sha256,
  SIDE_LOCAL,
  SIDE_REMOTE,
  SIGHASH_ALL,
  SIGHASH_SINGLE_ANYONECANPAY,
  type Txid,
} from "../../src/wire/types.ts";
import { decodeSignerError, SIGNER_ERROR_TYPE } from "../../src/wire/vls.ts";
import { believedPolicy } from "./believed.ts";
import { initFor } from "./init.ts";

// Many channels are opened; the slow library gives the same answers.
useFastCurve(await loadFastCurve());

/** Amounts and hashes under the names that the wire has for them. */
export const sat = (amount: bigint): Sat => amount as Sat;
export const msat = (amount: bigint): Msat => amount as Msat;
export const hash = (name: string): Sha256 =>
  sha256(new TextEncoder().encode(name)) as Uint8Array as Sha256;
const secretOf = (name: string) => new Secret(new Uint8Array(hash(name)));
const pairOf = (name: string): KeyPair => keyPairOf(secretOf(name));

/** Unix seconds at which all tests take place. */
export const NOW = 1_700_000_000;

/** What a channel may be made of: without anchors, and with. */
export const PLAIN = "1000";
export const ANCHORS = "401000";

/** A request on its way to a signer. */
export interface Asked {
  readonly id: ChannelId;
  readonly message: Uint8Array;
}

/** What a signer said to it. */
export interface Outcome {
  readonly reply: Uint8Array;
  /** The words of a signer error; null for any other reply. */
  readonly refusal: string | null;
  /** Lines of level unusual. */
  readonly warnings: readonly string[];
  /** Alarms and what the chain did, as the book has them. */
  readonly notes: readonly string[];
}

/** Who owns the signer, and what this owner wants. */
export interface NodeOptions {
  readonly network?: NetworkName;
  /** Beside `chain believed`, which they may change. */
  readonly limits?: Readonly<Record<string, string>>;
  readonly filter?: readonly string[];
  readonly allowlist?: readonly string[];
  readonly consent?: Consent;
  /** Protocol version that lightningd speaks. */
  readonly version?: number;
}

const LIGHTNINGD: ChannelId = { peerId: NOBODY, dbid: 0n };

function policyOf(
  { network = "regtest", limits = {}, filter = [] }: NodeOptions,
): Policy {
  const policy = Object.entries(limits).reduce(
    (policy, [name, text]) => withLimit(policy, name, text),
    believedPolicy(network),
  );
  return withFilter(policy, filter);
}

const started = new Map<string, ReadyState>();

/** After init; what it only remembers of pure functions is there once. */
function startedSigner(name: NetworkName, version: number): ReadyState {
  const key = `${name}/${version}`;
  const state = started.get(key) ?? startSigner(name, version);
  started.set(key, state);
  return state;
}

function startSigner(name: NetworkName, version: number): ReadyState {
  const network = NETWORKS[name];
  const signer = createSigner({
    secretFile: new Uint8Array(32).fill(0x5e),
    network,
    isDeveloper: true,
  });
  const init = initFor(network, {
    hsmWireMinVersion: 4,
    hsmWireMaxVersion: version,
  });
  const { state } = step(signer, { ...LIGHTNINGD, message: init }, 0);
  assert.ok(state.kind === "ready", "the signer opened its secret");
  return state;
}

/** Our node's signer, with a card that forgets nothing and never fails. */
export class TestNode {
  memory = new SignerMemory();
  /** What its card holds. */
  readonly card = new Map<string, StoredValue>();
  /** Alarms and what the chain did, since they were last looked at. */
  notes: string[] = [];
  /** Unix seconds. */
  now = NOW;
  #state: ReadyState;

  constructor(options: NodeOptions = {}) {
    const { network = "regtest", version = 6 } = options;
    this.#state = {
      ...startedSigner(network, version),
      memory: this.memory,
      policy: policyOf(options),
      allowlist: createAllowlist(options.allowlist ?? [], NETWORKS[network]),
      consent: options.consent ?? NO_CONSENT,
    };
  }

  get state(): ReadyState {
    return this.#state;
  }

  /** Sets owner's wishes from here on. */
  change(options: NodeOptions): void {
    const { consent = this.#state.consent } = options;
    this.#state = { ...this.#state, policy: policyOf(options), consent };
  }

  /** The same owner with rules that only warn. */
  withWarnings(filter: readonly string[]): ReadyState {
    return { ...this.#state, policy: withFilter(this.#state.policy, filter) };
  }

  /** What the signer would say; nothing is remembered. */
  try({ id, message }: Asked, state: ReadyState = this.#state): Outcome {
    return this.#step({ id, message }, state).outcome;
  }

  /** Asks, wants consent, and remembers. */
  do(asked: Asked): Uint8Array {
    const { reply, refusal } = this.serve(asked);
    assert.equal(refusal, null);
    return reply;
  }

  /** Asks, and remembers what came of it. */
  serve(asked: Asked): Outcome {
    const { outcome, writes, state } = this.#step(asked, this.#state);
    for (const { key, value } of writes.map(encodeWrite)) {
      const version = (this.card.get(key)?.version ?? -1n) + 1n;
      if (value === null) this.card.delete(key);
      else this.card.set(key, { key, version, value });
    }
    this.memory.apply(writes);
    this.notes.push(...outcome.notes);
    if (state.kind === "ready") this.#state = state;
    return outcome;
  }

  /** The power is cut: what goes on has read the card. */
  restart(): void {
    this.memory = SignerMemory.load(this.card.values());
    this.#state = { ...this.#state, memory: this.memory, feed: NO_FEED };
  }

  #step({ id, message }: Asked, state: ReadyState) {
    const taken = step(state, { ...id, message }, this.now * 1000);
    const { reply, effects, writes } = taken;
    assert.ok(reply !== null, "there is a reply");
    const isError = messageType(reply) === SIGNER_ERROR_TYPE;
    const refusal = isError
      ? new TextDecoder().decode(decodeSignerError(reply).message)
      : null;
    const warnings = effects.flatMap((effect) =>
      effect.kind === "log" && effect.level === "unusual" ? [effect.text] : []
    );
    const notes = effects.flatMap((effect) =>
      effect.kind === "note" ? [`${effect.about}: ${effect.text}`] : []
    );
    const outcome = { reply, refusal, warnings, notes };
    return { outcome, writes, state: taken.state };
  }

  /** A request of lightningd itself. */
  ask<K extends RequestName>(name: K, body: RequestOf<K>): Asked {
    return { id: LIGHTNINGD, message: encodeRequest(name, body) };
  }

  /** The P2WPKH of a wallet key. */
  walletScript(index: number): Uint8Array {
    return p2wpkh(deriveWalletKey(this.#state.keys, index).point);
  }
}

function encodeRequest<K extends RequestName>(
  name: K,
  body: RequestOf<K>,
): Uint8Array {
  // The row of a name has the fields of its request; TypeScript cannot pair
  // the two for a name that is not known.
  return encodeMessage(REQUESTS[name] as unknown as Row, body);
}

// --------------------------------------------------------------------- PSBTs

/** Compressed key and path that a PSBT output names. */
export interface OutputPath {
  readonly key: PubKey;
  readonly path: readonly number[];
}

/** A PSBT of version 0 that says what the inputs spend, and no more. */
export function psbtOf(
  tx: Tx,
  spent: readonly TxOutput[],
  paths: readonly (OutputPath | null)[] = [],
): Uint8Array {
  const writer = new Writer();
  writer.bytes(Uint8Array.fromHex("70736274ff"));
  const field = (key: readonly number[], value: Uint8Array) => {
    writeVarBytes(writer, Uint8Array.from(key));
    writeVarBytes(writer, value);
  };
  field([0], encodeTxWithoutWitness(tx));
  writer.u8(0);
  for (const { amount, script } of spent) {
    const value = new Writer();
    writeU64(value, amount);
    writeVarBytes(value, script);
    field([1], value.finish());
    writer.u8(0);
  }
  tx.outputs.forEach((_, i) => {
    const path = paths[i];
    if (path) {
      const value = new Uint8Array(4 + 4 * path.path.length);
      const view = new DataView(value.buffer);
      path.path.forEach((part, at) => view.setUint32(4 + 4 * at, part, true));
      field([2, ...path.key], value);
    }
    writer.u8(0);
  });
  return writer.finish();
}

/** A transaction with its PSBT, as a request brings both. */
export function bitcoinTxOf(
  tx: Tx,
  spent: readonly TxOutput[],
  paths: readonly (OutputPath | null)[] = [],
): BitcoinTx {
  return { tx: encodeTxWithoutWitness(tx), psbt: psbtOf(tx, spent, paths) };
}

/** An input that delays nothing. */
export function inputOf(
  { txid, index }: Outpoint,
  sequence = 0xffff_fffd,
): TxInput {
  return { txid, index, scriptSig: new Uint8Array(), sequence, witness: [] };
}

// ------------------------------------------------------------------ channels

/** What a commitment says, before fees; HTLCs are in neither balance. */
export interface Content {
  readonly ours: bigint;
  readonly theirs: bigint;
  readonly feerate: number;
  readonly htlcs: readonly HsmHtlc[];
}

/** What a channel starts with. */
export interface ChannelOptions {
  readonly dbid?: bigint;
  /** Names another peer, or the same for several channels. */
  readonly peer?: string;
  readonly isOutbound?: boolean;
  readonly type?: string;
  readonly value?: bigint;
  /** Millisatoshi of the opener for the other side. */
  readonly push?: bigint;
  readonly feerate?: number;
  readonly localShutdownScript?: Uint8Array;
}

/** What is changed in a commitment that would be right. */
export interface Alteration {
  readonly terms?: Partial<CommitmentTerms>;
  readonly keys?: Partial<CommitmentKeys>;
  readonly tx?: (tx: Tx) => Tx;
}

/** A commitment with everything that a request about it needs. */
interface Built {
  readonly tx: Tx;
  readonly commitment: Commitment;
  readonly keys: CommitmentKeys;
  readonly terms: CommitmentTerms;
  readonly htlcs: readonly HsmHtlc[];
  readonly feerate: number;
}

/** An HTLC transaction, and what it spends. */
export interface SpentHtlc {
  readonly tx: Tx;
  readonly wscript: Uint8Array;
  /** Satoshi that the HTLC's output holds. */
  readonly amount: bigint;
}

/** An output that the channel has or may get. */
export interface TestFunding {
  readonly outpoint: Outpoint;
  readonly value: bigint;
}

/** Blocks that each side's outputs wait: what the other one announced. */
const OUR_DELAY = 6;
const THEIR_DELAY = 5;
const ANCHOR_PAIR = 660n;

/** A channel with a peer that is honest unless a test makes it not so. */
export class TestChannel {
  readonly node: TestNode;
  readonly id: ChannelId;
  readonly isOutbound: boolean;
  readonly hasAnchors: boolean;
  readonly ours: ChannelKeys;
  readonly theirs: {
    readonly funding: KeyPair;
    readonly revocation: KeyPair;
    readonly payment: KeyPair;
    readonly htlc: KeyPair;
    readonly delayedPayment: KeyPair;
    readonly shaseed: Secret;
  };
  readonly push: bigint;
  readonly #type: Uint8Array;
  readonly #shutdown: Uint8Array;
  funding: TestFunding;
  content: Content;
  /** Number of the commitments that both sides have. */
  number = 0n;

  constructor(node: TestNode, options: ChannelOptions = {}) {
    const { dbid = 1n, value = 1_000_000n, push = 0n } = options;
    const { isOutbound = true, type = PLAIN, feerate = 1000 } = options;
    this.node = node;
    const name = `peer of ${dbid}`;
    const peerId = pairOf(options.peer ?? name).point as Uint8Array as NodeId;
    this.id = { peerId, dbid };
    this.isOutbound = isOutbound;
    this.hasAnchors = type === ANCHORS;
    this.#type = Uint8Array.fromHex(type);
    this.#shutdown = options.localShutdownScript ?? new Uint8Array();
    this.ours = node.state.channels.keysOf(this.id);
    this.theirs = {
      funding: pairOf(`${name}: funding`),
      revocation: pairOf(`${name}: revocation`),
      payment: pairOf(`${name}: payment`),
      htlc: pairOf(`${name}: htlc`),
      delayedPayment: pairOf(`${name}: delayed`),
      shaseed: secretOf(`${name}: seed`),
    };
    this.push = push;
    const txid = hash(`${name}: txid`) as Uint8Array as Txid;
    this.funding = { outpoint: { txid, index: 1 }, value };
    const opener = value * 1000n - push;
    this.content = {
      ours: isOutbound ? opener : push,
      theirs: isOutbound ? push : opener,
      feerate,
      htlcs: [],
    };
  }

  /** A request of this channel's own connection. */
  ask<K extends RequestName>(name: K, body: RequestOf<K>): Asked {
    return { id: this.id, message: encodeRequest(name, body) };
  }

  // ---------------------------------------------------------------- opening

  /** The 2-of-2 of a funding output. */
  get fundingScript(): Uint8Array {
    return redeem2of2(this.ours.funding.point, this.theirs.funding.point);
  }

  /** 30. */
  newChannel(): Asked {
    return this.node.ask("new_channel", {
      id: this.id.peerId,
      dbid: this.id.dbid,
    });
  }

  /** 31, for the funding output unless another one is named. */
  setup(
    changes: Partial<RequestOf<"setup_channel">> = {},
    { outpoint, value }: TestFunding = this.funding,
  ): Asked {
    return this.ask("setup_channel", {
      isOutbound: this.isOutbound,
      channelValue: sat(value),
      pushValue: msat(this.push),
      fundingTxid: outpoint.txid,
      fundingTxout: outpoint.index,
      localToSelfDelay: THEIR_DELAY,
      localShutdownScript: this.#shutdown,
      localShutdownWalletIndex: null,
      remoteBasepoints: {
        revocation: this.theirs.revocation.point,
        payment: this.theirs.payment.point,
        htlc: this.theirs.htlc.point,
        delayedPayment: this.theirs.delayedPayment.point,
      },
      remoteFundingPubkey: this.theirs.funding.point,
      remoteToSelfDelay: OUR_DELAY,
      remoteShutdownScript: new Uint8Array(),
      channelType: this.#type,
      ...changes,
    });
  }

  /** Up to set-up. */
  begin(): this {
    this.node.do(this.newChannel());
    this.node.do(this.setup());
    return this;
  }

  /** With both first commitments, and locked. */
  open(): this {
    this.begin();
    this.node.do(this.signTheirs(0n));
    this.node.do(this.validate(0n));
    this.node.do(this.lock());
    return this;
  }

  /** 37. */
  lock({ txid, index }: Outpoint = this.funding.outpoint): Asked {
    return this.ask("lock_outpoint", {
      fundingTxid: txid,
      fundingTxout: index,
    });
  }

  // ------------------------------------------------------------ commitments

  ourPoint(n: bigint): PubKey {
    return keyPairOf(perCommitmentSecret(this.ours.shaseed, n)).point;
  }

  theirSecret(n: bigint): DisclosedSecret {
    const secret = perCommitmentSecret(this.theirs.shaseed, n);
    return secret.reveal() as DisclosedSecret;
  }

  theirPoint(n: bigint): PubKey {
    return keyPairOf(perCommitmentSecret(this.theirs.shaseed, n)).point;
  }

  #keys(isHolder: boolean, n: bigint): CommitmentKeys {
    const point = isHolder ? this.ourPoint(n) : this.theirPoint(n);
    const own = isHolder ? this.ours : this.theirs;
    const other = isHolder ? this.theirs : this.ours;
    return {
      revocation: deriveRevocationPublicKey(other.revocation.point, point),
      delayed: derivePublicKey(own.delayedPayment.point, point),
      broadcasterHtlc: derivePublicKey(own.htlc.point, point),
      countersignerHtlc: derivePublicKey(other.htlc.point, point),
      toRemote: other.payment.point,
      broadcasterFunding: own.funding.point,
      countersignerFunding: other.funding.point,
    };
  }

  #terms(isHolder: boolean, funding: TestFunding): CommitmentTerms {
    const opener = this.isOutbound ? this.ours : this.theirs;
    const accepter = this.isOutbound ? this.theirs : this.ours;
    return {
      funding: funding.outpoint,
      hasAnchors: this.hasAnchors,
      toSelfDelay: isHolder ? OUR_DELAY : THEIR_DELAY,
      obscurer: obscuringFactor(opener.payment.point, accepter.payment.point),
    };
  }

  /** The two balances as outputs: less the fee for the opener; dust left out. */
  balances(
    { ours, theirs, feerate, htlcs }: Content,
  ): { readonly toUs: Sat; readonly toThem: Sat } {
    const cost = commitmentFee(feerate, htlcs.length, this.hasAnchors) +
      (this.hasAnchors ? ANCHOR_PAIR : 0n);
    const less = (amount: bigint, fee: bigint) => {
      const left = amount / 1000n - fee;
      return sat(left < 354n ? 0n : left);
    };
    return {
      toUs: less(ours, this.isOutbound ? cost : 0n),
      toThem: less(theirs, this.isOutbound ? 0n : cost),
    };
  }

  /** A commitment of ours or theirs, altered where a test says so. */
  build(
    isHolder: boolean,
    n: bigint,
    content: Content = this.content,
    alter: Alteration = {},
    funding: TestFunding = this.funding,
  ): Built {
    const keys = { ...this.#keys(isHolder, n), ...alter.keys };
    const terms = { ...this.#terms(isHolder, funding), ...alter.terms };
    const { toUs, toThem } = this.balances(content);
    const commitment = buildCommitment(terms, keys, {
      number: n,
      toBroadcaster: isHolder ? toUs : toThem,
      toCountersigner: isHolder ? toThem : toUs,
      htlcs: content.htlcs.map((htlc) => ({
        isOffered: (htlc.side === SIDE_LOCAL) === isHolder,
        amount: htlc.amount,
        paymentHash: htlc.paymentHash,
        cltvExpiry: htlc.cltvExpiry,
      })),
    });
    const tx = alter.tx?.(commitment.tx) ?? commitment.tx;
    const { htlcs, feerate } = content;
    return { tx, commitment, keys, terms, htlcs, feerate };
  }

  #request(tx: Tx, { value }: TestFunding): BitcoinTx {
    const output = { amount: sat(value), script: p2wsh(this.fundingScript) };
    return bitcoinTxOf(tx, tx.inputs.map(() => output));
  }

  /** A transaction with the PSBT of another one. */
  mixed(tx: Tx, other: Tx): BitcoinTx {
    const { psbt } = this.#request(other, this.funding);
    return { tx: encodeTxWithoutWitness(tx), psbt };
  }

  #signature(tx: Tx, { value }: TestFunding): BitcoinSignature {
    const digest = hashSegwitV0(tx, {
      index: 0,
      script: this.fundingScript,
      amount: value,
      sighash: SIGHASH_ALL,
    });
    const { secret } = this.theirs.funding;
    return { signature: signGround(digest, secret), sighash: SIGHASH_ALL };
  }

  /** HTLC transactions of a commitment, in the outputs' order. */
  htlcTxs(
    { commitment, tx, keys, terms, htlcs, feerate }: Built,
    isHolder: boolean,
  ): readonly SpentHtlc[] {
    return commitment.outputs.flatMap(
      ({ htlc: at, witnessScript }, outputIndex) => {
        const htlc = at === null ? undefined : htlcs[at];
        if (htlc === undefined || witnessScript === null) return [];
        const { amount, cltvExpiry } = htlc;
        const built = buildHtlcTx({
          commitmentTxid: txidOf(tx),
          outputIndex,
          isOffered: (htlc.side === SIDE_LOCAL) === isHolder,
          amount,
          cltvExpiry,
          feerate,
          keys,
          toSelfDelay: terms.toSelfDelay,
          hasAnchors: this.hasAnchors,
        });
        return [{
          tx: built.tx,
          wscript: witnessScript,
          amount: amount / 1000n,
        }];
      },
    );
  }

  #htlcSignatures(built: Built, n: bigint): BitcoinSignature[] {
    const sighash = this.hasAnchors ? SIGHASH_SINGLE_ANYONECANPAY : SIGHASH_ALL;
    const key = derivePrivateKey(this.theirs.htlc, this.ourPoint(n));
    return this.htlcTxs(built, true).map(({ tx, wscript: script, amount }) => {
      const digest = hashSegwitV0(tx, { index: 0, script, amount, sighash });
      return { signature: signGround(digest, key), sighash };
    });
  }

  /** What the peer signs of our commitment n. */
  signaturesOf(
    n: bigint,
    content: Content = this.content,
  ): Pick<RequestOf<"validate_commitment_tx">, "sig" | "htlcSigs"> {
    const built = this.build(true, n, content);
    return {
      sig: this.#signature(built.tx, this.funding),
      htlcSigs: this.#htlcSignatures(built, n),
    };
  }

  /** Keys of a commitment of theirs at a point that is not theirs to have. */
  theirKeysAt(point: PubKey): Partial<CommitmentKeys> {
    const { ours, theirs } = this;
    return {
      revocation: deriveRevocationPublicKey(ours.revocation.point, point),
      delayed: derivePublicKey(theirs.delayedPayment.point, point),
      broadcasterHtlc: derivePublicKey(theirs.htlc.point, point),
      countersignerHtlc: derivePublicKey(ours.htlc.point, point),
    };
  }

  /** 35: our commitment n. */
  validate(
    n: bigint,
    content: Content = this.content,
    { alter = {}, changes = {}, funding = this.funding }: {
      readonly alter?: Alteration;
      readonly changes?: Partial<RequestOf<"validate_commitment_tx">>;
      readonly funding?: TestFunding;
    } = {},
  ): Asked {
    const built = this.build(true, n, content, alter, funding);
    return this.ask("validate_commitment_tx", {
      tx: this.#request(built.tx, funding),
      htlcs: [...content.htlcs],
      commitNum: n,
      feerate: content.feerate,
      sig: this.#signature(built.tx, funding),
      htlcSigs: this.#htlcSignatures(built, n),
      ...changes,
    });
  }

  /** 19: their commitment n. */
  signTheirs(
    n: bigint,
    content: Content = this.content,
    { alter = {}, changes = {}, funding = this.funding }: {
      readonly alter?: Alteration;
      readonly changes?: Partial<RequestOf<"sign_remote_commitment_tx">>;
      readonly funding?: TestFunding;
    } = {},
  ): Asked {
    const built = this.build(false, n, content, alter, funding);
    return this.ask("sign_remote_commitment_tx", {
      tx: this.#request(built.tx, funding),
      remoteFundingKey: this.theirs.funding.point,
      remotePerCommit: this.theirPoint(n),
      optionStaticRemotekey: true,
      commitNum: n,
      htlcs: [...content.htlcs],
      feerate: content.feerate,
      ...changes,
    });
  }

  /** 40: we revoke our commitment n. */
  revoke(n: bigint): Asked {
    return this.ask("revoke_commitment_tx", { commitNum: n });
  }

  /** 36: the peer revokes its commitment n. */
  revocation(n: bigint, secret: DisclosedSecret = this.theirSecret(n)): Asked {
    return this.ask("validate_revocation", {
      revokeNum: n,
      perCommitmentSecret: secret,
    });
  }

  /** Their half of a step: signed, and the one before revoked. */
  moveTheirs(content: Content, n: bigint = this.number + 1n): void {
    this.node.do(this.signTheirs(n, content));
    this.node.do(this.revocation(n - 1n));
  }

  /** Our half. */
  moveOurs(content: Content, n: bigint = this.number + 1n): void {
    this.node.do(this.validate(n, content));
    this.node.do(this.revoke(n - 1n));
  }

  /** A whole step to the next number, of both sides. */
  move(
    change: Partial<Content> = {},
    first: "ours" | "theirs" = "theirs",
  ): this {
    const content = { ...this.content, ...change };
    if (first === "theirs") this.moveTheirs(content);
    this.moveOurs(content);
    if (first === "ours") this.moveTheirs(content);
    this.content = content;
    this.number += 1n;
    return this;
  }

  /** The content with one HTLC more, out of its sender's balance. */
  adding(htlc: HsmHtlc, content: Content = this.content): Content {
    const { ours, theirs, htlcs, ...rest } = content;
    const isOurs = htlc.side === SIDE_LOCAL;
    return {
      ...rest,
      ours: ours - (isOurs ? htlc.amount : 0n),
      theirs: theirs - (isOurs ? 0n : htlc.amount),
      htlcs: [...htlcs, htlc],
    };
  }

  /** The content without an HTLC: paid to its receiver, or back. */
  settling(
    htlc: HsmHtlc,
    isPaid: boolean,
    content: Content = this.content,
  ): Content {
    const toUs = (htlc.side === SIDE_LOCAL) !== isPaid;
    return {
      ...content,
      ours: content.ours + (toUs ? htlc.amount : 0n),
      theirs: content.theirs + (toUs ? 0n : htlc.amount),
      htlcs: content.htlcs.filter((each) => each !== htlc),
    };
  }

  // ----------------------------------------------------------------- splices

  /** A transaction that takes the channel on, by default for a fee alone. */
  splice(
    value: bigint = this.funding.value - 500n,
    others: readonly TxOutput[] = [],
  ): Tx {
    const shared = { amount: sat(value), script: p2wsh(this.fundingScript) };
    return {
      version: 2,
      inputs: [inputOf(this.funding.outpoint)],
      outputs: [shared, ...others],
      locktime: 0,
    };
  }

  /** The first output of a splice, as the channel's next. */
  spliced(tx: Tx): TestFunding {
    const value = tx.outputs[0]?.amount ?? 0n;
    return { outpoint: { txid: txidOf(tx), index: 0 }, value };
  }

  /** 29; early or not, the request is the same. */
  signSplice(
    tx: Tx,
    changes: Partial<RequestOf<"sign_splice_tx">> = {},
  ): Asked {
    return this.ask("sign_splice_tx", {
      tx: this.#request(tx, this.funding),
      remoteFundingKey: this.theirs.funding.point,
      inputIndex: 0,
      ...changes,
    });
  }

  // ----------------------------------------------------------------- the end

  /** What a mutual close pays by default: the wallet, and a key of the peer. */
  closing(fee = 500n): Tx {
    const { ours, theirs } = this.content;
    const output = (amount: bigint, script: Uint8Array) => {
      return amount <= 0n ? null : { amount: sat(amount), script };
    };
    return buildClosing({
      funding: this.funding.outpoint,
      toUs: output(
        ours / 1000n - (this.isOutbound ? fee : 0n),
        this.node.walletScript(3),
      ),
      toThem: output(
        theirs / 1000n - (this.isOutbound ? 0n : fee),
        p2wpkh(this.theirs.payment.point),
      ),
    });
  }

  /** 21. */
  signClose(tx: Tx = this.closing()): Asked {
    return this.ask("sign_mutual_close_tx", {
      tx: this.#request(tx, this.funding),
      remoteFundingKey: this.theirs.funding.point,
    });
  }

  /** 5: a transaction of the funding output, to be broadcast. */
  broadcast(tx: Tx, n: bigint = this.number): Asked {
    return this.node.ask("sign_commitment_tx", {
      peerId: this.id.peerId,
      channelDbid: this.id.dbid,
      tx: this.#request(tx, this.funding),
      remoteFundingKey: this.theirs.funding.point,
      commitNum: n,
    });
  }
}

/** An HTLC that we offer, or that is offered to us. */
export function htlcOf(
  name: string,
  amountSat: bigint,
  { isOurs = true, cltvExpiry = 1000 }: {
    readonly isOurs?: boolean;
    readonly cltvExpiry?: number;
  } = {},
): HsmHtlc {
  return {
    side: isOurs ? SIDE_LOCAL : SIDE_REMOTE,
    amount: msat(amountSat * 1000n),
    paymentHash: hash(name),
    cltvExpiry,
  };
}

/** A coin of the wallet. */
export function coinOf(node: TestNode, amount: bigint, keyindex = 0): HsmUtxo {
  const txid = hash(`coin ${keyindex}/${amount}`) as Uint8Array as Txid;
  return {
    outpoint: { txid, index: 0 },
    amount: sat(amount),
    keyindex,
    legacyP2sh: false,
    scriptPubkey: node.walletScript(keyindex),
    closeInfo: null,
    legacyCoinbase: false,
  };
}

/** 7: what spends coins into outputs. */
export function withdrawal(
  node: TestNode,
  coins: readonly HsmUtxo[],
  tx: Omit<Tx, "inputs">,
  paths: readonly (OutputPath | null)[] = [],
): Asked {
  const whole = {
    ...tx,
    inputs: coins.map(({ outpoint }) => inputOf(outpoint)),
  };
  const spent = coins.map(({ amount, scriptPubkey: script }) => ({
    amount,
    script,
  }));
  const psbt = psbtOf(whole, spent, paths);
  return node.ask("sign_withdrawal", { inputs: [...coins], psbt });
}

// ------------------------------------------------------------------ invoices

/** What a test's invoice says. */
export interface InvoiceTerms {
  readonly name: string;
  /** Millisatoshi; null leaves it to the payer. */
  readonly amount: bigint | null;
  /** Unix seconds. */
  readonly createdAt?: number;
  readonly description?: string;
  readonly network?: NetworkName;
}

/** Key of the payee of every invoice here. */
export const PAYEE: KeyPair = pairOf("payee");

/** A BOLT 11 invoice, which lasts an hour, as bytes of its text. */
export function invoiceOf(terms: InvoiceTerms): Uint8Array {
  const { name, amount, createdAt = NOW, description = "a thing" } = terms;
  const { network = "regtest" } = terms;
  const prefix = `ln${NETWORKS[network].invoicePrefix}` +
    (amount === null ? "" : `${amount * 10n}p`);
  const field = (tag: number, bytes: Uint8Array) => {
    const words = toWords(bytes);
    return [tag, words.length >> 5, words.length & 31, ...words];
  };
  const time = Array.from(
    { length: 7 },
    (_, i) => Number(BigInt(createdAt) >> BigInt(5 * (6 - i)) & 31n),
  );
  const words = Uint8Array.of(
    ...time,
    ...field(1, hash(name)),
    ...field(16, new Uint8Array(32).fill(0x11)),
    ...field(13, new TextEncoder().encode(description)),
  );
  const signed = sha256(new TextEncoder().encode(prefix), toPaddedBytes(words));
  const signature = toWords(signRecoverable(signed, PAYEE.secret.reveal()));
  const text = encodeBech32(
    prefix,
    Uint8Array.of(...words, ...signature),
    "bech32",
  );
  return new TextEncoder().encode(text);
}

/** 38. */
export function preapproval(node: TestNode, terms: InvoiceTerms): Asked {
  return node.ask("preapprove_invoice", { invstring: invoiceOf(terms) });
}
