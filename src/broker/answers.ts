/**
 * What a device's message means for the request that it answers.
 *
 * @module
 */

import { SIGNER_ERROR_CODES } from "../errors.ts";
import type { Answer } from "../unixfd.ts";
import { REPLIES, replyRow, REQUESTS } from "../wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
  type RequestRow,
} from "../wire/message.ts";
import { decodeSignerError, SIGNER_ERROR_TYPE } from "../wire/vls.ts";

/** An answer that is a reply. */
export function replyWith(message: Uint8Array): Answer {
  return { kind: "reply", message };
}

/** An answer to a request that the stock hsmd would not have taken. */
export function bad(reason: string): Answer {
  return { kind: "bad", reason };
}

/**
 * The answer in a device's message; null when it is none to this request.
 *
 * @throws {DecodeError} when it has the right number and not its form
 */
export function readAnswer(
  row: RequestRow,
  message: Uint8Array,
): Answer | null {
  const type = messageType(message);
  if (type === SIGNER_ERROR_TYPE) {
    const { code, message: text } = decodeSignerError(message);
    const reason = printable(text);
    return code === SIGNER_ERROR_CODES.badRequest
      ? bad(reason)
      : { kind: "refused", reason };
  }
  const reply = type === null ? undefined : replyRow(type);
  if (reply === undefined || !row.replies.includes(reply.type)) return null;
  decodeMessage(reply, message);
  return replyWith(message);
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
