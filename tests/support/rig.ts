/**
 * A whole path on this machine: a stand-in for lightningd, the broker as its
 * child with real descriptors, and a softkey that is connected to it.
 *
 * The broker runs as a process, from source or from a built file; the softkey
 * runs inside the test, or as a process where a test wants to kill it.
 *
 * @module
 */

import { fromFileUrl, withDeno } from "./paths.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { Box } from "../../src/device/box.ts";
import { LOG_LEVELS, STATUS } from "../../src/wire/status.ts";
import { decodeMessage, messageType } from "../../src/wire/message.ts";
import { makeBox } from "./softkey.ts";
import { Standin } from "./standin/standin.ts";

/** What lightningd's version is here. */
export const CLN_VERSION = "v26.06.6";

const MAIN = fromFileUrl(new URL("../../main.ts", import.meta.url));
const CONFIG = fromFileUrl(new URL("../../deno.json", import.meta.url));

/** How to start a broker. */
export interface BrokerOptions {
  /** Path of a built broker; from source when it is not given. */
  readonly program?: string | undefined;
  /** lightningd's directory for the network. */
  readonly folder: string;
  /** Where to listen; port 0 by default. */
  readonly listen?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A broker under a stand-in for lightningd. */
export class RunningBroker implements AsyncDisposable {
  readonly standin: Standin;
  /** Lines that it logged so far. */
  readonly log: string[] = [];
  /** What an operator would be woken for: broken lines, failures, bad requests. */
  readonly alarms: string[] = [];
  readonly #watchers = new Set<() => void>();
  readonly #reading: Promise<void>;

  private constructor(standin: Standin) {
    this.standin = standin;
    this.#reading = this.#read();
  }

  /** Starts it as lightningd would. */
  static async start(options: BrokerOptions): Promise<RunningBroker> {
    const { program, folder, listen = "127.0.0.1:0", args = ["--developer"] } =
      options;
    const own = program === undefined
      ? ["run", "-A", "--quiet", "--config", CONFIG, MAIN]
      : [];
    const standin = await Standin.start({
      program: program ?? Deno.execPath(),
      args: [...own, ...args],
      cwd: folder,
      env: {
        ...withDeno(),
        LIGHTNINGD_VERSION: CLN_VERSION,
        REMOTE_HSMD_MQTT_LISTEN: listen,
        REMOTE_HSMD_PAIRING: "open",
        ...options.env,
      },
    });
    return new RunningBroker(standin);
  }

  /** Resolves with the first line, past or coming, that matches. */
  async logged(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      for (const line of this.log) {
        const match = pattern.exec(line);
        if (match !== null) return match;
      }
      const ended = await Promise.race([
        new Promise<false>((resolve) =>
          this.#watchers.add(() => resolve(false))
        ),
        this.#reading.then(() => true),
      ]);
      if (ended && !this.log.some((line) => pattern.test(line))) {
        const text = this.log.join("\n");
        throw new Error(
          `The broker ended before it logged ${pattern}:\n${text}`,
        );
      }
    }
  }

  /** Resolves when its last line was read, which is after its end. */
  get silence(): Promise<void> {
    return this.#reading;
  }

  /** `host:port` where it listens for devices. */
  async address(): Promise<string> {
    const [, address = ""] = await this.logged(/devices on mqtt:\/\/(\S+)/);
    return address;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.standin[Symbol.asyncDispose]();
    await this.#reading;
  }

  async #read(): Promise<void> {
    for await (const payload of this.standin.status) {
      const line = describeStatus(payload);
      this.log.push(line);
      if (isAlarm(payload)) this.alarms.push(line);
      for (const watcher of this.#watchers) watcher();
      this.#watchers.clear();
    }
  }
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

/** A status message as lightningd would log it. */
function describeStatus(payload: Uint8Array): string {
  switch (messageType(payload)) {
    case STATUS.status_log.type:
      return text(decodeMessage(STATUS.status_log, payload).entry);
    case STATUS.status_fail.type: {
      const { failreason, desc } = decodeMessage(STATUS.status_fail, payload);
      return `STATUS_FAIL ${failreason}: ${text(desc)}`;
    }
    case STATUS.status_version.type:
      return `version ${
        text(decodeMessage(STATUS.status_version, payload).version)
      }`;
    case STATUS.hsmstatus_client_bad_request.type: {
      const row = STATUS.hsmstatus_client_bad_request;
      return `bad request: ${text(decodeMessage(row, payload).description)}`;
    }
  }
  throw new Error("A status message that lightningd does not know");
}

function isAlarm(payload: Uint8Array): boolean {
  switch (messageType(payload)) {
    case STATUS.status_log.type:
      return decodeMessage(STATUS.status_log, payload).level ===
        LOG_LEVELS.broken;
    case STATUS.status_version.type:
      return false;
  }
  return true;
}

/** A network by the genesis hash in an init message. */
export function networkOf(init: Uint8Array): (typeof NETWORKS)["regtest"] {
  const genesis = init.subarray(10, 42).toHex();
  const found = Object.values(NETWORKS)
    .find(({ genesisHash }) => genesisHash.toHex() === genesis);
  if (found === undefined) throw new Error(`No network ${genesis}`);
  return found;
}

/** What a softkey of a test is. */
export interface DeviceOptions {
  readonly folder: string;
  readonly secret: Uint8Array;
  readonly network: (typeof NETWORKS)["regtest"];
  readonly url: string;
  readonly say?: (text: string) => void;
}

/** Starts a softkey inside this process. */
export async function startBox(options: DeviceOptions): Promise<Box> {
  const box = await makeBox(options);
  box.start();
  return box;
}
