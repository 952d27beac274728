/**
 * PSBTs that the signer did not sign: which of them may go back as they are, and
 * what is left of one when the inputs that nobody signed are taken out.
 *
 * lightningd gives an HTLC transaction, which is signed, more inputs and one
 * output for the change, and ends when what it gets back is not final. Both HTLC
 * signatures cover their own input and output only (SINGLE|ANYONECANPAY, BOLT 3
 * with anchors), so the transaction without the additions is what it was before.
 *
 * @module
 */

import {
  decodePsbt,
  encodePsbt,
  fieldOf,
  INPUT,
  type Psbt,
} from "../bitcoin/psbt.ts";
import { DecodeError } from "../errors.ts";

const P2WSH = { size: 34, start: [0x00, 0x20] } as const;

/**
 * Whether an output could be a channel's, which is a P2WSH (BOLT 3), or the
 * PSBT is none that can be read.
 */
export function mayFundChannel(psbt: Uint8Array): boolean {
  const outputs = decoded(psbt)?.tx.outputs;
  return outputs === undefined ||
    outputs.some(({ script }) =>
      script.length === P2WSH.size &&
      P2WSH.start.every((byte, i) => script[i] === byte)
    );
}

function decoded(psbt: Uint8Array): Psbt | null {
  try {
    return decodePsbt(psbt);
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/**
 * The PSBT with its leading final inputs and as many outputs, or null when it
 * has none.
 */
export function withoutUnsigned(psbt: Uint8Array): Uint8Array | null {
  const whole = decoded(psbt);
  if (whole === null) return null;
  const { globals, tx, inputs, outputs } = whole;
  const found = inputs.findIndex((input) =>
    fieldOf(input, INPUT.finalWitness) === undefined
  );
  const count = found === -1 ? inputs.length : found;
  if (count === 0 || outputs.length < count) return null;
  return encodePsbt({
    globals,
    tx: {
      ...tx,
      inputs: tx.inputs.slice(0, count),
      outputs: tx.outputs.slice(0, count),
    },
    inputs: inputs.slice(0, count),
    outputs: outputs.slice(0, count),
  });
}
