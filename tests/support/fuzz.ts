/**
 * Generators for bytes that nobody promised anything about, and what must hold
 * for every decoder: a value or a DecodeError, never another throw; and a value
 * survives being written and read again.
 *
 * tests/wire/fuzz_test.ts runs them for a moment, scripts/fuzz.ts for hours.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError } from "../../src/errors.ts";
import {
  decodeControl,
  decodeHello,
  encodeControl,
  encodeHello,
  nativeControl,
  nativeHello,
} from "../../src/wire/control.ts";
import { encodeFrame, FrameSplitter } from "../../src/wire/frame.ts";
import { REPLIES, REQUESTS } from "../../src/wire/hsmd.ts";
import {
  decodeMessage,
  encodeMessage,
  type Row,
} from "../../src/wire/message.ts";
import { STATUS } from "../../src/wire/status.ts";
import {
  decodeSignerRequest,
  decodeSignerResponse,
  encodeSignerRequest,
  encodeSignerResponse,
  SIGNER_MESSAGES,
} from "../../src/wire/vls.ts";
import { arbitrary, bytes, messageArbitrary, POINTS } from "./arbitrary.ts";

/** A decoder under fire. */
export interface Target {
  readonly name: string;
  readonly input: fc.Arbitrary<Uint8Array>;
  /** Throws when the decoder does not keep its promise for these bytes. */
  readonly check: (input: Uint8Array) => void;
}

/** Every row of every table: requests, replies, status, signer messages. */
export const ALL_ROWS: readonly Row[] = [
  REQUESTS,
  REPLIES,
  STATUS,
  SIGNER_MESSAGES,
].flatMap((rows) => Object.values<unknown>(rows) as Row[]);

/** Every decoder of the wire folder. */
export const TARGETS: readonly Target[] = [
  ...ALL_ROWS.map(rowTarget),
  {
    name: "signer request frame",
    input: damaged(
      signerFrame().map((message) =>
        encodeSignerRequest({
          sequence: message.length,
          // A node id is any 33 bytes: a point will do.
          peerId: POINTS[0] as Parameters<
            typeof encodeSignerRequest
          >[0]["peerId"],
          dbid: 1n,
          message,
        })
      ),
    ),
    check: (input) =>
      checkRoundTrip(input, decodeSignerRequest, encodeSignerRequest),
  },
  {
    name: "signer response frame",
    input: damaged(
      signerFrame().map((message) =>
        encodeSignerResponse({ sequence: message.length, message })
      ),
    ),
    check: (input) =>
      checkRoundTrip(input, decodeSignerResponse, encodeSignerResponse),
  },
  {
    name: "native hello",
    input: damaged(
      arbitrary(nativeHello).map((hello) => encodeHello(hello.tlvs)),
    ),
    check(input) {
      const hello = valueOrNull(() => decodeHello(input));
      if (hello === null) return;
      assert.deepEqual(decodeHello(encodeHello(hello)), hello);
    },
  },
  {
    name: "native control",
    input: damaged(
      arbitrary(nativeControl).map((control) => encodeControl(control.tlvs)),
    ),
    check: (input) => {
      const control = valueOrNull(() => decodeControl(input));
      if (control === null) return;
      assert.deepEqual(decodeControl(encodeControl(control)), control);
    },
  },
  {
    name: "length frames",
    input: damaged(
      fc.array(bytes(40), { maxLength: 6 })
        .map((payloads) => join(payloads.map(encodeFrame))),
    ),
    check: checkFrames,
  },
];

/** Gives a decoder `count` inputs; returns what is wrong, or null. */
export function runBurst(
  { input, check }: Target,
  { seed, count }: { readonly seed: number; readonly count: number },
): string | null {
  const details = fc.check(fc.property(input, check), { seed, numRuns: count });
  return details.failed ? fc.defaultReportMessage(details) ?? "failed" : null;
}

function rowTarget(row: Row): Target {
  const whole = messageArbitrary(row).map((value) => encodeMessage(row, value));
  return {
    name: `${row.name} (${row.type})`,
    input: damaged(whole).map((input) => withType(input, row.type)),
    check(input) {
      const value = valueOrNull(() => decodeMessage(row, input));
      if (value === null) return;
      const again = decodeMessage(row, encodeMessage(row, value), {
        isStrict: true,
      });
      assert.deepEqual(again, value);
    },
  };
}

function signerFrame(): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ minLength: 2, maxLength: 80 });
}

/** Any bytes, and good ones: whole, cut, longer, with some bytes changed. */
function damaged(good: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> {
  const place = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
  const change = fc.tuple(place, fc.integer({ min: 0, max: 0xff }));
  const changes = fc.array(change, { maxLength: 4 });
  return fc.oneof(
    bytes(300),
    fc.tuple(good, bytes(6)).map(([whole, more]) => join([whole, more])),
    fc.tuple(good, place).map(([whole, part]) =>
      whole.slice(0, Math.floor(part * whole.length))
    ),
    fc.tuple(good, changes).map(([whole, list]) => {
      const changed = whole.slice();
      for (const [at, byte] of list) {
        changed[Math.floor(at * whole.length)] = byte;
      }
      return changed;
    }),
  );
}

/** The same bytes as this message: otherwise its number stops most of them. */
function withType(input: Uint8Array, type: number): Uint8Array {
  const typed = input.slice();
  if (typed.length >= 2) new DataView(typed.buffer).setUint16(0, type);
  return typed;
}

/** What was read, or null when the bytes were refused in the declared way. */
function valueOrNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

/** For frames, where only one encoding of a value exists. */
function checkRoundTrip<T>(
  input: Uint8Array,
  decode: (bytes: Uint8Array) => T,
  encode: (value: T) => Uint8Array,
): void {
  const value = valueOrNull(() => decode(input));
  if (value !== null) assert.deepEqual(encode(value), Uint8Array.from(input));
}

/** However a stream is cut into chunks, the same payloads come out. */
function checkFrames(input: Uint8Array): void {
  const whole = split(input, input.length);
  for (const size of [1, 3, 7]) assert.deepEqual(split(input, size), whole);
}

function split(input: Uint8Array, size: number): unknown[] {
  const splitter = new FrameSplitter(64);
  const payloads: Uint8Array[] = [];
  for (let at = 0; at < input.length; at += Math.max(1, size)) {
    splitter.push(input.subarray(at, at + size));
    const isRefused = valueOrNull(() => takeAll(splitter, payloads)) === null;
    if (isRefused) return [...payloads, "refused"];
  }
  return [...payloads, splitter.isInside];
}

function takeAll(splitter: FrameSplitter, payloads: Uint8Array[]): true {
  for (
    let payload = splitter.take();
    payload !== null;
    payload = splitter.take()
  ) payloads.push(payload);
  return true;
}

function join(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, p) => sum + p.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
