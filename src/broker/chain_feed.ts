/**
 * The line on which the active device is told of the chain, between lightningd's
 * requests and never before one.
 *
 * One message is under way at most, each is small, and it goes when the device
 * has nothing else to do. While lightningd is asking, two thirds of the time
 * are left to it besides: most requests then find the device doing nothing.
 *
 * A device that leaves fails what it was asked; whoever asked asks the next one
 * where it stands.
 *
 * What it does not do: know what the messages mean. `chain/feeder.ts` does.
 *
 * @module
 */

import type { Network } from "../bitcoin/networks.ts";
import { Bug, SignerUnavailable } from "../errors.ts";
import { NATIVE_CHAIN_MESSAGES } from "../wire/chain_native.ts";
import {
  byType,
  messageType,
  type RequestRow,
  type Row,
} from "../wire/message.ts";
import { CHAIN_MESSAGES } from "../wire/txoo.ts";
import { describeDevice, type Device, NATIVE } from "./device.ts";
import type { DeviceIdentity } from "./pairing.ts";
import { OURSELVES, type RequestQueue } from "./queue.ts";

/** After a request it is careful for so long, in milliseconds. */
const WARM_MS = 1_000;
/** While it is careful: time left free for each time used. */
const FREE = 2;
/** Longest pause, in milliseconds. */
const LONGEST_PAUSE_MS = 200;
/** A message that waited this long goes beside a request, in milliseconds. */
const PATIENCE_MS = 250;

/** Where the account's public key stands in an extended key (BIP 32). */
const KEY_AT = 45;

const ROWS: ReadonlyMap<number, RequestRow> = byType(
  { ...requestsIn(CHAIN_MESSAGES), ...requestsIn(NATIVE_CHAIN_MESSAGES) },
);

function requestsIn(
  rows: Readonly<Record<string, Row | RequestRow>>,
): Readonly<Record<string, RequestRow>> {
  const asking = Object.values(rows).filter((row) => "replies" in row);
  return Object.fromEntries(asking.map((row) => [row.name, row]));
}

/** One device, for as long as it is the active one. */
export class ChainLine {
  readonly name: string;
  readonly isNative: boolean;
  readonly network: Network;
  /** Public key (33 bytes) under which it signs heartbeats. */
  readonly accountKey: Uint8Array;
  readonly #device: Device;
  readonly #queue: RequestQueue;
  readonly #now: () => number;
  readonly #gone = new AbortController();
  /** When we began to use time, on our clock. */
  #busySince: number;

  constructor(
    device: Device,
    { queue, identity, network, now }: {
      readonly queue: RequestQueue;
      readonly identity: DeviceIdentity;
      readonly network: Network;
      readonly now: () => number;
    },
  ) {
    this.#device = device;
    this.#queue = queue;
    this.#now = now;
    this.#busySince = now();
    this.name = describeDevice(device);
    this.isNative = device.dialect === NATIVE;
    this.network = network;
    this.accountKey = identity.bip32.subarray(KEY_AT);
  }

  /** Ends when another device is asked, or none. */
  get gone(): AbortSignal {
    return this.#gone.signal;
  }

  /** What the device answers. @throws {SignerUnavailable} when it left */
  async ask(message: Uint8Array): Promise<Uint8Array> {
    await this.#pause();
    this.#checkHere();
    const row = ROWS.get(messageType(message) ?? -1);
    if (row === undefined) throw new Bug("No message of the chain");
    const { signal } = this.#gone;
    const request = { requester: OURSELVES, row, message, signal };
    const answer = this.#queue.addIdle(request, this.#device);
    const hurry = setTimeout(
      () => this.#queue.hurryIdle(this.#device),
      PATIENCE_MS,
    );
    try {
      return await answer ?? this.#fail();
    } finally {
      clearTimeout(hurry);
    }
  }

  /** The device left. */
  end(): void {
    this.#gone.abort();
    this.#queue.dropIdle();
  }

  #checkHere(): void {
    if (this.#gone.signal.aborted) this.#fail();
  }

  #fail(): never {
    throw new SignerUnavailable(`Cannot ask device ${this.name}: it left`);
  }

  /** Leaves lightningd its share of the device. */
  async #pause(): Promise<void> {
    const now = this.#now();
    const isWarm = now - this.#queue.lastAsked < WARM_MS;
    const used = now - this.#busySince;
    if (isWarm && used > 0) {
      await this.#sleep(Math.min(FREE * used, LONGEST_PAUSE_MS));
    }
    this.#busySince = this.#now();
  }

  #sleep(ms: number): Promise<void> {
    const { signal } = this.#gone;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ms);
    const end = () => {
      clearTimeout(timer);
      resolve();
    };
    signal.addEventListener("abort", end);
    return promise.finally(() => signal.removeEventListener("abort", end));
  }
}

/** Says which device is told of the chain. */
export class ChainFeed {
  readonly #queue: RequestQueue;
  readonly #now: () => number;
  #current: ChainLine | null = null;
  /** Is called whenever there is another device, or none. */
  onChange: (() => void) | null = null;

  constructor(queue: RequestQueue, now: () => number) {
    this.#queue = queue;
    this.#now = now;
  }

  /** The line to the active device, or null. */
  get current(): ChainLine | null {
    return this.#current;
  }

  /** This device is the active one now. */
  attach(device: Device, identity: DeviceIdentity, network: Network): void {
    this.detach();
    const [queue, now] = [this.#queue, this.#now];
    this.#current = new ChainLine(device, { queue, identity, network, now });
    this.onChange?.();
  }

  /** No device is active. */
  detach(): void {
    if (this.#current === null) return;
    this.#current.end();
    this.#current = null;
    this.onChange?.();
  }
}
