/**
 * A bitcoind that is a web server in this process, and whose chain is mined by
 * the test: it answers what the follower asks as the real one does
 * (bitcoin/src/rpc/blockchain.cpp, httprpc.cpp), and lies when it is told to.
 *
 * @module
 */

import {
  type ChainPoint,
  display,
  genesisPoint,
} from "../../src/bitcoin/difficulty.ts";
import { encodeHeader } from "../../src/bitcoin/header.ts";
import { NETWORKS } from "../../src/bitcoin/networks.ts";
import type { Tx } from "../../src/bitcoin/tx.ts";
import type { BitcoindOptions } from "../../src/chain.ts";
import { blockBytes, mineBlock, pointAfter } from "./chain.ts";

/** A block that was mined. */
export interface MinedBlock {
  readonly point: ChainPoint;
  readonly bytes: Uint8Array;
}

/** What is answered in the place of the truth; undefined for the truth. */
export type Lie = (method: string, params: readonly unknown[]) => unknown;

interface Call {
  readonly id: unknown;
  readonly method: string;
  readonly params: readonly unknown[];
}

/** What a call is answered with. */
interface Outcome {
  readonly result?: unknown;
  readonly error?: { readonly code: number; readonly message: string };
}

/** A chain, and a web server that shows it. */
export class StandInBitcoind implements AsyncDisposable {
  /** Names of the methods that were called. */
  readonly calls: string[] = [];
  lie: Lie = () => undefined;
  /** Blocks below this were thrown away. */
  lowestBlock = 0;
  readonly #known = new Map<string, MinedBlock>();
  #main: MinedBlock[];
  #server: Deno.HttpServer<Deno.NetAddr> | null = null;
  #port = 0;
  #marks = 0;
  #waiters: (() => void)[] = [];

  constructor() {
    const point = genesisPoint(NETWORKS.regtest);
    const genesis = { point, bytes: encodeHeader(point.header) };
    this.#main = [genesis];
    this.#known.set(display(point.hash), genesis);
    this.start();
  }

  /** How to reach it. */
  get options(): BitcoindOptions {
    const login = { kind: "password", user: "me", password: "pw" } as const;
    return { url: `http://127.0.0.1:${this.#port}`, login };
  }

  get height(): number {
    return this.#main.length - 1;
  }

  /** The main chain's block of a height. */
  at(height: number): MinedBlock {
    const block = this.#main[height];
    if (block === undefined) throw new Error(`No block ${height}`);
    return block;
  }

  get tip(): ChainPoint {
    return this.at(this.height).point;
  }

  /** Mines blocks, the first one with these transactions. */
  mine(
    count: number,
    txs: readonly Tx[] = [],
    time: number | null = null,
  ): void {
    for (let i = 0; i < count; i++) {
      const parent = this.tip;
      const wanted = time === null ? {} : { time: time + i };
      const block = mineBlock(parent, i === 0 ? txs : [], {
        mark: this.#marks++,
        ...wanted,
      });
      const point = pointAfter(parent, block);
      const mined = { point, bytes: blockBytes(block) };
      this.#main.push(mined);
      this.#known.set(display(point.hash), mined);
    }
    this.wake();
  }

  /** Takes blocks off the main chain; `isForgotten` also out of memory. */
  cut(count: number, { isForgotten = false } = {}): void {
    for (const { point } of this.#main.splice(-count)) {
      if (isForgotten) this.#known.delete(display(point.hash));
    }
  }

  /** Puts blocks back that were cut off. */
  restore(blocks: readonly MinedBlock[]): void {
    for (const block of blocks) {
      this.#main.push(block);
      this.#known.set(display(block.point.hash), block);
    }
  }

  /** Ends the waits for a block. */
  wake(): void {
    for (const wake of this.#waiters.splice(0)) wake();
  }

  /** Begins to answer, on the port that it had before. */
  start(): void {
    this.#server = Deno.serve(
      { port: this.#port, hostname: "127.0.0.1", onListen: () => {} },
      (request) => this.#serve(request),
    );
    this.#port = this.#server.addr.port;
  }

  /** Stops at once: whoever waits gets no answer. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = null;
    this.wake();
    await server?.shutdown();
  }

  async #serve(request: Request): Promise<Response> {
    const asked: Call | readonly Call[] = await request.json();
    if (!Array.isArray(asked)) {
      const one = asked as Call;
      const outcome = await this.#answer(one);
      const status = outcome.error === undefined ? 200 : 500;
      return Response.json(complete(one, outcome), { status });
    }
    const all = await Promise.all(
      asked.map(async (one: Call) => complete(one, await this.#answer(one))),
    );
    return Response.json(all);
  }

  async #answer({ method, params }: Call): Promise<Outcome> {
    this.calls.push(method);
    const lie = this.lie(method, params);
    if (lie !== undefined) return { result: lie };
    switch (method) {
      case "getblockhash": {
        const block = this.#main[Number(params[0])];
        return block === undefined
          ? refusal(-8, "Block height out of range")
          : { result: display(block.point.hash) };
      }
      case "getblockchaininfo":
        return {
          result: {
            chain: "regtest",
            blocks: this.height,
            bestblockhash: display(this.tip.hash),
            pruned: this.lowestBlock > 0,
            pruneheight: this.lowestBlock,
          },
        };
      case "getblockheader":
        return this.#header(String(params[0]), params[1] !== false);
      case "getblock":
        return this.#block(String(params[0]));
      case "waitfornewblock":
        await new Promise<void>((wake) => this.#waiters.push(wake));
        return { result: { hash: display(this.tip.hash) } };
      case "estimatesmartfee":
        return { result: { feerate: 0.0004, blocks: 2 } };
      case "getmempoolinfo":
        return { result: { mempoolminfee: 0.00001 } };
      default:
        return refusal(-32601, "Method not found");
    }
  }

  #header(hash: string, isVerbose: boolean): Outcome {
    const block = this.#known.get(hash);
    if (block === undefined) return refusal(-5, "Block not found");
    const { height, header } = block.point;
    if (!isVerbose) return { result: encodeHeader(header).toHex() };
    const isMain = this.#main[height] === block;
    const confirmations = isMain ? this.height - height + 1 : -1;
    return { result: { hash, height, confirmations, time: header.time } };
  }

  #block(hash: string): Outcome {
    const block = this.#known.get(hash);
    if (block === undefined) return refusal(-5, "Block not found");
    return block.point.height < this.lowestBlock
      ? refusal(-1, "Block not available (pruned data)")
      : { result: block.bytes.toHex() };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function refusal(code: number, message: string): Outcome {
  return { error: { code, message } };
}

function complete({ id }: Call, { result, error }: Outcome): unknown {
  return { result: result ?? null, error: error ?? null, id };
}
