/**
 * What a native device is asked about its chain beside the messages of VLS
 * (`txoo.ts`): where it stands, where to begin, and headers in bulk.
 *
 * | asks | answered by | what for |
 * | --- | --- | --- |
 * | chain_state 3102 | 3103 | all that the broker needs to go on |
 * | chain_start 3104 | 3105, 3000 | a first block, for a device that has none |
 * | chain_headers 3106 | 3107, 3000 | blocks from before anything was watched |
 *
 * The broker remembers nothing of a device's chain: chain_state says the tip and
 * what remove_block has to carry, so that any broker can go on with any device.
 *
 * What goes with the messages of VLS, to a native device:
 *
 * - a whole block comes as block_chunk of {@link CHUNK_SIZE} bytes, offset 0
 *   first, then add_block whose proof is of the kind "external" and carries one
 *   attestation that the broker made itself;
 * - a reorg is remove_block without a proof, one block at a time, and between two
 *   of them chain_state for the next block to name;
 * - a message that is refused ends there; the next that the broker sends is
 *   chain_state.
 *
 * @module
 */

import { bool, list, option, struct, u32, u64 } from "./codec.ts";
import { type MessageOf, reply, request, table } from "./message.ts";
import { filterHeader, rawHeader } from "./txoo.ts";
import { chainparams as blockHash } from "./types.ts";

/** Bytes of a block in one block_chunk; the last may have fewer. */
export const CHUNK_SIZE = 8192;

/** Headers that one chain_headers may carry. */
export const MAX_HEADERS = 1500;

/** No connection of lightningd's may ask: the broker does, on its own. */
const nowhere = (...replies: number[]) => ({ permission: 0, replies });

/** The block before the tip, in the words of remove_block. */
const previousBlock = struct("previous block", {
  header: rawHeader,
  filterHeader,
});

/** The chain messages of native devices, sorted by number. */
export const NATIVE_CHAIN_MESSAGES = table({
  chain_state: request(3102, {}, nowhere(3103)),
  chain_state_reply: reply(3103, {
    /** False: nothing below this means anything but the last two. */
    isStarted: bool,
    height: u32,
    hash: blockHash,
    filterHeader,
    wantsWholeBlocks: bool,
    /** Whether a block could concern it: headers alone will not do then. */
    isWatching: bool,
    /** Blocks that a reorg may take back, at most. */
    maxReorg: u32,
    /** None when the tip is the lowest block that is kept. */
    previous: option(previousBlock),
    /**
     * When its seed was made, Unix seconds: nothing before it concerns the
     * device. 0 for unknown, or where the chain is to begin near the tip.
     */
    birthday: u64,
  }),
  chain_start: request(3104, {
    height: u32,
    header: rawHeader,
    /** The first of the period of 2016 blocks, where that is another one. */
    period: option(rawHeader),
    /** Times of the blocks before, oldest first, ten at most. */
    earlierTimes: list(u32),
  }, nowhere(3105, 3000)),
  chain_start_reply: reply(3105, {}),
  chain_headers: request(3106, {
    headers: list(rawHeader),
  }, nowhere(3107, 3000)),
  chain_headers_reply: reply(3107, { height: u32 }),
});

/** Where a device's chain stands, in its own words. */
export type ChainState = MessageOf<
  typeof NATIVE_CHAIN_MESSAGES.chain_state_reply
>;
