/**
 * What the commands about devices read and write in the broker's folder,
 * whether the node runs or not.
 *
 * What it does not do: say anything.
 *
 * @module
 */

import { DatabaseSync } from "node:sqlite";
import {
  isNetworkName,
  type NetworkName,
  networkOf,
  NETWORKS,
} from "../bitcoin/networks.ts";
import { DeviceBook } from "../broker/devices.ts";
import { FilePairingBook, type PairingBook } from "../broker/pairing.ts";
import { PairingCodes } from "../broker/pairing_codes.ts";
import { propertyOf } from "../broker/shared_file.ts";
import { UsageError } from "../errors.ts";
import { FOLDER, NODE_DATABASE, PAIRING_FILE } from "./folder.ts";

/** The devices that the node is paired with. */
export const DEVICES_FILE: string = `${FOLDER}/devices.json`;
/** Hashes of the codes that are outstanding. */
export const CODES_FILE: string = `${FOLDER}/codes.json`;
/** Where a running broker listens. */
export const LISTENING_FILE: string = `${FOLDER}/listening.json`;

/** The files about devices, opened. */
export interface PairingFiles {
  readonly book: PairingBook;
  readonly devices: DeviceBook;
  readonly codes: PairingCodes;
}

/** Opens them; makes the folder where there is none. @throws {ConfigError} */
export async function openPairingFiles(): Promise<PairingFiles> {
  await Deno.mkdir(FOLDER, { recursive: true, mode: 0o700 });
  const book = await FilePairingBook.open(PAIRING_FILE);
  const devices = await DeviceBook.open(DEVICES_FILE, book.current, Date.now());
  return { book, devices, codes: PairingCodes.open(CODES_FILE, Date.now) };
}

/** Ends where nobody ever ran a node. @throws {UsageError} */
export function checkNodeFolder(): void {
  if (networkHere() !== null || isThere(FOLDER)) return;
  throw new UsageError(
    "Cannot find a node here: want to be started in lightningd's directory " +
      "for the network, such as ~/.lightning/bitcoin",
  );
}

/**
 * The node's network: the one named, else that of lightningd's database, else
 * the one that this folder is called after.
 *
 * @throws {UsageError} when nothing says it
 */
export function networkNamed(name: string | undefined): NetworkName {
  const found = name ?? networkHere();
  if (found !== null && isNetworkName(found)) return found;
  const names = Object.keys(NETWORKS).join(", ");
  throw new UsageError(
    found === null
      ? "Cannot tell the node's network: want to be started in lightningd's " +
        `directory for the network, or --network with one of ${names}`
      : `Unknown network ${JSON.stringify(found)}: want ${names}`,
  );
}

function networkHere(): NetworkName | null {
  const [name = ""] = Deno.cwd().split("/").slice(-1);
  return networkInDatabase() ?? (isNetworkName(name) ? name : null);
}

/** lightningd writes down which chain its database is for. */
function networkInDatabase(): NetworkName | null {
  try {
    const db = new DatabaseSync(NODE_DATABASE, { readOnly: true });
    try {
      const sql = "SELECT blobval FROM vars WHERE name = 'genesis_hash'";
      const value = db.prepare(sql).get()?.["blobval"];
      return value instanceof Uint8Array
        ? networkOf(value)?.name ?? null
        : null;
    } finally {
      db.close();
    }
  } catch {
    // A new node, or another kind of database.
    return null;
  }
}

/** Where a running broker listens, and the hash of the certificate it shows. */
export interface Listening {
  /** `host:port`. */
  readonly mqtt: string;
  readonly certHash: Uint8Array | null;
}

/** What the broker wrote when it last listened; null where it did not. */
export function readListening(): Listening | null {
  try {
    const record: unknown = JSON.parse(Deno.readTextFileSync(LISTENING_FILE));
    const mqtt = propertyOf(record, "mqtt");
    const hash = propertyOf(record, "certHash");
    if (typeof mqtt !== "string") return null;
    const isHash = typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash);
    return { mqtt, certHash: isHash ? Uint8Array.fromHex(hash) : null };
  } catch {
    // None yet, or one that is being looked at too early: it only helps.
    return null;
  }
}

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
