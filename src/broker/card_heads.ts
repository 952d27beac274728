/**
 * How far the device's card had come when it was last heard of: a card that
 * stands at less has been rolled back.
 *
 * A rolled-back card has forgotten what it revoked, and a signature on a revoked
 * state lets the peer take the whole channel. The card cannot know; the node
 * remembers for it. The record is small and public: generation, hash, card id.
 * It lies beside the pairing, is replaced atomically, at most once a second and
 * never on the way of a request; so after a crash of the node's machine it may
 * lag by a second, which lets an older card of that second pass and refuses none
 * that is whole.
 *
 * An owner who lost the card for good: stop the node, remove this file, and
 * start with a card that was restored, from words or a backup. It signs for no
 * channel until it has adopted them from the stopped node's database. Never
 * remove this file to make an old copy pass.
 *
 * What it does not do: find a rollback of card and node together, or an old card
 * that was written to, away from its node, more often than the lost one was.
 *
 * @module
 */

import { ConfigError, describeError } from "../errors.ts";
import { replaceFile } from "./replace_file.ts";

/** Where a card stands. */
export interface CardStand {
  readonly generation: bigint;
  /** Of its whole history, hex. */
  readonly hash: string;
  /** Which card it is, hex. */
  readonly card: string;
}

const PAUSE_MS = 1_000;

/** Remembers the newest stand. */
export class CardHeads {
  /** Null for one that lasts as long as the process. */
  readonly #path: string | null;
  #newest: CardStand | null;
  /** The stand that was written last, or is being written. */
  #begun: CardStand | null;
  #timer: ReturnType<typeof setTimeout> | null = null;
  #writing: Promise<unknown> = Promise.resolve();
  #problem: string | null = null;
  #isClosed = false;

  private constructor(path: string | null, newest: CardStand | null) {
    this.#path = path;
    this.#newest = newest;
    this.#begun = newest;
  }

  /** For as long as the process lasts. */
  static inMemory(): CardHeads {
    return new CardHeads(null, null);
  }

  /** @throws {ConfigError} for a file that cannot be read */
  static open(path: string): CardHeads {
    return new CardHeads(path, readStand(path));
  }

  /** The newest stand. */
  get newest(): CardStand | null {
    return this.#newest;
  }

  /** Why a card that stands there must not be used, or null. */
  problemOf(found: CardStand | null): string | null {
    const seen = this.#newest;
    if (seen === null) return null;
    if (found === null) {
      return `card has no memory, this node has seen one at ` +
        `${count(seen.generation)}; run the softkey that belongs to it`;
    }
    if (found.card !== seen.card) {
      return `card is another one: its id is ${found.card}, this node has ` +
        `signed with ${seen.card}; put that one back${this.#lost}`;
    }
    if (found.generation > seen.generation) return null;
    const isSame = found.generation === seen.generation;
    if (isSame && found.hash === seen.hash) return null;
    const stands = isSame
      ? `it stands at ${count(found.generation)} with another history`
      : `it stands at ${count(found.generation)}`;
    return `card is rolled back: ${stands}, this node has seen ` +
      `${
        count(seen.generation)
      }; put the newer card back; an older one could ` +
      `sign a revoked state${this.#lost}`;
  }

  /** A device that is who it should be stands there now. */
  note(stand: CardStand): void {
    const seen = this.#newest;
    const isOlder = seen !== null && seen.card === stand.card &&
      seen.generation >= stand.generation;
    if (isOlder) return;
    this.#newest = stand;
    if (this.#path === null) return;
    this.#timer ??= setTimeout(() => this.flush(), PAUSE_MS);
  }

  /** Begins to write what is not written yet: a device has gone. */
  flush(): void {
    const bytes = this.#takeUnwritten();
    if (bytes === null || this.#path === null) return;
    const path = this.#path;
    this.#writing = this.#writing
      .then(() => this.#isClosed ? undefined : replaceFile(path, bytes))
      .then(() => this.#problem = null)
      .catch((error) => this.#problem = describeError(error));
  }

  /** Writes it now: the process ends. */
  close(): void {
    this.#isClosed = true;
    const bytes = this.#takeUnwritten();
    if (bytes === null || this.#path === null) return;
    Deno.writeFileSync(`${this.#path}.last`, bytes, { mode: 0o600 });
    Deno.renameSync(`${this.#path}.last`, this.#path);
  }

  /** Resolves when what {@linkcode CardHeads.flush} began is written. */
  get written(): Promise<unknown> {
    return this.#writing;
  }

  /** Why the last write failed; the next one tries again. */
  get problem(): string | null {
    return this.#problem;
  }

  #takeUnwritten(): Uint8Array | null {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#newest === null || this.#newest === this.#begun) return null;
    this.#begun = this.#newest;
    return new TextEncoder().encode(encodeStand(this.#newest));
  }

  get #lost(): string {
    return this.#path === null
      ? ""
      : ` (if it is lost for good: ${this.#path} tells in its first line)`;
  }
}

/** A number as people read it. */
function count(value: bigint): string {
  return value.toLocaleString("en");
}

const ADVICE = "the newest state of the signer's card that this node has " +
  "seen; remove this file only when that card is lost for good: an empty or " +
  "restored card signs for no channel until softkey card adopt has read the " +
  "stopped node's database";

function encodeStand({ generation, hash, card }: CardStand): string {
  const record = { about: ADVICE, generation: `${generation}`, hash, card };
  return JSON.stringify(record, null, 2) + "\n";
}

function readStand(path: string): CardStand | null {
  try {
    return parseStand(Deno.readTextFileSync(path));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw new ConfigError(
      "pairing",
      path,
      describeError(error),
      "a record that this program wrote",
    );
  }
}

function parseStand(text: string): CardStand {
  const record: unknown = JSON.parse(text);
  const field = (name: string, form: RegExp): string => {
    const value: unknown = typeof record === "object" && record !== null
      ? Reflect.get(record, name)
      : undefined;
    if (typeof value === "string" && form.test(value)) return value;
    throw new TypeError(`no ${name} in it`);
  };
  return {
    generation: BigInt(field("generation", /^\d{1,20}$/)),
    hash: field("hash", /^[0-9a-f]{64}$/),
    card: field("card", /^[0-9a-f]{32}$/),
  };
}
