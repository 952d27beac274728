/**
 * The keys of one channel, out of the node's channel base.
 *
 * CLN: HKDF with the peer's id and the channel's dbid as salt gives a seed; HKDF
 * of that gives six secrets in a row. The dbid is little-endian here, the only
 * integer of the protocol that is.
 *
 * A {@link ChannelKeyRing} remembers the channels that were asked for. It is a
 * memory of a pure function: what it holds changes how long an answer takes and
 * nothing else, which is why states may share it.
 *
 * Standard: BOLT 3, "Key Derivation", says what each basepoint is for.
 *
 * What it does not do: keys of one commitment (`lightning/keys.ts`).
 *
 * @module
 */

import { type KeyPair, keyPairOf, toPrivateKey } from "../bitcoin/keys.ts";
import { hkdf } from "../crypto/hash.ts";
import { Secret } from "../crypto/secret.ts";
import type { NodeId } from "../wire/types.ts";

/** The private side of a channel; points are worked out when they are needed. */
export interface ChannelKeys {
  readonly funding: KeyPair;
  readonly revocation: KeyPair;
  readonly htlc: KeyPair;
  readonly payment: KeyPair;
  readonly delayedPayment: KeyPair;
  /** The seed of the per-commitment secrets. */
  readonly shaseed: Secret;
}

/** Which channel: both are part of every derivation. */
export interface ChannelId {
  readonly peerId: NodeId;
  readonly dbid: bigint;
}

/** What developers may put in the place of every channel's keys. */
export interface ChannelOverrides {
  /** funding, revocation, payment, delayed payment, htlc: 160 bytes. */
  readonly secrets?: Uint8Array | null;
  readonly shaseed?: Uint8Array | null;
}

/** Derives the keys of a channel. */
export function deriveChannelKeys(
  channelBase: Secret,
  { peerId, dbid }: ChannelId,
  overrides: ChannelOverrides = {},
): ChannelKeys {
  const salt = new Uint8Array(41);
  salt.set(peerId);
  new DataView(salt.buffer).setBigUint64(33, dbid, true);
  const ikm = channelBase.reveal();
  const seed = hkdf({ ikm, salt, info: "per-peer seed", length: 32 });
  const pieces = hkdf({ ikm: seed, info: "c-lightning", length: 192 });
  const piece = (at: number) => pieces.subarray(at * 32, at * 32 + 32);
  const forced = forcedPiece(overrides.secrets ?? null);
  const pair = (at: number, forcedAt: number) =>
    keyPairOf(toPrivateKey(forced(forcedAt) ?? piece(at)));
  return {
    funding: pair(0, 0),
    revocation: pair(1, 1),
    htlc: pair(2, 4),
    payment: pair(3, 2),
    delayedPayment: pair(4, 3),
    shaseed: new Secret(overrides.shaseed ?? piece(5)),
  };
}

function forcedPiece(
  secrets: Uint8Array | null,
): (at: number) => Uint8Array | null {
  return (at) => secrets && secrets.subarray(at * 32, at * 32 + 32);
}

/** Channels to remember: more than most nodes have, less than a megabyte. */
const REMEMBERED = 1024;

/** Derives each channel's keys once, as long as there are not too many. */
export class ChannelKeyRing {
  readonly #base: Secret;
  readonly #overrides: ChannelOverrides;
  readonly #known = new Map<string, ChannelKeys>();

  constructor(channelBase: Secret, overrides: ChannelOverrides = {}) {
    this.#base = channelBase;
    this.#overrides = overrides;
  }

  /** The keys of a channel, derived now or before. */
  keysOf(id: ChannelId): ChannelKeys {
    const name = `${id.peerId.toHex()}/${id.dbid}`;
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const keys = deriveChannelKeys(this.#base, id, this.#overrides);
    this.#forgetOldest();
    this.#known.set(name, keys);
    return keys;
  }

  #forgetOldest(): void {
    if (this.#known.size < REMEMBERED) return;
    for (const name of this.#known.keys()) {
      this.#known.delete(name);
      return;
    }
  }
}
