/**
 * A bitcoind of our own on regtest, and the blocks it makes for us.
 *
 * @module
 */

import { type Json, list, number, text } from "./json.ts";
import { freePorts } from "../../tests/support/paths.ts";
import { Process, until } from "./process.ts";

const USER = "e2e";
const PASSWORD = "e2e";
const COIN = 100_000_000;

/** A chain that grows when it is told to. */
export class Bitcoin implements AsyncDisposable {
  readonly process: Process;
  readonly #port: number;
  #ids = 0;
  #address = "";

  private constructor(process: Process, port: number) {
    this.process = process;
    this.#port = port;
  }

  /** Starts bitcoind with a wallet that has coins to spend. */
  static async start(
    folder: string,
    env: Readonly<Record<string, string>>,
  ): Promise<Bitcoin> {
    const [rpc = 0, p2p = 0] = freePorts(2);
    await Deno.mkdir(folder);
    const process = new Process({
      name: "bitcoind",
      program: "bitcoind",
      args: argumentsOf(folder, rpc, p2p),
      env,
      cwd: folder,
    });
    const bitcoin = new Bitcoin(process, rpc);
    try {
      await bitcoin.#prepare();
    } catch (error) {
      await process.stop();
      throw error;
    }
    return bitcoin;
  }

  async #prepare(): Promise<void> {
    await until("bitcoind to answer", async () => {
      try {
        return await this.#call("getblockcount");
      } catch {
        return undefined; // not listening, or still starting
      }
    });
    await this.#call("createwallet", "e2e");
    this.#address = text(await this.#call("getnewaddress"));
    await this.mine(101);
  }

  /** How a broker reaches it: its device wants to see the chain. */
  brokerSettings(): Readonly<Record<string, string>> {
    return {
      REMOTE_HSMD_BITCOIND_URL: `http://127.0.0.1:${this.#port}`,
      REMOTE_HSMD_BITCOIND_USER: USER,
      REMOTE_HSMD_BITCOIND_PASSWORD: PASSWORD,
    };
  }

  /** How lightningd reaches it. */
  lightningdArguments(): readonly string[] {
    return [
      "--bitcoin-rpcconnect=127.0.0.1",
      `--bitcoin-rpcport=${this.#port}`,
      `--bitcoin-rpcuser=${USER}`,
      `--bitcoin-rpcpassword=${PASSWORD}`,
    ];
  }

  async #call(method: string, ...params: readonly Json[]): Promise<Json> {
    const response = await fetch(`http://127.0.0.1:${this.#port}/`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(`${USER}:${PASSWORD}`)}` },
      body: JSON.stringify({ id: this.#ids++, method, params }),
    });
    const { result, error } = await response.json();
    if (error === null) return result;
    throw new Error(`bitcoind refused ${method}: ${error.message}`);
  }

  /** Makes blocks; returns the height. */
  async mine(count: number): Promise<number> {
    await this.#call("generatetoaddress", count, this.#address);
    return number(await this.#call("getblockcount"));
  }

  /** Pays to an address, not mined. */
  async send(address: string, satoshi: number): Promise<void> {
    await this.#call("sendtoaddress", address, satoshi / COIN);
  }

  /** Sends a transaction, in hex. */
  async broadcast(tx: string): Promise<void> {
    await this.#call("sendrawtransaction", tx);
  }

  /** Waits until a transaction, or any at all, waits to be mined. */
  async pooled(txid?: string): Promise<void> {
    await until(`transaction ${txid ?? "(any)"} at bitcoind`, async () => {
      const pool = list(await this.#call("getrawmempool"));
      const isThere = txid === undefined
        ? pool.length > 0
        : pool.includes(txid);
      return isThere ? true : undefined;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }
}

function argumentsOf(folder: string, rpc: number, p2p: number): string[] {
  return [
    "-regtest",
    `-datadir=${folder}`,
    "-server",
    `-rpcuser=${USER}`,
    `-rpcpassword=${PASSWORD}`,
    "-rpcbind=127.0.0.1",
    "-rpcallowip=127.0.0.1",
    `-rpcport=${rpc}`,
    `-bind=127.0.0.1:${p2p}`,
    "-connect=0", // no connection to anybody
    "-listenonion=0",
    "-discover=0",
    "-dnsseed=0",
    "-fixedseeds=0",
    "-fallbackfee=0.0001",
    "-txindex=1",
    "-printtoconsole=1",
  ];
}
