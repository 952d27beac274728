/**
 * The storage card of a softkey: a folder with what it is and what it keeps.
 *
 * | file | content |
 * | --- | --- |
 * | `id` | MQTT client id, 32 hex characters, made once |
 * | `card_key` | 32 random bytes: the login while the seed is locked |
 * | `seed.sealed` | the seed, encrypted, see `sealed_secret.ts` |
 * | `hsm_secret` | of a card of an earlier softkey: the seed in clear |
 * | `state.db`, `-wal`, `-shm` | what it remembers, see `card_state.ts` |
 * | `state.db.sum` | SHA-256 of `state.db` after a clean stop |
 * | `owner.sock` | of a running softkey, for the owner's commands |
 *
 * Files are made whole or not at all (written aside, fsync, linked or renamed
 * into place, fsync of the folder) and are readable by their owner only.
 *
 * What it does not do: open the memory, or the seed.
 *
 * @module
 */

import { ConfigError, describeError, StoreError } from "../errors.ts";
import { OwnerError } from "./owner_error.ts";

/** Names of a card's files. */
export const CARD_FILES = {
  id: "id",
  key: "card_key",
  sealed: "seed.sealed",
  clear: "hsm_secret",
  state: "state.db",
  stateLog: "state.db-wal",
  stateIndex: "state.db-shm",
  stateSum: "state.db.sum",
  socket: "owner.sock",
} as const;

/** What a card says about the device. */
export interface Card {
  readonly folder: string;
  readonly cid: string;
  /** Private key, 32 bytes. */
  readonly key: Uint8Array;
  /** Whether opening it made it. */
  readonly isNew: boolean;
}

/** A folder whose files are a card's. */
export type CardFolder = Pick<Card, "folder">;

/** Opens the card; an empty folder becomes one. @throws {ConfigError} */
export async function openCard(folder: string): Promise<Card> {
  await makeFolder(folder);
  const isNew = await readFile(`${folder}/${CARD_FILES.id}`) === null;
  const id = await readOrMake(
    `${folder}/${CARD_FILES.id}`,
    () => new TextEncoder().encode(randomBytes(16).toHex()),
  );
  const key = await readOrMake(
    `${folder}/${CARD_FILES.key}`,
    () => randomBytes(32),
  );
  return checkedCard({ folder, id, key, isNew });
}

/** The card in a folder; null where there is none. Makes nothing. @throws {ConfigError} */
export async function findCard(folder: string): Promise<Card | null> {
  const id = await readFile(`${folder}/${CARD_FILES.id}`);
  const key = await readFile(`${folder}/${CARD_FILES.key}`);
  if (id === null || key === null) return null;
  return checkedCard({ folder, id, key, isNew: false });
}

interface FoundCard {
  readonly folder: string;
  readonly id: Uint8Array;
  readonly key: Uint8Array;
  readonly isNew: boolean;
}

function checkedCard({ folder, id, key, isNew }: FoundCard): Card {
  const cid = new TextDecoder().decode(id);
  if (!/^[0-9a-f]{32}$/.test(cid)) {
    throw damaged(
      `${folder}/${CARD_FILES.id}`,
      "32 characters of lower-case hex",
    );
  }
  if (key.length !== 32) {
    throw damaged(`${folder}/${CARD_FILES.key}`, "32 bytes");
  }
  return { folder, cid, key, isNew };
}

/** Which seed is on the card; a sealed one is the one that counts. */
export async function hasSeed(
  { folder }: CardFolder,
): Promise<"sealed" | "clear" | null> {
  if (await isThere(`${folder}/${CARD_FILES.sealed}`)) return "sealed";
  return await isThere(`${folder}/${CARD_FILES.clear}`) ? "clear" : null;
}

/** The sealed seed, or null when there is none. */
export function readSealed({ folder }: CardFolder): Promise<Uint8Array | null> {
  return readFile(`${folder}/${CARD_FILES.sealed}`);
}

/** Puts a sealed seed on a card that has no seed, durably. @throws {OwnerError} rightNode */
export async function writeSealed(
  card: CardFolder,
  bytes: Uint8Array,
): Promise<void> {
  if (await hasSeed(card) !== null) throw hasSeedAlready(card.folder);
  await addSealed(card, bytes);
}

/** The same beside a seed in clear, which is to go next. */
export async function addSealed(
  { folder }: CardFolder,
  bytes: Uint8Array,
): Promise<void> {
  const path = `${folder}/${CARD_FILES.sealed}`;
  try {
    await makeFile(path, bytes, 0o400);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) {
      throw hasSeedAlready(folder);
    }
    throw notWritten(path, error);
  }
}

/** Puts a sealed seed in the place of the one that is there, durably. */
export async function replaceSealed(
  { folder }: CardFolder,
  bytes: Uint8Array,
): Promise<void> {
  const path = `${folder}/${CARD_FILES.sealed}`;
  try {
    await replaceFile(path, bytes, 0o400);
  } catch (error) {
    throw notWritten(path, error);
  }
}

/** The seed in clear of a card of an earlier softkey, or null. */
export function readCardSecret(
  { folder }: CardFolder,
): Promise<Uint8Array | null> {
  return readFile(`${folder}/${CARD_FILES.clear}`);
}

/**
 * Overwrites the seed in clear and removes it. A disk that writes elsewhere
 * (flash, copy-on-write) may keep the old bytes: nothing here can help that.
 */
export async function removeCardSecret({ folder }: CardFolder): Promise<void> {
  const path = `${folder}/${CARD_FILES.clear}`;
  const { size } = await Deno.stat(path);
  await Deno.chmod(path, 0o600);
  {
    using file = await Deno.open(path, { write: true });
    await writeAll(file, new Uint8Array(size));
    await file.sync();
  }
  await Deno.remove(path);
  await syncFolder(folder);
}

/** Randomness of the operating system. */
export function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(size));
}

function damaged(path: string, wanted: string): ConfigError {
  return new ConfigError("card", path, "damaged content", wanted);
}

/** A full or failing disk; what was there before is there still. */
function notWritten(path: string, cause: unknown): StoreError {
  const problem = `${path}: ${describeError(cause)}`;
  return new StoreError("write the card", problem, { cause });
}

function hasSeedAlready(folder: string): OwnerError {
  return new OwnerError(
    "rightNode",
    `Cannot put a seed on the card ${folder}: it has one, want an empty card`,
  );
}

async function readOrMake(
  path: string,
  content: () => Uint8Array,
): Promise<Uint8Array> {
  const found = await readFile(path);
  if (found !== null) return found;
  const made = content();
  try {
    await makeFile(path, made, 0o600);
  } catch (error) {
    throw notWritten(path, error);
  }
  return made;
}

/** All of a file; null where there is none. */
export async function readFile(path: string): Promise<Uint8Array | null> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Whether there is something of this name. */
export async function isThere(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** A new file, whole and durable; one that is there already is an error. */
export async function makeFile(
  path: string,
  content: Uint8Array,
  mode: number,
): Promise<void> {
  const aside = await writeAside(path, content, mode);
  try {
    await place(aside, path);
  } finally {
    await removeFile(aside);
  }
  await syncFolder(folderOf(path));
}

/** A link never replaces; a disk without links (FAT) gets the next best. */
async function place(aside: string, path: string): Promise<void> {
  try {
    await Deno.link(aside, path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw error;
    if (await isThere(path)) throw error;
    await Deno.rename(aside, path);
  }
}

/** A file in the place of another: the one or the other is there, whole. */
async function replaceFile(
  path: string,
  content: Uint8Array,
  mode: number,
): Promise<void> {
  await Deno.rename(await writeAside(path, content, mode), path);
  await syncFolder(folderOf(path));
}

/** What a file is called until it is whole: no owner's file has this name. */
export function asideOf(path: string): string {
  return `${path}.softkey-new`;
}

async function writeAside(
  path: string,
  content: Uint8Array,
  mode: number,
): Promise<string> {
  const aside = asideOf(path);
  await removeFile(aside);
  try {
    using file = await Deno.open(aside, { write: true, createNew: true, mode });
    await writeAll(file, content);
    await file.sync();
  } catch (error) {
    await removeFile(aside);
    throw error;
  }
  return aside;
}

async function writeAll(
  file: Pick<Deno.FsFile, "write">,
  content: Uint8Array,
): Promise<void> {
  for (let done = 0; done < content.length;) {
    done += await file.write(content.subarray(done));
  }
}

/** A name that came or went is durable once its folder is. */
export async function syncFolder(folder: string): Promise<void> {
  using handle = await Deno.open(folder);
  await handle.sync();
}

/** A folder for its owner only, and those above that are missing; durable. */
export async function makeFolder(folder: string): Promise<void> {
  const path = folder.replace(/(?<=[^/])\/+$/, "");
  if (await isThere(path)) return;
  const above = folderOf(path);
  await makeFolder(above);
  await Deno.mkdir(path, { recursive: true, mode: 0o700 });
  await syncFolder(above);
}

/** The folder that a file is in. */
export function folderOf(path: string): string {
  const end = path.lastIndexOf("/");
  return end < 0 ? "." : path.slice(0, Math.max(end, 1));
}

/** Removes a file, if there is one; whether there was. */
export async function removeFile(path: string): Promise<boolean> {
  try {
    await Deno.remove(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
