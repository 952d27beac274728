/**
 * MessagePack, as much of it as Rust's serde writes with named fields.
 *
 * The messages of the Sphinx session that are not frames are small and fixed:
 * each is a value of the combinators below, so that its order of fields, its
 * sizes, its encoder and its decoder are stated once.
 *
 * | Rust | here | on the wire |
 * | --- | --- | --- |
 * | `u64` and smaller | {@linkcode uint} | the shortest form; any is read |
 * | `String` | {@linkcode text} | str |
 * | bytes | {@linkcode bin} | bin |
 * | `Option` | {@linkcode orNil} | nil, or the value |
 * | `Vec`, tuple | {@linkcode array}, {@linkcode tuple} | array |
 * | struct | {@linkcode fields} | map: every field, in order |
 * | enum | {@linkcode variants} | map of one, or str for one without a value |
 *
 * The library @msgpack/msgpack is the second opinion in the tests. It does
 * not read here: it makes an array as long as a header announces before it
 * has seen an item, each nested one again, and forgets how keys were ordered.
 *
 * Standard: MessagePack (github.com/msgpack/msgpack/blob/master/spec.md).
 *
 * What it does not do: floats, negative integers, extension types, values whose
 * form is not known before.
 *
 * @module
 */

import { Reader, Writer } from "./codec.ts";

/** A value's form in MessagePack. */
export interface Packed<T> {
  encode(writer: Writer, value: T): void;
  /** Reads what follows the lead byte, which says what kind of value it is. */
  decode(reader: Reader, lead: number): T;
}

/** The values of a form. */
export type Unpacked<P> = P extends Packed<infer T> ? T : never;

/** Writes one value. */
export function pack<T>(form: Packed<T>, value: T): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  form.encode(writer, value);
  return writer.finish();
}

/**
 * Reads a value that must fill the bytes.
 *
 * @throws {DecodeError}
 */
export function unpack<T>(
  form: Packed<T>,
  bytes: Uint8Array,
  message: string,
): T {
  const reader = new Reader(bytes, message);
  return reader.window(bytes.length, () => read(reader, form));
}

function read<T>(reader: Reader, form: Packed<T>): T {
  return form.decode(reader, reader.u8());
}

const NIL = 0xc0;

// -------------------------------------------------------------------- headers

/** One of the ways in which a length or an integer is written. */
interface Form {
  readonly lead: number;
  /** Bytes after the lead. */
  readonly size: 1 | 2 | 4 | 8;
}

const WIDTHS = {
  1: {
    limit: 0x100n,
    read: (reader: Reader) => BigInt(reader.u8()),
    write: (writer: Writer, value: bigint) => writer.u8(Number(value)),
  },
  2: {
    limit: 0x1_0000n,
    read: (reader: Reader) => BigInt(reader.u16()),
    write: (writer: Writer, value: bigint) => writer.u16(Number(value)),
  },
  4: {
    limit: 0x1_0000_0000n,
    read: (reader: Reader) => BigInt(reader.u32()),
    write: (writer: Writer, value: bigint) => writer.u32(Number(value)),
  },
  8: {
    limit: 1n << 64n,
    read: (reader: Reader) => reader.u64(),
    write: (writer: Writer, value: bigint) => writer.u64(value),
  },
} as const;

/** A number behind a lead byte, or inside of it when it is small. */
interface Kind {
  readonly name: string;
  /** The lead byte of a number inside of it; and how many there are. */
  readonly inside: { readonly lead: number; readonly count: number } | null;
  readonly forms: readonly Form[];
}

const UINT: Kind = {
  name: "an unsigned integer",
  inside: { lead: 0x00, count: 0x80 },
  forms: [
    { lead: 0xcc, size: 1 },
    { lead: 0xcd, size: 2 },
    { lead: 0xce, size: 4 },
    { lead: 0xcf, size: 8 },
  ],
};

/** Signed forms, which some writers choose for numbers that are not negative. */
const SIGNED: readonly Form[] = [
  { lead: 0xd0, size: 1 },
  { lead: 0xd1, size: 2 },
  { lead: 0xd2, size: 4 },
  { lead: 0xd3, size: 8 },
];

const BIN: Kind = {
  name: "bin",
  inside: null,
  forms: [
    { lead: 0xc4, size: 1 },
    { lead: 0xc5, size: 2 },
    { lead: 0xc6, size: 4 },
  ],
};

const STR: Kind = {
  name: "str",
  inside: { lead: 0xa0, count: 0x20 },
  forms: [
    { lead: 0xd9, size: 1 },
    { lead: 0xda, size: 2 },
    { lead: 0xdb, size: 4 },
  ],
};

const ARRAY: Kind = {
  name: "an array",
  inside: { lead: 0x90, count: 0x10 },
  forms: [{ lead: 0xdc, size: 2 }, { lead: 0xdd, size: 4 }],
};

const MAP: Kind = {
  name: "a map",
  inside: { lead: 0x80, count: 0x10 },
  forms: [{ lead: 0xde, size: 2 }, { lead: 0xdf, size: 4 }],
};

/** Writes a number in the shortest form of its kind. */
function writeHeader(writer: Writer, kind: Kind, value: bigint): void {
  const { inside, forms, name } = kind;
  if (value < 0n) throw tooLarge(name, value);
  if (inside !== null && value < BigInt(inside.count)) {
    return writer.u8(inside.lead + Number(value));
  }
  const form = forms.find(({ size }) => value < WIDTHS[size].limit);
  if (form === undefined) throw tooLarge(name, value);
  writer.u8(form.lead);
  WIDTHS[form.size].write(writer, value);
}

function tooLarge(name: string, value: bigint): RangeError {
  return new RangeError(
    `Cannot pack ${name}: ${value}, want 0 to what it holds`,
  );
}

/** Reads a number of this kind; null when the lead byte is of no form of it. */
function numberBehind(reader: Reader, kind: Kind, lead: number): bigint | null {
  const { inside, forms } = kind;
  if (inside !== null && lead >= inside.lead) {
    const value = lead - inside.lead;
    if (value < inside.count) return BigInt(value);
  }
  const form = forms.find((candidate) => candidate.lead === lead);
  return form === undefined ? null : WIDTHS[form.size].read(reader);
}

function readHeader(reader: Reader, kind: Kind, lead: number): number {
  const value = numberBehind(reader, kind, lead) ??
    refuseLead(reader, lead, kind.name);
  // Lengths have at most 32 bits.
  return Number(value);
}

function refuseLead(reader: Reader, lead: number, wanted: string): never {
  return reader.fail(`byte 0x${lead.toString(16)}, want ${wanted}`);
}

/** Reads an array's or a map's size, which must be this. */
function readSize(
  reader: Reader,
  kind: Kind,
  lead: number,
  wanted: number,
): void {
  const count = readHeader(reader, kind, lead);
  if (count !== wanted) {
    reader.fail(`${kind.name} of ${count}, want ${wanted}`);
  }
}

// ----------------------------------------------------------------- primitives

/** An integer of 0 to 2^64-1: written short, read in any form. */
export const uint: Packed<bigint> = {
  encode: (writer, value) => writeHeader(writer, UINT, value),
  decode: (reader, lead) =>
    numberBehind(reader, UINT, lead) ?? readSigned(reader, lead),
};

function readSigned(reader: Reader, lead: number): bigint {
  const form = SIGNED.find((candidate) => candidate.lead === lead);
  if (form === undefined) return refuseLead(reader, lead, UINT.name);
  const { limit, read } = WIDTHS[form.size];
  const value = read(reader);
  return value < limit / 2n
    ? value
    : reader.fail(`${value - limit}, want ${UINT.name}`);
}

/** As {@linkcode uint}, for values below 2^53, as a number. */
export const count: Packed<number> = {
  encode: (writer, value) => uint.encode(writer, BigInt(value)),
  decode(reader, lead) {
    const value = uint.decode(reader, lead);
    return value <= BigInt(Number.MAX_SAFE_INTEGER)
      ? Number(value)
      : reader.fail(`${value}, want less than 2^53`);
  },
};

const utf8 = new TextEncoder();
const fromUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** UTF-8, and nothing that is not. */
export const text: Packed<string> = {
  encode(writer, value) {
    const bytes = utf8.encode(value);
    writeHeader(writer, STR, BigInt(bytes.length));
    writer.bytes(bytes);
  },
  decode(reader, lead) {
    const bytes = reader.bytes(readHeader(reader, STR, lead));
    try {
      return fromUtf8.decode(bytes);
    } catch (_error) {
      return reader.fail("bytes that are not UTF-8");
    }
  },
};

/** Bytes: exactly `size`, or as many as there are. */
export function bin(size?: number): Packed<Uint8Array> {
  return {
    encode(writer, value) {
      if (size !== undefined && value.length !== size) {
        throw new RangeError(
          `Cannot pack bin: ${value.length} bytes, want ${size}`,
        );
      }
      writeHeader(writer, BIN, BigInt(value.length));
      writer.bytes(value);
    },
    decode(reader, lead) {
      const length = readHeader(reader, BIN, lead);
      if (size !== undefined && length !== size) {
        reader.fail(`${length} bytes, want ${size}`);
      }
      return reader.bytes(length);
    },
  };
}

// ---------------------------------------------------------------- combinators

/** nil for null. */
export function orNil<T>(form: Packed<T>): Packed<T | null> {
  return {
    encode(writer, value) {
      if (value === null) writer.u8(NIL);
      else form.encode(writer, value);
    },
    decode: (reader, lead) => lead === NIL ? null : form.decode(reader, lead),
  };
}

/** Any number of items. */
export function array<T>(item: Packed<T>): Packed<readonly T[]> {
  return {
    encode(writer, values) {
      writeHeader(writer, ARRAY, BigInt(values.length));
      for (const value of values) item.encode(writer, value);
    },
    decode(reader, lead) {
      const length = readHeader(reader, ARRAY, lead);
      // Every item has a byte at least: nothing is made for what is not there.
      if (length > reader.remaining) {
        reader.fail(`${reader.remaining} bytes for ${length} items`);
      }
      return Array.from(
        { length },
        (_, i) => reader.within(`${i}`, () => read(reader, item)),
      );
    },
  };
}

// deno-lint-ignore no-explicit-any
type AnyPacked = Packed<any>;

/** The values of several forms, one after another. */
type UnpackedTuple<P extends readonly AnyPacked[]> = {
  readonly [K in keyof P]: Unpacked<P[K]>;
};

/** An array of as many items as there are forms. */
export function tuple<const P extends readonly AnyPacked[]>(
  ...forms: P
): Packed<UnpackedTuple<P>> {
  return {
    encode(writer, values) {
      writeHeader(writer, ARRAY, BigInt(forms.length));
      for (const [i, form] of forms.entries()) form.encode(writer, values[i]);
    },
    decode(reader, lead) {
      readSize(reader, ARRAY, lead, forms.length);
      const values = forms.map((form, i) =>
        reader.within(`${i}`, () => read(reader, form))
      );
      // Each place was read by the form that P has there.
      return values as unknown as UnpackedTuple<P>;
    },
  };
}

/** The values of named fields. */
type UnpackedFields<F> = { readonly [K in keyof F]: Unpacked<F[K]> };

/** A map of all the fields, in this order; camelCase here is snake_case there. */
export function fields<const F extends Record<string, AnyPacked>>(
  forms: F,
): Packed<UnpackedFields<F>> {
  const entries = Object.entries(forms);
  return {
    encode(writer, value) {
      writeHeader(writer, MAP, BigInt(entries.length));
      for (const [key, form] of entries) {
        text.encode(writer, snakeCase(key));
        form.encode(writer, value[key]);
      }
    },
    decode(reader, lead) {
      readSize(reader, MAP, lead, entries.length);
      const value: Record<string, unknown> = {};
      for (const [key, form] of entries) {
        readKey(reader, snakeCase(key));
        value[key] = reader.within(key, () => read(reader, form));
      }
      // Every key of F was read by the form that F names for it.
      return value as UnpackedFields<F>;
    },
  };
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function readKey(reader: Reader, wanted: string): void {
  const found = read(reader, text);
  if (found !== wanted) reader.fail(`another field, want ${wanted}`);
}

/** One of several, by name; null for one that has no value. */
export type Variant<V> = {
  readonly [K in keyof V]: V[K] extends AnyPacked
    ? { readonly kind: K; readonly value: Unpacked<V[K]> }
    : { readonly kind: K };
}[keyof V];

/** A map of one, from the variant's name to its value; or only its name. */
export function variants<const V extends Record<string, AnyPacked | null>>(
  forms: V,
): Packed<Variant<V>> {
  return {
    encode(writer, variant) {
      const name = String(variant.kind);
      const form = forms[name];
      if (!form) return text.encode(writer, name);
      writeHeader(writer, MAP, 1n);
      text.encode(writer, name);
      form.encode(writer, "value" in variant ? variant.value : undefined);
    },
    decode(reader, lead) {
      const isMap = isOf(MAP, lead);
      if (isMap) readSize(reader, MAP, lead, 1);
      const kind = text.decode(reader, isMap ? reader.u8() : lead);
      const form = Object.hasOwn(forms, kind) ? forms[kind] : undefined;
      if (form === undefined || (form !== null && !isMap)) {
        const names = Object.keys(forms).join(" or ");
        return reader.fail(`another variant, want ${names}`);
      }
      const value = isMap
        ? reader.within(kind, () => read(reader, form ?? nothing))
        : undefined;
      // V names this form for this kind, or null for one without a value.
      return (form === null ? { kind } : { kind, value }) as Variant<V>;
    },
  };
}

function isOf({ inside, forms }: Kind, lead: number): boolean {
  const isInside = inside !== null && lead >= inside.lead &&
    lead < inside.lead + inside.count;
  return isInside || forms.some((form) => form.lead === lead);
}

/** What some writers put after a variant that has no value. */
const nothing: Packed<null> = {
  encode: (writer) => writer.u8(NIL),
  decode: (reader, lead) =>
    lead === NIL ? null : refuseLead(reader, lead, "nil"),
};
