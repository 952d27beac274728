/**
 * What a device's message means for the request that it answers.
 *
 * @module
 */

import type { Answer } from "../unixfd.ts";
import { REPLIES, replyRow, REQUESTS } from "../wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
  type RequestRow,
  type Row,
} from "../wire/message.ts";
import { statusText } from "../wire/status.ts";
import { SIGNER_MESSAGES } from "../wire/vls.ts";

/** An answer that is a reply. */
export function replyWith(message: Uint8Array): Answer {
  return { kind: "reply", message };
}

/** An answer to a request that the stock hsmd would not have taken. */
export function bad(reason: string): Answer {
  return { kind: "bad", reason };
}

/**
 * The reply in a device's message; null when it is none to this request.
 *
 * @throws {DecodeError} when it has the right number and not its form
 */
export function readAnswer(
  row: RequestRow,
  message: Uint8Array,
): Answer | null {
  const type = messageType(message);
  if (type === null || !row.replies.includes(type)) return null;
  const reply = replyRow(type) ?? ownReply(type);
  if (reply === undefined) return null;
  decodeMessage(reply, message);
  return replyWith(message);
}

/** The reply to a question of the broker's own. */
function ownReply(type: number): Row | undefined {
  const { fee_reference_reply: row } = SIGNER_MESSAGES;
  return row.type === type ? row : undefined;
}

/** lightningd's exit code when its init fails and nobody knows better. */
const EXIT_HSM_GENERIC = 20;

/** init did not work: lightningd shows the text and ends. */
export function initFailure(text: string): Answer {
  return replyWith(encodeMessage(REPLIES.init_reply_failure, {
    errorCode: EXIT_HSM_GENERIC,
    errorMessage: statusText(text),
  }));
}

/** init with the version that was agreed on, for every later session. */
export function pinVersion(
  init: Uint8Array,
  initReply: Uint8Array,
): Uint8Array {
  if (messageType(initReply) !== REPLIES.init_reply_v4.type) return init;
  const { hsmVersion } = decodeMessage(REPLIES.init_reply_v4, initReply);
  return encodeMessage(REQUESTS.init, {
    ...decodeMessage(REQUESTS.init, init),
    hsmWireMinVersion: hsmVersion,
    hsmWireMaxVersion: hsmVersion,
  });
}

const LONGEST_FOREIGN_TEXT = 500;

/** Text of a device, fit for a log line of ours. */
export function printable(bytes: Uint8Array): string {
  const start = bytes.subarray(0, LONGEST_FOREIGN_TEXT);
  // deno-lint-ignore no-control-regex
  const controls = /[\u0000-\u001f\u007f]/g;
  return new TextDecoder().decode(start).replace(controls, " ").trim();
}
