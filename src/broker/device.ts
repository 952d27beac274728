/**
 * What the broker knows of a device that is connected.
 *
 * @module
 */

import type { DeviceSession } from "../mqtt/embedded.ts";
import type { NativeHello } from "../wire/control.ts";
import type { CardStand } from "./card_heads.ts";

/** How a device speaks; decided by its hello. */
export interface Dialect {
  readonly name: "sphinx" | "native";
  /** How many requests may be under way. */
  readonly window: number;
}

/** Hardware and signers that exist: strictly one question at a time. */
export const SPHINX: Dialect = { name: "sphinx", window: 1 };
/** Ours. */
export const NATIVE: Dialect = { name: "native", window: 1024 };

/** How far a session has come. */
export type Stage = "connected" | "greeted" | "initialising" | "ready";

/** A device that is connected. */
export interface Device {
  readonly session: DeviceSession;
  dialect: Dialect;
  stage: Stage;
  software: string;
  /** Hex of the key that it uses while locked, if it has one. */
  cardKey: string | null;
  /** Where its card stands, if it said so. */
  stand: CardStand | null;
  /** State of its light, as it said; null for one that has none. */
  led: string | null;
  /** Requests under way. */
  inFlight: number;
}

/** A session that has not said anything yet. */
export function newDevice(session: DeviceSession): Device {
  return {
    session,
    dialect: SPHINX,
    stage: "connected",
    software: "unknown software",
    cardKey: null,
    stand: null,
    led: null,
    inFlight: 0,
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
export function describeDevice({ session, dialect }: Device): string {
  return `${session.cid} (${dialect.name})`;
}
