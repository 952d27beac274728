/**
 * The storage card of a softkey: a folder with what it is and what it keeps.
 *
 * | file | content |
 * | --- | --- |
 * | `id` | MQTT client id, 32 hex characters, made once |
 * | `card_key` | 32 random bytes: the login while the seed is locked |
 * | `hsm_secret` | the seed, in Core Lightning's own format |
 * | `state.db` | what it remembers, see `card_state.ts` |
 *
 * Files are made whole or not at all (written aside, fsync, linked into place)
 * and are readable by their owner only.
 *
 * What it does not do: open the memory, or the seed.
 *
 * @module
 */

import { ConfigError } from "../errors.ts";

const FILES = {
  id: "id",
  key: "card_key",
  secret: "hsm_secret",
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

/** Opens the card; an empty folder becomes one. @throws {ConfigError} */
export async function openCard(folder: string): Promise<Card> {
  await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  const isNew = await read(`${folder}/${FILES.id}`) === null;
  const id = await readOrMake(
    `${folder}/${FILES.id}`,
    () => new TextEncoder().encode(randomBytes(16).toHex()),
  );
  const cid = new TextDecoder().decode(id);
  if (!/^[0-9a-f]{32}$/.test(cid)) {
    throw damaged(`${folder}/${FILES.id}`, "32 characters of lower-case hex");
  }
  const key = await readOrMake(`${folder}/${FILES.key}`, () => randomBytes(32));
  if (key.length !== 32) {
    throw damaged(`${folder}/${FILES.key}`, "32 bytes");
  }
  return { folder, cid, key, isNew };
}

/** The seed on the card, or null when there is none yet. */
export function readCardSecret(card: Card): Promise<Uint8Array | null> {
  return read(`${card.folder}/${FILES.secret}`);
}

/** Puts a seed on a card that has none. */
export async function writeCardSecret(
  card: Card,
  secret: Uint8Array,
): Promise<void> {
  await make(`${card.folder}/${FILES.secret}`, secret, 0o400);
}

/** Randomness of the operating system. */
export function randomBytes(size: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(size));
}

function damaged(path: string, wanted: string): ConfigError {
  return new ConfigError("card", path, "damaged content", wanted);
}

async function readOrMake(
  path: string,
  content: () => Uint8Array,
): Promise<Uint8Array> {
  const found = await read(path);
  if (found !== null) return found;
  const made = content();
  await make(path, made, 0o600);
  return made;
}

async function read(path: string): Promise<Uint8Array | null> {
  try {
    return await Deno.readFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** A new file, whole and durable; one that is there already is an error. */
async function make(
  path: string,
  content: Uint8Array,
  mode: number,
): Promise<void> {
  const aside = `${path}.new`;
  await Deno.remove(aside).catch(ignoreMissing);
  {
    using file = await Deno.open(aside, { write: true, createNew: true, mode });
    for (let done = 0; done < content.length;) {
      done += await file.write(content.subarray(done));
    }
    await file.sync();
  }
  await Deno.link(aside, path);
  await Deno.remove(aside);
}

function ignoreMissing(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
