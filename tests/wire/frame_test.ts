/**
 * The splitter gives back what was framed, however the stream is cut, and does
 * not spend more than it was given.
 *
 * @module
 */

import assert from "node:assert/strict";
import fc from "npm:fast-check@4.10.2";
import { DecodeError } from "../../src/errors.ts";
import {
  encodeFrame,
  FRAME_LIMIT,
  FrameSplitter,
} from "../../src/wire/frame.ts";
import { bytes, runs } from "../support/arbitrary.ts";
import { hex } from "../support/codec_cases.ts";

/** Everything that can be taken now. */
function takeAll(splitter: FrameSplitter): Uint8Array[] {
  const payloads: Uint8Array[] = [];
  for (
    let payload = splitter.take();
    payload !== null;
    payload = splitter.take()
  ) payloads.push(payload);
  return payloads;
}

Deno.test("A frame is the length of its payload, then the payload", () => {
  assert.deepEqual(encodeFrame(hex("0011 aa")), hex("00000003 0011aa"));
  assert.deepEqual(encodeFrame(hex("")), hex("00000000"));
});

Deno.test("Many frames in one chunk come out one after another", () => {
  const splitter = new FrameSplitter();
  splitter.push(hex("00000001 aa 00000000 00000002 bbcc 00000001"));
  assert.deepEqual(takeAll(splitter), [hex("aa"), hex(""), hex("bbcc")]);
  assert.equal(splitter.isInside, true);
  splitter.push(hex("dd"));
  assert.deepEqual(takeAll(splitter), [hex("dd")]);
  assert.equal(splitter.isInside, false);
});

Deno.test("A frame comes out with its last byte and not before", () => {
  const splitter = new FrameSplitter();
  for (const byte of hex("00000003 0011")) {
    splitter.push(Uint8Array.of(byte));
    assert.equal(splitter.take(), null);
    assert.equal(splitter.isInside, true);
  }
  splitter.push(hex("aa"));
  assert.deepEqual(splitter.take(), hex("0011aa"));
  assert.equal(splitter.take(), null);
});

Deno.test("Nothing at all is not inside of a frame", () => {
  const splitter = new FrameSplitter();
  splitter.push(hex(""));
  assert.equal(splitter.isInside, false);
  assert.equal(splitter.take(), null);
});

Deno.test("A frame that announces too much is refused at its length", () => {
  for (const announced of [FRAME_LIMIT, FRAME_LIMIT + 1, 2 ** 32 - 1]) {
    const splitter = new FrameSplitter();
    const header = new Uint8Array(4);
    new DataView(header.buffer).setUint32(0, announced);
    splitter.push(header.subarray(0, 3));
    assert.equal(splitter.take(), null);
    splitter.push(header.subarray(3));
    assert.throws(() => splitter.take(), DecodeError);
  }
});

Deno.test("The limit itself is refused and one byte less is taken", () => {
  const fits = new FrameSplitter(4);
  fits.push(hex("00000003 010203"));
  assert.deepEqual(fits.take(), hex("010203"));
  const tooLong = new FrameSplitter(4);
  tooLong.push(hex("00000004"));
  assert.throws(() => tooLong.take(), {
    name: "DecodeError",
    message: "Cannot decode frame.length at 0: 4 bytes, want less than 4",
  });
});

Deno.test("An announced length costs no memory before its bytes arrive", () => {
  const splitters = Array.from({ length: 2000 }, () => {
    const splitter = new FrameSplitter();
    // 128 MB each, if it were believed.
    splitter.push(hex("07ffffff"));
    assert.equal(splitter.take(), null);
    return splitter;
  });
  assert.ok(splitters.every(({ isInside }) => isInside));
});

Deno.test("A payload does not change with the chunk or with what comes later", () => {
  const splitter = new FrameSplitter();
  const chunk = hex("00000002 0102");
  splitter.push(chunk);
  chunk.fill(0xff);
  const first = splitter.take();
  splitter.push(hex("00000002 0304"));
  splitter.take();
  assert.deepEqual(first, hex("0102"));
});

Deno.test("The same payloads come out however the stream is cut", () => {
  const payloads = fc.array(bytes(300), { maxLength: 12 });
  const cuts = fc.array(fc.integer({ min: 0, max: 400 }), { minLength: 1 });
  const same = fc.property(
    payloads,
    cuts,
    fc.boolean(),
    (sent, sizes, late) => {
      const stream = Uint8Array.from(sent.flatMap((p) => [...encodeFrame(p)]));
      const splitter = new FrameSplitter();
      const taken: Uint8Array[] = [];
      for (let at = 0, i = 0; at < stream.length; i++) {
        // A size of zero is a chunk without bytes; it happens once in a row.
        const size = Math.max(sizes[i % sizes.length] ?? 1, i % 2);
        splitter.push(stream.subarray(at, at + size));
        at += size;
        if (!late) taken.push(...takeAll(splitter));
      }
      taken.push(...takeAll(splitter));
      assert.deepEqual(taken, sent);
      assert.equal(splitter.isInside, false);
    },
  );
  fc.assert(same, { numRuns: runs() });
});

// Linear work takes some ten milliseconds here; quadratic work takes minutes.
const PATIENCE_MS = 10_000;

Deno.test("A large frame in small chunks costs linear work", () => {
  const frame = encodeFrame(new Uint8Array(8 * 2 ** 20).fill(7));
  const splitter = new FrameSplitter();
  const start = performance.now();
  let taken: Uint8Array | null = null;
  for (let at = 0; at < frame.length; at += 64) {
    splitter.push(frame.subarray(at, at + 64));
    taken = splitter.take();
  }
  assert.equal(taken?.length, frame.length - 4);
  assert.ok(performance.now() - start < PATIENCE_MS);
});

Deno.test("A backlog of small frames costs linear work", () => {
  const frame = encodeFrame(new Uint8Array(60));
  const backlog = new Uint8Array(frame.length * 2 ** 17);
  for (let at = 0; at < backlog.length; at += frame.length) {
    backlog.set(frame, at);
  }
  const splitter = new FrameSplitter();
  splitter.push(backlog);
  const start = performance.now();
  for (let i = 0; i < 2 ** 17; i++) {
    splitter.push(frame);
    assert.equal(splitter.take()?.length, 60);
  }
  assert.ok(performance.now() - start < PATIENCE_MS);
});
