/**
 * What a row of the message table is, and what follows from it.
 *
 * A message is declared once: number, name, fields in order, and for a request
 * the permission it needs and the reply it gets. Encoder, decoder, types,
 * dispatch and permission check are derived from that row.
 *
 * @module
 */

import {
  type Codec,
  Reader,
  struct,
  type StructValue,
  Writer,
} from "./codec.ts";

// deno-lint-ignore no-explicit-any
type Fields = Record<string, Codec<any>>;

/** One message, either direction. */
export interface Row<F extends Fields = Fields> {
  /** Number on the wire, the first two bytes of the payload. */
  readonly type: number;
  /** CLN's name without its prefix; set by {@link table}. */
  readonly name: string;
  readonly fields: F;
  readonly body: Codec<StructValue<F>>;
}

/** A message that asks for something. */
export interface RequestRow<F extends Fields = Fields> extends Row<F> {
  /** The permission bit that a connection must have. */
  readonly permission: number;
  /** Numbers of the replies that may answer it; empty when nothing does. */
  readonly replies: readonly number[];
  /** The releases that had it, where not all of v24.02 to v26.06.6 do. */
  readonly releases: string | undefined;
}

/** The value that a row's message carries. */
export type MessageOf<R> = R extends Row<infer F> ? StructValue<F> : never;

/** Declares a message that answers. */
export function reply<const F extends Fields>(
  type: number,
  fields: F,
): Row<F> {
  return { type, name: "", fields, body: struct("", fields) };
}

/** Declares a message that asks. */
export function request<const F extends Fields>(
  type: number,
  fields: F,
  needs: {
    readonly permission: number;
    readonly replies: readonly number[];
    readonly releases?: string;
  },
): RequestRow<F> {
  const { permission, replies, releases } = needs;
  return { ...reply(type, fields), permission, replies, releases };
}

/** Gives each row its key as its name. */
export function table<const T extends Record<string, Row<never> | Row>>(
  rows: T,
): T {
  const named = Object.entries(rows).map((
    [name, row],
  ) => [name, { ...row, name }]);
  return Object.fromEntries(named);
}

/** Reads the number of a message; null when there are not even two bytes. */
export function messageType(payload: Uint8Array): number | null {
  const [high, low] = payload;
  return high === undefined || low === undefined ? null : high << 8 | low;
}

/** A message as payload of a frame: its number, then its fields. */
export function encodeMessage<F extends Fields>(
  row: Row<F>,
  value: StructValue<F>,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writer.u16(row.type);
  row.body.encode(writer, value);
  return writer.finish();
}

/**
 * Reads the fields of a message. Bytes after the last field are ignored, as
 * CLN does, so that a newer release may append to a message; `isStrict` refuses
 * them, as VLS does.
 *
 * @throws {DecodeError} for bytes that are not this message
 */
export function decodeMessage<F extends Fields>(
  row: Row<F>,
  payload: Uint8Array,
  { isStrict = false }: { readonly isStrict?: boolean } = {},
): StructValue<F> {
  const reader = new Reader(payload, row.name);
  const type = reader.u16();
  if (type !== row.type) reader.fail(`type ${type}, want ${row.type}`, 0);
  const value = row.body.decode(reader);
  if (isStrict && reader.remaining > 0) {
    reader.fail(`${reader.remaining} bytes left over, want 0`);
  }
  return value;
}

/** Finds rows by number; a number that stands twice is a mistake in a table. */
export function byType<R extends Row>(
  rows: Readonly<Record<string, R>>,
): ReadonlyMap<number, R> {
  const map = new Map<number, R>();
  for (const row of Object.values(rows)) {
    if (map.has(row.type)) {
      throw new RangeError(`Type ${row.type} stands twice`);
    }
    map.set(row.type, row);
  }
  return map;
}
