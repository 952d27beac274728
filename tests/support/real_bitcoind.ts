/**
 * A real bitcoind on regtest, where one is on PATH.
 *
 * @module
 */

import { fieldIn } from "../../src/chain/bitcoind.ts";
import type { BitcoindOptions } from "../../src/chain.ts";
import { freePort } from "./paths.ts";

/** Whether a bitcoind can be started here. */
export function hasBitcoind(): boolean {
  return (Deno.env.get("PATH") ?? "").split(":").some((folder) => {
    try {
      return Deno.statSync(`${folder}/bitcoind`).isFile;
    } catch {
      return false;
    }
  });
}

/** A running bitcoind with a wallet; its folder goes with it. */
export class RealBitcoind implements AsyncDisposable {
  readonly #folder: string;
  readonly #port: number;
  readonly #flags: readonly string[];
  #child: Deno.ChildProcess | null = null;

  private constructor(folder: string, port: number, flags: readonly string[]) {
    this.#folder = folder;
    this.#port = port;
    this.#flags = flags;
  }

  /** Starts one. */
  static async start(flags: readonly string[] = []): Promise<RealBitcoind> {
    const folder = await Deno.makeTempDir({ prefix: "remote-hsmd-bitcoind-" });
    const bitcoind = new RealBitcoind(folder, freePort(), flags);
    await bitcoind.launch();
    await bitcoind.call("createwallet", "test");
    return bitcoind;
  }

  /** How the follower reaches it: by its cookie, a new one at each start. */
  get options(): BitcoindOptions {
    const path = `${this.#folder}/regtest/.cookie`;
    const login = { kind: "cookie", path } as const;
    return { url: `http://127.0.0.1:${this.#port}`, login };
  }

  /** Starts the process, and waits until it answers. */
  async launch(): Promise<void> {
    const args = [
      "-regtest",
      `-datadir=${this.#folder}`,
      `-rpcport=${this.#port}`,
      "-listen=0",
      "-fallbackfee=0.0001",
      "-printtoconsole=0",
      ...this.#flags,
    ];
    const stdio = { stdin: "null", stdout: "null", stderr: "null" } as const;
    this.#child = new Deno.Command("bitcoind", { args, ...stdio }).spawn();
    for (let i = 0; i < 600; i++) {
      try {
        await this.call("getblockcount");
        return;
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    }
    throw new Error("bitcoind does not answer");
  }

  /** Ends the process as a power cut would. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    child?.kill("SIGKILL");
    await child?.status;
  }

  /** Calls it. */
  async call(
    method: string,
    ...params: readonly unknown[]
  ): Promise<unknown> {
    const { path } = this.options.login as { readonly path: string };
    const cookie = (await Deno.readTextFile(path)).trim();
    const response = await fetch(this.options.url, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(cookie)}` },
      body: JSON.stringify({ id: 0, method, params }),
    });
    const { result, error } = await response.json();
    if (error === null) return result;
    throw new Error(`bitcoind refused ${method}: ${error.message}`);
  }

  /** Calls it for a text. */
  async text(method: string, ...params: readonly unknown[]): Promise<string> {
    return String(await this.call(method, ...params));
  }

  /** Mines blocks with what is in the mempool. */
  async mine(count: number): Promise<void> {
    const address = await this.text("getnewaddress");
    for (let left = count; left > 0; left -= 500) {
      await this.call("generatetoaddress", Math.min(left, 500), address);
    }
  }

  /** Mines blocks with nothing in them. */
  async mineEmpty(count: number): Promise<void> {
    const address = await this.text("getnewaddress");
    for (let i = 0; i < count; i++) {
      await this.call("generateblock", address, []);
    }
  }

  /** Pays to ourselves; the output's place in the transaction comes with it. */
  async pay(): Promise<{ readonly txid: string; readonly vout: number }> {
    const address = await this.text("getnewaddress");
    const txid = await this.text("sendtoaddress", address, 1);
    const { vout } = await this.#outputTo(txid, address);
    return { txid, vout };
  }

  async #outputTo(txid: string, address: string): Promise<{ vout: number }> {
    const tx = await this.call("gettransaction", txid);
    const details = fieldIn(tx, "details");
    const mine = Array.isArray(details)
      ? details.find((one) =>
        fieldIn(one, "address") === address &&
        fieldIn(one, "category") === "receive"
      )
      : undefined;
    return { vout: Number(fieldIn(mine, "vout")) };
  }

  /** Spends an output. */
  async spend(
    input: { readonly txid: string; readonly vout: number },
  ): Promise<string> {
    const address = await this.text("getnewaddress");
    const raw = await this.call("createrawtransaction", [input], [
      { [address]: 0.999 },
    ]);
    const signed = await this.call("signrawtransactionwithwallet", raw);
    return await this.text("sendrawtransaction", fieldIn(signed, "hex"));
  }

  /** Sends a transaction of the wallet's again. */
  async resend(txid: string): Promise<void> {
    const tx = await this.call("gettransaction", txid);
    await this.call("sendrawtransaction", fieldIn(tx, "hex"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.#folder, { recursive: true });
  }
}
