/**
 * Brings a device to bitcoind's tip, and keeps it there.
 *
 * Asks both sides where they stand, has `follow.ts` decide, does that one thing,
 * and asks again; so whatever happens in between, on either side, is part of the
 * next decision. It goes to work when there is a block, another device, or a
 * minute gone by, and ends each round with a heartbeat.
 *
 *     resting --block, device, minute--> catching up --synced--> resting
 *        ^                                    |
 *        +---- refused, stuck, no answer -----+
 *
 * @module
 */

import { isSameBytes } from "../bitcoin/bytes.ts";
import { display } from "../bitcoin/difficulty.ts";
import { decodeHeader, HEADER_SIZE } from "../bitcoin/header.ts";
import { type Network, networkOf } from "../bitcoin/networks.ts";
import { describeError } from "../errors.ts";
import { AnswerError } from "./bitcoind.ts";
import type { ChainState } from "../wire/chain_native.ts";
import type { LogLevel } from "../wire/status.ts";
import type { BlockHash } from "../wire/types.ts";
import { DeviceChain, type DeviceLine, DeviceRefusal } from "./device.ts";
import { type Next, nextStep, type NodeView, startTime } from "./follow.ts";
import { describePulse, judgeHeartbeat, type Pulse } from "./heartbeat.ts";
import type { ChainNews } from "./news.ts";
import type { NodeChain } from "./node.ts";
import { Progress } from "./progress.ts";
import type { Breathe } from "./proof.ts";
import { findStart } from "./start.ts";
import { Stuck, VlsMemory } from "./vls.ts";

/** Which device is to be fed. */
export interface DeviceLines {
  readonly current: DeviceLine | null;
  /** Is called whenever there is another one, or none. */
  onChange: (() => void) | null;
}

/** What a feeder is made of. */
export interface FeederOptions {
  readonly node: NodeChain;
  readonly devices: DeviceLines;
  readonly log: (level: LogLevel, text: string) => void;
  /** Unix time in milliseconds. */
  readonly now: () => number;
  readonly over: AbortSignal;
  readonly breathe: Breathe;
  /** Milliseconds from one round to the next when nothing happens. */
  readonly rest: number;
  /** Hears what happens, besides the log. */
  readonly news?: (news: ChainNews) => void;
}

/** bitcoind is on another network. */
export class WrongNetworkError extends Error {
  override readonly name = "WrongNetworkError";

  constructor(found: Uint8Array, wanted: Network) {
    const other = networkOf(found)?.name ?? "an unknown network";
    super(
      `Cannot follow bitcoind: its first block is ${display(found)} ` +
        `(${other}), want ${display(wanted.genesisHash)} (${wanted.name})`,
    );
  }
}

/** Whether bitcoind is on a network. @throws {WrongNetworkError} */
export async function checkNetwork(
  node: NodeChain,
  network: Network,
): Promise<void> {
  const genesis = await node.genesis();
  if (isSameBytes(genesis, network.genesisHash)) return;
  throw new WrongNetworkError(genesis, network);
}

/** Times that a device may be found where it was before. */
const MOST_REPEATS = 3;

/** Sees that a device moves at all, whatever it and bitcoind say. */
class StepCount {
  #at = "";
  #repeats = 0;

  /** @throws {Stuck} for one that does not */
  check({ height, hash }: ChainState): void {
    const at = hash.toHex();
    this.#repeats = at === this.#at ? this.#repeats + 1 : 0;
    this.#at = at;
    if (this.#repeats <= MOST_REPEATS) return;
    throw new Stuck(`no step forward from block ${height} ${display(hash)}`);
  }
}

/** Feeds whichever device there is. */
export class Feeder {
  readonly #options: FeederOptions;
  readonly #progress: Progress;
  readonly #vls: VlsMemory;
  readonly #run: Promise<void>;
  #wake = Promise.withResolvers<void>();
  /** Whether something happened since the last round began. */
  #isAwake = false;
  /** What was said last; said again when it changes. */
  #said = "";
  #pulse: Pulse["kind"] | null = null;
  /** Bitcoind's height, as it was said last. */
  #target = 0;
  /** Blocks taken back in the reorg that is under way. */
  #removed = 0;
  /** The block that was refused last: it is tried twice at once. */
  #refused: string | null = null;
  /** A device that does not know these messages. */
  #deaf: DeviceLine | null = null;

  /** Starts at once. */
  constructor(options: FeederOptions) {
    this.#options = options;
    this.#progress = new Progress(options.now);
    const { node, breathe } = options;
    this.#vls = new VlsMemory({
      node,
      breathe,
      progress: (height, tip) => this.#tell(this.#progress.at(height, tip)),
    });
    options.devices.onChange = () => this.wake();
    options.over.addEventListener("abort", () => this.wake());
    this.#run = this.#work();
  }

  /** There may be something to do. */
  wake(): void {
    this.#isAwake = true;
    this.#wake.resolve();
  }

  /** Resolves when it has ended, after its signal. */
  get ended(): Promise<void> {
    return this.#run;
  }

  async #work(): Promise<void> {
    const { over, devices } = this.#options;
    while (!over.aborted) {
      this.#isAwake = false;
      const line = devices.current;
      if (line !== null && line !== this.#deaf) await this.#round(line);
      if (!over.aborted) await this.#rest();
    }
  }

  /** One attempt to bring a device to the tip; says why it ended, if not well. */
  async #round(line: DeviceLine): Promise<void> {
    const chain = new DeviceChain(line, this.#options.breathe);
    try {
      await checkNetwork(this.#options.node, line.network);
      await this.#catchUp(line, chain);
      this.#refused = null;
      await this.#takePulse(line, chain);
    } catch (error) {
      if (line.gone.aborted || this.#options.over.aborted) return;
      this.#sayProblem(line, error);
    }
  }

  #sayProblem(line: DeviceLine, error: unknown): void {
    this.#progress.reset();
    this.#news({ kind: "problem", text: describeError(error) });
    if (error instanceof DeviceRefusal && error.isUnknown) {
      this.#deaf = line;
      const text = `device ${line.name} is not told of blocks: ` +
        describeError(error);
      return this.#say("info", text);
    }
    // Whoever waits for its blocks says that.
    if (error instanceof WrongNetworkError) return;
    this.#say("unusual", `device ${line.name}: ${describeError(error)}`);
  }

  async #catchUp(line: DeviceLine, chain: DeviceChain): Promise<void> {
    const steps = new StepCount();
    while (!line.gone.aborted) {
      const state = await this.#stateOf(line, chain);
      steps.check(state);
      const view = await this.#viewFrom(state);
      const next = nextStep(state, view);
      if (next.kind === "synced") return this.#saySynced(state);
      this.#target = view.height;
      if (state.isStarted) {
        this.#news({ kind: "at", height: state.height, tip: view.height });
        this.#tellProgress(state.height);
      }
      this.#countRemoved(next, state);
      try {
        await this.#do(next, { line, chain, state });
      } catch (error) {
        if (!this.#mayRepeat(error, state)) throw error;
      }
    }
  }

  /** What does not fit may be a reorg at this moment: once. */
  #mayRepeat(error: unknown, { hash }: ChainState): boolean {
    const isAnswer = error instanceof DeviceRefusal ||
      error instanceof AnswerError;
    if (!isAnswer) return false;
    const at = hash.toHex();
    const isFirst = this.#refused !== at;
    this.#refused = at;
    return isFirst;
  }

  async #do(
    next: Next,
    on: {
      readonly line: DeviceLine;
      readonly chain: DeviceChain;
      readonly state: ChainState;
    },
  ): Promise<void> {
    const { line, chain, state } = on;
    switch (next.kind) {
      case "start":
        return await this.#start(chain, state, next.highest);
      case "headers":
        return await this.#addHeaders(chain, next);
      case "blocks":
        return await this.#addBlocks(on, next);
      case "remove":
        if (line.isNative) return await chain.remove(next.previous);
        return await this.#removeProved(chain, state);
      case "wait":
      case "stuck":
        throw new Stuck(next.why);
      case "synced":
        return;
    }
  }

  // ------------------------------------------------------------ where they are

  async #viewFrom({ hash, isStarted }: ChainState): Promise<NodeView> {
    const { node } = this.#options;
    const tip = await node.tip();
    const standing = isStarted
      ? await node.standing(hash)
      : { kind: "unknown" } as const;
    return { ...tip, standing };
  }

  async #stateOf(line: DeviceLine, chain: DeviceChain): Promise<ChainState> {
    return line.isNative
      ? await chain.state()
      : await this.#vls.stateAt(await chain.tip());
  }

  // ---------------------------------------------------------------- what is done

  async #start(
    chain: DeviceChain,
    state: ChainState,
    highest: number,
  ): Promise<void> {
    const first = await findStart(this.#options.node, {
      before: startTime(state),
      highest,
    });
    await chain.start(first);
    this.#tell(
      `the device had no chain: it starts at bitcoind's block ${first.height}`,
    );
  }

  async #addHeaders(
    chain: DeviceChain,
    { from, to }: { readonly from: number; readonly to: number },
  ): Promise<void> {
    const { node } = this.#options;
    await chain.headers(await node.headers(await node.hashes(from, to)));
  }

  /** Adds blocks, the next one on its way while the device has one. */
  async #addBlocks(
    { line, chain, state }: {
      readonly line: DeviceLine;
      readonly chain: DeviceChain;
      readonly state: ChainState;
    },
    { from, to }: { readonly from: number; readonly to: number },
  ): Promise<void> {
    const { node } = this.#options;
    const hashes = await node.hashes(from, to);
    const prepare = async (hash: BlockHash | undefined) => {
      if (hash === undefined) return null;
      const bytes = await node.block(hash);
      return state.wantsWholeBlocks
        ? { bytes, searched: await chain.searchWhole(bytes) }
        : { bytes, searched: null };
    };
    let tip: Pick<ChainState, "height" | "hash" | "filterHeader"> = state;
    let upcoming = prepare(hashes[0]);
    for (const [i, hash] of hashes.entries()) {
      const block = await upcoming;
      upcoming = prepare(hashes[i + 1]);
      // Whoever waits for it hears of its failure; a run may end before.
      upcoming.catch(() => {});
      if (block === null) return;
      checkFollows(block.bytes, tip);
      const { height, filterHeader: previousFilterHeader } = tip;
      const place = { height: height + 1, previousFilterHeader };
      const filterHeader = block.searched === null
        ? await chain.addFiltered({ ...place, bytes: block.bytes })
        : await chain.addWhole(block.searched, place);
      tip = { height: height + 1, hash, filterHeader };
      if (!line.isNative) this.#vls.keep(hash, filterHeader);
      this.#news({ kind: "added" });
      this.#news({ kind: "at", height: height + 1, tip: this.#target });
      this.#tellProgress(height + 1);
    }
  }

  async #removeProved(chain: DeviceChain, state: ChainState): Promise<void> {
    const { hash, height, previous } = state;
    if (previous === null) return;
    const bytes = await this.#options.node.block(hash);
    await chain.removeProved({ bytes, height }, previous);
  }

  async #takePulse(line: DeviceLine, chain: DeviceChain): Promise<void> {
    const bytes = await chain.heartbeat();
    const now = Math.floor(this.#options.now() / 1000);
    const { accountKey, network } = line;
    const pulse = judgeHeartbeat(bytes, {
      now,
      accountKey,
      network: network.name,
    });
    this.#news({ kind: "pulse", pulse });
    if (pulse.kind === this.#pulse) return;
    this.#pulse = pulse.kind;
    const level = pulse.kind === "fresh" ? "info" : "unusual";
    const text = `device ${line.name}: ${describePulse(pulse, now)}`;
    this.#options.log(level, text);
  }

  // ----------------------------------------------------------------- what is said

  #saySynced({ height }: ChainState): void {
    this.#tell(this.#progress.done(height));
    this.#news({ kind: "at", height, tip: height });
    // A problem that is over is worth a line; each block is not.
    if (this.#said !== "") {
      this.#options.log("info", `the device has bitcoind's tip: ${height}`);
    }
    this.#said = "";
    this.#options.log("debug", `the device is at block ${height}`);
  }

  #news(news: ChainNews): void {
    this.#options.news?.(news);
  }

  #tell(text: string | null): void {
    if (text !== null) this.#options.log("info", text);
  }

  #tellProgress(height: number): void {
    this.#tell(this.#progress.at(height, this.#target));
  }

  /** A reorg is two lines, however deep it is. */
  #countRemoved({ kind }: Next, { height }: ChainState): void {
    if (kind === "remove") {
      if (this.#removed === 0) {
        this.#tell(`reorg: the device takes back blocks from ${height} down`);
      }
      this.#removed += 1;
      this.#news({ kind: "removed" });
    } else if (this.#removed > 0) {
      this.#tell(
        `reorg: the device took back ${this.#removed} blocks, ` +
          `down to ${height}`,
      );
      this.#removed = 0;
    }
  }

  #say(level: LogLevel, text: string): void {
    if (text === this.#said) return;
    this.#said = text;
    this.#options.log(level, text);
  }

  /** Until something happens, or a minute. */
  async #rest(): Promise<void> {
    if (this.#isAwake) return;
    this.#wake = Promise.withResolvers();
    const timer = setTimeout(() => this.#wake.resolve(), this.#options.rest);
    await this.#wake.promise;
    clearTimeout(timer);
  }
}

/** @throws {AnswerError} for a block that does not follow a device's tip */
function checkFollows(
  block: Uint8Array,
  { height, hash }: Pick<ChainState, "height" | "hash">,
): void {
  const { previous } = decodeHeader(block.subarray(0, HEADER_SIZE));
  if (isSameBytes(previous, hash)) return;
  throw new AnswerError(
    "getblockhash",
    `a block ${height + 1} after ${display(previous)}`,
    `one after the device's block ${display(hash)}`,
  );
}
