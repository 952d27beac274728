/**
 * What everybody between lightningd and a device calls a device's connection,
 * whichever server it came by and whether it is sealed.
 *
 *     broker.ts
 *        |  DeviceLink down, LinkListener up
 *     sealed_sessions.ts      opens and seals what our own devices say
 *        |  the same two faces
 *     embedded.ts | external.ts
 *
 * @module
 */

import type { TopicName } from "./topics.ts";

/** One connection of a device. */
export interface DeviceSession {
  /** MQTT client id. */
  readonly cid: string;
  /**
   * The public key (33 bytes) that the device proved: by the handshake when it
   * is sealed, by its login token when it is not; null when a server that is
   * not ours let it in.
   */
  readonly key: Uint8Array | null;
  /** `host:port` of the device, or the server that it came by. */
  readonly from: string;
  /** Whether what it says is sealed (BOLT 8). */
  readonly isSealed: boolean;
  /** Hash of the handshake, 32 bytes; null when it is not sealed. */
  readonly transcript: Uint8Array | null;
}

/** How a device is reached. */
export interface DeviceLink {
  /** False when the device is gone. */
  send(session: DeviceSession, name: TopicName, payload: Uint8Array): boolean;
  /** It proved who it is: it may send as much as answers need. */
  trust(session: DeviceSession): void;
  /** Ends a connection; {@linkcode LinkListener.gone} follows. */
  drop(session: DeviceSession): void;
}

/** Who hears devices. */
export interface LinkListener {
  message(session: DeviceSession, name: TopicName, payload: Uint8Array): void;
  /** A device's connection ended, for whatever reason. */
  gone(session: DeviceSession): void;
  /** A connection was refused or dropped; fit for a log. */
  refused(from: string, reason: string): void;
}
