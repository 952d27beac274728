/**
 * Blocks from which a chain is followed when nobody names another: this program
 * vouches for them.
 *
 * | network | block | why it can be vouched for |
 * | --- | --- | --- |
 * | bitcoin | 866,880 | first of its period; a false header would cost ten minutes of all miners |
 * | all others | 0 | the network's rules name it |
 *
 * What is before a checkpoint is never looked at: no channel that this program
 * signed for is older.
 *
 * What it does not do: know the newest block.
 *
 * @module
 */

import { type ChainStart, WORK_RULES } from "./difficulty.ts";
import { decodeHeader } from "./header.ts";
import type { Network } from "./networks.ts";

/** October 2024. */
const BITCOIN: ChainStart = {
  height: 866_880,
  header: decodeHeader(Uint8Array.fromHex(
    "00c06d33abfd7611d95588541b36cf913627c5e05fc8d9ec7d7c00000000000000000000" +
      "437f827366461f1e5e8253ca36ae6fb3c5bb8b023d9bfb68eafb3991d7bb3e394de91767" +
      "28f102177a39728a",
  )),
  earlierTimes: [1729620194],
};

/** Where a network's chain is taken up. */
export function checkpointOf({ name }: Network): ChainStart {
  if (name === "bitcoin") return BITCOIN;
  return { height: 0, header: WORK_RULES[name].genesis };
}
