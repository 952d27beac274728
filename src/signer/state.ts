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
 * the secret file as bytes, after it the keys that came out of it. Nothing of a
 * channel is kept: this signer signs what it is asked to sign, like the stock
 * hsmd. The ring of channel keys is a memory of a pure function.
 *
 * What it does not do: persist. There is nothing yet that must survive.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import type { Secret } from "../crypto/secret.ts";
import type { ChannelKeyRing } from "../keyderiv/channel.ts";
import type { NodeIdentity, NodeKeys } from "../keyderiv/node.ts";
import type { NodeId } from "../wire/types.ts";

/** Switches of dev_preinit (99). */
export interface DevSwitches {
  /** Says no to every preapproval. */
  readonly failPreapprove: boolean;
  /** Announces neither 51 nor 52. */
  readonly noPreapproveCheck: boolean;
  /** Reports signatures that came out shorter than fees were computed for. */
  readonly warnOnOvergrind: boolean;
}

/** What holds before and after init. */
interface Common {
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
  /** The negotiated protocol version. */
  readonly version: number;
  readonly keys: NodeKeys;
  readonly identity: NodeIdentity;
  readonly channels: ChannelKeyRing;
}

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
  readonly level: "debug" | "broken";
  readonly text: string;
}

/** What the shell has to do besides sending the reply. */
export type Effect = LogEffect;

/** One step: the state after it, what to answer, what else to do. */
export interface Step {
  readonly state: SignerState;
  /** Null only where the protocol has no answer (dev_preinit). */
  readonly reply: Uint8Array | null;
  readonly effects: readonly Effect[];
}

/** What a handler gives when it changes nothing. */
export interface Answer {
  readonly reply: Uint8Array;
  readonly effects?: readonly Effect[];
}
