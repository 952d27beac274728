/**
 * Frames between broker and signer: the worked example, the limits, and a
 * recorded session of a signer that is out there.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DecodeError } from "../../src/errors.ts";
import { replyRow, requestRow } from "../../src/wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  messageType,
  type Row,
} from "../../src/wire/message.ts";
import { NOBODY, type NodeId } from "../../src/wire/types.ts";
import {
  decodeSignerError,
  decodeSignerRequest,
  decodeSignerResponse,
  encodeSignerError,
  encodeSignerRequest,
  encodeSignerResponse,
  SIGNER_MESSAGES,
  VLS_MESSAGE_LIMIT,
} from "../../src/wire/vls.ts";
import { hex } from "../support/codec_cases.ts";
import { readSignerSession } from "../support/recording.ts";

const EXAMPLE = hex(
  "aa55 0102 0383aa8097141f4fe8eddb0a6f8b871a3b4d6ba5dd5fca64bc0b5d61f8ace6" +
    "fdaf 0000000000000005 0000000a 0012 0000000000000001",
);

Deno.test("A signer request is the worked example's bytes", () => {
  const request = {
    sequence: 0x0102,
    peerId: EXAMPLE.slice(4, 37) as Uint8Array as NodeId,
    dbid: 5n,
    message: hex("0012 0000000000000001"),
  };
  assert.equal(EXAMPLE.length, 59);
  assert.deepEqual(encodeSignerRequest(request), EXAMPLE);
  assert.deepEqual(decodeSignerRequest(EXAMPLE), request);
});

Deno.test("A signer response is the worked example's shape", () => {
  const message = hex("0076" + "02".repeat(33) + "00");
  const frame = encodeSignerResponse({ sequence: 0x0102, message });
  assert.equal(frame.subarray(0, 8).toHex(), "5aa5010200000024");
  assert.deepEqual(decodeSignerResponse(frame), { sequence: 0x0102, message });
});

Deno.test("A signer frame is refused cut, longer, or with the other's magic", () => {
  const response = encodeSignerResponse({ sequence: 1, message: hex("0085") });
  const frames = [
    { whole: EXAMPLE, decode: decodeSignerRequest },
    { whole: response, decode: decodeSignerResponse },
  ];
  for (const { whole, decode } of frames) {
    const parts = whole.keys().map((size) => whole.slice(0, size));
    const turned = Uint8Array.of(
      ...whole.slice(0, 2).reverse(),
      ...whole.slice(2),
    );
    for (const bad of [...parts, Uint8Array.of(...whole, 0), turned]) {
      assert.throws(() => decode(bad), DecodeError);
    }
  }
});

Deno.test("A signer message has 2 bytes at least and the limit at most", () => {
  const frame = (size: number) =>
    encodeSignerResponse({ sequence: 1, message: new Uint8Array(size) });
  for (const size of [2, VLS_MESSAGE_LIMIT]) {
    assert.equal(decodeSignerResponse(frame(size)).message.length, size);
  }
  for (const size of [0, 1, VLS_MESSAGE_LIMIT + 1]) {
    assert.throws(() => decodeSignerResponse(frame(size)), DecodeError);
  }
  const larger = frame(VLS_MESSAGE_LIMIT + 1);
  const limit = VLS_MESSAGE_LIMIT + 1;
  assert.equal(decodeSignerResponse(larger, limit).message.length, limit);
});

Deno.test("A sequence number has 16 bits", () => {
  const message = hex("0085");
  for (const sequence of [-1, 0x1_0000]) {
    assert.throws(
      () => encodeSignerResponse({ sequence, message }),
      RangeError,
    );
    const request = { sequence, peerId: NOBODY, dbid: 0n, message };
    assert.throws(() => encodeSignerRequest(request), RangeError);
  }
});

Deno.test("A signer error is a code and a text", () => {
  const bytes = hex("0bb8 0191 6e6f00");
  const error = { code: 401, message: hex("6e6f") };
  assert.deepEqual(encodeSignerError(error), bytes);
  assert.deepEqual(decodeSignerError(bytes), error);
  assert.throws(
    () => decodeSignerError(hex("0bb8 0191 6e6f00 00")),
    DecodeError,
  );
});

const SIGNER_ROWS = Object.values<unknown>(SIGNER_MESSAGES) as Row[];

/** The row of a message in a session with a signer, where we have one. */
function findRow(message: Uint8Array): Row | undefined {
  const type = messageType(message) ?? -1;
  return requestRow(type) ?? replyRow(type) ??
    SIGNER_ROWS.find((row) => row.type === type);
}

Deno.test("A recorded session of a VLS signer comes back byte for byte", () => {
  const names = new Set<string>();
  for (const { topic, payload } of readSignerSession()) {
    const isRequest = topic === "vls" || topic === "init-3-msg";
    if (!isRequest && topic !== "vls-res" && topic !== "init-3-res") continue;
    const message = isRequest ? checkRequest(payload) : checkResponse(payload);
    const row = findRow(message);
    if (row === undefined) continue;
    names.add(row.name);
    const value = decodeMessage(row, message, { isStrict: true });
    assert.equal(encodeMessage(row, value).toHex(), message.toHex(), row.name);
  }
  assert.ok(names.isSupersetOf(new Set(["init", "ping", "pong", "ecdh_req"])));
});

function checkRequest(payload: Uint8Array): Uint8Array {
  const request = decodeSignerRequest(payload);
  assert.deepEqual(encodeSignerRequest(request), Uint8Array.from(payload));
  return request.message;
}

function checkResponse(payload: Uint8Array): Uint8Array {
  const response = decodeSignerResponse(payload);
  assert.deepEqual(encodeSignerResponse(response), Uint8Array.from(payload));
  return response.message;
}
