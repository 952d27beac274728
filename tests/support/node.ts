/**
 * A node for softkeys: a real broker on a port of this machine, inside the test,
 * with an init that waits like lightningd's.
 *
 * @module
 */

import { Broker } from "../../src/broker.ts";
import { FilePairingBook } from "../../src/broker/pairing.ts";
import { EmbeddedServer } from "../../src/mqtt/embedded.ts";
import type { Answer } from "../../src/unixfd.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { NOBODY } from "../../src/wire/types.ts";
import { INIT, LINK_KEY } from "../broker/fake.ts";

/** What makes one node another than the next. */
export interface NodeOptions {
  /** Where its pairing is kept. */
  readonly folder: string;
  /** lightningd's init. */
  readonly message?: Uint8Array;
  /** The node id in its database. */
  readonly nodeId?: Uint8Array | null;
  readonly linkKey?: Uint8Array;
  /** The port to listen on; one that the kernel picks by default. */
  readonly port?: number;
}

/** A node that runs. */
export interface RunningBrokerNode extends AsyncDisposable {
  readonly log: string[];
  readonly book: FilePairingBook;
  readonly url: string;
  readonly port: number;
  /** Asks as lightningd does at its start; waits for a device. */
  init(): Promise<Answer>;
}

/** A broker as one run of lightningd has it. */
export async function startNode(
  options: NodeOptions,
): Promise<RunningBrokerNode> {
  const { folder, message = INIT, nodeId = null, linkKey = LINK_KEY } = options;
  const log: string[] = [];
  const book = await FilePairingBook.open(`${folder}/pairing.json`);
  let broker: Broker | null = null;
  const server = await EmbeddedServer.start({
    login: (attempt) => broker?.login(attempt) ?? { refusal: "starting" },
    message: (...args) => broker?.message(...args),
    gone: (session) => broker?.gone(session),
    refused: (from, reason) => broker?.refused(from, reason),
  });
  broker = new Broker(server, {
    book,
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
      await server[Symbol.asyncDispose]();
      node.close();
    },
  };
}
