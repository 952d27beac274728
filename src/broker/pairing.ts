/**
 * Which device this node is paired with: its public keys, pinned at the first
 * init and compared at every later one.
 *
 * The record is small, public, and replaced atomically (write aside, fsync,
 * rename). Losing it means pairing again, never loss of funds.
 *
 * @module
 */

import { ConfigError, IdentityError } from "../errors.ts";
import { decode } from "../wire/codec.ts";
import { decodeMessage } from "../wire/message.ts";
import { REPLIES } from "../wire/hsmd.ts";
import { type ExtKey, extKey } from "../wire/types.ts";
import { CardHeads } from "./card_heads.ts";
import { replaceFile } from "./replace_file.ts";

/** What a device says about itself in its init reply, all of it public. */
export interface DeviceIdentity {
  readonly nodeId: Uint8Array;
  /** m/0/0, 78 bytes. */
  readonly bip32: ExtKey;
  /** m/86'/0'/0', 78 bytes; null for secrets of 32 bytes. */
  readonly bip86: ExtKey | null;
  readonly bolt12: Uint8Array;
}

/** The identity in an init reply. @throws {DecodeError} */
export function identityIn(initReply: Uint8Array): DeviceIdentity {
  const { nodeId, bip32, bolt12, tlvs } = decodeMessage(
    REPLIES.init_reply_v4,
    initReply,
  );
  return { nodeId, bip32, bolt12, bip86: tlvs.bip86Base ?? null };
}

/** The fields of an identity, with the words that an operator reads. */
const FIELDS = {
  nodeId: "node id",
  bip32: "bip32 base",
  bip86: "BIP86 base",
  bolt12: "bolt12 key",
} as const;

const FIELD_NAMES = ["nodeId", "bip32", "bip86", "bolt12"] as const;

/**
 * Compares what a device says with what was pinned.
 *
 * @throws {IdentityError} with both values, for the first field that differs
 */
export function checkIdentity(
  pinned: DeviceIdentity,
  found: DeviceIdentity,
): void {
  for (const field of FIELD_NAMES) {
    const wanted = show(pinned[field]);
    const got = show(found[field]);
    if (wanted === got) continue;
    throw new IdentityError(
      `Cannot use this device: its ${FIELDS[field]} is ${got}, want ${wanted}`,
    );
  }
}

function show(bytes: Uint8Array | null): string {
  return bytes === null ? "none" : bytes.toHex();
}

/** A pairing: one identity, and the keys that may log in while locked. */
export interface Pairing {
  readonly identity: DeviceIdentity;
  readonly cardKeys: readonly string[];
}

/** Keeps the pairing; the durable one is {@linkcode FilePairingBook}. */
export interface PairingBook {
  /** Where it stands, for a log line. */
  readonly place: string;
  readonly current: Pairing | null;
  /** How far the device's card had come; absent: nobody remembers. */
  readonly heads?: CardHeads;
  /** Durable when it resolves. */
  store(pairing: Pairing): Promise<void>;
}

/** `pairing = open`: remembers until the process ends. */
export class OpenPairingBook implements PairingBook {
  readonly place = "memory";
  readonly heads = CardHeads.inMemory();
  #current: Pairing | null = null;

  get current(): Pairing | null {
    return this.#current;
  }

  store(pairing: Pairing): Promise<void> {
    this.#current = pairing;
    return Promise.resolve();
  }
}

/** `pairing = first`: a file beside the node. */
export class FilePairingBook implements PairingBook {
  readonly place: string;
  readonly heads: CardHeads;
  #current: Pairing | null;

  private constructor(place: string, current: Pairing | null) {
    this.place = place;
    this.heads = CardHeads.open(`${place}.card`);
    this.#current = current;
  }

  /** @throws {ConfigError} for a file that cannot be read */
  static async open(path: string): Promise<FilePairingBook> {
    return new FilePairingBook(path, await readPairing(path));
  }

  get current(): Pairing | null {
    return this.#current;
  }

  async store(pairing: Pairing): Promise<void> {
    const content = new TextEncoder().encode(encodePairing(pairing));
    await replaceFile(this.place, content);
    this.#current = pairing;
  }
}

async function readPairing(path: string): Promise<Pairing | null> {
  try {
    return parsePairing(await Deno.readTextFile(path));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return null;
    const found = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      "pairing",
      path,
      found,
      "a pairing that this program wrote, or no file to pair anew",
    );
  }
}

function encodePairing({ identity, cardKeys }: Pairing): string {
  const record = {
    nodeId: show(identity.nodeId),
    bip32: show(identity.bip32),
    bip86: identity.bip86 === null ? null : show(identity.bip86),
    bolt12: show(identity.bolt12),
    cardKeys,
  };
  return JSON.stringify(record, null, 2) + "\n";
}

function parsePairing(text: string): Pairing {
  const record: unknown = JSON.parse(text);
  const field = (name: string): unknown =>
    typeof record === "object" && record !== null
      ? Reflect.get(record, name)
      : undefined;
  const bytes = (name: string, size: number): Uint8Array => {
    const value = field(name);
    if (typeof value === "string" && value.length === 2 * size) {
      return Uint8Array.fromHex(value);
    }
    throw new TypeError(`no ${name} of ${size} bytes in hex`);
  };
  const keys = field("cardKeys");
  return {
    identity: {
      nodeId: bytes("nodeId", 33),
      bip32: decode(extKey, bytes("bip32", 78)),
      bip86: field("bip86") === null
        ? null
        : decode(extKey, bytes("bip86", 78)),
      bolt12: bytes("bolt12", 33),
    },
    cardKeys: Array.isArray(keys)
      ? keys.filter((key): key is string => typeof key === "string")
      : [],
  };
}
