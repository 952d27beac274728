/**
 * The chain as a bitcoind has it: its answers, read and checked.
 *
 * Hashes are in internal byte order here; bitcoind says them last byte first.
 * Nothing that it says is believed because it is well formed: the device checks
 * work and proofs. What is checked here is that an answer can be one, so that a
 * broken or lying bitcoind is named and no more.
 *
 * @module
 */

import { MAX_BLOCK_SIZE } from "../bitcoin/block.ts";
import { isSameBytes } from "../bitcoin/bytes.ts";
import { display } from "../bitcoin/difficulty.ts";
import { decodeHeader, hashHeader, HEADER_SIZE } from "../bitcoin/header.ts";
import { DecodeError } from "../errors.ts";
import { decode } from "../wire/codec.ts";
import { type BlockHash, chainparams as blockHash } from "../wire/types.ts";
import {
  AnswerError,
  type Bitcoind,
  BitcoindError,
  fieldIn,
  NOT_FOUND,
} from "./bitcoind.ts";

/** Where a bitcoind's best chain ends. */
export interface NodeTip {
  readonly height: number;
  readonly hash: BlockHash;
  /** The lowest block that it still has; 0 when it has them all. */
  readonly lowestBlock: number;
}

/** What a bitcoind says of one block. */
export type Standing =
  | { readonly kind: "unknown" }
  | { readonly kind: "stale" | "main"; readonly height: number };

const MOST_HEIGHT = 0xffff_ffff;
const HASH = /^[0-9a-f]{64}$/;

/** A bitcoind's chain. */
export class NodeChain {
  readonly #bitcoind: Bitcoind;
  readonly #signal: AbortSignal;

  constructor(bitcoind: Bitcoind, signal: AbortSignal) {
    this.#bitcoind = bitcoind;
    this.#signal = signal;
  }

  /** Hash of block 0. */
  async genesis(): Promise<BlockHash> {
    return hashIn("getblockhash", await this.#call("getblockhash", 0));
  }

  /** Where it stands. */
  async tip(): Promise<NodeTip> {
    const info = await this.#call("getblockchaininfo");
    const isPruned = fieldIn(info, "pruned") === true;
    return {
      height: heightIn("getblockchaininfo", fieldIn(info, "blocks")),
      hash: hashIn("getblockchaininfo", fieldIn(info, "bestblockhash")),
      lowestBlock: isPruned
        ? heightIn("getblockchaininfo", fieldIn(info, "pruneheight") ?? 0)
        : 0,
    };
  }

  /** Whether a block is in its best chain, beside it, or not there at all. */
  async standing(hash: Uint8Array): Promise<Standing> {
    try {
      const header = await this.#call("getblockheader", display(hash));
      const confirmations = fieldIn(header, "confirmations");
      if (typeof confirmations !== "number") {
        throw new AnswerError(
          "getblockheader",
          "no confirmations",
          "a number of them",
        );
      }
      const height = heightIn("getblockheader", fieldIn(header, "height"));
      return { kind: confirmations < 0 ? "stale" : "main", height };
    } catch (error) {
      const isUnknown = error instanceof BitcoindError &&
        error.code === NOT_FOUND;
      if (isUnknown) return { kind: "unknown" };
      throw error;
    }
  }

  /** Hashes of its best chain: of `from` and the blocks up to `to`. */
  async hashes(from: number, to: number): Promise<readonly BlockHash[]> {
    const heights = Array.from({ length: to - from + 1 }, (_, i) => [from + i]);
    const found = await this.#batch("getblockhash", heights);
    return found.map((value) => hashIn("getblockhash", value));
  }

  /** Headers as they travel, each that of its hash. */
  async headers(
    hashes: readonly BlockHash[],
  ): Promise<readonly Uint8Array[]> {
    const asked = hashes.map((hash) => [display(hash), false]);
    const found = await this.#batch("getblockheader", asked);
    return found.map((value, i) => {
      const bytes = hexIn("getblockheader", value, HEADER_SIZE);
      checkHash("getblockheader", bytes, hashes[i]);
      return bytes;
    });
  }

  /** A block as it travels, at least by its header the one that was asked for. */
  async block(hash: BlockHash): Promise<Uint8Array> {
    const value = await this.#call("getblock", display(hash), 0);
    const bytes = hexIn("getblock", value, MAX_BLOCK_SIZE);
    checkHash("getblock", bytes.subarray(0, HEADER_SIZE), hash);
    return bytes;
  }

  #call(
    method: string,
    ...params: readonly (string | number)[]
  ): Promise<unknown> {
    return this.#bitcoind.call(method, params, this.#signal);
  }

  async #batch(
    method: string,
    all: readonly (readonly (string | number | boolean)[])[],
  ): Promise<readonly unknown[]> {
    const found = await this.#bitcoind.batch(method, all, this.#signal);
    if (found.length === all.length) return found;
    throw new AnswerError(method, "another number of answers", "one each");
  }
}

function heightIn(method: string, value: unknown): number {
  const isHeight = typeof value === "number" && Number.isInteger(value) &&
    value >= 0 && value <= MOST_HEIGHT;
  if (isHeight) return value;
  throw new AnswerError(method, show(value), "a height");
}

function hashIn(method: string, value: unknown): BlockHash {
  if (typeof value === "string" && HASH.test(value)) {
    return decode(blockHash, Uint8Array.fromHex(value).reverse());
  }
  throw new AnswerError(method, show(value), "a hash");
}

function hexIn(method: string, value: unknown, most: number): Uint8Array {
  if (typeof value !== "string" || value.length > 2 * most) {
    const found = typeof value === "string"
      ? `${value.length / 2} bytes`
      : show(value);
    throw new AnswerError(method, found, `${most} bytes or less in hex`);
  }
  try {
    return Uint8Array.fromHex(value);
  } catch {
    throw new AnswerError(method, show(value), "hex");
  }
}

/** Whether 80 bytes are the header of this hash. */
function checkHash(
  method: string,
  header: Uint8Array,
  wanted: Uint8Array | undefined,
): void {
  const found = hashOf(header);
  if (found !== null && wanted && isSameBytes(found, wanted)) return;
  throw new AnswerError(
    method,
    found === null ? "no header" : `block ${display(found)}`,
    wanted ? display(wanted) : "another",
  );
}

function hashOf(header: Uint8Array): Uint8Array | null {
  try {
    return hashHeader(decodeHeader(header));
  } catch (error) {
    if (error instanceof DecodeError) return null;
    throw error;
  }
}

const LONGEST_SHOWN = 80;

/** A foreign value, short and in one line. */
function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > LONGEST_SHOWN
    ? `${text.slice(0, LONGEST_SHOWN)}…`
    : text;
}
