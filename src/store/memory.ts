/**
 * A card that is nowhere: the same promises as the one on a disk, and a way to
 * break them on purpose.
 *
 * It is for tests and rehearsals. A {@link MemoryDisk} outlives the stores that
 * are opened on it, as a disk outlives a program.
 *
 * | fault | the commit | afterwards |
 * | --- | --- | --- |
 * | before | throws, nothing is written | goes on |
 * | torn | throws, nothing is written | refuses until it is reopened |
 * | after | throws, all is written | refuses until it is reopened |
 *
 * What it does not do: survive the process.
 *
 * @module
 */

import { StoreError } from "../errors.ts";
import { GENESIS, nextHead, sortByKey } from "./digest.ts";
import type { Change, Head, Store, StoredValue } from "./store.ts";

/** How a commit goes wrong. */
export type Fault = "before" | "torn" | "after";

interface Content {
  readonly head: Head;
  readonly rows: ReadonlyMap<string, StoredValue>;
}

const NOTHING: Content = { head: GENESIS, rows: new Map() };

/** What stays when a program ends. */
export class MemoryDisk {
  /** Asked at each commit; null lets it pass. */
  fault: () => Fault | null = () => null;
  #written: Content = NOTHING;
  #synced: Content = NOTHING;
  #isHonest = true;
  #holder: MemoryStore | null = null;

  /** From now on nothing is synced, though the disk says so. */
  lie(): void {
    this.#isHonest = false;
  }

  /** Loses power: the program ends, and what was not synced is gone. */
  cutPower(): void {
    this.#holder?.close();
    this.#written = this.#synced;
    this.#isHonest = true;
  }

  /** A copy, as an owner makes one. */
  copy(): MemoryDisk {
    const disk = new MemoryDisk();
    disk.#written = this.#written;
    disk.#synced = this.#written;
    return disk;
  }

  /** Opens the card that is on this disk. @throws {StoreError} */
  open(): MemoryStore {
    if (this.#holder !== null) {
      throw new StoreError(
        "open the card",
        "another softkey runs with this card; stop it first",
      );
    }
    const holder = new MemoryStore({
      fault: () => this.fault(),
      read: () => this.#written,
      write: (content) => {
        this.#written = content;
        if (this.#isHonest) this.#synced = content;
      },
      release: () => this.#holder = null,
    });
    this.#holder = holder;
    return holder;
  }
}

interface Access {
  readonly fault: () => Fault | null;
  readonly read: () => Content;
  readonly write: (content: Content) => void;
  readonly release: () => void;
}

/** A {@linkcode Store} on a {@linkcode MemoryDisk}. */
export class MemoryStore implements Store {
  readonly #access: Access;
  #isCertain = true;
  #isOpen = true;
  #head: Head;

  constructor(access: Access) {
    this.#access = access;
    this.#head = access.read().head;
  }

  /** A store on a disk of its own. */
  static create(): MemoryStore {
    return new MemoryDisk().open();
  }

  get head(): Head {
    return this.#head;
  }

  get isCertain(): boolean {
    return this.#isCertain;
  }

  load(): Iterable<StoredValue> {
    const rows = [...this.#access.read().rows.values()];
    return sortByKey(rows.filter(({ value }) => value.length > 0));
  }

  commit(changes: readonly Change[]): void {
    if (!this.#isCertain) {
      throw new StoreError("write the card", "reopen it: its state is unknown");
    }
    if (changes.length === 0) return;
    const fault = this.#access.fault();
    const next = changed(this.#access.read(), changes);
    if (fault === null || fault === "after") this.#access.write(next);
    if (fault === "torn" || fault === "after") this.#isCertain = false;
    if (fault !== null) {
      throw new StoreError("write the card", `fault ${fault}`);
    }
    this.#head = next.head;
  }

  close(): void {
    this.#isCertain = false;
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#access.release();
  }
}

function changed(content: Content, changes: readonly Change[]): Content {
  const rows = new Map(content.rows);
  const written = sortByKey(changes).map(({ key, value }) => {
    const before = rows.get(key);
    const version = before === undefined ? 0n : before.version + 1n;
    const row = { key, version, value: (value ?? new Uint8Array()).slice() };
    rows.set(key, row);
    return row;
  });
  return { head: nextHead(content.head, written), rows };
}
