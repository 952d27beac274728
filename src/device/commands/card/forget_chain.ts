/**
 * `softkey card forget-chain`: lets the chain begin anew, for an owner whose
 * node's chain and the card's have parted deeper than a reorganisation may be.
 *
 * What was seen of each channel stays. The next first block is built in or, where
 * channels are in use, the node's.
 *
 * What it does not do: undo what was believed of a channel.
 *
 * @module
 */

import { UsageError } from "../../../errors.ts";
import { encodeWrite } from "../../../signer/memory.ts";
import { type Arguments, noMore } from "../../arguments.ts";
import { newLine } from "../../ledger.ts";
import type { CardAccess } from "../../owner/access.ts";

/** Forgets which blocks the card has seen. @throws {UsageError} while it runs */
export function forgetChain(
  { store, desk, print }: CardAccess,
  { words }: Arguments,
): number {
  noMore(words);
  if (desk !== null) {
    throw new UsageError(
      "Cannot forget the chain while a softkey runs with this card: stop it " +
        "first",
    );
  }
  const text = "the chain is forgotten: it begins anew with the next block";
  const change = encodeWrite({ kind: "chain", record: null });
  store.commit([change], [newLine({ kind: "chain", text }, Date.now())]);
  print("The chain begins anew when the softkey runs");
  return 0;
}
