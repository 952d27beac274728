/**
 * What a signer knows, and what one step of it gives.
 *
 * ```
 *             init succeeds
 *   locked ------------------> ready --.
 *     ^  \__ init fails           ^____/ any request, init again included
 *     '----- (stays locked)
 * ```
 *
 * State is a readonly record; a step returns the next one. Before init there is
 * the secret file as bytes, after it the keys that came out of it. What must
 * survive is in the records of {@link Memory}: a step reads them and says in
 * writes what is to change; the shell makes that durable, then true. The ring of
 * channel keys and the cache are memories of pure functions.
 *
 * What it does not do: persist.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import type { Secret } from "../crypto/secret.ts";
import type { ChannelId, ChannelKeyRing } from "../keyderiv/channel.ts";
import type { NodeIdentity, NodeKeys } from "../keyderiv/node.ts";
import type { Allowlist } from "../policy/allowlist.ts";
import type { Consent } from "../policy/consent.ts";
import type { Policy } from "../policy/limits.ts";
import type { RuleTag } from "../policy/rules.ts";
import type { NodeId, PubKey } from "../wire/types.ts";
import type { FeeReference } from "../wire/vls.ts";
import type { KeyCache } from "./cache.ts";
import type { Memory, Write } from "./memory.ts";
import type { BlockIntake } from "./tracker.ts";

/** Switches of dev_preinit (99). */
export interface DevSwitches {
  /** Says no to every preapproval. */
  readonly failPreapprove: boolean;
  /** Announces neither 51 nor 52. */
  readonly noPreapproveCheck: boolean;
  /** Reports signatures that came out shorter than fees were computed for. */
  readonly warnOnOvergrind: boolean;
}

/** What the owner allows: all of it comes from the card, none from the node. */
export interface Ownership {
  readonly policy: Policy;
  readonly allowlist: Allowlist;
  readonly consent: Consent;
  /** What the broker last reported of fees; null for never. */
  readonly feeReference: FeeReference | null;
  /** When the seed was made, Unix seconds; null for not known. */
  readonly birthday: bigint | null;
}

/** What holds before and after init. */
interface Common extends Ownership {
  /** What the signer remembers; a step reads it, the shell changes it. */
  readonly memory: Memory;
  /** Memory of pure functions, shared by all states. */
  readonly cache: KeyCache;
  readonly network: Network;
  /** Whether keys may be forced on a network of worth. */
  readonly isDeveloper: boolean;
  readonly secretFile: Secret;
  readonly switches: DevSwitches;
}

/** Before init: there is a file, and nobody has opened it. */
export interface LockedState extends Common {
  readonly kind: "locked";
}

/** After init. */
export interface ReadyState extends Common {
  readonly kind: "ready";
  /** What is under way with the chain and need not survive. */
  readonly feed: ChainFeed;
  /** The negotiated protocol version. */
  readonly version: number;
  readonly keys: NodeKeys;
  readonly identity: NodeIdentity;
  /** By which the owner's control messages are known. */
  readonly controlPoint: PubKey;
  readonly channels: ChannelKeyRing;
}

/** A block that comes in pieces, and what was said of the chain last. */
export interface ChainFeed {
  readonly intake: BlockIntake | null;
  /** The tip on which headers alone will not do; -1 for none. */
  readonly needsBlocksAt: number;
  readonly isStale: boolean;
}

/** Nothing is under way. */
export const NO_FEED: ChainFeed = {
  intake: null,
  needsBlocksAt: -1,
  isStale: false,
};

/** Everything a signer knows. */
export type SignerState = LockedState | ReadyState;

/** A request, with the connection that it came on. */
export interface SignerInput {
  /** Peer of the connection; 33 zero bytes for lightningd's own. */
  readonly peerId: NodeId;
  /** Channel of the connection; 0 for none. */
  readonly dbid: bigint;
  /** u16 type, then body. */
  readonly message: Uint8Array;
}

/** A line for the log, in words that tests of Core Lightning look for. */
export interface LogEffect {
  readonly kind: "log";
  readonly level: "debug" | "info" | "unusual" | "broken";
  readonly text: string;
}

/** A question to the owner, without whose consent the request is refused. */
export interface AskEffect {
  readonly kind: "ask";
  /** One of CONSENTS in policy/consent.ts. */
  readonly consentKind: string;
  /** Granted or declined under this name. */
  readonly key: string;
  readonly question: string;
}

/**
 * Work that the next request will want done: for when the reply has left. It
 * changes no answer, so it may as well not be done.
 */
export interface PrepareEffect {
  readonly kind: "prepare";
  readonly channel: ChannelId;
  /** Number of the commitment of ours that comes next. */
  readonly number: bigint;
}

/** What the owner should hear of and find again: a line for log and book. */
export interface NoteEffect {
  readonly kind: "note";
  /** Kind of the line. */
  readonly about: "alarm" | "chain";
  /** Null where it is about no channel. */
  readonly channel: ChannelId | null;
  /** One sentence without a full stop. */
  readonly text: string;
}

/** What the shell has to do besides sending the reply. */
export type Effect = LogEffect | AskEffect | PrepareEffect | NoteEffect;

/** What let a request pass that the rules alone would not have. */
export type Ground =
  /** The owner's consent, or `--yes`, to what the question names. */
  | {
    readonly kind: "consent";
    readonly mode: Consent["mode"];
    readonly question: string;
  }
  /** A broken rule that the owner has set to warn. */
  | { readonly kind: "warning"; readonly tag: RuleTag };

/** One step: the state after it, what to answer, what else to do. */
export interface Step {
  readonly state: SignerState;
  /** Null only where the protocol has no answer (dev_preinit). */
  readonly reply: Uint8Array | null;
  readonly effects: readonly Effect[];
  /** What must be durable before the reply leaves. */
  readonly writes: readonly Write[];
  /** None where the rules alone let it pass. */
  readonly grounds?: readonly Ground[];
}

/** What a handler gives: an answer, and what has to be remembered first. */
export interface Answer {
  readonly reply: Uint8Array;
  readonly effects?: readonly Effect[];
  readonly writes?: readonly Write[];
}
