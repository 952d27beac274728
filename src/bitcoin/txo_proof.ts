/**
 * TXOO proofs: what happened to certain outpoints and transactions in a block.
 *
 * | part | what it shows |
 * | --- | --- |
 * | attestations | oracles' word for the block's filter header |
 * | filter | which outpoints the block spends, if the oracles are right |
 * | transactions, tree | that these are in the block, by the header's merkle root |
 * | the block instead | everything, by the merkle root alone |
 *
 * | type | what follows |
 * | --- | --- |
 * | 0 filter | filter, transactions, a partial tree if there are any |
 * | 1 block | the block, up to the end |
 * | 2 external | nothing: the block came in pieces before |
 *
 * The filter is the one point at which somebody has to be believed: a false one
 * hides that an outpoint was spent. And no filter shows that a watched
 * transaction is missing, because it knows outpoints only; who withholds a
 * transaction delays its confirmation. A whole block hides nothing.
 *
 * The form is that of the crate txoo. What it does not do: decide whose
 * attestation counts (`signer/tracker.ts`).
 *
 * @module
 */

import { DecodeError } from "../errors.ts";
import { Reader, Writer } from "../wire/codec.ts";
import { type Attestation, attestation, u32le } from "../wire/txoo.ts";
import type { Txid } from "../wire/types.ts";
import {
  isSameBytes,
  readList,
  readVarBytes,
  writeCompactSize,
  writeU32,
  writeVarBytes,
} from "./bytes.ts";
import { buildFilter, matchFilter, outpointBytes } from "./filter.ts";
import { type BlockHeader, hashHeader, readHeader } from "./header.ts";
import {
  buildPartialTree,
  extractMatches,
  NODE_SIZE,
  type PartialMerkleTree,
  readPartialTree,
  writePartialTree,
} from "./merkle.ts";
import {
  encodeTxWithoutWitness,
  readTx,
  type Tx,
  txidOf,
  type TxInput,
} from "./tx.ts";

/** Most attestations that one proof is read with: each costs a verification. */
export const MAX_ATTESTATIONS = 32;

const TYPE_FILTER = 0;
const TYPE_BLOCK = 1;
const TYPE_EXTERNAL = 2;

/** Proof that goes with a header. */
export interface TxoProof {
  readonly attestations: readonly Attestation[];
  readonly evidence: Evidence;
}

/** What is shown of a block. */
export type Evidence =
  | FilterEvidence
  | { readonly kind: "block"; readonly block: Uint8Array }
  | { readonly kind: "external" };

/** A filter, and transactions with the tree that proves them. */
export interface FilterEvidence {
  readonly kind: "filter";
  readonly filter: Uint8Array;
  readonly txs: readonly Tx[];
  readonly tree: PartialMerkleTree | null;
}

/** @throws {DecodeError} for bytes that are not exactly one proof */
export function decodeTxoProof(bytes: Uint8Array): TxoProof {
  const reader = new Reader(bytes, "txo proof");
  return reader.window(bytes.length, () => {
    const count = u32le.decode(reader);
    if (count === 0 || count > MAX_ATTESTATIONS) {
      reader.fail(`${count} attestations, want 1 to ${MAX_ATTESTATIONS}`);
    }
    const attestations = Array.from(
      { length: count },
      (_, i) =>
        reader.within(`attestations.${i}`, () => attestation.decode(reader)),
    );
    return { attestations, evidence: readEvidence(reader) };
  });
}

function readEvidence(reader: Reader): Evidence {
  const type = reader.u8();
  if (type === TYPE_EXTERNAL) return { kind: "external" };
  if (type === TYPE_BLOCK) {
    return { kind: "block", block: reader.bytes(reader.remaining) };
  }
  if (type !== TYPE_FILTER) reader.fail(`proof type ${type}, want 0 to 2`);
  const filter = reader.within("filter", () => readVarBytes(reader));
  const txs = reader.within(
    "txs",
    () => readList(reader, () => readTx(reader)),
  );
  const flag = reader.u8();
  if (flag > 1) reader.fail(`${flag}, want 0 or 1`);
  const tree = flag === 0
    ? null
    : reader.within("tree", () => readPartialTree(reader));
  return { kind: "filter", filter, txs, tree };
}

/** The bytes of a proof. */
export function encodeTxoProof(
  { attestations, evidence }: TxoProof,
): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  writeU32(writer, attestations.length);
  for (const one of attestations) attestation.encode(writer, one);
  writeEvidence(writer, evidence);
  return writer.finish();
}

function writeEvidence(writer: Writer, evidence: Evidence): void {
  switch (evidence.kind) {
    case "external":
      return writer.u8(TYPE_EXTERNAL);
    case "block":
      writer.u8(TYPE_BLOCK);
      return writer.bytes(evidence.block);
    case "filter":
      writer.u8(TYPE_FILTER);
      writeVarBytes(writer, evidence.filter);
      writeCompactSize(writer, evidence.txs.length);
      for (const tx of evidence.txs) writeTx(writer, tx);
      writer.u8(evidence.tree === null ? 0 : 1);
      if (evidence.tree !== null) writePartialTree(writer, evidence.tree);
  }
}

/** A transaction with its witnesses, if it has any (BIP 144). */
export function writeTx(writer: Writer, tx: Tx): void {
  const bare = encodeTxWithoutWitness(tx);
  if (tx.inputs.every(({ witness }) => witness.length === 0)) {
    return writer.bytes(bare);
  }
  writer.bytes(bare.subarray(0, 4));
  writer.bytes(Uint8Array.of(0, 1));
  writer.bytes(bare.subarray(4, -4));
  for (const { witness } of tx.inputs) {
    writeCompactSize(writer, witness.length);
    for (const item of witness) writeVarBytes(writer, item);
  }
  writer.bytes(bare.subarray(-4));
}

// -------------------------------------------------------------------- watching

/** What is looked for in blocks. Keys are those of {@link outpointKey}. */
export interface Watches {
  /** Transactions that are to confirm, as hex in internal byte order. */
  readonly txids: ReadonlySet<string>;
  /** Outputs that may be spent. */
  readonly outpoints: ReadonlySet<string>;
}

/** An output's name in a set: the hex of its 36 bytes. */
export function outpointKey(outpoint: Pick<TxInput, "txid" | "index">): string {
  return outpointBytes(outpoint).toHex();
}

/** A transaction of a block that was looked for. */
export interface FoundTx {
  readonly tx: Tx;
  readonly txid: Txid;
}

/** A watched output, and what spends it. */
export interface Spend extends FoundTx {
  /** The spent output's key. */
  readonly outpoint: string;
}

/** What a block did to what is watched, in the order of the block. */
export interface Findings {
  /** Transactions that concern us in any way. */
  readonly found: readonly FoundTx[];
  /** Those that were waited for by their txid. */
  readonly confirmed: readonly FoundTx[];
  readonly spent: readonly Spend[];
}

/** Outputs of a found transaction that are looked for from there on, as keys. */
export type Follow = (found: FoundTx) => Iterable<string>;

/** Looks through a block's transactions, in order. */
export class BlockSearch {
  readonly #watches: Watches;
  readonly #follow: Follow;
  readonly #outpoints: Set<string>;
  readonly #found: FoundTx[] = [];
  readonly #confirmed: FoundTx[] = [];
  readonly #spent: Spend[] = [];

  constructor(watches: Watches, follow: Follow = () => []) {
    this.#watches = watches;
    this.#follow = follow;
    this.#outpoints = new Set(watches.outpoints);
  }

  /** What was found so far. */
  get findings(): Findings {
    return {
      found: this.#found,
      confirmed: this.#confirmed,
      spent: this.#spent,
    };
  }

  /** What is looked for by now: outputs of found transactions came to it. */
  get outpoints(): ReadonlySet<string> {
    return this.#outpoints;
  }

  /** Looks at one transaction; says whether it was looked for. */
  take(tx: Tx, txid: Txid): boolean {
    const found = { tx, txid };
    const isWanted = this.#watches.txids.has(txid.toHex());
    const spends = tx.inputs.map(outpointKey)
      .filter((key) => this.#outpoints.has(key))
      .map((outpoint) => ({ ...found, outpoint }));
    if (!isWanted && spends.length === 0) return false;
    this.#found.push(found);
    if (isWanted) this.#confirmed.push(found);
    this.#spent.push(...spends);
    for (const key of this.#follow(found)) this.#outpoints.add(key);
    return true;
  }
}

// --------------------------------------------------------------------- proving

/** A block as somebody has it who has all of it. */
export interface WholeBlock {
  readonly header: BlockHeader;
  readonly txs: readonly Tx[];
}

/** @throws {DecodeError} for bytes that are not exactly one block */
export function decodeBlock(bytes: Uint8Array): WholeBlock {
  const reader = new Reader(bytes, "block");
  return reader.window(bytes.length, () => ({
    header: readHeader(reader),
    txs: readList(reader, () => readTx(reader)),
  }));
}

/** The filter of a block's inputs. */
export function txooFilter({ header, txs }: WholeBlock): Uint8Array {
  const spent = txs.flatMap(({ inputs }) => inputs.map(outpointBytes));
  return buildFilter(hashHeader(header), spent);
}

/**
 * What is to be shown of a block to somebody with these watches; null when only
 * the whole block will do, because the filter names an outpoint by mistake.
 */
export function proveBlock(
  block: WholeBlock,
  watches: Watches,
  follow?: Follow,
): FilterEvidence | null {
  const search = new BlockSearch(watches, follow);
  const txids = block.txs.map(txidOf);
  const places = new Set<number>();
  for (const [place, tx] of block.txs.entries()) {
    const txid = txids[place];
    if (txid !== undefined && search.take(tx, txid)) places.add(place);
  }
  const txs = search.findings.found.map(({ tx }) => tx);
  const filter = txooFilter(block);
  const evidence: FilterEvidence = {
    kind: "filter",
    filter,
    txs,
    tree: places.size === 0
      ? null
      : buildPartialTree(txids, (place) => places.has(place)),
  };
  return findUnspent(evidence, hashHeader(block.header), search.outpoints) ===
      null
    ? evidence
    : null;
}

/** An outpoint that a filter names and none of the transactions spends. */
function findUnspent(
  { filter, txs }: FilterEvidence,
  blockHash: Uint8Array,
  outpoints: ReadonlySet<string>,
): Uint8Array | null {
  const spent = new Set(
    txs.flatMap(({ inputs }) => inputs.map(outpointKey)),
  );
  const open = [...outpoints].filter((key) => !spent.has(key))
    .map((key) => Uint8Array.fromHex(key));
  return matchFilter(filter, blockHash, open)[0] ?? null;
}

/** What evidence shows, or why it shows nothing. */
export type Shown =
  | { readonly findings: Findings }
  | { readonly problem: string };

/**
 * What a filter and its transactions show of the header's block.
 *
 * That the filter is the block's is not looked into: its header is attested, or
 * it is not.
 */
export function checkFilterEvidence(
  evidence: FilterEvidence,
  { header, watches, follow }: {
    readonly header: BlockHeader;
    readonly watches: Watches;
    readonly follow?: Follow | undefined;
  },
): Shown {
  const { txs } = evidence;
  const txids = txs.map(txidOf);
  const problem = treeProblem(evidence, txids, header);
  if (problem !== null) return { problem };
  const search = new BlockSearch(watches, follow);
  for (const [i, txid] of txids.entries()) {
    const tx = txs[i];
    if (tx !== undefined) search.take(tx, txid);
  }
  const unspent = findUnspent(
    evidence,
    hashHeader(header),
    search.outpoints,
  );
  if (unspent !== null) {
    return {
      problem: `the filter has watched outpoint ${unspent.toHex()}, ` +
        "want the transaction that spends it",
    };
  }
  return { findings: search.findings };
}

function treeProblem(
  { txs, tree }: FilterEvidence,
  txids: readonly Txid[],
  header: BlockHeader,
): string | null {
  if (tree === null) {
    return txs.length === 0 ? null : "transactions without a tree, want one";
  }
  const small = txs.find((tx) =>
    encodeTxWithoutWitness(tx).length === NODE_SIZE
  );
  if (small !== undefined) {
    return "a transaction of 64 bytes, want it in a whole block";
  }
  const matches = matchesOf(tree);
  if (typeof matches === "string") return matches;
  if (!isSameBytes(matches.root, header.merkleRoot)) {
    return `merkle root ${matches.root.toHex()}, want ${header.merkleRoot.toHex()}`;
  }
  const isSame = matches.txids.length === txids.length &&
    matches.txids.every((proved, i) => isSameBytes(proved, txids[i] ?? proved));
  return isSame ? null : "a tree that proves other transactions, want these";
}

function matchesOf(
  tree: PartialMerkleTree,
): ReturnType<typeof extractMatches> | string {
  try {
    return extractMatches(tree);
  } catch (error) {
    if (error instanceof DecodeError) return error.message;
    throw error;
  }
}
