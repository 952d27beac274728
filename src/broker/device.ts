/**
 * What the broker knows of a device that is connected.
 *
 *     connected --hello--> pairing            its owner is asked; nothing else
 *         |                                    is told before that
 *         +--hello--> syncing --> greeted --init--> initialising --> ready
 *                     (only where its state is in a storage)
 *
 * @module
 */

import type { DeviceSession } from "../mqtt/session.ts";
import type { NativeHello } from "../wire/control.ts";
import type { CardStand } from "./card_heads.ts";
import type { PairedDevice } from "./devices.ts";
import type { Abilities } from "./negotiation.ts";
import type { StorageSession } from "./storage/session.ts";

/** How a device speaks; decided by its hello. */
export interface Dialect {
  readonly name: "sphinx" | "native";
  /** How many requests may be under way; see `window.ts`. */
  readonly window: number;
}

/** Hardware and signers that exist: strictly one question at a time. */
export const SPHINX: Dialect = { name: "sphinx", window: 1 };
/** Ours. */
export const NATIVE: Dialect = { name: "native", window: 32 };

/** How far a session has come. */
export type Stage =
  | "connected"
  | "pairing"
  | "syncing"
  | "greeted"
  | "initialising"
  | "ready";

/** A device that is connected. */
export interface Device {
  readonly session: DeviceSession;
  /** Unix time in milliseconds. */
  readonly connectedAt: number;
  dialect: Dialect;
  stage: Stage;
  software: string;
  /** What a device of ours said; null for a Sphinx device, and before hello. */
  hello: NativeHello | null;
  /** As what it is paired; null where nobody needs to be. */
  paired: PairedDevice | null;
  /** Where its card stands, if it said so. */
  stand: CardStand | null;
  /** Keeps it in step with the storage; null where its state is not there. */
  storage: StorageSession | null;
  /** Whether its state is in the storage, by what it said of itself. */
  isStored: boolean;
  /** What it said in its init reply that it can do; null before that. */
  abilities: Abilities | null;
  /** State of its light, as it said; null for one that has none. */
  led: string | null;
  /** Requests under way. */
  inFlight: number;
  /** It did not come to terms with the storage the last time. */
  isTroubled: boolean;
}

/** A session that has not said anything yet. */
export function newDevice(session: DeviceSession, now: number): Device {
  return {
    session,
    connectedAt: now,
    dialect: SPHINX,
    stage: "connected",
    software: "unknown software",
    hello: null,
    paired: null,
    stand: null,
    storage: null,
    isStored: false,
    abilities: null,
    led: null,
    inFlight: 0,
    isTroubled: false,
  };
}

/** Where a card stands by the device's own words. */
export function standIn(hello: NativeHello | null): CardStand | null {
  const { generation, headHash, cardId } = hello ?? {};
  const isWhole = generation !== undefined && headHash !== undefined &&
    cardId !== undefined;
  return isWhole
    ? { generation, hash: headHash.toHex(), card: cardId.toHex() }
    : null;
}

/** A device in a log line. */
export function describeDevice(
  { session, dialect }: Pick<Device, "session" | "dialect">,
): string {
  return `${session.cid} (${dialect.name})`;
}
