/**
 * How a channel is forgotten for good: its end is buried, the node asks for it no
 * more, and what remains is that its number is used up.
 *
 * Standards: BOLT 3 (a channel's keys follow from peer and number); VLS §5.6.
 *
 * What it does not do: say when (`monitor.ts`); forget what was paid through it.
 *
 * @module
 */

import { note } from "./alarms.ts";
import type { ReadyChannel } from "./call.ts";
import type { Write } from "./memory.ts";
import type { NoteEffect, ReadyState } from "./state.ts";

/** What is to be written when nothing can concern a channel any more. */
export function forgetChannel(
  { memory }: Pick<ReadyState, "memory">,
  { id }: ReadyChannel,
): { readonly writes: readonly Write[]; readonly effects: NoteEffect[] } {
  const node = memory.node();
  const dbidHighWater = node.dbidHighWater > id.dbid
    ? node.dbidHighWater
    : id.dbid;
  return {
    writes: [
      { kind: "channel", id, record: null },
      { kind: "monitor", id, record: null },
      { kind: "node", record: { ...node, dbidHighWater } },
    ],
    effects: [note("chain", id, "its end is buried: it is forgotten")],
  };
}
