/**
 * Closing transactions: the funding output, divided by agreement.
 *
 * Standards: BOLT 3, "Legacy Closing Transaction" (closing_signed) and "Closing
 * Transaction" (closing_complete), which sets locktime and sequence.
 *
 * What it does not do: decide amounts, subtract fees, or drop dust. A side whose
 * output is left out is null.
 *
 * @module
 */

import type { Tx, TxOutput } from "../bitcoin/tx.ts";
import type { Outpoint } from "../wire/types.ts";
import { compareOutputs } from "./scripts.ts";

const FINAL_SEQUENCE = 0xffff_ffff;

/** What a closing transaction follows from. */
export interface ClosingTerms {
  readonly funding: Outpoint;
  /** Null for no output. */
  readonly toUs: TxOutput | null;
  /** Null for no output. */
  readonly toThem: TxOutput | null;
  /** Zero in the classic negotiation. */
  readonly locktime?: number;
  /** Final in the classic negotiation. */
  readonly sequence?: number;
}

/** BOLT 3: without witness, outputs in the order of BIP 69. */
export function buildClosing(terms: ClosingTerms): Tx {
  const { funding, toUs, toThem, locktime = 0 } = terms;
  const { sequence = FINAL_SEQUENCE } = terms;
  const outputs = [toUs, toThem].filter((output) => output !== null);
  return {
    version: 2,
    inputs: [{
      txid: funding.txid,
      index: funding.index,
      scriptSig: new Uint8Array(),
      sequence,
      witness: [],
    }],
    outputs: outputs.sort(compareOutputs),
    locktime,
  };
}
