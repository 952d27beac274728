/**
 * A node for softkeys: a real broker on a port of this machine, inside the test,
 * with an init that waits like lightningd's.
 *
 * @module
 */

import { Broker } from "../../src/broker.ts";
import { DeviceBook } from "../../src/broker/devices.ts";
import { FilePairingBook } from "../../src/broker/pairing.ts";
import { PairingCodes } from "../../src/broker/pairing_codes.ts";
import {
  PairingDesk,
  type PairingMode,
} from "../../src/broker/pairing_desk.ts";
import type { Storage } from "../../src/broker/storage.ts";
import { publicKey } from "../../src/crypto/secp.ts";
import { Secret } from "../../src/crypto/secret.ts";
import { EmbeddedServer } from "../../src/mqtt/embedded.ts";
import { SealedSessions } from "../../src/mqtt/sealed_sessions.ts";
import type { Answer } from "../../src/unixfd.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { INIT } from "../broker/fake.ts";

/** What makes one node another than the next. */
export interface NodeOptions {
  /** Where its pairing is kept. */
  readonly folder: string;
  /** lightningd's init. */
  readonly message?: Uint8Array;
  /** The node id in its database. */
  readonly nodeId?: Uint8Array | null;
  /** Private link key. */
  readonly linkKey?: Secret;
  readonly pairing?: PairingMode;
  readonly storage?: Storage;
  /** The port to listen on; one that the kernel picks by default. */
  readonly port?: number;
}

/** A node that runs. */
export interface RunningBrokerNode extends AsyncDisposable {
  readonly broker: Broker;
  readonly devices: DeviceBook;
  readonly codes: PairingCodes;
  /** What devices know it by. */
  readonly linkKey: Uint8Array;
  readonly log: string[];
  readonly book: FilePairingBook;
  readonly url: string;
  readonly port: number;
  /** Asks as lightningd does at its start; waits for a device. */
  init(): Promise<Answer>;
}

/** A link key that is 1. */
export const PRIVATE_LINK_KEY: Secret = new Secret(
  new Uint8Array(32).fill(1, 31),
);

/** A broker as one run of lightningd has it. */
export async function startNode(
  options: NodeOptions,
): Promise<RunningBrokerNode> {
  const { folder, message = INIT, nodeId = null, pairing = "first" } = options;
  const key = options.linkKey ?? PRIVATE_LINK_KEY;
  const linkKey = publicKey(key.reveal());
  const log: string[] = [];
  const book = await FilePairingBook.open(`${folder}/pairing.json`);
  const devices = await DeviceBook.open(
    `${folder}/devices.json`,
    book.current,
    Date.now(),
  );
  const codes = PairingCodes.open(`${folder}/codes.json`, Date.now);
  let broker: Broker | null = null;
  let sealed: SealedSessions | null = null;
  const server = await EmbeddedServer.start({
    login: (attempt) => broker?.login(attempt) ?? { refusal: "starting" },
    message: (...args) => sealed?.message(...args),
    gone: (session) => sealed?.gone(session),
    refused: (from, reason) => sealed?.refused(from, reason),
  });
  sealed = new SealedSessions({
    link: server,
    listener: {
      message: (...args) => broker?.message(...args),
      gone: (session) => broker?.gone(session),
      refused: (from, reason) => broker?.refused(from, reason),
    },
    key,
    isShared: false,
    random: (length) => crypto.getRandomValues(new Uint8Array(length)),
  });
  const seal = sealed;
  const desk = new PairingDesk({
    mode: pairing,
    book,
    devices,
    codes,
    now: Date.now,
    problem: (text) => log.push(text),
  });
  broker = new Broker(sealed, {
    book,
    desk,
    pairing,
    ...(options.storage === undefined ? {} : { storage: options.storage }),
    self: { linkKey, nodeId },
    log: (_level, text) => log.push(text),
    tell: () => {},
    now: Date.now,
    isDeveloper: false,
    tokenWindow: 300,
    address: () => "mqtt://here",
  });
  const { port } = await server.listenTcp({
    hostname: "127.0.0.1",
    port: options.port ?? 0,
  });
  const node = broker;
  return {
    broker: node,
    devices,
    codes,
    linkKey,
    log,
    book,
    url: `mqtt://127.0.0.1:${port}`,
    port,
    init: () =>
      node.ask({
        requester: {
          peerId: NOBODY,
          dbid: 0n,
          permissions: 1027n,
          isMaster: true,
        },
        row: REQUESTS.init,
        message,
        signal: new AbortController().signal,
      }),
    async [Symbol.asyncDispose]() {
      seal[Symbol.dispose]();
      await server[Symbol.asyncDispose]();
      node.close();
    },
  };
}
