/**
 * What the broker must not forget about its devices: which one was given
 * requests last, and which one the operator wants.
 *
 * A device that signed last may go on; any other one has to prove that it knows
 * what was signed (`fleet.ts`). So the file is written, durably, before a new
 * device gets its first request, and not on the way of any other.
 *
 * Losing the file with a single device costs nothing: the first device to come
 * is the one. Losing it with several whose cards know nothing of each other
 * could let an older card sign; the broker then still knows how far the newest
 * card had come (`card_heads.ts`).
 *
 * What it does not do: decide (`fleet.ts`), or know which devices are paired.
 *
 * @module
 */

import { ConfigError, describeError } from "../errors.ts";
import type { Preference, Remembered } from "./fleet.ts";
import { replaceFile } from "./replace_file.ts";

/** What is remembered. */
export interface ActiveRecord {
  readonly lastActive: Remembered | null;
  readonly preferred: Preference | null;
}

const NOTHING: ActiveRecord = { lastActive: null, preferred: null };

/** Remembers, in a file or as long as the process lasts. */
export class ActiveBook {
  /** Null for one without a file. */
  readonly #path: string | null;
  #record: ActiveRecord;
  /** Writes are one after the other: the last one told is the one that stays. */
  #writing: Promise<void> = Promise.resolve();

  private constructor(path: string | null, record: ActiveRecord) {
    this.#path = path;
    this.#record = record;
  }

  /** For as long as the process lasts. */
  static inMemory(): ActiveBook {
    return new ActiveBook(null, NOTHING);
  }

  /** @throws {ConfigError} for a file that cannot be read */
  static async open(path: string): Promise<ActiveBook> {
    return new ActiveBook(path, await readRecord(path));
  }

  /** What is durably remembered. */
  get current(): ActiveRecord {
    return this.#record;
  }

  /**
   * This device is about to get requests; it may have them once this resolves.
   * The operator's word for a risk was for this one time.
   */
  activate({ cid, isStored, place = null }: Remembered): Promise<void> {
    return this.#change(({ lastActive, preferred }) => {
      const isSame = lastActive?.cid === cid &&
        lastActive.isStored === isStored &&
        (lastActive.place ?? null) === place;
      return isSame && !preferred?.isForced ? null : {
        lastActive: { cid, isStored, ...(place === null ? {} : { place }) },
        preferred: preferred && { cid: preferred.cid, isForced: false },
      };
    });
  }

  /** The operator wants this device, or has no wish any more. */
  prefer(preferred: Preference | null): Promise<void> {
    return this.#change((record) => ({ ...record, preferred }));
  }

  /** Resolves when what was told before is durable; null changes nothing. */
  #change(
    make: (record: ActiveRecord) => ActiveRecord | null,
  ): Promise<void> {
    const done = this.#writing.then(async () => {
      const record = make(this.#record);
      if (record === null) return;
      if (this.#path !== null) await replaceFile(this.#path, encode(record));
      this.#record = record;
    });
    this.#writing = done.catch(() => {}); // told to whoever asked for it
    return done;
  }
}

function encode(record: ActiveRecord): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(JSON.stringify(record, null, 2) + "\n");
}

async function readRecord(path: string): Promise<ActiveRecord> {
  try {
    return parseRecord(JSON.parse(await Deno.readTextFile(path)));
  } catch (cause) {
    if (cause instanceof Deno.errors.NotFound) return NOTHING;
    throw new ConfigError(
      "devices",
      path,
      describeError(cause),
      "a file that this program wrote; restore it, or remove it when the " +
        "device that signed last is the only one that is switched on",
    );
  }
}

function parseRecord(record: unknown): ActiveRecord {
  const [last, wish] = [
    field(record, "lastActive"),
    field(record, "preferred"),
  ];
  return {
    lastActive: last === null ? null : {
      cid: text(last, "cid"),
      isStored: flag(last, "isStored"),
      ...placeIn(last),
    },
    preferred: wish === null
      ? null
      : { cid: text(wish, "cid"), isForced: flag(wish, "isForced") },
  };
}

/** Absent in what an earlier broker wrote. */
function placeIn(record: unknown): { readonly place?: string } {
  const isRecord = typeof record === "object" && record !== null;
  const value: unknown = isRecord ? Reflect.get(record, "place") : undefined;
  return typeof value === "string" ? { place: value } : {};
}

function field(record: unknown, name: string): unknown {
  const isRecord = typeof record === "object" && record !== null;
  const value: unknown = isRecord ? Reflect.get(record, name) : undefined;
  if (value === undefined) throw new TypeError(`no ${name}`);
  return value;
}

function text(record: unknown, name: string): string {
  const value = field(record, name);
  if (typeof value === "string" && value !== "") return value;
  throw new TypeError(`no text in ${name}`);
}

function flag(record: unknown, name: string): boolean {
  const value = field(record, name);
  if (typeof value === "boolean") return value;
  throw new TypeError(`no true or false in ${name}`);
}
