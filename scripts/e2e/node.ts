/**
 * A Lightning node whose keys are elsewhere: lightningd with our broker as its
 * hsmd, and a softkey or several, each to be stopped and started by itself.
 *
 * @module
 */

import { find, type Json, list, number, text } from "./json.ts";
import { freePorts } from "../../tests/support/paths.ts";
import { Process, until, within } from "./process.ts";

/** A node before it runs. */
export interface NodeOptions {
  readonly name: string;
  /** Its own, new. */
  readonly folder: string;
  /** Paths of the built programs. */
  readonly broker: string;
  readonly softkey: string;
  readonly env: Readonly<Record<string, string>>;
  readonly bitcoin: readonly string[];
  /** Where the broker finds its settings. */
  readonly settings: "environment" | "file";
  /** A secret file's content, where it is not made later. */
  readonly secret?: Uint8Array;
}

/** How lightningd is started. */
export interface StartOptions {
  /** Whose keys: our broker's softkey's, or those of the stock hsmd. */
  readonly hsmd?: "ours" | "stock";
  /** How devices become the node's; where the settings are in a file: first. */
  readonly pairing?: "code" | "first";
  /** Arguments besides the usual ones. */
  readonly more?: readonly string[];
}

/** How a softkey is started. */
export interface SoftkeyOptions {
  /** The folder of its card, inside the node's. */
  readonly card?: string;
  readonly dialect?: "native" | "sphinx";
}

const FEERATES = "7500";
/** The folder of the first card. */
const CARD = "card";

/** A node; `await using` stops all of it. */
export class Node implements AsyncDisposable {
  readonly name: string;
  /** Every lightningd and softkey that there was, for their logs. */
  readonly processes: Process[] = [];
  readonly #options: NodeOptions;
  readonly #mqtt: string;
  readonly #port: number;
  #lightningd: Process | null = null;
  /** Those that run, by the folder of their card. */
  readonly #softkeys = new Map<string, Process>();
  /** Cards that have a seed, each with a key that opens it. */
  readonly #sealed = new Set<string>();
  /** Cards that know their node by a pairing string. */
  readonly #paired = new Set<string>();
  #id = "";
  /** As last time, when nothing is said. */
  #startOptions: StartOptions = {};

  constructor(options: NodeOptions) {
    const [mqtt = 0, port = 0] = freePorts(2);
    this.name = options.name;
    this.#options = options;
    this.#mqtt = `127.0.0.1:${mqtt}`;
    this.#port = port;
  }

  /** Where everything of it is. */
  get folder(): string {
    return this.#options.folder;
  }

  /** Its public key. */
  get id(): string {
    return this.#id;
  }

  get lightningd(): Process {
    return running(this.#lightningd, `lightningd of ${this.name}`);
  }

  get softkey(): Process {
    return this.softkeyOf(CARD);
  }

  /** The softkey that runs with a card. */
  softkeyOf(card: string): Process {
    const process = this.#softkeys.get(card) ?? null;
    return running(process, `softkey of ${this.name}'s ${card}`);
  }

  /** Writes what both programs read. */
  async prepare(): Promise<void> {
    const { folder, secret, settings } = this.#options;
    await Deno.mkdir(folder, { mode: 0o700 });
    if (secret !== undefined) {
      await Deno.writeFile(`${folder}/seed`, secret, { mode: 0o600 });
    }
    if (settings === "file") {
      await Deno.writeTextFile(
        `${folder}/remote_hsmd.toml`,
        `mqtt_listen = "${this.#mqtt}"\npairing = "first"\n`,
      );
    }
  }

  /** A new seed on the card, its words in a file, its key in another. */
  async makeSeed(): Promise<void> {
    const words = ["--words-file", `${this.folder}/words`];
    await this.runSoftkey(["init"], CARD, [...words, ...this.#seal(CARD)]);
    this.#sealed.add(CARD);
  }

  /** The same seed on another card, from the words or from the secret file. */
  async restoreSeed(card: string): Promise<void> {
    const source = this.#options.secret === undefined
      ? ["--words-file", `${this.folder}/words`]
      : ["--hsm-secret", `${this.folder}/seed`];
    await this.runSoftkey(["restore"], card, [...source, ...this.#seal(card)]);
    this.#sealed.add(card);
  }

  /** Makes a card one of several of its node. */
  async share(card: string): Promise<void> {
    await this.runSoftkey(["card", "share"], card);
  }

  /** Pairs a card by the string that the broker shows; says what it said. */
  async pair(card = CARD): Promise<string> {
    const pairing = await this.#startBroker("pair");
    const line = await pairing.line(/softkey pair '.*'/);
    const [, text = ""] = /softkey pair '(.*)'/.exec(line) ?? [];
    await this.runSoftkey(["pair", text], card);
    this.#paired.add(card);
    const said = await pairing.line(/^Paired with device/);
    const code = await pairing.end();
    if (code === 0) return said;
    throw new Error(`${pairing.name} ended with ${code}`);
  }

  /** Runs a command of the broker to its end; what it printed. */
  async runBroker(...args: readonly string[]): Promise<string> {
    const process = await this.#startBroker(...args);
    const code = await process.end();
    const text = process.lines.join("\n");
    if (code === 0) return text;
    throw new Error(`${process.name} ended with ${code}: ${text}`);
  }

  async #startBroker(...args: readonly string[]): Promise<Process> {
    const { env, broker } = this.#options;
    const name = `broker's ${args[0]} for ${this.name}`;
    const cwd = `${this.folder}/regtest`;
    await Deno.mkdir(cwd, { recursive: true, mode: 0o700 });
    const own = { ...env, ...this.#settings() };
    return new Process({ name, program: broker, args, env: own, cwd });
  }

  /** Runs a command of the softkey with a card to its end. */
  async runSoftkey(
    words: readonly string[],
    card: string,
    more: readonly string[] = [],
  ): Promise<void> {
    const { softkey, env } = this.#options;
    const cardArguments = ["--card", `${this.folder}/${card}`];
    const args = [
      ...words,
      ...cardArguments,
      "--network",
      "regtest",
      "--yes",
      ...more,
    ];
    const name = `softkey ${words[0]} for ${this.name}`;
    const cwd = this.folder;
    const process = new Process({ name, program: softkey, args, env, cwd });
    const code = await process.end();
    if (code === 0) return;
    const text = process.lines.join("\n");
    throw new Error(`${name} ended with ${code}: ${text}`);
  }

  /** What opens the seal of a card's seed. */
  #seal(card: string): readonly string[] {
    return ["--key-file", `${this.folder}/${card}-key`];
  }

  /** Starts a signer device; it connects when there is a broker. */
  startSoftkey(
    { card = CARD, dialect = "native" }: SoftkeyOptions = {},
  ): Process {
    const { folder, env, softkey } = this.#options;
    const seed = this.#sealed.has(card)
      ? this.#seal(card)
      : ["--hsm-secret", `${folder}/seed`];
    const broker = this.#paired.has(card)
      ? []
      : ["--broker", `mqtt://${this.#mqtt}`];
    const process = this.#start(`softkey (${card})`, softkey, env, [
      "run",
      ...["--card", `${folder}/${card}`],
      ...["--network", "regtest"],
      ...["--dialect", dialect],
      "--yes",
      ...broker,
      ...seed,
    ]);
    this.#softkeys.set(card, process);
    return process;
  }

  /** Starts lightningd and waits until it is ready. */
  async startLightningd(
    options: StartOptions = this.#startOptions,
  ): Promise<void> {
    this.#startOptions = options;
    const { hsmd = "ours", more = [] } = options;
    const { env, broker } = this.#options;
    const subdaemon = hsmd === "stock" ? [] : [`--subdaemon=hsmd:${broker}`];
    const own = this.#settings();
    this.#lightningd = this.#start(
      "lightningd",
      "lightningd",
      { ...env, ...own },
      [...this.#lightningdArguments(), ...subdaemon, ...more],
    );
    await this.#lightningd.line(/Server started with public key/);
    this.#id = text(await this.cli("getinfo"), "id");
  }

  /** The broker's settings, where they are not in a file. */
  #settings(): Readonly<Record<string, string>> {
    if (this.#options.settings === "file") return {};
    return {
      REMOTE_HSMD_MQTT_LISTEN: this.#mqtt,
      REMOTE_HSMD_PAIRING: this.#startOptions.pairing ?? "first",
    };
  }

  #lightningdArguments(): string[] {
    const { folder, bitcoin } = this.#options;
    return [
      "--network=regtest",
      "--developer",
      "--allow-deprecated-apis=true", // keysend has gone, its successor is new
      "--dev-fast-gossip",
      "--dev-bitcoind-poll=1",
      `--lightning-dir=${folder}`,
      `--addr=127.0.0.1:${this.#port}`,
      "--disable-dns",
      "--experimental-dual-fund",
      `--force-feerates=${FEERATES}`,
      "--log-level=debug",
      "--log-file=-",
      ...bitcoin,
    ];
  }

  #start(
    kind: string,
    program: string,
    env: Readonly<Record<string, string>>,
    args: readonly string[],
  ): Process {
    const name = `${kind} of ${this.name}`;
    const cwd = this.#options.folder;
    const process = new Process({ name, program, args, env, cwd });
    this.processes.push(process);
    return process;
  }

  /** Stops lightningd, and with it the broker, as an operator does. */
  async stopLightningd(): Promise<void> {
    await this.cli("stop");
    const code = await this.lightningd.end();
    if (code !== 0) {
      throw new Error(`${this.lightningd.name} ended with ${code}`);
    }
    this.#lightningd = null;
  }

  /** Ends lightningd, and all that it started, as a power cut does. */
  async killLightningd(): Promise<void> {
    this.lightningd.kill("SIGKILL");
    await this.lightningd.end();
    this.#lightningd = null;
  }

  /** Takes the secret from a node that had it in its folder, for a softkey. */
  async takeSecret(): Promise<void> {
    const { folder } = this.#options;
    await Deno.rename(`${folder}/regtest/hsm_secret`, `${folder}/seed`);
  }

  /** Has a card take over the channels of this node, which is stopped. */
  async adopt(): Promise<readonly string[]> {
    const { folder, env, softkey } = this.#options;
    const process = this.#start("adopting softkey", softkey, env, [
      "card",
      "adopt",
      "--card",
      `${folder}/card`,
      "--network",
      "regtest",
      "--database",
      `${folder}/regtest/lightningd.sqlite3`,
      "--hsm-secret",
      `${folder}/seed`,
      "--yes",
    ]);
    const code = await process.end();
    if (code === 0) return process.lines;
    throw new Error(`${process.name} ended with ${code}`);
  }

  /** Ends a softkey as a power cut does. */
  async killSoftkey(card = CARD): Promise<void> {
    const process = this.softkeyOf(card);
    process.kill("SIGKILL");
    await process.end();
    this.#softkeys.delete(card);
  }

  /** Ends softkeys as a service manager does: all, or that of one card. */
  async stopSoftkeys(...cards: readonly string[]): Promise<void> {
    const names = cards.length === 0 ? [...this.#softkeys.keys()] : cards;
    for (const card of names) {
      const process = this.softkeyOf(card);
      const code = await process.stop();
      if (code !== 0) throw new Error(`${process.name}: exit code ${code}`);
      this.#softkeys.delete(card);
    }
  }

  /** Runs lightning-cli; arguments as it takes them. */
  async cli(...args: readonly string[]): Promise<Json> {
    const command = new Deno.Command("lightning-cli", {
      args: [
        "--network=regtest",
        "--notifications=none",
        `--lightning-dir=${this.#options.folder}`,
        ...args,
      ],
      env: this.#options.env,
      clearEnv: true,
      stdin: "null",
    });
    const asked = `${this.name}: ${args.join(" ").slice(0, 100)}`;
    const { success, stdout, stderr } = await within(command.output(), asked);
    const out = new TextDecoder().decode(stdout);
    if (success) return readAnswer(out);
    const why = out.trim() || new TextDecoder().decode(stderr).trim();
    throw new Error(`${asked}: ${why}`);
  }

  /** Runs lightning-cli with named arguments. */
  async ask(
    method: string,
    params: Readonly<Record<string, string | number>>,
  ): Promise<Json> {
    const named = Object.entries(params)
      .map(([name, value]) => `${name}=${value}`);
    return await this.cli("-k", method, ...named);
  }

  /** Waits until it has seen a block. */
  async reach(height: number): Promise<void> {
    await this.cli("waitblockheight", String(height));
  }

  async connect(peer: Node): Promise<void> {
    await this.ask("connect", {
      id: peer.id,
      host: "127.0.0.1",
      port: peer.#port,
    });
  }

  /** Channels that are not forgotten. */
  async channels(): Promise<readonly Json[]> {
    return list(await this.cli("listpeerchannels"), "channels");
  }

  /** Waits until its only channel can be paid through. */
  async usable(): Promise<Json> {
    return await until(`a usable channel of ${this.name}`, async () => {
      const [channel, ...more] = await this.channels();
      const isUsable = channel !== undefined && more.length === 0 &&
        find(channel, "state") === "CHANNELD_NORMAL" &&
        find(channel, "peer_connected") === true &&
        find(channel, "inflight") === undefined;
      return isUsable ? channel : undefined;
    });
  }

  /** Coins in its wallet that are in a block, in satoshi. */
  async confirmed(): Promise<number> {
    const outputs = list(await this.cli("listfunds"), "outputs");
    return outputs
      .filter((output) => text(output, "status") === "confirmed")
      .map((output) => number(output, "amount_msat") / 1000)
      .reduce((sum, satoshi) => sum + satoshi, 0);
  }

  /** An invoice. */
  async invoice(label: string, millisatoshi: number): Promise<string> {
    const params = {
      amount_msat: millisatoshi,
      label,
      description: label,
    };
    return text(await this.ask("invoice", params), "bolt11");
  }

  /** Pays; returns the preimage. */
  async pay(invoice: string): Promise<string> {
    const paid = await this.ask("pay", { bolt11: invoice });
    return text(paid, "payment_preimage");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lightningd?.stop();
    for (const softkey of this.#softkeys.values()) await softkey.stop();
  }
}

function running(process: Process | null, what: string): Process {
  if (process !== null) return process;
  throw new Error(`${what} is not running`);
}

/** A few commands answer with plain text. */
function readAnswer(out: string): Json {
  return /^\s*[[{"]/.test(out) ? JSON.parse(out) : out.trim();
}
