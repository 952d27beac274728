/**
 * Blocks that tests mine: regtest headers with as much work as regtest wants,
 * which is two hashes on average.
 *
 * @module
 */

import { writeCompactSize } from "../../src/bitcoin/bytes.ts";
import {
  type ChainPoint,
  extendChain,
  genesisPoint,
  nextBits,
} from "../../src/bitcoin/difficulty.ts";
import {
  type BlockHeader,
  encodeHeader,
  hashHeader,
  provesWork,
} from "../../src/bitcoin/header.ts";
import { merkleRoot } from "../../src/bitcoin/merkle.ts";
import { type Network, NETWORKS } from "../../src/bitcoin/networks.ts";
import { type Tx, txidOf, type TxInput } from "../../src/bitcoin/tx.ts";
import { type WholeBlock, writeTx } from "../../src/bitcoin/txo_proof.ts";
import { Writer } from "../../src/wire/codec.ts";
import type { Sat, Txid } from "../../src/wire/types.ts";

/** A header that follows `parent`, ten minutes later unless told. */
export function minedHeader(
  network: Network,
  parent: ChainPoint,
  wanted: Partial<Pick<BlockHeader, "time" | "merkleRoot" | "bits">> = {},
): BlockHeader {
  const time = wanted.time ?? parent.header.time + 600;
  const header: BlockHeader = {
    version: 0x2000_0000,
    previous: parent.hash,
    merkleRoot: wanted.merkleRoot ?? new Uint8Array(32),
    time,
    bits: wanted.bits ?? nextBits(network, parent, time),
    nonce: 0,
  };
  const limit = 1n << 255n;
  for (let nonce = 0;; nonce++) {
    const mined = { ...header, nonce };
    if (provesWork(hashHeader(mined), mined.bits, limit)) return mined;
  }
}

/** Where a regtest chain begins. */
export function regtestStart(): ChainPoint {
  return genesisPoint(NETWORKS.regtest);
}

/** A coinbase that is another for each height. */
export function coinbaseTx(height: number): Tx {
  const scriptSig = new Uint8Array(8);
  new DataView(scriptSig.buffer).setUint32(0, height);
  const input: TxInput = {
    txid: new Uint8Array(32) as Uint8Array as Txid,
    index: 0xffff_ffff,
    scriptSig,
    sequence: 0xffff_ffff,
    witness: [],
  };
  return {
    version: 2,
    inputs: [input],
    outputs: [{ amount: 5_000_000_000n as Sat, script: Uint8Array.of(0x51) }],
    locktime: 0,
  };
}

/** A transaction that spends outpoints; `mark` makes it another. */
export function spendingTx(
  outpoints: readonly Pick<TxInput, "txid" | "index">[],
  mark: number,
): Tx {
  const outputs = [1000n, 2000n].map((amount) => ({
    amount: amount as Sat,
    script: Uint8Array.of(0x51, mark),
  }));
  return {
    version: 2,
    inputs: outpoints.map((outpoint) => ({
      ...outpoint,
      scriptSig: new Uint8Array(0),
      sequence: 0xffff_fffd,
      witness: [],
    })),
    outputs,
    locktime: 0,
  };
}

/** A block on top of `parent`, with a coinbase in front of `txs`. */
export function mineBlock(
  parent: ChainPoint,
  txs: readonly Tx[],
  wanted: { readonly time?: number; readonly mark?: number } = {},
): WholeBlock {
  const { mark = 0, ...times } = wanted;
  const coinbase = { ...coinbaseTx(parent.height + 1), locktime: mark };
  const all = [coinbase, ...txs];
  const root = merkleRoot(all.map(txidOf));
  if (root === null) throw new Error("no transactions");
  const header = minedHeader(NETWORKS.regtest, parent, {
    ...times,
    merkleRoot: root,
  });
  return { header, txs: all };
}

/** Where the chain stands after a block of ours. */
export function pointAfter(
  parent: ChainPoint,
  { header }: Pick<WholeBlock, "header">,
): ChainPoint {
  const hash = hashHeader(header);
  return extendChain(NETWORKS.regtest, parent, { header, hash });
}

/** A block as it travels. */
export function blockBytes({ header, txs }: WholeBlock): Uint8Array {
  const writer = new Writer();
  writer.bytes(encodeHeader(header));
  writeCompactSize(writer, txs.length);
  for (const tx of txs) writeTx(writer, tx);
  return writer.finish();
}
