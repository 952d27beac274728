/**
 * Who may be the node's device: the one place that decides it.
 *
 * | `pairing` | who is served |
 * | --- | --- |
 * | code | who is paired, by a code or (Sphinx) by its node id |
 * | first | the same, and on this machine the first that comes, and whoever proves the node's key |
 * | open | everybody |
 *
 * It is asked twice. At the door of our own MQTT server, where a login token
 * proves a key and can be replayed, so that strangers cost little. And after
 * hello, which counts: a device of ours speaks through a handshake then, and
 * proves the key of its card for this very handshake.
 *
 * | after hello | what follows |
 * | --- | --- |
 * | known | it is served |
 * | pairing | it is told who the node is, and nothing more before its owner consents |
 * | refused | its connection ends |
 *
 * What it does not do: compare the keys of a node (`pairing.ts`), or talk to a
 * device.
 *
 * @module
 */

import { isCardProof } from "../mqtt/card_proof.ts";
import type { DeviceSession } from "../mqtt/session.ts";
import type { NativeHello } from "../wire/control.ts";
import { printable } from "./answers.ts";
import type {
  DeviceBook,
  NativeDevice,
  PairedDevice,
  SphinxDevice,
} from "./devices.ts";
import type { PairingBook } from "./pairing.ts";
import {
  type Asker,
  CODE_SIZE,
  type PairingCodes,
  USED_BEFORE,
} from "./pairing_codes.ts";

/** How a device becomes the node's. */
export type PairingMode = "code" | "first" | "open";

/** What a desk works with. */
export interface DeskOptions {
  readonly mode: PairingMode;
  /** The node's keys, once a device has shown them. */
  readonly book: PairingBook;
  readonly devices: DeviceBook;
  readonly codes: PairingCodes;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** A file that could not be written; the device is served all the same. */
  readonly problem: (text: string) => void;
}

/** What becomes of a device that said hello. */
export type Judgement =
  /** Null: served, and not remembered yet ({@linkcode PairingDesk.remember}). */
  | { readonly kind: "known"; readonly device: PairedDevice | null }
  | { readonly kind: "pairing" }
  | { readonly kind: "refused"; readonly reason: string };

/** What came of a pairing. */
export type Completion =
  | { readonly kind: "paired"; readonly device: NativeDevice }
  | { readonly kind: "refused"; readonly reason: string };

/** Longest name of a program that is kept, in characters. */
const LONGEST_SOFTWARE = 100;

/** Decides about devices. */
export class PairingDesk {
  readonly #options: DeskOptions;

  constructor(options: DeskOptions) {
    this.#options = options;
  }

  /**
   * Why a key may not log in to our own server; null when it may. The key was
   * proved by a login token.
   */
  mayLogIn(
    keyHex: string,
    { isLoopback }: { readonly isLoopback: boolean },
  ): string | null {
    const { mode, codes } = this.#options;
    if (mode === "open" || this.knows(keyHex)) return null;
    if (this.#isFirst && isLoopback) return null;
    if (codes.isOutstanding) return null;
    if (this.#isNodeAwaited) return null;
    return this.#strangeKey(keyHex);
  }

  /** Whether a key is the node's or that of a paired card; others are strangers. */
  knows(keyHex: string): boolean {
    const { book, devices } = this.#options;
    return book.current?.identity.nodeId.toHex() === keyHex ||
      devices.byCardKey(keyHex) !== null || devices.byNodeKey(keyHex) !== null;
  }

  /** Whether the node has another device, should one of them fail. */
  get hasSeveral(): boolean {
    return this.#options.devices.devices.length > 1;
  }

  /** When the first of the devices was paired; null while none is. */
  get since(): number | null {
    const { devices } = this.#options.devices;
    const times = devices.map(({ pairedAt }) => pairedAt);
    return times.length === 0 ? null : Math.min(...times);
  }

  /** A device of ours, inside its sealed link. */
  judge(session: DeviceSession, hello: NativeHello): Judgement {
    const { mode, devices } = this.#options;
    const cardKey = provenCard(session, hello);
    if (hello.pairingCode !== undefined) {
      return this.#judgeCode(session, cardKey, hello.pairingCode);
    }
    if (mode === "open") return served(null);
    const known = cardKey === null ? null : devices.byCardKey(cardKey);
    if (known !== null) return served(known);
    if (this.#isFirst || this.#provesNode(session)) return served(null);
    return refused(
      "it is not paired with this node, want a pairing string from " +
        "remote_hsmd_mqtt pair",
    );
  }

  /**
   * A Sphinx signer: it proved its key by its login token, or, on a server that
   * is not ours, proves it with its init reply ({@linkcode PairingDesk.mayBe}).
   */
  judgeSphinx(session: DeviceSession): Judgement {
    const { mode, devices } = this.#options;
    if (mode === "open") return served(null);
    const key = session.key?.toHex() ?? null;
    const known = key === null
      ? this.#onlySphinx()
      : devices.byNodeKey(key) ?? null;
    if (known !== null) return served(known);
    const isAny = key === null && this.#sphinxes().length > 0;
    if (isAny || this.#isFirst || this.#provesNode(session)) {
      return served(null);
    }
    const who = key ?? "its node id";
    return refused(
      `no Sphinx signer ${key ?? ""} is paired`.replace("  ", " ") +
        `, want remote_hsmd_mqtt pair --device ${who}`,
    );
  }

  /** Whether a Sphinx signer may turn out to be this node id (hex). */
  mayBe(nodeId: string): boolean {
    const { mode, devices, book } = this.#options;
    if (mode !== "code") {
      const pinned = book.current?.identity.nodeId.toHex() ?? nodeId;
      return pinned === nodeId;
    }
    return devices.byNodeKey(nodeId) !== null;
  }

  /** Whether a device that was known is still paired. */
  isStillPaired(device: PairedDevice | null): boolean {
    const { mode, devices } = this.#options;
    if (device === null || mode === "open") return true;
    return device.kind === "sphinx"
      ? devices.byNodeKey(device.nodeKey) !== null
      : devices.byCardKey(device.cardKey) !== null;
  }

  /** Its owner consented: remembers it, durably, and uses the code up. */
  async complete(
    session: DeviceSession,
    hello: NativeHello,
    code: Uint8Array,
  ): Promise<Completion> {
    const { codes, devices, now } = this.#options;
    const cardKey = provenCard(session, hello);
    if (cardKey === null) return refused(NO_PROOF);
    const asker = { cid: session.cid, cardKey };
    const problem = this.#codeProblem(code, asker);
    if (problem !== null) return refused(problem);
    const device = nativeDevice(asker, hello, now());
    const before = devices.byCardKey(cardKey);
    // Paired first: a code that is used up and no device would be a dead end.
    try {
      await devices.add(device);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return refused(error.message);
    }
    const late = await codes.use(code, asker);
    if (late === null) return { kind: "paired", device };
    if (before === null) await devices.remove(cardKey);
    return refused(late);
  }

  /**
   * Notes a device that is served and has shown that it is the node: a new one
   * of mode `first`, or what a known one calls itself now.
   */
  async remember(
    session: DeviceSession,
    hello: NativeHello | null,
    nodeId: string,
  ): Promise<void> {
    const { mode, devices, now } = this.#options;
    if (mode === "open") return;
    const cardKey = hello === null ? null : provenCard(session, hello);
    const pairedAt = now();
    if (hello === null) {
      if (mode === "first" && devices.byNodeKey(nodeId) === null) {
        await devices.add({ kind: "sphinx", nodeKey: nodeId, pairedAt });
      }
    } else if (cardKey !== null) {
      const asker = { cid: session.cid, cardKey };
      const { cid, software } = nativeDevice(asker, hello, pairedAt);
      const isNew = devices.byCardKey(cardKey) === null;
      if (!isNew) await devices.rename(cardKey, cid, software);
      else if (mode === "first") {
        await devices.add(nativeDevice(asker, hello, pairedAt));
      }
    }
  }

  /** As what a device is paired that has shown that it is the node. */
  pairedAs(
    session: DeviceSession,
    hello: NativeHello | null,
    nodeId: string,
  ): PairedDevice | null {
    const { devices } = this.#options;
    if (hello === null) return devices.byNodeKey(nodeId);
    const cardKey = provenCard(session, hello);
    return cardKey === null ? null : devices.byCardKey(cardKey);
  }

  #judgeCode(
    { cid }: DeviceSession,
    cardKey: string | null,
    code: Uint8Array,
  ): Judgement {
    if (cardKey === null) return refused(NO_PROOF);
    const { codes, problem } = this.#options;
    const asker = { cid, cardKey };
    const found = this.#codeProblem(code, asker);
    if (found !== null) return refused(found);
    codes.ask(code, asker).catch((error) =>
      problem(`cannot note who asks to pair: ${error}`)
    );
    return { kind: "pairing" };
  }

  /** A code that is used up lets nobody in again who was un-paired since. */
  #codeProblem(code: Uint8Array, asker: Asker): string | null {
    const { codes, devices } = this.#options;
    const isGone = codes.isUsed(code) &&
      devices.byCardKey(asker.cardKey) === null;
    return isGone ? USED_BEFORE : codes.problemOf(code, asker);
  }

  /** Mode first, and nobody was: whoever comes is. */
  get #isFirst(): boolean {
    const { mode, book, devices } = this.#options;
    return mode === "first" && book.current === null &&
      devices.devices.length === 0;
  }

  /**
   * A paired device has not shown the node's keys yet: it may log in with a key
   * that nobody has seen, and proves its card afterwards.
   */
  get #isNodeAwaited(): boolean {
    const { book, devices } = this.#options;
    return book.current === null && devices.devices.length > 0;
  }

  /** Mode first: who proves the node's key needs no code. */
  #provesNode({ key }: DeviceSession): boolean {
    const { mode, book } = this.#options;
    if (mode !== "first" || key === null || book.current === null) return false;
    return book.current.identity.nodeId.toHex() === key.toHex();
  }

  #sphinxes(): readonly SphinxDevice[] {
    return this.#options.devices.devices
      .filter((device) => device.kind === "sphinx");
  }

  #onlySphinx(): SphinxDevice | null {
    const [only = null, ...more] = this.#sphinxes();
    return more.length === 0 ? only : null;
  }

  #strangeKey(key: string): string {
    const { book } = this.#options;
    const nodeId = book.current?.identity.nodeId.toHex();
    return nodeId === undefined
      ? `its key is ${key}, which is not paired: want remote_hsmd_mqtt pair, ` +
        `and for a Sphinx signer remote_hsmd_mqtt pair --device ${key}`
      : `its key is ${key}, paired with ${nodeId} (pairing: ${book.place})`;
  }
}

const NO_PROOF = "it did not prove the key of its card";

function served(device: PairedDevice | null): Judgement {
  return { kind: "known", device };
}

function refused(reason: string): {
  readonly kind: "refused";
  readonly reason: string;
} {
  return { kind: "refused", reason };
}

function nativeDevice(
  { cid, cardKey }: { readonly cid: string; readonly cardKey: string },
  hello: NativeHello,
  pairedAt: number,
): NativeDevice {
  const said = printable(hello.software ?? new Uint8Array());
  const software = said.replace(/[\u007f-\u009f]/g, " ")
    .slice(0, LONGEST_SOFTWARE) || "unknown software";
  return { kind: "native", cid, cardKey, software, pairedAt };
}

/**
 * The card key (hex) that a device proved for this handshake: by a signature,
 * or because the handshake itself was made with it.
 */
export function provenCard(
  session: DeviceSession,
  hello: NativeHello,
): string | null {
  const { cardKey, cardProof } = hello;
  const { key, isSealed, transcript } = session;
  if (!isSealed || cardKey === undefined) return null;
  if (key?.toHex() === cardKey.toHex()) return cardKey.toHex();
  if (cardProof === undefined || transcript === null) return null;
  return isCardProof(cardProof, cardKey, transcript) ? cardKey.toHex() : null;
}

/** Whether what a device sent as `paired` could be a code. */
export function isCode(payload: Uint8Array): boolean {
  return payload.length === CODE_SIZE;
}
