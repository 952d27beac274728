/**
 * Keeps one device in step with the storage: the dance after each hello, then a
 * put for each change, before the device lets its answer out.
 *
 *     idle --start--> asked --init-1-res--> created --init-2-res--> synced
 *                       ^                                            |  ^
 *                       |                                    lss-res |  | lss-msg
 *                     hello <-- behind <------ conflict ------------ put
 *
 * | what happens | what the device hears | and then |
 * | --- | --- | --- |
 * | the put is stored | Stored, with the server's MAC | it answers |
 * | the storage has something else | PutConflict | it reads everything again |
 * | the storage cannot be reached | nothing, it waits | the put is tried again |
 * | a try was lost, the repeat finds its bytes | Stored | it answers |
 * | bytes that are no message | | its connection ends |
 *
 * While a device starts, from reading everything to the put of what that
 * changed, it alone may write: a device that is refused there has committed
 * already and would never start again. A slow one loses that right after
 * {@linkcode START_MS}.
 *
 * Nothing goes to a device between lss-res and lss-msg: some restart then.
 *
 * Signers of before 2024, and those in web pages and phones, have not heard of
 * PutConflict. What all of them start over for is a gap in the numbers of
 * requests, so one that does not confirm the conflict is shown a gap; one that
 * does not begin anew even then loses its connection.
 *
 * Facts: sphinx-key broker/src/lss.rs, sphinx-rs lss-connector/src/signer.rs,
 * vls-mqtt/app/src/signer.ts.
 *
 * What it does not do: send init or requests; choose which device is asked.
 *
 * //~ A signer without a disk keeps its memory with the one whom it trusts
 * //~ least: us. That works because each entry carries a MAC and a version that
 * //~ only rises, and because no answer leaves before its write is durable. The
 * //~ hard case is a write that was made and whose receipt got lost; repeating
 * //~ it must look like a success and a stranger's write must not. Next:
 * //~ mqtt/sealed_sessions.ts.
 *
 * @module
 */

import type { TopicName } from "../../mqtt/topics.ts";
import { Bug, DecodeError, describeError, unreachable } from "../../errors.ts";
import {
  decodeFromDevice,
  encodeFromBroker,
  type LssFromBroker,
  type LssFromDevice,
} from "../../wire/lss.ts";
import type { LogLevel } from "../../wire/status.ts";
import { gapFrames, RESTART_MS } from "../gap.ts";
import {
  type LssEntry,
  type PutOutcome,
  type Storage,
  type StorageAuth,
  StorageUnavailable,
} from "../storage.ts";
import { explainConflict, holdsExactly } from "./rules.ts";
import type { GiveBack } from "./turns.ts";

/** What a session needs from around it. */
export interface StorageSessionOptions {
  readonly storage: Storage;
  /** Sphinx devices restart when told of a conflict; ours start over at once. */
  readonly dialect: "sphinx" | "native";
  /** Publishes to the device; false when it is gone. */
  readonly send: (name: TopicName, payload: Uint8Array) => boolean;
  readonly log: (level: LogLevel, text: string) => void;
  /** The device in a log line. */
  readonly describe: () => string;
  /** The device has all that is stored: init (init-3-msg) may follow. */
  readonly synced: () => void;
  /**
   * The device is out of step: what it was asked has to be taken back, and
   * nothing is asked of it before {@linkcode StorageSessionOptions.synced}.
   */
  readonly behind: (reason: string) => void;
  /** It cannot go on: the connection should end. */
  readonly failed: (reason: string) => void;
  /** Resolves after a while, or when the signal ends; a timer where absent. */
  readonly pause?: Pause;
  /** For tests: see {@linkcode START_MS}. */
  readonly startMs?: number;
}

/** Waits; ends early when the signal does. */
export type Pause = (ms: number, signal: AbortSignal) => Promise<void>;

/** How long a device that starts keeps others from writing. */
export const START_MS = 5_000;
/** How long until the storage is tried again: doubled each time. */
const FIRST_PAUSE_MS = 250;
const LONGEST_PAUSE_MS = 10_000;
/** In this time a device that knows of conflicts confirms one. */
const CONFIRM_MS = 1_000;
/** Messages of a device that wait for the one before to be stored. */
const WAITING_MESSAGES = 64;

type State = "idle" | "asked" | "created" | "synced" | "behind" | "ended";

/** Where each message of a device goes. */
const TOPIC_OF = {
  Init: "init-1-res",
  Created: "init-2-res",
  VlsMuts: "lss-res",
  PutConflictConfirmed: "lss-conflict-res",
} as const satisfies Record<LssFromDevice["kind"], TopicName>;

/** A turn that ends by itself if nothing else ends it. */
interface Turn {
  readonly giveBack: GiveBack;
  readonly timer: ReturnType<typeof setTimeout>;
}

type FromDevice<K extends LssFromDevice["kind"]> = Extract<
  LssFromDevice,
  { readonly kind: K }
>;

/** One device's session with the storage, from its first hello to its end. */
export class StorageSession {
  readonly #options: StorageSessionOptions;
  #state: State = "idle";
  /** Ends with the next start: what was begun before is not carried on. */
  #round = new AbortController();
  #auth: StorageAuth | null = null;
  /** The server's public key, once it said so. */
  #server: Uint8Array | null = null;
  #revision: number | null = null;
  #storing = 0;
  /** What came is done one after the other. */
  #work: Promise<void> = Promise.resolve();
  #waiting = 0;
  /** Held while the device starts. */
  #turn: Turn | null = null;
  #isReached = true;
  /** The device knows of the conflict. */
  #isConfirmed = false;

  constructor(options: StorageSessionOptions) {
    this.#options = options;
  }

  /** Whether the device has all that it was told and may be asked. */
  get isSynced(): boolean {
    return this.#state === "synced";
  }

  /** From lss-res to lss-msg: nothing else may go to the device. */
  get isStoring(): boolean {
    return this.#storing > 0;
  }

  /** What of the storage it has; as much as the storage itself: everything. */
  get revision(): number | null {
    return this.#revision;
  }

  /**
   * Where its state is: the server, the client, and whose form it has. Devices
   * that differ in one of them do not read each other's state.
   */
  get place(): string | null {
    if (this.#auth === null || this.#server === null) return null;
    const { dialect } = this.#options;
    const { clientId } = this.#auth;
    return `${dialect} ${this.#server.toHex()} ${clientId.toHex()}`;
  }

  /** After every hello: begins the dance. */
  start(): void {
    if (this.#state === "ended") return;
    this.#leaveRound();
    this.#round = new AbortController();
    this.#state = "asked";
    this.#do(async (round) => {
      const serverPubkey = await this.#reach(
        () => this.#options.storage.serverKey(),
        round,
      );
      if (serverPubkey === null) return;
      this.#server = serverPubkey;
      this.#say("init-1-msg", { kind: "Init", value: { serverPubkey } });
    });
  }

  /** Takes init-1-res, init-2-res, lss-res and lss-conflict-res. */
  take(name: TopicName, payload: Uint8Array): void {
    if (this.#state === "ended") return;
    try {
      const message = decodeFromDevice(payload);
      const wanted = TOPIC_OF[message.kind];
      if (wanted !== name) {
        return this.#fail(`said ${message.kind} on ${name}, want ${wanted}`);
      }
      this.#takeMessage(message);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#fail(error.message);
    }
  }

  /**
   * Makes the device read everything again. What it is having stored is not
   * tried any more; it may be there all the same, and is then read by all.
   */
  resync(): void {
    if (this.#state !== "synced") return;
    this.#leaveRound();
    this.#round = new AbortController();
    this.#state = "behind";
    this.#do(() => {
      this.#turnBack();
      return Promise.resolve();
    });
  }

  /** The device is gone. */
  end(): void {
    this.#leaveRound();
    this.#state = "ended";
  }

  #takeMessage(message: LssFromDevice): void {
    switch (message.kind) {
      case "Init":
        return this.#do((round) => this.#takeInit(message, round));
      case "Created":
        return this.#do((round) => this.#takeCreated(message, round));
      case "VlsMuts":
        return this.#takeChanges(message);
      case "PutConflictConfirmed":
        this.#isConfirmed = true;
        return this.#note("debug", "starts over");
      default:
        return unreachable(message);
    }
  }

  /** Step 2: everything, for a device that started; nothing for one that did not. */
  async #takeInit(
    { value }: FromDevice<"Init">,
    round: AbortSignal,
  ): Promise<void> {
    if (this.#state !== "asked" && this.#state !== "created") return;
    const { clientId, authToken: token, nonce } = value;
    const auth = this.#auth = { clientId, token };
    this.#state = "created";
    if (nonce === null) return this.#sayCreated(null, []);
    await this.#takeTurn(round);
    const content = await this.#reach(
      () => this.#options.storage.get(auth, nonce),
      round,
    );
    if (content === null) return;
    this.#revision = content.revision;
    this.#sayCreated(content.hmac, content.entries);
  }

  /** What starting changed: stored, or the device has something that nobody has. */
  async #takeCreated(
    { value: { clientHmac, muts } }: FromDevice<"Created">,
    round: AbortSignal,
  ): Promise<void> {
    if (this.#state !== "created") {
      return muts.length === 0
        ? undefined
        : this.#fail("has changes from a start that is over");
    }
    const outcome = muts.length === 0
      ? null
      : await this.#put(muts, clientHmac, round);
    if (round.aborted) return; // whoever began the next one goes on
    this.#endTurn();
    if (outcome?.kind === "conflict") {
      return this.#takeConflict(muts, outcome);
    }
    this.#state = "synced";
    this.#options.synced();
  }

  #takeChanges({ value: { clientHmac, muts } }: FromDevice<"VlsMuts">): void {
    // It was told to start over while this was on its way.
    if (this.#state === "behind") return;
    if (this.#state !== "synced") {
      return this.#fail("has changes before it is in step");
    }
    const isOver = this.#beginStoring();
    this.#do((round) => this.#store(muts, clientHmac, round, isOver), isOver);
  }

  /** Counts a change in; what is given counts it out, once. */
  #beginStoring(): () => void {
    this.#storing += 1;
    let left = 1;
    return () => {
      this.#storing -= left;
      left = 0;
    };
  }

  async #store(
    entries: readonly LssEntry[],
    hmac: Uint8Array,
    round: AbortSignal,
    isOver: () => void,
  ): Promise<void> {
    // The one before it was refused: this one builds on that.
    if (this.#state !== "synced") return;
    const outcome = await this.#put(entries, hmac, round);
    if (outcome === null) return;
    if (outcome.kind === "conflict") {
      return this.#takeConflict(entries, outcome);
    }
    isOver();
    const value = { serverHmac: outcome.hmac, muts: [] };
    this.#say("lss-msg", { kind: "Stored", value });
  }

  #takeConflict(
    entries: readonly LssEntry[],
    { entries: there }: Extract<PutOutcome, { readonly kind: "conflict" }>,
  ): void {
    const reason = holdsExactly(entries, there)
      ? "the storage has this already, and its proof was lost on the way"
      : explainConflict(entries, there);
    this.#note(
      "unusual",
      `is out of step and reads everything again: ${reason}`,
    );
    this.#turnBack();
    this.#options.behind(reason);
  }

  #turnBack(): void {
    this.#state = "behind";
    this.#revision = null;
    this.#isConfirmed = false;
    this.#say("lss-conflict", { kind: "PutConflict" });
    if (this.#options.dialect === "native") this.start();
    else this.#insist(this.#round.signal);
  }

  /** Until it begins anew, or leaves: either ends the round. */
  async #insist(round: AbortSignal): Promise<void> {
    const pause = this.#options.pause ?? waitFor;
    await pause(CONFIRM_MS, round);
    if (round.aborted) return;
    if (!this.#isConfirmed) this.#showGap();
    await pause(RESTART_MS, round);
    if (!round.aborted) this.#fail("does not start over after a conflict");
  }

  #showGap(): void {
    this.#note("debug", "does not know of conflicts, is shown a gap");
    for (const frame of gapFrames()) this.#options.send("vls", frame);
  }

  /** Puts until it is known what became of it; null when that is nobody's now. */
  #put(
    entries: readonly LssEntry[],
    hmac: Uint8Array,
    round: AbortSignal,
  ): Promise<PutOutcome | null> {
    const { storage } = this.#options;
    let isRepeat = false;
    return this.#reach<PutOutcome | null>(async () => {
      const auth = this.#auth;
      if (auth === null) throw new Bug("Cannot put for a device without name");
      const isRepeated = isRepeat;
      isRepeat = true;
      return await this.#inTurn(async () => {
        // Its turn may have come late.
        if (round.aborted) return null;
        const before = storage.revision;
        try {
          const outcome = await storage.put(auth, entries, hmac);
          return isRepeated ? ownPut(entries, outcome) : outcome;
        } finally {
          // Only we write now: what is new in between is ours.
          if (this.#revision === before) this.#revision = storage.revision;
        }
      });
    }, round);
  }

  /** Tries until the storage answers; null when the round is over. */
  async #reach<T>(
    work: () => Promise<T>,
    round: AbortSignal,
  ): Promise<T | null> {
    const pause = this.#options.pause ?? waitFor;
    let ms = FIRST_PAUSE_MS;
    while (!round.aborted) {
      try {
        const value = await work();
        this.#noteReached();
        return round.aborted ? null : value;
      } catch (error) {
        if (!(error instanceof StorageUnavailable)) throw error;
        this.#noteUnreached(error.message);
        // Others need not wait for as long as we do.
        this.#endTurn();
      }
      await pause(ms, round);
      ms = Math.min(2 * ms, LONGEST_PAUSE_MS);
    }
    return null;
  }

  // ------------------------------------------------------- whose turn it is

  /** From here on no other device writes, until this one has started. */
  async #takeTurn(round: AbortSignal): Promise<void> {
    this.#endTurn();
    const giveBack = await this.#options.storage.turns.take();
    if (round.aborted) return giveBack();
    const { startMs = START_MS } = this.#options;
    const timer = setTimeout(() => this.#endTurn(), startMs);
    this.#turn = { giveBack, timer };
  }

  #endTurn(): void {
    this.#takeOver()?.();
  }

  /** What this device holds, which then has no end but the caller's. */
  #takeOver(): GiveBack | null {
    const turn = this.#turn;
    this.#turn = null;
    if (turn === null) return null;
    clearTimeout(turn.timer);
    return turn.giveBack;
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const giveBack = this.#takeOver() ??
      await this.#options.storage.turns.take();
    try {
      return await work();
    } finally {
      giveBack();
    }
  }

  // ------------------------------------------------------------------ words

  #sayCreated(
    serverHmac: Uint8Array | null,
    muts: readonly LssEntry[],
  ): void {
    this.#say("init-2-msg", { kind: "Created", value: { serverHmac, muts } });
  }

  #say(name: TopicName, message: LssFromBroker): void {
    this.#options.send(name, encodeFromBroker(message));
  }

  #note(level: LogLevel, text: string): void {
    this.#options.log(level, `device ${this.#options.describe()} ${text}`);
  }

  #noteUnreached(problem: string): void {
    if (!this.#isReached) return;
    this.#isReached = false;
    this.#note("unusual", `waits for the storage: ${problem}`);
  }

  #noteReached(): void {
    if (this.#isReached) return;
    this.#isReached = true;
    this.#note("info", "goes on: the storage is back");
  }

  // -------------------------------------------------------------- in order

  /** Does a thing after those before it, if the same round still lasts. */
  #do(
    work: (round: AbortSignal) => Promise<void>,
    after: () => void = () => {},
  ): void {
    if (this.#waiting >= WAITING_MESSAGES) {
      return this.#fail(`says more than ${WAITING_MESSAGES} things at once`);
    }
    const round = this.#round.signal;
    this.#waiting += 1;
    this.#work = this.#work
      .then(() => round.aborted ? undefined : work(round))
      .catch((error) => {
        if (!round.aborted) this.#fail(describeError(error));
      })
      .finally(() => {
        this.#waiting -= 1;
        after();
      });
  }

  #leaveRound(): void {
    this.#round.abort();
    this.#endTurn();
    this.#revision = null;
  }

  #fail(reason: string): void {
    this.end();
    this.#options.failed(reason);
  }
}

/** A repeat that finds its own bytes there was stored the first time. */
function ownPut(
  entries: readonly LssEntry[],
  outcome: PutOutcome,
): PutOutcome {
  const isOwn = outcome.kind === "conflict" && outcome.hmac !== null &&
    holdsExactly(entries, outcome.entries);
  return isOwn && outcome.hmac !== null
    ? { kind: "stored", hmac: outcome.hmac }
    : outcome;
}

function waitFor(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}
