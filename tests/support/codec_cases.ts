/**
 * The three lists that test a codec: pairs that go both ways, values that must
 * not be written, bytes that must not be read. Each good pair is also cut at
 * every byte, made longer by one, and fed byte by byte as a frame.
 *
 * @module
 */

import assert from "node:assert/strict";
import { DecodeError } from "../../src/errors.ts";
import { type Codec, decode, encode } from "../../src/wire/codec.ts";
import { encodeFrame, FrameSplitter } from "../../src/wire/frame.ts";

/** What is known about a codec. */
export interface CodecCases<T> {
  readonly codec: Codec<T>;
  /** Values and their bytes in hex. */
  readonly good: readonly (readonly [T, string])[];
  /** Values that the encoder refuses. */
  readonly badValues?: readonly T[];
  /** Bytes in hex that the decoder refuses. */
  readonly badBytes?: readonly string[];
  /** Whether a part of an encoding may be one itself, as in a TLV stream. */
  readonly isOpenEnded?: boolean;
}

/** Bytes of a hex text; spaces are for the reader. */
export function hex(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.fromHex(text.replaceAll(" ", ""));
}

/** Declares the tests of a codec. */
export function testCodec<T>(name: string, cases: CodecCases<T>): void {
  const { codec, good, badValues = [], badBytes = [] } = cases;
  Deno.test(`${name} reads and writes what it should`, () => {
    for (const [value, text] of good) {
      assert.equal(encode(codec, value).toHex(), text.replaceAll(" ", ""));
      assert.deepEqual(decode(codec, hex(text)), value);
      checkSize(codec, hex(text).length);
      checkOtherSizes(cases, hex(text));
      assert.deepEqual(byteByByte(hex(text)), hex(text));
    }
  });
  if (badValues.length > 0) {
    Deno.test(`${name} refuses to write what does not fit`, () => {
      for (const value of badValues) {
        assert.throws(() => encode(codec, value), RangeError);
      }
    });
  }
  if (badBytes.length > 0) {
    Deno.test(`${name} refuses to read what it would not write`, () => {
      for (const text of badBytes) {
        assert.throws(() => decode(codec, hex(text)), DecodeError, text);
      }
    });
  }
}

function checkSize(codec: Codec<unknown>, size: number): void {
  const text = `${size} bytes, want ${codec.minSize} to ${codec.maxSize}`;
  assert.ok(codec.minSize <= size && size <= codec.maxSize, text);
}

/** No part of an encoding and no byte more may pass for one. */
function checkOtherSizes<T>(
  { codec, isOpenEnded = false }: CodecCases<T>,
  whole: Uint8Array,
): void {
  const parts = whole.keys().map((size) => whole.subarray(0, size));
  for (const other of [...parts, Uint8Array.of(...whole, 0)]) {
    try {
      decode(codec, other);
      assert.ok(isOpenEnded, `${other.toHex()} passes for ${codec.name}`);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
    }
  }
}

/** What comes out of a splitter that gets a frame in pieces of one byte. */
function byteByByte(payload: Uint8Array): Uint8Array | null {
  const splitter = new FrameSplitter();
  for (const byte of encodeFrame(payload)) {
    assert.equal(splitter.take(), null);
    splitter.push(Uint8Array.of(byte));
  }
  const taken = splitter.take();
  assert.equal(splitter.isInside, false);
  return taken;
}
