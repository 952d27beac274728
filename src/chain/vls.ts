/**
 * What has to be remembered for a VLS signer, which says of its chain the height
 * and hash of the tip and no more.
 *
 * Each proof chains from the filter header of the block before; the chain of
 * those starts from zeros at the first block. Where the broker does not know one
 * any more, after its own restart say, it is made again from all blocks, which
 * is done on short chains only: on others nobody but an oracle knows it.
 *
 * @module
 */

import { display } from "../bitcoin/difficulty.ts";
import { filterHeader as nextFilterHeader } from "../bitcoin/filter.ts";
import { decodeHeader } from "../bitcoin/header.ts";
import type { ChainState } from "../wire/chain_native.ts";
import type { BlockHash } from "../wire/types.ts";
import type { NodeChain } from "./node.ts";
import { type Breathe, NO_WATCHES, searchBlock } from "./proof.ts";

/** Following cannot go on by itself. */
export class Stuck extends Error {
  override readonly name = "Stuck";
}

/** Blocks from whose filters a lost filter header is made again, at most. */
const MOST_REBUILT = 20_000;
/** Filter headers that are kept: more than any reorg takes back. */
const KEPT = 1000;
/** Blocks that these signers take back. */
const MAX_REORG = 100;

/** What a VLS signer says of its tip. */
export type VlsTip = Pick<ChainState, "height" | "hash">;

/** What the memory is made of. */
export interface VlsOptions {
  readonly node: NodeChain;
  readonly breathe: Breathe;
  /** Hears how far it is when it takes long. */
  readonly progress: (height: number, tip: number) => void;
}

/** Filter headers of blocks that were passed on. */
export class VlsMemory {
  readonly #options: VlsOptions;
  readonly #headers = new Map<string, Uint8Array>();

  constructor(options: VlsOptions) {
    this.#options = options;
  }

  /** Keeps a block's filter header, and forgets the oldest. */
  keep(hash: Uint8Array, filterHeader: Uint8Array): void {
    this.#headers.set(hash.toHex(), filterHeader);
    if (this.#headers.size <= KEPT) return;
    const [oldest = ""] = this.#headers.keys();
    this.#headers.delete(oldest);
  }

  /** All that there is to say of a signer whose tip this is. */
  async stateAt(tip: VlsTip): Promise<ChainState> {
    return {
      ...tip,
      isStarted: true,
      filterHeader: this.#of(tip) ?? await this.#rebuild(tip),
      wantsWholeBlocks: false,
      isWatching: true,
      maxReorg: MAX_REORG,
      previous: await this.#previousOf(tip),
      birthday: 0n,
    };
  }

  /** Filter header of a block; zeros before the first, null for a lost one. */
  #of({ height, hash }: VlsTip): Uint8Array | null {
    return height === 0
      ? new Uint8Array(32)
      : this.#headers.get(hash.toHex()) ?? null;
  }

  /** The block before the tip, if bitcoind knows the tip at all. */
  async #previousOf({ height, hash }: VlsTip): Promise<ChainState["previous"]> {
    if (height === 0) return null;
    const { node } = this.#options;
    const { kind } = await node.standing(hash);
    if (kind === "unknown") return null;
    const [header] = await node.headers([hash]);
    if (header === undefined) return null;
    const before = { height: height - 1, hash: decodeHeader(header).previous };
    const [previous] = await node.headers([before.hash]);
    const filterHeader = this.#of(before);
    return previous === undefined || filterHeader === null
      ? null
      : { header: previous, filterHeader };
  }

  /** Makes a filter header again, from all blocks up to its own. */
  async #rebuild({ height, hash }: VlsTip): Promise<Uint8Array> {
    const { node, breathe, progress } = this.#options;
    const path = height > MOST_REBUILT ? [] : await this.#pathTo(hash);
    if (path.length !== height) {
      throw new Stuck(
        `the filter header of its tip, block ${height} ${display(hash)}, ` +
          "is not known and cannot be made again",
      );
    }
    let filterHeader: Uint8Array = new Uint8Array(32);
    for (const [i, block] of path.entries()) {
      const bytes = await node.block(block);
      const { seen } = await searchBlock(bytes, NO_WATCHES, breathe);
      filterHeader = nextFilterHeader(seen.filter, filterHeader);
      this.keep(block, filterHeader);
      progress(i, height);
    }
    return filterHeader;
  }

  /** Hashes of the blocks from the first after genesis up to this one. */
  async #pathTo(tip: BlockHash): Promise<readonly BlockHash[]> {
    const { node } = this.#options;
    const aside: BlockHash[] = [];
    for (let hash = tip;;) {
      const standing = await node.standing(hash);
      if (standing.kind === "unknown") return [];
      if (standing.kind === "main") {
        const { height } = standing;
        const main = height === 0 ? [] : await node.hashes(1, height);
        return [...main, ...aside.reverse()];
      }
      const [header] = await node.headers([hash]);
      if (header === undefined) return [];
      aside.push(hash);
      hash = decodeHeader(header).previous;
    }
  }
}
