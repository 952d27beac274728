/**
 * A broker process under the stand-in with a softkey, ready to be asked.
 *
 * @module
 */

import { NETWORKS } from "../../src/bitcoin/networks.ts";
import { makeSecretFile } from "../../src/keyderiv.ts";
import { REQUESTS } from "../../src/wire/hsmd.ts";
import { encodeMessage } from "../../src/wire/message.ts";
import { INIT, PEER } from "../broker/fake.ts";
import { type BrokerOptions, RunningBroker, startBox } from "../support/rig.ts";
import type { FrameConn } from "../support/standin/standin.ts";

/** Every permission of a channel daemon. */
export const CHANNELD = 447n;

/** A node, its broker and its device. */
export class RunningNode implements AsyncDisposable {
  readonly broker: RunningBroker;
  readonly #cleanUp: AsyncDisposableStack;
  #dbid = 0n;

  private constructor(broker: RunningBroker, cleanUp: AsyncDisposableStack) {
    this.broker = broker;
    this.#cleanUp = cleanUp;
  }

  /** Starts the broker alone. */
  static async startAlone(
    options: Partial<BrokerOptions> = {},
  ): Promise<RunningNode> {
    const folder = await Deno.makeTempDir();
    const cleanUp = new AsyncDisposableStack();
    cleanUp.defer(() => Deno.remove(folder, { recursive: true }));
    const broker = await RunningBroker.start({ folder, ...options });
    cleanUp.use(broker);
    return new RunningNode(broker, cleanUp);
  }

  /** Starts broker and device, and sees init answered. */
  static async start(
    options: Partial<BrokerOptions> = {},
  ): Promise<RunningNode> {
    const node = await RunningNode.startAlone(options);
    await node.connectDevice();
    await node.master.ask(INIT);
    return node;
  }

  get master(): FrameConn {
    return this.broker.standin.master;
  }

  /** Starts a softkey; it is stopped with the rest. */
  async connectDevice(): Promise<void> {
    const folder = await Deno.makeTempDir();
    this.#cleanUp.defer(() => Deno.remove(folder, { recursive: true }));
    const box = await startBox({
      folder,
      secret: makeSecretFile(new Uint8Array(16).fill(1)),
      network: NETWORKS.regtest,
      url: `mqtt://${await this.broker.address()}`,
    });
    this.#cleanUp.defer(() => box.stop());
  }

  /** A channel that nobody used yet. */
  nextDbid(): bigint {
    return this.#dbid += 1n;
  }

  /** Asks for a client connection, which may be refused. */
  async connect(
    dbid: bigint = this.nextDbid(),
    permissions: bigint = CHANNELD,
  ): Promise<FrameConn> {
    await this.master.ask(
      encodeMessage(REQUESTS.client_hsmfd, { id: PEER, dbid, permissions }),
    );
    return await this.broker.standin.nextClient();
  }

  /** Resolves when lightningd was told of a bad request on a channel. */
  async refusal(dbid: bigint): Promise<string> {
    const [, reason = ""] = await this.broker.logged(
      new RegExp(`^bad request: dbid ${dbid}: (.*)$`),
    );
    return reason;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#cleanUp[Symbol.asyncDispose]();
  }
}
