/**
 * What adopting found, in words for the owner, and in lines for the book.
 *
 * What it does not do: print.
 *
 * @module
 */

import type { Policy } from "../../policy/limits.ts";
import type { ChannelRecord } from "../../signer/records.ts";
import type { LedgerEntry } from "../ledger.ts";
import { type Adopted, displayed, type LeftOut } from "./build.ts";
import type { Plan } from "./plan.ts";
import { KNOWN_RELEASES, KNOWN_VERSIONS } from "./rows.ts";

/** Everything that was found, before it is acted on. */
export function foundScreen(
  plan: Plan,
  { network, policy }: { readonly network: string; readonly policy: Policy },
): readonly string[] {
  const { nodeId, version, adopted, left, closed } = plan;
  const newer = version > KNOWN_VERSIONS.most
    ? `, newer than ${KNOWN_RELEASES}: what does not check is left out`
    : "";
  return [
    `node      ${nodeId.toHex()}`,
    `network   ${network}`,
    `database  version ${version}${newer}`,
    `channels  ${adopted.length} to adopt, ${left.length} left out, ` +
    `${closed} closed`,
    ...adopted.flatMap((each) => adoptedLines(each, policy)),
    ...left.flatMap(leftLines),
  ];
}

function adoptedLines(adopted: Adopted, policy: Policy): readonly string[] {
  const { record, state, notes, value } = adopted;
  const all = value > policy.maxChannelSizeSat
    ? [
      ...notes,
      `it is larger than your limit max_channel_size_sat of ` +
      `${policy.maxChannelSizeSat} sat: raise it, or no new commitment is signed`,
    ]
    : notes;
  return [
    `channel ${record.dbid} with ${record.peerId.toHex()}: ${state}`,
    `  ${outputsText(record)}`,
    `  ${commitmentsText(adopted)}`,
    ...all.map((note) => `  note: ${note}`),
  ];
}

function outputsText({ fundings }: ChannelRecord): string {
  const names = fundings.map(({ outpoint, value }) =>
    `${displayed(outpoint.txid)}:${outpoint.index} of ${value} sat`
  );
  return `funding ${names.join(", then ")}`;
}

function commitmentsText({ record, ours }: Adopted): string {
  const { holder, counterparty } = record;
  const htlcs = holder.current[0]?.htlcs.length ?? 0;
  const underWay = htlcs === 0
    ? ""
    : `, ${htlcs} HTLC${htlcs === 1 ? "" : "s"} under way`;
  return `ours ${ours / 1000n} sat${underWay}; commitment ` +
    `${holder.next - 1n} of ours, ${counterparty.next - 1n} of the peer's`;
}

function leftLines({ dbid, peerId, state, reason }: LeftOut) {
  const peer = peerId?.toHex() ?? "an unknown peer";
  return [`left out: channel ${dbid} with ${peer} (${state}): ${reason}`];
}

/** What it means, for the owner to consent to. */
export function meaningScreen({ left }: Plan): readonly string[] {
  const unsigned = left.length === 0 ? [] : [
    `For the ${left.length} left out nothing will be signed but what brings ` +
    "coins home from the chain.",
  ];
  return [
    "From here on this card has the last word on these channels. The database " +
    "has to be",
    "the one that the node goes on with, not a copy. The node has to stay " +
    "stopped until it",
    "runs with remote_hsmd_mqtt as its hsmd, and the hsm_secret in its folder " +
    "has to go:",
    "started once more with its old hsmd, it signs states that this card does " +
    "not know of.",
    ...unsigned,
  ];
}

/** A line in the book for each channel. */
export function entriesOf(plan: Plan): readonly LedgerEntry[] {
  const adopted = plan.adopted.map((each): LedgerEntry => ({
    kind: "card",
    peer: each.record.peerId.toHex(),
    channel: each.record.dbid,
    text: `adopted channel ${each.record.dbid} from the node's database: ` +
      commitmentsText(each),
  }));
  const left = plan.left.map(({ dbid, peerId, reason }): LedgerEntry => ({
    kind: "card",
    peer: peerId?.toHex(),
    channel: dbid,
    text: `left channel ${dbid} of the node's database out: ${reason}`,
  }));
  return [...adopted, ...left];
}
