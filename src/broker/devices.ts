/**
 * The devices that this node is paired with: `devices.json`.
 *
 * A device of ours is known by the key of its card, a Sphinx signer by its node
 * id, which is all that it has. The identity that all of them share, the public
 * keys of the node, is in `pairing.json`. A node of an earlier broker kept the
 * card keys there: they are taken over once.
 *
 * What it does not do: decide who may connect (`pairing_desk.ts`), or know which
 * of them signs (`active.ts`).
 *
 * @module
 */

import type { Pairing } from "./pairing.ts";
import { listIn, SharedFile, textIn, timeIn } from "./shared_file.ts";

/** A device of ours. */
export interface NativeDevice {
  readonly kind: "native";
  /** MQTT client id; empty for one of an earlier broker that is not back yet. */
  readonly cid: string;
  /** Public key of its card, in hex. */
  readonly cardKey: string;
  /** Program and version, as it said. */
  readonly software: string;
  /** Unix time in milliseconds. */
  readonly pairedAt: number;
}

/** A Sphinx signer. */
export interface SphinxDevice {
  readonly kind: "sphinx";
  /** Its node id, in hex. */
  readonly nodeKey: string;
  /** Unix time in milliseconds. */
  readonly pairedAt: number;
}

/** A device that the node is paired with. */
export type PairedDevice = NativeDevice | SphinxDevice;

/** More than anybody has; who wants more forgets some first. */
export const MOST_DEVICES = 64;

const KEY = /^0[23][0-9a-f]{64}$/;
/** Shown in a terminal: nothing that moves its cursor. */
// deno-lint-ignore no-control-regex
const TEXT = /^[^\u0000-\u001f\u007f-\u009f]{0,128}$/;

/** Which devices are the node's. */
export class DeviceBook {
  readonly #file: SharedFile<readonly PairedDevice[]>;

  private constructor(path: string | null) {
    this.#file = new SharedFile<readonly PairedDevice[]>(path, {
      empty: [],
      parse: parseDevices,
      format: (devices) => JSON.stringify({ devices }, null, 2) + "\n",
    });
  }

  /** For as long as the process lasts. */
  static inMemory(): DeviceBook {
    return new DeviceBook(null);
  }

  /**
   * Opens the file; where there is none yet, the cards of the pairing are
   * written to it.
   *
   * @throws {ConfigError} for a file that cannot be read
   */
  static async open(
    path: string,
    pairing: Pairing | null,
    now: number,
  ): Promise<DeviceBook> {
    const book = new DeviceBook(path);
    const cardKeys = pairing?.cardKeys.filter((key) => KEY.test(key)) ?? [];
    book.#file.read();
    if (!book.#file.isThere && cardKeys.length > 0) {
      const devices = cardKeys.slice(0, MOST_DEVICES)
        .map((cardKey) => earlierDevice(cardKey, now));
      await book.#file.change(() => devices);
    }
    return book;
  }

  /** Where it stands, for a log line. */
  get place(): string {
    return this.#file.path ?? "memory";
  }

  /** All of them, in the order in which they were paired. */
  get devices(): readonly PairedDevice[] {
    return this.#file.read();
  }

  /** The device of ours with this card. */
  byCardKey(cardKey: string): NativeDevice | null {
    return this.devices.filter((device) => device.kind === "native")
      .find((device) => device.cardKey === cardKey) ?? null;
  }

  /** The Sphinx signer with this node id. */
  byNodeKey(nodeKey: string): SphinxDevice | null {
    return this.devices.filter((device) => device.kind === "sphinx")
      .find((device) => device.nodeKey === nodeKey) ?? null;
  }

  /**
   * Remembers a device, in place of what was known of it before.
   *
   * @throws {RangeError} when there are too many
   */
  async add(device: PairedDevice): Promise<void> {
    await this.#file.change((devices) => {
      const others = devices.filter((known) => !isSame(known, device));
      if (others.length >= MOST_DEVICES) {
        throw new RangeError(
          `Cannot pair: ${others.length} devices are paired, want fewer than ` +
            `${MOST_DEVICES} (remote_hsmd_mqtt unpair)`,
        );
      }
      return [...others, device];
    });
  }

  /** Notes what a known card calls itself now. */
  async rename(cardKey: string, cid: string, software: string): Promise<void> {
    await this.#file.change((devices) => {
      const isNews = devices.some((device) =>
        device.kind === "native" && device.cardKey === cardKey &&
        (device.cid !== cid || device.software !== software)
      );
      if (!isNews) return devices;
      return devices.map((device) =>
        device.kind === "native" && device.cardKey === cardKey
          ? { ...device, cid, software }
          : device
      );
    });
  }

  /**
   * Forgets the devices that are called so: `all`, a client id, a node id, the
   * key of a card, or how one of these begins. Says which these were; none are
   * forgotten where a beginning fits several.
   */
  async remove(name: string): Promise<readonly PairedDevice[]> {
    let found: readonly PairedDevice[] = [];
    await this.#file.change((devices) => {
      found = devicesNamed(devices, name);
      const isOne = found.length === 1 || name === "all";
      if (!isOne || found.length === 0) return devices;
      return devices.filter((device) => !found.includes(device));
    });
    return found;
  }

  /** Calls after each change, a command's too; until it is closed. */
  watch(changed: () => void): { close(): void } {
    return this.#file.watch(changed);
  }
}

/** What a person calls a device. */
export function nameOf(device: PairedDevice): string {
  if (device.kind === "sphinx") return device.nodeKey;
  return device.cid === "" ? device.cardKey : device.cid;
}

/** The devices that a person may mean: one that is called so, or begins so. */
export function devicesNamed(
  devices: readonly PairedDevice[],
  name: string,
): readonly PairedDevice[] {
  if (name === "all") return devices;
  const exact = devices.filter((device) => namesOf(device).includes(name));
  if (exact.length > 0 || name.length < SHORTEST_BEGINNING) return exact;
  return devices.filter((device) =>
    namesOf(device).some((known) => known.startsWith(name))
  );
}

const SHORTEST_BEGINNING = 4;

function namesOf(device: PairedDevice): readonly string[] {
  return device.kind === "sphinx"
    ? [device.nodeKey]
    : [device.cid, device.cardKey];
}

function isSame(a: PairedDevice, b: PairedDevice): boolean {
  if (a.kind === "sphinx") {
    return b.kind === "sphinx" && a.nodeKey === b.nodeKey;
  }
  return b.kind === "native" && a.cardKey === b.cardKey;
}

function earlierDevice(cardKey: string, now: number): NativeDevice {
  const software = "paired by an earlier release";
  return { kind: "native", cid: "", cardKey, software, pairedAt: now };
}

function parseDevices(text: string): readonly PairedDevice[] {
  const record: unknown = JSON.parse(text);
  return listIn(record, "devices").map(parseDevice);
}

function parseDevice(record: unknown): PairedDevice {
  const kind = textIn(record, "kind", /^(native|sphinx)$/);
  const pairedAt = timeIn(record, "pairedAt");
  return kind === "sphinx"
    ? { kind: "sphinx", nodeKey: textIn(record, "nodeKey", KEY), pairedAt }
    : {
      kind: "native",
      cid: textIn(record, "cid", TEXT),
      cardKey: textIn(record, "cardKey", KEY),
      software: textIn(record, "software", TEXT),
      pairedAt,
    };
}
