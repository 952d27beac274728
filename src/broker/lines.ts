/**
 * Log lines that tools around Core Lightning look for (cln-hsmd facts §8.5),
 * made from requests and replies as they pass.
 *
 * The stock hsmd writes them itself; with the signer elsewhere the broker is
 * the one who can.
 *
 * @module
 */

import { decodeMessage } from "../wire/message.ts";
import { REQUESTS } from "../wire/hsmd.ts";
import type { LogLevel } from "../wire/status.ts";
import type { HsmUtxo } from "../wire/types.ts";

/** A line and its level. */
export interface Line {
  readonly level: LogLevel;
  readonly text: string;
}

type LineMaker = (message: Uint8Array) => readonly Line[];

const debug = (text: string): readonly Line[] => [{ level: "debug", text }];
const preapprove = (what: string, checkOnly: boolean) =>
  debug(`preapprove_${what}: check_only=${checkOnly ? 1 : 0}`);

function closeOutputs(inputs: readonly HsmUtxo[]): readonly Line[] {
  return inputs.flatMap(({ closeInfo }) =>
    closeInfo === null ? [] : debug("Unilateral close output, deriving secrets")
  );
}

const MAKERS: ReadonlyMap<number, LineMaker> = new Map<number, LineMaker>([
  [REQUESTS.preapprove_invoice.type, () => preapprove("invoice", false)],
  [REQUESTS.preapprove_keysend.type, () => preapprove("keysend", false)],
  [REQUESTS.preapprove_invoice_check.type, (message) => {
    const row = REQUESTS.preapprove_invoice_check;
    return preapprove("invoice", decodeMessage(row, message).checkOnly);
  }],
  [REQUESTS.preapprove_keysend_check.type, (message) => {
    const row = REQUESTS.preapprove_keysend_check;
    return preapprove("keysend", decodeMessage(row, message).checkOnly);
  }],
  [
    REQUESTS.sign_withdrawal.type,
    (message) =>
      closeOutputs(decodeMessage(REQUESTS.sign_withdrawal, message).inputs),
  ],
  [
    REQUESTS.sign_anchorspend.type,
    (message) =>
      closeOutputs(decodeMessage(REQUESTS.sign_anchorspend, message).inputs),
  ],
  [
    REQUESTS.sign_htlc_tx_mingle.type,
    (message) =>
      closeOutputs(decodeMessage(REQUESTS.sign_htlc_tx_mingle, message).inputs),
  ],
]);

/** The lines that a request of this type leaves in the log. */
export function linesFor(type: number, message: Uint8Array): readonly Line[] {
  return MAKERS.get(type)?.(message) ?? [];
}
