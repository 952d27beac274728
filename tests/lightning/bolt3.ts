/**
 * BOLT 3's commitment vectors (appendices C and F) as what this program builds
 * a commitment from: terms, keys, and balances after fees and trimming.
 *
 * @module
 */

import anchored from "../fixtures/bolt3/commitments_anchors.json" with {
  type: "json",
};
import plain from "../fixtures/bolt3/commitments.json" with { type: "json" };
import { sha256 } from "../../src/crypto/hash.ts";
import type {
  CommitmentContent,
  CommitmentHtlc,
  CommitmentKeys,
  CommitmentTerms,
} from "../../src/lightning/commitment.ts";
import { commitmentFee, isTrimmed } from "../../src/lightning/weight.ts";
import type { Msat, PubKey, Sat, Sha256, Txid } from "../../src/wire/types.ts";

/** One vector. */
export interface Bolt3Case {
  readonly name: string;
  readonly feerate: number;
  readonly terms: CommitmentTerms;
  readonly content: CommitmentContent;
  /** Signed. */
  readonly commitTx: string;
  /** Signed, in no particular order. */
  readonly htlcTxs: readonly string[];
  /** Witness scripts of the HTLC outputs; none are given with anchors. */
  readonly htlcScripts: readonly string[];
}

/** Everything the vectors have in common; local is the opener. */
export const PARAMETERS = plain.parameters;

const bytes = (hex: string) => Uint8Array.fromHex(hex);
const key = (hex: string) => bytes(hex) as Uint8Array as PubKey;

/** Keys of every vector: they are the same commitment number. */
export const KEYS: CommitmentKeys = {
  revocation: key(PARAMETERS.local_revocation_pubkey),
  delayed: key(PARAMETERS.local_delayedpubkey),
  broadcasterHtlc: key(PARAMETERS.local_htlcpubkey),
  countersignerHtlc: key(PARAMETERS.remote_htlcpubkey),
  toRemote: key(PARAMETERS.remote_payment_basepoint),
  broadcasterFunding: key(PARAMETERS.local_funding_pubkey),
  countersignerFunding: key(PARAMETERS.remote_funding_pubkey),
};

const HTLCS: readonly CommitmentHtlc[] = plain.htlcs.map((htlc) => ({
  isOffered: htlc.direction === "local->remote",
  amount: BigInt(htlc.amount_msat) as Msat,
  paymentHash: sha256(bytes(htlc.payment_preimage)) as Uint8Array as Sha256,
  cltvExpiry: htlc.expiry,
}));

function htlcsOf(name: string): readonly CommitmentHtlc[] {
  if (name.includes("no HTLCs")) return [];
  return name.includes("same amount and preimage")
    ? HTLCS.filter((_, i) => i === 1 || i >= 5)
    : HTLCS.slice(0, 5);
}

interface Balances {
  readonly name: string;
  readonly hasAnchors: boolean;
  readonly feerate: number;
  readonly dustLimit: bigint;
  readonly toLocal: number;
  readonly toRemote: number;
}

/** BOLT 3, commitment transaction construction, steps 2 to 7. */
function contentOf(balances: Balances): CommitmentContent {
  const { feerate, hasAnchors } = balances;
  const dustLimit = balances.dustLimit as Sat;
  const htlcs = htlcsOf(balances.name).filter(({ amount, isOffered }) =>
    !isTrimmed(amount, { isOffered, feerate, hasAnchors }, dustLimit)
  );
  const cost = commitmentFee(feerate, htlcs.length, hasAnchors) +
    (hasAnchors ? 660n : 0n);
  const keep = (msat: bigint) =>
    (msat < dustLimit * 1000n ? 0n : msat / 1000n) as Sat;
  return {
    number: BigInt(PARAMETERS.commitment_number),
    toBroadcaster: keep(BigInt(balances.toLocal) - cost * 1000n),
    toCountersigner: keep(BigInt(balances.toRemote)),
    htlcs,
  };
}

function termsOf(hasAnchors: boolean): CommitmentTerms {
  return {
    funding: {
      txid: bytes(PARAMETERS.funding_tx_id).reverse() as Uint8Array as Txid,
      index: Number(PARAMETERS.funding_output_index),
    },
    hasAnchors,
    toSelfDelay: Number(PARAMETERS.local_delay),
    obscurer: BigInt(`0x${PARAMETERS.obscuring_factor}`),
  };
}

/** Appendix C. */
export const PLAIN_CASES: readonly Bolt3Case[] = plain.cases.map((vector) => ({
  name: vector.name,
  feerate: vector.local_feerate_per_kw,
  terms: termsOf(false),
  content: contentOf({
    name: vector.name,
    hasAnchors: false,
    feerate: vector.local_feerate_per_kw,
    dustLimit: BigInt(PARAMETERS.local_dust_limit_satoshi),
    toLocal: vector.to_local_msat,
    toRemote: vector.to_remote_msat,
  }),
  commitTx: vector.commit_tx,
  htlcTxs: vector.htlc_txs.map(({ tx }) => tx),
  htlcScripts: vector.htlcs.map(({ wscript }) => wscript),
}));

/** Appendix F. */
export const ANCHOR_CASES: readonly Bolt3Case[] = anchored.map((vector) => ({
  name: vector.Name,
  feerate: vector.FeePerKw,
  terms: termsOf(true),
  content: contentOf({
    name: vector.Name,
    hasAnchors: true,
    feerate: vector.FeePerKw,
    dustLimit: BigInt(vector.DustLimitSatoshis),
    toLocal: vector.LocalBalance,
    toRemote: vector.RemoteBalance,
  }),
  commitTx: vector.ExpectedCommitmentTxHex,
  htlcTxs: vector.HtlcDescs.map(({ ResolutionTxHex }) => ResolutionTxHex),
  htlcScripts: [],
}));
