/**
 * Values for any codec: walks its shape and builds a generator for fast-check,
 * so that a new row of a table is tested without a new line of test.
 *
 * Points come from a short list of true ones, because whoever decodes further
 * than the codec does asks whether they are on the curve.
 *
 * @module
 */

import fc from "npm:fast-check@4.10.2";
import type { Codec, Shape, TlvRecord } from "../../src/wire/codec.ts";
import type { Row } from "../../src/wire/message.ts";

/** Points of secp256k1: one, two and three times the generator, and two keys. */
export const POINTS: readonly Uint8Array[] = [
  "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798",
  "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5",
  "02f9308a019258c31049344f85f89d5229b531c845836f99b08601f113bce036f9",
  "0383aa8097141f4fe8eddb0a6f8b871a3b4d6ba5dd5fca64bc0b5d61f8ace6fdaf",
  "039d3dc44e94554a845cf4fbc2afd69bba2ed1562b37851b8edc4bee7ed6580d9c",
].map((hex) => Uint8Array.fromHex(hex));

const RUNS = 100;
const SLOW_FACTOR = 20;

/** How often a property runs: SLOW=1 multiplies it by 20. */
export function runs(count: number = RUNS): number {
  return Deno.env.get("SLOW") === "1" ? count * SLOW_FACTOR : count;
}

/** Values that `codec` can encode. */
export function arbitrary<T>(codec: Codec<T>): fc.Arbitrary<T> {
  // The shape describes the values of the codec that it belongs to.
  return fromShape(codec.shape) as fc.Arbitrary<T>;
}

/** Bodies of a row's message. */
export function messageArbitrary(row: Row): fc.Arbitrary<MessageBody> {
  return arbitrary(row.body);
}

/** The fields of a message whose row is not looked at. */
export type MessageBody = Readonly<Record<string, unknown>>;

/** Bytes up to `most`, small as a rule. */
export function bytes(most: number): fc.Arbitrary<Uint8Array> {
  return fc.uint8Array({ maxLength: most });
}

function fromShape(shape: Shape): fc.Arbitrary<unknown> {
  switch (shape.kind) {
    case "uint":
      return uint(shape.bits);
    case "bool":
      return fc.boolean();
    case "choice":
      return fc.constantFrom(...shape.values);
    case "bytes":
      return fc.uint8Array({ minLength: shape.size, maxLength: shape.size });
    case "point":
      return fc.constantFrom(...POINTS);
    case "varBytes":
      return fc.oneof({ weight: 9, arbitrary: bytes(200) }, {
        weight: 1,
        arbitrary: fc.integer({ min: 1000, max: 0xffff })
          .map((size) => new Uint8Array(size).fill(size)),
      });
    case "text":
      return fc.array(fc.integer({ min: 0x20, max: 0xff }), { maxLength: 60 })
        .map((codes) => Uint8Array.from(codes));
    case "list":
      return fc.array(arbitrary(shape.item), { maxLength: 12 });
    case "option":
      return fc.option(arbitrary(shape.item));
    case "struct":
      return fc.record(mapValues(shape.fields, arbitrary), {
        noNullPrototype: true,
      });
    case "tlvs":
      return tlvArbitrary(shape.records);
  }
}

function uint(bits: 8 | 16 | 32 | 64): fc.Arbitrary<number | bigint> {
  return bits === 64
    ? fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
    : fc.integer({ min: 0, max: 2 ** bits - 1 });
}

/** Each record may be absent; then so is its property. */
function tlvArbitrary(
  records: Readonly<Record<string, TlvRecord>>,
): fc.Arbitrary<unknown> {
  const values = mapValues(records, ({ codec }) => arbitrary(codec));
  return fc.record(values, { requiredKeys: [], noNullPrototype: true });
}

function mapValues<T, U>(
  record: Readonly<Record<string, T>>,
  change: (value: T) => U,
): Record<string, U> {
  const entries = Object.entries(record)
    .map(([key, value]) => [key, change(value)] as const);
  return Object.fromEntries(entries);
}
