/**
 * What a device is shown of a block: made in slices, so that requests to sign
 * get through between them.
 *
 * A device that wants whole blocks gets all bytes, and a signer with a filter
 * gets the filter and the transactions that concern what it watches
 * (`bitcoin/txo_proof.ts`). Both need the block's filter, which goes into the
 * chain of filter headers and so into the attestation.
 *
 * No oracle speaks here: the attestation is our own, under a key that everybody
 * knows, as VLS's front end makes one. It says nothing; the form wants one.
 *
 * @module
 */

import { BlockStream, type SeenBlock } from "../bitcoin/block.ts";
import { filterHeader, matchFilter } from "../bitcoin/filter.ts";
import { buildPartialTree } from "../bitcoin/merkle.ts";
import type { Tx } from "../bitcoin/tx.ts";
import {
  BlockSearch,
  encodeTxoProof,
  type Evidence,
  type Follow,
  type FoundTx,
  outpointKey,
  type Watches,
} from "../bitcoin/txo_proof.ts";
import { decode } from "../wire/codec.ts";
import { attest } from "../wire/txoo.ts";
import { pubkey, type Txid } from "../wire/types.ts";

/** Bytes of a block that are looked at in one go: a millisecond's work. */
const SLICE = 2048;
/** Work that may go on before others get their turn, in milliseconds. */
const TURN_MS = 2;

/** Lets others have their turn. */
export type Breathe = () => Promise<void>;

/** What a block's transactions are, as far as a signer cares. */
export interface SearchedBlock {
  readonly bytes: Uint8Array;
  readonly seen: SeenBlock;
  readonly txids: readonly Txid[];
  /** Places of the transactions that concern the watches. */
  readonly places: ReadonlySet<number>;
  readonly txs: readonly Tx[];
  /** All that is watched in the end, as keys. */
  readonly outpoints: ReadonlySet<string>;
}

/** Nothing is watched. */
export const NO_WATCHES: Watches = { txids: new Set(), outpoints: new Set() };

/** Outputs of what was found may be watched next, in the same block even. */
const followAll: Follow = ({ tx, txid }: FoundTx) =>
  tx.outputs.map((_output, index) => outpointKey({ txid, index }));

/**
 * Looks through a block.
 *
 * @throws {DecodeError} for bytes that are no block
 */
export async function searchBlock(
  bytes: Uint8Array,
  watches: Watches,
  breathe: Breathe,
): Promise<SearchedBlock> {
  const search = new BlockSearch(watches, followAll);
  const txids: Txid[] = [];
  const places = new Set<number>();
  const stream = new BlockStream((tx, txid) => {
    if (search.take(tx, txid)) places.add(txids.length);
    txids.push(txid);
  });
  let since = performance.now();
  for (let at = 0; at < bytes.length; at += SLICE) {
    stream.push(bytes.subarray(at, at + SLICE));
    if (performance.now() - since < TURN_MS) continue;
    await breathe();
    since = performance.now();
  }
  const { findings: { found }, outpoints } = search;
  const txs = found.map(({ tx }) => tx);
  return { bytes, seen: stream.finish(), txids, places, txs, outpoints };
}

/**
 * A filter and what it needs beside it; null when only the whole block will do,
 * because the filter names an outpoint by mistake.
 */
export function filterEvidence(block: SearchedBlock): Evidence | null {
  const { seen: { filter, hash }, txs, txids, places, outpoints } = block;
  const spent = new Set(txs.flatMap(({ inputs }) => inputs.map(outpointKey)));
  const open = [...outpoints].filter((key) => !spent.has(key))
    .map((key) => Uint8Array.fromHex(key));
  if (matchFilter(filter, hash, open).length > 0) return null;
  const tree = places.size === 0
    ? null
    : buildPartialTree(txids, (place) => places.has(place));
  return { kind: "filter", filter, txs, tree };
}

/** VLS's oracle that is none, with a key that everybody knows. */
const NO_ORACLE = {
  privateKey: new Uint8Array(32).fill(0xcd),
  publicKey: decode(
    pubkey,
    Uint8Array.fromHex(
      "02b98a7fb8cc007048625b6446ad49a1b3a722df8c1ca975b87160023e14d19097",
    ),
  ),
} as const;

/** A proof as it travels, and the filter header that it speaks of. */
export interface AttestedProof {
  readonly proof: Uint8Array;
  readonly filterHeader: Uint8Array;
}

/** Puts our attestation to what is shown of a block. */
export function attestedProof(
  { seen }: SearchedBlock,
  evidence: Evidence,
  { height, previous }: {
    readonly height: number;
    /** Filter header of the block before. */
    readonly previous: Uint8Array;
  },
): AttestedProof {
  const header = filterHeader(seen.filter, previous);
  const statement = {
    blockHash: seen.hash,
    height,
    filterHeader: header,
    time: BigInt(seen.header.time),
  };
  const attestations = [attest(statement, NO_ORACLE)];
  return {
    proof: encodeTxoProof({ attestations, evidence }),
    filterHeader: header,
  };
}
