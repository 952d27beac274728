/**
 * What an owner tells a device over its node's broker, and what it answers: the
 * control messages of Sphinx-Key.
 *
 * | message | carries | answered with |
 * | --- | --- | --- |
 * | Nonce | | Nonce: the last number that was taken |
 * | QueryPolicy | | PolicyCurrent |
 * | UpdatePolicy | a policy | PolicyUpdated |
 * | QueryAllowlist | | AllowlistCurrent |
 * | UpdateAllowlist | entries | AllowlistUpdated |
 * | QueryVelocity | | VelocityCurrent: buckets, or nothing |
 * | QueryAll | | AllCurrent: policy, entries, buckets |
 * | ResetWifi, ResetKeys, ResetAll | | the same name |
 * | Ota | what to load | OtaConfirm |
 * | any | | Error: a sentence |
 *
 * Bytes: MessagePack as rmp-serde writes it with names (sphinx-rs glyph/src/
 * types.rs and ser.rs). People and tools see the same as JSON: `"Nonce"`,
 * `{"UpdatePolicy":{"msat_per_interval":…}}`.
 *
 * What it does not do: sign (`control_envelope.ts`), or know what a device makes
 * of a message.
 *
 * @module
 */

import { DecodeError } from "../errors.ts";
import {
  array,
  fields,
  orNil,
  pack,
  type Packed,
  text,
  tuple,
  uint,
  unpack,
  type Unpacked,
  variants,
} from "./msgpack.ts";

/** A string that is one of these. */
function oneOf<const W extends string>(...words: readonly W[]): Packed<W> {
  return {
    encode: (writer, value) => text.encode(writer, value),
    decode(reader, lead) {
      const found = text.decode(reader, lead);
      return words.find((word) => word === found) ??
        reader.fail(`another word, want ${words.join(" or ")}`);
    },
  };
}

const policy = fields({
  msatPerInterval: uint,
  interval: oneOf("hourly", "daily"),
  htlcLimitMsat: uint,
});

/** Limits, as an owner's tool knows them. */
export type ControlPolicy = Unpacked<typeof policy>;

/** What a Sphinx device has before its owner says anything. */
export const DEFAULT_CONTROL_POLICY: ControlPolicy = {
  msatPerInterval: 21_000_000_000n,
  interval: "daily",
  htlcLimitMsat: 1_000_000_000n,
};

/** Unix seconds at which the newest bucket starts; msat, newest bucket first. */
const velocity = tuple(uint, array(uint));

/** What was paid of late. */
export type ControlVelocity = Unpacked<typeof velocity>;

const ota = fields({
  version: uint,
  url: text,
  sha256Hash: text,
  messageSig: text,
});

const all = fields({
  policy,
  allowlist: array(text),
  velocity: orNil(velocity),
});

const message = variants({
  Nonce: null,
  ResetWifi: null,
  ResetKeys: null,
  ResetAll: null,
  QueryPolicy: null,
  UpdatePolicy: policy,
  QueryAllowlist: null,
  UpdateAllowlist: array(text),
  QueryVelocity: null,
  Ota: ota,
  QueryAll: null,
});

const response = variants({
  Nonce: uint,
  ResetWifi: null,
  ResetKeys: null,
  ResetAll: null,
  PolicyCurrent: policy,
  PolicyUpdated: policy,
  AllowlistCurrent: array(text),
  AllowlistUpdated: array(text),
  VelocityCurrent: orNil(velocity),
  OtaConfirm: ota,
  AllCurrent: all,
  Error: text,
});

/** What an owner tells or asks a device. */
export type ControlMessage = Unpacked<typeof message>;

/** What a device answers. */
export type ControlResponse = Unpacked<typeof response>;

const MESSAGE = "control message";
const RESPONSE = "control response";

/** Writes a message. */
export function encodeControlMessage(value: ControlMessage): Uint8Array {
  return pack(message, value);
}

/** Reads a message. @throws {DecodeError} for anything else, unknown names too */
export function decodeControlMessage(bytes: Uint8Array): ControlMessage {
  return unpack(message, bytes, MESSAGE);
}

/** Writes an answer. */
export function encodeControlResponse(value: ControlResponse): Uint8Array {
  return pack(response, value);
}

/** Reads an answer. @throws {DecodeError} */
export function decodeControlResponse(bytes: Uint8Array): ControlResponse {
  return unpack(response, bytes, RESPONSE);
}

// ----------------------------------------------------------------------- JSON

/** A message as JSON. */
export function formatControlMessage(value: ControlMessage): string {
  return formatVariant(value);
}

/** An answer as JSON. */
export function formatControlResponse(value: ControlResponse): string {
  return formatVariant(value);
}

function formatVariant(
  variant: { readonly kind: string; readonly value?: unknown },
): string {
  const { kind, value } = variant;
  return JSON.stringify(value === undefined ? kind : { [kind]: plain(value) });
}

/** A number that not every reader of JSON can hold is written as a string. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") {
    return value <= Number.MAX_SAFE_INTEGER ? Number(value) : String(value);
  }
  if (Array.isArray(value)) return value.map(plain);
  if (!isMap(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [snakeCase(name), plain(each)]),
  );
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** Reads a message in JSON. @throws {DecodeError} */
export function parseControlMessage(json: string): ControlMessage {
  return decodeControlMessage(packJson(parseJson(json)));
}

function parseJson(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (_error) {
    // Its words would quote the text, which may be long.
    throw new DecodeError(MESSAGE, "", 0, "want JSON");
  }
}

/** What JSON says, in MessagePack; whether it is a message is seen on reading. */
function packJson(value: unknown): Uint8Array {
  const [[kind, body] = [], ...more] = isMap(value)
    ? Object.entries(value)
    : [];
  if (kind === undefined || more.length > 0) return pack(anything, value);
  return body === null
    ? pack(text, kind)
    : pack(variants({ [kind]: anything }), { kind, value: body });
}

/** What of MessagePack JSON can say; never read. */
const anything: Packed<unknown> = {
  encode(writer, value) {
    if (value === null) orNil(text).encode(writer, null);
    else if (typeof value === "string") text.encode(writer, value);
    else if (Array.isArray(value)) array(anything).encode(writer, value);
    else if (isMap(value)) {
      const names = Object.keys(value).map((name) => [name, anything]);
      fields(Object.fromEntries(names)).encode(writer, value);
    } else uint.encode(writer, wholeOf(value));
  },
  decode: (reader) => reader.fail("JSON, want a form"),
};

function wholeOf(value: unknown): bigint {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) {
    return BigInt(value);
  }
  const problem = "a value that no message has, want whole numbers below 2^53";
  throw new DecodeError(MESSAGE, "", 0, problem);
}
