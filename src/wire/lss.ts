/**
 * What a device and the keeper of its state say to each other (Sphinx).
 *
 * MessagePack maps of one, from the name of the message to its fields, all of
 * them and in order. Two have no fields; the original writes them without a
 * value, which is not MessagePack, so that they are constants here.
 *
 * | topic | from | message | fields |
 * | --- | --- | --- | --- |
 * | init-1-msg | broker | Init | key of the server |
 * | init-1-res | device | Init | who it is, its token, a nonce if it is fresh |
 * | init-2-msg | broker | Created | MAC, everything that is stored |
 * | init-2-res | device | Created | MAC, what starting up changed |
 * | lss-res | device | VlsMuts | MAC, what a request changed |
 * | lss-msg | broker | Stored | MAC, and an empty list |
 * | lss-conflict | broker | PutConflict | |
 * | lss-conflict-res | device | PutConflictConfirmed | |
 *
 * Facts: sphinx-rs lss-connector/src/msgs.rs, rmp-utils.
 *
 * What it does not do: check a MAC (`lss_mac.ts`) or the versions (whoever
 * stores).
 *
 * @module
 */

import {
  array,
  bin,
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

/** A versioned value under a key; no bytes once it is deleted. */
export interface LssEntry {
  readonly key: string;
  /** 0 for a new key, one more each time; -1 for "nothing there". */
  readonly version: bigint;
  /** Opaque to whoever stores it. */
  readonly value: Uint8Array;
}

const row = tuple(text, tuple(uint, bin()));

/** `[key, [version, value]]` */
const entry: Packed<LssEntry> = {
  encode: (writer, { key, version, value }) =>
    row.encode(writer, [key, [version, value]]),
  decode(reader, lead) {
    const [key, [version, value]] = row.decode(reader, lead);
    return { key, version, value };
  },
};

const muts = array(entry);
const key = bin(33);
const hash = bin(32);

const fromBroker = variants({
  Init: fields({ serverPubkey: key }),
  /** The MAC is null for a device that did not restart: it asked for nothing. */
  Created: fields({ serverHmac: orNil(hash), muts }),
  Stored: fields({ serverHmac: orNil(hash), muts }),
});

const fromDevice = variants({
  /** The nonce is null for a device that did not restart. */
  Init: fields({ clientId: key, authToken: hash, nonce: orNil(hash) }),
  Created: fields({ clientHmac: hash, muts }),
  VlsMuts: fields({ clientHmac: hash, muts }),
});

/** What the broker says to a device. */
export type LssFromBroker =
  | Unpacked<typeof fromBroker>
  | { readonly kind: "PutConflict" };

/** What a device says to the broker. */
export type LssFromDevice =
  | Unpacked<typeof fromDevice>
  | { readonly kind: "PutConflictConfirmed" };

/** A map of one with a name and no value: cut off, but that is how it is. */
function nameOnly(name: string): Uint8Array {
  return Uint8Array.of(0x81, ...pack(text, name));
}

/** The bytes on lss-conflict. */
export const PUT_CONFLICT: Uint8Array = nameOnly("PutConflict");
/** The bytes on lss-conflict-res. */
export const PUT_CONFLICT_CONFIRMED: Uint8Array = nameOnly(
  "PutConflictConfirmed",
);

/** Writes what the broker says. */
export function encodeFromBroker(message: LssFromBroker): Uint8Array {
  return message.kind === "PutConflict"
    ? PUT_CONFLICT
    : pack(fromBroker, message);
}

/** Reads what the broker said. @throws {DecodeError} */
export function decodeFromBroker(bytes: Uint8Array): LssFromBroker {
  return isSame(bytes, PUT_CONFLICT)
    ? { kind: "PutConflict" }
    : unpack(fromBroker, bytes, "lss message");
}

/** Writes what a device says. */
export function encodeFromDevice(message: LssFromDevice): Uint8Array {
  return message.kind === "PutConflictConfirmed"
    ? PUT_CONFLICT_CONFIRMED
    : pack(fromDevice, message);
}

/** Reads what a device said. @throws {DecodeError} */
export function decodeFromDevice(bytes: Uint8Array): LssFromDevice {
  return isSame(bytes, PUT_CONFLICT_CONFIRMED)
    ? { kind: "PutConflictConfirmed" }
    : unpack(fromDevice, bytes, "lss response");
}

function isSame(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}
