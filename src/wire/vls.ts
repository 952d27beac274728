/**
 * Frames between broker and signer (VLS, vls-protocol/src/msgs.rs), and the
 * messages that only signers know.
 *
 * A request says on whose behalf it is made; a response repeats the sequence
 * number and nothing else. Inside is an hsmd message as lightningd sent it.
 *
 * @module
 */

import { Reader, u16, u32, u64, wirestring, Writer } from "./codec.ts";
import {
  decodeMessage,
  encodeMessage,
  type MessageOf,
  reply,
  request,
  table,
} from "./message.ts";
import { extKey, type NodeId, nodeId } from "./types.ts";

/** Largest message that VLS signers take, in bytes: type and body. */
export const VLS_MESSAGE_LIMIT: number = 128 * 1024;

const REQUEST_MAGIC = 0xaa55;
const RESPONSE_MAGIC = 0x5aa5;

/** A request on its way to a signer. */
export interface SignerRequest {
  /** u16; which counter it comes from is the session's business. */
  readonly sequence: number;
  /** Peer of the connection that asked; 33 zero bytes for lightningd itself. */
  readonly peerId: NodeId;
  /** Channel of the connection that asked; 0 for none. */
  readonly dbid: bigint;
  /** u16 type, then body. */
  readonly message: Uint8Array;
}

/** What a signer answers. */
export interface SignerResponse {
  readonly sequence: number;
  readonly message: Uint8Array;
}

/** `aa55`, sequence, peer, dbid, length, message. */
export function encodeSignerRequest(
  request: SignerRequest,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.u16(REQUEST_MAGIC);
  u16.encode(writer, request.sequence);
  nodeId.encode(writer, request.peerId);
  writer.u64(request.dbid);
  writer.u32(request.message.length);
  writer.bytes(request.message);
  return writer.finish();
}

/** @throws {DecodeError} for anything that is not exactly one request frame */
export function decodeSignerRequest(
  bytes: Uint8Array,
  limit: number = VLS_MESSAGE_LIMIT,
): SignerRequest {
  const reader = new Reader(bytes, "signer request");
  return reader.window(bytes.length, () => {
    readMagic(reader, REQUEST_MAGIC);
    return {
      sequence: reader.u16(),
      peerId: nodeId.decode(reader),
      dbid: reader.u64(),
      message: readBody(reader, limit),
    };
  });
}

/** `5aa5`, sequence, length, message. */
export function encodeSignerResponse(
  { sequence, message }: SignerResponse,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.u16(RESPONSE_MAGIC);
  u16.encode(writer, sequence);
  writer.u32(message.length);
  writer.bytes(message);
  return writer.finish();
}

/** @throws {DecodeError} for anything that is not exactly one response frame */
export function decodeSignerResponse(
  bytes: Uint8Array,
  limit: number = VLS_MESSAGE_LIMIT,
): SignerResponse {
  const reader = new Reader(bytes, "signer response");
  return reader.window(bytes.length, () => {
    readMagic(reader, RESPONSE_MAGIC);
    return { sequence: reader.u16(), message: readBody(reader, limit) };
  });
}

function readMagic(reader: Reader, wanted: number): void {
  const found = reader.u16();
  if (found === wanted) return;
  reader.fail(`magic ${found.toString(16)}, want ${wanted.toString(16)}`, 0);
}

function readBody(reader: Reader, limit: number): Uint8Array {
  const length = reader.u32();
  if (length < 2 || length > limit) {
    reader.fail(`message of ${length} bytes, want 2 to ${limit}`);
  }
  return reader.bytes(length);
}

const nowhere = { permission: 0, replies: [] };

/** Messages that CLN does not have, VLS's and ours, sorted by number. */
export const SIGNER_MESSAGES = table({
  ping: request(1000, { id: u16, message: wirestring }, nowhere),
  node_info: request(1012, {}, nowhere),
  pong: reply(1100, { id: u16, message: wirestring }),
  node_info_reply: reply(1112, {
    network: wirestring,
    nodeId,
    bip32: extKey,
  }),
  /** The only reply that says no: a code, and words for the operator. */
  signer_error: reply(3000, { code: u16, message: wirestring }),
  /**
   * Ours, for native devices: what transactions cost at this time (Unix,
   * seconds), from the node's bitcoind. A device believes it within its owner's
   * ceiling only.
   */
  fee_reference: request(3100, { feeratePerKw: u32, time: u64 }, {
    permission: 0,
    replies: [3101],
  }),
  fee_reference_reply: reply(3101, {}),
});

/** The number of a signer error, as the first two bytes of a reply. */
export const SIGNER_ERROR_TYPE = 3000;

/** A signer error as it travels. */
export type SignerError = MessageOf<typeof SIGNER_MESSAGES.signer_error>;

/** What transactions cost, as the broker tells it. */
export type FeeReference = MessageOf<typeof SIGNER_MESSAGES.fee_reference>;

/** Reads a signer error. @throws {DecodeError} */
export function decodeSignerError(message: Uint8Array): SignerError {
  return decodeMessage(SIGNER_MESSAGES.signer_error, message, {
    isStrict: true,
  });
}

/** Writes a signer error. */
export function encodeSignerError(error: SignerError): Uint8Array<ArrayBuffer> {
  return encodeMessage(SIGNER_MESSAGES.signer_error, error);
}
