/**
 * One control message: what it changes, what it is answered, what follows.
 *
 * ```
 * signed by the control key? -- no --> Error
 *   | yes
 * Nonce? -- yes --> the last number; nothing moves, so it may be asked again
 *   | no
 * last < number <= last + 20? -- no --> Error("invalid nonce")
 *   | yes
 * the number is taken, whatever becomes of the message
 * ```
 *
 * Numbers are as in Sphinx (`Nonce` tells the last one, the next one counts), but
 * for three weaknesses:
 *
 * | there | here |
 * | --- | --- |
 * | the first number is 1, on each new card of a seed | the first is above the time in ms at which the card first heard its owner |
 * | ResetAll makes it 0 again | it goes with the card, and the next card of the seed starts at its own time |
 * | a message that is not understood is not counted | it is: nobody can play it to a later release |
 *
 * So what was recorded for an earlier card of the same words is worth nothing,
 * unless the clock of the new one is behind. Two cards of one node have one
 * control key: what its owner tells one of them is not secret to the other.
 *
 * The number, the change and the line in the book are one commit, which is durable
 * before anything else happens.
 *
 * What it does not do: write, erase, or read a clock (`controls.ts`).
 *
 * @module
 */

import type { Network } from "../../bitcoin/networks.ts";
import {
  DecodeError,
  describeError,
  unreachable,
  UsageError,
} from "../../errors.ts";
import {
  type Allowlist,
  createAllowlist,
  stripComment,
} from "../../policy/allowlist.ts";
import { describePolicy, LIMITS, type Policy } from "../../policy/limits.ts";
import { insertVelocity, type VelocityState } from "../../policy/velocity.ts";
import type { Ownership } from "../../signer/state.ts";
import type { Change } from "../../store/store.ts";
import { type Envelope, openEnvelope } from "../../wire/control_envelope.ts";
import {
  type ControlMessage,
  type ControlPolicy,
  type ControlResponse,
  type ControlVelocity,
  decodeControlMessage,
} from "../../wire/control_message.ts";
import type { Msat } from "../../wire/types.ts";
import {
  allowlistChange,
  nonceChange,
  pairingChange,
  policyChange,
} from "../card_state.ts";
import { plainText } from "../ledger.ts";
import { controlPolicyOf, withControlPolicy } from "./policy.ts";

/** How far above the last number one may be. */
const WINDOW = 20n;
/** Most entries that a control message may put on the allowlist. */
const MOST_ENTRIES = 1000;
/** Channels that an answer names; it says how many more there are. */
const MOST_NAMED = 5;

/** What a message is judged by. */
export interface ControlFacts {
  /** The control key's point; null while the seed is locked. */
  readonly point: Uint8Array | null;
  /** The last number that was taken; 0 for a card that never took one. */
  readonly nonce: bigint;
  /** Unix time in milliseconds. */
  readonly now: number;
  readonly network: Network;
  readonly policy: Policy;
  readonly allowlist: Allowlist;
  readonly paid: VelocityState;
  /** Names of the channels that are open. */
  readonly channels: readonly string[];
  /** Whether the seed is on the card, and not in a file elsewhere. */
  readonly isSeedOnCard: boolean;
}

/** What is to be done once the change is durable. */
export type ControlEffect =
  /** In force from the next request on. */
  | {
    readonly kind: "own";
    readonly ownership: Partial<Pick<Ownership, "policy" | "allowlist">>;
  }
  /** The node is forgotten: it is to be paired with anew. */
  | { readonly kind: "part" }
  | { readonly kind: "eraseSeed" }
  | { readonly kind: "eraseCard" };

/** What becomes of a message. */
export interface ControlOutcome {
  /** Durable before the effect, and before the answer. */
  readonly changes: readonly Change[];
  readonly response: ControlResponse;
  readonly effect: ControlEffect | null;
  /** The last number that was taken, from here on. */
  readonly nonce: bigint;
  /** Whether this one took it: only the owner can bring that about. */
  readonly isTaken: boolean;
  /** For the book: one sentence without a full stop. */
  readonly text: string;
}

/** What a message comes to, once its number is taken. */
interface Verdict {
  readonly response: ControlResponse;
  readonly text: string;
  readonly changes?: readonly Change[];
  readonly effect?: ControlEffect;
}

/** Takes an envelope as it came. Total: any bytes have an outcome. */
export function takeControl(
  facts: ControlFacts,
  envelope: Uint8Array,
): ControlOutcome {
  const { point } = facts;
  if (point === null) {
    return turnedAway(
      facts,
      "Cannot check the control message: the seed is locked, want the node's " +
        "passphrase first, which comes with its init",
    );
  }
  const opened = unlessUnreadable(() => openEnvelope(envelope, point));
  if (opened instanceof DecodeError) return turnedAway(facts, opened.message);
  if (opened !== null) return takeOpened(facts, opened);
  return turnedAway(
    facts,
    "Cannot take the control message: another key signed it, want the " +
      "control key of this device",
  );
}

function takeOpened(
  facts: ControlFacts,
  { payload, nonce }: Envelope,
): ControlOutcome {
  const isFirst = facts.nonce === 0n;
  const last = isFirst ? BigInt(Math.trunc(facts.now)) : facts.nonce;
  const untaken = {
    changes: isFirst ? [nonceChange(last)] : [],
    effect: null,
    nonce: last,
    isTaken: false,
  };
  const message = unlessUnreadable(() => decodeControlMessage(payload));
  if (!(message instanceof DecodeError) && message.kind === "Nonce") {
    const response = { kind: "Nonce", value: last } as const;
    return { ...untaken, response, text: "Nonce: told the last number" };
  }
  if (nonce <= last || nonce > last + WINDOW) {
    const text = `refused: invalid nonce: ${nonce}, want one above ${last}, ` +
      `by ${WINDOW} at most`;
    return { ...untaken, response: errorOf("invalid nonce"), text };
  }
  const verdict = message instanceof DecodeError
    ? refusal(message.message)
    : judge(facts, message);
  const { response, text, changes = [], effect = null } = verdict;
  return {
    changes: [nonceChange(nonce), ...changes],
    response,
    effect,
    nonce,
    isTaken: true,
    text: `${nonce}: ${text}`,
  };
}

function unlessUnreadable<T>(read: () => T): T | DecodeError {
  try {
    return read();
  } catch (error) {
    if (error instanceof DecodeError) return error;
    throw error;
  }
}

function errorOf(value: string): ControlResponse {
  return { kind: "Error", value: plainText(value) };
}

/** Not even the number is looked at. */
function turnedAway({ nonce }: ControlFacts, why: string): ControlOutcome {
  return {
    changes: [],
    response: errorOf(why),
    effect: null,
    nonce,
    isTaken: false,
    text: `refused: ${why}`,
  };
}

function refusal(why: string): Verdict {
  return { response: errorOf(why), text: `refused: ${why}` };
}

function judge(facts: ControlFacts, message: ControlMessage): Verdict {
  try {
    return answer(facts, message);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    return refusal(describeError(error));
  }
}

function answer(facts: ControlFacts, message: ControlMessage): Verdict {
  const { kind } = message;
  switch (kind) {
    case "Nonce":
      // Answered before its number was looked at.
      return { response: { kind, value: facts.nonce }, text: kind };
    case "QueryPolicy": {
      const value = controlPolicyOf(facts.policy);
      return { response: { kind: "PolicyCurrent", value }, text: kind };
    }
    case "UpdatePolicy":
      return updatePolicy(facts, message.value);
    case "QueryAllowlist": {
      const value = entriesOf(facts.allowlist);
      return { response: { kind: "AllowlistCurrent", value }, text: kind };
    }
    case "UpdateAllowlist":
      return updateAllowlist(facts, message.value);
    case "QueryVelocity": {
      const value = velocityOf(facts);
      return { response: { kind: "VelocityCurrent", value }, text: kind };
    }
    case "QueryAll":
      return {
        response: { kind: "AllCurrent", value: allOf(facts) },
        text: kind,
      };
    case "ResetWifi":
      return {
        response: { kind },
        changes: [pairingChange(null)],
        effect: { kind: "part" },
        text: `${kind}: forgets the node that it is paired with`,
      };
    case "ResetKeys":
    case "ResetAll":
      return reset(facts, kind);
    case "Ota":
      return refusal(
        "a softkey is updated by its owner's package manager, not by a " +
          "control message",
      );
  }
  return unreachable(kind);
}

function updatePolicy(facts: ControlFacts, wanted: ControlPolicy): Verdict {
  const policy = withControlPolicy(facts.policy, wanted);
  const names: readonly string[] = [
    LIMITS.velocity.name,
    LIMITS.maxHtlcValueSat.name,
  ];
  const lines = describePolicy(policy)
    .filter(({ name }) => names.includes(name))
    .map(({ name, value, unit }) => `${name} ${value} ${unit}`);
  return {
    response: { kind: "PolicyUpdated", value: controlPolicyOf(policy) },
    changes: [policyChange(policy)],
    effect: { kind: "own", ownership: { policy } },
    text: `UpdatePolicy: ${lines.join(", ")}`,
  };
}

function updateAllowlist(
  { network }: ControlFacts,
  wanted: readonly string[],
): Verdict {
  if (wanted.length > MOST_ENTRIES) {
    throw new UsageError(
      `Cannot use the allowlist: ${wanted.length} entries, want ` +
        `${MOST_ENTRIES} or fewer`,
    );
  }
  const entries = [...new Set(wanted)];
  for (const entry of entries) checkEntry(entry);
  const allowlist = createAllowlist(entries, network);
  return {
    response: { kind: "AllowlistUpdated", value: entriesOf(allowlist) },
    changes: [allowlistChange(entries)],
    effect: { kind: "own", ownership: { allowlist } },
    text: `UpdateAllowlist: ${entries.join(" ") || "nothing"}`,
  };
}

/** The card keeps one entry a line, without comments. */
function checkEntry(entry: string): void {
  if (/^[\x21-\x7e]+$/.test(entry) && stripComment(entry) === entry) return;
  throw new UsageError(
    `Cannot use ${JSON.stringify(plainText(entry))} in the allowlist: want ` +
      "one word of plain text an entry",
  );
}

/** Each with the kind that it is of, which an owner need not write. */
function entriesOf({ entries }: Allowlist): readonly string[] {
  return entries.map((entry) =>
    entry.includes(":") ? entry : `address:${entry}`
  );
}

/** As the next payment would find it; nothing for what never paid. */
function velocityOf(
  { policy, paid, now }: ControlFacts,
): ControlVelocity | null {
  if (paid.buckets.length === 0) return null;
  const seconds = BigInt(Math.trunc(now / 1000));
  // Nothing, in its unit.
  const nothing = 0n as Msat;
  const { velocity } = policy;
  const { state } = insertVelocity(velocity, paid, seconds, nothing);
  return [state.start, state.buckets];
}

function allOf(facts: ControlFacts) {
  return {
    policy: controlPolicyOf(facts.policy),
    allowlist: entriesOf(facts.allowlist),
    velocity: velocityOf(facts),
  };
}

/** What takes the seed away is not for a device whose channels need it. */
function reset(
  { channels, isSeedOnCard }: ControlFacts,
  kind: "ResetKeys" | "ResetAll",
): Verdict {
  if (channels.length > 0) {
    const named = channels.slice(0, MOST_NAMED).join(", ");
    const more = channels.length - MOST_NAMED;
    return refusal(
      `Cannot erase the seed: the card knows open channels (${named}` +
        `${more > 0 ? ` and ${more} more` : ""}), want them closed, or the ` +
        "card wiped at the device: softkey card wipe",
    );
  }
  if (!isSeedOnCard) {
    return refusal(
      "Cannot erase the seed: it is in a file that the softkey was started " +
        "with, and not on the card",
    );
  }
  return kind === "ResetKeys"
    ? {
      response: { kind },
      effect: { kind: "eraseSeed" },
      text: `${kind}: erases the seed`,
    }
    : {
      response: { kind },
      effect: { kind: "eraseCard" },
      text: `${kind}: erases the card`,
    };
}
