/**
 * One-time codes of pairing strings: `codes.json`.
 *
 * `remote_hsmd_mqtt pair` makes a code and shows it; the file keeps its hash
 * alone, so that who reads the file cannot pair. A code is good for ten minutes,
 * for the first device that shows it, and for one pairing.
 *
 *     open --a device shows it--> asked --its owner consents--> paired
 *
 * The terminal that made the code follows the file and says what happens.
 *
 * What it does not do: know devices (`devices.ts`).
 *
 * @module
 */

import { sha256 } from "../crypto/hash.ts";
import { isEqualConstantTime } from "../crypto/secret.ts";
import {
  listIn,
  propertyOf,
  SharedFile,
  textIn,
  timeIn,
} from "./shared_file.ts";

/** Bytes of a code. */
export const CODE_SIZE = 16;
/** How long a code is good for, in milliseconds. */
export const CODE_LIFE_MS: number = 10 * 60_000;
/** Codes that are kept; making one more forgets the oldest. */
const MOST_CODES = 16;

/** What is said of a code that is used up. */
export const USED_BEFORE = "its pairing code was used before";

/** A device that showed a code. */
export interface Asker {
  /** MQTT client id. */
  readonly cid: string;
  /** Public key of its card, in hex. */
  readonly cardKey: string;
}

/** How far a code has come. */
export type CodeState =
  | { readonly kind: "open" }
  | { readonly kind: "asked"; readonly by: Asker }
  | { readonly kind: "paired"; readonly by: Asker };

/** A code as the file keeps it. */
export interface PairingCode {
  /** SHA-256 of the code, in hex. */
  readonly hash: string;
  /** Unix times in milliseconds. */
  readonly madeAt: number;
  readonly expiresAt: number;
  readonly state: CodeState;
}

/** The codes that are outstanding. */
export class PairingCodes {
  readonly #file: SharedFile<readonly PairingCode[]>;
  readonly #now: () => number;

  private constructor(path: string | null, now: () => number) {
    this.#now = now;
    this.#file = new SharedFile<readonly PairingCode[]>(path, {
      empty: [],
      parse: parseCodes,
      format: (codes) => JSON.stringify({ codes }, null, 2) + "\n",
    });
  }

  /** For as long as the process lasts. */
  static inMemory(now: () => number): PairingCodes {
    return new PairingCodes(null, now);
  }

  /** @throws {ConfigError} for a file that cannot be read */
  static open(path: string, now: () => number): PairingCodes {
    const codes = new PairingCodes(path, now);
    codes.#file.read();
    return codes;
  }

  /** Notes a new code, durably. */
  async make(code: Uint8Array): Promise<PairingCode> {
    const madeAt = this.#now();
    const made: PairingCode = {
      hash: hashOf(code).toHex(),
      madeAt,
      expiresAt: madeAt + CODE_LIFE_MS,
      state: { kind: "open" },
    };
    await this.#file.change((codes) => {
      const kept = codes.filter(({ expiresAt }) => expiresAt > madeAt);
      return [...kept.slice(1 - MOST_CODES), made];
    });
    return made;
  }

  /** Whether any code could still be used. */
  get isOutstanding(): boolean {
    return this.#file.read().some((code) => this.#isGood(code));
  }

  /** What the file says of a code now; null for one that it has forgotten. */
  find(hash: string): PairingCode | null {
    return this.#file.read().find((code) => code.hash === hash) ?? null;
  }

  /**
   * Why this device cannot pair with this code; null when it can. Who paired
   * with it may ask again: the node's yes may have been lost on the way.
   */
  problemOf(code: Uint8Array, asker: Asker): string | null {
    const found = codeIn(this.#file.read(), code);
    if (found === null) return "its pairing code is none of this node";
    return this.#problemOf(found, asker);
  }

  /** Whether it was used up. */
  isUsed(code: Uint8Array): boolean {
    return codeIn(this.#file.read(), code)?.state.kind === "paired";
  }

  /** Notes that this device showed the code. Null, or why it cannot pair. */
  ask(code: Uint8Array, asker: Asker): Promise<string | null> {
    return this.#advance(code, asker, "asked");
  }

  /** Uses the code up. Null, or why it cannot be used. */
  use(code: Uint8Array, asker: Asker): Promise<string | null> {
    return this.#advance(code, asker, "paired");
  }

  /** Forgets a code: its terminal has gone. */
  async forget(hash: string): Promise<void> {
    await this.#file.change((codes) => {
      const kept = codes.filter((code) => code.hash !== hash);
      return kept.length === codes.length ? codes : kept;
    });
  }

  /** Calls after each change, the broker's too; until it is closed. */
  watch(changed: () => void): { close(): void } {
    return this.#file.watch(changed);
  }

  async #advance(
    code: Uint8Array,
    by: Asker,
    kind: "asked" | "paired",
  ): Promise<string | null> {
    let problem: string | null = null;
    await this.#file.change((codes) => {
      const found = codeIn(codes, code);
      problem = found === null
        ? "its pairing code is none of this node"
        : this.#problemOf(found, by);
      if (found === null || problem !== null) return codes;
      if (found.state.kind === kind || found.state.kind === "paired") {
        return codes;
      }
      return codes.map((each) =>
        each === found ? { ...each, state: { kind, by } } : each
      );
    });
    return problem;
  }

  #isGood({ state, expiresAt }: PairingCode): boolean {
    return state.kind !== "paired" && expiresAt > this.#now();
  }

  #problemOf(
    { state, expiresAt }: PairingCode,
    asker: Asker,
  ): string | null {
    if (expiresAt <= this.#now()) return "its pairing code has expired";
    if (state.kind === "open") return null;
    const isSame = state.by.cardKey === asker.cardKey &&
      state.by.cid === asker.cid;
    if (isSame) return null;
    return state.kind === "paired"
      ? USED_BEFORE
      : `its pairing code is in use by device ${state.by.cid}`;
  }
}

function hashOf(code: Uint8Array): Uint8Array {
  return sha256(code);
}

/** Looks at all of them, and at all of each, whichever fits. */
function codeIn(
  codes: readonly PairingCode[],
  code: Uint8Array,
): PairingCode | null {
  const hash = hashOf(code);
  let found: PairingCode | null = null;
  for (const each of codes) {
    if (isEqualConstantTime(Uint8Array.fromHex(each.hash), hash)) found = each;
  }
  return found;
}

function parseCodes(text: string): readonly PairingCode[] {
  const record: unknown = JSON.parse(text);
  return listIn(record, "codes").map((code) => ({
    hash: textIn(code, "hash", /^[0-9a-f]{64}$/),
    madeAt: timeIn(code, "madeAt"),
    expiresAt: timeIn(code, "expiresAt"),
    state: parseState(propertyOf(code, "state")),
  }));
}

function parseState(state: unknown): CodeState {
  const kind = textIn(state, "kind", /^(open|asked|paired)$/);
  if (kind === "open") return { kind };
  const by = propertyOf(state, "by");
  const asker = {
    // A client id of MQTT that our server took.
    cid: textIn(by, "cid", /^[^+#$/]{1,128}$/),
    cardKey: textIn(by, "cardKey", /^0[23][0-9a-f]{64}$/),
  };
  return { kind: kind === "asked" ? "asked" : "paired", by: asker };
}
