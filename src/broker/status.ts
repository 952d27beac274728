/**
 * What can be said of the broker at one moment: plain data, for a page, a
 * terminal or a program.
 *
 * Every time is absolute, Unix milliseconds: whoever shows it counts for
 * himself, and two snapshots that say the same are the same bytes. Lists are
 * bounded. Texts of devices are made printable before they get here, and are
 * hostile all the same: whoever shows them escapes them.
 *
 * What it does not do: collect. `broker.ts` fills it in.
 *
 * @module
 */

/** Most waiting requests that a snapshot names; the rest are counted. */
export const MOST_WAITING = 50;
/** Most rules that a snapshot names, the latest first. */
export const MOST_REFUSALS = 20;
/** Most errors that a snapshot has, the latest first. */
export const MOST_ERRORS = 20;

/** What the light of a softkey is called while its owner is needed. */
export const ALARM_LED = "alarm";

/** Everything. */
export interface StatusSnapshot {
  /** When it was taken. */
  readonly at: number;
  /** When the broker started. */
  readonly startedAt: number;
  readonly node: NodeStatus;
  /** The active one first. */
  readonly devices: readonly DeviceStatus[];
  readonly waiting: WaitingStatus;
  readonly counts: CountStatus;
  /** By rule, the latest first; at most {@linkcode MOST_REFUSALS}. */
  readonly refusals: readonly RefusalStatus[];
  /** One for each class that was asked for anything. */
  readonly latency: readonly LatencyStatus[];
  /** Null where nothing follows the chain. */
  readonly chain: ChainStatus | null;
  /** The device's last signed word about its own chain. */
  readonly heartbeat: HeartbeatStatus | null;
  /** The latest first; at most {@linkcode MOST_ERRORS}. */
  readonly errors: readonly ErrorStatus[];
  readonly handshakes: HandshakeStatus;
}

/** Whose signer it is. */
export interface NodeStatus {
  /** Null before lightningd's init. */
  readonly network: string | null;
  /** Hex; null while nobody is paired. */
  readonly nodeId: string | null;
  readonly pairedAt: number | null;
  /** Setting `pairing`. */
  readonly pairing: string;
  /** Where devices connect. */
  readonly address: string;
  /** Whether lightningd has the answer to its init. */
  readonly isStarted: boolean;
  /** Since when no device is active; null while one is. */
  readonly idleSince: number | null;
}

/**
 * What a device is to the node: the one that signs, one that could take over at
 * once, one that has to do something first, or one that is not let.
 */
export type DeviceRole = "active" | "warm" | "coming" | "held";

/** A device that is connected. */
export interface DeviceStatus {
  /** MQTT client id. */
  readonly cid: string;
  readonly dialect: "native" | "sphinx";
  /** As it says itself. */
  readonly software: string;
  /** Whether the link is sealed (BOLT 8). */
  readonly isSealed: boolean;
  /** Where it connected from, or the server that it came by. */
  readonly from: string;
  /** How far its session is: a word of the broker's. */
  readonly stage: string;
  readonly role: DeviceRole;
  /** Why it is not active, or not warm; null where nothing is to be said. */
  readonly why: string | null;
  /** Since when it is connected. */
  readonly connectedAt: number;
  /** Since when it has this role. */
  readonly roleSince: number;
  /** State of its light, as it says; null for one that tells none. */
  readonly led: string | null;
  /** Generation of its card, decimal; null where there is none. */
  readonly generation: string | null;
  /** How far its state in the storage is; null for one without. */
  readonly revision: number | null;
  /** How far the storage itself is; null for one without. */
  readonly storageRevision: number | null;
  /** Requests that it has and has not answered. */
  readonly inFlight: number;
}

/** What is not answered yet. */
export interface WaitingStatus {
  /** All of them. */
  readonly count: number;
  /** When the oldest came; null when nothing waits. */
  readonly oldestAt: number | null;
  /** The oldest first; at most {@linkcode MOST_WAITING}. */
  readonly first: readonly WaitingRequest[];
}

/** One request that is not answered yet. */
export interface WaitingRequest {
  /** Row of the hsmd message, such as `sign_remote_commitment_tx`. */
  readonly name: string;
  /** Row of `classes.ts`. */
  readonly class: string;
  /** Hex; null where it is the node's own. */
  readonly peer: string | null;
  /** The channel in lightningd's database, decimal; null for none. */
  readonly dbid: string | null;
  readonly askedAt: number;
  /** Client id of the device that has it; null while nobody has. */
  readonly device: string | null;
}

/** Since the broker started. */
export interface CountStatus {
  /** Requests that came. */
  readonly requests: number;
  /** Of those, answered by a device. */
  readonly answered: number;
  /** Of those, refused by a device. */
  readonly refused: number;
  /** Times that a device was lost. */
  readonly disconnects: number;
}

/** What one rule refused. */
export interface RefusalStatus {
  /** Tag of the rule, or the request's name where no rule was named. */
  readonly rule: string;
  readonly count: number;
  /** Of the last one. */
  readonly at: number;
  /** Row of the hsmd message. */
  readonly request: string;
  /** The device's own words. */
  readonly reason: string;
}

/** How long requests of a class took lately, in milliseconds. */
export interface LatencyStatus {
  readonly class: string;
  /** How many the figures are made of. */
  readonly count: number;
  readonly medianMs: number;
  /** 99 of 100 were not slower. */
  readonly p99Ms: number;
  readonly mostMs: number;
}

/** The chain as the active device was shown it. */
export interface ChainStatus {
  /** The device's tip; null before it said so. */
  readonly height: number | null;
  /** bitcoind's tip; null before it said so. */
  readonly tip: number | null;
  /** When the device came to its tip. */
  readonly at: number | null;
  readonly isCatchingUp: boolean;
  /** Why it cannot be followed; null when it can. */
  readonly problem: string | null;
}

/** What a device's signed word is worth (`chain/heartbeat.ts`). */
export interface HeartbeatStatus {
  readonly kind: "fresh" | "stale" | "future" | "missing";
  /** When it was signed by the device's clock, or looked for in vain. */
  readonly at: number;
  readonly height: number | null;
}

/** Something that went wrong. */
export interface ErrorStatus {
  readonly at: number;
  /** The device that said it; null for the broker. */
  readonly cid: string | null;
  readonly text: string;
}

/** Handshakes that strangers begin with the node. */
export interface HandshakeStatus {
  /** Setting `handshake_rate`. */
  readonly allowedPerSecond: number;
  /** In the second before. */
  readonly perSecond: number;
  /** How many had to wait, since the start. */
  readonly delayed: number;
  /** How many wait now. */
  readonly waiting: number;
}
