/**
 * A channel's life, but for its commitments: its keys and points, its start, the
 * outputs that may fund it, its end.
 *
 * ```
 *    new            setup            lock
 *   -----> known ---------> ready ---------> one output left
 *                             ^  setup again: one candidate more
 *                             '--- (splice, or another try to open)
 * ```
 *
 * Standards: BOLT 2 (establishment, splicing), BOLT 3 (keys).
 *
 * //~ Most of these answers are four bytes long, and that is the point of the file:
 * //~ it is the list of moments at which a signer can notice something. The stock
 * //~ hsmd nods at each of them; here each leaves a record that later requests
 * //~ are held against. Next: signer/chain.ts, for what the node cannot say alone.
 *
 * What it does not do: remember. Any secret of any channel is given to whoever
 * may ask for it, as the stock hsmd does; a validating signer starts here.
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { keyPairOf, publicKeyOf } from "../bitcoin/keys.ts";
import { p2wpkh } from "../bitcoin/script.ts";
import type { ChannelId } from "../keyderiv/channel.ts";
import { derivePrivateKey } from "../lightning/keys.ts";
import { perCommitmentSecret } from "../lightning/shachain.ts";
import { allowsScript } from "../policy/allowlist.ts";
import { isConsented } from "../policy/consent.ts";
import type { Judge } from "../policy/judge.ts";
import { REPLIES, type RequestOf } from "../wire/hsmd.ts";
import { encodeMessage } from "../wire/message.ts";
import type { Outpoint, PubKey } from "../wire/types.ts";
import { type Call, disclose, readyChannel, refuseState } from "./call.ts";
import { isBuried as isOutpointBuried, NO_CHAIN } from "./chain_checks.ts";
import { freshMonitor } from "./chain_facts.ts";
import {
  hasOnlySafeBits,
  hasStaticRemotekey,
  isSameOutpoint,
  onSameOutput,
} from "./commitment.ts";
import { freshChannel, NO_COMMITMENTS } from "./memory.ts";
import {
  type ChannelRecord,
  type ChannelSetup,
  type CommitmentRecord,
  FUNDING_CANDIDATE,
  FUNDING_LOCKED,
  FUNDING_RETIRED,
  type FundingRecord,
} from "./records.ts";
import type { Answer } from "./state.ts";

/** Since this version a commitment point comes without an older secret. */
const POINTS_WITHOUT_SECRETS = 6;

/** 10: the basepoints of a channel that is named. */
export function answerChannelBasepoints(
  { state }: Call,
  { peerid, dbid }: RequestOf<"get_channel_basepoints">,
): Answer {
  const keys = state.channels.keysOf({ peerId: peerid, dbid });
  return {
    reply: encodeMessage(REPLIES.get_channel_basepoints_reply, {
      basepoints: {
        revocation: keys.revocation.point,
        payment: keys.payment.point,
        htlc: keys.htlc.point,
        delayedPayment: keys.delayedPayment.point,
      },
      fundingPubkey: keys.funding.point,
    }),
  };
}

function pointAt({ state }: Call, channel: ChannelId, n: bigint): PubKey {
  const { shaseed } = state.channels.keysOf(channel);
  return publicKeyOf(perCommitmentSecret(shaseed, n));
}

/** 18: the point of commitment n; before version 6, the secret of n - 2 too. */
export function answerPerCommitmentPoint(
  call: Call,
  { n }: RequestOf<"get_per_commitment_point">,
): Answer {
  const { state, connection, judge } = call;
  const record = state.memory.channel(connection);
  const next = record?.holder.next ?? null;
  judge.require(
    "policy-optional-fail-fast",
    // Before the setup a point is a number that means nothing yet.
    next === null || record?.setup === null || n <= next + 1n,
    () => `point ${n}, want ${(next ?? 0n) + 1n} or less`,
  );
  const perCommitmentPoint = pointAt(call, connection, n);
  const { shaseed } = state.channels.keysOf(connection);
  const hasSecret = state.version < POINTS_WITHOUT_SECRETS && n >= 2n;
  judge.require(
    "policy-revoke-new-commitment-valid",
    !hasSecret || next !== null,
    () => `the secret of ${n - 2n} of a channel that this card does not know`,
  );
  judge.require(
    "policy-revoke-new-commitment-signed",
    !hasSecret || n <= (next ?? 0n),
    () => `the secret of ${n - 2n}, want one that was revoked`,
  );
  return {
    reply: encodeMessage(REPLIES.get_per_commitment_point_reply, {
      perCommitmentPoint,
      oldCommitmentSecret: hasSecret
        ? disclose(perCommitmentSecret(shaseed, n - 2n))
        : null,
    }),
  };
}

/** 22: whether a secret that the peer shows is one that we would make. */
export function answerCheckFutureSecret(
  { state, connection }: Call,
  { n, commitmentSecret }: RequestOf<"check_future_secret">,
): Answer {
  const { shaseed } = state.channels.keysOf(connection);
  const correct = perCommitmentSecret(shaseed, n).equals(commitmentSecret);
  return {
    reply: encodeMessage(REPLIES.check_future_secret_reply, { correct }),
  };
}

/** 24: where a peer's old unilateral close paid us. */
export function answerOutputScript(
  { state }: Call,
  { channelId, peerId, commitmentPoint }: RequestOf<"get_output_scriptpubkey">,
): Answer {
  const { payment } = state.channels.keysOf({ peerId, dbid: channelId });
  const key = commitmentPoint === null
    ? payment
    : keyPairOf(derivePrivateKey(payment, commitmentPoint));
  const script = p2wpkh(key.point);
  return {
    reply: encodeMessage(REPLIES.get_output_scriptpubkey_reply, { script }),
  };
}

// ----------------------------------------------------------------- life cycle

/** 30: a channel begins. A repeat is welcome, a name that was used up is not. */
export function answerNewChannel(
  { state, judge }: Call,
  { id: peerId, dbid }: RequestOf<"new_channel">,
): Answer {
  const reply = encodeMessage(REPLIES.new_channel_reply, {});
  const id = { peerId, dbid };
  const known = state.memory.channel(id);
  // What was forgotten for good is known by its number alone.
  const { dbidHighWater } = state.memory.node();
  judge.require(
    "policy-channel-original-channel-id-reuse",
    known === null
      ? dbid > dbidHighWater
      : !known.isForgotten || known.setup === null,
    () => `channel ${dbid} with ${peerId.toHex()} is over, want a new number`,
  );
  if (known !== null && !known.isForgotten) return { reply };
  const { maxChannels } = judge.policy;
  judge.require(
    "policy-channel-count-limit",
    state.memory.channelCount < maxChannels,
    () => `${state.memory.channelCount} channels, want ${maxChannels} or fewer`,
  );
  const record = freshChannel(id);
  return { reply, writes: [{ kind: "channel", id, record }] };
}

/** 31: the parameters of a channel, or one more output that may fund it. */
export function answerSetupChannel(
  call: Call,
  request: RequestOf<"setup_channel">,
): Answer {
  const { state, connection: id } = call;
  const reply = encodeMessage(REPLIES.setup_channel_reply, {});
  const record = state.memory.channel(id);
  if (record === null) {
    return refuseState(
      `this card does not know channel ${id.dbid} with ${id.peerId.toHex()}`,
    );
  }
  const known = record.fundings.find(({ outpoint }) =>
    isSameOutpoint(outpoint, outpointOf(request))
  );
  if (record.setup !== null && known !== undefined) {
    checkSameFunding(known, request);
    checkSameSetup(record.setup, request);
    return { reply };
  }
  const isSplice = record.setup !== null && isRunning(record);
  checkSetup(call, request, isSplice);
  const setup = settleSetup(record, setupOf(request));
  const fundings = [
    ...boundedFundings(record.fundings),
    fundingOf(request, isSplice),
  ];
  // An opening that came to nothing may start over with other parameters.
  const base = record.setup === null || setup === record.setup
    ? record
    : { ...record, ...NO_COMMITMENTS };
  const after = {
    ...base,
    setup,
    fundings: base === record ? fundings : [fundingOf(request, false)],
  };
  const isFirst = record.setup === null && state.memory.monitor(id) === null;
  return {
    reply,
    writes: [
      { kind: "channel", id, record: after },
      ...(isFirst
        ? [
          {
            kind: "monitor",
            id,
            record: freshMonitor(id, call.judge.now),
          } as const,
        ]
        : []),
    ],
  };
}

const outpointOf = (
  { fundingTxid, fundingTxout }: Pick<
    RequestOf<"setup_channel">,
    "fundingTxid" | "fundingTxout"
  >,
): Outpoint => ({ txid: fundingTxid, index: fundingTxout });

function setupOf(request: RequestOf<"setup_channel">): ChannelSetup {
  const { isOutbound, localToSelfDelay, remoteToSelfDelay } = request;
  const { localShutdownScript, localShutdownWalletIndex } = request;
  const { remoteShutdownScript, remoteBasepoints, channelType } = request;
  return {
    isOutbound,
    localToSelfDelay,
    remoteToSelfDelay,
    localShutdownScript,
    localShutdownWalletIndex,
    remoteShutdownScript,
    remoteBasepoints,
    channelType,
  };
}

function fundingOf(
  request: RequestOf<"setup_channel">,
  isSplice: boolean,
): FundingRecord {
  return {
    outpoint: outpointOf(request),
    value: request.channelValue,
    pushValue: request.pushValue,
    remoteFundingKey: request.remoteFundingPubkey,
    isSplice,
    state: FUNDING_CANDIDATE,
  };
}

/** Whether the channel has left its opening behind. */
function isRunning({ fundings, holder }: ChannelRecord): boolean {
  return holder.next > 1n ||
    fundings.some(({ state }) => state === FUNDING_LOCKED);
}

/** Whether nothing was promised that a new start could break. */
function isUntouched(record: ChannelRecord): boolean {
  const { fundings, holder, counterparty, closes, presigned } = record;
  return holder.signed === null && closes.length === 0 &&
    presigned.length === 0 && holder.next <= 1n &&
    holder.pending.length === 0 &&
    counterparty.next <= 1n && counterparty.revoked === 0n &&
    fundings.every(({ state }) => state === FUNDING_CANDIDATE);
}

/** Outputs to remember: more than any splice has candidates. */
const REMEMBERED_FUNDINGS = 32;

/** The outputs without the oldest that were replaced, when there are many. */
function boundedFundings(fundings: readonly FundingRecord[]) {
  if (fundings.length < REMEMBERED_FUNDINGS) return fundings;
  const oldest = fundings.findIndex(({ state }) => state === FUNDING_RETIRED);
  if (oldest >= 0) return fundings.filter((_, i) => i !== oldest);
  return refuseState(`${fundings.length} funding outputs, want fewer`);
}

function isSameSetup(a: ChannelSetup, b: ChannelSetup): boolean {
  const name = ({ remoteBasepoints: points, ...setup }: ChannelSetup) =>
    [
      setup.isOutbound,
      setup.localToSelfDelay,
      setup.remoteToSelfDelay,
      setup.channelType.toHex(),
      ...Object.values(points).map((point) => point.toHex()),
    ].join();
  return name(a) === name(b);
}

/** BOLT 2: an upfront script holds for the channel's whole life. */
function isSameScript(known: Uint8Array, found: Uint8Array): boolean {
  // channeld leaves scripts out when it announces a splice.
  return found.length === 0 || isSameBytes(known, found);
}

function checkSameSetup(
  known: ChannelSetup,
  request: RequestOf<"setup_channel">,
): void {
  const isSame = isSameSetup(known, setupOf(request)) &&
    isSameScript(known.localShutdownScript, request.localShutdownScript) &&
    isSameScript(known.remoteShutdownScript, request.remoteShutdownScript);
  if (!isSame) refuseState("another setup of the channel, want the same");
}

function checkSameFunding(
  known: FundingRecord,
  request: RequestOf<"setup_channel">,
): void {
  const isSame = known.value === request.channelValue &&
    isSameBytes(known.remoteFundingKey, request.remoteFundingPubkey);
  if (!isSame) refuseState("another value or key of a funding output");
}

/** The setup to go on with: the same, or a new one where nothing was promised. */
function settleSetup(record: ChannelRecord, next: ChannelSetup): ChannelSetup {
  const { setup } = record;
  if (setup === null) return next;
  const isSame = isSameSetup(setup, next) &&
    isSameScript(setup.localShutdownScript, next.localShutdownScript) &&
    isSameScript(setup.remoteShutdownScript, next.remoteShutdownScript);
  if (isSame) return setup;
  return isUntouched(record)
    ? next
    : refuseState("another setup of the channel, want the same");
}

function checkSetup(
  call: Call,
  request: RequestOf<"setup_channel">,
  isSplice: boolean,
): void {
  const { judge } = call;
  const { channelType, channelValue, pushValue, isOutbound } = request;
  judge.require(
    "policy-channel-safe-type",
    hasStaticRemotekey(channelType) && hasOnlySafeBits(channelType),
    () =>
      `channel type ${channelType.toHex()}, want static remote keys, ` +
      "without or with zero-fee anchors",
  );
  checkDelays(judge, request);
  judge.require(
    "policy-routing-balanced",
    // For a splice, CLN puts a difference there that may wrap around zero: what
    // it gives away shows when the splice itself is signed.
    isSplice || !isOutbound || channelValue * 1000n >= pushValue,
    () => `pushes ${pushValue} msat of ${channelValue} sat, want less`,
  );
  judge.require(
    "policy-funding-max",
    channelValue <= judge.policy.maxChannelSizeSat,
    () =>
      `channel of ${channelValue} sat, want ` +
      `${judge.policy.maxChannelSizeSat} or less`,
  );
  checkShutdownScript(call, request);
}

function checkDelays(
  judge: Judge,
  { localToSelfDelay, remoteToSelfDelay }: RequestOf<"setup_channel">,
): void {
  const { minDelay, maxDelay } = judge.policy;
  const isIn = (delay: number) => delay >= minDelay && delay <= maxDelay;
  judge.require(
    "policy-channel-contest-delay-range-holder",
    isIn(remoteToSelfDelay),
    () =>
      `our outputs wait ${remoteToSelfDelay}, want ${minDelay} to ${maxDelay}`,
  );
  judge.require(
    "policy-channel-contest-delay-range-counterparty",
    isIn(localToSelfDelay),
    () =>
      `the peer's outputs wait ${localToSelfDelay}, want ${minDelay} to ` +
      `${maxDelay}`,
  );
}

/** Where a cooperative close will pay us, when that was promised up front. */
function checkShutdownScript(
  { state, judge }: Call,
  request: RequestOf<"setup_channel">,
): void {
  const { localShutdownScript: script, localShutdownWalletIndex } = request;
  if (script.length === 0) return;
  const path = localShutdownWalletIndex === null
    ? null
    : [localShutdownWalletIndex];
  const isOurs = state.cache.walletOf(state.keys).indexOf(
    script,
    path === null ? [] : [path],
    state.memory.node().walletHighWater,
  ) !== null;
  judge.require(
    "policy-mutual-destination-allowlisted",
    isOurs || allowsScript(state.allowlist, script, path) ||
      isConsented(
        state.consent,
        "unknown_destination",
        `unknown_destination/${script.toHex()}`,
        () => `closing a channel to the script ${script.toHex()}`,
      ),
    () => `closes to script ${script.toHex()}, want ours or one that is listed`,
  );
}

/** 32: whether a funding output is buried, as far as this signer knows. */
export function answerCheckOutpoint(
  { state }: Call,
  request: RequestOf<"check_outpoint">,
): Answer {
  const isBuried = isOutpointBuried(state, outpointOf(request));
  return { reply: encodeMessage(REPLIES.check_outpoint_reply, { isBuried }) };
}

/** 37: a funding output is the channel's from here on. */
export function answerLockOutpoint(
  call: Call,
  request: RequestOf<"lock_outpoint">,
): Answer {
  const reply = encodeMessage(REPLIES.lock_outpoint_reply, {});
  const { id, record } = readyChannel(call);
  const locked = outpointOf(request);
  const at = record.fundings.findIndex(({ outpoint }) =>
    isSameOutpoint(outpoint, locked)
  );
  const funding = record.fundings[at];
  // A splice cannot be there before we have signed it.
  const isKnown = funding !== undefined &&
    funding.state !== FUNDING_RETIRED &&
    !(funding.isSplice && funding.state === FUNDING_CANDIDATE);
  call.judge.require(
    "policy-splice-known-outpoint",
    isKnown,
    () => "locks an output that is not the channel's, want a funding output",
  );
  call.judge.require(
    "policy-onchain-initial-commitment-countersigned",
    onSameOutput(record.holder.current, { funding: locked }) !== null,
    () => "locks an output without a commitment of ours, want one first",
  );
  if (!isKnown || funding.state === FUNDING_LOCKED) return { reply };
  call.judge.require(
    "policy-commitment-spends-active-utxo",
    isOutpointBuried(call.state, locked),
    () =>
      call.state.memory.chain() === null
        ? `locks an output, and ${NO_CHAIN}`
        : "locks an output that is not deep enough, want " +
          `${call.judge.policy.minFundingDepth} blocks`,
  );
  return {
    reply,
    writes: [{ kind: "channel", id, record: withLocked(record, locked) }],
  };
}

/** The record with one output left, and the commitments on that. */
function withLocked(record: ChannelRecord, locked: Outpoint): ChannelRecord {
  const { holder, counterparty } = record;
  const isKept = ({ funding }: CommitmentRecord) =>
    isSameOutpoint(funding, locked);
  return {
    ...record,
    presigned: [],
    fundings: record.fundings.map((each) => ({
      ...each,
      state: isSameOutpoint(each.outpoint, locked)
        ? FUNDING_LOCKED
        : FUNDING_RETIRED,
    })),
    holder: {
      ...holder,
      current: holder.current.filter(isKept),
      pending: holder.pending.filter(isKept),
    },
    counterparty: {
      ...counterparty,
      current: counterparty.current.filter(isKept),
      previous: counterparty.previous.filter(isKept),
    },
  };
}

/** 34: a channel is over. What was signed for it stays remembered. */
export function answerForgetChannel(
  { state }: Call,
  { id: peerId, dbid }: RequestOf<"forget_channel">,
): Answer {
  const reply = encodeMessage(REPLIES.forget_channel_reply, {});
  const id = { peerId, dbid };
  const known = state.memory.channel(id);
  if (known === null || known.isForgotten) return { reply };
  const record = known.setup === null ? null : { ...known, isForgotten: true };
  return { reply, writes: [{ kind: "channel", id, record }] };
}
