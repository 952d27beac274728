/**
 * The codec kernel: a binary format is a value that can be read and written.
 *
 * Every wire format of this program is built here from a handful of primitives
 * and combinators, so that a format is stated once and its encoder, its decoder,
 * its TypeScript type, its size bounds and its test generators cannot disagree.
 *
 * A codec enforces form, never policy: lengths, ranges and canonical encodings.
 * Whether a well-formed value makes sense is somebody else's question. All
 * integers are big-endian. Decoding is total: any bytes give a value or a
 * {@link DecodeError}, and nothing is allocated for a length that the input
 * does not have.
 *
 * //~ This kernel is hand-made although micro-packed is in the tree already: we
 * //~ need error offsets, TLV streams and a description of each format that test
 * //~ generators can walk. It costs three hundred lines and no speed worth
 * //~ measuring: a signature takes a hundred times longer than its message.
 * //~ Next: wire/types.ts gives the field's own words for the scalars.
 *
 * @module
 */

import { DecodeError } from "../errors.ts";

/** What a codec looks like from outside; test generators and docs walk this. */
export type Shape =
  | { readonly kind: "uint"; readonly bits: 8 | 16 | 32 | 64 }
  | { readonly kind: "bool" }
  | { readonly kind: "choice"; readonly values: readonly number[] }
  | { readonly kind: "bytes"; readonly size: number }
  | { readonly kind: "point" }
  | { readonly kind: "varBytes"; readonly prefix: 16 | 32 }
  | { readonly kind: "text" }
  | { readonly kind: "list"; readonly item: Codec<unknown> }
  | { readonly kind: "option"; readonly item: Codec<unknown> }
  | {
    readonly kind: "struct";
    readonly fields: Readonly<Record<string, Codec<unknown>>>;
  }
  | {
    readonly kind: "tlvs";
    readonly records: Readonly<Record<string, TlvRecord>>;
  };

/** One record of a TLV stream: its type number and what its value holds. */
export interface TlvRecord {
  readonly type: number;
  readonly codec: Codec<unknown>;
}

/** A binary format for values of type T. */
export interface Codec<T> {
  /** The type's name as the standards spell it (`u16`, `node_id`, …). */
  readonly name: string;
  readonly minSize: number;
  /** Largest encoding in bytes; Infinity where only the frame bounds it. */
  readonly maxSize: number;
  readonly shape: Shape;
  encode(writer: Writer, value: T): void;
  decode(reader: Reader): T;
}

/** The values of a codec. */
export type ValueOf<C> = C extends Codec<infer T> ? T : never;

/** Grows as it is written to. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer> = new Uint8Array(256);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  /** Claims `size` bytes at the end and returns their offset. */
  #claim(size: number): number {
    const start = this.#length;
    const wanted = start + size;
    if (wanted > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(wanted, this.#bytes.length * 2));
      grown.set(this.#bytes.subarray(0, start));
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = wanted;
    return start;
  }

  u8(value: number): void {
    const start = this.#claim(1); // may replace the view
    this.#view.setUint8(start, value);
  }

  u16(value: number): void {
    const start = this.#claim(2); // may replace the view
    this.#view.setUint16(start, value);
  }

  u32(value: number): void {
    const start = this.#claim(4); // may replace the view
    this.#view.setUint32(start, value);
  }

  u64(value: bigint): void {
    const start = this.#claim(8); // may replace the view
    this.#view.setBigUint64(start, value);
  }

  bytes(value: Uint8Array): void {
    const start = this.#claim(value.length);
    this.#bytes.set(value, start);
  }

  /** What was written so far, in a buffer of its own. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }
}

/** Walks over bytes; every failure names the message, the field and the offset. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #message: string;
  readonly #path: string[] = [];
  #offset: number;
  #end: number;

  constructor(bytes: Uint8Array, message: string, offset = 0) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#message = message;
    this.#offset = offset;
    this.#end = bytes.length;
  }

  get remaining(): number {
    return this.#end - this.#offset;
  }

  /** Throws a {@link DecodeError} for the field that is being read. */
  fail(problem: string, offset: number = this.#offset): never {
    throw new DecodeError(
      this.#message,
      this.#path.join("."),
      offset,
      problem,
    );
  }

  /** Reads a named part, so that its failures carry the name. */
  within<T>(field: string, read: () => T): T {
    this.#path.push(field);
    const value = read();
    this.#path.pop();
    return value;
  }

  /** Reads exactly `size` bytes with `read`, which must use all of them. */
  window<T>(size: number, read: () => T): T {
    const outer = this.#end;
    this.#need(size);
    this.#end = this.#offset + size;
    const value = read();
    if (this.#offset !== this.#end) {
      this.fail(`${this.remaining} bytes left over, want 0`);
    }
    this.#end = outer;
    return value;
  }

  #need(size: number): void {
    if (size > this.remaining) {
      this.fail(`${this.remaining} bytes left, want ${size}`);
    }
  }

  /** Moves over `size` bytes and returns where they start. */
  #take(size: number): number {
    this.#need(size);
    const start = this.#offset;
    this.#offset += size;
    return start;
  }

  u8(): number {
    return this.#view.getUint8(this.#take(1));
  }

  u16(): number {
    return this.#view.getUint16(this.#take(2));
  }

  u32(): number {
    return this.#view.getUint32(this.#take(4));
  }

  u64(): bigint {
    return this.#view.getBigUint64(this.#take(8));
  }

  /** A copy: what is decoded outlives the frame that it came in. */
  bytes(size: number): Uint8Array<ArrayBuffer> {
    const start = this.#take(size);
    return new Uint8Array(this.#bytes.subarray(start, start + size));
  }

  /** Distance to the next zero byte, or -1 when there is none. */
  distanceToZero(): number {
    const at = this.#bytes.indexOf(0, this.#offset);
    return at < 0 || at >= this.#end ? -1 : at - this.#offset;
  }
}

// ---------------------------------------------------------------- primitives

function uint(bits: 8 | 16 | 32): Codec<number> {
  const size = bits / 8;
  const method = `u${bits}` as const;
  const limit = 2 ** bits;
  return {
    name: method,
    minSize: size,
    maxSize: size,
    shape: { kind: "uint", bits },
    encode(writer, value) {
      if (!Number.isInteger(value) || value < 0 || value >= limit) {
        throw new RangeError(
          `Cannot encode ${method}: ${value}, want 0 to ${limit - 1}`,
        );
      }
      writer[method](value);
    },
    decode: (reader) => reader[method](),
  };
}

export const u8: Codec<number> = uint(8);
export const u16: Codec<number> = uint(16);
export const u32: Codec<number> = uint(32);

export const u64: Codec<bigint> = {
  name: "u64",
  minSize: 8,
  maxSize: 8,
  shape: { kind: "uint", bits: 64 },
  encode(writer, value) {
    if (value < 0n || value >= 1n << 64n) {
      throw new RangeError(`Cannot encode u64: ${value}, want 0 to 2^64-1`);
    }
    writer.u64(value);
  },
  decode: (reader) => reader.u64(),
};

/** One byte out of a closed list: an enum, or a sighash byte. */
export function choice<const V extends number>(
  name: string,
  values: readonly V[],
): Codec<V> {
  const find = (found: number) => values.find((value) => value === found);
  const wanted = values.join(" or ");
  return {
    name,
    minSize: 1,
    maxSize: 1,
    shape: { kind: "choice", values },
    encode(writer, value) {
      if (find(value) === undefined) {
        throw new RangeError(`Cannot encode ${name}: ${value}, want ${wanted}`);
      }
      writer.u8(value);
    },
    decode(reader) {
      const found = reader.u8();
      return find(found) ?? reader.fail(`${found}, want ${wanted}`);
    },
  };
}

/** One byte, 0 or 1 and nothing else. */
export const bool: Codec<boolean> = {
  name: "bool",
  minSize: 1,
  maxSize: 1,
  shape: { kind: "bool" },
  encode: (writer, value) => writer.u8(value ? 1 : 0),
  decode(reader) {
    const found = reader.u8();
    if (found > 1) reader.fail(`${found}, want 0 or 1`);
    return found === 1;
  },
};

/** Exactly `size` bytes; T lets a brand ride on them. */
export function fixed<T extends Uint8Array = Uint8Array>(
  name: string,
  size: number,
  shape: Shape = { kind: "bytes", size },
): Codec<T> {
  return {
    name,
    minSize: size,
    maxSize: size,
    shape,
    encode(writer, value) {
      if (value.length !== size) {
        throw new RangeError(
          `Cannot encode ${name}: ${value.length} bytes, want ${size}`,
        );
      }
      writer.bytes(value);
    },
    // The one place where bytes become a branded type: the length is checked.
    decode: (reader) => reader.bytes(size) as Uint8Array as T,
  };
}

/** Bytes behind their count, which is a u16 (arrays) or a u32 (transactions). */
export function varBytes(name: string, prefix: 16 | 32): Codec<Uint8Array> {
  const count = prefix === 16 ? u16 : u32;
  return {
    name,
    minSize: prefix / 8,
    maxSize: prefix === 16 ? 2 + 0xffff : Infinity,
    shape: { kind: "varBytes", prefix },
    encode(writer, value) {
      count.encode(writer, value.length);
      writer.bytes(value);
    },
    decode: (reader) => reader.bytes(count.decode(reader)),
  };
}

/**
 * CLN's wirestring: bytes of 0x20 and more, then a NUL. Held as the bytes
 * without the NUL, because nothing says that they are valid UTF-8.
 */
export const wirestring: Codec<Uint8Array> = {
  name: "wirestring",
  minSize: 1,
  maxSize: Infinity,
  shape: { kind: "text" },
  encode(writer, value) {
    const bad = value.find((byte) => byte < 0x20);
    if (bad !== undefined) {
      throw new RangeError(
        `Cannot encode wirestring: byte ${bad}, want 32 to 255`,
      );
    }
    writer.bytes(value);
    writer.u8(0);
  },
  decode(reader) {
    const size = reader.distanceToZero();
    if (size < 0) reader.fail("no NUL before the end, want one");
    const text = reader.bytes(size);
    reader.u8();
    const bad = text.find((byte) => byte < 0x20);
    if (bad !== undefined) reader.fail(`byte ${bad}, want 32 to 255`);
    return text;
  },
};

// --------------------------------------------------------------- combinators

/** A u16 count, then that many items. */
export function list<T>(item: Codec<T>): Codec<readonly T[]> {
  return {
    name: item.name,
    minSize: 2,
    maxSize: 2 + 0xffff * item.maxSize,
    shape: { kind: "list", item },
    encode(writer, values) {
      u16.encode(writer, values.length);
      for (const value of values) item.encode(writer, value);
    },
    decode(reader) {
      const count = reader.u16();
      const least = count * item.minSize;
      if (least > reader.remaining) {
        reader.fail(
          `${reader.remaining} bytes for ${count} items of ${item.name}`,
        );
      }
      return Array.from(
        { length: count },
        (_, i) => reader.within(`${i}`, () => item.decode(reader)),
      );
    },
  };
}

/** CLN's `?T`: a bool, then the value if it was 1. Absent is null. */
export function option<T>(item: Codec<T>): Codec<T | null> {
  return {
    name: `?${item.name}`,
    minSize: 1,
    maxSize: 1 + item.maxSize,
    shape: { kind: "option", item },
    encode(writer, value) {
      bool.encode(writer, value !== null);
      if (value !== null) item.encode(writer, value);
    },
    decode: (reader) => bool.decode(reader) ? item.decode(reader) : null,
  };
}

/** The values of a struct: one property a field. */
export type StructValue<F> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** Fields one after another, in the order of the object's keys. */
// deno-lint-ignore no-explicit-any
export function struct<const F extends Record<string, Codec<any>>>(
  name: string,
  fields: F,
): Codec<StructValue<F>> {
  const entries = Object.entries(fields);
  const sum = (of: (codec: Codec<unknown>) => number) =>
    entries.reduce((total, [, codec]) => total + of(codec), 0);
  return {
    name,
    minSize: sum((codec) => codec.minSize),
    maxSize: sum((codec) => codec.maxSize),
    shape: { kind: "struct", fields },
    encode(writer, value) {
      for (const [key, codec] of entries) {
        codec.encode(writer, value[key as keyof F]);
      }
    },
    decode(reader) {
      const value: Record<string, unknown> = {};
      for (const [key, codec] of entries) {
        value[key] = reader.within(key, () => codec.decode(reader));
      }
      // Every key of F was read by the codec that F names for it.
      return value as StructValue<F>;
    },
  };
}

/** Encodes a value on its own. */
export function encode<T>(codec: Codec<T>, value: T): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  codec.encode(writer, value);
  return writer.finish();
}

/**
 * Decodes a value that must fill the bytes.
 *
 * @throws {DecodeError} for any bytes that are not exactly one value.
 */
export function decode<T>(
  codec: Codec<T>,
  bytes: Uint8Array,
  message: string = codec.name,
): T {
  const reader = new Reader(bytes, message);
  return reader.window(bytes.length, () => codec.decode(reader));
}
