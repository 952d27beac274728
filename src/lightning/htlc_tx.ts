/**
 * HTLC-timeout and HTLC-success: what the broadcaster of a commitment takes an
 * HTLC output with.
 *
 * Its one output is delayed like `to_local`, so that a revoked commitment can be
 * punished at this stage too. Both sides build the same transaction: the other
 * one signs it in advance, with every commitment.
 *
 * Standards: BOLT 3 ("HTLC-Timeout and HTLC-Success Transactions", vectors in
 * appendices C and F). With anchors it pays no fee, which is what the channel
 * type anchors_zero_fee_htlc says; others may add inputs that do.
 *
 * What it does not do: witnesses.
 *
 * @module
 */

import { p2wsh } from "../bitcoin/script.ts";
import type { Tx } from "../bitcoin/tx.ts";
import { RequestError, SIGNER_ERROR_CODES } from "../errors.ts";
import type { Msat, PubKey, Sat, Txid } from "../wire/types.ts";
import { toLocalScript } from "./scripts.ts";
import { htlcFee } from "./weight.ts";

export { htlcFee } from "./weight.ts";

/** What an HTLC transaction follows from. */
export interface HtlcTxTerms {
  readonly commitmentTxid: Txid;
  readonly outputIndex: number;
  /** By the broadcaster: HTLC-timeout, else HTLC-success. */
  readonly isOffered: boolean;
  readonly amount: Msat;
  readonly cltvExpiry: number;
  /** Per 1000 weight; with anchors it does not matter. */
  readonly feerate: number;
  readonly keys: { readonly revocation: PubKey; readonly delayed: PubKey };
  /** As on the commitment: what the countersigner announced. */
  readonly toSelfDelay: number;
  readonly hasAnchors: boolean;
}

/** An HTLC transaction. */
export interface HtlcTx {
  readonly tx: Tx;
  /** Witness script of its output. */
  readonly outputScript: Uint8Array;
}

/**
 * BOLT 3: without witness.
 *
 * @throws {RequestError} for an HTLC that cannot pay the fee: it has no output
 */
export function buildHtlcTx(terms: HtlcTxTerms): HtlcTx {
  const { isOffered, hasAnchors, toSelfDelay } = terms;
  const outputScript = toLocalScript({ ...terms.keys, toSelfDelay });
  const amount = amountAfterFee(terms);
  const tx: Tx = {
    version: 2,
    inputs: [{
      txid: terms.commitmentTxid,
      index: terms.outputIndex,
      scriptSig: new Uint8Array(),
      sequence: hasAnchors ? 1 : 0,
      witness: [],
    }],
    outputs: [{ amount, script: p2wsh(outputScript) }],
    locktime: isOffered ? terms.cltvExpiry : 0,
  };
  return { tx, outputScript };
}

function amountAfterFee(terms: HtlcTxTerms): Sat {
  const { amount, feerate, isOffered, hasAnchors } = terms;
  const fee = htlcFee(feerate, isOffered, hasAnchors);
  const sat = amount / 1000n;
  if (sat < fee) {
    throw new RequestError(
      SIGNER_ERROR_CODES.badRequest,
      `Cannot build an HTLC transaction: ${sat} sat, want its fee of ${fee}`,
    );
  }
  // Whole satoshi of an amount in millisatoshi, less a fee.
  return (sat - fee) as Sat;
}
