/**
 * Which output scripts are the wallet's.
 *
 * A wallet key is m/0/0/i and, for a seed of 64 bytes, m/86'/0'/0'/0/i; each
 * index gives a P2WPKH, a P2SH-P2WPKH and a P2TR script of either. An output
 * that names an index (BIP 174 and BIP 371 key origins) is checked by deriving
 * that one; an output that names nothing, such as the change of a fee bump, is
 * looked for among the first indexes, which are derived once and kept.
 *
 * An index that an output names is taken at its word only after the script came
 * out of it. It must not lie far beyond what was ever used: coins at an index
 * that nobody will look at are as good as gone.
 *
 * Standards: BIP 32, BIP 86, BIP 141, BIP 341.
 *
 * What it does not do: know which of them hold coins.
 *
 * @module
 */

import { addToPoint, asPubKey } from "../bitcoin/keys.ts";
import { fieldsOf, type PsbtMap } from "../bitcoin/psbt.ts";
import { p2sh, p2wpkh } from "../bitcoin/script.ts";
import { taggedHash } from "../crypto/hash.ts";
import { deriveChild, HARDENED } from "../keyderiv/bip32.ts";
import type { NodeKeys } from "../keyderiv/node.ts";
import type { PubKey } from "../wire/types.ts";

/** PSBT output fields that name a key's path. */
const OUTPUT_KEY_ORIGIN = 0x02;
const OUTPUT_TAP_KEY_ORIGIN = 0x07;

/** How far beyond the last index in use outputs without a path are looked for. */
const LOOKAHEAD = 500;
/** How far beyond it an index may lie that an output names. */
const REACH = 100_000;
/** Never derive more scripts than this to find one. */
const MOST_SCANNED = 20_000;

const tapTweak = taggedHash("TapTweak");

/** BIP 341: version 1, the key tweaked by its own hash; no script tree. */
function p2trOf(key: PubKey): Uint8Array {
  const x = key.subarray(1);
  const even = asPubKey(Uint8Array.of(2, ...x));
  const output = addToPoint(even, tapTweak(x));
  return Uint8Array.of(0x51, 32, ...output.subarray(1));
}

function scriptsOf(key: PubKey): readonly Uint8Array[] {
  const native = p2wpkh(key);
  return [native, p2trOf(key), p2sh(native)];
}

/** A key that a PSBT output names, whole or as its x, and its path. */
interface NamedKey {
  readonly key: Uint8Array;
  readonly path: readonly number[];
}

function namedKeys(output: PsbtMap): readonly NamedKey[] {
  const plain = fieldsOf(output, OUTPUT_KEY_ORIGIN)
    .map(({ keyData: key, value }) => ({
      key,
      path: stepsOf(value.subarray(4)),
    }));
  const taproot = fieldsOf(output, OUTPUT_TAP_KEY_ORIGIN)
    .map(({ keyData: key, value }) => ({ key, path: stepsOf(tapPath(value)) }));
  return [...plain, ...taproot];
}

/** The paths that a PSBT output names. */
export function pathsOf(output: PsbtMap): readonly (readonly number[])[] {
  return namedKeys(output).map(({ path }) => path);
}

/** BIP 371: leaf hashes before the fingerprint; a key path spend has none. */
function tapPath(value: Uint8Array): Uint8Array {
  const leaves = value[0] ?? 0;
  return value.subarray(1 + 32 * leaves + 4);
}

function stepsOf(bytes: Uint8Array): readonly number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from(
    { length: Math.floor(bytes.length / 4) },
    (_, i) => view.getUint32(i * 4, true),
  );
}

/** The wallet's scripts, derived once each. */
export class WalletScripts {
  readonly #keys: NodeKeys;
  readonly #found = new Map<string, number>();
  #scanned = 0;
  #seen = 0;

  constructor(keys: NodeKeys) {
    this.#keys = keys;
  }

  /** Largest index that this signer has been shown in use. */
  get seen(): number {
    return this.#seen;
  }

  /** Notes an index that the node uses. */
  note(index: number): void {
    if (index < HARDENED && index > this.#seen) this.#seen = index;
  }

  /**
   * The index that a script belongs to; null when it is not the wallet's.
   * `highWater` is the largest index that is known to have been in use.
   */
  indexOf(
    script: Uint8Array,
    paths: readonly (readonly number[])[],
    highWater: number,
  ): number | null {
    const last = Math.max(highWater, this.#seen);
    const named = this.#namedIndex(script, paths, last);
    return named ?? this.#scan(script, last);
  }

  #namedIndex(
    script: Uint8Array,
    paths: readonly (readonly number[])[],
    last: number,
  ): number | null {
    const name = script.toHex();
    for (const path of paths) {
      const index = path.at(-1);
      if (index === undefined || index > last + REACH) continue;
      if (this.scriptsAt(index).some((own) => own.toHex() === name)) {
        if (index <= last + LOOKAHEAD) this.note(index);
        return index;
      }
    }
    return null;
  }

  #scan(script: Uint8Array, last: number): number | null {
    const name = script.toHex();
    const end = Math.min(last + LOOKAHEAD, MOST_SCANNED);
    while (!this.#found.has(name) && this.#scanned < end) {
      for (const own of this.scriptsAt(this.#scanned)) {
        this.#found.set(own.toHex(), this.#scanned);
      }
      this.#scanned++;
    }
    return this.#found.get(name) ?? null;
  }

  /**
   * False for an output that names a key of the wallet and pays neither key of
   * that index: Core Lightning names the old key where it pays the BIP 86 one.
   */
  isAsNamed(script: Uint8Array, output: PsbtMap): boolean {
    const name = script.toHex();
    return namedKeys(output).every(({ key, path }) => {
      const keys = this.#keysAt(path.at(-1) ?? HARDENED);
      const isOwn = keys.some((point) =>
        key.toHex() === point.subarray(33 - key.length).toHex()
      );
      return !isOwn ||
        keys.flatMap(scriptsOf).some((each) => each.toHex() === name);
    });
  }

  /** Every script that pays the wallet's keys of an index. */
  scriptsAt(index: number): readonly Uint8Array[] {
    return this.#keysAt(index).flatMap(scriptsOf);
  }

  #keysAt(index: number): readonly PubKey[] {
    if (index >= HARDENED) return [];
    const { wallet, bip86 } = this.#keys;
    const parents = bip86 === null ? [wallet] : [bip86.external, wallet];
    return parents.map((parent) => deriveChild(parent, index).point);
  }
}
