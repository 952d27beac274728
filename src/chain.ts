/**
 * Follows the node's bitcoind: block by block, what is new of the chain.
 *
 * That is two things, neither of which a signer can find out by itself: the
 * blocks, which it checks and keeps account of (`chain/feeder.ts`), and what
 * transactions cost, without which an honest fee cannot be told from a theft.
 *
 *     away --answers--> following --a block, or ten minutes--> following
 *       ^                    |
 *       +---- no answer -----+
 *
 * It waits for blocks with `waitfornewblock`, which bitcoind answers when there
 * is one, a few seconds at a time, because a bitcoind that is to stop may wait
 * for the end of the call; where it is not allowed, it looks once a minute. A
 * bitcoind on another network than lightningd's is not listened to at all.
 * Whatever happens here, no request waits for it: a signer that is not told of
 * blocks or fees has its owner's own rules for that.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import {
  Bitcoind,
  BitcoindError,
  fieldIn,
  IN_WARMUP,
} from "./chain/bitcoind.ts";
import type { BitcoindOptions } from "./chain/bitcoind.ts";
import { estimateFeerate, isNews } from "./chain/fees.ts";
import type { Network } from "./bitcoin/networks.ts";
import {
  checkNetwork,
  type DeviceLines,
  Feeder,
  WrongNetworkError,
} from "./chain/feeder.ts";
import type { ChainNews } from "./chain/news.ts";
import { NodeChain } from "./chain/node.ts";
import { describeError } from "./errors.ts";
import type { LogLevel } from "./wire/status.ts";
import type { FeeReference } from "./wire/vls.ts";

export type { BitcoindLogin, BitcoindOptions } from "./chain/bitcoind.ts";
export type { ChainNews } from "./chain/news.ts";
export type { DeviceLine } from "./chain/device.ts";
export type { DeviceLines } from "./chain/feeder.ts";

/** What a follower is made of. */
export interface ChainOptions {
  readonly bitcoind: BitcoindOptions;
  /** Hears the first estimate, each that differs, and one every ten minutes. */
  readonly feeReference: (reference: FeeReference) => void;
  readonly log: (level: LogLevel, text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  /** lightningd's network, as soon as it said so; absent: any will do. */
  readonly network?: Promise<Network>;
  /** Devices that are told of blocks; absent: none is. */
  readonly devices?: DeviceLines;
  readonly pauses?: ChainPauses;
  /** Hears what happens to the device's chain, besides the log. */
  readonly news?: (news: ChainNews) => void;
}

/** How long it waits for what, in milliseconds. */
export interface ChainPauses {
  /** Before bitcoind is asked again after it did not answer. */
  readonly first: number;
  readonly longest: number;
  /** From one look to the next, where blocks cannot be waited for. */
  readonly look: number;
  /** One call that waits for a block: bitcoind may not stop before its end. */
  readonly call: number;
  /** Such calls, before the fees are looked at without a block. */
  readonly calls: number;
  /** From one look at the device to the next, when nothing happens. */
  readonly rest: number;
}

const PAUSES: ChainPauses = {
  first: 1_000,
  longest: 60_000,
  look: 60_000,
  call: 3_000,
  calls: 200,
  rest: 60_000,
};

/** A bitcoind that is followed until {@linkcode ChainFollower.stop}. */
export class ChainFollower {
  readonly #options: ChainOptions;
  readonly #bitcoind: Bitcoind;
  readonly #pauses: ChainPauses;
  readonly #over = new AbortController();
  readonly #run: Promise<void>;
  readonly #node: NodeChain;
  readonly #feeder: Feeder | null;
  #told: FeeReference | null = null;
  /** What was said last about bitcoind; said again when it changes. */
  #said = "";
  #canWait = true;
  /** The block that a wait ended with last. */
  #tip: unknown = null;

  /** Starts at once. */
  constructor(options: ChainOptions) {
    this.#options = options;
    this.#pauses = options.pauses ?? PAUSES;
    this.#bitcoind = new Bitcoind(options.bitcoind);
    this.#node = new NodeChain(this.#bitcoind, this.#over.signal);
    this.#feeder = this.#startFeeder();
    this.#run = this.#follow();
  }

  #startFeeder(): Feeder | null {
    const { devices, log, now, news } = this.#options;
    if (devices === undefined) return null;
    return new Feeder({
      ...(news === undefined ? {} : { news }),
      node: this.#node,
      devices,
      log,
      now,
      over: this.#over.signal,
      breathe: () => new Promise((resolve) => setImmediate(resolve)),
      rest: this.#pauses.rest,
    });
  }

  /** Ends it; resolves when nothing is under way. */
  async stop(): Promise<void> {
    this.#over.abort();
    await this.#run;
    await this.#feeder?.ended;
  }

  async #follow(): Promise<void> {
    const { first, longest } = this.#pauses;
    let pause = first;
    const network = await this.#network();
    while (!this.#over.signal.aborted) {
      try {
        if (network !== null) await checkNetwork(this.#node, network);
        this.#feeder?.wake();
        await this.#look();
        this.#say("info", `following bitcoind at ${this.#bitcoind.url}`);
        pause = first;
        await this.#nextBlock();
      } catch (error) {
        if (this.#over.signal.aborted) return;
        this.#sayAway(error);
        await this.#sleep(pause);
        pause = Math.min(pause * 2, longest);
      }
    }
  }

  /** lightningd's network, or null when it does not matter, or is too late. */
  async #network(): Promise<Network | null> {
    const { signal } = this.#over;
    const { promise, resolve } = Promise.withResolvers<null>();
    signal.addEventListener("abort", () => resolve(null), { once: true });
    return await Promise.race([this.#options.network ?? null, promise]);
  }

  /** What there is to know at this block. */
  async #look(): Promise<void> {
    const rate = await estimateFeerate(this.#bitcoind, this.#over.signal);
    if (rate === null) return;
    const time = BigInt(Math.floor(this.#options.now() / 1000));
    const reference = { feeratePerKw: rate, time };
    if (!isNews(this.#told, reference)) return;
    this.#told = reference;
    this.#options.log("debug", `fee reference: ${rate} sat per 1000 weight`);
    this.#options.feeReference(reference);
  }

  async #nextBlock(): Promise<void> {
    if (!this.#canWait) return await this.#sleep(this.#pauses.look);
    try {
      for (let calls = 0; calls < this.#pauses.calls; calls++) {
        if (await this.#isNewBlock()) return;
      }
    } catch (error) {
      const isRefused = error instanceof BitcoindError &&
        error.code !== IN_WARMUP;
      if (!isRefused) throw error;
      this.#canWait = false;
      this.#options.log("info", `${error.message}; asking it now and then`);
    }
  }

  async #isNewBlock(): Promise<boolean> {
    const { signal } = this.#over;
    const params = [this.#pauses.call];
    const block = await this.#bitcoind.call("waitfornewblock", params, signal);
    const tip = fieldIn(block, "hash");
    const isNew = tip !== this.#tip;
    this.#tip = tip;
    return isNew;
  }

  #sayAway(error: unknown): void {
    if (error instanceof WrongNetworkError) {
      return this.#say("broken", `${error.message}, at ${this.#bitcoind.url}`);
    }
    const why = describeError(error);
    const text = `no fee reference from bitcoind at ${this.#bitcoind.url}: `;
    this.#say("unusual", text + why);
  }

  #say(level: LogLevel, text: string): void {
    if (text === this.#said) return;
    this.#said = text;
    this.#options.log(level, text);
  }

  /** Pauses, or not when it is over. */
  #sleep(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { signal } = this.#over;
    if (signal.aborted) return Promise.resolve();
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
    return promise;
  }
}
