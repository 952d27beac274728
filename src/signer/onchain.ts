/**
 * What a request for an HTLC transaction or a sweep is about: which script, whose
 * keys, which HTLC of which commitment.
 *
 * Everything that depends only on a commitment is worked out once and kept in
 * the cache, so that the requests that follow a commitment with many HTLCs cost
 * one look-up each.
 *
 * Standards: BOLT 3 (scripts and keys), BOLT 5.
 *
 * What it does not do: judge (`policy/htlc_tx.ts`, `policy/sweep.ts`), or sign.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { publicKeyOf } from "../bitcoin/keys.ts";
import { type Psbt, spentOutput } from "../bitcoin/psbt.ts";
import { isP2wshOf } from "../bitcoin/script.ts";
import type { Tx } from "../bitcoin/tx.ts";
import { hash160, ripemd160 } from "../crypto/hash.ts";
import type { Secret } from "../crypto/secret.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { buildHtlcTx } from "../lightning/htlc_tx.ts";
import {
  derivePublicKey,
  deriveRevocationPublicKey,
} from "../lightning/keys.ts";
import { secretAt } from "../lightning/secret_store.ts";
import { perCommitmentSecret, secretIndex } from "../lightning/shachain.ts";
import { txWeight } from "../lightning/weight.ts";
import {
  checkHtlcTx,
  type HtlcScript,
  readDelayedScript,
  readHtlcScript,
} from "../policy/htlc_tx.ts";
import { checkSweep } from "../policy/sweep.ts";
import { type Msat, type PubKey, type Sat, SIDE_LOCAL } from "../wire/types.ts";
import type { DerivedKeys, HtlcNames } from "./cache.ts";
import { type Call, type ReadyChannel, readyChannel } from "./call.ts";
import { derivedKeys, hasAnchors } from "./commitment.ts";
import type {
  ChannelRecord,
  ChannelSetup,
  CommitmentRecord,
} from "./records.ts";
import { isAllowedScript } from "./spending.ts";
import { pathsOf } from "./wallet_scripts.ts";

/** A transaction of one input, as a request brings it. */
export interface OnchainRequest {
  readonly tx: Tx;
  readonly psbt: Psbt;
  readonly wscript: Uint8Array;
}

// ----------------------------------------------------------------- HTLC keys

function derivers({ state }: Call) {
  const { cache } = state;
  return {
    simple: (basepoint: PubKey, point: PubKey) =>
      cache.derived("simple", basepoint, point, derivePublicKey),
    revocation: (basepoint: PubKey, point: PubKey) =>
      cache.derived("revocation", basepoint, point, deriveRevocationPublicKey),
  };
}

function hasTheseKeys(script: HtlcScript, keys: DerivedKeys): boolean {
  return isSameBytes(script.localHtlc, keys.broadcasterHtlc) &&
    isSameBytes(script.remoteHtlc, keys.countersignerHtlc) &&
    isSameBytes(script.revocationHash, hash160(keys.revocation));
}

// ---------------------------------------------------------- HTLC transactions

/** The commitment that an HTLC transaction spends, and its keys. */
interface Source {
  readonly commitment: CommitmentRecord;
  readonly keys: DerivedKeys;
}

const sourceOf = (
  commitments: readonly CommitmentRecord[],
  point: PubKey | null,
) => commitments.map((commitment) => ({ commitment, point }));

function isSpentBy({ inputs }: Tx, { txid }: CommitmentRecord): boolean {
  const [input] = inputs;
  return input !== undefined && isSameBytes(input.txid, txid);
}

/** Judges an HTLC transaction of the peer's commitment (20). */
export function checkRemoteHtlcTx(
  call: Call,
  request: OnchainRequest,
  { point, isAnchored }: {
    readonly point: PubKey;
    readonly isAnchored: boolean;
  },
): void {
  const channel = readyChannel(call);
  const { current, previous, currentPoint, previousPoint } =
    channel.record.counterparty;
  const source = [
    ...sourceOf(current, currentPoint),
    ...sourceOf(previous, previousPoint),
  ].find((each) =>
    isSpentBy(request.tx, each.commitment) && each.point !== null &&
    isSameBytes(each.point, point)
  );
  const commitment = source?.commitment ?? null;
  judgeHtlcTx(call, channel, request, {
    source: commitment && {
      commitment,
      keys: derivedKeys(call, channel, { broadcaster: "counterparty", point }),
    },
    isAnchored,
    isHolder: false,
  });
}

/** Judges an HTLC transaction of our commitment n (146, 16). */
export function checkLocalHtlcTx(
  call: Call,
  id: ChannelId,
  request: OnchainRequest,
  { number, isAnchored }: {
    readonly number: bigint;
    readonly isAnchored: boolean;
  },
): void {
  const channel = readyChannel(call, id);
  const { next, current, pending } = channel.record.holder;
  const candidates = number + 1n === next
    ? current
    : number === next
    ? pending
    : [];
  const commitment = candidates.find((each) => isSpentBy(request.tx, each));
  const source = commitment === undefined ? null : {
    commitment,
    keys: derivedKeys(call, channel, { broadcaster: "holder", number }),
  };
  judgeHtlcTx(call, channel, request, { source, isAnchored, isHolder: true });
}

interface HtlcContext {
  readonly source: Source | null;
  /** As the request says; it decides what a signature covers. */
  readonly isAnchored: boolean;
  readonly isHolder: boolean;
}

function judgeHtlcTx(
  call: Call,
  channel: ReadyChannel,
  request: OnchainRequest,
  context: HtlcContext,
): void {
  const script = readHtlcScript(request.wscript);
  const amount = spentAmount(request);
  const { isHolder } = context;
  checkHtlcTx(call.judge, {
    problem: htlcProblem(channel, script, context),
    tx: request.tx,
    wanted: script &&
      wantedHtlcTx(call, channel, { request, script, amount, context }),
    isOffered: script?.isOffered ?? false,
    hasAnchors: context.isAnchored,
    amount,
    isHolder,
  }, call.feeReference);
}

function spentAmount({ psbt }: OnchainRequest): Sat {
  const [input] = psbt.inputs;
  // An amount that is not given is refused when it is to be signed.
  return (input && spentOutput(input))?.amount ?? 0n as Sat;
}

function htlcProblem(
  channel: ReadyChannel,
  script: HtlcScript | null,
  { source, isAnchored, isHolder }: HtlcContext,
): string | null {
  if (source === null) {
    return isHolder
      ? "spends no current commitment of ours"
      : "spends no commitment of the peer's that was signed last";
  }
  const hasThem = hasAnchors(channel.setup.channelType);
  if (isAnchored !== hasThem || script?.hasAnchors !== hasThem) {
    return script === null
      ? "no HTLC script"
      : "an HTLC script of another channel type";
  }
  return hasTheseKeys(script, source.keys)
    ? null
    : "an HTLC script with other keys than the commitment's";
}

/** How a script and an amount name an HTLC of a commitment. */
function htlcName(
  isOffered: boolean,
  hash: Uint8Array,
  amount: bigint,
): string {
  return `${isOffered ? "offered" : "received"}/${hash.toHex()}/${amount}`;
}

function nameHtlcs(isHolder: boolean) {
  return ({ htlcs }: CommitmentRecord): HtlcNames => {
    const names = new Map<string, number[]>();
    for (const { side, paymentHash, amount, cltvExpiry } of htlcs) {
      const isOffered = (side === SIDE_LOCAL) === isHolder;
      const hash = ripemd160(paymentHash);
      const name = htlcName(isOffered, hash, amount / 1000n);
      names.set(name, [...names.get(name) ?? [], cltvExpiry]);
    }
    return names;
  };
}

interface WantedContext {
  readonly request: OnchainRequest;
  readonly script: HtlcScript;
  readonly amount: Sat;
  readonly context: HtlcContext;
}

/** The HTLC transaction of the HTLC that a script names; null for none. */
function wantedHtlcTx(
  call: Call,
  channel: ReadyChannel,
  { request, script, amount, context }: WantedContext,
): Tx | null {
  const { source, isHolder } = context;
  const [input] = request.tx.inputs;
  if (source === null || input === undefined) return null;
  const { commitment, keys } = source;
  const { isOffered } = script;
  const expiries = call.state.cache.htlcsOf(commitment, nameHtlcs(isHolder))
    .get(htlcName(isOffered, script.paymentHash, amount)) ?? [];
  const said = script.cltvExpiry ?? request.tx.locktime;
  const known = expiries.find((expiry) => expiry === said);
  const cltvExpiry = known ?? (isOffered ? expiries[0] : undefined);
  if (cltvExpiry === undefined) return null;
  const { setup } = channel;
  return buildHtlcTx({
    commitmentTxid: commitment.txid,
    outputIndex: input.index,
    isOffered,
    // Satoshi in millisatoshi.
    amount: amount * 1000n as Msat,
    cltvExpiry,
    feerate: commitment.feerate,
    keys,
    toSelfDelay: isHolder ? setup.remoteToSelfDelay : setup.localToSelfDelay,
    hasAnchors: hasAnchors(setup.channelType),
  }).tx;
}

// -------------------------------------------------------------------- sweeps

/** BIP 125 and BIP 68: sequences that delay nothing. */
const PLAIN_SEQUENCES = [0, 0xffff_fffd, 0xffff_ffff];
/** BOLT 3: with anchors an HTLC output waits a block. */
const ANCHORED_SEQUENCES = [1];
/** How many revoked numbers are searched for the one of a secret. */
const SEARCHED_SECRETS = 100_000n;

/** What a script wants of the transaction that spends it. */
interface SweepTerms {
  readonly problem: string | null;
  readonly sequences: readonly number[];
  readonly cltvExpiry: number | null;
}

/** Judges a sweep of what our own commitment n pays us (142, 12). */
export function checkDelayedSweep(
  call: Call,
  id: ChannelId,
  request: OnchainRequest,
  number: bigint,
): void {
  const { delayedPayment, shaseed } = call.state.channels.keysOf(id);
  const point = publicKeyOf(perCommitmentSecret(shaseed, number));
  const script = readDelayedScript(request.wscript);
  const { simple, revocation } = derivers(call);
  const setup = setupOf(call, id);
  const isOurs = script !== null &&
    isSameBytes(script.delayed, simple(delayedPayment.point, point)) &&
    (setup === null ||
      isSameBytes(
        script.revocation,
        revocation(setup.remoteBasepoints.revocation, point),
      ));
  judgeSweep(call, id, request, {
    problem: isOurs ? null : `no output to us of our commitment ${number}`,
    sequences: script === null ? [] : [script.toSelfDelay],
    cltvExpiry: null,
  });
}

/** Judges a sweep of an HTLC of the peer's commitment (143, 13). */
export function checkHtlcSweep(
  call: Call,
  id: ChannelId,
  request: OnchainRequest,
  { point, isAnchored }: {
    readonly point: PubKey;
    readonly isAnchored: boolean;
  },
): void {
  const script = readHtlcScript(request.wscript);
  const { htlc } = call.state.channels.keysOf(id);
  const setup = setupOf(call, id);
  const isOurs = script !== null && script.hasAnchors === isAnchored &&
    isSameBytes(script.remoteHtlc, derivers(call).simple(htlc.point, point)) &&
    (setup === null || isOfPeers(call, id, setup, script, point));
  judgeSweep(call, id, request, {
    problem: isOurs ? null : "no HTLC of the peer's commitment with our key",
    sequences: isAnchored ? ANCHORED_SEQUENCES : PLAIN_SEQUENCES,
    cltvExpiry: script?.cltvExpiry ?? null,
  });
}

function isOfPeers(
  call: Call,
  id: ChannelId,
  setup: ChannelSetup,
  script: HtlcScript,
  point: PubKey,
): boolean {
  const record = call.state.memory.channel(id);
  return record !== null &&
    hasTheseKeys(
      script,
      derivedKeys(call, { id, record, setup }, {
        broadcaster: "counterparty",
        point,
      }),
    );
}

/** Judges a sweep of an output that the peer revoked (144, 14). */
export function checkPenaltySweep(
  call: Call,
  id: ChannelId,
  request: OnchainRequest,
  secret: Secret,
): void {
  const { revocation } = call.state.channels.keysOf(id);
  const key = derivers(call)
    .revocation(revocation.point, publicKeyOf(secret));
  judgeSweep(call, id, request, {
    problem: penaltyProblem(call, id, request.wscript, { key, secret }),
    sequences: PLAIN_SEQUENCES,
    cltvExpiry: null,
  });
}

function penaltyProblem(
  { state }: Call,
  id: ChannelId,
  wscript: Uint8Array,
  { key, secret }: { readonly key: PubKey; readonly secret: Secret },
): string | null {
  const delayed = readDelayedScript(wscript);
  const htlc = readHtlcScript(wscript);
  const isOurs = delayed !== null && isSameBytes(delayed.revocation, key) ||
    htlc !== null && isSameBytes(htlc.revocationHash, hash160(key));
  if (!isOurs) return "an output that this secret does not revoke for us";
  const record = state.memory.channel(id);
  return record === null || isGiven(record, secret)
    ? null
    : "a secret that the peer has not given";
}

/** Whether the peer has revoked a commitment with this secret. */
function isGiven({ counterparty }: ChannelRecord, secret: Secret): boolean {
  const { revoked, secrets } = counterparty;
  // A channel from before this card: the peer's secrets were given to another.
  if (secrets.length === 0) return true;
  const last = revoked > SEARCHED_SECRETS ? revoked - SEARCHED_SECRETS : 0n;
  for (let number = revoked; number > last; number--) {
    const given = secretAt(secrets, secretIndex(number - 1n));
    if (given !== null && secret.equals(given)) return true;
  }
  return last > 0n;
}

function setupOf({ state }: Call, id: ChannelId): ChannelSetup | null {
  return state.memory.channel(id)?.setup ?? null;
}

function judgeSweep(
  call: Call,
  id: ChannelId,
  request: OnchainRequest,
  { problem, sequences, cltvExpiry }: SweepTerms,
): void {
  const { tx, psbt, wscript } = request;
  const agreed = setupOf(call, id)?.localShutdownScript ?? new Uint8Array();
  checkSweep(call.judge, {
    version: tx.version,
    locktime: tx.locktime,
    cltvExpiry,
    sequence: tx.inputs[0]?.sequence ?? 0,
    sequences,
    problem: problem ?? scriptProblem(request),
    amount: spentAmount(request),
    weight: txWeight(tx) + wscript.length + SWEEP_WITNESS,
    outputs: tx.outputs.map(({ amount, script }, i) => {
      const map = psbt.outputs[i];
      const paths = map === undefined ? [] : pathsOf(map);
      return {
        amount,
        isAllowed: isAllowedScript(call, script, paths) ||
          agreed.length > 0 && isSameBytes(script, agreed),
      };
    }),
  });
}

/** Marker, counts and lengths, a signature. */
const SWEEP_WITNESS = 79;

/** The amount that is signed has to be that of the script that is signed. */
function scriptProblem({ psbt, wscript }: OnchainRequest): string | null {
  const [input] = psbt.inputs;
  const spent = input && spentOutput(input);
  return spent && !isP2wshOf(spent.script, wscript)
    ? "a witness script of another output"
    : null;
}
