/**
 * A regtest chain that a test mines for a signer, and what a broker sends to show
 * it: whole blocks in pieces, headers, blocks taken back.
 *
 * What it does not do: judge. What the signer says is the test's business.
 *
 * @module
 */

import type { ChainPoint } from "../../src/bitcoin/difficulty.ts";
import { filterHeader } from "../../src/bitcoin/filter.ts";
import { encodeHeader, hashHeader } from "../../src/bitcoin/header.ts";
import { type Tx, txidOf } from "../../src/bitcoin/tx.ts";
import {
  encodeTxoProof,
  type Evidence,
  txooFilter,
  type WholeBlock,
} from "../../src/bitcoin/txo_proof.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import {
  type ChainState,
  CHUNK_SIZE,
  NATIVE_CHAIN_MESSAGES as NATIVE,
} from "../../src/wire/chain_native.ts";
import { decodeMessage, encodeMessage } from "../../src/wire/message.ts";
import { attest, CHAIN_MESSAGES as CHAIN } from "../../src/wire/txoo.ts";
import { NOBODY, type Outpoint, type PubKey } from "../../src/wire/types.ts";
import type { Asked, TestNode } from "./channel.ts";
import { blockBytes, mineBlock, pointAfter, regtestStart } from "./chain.ts";

/** Who says what is in a block. */
export interface Oracle {
  readonly privateKey: Uint8Array;
  readonly publicKey: PubKey;
}

/** An oracle whose key is 32 times a byte. */
export function oracleOf(byte: number): Oracle {
  const privateKey = new Uint8Array(32).fill(byte);
  return {
    privateKey,
    publicKey: publicKey(privateKey) as Uint8Array as PubKey,
  };
}

/** A message of the broker's own. */
export function fed(message: Uint8Array): Asked {
  return { id: { peerId: NOBODY, dbid: 0n }, message };
}

/** Where the signer says that its chain stands. */
export function chainStateOf(node: TestNode): ChainState {
  const asked = fed(encodeMessage(NATIVE.chain_state, {}));
  return decodeMessage(NATIVE.chain_state_reply, node.try(asked).reply);
}

interface Mined {
  readonly block: WholeBlock;
  readonly point: ChainPoint;
  readonly filterHeader: Uint8Array;
}

/** Whoever takes messages, and wants none refused. */
export interface Fed {
  do(asked: Asked): unknown;
}

/** A chain, block by block, and a signer that follows it. */
export class TestChain<N extends Fed = TestNode> {
  readonly node: N;
  readonly #mined: Mined[] = [];
  /** Who attests its blocks: the broker itself unless set. */
  oracles: readonly Oracle[] = [oracleOf(0xcd)];
  #mark = 0;

  constructor(node: N) {
    this.node = node;
  }

  get height(): number {
    return this.#mined.length;
  }

  get point(): ChainPoint {
    return this.#mined.at(-1)?.point ?? regtestStart();
  }

  /** Filter header of the tip. */
  get filterHeader(): Uint8Array {
    return this.#mined.at(-1)?.filterHeader ?? new Uint8Array(32);
  }

  /** A block on the tip that nobody has seen yet. */
  next(txs: readonly Tx[] = []): WholeBlock {
    this.#mark += 1;
    return mineBlock(this.point, txs, { mark: this.#mark });
  }

  /** What is sent for a block: its pieces, then the block. */
  messages(
    block: WholeBlock,
    evidence: Evidence = { kind: "external" },
  ): readonly Asked[] {
    const hash = hashHeader(block.header);
    const bytes = evidence.kind === "external"
      ? blockBytes(block)
      : new Uint8Array(0);
    const pieces = Array.from(
      { length: Math.ceil(bytes.length / CHUNK_SIZE) },
      (_, i) => {
        const offset = i * CHUNK_SIZE;
        const content = bytes.subarray(offset, offset + CHUNK_SIZE);
        return fed(encodeMessage(CHAIN.block_chunk, { hash, offset, content }));
      },
    );
    return [...pieces, fed(this.addMessage(block, evidence))];
  }

  /** add_block, attested. */
  addMessage(block: WholeBlock, evidence: Evidence): Uint8Array {
    const statement = {
      blockHash: hashHeader(block.header),
      height: this.height + 1,
      filterHeader: filterHeader(txooFilter(block), this.filterHeader),
      time: 0n,
    };
    const attestations = this.oracles.map((each) => attest(statement, each));
    return encodeMessage(CHAIN.add_block, {
      header: encodeHeader(block.header),
      proof: encodeTxoProof({ attestations, evidence }),
    });
  }

  /** Mines blocks and shows them; the transactions are in the first. */
  grow(txs: readonly Tx[] = [], count = 1): void {
    for (let i = 0; i < count; i++) {
      const block = this.next(i === 0 ? txs : []);
      for (const asked of this.messages(block)) this.node.do(asked);
      this.note(block);
    }
  }

  /** The block is part of the chain. */
  note(block: WholeBlock): void {
    const header = filterHeader(txooFilter(block), this.filterHeader);
    const point = pointAfter(this.point, block);
    this.#mined.push({ block, point, filterHeader: header });
  }

  /** remove_block for the tip. */
  removal(): Asked {
    const below = this.#mined.at(-2);
    return fed(encodeMessage(CHAIN.remove_block, {
      proof: null,
      previousHeader: encodeHeader((below?.point ?? regtestStart()).header),
      previousFilterHeader: below?.filterHeader ?? new Uint8Array(32),
    }));
  }

  /** Takes blocks back. */
  shrink(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.node.do(this.removal());
      this.#mined.pop();
    }
  }
}

/** The outpoint of a transaction's output. */
export function outputOf(tx: Tx, index = 0): Outpoint {
  return { txid: txidOf(tx), index };
}
