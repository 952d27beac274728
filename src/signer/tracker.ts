/**
 * The chain as the signer knows it: headers it checked itself, and what happened
 * in their blocks to the outputs it watches.
 *
 * ```
 *   checkpoint ... recent (as many as a reorg may take back) ... tip
 *                                  \__ best: the most work ever seen
 * ```
 *
 * The broker feeds it one block at a time. A block is taken when its header
 * follows the tip (`bitcoin/difficulty.ts`), its proof shows all that it does to
 * what is watched (`bitcoin/txo_proof.ts`), and enough of the owner's oracles
 * attest its filter. A block that is refused changes nothing. A reorg takes
 * blocks back one by one and adds others; while the new branch has no more work
 * than the best one, {@link isBehind} says so and nothing counts as confirmed.
 *
 * What can be known depends on what the owner sets:
 *
 * | set | a lie costs | what the broker can still hide |
 * | --- | --- | --- |
 * | nothing | nothing | that a watched output was spent; that a watched transaction confirmed |
 * | oracle keys | as many oracles as must agree | that a watched transaction confirmed |
 * | whole blocks | a block's work | nothing that is in the blocks it shows |
 *
 * In every case it can stop showing blocks: {@link tipAge} tells. And in no case
 * can it show what is not there without mining: a confirmation stands on the
 * headers' work (on signet on very little of it, on regtest on none).
 *
 * Memory does not grow with the chain: `recent` has a fixed length, everything
 * else a fixed size.
 *
 * What it does not do: say what a spend means (`monitor.ts`), keep state, or
 * check scripts.
 *
 * @module
 */

import {
  BlockStream,
  seeBlock,
  type SeenBlock,
  type TxVisitor,
} from "../bitcoin/block.ts";
import { isSameBytes } from "../bitcoin/bytes.ts";
import {
  type ChainPoint,
  type ChainStart,
  display,
  extendChain,
  headerProblem,
  startChain,
} from "../bitcoin/difficulty.ts";
import { filterHeader } from "../bitcoin/filter.ts";
import {
  type BlockHeader,
  encodeHeader,
  hashHeader,
} from "../bitcoin/header.ts";
import type { Network } from "../bitcoin/networks.ts";
import {
  BlockSearch,
  checkFilterEvidence,
  type Findings,
  type Follow,
  type TxoProof,
  type Watches,
} from "../bitcoin/txo_proof.ts";
import { isPoint } from "../crypto/secp.ts";
import {
  PolicyViolation,
  RequestError,
  SIGNER_ERROR_CODES,
  unreachable,
} from "../errors.ts";
import { type Attestation, isAttested } from "../wire/txoo.ts";
import type { BlockHash } from "../wire/types.ts";

/** The rule that a block breaks which is refused. */
const CHAIN_RULE = "policy-chain-validated";

/** What the owner chose to believe. */
export interface TrackerRules {
  readonly network: Network;
  /** Public keys of oracles (33 bytes each). */
  readonly oracles: readonly Uint8Array[];
  /** How many different ones must attest each block. */
  readonly oraclesNeeded: number;
  /** Whether only a whole block is proof of what is in it. */
  readonly wantsWholeBlocks: boolean;
  /** Blocks that a reorg may take back. */
  readonly maxReorg: number;
}

/** Where to begin; the owner, or this program, vouches for it. */
export interface Checkpoint extends ChainStart {
  /** Filter header of the checkpoint's block, as those who attest have it. */
  readonly filterHeader: Uint8Array;
}

/** A block of the chain. */
export interface TrackedBlock {
  readonly point: ChainPoint;
  readonly filterHeader: Uint8Array;
}

/** What the signer knows of the chain. */
export interface TrackerState {
  readonly rules: TrackerRules;
  /** Newest last, never empty; the first can not be taken back. */
  readonly recent: readonly [TrackedBlock, ...TrackedBlock[]];
  /** The most work that was ever seen. */
  readonly best: Pick<ChainPoint, "height" | "hash" | "work">;
}

/** A block that is to be added. */
export interface NewBlock {
  readonly header: BlockHeader;
  readonly proof: TxoProof;
  /** What came in pieces before, for a proof that says so. */
  readonly intake?: BlockIntake | undefined;
  readonly watches: Watches;
  readonly follow?: Follow | undefined;
  /** Our clock, Unix seconds. */
  readonly now: number;
}

/** A block that was added, and what it did. */
export interface AddedBlock {
  readonly state: TrackerState;
  readonly height: number;
  readonly hash: BlockHash;
  readonly findings: Findings;
}

/** What is to be taken back: the block after these. */
export interface Removal {
  readonly previousHeader: Uint8Array;
  readonly previousFilterHeader: Uint8Array;
}

/** A block that was taken back. */
export interface RemovedBlock {
  readonly state: TrackerState;
  /** Height and hash of what is gone. */
  readonly height: number;
  readonly hash: BlockHash;
}

/**
 * Begins to follow a chain.
 *
 * @throws {RangeError} for rules that nothing can meet
 */
export function startTracker(
  rules: TrackerRules,
  checkpoint: Checkpoint,
): TrackerState {
  checkRules(rules);
  const point = startChain(checkpoint);
  const { height, hash, work } = point;
  return {
    rules,
    recent: [{ point, filterHeader: checkpoint.filterHeader }],
    best: { height, hash, work },
  };
}

function checkRules(rules: TrackerRules): void {
  const { oracles, oraclesNeeded, maxReorg } = rules;
  const different = new Set(oracles.map((key) => key.toHex()));
  const least = oracles.length === 0 ? 0 : 1;
  if (different.size !== oracles.length || !oracles.every(isPoint)) {
    throw new RangeError("Cannot use oracle keys: want different points");
  }
  if (
    !Number.isInteger(oraclesNeeded) || oraclesNeeded < least ||
    oraclesNeeded > oracles.length
  ) {
    throw new RangeError(
      `Cannot ask for ${oraclesNeeded} oracles: want ${least} to ` +
        `${oracles.length}`,
    );
  }
  if (!Number.isInteger(maxReorg) || maxReorg < 1) {
    throw new RangeError(`Cannot allow reorgs of ${maxReorg}: want 1 or more`);
  }
}

/** A tracker's state without the owner's rules. */
export type Blocks = Pick<TrackerState, "recent" | "best">;

/** The newest block. */
export function tipOf({ recent }: Pick<TrackerState, "recent">): TrackedBlock {
  return recent[recent.length - 1] ?? recent[0];
}

/** Whether blocks were taken back and no branch with more work has come yet. */
export function isBehind(state: Blocks): boolean {
  return !isSameBytes(tipOf(state).point.hash, state.best.hash);
}

/** How deep a block of this height is buried: 1 for the tip, 0 while behind. */
export function depthOf(state: Blocks, height: number): number {
  if (isBehind(state)) return 0;
  return Math.max(0, tipOf(state).point.height + 1 - height);
}

/** The height that deadlines count by: a reorg does not set them back. */
export function deadlineHeight(state: Blocks): number {
  return Math.max(state.best.height, tipOf(state).point.height);
}

/** Seconds since the tip was mined, by its own time; 0 for one ahead of us. */
export function tipAge(state: Blocks, now: number): number {
  return Math.max(0, now - tipOf(state).point.header.time);
}

/** What the owner has to know about these rules, in full sentences. */
export function describeTrust(rules: TrackerRules): string {
  const { oracles, oraclesNeeded, wantsWholeBlocks } = rules;
  if (wantsWholeBlocks) {
    return "Blocks are checked whole: the node can hide a block, " +
      "but nothing that is in one it shows.";
  }
  if (oracles.length === 0) {
    return "No oracle is set: the node can hide that a channel's output was " +
      "spent. It cannot invent a confirmation without mining blocks.";
  }
  return `Each block is attested by ${oraclesNeeded} of ${oracles.length} ` +
    "oracles: the node cannot hide a spend unless they help. It can hide that " +
    "a funding transaction confirmed.";
}

// ---------------------------------------------------------------------- adding

/**
 * Adds a block to the tip.
 *
 * @throws {RequestError} code 401 for a block whose parent is not the tip
 * @throws {PolicyViolation} for a block that is not proved
 * @throws {DecodeError} for a whole block that is none
 */
export function addBlock(state: TrackerState, block: NewBlock): AddedBlock {
  const { header, proof, now } = block;
  const { rules } = state;
  const tip = tipOf(state);
  const hash = hashHeader(header);
  checkHeader(state, { header, hash, now });
  const shown = lookInto(wantedOf(state), block, hash);
  const point = extendChain(rules.network, tip.point, { header, hash });
  const attested = lacksFilterHeader(state)
    ? proof.attestations[0]?.statement.filterHeader
    : undefined;
  const next: TrackedBlock = {
    point,
    filterHeader: attested ?? filterHeader(shown.filter, tip.filterHeader),
  };
  checkAttestations(rules, proof.attestations, next);
  return {
    state: { ...state, ...withTip(state, next) },
    height: next.point.height,
    hash,
    findings: shown.findings,
  };
}

/**
 * Adds a header to the tip, without a look at what is in its block: for blocks
 * from before there was anything to watch.
 *
 * @throws {RequestError} code 401 for a block whose parent is not the tip
 * @throws {PolicyViolation} for a header that may not follow
 */
export function addHeader(
  state: TrackerState,
  header: BlockHeader,
  now: number,
): TrackerState {
  const hash = hashHeader(header);
  checkHeader(state, { header, hash, now });
  const tip = tipOf(state).point;
  const point = extendChain(state.rules.network, tip, { header, hash });
  const next = { point, filterHeader: UNKNOWN };
  return { ...state, ...withTip(state, next) };
}

const UNKNOWN: Uint8Array = new Uint8Array(32);

/**
 * Whether the oracles' chain of filter headers is to be joined at the next
 * block: blocks before it came as headers alone. It has to come whole then.
 */
export function lacksFilterHeader(state: TrackerState): boolean {
  const { point, filterHeader } = tipOf(state);
  return state.rules.oraclesNeeded > 0 && point.height > 0 &&
    isSameBytes(filterHeader, UNKNOWN);
}

/** The rules, as they are for the next block. */
function wantedOf(state: TrackerState): TrackerRules {
  return lacksFilterHeader(state)
    ? { ...state.rules, wantsWholeBlocks: true }
    : state.rules;
}

function checkHeader(
  state: TrackerState,
  block: {
    readonly header: BlockHeader;
    readonly hash: BlockHash;
    readonly now: number;
  },
): void {
  const { point } = tipOf(state);
  if (!isSameBytes(block.header.previous, point.hash)) {
    throw new RequestError(
      SIGNER_ERROR_CODES.orphanBlock,
      `Cannot add block ${display(block.hash)}: parent ` +
        `${display(block.header.previous)}, want the tip ${
          display(point.hash)
        }`,
    );
  }
  const problem = headerProblem(state.rules.network, point, block);
  if (problem !== null) refuse(block.hash, problem);
}

/** What a block's proof shows, whatever its form, and the block's filter. */
interface Look {
  readonly filter: Uint8Array;
  readonly findings: Findings;
}

function lookInto(
  rules: TrackerRules,
  block: NewBlock,
  hash: BlockHash,
): Look {
  const { evidence } = block.proof;
  switch (evidence.kind) {
    case "filter": {
      if (rules.wantsWholeBlocks) refuse(hash, "a filter, want a whole block");
      const shown = checkFilterEvidence(evidence, block);
      if ("problem" in shown) return refuse(hash, shown.problem);
      return { filter: evidence.filter, findings: shown.findings };
    }
    case "block": {
      const search = new BlockSearch(block.watches, block.follow);
      const seen = seeBlock(evidence.block, visitorOf(search));
      checkSame(seen, hash);
      return { filter: seen.filter, findings: search.findings };
    }
    case "external":
      return takeIntake(block, hash);
  }
  return unreachable(evidence);
}

function visitorOf(search: BlockSearch): TxVisitor {
  return (tx, txid) => {
    search.take(tx, txid);
  };
}

function takeIntake({ intake, watches }: NewBlock, hash: BlockHash): Look {
  if (intake === undefined) {
    return refuse(hash, "no block that came in pieces, want one");
  }
  const { seen, findings } = intake.finish();
  checkSame(seen, hash);
  if (!intake.hasWatched(watches)) {
    return refuse(
      hash,
      "watches that are newer than the block's pieces, want " +
        "them sent again",
      true,
    );
  }
  return { filter: seen.filter, findings };
}

function checkSame(seen: SeenBlock, hash: BlockHash): void {
  if (isSameBytes(seen.hash, hash)) return;
  refuse(hash, `proof for block ${display(seen.hash)}, want this one's`);
}

/** All must speak of this block; enough must be the owner's and signed. */
function checkAttestations(
  { oracles, oraclesNeeded }: TrackerRules,
  attestations: readonly Attestation[],
  { point, filterHeader }: TrackedBlock,
): void {
  for (const { statement } of attestations) {
    const isThis = isSameBytes(statement.blockHash, point.hash) &&
      statement.height === point.height &&
      isSameBytes(statement.filterHeader, filterHeader);
    if (!isThis) {
      refuse(
        point.hash,
        `attestation of block ${display(statement.blockHash)} at ` +
          `${statement.height} with filter header ` +
          `${statement.filterHeader.toHex()}, want this block at ` +
          `${point.height} with ${filterHeader.toHex()}`,
      );
    }
  }
  const agreed = oracles.filter((key) =>
    attestations.some((one) => isSameBytes(one.oracle, key) && isAttested(one))
  );
  if (agreed.length >= oraclesNeeded) return;
  refuse(
    point.hash,
    `attested by ${agreed.length} of the owner's oracles, want ` +
      `${oraclesNeeded}`,
  );
}

function withTip(
  { recent, best, rules }: TrackerState,
  next: TrackedBlock,
): Pick<TrackerState, "recent" | "best"> {
  const { height, hash, work } = next.point;
  // One more than may be taken back: what is below the lowest of those.
  const kept = [...recent, next].slice(-(rules.maxReorg + 1));
  const [first = next, ...others] = kept;
  return {
    recent: [first, ...others],
    best: work > best.work ? { height, hash, work } : best,
  };
}

function refuse(hash: Uint8Array, problem: string, isTemporary = false): never {
  throw new PolicyViolation(
    CHAIN_RULE,
    `Cannot add block ${display(hash)}: ${problem}`,
    { isTemporary },
  );
}

// -------------------------------------------------------------------- removing

/**
 * Takes the tip back, in a reorg.
 *
 * No proof is asked for: what the block did is remembered, by height, by those
 * whom it concerned, and to undo it makes nobody believe anything.
 *
 * @throws {PolicyViolation} for the wrong parent, or deeper than is allowed
 */
export function removeBlock(
  state: TrackerState,
  { previousHeader, previousFilterHeader }: Removal,
): RemovedBlock {
  const { height, hash } = tipOf(state).point;
  const [first, ...others] = state.recent.slice(0, -1);
  if (first === undefined) {
    throw new PolicyViolation(
      CHAIN_RULE,
      `Cannot remove block ${display(hash)}: no block before it is kept, ` +
        `want a reorg of ${state.rules.maxReorg} blocks or less (the owner ` +
        "can let the chain begin anew: softkey card forget-chain)",
    );
  }
  const previous = others[others.length - 1] ?? first;
  const isKnown =
    isSameBytes(encodeHeader(previous.point.header), previousHeader) &&
    isSameBytes(previous.filterHeader, previousFilterHeader);
  if (!isKnown) {
    throw new PolicyViolation(
      CHAIN_RULE,
      `Cannot remove block ${display(hash)}: another block before it or ` +
        `another filter header, want ${display(previous.point.hash)} with ` +
        previous.filterHeader.toHex(),
    );
  }
  return { state: { ...state, recent: [first, ...others] }, height, hash };
}

// ---------------------------------------------------------- a block in pieces

/** A piece of a block, as block_chunk carries it. */
export interface BlockPiece {
  readonly hash: Uint8Array;
  readonly offset: number;
  readonly content: Uint8Array;
}

/**
 * One block that comes in pieces, before it is added.
 *
 * Its header is checked as soon as it is there, so that nobody can keep the
 * signer busy with blocks that took no work. It is no part of the state: what is
 * lost on the way is sent again from its beginning.
 */
export class BlockIntake {
  readonly #hash: Uint8Array;
  readonly #watches: Watches;
  readonly #search: BlockSearch;
  readonly #stream: BlockStream;

  constructor(
    state: TrackerState,
    { hash, watches, follow, now }: {
      readonly hash: Uint8Array;
      readonly watches: Watches;
      readonly follow?: Follow | undefined;
      readonly now: number;
    },
  ) {
    this.#hash = hash;
    this.#watches = watches;
    this.#search = new BlockSearch(watches, follow);
    const tip = tipOf(state).point.hash;
    this.#stream = new BlockStream(visitorOf(this.#search), (header, found) => {
      if (!isSameBytes(found, hash)) {
        refuse(hash, `pieces of block ${display(found)}, want this one's`);
      }
      // In a reorg a broker may show the block that it takes back.
      if (!isSameBytes(found, tip)) {
        checkHeader(state, { header, hash: found, now });
      }
    });
  }

  /**
   * Takes the next piece. After a failure the intake is of no more use.
   *
   * @throws {PolicyViolation} for a piece that is not the next one
   * @throws {RequestError} code 401 for a block whose parent is not the tip
   * @throws {DecodeError} for bytes that are no block
   */
  push({ hash, offset, content }: BlockPiece): void {
    if (!isSameBytes(hash, this.#hash) || offset !== this.#stream.size) {
      refuse(
        this.#hash,
        `piece ${offset} of block ${display(hash)}, want piece ` +
          `${this.#stream.size} of this one`,
      );
    }
    this.#stream.push(content);
  }

  /** Whether these watches were looked for. */
  hasWatched({ txids, outpoints }: Watches): boolean {
    return txids.isSubsetOf(this.#watches.txids) &&
      outpoints.isSubsetOf(this.#watches.outpoints);
  }

  /** The whole block. @throws {DecodeError} when its end is missing */
  finish(): { readonly seen: SeenBlock; readonly findings: Findings } {
    return { seen: this.#stream.finish(), findings: this.#search.findings };
  }
}
