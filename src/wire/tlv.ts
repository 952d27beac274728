/**
 * BigSize integers and TLV streams (BOLT 1): the open end of a message, where
 * later releases add fields that older readers may or may not skip.
 *
 * Rules kept here: BigSize is minimal, types strictly rise, an unknown odd type
 * is skipped, an unknown even type fails the whole message, a record's value
 * fills its length.
 *
 * @module
 */

import {
  type Codec,
  encode,
  type Reader,
  type TlvRecord,
  type ValueOf,
  type Writer,
} from "./codec.ts";

/** BOLT 1 BigSize: one, three, five or nine bytes, always the shortest. */
export function writeBigSize(writer: Writer, value: bigint): void {
  if (value < 0xfdn) return writer.u8(Number(value));
  if (value <= 0xffffn) {
    writer.u8(0xfd);
    return writer.u16(Number(value));
  }
  if (value <= 0xffff_ffffn) {
    writer.u8(0xfe);
    return writer.u32(Number(value));
  }
  writer.u8(0xff);
  writer.u64(value);
}

const BIGSIZE_FORMS = [
  { lead: 0xfd, least: 0xfdn, read: (r: Reader) => BigInt(r.u16()) },
  { lead: 0xfe, least: 0x1_0000n, read: (r: Reader) => BigInt(r.u32()) },
  { lead: 0xff, least: 0x1_0000_0000n, read: (r: Reader) => r.u64() },
] as const;

/** Reads a BigSize; a longer form than needed is an error. */
export function readBigSize(reader: Reader): bigint {
  const lead = reader.u8();
  const form = BIGSIZE_FORMS.find((candidate) => candidate.lead === lead);
  if (form === undefined) return BigInt(lead);
  const value = form.read(reader);
  if (value < form.least) {
    reader.fail(`BigSize ${value} in a long form, want the shortest`);
  }
  return value;
}

// deno-lint-ignore no-explicit-any
type Records = Record<string, { readonly type: number; codec: Codec<any> }>;

/** The values of a TLV stream: absent records are absent properties. */
export type TlvValue<R extends Records> = {
  readonly [K in keyof R]?: ValueOf<R[K]["codec"]>;
};

/** A TLV stream that runs to the end of the message. */
export function tlvs<const R extends Records>(
  name: string,
  records: R,
): Codec<TlvValue<R>> {
  const sorted = Object.entries<TlvRecord>(records)
    .sort(([, a], [, b]) => a.type - b.type);
  const byType = new Map(
    sorted.map(([key, record]) => [BigInt(record.type), { key, ...record }]),
  );
  return {
    name,
    minSize: 0,
    maxSize: Infinity,
    shape: { kind: "tlvs", records },
    encode(writer, value) {
      for (const [key, record] of sorted) {
        const field: unknown = value[key];
        if (field === undefined) continue;
        const bytes = encode(record.codec, field);
        writeBigSize(writer, BigInt(record.type));
        writeBigSize(writer, BigInt(bytes.length));
        writer.bytes(bytes);
      }
    },
    decode(reader) {
      const value: Record<string, unknown> = {};
      let last = -1n;
      while (reader.remaining > 0) {
        const type = readBigSize(reader);
        if (type <= last) {
          reader.fail(`type ${type} after ${last}, want rising`);
        }
        last = type;
        const size = readSize(reader);
        const record = byType.get(type);
        if (record !== undefined) {
          value[record.key] = reader.within(
            record.key,
            () => reader.window(size, () => record.codec.decode(reader)),
          );
        } else if (type % 2n === 0n) {
          reader.fail(`unknown even type ${type}, want a known or an odd one`);
        } else {
          reader.bytes(size);
        }
      }
      // Each key was read by the codec that R names for it.
      return value as TlvValue<R>;
    },
  };
}

/** A record's length, checked before anything is done with it. */
function readSize(reader: Reader): number {
  const size = readBigSize(reader);
  if (size > BigInt(reader.remaining)) {
    reader.fail(`${reader.remaining} bytes left, want ${size}`);
  }
  return Number(size);
}
