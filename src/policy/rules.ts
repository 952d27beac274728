/**
 * Every rule of the signer: one row a tag, and everything else about it.
 *
 * The tags are those of VLS (Validating Lightning Signer), so that what people
 * know and what tools look for stays true; rules for what VLS cannot do
 * (splices, losses of balance) have tags of ours in the same style. Checks, the
 * filter, the log and the documentation read this table; a rule without a row
 * does not compile, a row without code or test fails `check_tables`.
 *
 * | table | what stands in it |
 * | --- | --- |
 * | RULES | what is enforced |
 * | UNBUILT | what VLS documents and this signer does not do, and why |
 *
 * A row with `coveredBy` is a field of something that is rebuilt as a whole and
 * compared: when that field is wrong, the refusal carries the covering tag.
 *
 * //~ A rule could live where it is checked. But five kinds of people ask about a
 * //~ rule (who reads the code, the test, the log, the manual, and the owner who
 * //~ wants it gone until Friday) and they should all get the same answer. So the
 * //~ answer is a row, and the check says its tag. Next: policy/commitment.ts.
 *
 * Standards: BOLT 2, 3 and 5, BIPs 32, 68, 125, 141 and 143 as the rows say.
 *
 * What it does not do: check anything.
 *
 * @module
 */

/** What happens to a request that breaks a rule. */
export type RuleAction = "refuse" | "warn";

/** Everything that is known about a rule. */
export interface RuleRow {
  /** What must hold, exactly. */
  readonly summary: string;
  /** Who says so. */
  readonly source: string;
  /** Whether the owner's filter may turn it into a warning. */
  readonly isRelaxable: boolean;
  /** Whether the same request may pass later without anybody's doing. */
  readonly isTemporary?: boolean;
  /** What happens where the owner has said nothing. */
  readonly default: { readonly mainnet: RuleAction; readonly test: RuleAction };
  /** Fields of Policy that it compares with. */
  readonly limits?: readonly string[];
  /** What the owner can do, one clause without a full stop. */
  readonly advice: string;
  /** Where we differ from VLS, and why. */
  readonly note?: string;
  /** The tag that a refusal carries in this one's place. */
  readonly coveredBy?: string;
}

const REFUSE = { mainnet: "refuse", test: "refuse" } as const;

type Draft = Omit<RuleRow, "isRelaxable" | "default">;

/** A rule that the owner may set to warn. */
const relaxable = (row: Draft): RuleRow => ({
  ...row,
  isRelaxable: true,
  default: REFUSE,
});

/** A rule that always refuses. */
const strict = (row: Draft): RuleRow => ({
  ...row,
  isRelaxable: false,
  default: REFUSE,
});

const NODE_IS_WRONG =
  "an honest node never asks this, so look at the node before trying again";
const UPDATE_NODE = "check that node and signer agree about the channel, and " +
  "report it if they do";

/** Part of a commitment transaction that is rebuilt and compared as a whole. */
const inCommitment = (summary: string, source: string): RuleRow =>
  strict({
    summary,
    source,
    advice: UPDATE_NODE,
    coveredBy: "policy-commitment",
    note: "Part of the rebuilt transaction: a difference is refused as " +
      "policy-commitment, an output that is no part of it as " +
      "policy-commitment-scripts",
  });

/** Part of an HTLC transaction that is rebuilt and compared as a whole. */
const inHtlc = (summary: string, source: string): RuleRow =>
  strict({
    summary,
    source,
    advice: UPDATE_NODE,
    coveredBy: "policy-htlc-other",
    note: "Part of the rebuilt transaction: a difference is refused as " +
      "policy-htlc-other",
  });

const COMMITMENT = "BOLT 3, Commitment Transaction";
const OUTPUTS = "BOLT 3, Commitment Transaction Outputs";
const HTLC_TX = "BOLT 3, HTLC-Timeout and HTLC-Success Transactions";
const RETRANSMISSION = "BOLT 2, Message Retransmission";
const REVOCATION = "BOLT 2, Completing the Transition to the Updated State";
const SPLICING = "BOLT 2, Channel Splicing";
const CLOSING = "BOLT 2, Channel Close; BOLT 3, Closing Transaction";
const ON_CHAIN = "BOLT 5, Recommendations for On-chain Transaction Handling";

const FEE_NOTE = "The upper bound follows the fee reference that the broker " +
  "reports, up to hard_max_feerate_per_kw, so that a spike does not stop a node";

/** Every rule that is enforced. */
export const RULES = {
  // Channel set-up.
  "policy-channel-safe-type": relaxable({
    summary: "A channel has static_remotekey, with anchors or without; with " +
      "anchors it has anchors_zero_fee_htlc_tx",
    source: "BOLT 2, channel_type; VLS §4.3",
    advice: "open the channel with option_static_remotekey or with anchors",
    note: "VLS documents it as policy-channel-safe-mode and enforces this tag",
  }),
  "policy-channel-contest-delay-range-holder": relaxable({
    summary: "The delay on our outputs, which the counterparty selects, is " +
      "from min_delay to max_delay",
    source: "BOLT 2, to_self_delay; VLS §4.3",
    limits: ["minDelay", "maxDelay"],
    advice: "refuse such peers, or change min_delay or max_delay",
  }),
  "policy-channel-contest-delay-range-counterparty": relaxable({
    summary: "The delay on the counterparty's outputs, which our node " +
      "selects, is from min_delay to max_delay",
    source: "BOLT 2, to_self_delay; VLS §4.3",
    limits: ["minDelay", "maxDelay"],
    advice: "set watchtime-blocks at the node, or change min_delay or " +
      "max_delay",
  }),
  "policy-commitment-to-self-delay-range": relaxable({
    summary: "The delay in a commitment is in the range of set-up",
    source: "BOLT 3, to_local Output; VLS §4.10",
    limits: ["minDelay", "maxDelay"],
    advice: "change min_delay or max_delay",
    coveredBy: "policy-channel-contest-delay-range-holder",
    note:
      "Commitments are rebuilt with the delays of set-up, where the range " +
      "is checked",
  }),
  "policy-channel-original-channel-id-reuse": strict({
    summary: "The peer and dbid of a new channel are not those of a channel " +
      "that was forgotten",
    source: "BOLT 3, per-commitment secrets; VLS §4.3",
    advice: "if the node was restored from an old copy of its database, " +
      "start a new node; reused channel keys can lose money",
    note: "VLS wants every dbid above all before it, and so refuses a node " +
      "that restarts after an opening that came to nothing: lightningd counts " +
      "from what it stored. Keys follow from peer and dbid together, and only " +
      "a channel that was there can be broken by their reuse",
  }),
  "policy-channel-count-limit": relaxable({
    summary: "There are fewer than max_channels channels before a new one",
    source: "VLS §4.3, NewChannel",
    limits: ["maxChannels"],
    advice: "close channels, or raise max_channels",
    note: "VLS has no tag for it and counts before it looks for an existing " +
      "channel (VLS §9, 1); a repeat for a channel that is there passes here",
  }),
  "policy-funding-max": relaxable({
    summary: "The value of a funding output is at most max_channel_size_sat",
    source: "BOLT 2, funding_satoshis; VLS §4.3",
    limits: ["maxChannelSizeSat"],
    advice: "open a smaller channel, or raise max_channel_size_sat",
    note:
      "Checked at set-up, before anything is signed; VLS checks it at the " +
      "first commitment",
  }),

  // On-chain transactions.
  "policy-onchain-format-standard": relaxable({
    summary: "A transaction that spends the wallet has version 2",
    source: "BIP 68; VLS §4.4",
    advice: "build the transaction with version 2",
  }),
  "policy-onchain-max-size": relaxable({
    summary: "A transaction that spends the wallet has at most 32,768 bytes " +
      "without witnesses",
    source: "VLS §4.2",
    advice: "spend fewer coins at once",
  }),
  "policy-onchain-funding-non-malleable": relaxable({
    summary: "Every input of a transaction that funds a channel spends a " +
      "segwit output",
    source: "BOLT 2, The funding_created Message; BIP 141",
    advice: "move coins to a segwit address before a channel is funded",
  }),
  "policy-onchain-no-unknown-outputs": relaxable({
    summary: "Every output is ours, in the allowlist, or a channel's funding " +
      "output; others need the owner's consent",
    source: "VLS §4.4",
    advice: "add the address to the allowlist, or consent to this payment",
    note: "Consent covers the destinations only: fee bounds and fee velocity " +
      "still hold, which VLS skips (VLS §9, 8)",
  }),
  "policy-onchain-output-match-commitment": relaxable({
    summary: "A funding output has the value that set-up has for the channel",
    source: "BOLT 3, Funding Transaction Output",
    advice: UPDATE_NODE,
  }),
  "policy-onchain-output-scriptpubkey": relaxable({
    summary: "A funding output is the P2WSH of the channel's 2-of-2; an " +
      "output that claims a wallet key has the script of that key",
    source: "BOLT 3, Funding Transaction Output; BIP 32",
    advice: NODE_IS_WRONG,
  }),
  "policy-onchain-initial-commitment-countersigned": relaxable({
    summary: "A channel gets coins of ours only when the counterparty's " +
      "signature on our first commitment for that output has been verified",
    source: "BOLT 2, The funding_signed Message",
    advice: NODE_IS_WRONG,
  }),
  "policy-onchain-no-fund-inbound": relaxable({
    summary: "A channel that the peer opened gets coins of ours only as far " +
      "as our balance in its first commitment covers them",
    source: "BOLT 2, Channel Establishment v2; VLS §4.3",
    advice: UPDATE_NODE,
    note: "VLS refuses every such spend, and so cannot fund from both sides",
  }),
  "policy-onchain-no-channel-push": relaxable({
    summary: "A channel that we fund gives the peer less than one satoshi, " +
      "unless the owner consents to it as to a payment without an invoice",
    source: "BOLT 2, push_msat; VLS §4.3",
    advice: "open without push_msat and pay an invoice, or consent to it",
    note: "What a second funder brings is no push, though lightningd says " +
      "both in one number",
  }),
  "policy-onchain-fee-range": relaxable({
    summary: "What a transaction takes from us and gives to nobody known is " +
      "at most the greatest feerate times its weight, and within fee_velocity",
    source: "VLS §4.4, §4.8",
    limits: [
      "maxFeeratePerKw",
      "hardMaxFeeratePerKw",
      "feeReferencePercent",
      "feeVelocity",
    ],
    advice: "use a lower feerate, or raise max_feerate_per_kw or fee_velocity",
    note: `${FEE_NOTE}. The velocity survives a restart (VLS §9, 10)`,
  }),

  // Commitments, both sides.
  "policy-commitment": strict({
    summary: "The commitment transaction is, byte for byte, the one that we " +
      "build from set-up, number, feerate and HTLCs",
    source: COMMITMENT,
    advice: UPDATE_NODE,
  }),
  "policy-commitment-version": inCommitment("Version is 2", COMMITMENT),
  "policy-commitment-locktime": inCommitment(
    "Locktime has the low half of the obscured number",
    COMMITMENT,
  ),
  "policy-commitment-sequence": inCommitment(
    "Sequence has the high half of the obscured number",
    COMMITMENT,
  ),
  "policy-commitment-input-single": inCommitment(
    "There is one input",
    COMMITMENT,
  ),
  "policy-commitment-input-match-funding": inCommitment(
    "The input spends the channel's funding output",
    COMMITMENT,
  ),
  "policy-commitment-revocation-pubkey": inCommitment(
    "to_local can be revoked by the other side's derived key",
    "BOLT 3, to_local Output",
  ),
  "policy-commitment-broadcaster-pubkey": inCommitment(
    "to_local pays the broadcaster's derived delayed key",
    "BOLT 3, to_local Output",
  ),
  "policy-commitment-countersignatory-pubkey": inCommitment(
    "to_remote pays the other side's payment basepoint",
    "BOLT 3, to_remote Output",
  ),
  "policy-commitment-htlc-revocation-pubkey": inCommitment(
    "Every HTLC output can be revoked by the other side's derived key",
    OUTPUTS,
  ),
  "policy-commitment-htlc-counterparty-htlc-pubkey": inCommitment(
    "Every HTLC output has the counterparty's derived HTLC key",
    OUTPUTS,
  ),
  "policy-commitment-htlc-holder-htlc-pubkey": inCommitment(
    "Every HTLC output has our derived HTLC key",
    OUTPUTS,
  ),
  "policy-commitment-singular": inCommitment(
    "No output stands twice that may stand once",
    OUTPUTS,
  ),
  "policy-commitment-singular-to-holder": inCommitment(
    "At most one output is our balance",
    OUTPUTS,
  ),
  "policy-commitment-singular-to-counterparty": inCommitment(
    "At most one output is the counterparty's balance",
    OUTPUTS,
  ),
  "policy-commitment-to-self-delay": inCommitment(
    "to_local has the delay that set-up has for the broadcaster",
    "BOLT 3, to_local Output",
  ),
  "policy-commitment-no-unrecognized-outputs": inCommitment(
    "There is no output but balances, HTLCs and anchors",
    OUTPUTS,
  ),
  "policy-commitment-anchor-amount": inCommitment(
    "An anchor has 330 satoshi",
    "BOLT 3, to_local_anchor and to_remote_anchor Output",
  ),
  "policy-commitment-anchor-match-fundingkey": inCommitment(
    "An anchor pays one of the two funding keys",
    "BOLT 3, to_local_anchor and to_remote_anchor Output",
  ),
  "policy-commitment-anchors-not-when-off": inCommitment(
    "A channel without anchors has no anchor output",
    "BOLT 3, to_local_anchor and to_remote_anchor Output; VLS §4.10",
  ),
  "policy-commitment-anchor-to-holder": inCommitment(
    "Our anchor is there when our balance or an HTLC is, and only then",
    "BOLT 3, to_local_anchor and to_remote_anchor Output; VLS §4.10",
  ),
  "policy-commitment-anchor-to-counterparty": inCommitment(
    "Their anchor is there when their balance or an HTLC is, and only then",
    "BOLT 3, to_local_anchor and to_remote_anchor Output; VLS §4.10",
  ),
  "policy-commitment-anchor-static-remotekey": inCommitment(
    "A channel with anchors pays to_remote to the static key, after 1 block",
    "BOLT 3, to_remote Output; VLS §4.10",
  ),
  "policy-commitment-scripts": strict({
    summary: "Every output is one that a commitment can have: its script is " +
      "known, and the witness script that comes with it has its hash",
    source: OUTPUTS,
    advice: NODE_IS_WRONG,
    note:
      "VLS gives this tag to all format and script errors; here it is for " +
      "outputs that are no part of any commitment",
  }),
  "policy-commitment-other": strict({
    summary: "The transaction has the input that is to be signed, and the " +
      "value of what it spends is known",
    source: "BIP 143; VLS §4.3",
    advice: NODE_IS_WRONG,
  }),
  "policy-commitment-outputs-trimmed": relaxable({
    summary: "No balance and no HTLC output is below the dust limit; an " +
      "HTLC's limit includes the fee of its own transaction",
    source: "BOLT 3, Trimmed Outputs",
    advice: UPDATE_NODE,
  }),
  "policy-commitment-htlc-count-limit": relaxable({
    summary: "There are at most max_htlcs HTLCs, both directions together",
    source: "BOLT 2, max_accepted_htlcs; VLS §4.3",
    limits: ["maxHtlcs"],
    advice: "wait until HTLCs resolve, or raise max_htlcs",
  }),
  "policy-commitment-htlc-inflight-limit": relaxable({
    summary: "All HTLCs together are at most max_htlc_value_sat",
    source: "BOLT 2, max_htlc_value_in_flight_msat; VLS §4.3",
    limits: ["maxHtlcValueSat"],
    advice: "wait until HTLCs resolve, or raise max_htlc_value_sat",
  }),
  "policy-commitment-htlc-cltv-range": relaxable({
    summary: "The expiry of an HTLC is a block height, below 500,000,000; " +
      "one that we offer anew expires above the chain's height, and at most " +
      "max_htlc_expiry above it",
    source: "BOLT 2, The update_add_htlc Message",
    limits: ["maxHtlcExpiry"],
    advice: NODE_IS_WRONG,
    note: "VLS compares with the height only when it is told to. What a peer " +
      "offers is not held against the height: to fail it is the node's part",
  }),
  "policy-htlc-cltv-range": relaxable({
    summary: "The expiry of an HTLC that we sign for is a block height",
    source: "BOLT 2, The update_add_htlc Message; VLS §4.10",
    advice: NODE_IS_WRONG,
    coveredBy: "policy-commitment-htlc-cltv-range",
    note: "HTLC transactions are rebuilt from HTLCs of a checked commitment",
  }),
  "policy-commitment-fee-range": relaxable({
    summary: "The feerate of a commitment is from min_feerate_per_kw to the " +
      "greatest feerate, and outputs and fee add up to the funding value",
    source: "BOLT 3, Fee Calculation; BOLT 2, The update_fee Message",
    limits: [
      "minFeeratePerKw",
      "maxFeeratePerKw",
      "hardMaxFeeratePerKw",
      "feeReferencePercent",
    ],
    advice: "check the node's fee estimates, or raise max_feerate_per_kw",
    note: `${FEE_NOTE}. Outputs above the funding value are refused with ` +
      "words, where VLS ends itself (VLS §9, 5)",
  }),
  "policy-commitment-payment-velocity": relaxable({
    summary: "What approved payments may cost stays within velocity",
    source: "VLS §4.8",
    limits: ["velocity"],
    advice: "wait, or raise velocity, or consent to this payment",
    note: "Approvals survive a restart, so the window does too (VLS §9, 10)",
  }),
  "policy-commitment-first-no-htlcs": relaxable({
    summary: "Commitment 0 has no HTLCs",
    source: "BOLT 2, Channel Establishment",
    advice: NODE_IS_WRONG,
  }),
  "policy-commitment-initial-funding-value": relaxable({
    summary: "In commitment 0 the counterparty gets what set-up says, at most",
    source: "BOLT 2, push_msat; VLS §4.3",
    advice: NODE_IS_WRONG,
  }),
  "policy-commitment-balance": relaxable({
    summary: "Our claim on a channel shrinks from one commitment to the next " +
      "by no more than the approved HTLCs that left, the fee and " +
      "max_unpaid_loss_sat over the node's life",
    source: "VLS §4.6, enforce_balance",
    limits: ["maxUnpaidLossSat"],
    advice: "find out where the money went before raising max_unpaid_loss_sat",
    note: "VLS's daemon ignores its setting for this (VLS §9, 4)",
  }),

  // Counterparty's commitment and revocation.
  "policy-commitment-previous-revoked": strict({
    summary: "Their commitment n is signed only when all below n-1 are " +
      "revoked; a revocation is for the first number that is not, its secret " +
      "fits the point that we signed for, and the secrets before it",
    source: `${REVOCATION}; BOLT 3, Efficient Per-commitment Secret Storage`,
    advice: NODE_IS_WRONG,
  }),
  "policy-commitment-retry-same": strict({
    summary: "A commitment that was signed or validated before is the same " +
      "again, for the same funding output",
    source: RETRANSMISSION,
    advice: "if the node was restored from an old copy of its database, stop " +
      "it and let the peer close",
    note: "Compared as the whole transaction, point included",
  }),

  // Our commitment.
  "policy-commitment-holder-not-revoked": strict({
    summary:
      "A commitment of ours that is revoked is not validated or signed " +
      "any more",
    source: REVOCATION,
    advice: "if the node was restored from an old copy of its database, stop " +
      "it and let the peer close",
  }),
  "policy-revoke-new-commitment-signed": strict({
    summary: "Our commitment n is revoked only when n+1 has the " +
      "counterparty's valid signatures, on it and on every HTLC of it",
    source: REVOCATION,
    advice: NODE_IS_WRONG,
    note: "As many signatures are wanted as there are HTLC outputs; VLS does " +
      "not count them (VLS §9, 6). VLS lets part of it be relaxed",
  }),
  "policy-revoke-new-commitment-valid": strict({
    summary: "A channel that is not set up gives away no secret",
    source: REVOCATION,
    advice: NODE_IS_WRONG,
  }),
  "policy-revoke-not-closed": relaxable({
    summary: "Once a mutual close or a commitment of ours is signed for " +
      "broadcast, or the channel is forgotten, it takes no new commitment",
    source: "BOLT 2, Channel Close; VLS §4.10",
    advice: NODE_IS_WRONG,
  }),
  "policy-commitment-broadcast-revoked": strict({
    summary: "A commitment of ours that was signed for broadcast is never " +
      "revoked, and one that is revoked is never signed",
    source: "BOLT 5, Unilateral Close Handling: Local Commitment Transaction",
    advice: "the channel closes with what was signed; let it confirm",
  }),
  "policy-optional-fail-fast": strict({
    summary: "Points of a channel that is set up are given out to one past " +
      "the next commitment",
    source: "BOLT 3, Per-commitment Secret Requirements; VLS §4.3",
    advice: NODE_IS_WRONG,
    note: "VLS gives only 0 and 1 of a channel that is not set up; such a " +
      "point means nothing yet, and its secret is never given",
  }),
  "policy-other": strict({
    summary: "What is signed for broadcast is our current commitment",
    source: "BOLT 5, Unilateral Close Handling: Local Commitment Transaction",
    advice: "if the node was restored from an old copy of its database, stop " +
      "it and let the peer close",
  }),

  // Second-level HTLC transactions.
  "policy-htlc-other": strict({
    summary: "The HTLC transaction is the one that we build from a " +
      "commitment's HTLC and its outpoint",
    source: HTLC_TX,
    advice: UPDATE_NODE,
    note: "The input that the request names is checked and signed, where VLS " +
      "takes the first (VLS §9, 11)",
  }),
  "policy-htlc-version": inHtlc("Version is 2", HTLC_TX),
  "policy-htlc-sequence": inHtlc("Sequence is 0, with anchors 1", HTLC_TX),
  "policy-htlc-to-self-delay": inHtlc(
    "The output has the broadcaster's delay",
    HTLC_TX,
  ),
  "policy-htlc-revocation-pubkey": inHtlc(
    "The output can be revoked by the other side's derived key",
    HTLC_TX,
  ),
  "policy-htlc-delayed-pubkey": inHtlc(
    "The output pays the broadcaster's derived delayed key",
    HTLC_TX,
  ),
  "policy-htlc-locktime": relaxable({
    summary: "Locktime is the expiry of an HTLC that the broadcaster " +
      "offered, and 0 for one that it received",
    source: HTLC_TX,
    advice: NODE_IS_WRONG,
  }),
  "policy-htlc-fee-range": relaxable({
    summary: "The feerate of an HTLC transaction for the counterparty is " +
      "that of its commitment; routing fees are at most max_fee_percent of " +
      "what was approved",
    source: "BOLT 3, Fee Calculation; VLS §4.3, §4.6",
    limits: [
      "minFeeratePerKw",
      "maxFeeratePerKw",
      "hardMaxFeeratePerKw",
      "maxFeePercent",
    ],
    advice: "use a lower feerate, or raise max_feerate_per_kw or " +
      "max_fee_percent",
    note: `${FEE_NOTE}. A claim of ours is not refused for its fee below the ` +
      "hard limit",
  }),

  // Mutual close.
  "policy-mutual-other": relaxable({
    summary: "Both sides have a commitment before a mutual close",
    source: CLOSING,
    advice: NODE_IS_WRONG,
  }),
  "policy-mutual-value-matches-commitment": relaxable({
    summary: "Each side gets what its commitments give it, less the fee for " +
      "the side that pays it, give or take epsilon_sat",
    source: CLOSING,
    limits: ["epsilonSat"],
    advice: UPDATE_NODE,
  }),
  "policy-mutual-destination-allowlisted": relaxable({
    summary: "Our output of a close goes to the script of set-up if there is " +
      "one, and that is the wallet's, in the allowlist, or consented to",
    source: "BOLT 2, upfront_shutdown_script; VLS §4.3",
    advice: "add the address to the allowlist, or close to the node's wallet",
    note: "The wallet index that the node sends is looked at; VLS ignores it " +
      "at set-up",
  }),
  "policy-mutual-no-pending-htlcs": relaxable({
    summary: "No current commitment has HTLCs when a mutual close is signed",
    source: CLOSING,
    advice: "wait until the HTLCs resolve",
  }),
  "policy-mutual-fee-range": relaxable({
    summary:
      "The feerate of a mutual close is from min_feerate_per_kw to the " +
      "greatest feerate",
    source: "BOLT 2, Closing Negotiation; VLS §4.3",
    limits: [
      "minFeeratePerKw",
      "maxFeeratePerKw",
      "hardMaxFeeratePerKw",
      "feeReferencePercent",
    ],
    advice: "close with another feerange, or raise max_feerate_per_kw",
    note: FEE_NOTE,
  }),
  "policy-mutual-scripts": strict({
    summary: "A mutual close has one or two outputs, and the wallet index of " +
      "ours is less than 2^31",
    source: `${CLOSING}; BIP 32`,
    advice: NODE_IS_WRONG,
  }),

  // Sweeps.
  "policy-sweep-version": strict({
    summary: "A sweep has version 2",
    source: "BIP 68; BOLT 5",
    advice: NODE_IS_WRONG,
    note: "VLS reports it as policy-commitment-scripts",
  }),
  "policy-sweep-locktime": strict({
    summary: "The locktime of a sweep is a block height, and not above the " +
      "expiry of a received HTLC",
    source: ON_CHAIN,
    advice: NODE_IS_WRONG,
    note: "Whether the height has come is seen when it is broadcast. VLS " +
      "reports it as policy-commitment-scripts",
  }),
  "policy-sweep-sequence": strict({
    summary: "The input that is signed has the delay that its script wants",
    source: "BIP 68; BOLT 3, to_local Output",
    advice: NODE_IS_WRONG,
    note: "VLS looks at the first input whatever is signed (VLS §9, 12), and " +
      "reports it as policy-commitment-scripts",
  }),
  "policy-sweep-other": strict({
    summary: "What is swept is an output of a commitment or HTLC transaction " +
      "of this channel, rebuilt with its keys",
    source: "BOLT 3, Commitment Transaction Outputs; BOLT 5",
    advice: NODE_IS_WRONG,
    note: "VLS reports it as policy-commitment-scripts",
  }),
  "policy-sweep-destination-allowlisted": relaxable({
    summary: "Every output of a sweep is the wallet's or in the allowlist",
    source: "VLS §4.3",
    advice: "add the address to the allowlist",
    note:
      "Every output is looked at with its own path; VLS takes the path of " +
      "the first (VLS §9, 12)",
  }),
  "policy-sweep-fee-range": relaxable({
    summary: "The feerate of a sweep is at most hard_max_feerate_per_kw",
    source: "BOLT 5, Fees; VLS §4.10",
    limits: ["hardMaxFeeratePerKw"],
    advice: "use a lower feerate, or raise hard_max_feerate_per_kw",
    note:
      "A sweep protects its owner: no other limit on fees is applied, and " +
      "VLS applies none",
  }),

  // Splices, and openings that both sides fund.
  "policy-splice-shared-output": relaxable({
    summary: "A splice or dual-funded transaction pays exactly one output to " +
      "the channel's 2-of-2, with at least our balance carried over",
    source: SPLICING,
    advice: UPDATE_NODE,
  }),
  "policy-splice-balance": relaxable({
    summary: "What we lose in a splice is covered by outputs that are ours, " +
      "in the allowlist or consented to, and a fee within bounds",
    source: SPLICING,
    advice: "find out where the money goes before consenting to it",
  }),
  "policy-splice-inflight-revoked": strict({
    summary: "A commitment is not revoked until its successor is there for " +
      "every funding output that may confirm",
    source: SPLICING,
    advice: NODE_IS_WRONG,
  }),
  "policy-splice-fee-range": relaxable({
    summary: "What a splice costs us in fees is at most the greatest feerate " +
      "times its weight",
    source: SPLICING,
    limits: ["maxFeeratePerKw", "hardMaxFeeratePerKw", "feeReferencePercent"],
    advice: "splice with a lower feerate, or raise max_feerate_per_kw",
    note: FEE_NOTE,
  }),
  "policy-splice-destination-allowlisted": relaxable({
    summary: "What a splice takes out of our balance goes to the wallet, to " +
      "the allowlist, or where the owner consents",
    source: `${SPLICING}; VLS §4.4`,
    advice: "add the address to the allowlist, or consent to this splice",
  }),
  "policy-splice-known-outpoint": relaxable({
    summary: "A commitment's input is a funding output of its channel",
    source: `${COMMITMENT}; ${SPLICING}`,
    advice: UPDATE_NODE,
  }),

  // Payments.
  "policy-routing-balanced": relaxable({
    summary: "What goes out for a payment hash is at most what comes in for " +
      "it, what was approved, and max_routing_fee_msat; a channel that we " +
      "open pushes at most its value",
    source: "BOLT 4, Payload Format: forwarding; VLS §4.6",
    limits: ["maxRoutingFeeMsat"],
    advice: "pay with an invoice through the node's own commands, or raise " +
      "max_routing_fee_msat",
    coveredBy: "policy-commitment-htlc-routing-balance",
    note: "At a commitment the refusal carries " +
      "policy-commitment-htlc-routing-balance, as in VLS",
  }),
  "policy-commitment-htlc-routing-balance": relaxable({
    summary: "For every payment hash of a commitment, what goes out over all " +
      "channels is covered by what comes in, what was approved with its " +
      "fees, or what the owner consented to",
    source: "BOLT 4, Payload Format: forwarding; VLS §4.6",
    limits: ["maxRoutingFeeMsat", "maxFeePercent"],
    advice: "pay with an invoice through the node's own commands, or consent " +
      "to this payment",
    note: "An invoice without an amount can be paid within the limits; VLS " +
      "counts it as 0 (VLS §4.6)",
  }),
  "policy-routing-cltv-delta": relaxable({
    summary: "A payment that is passed on expires at least cltv_delta blocks " +
      "earlier going out than coming in",
    source: "BOLT 7, cltv_expiry_delta; BOLT 2, cltv_expiry_delta Selection",
    limits: ["cltvDelta"],
    advice: "raise the node's cltv-delta, or lower cltv_delta",
    note:
      "Only HTLCs that are under way count, so that a failed attempt does " +
      "not spoil the next (VLS §9, 9)",
  }),
  "policy-invoice-not-expired": relaxable({
    summary: "An invoice is paid from its time on until it expires, with 60 " +
      "seconds of tolerance",
    source: "BOLT 11, Requirements; BOLT 12, Requirements for invoice",
    advice: "ask the payee for a new invoice, and check the clock",
  }),
  "policy-invoice-reuse": strict({
    summary: "A payment hash that was approved is not approved for another " +
      "invoice",
    source: "BOLT 11, Requirements; VLS §4.7",
    advice: "ask the payee for a new invoice",
    note: "VLS answers with an error without a tag",
  }),
  "policy-invoice-count-limit": relaxable({
    summary: "Fewer than max_invoices approved payments are remembered " +
      "before a new one",
    source: "VLS §4.7",
    limits: ["maxInvoices"],
    advice: "wait until old ones expire, or raise max_invoices",
    note: "VLS has no tag for it",
  }),

  // The chain.
  "policy-chain-validated": strict({
    summary: "A block follows the tip with the work that its network asks " +
      "for, and comes with proof of what it does to what is watched: whole, " +
      "or as its filter with as many attestations as the owner wants",
    source: "VLS §5.4; Bitcoin Core, ContextualCheckBlockHeader; TXOO",
    limits: ["blockProof", "oracles", "maxReorg"],
    advice: "see which chain the node's bitcoind is on",
    note: "Difficulty is worked out, where VLS takes any within a factor of " +
      "four; a reorg deeper than max_reorg is refused",
  }),
  "policy-commitment-spends-active-utxo": relaxable({
    summary: "A commitment after the first has a funding output in a block, " +
      "unspent but by a splice; an output is locked when it is " +
      "min_funding_depth deep",
    source: "BOLT 2, The channel_ready Message; VLS §4.4",
    isTemporary: true,
    limits: ["chain", "minFundingDepth", "zeroConf"],
    advice: "wait for the block; a channel that is closed stays closed",
    note: "VLS has no way to allow channels without confirmation; here " +
      "zero_conf does",
  }),
  "policy-commitment-htlc-received-spends-active-utxo": relaxable({
    summary: "A payment that is passed on does not come in on a channel " +
      "whose funding output is spent",
    source: "BOLT 5, Unilateral Close Handling; VLS §4.3",
    isTemporary: true,
    advice: "let the HTLC that comes in be settled in the chain first",
    note: "VLS documents it and does not enforce it",
  }),

  // Gossip.
  "policy-gossip-announcement": strict({
    summary: "A channel_announcement that our funding key signs names this " +
      "chain, our node and, at our node's place, that key",
    source: "BOLT 7, channel_announcement",
    advice: NODE_IS_WRONG,
    note: "VLS and the stock hsmd sign any bytes that start like one",
  }),
} as const satisfies Record<string, RuleRow>;

/** The tag of a rule. */
export type RuleTag = keyof typeof RULES;

/** Tags that VLS documents and nobody enforces: why this signer does not. */
export const UNBUILT: Readonly<Record<string, string>> = {
  "policy-onchain-wallet-path-predictable":
    "a wallet key of any index below 2^31 is found again by its index, which " +
    "BOLTs leave to the node; every change output is rebuilt from its index",
  "policy-commitment-htlc-offered-hash-matches":
    "balance is kept per payment hash: an HTLC whose hash was neither " +
    "received nor approved fails policy-commitment-htlc-routing-balance",
  "policy-commitment-payment-settled-preimage":
    "no message of the hsmd protocol carries a preimage",
  "policy-commitment-payment-allowlisted":
    "payees are known when a payment is approved, not in a commitment",
  "policy-commitment-payment-approved":
    "policy-commitment-htlc-routing-balance refuses what was not approved",
  "policy-commitment-payment-invoiced":
    "policy-commitment-htlc-routing-balance refuses what was not approved",
  "policy-no-routing":
    "a node that is not to forward is told so at the node; forwarding that " +
    "balances costs its owner nothing",
  "policy-merchant-no-sends":
    "a velocity of 0 says the same: no payment is approved",
  "policy-routing-deltas-only-htlc":
    "policy-commitment-balance holds for every change of balance",
  "policy-velocity-funding":
    "coins that fund a channel stay ours; what leaves is charged as a fee or " +
    "a payment",
  "policy-velocity-transferred":
    "payments and fees have a velocity each, which together are all that " +
    "leaves",
  "policy-generic-error": "a refusal without a rule is no rule",
};

/** Whether a text is the tag of a rule. */
export function isRuleTag(text: string): text is RuleTag {
  return Object.hasOwn(RULES, text);
}
