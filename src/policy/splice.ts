/**
 * The rules for the input of a splice that spends a channel's funding output.
 *
 * Where the money goes is judged as for any spend (`spend.ts`), with our claim
 * on the old output going in and our claim on the new one coming back. What is
 * left for here is the shape: the input is the channel's, and the channel goes
 * on in exactly one output.
 *
 * Core Lightning asks for this signature once before the new output is set up
 * and has commitments (it has to, when several channels are spliced at once) and
 * again when it has them. The early one is judged by outputs alone, as if the
 * peer keeps its balance and takes what others put in; it is not remembered, so
 * that a splice that is given up leaves no trace.
 *
 * Standard: BOLT 2, "Channel Splicing".
 *
 * What it does not do: judge commitments of the new output.
 *
 * @module
 */

import type { Judge } from "./judge.ts";

/** The input that is to be signed, and what the channel becomes. */
export interface SpliceView {
  /** Whether it is a funding output of this channel that may confirm. */
  readonly isChannelInput: boolean;
  /** Outputs with this channel's 2-of-2, or that set-up named. */
  readonly sharedOutputs: number;
  /** Whether the transaction that is signed is the one of the PSBT. */
  readonly isSameTx: boolean;
}

/** Applies the rules of a splice's shape. */
export function checkSplice(
  judge: Judge,
  view: SpliceView,
  isConsented: () => boolean,
): void {
  judge.require(
    "policy-commitment-other",
    view.isSameTx,
    () => "transaction and PSBT differ, want the same",
  );
  judge.require(
    "policy-splice-known-outpoint",
    view.isChannelInput,
    () => "spends no funding output of this channel that may be spent",
  );
  const { sharedOutputs } = view;
  judge.require(
    "policy-splice-shared-output",
    // A peer may change its key: then only the owner can say whose output it is.
    sharedOutputs === 1 || (sharedOutputs === 0 && isConsented()),
    () => `${sharedOutputs} outputs to the channel, want one`,
  );
}
